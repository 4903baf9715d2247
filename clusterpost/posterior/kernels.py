"""Kernel density fitted to weighted draws, for drawing new ones.

This is the step of population Monte Carlo (Cappe et al. 2004) for clusters with
a poor network proposal.
"""

from __future__ import annotations

import math

import torch

from .covariance import cholesky
from .weights import effective_sample_size, systematic_resample

__all__ = ["KernelDensity"]

_N_KERNELS = 192
_WIDTHS = (1.0, 1.0, 3.0)  # widths of successive kernels; every third is wide
_LEAST = 30  # minimum effective sample size of the fit


class KernelDensity:
    """Normal kernels around weighted draws, with the interface of a flow.

    Parameters
    ----------
    points : Tensor (n, k, n_parameter)
        Draws in the flow's parameters.
    log_weight : Tensor (n, k)
        Log weights, not normalized.
    low, high : Tensor (n_parameter,)
        Bounds, which limit the width of the kernels.

    Notes
    -----
    Weights with a small effective sample size are flattened, w^b with 0 < b < 1, to at least
    30 effective draws.  The kernel width follows Scott's rule for the
    covariance of the draws.
    """

    def __init__(self, points: torch.Tensor, log_weight: torch.Tensor, low: torch.Tensor, high: torch.Tensor):
        weight = _flattened(log_weight)
        n_parameters = points.shape[-1]
        index = systematic_resample(weight, _N_KERNELS, order=points[..., 0])
        self.center = torch.gather(points, 1, index[..., None].expand(-1, -1, n_parameters)).double()
        doubles = points.double()
        mean = (weight[..., None] * doubles).sum(1, keepdim=True)
        centered = doubles - mean
        covariance = (weight[..., None] * centered).mT @ centered
        unit = torch.diag((2e-4 * (high - low).double()) ** 2)
        self.root = cholesky(covariance + unit)
        self.width = _N_KERNELS ** (-1.0 / (n_parameters + 4))

    def draw(self, unit: torch.Tensor, conditions: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw points from successive kernels, with their log density; see `Flow.draw`."""
        theta = self.points(unit)
        return theta, self.log_prob(theta)

    def points(self, unit: torch.Tensor) -> torch.Tensor:
        """Draw points from successive kernels, without their density."""
        kernel = torch.arange(unit.shape[1], device=unit.device) % _N_KERNELS
        z = torch.special.ndtri(unit.double().clamp(1e-7, 1 - 1e-7))
        step = (z @ self.root.mT) * (self.width * self._scale(unit.device)[kernel])[:, None]
        return (self.center[:, kernel] + step).to(unit.dtype)

    def log_prob(self, theta: torch.Tensor, conditions: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the log density of given points; see `Flow.log_prob`."""
        log_kernel, log_volume = self._log_kernels(theta)
        return torch.logsumexp(log_kernel, -1) - math.log(_N_KERNELS) - log_volume

    def log_prob_of_others(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute the log density of given points without kernels around the same points.

        If weights are noisy, a large one tells that its draw was lucky, and its own kernel would make its density too
        high.
        """
        log_kernel, log_volume = self._log_kernels(theta)
        same = theta[..., :1].double() == self.center[:, None, :, 0]
        others = torch.logsumexp(log_kernel.masked_fill(same, -torch.inf), -1)
        return others - torch.log((~same).sum(-1).clamp(min=1).to(others)) - log_volume

    def _log_kernels(self, theta):
        """Compute the log of each kernel, (n, k, n_kernel), up to the log volume, (n, 1), which is also returned."""
        n_parameters = theta.shape[-1]
        origin = self.center.mean(1, keepdim=True)
        x = torch.linalg.solve_triangular(self.root, (theta.double() - origin).mT, upper=False).mT / self.width
        c = torch.linalg.solve_triangular(self.root, (self.center - origin).mT, upper=False).mT / self.width
        squared = torch.cdist(x.to(theta.dtype), c.to(theta.dtype)) ** 2
        scale = self._scale(theta.device).to(theta.dtype)
        log_kernel = -0.5 * squared / scale**2 - n_parameters * torch.log(scale)
        log_volume = (torch.log(self.root.diagonal(dim1=1, dim2=2)).sum(-1, keepdim=True)
                      + n_parameters * (math.log(self.width) + 0.5 * math.log(2 * math.pi)))
        return log_kernel, log_volume.to(theta.dtype)

    def _scale(self, device):
        return torch.tensor(_WIDTHS, dtype=torch.float64, device=device).repeat(_N_KERNELS // len(_WIDTHS))


def _flattened(log_weight):
    """Raise weights to a power, at most one, that gives a sufficient effective sample size."""
    log_weight = log_weight.double()
    highest = log_weight.amax(-1, keepdim=True)
    # Zero weights stay zero, unless all are zero.
    log_weight = torch.where(torch.isneginf(highest), 0.0, log_weight - highest)
    power_low, power_high = torch.zeros_like(log_weight[:, :1]), torch.ones_like(log_weight[:, :1])
    enough = effective_sample_size(torch.softmax(log_weight, -1))[:, None] >= _LEAST
    for _ in range(20):
        power = 0.5 * (power_low + power_high)
        fine = effective_sample_size(torch.softmax(_powered(log_weight, power), -1))[:, None] >= _LEAST
        power_low, power_high = torch.where(fine, power, power_low), torch.where(fine, power_high, power)
    return torch.softmax(_powered(log_weight, torch.where(enough, 1.0, power_low)), -1)


def _powered(log_weight, power):
    return torch.where(torch.isneginf(log_weight), -torch.inf, log_weight * power)
