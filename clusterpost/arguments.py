"""The arguments of the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from . import __version__
from .config import conf
from .plotting.files import CATALOG_FIGURES, OBJECT_FIGURES

if TYPE_CHECKING:
    from .typing import ModelLike

__all__ = ["make_parser"]

_WHOLE = "files are written whole or not at all"
_FILES = ".fits, .ecsv, .vot, .hdf5, .csv or .parquet"
_EPILOG = """examples:
  clusterpost infer catalog.fits posteriors.fits
  clusterpost infer mine.ecsv out.fits --distance 9.9 --columns F275W=flux_nuv,err_nuv F336W=flux_u,err_u ...
  clusterpost infer catalog.fits out.fits --model any_bands --noise normal --mass-slope -2 --distance-error 0.05
  clusterpost infer catalog.fits out.fits --exact
  clusterpost infer big.parquet out.parquet
  clusterpost infer folder/ out/ --scheduler tcp://host:8786
  clusterpost plot posteriors.fits overview.png
  clusterpost plot posteriors.fits object.png --row 5     with the settings of the posteriors
  clusterpost plot posteriors.fits object.pdf --id 1234
  clusterpost plot posteriors.fits cmd.png --kind color-magnitude --good
  clusterpost sample posteriors.fits draws.hdf5 -n 500
  clusterpost simulate -n 1000 mocks.fits
  clusterpost report posteriors.fits report.html
  clusterpost cite posteriors.fits
  clusterpost fetch NGC1433 -o ngc1433.fits
  clusterpost check
