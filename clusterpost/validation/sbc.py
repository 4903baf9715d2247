"""Simulation-based calibration: whether posteriors of mocks are right on average.

For mocks (theta, x) from the prior and the simulator and draws theta' from q(theta | x), the
rank of T(theta) among the T(theta') is uniform for every statistic T if q is the posterior
(Talts et al. 2018).  The converse does not hold; see `clusterpost.validation` for other checks.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from scipy.special import bdtr
from scipy.stats import binom, chisquare

from ..families.clusters.parameters import PARAMETERS, STATISTICS

if TYPE_CHECKING:
    from .sbc import RankHistogram

__all__ = ["MARGINALS", "STATISTICS", "RankHistogram", "SBCResult", "count_below", "rank_statistics", "sbc_ranks"]

#: The parameters of clusters; the ECDF of their ranks is the p-p plot of SEDflow (Hahn & Melchior 2022, Fig. 3).
MARGINALS = {parameter.name: (lambda theta, i=i: theta[..., i]) for i, parameter in enumerate(PARAMETERS)}

_AT_ONCE = 4096  # mocks whose draws are ranked at a time
_N_BAND_SIMULATIONS = 10_000

RankHistogram = namedtuple("RankHistogram", "edges counts expected")
RankHistogram.__doc__ = "Counts of ranks: ``edges`` (n_bin + 1,), ``counts`` (n_stat, n_bin), ``expected`` (n_bin,)."


def sbc_ranks(sampler: Any, simulator: Any, n_mocks: int = 100_000, n_draws: int = 100, seed: int = 0, *,
              chunk: int = 131_072, progress: bool | None = None) -> SBCResult:
    """Rank the true statistics of every mock among those of its posterior draws.

    Parameters
    ----------
    sampler : callable
        Function ``sampler(mocks, n_draws, generator)`` that returns independent draws (n, n_draws, n_parameter)
        from the posteriors of mocks, such as `~clusterpost.validation.samplers.PosteriorSampler`.
    simulator : Simulator
        Object whose ``draw(n, generator)`` returns mocks with ``theta`` (n, n_parameter)
        and the input of the sampler.  If it differs from the simulator that the sampler
        assumes, the ranks also show the difference.  It draws on the CPU.
    n_mocks : int
        Number of mock observations.
    n_draws : int
        Number of independent posterior draws per mock; ranks lie in 0..n_draws.
    seed : int
        Random seed of mocks and draws; the result does not depend on ``chunk``.
    chunk : int
        Number of draws (of all mocks together) in memory.
    progress : bool, optional
        Whether to show a progress bar; by default if standard error is a terminal.

    Returns
    -------
    SBCResult

    Raises
    ------
    ValueError
        If ``n_mocks`` or ``n_draws`` is below one.

    Notes
    -----
    Walter et al. (2025), Sect. 3.1 and Fig. 3; Talts et al. (2018), arXiv:1804.06788.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, sbc_ranks
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> sampler = PosteriorSampler(model, refine=False)
    >>> sbc_ranks(sampler, simulator, n_mocks=20, n_draws=10).ranks.shape
    (20, 6)
    """
    from .ensemble import mock_chunks

    ties, family = _rng_of_ties(seed), getattr(simulator, "family", None)
    statistics = STATISTICS if family is None else family.statistics
    ranks = [_ranks(mocks.theta.numpy(), sampler(mocks, n_draws, generator).cpu().numpy(), statistics, ties)
             for mocks, generator in mock_chunks(simulator, n_mocks, n_draws, seed, chunk, progress)]
    return SBCResult(np.concatenate(ranks), tuple(statistics), n_draws)


def rank_statistics(ensemble: Any, statistics: Any = None, seed: int = 0) -> SBCResult:
    """Rank the true statistics of an ensemble among those of its posterior draws.

    Parameters
    ----------
    ensemble : Ensemble
    statistics : dict of callable, optional
        Functions of theta (..., n_parameter); by default those of the ensemble's family.
    seed : int
        Random seed of tie breaking.

    Returns
    -------
    SBCResult
        Result of `sbc_ranks` for the same seed, mocks and draws, except for tie breaking.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, draw_ensemble, rank_statistics
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> ensemble = draw_ensemble(PosteriorSampler(model, refine=False), simulator,
    ...                          n_mocks=20, n_draws=10)
    >>> ratio = {"log of age over mass": lambda theta: theta[..., 0] - theta[..., 1]}
    >>> rank_statistics(ensemble, ratio).names
    ('log of age over mass',)
    """
    statistics = ensemble.statistics if statistics is None else statistics
    rng, ranks = _rng_of_ties(seed), []
    for start in range(0, len(ensemble), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        ranks.append(_ranks(ensemble.truth[rows], ensemble.draws[rows], statistics, rng))
    return SBCResult(np.concatenate(ranks), tuple(statistics), ensemble.n_draws)


def _rng_of_ties(seed):
    return np.random.default_rng([int(seed), 2018])


def _ranks(truth, draws, statistics, rng):
    columns = [count_below(statistic(truth), statistic(draws), rng) for statistic in statistics.values()]
    return np.stack(columns, axis=1)


def count_below(of_truth: np.ndarray, of_draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Count the draws below the truth, with random tie breaking.

    Parameters
    ----------
    of_truth : array (n,)
    of_draws : array (n, n_draws)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int (n,)
    """
    below = (of_draws < of_truth[:, None]).sum(1)
    equal = (of_draws == of_truth[:, None]).sum(1)
    # Ties (draw and truth both at a bound of the prior) are broken at random; a fixed choice would tilt the ranks.
    return below + rng.integers(0, equal, endpoint=True)


