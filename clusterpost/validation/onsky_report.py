"""The part of a report that shows a catalog of real photometry."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from ..flags import NOT_INFERRED
from .onsky import example_rows
from .predictive import resimulate

__all__ = ["report_catalog"]

_AGES = ("very young", "young", "intermediate", "old")


def report_catalog(report, checks, model, seed=0):
    """Add tables and figures of a catalog to a report.

    Parameters
    ----------
    report : object
        Whose ``section``, ``table`` and ``figure`` take them.
    checks : CatalogChecks
        From `~clusterpost.validation.onsky.check_catalog`.
    model : Model
    seed : int
        Of draws in figures.
    """
    counts = checks.counts
    report.section("Real photometry", (
        f"{counts['inferred']:,} of {counts['rows']:,} sources are inferred, in {1000 * checks.seconds:.1f} ms each; "
        f"{counts['compared']:,} of {counts['clusters']:,} clusters, those in five bands, are compared with the fits "
        f"that the catalog publishes ({checks.published or 'none'})."))
    out, rows = checks.out, checks.compared
    if checks.predictive is None:
        report.sections[-1].text += "\n\nThis model can infer none of the clusters: its bands are others."
        return
    from ..plotting import plot_flux_errors, plot_predictive, plot_support

    good = (np.asarray(out["flag"]) & NOT_INFERRED) == 0
    report.figure("flux_errors", plot_flux_errors(out, where=good),
                  "Relative flux errors, and what two noise models make of them (Fig. 2 of the paper).")
    report.table("predictive", checks.tables["predictive"], (
        "Posterior predictive check: 500 draws of each cluster, observed again. ``offset`` and ``scatter`` of the mean "
        "prediction over the observation; ``inside``, the share of fluxes within the predicted 16-84 %; ``tails``, "
        "that in the outermost 10 % of ranks."))
    report.figure("predictive", plot_predictive(checks.predictive), (
        "Mean predicted against observed fluxes, and the ranks of the observed ones (Fig. 4). The posteriors have seen "
        "these data, so that middle ranks are the most frequent."))
    report.figure("support", plot_support(out, where=good), "Where the catalog lies beside mocks; what is hardly "
                  "explained is marked (Figs. 1 and 5 of Hahn & Melchior 2022).")
    if rows.any():
        _fits(report, checks, model, seed)
    if checks.noise is not None:
        from ..plotting import plot_noise_models

        report.table("noise", checks.tables["noise"], (
            "Clusters with ultraviolet errors above 40 %, under log-normal and under normal noise (Sect. 3.2.4): how "
            "far the median moves, in half-widths, and what is left of that when the same draws are weighted anew."))
        report.figure("noise", plot_noise_models(checks.noise), "The same clusters under two noise models (Fig. 9).")


def _fits(report, checks, model, seed):
    from ..plotting import plot_chi2, plot_comparison, plot_densities, plot_deviation, plot_seds, plot_with_mcmc

    out, rows = checks.out, checks.compared
    report.table("comparison", checks.tables["comparison"],
                 "Agreement with the published fits: ``clusterpost.compare_with_catalog`` explains the rows.",
                 _transposed(checks.tables["comparison"]))
    report.table("inliers", checks.tables["inliers"], "Table 1 of Walter et al. (2025) beside theirs, in %.")
    report.figure("comparison", plot_comparison(out, where=rows, highlight="uv"), (
        "MAP (above) and closest mode (below) against the published fits (Figs. 6, B.1 and B.2); clusters with "
        "ultraviolet errors above 40 % in orange."))
    report.figure("deviation", plot_deviation(out, where=rows),
                  "Deviation against the width of the posterior (Fig. B.3).")
    report.table("chi2", checks.tables["chi2"], (
        "Reduced chi-square in this package's model: at our MAP, at the catalog's parameters, at these with the best "
        "mass, and at the best point of a fine grid; and how often that of the MAP is the larger one."))
    report.figure("chi2", plot_chi2(checks.chi2), "Reduced chi-squares (Fig. 8).")
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


def _transposed(table):
    """Return a column for each parameter, with numbers as text."""
    names = [name for name in table.colnames if name != "parameter"]
    forms = {name: table[name].info.format or "" for name in names}
    columns = {str(row["parameter"]): [f"{row[name]:{forms[name].lstrip('%')}}" for name in names] for row in table}
    return Table({"quantity": [name + (f" [{table[name].unit}]" if table[name].unit else "") for name in names],
                  **columns})
