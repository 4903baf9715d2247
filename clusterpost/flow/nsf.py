"""Masked autoregressive flows of rational-quadratic splines (Durkan et al. 2019); built with zuko."""

from __future__ import annotations

from dataclasses import dataclass

from ..utils import require
from .base import Size, count_dense
from .maf import MafFlow, MafSpec

__all__ = ["NsfFlow", "NsfSpec"]


@dataclass(frozen=True)
class NsfSpec(MafSpec):
    """Architecture of an autoregressive flow of splines; written to the model file.

    Attributes
    ----------
    n_parameters, n_conditions, low, high, width, depth, formula
        As of `~clusterpost.flow.maf.MafSpec`.
    blocks : int
        Autoregressive transforms.
    bins : int
        Of each spline.
    kind : str
        ``nsf``.
    """

    blocks: Size = 3
    width: Size = 160
    kind: str = "nsf"
    bins: Size = 8

    def count_weights(self):
        """Compute the number of trained weights, without building the network."""
        sizes = [self.n_parameters + self.n_conditions, *[self.width] * self.depth,
                 (3 * self.bins - 1) * self.n_parameters]
        return self.blocks * count_dense(sizes)


class NsfFlow(MafFlow):
    """An autoregressive flow of splines whose draws lie inside the bounds.

    Parameters
    ----------
    spec : NsfSpec

    Raises
    ------
    ImportError
        If zuko is not installed.

    Notes
    -----
    theta -> probit box -> autoregressive rational-quadratic splines -> standard normal.

    Examples
    --------
    >>> from clusterpost.flow.nsf import NsfFlow, NsfSpec
    >>> flow = NsfFlow(NsfSpec(n_parameters=2, n_conditions=3, low=(0, 0), high=(1, 1), width=8))
    >>> sum(weights.numel() for weights in flow.parameters()) == flow.spec.count_weights()
    True
    """

    kind = "nsf"

    @staticmethod
    def _transforms(spec):
        return require("zuko", "maf").flows.NSF(spec.n_parameters, spec.n_conditions, bins=spec.bins,
                                                transforms=spec.blocks,
                                                hidden_features=(spec.width,) * spec.depth).transform