"""


class _Parser(argparse.ArgumentParser):
    """Say what is wrong first, and where the options are listed: all of them would hide it."""

    def error(self, message):
        self.exit(2, f"clusterpost: {message}\nusage: {self.prog} --help\n")


def make_parser(calls: dict) -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Parameters
    ----------
    calls : dict
        The function that runs each command.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = _Parser(
        prog="clusterpost", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Posteriors of star-cluster age, mass and reddening from HST photometry.")
    parser.add_argument("--version", action="version", version=f"clusterpost {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, example: str, kept: str | None = None) -> argparse.ArgumentParser:
        """Add a command, which an example of its call describes."""
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".",
                                  epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.set_defaults(call=calls[name], kept=kept)  # what an interruption leaves
        return sub

    def reading_options(sub: argparse.ArgumentParser) -> None:
        """Add the options that say how a table is read."""
        sub.add_argument("--columns", nargs="+", metavar="BAND=FLUX,ERR", help="columns of other names; a third "
                         "one marks upper limits")
        sub.add_argument("--unit", help="of fluxes or magnitudes that carry none: mJy, uJy, Jy, nmgy, "
                         "erg/s/cm2/Angstrom, or the system AB, ST or Vega")
        sub.add_argument("--missing", nargs="+", type=float, default=(), metavar="VALUE",
                         help="values that stand for missing, besides 99, 999, 66.666, 1e20 and their like")
        sub.add_argument("--hdu", help="number or name of the table in a file of several")
        sub.add_argument("--bands", nargs=5, metavar="BAND",
                         help="the bands of a LEGUS file, in its order, where its name does not tell its cameras")

    def inference_options(sub: argparse.ArgumentParser, model: ModelLike,
                          floor: str = "the model's, 0.12 for stochastic, 0.05 for any_bands", seed: str = "0") -> None:
        """Add the options of whatever infers."""
        sub.add_argument("--model", help=f"bundled model or model file (default: {model})")
        sub.add_argument("--distance", help="Mpc, a quantity such as '9.9 Mpc', or a galaxy's name")
        sub.add_argument("--distance-source", choices=["lee2022", "legus", "table"],
                         help="whose distance of the galaxy (default: the table's own, or lee2022)")
        reading_options(sub)
        sub.add_argument("--error-floor", type=float, help=f"relative, 0 for none (default: {floor})")
        sub.add_argument("--seed", type=int, help=f"a whole number (default: {seed})")
        sub.add_argument("--device", help="cpu or cuda")
        sub.add_argument("--workers", type=int, metavar="N", help="chunks of rows to work on at once, each on a core; "
                         "the numbers are the same (default: all cores)")

    def posterior_options(sub: argparse.ArgumentParser) -> None:
        """Add the options of noise model, refinement and prior."""
        sub.add_argument("--noise", choices=["lognormal", "normal", "walter2025"],
                         help="'normal' takes fluxes of zero and below, and a model with a likelihood, such as "
                         "any_bands (default: the model's own)")
        sub.add_argument("--no-refine", action="store_true", help="the network alone, not weighted to be exact where "
                         "there is a likelihood")
        sub.add_argument("--prior", metavar="NAME", help="a prior that the model has a name for, such as survey or "
                         "flat for clusters drawn star by star (default: the model's own, survey for stochastic)")
        sub.add_argument("--mass-slope", type=float, metavar="A",
                         help="prior dN/dm ~ m^A, such as -2 for a mass function, in the place of what the prior "
                         "says of the mass")
        sub.add_argument("--ebv-scale", type=float, metavar="MAG",
                         help="prior exp(-E(B-V)/MAG) at every age, in the place of what the prior says of it")
        sub.add_argument("--distance-error", type=float, default=0.0, metavar="REL",
                         help="relative standard deviation of the distance, such as 0.05, to marginalize over, where "
                         "no column distance_err has a row's own (default: none)")

    def row_options(sub: argparse.ArgumentParser, what: str) -> None:
        """Add the options that choose rows."""
        sub.add_argument("--where", metavar="EXPR", help=f"{what} for which an expression of columns holds, such as "
                         "'class <= 2 and age_q50 < 10'; 'good' in it is what --good is")
        sub.add_argument("--good", action="store_true", help=f"{what} without a flag that calls for caution")

    def output_options(sub: argparse.ArgumentParser) -> None:
        """Add the options of whatever writes files."""
        sub.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
        sub.add_argument("--quiet", action="store_true", help="no progress and no summary on standard error")

    sub = command("infer", "infer the posteriors of a catalog",
                  "clusterpost infer catalog.fits posteriors.fits", _WHOLE)
    sub.add_argument("input", help="FITS, ECSV, VOTable, CSV, Parquet or LEGUS .tab file, or folder of Parquet files")
    sub.add_argument("output", help=f"{_FILES}, which is written in parts and goes on after a kill; for a folder "
                     "another folder")
    sub.add_argument("-n", "--n-samples", type=int,
                     help="draws from each posterior, to begin with (default: the model's, 1000 for most); a quarter "
                          "as many make quantiles two or three times as uncertain")
    sub.add_argument("--quantiles", type=float, nargs="+", default=[0.16, 0.5, 0.84])
    sub.add_argument("--prefix", default="", help="put before the name of every added column")
    sub.add_argument("--exact", action="store_true", help="the exact grid instead of a network, or simulations of a "
                     "model of stars drawn one by one")
    sub.add_argument("--n-simulations", type=int, metavar="N",
                     help="clusters to simulate for each row, of --exact with a model of stars drawn one by one "
                          "(default: 100000, some five seconds)")
    sub.add_argument("--rows-per-part", type=int, metavar="N",
                     help="rows in memory, and those that a kill costs at most (default: 8192)")
    sub.add_argument("--scheduler", metavar="ADDRESS",
                     help="of a Dask cluster to infer a folder on (default: a cluster of this machine's cores)")
    row_options(sub, "write only rows")
    sub.add_argument("--flat", action="store_true", help="columns age_mode1, age_mode2, ... in the place of arrays, as "
                     "a CSV file always has them")
    inference_options(sub, model=f"{conf.default_model}; any_bands for --exact")
    posterior_options(sub)
    output_options(sub)

    sub = command("sample", "draw from the posteriors of a catalog, all draws with the same weight",
                  "clusterpost sample posteriors.fits draws.hdf5 -n 500 --dtype float32", _WHOLE)
    sub.add_argument("input", help="a catalog, or what clusterpost infer wrote, whose settings are repeated")
    sub.add_argument("output", help=f"{_FILES}; identifiers and coordinates are carried along")
    sub.add_argument("-n", "--n-samples", type=int, default=1000, help="draws of each posterior (default: %(default)s)")
    sub.add_argument("--dtype", choices=["float64", "float32"], default="float64",
                     help="float32 takes half the space; what is beyond its range stays float64 (default: %(default)s)")
    row_options(sub, "draw only for rows")
    sub.add_argument("--prefix", help="of the results, where the catalog has several")
    inference_options(sub, f"that of the results, or {conf.default_model}", "that of the results, or the model's",
                      seed="that of the results, or 0")
    posterior_options(sub)
    output_options(sub)

    sub = command("simulate", "simulate clusters from the prior, with their truths",
                  "clusterpost simulate -n 1000 mocks.fits", _WHOLE)
    sub.add_argument("output", help=_FILES)
    sub.add_argument("-n", type=int, default=1000, help="number of mocks (default: %(default)s)")
    sub.add_argument("--model", default="default",
                     help=f"whose kind of object and prior are taken (default: {conf.default_model})")
    sub.add_argument("--bands", nargs="+", help="default: the five of WFC3/UVIS")
    sub.add_argument("--distance", type=float, help="Mpc (default: drawn at random)")
    sub.add_argument("--errors", type=float, help="relative flux error (default: uniform between 0.05 and 0.5)")
    sub.add_argument("--noise", default="lognormal", choices=["lognormal", "normal", "walter2025"])
    sub.add_argument("--seed", type=int, default=0)
    output_options(sub)

    sub = command("plot", "draw an inferred catalog, or one object of it, or all of them",
                  "clusterpost plot posteriors.fits object.pdf --id 1234\n"
                  "  clusterpost plot posteriors.fits cmd.png --kind color-magnitude --where 'class <= 2'\n"
                  "  clusterpost plot posteriors.fits corners.pdf --kind corner --good", _WHOLE)
    sub.add_argument("input", help="a catalog that clusterpost infer wrote")
    sub.add_argument("output", help=".png, .pdf or .svg")
    sub.add_argument("--kind", choices=[*CATALOG_FIGURES, *OBJECT_FIGURES], metavar="KIND",
                     help="of the catalog: overview (the default), color-color, color-magnitude, age-mass, "
                     "mass-function, age-distribution, sky or support; of one row: object (its photometry with what "
                     "the posterior predicts, and the corner plot; the default with --row or --id), corner or sed. "
                     "A kind of one row without --row and --id draws all rows into a .pdf, a page each")
    sub.add_argument("--row", type=int, help="the row to draw, counted from 0")
    sub.add_argument("--id", help="the row to draw by its identifier, in any column of text or whole numbers")
    row_options(sub, "draw only rows")
    sub.add_argument("--prefix", help="of the results, where the catalog has several")
    inference_options(sub, *3 * ["that of the results"])
    posterior_options(sub)
    output_options(sub)

    sub = command("report", "write a result as one HTML page, with figures and a table to click through",
                  "clusterpost report posteriors.fits report.html", _WHOLE)
    sub.add_argument("input", help="a catalog that clusterpost infer wrote")
    sub.add_argument("output", help=".html")
    sub.add_argument("--objects", type=int, default=20, metavar="N", help="rows whose photometry and corner plot are "
                     "in the page: the first good ones (default: %(default)s)")
    sub.add_argument("--title", help="of the page (default: the target that the catalog names)")
    row_options(sub, "show only rows")
    sub.add_argument("--prefix", help="of the results, where the catalog has several")
    output_options(sub)

    sub = command("cite", "print what a result rests on, as BibTeX", "clusterpost cite posteriors.fits > rests_on.bib")
    sub.add_argument("input", nargs="?", help="what clusterpost infer wrote (default: a result of the default model)")
    sub.add_argument("--prefix", help="of the results, where the catalog has several")

    sub = command("fetch", "fetch catalogs of PHANGS-HST", "clusterpost fetch NGC1433 -o ngc1433.fits",
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

    sub = command("cache", "list, clear or verify the files that were fetched", "clusterpost cache verify")
    sub.add_argument("action", choices=["list", "clear", "verify"])

    sub = command("models", "list the bundled models, or describe one model and its certificate",
                  "clusterpost models walter2025")
    sub.add_argument("model", nargs="?", help="describe this bundled model or model file")
    sub.add_argument("--json", action="store_true", help="all that is known of it, as JSON")

    sub = command("train", "train a model or search for one, or go on with what was interrupted",
                  "clusterpost train any_bands -o run/",
                  "the same command goes on with what is in %(output)s: the last checkpoint, or the finished trials")
    sub.add_argument("recipe", nargs="?", help="any_bands, spline, maf, walter2025, galaxies, galaxies_maf, stochastic "
                     "or stochastic_field; with --search any_bands, or none for five bands always measured, for both "
                     "families, or walter2025 for its own")
    sub.add_argument("-o", "--output", required=True, help="folder for checkpoint and model file, or for the search")
    sub.add_argument("--bands", nargs="+", help="those to know (default: all eight)")
    sub.add_argument("--table", help="SSP models: z0.008, z0.02, z0.05, or a band-flux table (default: z0.02)")
    sub.add_argument("--epochs", type=int, help="how often as many mocks are drawn (default: the recipe's)")
    sub.add_argument("--mocks-per-epoch", type=int, help="(default: the recipe's, 5e6 for most)")
    sub.add_argument("--start", metavar="MODEL", help="begin with those weights of a model that fit the architecture")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--device", default="cpu")
    sub.add_argument("--threads", type=int, help="CPU threads")
    sub.add_argument("--compile", action="store_true", help="use torch.compile (needs a C++ compiler)")
    sub.add_argument("--search", action="store_true", help="search for architecture and settings by Hyperband")
    sub.add_argument("--trials", type=int, default=100, help="of the search (default: %(default)s)")
    sub.add_argument("--seconds-per-trial", type=float, default=600, help="of training (default: %(default)s)")
    sub.add_argument("--budget", type=float, help="seconds after which the search begins no new trial")
    sub.add_argument("--after", metavar="FOLDER", help="a shorter search, with whose best trials to begin")

    sub = command("validate", "check a model on mocks and on real photometry, and certify it",
                  "clusterpost validate walter2025 -o validation/",
                  "what is finished is in %(output)s, and the same command goes on with it")
    sub.add_argument("model", help="bundled model or model file")
    sub.add_argument("-o", "--output", required=True, help="folder for report.html, tables and figures; a run that was "
                     "interrupted goes on where it was")
    sub.add_argument("-n", type=int, default=100_000,
                     help="mocks (default: %(default)s, a few minutes for any_bands)")
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

    command("check", "check the installation; with a remedy for each problem", "clusterpost check")
    return parser
