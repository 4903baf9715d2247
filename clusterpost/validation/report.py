"""Validation of a model, with tables, figures and an HTML report in a folder."""

from __future__ import annotations

import json
import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table, vstack

from ..errors import UncertifiedModelWarning
from ..flags import NOT_INFERRED
from ..flow.bundled import model_stem
from ..flow.modelfile import load_model, save_certificate
from ..training.simulation import Simulator
from ..typing import PathLike
from ..utils import require, whole_file, write_whole
from .catalog import check_catalog
from .certificate import certificate_table, make_certificate, measured
from .exactness import CASES, check_exact, compare_with_exact, efficiency_by_bands
from .page import Section, html_page
from .parts import remove_parts
from .samplers import PosteriorSampler

if TYPE_CHECKING:
    from ..flow.model import Model
    from ..plotting.figure import NotebookFigure

__all__ = ["Report", "Validation", "validate_model"]

_CONTROL_SIZES = (100, 1000, 10_000)
_FIVE_BANDS = ("prior", "survey-like", "normal noise")  # cases for a model that requires all five bands
_WHAT = {"network": "the network alone", "refined": "refined posteriors"}


def validate_model(model: Any, folder: PathLike, *, n_mocks: int = 100_000, n_draws: int = 100, seed: int = 1,
                   n_refined: int | None = None, exact: int = 0, controls: bool = False,
                   catalog: PathLike | None = None, distance_source: str | None = None, n_clusters: int | None = None,
                   certify: bool = False, progress: bool | None = None) -> dict:
    """Run all checks of a model, and write tables, figures and a report.

    Parameters
    ----------
    model : str or path
        Bundled model or model file.
    folder : path
        Output folder, created if missing, for ``report.html`` (self-contained), ``certificate.json``, and the tables
        (.ecsv) and figures (.png) of the report; existing files are replaced.  During the run, draws are kept in
        ``parts``, and the same call resumes from them after an interruption.
    n_mocks, n_draws : int
        Mocks of the model's own simulator, and posterior draws for each.
    seed : int
    n_refined : int, optional
        Number of mocks for the refined posteriors; 0 for none, by default as many as for the network alone.
    exact : int
        Number of mocks per case for the comparison with exact posteriors
        (`~clusterpost.validation.compare_with_exact`); efficiencies use four times as many.
    controls : bool
        Whether to measure the number of mocks from which each diagnostic detects deliberately wrong posteriors.
    catalog : str, path or Table, optional
        Catalog of real photometry with published fits to check, in any form that `~clusterpost.read_catalog` accepts.
    distance_source : str, optional
        Source of the distance of the catalog's galaxy.
    n_clusters : int, optional
        Largest number of clusters of the catalog, for a model that is slow to refine.
    certify : bool
        Whether to write the certificate into the model's card.
    progress : bool, optional

    Returns
    -------
    dict of `~astropy.table.Table`
        All tables, by file name without suffix.

    Raises
    ------
    OSError
        If ``certify`` is True and the model's card cannot be written.
    InputError
        If ``exact`` is given and the model's family has no exact posteriors.

    Examples
    --------
    >>> import tempfile
    >>> from clusterpost.validation.report import validate_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tables = validate_model("walter2025", folder, n_mocks=50, n_draws=20,
    ...                             n_refined=0)
    >>> tables["calibration"]["test"][:2].tolist()
    ['T1', 'T2']
    """
    run = Validation(model, folder, n_mocks=n_mocks, n_draws=n_draws, seed=seed, n_refined=n_refined, exact=exact,
                     controls=controls, catalog=catalog, distance_source=distance_source, n_clusters=n_clusters,
                     certify=certify, progress=progress)
    run.finish()
    return run.report.tables


