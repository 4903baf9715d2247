"""One-dimensional densities for priors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import stats

from .errors import InputError

__all__ = ["Exponential", "Normal", "PowerLaw", "Share", "Sloped", "Uniform", "shape_in_ln"]

LN10 = math.log(10.0)


@dataclass(frozen=True)
class Uniform:
    """Uniform density between two bounds.

    Attributes
    ----------
    low, high : float, optional
        Bounds; by default those of the parameter in `cluster_prior`.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.priors import Uniform
    >>> Uniform(0, 4).quantile(torch.tensor([0.25])).item()
    1.0
    """

    low: float | None = None
    high: float | None = None

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the log density between the bounds."""
        return torch.full_like(x, -math.log(self.high - self.low))

    def quantile(self, unit: torch.Tensor) -> torch.Tensor:
        """Compute the inverse of the cumulative distribution function."""
        return self.low + (self.high - self.low) * unit

    def describe(self) -> str:
        """Describe the density in a few words."""
        return f"uniform {self.low:g}..{self.high:g}"


class Sloped:
    """Density proportional to exp(slope x) between bounds; subclasses define the slope."""

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the log density between the bounds."""
        slope, width = self.slope, self.high - self.low
        if slope == 0:
            return torch.full_like(x, -math.log(width))
        from_top = x - (self.high if slope > 0 else self.low)
        return slope * from_top + math.log(abs(slope)) - math.log(-math.expm1(-abs(slope) * width))

    def quantile(self, unit: torch.Tensor) -> torch.Tensor:
        """Compute the inverse of the cumulative distribution function."""
        slope, width = self.slope, self.high - self.low
        if slope == 0:
            return self.low + width * unit
        below = torch.log1p((1 - unit if slope > 0 else unit) * math.expm1(-abs(slope) * width)) / abs(slope)
        return self.high + below if slope > 0 else self.low - below


@dataclass(frozen=True)
class PowerLaw(Sloped):
    """Power law dN/dm proportional to m^index, for the parameter log10 m.

    Attributes
    ----------
    index : float
        Power-law index: -2 for the mass function of young star clusters, 0 for a density that
        is uniform in m, -1 for one uniform in log10 m.
    low, high : float, optional
        Bounds of log10 m; by default those of the parameter in `cluster_prior`.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.priors import PowerLaw
    >>> density = PowerLaw(-2, 2, 8).log_prob(torch.tensor([3.0, 4.0])).exp()
    >>> round(float(density[0] / density[1]), 3)  # per dex
    10.0
    """

    index: float
    low: float | None = None
    high: float | None = None

    @property
    def slope(self) -> float:
        """Slope of the log density in log10 m."""
        return (self.index + 1) * LN10

    def describe(self) -> str:
        """Describe the density in a few words."""
        return f"power law {self.index:g} in {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Exponential(Sloped):
    """Exponential density exp(-x / scale) between bounds.

    Attributes
    ----------
    scale : float
        Scale, positive.
    low, high : float, optional
        Bounds; by default those of the parameter in `cluster_prior`.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.priors import Exponential
    >>> density = Exponential(0.3, 0, 1.5).log_prob(torch.tensor([0.0, 0.3])).exp()
    >>> round(float(density[0] / density[1]), 3)  # a factor of e for each scale
    2.718
    """

    scale: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise InputError(f"the scale {self.scale!r} of an exponential prior must be positive")

    @property
    def slope(self) -> float:
        """Slope of the log density."""
        return -1 / self.scale

    def describe(self) -> str:
        """Describe the density in a few words."""
        return f"exponential {self.scale:g} in {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Normal:
    """Normal density, truncated at bounds.

    Attributes
    ----------
    mean, sigma : float
    low, high : float, optional
        Bounds; by default those of the parameter in `cluster_prior`.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.priors import Normal
    >>> Normal(1.0, 0.2, 0, 4).quantile(torch.tensor([0.5])).item()
    1.0
    """

    mean: float
    sigma: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise InputError(f"the standard deviation {self.sigma!r} of a normal prior must be positive")

    @property
    def _scipy(self):
        low, high = ((end - self.mean) / self.sigma for end in (self.low, self.high))
        return stats.truncnorm(low, high, self.mean, self.sigma)

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the log density between the bounds."""
        within = min(max(self.mean, self.low), self.high)
        highest = float(self._scipy.logpdf(within)) + 0.5 * ((within - self.mean) / self.sigma) ** 2
        return highest - 0.5 * ((x - self.mean) / self.sigma) ** 2

    def quantile(self, unit: torch.Tensor) -> torch.Tensor:
        """Compute the inverse of the cumulative distribution function."""
        return torch.as_tensor(self._scipy.ppf(unit.cpu().double().numpy())).to(unit)

    def describe(self) -> str:
        """Describe the density in a few words."""
        return f"normal {self.mean:g} +- {self.sigma:g} in {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Share:
    """Density proportional to (x - low)^(power - 1) between bounds.

    .. versionadded:: 0.2

    If the k-th of n sticks breaks off a fraction 1 - x of the remainder, powers of n, n - 1, ... 1 give
    a flat Dirichlet distribution of the fractions.

    Attributes
    ----------
    power : float
        Power, positive; 1 is uniform.
    low, high : float, optional
        Bounds; by default those of the parameter.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.priors import Share
    >>> Share(3, 0, 1).quantile(torch.tensor([0.125])).item()
    0.5
    """

    power: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise InputError(f"the power {self.power!r} of a prior must be positive")

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the log density between the bounds."""
        unit = (x - self.low) / (self.high - self.low)
        return math.log(self.power / (self.high - self.low)) + torch.xlogy(torch.as_tensor(self.power - 1.0), unit)

    def quantile(self, unit: torch.Tensor) -> torch.Tensor:
        """Compute the inverse of the cumulative distribution function."""
        return self.low + (self.high - self.low) * unit ** (1 / self.power)

    def describe(self) -> str:
        """Describe the density in a few words."""
        return f"share of power {self.power:g} in {self.low:g}..{self.high:g}"


def shape_in_ln(density: Uniform | Sloped | Normal | Share) -> tuple[float, float, float] | None:
    """Compute slope a, center c, and precision b of ln density = a x - b (x - c)^2 / 2 in x = ln m.

    Parameters
    ----------
    density : Uniform, Sloped, Normal or Share
        Density of log10 m.

    Returns
    -------
    tuple of float, or None if the density has another form

    Examples
    --------
    >>> from clusterpost.densities import PowerLaw, shape_in_ln
    >>> shape_in_ln(PowerLaw(-2))  # per factor e of the mass
    (-1.0, 0.0, 0.0)
    """
    if isinstance(density, Normal):
        return 0.0, LN10 * density.mean, (LN10 * density.sigma) ** -2
    if isinstance(density, Sloped):
        return density.slope / LN10, 0.0, 0.0
    return (0.0, 0.0, 0.0) if isinstance(density, Uniform) else None
