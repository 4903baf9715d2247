"""What the papers look at in a catalog of real photometry, besides what `clusterpost.validation.check_catalog` does."""

import numpy as np
from astropy.table import Table

from clusterpost.errors import InputError
from clusterpost.families.clusters.parameters import PARAMETERS
from clusterpost.plotting import plot_chi2, plot_comparison, plot_deviation, plot_seds
from clusterpost.validation import map_chi2, resimulate
from clusterpost.validation.fits import closest_modes, inferred_parameters, published_fits

from .density_figures import plot_densities, plot_with_mcmc
from .maps import grid_chi2
from .noise import compare_noise, noisy_rows
from .noise_figure import plot_noise_models

_AGES = ("very young", "young", "intermediate", "old")


def check_further(report, checks, model, seed=0, progress=None):
    """Add chi-squares on a grid, outliers, noise models and four examples to a report, and to the tables of checks.

    Parameters
    ----------
    report : object
        Whose ``section``, ``table`` and ``figure`` take them.
    checks : CatalogChecks
        From `clusterpost.validation.check_catalog`.
    model : Model
    seed : int
    progress : bool, optional
    """
    if not len(checks.shown):
        return
    report.section("As in the papers", "The same clusters in the figures of the two papers.")
    if checks.compared.any():
        _fits(report, checks, model, seed)
    try:
        noise = compare_noise(checks.tbl[checks.shown], model=model, seed=seed, progress=progress)
    except InputError:  # no row is noisy
        return
    checks.tables["noise"] = _noise_summary(noise)
    report.table("noise", checks.tables["noise"], (
        "Clusters with ultraviolet errors above 40 %, under log-normal and under normal noise (Sect. 3.2.4): how "
        "far the median moves, in half-widths, and what is left of that when the same draws are weighted anew."))
    report.figure("noise", plot_noise_models(noise), "The same clusters under two noise models (Fig. 9).")


def _fits(report, checks, model, seed):
    out, rows = checks.out, checks.compared
    report.figure("comparison", plot_comparison(out, where=rows, highlight=noisy_rows(out)[0]), (
        "MAP (above) and closest mode (below) against the published fits (Figs. 6, B.1 and B.2); clusters with "
        "ultraviolet errors above 40 % in orange."))
    report.figure("deviation", plot_deviation(out, where=rows),
                  "Deviation against the width of the posterior (Fig. B.3).")
    chi2 = map_chi2(out[rows], model=model)
    chi2["chi2_grid"] = grid_chi2(out[rows], model=model)
    checks.tables["chi2"] = _chi2_summary(chi2)
    report.table("chi2", checks.tables["chi2"], (
        "Reduced chi-square in this package's model: at our MAP, at the catalog's parameters, at these with the best "
        "mass, and at the best point of a fine grid; and how often that of the MAP is the larger one."))
    report.figure("chi2", plot_chi2(chi2), "Reduced chi-squares (Fig. 8).")
    checks.tables["outliers"] = _outliers(out[rows])
    report.table("outliers", checks.tables["outliers"],
                 f"Fits farther than {checks.tables['outliers'].meta['far']:g} half-widths from every mode.")
    examples = example_rows(out, rows)
    if not examples:
        return
    photometry = out[examples]
    titles = _AGES if len(examples) == len(_AGES) else None
    report.figure("densities", plot_densities(photometry, titles=titles, model=model, seed=seed), (
        "Four clusters from very young to old: network, refined and exact posteriors side by side (Fig. 5)."))
    report.figure("seds", plot_seds(resimulate(out, examples, model=model, seed=seed)),
                  "The same clusters in every band, with ±3σ (Fig. 7).")
    report.figure("mcmc", plot_with_mcmc(photometry[-1:], model=model, seed=seed),
                  "One of them by Markov chains (Fig. 2 of Hahn & Melchior 2022).")


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
    catalog = np.stack([fit.value for fit in fits.values()], -1)
    index = [i for i, p in enumerate(PARAMETERS) if p.column in fits]
    half = (inferred_parameters(out, "q84") - inferred_parameters(out, "q16"))[:, index] / 2
    distance = np.abs(closest_modes(out, fits)[:, index] - catalog) / np.maximum(half, 0.02)
    outlying, noisy = (distance > far).any(1), noisy_rows(out)[0]
    table = Table(rows=[{"clusters": name, "n": int(rows.sum()), "outlying": int((rows & outlying).sum()),
                         "share": 100 * (rows & outlying).sum() / max(rows.sum(), 1)}
                        for name, rows in (("UV error above 40 %", noisy), ("others", ~noisy))])
    table["share"].unit, table["share"].info.format = "%", ".1f"
    table.meta["far"] = far
    return table


def _noise_summary(table):
    rows = []
    for stem in (p.column for p in PARAMETERS):
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
    return summary


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
