"""Base points of draws, independent of the order of objects.

Base points are one scrambled Sobol set, rotated for each object by an amount
that depends on its conditions (Cranley & Patterson 1976).  An object's draws
therefore depend only on the seed and the object, not on its row or chunk.
"""

from __future__ import annotations

import math

import torch

__all__ = ["rotation", "sobol_points"]


def sobol_points(n_samples: int, n_dimensions: int, seed: int) -> torch.Tensor:
    """Draw a scrambled Sobol set in the unit cube.

    Parameters
    ----------
    n_samples, n_dimensions, seed : int

    Returns
    -------
    Tensor (n_samples, n_dimension)
    """
    engine = torch.quasirandom.SobolEngine(n_dimensions, scramble=True, seed=int(seed))
    return engine.draw(n_samples)


def rotation(conditions: torch.Tensor, n_dimensions: int) -> torch.Tensor:
    """Compute the rotation of each object's points in the unit cube.

    Parameters
    ----------
    conditions : Tensor (n, n_condition)
        Standardized conditions.  The rotation is a continuous function of them, so
        rounding in a unit conversion hardly moves the draws.
    n_dimensions : int

    Returns
    -------
    Tensor (n, n_dimension)
        Rotations from 0 to 1.
    """
    # Irrational and unequal, to give different rotations to objects that share a condition.
    primes = torch.arange(2, 2 + n_dimensions * conditions.shape[1], device=conditions.device)
    factors = 10 * torch.frac(torch.sqrt(primes.double()) * math.pi).reshape(-1, n_dimensions) + 1
    return torch.remainder(conditions.double() @ factors, 1.0).to(conditions.dtype)
