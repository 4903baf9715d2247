"""Correction of marginal quantiles, learned on mocks, for miscalibrated models.

If posteriors are too narrow, too wide or shifted in the same way everywhere, the levels of their quantiles can be
corrected without a new network.  The quantile of level q is replaced by the quantile with a fraction q of true values
below it (Kuleshov, Fenner & Ermon 2018, arXiv:1807.00263; quantile mapping of the probability integral transform, as
in Bordoloi et al. 2010 for photometric redshifts).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from .. import __version__
from ..errors import InputError
from ..flow.modelfile import load_model, update_card
from ..flow.quantile_levels import corrected_levels
from ..training.simulation import Simulator
from .samplers import PosteriorSampler
from .sbc import SBCResult, sbc_ranks

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Recalibration", "corrected_levels", "recalibrate"]

_LEVELS = (0.005, 0.01, *np.arange(0.025, 0.98, 0.025), 0.99, 0.995)  # knots of the correction
_INTERVAL = (0.16, 0.84)


@dataclass
class Recalibration:
    """A correction, with the ranks of other mocks before and after it.

    Attributes
    ----------
    record : dict
        Plain numbers and strings, written by `save` and read by `corrected_levels`.
    before, after : SBCResult
        Ranks of mocks that were not used to learn it.

    Examples
    --------
    >>> from clusterpost.validation import recalibrate
    >>> correction = recalibrate("any_bands", n_mocks=200, n_check=100, n_draws=19,
    ...                          refine=False)
    >>> correction.before.names
    ('log_age', 'log_mass', 'ebv')
    """

    record: dict
    before: SBCResult
    after: SBCResult

    def summary(self, level: float = 0.99) -> Table:
        """Return the effect on the p-p curves.

        Parameters
        ----------
        level : float
            Probability level of the simultaneous bands.

        Returns
        -------
        Table
            One row per parameter.  Before and after: the largest difference of the p-p curve from the diagonal,
            whether the curve lies inside the band, and the fraction of true values between the 16 % and 84 %
            quantiles.  ``beyond_draws`` is the fraction of true values below or above all draws, which is
            ``meta["beyond_expected"]`` for calibrated posteriors; no choice of quantiles can include these.
        """
        table = Table({"parameter": list(self.before.names)})
        for when, result in (("before", self.before), ("after", self.after)):
            table[f"max_difference_{when}"] = np.abs(result.ecdf_difference()[1]).max(1)
            table[f"inside_band_{when}"] = list(result.passes(level).values())
            table[f"inside_16_84_{when}"] = _share_between(result)
        n_draws = self.before.n_draws
        table["beyond_draws"] = np.isin(self.before.ranks, (0, n_draws)).mean(0)
        for name in table.colnames:
            if table[name].dtype.kind == "f":
                table[name].info.format = ".4f"
        table.meta.update(n_mocks=self.record["n_mocks"], n_check=self.before.n_mocks, level=level,
                          beyond_expected=2 / (n_draws + 1))
        return table

    def save(self, model: Path) -> None:
        """Write the correction into a model's card, replacing an older one; it is only used on request.

        Parameters
        ----------
        model : str or path
            As for `~clusterpost.load_model`; the model that the correction was learned for.

        Raises
        ------
        ModelError
            If the correction was learned for another model.
        """
        update_card(model, recalibration=self.record)


def recalibrate(model: Any, n_mocks: int = 50_000, n_check: int | None = None, n_draws: int = 199, *,
                refine: bool | None = True, seed: int = 1, progress: bool | None = None) -> Recalibration:
    """Learn a monotone correction of the marginal quantiles of a model's posteriors.

    Parameters
    ----------
    model : str, path or Model
    n_mocks : int
        Number of mocks to learn from.  The correction includes their noise, 0.5 / sqrt(n_mocks) at the median.
    n_check : int, optional
        Number of other mocks that show the effect; by default a fifth of ``n_mocks``.
    n_draws : int
        Number of posterior draws per mock.
    refine : bool
        Whether to correct refined posteriors or those of the network alone; a correction applies to only one of them.
    seed : int
    progress : bool, optional

    Returns
    -------
    Recalibration

    Raises
    ------
    InputError
        If there are too few draws or mocks.

    Notes
    -----
    A fraction g(u) of mocks has a true value below its posterior quantile of level u.  g is measured at about forty
    levels and is linear between them; one additional, perfectly calibrated mock keeps it strictly increasing.  The
    corrected quantile of level g(u) is the posterior's quantile of level u.

    The correction is right on average over the mocks of the model's own simulator and for the marginals of each
    parameter.  It cannot correct errors that differ between clusters, joint draws, modes or the MAP.  For a model well
    inside its bands, it only adds noise.

    Examples
    --------
    >>> from clusterpost.validation import recalibrate
    >>> correction = recalibrate("any_bands", n_mocks=200, n_check=100, n_draws=19,
    ...                          refine=False)
    >>> table = correction.summary()
    >>> len(table), table.colnames[1]
    (3, 'max_difference_before')
    """
    n_check = max(1, n_mocks // 5) if n_check is None else n_check
    if n_draws < 1 / _INTERVAL[0] or min(n_mocks, n_check) < 1:
        raise InputError(f"recalibration takes at least 7 draws of at least one mock, not {n_draws} of {n_mocks} "
                         f"and {n_check}; hundreds of thousands of mocks are usual")
    model = load_model(model)
    simulator = Simulator.of(model)
    sampler = PosteriorSampler(model, refine=refine)
    seeds = np.random.SeedSequence([int(seed), 1807]).generate_state(2).tolist()
    names = model.parameters
    learned, before = (_marginal_ranks(names, sbc_ranks(sampler, simulator, n, n_draws, stream, progress=progress))
                       for n, stream in zip((n_mocks, n_check), seeds, strict=True))
    levels, shares = _shares_below(learned)
    after = _corrected_ranks(before, levels, shares, seed)
    record = {
        "parameters": list(learned.names), "levels": levels.tolist(), "shares": shares.tolist(),
        "refine": bool(refine), "n_mocks": int(n_mocks), "n_check": int(n_check), "n_draws": int(n_draws),
        "seed": int(seed), "max_difference_before": np.abs(before.ecdf_difference()[1]).max(1).tolist(),
        "max_difference_after": np.abs(after.ecdf_difference()[1]).max(1).tolist(),
        "sha256": model.metadata.sha256, "clusterpost": __version__, "date": datetime.now(UTC).date().isoformat(),
    }
    return Recalibration(record, before, after)


def _marginal_ranks(names, result):
    """Return the ranks of the parameters, of which the first statistics are monotone functions."""
    return SBCResult(result.ranks[:, : len(names)], names, result.n_draws)


def _shares_below(result):
    """Return levels (n_knot,) and the fraction of true values below each parameter's quantiles (n_stat, n_knot)."""
    steps = result.n_draws + 1
    at = np.unique([0, *np.rint(np.multiply(_LEVELS, steps)).astype(int), steps])
    levels = at / steps
    below = np.pad(np.cumsum(result.counts, axis=1), ((0, 0), (1, 0)))[:, at]
    return levels, (below + levels) / (result.n_mocks + 1)


def _corrected_ranks(result, levels, shares, seed):
    """Return ranks among corrected draws: the number of corrected quantiles below the true value."""
    rng = np.random.default_rng([int(seed), 1807])
    steps = result.n_draws + 1
    wanted = np.arange(1, steps) / steps
    # The truth is uniform between two draws, and beyond all draws as if there were more of them.
    truth = (result.ranks + rng.uniform(size=result.ranks.shape)) / steps
    ranks = [np.searchsorted(np.interp(wanted, of, levels), column) for of, column in zip(shares, truth.T, strict=True)]
    return SBCResult(np.stack(ranks, axis=1), result.names, result.n_draws)


def _share_between(result):
    """Return the fraction of true values between the quantiles of `_INTERVAL`, from the nearest ranks."""
    low, high = np.rint(np.multiply(_INTERVAL, result.n_draws + 1)).astype(int)
    return ((result.ranks >= low) & (result.ranks < high)).mean(0)
