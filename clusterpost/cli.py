"""Command line: translate arguments into calls."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING

from .arguments import make_parser
from .errors import ArchiveError, InputError, InputWarning

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from astropy.table import Table

__all__ = ["main"]


def _distance(text):
    if text is None:
        return None
    import astropy.units as u

    try:
        return u.Quantity(text)
    except (TypeError, ValueError):
        return text


def _reading(args):
    """Return the reading options that are given."""
    given = {"columns": _columns(args.columns), "distance_source": args.distance_source, "unit": args.unit,
             "missing": tuple(args.missing) or None, "hdu": args.hdu, "bands": args.bands}
    return {name: value for name, value in given.items() if value is not None}


def _columns(pairs):
    if pairs is None:
        return None
    columns = {}
    for pair in pairs:
        band, equals, names = pair.partition("=")
        if not equals or names.count(",") not in (1, 2):
            raise InputError(f"--columns {pair!r} does not have the form BAND=FLUX,ERR")
        columns[band] = tuple(names.split(","))
    return columns


def _options(args):
    options = {"distance": _distance(args.distance), "device": args.device}
    # Reading makes the columns canonical, so --columns is not passed on.
    given = {"model": args.model, "error_floor": args.error_floor, "seed": args.seed, "workers": args.workers}
    return options | {name: value for name, value in given.items() if value is not None}


def _posterior_options(args):
    """Return the options of the posterior; without options for it, the prior is that of the model."""
    options = {"noise": args.noise, "refine": False if args.no_refine else None}
    if args.mass_slope is not None or args.ebv_scale is not None or args.distance_error is not None:
        options["prior"] = _changed_prior(args)
    elif args.prior is not None:
        options["prior"] = args.prior
    return options


def _changed_prior(args):
    """Return the model's own prior, or a named one, with the requested changes."""
    from .flow.modelfile import find_family
    from .priors import Exponential, PowerLaw, as_prior
    from .provenance import EXACT_MODEL

    asked = {"log_mass": (PowerLaw, args.mass_slope), "ebv": (Exponential, args.ebv_scale)}
    densities = {name: density(value) for name, (density, value) in asked.items() if value is not None}
    family = find_family(args.model or (EXACT_MODEL if getattr(args, "exact", False) else "default"))
    prior = as_prior(args.prior, family)
    if densities:
        prior = prior.with_densities(family, **densities)
    return prior.with_distance_error(args.distance_error or 0.0)


def _progress(args):
    return False if args.quiet else None


def _infer(args):
    from pathlib import Path

    options = {**_options(args), **_posterior_options(args)}
    if args.exact:
        _check_exact(args)
        options = {k: v for k, v in options.items() if k != "refine"} | {"n_simulations": args.n_simulations}
    elif args.n_simulations is not None:
        raise InputError("--n-simulations requires --exact; add --exact or omit --n-simulations")
    else:
        options["n_samples"] = args.n_samples
    options |= {"quantiles": args.quantiles, "prefix": args.prefix, "progress": _progress(args)}
    reading = _reading(args)
    _where(args)
    many = args.scheduler is not None or Path(args.input).is_dir()
    parquet = Path(args.output).suffix.lower() == ".parquet" and not {"hdu", "bands"} & reading.keys()
    if many and {"hdu", "bands"} & reading.keys():
        raise InputError(f"--hdu and --bands are for single files of other formats, not for Parquet ({args.input})")
    if many or parquet:
        return _infer_in_parts(args, many, {**reading, **options, "exact": args.exact})
    if args.rows_per_part is not None:
        raise InputError(f"--rows-per-part is for Parquet output; {args.output} is not written in parts")
    return _infer_at_once(args, reading, options)


def _where(args):
    """Return the expression that selects rows, checked as far as possible without a table; None for all rows."""
    from .selection import column_names

    parts = [f"({args.where})"] if args.where is not None else []
    expression = " and ".join([*parts, *(["good"] if args.good else [])])
    if expression:
        column_names(expression)
    return expression or None


