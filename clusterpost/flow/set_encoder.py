"""Spline flows that see measurements as a set: one network for any bands, with upper limits among them.

Each band that was measured is a token, whatever else was; the tokens are summed
and averaged into a context, and the splines of `clusterpost.flow.spline` follow
from that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from .base import Depth, Size, count_dense
from .spline import Residual, SplineFlow, SplineSpec

__all__ = ["Coordinates", "SetSpec", "SetSplineFlow", "TokenEncoder"]

_FEATURES = 5  # of a token
_GLOBALS = 3  # conditions that are of no band
_LOG10_E = math.log10(math.e)
_ROOT_2 = math.sqrt(2.0)


@dataclass(frozen=True)
class SetSpec(SplineSpec):
    """Architecture of a spline flow on a set of bands; written to the model file.

    Attributes
    ----------
    n_parameters, n_conditions, low, high, order, width, depth, bins, splines, knots, formula
        As of `~clusterpost.flow.spline.SplineSpec`; the conditions are those of
        `~clusterpost.families.encoders.SetConditions`, three for each band and three more.
    coordinates : tuple of str
        How each parameter is mapped to the unit interval: ``linear``; ``log1p:c``, by ln(1 + (x - low)/c);
        ``normal:mean:width``, by a normal distribution's function; or ``amplitude``, by a logistic of log10 of the
        amplitude less that of the brightness.
    token : int
        Neurons of a token, even.
    context : int
        Neurons of the context.
    context_depth : int
        Residual blocks of the context.
    kind : str
        ``set-spline``.
    """

    kind: str = "set-spline"
    formula: int = 1
    coordinates: tuple[str, ...] = ()
    token: Size = 128
    context: Size = 128
    context_depth: Depth = 2

    def __post_init__(self):
        super().__post_init__()
        if len(self.coordinates) != self.n_parameters:
            raise ValueError(f"{self.n_parameters} parameters need as many coordinates, not {len(self.coordinates)}")
        if (self.n_conditions - _GLOBALS) % 3 or self.n_conditions <= _GLOBALS:
            raise ValueError(f"a set of bands has three conditions each and {_GLOBALS} more, not {self.n_conditions}")
        if self.token % 2:
            raise ValueError(f"a token has an even number of neurons, not {self.token}")
        for text in self.coordinates:
            _parse(text)

    @property
    def n_bands(self) -> int:
        """Number of bands there can be."""
        return (self.n_conditions - _GLOBALS) // 3

    @property
    def n_seen(self) -> int:
        """Number of values that the splines' blocks see."""
        return self.context

    def count_weights(self):
        """Compute the number of trained weights, without building the network."""
        half = self.token // 2
        tokens = self.n_bands * (_FEATURES + 1) * self.token + count_dense([half, half, half])
        context = count_dense([2 * self.token + _GLOBALS, self.context])
        context += self.context_depth * count_dense([self.context] * 3)
        return super().count_weights() + tokens + context + 2 * sum(text == "amplitude" for text in self.coordinates)


def _parse(text):
    """Name and numbers of a coordinate."""
    name, *numbers = text.split(":")
    if len(numbers) != {"linear": 0, "amplitude": 0, "log1p": 1, "normal": 2}.get(name, -1):
        raise ValueError(f"there is no coordinate {text[:40]!r}")
    values = [float(number) for number in numbers]
    if not all(math.isfinite(value) for value in values) or (values and values[-1] <= 0):
        raise ValueError(f"the coordinate {text[:40]!r} needs finite numbers, the last above zero")
    return name, values


class Coordinates(nn.Module):
    """Map parameters to the unit cube, each by its own function.

    Parameters
    ----------
    spec : SetSpec
    """

    def __init__(self, spec):
        super().__init__()
        self.kinds = [_parse(text) for text in spec.coordinates]
        self.bounds = list(zip(spec.low, spec.high, strict=True))
        n = sum(name == "amplitude" for name, _ in self.kinds)
        self.shift, self.ln_scale = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))

    @torch.no_grad()
    def set_from(self, theta, brightness):
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
            self.ln_scale[k] = torch.log(relative.std() * math.sqrt(3) / math.pi)  # of a logistic as wide

    def _ends(self, i, at, brightness):
        """Of a map with a distribution's function: the place on its own axis, and the function at both bounds."""
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

    def forward(self, theta, brightness):
        """Map to the unit cube.

        Parameters
        ----------
        theta : Tensor (n, k, n_parameter)
        brightness : Tensor (n, 1)
            ln of a typical flux.

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
            elif name == "log1p":
                total = math.log1p((high - low) / numbers[0])
                unit, slope = torch.log1p((x - low) / numbers[0]) / total, -torch.log((numbers[0] + x - low) * total)
            else:
                mean, scale, first, mass = self._ends(i, x, brightness.double())
                z = (x - mean) / scale
                function, ln_density = (_normal_cdf, _ln_normal) if name == "normal" else (torch.sigmoid, _ln_logistic)
                unit = (function(z) - first) / mass
                slope = ln_density(z) - torch.log(torch.as_tensor(scale, dtype=z.dtype)) - torch.log(mass)
            units.append(unit)
            log_det = log_det + slope
        return torch.stack(units, -1).clamp(0, 1).to(theta), log_det.to(theta)

    def inverse(self, unit, brightness):
        """Map back from the unit cube, never beyond the bounds.

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
            elif name == "log1p":
                x = low + numbers[0] * torch.expm1(u * math.log1p((high - low) / numbers[0]))
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


