"""Importance weights: effective sample size, resampling, and thinning."""

from __future__ import annotations

import math

import numpy as np
import torch

__all__ = ["argmax", "argsort", "effective_sample_size", "log_mean", "log_weights", "normalized",
           "number_effective", "systematic_resample", "thinned", "threshold"]


def argsort(x: torch.Tensor) -> torch.Tensor:
    """Sort indices along the last dimension.

    Parameters
    ----------
    x : Tensor (..., k)

    Returns
    -------
    Tensor (..., k) of int
        Indices; on the CPU from numpy, which sorts several times faster than torch.
    """
    if x.device.type != "cpu":
        return x.argsort(dim=-1)
    return torch.from_numpy(np.argsort(x.detach().numpy(), axis=-1))


def argmax(x: torch.Tensor) -> torch.Tensor:
    """Find the index of the maximum along the last dimension, (...); on the CPU with numpy, as `argsort`."""
    if x.device.type != "cpu":
        return x.argmax(dim=-1)
    return torch.from_numpy(np.argmax(x.detach().numpy(), axis=-1))


def log_weights(log_density: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """Compute ln (density / q), -inf if the density is zero or either is NaN.

    Parameters
    ----------
    log_density, log_q : Tensor (n, k)

    Returns
    -------
    Tensor (n, k)
        Float64.
    """
    log_weight = log_density.double() - log_q.double()
    return log_weight.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


def log_mean(log_weight: torch.Tensor) -> torch.Tensor:
    """Compute ln of the mean weight, (n,), the evidence if the density of the draws is normalized."""
    return torch.logsumexp(log_weight, -1) - math.log(log_weight.shape[-1])


def normalized(log_weight: torch.Tensor) -> torch.Tensor:
    """Normalize weights to a sum of one.

    Parameters
    ----------
    log_weight : Tensor (n, k)

    Returns
    -------
    Tensor (n, k)
        Weights in float64; equal if none is positive.
    """
    highest = log_weight.amax(-1, keepdim=True)
    log_weight = torch.where(torch.isneginf(highest), 0.0, log_weight)
    return torch.softmax(log_weight, -1)


def effective_sample_size(weight: torch.Tensor) -> torch.Tensor:
    """Compute the effective sample size, (sum w)^2 / sum w^2.

    Parameters
    ----------
    weight : Tensor (n, k)

    Returns
    -------
    Tensor (n,)
    """
    return weight.sum(-1) ** 2 / (weight**2).sum(-1)


def number_effective(log_weight: torch.Tensor) -> torch.Tensor:
    """Compute the effective sample size (n,) from ln of weights (n, k) that are not normalized; 0 if all are zero."""
    return torch.where(torch.isneginf(log_weight).all(-1), 0.0, effective_sample_size(normalized(log_weight)))


def systematic_resample(weight: torch.Tensor, n_samples: int, order: torch.Tensor) -> torch.Tensor:
    """Resample with replacement at equal steps of the cumulative weight (systematic resampling).

    Parameters
    ----------
    weight : Tensor (n, k)
        Weights, with a sum of one.
    n_samples : int
    order : Tensor (n, k)
        Value for each draw, such as its first parameter, that defines the order.
        In the order of a Sobol sequence, whose even strides stay in one part of
        the cube, the result would not be distributed like the draws.

    Returns
    -------
    Tensor (n, n_samples) of int
    """
    sequence = argsort(order)
    cumulative = torch.gather(weight, 1, sequence).cumsum(-1)
    places = (torch.arange(n_samples, dtype=weight.dtype, device=weight.device) + 0.5) / n_samples
    places = (places * cumulative[:, -1:]).contiguous()
    return torch.gather(sequence, 1, torch.searchsorted(cumulative, places).clamp(max=weight.shape[-1] - 1))


def thinned(weight: torch.Tensor, n_samples: int,
            order: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Thin weighted draws without repetition.

    Parameters
    ----------
    weight : Tensor (n, k)
        Weights, with a sum of one.
    n_samples : int
        Number of draws to keep, at most k.
    order : Tensor (n, k), optional
        Value for each draw; neighbors in this order replace each other.

    Returns
    -------
    index : Tensor (n, n_samples) of int
    weight : Tensor (n, n_samples)
        New weights, with a sum of one.

    Notes
    -----
    Draws heavier than some c are kept unchanged; of the others,
    a fraction w/c is kept by systematic choice with the weight c (Fearnhead & Clifford 2003).  This
    disturbs the weights least.
    """
    n, k = weight.shape
    if n_samples >= k:
        return torch.arange(k, device=weight.device).expand(n, k), weight
    least = threshold(weight, n_samples)
    sequence = (torch.arange(k, device=weight.device).expand(n, k) if order is None
                else argsort(order))
    share = (torch.gather(weight, 1, sequence) / least).clamp(max=1.0)
    cumulative = share.cumsum(-1)
    cumulative = cumulative * (n_samples / cumulative[:, -1:])
    places = torch.arange(n_samples, dtype=weight.dtype, device=weight.device) + 0.5
    picked = torch.searchsorted(cumulative, places.expand(n, -1).contiguous()).clamp(max=k - 1)
    index = torch.gather(sequence, 1, picked)
    new = torch.maximum(torch.gather(weight, 1, index), least)
    return index, new / new.sum(-1, keepdim=True)


def threshold(weight: torch.Tensor, n_samples: int) -> torch.Tensor:
    """Find the weight c for which sum min(w/c, 1) = n_samples.

    Parameters
    ----------
    weight : Tensor (n, k)
        Weights, with a sum of one.
    n_samples : int
        Number of draws to keep, at most k.

    Returns
    -------
    Tensor (n, 1)
    """
    # If the j heaviest are kept unchanged, c is the sum of the others / (n_samples - j).
    ordered = torch.gather(weight, -1, argsort(-weight))
    rest = ordered.flip(-1).cumsum(-1).flip(-1)[:, :n_samples]
    candidates = rest / (n_samples - torch.arange(n_samples, device=weight.device))
    kept = (ordered[:, :n_samples] > candidates).long().cumprod(-1).sum(-1, keepdim=True).clamp(max=n_samples - 1)
    return torch.gather(candidates, 1, kept).clamp(min=torch.finfo(weight.dtype).tiny)