class Validation:
    """Findings of `validate_model` before the page is written, so that sections can be added.

    Attributes
    ----------
    model : Model
    tested : dict of Calibration
        Calibrations of ``network`` and ``refined``.
    exactness : Table or None
        Output of `~clusterpost.validation.compare_with_exact`.
    checks : CatalogChecks or None
    report : Report
        Report so far.

    Parameters
    ----------
    model, folder, **options
        As for `validate_model`.
    """

    def __init__(self, model: PathLike, folder: PathLike, *, n_mocks: int, n_draws: int, seed: int,
                 n_refined: int | None = None, exact: int = 0, controls: bool = False,
                 catalog: PathLike | Table | None = None, distance_source: str | None = None,
                 n_clusters: int | None = None, certify: bool = False, progress: bool | None = None):
        if exact or controls:  # before hours of computation
            require("sklearn", "validation")
        self._started, self._stem, self._certify = time.perf_counter(), model_stem(model), certify
        if certify and not os.access(self._stem.parent, os.W_OK):
            raise OSError(f"the certificate cannot be written into {self._stem}.json, because {self._stem.parent} is "
                          "read-only; copy the model to a folder of your own")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UncertifiedModelWarning)  # this run measures the calibration
            self.model = load_model(self._stem)
        if exact:
            check_exact(self.model)
        self.report = Report(folder)
        self._parts = self.report.folder / "parts"
        self.tested = measured(self.model, n_mocks, n_draws, seed, n_refined=n_refined, parts=self._parts,
                               progress=progress)
        self.certificate = make_certificate(self.model, self.tested, seed)
        _calibrated(self.report, self.tested, self.certificate, self.model)
        self.exactness = self.checks = None
        if exact:
            self.exactness = _compared(self.report, self.model, exact, seed, progress)
        if controls:
            _controlled(self.report, self.model, n_mocks, seed, progress)
        if catalog is not None:
            self.checks = check_catalog(catalog, model=self.model, distance_source=distance_source,
                                        n_clusters=n_clusters, seed=seed, progress=progress)
            _photometry(self.report, self.checks)

    def finish(self) -> None:
        """Write the certificate and the page, and remove the parts kept for an interruption."""
        write_whole(self.report.folder / "certificate.json", json.dumps(self.certificate, indent=1).encode())
        if self._certify:
            save_certificate(self._stem, self.certificate)
        self.report.write(self.model, self.certificate, time.perf_counter() - self._started)
        remove_parts(self._parts)


class Report:
    """Report in progress: tables and figures in the folder, and sections of the page."""

    def __init__(self, folder: PathLike):
        self.folder, self.tables, self.sections = Path(folder), {}, []
        self.folder.mkdir(parents=True, exist_ok=True)

    def section(self, title: str, text: str) -> None:
        """Begin a section, which takes the following tables and figures."""
        self.sections.append(Section(title, text))

    def table(self, name: str, table: Table, caption: str, shown: Table | None = None) -> None:
        """Write a table and show it, or a different form of it, in the page."""
        self.tables[name] = table
        _write(table, self.folder / f"{name}.ecsv")
        self.sections[-1].tables.append((caption, table if shown is None else shown))

    def figure(self, name: str, figure: NotebookFigure, caption: str) -> None:
        """Write a figure and show it in the page."""
        path = self.folder / f"{name}.png"
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=130)
        self.sections[-1].figures.append((caption, path))

    def write(self, model: Model, certificate: dict[str, Any], seconds: float) -> None:
        """Write the page."""
        facts = {"weights (sha256)": certificate["sha256"][:16], "mocks": f"{certificate['n_mocks']:,}",
                 "draws of each": certificate["n_draws"], "seed": certificate["seed"], "date": certificate["date"],
                 "versions": ", ".join(f"{name} {value}" for name, value in certificate["versions"].items()),
                 "bands": " ".join(model.bands), "noise": model.metadata.simulator.noise,
                 "time of this run": f"{seconds / 60:.1f} min"}
        page = html_page(f"Validation of {model.name}", _lead(certificate), facts, self.sections,
                         "Made by ``clusterpost validate``. The tables and figures are in the same folder.")
        write_whole(self.folder / "report.html", page.encode())