def _infer_at_once(args, reading, options):
    from .catalogs.reader import read_catalog
    from .catalogs.writer import check_writable, columns_for, write_catalog
    from .infer import exact_posterior, infer_table
    from .selection import column_names

    check_writable(args.output, overwrite=args.overwrite)
    tbl, where = columns_for(read_catalog(args.input, **reading), args.output), _where(args)
    early = where is not None and column_names(where) <= set(tbl.colnames)  # do not infer rows that are not kept
    with _log_shown(not args.quiet):
        out = (exact_posterior if args.exact else infer_table)(
            _rows_where(tbl, where, "") if early else tbl, **options)
    if not early:
        out = _rows_where(out, where, args.prefix)
    write_catalog(out, args.output, overwrite=args.overwrite, flat=args.flat)
    if not args.quiet:
        _say_inferred(args.output, out[f"{args.prefix}flag"])
    return 0


@contextlib.contextmanager
def _log_shown(show):
    """Show the log of the inference on standard error: bands, distance, floor, noise, prior."""
    log, handler = logging.getLogger("clusterpost"), logging.StreamHandler(sys.stderr)
    level = log.level
    if show:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _sample(args):
    from .catalogs.reader import read_catalog
    from .catalogs.writer import check_writable, write_catalog
    from .infer import sample_posterior

    check_writable(args.output, overwrite=args.overwrite)
    tbl = _rows_where(read_catalog(args.input, **_reading(args)), _where(args), args.prefix)
    draws = sample_posterior(tbl, n_samples=args.n_samples, prefix=args.prefix, dtype=args.dtype,
                             progress=_progress(args), **_options(args), **_posterior_options(args))
    write_catalog(draws, args.output, overwrite=args.overwrite)
    if not args.quiet:
        _say(f"{args.output}: {args.n_samples} draws for each of {len(draws)} rows")
    return 0


def _rows_where(tbl, where, prefix):
    from .selection import select_rows

    if where is None:
        return tbl
    chosen = select_rows(tbl, where, prefix=prefix)
    if not chosen.any():
        raise InputError(f"none of the {len(tbl)} rows satisfies {where}")
    return tbl[chosen]


def _infer_in_parts(args, many, options):
    from .scale import infer_dataset, infer_file, read_column

    options |= {"where": _where(args), "flat": args.flat}
    if args.rows_per_part is not None:
        options["rows_per_part"] = args.rows_per_part
    args.kept = "finished parts are kept, and the same command resumes from them"
    with _log_shown(not args.quiet):
        if many:
            infer_dataset(args.input, args.output, args.scheduler, **options)
        else:
            infer_file(args.input, args.output, overwrite=args.overwrite, **options)
    if not args.quiet:
        _say_inferred(args.output, read_column(args.output, f"{args.prefix}flag"))
    return 0


def _say_inferred(path, flag):
    from .flags import NOT_INFERRED

    inferred = ((flag & NOT_INFERRED) == 0).sum()
    _say(f"{path}: {len(flag)} rows, {inferred} inferred, {len(flag) - inferred} flagged 'not inferred'")
    _say_flags(flag)


def _check_exact(args):
    given = {"--no-refine": args.no_refine, "-n": args.n_samples is not None}
    if any(given.values()):
        named = next(name for name, there in given.items() if there)
        raise InputError(f"--exact uses no network; omit {named}")


def _say_flags(flag):
    from .flags import FLAGS

    for known in FLAGS:
        if count := ((flag & known.bit) != 0).sum():
            _say(f"  {count:6d}  {known.name}")


def _simulate(args):
    from .catalogs.writer import check_writable, write_catalog
    from .training.mocks import simulate

    check_writable(args.output, overwrite=args.overwrite)
    mocks = simulate(args.n, model=args.model, bands=args.bands, distance=args.distance, errors=args.errors,
                     noise=args.noise, seed=args.seed)
    write_catalog(mocks, args.output, overwrite=args.overwrite)
    if not args.quiet:
        _say(f"{args.output}: {len(mocks)} mocks")
    return 0


