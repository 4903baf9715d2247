"""Spline flows with a context: a network's summary of the conditions, computed once per object.

Draws outnumber objects, so a network that processes only the conditions is cheap if it is separate
from the blocks, which can then be small.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .base import Depth, Size, count_dense
from .coordinates import Coordinates, parse_coordinate
from .spline import Residual, SplineFlow, SplineSpec

__all__ = ["ContextSpec", "ContextSplineFlow"]


@dataclass(frozen=True)
class ContextSpec(SplineSpec):
    """Architecture of a spline flow with a context, stored in the model file.

    Attributes
    ----------
    n_parameters, n_conditions, low, high, order, width, depth, bins, splines, knots, formula
        As for `~clusterpost.flow.spline.SplineSpec`.
    coordinates : tuple of str
        Map of each parameter to the unit interval; see `~clusterpost.flow.coordinates.parse_coordinate`.
    context : int
        Number of neurons of the context.
    context_depth : int
        Number of residual blocks of the context.
    kind : str
        ``context-spline``.
    """

    kind: str = "context-spline"
    formula: int = 1
    coordinates: tuple[str, ...] = ()
    context: Size = 128
    context_depth: Depth = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.coordinates) != self.n_parameters:
            raise ValueError(f"{self.n_parameters} parameters need as many coordinates, not {len(self.coordinates)}")
        for text in self.coordinates:
            parse_coordinate(text)

    @property
    def n_seen(self) -> int:
        """Number of inputs of the spline blocks besides parameters."""
        return self.context

    def count_weights(self) -> int:
        """Compute the number of trained weights, without building the network."""
        amplitudes = sum(text == "amplitude" for text in self.coordinates)
        return super().count_weights() + self._count_context() + 2 * amplitudes

    def _count_context(self):
        layers = count_dense([self.context] * 3)
        return count_dense([self.n_conditions, self.context]) + self.context_depth * layers


class ContextSplineFlow(SplineFlow):
    """Spline flow whose blocks use a context.

    Parameters
    ----------
    spec : ContextSpec

    Notes
    -----
    theta -> unit cube, by each parameter's coordinate -> one block for each parameter in ``spec.order`` -> uniform.

    Examples
    --------
    >>> from clusterpost.flow.context import ContextSpec, ContextSplineFlow
    >>> spec = ContextSpec(n_parameters=2, n_conditions=3, low=(0, 0), high=(1, 1),
    ...                    order=(0, 1), width=(8, 8),
    ...                    depth=(1, 1), bins=(4, 4), splines=(1, 1), knots=8,
    ...                    coordinates=("linear", "log1m:0.01"),
    ...                    context=8)
    >>> flow = ContextSplineFlow(spec)
    >>> sum(weights.numel() for weights in flow.parameters()) == spec.count_weights()
    True
    """

    kind, formula = "context-spline", 1
    encoder = "context"  #: Name of the context module in model files.

    def __init__(self, spec: ContextSpec):
        super().__init__(spec)
        self.coordinates = Coordinates(spec)
        self.add_module(self.encoder, self._make_encoder(spec))

    @staticmethod
    def _make_encoder(spec):
        return nn.Sequential(nn.Linear(spec.n_conditions, spec.context),
                             *(Residual(spec.context) for _ in range(spec.context_depth)))

    def set_from(self, theta: torch.Tensor, conditions: torch.Tensor) -> None:
        """Set the scale of the conditions, and center amplitudes; see `~clusterpost.flow.base.Flow.set_from`."""
        super().set_from(theta, conditions)
        self.coordinates.set_from(theta, self._brightness(self.standardize(conditions)))

    def _density(self, theta, standard):
        brightness = self._brightness(standard)
        unit, slope = self.coordinates(theta, brightness)
        _, log_det = self._run(unit, self._summary(standard), rev=False)
        inside = ((theta >= self.box.low) & (theta <= self.box.high)).all(-1)
        return torch.where(inside, log_det + slope, -torch.inf)

    def _invert(self, z, standard):
        brightness = self._brightness(standard)
        unit, log_det = self._run(z, self._summary(standard), rev=True)
        theta = self.coordinates.inverse(unit, brightness)
        return theta, self.coordinates(theta, brightness)[1] - log_det

    def _brightness(self, standard):
        """Return ln of a reference flux (n, 1) for amplitudes; zero for conditions without brightness."""
        return torch.zeros_like(standard[:, :1])

    def _summary(self, standard):
        """Compute the context of the blocks from the conditions, (n, n_seen)."""
        return getattr(self, self.encoder)(standard)

    def _names(self):
        yield from super()._names()
        for part in ("coordinates", self.encoder):
            for name, _ in getattr(self, part).named_parameters():
                yield f"{part}.{name}", f"{part}.{name}"
