"""Fixed transforms between parameter space and the space of the flow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ProbitBox", "Standardize", "UnitBox"]

# Keeps the probit finite if float32 rounds a parameter onto a bound.
_EDGE = 2.0**-23


class ProbitBox(nn.Module):
    """Map a box to the whole space, component by component.

    x = Phi^-1((theta - a) / (b - a)): a uniform theta becomes standard normal,
    and every draw is inside the bounds (Walter et al. 2025, Eq. 9).

    Parameters
    ----------
    low, high : Tensor (n_parameter,)
        Bounds a and b.
    """

    def __init__(self, low: tuple[float, ...], high: tuple[float, ...]):
        super().__init__()
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32))
        self.register_buffer("high", torch.as_tensor(high, dtype=torch.float32))

    def forward(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform to the space of the flow.

        Parameters
        ----------
        theta : Tensor (..., n_parameter)
            Parameters inside the bounds.

        Returns
        -------
        x : Tensor (..., n_parameter)
        log_det : Tensor (...)
            ln abs(dx/dtheta).
        """
        unit = ((theta - self.low) / (self.high - self.low)).clamp(_EDGE, 1 - _EDGE)
        x = torch.special.ndtri(unit)
        return x, self.log_det(x)

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Transform back to the parameters.

        Parameters
        ----------
        x : Tensor (..., n_parameter)

        Returns
        -------
        Tensor (..., n_parameter)
            Parameters inside the bounds.
        """
        theta = self.low + (self.high - self.low) * torch.special.ndtr(x)
        return torch.minimum(torch.maximum(theta, self.low), self.high)

    def log_det(self, x: torch.Tensor) -> torch.Tensor:
        """Compute ln abs(dx/dtheta) at x."""
        log_normal = -0.5 * x**2 - 0.5 * math.log(2 * math.pi)
        return -(log_normal + torch.log(self.high - self.low)).sum(-1)


class UnitBox(nn.Module):
    """Map a box to the unit cube, component by component.

    Parameters
    ----------
    low, high : Tensor (n_parameter,)
        Bounds.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float]):
        super().__init__()
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32))
        self.register_buffer("high", torch.as_tensor(high, dtype=torch.float32))

    @property
    def log_volume(self) -> torch.Tensor:
        """ln of the volume of the box."""
        return torch.log(self.high - self.low).sum()

    def forward(self, theta: torch.Tensor) -> torch.Tensor:
        """Transform to the unit cube."""
        return (theta - self.low) / (self.high - self.low)

    def inverse(self, unit: torch.Tensor) -> torch.Tensor:
        """Transform back to the parameters, within the bounds."""
        theta = self.low + (self.high - self.low) * unit
        return torch.minimum(torch.maximum(theta, self.low), self.high)


class Standardize(nn.Module):
    """Shift and scale conditions by fixed numbers.

    Parameters
    ----------
    n : int
        Number of conditions; `set_from` sets the numbers.
    """

    def __init__(self, n: int):
        super().__init__()
        self.register_buffer("shift", torch.zeros(n))
        self.register_buffer("scale", torch.ones(n))

    def set_from(self, sample: torch.Tensor) -> None:
        """Set mean and standard deviation from a sample (n_sample, n)."""
        self.shift.copy_(sample.mean(0))
        spread = sample.std(0)
        self.scale.copy_(torch.where(spread > 0, spread, 1.0))  # a condition may be constant

    def forward(self, conditions: torch.Tensor) -> torch.Tensor:
        """Standardize the conditions."""
        return (conditions - self.shift) / self.scale