def _plot(args):
    import numpy as np

    from .catalogs.reader import read_catalog
    from .plotting.files import OBJECT_FIGURES, draw, write_figure, write_pages
    from .selection import select_rows
    from .utils import check_target

    _check_figure(args)
    check_target(args.output, overwrite=args.overwrite)
    tbl = read_catalog(args.input, **_reading(args))
    where, row = _where(args), _row(args, tbl)
    kind = args.kind or ("overview" if row is None else "object")
    options = {"prefix": args.prefix}
    if kind not in OBJECT_FIGURES and row is not None:
        raise InputError(f"--kind {kind} plots the whole catalog; omit --row and --id")
    options |= _drawing_options(args, kind)
    if row is not None and where is not None:
        raise InputError("--row and --id plot one row; omit --where and --good")
    if kind not in OBJECT_FIGURES:
        write_figure(args.output, draw(kind, tbl, where=where, **options))
    elif row is not None:
        write_figure(args.output, draw(kind, tbl[row], **options))
    else:
        chosen = np.ones(len(tbl), bool) if where is None else select_rows(tbl, where, prefix=args.prefix)
        without = write_pages(args.output, kind, tbl, np.flatnonzero(chosen), progress=_progress(args), **options)
        if without and not args.quiet:
            _say(f"{len(without)} rows were not inferred and have no page: {', '.join(map(str, without[:10]))}"
                 + (", ..." if len(without) > 10 else ""))
    if not args.quiet:
        _say(args.output)
    return 0


def _drawing_options(args, kind):
    """Return the options of a figure that draws from posteriors; no other figure takes them."""
    from .plotting.files import DRAWN_FIGURES

    options = {**_options(args), **_posterior_options(args)}
    if kind in DRAWN_FIGURES:
        return options
    behind = {"refine": ("no_refine",), "prior": ("prior", "mass_slope", "ebv_scale", "distance_error")}
    given = [f"--{name.replace('_', '-')}" for option, value in options.items() if value is not None
             for name in behind.get(option, (option,)) if getattr(args, name) is not None]
    if given:
        raise InputError(f"--kind {kind} shows the results of {args.input} and does not use {', '.join(given)}; omit "
                         f"{'it' if len(given) == 1 else 'them'}, or choose a kind that draws from posteriors "
                         f"({', '.join(DRAWN_FIGURES)})")
    return {}


def _check_figure(args):
    from pathlib import Path

    from .plotting.files import SUFFIXES

    if Path(args.output).suffix.lower() not in SUFFIXES:
        raise InputError(f"{args.output}: the file name of a figure must end in one of {', '.join(SUFFIXES)}")


def _row(args, tbl):
    """Return the index of the row to plot, or None."""
    from .catalogs.identity import rows_with_id

    if args.id is None:
        if args.row is not None and not 0 <= args.row < len(tbl):
            raise InputError(f"--row {args.row} is not in {args.input}, which has rows 0 to {len(tbl) - 1}")
        return args.row
    if args.row is not None:
        raise InputError("give --row or --id, not both")
    found = rows_with_id(tbl, args.id)
    if len(found) != 1:
        if not len(found):
            raise InputError(f"--id {args.id} is not in {args.input}")
        some = ", ".join(map(str, found[:5])) + ", ..." * (len(found) > 5)
        raise InputError(f"--id {args.id} is in {len(found)} rows of {args.input} ({some}); choose one with --row")
    return int(found[0])


def _cite(args):
    from .catalogs.reader import read_catalog
    from .citing import cite

    print(cite(None if args.input is None else read_catalog(args.input), prefix=args.prefix), end="")
    return 0


def _report(args):
    from .catalogs.reader import read_catalog
    from .report import write_report
    from .utils import check_target, require

    require("jinja2", "report")
    check_target(args.output, overwrite=args.overwrite)
    write_report(read_catalog(args.input), args.output, objects=args.objects, where=_where(args), title=args.title,
                 prefix=args.prefix, overwrite=args.overwrite, progress=_progress(args))
    if not args.quiet:
        _say(args.output)
    return 0


