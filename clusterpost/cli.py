"""The command line: arguments in, calls out."""

from __future__ import annotations

import argparse
import json
import sys

from . import __version__
from .errors import InputError

__all__ = ["main"]

_FIGURES = (".png", ".pdf", ".svg")
_EPILOG = """examples:
  clusterpost infer catalog.fits posteriors.fits
  clusterpost infer mine.ecsv out.fits --distance 9.9 --columns F275W=flux_nuv,err_nuv F336W=flux_u,err_u ...
  clusterpost plot posteriors.fits overview.png
  clusterpost plot posteriors.fits corner.png --row 5
  clusterpost simulate -n 1000 mocks.fits
  clusterpost check
"""


def _parser():
    parser = argparse.ArgumentParser(
        prog="clusterpost", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Posteriors of star-cluster age, mass and reddening from HST photometry.")
    parser.add_argument("--version", action="version", version=f"clusterpost {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, call, text, example):
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".",
                                  epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.set_defaults(call=call)
        return sub

    def inference_options(sub):
        sub.add_argument("--model", default="default", help="bundled model or model file (default: %(default)s)")
        sub.add_argument("--distance", help="Mpc, a quantity such as '9.9 Mpc', or a galaxy's name")
        sub.add_argument("--columns", nargs="+", metavar="BAND=FLUX,ERR", help="columns of other names")
        sub.add_argument("--error-floor", type=float, default=0.05, help="relative, 0 for none (default: %(default)s)")
        sub.add_argument("--seed", type=int, default=0)
        sub.add_argument("--device", help="cpu or cuda")

    def output_options(sub):
        sub.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
        sub.add_argument("--quiet", action="store_true", help="no progress and no summary on standard error")

    sub = command("infer", _infer, "infer the posteriors of a catalog",
                  "clusterpost infer catalog.fits posteriors.fits")
    sub.add_argument("input", help="FITS, ECSV, VOTable, CSV, Parquet or a LEGUS .tab file")
    sub.add_argument("output", help=".fits, .ecsv, .vot or .parquet")
    sub.add_argument("-n", "--n-samples", type=int, help="draws from each posterior (default: the model's)")
    sub.add_argument("--quantiles", type=float, nargs="+", default=[0.16, 0.5, 0.84])
    sub.add_argument("--prefix", default="", help="put before the name of every added column")
    inference_options(sub)
    output_options(sub)

    sub = command("simulate", _simulate, "simulate clusters from the prior, with their truths",
                  "clusterpost simulate -n 1000 mocks.fits")
    sub.add_argument("output", help=".fits, .ecsv, .vot or .parquet")
    sub.add_argument("-n", type=int, default=1000, help="number of mocks (default: %(default)s)")
    sub.add_argument("--bands", nargs="+", help="default: the five of WFC3/UVIS")
    sub.add_argument("--distance", type=float, help="Mpc (default: uniform between 1 and 30)")
    sub.add_argument("--errors", type=float, help="relative flux error (default: uniform between 0.05 and 0.5)")
    sub.add_argument("--noise", default="lognormal", choices=["lognormal", "normal", "walter2025"])
    sub.add_argument("--seed", type=int, default=0)
    output_options(sub)

    sub = command("plot", _plot, "draw an inferred catalog, or the posterior of one row",
                  "clusterpost plot posteriors.fits corner.png --row 5")
    sub.add_argument("input", help="a catalog that clusterpost infer wrote")
    sub.add_argument("output", help=".png, .pdf or .svg")
    sub.add_argument("--row", type=int, help="row counted from 0: its corner plot instead of the overview")
    inference_options(sub)
    output_options(sub)

    sub = command("models", _models, "list the bundled models, or print one model's card",
                  "clusterpost models walter2025")
    sub.add_argument("model", nargs="?", help="print the card of this bundled model or model file")

    sub = command("train", _train, "train a model, or go on with a training that was interrupted",
                  "clusterpost train walter2025 -o run/")
    sub.add_argument("recipe", choices=["walter2025"])
    sub.add_argument("-o", "--output", required=True, help="folder for checkpoint and model file")
    sub.add_argument("--epochs", type=int, default=8, help="of 5e6 mocks each (default: %(default)s)")
    sub.add_argument("--mocks-per-epoch", type=int, default=5_000_000)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--device", default="cpu")
    sub.add_argument("--threads", type=int, help="CPU threads")
    sub.add_argument("--compile", action="store_true", help="use torch.compile (needs a C++ compiler)")

    sub = command("validate", _validate, "test a model's calibration on mocks",
                  "clusterpost validate walter2025 -o validation/")
    sub.add_argument("model", help="bundled model or model file")
    sub.add_argument("-o", "--output", required=True, help="folder for table and figure")
    sub.add_argument("-n", type=int, default=100_000, help="mocks (default: %(default)s)")
    sub.add_argument("--draws", type=int, default=100, help="draws for each (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1)

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
    return {"model": args.model, "distance": _distance(args.distance), "columns": _columns(args.columns),
            "error_floor": args.error_floor, "seed": args.seed, "device": args.device}


def _progress(args):
    return False if args.quiet else None


def _infer(args):
    from .catalogs.reader import read_catalog
    from .catalogs.writer import check_writable, write_catalog
    from .flags import NOT_INFERRED
    from .infer import infer_table

    check_writable(args.output, overwrite=args.overwrite)
    tbl = read_catalog(args.input, columns=_columns(args.columns))
    out = infer_table(tbl, n_samples=args.n_samples, quantiles=args.quantiles, prefix=args.prefix,
                      progress=_progress(args), **_options(args))
    write_catalog(out, args.output, overwrite=args.overwrite)
    if not args.quiet:
        flag = out[f"{args.prefix}flag"]
        inferred = ((flag & NOT_INFERRED) == 0).sum()
        _say(f"{args.output}: {len(out)} rows, {inferred} inferred, {len(out) - inferred} flagged 'not inferred'")
        _say_flags(flag)
    return 0


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
    from .utils import whole_file

    if Path(args.output).suffix.lower() not in _FIGURES:
        raise InputError(f"{args.output}: a figure's file ends in one of {', '.join(_FIGURES)}")
    if Path(args.output).exists() and not args.overwrite:
        raise InputError(f"{args.output} exists; give another name, or --overwrite")
    tbl = read_catalog(args.input, columns=_columns(args.columns))
    if args.row is None:
        figure = plot_catalog(tbl)
    elif not 0 <= args.row < len(tbl):
        raise InputError(f"--row {args.row} is not in {args.input}, which has rows 0 to {len(tbl) - 1}")
    else:
        figure = plot_posterior(tbl[args.row : args.row + 1], **_options(args))
    with whole_file(args.output) as temporary:
        figure.savefig(temporary, dpi=150)
    if not args.quiet:
        _say(args.output)
    return 0


def _models(args):
    from .flow.modelfile import list_models, load_model

    if args.model is None:
        print("\n".join(list_models().pformat(max_lines=-1, max_width=-1)))
    else:
        print(json.dumps(load_model(args.model).card, indent=1))
    return 0


def _train(args):
    import logging

    import torch

    from .training.recipes import RECIPES, train_model

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = RECIPES[args.recipe](epochs=args.epochs, mocks_per_epoch=args.mocks_per_epoch, seed=args.seed)
    card = train_model(recipe, args.output, device=args.device, compile=args.compile, progress=True)
    _say(f"{args.output}/{recipe.name}.safetensors: test NLL {card['training']['test_nll']:.4f} nats")
    return 0


def _validate(args):
    from .validation.report import validate_model

    table = validate_model(args.model, args.output, n_mocks=args.n, n_draws=args.draws, seed=args.seed)
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)))
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
        0 when done, 1 when ``check`` found a problem, 2 for bad input, 130
        when interrupted.
    """
    args = _parser().parse_args(argv)
    try:
        return args.call(args)
    except (InputError, ImportError, OSError) as error:
        _say(f"clusterpost: {error}")
        return 2
    except KeyboardInterrupt:
        _say("clusterpost: interrupted; nothing was written")
        return 130
