"""The maximum a posteriori."""

from __future__ import annotations

import torch

from ..families.clusters.amplitude import MassConditional
from .ascent import ascend, choose_starts

__all__ = ["maximum"]

_AGE_AND_REDDENING = [0, 2]
#: Climbers in each round, where there are these two alone; see `~clusterpost.posterior.ascent.ascend`.
_SCHEDULE = (32, 16, 8, 4, 2), (8, 8, 4, 2)


def maximum(target, theta, log_density):
    """Where each cluster's posterior density is highest.

    Parameters
    ----------
    target : Target
    theta : Tensor (n, k, 3)
        Draws from the posteriors, from which to climb.
    log_density : Tensor (n, k)
        Of the draws.

    Returns
    -------
    Tensor (n, 3)

    Notes
    -----
    Where the best mass for each age and reddening is known in closed form, the
    ascent is over these two alone.
    """
    start, _, covariance = choose_starts(theta, log_density)
    closed = _mass(target).is_closed(target.observed) & (target.prior.distance_error == 0)
    best = torch.empty_like(theta[:, 0])
    for climb, rows in ((_with_best_mass, closed.nonzero()[:, 0]), (_in_all, (~closed).nonzero()[:, 0])):
        if len(rows):
            best[rows] = climb(target[rows], start[rows], covariance[rows])
    return best


def _mass(target):
    return MassConditional(target.table, target.noise, target.prior)


def _in_all(target, start, covariance):
    return ascend(target.log_density, start, target.prior.low, target.prior.high, covariance)[0]


def _with_best_mass(target, start, covariance):
    highest, two = _mass(target).highest(target.observed), _AGE_AND_REDDENING
    low, high = target.prior.low[two], target.prior.high[two]
    best, _ = ascend(lambda points: highest(*points.unbind(-1))[1], start[..., two], low, high,
                     covariance[..., two, :][..., two], _SCHEDULE)
    log_age, ebv = best.unbind(-1)
    log_mass, _ = highest(log_age[:, None], ebv[:, None])
    return torch.stack([log_age, log_mass[:, 0], ebv], -1)
