"""Network of Walter et al. (2025): affine coupling blocks, built with FrEIA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import FrEIA.framework as Ff
import FrEIA.modules as Fm
import torch
from msgspec import Meta
from torch import nn

from .base import Bounds, Depth, Flow, Index, Size, Spec, check_order, count_dense, log_normal
from .transforms import ProbitBox, Standardize

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AffineFlow", "AffineSpec", "Permute", "choose_permutations"]

_POINTS_PER_PASS = 8192  # limit for the processor cache
_EDGE = 2.0**-24  # keeps points of the unit cube away from its faces


@dataclass(frozen=True)
class AffineSpec(Spec):
    """Architecture of an affine flow, stored in the model file.

    Attributes
    ----------
    n_parameters, n_conditions : int
    low, high : tuple of float
        Bounds of the parameters.
    permutations : tuple of tuple of int
        Order of the components after each coupling block, one per block.
    width, depth : int
        Neurons per hidden layer and number of hidden layers of each subnetwork.
    clamp : float
        Bound of the log scale of a coupling, +-clamp.
    kind : str
        ``cinn-affine``.
    formula : int
        Version of the formulas below; it changes if the same weights would
        define another function.
    """

    n_parameters: Size
    n_conditions: Size
    low: Bounds
    high: Bounds
    permutations: tuple[tuple[Index, ...], ...]
    width: Size = 256
    depth: Depth = 2
    clamp: Annotated[float, Meta(gt=0, le=100)] = 2.0
    kind: str = "cinn-affine"
    formula: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for order in self.permutations:
            check_order(order, self.n_parameters)

    def count_weights(self) -> int:
        """Compute the number of trained weights, without building the network."""
        first = self.n_parameters // 2
        halves = (first, self.n_parameters - first)
        hidden = [self.width] * self.depth
        each = sum(count_dense([given + self.n_conditions, *hidden, 2 * moved])
                   for given, moved in (halves, halves[::-1]))
        return len(self.permutations) * each


class Permute(Fm.InvertibleModule):
    """Fixed permutation of the components, given instead of drawn.

    FrEIA's own permutations store their order in buffers whose layout differs
    between versions.
    """

    def __init__(self, dims_in: list[tuple[int, ...]], dims_c: Sequence[tuple[int, ...]] | None = None,
                 order: tuple[int, ...] = ()):
        super().__init__(dims_in, dims_c)
        self.order = list(order)
        self.inverse = [self.order.index(i) for i in range(len(self.order))]

    def forward(self, x: tuple[torch.Tensor, ...], c: tuple = (), rev: bool = False,
                jac: bool = True) -> tuple[tuple[torch.Tensor, ...], float]:
        """Reorder the components; the Jacobian is one."""
        parts = x[0].unbind(1)
        return (torch.stack([parts[i] for i in (self.inverse if rev else self.order)], 1),), 0.0

    def output_dims(self, input_dims: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Return the dimensions unchanged."""
        return input_dims


def choose_permutations(n_parameters: int, n_blocks: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Choose fixed random permutations other than the identity.

    Parameters
    ----------
    n_parameters, n_blocks, seed : int

    Returns
    -------
    tuple of tuple of int
    """
    generator = torch.Generator().manual_seed(seed)
    identity = tuple(range(n_parameters))
    chosen = []
    while len(chosen) < n_blocks:
        order = tuple(torch.randperm(n_parameters, generator=generator).tolist())
        if order != identity or n_parameters == 1:
            chosen.append(order)
    return tuple(chosen)


def _subnetwork(width, depth):
    def build(n_in, n_out):
        layers, size = [], n_in
        for _ in range(depth):
            layers += [nn.Linear(size, width), nn.ReLU()]
            size = width
        last = nn.Linear(size, n_out)
        nn.init.zeros_(last.weight)  # the untrained flow is the identity, which is the prior
        nn.init.zeros_(last.bias)
        return nn.Sequential(*layers, last)

    return build


class AffineFlow(Flow):
    """Conditional invertible neural network of Walter et al. (2025).

    Parameters
    ----------
    spec : AffineSpec

    Notes
    -----
    theta -> probit box -> coupling blocks (their Eqs. 5-7; FrEIA's
    ``GLOWCouplingBlock``) with permutations between them -> standard normal.
    """

    def __init__(self, spec: AffineSpec):
        super().__init__()
        if spec.kind != "cinn-affine" or spec.formula != 1:
            raise ValueError(f"this version of clusterpost has no flow {spec.kind!r}, formula {spec.formula}")
        self.spec = spec
        self.box = ProbitBox(spec.low, spec.high)
        self.standardize = Standardize(spec.n_conditions)
        self.inn = Ff.SequenceINN(spec.n_parameters)
        for order in spec.permutations:
            self.inn.append(Fm.GLOWCouplingBlock, cond=0, cond_shape=(spec.n_conditions,), clamp=spec.clamp,
                            clamp_activation="ATAN", split_len=spec.n_parameters // 2,
                            subnet_constructor=_subnetwork(spec.width, spec.depth))
            self.inn.append(Permute, order=order)

    def base(self, unit: torch.Tensor) -> torch.Tensor:
        """Transform points of the unit cube to standard normal points."""
        return torch.special.ndtri(unit.clamp(_EDGE, 1 - _EDGE))

    def _density(self, theta, standard):
        x, log_box = self.box(theta)
        z, log_inn = self._run(x, standard, rev=False)
        inside = ((theta >= self.box.low) & (theta <= self.box.high)).all(-1)
        return torch.where(inside, log_normal(z) + log_inn + log_box, -torch.inf)

    def _invert(self, z, standard):
        x, log_inn = self._run(z, standard, rev=True)
        return self.box.inverse(x), log_normal(z) - log_inn + self.box.log_det(x)

    def _run(self, points, standard, *, rev):
        """Pass through the graph, which supports no second axis."""
        n, k, _ = points.shape
        every = points.flatten(0, 1).split(_POINTS_PER_PASS)
        owner = torch.arange(n, device=points.device).repeat_interleave(k).split(_POINTS_PER_PASS)
        parts = [self.inn(part, [standard[rows]], rev=rev) for part, rows in zip(every, owner, strict=True)]
        moved, log_det = (torch.cat(part) for part in zip(*parts, strict=True))
        return moved.unflatten(0, (n, k)), log_det.unflatten(0, (n, k))

    def _names(self):
        yield from ((name, name) for name in ("box.low", "box.high", "standardize.shift", "standardize.scale"))
        for block in range(len(self.spec.permutations)):
            # Eq. 5 transforms the first half with FrEIA's subnet2, Eq. 6 the second half with subnet1.
            for half, subnet in (("first", "subnet2"), ("second", "subnet1")):
                for layer in range(self.spec.depth + 1):
                    for part in ("weight", "bias"):
                        yield (f"block{block}.{half}.layer{layer}.{part}",
                               f"inn.module_list.{2 * block}.{subnet}.{2 * layer}.{part}")
