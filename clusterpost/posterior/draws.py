"""Draws from a flow, many objects at once, independent of their order.

Base points are one scrambled Sobol set, rotated for each object by an amount
that follows from its conditions (Cranley & Patterson 1976).  An object's draws
therefore depend on the seed and on the object only, not on its row or chunk.
"""

from __future__ import annotations

import math

import torch

__all__ = ["base_points", "draw_posterior", "rotated"]

_EDGE = 2.0**-24


def base_points(n_samples, n_parameters, seed):
    """A scrambled Sobol set in the unit cube.

    Parameters
    ----------
    n_samples, n_parameters, seed : int

    Returns
    -------
    Tensor (n_samples, n_parameter)
    """
    engine = torch.quasirandom.SobolEngine(n_parameters, scramble=True, seed=int(seed))
    return engine.draw(n_samples)


def rotated(points, conditions):
    """Standard normal base points of each object.

    Parameters
    ----------
    points : Tensor (n_samples, n_parameter)
        In the unit cube.
    conditions : Tensor (n, n_condition)
        Standardised.  The rotation is a continuous function of them, so that
        rounding in a unit conversion moves the draws by as little.

    Returns
    -------
    Tensor (n, n_samples, n_parameter)
    """
    n_parameters, n_conditions = points.shape[1], conditions.shape[1]
    # Irrational and unequal, so that objects with a condition in common differ all the same.
    primes = torch.arange(2, 2 + n_parameters * n_conditions, device=points.device)
    factors = 10 * torch.frac(torch.sqrt(primes.double()) * math.pi).reshape(n_conditions, n_parameters) + 1
    shift = torch.remainder(conditions.double() @ factors, 1.0).to(points.dtype)
    unit = torch.remainder(points + shift[:, None, :], 1.0)
    return torch.special.ndtri(unit.clamp(_EDGE, 1 - _EDGE))


def draw_posterior(flow, conditions, points, points_per_pass=8192):
    """Draws and their log density for a batch of objects.

    Parameters
    ----------
    flow : ConditionalFlow
    conditions : Tensor (n, n_condition)
    points : Tensor (n_samples, n_parameter)
        From `base_points`.
    points_per_pass : int
        Points that pass through the network at once.

    Returns
    -------
    theta : Tensor (n, n_samples, n_parameter)
    log_q : Tensor (n, n_samples)
    """
    n, (n_samples, n_parameters) = len(conditions), points.shape
    z = rotated(points, flow.standardize(conditions)).reshape(-1, n_parameters)
    owner = torch.arange(n, device=z.device).repeat_interleave(n_samples)
    parts = [flow.transform(z[at], conditions[owner[at]])
             for at in torch.arange(len(z), device=z.device).split(points_per_pass)]
    theta, log_q = (torch.cat(part) for part in zip(*parts, strict=True))
    return theta.reshape(n, n_samples, n_parameters), log_q.reshape(n, n_samples)
