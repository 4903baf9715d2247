"""Masked autoregressive flows of rational-quadratic splines (Durkan et al. 2019); built with zuko."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..utils import require
from .base import Size, count_dense
from .maf import MafFlow, MafSpec, log_normal

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

    def _invert(self, z, standard):
        if torch.is_grad_enabled():  # what follows writes into its tensors
            return super()._invert(z, standard)
        x, log_det = z, 0.0
        for block in reversed(self.blocks.transforms):
            x, one = _invert_block(block, x, standard)
            log_det = log_det + one
        return self.box.inverse(x), log_normal(z) + log_det + self.box.log_det(x)


def _invert_block(block, y, standard):
    """Find the x of which the block makes y (n, k, n_parameter), and ln of the determinant of dy/dx.

    The parameters follow one after the other, and a unit of the network is computed once, as soon as all that it
    depends on is known; zuko computes every unit anew for each parameter.
    """
    n = y.shape[-1]
    layers = [layer for layer in block.hyper if hasattr(layer, "mask")]
    weights = [layer.mask * layer.weight for layer in layers]
    # Step at which each input is known, and each unit of the hidden layers can be; conditions are known from the start.
    known = torch.cat([block.order + 1, block.order.new_zeros(standard.shape[-1])])
    ready = []
    for layer in layers[:-1]:
        known = torch.where(layer.mask, known, 0).amax(1)
        ready.append(known)
    constant = (standard @ weights[0][:, n:].T + layers[0].bias)[:, None]
    x, log_det = torch.zeros_like(y), torch.zeros_like(y[..., 0])
    hidden = [y.new_zeros(*y.shape[:-1], len(layer.bias)) for layer in layers[:-1]]
    for step in range(n):
        for i, units in enumerate((steps == step).nonzero()[:, 0] for steps in ready):
            given, weight = (x, weights[0][units, :n]) if i == 0 else (hidden[i - 1], weights[i][units])
            bias = constant[..., units] if i == 0 else layers[i].bias[units]
            hidden[i][..., units] = torch.relu(given @ weight.T + bias)
        j = int((block.order == step).nonzero())
        rows = slice(j * block.total, (j + 1) * block.total)
        phi = hidden[-1] @ weights[-1][rows].T + layers[-1].bias[rows]
        spline = block.univariate(*phi.split([shape.numel() for shape in map(torch.Size, block.shapes)], -1))
        x[..., j] = spline.inv(y[..., j])
        log_det += spline.log_abs_det_jacobian(x[..., j], y[..., j])
    return x, log_det
