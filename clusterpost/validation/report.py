"""Everything that can be checked of a model, as tables, figures and one page in a folder."""

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
_FIVE_BANDS = ("prior", "survey-like", "normal noise")  # cases for a model that must have all of them
_WHAT = {"network": "the network alone", "refined": "refined posteriors"}


def validate_model(model: Any, folder: PathLike, *, n_mocks: int = 100_000, n_draws: int = 100, seed: int = 1,
                   n_refined: int | None = None, exact: int = 0, controls: bool = False,
                   catalog: PathLike | None = None, distance_source: str | None = None, n_clusters: int | None = None,
                   certify: bool = False, progress: bool | None = None) -> dict:
    """Check a model in every way, and write tables, figures and a report.

    Parameters
    ----------
    model : str or path
        Bundled model or model file.
    folder : path
        Made if absent; takes ``report.html`` (one file that needs no other), ``certificate.json``, and the tables
        (.ecsv) and figures (.png) of the report, all replaced if there.  While it runs, what is drawn is kept in
        ``parts``, from which the same call goes on if it was interrupted.
    n_mocks, n_draws : int
        Mocks of the model's own simulator, and posterior draws for each.
    seed : int
    n_refined : int, optional
        Mocks for the refined posteriors, besides those of the network alone; 0 for none, by default as many.
    exact : int
        Also compare with the exact posteriors of so many mocks of each of several kinds
        (`~clusterpost.validation.compare_with_exact`), and find efficiencies with four times as many.
    controls : bool
        Also find out from how many mocks each diagnostic catches posteriors that are wrong on purpose.
    catalog : str, path or Table, optional
        Also check on a catalog of real photometry with published fits, as `~clusterpost.read_catalog` takes it.
    distance_source : str, optional
        Whose distance of the catalog's galaxy.
    n_clusters : int, optional
        At most so many clusters of the catalog, for a model that is slow to refine.
    certify : bool
        Put the certificate into the model's card.
    progress : bool, optional

    Returns
    -------
    dict of `~astropy.table.Table`
        All tables, by file name without suffix.

    Raises
    ------
    OSError
        If a certificate is wanted and the model's card cannot be written.
    InputError
        If exact posteriors are wanted of a family that has none.

    Examples
    --------
    >>> import tempfile
    >>> from clusterpost.validation.report import validate_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tables = validate_model("walter2025", folder, n_mocks=50, n_draws=20, n_refined=0)
    >>> tables["calibration"]["test"][:2].tolist()
    ['T1', 'T2']
    """
    run = Validation(model, folder, n_mocks=n_mocks, n_draws=n_draws, seed=seed, n_refined=n_refined, exact=exact,
                     controls=controls, catalog=catalog, distance_source=distance_source, n_clusters=n_clusters,
                     certify=certify, progress=progress)
    run.finish()
    return run.report.tables


class Validation:
    """Findings of `validate_model`, before the page is written: sections may be added to it.

    Attributes
    ----------
    model : Model
    tested : dict of Calibration
        By ``network`` and ``refined``.
    exactness : Table or None
        From `~clusterpost.validation.compare_with_exact`.
    checks : CatalogChecks or None
    report : Report
        What was found so far.

    Parameters
    ----------
    model, folder, **options
        As for `validate_model`.
    """

    def __init__(self, model: PathLike, folder: PathLike, *, n_mocks: int, n_draws: int, seed: int,
                 n_refined: int | None = None, exact: int = 0, controls: bool = False,
                 catalog: PathLike | Table | None = None, distance_source: str | None = None,
                 n_clusters: int | None = None, certify: bool = False, progress: bool | None = None):
        if exact or controls:  # before the hours that come first
            require("sklearn", "validation")
        self._started, self._stem, self._certify = time.perf_counter(), model_stem(model), certify
        if certify and not os.access(self._stem.parent, os.W_OK):
            raise OSError(f"the certificate is to be written into {self._stem}.json, and {self._stem.parent} cannot be "
                          "written to; copy the model to a folder of your own")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UncertifiedModelWarning)  # that is what is about to change
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
        """Write the certificate and the page, and remove what a run that was interrupted would need."""
        write_whole(self.report.folder / "certificate.json", json.dumps(self.certificate, indent=1).encode())
        if self._certify:
            save_certificate(self._stem, self.certificate)
        self.report.write(self.model, self.certificate, time.perf_counter() - self._started)
        remove_parts(self._parts)


