"""Base points of draws, independent of the objects' order.

Base points are one scrambled Sobol set, rotated for each object by an amount
that follows from its conditions (Cranley & Patterson 1976).  An object's draws
therefore depend on the seed and on the object only, not on its row or chunk.
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
    """By how much the points of each object are moved around the unit cube.

    Parameters
    ----------
    conditions : Tensor (n, n_condition)
        Standardized.  The rotation is a continuous function of them, so that
        rounding in a unit conversion moves the draws by as little.
    n_dimensions : int

    Returns
    -------
    Tensor (n, n_dimension)
        From 0 to 1.
    """
    # Irrational and unequal, so that objects with a condition in common differ all the same.
    primes = torch.arange(2, 2 + n_dimensions * conditions.shape[1], device=conditions.device)
    factors = 10 * torch.frac(torch.sqrt(primes.double()) * math.pi).reshape(-1, n_dimensions) + 1
    return torch.remainder(conditions.double() @ factors, 1.0).to(conditions.dtype)
