"""Importance weights: how many draws they leave, and how to keep fewer."""

from __future__ import annotations

import math

import numpy as np
import torch

__all__ = ["argmax", "argsort", "effective_sample_size", "log_mean", "log_weights", "normalized",
           "systematic_resample", "thinned", "threshold"]


def argsort(x: torch.Tensor) -> torch.Tensor:
    """Sort indices along the last dimension.

    Parameters
    ----------
    x : Tensor (..., k)

    Returns
    -------
    Tensor (..., k) of int
        On the CPU by numpy, which sorts several times faster than torch there.
    """
    if x.device.type != "cpu":
        return x.argsort(dim=-1)
    return torch.from_numpy(np.argsort(x.detach().numpy(), axis=-1))


def argmax(x: torch.Tensor) -> torch.Tensor:
    """Find the index of the largest number along the last dimension, (...); on the CPU by numpy, as `argsort`."""
    if x.device.type != "cpu":
        return x.argmax(dim=-1)
    return torch.from_numpy(np.argmax(x.detach().numpy(), axis=-1))


def log_weights(log_density: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """ln (density / q), -inf where the density is zero or either is no number.

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
    """ln of the mean weight, (n,): the evidence, if the draws' density is normalized."""
    return torch.logsumexp(log_weight, -1) - math.log(log_weight.shape[-1])


def normalized(log_weight: torch.Tensor) -> torch.Tensor:
    """Weights that add up to one.

    Parameters
    ----------
    log_weight : Tensor (n, k)

    Returns
    -------
    Tensor (n, k)
        Float64; all the same where none is positive.
    """
    highest = log_weight.amax(-1, keepdim=True)
    log_weight = torch.where(torch.isneginf(highest), 0.0, log_weight)
    return torch.softmax(log_weight, -1)


def effective_sample_size(weight: torch.Tensor) -> torch.Tensor:
    """Effective number of draws, (sum w)^2 / sum w^2.

    Parameters
    ----------
    weight : Tensor (n, k)

    Returns
    -------
    Tensor (n,)
    """
    return weight.sum(-1) ** 2 / (weight**2).sum(-1)


def systematic_resample(weight: torch.Tensor, n_samples: int, order: torch.Tensor) -> torch.Tensor:
    """Draw with replacement, evenly: every 1/n_samples of the weight gives one.

    Parameters
    ----------
    weight : Tensor (n, k)
        Adding up to one.
    n_samples : int
    order : Tensor (n, k)
        A number for each draw, such as its first parameter, along which to go.
        In the order of a Sobol sequence, whose even strides stay in one part of
        the cube, the result would not be spread as the draws are.

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
    """Keep some weighted draws, none of them twice.

    Parameters
    ----------
    weight : Tensor (n, k)
        Adding up to one.
    n_samples : int
        At most k.
    order : Tensor (n, k), optional
        A number for each draw; neighbors in it stand in for each other.

    Returns
    -------
    index : Tensor (n, n_samples) of int
    weight : Tensor (n, n_samples)
        Their new weights, adding up to one.

    Notes
    -----
    Fearnhead & Clifford (2003): draws heavier than some c are kept as they are;
    of the others a share w/c is kept, evenly chosen, with the weight c.  Of all
    ways to keep so many this disturbs the weights least.
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
        Adding up to one.
    n_samples : int
        At most k.

    Returns
    -------
    Tensor (n, 1)
    """
    # With the j heaviest kept as they are, c is the others' sum / (n_samples - j).
    ordered = torch.gather(weight, -1, argsort(-weight))
    rest = ordered.flip(-1).cumsum(-1).flip(-1)[:, :n_samples]
    candidates = rest / (n_samples - torch.arange(n_samples, device=weight.device))
    kept = (ordered[:, :n_samples] > candidates).long().cumprod(-1).sum(-1, keepdim=True).clamp(max=n_samples - 1)
    return torch.gather(candidates, 1, kept).clamp(min=torch.finfo(weight.dtype).tiny)