class Report:
    """Findings so far: tables and figures in the folder, and the sections of the page."""

    def __init__(self, folder: PathLike):
        self.folder, self.tables, self.sections = Path(folder), {}, []
        self.folder.mkdir(parents=True, exist_ok=True)

    def section(self, title: str, text: str) -> None:
        """Begin one; tables and figures that follow belong to it."""
        self.sections.append(Section(title, text))

    def table(self, name: str, table: Table, caption: str, shown: Table | None = None) -> None:
        """Keep a table, write it and show it, or what else is to be shown of it."""
        self.tables[name] = table
        _write(table, self.folder / f"{name}.ecsv")
        self.sections[-1].tables.append((caption, table if shown is None else shown))

    def figure(self, name: str, figure: NotebookFigure, caption: str) -> None:
        """Write a figure and show it."""
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
                         "Made by ``clusterpost validate``. Its tables and figures lie beside this page.")
        write_whole(self.folder / "report.html", page.encode())


def _lead(certificate):
    parts = []
    for name, record in certificate["posteriors"].items():
        tests = record["tests"].values()
        inside = sum(row["inside_band"] for row in tests)
        parts.append(f"{_WHAT[name]}: {inside} of {len(tests)} tests inside the {100 * certificate['level']:g} % band "
                     f"of the whole curve, T1 to T6 at most {100 * record['max_difference']:.2f} % off")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _calibrated(report, tested, certificate, model):
    from ..plotting import plot_coverage, plot_pp, plot_regions, plot_sbc, plot_training

    report.section("Simulation-based calibration", (
        "True parameters of mocks are ranked among draws from their posteriors. Where the posteriors are right, the "
        "ranks of any statistic are uniform; ``max_difference`` is the largest distance of their cumulative "
        "distribution from that, and ``band`` what chance allows the whole curve.\n\n"
        "T1 to T6 are the statistics of Walter et al. (2025): age, mass, reddening and their products; HPD is the "
        "expected coverage of highest-density regions, TARP that of regions about random points."))
    report.table("calibration", certificate_table(certificate), "All tests.")
    for name, one in tested.items():
        suffix = "" if name == "refined" else f"_{name}"
        report.tables[f"sbc{suffix}"] = one.tests.summary(certificate["level"])
        _write(report.tables[f"sbc{suffix}"], report.folder / f"sbc{suffix}.ecsv")
        report.figure(f"sbc{suffix}", plot_sbc(one.sbc), (
            f"Ranks of T1 to T6, {_WHAT[name]}, as Fig. 3 of Walter et al. (2025): histograms with their ±1σ lines, "
            "and the difference of the cumulative distribution from uniform."))
    report.section("Coverage", (
        "Left to right, the share of true parameters that lie below a quantile of that level should be the level: the "
        "p-p plot of Hahn & Melchior (2022). The same for highest-density regions and for TARP."))
    for name, one in tested.items():
        suffix = "" if name == "refined" else f"_{name}"
        report.figure(f"pp{suffix}", plot_pp(one.marginals), f"P-p plot of {_WHAT[name]}.")
        report.figure(f"coverage{suffix}", plot_coverage(one.coverage), f"Expected coverage of {_WHAT[name]}.")
    report.section("Local calibration", (
        "Faults in parts of the data that cancel on average: the same tests in ranges of the posterior's median age, "
        "of the signal-to-noise ratio and of the number of bands, all of which are known without the truth. The bands "
        "allow for the number of tests."))
    for name, one in tested.items():
        suffix = "" if name == "refined" else f"_{name}"
        report.table(f"regions{suffix}", _regions(one), f"Every region, {_WHAT[name]}.")
        report.figure(f"regions{suffix}", plot_regions(*one.regions.values()), (
            f"Regions of {_WHAT[name]}: largest excursion of each curve as a share of its band."))
    report.section("Entropy", (
        "The mean entropy of the posteriors equals the mean of -ln q at the truths if they are right. A positive "
        "difference: posteriors narrower than the truths allow."))
    report.table("entropy", Table(rows=[{"posterior": name, **one.entropy} for name, one in tested.items()]),
                 "In nat, and in units of the standard error (z).")
    report.section("Training", "Validation and training loss against the number of mocks seen.")
    report.figure("training", plot_training(model.metadata.training["history"]), "The objective of training and the "
                  "NLL of validation. Where the recipe adds a term to the objective, the former jumps.")


