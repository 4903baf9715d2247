"""The maximum a posteriori."""

from __future__ import annotations

import torch

from .ascent import find_map
from .mass import MassConditional

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
    closed = _mass(target).is_closed(target.observed) & (target.prior.distance_error == 0)
    best = torch.empty_like(theta[:, 0])
    for climb, rows in ((_with_best_mass, closed.nonzero()[:, 0]), (_in_all, (~closed).nonzero()[:, 0])):
        if len(rows):
            best[rows] = climb(target[rows], theta[rows], log_density[rows])
    return best


def _mass(target):
    return MassConditional(target.table, target.noise, target.prior)


def _in_all(target, theta, log_density):
    return find_map(target.log_density, theta, log_density, target.prior.low, target.prior.high)[0]


def _with_best_mass(target, theta, log_density):
    mass = _mass(target)

    def at_best_mass(two):
        return mass.highest(target.observed, *two.unbind(-1))[1]

    low, high = target.prior.low[_AGE_AND_REDDENING], target.prior.high[_AGE_AND_REDDENING]
    best, _ = find_map(at_best_mass, theta[..., _AGE_AND_REDDENING], log_density, low, high, schedule=_SCHEDULE)
    log_age, ebv = best.unbind(-1)
    log_mass, _ = mass.highest(target.observed, log_age[:, None], ebv[:, None])
    return torch.stack([log_age, log_mass[:, 0], ebv], -1)
