"""The command line: arguments in, calls out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings

from . import __version__
from .errors import InputError, InputWarning

__all__ = ["main"]

_FIGURES = (".png", ".pdf", ".svg")
_WHOLE = "files are written whole or not at all"
_EPILOG = """examples:
  clusterpost infer catalog.fits posteriors.fits
  clusterpost infer mine.ecsv out.fits --distance 9.9 --columns F275W=flux_nuv,err_nuv F336W=flux_u,err_u ...
  clusterpost infer catalog.fits out.fits --noise normal --mass-slope -2 --distance-error 0.05
  clusterpost infer catalog.fits out.fits --exact
  clusterpost infer big.parquet out.parquet
  clusterpost infer folder/ out/ --scheduler tcp://host:8786
  clusterpost plot posteriors.fits overview.png
  clusterpost plot posteriors.fits corner.png --row 5     with the settings of the posteriors
  clusterpost simulate -n 1000 mocks.fits
  clusterpost fetch NGC1433 -o ngc1433.fits
  clusterpost check
"""


def _parser():
    parser = argparse.ArgumentParser(
        prog="clusterpost", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Posteriors of star-cluster age, mass and reddening from HST photometry.")
    parser.add_argument("--version", action="version", version=f"clusterpost {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, call, text, example, kept=None):
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".",
                                  epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.set_defaults(call=call, kept=kept)  # what an interruption leaves
        return sub

    def reading_options(sub):
        sub.add_argument("--columns", nargs="+", metavar="BAND=FLUX,ERR", help="columns of other names; a third "
                         "one marks upper limits")
        sub.add_argument("--unit", help="of fluxes or magnitudes that carry none: mJy, uJy, Jy, nmgy, "
                         "erg/s/cm2/Angstrom, or the system AB, ST or Vega")
        sub.add_argument("--missing", nargs="+", type=float, default=(), metavar="VALUE",
                         help="values that stand for missing, besides 99, 999, 66.666, 1e20 and their like")
        sub.add_argument("--hdu", help="number or name of the table in a file of several")
        sub.add_argument("--bands", nargs=5, metavar="BAND",
                         help="the bands of a LEGUS file, in its order, where its name does not tell its cameras")

    def inference_options(sub, floor="0.05", seed="0"):
        sub.add_argument("--model", default="default", help="bundled model or model file (default: %(default)s)")
        sub.add_argument("--distance", help="Mpc, a quantity such as '9.9 Mpc', or a galaxy's name")
        sub.add_argument("--distance-source", choices=["lee2022", "legus", "table"],
                         help="whose distance of the galaxy (default: the table's own, or lee2022)")
        reading_options(sub)
        sub.add_argument("--error-floor", type=float, help=f"relative, 0 for none (default: {floor})")
        sub.add_argument("--seed", type=int, help=f"a whole number (default: {seed})")
        sub.add_argument("--device", help="cpu or cuda")

    def posterior_options(sub):
        sub.add_argument("--noise", choices=["lognormal", "normal", "walter2025"],
                         help="'normal' takes fluxes of zero and below (default: the model's own)")
        sub.add_argument("--no-refine", action="store_true", help="the network alone, not weighted to be exact")
        sub.add_argument("--mass-slope", type=float, metavar="A",
                         help="prior dN/dm ~ m^A, such as -2 for a mass function (default: flat in log mass)")
        sub.add_argument("--ebv-scale", type=float, metavar="MAG",
                         help="prior exp(-E(B-V)/MAG) (default: flat)")
        sub.add_argument("--distance-error", type=float, default=0.0, metavar="REL",
                         help="relative standard deviation of the distance, such as 0.05, to marginalize over")

    def row_options(sub, what):
        sub.add_argument("--where", metavar="EXPR", help=f"{what} for which an expression of columns holds, such as "
                         "'class <= 2 and age_q50 < 10'; 'good' in it is what --good is")
        sub.add_argument("--good", action="store_true", help=f"{what} without a flag that calls for caution")

    def output_options(sub):
        sub.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
        sub.add_argument("--quiet", action="store_true", help="no progress and no summary on standard error")

    sub = command("infer", _infer, "infer the posteriors of a catalog",
                  "clusterpost infer catalog.fits posteriors.fits", _WHOLE)
    sub.add_argument("input", help="FITS, ECSV, VOTable, CSV, Parquet or LEGUS .tab file, or folder of Parquet files")
    sub.add_argument("output", help=".fits, .ecsv, .vot or .parquet, which is written in parts and goes on after a "
                     "kill; for a folder another folder")
    sub.add_argument("-n", "--n-samples", type=int,
                     help="draws from each posterior, to begin with (default: the model's, 1000 for the default "
                          "model); a quarter as many make quantiles two or three times as uncertain")
    sub.add_argument("--quantiles", type=float, nargs="+", default=[0.16, 0.5, 0.84])
    sub.add_argument("--prefix", default="", help="put before the name of every added column")
    sub.add_argument("--exact", action="store_true", help="the exact grid instead of a network")
    sub.add_argument("--rows-per-part", type=int, metavar="N",
                     help="rows in memory, and those that a kill costs at most (default: 16384)")
    sub.add_argument("--scheduler", metavar="ADDRESS",
                     help="of a Dask cluster to infer a folder on (default: a cluster of this machine's cores)")
    row_options(sub, "write only rows")
    inference_options(sub)
    posterior_options(sub)
    output_options(sub)

    sub = command("simulate", _simulate, "simulate clusters from the prior, with their truths",
                  "clusterpost simulate -n 1000 mocks.fits", _WHOLE)
    sub.add_argument("output", help=".fits, .ecsv, .vot or .parquet")
    sub.add_argument("-n", type=int, default=1000, help="number of mocks (default: %(default)s)")
    sub.add_argument("--bands", nargs="+", help="default: the five of WFC3/UVIS")
    sub.add_argument("--distance", type=float, help="Mpc (default: uniform between 1 and 30)")
    sub.add_argument("--errors", type=float, help="relative flux error (default: uniform between 0.05 and 0.5)")
    sub.add_argument("--noise", default="lognormal", choices=["lognormal", "normal", "walter2025"])
    sub.add_argument("--seed", type=int, default=0)
    output_options(sub)

    sub = command("plot", _plot, "draw an inferred catalog, or the posterior of one row",
                  "clusterpost plot posteriors.fits corner.png --row 5", _WHOLE)
    sub.add_argument("input", help="a catalog that clusterpost infer wrote")
    sub.add_argument("output", help=".png, .pdf or .svg")
    sub.add_argument("--row", type=int, help="row counted from 0: its corner plot instead of the overview")
    row_options(sub, "draw only rows")
    sub.add_argument("--prefix", help="of the results, where the catalog has several")
    inference_options(sub, floor="that of the results", seed="that of the results")
    posterior_options(sub)
    output_options(sub)

    sub = command("fetch", _fetch, "fetch catalogs of PHANGS-HST", "clusterpost fetch NGC1433 -o ngc1433.fits",
                  "files that are whole stay in the cache, and the same command fetches the others")
    sub.add_argument("target", nargs="*", help="galaxies such as NGC1433, M74 or ngc628c, or 'all'")
    sub.add_argument("-o", "--output", help=".fits, .ecsv, .vot or .parquet (default: only fill the cache)")
    sub.add_argument("--list", action="store_true", help="print the targets, and fetch nothing")
    sub.add_argument("--release", default="dr4", help="dr3, dr4 or dr5 (default: %(default)s)")
    sub.add_argument("--classifier", default="human", choices=["human", "machine"])
    sub.add_argument("--classes", type=int, nargs="+", default=[1, 2], metavar="N",
                     help="1 and 2 for clusters, 3 for compact associations (default: 1 2)")
    sub.add_argument("--table", default="both", help="obs, sed or both (default: %(default)s)")
    output_options(sub)

    sub = command("cache", _cache, "list, clear or verify the files that were fetched", "clusterpost cache verify")
    sub.add_argument("action", choices=["list", "clear", "verify"])

    sub = command("models", _models, "list the bundled models, or describe one model and its certificate",
                  "clusterpost models walter2025")
    sub.add_argument("model", nargs="?", help="describe this bundled model or model file")
    sub.add_argument("--json", action="store_true", help="all that is known of it, as JSON")

    sub = command("train", _train, "train a model or search for one, or go on with what was interrupted",
                  "clusterpost train any_bands -o run/",
                  "the same command goes on with what is in %(output)s: the last checkpoint, or the finished trials")
    sub.add_argument("recipe", nargs="?", help="any_bands, spline, maf or walter2025; with --search any_bands, or none "
                     "for five bands always measured, for both families, or walter2025 for its own")
    sub.add_argument("-o", "--output", required=True, help="folder for checkpoint and model file, or for the search")
    sub.add_argument("--bands", nargs="+", help="those to know (default: all eight)")
    sub.add_argument("--table", help="SSP models: z0.008, z0.02, z0.05, or a band-flux table (default: z0.02)")
    sub.add_argument("--epochs", type=int, default=8, help="of 5e6 mocks each (default: %(default)s)")
    sub.add_argument("--mocks-per-epoch", type=int, default=5_000_000)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--device", default="cpu")
    sub.add_argument("--threads", type=int, help="CPU threads")
    sub.add_argument("--compile", action="store_true", help="use torch.compile (needs a C++ compiler)")
    sub.add_argument("--search", action="store_true", help="search for architecture and settings by Hyperband")
    sub.add_argument("--trials", type=int, default=100, help="of the search (default: %(default)s)")
    sub.add_argument("--seconds-per-trial", type=float, default=600, help="of training (default: %(default)s)")
    sub.add_argument("--budget", type=float, help="seconds after which the search begins no new trial")
    sub.add_argument("--after", metavar="FOLDER", help="a shorter search, with whose best trials to begin")

    sub = command("validate", _validate, "check a model on mocks and on real photometry, and certify it",
                  "clusterpost validate walter2025 -o validation/",
                  "what is finished is in %(output)s, and the same command goes on with it")
    sub.add_argument("model", help="bundled model or model file")
    sub.add_argument("-o", "--output", required=True, help="folder for report.html, tables and figures; a run that was "
                     "interrupted goes on where it was")
    sub.add_argument("-n", type=int, default=100_000,
                     help="mocks (default: %(default)s, a few minutes for the default model)")
    sub.add_argument("--draws", type=int, default=100, help="draws for each (default: %(default)s)")
    sub.add_argument("--refined", type=int, metavar="N", help="mocks for the refined posteriors (default: as many)")
    sub.add_argument("--network-only", action="store_true", help="no refined posteriors: --refined 0")
    sub.add_argument("--exact", type=int, default=0, metavar="N",
                     help="also compare with the exact posteriors of N mocks of each of several kinds")
    sub.add_argument("--controls", action="store_true",
                     help="also find which diagnostic catches posteriors that are wrong on purpose")
    sub.add_argument("--catalog", metavar="FILE", help="also check on a catalog of real photometry with published fits")
    sub.add_argument("--distance-source", choices=["lee2022", "legus", "table"],
                     help="whose distance of the catalog's galaxy: that of the published fits")
    sub.add_argument("--clusters", type=int, metavar="N",
                     help="at most N clusters of the catalog, for a model that is slow to refine")
    sub.add_argument("--certify", action="store_true", help="put the certificate into the model's card")
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--quiet", action="store_true", help="no progress on standard error")

    command("check", _check, "check the installation; each problem comes with its mend", "clusterpost check")
    return parser


def _distance(text):
    if text is None:
        return None
    import astropy.units as u

    try:
        return u.Quantity(text)
    except (TypeError, ValueError):
        return text


def _reading(args):
    """Options of reading, as far as they are given."""
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
            raise InputError(f"--columns {pair!r} is not of the form BAND=FLUX,ERR")
        columns[band] = tuple(names.split(","))
    return columns


def _options(args):
    options = {"model": args.model, "distance": _distance(args.distance), "device": args.device}
    given = {"error_floor": args.error_floor, "seed": args.seed}  # the columns are canonical once read
    return options | {name: value for name, value in given.items() if value is not None}


def _posterior_options(args):
    """Options of the posterior; the prior is left to the model where nothing is said about it."""
    options = {"noise": args.noise, "refine": False if args.no_refine else None}
    if args.mass_slope is not None or args.ebv_scale is not None or args.distance_error:
        from .priors import Exponential, PowerLaw, ProductPrior

        options["prior"] = ProductPrior(log_mass=None if args.mass_slope is None else PowerLaw(args.mass_slope),
                                        ebv=None if args.ebv_scale is None else Exponential(args.ebv_scale),
                                        distance_error=args.distance_error)
    return options


def _progress(args):
    return False if args.quiet else None


def _infer(args):
    from pathlib import Path

    options = {**_options(args), **_posterior_options(args)}
    if args.exact:
        _check_exact(args)
        options = {k: v for k, v in options.items() if k not in ("model", "noise", "refine")}
    else:
        options["n_samples"] = args.n_samples
    options |= {"quantiles": args.quantiles, "prefix": args.prefix, "progress": _progress(args)}
    reading = _reading(args)
    _where(args)
    many = args.scheduler is not None or Path(args.input).is_dir()
    parquet = Path(args.output).suffix.lower() == ".parquet" and not {"hdu", "bands"} & reading.keys()
    if many and {"hdu", "bands"} & reading.keys():
        raise InputError(f"--hdu and --bands are for single files of other formats; {args.input} holds Parquet files")
    if many or parquet:
        return _infer_in_parts(args, many, {**reading, **options, "exact": args.exact})
    if args.rows_per_part is not None:
        raise InputError(f"--rows-per-part is for output in parts, which is Parquet; {args.output} is written at once")
    return _infer_at_once(args, reading, options)


def _where(args):
    """The expression that says which rows to keep, checked as far as possible without a table; None for all."""
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
    call = exact_posterior if args.exact else infer_table
    tbl, where = columns_for(read_catalog(args.input, **reading), args.output), _where(args)
    early = where is not None and column_names(where) <= set(tbl.colnames)  # rows that nobody wants are not inferred
    out = call(_rows_where(tbl, where, "") if early else tbl, **options)
    if not early:
        out = _rows_where(out, where, args.prefix)
    write_catalog(out, args.output, overwrite=args.overwrite)
    if not args.quiet:
        _say_inferred(args.output, out[f"{args.prefix}flag"])
    return 0


def _rows_where(tbl, where, prefix):
    from .selection import select_rows

    if where is None:
        return tbl
    chosen = select_rows(tbl, where, prefix=prefix)
    if not chosen.any():
        raise InputError(f"no row of {len(tbl)} is left by {where}")
    return tbl[chosen]


def _infer_in_parts(args, many, options):
    from .scale import infer_dataset, infer_file, read_column

    if args.where is not None or args.good:
        raise InputError("--where and --good are not for output in parts, which is Parquet; write all rows, and select "
                         "when you plot or read them")
    if args.rows_per_part is not None:
        options["rows_per_part"] = args.rows_per_part
    args.kept = "finished parts are kept, and the same command goes on with them"
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
    given = {"--model": args.model != "default", "--no-refine": args.no_refine, "-n": args.n_samples is not None,
             "--noise": args.noise not in (None, "lognormal")}
    if any(given.values()):
        named = next(name for name, there in given.items() if there)
        raise InputError(f"--exact needs no network and has log-normal noise; leave {named} out")


def _say_flags(flag):
    from .flags import FLAGS

    for known in FLAGS:
        if count := ((flag & known.bit) != 0).sum():
            _say(f"  {count:6d}  {known.name}")


def _simulate(args):
    from .catalogs.writer import check_writable, write_catalog
    from .training.mocks import simulate

    check_writable(args.output, overwrite=args.overwrite)
    mocks = simulate(args.n, bands=args.bands, distance=args.distance, errors=args.errors, noise=args.noise,
                     seed=args.seed)
    write_catalog(mocks, args.output, overwrite=args.overwrite)
    if not args.quiet:
        _say(f"{args.output}: {len(mocks)} mocks")
    return 0


def _plot(args):
    from pathlib import Path

    from .catalogs.reader import read_catalog
    from .plotting import plot_catalog, plot_posterior
    from .utils import check_target, whole_file

    if Path(args.output).suffix.lower() not in _FIGURES:
        raise InputError(f"{args.output}: a figure's file ends in one of {', '.join(_FIGURES)}")
    check_target(args.output, overwrite=args.overwrite)
    tbl = read_catalog(args.input, **_reading(args))
    where = _where(args)
    if args.row is None:
        figure = plot_catalog(tbl, where=where, prefix=args.prefix)
    elif where is not None:
        raise InputError("--row draws one row; leave --where and --good out")
    elif not 0 <= args.row < len(tbl):
        raise InputError(f"--row {args.row} is not in {args.input}, which has rows 0 to {len(tbl) - 1}")
    else:
        figure = plot_posterior(tbl[args.row : args.row + 1], prefix=args.prefix, **_options(args),
                                **_posterior_options(args))
    with whole_file(args.output) as temporary:
        figure.savefig(temporary, dpi=150)
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
        raise InputError("name a galaxy, or 'all'; clusterpost fetch --list lists them")
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
        _say(f"{damaged} damaged; they are fetched anew when they are next asked for")
    return 1 if damaged else 0


def _models(args):
    from .flow.modelfile import list_models, load_model

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
    import logging

    import torch

    from .training.recipes import RECIPES, train_model

    if args.recipe not in (*RECIPES, *([None] if args.search else [])):
        raise InputError(f"no recipe {args.recipe!r}; choose from {', '.join(RECIPES)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.threads:
        torch.set_num_threads(args.threads)
    options = {name: getattr(args, name) for name in ("bands", "table") if getattr(args, name) is not None}
    if options and args.recipe in ("walter2025", None):
        raise InputError(f"--{next(iter(options))} is for recipes of any bands; choose another than {args.recipe}")
    if args.search:
        return _search(args, options)
    recipe = RECIPES[args.recipe](epochs=args.epochs, mocks_per_epoch=args.mocks_per_epoch, seed=args.seed, **options)
    card = train_model(recipe, args.output, device=args.device, compile=args.compile, progress=True)
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
        raise InputError(f"there is no search for {args.recipe}; name any_bands, walter2025 or no recipe")
    simulator = RECIPES[args.recipe](**options).simulator if args.recipe else None
    table = search(args.output, simulator=simulator, families=families[args.recipe], trials=args.trials,
                   seconds=args.seconds_per_trial, budget=args.budget, seed=args.seed, device=args.device,
                   first=best_settings(args.after) if args.after else None)
    complete = table[table["state"] == "complete"]
    for name in (name for name in _OF_SEARCH if name in complete.colnames and complete[name].dtype.kind == "f"):
        complete[name].info.format = ".2g" if "per_second" in name or "rate" in name else ".3f"
    shown = complete[[name for name in _OF_SEARCH if name in complete.colnames]]
    print("\n".join(shown.pformat(max_lines=-1, max_width=-1)))
    best = table[0]
    _say(f"{args.output}/search.ecsv: {len(table)} trials; the best is number {best['trial']}, of the {best['family']} "
         f"family, with an NLL of {best['nll']:.4f} nats")
    return 0


def _validate(args):
    from .validation.report import validate_model

    tables = validate_model(args.model, args.output, n_mocks=args.n, n_draws=args.draws, seed=args.seed,
                            n_refined=0 if args.network_only else args.refined, exact=args.exact,
                            controls=args.controls, catalog=args.catalog, distance_source=args.distance_source,
                            n_clusters=args.clusters, certify=args.certify, progress=not args.quiet)
    for title, table in tables.items():
        if title.endswith("_claims"):  # sentences, for the report
            continue
        print(title, *(f"{name}: {table.meta[name]}" for name in ("n_mocks", "n_draws", "seed", "sha256")
                       if name in table.meta), sep="\n")
        for name in table.colnames:
            if table[name].dtype.kind == "f" and not table[name].info.format:
                table[name].info.format = ".3g" if name == "p_value" else ".4f"
        print("\n".join(table.pformat(max_lines=-1, max_width=-1)), end="\n\n")
    if not args.quiet:
        _say(f"{args.output}/report.html")
    return 0


def _check(args):
    from .check import check_installation

    problems = 0
    for finding in check_installation():
        problems += finding.problem
        print(f"{'PROBLEM' if finding.problem else 'ok     '}  {finding.name}: {finding.result}"
              + (f"\n         mend: {finding.mend}" if finding.mend else ""))
    return 1 if problems else 0


def _say(text):
    print(text, file=sys.stderr)


def main(argv=None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional

    Returns
    -------
    int
        0 when done, 1 when ``check`` or ``cache verify`` found a problem, 2 for bad input, 130
        when interrupted, 141 when whoever reads standard output stopped (as of SIGINT and SIGPIPE).
    """
    args = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning(warnings.showwarning)
        return _run(args)


def _say_warning(show):
    """Show what is wrong with input in the words of the shell, and other warnings as ever."""
    def say(message, category, *args, **kwargs):
        if isinstance(message, InputWarning):
            _say(f"clusterpost: warning: {message.at_the_shell()}")
        else:
            show(message, category, *args, **kwargs)

    return say


def _run(args):
    try:
        code = args.call(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python writes what is left at its end, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except InputError as error:
        _say(f"clusterpost: {error.at_the_shell()}")
        return 2
    except (ImportError, OSError) as error:
        _say(f"clusterpost: {error}")
        return 2
    except KeyboardInterrupt:
        _say("clusterpost: interrupted" + (f"; {args.kept % vars(args)}" if args.kept else ""))
        return 130
