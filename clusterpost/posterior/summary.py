"""Numbers that describe a set of draws."""

from __future__ import annotations

import torch

__all__ = ["entropy", "quantiles"]


def quantiles(draws, levels):
    """Marginal quantiles, linear between order statistics.

    Parameters
    ----------
    draws : Tensor (n, n_samples)
    levels : sequence of float

    Returns
    -------
    Tensor (n, n_level)
    """
    ordered = draws.sort(dim=1).values
    position = torch.as_tensor(levels, dtype=torch.float64, device=draws.device) * (draws.shape[1] - 1)
    below = position.floor().long().clamp(max=draws.shape[1] - 1)
    above = (below + 1).clamp(max=draws.shape[1] - 1)
    fraction = (position - below).to(draws.dtype)
    return torch.lerp(ordered[:, below], ordered[:, above], fraction)


def entropy(log_q):
    """Differential entropy from the draws' own log density, in nats.

    Parameters
    ----------
    log_q : Tensor (n, n_samples)

    Returns
    -------
    Tensor (n,)
        -E[ln q] (Walter et al. 2025, Sect. 4.1).
    """
    return -log_q.double().mean(dim=1)
