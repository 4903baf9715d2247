"""Masked autoregressive flows (Papamakarios et al. 2017) as in SEDflow, built with zuko."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..utils import require
from .base import Bounds, Depth, Flow, Size, Spec, count_dense, log_normal
from .transforms import ProbitBox, Standardize

__all__ = ["MafFlow", "MafSpec"]

_EDGE = 2.0**-24  # keeps points of the unit cube away from its faces


@dataclass(frozen=True)
class MafSpec(Spec):
    """Architecture of a masked autoregressive flow, stored in the model file.

    Attributes
    ----------
    n_parameters, n_conditions : int
    low, high : tuple of float
        Bounds of the parameters.
    blocks : int
        Number of autoregressive transforms, each in reverse order of the previous one;
        15 in SEDflow (Hahn & Melchior 2022, Sect. 3.3).
    width, depth : int
        Neurons per hidden layer and number of hidden layers of each; 500 and 2 in SEDflow.
    kind : str
        ``maf``.
    formula : int
        Version of the formulas below.
    """

    n_parameters: Size
    n_conditions: Size
    low: Bounds
    high: Bounds
    blocks: Size = 15
    width: Size = 500
    depth: Depth = 2
    kind: str = "maf"
    formula: int = 1

    def count_weights(self) -> int:
        """Compute the number of trained weights, without building the network."""
        hidden = [self.width] * self.depth
        return self.blocks * count_dense([self.n_parameters + self.n_conditions, *hidden, 2 * self.n_parameters])


class MafFlow(Flow):
    """Masked autoregressive flow with draws inside the bounds.

    Parameters
    ----------
    spec : MafSpec

    Raises
    ------
    ImportError
        If zuko is not installed.

    Notes
    -----
    theta -> probit box -> affine autoregressive transforms -> standard normal.
    SEDflow has no such box, so some of its draws are outside its prior.
    """

    #: Type of its architecture.
    kind = "maf"

    def __init__(self, spec: MafSpec):
        super().__init__()
        if spec.kind != self.kind or spec.formula != 1:
            raise ValueError(f"this version of clusterpost has no flow {spec.kind!r}, formula {spec.formula}")
        self.spec = spec
        self.box = ProbitBox(spec.low, spec.high)
        self.standardize = Standardize(spec.n_conditions)
        self.blocks = self._transforms(spec)
        for block in self.blocks.transforms:
            nn.init.zeros_(block.hyper[-1].weight)  # the untrained flow is the identity, which is the prior
            nn.init.zeros_(block.hyper[-1].bias)

    @staticmethod
    def _transforms(spec):
        return require("zuko", "maf").flows.MAF(spec.n_parameters, spec.n_conditions, transforms=spec.blocks,
                                                hidden_features=(spec.width,) * spec.depth).transform

    def base(self, unit: torch.Tensor) -> torch.Tensor:
        """Transform points of the unit cube to standard normal points."""
        return torch.special.ndtri(unit.clamp(_EDGE, 1 - _EDGE))

    def _density(self, theta, standard):
        x, log_box = self.box(theta)
        z, log_det = self.blocks(standard[:, None]).call_and_ladj(x)
        inside = ((theta >= self.box.low) & (theta <= self.box.high)).all(-1)
        return torch.where(inside, log_normal(z) + log_det + log_box, -torch.inf)

    def _invert(self, z, standard):
        x, log_det = self.blocks(standard[:, None]).inv.call_and_ladj(z)
        return self.box.inverse(x), log_normal(z) - log_det + self.box.log_det(x)

    def _names(self):
        yield from ((name, name) for name in ("box.low", "box.high", "standardize.shift", "standardize.scale"))
        for block in range(self.spec.blocks):
            theirs = f"blocks.transforms.{block}."
            yield f"block{block}.order", f"{theirs}order"
            for layer in range(self.spec.depth + 1):
                for part in ("weight", "bias", "mask"):
                    yield f"block{block}.layer{layer}.{part}", f"{theirs}hyper.{2 * layer}.{part}"