def _lead(certificate):
    parts = []
    for name, record in certificate["posteriors"].items():
        tests = record["tests"].values()
        inside = sum(row["inside_band"] for row in tests)
        parts.append(f"{_WHAT[name]}: {inside} of {len(tests)} tests inside the {100 * certificate['level']:g} % "
                     f"simultaneous band; largest ECDF difference of T1 to T6 {100 * record['max_difference']:.2f} %")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _calibrated(report, tested, certificate, model):
    from ..plotting import plot_coverage, plot_pp, plot_regions, plot_sbc, plot_training

    report.section("Simulation-based calibration", (
        "True parameters of mocks are ranked among draws from their posteriors. For calibrated posteriors, the "
        "ranks of any statistic are uniform. ``max_difference`` is the largest difference of their cumulative "
        "distribution from uniform, and ``band`` the simultaneous band that chance allows.\n\n"
        "T1 to T6 are the statistics of Walter et al. (2025): age, mass, reddening and their products. HPD is the "
        "expected coverage of highest-density regions, TARP that of regions around random points."))
    report.table("calibration", certificate_table(certificate), "All tests.")
    for name, one in tested.items():
        suffix = "" if name == "refined" else f"_{name}"
        report.tables[f"sbc{suffix}"] = one.tests.summary(certificate["level"])
        _write(report.tables[f"sbc{suffix}"], report.folder / f"sbc{suffix}.ecsv")
        report.figure(f"sbc{suffix}", plot_sbc(one.sbc), (
            f"Ranks of T1 to T6 for {_WHAT[name]}, as in Fig. 3 of Walter et al. (2025): histograms with ±1σ lines, "
            "and differences of the cumulative distributions from uniform."))
    report.section("Coverage", (
        "The p-p plot of Hahn & Melchior (2022) shows the fraction of true parameters below each posterior quantile, "
        "which should equal the level of the quantile. Coverage plots show the same for highest-density regions and "
        "for TARP."))
    for name, one in tested.items():
        suffix = "" if name == "refined" else f"_{name}"
        report.figure(f"pp{suffix}", plot_pp(one.marginals), f"P-p plot of {_WHAT[name]}.")
        report.figure(f"coverage{suffix}", plot_coverage(one.coverage), f"Expected coverage of {_WHAT[name]}.")
    report.section("Local calibration", (
        "Miscalibration in parts of the data can cancel on average. These are the same tests in ranges of the "
        "posterior median age, the signal-to-noise ratio and the number of bands, all of which are known without the "
        "truth. The bands account for the number of tests."))
    for name, one in tested.items():
        suffix = "" if name == "refined" else f"_{name}"
        report.table(f"regions{suffix}", _regions(one), f"All regions for {_WHAT[name]}.")
        report.figure(f"regions{suffix}", plot_regions(*one.regions.values()), (
            f"Regions for {_WHAT[name]}: largest excursion of each curve relative to its band."))
    report.section("Entropy", (
        "For calibrated posteriors, the mean entropy equals the mean of -ln q at the truths. A positive "
        "difference means that posteriors are too narrow or biased."))
    report.table("entropy", Table(rows=[{"posterior": name, **one.entropy} for name, one in tested.items()]),
                 "In nat, and in units of the standard error (z).")
    report.section("Training", "Validation and training loss against the number of mocks seen.")
    report.figure("training", plot_training(model.metadata.training["history"]), "Training objective and "
                  "validation NLL. The objective jumps where the recipe adds a term to it.")


def _regions(calibrated):
    """Return one table of all regions."""
    tables = []
    for by, table in calibrated.regions.items():
        table = table.copy()
        table.add_column(by, index=0, name="by")
        tables.append(table)
    return vstack(tables, metadata_conflicts="silent")