class TokenEncoder(nn.Module):
    """Sum up a set of measurements.

    Parameters
    ----------
    spec : SetSpec

    Notes
    -----
    A token is (d, d|d|, ln s, d/s, limit) with d the deviation of ln flux from the object's mean, s its error and a
    mark of upper limits. Each band has a first layer of its own; half of what it gives goes through a network that all
    bands share, half straight on. Sum and mean over the bands, with brightness, total weight and number of bands, make
    the context.
    """

    def __init__(self, spec):
        super().__init__()
        self.n_bands, half = spec.n_bands, spec.token // 2
        self.first = nn.Parameter(torch.randn(spec.n_bands, _FEATURES, spec.token) / math.sqrt(_FEATURES))
        self.bias = nn.Parameter(0.3 * torch.randn(spec.n_bands, spec.token))
        self.shared = nn.Sequential(nn.SiLU(), nn.Linear(half, half), nn.SiLU(), nn.Linear(half, half))
        self.merge = nn.Linear(2 * spec.token + _GLOBALS, spec.context)
        self.hidden = nn.Sequential(*(Residual(spec.context) for _ in range(spec.context_depth)))

    def forward(self, conditions):
        """Encode.

        Parameters
        ----------
        conditions : Tensor (n, 3 n_band + 3)
            Of `~clusterpost.families.encoders.SetConditions`.

        Returns
        -------
        Tensor (n, n_context)
        """
        value, ln_error, mark = conditions[:, :-_GLOBALS].unflatten(1, (3, self.n_bands)).unbind(1)
        brightness, ln_weight, number = conditions[:, -_GLOBALS:].unbind(1)
        there = (mark > 0.5).to(value)
        pull = (value * torch.exp(-ln_error)).clamp(-30, 30)
        features = torch.stack([value, value * value.abs() / 3, ln_error, pull / 5, (mark > 1.5).to(value)], -1)
        half = self.first.shape[-1] // 2
        straight = torch.einsum("nbf,bfw->nw", features * there[..., None], self.first[..., half:])
        # Few of the bands are measured, and only these go through the shared layers.
        bent = torch.einsum("nbf,bfw->nbw", features, self.first[..., :half]) + self.bias[:, :half]
        which = torch.topk(there, int(there.sum(1).max()), dim=1)
        bent = self.shared(torch.gather(bent, 1, which.indices[..., None].expand(-1, -1, half)))
        total = torch.cat([(bent * which.values[..., None]).sum(1), straight + there @ self.bias[:, half:]], 1)
        mean = total / there.sum(1, keepdim=True).clamp(min=1)
        # Of the order of one: the brightness of clusters at 10 pc spans 25 in ln mJy, about 20.
        rest = torch.stack([(brightness - 20) / 6, (ln_weight - 6) / 3, (number - 5) / 3], 1)
        return self.hidden(self.merge(torch.cat([total / 5, mean, rest], 1)))


class SetSplineFlow(SplineFlow):
    """A spline flow whose blocks see the context of a set of bands.

    Parameters
    ----------
    spec : SetSpec

    Notes
    -----
    theta -> unit cube, by each parameter's coordinate -> one block for each parameter in ``spec.order`` -> uniform.

    Examples
    --------
    >>> from clusterpost.flow.set_encoder import SetSpec, SetSplineFlow
    >>> spec = SetSpec(n_parameters=2, n_conditions=9, low=(0, 2), high=(4, 7), order=(0, 1), width=(8, 8),
    ...                depth=(1, 1), bins=(4, 4), splines=(1, 1), knots=8, coordinates=("linear", "amplitude"),
    ...                token=8, context=8)
    >>> sum(weights.numel() for weights in SetSplineFlow(spec).parameters()) == spec.count_weights()
    True
    """

    kind, formula = "set-spline", 1

    def __init__(self, spec):
        super().__init__(spec)
        self.coordinates, self.tokens = Coordinates(spec), TokenEncoder(spec)

    def set_from(self, theta, conditions):
        """Set the scale of the conditions, and center amplitudes; see `~clusterpost.flow.base.Flow.set_from`."""
        super().set_from(theta, conditions)
        self.coordinates.set_from(theta, conditions[:, -_GLOBALS, None])

    def _density(self, theta, standard):
        brightness = self._brightness(standard)
        unit, slope = self.coordinates(theta, brightness)
        _, log_det = self._run(unit, self._context(standard), rev=False)
        inside = ((theta >= self.box.low) & (theta <= self.box.high)).all(-1)
        return torch.where(inside, log_det + slope, -torch.inf)

    def _invert(self, z, standard):
        brightness = self._brightness(standard)
        unit, log_det = self._run(z, self._context(standard), rev=True)
        theta = self.coordinates.inverse(unit, brightness)
        return theta, self.coordinates(theta, brightness)[1] - log_det

    def _raw(self, standard):
        """Conditions as they were: marks and brightness mean what they say."""
        return standard * self.standardize.scale + self.standardize.shift

    def _brightness(self, standard):
        return self._raw(standard)[:, -_GLOBALS, None]

    def _context(self, standard):
        return self.tokens(self._raw(standard))

    def _names(self):
        yield from super()._names()
        for part in ("coordinates", "tokens"):
            for name, _ in getattr(self, part).named_parameters():
                yield f"{part}.{name}", f"{part}.{name}"