def _regions(calibrated):
    """Return the tables of all regions in one."""
    tables = []
    for by, table in calibrated.regions.items():
        table = table.copy()
        table.add_column(by, index=0, name="by")
        tables.append(table)
    return vstack(tables, metadata_conflicts="silent")


def _compared(report, model, n_mocks, seed, progress):
    report.section("Against exact posteriors", (
        "Quantiles of inferred posteriors against those of dense grids or dense sets of points, object by object, as "
        "the absolute difference in units of the exact half-width (q84 - q16)/2. Rows named ``control`` are posteriors "
        "moved by half of that. A classifier that can tell nothing apart is right in half of all cases."))
    takes_any = model.metadata.simulator.coverage.slots is not None
    table = compare_with_exact(n_mocks, model=model, cases=tuple(CASES) if takes_any else _FIVE_BANDS,
                               n_classified=n_mocks // 12, seed=seed, progress=progress)
    report.table("exactness", table, "Differences of quantiles, and a classifier's accuracy.")
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
        "A diagnostic that cannot fail is none. Posteriors that are exact by construction (``none``) are spoiled on "
        "purpose; each entry is the smallest number of mocks at which a diagnostic notices."))
    report.table("controls", table, f"Of {', '.join(f'{size:,}' for size in sizes)} mocks.")


def _photometry(report, checks):
    counts = checks.counts
    report.section("Real photometry", (
        f"{counts['inferred']:,} of {counts['rows']:,} sources are inferred, in {1000 * checks.seconds:.1f} ms each; "
        f"{counts['compared']:,} of {counts['clusters']:,} objects, those in five bands, are compared with the fits "
        f"that the catalog publishes ({checks.published or 'none'})."))
    if not len(checks.shown):
        report.sections[-1].text += "\n\nThis model can infer none of the objects: its bands are others."
        return
    from ..plotting import plot_comparison, plot_deviation, plot_flux_errors, plot_predictive, plot_support

    out = checks.out
    good = (np.asarray(out["flag"]) & NOT_INFERRED) == 0
    report.figure("flux_errors", plot_flux_errors(out, where=good),
                  "Relative flux errors, and what two noise models make of them (Fig. 2 of Walter et al. 2025).")
    if checks.predictive is not None:
        report.table("predictive", checks.tables["predictive"], (
            "Posterior predictive check: 500 draws of each object, observed again. ``offset`` and ``scatter`` of the "
            "mean prediction over the observation; ``inside``, the share of fluxes within the predicted 16-84 %; "
            "``tails``, that in the outermost 10 % of ranks."))
        report.figure("predictive", plot_predictive(checks.predictive), (
            "Mean predicted against observed fluxes, and the ranks of the observed ones (Fig. 4). The posteriors have "
            "seen these data, so that middle ranks are the most frequent."))
    report.figure("support", plot_support(out, where=good), "Where the catalog lies beside mocks; what is hardly "
                  "explained is marked (Figs. 1 and 5 of Hahn & Melchior 2022).")
    if "comparison" in checks.tables:
        report.table("comparison", checks.tables["comparison"],
                     "Agreement with the published fits: ``clusterpost.compare_with_catalog`` explains the rows.",
                     _transposed(checks.tables["comparison"]))
        report.table("inliers", checks.tables["inliers"], "Table 1 of Walter et al. (2025) beside theirs, in %.")
        report.figure("comparison", plot_comparison(out, where=checks.compared),
                      "MAP (above) and closest mode (below) against the published fits.")
        report.figure("deviation", plot_deviation(out, where=checks.compared),
                      "Deviation against the width of the posterior.")


def _transposed(table):
    """Return a column for each parameter, with numbers as text."""
    names = [name for name in table.colnames if name != "parameter"]
    forms = {name: table[name].info.format or "" for name in names}
    columns = {str(row["parameter"]): [f"{row[name]:{forms[name].lstrip('%')}}" for name in names] for row in table}
    return Table({"quantity": [name + (f" [{table[name].unit}]" if table[name].unit else "") for name in names],
                  **columns})


def _write(table, path):
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv")
