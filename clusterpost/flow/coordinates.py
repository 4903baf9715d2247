"""Coordinates that map parameters to the unit cube and stretch regions of narrow posteriors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from types import SimpleNamespace

    from .context import ContextSpec

__all__ = ["Coordinates", "parse_coordinate"]

_LOG10_E = math.log10(math.e)
_ROOT_2 = math.sqrt(2.0)


def parse_coordinate(text: str) -> tuple[str, list[float]]:
    """Parse the name and the numbers of a coordinate.

    Parameters
    ----------
    text : str
        ``linear``; ``log1p:c`` for ln(1 + (x - low)/c); ``log1m:c`` for ln(1 + (high - x)/c), which decreases with x;
        ``normal:mean:width`` for a normal distribution function; or ``amplitude`` for a logistic of log10 of
        the amplitude minus that of the brightness.

    Returns
    -------
    name : str
    numbers : list of float

    Raises
    ------
    ValueError
        If the coordinate is unknown.

    Examples
    --------
    >>> from clusterpost.flow.coordinates import parse_coordinate
    >>> parse_coordinate("log1p:0.1")
    ('log1p', [0.1])
    """
    name, *numbers = text.split(":")
    if len(numbers) != {"linear": 0, "amplitude": 0, "log1p": 1, "log1m": 1, "normal": 2}.get(name, -1):
        raise ValueError(f"unknown coordinate {text[:40]!r}")
    values = [float(number) for number in numbers]
    if not all(math.isfinite(value) for value in values) or (values and values[-1] <= 0):
        raise ValueError(f"the coordinate {text[:40]!r} needs finite numbers, the last one positive")
    return name, values


class Coordinates(nn.Module):
    """Map of parameters to the unit cube with one function per parameter.

    Parameters
    ----------
    spec : Spec
        Architecture with ``coordinates``, a string per parameter for `parse_coordinate`.
    """

    def __init__(self, spec: SimpleNamespace | ContextSpec):
        super().__init__()
        self.kinds = [parse_coordinate(text) for text in spec.coordinates]
        self.bounds = list(zip(spec.low, spec.high, strict=True))
        n = sum(name == "amplitude" for name, _ in self.kinds)
        self.shift, self.ln_scale = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))

    @torch.no_grad()
    def set_from(self, theta: torch.Tensor, brightness: torch.Tensor) -> None:
        """Center amplitudes on a sample.

        Parameters
        ----------
        theta : Tensor (n, n_parameter)
        brightness : Tensor (n, 1)
        """
        amplitudes = [i for i, (name, _) in enumerate(self.kinds) if name == "amplitude"]
        for k, i in enumerate(amplitudes):
            relative = theta[:, i] - _LOG10_E * brightness[:, 0]
            self.shift[k] = relative.mean()
            self.ln_scale[k] = torch.log(relative.std() * math.sqrt(3) / math.pi)  # logistic of equal width

    def _ends(self, i, at, brightness):
        """Return, for a distribution function, the position on its axis and its values at both bounds."""
        name, numbers = self.kinds[i]
        if name == "normal":
            mean, scale = numbers
            function = _normal_cdf
        else:
            k = sum(other == "amplitude" for other, _ in self.kinds[:i])
            mean = self.shift[k] + _LOG10_E * brightness
            scale, function = torch.exp(self.ln_scale[k]), torch.sigmoid
        low, high = (function((torch.as_tensor(end, dtype=at.dtype) - mean) / scale) for end in self.bounds[i])
        return mean, scale, low, (high - low).clamp(min=1e-12)

    def forward(self, theta: torch.Tensor, brightness: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map to the unit cube.

        Parameters
        ----------
        theta : Tensor (n, k, n_parameter)
        brightness : Tensor (n, 1)
            ln of a reference flux, used only by amplitudes.

        Returns
        -------
        unit : Tensor (n, k, n_parameter)
        log_det : Tensor (n, k)
            ln abs(d unit/d theta).
        """
        units, log_det = [], 0.0
        for i, (name, numbers) in enumerate(self.kinds):
            low, high = self.bounds[i]
            x = theta[..., i].double()
            if name == "linear":
                unit, slope = (x - low) / (high - low), torch.full_like(x, -math.log(high - low))
            elif name in ("log1p", "log1m"):
                total = math.log1p((high - low) / numbers[0])
                beyond = x - low if name == "log1p" else high - x
                unit, slope = torch.log1p(beyond / numbers[0]) / total, -torch.log((numbers[0] + beyond) * total)
            else:
                mean, scale, first, mass = self._ends(i, x, brightness.double())
                z = (x - mean) / scale
                function, ln_density = (_normal_cdf, _ln_normal) if name == "normal" else (torch.sigmoid, _ln_logistic)
                unit = (function(z) - first) / mass
                slope = ln_density(z) - torch.log(torch.as_tensor(scale, dtype=z.dtype)) - torch.log(mass)
            units.append(unit)
            log_det = log_det + slope
        return torch.stack(units, -1).clamp(0, 1).to(theta), log_det.to(theta)

    def inverse(self, unit: torch.Tensor, brightness: torch.Tensor) -> torch.Tensor:
        """Map back from the unit cube, within the bounds.

        Parameters
        ----------
        unit : Tensor (n, k, n_parameter)
        brightness : Tensor (n, 1)

        Returns
        -------
        Tensor (n, k, n_parameter)
        """
        values = []
        for i, (name, numbers) in enumerate(self.kinds):
            low, high = self.bounds[i]
            u = unit[..., i].double()
            if name == "linear":
                x = low + (high - low) * u
            elif name in ("log1p", "log1m"):
                beyond = numbers[0] * torch.expm1(u * math.log1p((high - low) / numbers[0]))
                x = low + beyond if name == "log1p" else high - beyond
            else:
                mean, scale, first, mass = self._ends(i, u, brightness.double())
                at = (first + u * mass).clamp(1e-15, 1 - 1e-15)
                x = mean + scale * (torch.special.ndtri(at) if name == "normal" else torch.logit(at))
            values.append(x.clamp(low, high))
        out = torch.stack(values, -1).to(unit)
        low, high = (torch.tensor(ends, dtype=unit.dtype, device=unit.device)
                     for ends in zip(*self.bounds, strict=True))
        return torch.minimum(torch.maximum(out, low), high)


def _normal_cdf(x):
    return 0.5 * torch.erfc(-x / _ROOT_2)


def _ln_normal(x):
    return -0.5 * x**2 - 0.5 * math.log(2 * math.pi)


def _ln_logistic(x):
    return functional.logsigmoid(x) + functional.logsigmoid(-x)
