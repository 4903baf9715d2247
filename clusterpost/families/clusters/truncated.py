"""Truncated normal distribution, numerically stable for means far outside the bounds.

``alpha`` and ``beta`` are the bounds in standard deviations from the mean, ``alpha < beta``.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch

__all__ = ["CutNormal", "cut_entropy", "cut_mean", "cut_sample", "interval", "log_interval"]

_ROOT_HALF = math.sqrt(0.5)
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_UNSEEN = 8.5  # standard deviations beyond which a bound has no effect in double precision
_FAR = 30.0  # standard deviations beyond which the tail is a Rayleigh distribution; Phi underflows soon after


class CutNormal:
    """Normal densities truncated at bounds.

    Parameters
    ----------
    mean, sigma, low, high : Tensor
        Parameters with broadcastable shapes.
    """

    def __init__(self, mean: torch.Tensor, sigma: torch.Tensor, low: float, high: float):
        self.mean, self.sigma = mean.double(), sigma.double()
        self.alpha, self.beta = (low - self.mean) / self.sigma, (high - self.mean) / self.sigma
        # More distant bounds have no effect, and the computation is slow.
        self._cut = (self.alpha > -_UNSEEN) | (self.beta < _UNSEEN)

    @cached_property
    def log_inside(self) -> torch.Tensor:
        """ln of the probability within the bounds, float64."""
        result = torch.zeros_like(self.alpha)
        result[self._cut] = log_interval(self.alpha[self._cut], self.beta[self._cut])
        return result

    def quantile(self, unit: torch.Tensor) -> torch.Tensor:
        """Compute the inverse of the cumulative distribution function in float64.

        Parameters
        ----------
        unit : Tensor
            Between 0 and 1.

        Returns
        -------
        Tensor
        """
        z = torch.special.ndtri(unit).double()
        z, unit, cut, alpha, beta = torch.broadcast_tensors(z, unit, self._cut, self.alpha, self.beta)
        z = z.contiguous()  # a copy where one point serves several objects
        z[cut] = cut_sample(unit[cut].double(), alpha[cut], beta[cut])
        return self.mean + self.sigma * z

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the log density within the bounds in float64.

        Parameters
        ----------
        x : Tensor

        Returns
        -------
        Tensor
        """
        return -0.5 * ((x - self.mean) / self.sigma) ** 2 - _HALF_LOG_2PI - torch.log(self.sigma) - self.log_inside


def interval(alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Compute Phi(beta) - Phi(alpha) without cancellation; zero on underflow.

    Parameters
    ----------
    alpha, beta : Tensor

    Returns
    -------
    Tensor
    """
    near, far = _mirrored(alpha, beta)
    # Subnormal results take twenty times longer.
    most = 26.0 if near.dtype == torch.float64 else 9.0
    return 0.5 * (torch.erfc((near * _ROOT_HALF).clamp(max=most)) - torch.erfc((far * _ROOT_HALF).clamp(max=most)))


def log_interval(alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Compute ln of `interval` without underflow, but slower.

    Parameters
    ----------
    alpha, beta : Tensor

    Returns
    -------
    Tensor
    """
    near, far = _mirrored(alpha, beta)
    top = torch.special.log_ndtr(-near)
    # Empty intervals have -inf, not NaN.
    return torch.where(far > near, top + torch.log1p(-torch.exp(torch.special.log_ndtr(-far) - top)), -torch.inf)


def cut_mean(alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Compute the mean of the truncated standard normal.

    Parameters
    ----------
    alpha, beta : Tensor

    Returns
    -------
    Tensor
    """
    low, high = _edge_densities(alpha, beta)
    return low - high


def cut_entropy(alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Compute the differential entropy of the truncated standard normal in nats.

    Parameters
    ----------
    alpha, beta : Tensor

    Returns
    -------
    Tensor
    """
    low, high = _edge_densities(alpha, beta)
    return _HALF_LOG_2PI + 0.5 + log_interval(alpha, beta) + 0.5 * (alpha * low - beta * high)


def cut_sample(unit: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Compute the inverse distribution function of the truncated standard normal.

    Parameters
    ----------
    unit : Tensor
        Between 0 and 1.
    alpha, beta : Tensor

    Returns
    -------
    Tensor
    """
    flip = alpha + beta > 0
    low, high = torch.where(flip, -beta, alpha), torch.where(flip, -alpha, beta)
    unit = torch.where(flip, 1 - unit, unit)
    # Now most of the interval is below zero, where this Phi is accurate (that of torch.special.ndtr is not).
    phi_low, phi_high = (0.5 * torch.erfc(-x * _ROOT_HALF) for x in (low, high))
    near = torch.special.ndtri(torch.lerp(phi_low, phi_high, unit))
    tail = -torch.sqrt((high**2 - 2 * torch.log(unit.clamp(min=1e-30))).clamp(min=0))
    x = torch.where(high < -_FAR, tail, near)
    x = torch.minimum(torch.maximum(x, low), high)
    return torch.where(flip, -x, x)


def _mirrored(alpha, beta):
    middle, half = 0.5 * (alpha + beta).abs(), 0.5 * (beta - alpha)
    return middle - half, middle + half


def _edge_densities(alpha, beta):
    log_z = log_interval(alpha, beta)
    return tuple(torch.exp(-0.5 * x**2 - _HALF_LOG_2PI - log_z) for x in (alpha, beta))