def _fetch(args):
    from .catalogs.phangs import fetch_phangs, list_phangs
    from .catalogs.writer import check_writable, write_catalog

    if args.list:
        print("\n".join(list_phangs().pformat(max_lines=-1, max_width=-1)))
        return 0
    if not args.target:
        raise InputError("give a galaxy or 'all'; clusterpost fetch --list lists the galaxies")
    if args.output is not None:
        check_writable(args.output, overwrite=args.overwrite)
    tbl = fetch_phangs(args.target if len(args.target) > 1 else args.target[0], release=args.release,
                       classifier=args.classifier, classes=args.classes, table=args.table, progress=_progress(args))
    if args.output is not None:
        write_catalog(tbl, args.output, overwrite=args.overwrite)
    if not args.quiet:
        _say(f"{args.output or 'cached'}: {len(tbl)} rows of {tbl.meta['target'].count(',') + 1} targets")
    return 0


def _cache(args):
    from .catalogs.archive import cache_dir, clear_cache, list_cache, verify_cache

    if args.action == "clear":
        _say(f"{cache_dir()}: {clear_cache()} files removed")
        return 0
    table = list_cache() if args.action == "list" else verify_cache()
    if len(table):
        print("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    _say(f"{cache_dir()}: {len(table)} files")
    damaged = args.action == "verify" and (table["state"] == "damaged").sum()
    if damaged:
        _say(f"{damaged} damaged; they are fetched again at the next use")
    return 1 if damaged else 0


def _models(args):
    from .flow.bundled import list_models
    from .flow.modelfile import load_model

    if args.model is None:
        table = list_models()
        print("\n".join(table.pformat(max_lines=-1, max_width=-1)))
        print("\n".join(f"{name}: {table[name].description}" for name in table.colnames if table[name].description))
    elif args.json:
        print(json.dumps(load_model(args.model).card, indent=1))
    else:
        from .validation.certificate import describe_model

        print(describe_model(load_model(args.model)))
    return 0


def _train(args):
    import torch

    from .training.processes import join_processes
    from .training.recipes import RECIPES, train_model

    if args.recipe not in (*RECIPES, *([None] if args.search else [])):
        raise InputError(f"unknown recipe {args.recipe!r}; choose from {', '.join(RECIPES)}")
    is_first = join_processes().is_first
    logging.basicConfig(level=logging.INFO if is_first else logging.WARNING, format="%(asctime)s %(message)s")
    if args.threads:
        torch.set_num_threads(args.threads)
    options = {name: getattr(args, name) for name in ("bands", "table") if getattr(args, name) is not None}
    if options and args.recipe in ("walter2025", "galaxies", None):
        raise InputError(f"--{next(iter(options))} is not available for {args.recipe}; choose a recipe with free bands")
    if args.search:
        return _search(args, options)
    length = {name: getattr(args, name) for name in ("epochs", "mocks_per_epoch") if getattr(args, name) is not None}
    recipe = RECIPES[args.recipe](seed=args.seed, **length, **options)
    card = train_model(recipe, args.output, start=args.start, device=args.device, compile=args.compile, progress=True)
    if is_first:
        _say(f"{args.output}/{recipe.name}.safetensors: test NLL {card['training']['test_nll']:.4f} nats")
    return 0


_OF_SEARCH = ("family", "nll", "efficiency_1", "efficiency_5", "efficiency_50", "draws_per_second", "n_weights",
              "spline_width", "depth", "bins_age", "bins_ebv", "optimizer", "spline_batch_size",
              "spline_learning_rate", "objective_draws")


def _search(args, options):
    from .training.recipes import RECIPES
    from .training.search import FAMILIES, best_settings, search

    families = {None: tuple(FAMILIES), "any_bands": tuple(FAMILIES), "walter2025": ("affine",)}
    if args.recipe not in families:
        raise InputError(f"no search is available for {args.recipe}; give any_bands, walter2025, or no recipe")
    simulator = RECIPES[args.recipe](**options).simulator if args.recipe else None
    table = search(args.output, simulator=simulator, families=families[args.recipe], trials=args.trials,
                   seconds=args.seconds_per_trial, budget=args.budget, seed=args.seed, device=args.device,
                   first=best_settings(args.after) if args.after else None)
    _draw_search(table, args.output)
    complete = table[table["state"] == "complete"]
    for name in (name for name in _OF_SEARCH if name in complete.colnames and complete[name].dtype.kind == "f"):
        complete[name].info.format = ".2g" if "per_second" in name or "rate" in name else ".3f"
    shown = complete[[name for name in _OF_SEARCH if name in complete.colnames]]
    print("\n".join(shown.pformat(max_lines=-1, max_width=-1)))
    best = table[0]
    _say(f"{args.output}/search.ecsv: {len(table)} trials; the best is number {best['trial']} ({best['family']} flow), "
         f"with an NLL of {best['nll']:.4f} nats")
    return 0


def _draw_search(table, folder):
    from pathlib import Path

    from .utils import whole_file

    try:
        from .plotting import plot_search

        figure = plot_search(table)
    except ImportError as error:
        _say(f"no figure: {error}")
        return
    with whole_file(Path(folder) / "search.png") as temporary:
        figure.savefig(temporary)


def _validate(args):
    from .validation.report import validate_model

    print_tables(validate_model(args.model, args.output, **validation_options(args)))
    if not args.quiet:
        _say(f"{args.output}/report.html")
    return 0


def validation_options(args: argparse.Namespace) -> dict:
    """Return the options of `~clusterpost.validation.validate_model` for these arguments."""
    return {"n_mocks": args.n, "n_draws": args.draws, "seed": args.seed,
            "n_refined": 0 if args.network_only else args.refined, "exact": args.exact, "controls": args.controls,
            "catalog": args.catalog, "distance_source": args.distance_source, "n_clusters": args.clusters,
            "certify": args.certify, "progress": not args.quiet}


def print_tables(tables: Mapping[str, Table]) -> None:
    """Print the tables of a validation with their names as titles."""
    for title, table in tables.items():
        print(title, *(f"{name}: {table.meta[name]}" for name in ("n_mocks", "n_draws", "seed", "sha256")
                       if name in table.meta), sep="\n")
        for name in table.colnames:
            if table[name].dtype.kind == "f" and not table[name].info.format:
                table[name].info.format = ".3g" if name == "p_value" else ".4f"
        print("\n".join(table.pformat(max_lines=-1, max_width=-1)), end="\n\n")


def _check(args):
    from .check import check_installation

    problems = 0
    for finding in check_installation():
        problems += finding.problem
        print(f"{'PROBLEM' if finding.problem else 'ok     '}  {finding.name}: {finding.result}"
              + (f"\n         remedy: {finding.remedy}" if finding.remedy else ""))
    return 1 if problems else 0


def _say(text):
    print(text, file=sys.stderr)


CALLS = {"infer": _infer, "sample": _sample, "simulate": _simulate, "plot": _plot, "report": _report, "cite": _cite,
          "fetch": _fetch, "cache": _cache, "models": _models, "train": _train, "validate": _validate, "check": _check}


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional

    Returns
    -------
    int
        0 on success, 1 if ``check`` or ``cache verify`` found a problem, 2 for bad input, 130
        if interrupted, 141 if the reader of standard output stopped (as for SIGINT and SIGPIPE).
    """
    parser = make_parser(CALLS)
    args = parser.parse_args(argv)
    args.elsewhere = vars(parser.parse_args(["infer", "", ""])).keys() - vars(args).keys()
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning(warnings.showwarning, args.elsewhere)
        return _run(args)


def _say_warning(show, elsewhere):
    """Show input warnings in terms of shell options, and other warnings unchanged."""
    def say(message, category, *args, **kwargs):
        if isinstance(message, InputWarning):
            _say(f"clusterpost: warning: {message.at_the_shell(elsewhere)}")
        else:
            show(message, category, *args, **kwargs)

    return say


def _run(args):
    try:
        code = args.call(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python flushes standard output at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (InputError, ArchiveError) as error:
        _say(f"clusterpost: {error.at_the_shell(args.elsewhere)}")
        return 2
    except (ImportError, OSError) as error:
        _say(f"clusterpost: {error}")
        return 2
    except KeyboardInterrupt:
        _say("clusterpost: interrupted" + (f"; {args.kept % vars(args)}" if args.kept else ""))
        return 130