def _compared(report, model, n_mocks, seed, progress):
    report.section("Against exact posteriors", (
        "Absolute differences between quantiles of inferred posteriors and of exact posteriors from dense grids or "
        "sets of points, object by object, in units of the exact half-width (q84 - q16)/2. Rows named ``control`` are "
        "posteriors shifted by half a half-width. The accuracy of a classifier is 0.5 if it cannot distinguish the "
        "draws."))
    takes_any = model.metadata.simulator.coverage.slots is not None
    table = compare_with_exact(n_mocks, model=model, cases=tuple(CASES) if takes_any else _FIVE_BANDS,
                               n_classified=n_mocks // 12, seed=seed, progress=progress)
    report.table("exactness", table, "Differences of quantiles, and classifier accuracy.")
    if takes_any:
        report.table("efficiency", efficiency_by_bands(4 * n_mocks, model=model, seed=seed, progress=progress),
                     "Efficiency of the network's draws by number of bands: quantiles over mocks.")
    return table


def _controlled(report, model, n_mocks, seed, progress):
    from .controls import control_table

    sizes = [size for size in _CONTROL_SIZES if size <= n_mocks] or [n_mocks]
    table = control_table(PosteriorSampler(model, refine=False), Simulator.of(model), sizes,
                          seed=seed, progress=progress)
    report.section("Negative controls", (
        "Diagnostics must be able to fail. Posteriors that are exact by construction (``none``) are deliberately "
        "distorted; each entry is the smallest number of mocks at which a diagnostic detects the distortion."))
    report.table("controls", table, f"Tested with {', '.join(f'{size:,}' for size in sizes)} mocks.")


def _photometry(report, checks):
    counts = checks.counts
    report.section("Real photometry", (
        f"{counts['inferred']:,} of {counts['rows']:,} sources are inferred, in {1000 * checks.seconds:.1f} ms each; "
        f"{counts['compared']:,} of {counts['clusters']:,} objects, those in five bands, are compared with the "
        f"catalog's published fits ({checks.published or 'none'})."))
    if not len(checks.shown):
        report.sections[-1].text += "\n\nThis model cannot infer any of the objects, because its bands differ."
        return
    from ..plotting import plot_comparison, plot_deviation, plot_flux_errors, plot_predictive, plot_support

    out = checks.out
    good = (np.asarray(out["flag"]) & NOT_INFERRED) == 0
    report.figure("flux_errors", plot_flux_errors(out, where=good),
                  "Relative flux errors and the noise that two models imply (Fig. 2 of Walter et al. 2025).")
    if checks.predictive is not None:
        report.table("predictive", checks.tables["predictive"], (
            "Posterior predictive check with 500 draws per object. ``offset`` and ``scatter`` are those of the mean "
            "prediction over the observation, ``inside`` is the fraction of fluxes within the predicted 16-84 % range, "
            "and ``tails`` the fraction in the outermost 10 % of ranks."))
        report.figure("predictive", plot_predictive(checks.predictive), (
            "Mean predicted against observed fluxes, and ranks of the observed fluxes (Fig. 4). The posteriors are "
            "conditioned on the same data, so middle ranks are the most frequent."))
    report.figure("support", plot_support(out, where=good), "The catalog compared to mocks, with poorly fitted "
                  "rows marked (Figs. 1 and 5 of Hahn & Melchior 2022).")
    if "comparison" in checks.tables:
        report.table("comparison", checks.tables["comparison"],
                     "Agreement with the published fits; see ``clusterpost.compare_with_catalog`` for the rows.",
                     _transposed(checks.tables["comparison"]))
        report.table("inliers", checks.tables["inliers"],
                     "Table 1 of Walter et al. (2025), with these results beside the paper's, in %.")
        report.figure("comparison", plot_comparison(out, where=checks.compared),
                      "MAP (top) and closest mode (bottom) against the published fits.")
        report.figure("deviation", plot_deviation(out, where=checks.compared),
                      "MAP minus published fit against the width of the posterior.")


def _transposed(table):
    """Return a table with one column per parameter, with numbers as text."""
    names = [name for name in table.colnames if name != "parameter"]
    forms = {name: table[name].info.format or "" for name in names}
    columns = {str(row["parameter"]): [f"{row[name]:{forms[name].lstrip('%')}}" for name in names] for row in table}
    return Table({"quantity": [name + (f" [{table[name].unit}]" if table[name].unit else "") for name in names],
                  **columns})


def _write(table, path):
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv")
