"""Spline flows: rational-quadratic splines transform one parameter per block.

A block is a FrEIA ``InvertibleModule``: it transforms one parameter of the unit
cube, given the conditions and the parameters transformed by previous blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import FrEIA.framework as Ff
import FrEIA.modules as Fm
import torch
from torch import nn
from torch.nn import functional

from .base import Bounds, Depth, Flow, Index, Size, Spec, check_order, count_dense
from .transforms import Standardize, UnitBox

__all__ = ["SplineBlock", "SplineFlow", "SplineSpec", "rational_quadratic", "spline_knots"]

# Points processed by the blocks at a time, to keep intermediate results in the processor cache.
_POINTS_PER_PASS = 16_384

_LEAST_BIN = 1e-4  # minimum width and height of a bin
_LEAST_SLOPE = 1e-3
_UNIT_SLOPE = math.log(math.e - 1)  # softplus of it is one


@dataclass(frozen=True)
class SplineSpec(Spec):
    """Architecture of a spline flow, stored in the model file.

    Attributes
    ----------
    n_parameters, n_conditions : int
    low, high : tuple of float
        Bounds of the parameters.
    order : tuple of int
        Parameter transformed by each block, given the previous ones.
    width, depth, bins, splines : tuple of int
        For each block: neurons of a hidden layer, residual blocks, bins of a
        spline, and successive splines.
    knots : int
        Number of intervals of the piecewise linear embedding of
        each input parameter of a block.
    kind : str
        ``cinn-spline``.
    formula : int
        Version of the formulas below; it changes if the same weights would
        define another function.
    """

    n_parameters: Size
    n_conditions: Size
    low: Bounds
    high: Bounds
    order: tuple[Index, ...]
    width: tuple[Size, ...]
    depth: tuple[Depth, ...]
    bins: tuple[Size, ...]
    splines: tuple[Size, ...]
    knots: Size = 256
    kind: str = "cinn-spline"
    formula: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self.order, self.n_parameters)
        for name in ("width", "depth", "bins", "splines"):
            if len(getattr(self, name)) != self.n_parameters:
                raise ValueError(f"{name} must have a number for each of {self.n_parameters} blocks")

    @property
    def n_seen(self) -> int:
        """Number of inputs of each block besides parameters, the conditions."""
        return self.n_conditions

    def count_weights(self) -> int:
        """Compute the number of trained weights, without building the network."""
        total = 0
        for i, (width, depth, bins, splines) in enumerate(zip(self.width, self.depth, self.bins, self.splines,
                                                              strict=True)):
            total += i * (self.knots + 1) * width + count_dense([self.n_seen, width])
            total += 2 * depth * count_dense([width, width]) + count_dense([width, splines * (3 * bins + 1)])
        return total


def spline_knots(parameters: torch.Tensor) -> torch.Tensor:
    """Compute the knots of monotonic splines of the unit interval.

    Parameters
    ----------
    parameters : Tensor (..., 3 n_bin + 1, m)
        Unconstrained widths, heights, and slopes; all zero for the identity.

    Returns
    -------
    Tensor (..., 3 (n_bin + 1), m)
        x, y, and slope of each knot.  The mean of the knots of two such splines is also valid.

    Notes
    -----
    The last dimension is the points, not the bins: operations over a few bins of thousands of
    points then take half the time.
    """
    n_bins = (parameters.shape[-2] - 1) // 3
    sizes = parameters[..., : 2 * n_bins, :].unflatten(-2, (2, n_bins))
    # Cumulative sums of a softmax; torch.softmax is several times slower over so few bins.
    sums = torch.exp(sizes - sizes.detach().amax(-2, keepdim=True)).cumsum(-2)
    least = _LEAST_BIN * torch.arange(1, n_bins + 1, dtype=sums.dtype, device=sums.device)[:, None]
    places = functional.pad(least + (1 - _LEAST_BIN * n_bins) * (sums / sums[..., -1:, :]), (0, 0, 1, 0))
    slopes = _LEAST_SLOPE + functional.softplus(parameters[..., 2 * n_bins :, :] + _UNIT_SLOPE)
    return torch.cat([places.flatten(-3, -2), slopes], -2)


def rational_quadratic(x: torch.Tensor, knots: torch.Tensor, *,
                       inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Evaluate a monotonic rational-quadratic spline of the unit interval (Durkan et al. 2019, Eqs. 4-8).

    Parameters
    ----------
    x : Tensor (..., m)
        Points in the unit interval.
    knots : Tensor (..., 3 (n_bin + 1), m or 1)
        Output of `spline_knots`, for the spline of each point or one shared by all m points.
    inverse : bool
        Whether to transform from y to x.

    Returns
    -------
    y : Tensor (..., m)
    log_slope : Tensor (..., m)
        ln dy/dx, or ln dx/dy of the inverse.
    """
    n_knots = knots.shape[-2] // 3
    first = n_knots if inverse else 0
    k = (knots[..., first + 1 : first + n_knots - 1, :] < x.unsqueeze(-2)).sum(-2, keepdim=True)
    knots = knots.expand(*knots.shape[:-1], x.shape[-1])

    def at(place: int) -> torch.Tensor:
        """Look up values of the knots around each point."""
        return torch.gather(knots, -2, k + place).squeeze(-2)

    left, bottom, slope0, slope1 = at(0), at(n_knots), at(2 * n_knots), at(2 * n_knots + 1)
    width, height = at(1) - left, at(n_knots + 1) - bottom
    mean = height / width
    bend = slope0 + slope1 - 2 * mean
    if inverse:
        rise = x - bottom
        a = height * (mean - slope0) + rise * bend
        b = height * slope0 - rise * bend
        root = torch.sqrt((b**2 + 4 * a * mean * rise).clamp(min=0))
        part = (2 * mean * rise / (b + root)).clamp(0, 1)
    else:
        part = ((x - left) / width).clamp(0, 1)
    mixed = part * (1 - part)
    below = mean + bend * mixed
    log_slope = (2 * torch.log(mean) - 2 * torch.log(below)
                 + torch.log(slope1 * part**2 + 2 * mean * mixed + slope0 * (1 - part) ** 2))
    if inverse:
        return left + part * width, -log_slope
    return bottom + height * (mean * part**2 + slope0 * mixed) / below, log_slope


