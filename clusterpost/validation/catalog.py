"""Check of a model on a catalog of real photometry, without known truths."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.table import Table

from ..catalogs.published import published_columns
from ..catalogs.reader import read_catalog
from ..flags import NOT_INFERRED, OUTSIDE_SUPPORT
from ..flow.modelfile import load_model
from ..infer import infer_table
from ..typing import PathLike
from .compare import compare_with_catalog, inlier_table
from .fits import published_fits
from .predictive import predictive_check, predictive_summary

__all__ = ["CatalogChecks", "check_catalog"]

_FIVE = 5  # number of bands of compared objects


@dataclass
class CatalogChecks:
    """Findings of `check_catalog`.

    Attributes
    ----------
    tbl : Table
        The catalog.
    out : Table
        The inferred catalog.
    shown : ndarray of int
        Rows of the inferred objects, for clusters those of class 1 and 2 if the catalog has classes.
    compared : ndarray of bool
        True for objects of these that are measured in five bands and have a published fit.
    counts : dict of int
        ``rows``, ``inferred``, ``outside_support``, ``clusters`` (of class 1 and 2), ``five_bands``, ``compared``.
    published : str
        Description of the published fits; empty if there are none.
    seconds : float
        Inference time per inferred row.
    predictive : Table
        Output of `~clusterpost.validation.predictive_check`; None if it does not apply.
    tables : dict of Table
        ``predictive``, ``comparison`` and ``inliers``, if applicable.
    """

    tbl: Table
    out: Table
    shown: np.ndarray
    compared: np.ndarray
    counts: dict
    published: str
    seconds: float
    predictive: Table = None
    tables: dict = field(default_factory=dict)


def check_catalog(catalog: PathLike, *, model: Any = "default", distance_source: str | None = None,
                  n_clusters: int | None = None, n_draws: int = 500, seed: int = 0,
                  progress: bool | None = None) -> CatalogChecks:
    """Infer a catalog, run a posterior predictive check, and compare with its published fits.

    Parameters
    ----------
    catalog : str, path or Table
        As for `~clusterpost.read_catalog`.
    model : str, path or Model
    distance_source : str, optional
        As for `~clusterpost.read_catalog`; published fits are comparable only at the catalog's own distance.
    n_clusters : int, optional
        Largest number of evenly selected objects (of class 1 and 2, if there are classes); by default the whole
        catalog.
    n_draws : int
        Number of draws of the posterior predictive check, which needs a model with a likelihood.
    seed : int
    progress : bool, optional

    Returns
    -------
    CatalogChecks
        Findings, without tables if the model cannot infer any object, for instance because of other bands.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation import check_catalog
    >>> checks = check_catalog(clusterpost.simulate(5, model="any_bands", seed=1),
    ...                        model="any_bands", n_draws=50)
    >>> checks.counts["inferred"], list(checks.tables)
    (5, ['predictive'])
    """
    tbl = read_catalog(catalog, distance_source=distance_source)
    if n_clusters is not None:
        rows = np.flatnonzero(_clusters(tbl))
        tbl = tbl[rows[np.unique(np.linspace(0, len(rows) - 1, min(n_clusters, len(rows))).astype(int))]]
    started = time.perf_counter()
    out = infer_table(tbl, model=model, seed=seed, progress=progress)
    inferred = (np.asarray(out["flag"]) & NOT_INFERRED) == 0
    seconds = (time.perf_counter() - started) / max(inferred.sum(), 1)
    clusters, family = _clusters(out), published_columns(out)[0]
    fits = published_fits(out) if family else {}
    fitted = np.isfinite(next(iter(fits.values())).value) if fits else np.zeros(len(out), bool)
    five = clusters & (np.asarray(out["n_bands"]) >= _FIVE)
    counts = {"rows": len(out), "inferred": int(inferred.sum()),
              "outside_support": int(((np.asarray(out["flag"]) & OUTSIDE_SUPPORT) != 0).sum()),
              "clusters": int(clusters.sum()), "five_bands": int(five.sum()),
              "compared": int((five & fitted & inferred).sum())}
    checks = CatalogChecks(tbl, out, np.flatnonzero(clusters & inferred), five & fitted & inferred, counts,
                           family.description if family else "", seconds)
    if len(checks.shown):
        if load_model(model).family.likelihood is not None:
            checks.predictive = predictive_check(tbl[checks.shown], model=model, n_draws=n_draws, seed=seed,
                                                 progress=progress)
            checks.tables["predictive"] = predictive_summary(checks.predictive)
        if checks.compared.any():
            checks.tables["comparison"] = compare_with_catalog(out, where=checks.compared)
            checks.tables["inliers"] = inlier_table(checks.tables["comparison"])
    return checks


def _clusters(tbl):
    return np.isin(tbl["class_mode"], [1, 2]) if "class_mode" in tbl.colnames else np.ones(len(tbl), bool)
