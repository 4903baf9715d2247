"""Negative controls: deliberately wrong posteriors, and the number of mocks that diagnostics need to detect them.

A diagnostic must be able to fail.  Each control distorts the draws of an `Ensemble` in one known way, and their
density if it can be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from scipy.stats import norm

from ..utils import progress_bar, require
from .coverage import coverage_ranks, tarp_ranks
from .ensemble import draw_ensemble
from .regions import by_region, entropy_check
from .sbc import SBCResult, rank_statistics
from .twosample import classifier_accuracy

if TYPE_CHECKING:
    from .ensemble import Ensemble

__all__ = ["CONTROLS", "Moved", "control_table", "one_mode", "own_truths", "uncorrelated"]

SHIFT = 0.5  # half-widths
STRETCH = 1.3
_WEAK_MODE = 0.1  # smallest fraction of draws in the weaker mode
# Ashman's D: two normals this many standard deviations apart.  A uniform density, cut in two, has 3.5.
_APART = 5.0
_AT_ONCE = 4096  # mocks
_MOST_TRIALS = 10
_TINY = 1e-6  # dex or mag; a half-width can vanish at a bound

#: Diagnostics of each kind other than SBC; those of one kind use the same numbers and count once.
KINDS = MappingProxyType({"HPD": ("HPD",), "TARP": ("TARP", "TARP near"), "regions": ("regions",),
                          "entropy": ("entropy",), "classifier": ("classifier",)})


def _upwards(ensemble):
    return SHIFT


def _by_brightness(ensemble):
    """Return shifts up for the half with lower S/N and down for the other, which cancel on average."""
    snr = np.asarray(ensemble.about["snr"])
    return np.where(snr < np.median(snr), SHIFT, -SHIFT)[:, None]


@dataclass(frozen=True)
class Moved:
    """Control that stretches draws about an object's medians and shifts them, in every parameter.

    Attributes
    ----------
    factor : float
        Factor of the distance from the median.
    shift : callable, optional
        Function of an ensemble that returns the shift in half-widths (q84 - q16) / 2.
    """

    factor: float = 1.0
    shift: object = None

    def __call__(self, ensemble: Ensemble, rng: np.random.Generator, log_q: np.ndarray | None = None) -> Ensemble:
        """Distort an ensemble.

        Parameters
        ----------
        ensemble : Ensemble
        rng : numpy.random.Generator
            Not needed.
        log_q : array (n,), optional
            Log density at the `origin` of each truth, if known.

        Returns
        -------
        Ensemble
            Distorted ensemble, with its density if that of the input is known everywhere.
        """
        middle, offset = self._place(ensemble)
        draws = (middle + offset)[:, None] + self.factor * (ensemble.draws - middle[:, None])
        log_q = _densities(ensemble, [self])[self] if log_q is None else log_q
        volume = draws.shape[-1] * np.log(self.factor)
        return ensemble.with_draws(draws, ensemble.log_q - volume, log_q - volume)

    def origin(self, ensemble: Ensemble) -> np.ndarray:
        """Return the points that the distortion moves to the truths, (n, n_parameter)."""
        middle, offset = self._place(ensemble)
        return middle + (ensemble.truth - middle - offset) / self.factor

    def _place(self, ensemble):
        middle, half = _place(ensemble.draws)
        return middle, half * (self.shift(ensemble) if self.shift else 0.0)


def _densities(ensemble, controls):
    """Return the log density at the origins of the truths for each `Moved`; NaN if it is only known at the draws."""
    points = np.stack([control.origin(ensemble) for control in controls], axis=1)
    try:
        values = ensemble.log_prob(points, chunk=_AT_ONCE)
    except ValueError:
        values = np.full(points.shape[:2], np.nan)
    return dict(zip(controls, values.T, strict=True))


def uncorrelated(ensemble: Ensemble, rng: np.random.Generator) -> Ensemble:
    """Permute each parameter among an object's draws independently, which keeps the marginals."""
    return ensemble.with_draws(rng.permuted(ensemble.draws, axis=1))