class Residual(nn.Module):
    """Two layers with a skip connection, initially the identity.

    Parameters
    ----------
    width : int
    """

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the layers to the input."""
        return x + self.second(functional.silu(self.first(functional.silu(x))))


def _rows(table, index):
    return functional.embedding(index, table)


class SplineBlock(Fm.InvertibleModule):
    """Block that transforms one parameter by splines given conditions and other parameters.

    Parameters
    ----------
    dims_in, dims_c : list of tuple
        As in FrEIA.
    component : int
        Index of the transformed parameter.
    given : tuple of int
        Indices of the input parameters.
    width, depth, bins, splines, knots : int
        See `SplineSpec`.

    Notes
    -----
    Points have shape (n, k, n_parameter) and conditions
    (n, n_condition), so functions of the conditions alone are
    computed once per object instead of once per draw.

    With one input parameter, the network is evaluated at the knots of
    that parameter's embedding, and the knots of the splines are interpolated
    linearly in between, so additional draws cost no further network evaluations.  In
    training (``module.train()``) it is evaluated at the points themselves,
    which is cheaper for few points and practically equivalent.
    """

    def __init__(self, dims_in: list[tuple[int, ...]], dims_c: list[tuple[int, ...]] | None = None, *, component: int,
                 given: tuple[int, ...], width: int, depth: int, bins: int, splines: int, knots: int):
        super().__init__(dims_in, dims_c)
        self.component, self.given = component, tuple(given)
        self.knots, self.splines = knots, splines
        self.seen = nn.Linear(dims_c[0][0], width)
        start = torch.linspace(-1.7, 1.7, knots + 1)[:, None]  # initialized for a standardized uniform variable
        self.embedding = nn.ParameterList(nn.Parameter(0.3 * start * torch.randn(1, width)) for _ in self.given)
        self.hidden = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.last = nn.Linear(width, splines * (3 * bins + 1))
        nn.init.zeros_(self.last.weight)  # the untrained flow is the identity, which is the prior
        nn.init.zeros_(self.last.bias)

    def forward(self, x: tuple[torch.Tensor, ...], c: list[torch.Tensor] = (), rev: bool = False,
                jac: bool = True) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Transform; the Jacobian is always returned."""
        points = x[0]
        moved = points[..., self.component]
        log_det = torch.zeros_like(moved)
        knots = self._knots(points, c[0])
        for spline in reversed(knots) if rev else knots:
            moved, log_slope = rational_quadratic(moved, spline, inverse=rev)
            log_det = log_det + log_slope
        out = [moved if i == self.component else part for i, part in enumerate(points.unbind(-1))]
        return (torch.stack(out, -1),), log_det

    def _knots(self, points, conditions):
        """Compute knots of each spline: (n, 3 (bins + 1), k), or (n, 3 (bins + 1), 1) without input parameters."""
        seen = self.seen(conditions).unsqueeze(1)
        if not self.given:
            return self._network(seen)
        if self.training:
            hats = torch.cat([self._hat(points[..., index]) for index in self.given], -1)
            return self._network(seen + hats @ torch.cat(list(self.embedding)))
        places = [self._place(points[..., index]) for index in self.given]
        if len(self.given) > 1:
            return self._network(seen + self._embedded(places))
        (left, part), embedding = places[0], self.embedding[0]
        if 2 * left.shape[1] > self.knots:  # more interval ends than knots
            start = (torch.arange(len(left), device=left.device) * (self.knots + 1))[:, None] + left
            rows = [spline.mT.flatten(0, 1) for spline in self._network(seen + embedding)]
            return [torch.lerp(_rows(each, start), _rows(each, start + 1), part).mT for each in rows]
        splines = self._network(seen + _rows(embedding, torch.cat([left, left + 1], 1)))
        return [torch.lerp(*spline.chunk(2, -1), part.mT) for spline in splines]

    def _embedded(self, places):
        """Sum the embeddings, (n, k, width), in one pass because memory bandwidth is the limit."""
        first = torch.arange(len(places), device=places[0][0].device) * (self.knots + 1)
        left = torch.stack([left for left, _ in places], -1) + first
        part = torch.cat([part for _, part in places], -1)
        rows, weights = torch.cat([left, left + 1], -1), torch.cat([1 - part, part], -1)
        total = functional.embedding_bag(rows.flatten(0, 1), torch.cat(list(self.embedding)), mode="sum",
                                         per_sample_weights=weights.flatten(0, 1))
        return total.unflatten(0, left.shape[:2])

    def _network(self, hidden):
        """Compute knots of each spline, (n, 3 (bins + 1), k), from hidden values (n, k, width)."""
        last = functional.silu(self.hidden(hidden))
        last = torch.addmm(self.last.bias[:, None], self.last.weight, last.flatten(0, 1).T)
        last = last.unflatten(1, hidden.shape[:2]).movedim(0, 1)
        return [spline_knots(part) for part in last.chunk(self.splines, 1)]

    def _place(self, unit):
        """Find the knot below each point of the unit interval, and the fractional distance to the next."""
        position = unit * self.knots
        left = position.detach().long().clamp(0, self.knots - 1)
        return left, (position - left).unsqueeze(-1)

    def _hat(self, unit):
        """Compute weights of the knots at each point, as `_place`, in a form with a fast gradient."""
        knots = torch.arange(self.knots + 1, dtype=unit.dtype, device=unit.device)
        return (1 - (unit.unsqueeze(-1) * self.knots - knots).abs()).clamp(min=0)

    def output_dims(self, input_dims: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Return the dimensions unchanged."""
        return input_dims


class SplineFlow(Flow):
    """Flow of spline blocks on the unit cube, with all draws inside the bounds.

    Parameters
    ----------
    spec : SplineSpec

    Notes
    -----
    theta -> unit cube -> one block for each parameter in ``spec.order`` ->
    uniform.  The inputs of block i are the conditions and the parameters of previous
    blocks, in their own (scaled) units.
    """

    kind, formula = "cinn-spline", 2

    def __init__(self, spec: SplineSpec):
        super().__init__()
        if spec.kind != self.kind or spec.formula != self.formula:
            raise ValueError(f"this version of clusterpost has no flow {spec.kind!r}, formula {spec.formula}")
        self.spec = spec
        self.box = UnitBox(spec.low, spec.high)
        self.standardize = Standardize(spec.n_conditions)
        self.inn = Ff.SequenceINN(spec.n_parameters)
        # In the direction of the density, the last block comes first, because it needs the others untransformed.
        for i in reversed(range(spec.n_parameters)):
            self.inn.append(SplineBlock, cond=0, cond_shape=(spec.n_seen,), component=spec.order[i],
                            given=spec.order[:i], width=spec.width[i], depth=spec.depth[i], bins=spec.bins[i],
                            splines=spec.splines[i], knots=spec.knots)

    def base(self, unit: torch.Tensor) -> torch.Tensor:
        """Return the points unchanged, because the base distribution is uniform."""
        return unit

    def _density(self, theta, standard):
        _, log_det = self._run(self.box(theta).clamp(0, 1), standard, rev=False)
        inside = ((theta >= self.box.low) & (theta <= self.box.high)).all(-1)
        return torch.where(inside, log_det - self.box.log_volume, -torch.inf)

    def _invert(self, z, standard):
        unit, log_det = self._run(z, standard, rev=True)
        return self.box.inverse(unit), -log_det - self.box.log_volume

    def _run(self, points, standard, *, rev):
        """Pass through the graph, several objects at a time."""
        if self.training or points.device.type != "cpu":
            return self.inn(points, [standard], rev=rev)
        size = max(1, _POINTS_PER_PASS // points.shape[1])
        parts = [self.inn(part, [some], rev=rev)
                 for part, some in zip(points.split(size), standard.split(size), strict=True)]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def _names(self):
        yield from ((name, name) for name in ("box.low", "box.high", "standardize.shift", "standardize.scale"))
        last = self.spec.n_parameters - 1
        for i in range(self.spec.n_parameters):
            block = f"inn.module_list.{last - i}."
            for j in range(i):
                yield f"block{i}.embedding{j}", f"{block}embedding.{j}"
            for part in ("weight", "bias"):
                yield f"block{i}.seen.{part}", f"{block}seen.{part}"
                yield f"block{i}.last.{part}", f"{block}last.{part}"
                for layer in range(self.spec.depth[i]):
                    for half in ("first", "second"):
                        yield f"block{i}.hidden{layer}.{half}.{part}", f"{block}hidden.{layer}.{half}.{part}"
