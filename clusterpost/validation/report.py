"""Everything that can be checked of a model, as tables, figures and one page in a folder."""

from __future__ import annotations

import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Table, vstack

from ..errors import UncertifiedModelWarning
from ..flow.modelfile import load_model, model_stem, save_certificate
from ..infer import exact_posterior, infer_table, log_prob, sample_posterior
from ..training.mocks import simulate
from ..training.simulation import Simulator
from ..typing import PathLike
from ..utils import require, whole_file, write_whole
from .certificate import certificate_table, make_certificate, measured
from .exactness import CASES, compare_with_exact, efficiency_by_bands
from .maps import map_shortfall
from .onsky import check_catalog
from .onsky_report import report_catalog
from .page import Section, html_page
from .papers import SEDFLOW_DRAWS, sedflow_claims, walter2025_claims
from .parts import remove_parts
from .samplers import PosteriorSampler
from .sbc import MARGINALS

__all__ = ["compare_model", "network_nll", "validate_model"]

_CONTROL_SIZES = (100, 1000, 10_000)
_TIMED = 200  # mocks
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
        Also compare with the exact posteriors of so many mocks of each of several kinds (`compare_model`).
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

    Examples
    --------
    >>> import tempfile
    >>> from clusterpost.validation.report import validate_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tables = validate_model("walter2025", folder, n_mocks=50, n_draws=20, n_refined=0)
    >>> tables["calibration"]["test"][:2].tolist()
    ['T1', 'T2']
    """
    if exact or controls:  # before the hours that come first
        require("sklearn", "validation")
    started, stem = time.perf_counter(), model_stem(model)
    if certify and not os.access(stem.parent, os.W_OK):
        raise OSError(f"the certificate is to be written into {stem}.json, and {stem.parent} cannot be written to; "
                      "copy the model to a folder of your own")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncertifiedModelWarning)  # that is what is about to change
        model = load_model(stem)
    report = _Report(folder)
    parts = report.folder / "parts"
    tested = measured(model, n_mocks, n_draws, seed, n_refined=n_refined, parts=parts, progress=progress)
    certificate = make_certificate(model, tested, seed)
    _calibrated(report, tested, certificate, model)
    compared = compare_model(model, report.folder, n_mocks=exact, seed=seed, progress=progress) if exact else {}
    if compared:
        _compared(report, compared)
    if controls:
        _controlled(report, model, n_mocks, seed, progress)
    checks = None
    if catalog is not None:
        checks = check_catalog(catalog, model=model, distance_source=distance_source, n_clusters=n_clusters, seed=seed,
                               progress=progress)
        report_catalog(report, checks, model, seed)
    if model.family.parameter_names == tuple(MARGINALS):  # those of the papers' clusters
        _claimed(report, model, tested, checks, compared.get("exactness"), seed)
    write_whole(report.folder / "certificate.json", json.dumps(certificate, indent=1).encode())
    if certify:
        save_certificate(stem, certificate)
    report.write(model, certificate, time.perf_counter() - started)
    remove_parts(parts)
    return report.tables


class _Report:
    """What was found so far: tables and figures in the folder, and the sections of the page."""

    def __init__(self, folder):
        self.folder, self.tables, self.sections = _made(folder), {}, []

    def section(self, title, text):
        """Begin one; tables and figures that follow belong to it."""
        self.sections.append(Section(title, text))

    def table(self, name, table, caption, shown=None):
        """Keep a table, write it and show it, or what else is to be shown of it."""
        self.tables[name] = table
        _write(table, self.folder / f"{name}.ecsv")
        self.sections[-1].tables.append((caption, table if shown is None else shown))

    def figure(self, name, figure, caption):
        """Write a figure and show it."""
        path = self.folder / f"{name}.png"
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=130)
        self.sections[-1].figures.append((caption, path))

    def write(self, model, certificate, seconds):
        """Write the page."""
        facts = {"weights (sha256)": certificate["sha256"][:16], "mocks": f"{certificate['n_mocks']:,}",
                 "draws of each": certificate["n_draws"], "seed": certificate["seed"], "date": certificate["date"],
                 "versions": ", ".join(f"{name} {value}" for name, value in certificate["versions"].items()),
                 "bands": " ".join(model.bands), "noise": model.card["simulator"]["noise"],
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
    report.figure("training", plot_training(model.card["training"]["history"]), "The loss in training.")


def _regions(calibrated):
    """Return the tables of all regions in one."""
    tables = []
    for by, table in calibrated.regions.items():
        table = table.copy()
        table.add_column(by, index=0, name="by")
        tables.append(table)
    return vstack(tables, metadata_conflicts="silent")


def _compared(report, tables):
    report.section("Against exact posteriors", (
        "Quantiles of inferred posteriors against those of dense grids or dense sets of points, object by object, as "
        "the absolute difference in units of the exact half-width (q84 - q16)/2. Rows named ``control`` are posteriors "
        "moved by half of that. A classifier that can tell nothing apart is right in half of all cases."))
    captions = {"exactness": "Differences of quantiles, and a classifier's accuracy.",
                "efficiency": "Efficiency of the network's draws by number of bands: quantiles over mocks.",
                "maps": "The MAP against the best point of a fine grid; positive: the MAP is worse.",
                "nll": "Mean -ln q of true parameters (nat), networks alone, on the same mocks."}
    for name, table in tables.items():
        report.table(name, table, captions[name])


def _controlled(report, model, n_mocks, seed, progress):
    from .controls import control_table

    sizes = [size for size in _CONTROL_SIZES if size <= n_mocks] or [n_mocks]
    table = control_table(PosteriorSampler(model, refine=False), Simulator.of(model), sizes,
                          seed=seed, progress=progress)
    report.section("Negative controls", (
        "A diagnostic that cannot fail is none. Posteriors that are exact by construction (``none``) are spoiled on "
        "purpose; each entry is the smallest number of mocks at which a diagnostic notices."))
    report.table("controls", table, f"Of {', '.join(f'{size:,}' for size in sizes)} mocks.")


def _claimed(report, model, tested, checks, exactness, seed):
    report.section("The papers' claims", (
        "What the papers say of their networks, what is found for this model, and why the two differ. Ours is computed "
        "from the results of this page."))
    report.table("walter2025_claims", walter2025_claims(model, tested, checks=checks, exactness=exactness),
                 "Walter et al. (2025).")
    timing = _timing(model, min(1 + tested["network"].sbc.n_mocks // 20, _TIMED), seed, refine="refined" in tested)
    report.table("sedflow_claims", sedflow_claims(model, tested, checks=checks, exactness=exactness, timing=timing),
                 "Hahn & Melchior (2022), SEDflow.")


def _timing(model, n, seed, refine):
    """Seconds for each of the same mocks: tables by the network alone, refined and by the exact grid; and draws."""
    mocks, few = simulate(n, seed=seed), 1 + n // 20  # draws take longer, and vary less
    calls = {"network": lambda tbl: infer_table(tbl, model=model, refine=False, error_floor=None, progress=False),
             "draws": lambda tbl: sample_posterior(tbl, model=model, n_samples=SEDFLOW_DRAWS, refine=False,
                                                   error_floor=None, progress=False)}
    if refine:
        calls["refined"] = lambda tbl: infer_table(tbl, model=model, error_floor=None, progress=False)
        calls["exact"] = lambda tbl: exact_posterior(tbl, error_floor=None, progress=False)
    seconds = {}
    for name, call in calls.items():
        tbl = mocks[:few] if name == "draws" else mocks
        call(tbl[:1])  # what is done once for each process
        started = time.perf_counter()
        call(tbl)
        seconds[name] = (time.perf_counter() - started) / len(tbl)
    return seconds


def compare_model(model, folder, *, n_mocks=500, seed=1, progress=None):
    """Compare a model's refined posteriors with exact ones, and its MAPs with fine grids.

    Parameters
    ----------
    model : str, path or Model
    folder : path
        Made if absent; takes ``exactness.ecsv``, ``maps.ecsv``, ``nll.ecsv`` and, for a model of any two or more
        bands, ``efficiency.ecsv``.
    n_mocks : int
        Of each kind; ten times as many for the NLL, four times for efficiencies.
        A twelfth of them are given to a classifier.
    seed : int
    progress : bool, optional

    Returns
    -------
    dict of `~astropy.table.Table`
        By file name without suffix.
    """
    folder, model = _made(folder), load_model(model)
    takes_any = "slots" in model.card["simulator"]["coverage"]
    networks = ("walter2025",) if model.name == "walter2025" else ("walter2025", model)
    tables = {
        "exactness": compare_with_exact(n_mocks, model=model, cases=tuple(CASES) if takes_any else _FIVE_BANDS,
                                        n_classified=n_mocks // 12, seed=seed, progress=progress),
        "maps": _maps(model, n_mocks, seed, progress),
        "nll": network_nll(networks, 10 * n_mocks, seed),
    }
    if takes_any:
        tables["efficiency"] = efficiency_by_bands(4 * n_mocks, model=model, seed=seed, progress=progress)
    for name, table in tables.items():
        _write(table, folder / f"{name}.ecsv")
    return tables


def network_nll(models, n_mocks, seed=1):
    """Mean -ln q of the true parameters for networks alone, on the same mocks.

    Parameters
    ----------
    models : sequence of str, path or Model
        For five WFC3/UVIS bands at least.
    n_mocks, seed : int

    Returns
    -------
    `~astropy.table.Table`
        Nat, of the density in (log10 age/Myr, log10 mass/Msun, E(B-V)/mag).
    """
    mocks = simulate(n_mocks, seed=seed)
    truth = [np.log10(mocks["age_true"].to_value(u.Myr)), np.log10(mocks["mass_true"].to_value(u.solMass)),
             mocks["ebv_true"].to_value(u.mag)]
    density = [log_prob(mocks, np.stack(truth, -1), model=model, refine=False, error_floor=None) for model in models]
    shared = np.isfinite(density).all(axis=0)  # rows that each of them can infer
    return Table(rows=[{"model": load_model(model).name, "n": int(shared.sum()), "nll": float(-values[shared].mean())}
                       for model, values in zip(models, density, strict=True)])


def _maps(model, n_mocks, seed, progress):
    rows = []
    for noise in ("lognormal", "normal"):
        table = map_shortfall(simulate(n_mocks, noise=noise, seed=seed), model=model, noise=noise, error_floor=None,
                              progress=progress)
        rows.append({"noise": noise, "n": len(table), "log_density_p50": np.median(table["log_density"]),
                     "log_density_worst": max(table["log_density"]), "chi2_worst": max(table["chi2"])})
    return Table(rows=rows)


def _made(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(table, path):
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv")
