"""Command-line arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from . import __version__
from .config import conf
from .plotting.files import CATALOG_FIGURES, DRAWN_FIGURES, OBJECT_FIGURES

if TYPE_CHECKING:
    from .typing import ModelLike

__all__ = ["make_parser"]

_WHOLE = "files are written whole or not at all"
_FILES = ".fits, .ecsv, .vot, .hdf5, .csv, or .parquet"
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
    """Print the error first and refer to --help: a full usage message would hide the error."""

    def error(self, message):
        self.exit(2, f"clusterpost: {message}\nusage: {self.prog} --help\n")


def make_parser(calls: dict) -> argparse.ArgumentParser:
    """Make the command-line parser.

    Parameters
    ----------
    calls : dict
        Function for each command name.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = _Parser(
        prog="clusterpost", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Infer posteriors of star-cluster age, mass, and reddening from HST photometry.")
    parser.add_argument("--version", action="version", version=f"clusterpost {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, example: str, kept: str | None = None) -> argparse.ArgumentParser:
        """Add a command with an example in its help."""
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".",
                                  epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.set_defaults(call=calls[name], kept=kept)  # message about files after an interruption
        return sub

    def reading_options(sub: argparse.ArgumentParser) -> None:
        """Add the options for reading a table."""
        sub.add_argument("--columns", nargs="+", metavar="BAND=FLUX,ERR", help="column names of a band; an optional "
                         "third column marks upper limits")
        sub.add_argument("--unit", help="unit of fluxes or magnitudes without one: mJy, uJy, Jy, nmgy, "
                         "erg/s/cm2/Angstrom, or the system AB, ST, or Vega")
        sub.add_argument("--missing", nargs="+", type=float, default=(), metavar="VALUE",
                         help="additional values for missing data, besides 99, 999, 66.666, 1e20, and similar ones")
        sub.add_argument("--hdu", help="number or name of the table in a file with several tables")
        sub.add_argument("--bands", nargs=5, metavar="BAND",
                         help="bands of a LEGUS file, in order, if its name does not include the cameras")

    def inference_options(sub: argparse.ArgumentParser, model: ModelLike,
                          floor: str = "the model's, 0.12 for stochastic, 0.05 for any_bands", seed: str = "0") -> None:
        """Add the options of commands that infer."""
        sub.add_argument("--model", help=f"bundled model or model file (default: {model})")
        sub.add_argument("--distance", help="distance in Mpc, a quantity such as '9.9 Mpc', or the name of a galaxy")
        sub.add_argument("--distance-source", choices=["lee2022", "legus", "table"],
                         help="source of the galaxy's distance (default: the table itself, or lee2022)")
        reading_options(sub)
        sub.add_argument("--error-floor", type=float, help=f"relative error floor, 0 for none (default: {floor})")
        sub.add_argument("--seed", type=int, help=f"random seed, an integer (default: {seed})")
        sub.add_argument("--device", help="cpu or cuda")
        sub.add_argument("--workers", type=int, metavar="N", help="number of chunks of rows to process in "
                         "parallel, one core each; does not change the results (default: all cores)")

    def posterior_options(sub: argparse.ArgumentParser) -> None:
        """Add the options for noise model, refinement, and prior."""
        sub.add_argument("--noise", choices=["lognormal", "normal", "walter2025"],
                         help="noise model; 'normal' accepts fluxes of zero and below and needs a model with a "
                         "likelihood, such as any_bands (default: the model's own)")
        sub.add_argument("--no-refine", action="store_true", help="use the network alone, without weighting its draws "
                         "to the exact posterior or simulating objects")
        sub.add_argument("--prior", metavar="NAME", help="a named prior of the model, such as survey or flat for "
                         "stochastic clusters (default: the model's own, survey for stochastic)")
        sub.add_argument("--mass-slope", type=float, metavar="A",
                         help="replace the prior of the mass by dN/dm ~ m^A, such as -2 for a mass function")
        sub.add_argument("--ebv-scale", type=float, metavar="MAG",
                         help="replace the prior of E(B-V) by exp(-E(B-V)/MAG) at every age")
        sub.add_argument("--distance-error", type=float, metavar="REL",
                         help="relative standard deviation of the distance, such as 0.05, to marginalize over, for "
                         "rows without a value in a column distance_err (default: none)")

    def row_options(sub: argparse.ArgumentParser, what: str) -> None:
        """Add the options that select rows."""
        sub.add_argument("--where", metavar="EXPR", help=f"{what} for which an expression of columns is true, such as "
                         "'class <= 2 and age_q50 < 10'; 'good' in it means --good")
        sub.add_argument("--good", action="store_true", help=f"{what} without a flag of severity caution or bad")

    def output_options(sub: argparse.ArgumentParser) -> None:
        """Add the options of commands that write files."""
        sub.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
        sub.add_argument("--quiet", action="store_true", help="print no progress and no summary on standard error")

    sub = command("infer", "infer the posteriors of a catalog",
                  "clusterpost infer catalog.fits posteriors.fits", _WHOLE)
    sub.add_argument("input", help="FITS, ECSV, VOTable, CSV, Parquet, or LEGUS .tab file, or folder of Parquet files")
    sub.add_argument("output", help=f"{_FILES} (Parquet is written in parts and resumed after an interruption); "
                     "for an input folder, another folder")
    sub.add_argument("-n", "--n-samples", type=int,
                     help="initial number of draws from each posterior (default: the model's, 1000 for most); with a "
                          "quarter as many, quantiles are two or three times as uncertain")
    sub.add_argument("--quantiles", type=float, nargs="+", default=[0.16, 0.5, 0.84])
    sub.add_argument("--prefix", default="", help="prefix for the name of every added column")
    sub.add_argument("--exact", action="store_true", help="use the exact grid instead of a network, or simulations for "
                     "stochastic clusters")
    sub.add_argument("--n-simulations", type=int, metavar="N",
                     help="number of clusters to simulate for each row, with --exact for stochastic clusters "
                          "(default: 100000, about two seconds)")
    sub.add_argument("--rows-per-part", type=int, metavar="N",
                     help="rows in memory at a time, and at most lost in an interruption (default: 8192)")
    sub.add_argument("--scheduler", metavar="ADDRESS",
                     help="address of a Dask scheduler for inferring a folder (default: the cores of this machine)")
    row_options(sub, "write only rows")
    sub.add_argument("--flat", action="store_true", help="write columns age_mode1, age_mode2, ... instead of arrays, "
                     "as always in a CSV file")
    inference_options(sub, model=f"{conf.default_model}; any_bands for --exact")
    posterior_options(sub)
    output_options(sub)

    sub = command("sample", "draw equally weighted samples from the posteriors of a catalog",
                  "clusterpost sample posteriors.fits draws.hdf5 -n 500 --dtype float32", _WHOLE)
    sub.add_argument("input", help="a catalog, or the output of clusterpost infer, whose settings are reused")
    sub.add_argument("output", help=f"{_FILES}; includes identifiers and coordinates")
    sub.add_argument("-n", "--n-samples", type=int, default=1000,
                     help="draws from each posterior (default: %(default)s)")
    sub.add_argument("--dtype", choices=["float64", "float32"], default="float64",
                     help="float32 takes half the space; larger quantities stay float64 (default: %(default)s)")
    row_options(sub, "draw only for rows")
    sub.add_argument("--prefix", help="prefix of the results, if the catalog has several")
    inference_options(sub, f"that of the results, or {conf.default_model}", "that of the results, or the model's",
                      seed="that of the results, or 0")
    posterior_options(sub)
    output_options(sub)

    sub = command("simulate", "simulate clusters from the prior, with their true parameters",
                  "clusterpost simulate -n 1000 mocks.fits", _WHOLE)
    sub.add_argument("output", help=_FILES)
    sub.add_argument("-n", type=int, default=1000, help="number of mocks (default: %(default)s)")
    sub.add_argument("--model", default="default",
                     help=f"model that defines the kind of object and the prior (default: {conf.default_model})")
    sub.add_argument("--bands", nargs="+", help="bands to simulate (default: the five of WFC3/UVIS)")
    sub.add_argument("--distance", type=float, help="distance in Mpc (default: drawn at random)")
    sub.add_argument("--errors", type=float, help="relative flux error (default: uniform between 0.05 and 0.5)")
    sub.add_argument("--noise", default="lognormal", choices=["lognormal", "normal", "walter2025"],
                     help="noise model of the fluxes (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=0, help="random seed, an integer (default: %(default)s)")
    output_options(sub)

    sub = command("plot", "plot an inferred catalog, one of its objects, or all objects",
                  "clusterpost plot posteriors.fits object.pdf --id 1234\n"
                  "  clusterpost plot posteriors.fits cmd.png --kind color-magnitude --where 'class <= 2'\n"
                  "  clusterpost plot posteriors.fits corners.pdf --kind corner --good", _WHOLE)
    sub.add_argument("input", help="output of clusterpost infer")
    sub.add_argument("output", help=".png, .pdf, or .svg")
    sub.add_argument("--kind", choices=[*CATALOG_FIGURES, *OBJECT_FIGURES], metavar="KIND",
                     help="for the catalog: overview (the default), color-color, color-magnitude, age-mass, "
                     "mass-function, age-distribution, sky, or support; for one row: object (photometry with posterior "
                     "predictions, and a corner plot; the default with --row or --id), corner, or sed. "
                     "A kind for one row without --row or --id plots all rows into a .pdf, one page each. Options of "
                     f"the inference apply to kinds that draw from posteriors: {', '.join(DRAWN_FIGURES)}")
    sub.add_argument("--row", type=int, help="row to plot, counted from 0")
    sub.add_argument("--id", help="row to plot, by its identifier in any column of text or integers")
    row_options(sub, "plot only rows")
    sub.add_argument("--prefix", help="prefix of the results, if the catalog has several")
    inference_options(sub, *3 * ["that of the results"])
    posterior_options(sub)
    output_options(sub)

    sub = command("report", "write a result as one HTML page with figures and an interactive table",
                  "clusterpost report posteriors.fits report.html", _WHOLE)
    sub.add_argument("input", help="output of clusterpost infer")
    sub.add_argument("output", help=".html")
    sub.add_argument("--objects", type=int, default=20, metavar="N", help="number of rows, the first good ones, with "
                     "photometry and corner plot (default: %(default)s)")
    sub.add_argument("--title", help="title of the page (default: the target named in the catalog)")
    row_options(sub, "show only rows")
    sub.add_argument("--prefix", help="prefix of the results, if the catalog has several")
    output_options(sub)

    sub = command("cite", "print the references for a result as BibTeX",
                  "clusterpost cite posteriors.fits > rests_on.bib")
    sub.add_argument("input", nargs="?", help="output of clusterpost infer (default: a result of the default model)")
    sub.add_argument("--prefix", help="prefix of the results, if the catalog has several")

    sub = command("fetch", "fetch PHANGS-HST catalogs", "clusterpost fetch NGC1433 -o ngc1433.fits",
                  "complete files stay in the cache, and the same command fetches the others")
    sub.add_argument("target", nargs="*", help="galaxies such as NGC1433, M74, or ngc628c, or 'all'")
    sub.add_argument("-o", "--output", help=".fits, .ecsv, .vot, or .parquet (default: only fill the cache)")
    sub.add_argument("--list", action="store_true", help="print the targets without fetching them")
    sub.add_argument("--release", default="dr4", help="dr3, dr4, or dr5 (default: %(default)s)")
    sub.add_argument("--classifier", default="human", choices=["human", "machine"],
                     help="classification of the clusters (default: %(default)s)")
    sub.add_argument("--classes", type=int, nargs="+", default=[1, 2], metavar="N",
                     help="1 and 2 for clusters, 3 for compact associations (default: 1 2)")
    sub.add_argument("--table", default="both", help="obs, sed, or both (default: %(default)s)")
    output_options(sub)

    sub = command("cache", "list, clear, or verify the fetched files", "clusterpost cache verify")
    sub.add_argument("action", choices=["list", "clear", "verify"])

    sub = command("models", "list the bundled models, or describe one model and its certificate",
                  "clusterpost models walter2025")
    sub.add_argument("model", nargs="?", help="bundled model or model file to describe")
    sub.add_argument("--json", action="store_true", help="print the whole card as JSON")

    sub = command("train", "train a model or search for an architecture, or resume an interrupted run",
                  "clusterpost train any_bands -o run/",
                  "the same command resumes from the last checkpoint or the finished trials in %(output)s")
    sub.add_argument("recipe", nargs="?", help="any_bands, spline, maf, walter2025, galaxies, galaxies_maf, "
                     "stochastic, or stochastic_field; with --search, any_bands or none (five bands, always measured) "
                     "for both kinds of flow, or walter2025 for affine flows")
    sub.add_argument("-o", "--output", required=True, help="folder for checkpoint and model file, or for the search")
    sub.add_argument("--bands", nargs="+", help="bands of the model (default: all eight)")
    sub.add_argument("--table", help="SSP models: z0.008, z0.02, z0.05, or a band-flux table (default: z0.02)")
    sub.add_argument("--epochs", type=int, help="number of epochs (default: the recipe's)")
    sub.add_argument("--mocks-per-epoch", type=int, help="mocks per epoch (default: the recipe's, 5e6 for most)")
    sub.add_argument("--start", metavar="MODEL",
                     help="initialize with the weights of another model that fit the architecture")
    sub.add_argument("--seed", type=int, default=0, help="random seed, an integer (default: %(default)s)")
    sub.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    sub.add_argument("--threads", type=int, help="number of CPU threads (default: that of PyTorch)")
    sub.add_argument("--compile", action="store_true", help="use torch.compile (needs a C++ compiler)")
    sub.add_argument("--search", action="store_true", help="search for architecture and settings with Hyperband")
    sub.add_argument("--trials", type=int, default=100, help="number of trials of the search (default: %(default)s)")
    sub.add_argument("--seconds-per-trial", type=float, default=600,
                     help="seconds of training per trial (default: %(default)s)")
    sub.add_argument("--budget", type=float, help="seconds after which the search starts no new trial")
    sub.add_argument("--after", metavar="FOLDER", help="a shorter search whose best trials come first")

    sub = command("validate", "test a model on mocks and real photometry, and certify it",
                  "clusterpost validate walter2025 -o validation/",
                  "finished results are in %(output)s, and the same command resumes from them")
    sub.add_argument("model", help="bundled model or model file")
    sub.add_argument("-o", "--output", required=True, help="folder for report.html, tables, and figures; an "
                     "interrupted run is resumed")
    sub.add_argument("-n", type=int, default=100_000,
                     help="number of mocks (default: %(default)s, a few minutes for any_bands)")
    sub.add_argument("--draws", type=int, default=100, help="draws per mock (default: %(default)s)")
    sub.add_argument("--refined", type=int, metavar="N", help="mocks for the refined posteriors (default: all)")
    sub.add_argument("--network-only", action="store_true", help="no refined posteriors: --refined 0")
    sub.add_argument("--exact", type=int, default=0, metavar="N",
                     help="also compare with exact posteriors of N mocks for each of several kinds of photometry")
    sub.add_argument("--controls", action="store_true",
                     help="also test which diagnostics detect posteriors that are wrong on purpose")
    sub.add_argument("--catalog", metavar="FILE", help="also test on a catalog of real photometry with published fits")
    sub.add_argument("--distance-source", choices=["lee2022", "legus", "table"],
                     help="source of the galaxy's distance; choose that of the published fits")
    sub.add_argument("--clusters", type=int, metavar="N",
                     help="use at most N clusters of the catalog, for models with slow refinement")
    sub.add_argument("--certify", action="store_true", help="write the certificate into the model's card")
    sub.add_argument("--seed", type=int, default=1, help="random seed, an integer (default: %(default)s)")
    sub.add_argument("--quiet", action="store_true", help="print no progress on standard error")

    command("check", "check the installation and print a remedy for each problem", "clusterpost check")
    return parser
