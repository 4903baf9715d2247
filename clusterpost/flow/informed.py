"""Two spline flows in one: for objects with photometry alone, and for those of which more is known.

What is known of a parameter moves and narrows the whole posterior. A network that serves both needs to be larger,
and is slower for each, than two.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from .base import Flow
from .coordinates import parse_coordinate
from .set_encoder import SetSpec, SetSplineFlow
from .transforms import Standardize

__all__ = ["InformedSetFlow", "InformedSpec"]


@dataclass(frozen=True)
class InformedSpec(SetSpec):
    """Architecture of two spline flows on a set of bands, stored in the model file.

    Attributes
    ----------
    n_parameters, n_conditions, low, high, order, width, depth, bins, splines, knots, formula, coordinates, \
    context, context_depth, token
        As for `~clusterpost.flow.set_encoder.SetSpec`, of both flows; at least one coordinate is ``known``. The flow
        for photometry alone has ``linear`` or ``normal`` in its place, and no conditions for what is known.
    kind : str
        ``informed-set-spline``.
    """

    kind: str = "informed-set-spline"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.n_known:
            raise ValueError("this kind of flow needs a coordinate 'known'; a flow without has the kind 'set-spline'")

    @property
    def informed(self) -> SetSpec:
        """Architecture of the flow for objects of which more is known."""
        return self._set(self.n_conditions, self.coordinates)

    @property
    def plain(self) -> SetSpec:
        """Architecture of the flow for photometry alone."""
        return self._set(self.n_conditions - 2 * self.n_known, tuple(map(_without_knowledge, self.coordinates)))

    def count_weights(self) -> int:
        """Compute the number of trained weights, without building the network."""
        return self.informed.count_weights() + self.plain.count_weights()

    def _set(self, n_conditions, coordinates):
        own = ("kind", "formula")
        same = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in own}
        return SetSpec(**same | {"n_conditions": n_conditions, "coordinates": coordinates})


def _without_knowledge(text):
    name, numbers = parse_coordinate(text)
    if name != "known":
        return text
    return ":".join(["normal", *map(str, numbers)]) if numbers else "linear"


class InformedSetFlow(Flow):
    """Flow that passes each object to one of two flows, by whether its conditions tell something of a parameter.

    Parameters
    ----------
    spec : InformedSpec

    Examples
    --------
    >>> from clusterpost.flow.informed import InformedSetFlow, InformedSpec
    >>> spec = InformedSpec(n_parameters=2, n_conditions=11, low=(0, 2), high=(4, 7),
    ...                     order=(0, 1), width=(8, 8), depth=(1, 1), bins=(4, 4),
    ...                     splines=(1, 1), knots=8, coordinates=("known", "amplitude"),
    ...                     token=8, context=8)
    >>> flow = InformedSetFlow(spec)
    >>> sum(weights.numel() for weights in flow.parameters()) == spec.count_weights()
    True
    """

    kind, formula = "informed-set-spline", 1

    def __init__(self, spec: InformedSpec):
        super().__init__()
        self.spec = spec
        self.plain, self.informed = SetSplineFlow(spec.plain), SetSplineFlow(spec.informed)
        self.standardize = Standardize(spec.n_conditions)
        self._n_seen = spec.plain.n_conditions

    @property
    def box(self) -> torch.nn.Module:
        """Bounds of the parameters."""
        return self.plain.box

    @torch.no_grad()
    def set_from(self, theta: torch.Tensor, conditions: torch.Tensor) -> None:
        """Set scales; see `~clusterpost.flow.base.Flow.set_from`."""
        self.plain.set_from(theta, conditions[:, :self._n_seen])
        self.informed.set_from(theta, conditions)
        # What is known keeps its values, zero if nothing is.
        for name in ("shift", "scale"):
            getattr(self.standardize, name)[:self._n_seen] = getattr(self.plain.standardize, name)

    def base(self, unit: torch.Tensor) -> torch.Tensor:
        """Return the points unchanged, because the base distribution is uniform."""
        return unit

    def log_prob(self, theta: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Compute the log density of parameters; see `~clusterpost.flow.base.Flow.log_prob`."""
        return self._each("log_prob", theta, conditions)[0]

    def transform(self, z: torch.Tensor, conditions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform base points to draws; see `~clusterpost.flow.base.Flow.transform`."""
        return self._each("transform", z, conditions)

    def compile_passes(self, mode: str | None = None) -> None:
        """Compile both flows; see `~clusterpost.flow.base.Flow.compile_passes`."""
        self.plain.compile_passes(mode)
        self.informed.compile_passes(mode)

    def _each(self, method, points, conditions):
        """Call a method of the flow of each object, and return its results as a tuple."""
        told = (conditions[:, self._n_seen + 1 :: 2] > 0).any(1)
        calls = [(~told, getattr(self.plain, method), self._n_seen),
                 (told, getattr(self.informed, method), conditions.shape[1])]
        if conditions.is_cuda and torch.cuda.is_current_stream_capturing():  # a graph cannot depend on numbers of rows
            both = [_as_tuple(call(points, conditions[:, :n])) for _, call, n in calls]
            return tuple(torch.where(told.reshape(-1, *[1] * (one.ndim - 1)), other, one)
                         for one, other in zip(*both, strict=True))
        parts = [(rows, _as_tuple(call(points[rows], conditions[rows, :n])))
                 for rows, call, n in calls if bool(rows.any())]
        if len(parts) == 1:
            return parts[0][1]
        order = torch.cat([rows.nonzero()[:, 0] for rows, _ in parts]).argsort()
        return tuple(torch.cat(each)[order] for each in zip(*(values for _, values in parts), strict=True))

    def _names(self):
        for part in ("shift", "scale"):
            yield f"standardize.{part}", f"standardize.{part}"
        for name in ("plain", "informed"):
            for ours, theirs in getattr(self, name)._names():
                yield f"{name}.{ours}", f"{name}.{theirs}"


def _as_tuple(values):
    return values if isinstance(values, tuple) else (values,)
