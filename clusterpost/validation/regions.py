"""Local calibration by region, and calibration of the sharpness of posteriors."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import Table

from .sbc import rank_statistics

__all__ = ["by_region", "entropy_check"]

_AT_ONCE = 4096  # mocks


def by_region(ensemble: Any, by: str = "age", n_regions: int = 4, *, statistics: Any = None, level: float = 0.99,
              seed: int = 0) -> Table:
    """Run simulation-based calibration separately for parts of an ensemble.

    Parameters
    ----------
    ensemble : Ensemble
    by : str
        Quantity that divides the mocks: the column of a parameter, such as ``age``, ``mass`` or ``ebv`` (posterior
        medians, of age and mass as log10 of Myr or solar masses), ``snr``, ``n_bands`` or ``band_set``.
    n_regions : int
        Number of equally populated parts.  If there are not more numbers of bands, each is one part.  Of sets of
        bands, the most frequent ``2 * n_regions`` are one part each, and all others are one part.
    statistics : dict of callable, optional
        As for `~clusterpost.validation.rank_statistics`; by default the parameters.
    level : float
        Probability that exact posteriors lie inside the bands of **all** statistics and regions; each band is widened
        accordingly (Bonferroni).
    seed : int
        Random seed of tie breaking.

    Returns
    -------
    Table
        One row per region and statistic: ``region`` (from 1), its ``low`` and ``high`` end in ``by``, ``statistic``,
        ``n`` mocks, ``max_difference`` (largest absolute ECDF difference), ``of_band`` (the curve's largest excursion
        relative to the simultaneous band; above 1 is outside) and ``inside_band``.

    Raises
    ------
    ValueError
        If ``by`` is not one of these.

    Notes
    -----
    Regions must not depend on the truth: among mocks with old true ages, the truth lies high in its posterior even if
    the posterior is exact.  The median includes the draws and the truth, which are exchangeable for exact posteriors,
    so ranks are exactly uniform in every region.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, by_region, draw_ensemble
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> ensemble = draw_ensemble(PosteriorSampler(model, refine=False), simulator,
    ...                          n_mocks=40, n_draws=10)
    >>> table = by_region(ensemble, "snr", 2)
    >>> table.colnames
    ['region', 'low', 'high', 'statistic', 'n', 'max_difference', 'of_band', 'inside_band']
    >>> len(table)
    6
    """
    statistics = ensemble.marginals if statistics is None else statistics
    values = _values(ensemble, by)
    parts = _frequent(values, 2 * n_regions) if by == "band_set" else _parts(values, n_regions)
    each = 1 - (1 - level) / (len(parts) * len(statistics))
    rows = []
    for region, members in enumerate(parts, 1):
        result = rank_statistics(ensemble[members], statistics, seed)
        inside, curves = result.passes(each), result.ecdf_difference()[1]
        lower, upper = (end[1:-1] for end in result.simultaneous_band(each))
        for name, curve in zip(result.names, curves, strict=True):
            inner = curve[1:-1]
            edge = np.where(inner > 0, upper, lower)
            share = np.divide(inner, edge, out=np.zeros_like(inner), where=edge != 0)
            rows.append({"region": region, "low": values[members].min(), "high": values[members].max(),
                         "statistic": name, "n": len(members), "max_difference": np.abs(curve).max(),
                         "of_band": share.max(), "inside_band": inside[name]})
    table = Table(rows=rows)
    for name in ("low", "high", "max_difference", "of_band"):
        table[name].info.format = ".3f"
    table.meta.update(by=by, level=level, n_mocks=len(ensemble), n_draws=ensemble.n_draws)
    return table


def _values(ensemble, by):
    """Return the quantity that divides the mocks, (n,)."""
    if by in ("snr", "n_bands", "band_set"):
        return np.asarray(ensemble.about[by], float)
    columns = [parameter.column for parameter in ensemble.parameters]
    if by not in columns:
        raise ValueError(f"by={by!r} must be one of {', '.join(columns)}, snr, n_bands, band_set")
    column, medians = columns.index(by), []
    for start in range(0, len(ensemble), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        together = np.concatenate([ensemble.truth[rows, None, column], ensemble.draws[rows, :, column]], axis=1)
        medians.append(np.median(together, axis=1))
    return np.concatenate(medians).astype(float)


def _frequent(values, n_regions):
    """Return the rows of each of the most frequent values, and of all others together."""
    different, counts = np.unique(values, return_counts=True)
    frequent = different[np.argsort(-counts, kind="stable")][:n_regions]
    parts = [np.flatnonzero(values == value) for value in frequent]
    others = np.flatnonzero(~np.isin(values, frequent))
    return parts + ([others] if len(others) else [])


def _parts(values, n_regions):
    """Return the rows of each region, in order of the values."""
    different = np.unique(values)
    if len(different) <= n_regions:
        return [np.flatnonzero(values == value) for value in different]
    order = np.argsort(values, kind="stable")
    # Equal values stay in one region.
    edges = np.unique(values[order[np.linspace(0, len(values), n_regions + 1)[1:-1].astype(int)]])
    region = np.searchsorted(edges, values, side="right")
    return [rows for i in range(len(edges) + 1) if len(rows := np.flatnonzero(region == i))]


def entropy_check(ensemble: Any) -> dict:
    """Compare the entropy of posteriors with -ln q at the truth, a test of their sharpness.

    Parameters
    ----------
    ensemble : Ensemble
        Ensemble with densities, up to a constant per mock.

    Returns
    -------
    dict of float
        ``mean_entropy`` (mean of -ln q at the draws), ``mean_nll`` (mean of -ln q at the truths), in nat;
        ``difference`` (second minus first), its ``standard_error`` and their ratio ``z``.  A positive difference means
        that posteriors are too narrow or biased.

    Raises
    ------
    ValueError
        If the density is not known.

    Notes
    -----
    For exact posteriors, the two are equal on average over mocks, because the truth is like another draw.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, draw_ensemble, entropy_check
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> ensemble = draw_ensemble(PosteriorSampler(model, refine=False), simulator,
    ...                          n_mocks=40, n_draws=10)
    >>> list(entropy_check(ensemble))
    ['mean_entropy', 'mean_nll', 'difference', 'standard_error', 'z']
    """
    if not ensemble.has_density:
        raise ValueError("not applicable: the entropy needs the density of the posteriors, which this ensemble does "
                         "not have")
    entropy = -ensemble.log_q.astype(float).mean(1)
    nll = -ensemble.log_q_truth.astype(float)
    if not np.isfinite(nll).all():  # the posterior density is zero at a truth
        return {"mean_entropy": float(entropy.mean()), "mean_nll": np.inf, "difference": np.inf,
                "standard_error": np.nan, "z": np.inf}
    excess = nll - entropy
    error = excess.std(ddof=1) / np.sqrt(len(excess)) if len(excess) > 1 else np.nan
    return {"mean_entropy": float(entropy.mean()), "mean_nll": float(nll.mean()), "difference": float(excess.mean()),
            "standard_error": float(error), "z": float(excess.mean() / error)}
