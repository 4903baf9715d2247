"""Every check of a model on a catalog of real photometry with published fits, in one go."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.table import Table

from ..catalogs.published import published_columns
from ..catalogs.reader import read_catalog
from ..errors import InputError
from ..flags import NOT_INFERRED, OUTSIDE_SUPPORT
from ..infer import infer_table
from ..typing import PathLike
from .compare import compare_with_catalog, inlier_table
from .fits import PARAMETERS, closest_modes, inferred_parameters, published_fits
from .noise_models import compare_noise, noisy_rows
from .predictive import map_chi2, predictive_check, predictive_summary

__all__ = ["CatalogChecks", "check_catalog", "example_rows"]

_FIVE = 5  # bands of the clusters that are compared


@dataclass
class CatalogChecks:
    """What `check_catalog` found.

    Attributes
    ----------
    out : Table
        The catalog, inferred.
    compared : ndarray of bool
        Clusters of class 1 and 2, where the catalog has classes, measured in five bands, fitted and inferred.
    counts : dict of int
        ``rows``, ``inferred``, ``outside_support``, ``clusters`` (class 1 and 2), ``five_bands``, ``compared``.
    published : str
        Whose fits they are; empty where there are none.
    seconds : float
        Of inference, for each inferred row.
    tables : dict of Table
        ``comparison``, ``inliers``, ``predictive``, ``chi2``, ``noise`` and ``outliers``, as far as they apply.
    predictive : Table
        From `~clusterpost.validation.predictive_check`.
    chi2 : Table
        From `~clusterpost.validation.map_chi2`.
    noise : Table
        From `~clusterpost.validation.compare_noise`.
    """

    out: Table
    compared: np.ndarray
    counts: dict
    published: str
    seconds: float
    tables: dict = field(default_factory=dict)
    predictive: Table = None
    chi2: Table = None
    noise: Table = None


def check_catalog(catalog: PathLike, *, model: Any = "default", distance_source: str | None = None,
                  n_clusters: int | None = None, n_draws: int = 500, grid: bool = True, seed: int = 0,
                  progress: bool | None = None) -> CatalogChecks:
    """Infer a catalog and put it to every check that needs no truth.

    Parameters
    ----------
    catalog : str, path or Table
        As for `~clusterpost.read_catalog`.
    model : str, path or Model
    distance_source : str, optional
        As for `~clusterpost.read_catalog`; fits compare at the catalog's own distance only.
    n_clusters : int, optional
        At most so many clusters (of class 1 and 2, where there are classes), evenly chosen, and nothing else of the
        catalog; all of it by default.
    n_draws : int
        Of the posterior predictive check.
    grid : bool
        Also find the least chi-square of each compared cluster on a fine grid.
    seed : int
    progress : bool, optional

    Returns
    -------
    CatalogChecks
        With ``out`` and ``counts`` alone where the model can infer none of the clusters, as where its bands are not
        those of the catalog.
    """
    tbl = read_catalog(catalog, distance_source=distance_source)
    if n_clusters is not None:
        rows = np.flatnonzero(_clusters(tbl))
        tbl = tbl[rows[np.unique(np.linspace(0, len(rows) - 1, min(n_clusters, len(rows))).astype(int))]]
    started = time.perf_counter()
    out = infer_table(tbl, model=model, seed=seed, progress=progress)
    inferred = (np.asarray(out["flag"]) & NOT_INFERRED) == 0
    seconds = (time.perf_counter() - started) / max(inferred.sum(), 1)
    clusters = _clusters(out)
    family = published_columns(out)[0]
    fitted = np.isfinite(published_fits(out)["age"].value) if family else np.zeros(len(out), bool)
    five = clusters & (np.asarray(out["n_bands"]) >= _FIVE)
    checks = CatalogChecks(out, five & fitted & inferred, {}, family.description if family else "", seconds)
    checks.counts = {"rows": len(out), "inferred": int(inferred.sum()),
                     "outside_support": int(((np.asarray(out["flag"]) & OUTSIDE_SUPPORT) != 0).sum()),
                     "clusters": int(clusters.sum()), "five_bands": int(five.sum()),
                     "compared": int(checks.compared.sum())}
    shown = np.flatnonzero(clusters & inferred)
    if not len(shown):
        return checks
    checks.predictive = predictive_check(tbl[shown], model=model, n_draws=n_draws, seed=seed, progress=progress)
    checks.tables["predictive"] = predictive_summary(checks.predictive)
    _noisy(checks, tbl[shown], model, seed, progress)
    if checks.compared.any():
        _compare(checks, model, grid)
    return checks


def _clusters(tbl):
    return np.isin(tbl["class_mode"], [1, 2]) if "class_mode" in tbl.colnames else np.ones(len(tbl), bool)


def _compare(checks, model, grid):
    out, rows = checks.out, checks.compared
    checks.tables["comparison"] = compare_with_catalog(out, where=rows)
    checks.tables["inliers"] = inlier_table(checks.tables["comparison"])
    checks.chi2 = map_chi2(out[rows], grid=grid, model=model)
    checks.tables["chi2"] = _chi2_summary(checks.chi2)
    checks.tables["outliers"] = _outliers(out[rows])


def _chi2_summary(chi2):
    """Reduced chi-squares, and how often the MAP has the larger one."""
    rows = []
    for name in ("chi2_map", "chi2_catalog", "chi2_catalog_free_mass", "chi2_grid"):
        known = np.isfinite(chi2[name]) & np.isfinite(chi2["chi2_map"])
        if known.any():
            q16, q50, q84 = np.percentile(chi2[name][known], [16, 50, 84])
            rows.append({"parameters": name.removeprefix("chi2_").replace("_", " "), "n": int(known.sum()), "q16": q16,
                         "median": q50, "q84": q84,
                         "map_is_worse": 100 * np.mean(chi2["chi2_map"][known] > 1.001 * chi2[name][known])})
    table = Table(rows=rows)
    for name in ("q16", "median", "q84"):
        table[name].info.format = ".3g"
    table["map_is_worse"].unit, table["map_is_worse"].info.format = "%", ".1f"
    return table


def _outliers(out, far=5.0):
    """Clusters whose fit lies far from every mode, and how many of them have noisy ultraviolet fluxes."""
    fits = published_fits(out)
    catalog = np.stack([fits[stem].value for stem in PARAMETERS if stem in fits], -1)
    index = [i for i, stem in enumerate(PARAMETERS) if stem in fits]
    half = (inferred_parameters(out, "q84") - inferred_parameters(out, "q16"))[:, index] / 2
    distance = np.abs(closest_modes(out, fits)[:, index] - catalog) / np.maximum(half, 0.02)
    outlying, noisy = (distance > far).any(1), noisy_rows(out)[0]
    table = Table(rows=[{"clusters": name, "n": int(rows.sum()), "outlying": int((rows & outlying).sum()),
                         "share": 100 * (rows & outlying).sum() / max(rows.sum(), 1)}
                        for name, rows in (("UV error above 40 %", noisy), ("others", ~noisy))])
    table["share"].unit, table["share"].info.format = "%", ".1f"
    table.meta["far"] = far
    return table


def _noisy(checks, tbl, model, seed, progress):
    try:
        checks.noise = compare_noise(tbl, model=model, seed=seed, progress=progress)
    except InputError:  # no row is noisy
        return
    table, rows = checks.noise, []
    for stem in PARAMETERS:
        width = {noise: np.asarray(table[f"{noise}_{stem}_q84"] - table[f"{noise}_{stem}_q16"]) for noise in
                 ("lognormal", "normal")}
        middle = {noise: np.asarray(table[f"{noise}_{stem}_q50"]) for noise in width}
        again = np.abs(np.asarray(table[f"reweighted_{stem}_q50"]) - middle["normal"])
        rows.append({"parameter": stem, "n": len(table),
                     "moved": np.median(np.abs(middle["normal"] - middle["lognormal"]) / (width["lognormal"] / 2)),
                     "moved_reweighted": np.median(again / (width["normal"] / 2))})
    summary = Table(rows=rows)
    for name in ("moved", "moved_reweighted"):
        summary[name].info.format = ".3f"
    summary.meta.update(divergence=float(np.median(table["divergence"])), overlap=float(np.median(table["overlap"])))
    checks.tables["noise"] = summary


def example_rows(out, compared):
    """Four clusters from very young to old, as in Walter et al. (2025), Fig. 5.

    Parameters
    ----------
    out : Table
        From `~clusterpost.infer_table`.
    compared : array of bool
        Rows to choose from.

    Returns
    -------
    list of int
        In each of four ranges of age (below 4, 4 to 30, 30 to 500 Myr and above) the brightest cluster of those
        with the typical width of the posterior; fewer where a range is empty.
    """
    log_age = inferred_parameters(out, "q50")[:, 0]
    log_mass = inferred_parameters(out, "q50")[:, 1]
    width = (inferred_parameters(out, "q84") - inferred_parameters(out, "q16"))[:, 0]
    rows = []
    for low, high in ((-np.inf, 0.6), (0.6, 1.5), (1.5, 2.7), (2.7, np.inf)):
        there = np.flatnonzero(compared & (log_age > low) & (log_age <= high))
        if len(there):
            typical = there[width[there] >= np.median(width[there])]
            rows.append(int(typical[np.argmax(log_mass[typical])]))
    return rows
