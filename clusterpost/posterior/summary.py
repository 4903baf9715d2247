"""Summary statistics of draws with or without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .weights import argsort

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["entropy", "mean", "quantiles"]

_DRAWS_AT_ONCE = 2**16  # keeps intermediate results in the processor cache


def quantiles(draws: torch.Tensor, levels: np.ndarray | Sequence[float],
              weight: torch.Tensor | None = None) -> torch.Tensor:
    """Compute marginal quantiles, linear between order statistics.

    Parameters
    ----------
    draws : Tensor (n, n_samples)
    levels : sequence of float
    weight : Tensor (n, n_samples), optional
        Non-negative weights, not necessarily normalized.  Equal by default.

    Returns
    -------
    Tensor (n, n_level)
        NaN if all weights of an object are zero.

    Notes
    -----
    Each draw is at the center of its step of the cumulative weight; the
    first and last draws are at levels 0 and 1.  Draws without weight are ignored.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.posterior.summary import quantiles
    >>> draws = torch.tensor([[1.0, 2.0, 3.0]])
    >>> quantiles(draws, (0.25, 0.5))
    tensor([[1.5000, 2.0000]])
    >>> quantiles(draws, (0.25, 0.5), weight=torch.tensor([[1.0, 1.0, 0.0]]))
    tensor([[1.2500, 1.5000]])
    """
    levels = torch.as_tensor(levels, dtype=torch.float64, device=draws.device)
    if weight is not None:
        some = max(1, _DRAWS_AT_ONCE // draws.shape[1])
        return torch.cat([_weighted_quantiles(x, levels, w)
                          for x, w in zip(draws.split(some), weight.split(some), strict=True)])
    ordered = torch.gather(draws, 1, argsort(draws))
    position = levels * (draws.shape[1] - 1)
    below = position.floor().long().clamp(max=draws.shape[1] - 1)
    above = (below + 1).clamp(max=draws.shape[1] - 1)
    fraction = (position - below).to(draws.dtype)
    return torch.lerp(ordered[:, below], ordered[:, above], fraction)


def _weighted_quantiles(draws, levels, weight):
    counts = weight > 0
    draws = torch.where(counts, draws, torch.inf)  # put those without weight last
    order = argsort(draws)
    ordered = torch.gather(draws, 1, order)
    step = torch.gather(weight, 1, order).double()
    middle = step.cumsum(dim=1) - step / 2
    last = (counts.sum(dim=1, keepdim=True) - 1).clamp(min=0)
    start, stop = middle[:, :1], torch.gather(middle, 1, last)
    target = start + levels * (stop - start)
    below = torch.minimum((torch.searchsorted(middle, target, right=True) - 1).clamp(min=0), last)
    above = torch.minimum(below + 1, last)
    left, right = torch.gather(middle, 1, below), torch.gather(middle, 1, above)
    fraction = ((target - left) / (right - left).clamp(min=1e-300)).clamp(0, 1).to(draws.dtype)
    result = torch.lerp(torch.gather(ordered, 1, below), torch.gather(ordered, 1, above), fraction)
    return torch.where(torch.isfinite(result), result, torch.nan)


def mean(draws: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Compute the mean of the draws in double precision.

    Parameters
    ----------
    draws : Tensor (n, n_samples)
    weight : Tensor (n, n_samples), optional
        Non-negative weights, not necessarily normalized.  Equal by default.

    Returns
    -------
    Tensor (n,)
        NaN if all weights of an object are zero.
    """
    if weight is None:
        return draws.double().mean(dim=1)
    weight = weight.double()
    # A draw without weight may be infinite, such as a log density or derived quantity outside the prior.
    return torch.where(weight > 0, weight * draws, 0.0).sum(dim=1) / weight.sum(dim=1)


def entropy(log_density: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Compute the differential entropy from the log density of the draws, in nats.

    Parameters
    ----------
    log_density : Tensor (n, n_samples)
        Normalized ln of the posterior density at each draw.
    weight : Tensor (n, n_samples), optional
        Weights of the draws, not necessarily normalized.  Equal by default.

    Returns
    -------
    Tensor (n,)
        Entropy -E[ln p] (Walter et al. 2025, Sect. 4.1).
    """
    return -mean(log_density, weight)