def one_mode(ensemble: Ensemble, rng: np.random.Generator) -> Ensemble:
    """Drop the weaker mode of draws with two groups in the first parameter, and keep half as many draws.

    Draws have two groups if the optimal split (Otsu 1979) leaves at least a tenth of the draws on either side, with
    a separation of more than five standard deviations (Ashman, Bird & Zepf 1994).
    """
    first = ensemble.draws[..., 0]
    split, upper_share, bimodal = _split(first)

    def weaker(values: np.ndarray) -> np.ndarray:
        """Return True for values of the weaker mode."""
        return bimodal[:, None] & ((values > split[:, None]) == (upper_share < 0.5)[:, None])

    # At least half of the draws are in the stronger mode, so none is used twice.
    kept = np.argsort(weaker(first), axis=1, kind="stable")[:, : first.shape[1] // 2]
    log_share = np.where(bimodal, np.log(np.maximum(upper_share, 1 - upper_share)), 0.0)
    lost = weaker(ensemble.truth[:, :1])[:, 0]
    return ensemble.with_draws(
        np.take_along_axis(ensemble.draws, kept[..., None], 1),
        np.take_along_axis(ensemble.log_q, kept, 1) - log_share[:, None],
        np.where(lost, -np.inf, ensemble.log_q_truth - log_share))


#: Controls by name: functions of an Ensemble and a `numpy.random.Generator` that return the distorted Ensemble.
CONTROLS = MappingProxyType({
    "shifted by 0.5": Moved(shift=_upwards), "shifted by S/N": Moved(shift=_by_brightness),
    "widened x 1.3": Moved(STRETCH), "narrowed / 1.3": Moved(1 / STRETCH),
    "correlation destroyed": uncorrelated, "one mode dropped": one_mode})


def _place(draws):
    """Return the median and half-width (q84 - q16) / 2 of each object's parameters, (n, n_parameter) each."""
    ordered = np.sort(draws, axis=1)
    last = draws.shape[1] - 1
    low, middle, high = (ordered[:, round(level * last)] for level in (0.16, 0.5, 0.84))
    return middle, (high - low) / 2


def _split(values):
    """Split rows (n, k) in two; return the threshold, the fraction above, and whether there are two groups."""
    parts = [_split_some(values[start : start + _AT_ONCE]) for start in range(0, len(values), _AT_ONCE)]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _split_some(values):
    ordered = np.sort(values.astype(float), axis=1)
    n_draws = ordered.shape[1]
    x = ordered - ordered.mean(1, keepdims=True)
    least = np.ceil(_WEAK_MODE * n_draws)
    below = np.arange(1, n_draws)
    sums, squares = np.cumsum(x, axis=1)[:, :-1], np.cumsum(x**2, axis=1)
    between = sums**2 / (below * (n_draws - below))
    allowed = (below >= least) & (below <= n_draws - least) & (ordered[:, 1:] > ordered[:, :-1])
    at = np.argmax(np.where(allowed, between, -1.0), axis=1)
    rows, n_below, n_above = np.arange(len(x)), below[at], n_draws - below[at]
    mean_below, mean_above = sums[rows, at] / n_below, -sums[rows, at] / n_above
    scatter = squares[rows, at] / n_below - mean_below**2
    scatter += (squares[:, -1] - squares[rows, at]) / n_above - mean_above**2
    bimodal = allowed.any(1) & (2 * (mean_above - mean_below) ** 2 > _APART**2 * scatter)
    return (ordered[rows, at] + ordered[rows, at + 1]) / 2, n_above / n_draws, bimodal


def own_truths(ensemble: Ensemble, seed: int = 0) -> Ensemble:
    """Return an ensemble that is calibrated by construction, with one draw of each mock as its truth.

    Parameters
    ----------
    ensemble : Ensemble
    seed : int
        Random seed of the choice of draw and of the order of the others, so that nothing depends on the order of draws.

    Returns
    -------
    Ensemble
        Ensemble with one draw less.
    """
    order = np.random.default_rng([int(seed), 4]).random(ensemble.log_q.shape, dtype=np.float32).argsort(1)
    draws = np.take_along_axis(ensemble.draws, order[..., None], 1)
    log_q = np.take_along_axis(ensemble.log_q, order, 1)
    return replace(ensemble, truth=draws[:, 0], log_q_truth=log_q[:, 0], draws=draws[:, 1:], log_q=log_q[:, 1:])


def control_table(sampler: Any, simulator: Any, sizes: Sequence[int] = (100, 1000, 10_000, 100_000), *,
                  n_draws: int = 100, level: float = 0.99, seed: int = 0, progress: bool | None = None) -> Table:
    """Measure the number of mocks from which each diagnostic detects each control.

    Parameters
    ----------
    sampler : PosteriorSampler
        Sampler of the posteriors; the network alone is sufficient and fastest (see Notes).
    simulator : Simulator
    sizes : sequence of int
        Numbers of mocks to try.
    n_draws : int
        Number of posterior draws per mock for a diagnostic.
    level : float
        Probability with which every diagnostic passes an exact posterior.
    seed : int
    progress : bool, optional

    Returns
    -------
    Table
        One row per control, and ``none``.  For each diagnostic, the smallest size at which it detects the control in
        more than half of all trials, ``not caught``, or ``n/a`` if it needs an unknown density.  ``n_kinds`` is the
        number of kinds of diagnostics that detect it (the statistics of SBC and p-p are one kind).
        ``meta["shares"]`` has the fraction of trials with a detection, by control and diagnostic, one number
        per size, ``meta["trials"]`` the number of trials, and ``meta["bimodal"]`` the fraction of mocks from
        which a mode was dropped.

    Notes
    -----
    This tests the diagnostics, not the model.  One draw from each posterior replaces the mock's truth, so the
    posteriors are exact before the distortion for any network, and ``none`` is detected only at the rate
    ``1 - level``.

    Mocks of the largest size are drawn once; smaller sizes are up to ten disjoint parts of them.
    The classifier gets one draw per posterior, distorted for every second mock, relative to the undistorted
    posterior, with the location and width of that posterior.

    Examples
    --------
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, control_table
    >>> sampler = PosteriorSampler("any_bands", refine=False)
    >>> simulator = Simulator.of(sampler.model)
    >>> table = control_table(sampler, simulator, sizes=(100,), n_draws=20,
    ...                       progress=False)
    >>> print(*table["control", "T1"][1])
    shifted by 0.5 100
    """
    sizes = sorted({int(size) for size in sizes})
    require("sklearn", "validation")
    # One draw serves as truth and one as comparison for the classifier; one_mode keeps half of the others.
    pool = own_truths(draw_ensemble(sampler, simulator, sizes[-1], 2 * n_draws + 2, seed, progress=progress), seed)
    reference, pool = pool.draws[:, 0], replace(pool, draws=pool.draws[:, 1:], log_q=pool.log_q[:, 1:])
    place = _place(pool.draws)
    known = _densities(pool, [control for control in CONTROLS.values() if isinstance(control, Moved)])
    kinds = {"SBC": (*pool.statistics, "p-p"), **KINDS}
    diagnostics = [name for names in kinds.values() for name in names]
    trials = [min(_MOST_TRIALS, sizes[-1] // size) for size in sizes]
    shares = {}
    with progress_bar((1 + len(CONTROLS)) * sum(trials), show=progress, desc="controls", unit="trial") as bar:
        for i, (name, control) in enumerate([("none", lambda ensemble, rng: ensemble), *CONTROLS.items()]):
            given = {"log_q": known[control]} if control in known else {}
            spoiled = control(pool, np.random.default_rng([int(seed), 5, i]), **given)
            spoiled = replace(spoiled, draws=spoiled.draws[:, :n_draws], log_q=spoiled.log_q[:, :n_draws])
            trial = _Trial(spoiled, reference, place, level, seed)
            shares[name] = {key: [] for key in diagnostics}
            for size, n_trials in zip(sizes, trials, strict=True):
                verdicts = []
                for k in range(n_trials):
                    verdicts.append(trial(slice(k * size, (k + 1) * size)))
                    bar.update()
                for key in diagnostics:
                    shares[name][key].append(float(np.mean([verdict[key] for verdict in verdicts])))
    table = Table(rows=[_row(name, of, sizes, kinds) for name, of in shares.items()])
    table.meta.update(sizes=sizes, trials=trials, n_draws=n_draws, level=level, seed=seed,
                      bimodal=float(_split(pool.draws[..., 0])[2].mean()), shares=shares)
    return table


def _row(control, shares, sizes, kinds):
    """Return the smallest sizes at which a control is detected, and the number of kinds of diagnostics."""
    row = {"control": control}
    for key, of in shares.items():
        caught = [str(size) for size, share in zip(sizes, of, strict=True) if share > 0.5]
        row[key] = "n/a" if np.isnan(of).all() else caught[0] if caught else "not caught"
    row["n_kinds"] = sum(any(row[key].isdigit() for key in names) for names in kinds.values())
    return row


class _Trial:
    """Diagnostics of parts of an ensemble, with ranks computed once for all of them."""

    def __init__(self, ensemble, reference, place, level, seed):
        self.ensemble, self.level, self.seed = ensemble, level, seed
        self.ranks = {"TARP": tarp_ranks(ensemble, seed), "TARP near": tarp_ranks(ensemble, seed, references="draws")}
        if ensemble.has_density:
            self.ranks["HPD"] = coverage_ranks(ensemble, seed)
        self.statistics = rank_statistics(ensemble, seed=seed)
        self.spoiled, self.unspoiled = _placed(ensemble.draws[:, 0], *place), _placed(reference, *place)

    def __call__(self, rows):
        """Return for each diagnostic 1 (detected), 0 (not detected) or NaN (not applicable)."""
        part, level = self.ensemble[rows], self.level
        regions = part.parameters[0].column, "snr"
        each = 1 - (1 - level) / len(regions)
        caught = {"HPD": np.nan, "entropy": np.nan, **_leaves(self.statistics, rows, level)}
        # The first statistics are the parameters, here together.
        n_parameters = len(part.parameters)
        marginals = _leaves(self.statistics, rows, 1 - (1 - level) / n_parameters)
        caught["p-p"] = any(list(marginals.values())[:n_parameters])
        for name, result in self.ranks.items():
            (caught[name],) = _leaves(result, rows, level).values()
        caught["regions"] = not all(all(by_region(part, by, level=each, seed=self.seed)["inside_band"])
                                    for by in regions)
        if part.has_density:
            caught["entropy"] = abs(entropy_check(part)["z"]) > norm.ppf((1 + level) / 2)
        caught["classifier"] = _told_apart(self.spoiled[rows], self.unspoiled[rows], level, self.seed)
        return caught


def _leaves(result, rows, level):
    part = SBCResult(result.ranks[rows], result.names, result.n_draws)
    return {name: not inside for name, inside in part.passes(level).items()}


def _told_apart(spoiled, unspoiled, level, seed):
    """Test whether a classifier distinguishes exact and distorted draws of alternate mocks."""
    # With both draws of a mock, it could recognize the mock and infer the kind of the second draw.
    accuracy = classifier_accuracy(spoiled[::2], unspoiled[1::2], seed=seed)
    # Scatter of accuracies over three folds; independent predictions would scatter 0.7 times as much.
    return accuracy > 0.5 + norm.ppf(level) * 0.5 / np.sqrt(len(spoiled) // 2)


def _placed(draws, middle, half):
    """Return classifier inputs: one draw per posterior relative to another posterior, with its location and width."""
    half = np.maximum(half, _TINY)
    return np.concatenate([(draws - middle) / half, middle, np.log(half)], axis=1)