@dataclass
class SBCResult:
    """Ranks of true statistics among those of posterior draws, with tests of uniformity.

    Under exact posteriors each rank is uniform on {0, ..., n_draws}, so the number of
    ranks below k is binomial with probability z = k / (n_draws + 1), exactly.

    Attributes
    ----------
    ranks : ndarray of int (n_mocks, n_stat)
        Number of draws below the truth.
    names : tuple of str
        Names of the statistics.
    n_draws : int
        Number of draws per mock.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.validation import SBCResult
    >>> uniform = np.random.default_rng(1).integers(0, 101, size=(5000, 1))
    >>> SBCResult(uniform, ("T1",), 100).passes()
    {'T1': True}
    >>> SBCResult(uniform // 2 + 25, ("T1",), 100).passes()  # draws too wide
    {'T1': False}
    """

    ranks: np.ndarray = field(repr=False)
    names: tuple
    n_draws: int

    def __post_init__(self) -> None:
        self.ranks, self.names = np.asarray(self.ranks), tuple(self.names)
        if self.ranks.ndim != 2 or self.ranks.shape[1] != len(self.names) or len(self.ranks) == 0:
            raise ValueError(f"ranks must have shape (n_mocks, {len(self.names)}), not {self.ranks.shape}")
        if self.ranks.min() < 0 or self.ranks.max() > self.n_draws:
            raise ValueError(f"ranks among {self.n_draws} draws must lie in 0..{self.n_draws}")

    @property
    def n_mocks(self) -> int:
        """Number of mocks ranked."""
        return len(self.ranks)

    @property
    def counts(self) -> np.ndarray:
        """Counts of each rank, int array (n_stat, n_draws + 1)."""
        return np.stack([np.bincount(column, minlength=self.n_draws + 1) for column in self.ranks.T])

    def histogram(self, bins: int | None = None) -> RankHistogram:
        """Return rank histograms.

        Parameters
        ----------
        bins : int, optional
            Number of bins; by default one per rank.  If the number of possible ranks is not
            a multiple of it, bins hold unequal numbers of ranks, as shown by ``expected``.

        Returns
        -------
        RankHistogram
            ``edges`` (n_bin + 1,) between ranks, ``counts`` (n_stat, n_bin) and, under
            uniformity, ``expected`` (n_bin,) counts.
        """
        values = self.n_draws + 1
        starts = np.linspace(0, values, min(bins or values, values) + 1).round().astype(int)
        counts = np.add.reduceat(self.counts, starts[:-1], axis=1)
        return RankHistogram(starts - 0.5, counts, np.diff(starts) * self.n_mocks / values)

    def ecdf_difference(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the fraction of ranks below k minus the z = k / (n_draws + 1) of uniform ranks.

        Returns
        -------
        z : ndarray (n_draws + 2,)
            k / (n_draws + 1) for k = 0..n_draws + 1.
        difference : ndarray (n_stat, n_draws + 2)
            Difference, zero at both ends; positive if truths lie low among the draws.
        """
        z = np.arange(self.n_draws + 2) / (self.n_draws + 1)
        below = np.pad(np.cumsum(self.counts, axis=1), ((0, 0), (1, 0)))
        return z, below / self.n_mocks - z

    def pointwise_band(self, low: float = 0.01, high: float = 0.99) -> tuple[np.ndarray, np.ndarray]:
        """Return pointwise quantiles of the ECDF difference of uniform ranks at each z.

        Parameters
        ----------
        low, high : float
            Probabilities.  The default is the gray area of Walter et al. (2025), Fig. 3.

        Returns
        -------
        lower, upper : ndarray (n_draws + 2,)
        """
        return _binomial_band(self.n_mocks, self.n_draws, low, high)

    def simultaneous_band(self, level: float = 0.99) -> tuple[np.ndarray, np.ndarray]:
        """Return the band that contains the whole curve of one statistic with probability ``level``.

        Parameters
        ----------
        level : float

        Returns
        -------
        lower, upper : ndarray (n_draws + 2,)

        Notes
        -----
        Säilynoja, Bürkner & Vehtari (2022), arXiv:2103.10522, Algorithm 1: pointwise binomial bands
        whose probability gamma is set by simulation of uniform ranks (with a fixed seed).
        The level applies to each statistic alone: with six independent statistics, at least one leaves a 99 % band
        in 6 % of cases.
        """
        gamma = _adjusted_gamma(self.n_mocks, self.n_draws, float(level))
        return _binomial_band(self.n_mocks, self.n_draws, gamma / 2, 1 - gamma / 2)

    def outside_share(self, low: float = 0.01, high: float = 0.99) -> dict:
        """Return the fraction of each curve outside the pointwise band, without the two fixed ends.

        Parameters
        ----------
        low, high : float
            As for `pointwise_band`.

        Returns
        -------
        dict of float
            Fraction by statistic; about ``1 - (high - low)`` on average for exact posteriors, with a large scatter.
        """
        return dict(zip(self.names, self._outside(self.pointwise_band(low, high)).mean(1).tolist(), strict=True))

    def passes(self, level: float = 0.99) -> dict:
        """Return whether each statistic's whole curve lies inside the simultaneous band.

        Parameters
        ----------
        level : float
            As for `simultaneous_band`.

        Returns
        -------
        dict of bool
            Result by statistic.
        """
        outside = self._outside(self.simultaneous_band(level)).any(1)
        return dict(zip(self.names, (~outside).tolist(), strict=True))

    def summary(self, level: float = 0.99) -> Table:
        """Return the calibration as a table.

        Parameters
        ----------
        level : float
            Probability level of the simultaneous band.

        Returns
        -------
        Table
            One row per statistic: ``statistic``, ``max_difference`` (largest absolute ECDF
            difference), ``outside_pointwise`` (fraction outside the 1-99 % band), ``inside_band``
            (bool, simultaneous band), ``p_value`` (chi-squared test of the rank histogram).
        """
        # The approximation of the test needs about twenty counts per bin.
        histogram = self.histogram(int(np.clip(self.n_mocks // 20, 2, self.n_draws + 1)))
        table = Table({
            "statistic": list(self.names),
            "max_difference": np.abs(self.ecdf_difference()[1]).max(1),
            "outside_pointwise": list(self.outside_share().values()),
            "inside_band": list(self.passes(level).values()),
            "p_value": [chisquare(row, histogram.expected).pvalue for row in histogram.counts],
        })
        for name in ("max_difference", "outside_pointwise", "p_value"):
            table[name].info.format = ".4f"
        table.meta.update(n_mocks=self.n_mocks, n_draws=self.n_draws, level=level)
        return table

    def _outside(self, band):
        lower, upper = band
        difference = self.ecdf_difference()[1]
        # Curve and band are multiples of 1 / n_mocks; the margin prevents rounding from deciding between equal values.
        margin = 1e-6 / self.n_mocks
        return ((difference < lower - margin) | (difference > upper + margin))[:, 1:-1]


def _binomial_band(n_mocks, n_draws, low, high):
    z = np.arange(n_draws + 2) / (n_draws + 1)
    lower, upper = binom.ppf(low, n_mocks, z), binom.ppf(high, n_mocks, z)
    lower[0] = upper[0] = 0
    lower[-1] = upper[-1] = n_mocks
    return lower / n_mocks - z, upper / n_mocks - z


@lru_cache(maxsize=64)
def _adjusted_gamma(n_mocks, n_draws, level):
    rng = np.random.default_rng(20220321)
    uniform = np.full(n_draws + 1, 1 / (n_draws + 1))
    batches = [rng.multinomial(n_mocks, uniform, size=size)
               for size in np.diff(np.linspace(0, _N_BAND_SIMULATIONS, 11).astype(int))]
    below = np.cumsum(np.concatenate(batches), axis=1)[:, :-1]
    gamma = np.ones(_N_BAND_SIMULATIONS)
    for k, column in enumerate(below.T, 1):
        # Few different counts occur, so a lookup table is ten times faster.
        first = column.min()
        counts = np.arange(first - 1, column.max() + 1)
        at_most = np.where(counts < 0, 0.0, bdtr(np.maximum(counts, 0), n_mocks, k / (n_draws + 1)))
        place = column - first
        gamma = np.minimum(gamma, 2 * np.minimum(at_most[place + 1], 1 - at_most[place]))
    # The narrowest band that contains the required fraction of the simulated curves.
    allowed = int((1 - level) * _N_BAND_SIMULATIONS + 1e-9)
    return float(np.sort(gamma)[allowed]) * (1 - 1e-9)
