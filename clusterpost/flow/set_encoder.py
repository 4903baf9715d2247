"""Spline flows for sets of measurements: one network for any bands, including upper limits.

Each measured band is a token, independent of the other bands. Sums and averages of the tokens
form a context, which determines the splines of `clusterpost.flow.spline`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from .base import Size, count_dense
from .context import ContextSpec, ContextSplineFlow
from .spline import Residual

__all__ = ["SetSpec", "SetSplineFlow", "TokenEncoder"]

_FEATURES = 5  # features of a token
_GLOBALS = 3  # conditions of the object, not of a band


@dataclass(frozen=True)
class SetSpec(ContextSpec):
    """Architecture of a spline flow on a set of bands, stored in the model file.

    Attributes
    ----------
    n_parameters, n_conditions, low, high, order, width, depth, bins, splines, knots, formula, coordinates
        As for `~clusterpost.flow.context.ContextSpec`; the conditions are those of
        `~clusterpost.families.encoders.SetConditions`, three for each band and three more.
    context, context_depth : int
        Likewise, for the network after the sum over tokens.
    token : int
        Number of neurons of a token, even.
    kind : str
        ``set-spline``.
    """

    kind: str = "set-spline"
    token: Size = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.n_conditions - _GLOBALS) % 3 or self.n_conditions <= _GLOBALS:
            raise ValueError(f"the conditions are three per band and {_GLOBALS} more, not {self.n_conditions}")
        if self.token % 2:
            raise ValueError(f"a token must have an even number of neurons, not {self.token}")

    @property
    def n_bands(self) -> int:
        """Maximum number of bands."""
        return (self.n_conditions - _GLOBALS) // 3

    def _count_context(self):
        half = self.token // 2
        tokens = self.n_bands * (_FEATURES + 1) * self.token + count_dense([half, half, half])
        merge = count_dense([2 * self.token + _GLOBALS, self.context])
        return tokens + merge + self.context_depth * count_dense([self.context] * 3)


class TokenEncoder(nn.Module):
    """Network that summarizes a set of measurements.

    Parameters
    ----------
    spec : SetSpec

    Notes
    -----
    A token is (d, d|d|, ln s, d/s, limit) with the deviation d of ln flux from the object's mean, its error s, and a
    mark of upper limits. Each band has its own first layer; half of its output passes through a network shared by all
    bands, the other half bypasses it. Sum and mean over the bands, with brightness, total weight, and number of bands,
    form the context.
    """

    def __init__(self, spec: SetSpec):
        super().__init__()
        self.n_bands, half = spec.n_bands, spec.token // 2
        self.most_recorded = spec.n_bands
        self.first = nn.Parameter(torch.randn(spec.n_bands, _FEATURES, spec.token) / math.sqrt(_FEATURES))
        self.bias = nn.Parameter(0.3 * torch.randn(spec.n_bands, spec.token))
        self.shared = nn.Sequential(nn.SiLU(), nn.Linear(half, half), nn.SiLU(), nn.Linear(half, half))
        self.merge = nn.Linear(2 * spec.token + _GLOBALS, spec.context)
        self.hidden = nn.Sequential(*(Residual(spec.context) for _ in range(spec.context_depth)))

    def forward(self, conditions: torch.Tensor) -> torch.Tensor:
        """Encode conditions.

        Parameters
        ----------
        conditions : Tensor (n, 3 n_band + 3)
            Output of `~clusterpost.families.encoders.SetConditions`.

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
        bent = torch.einsum("nbf,bfw->nbw", features, self.first[..., :half]) + self.bias[:, :half]
        which = torch.topk(there, self._most_bands(there), dim=1)
        bent = self.shared(torch.gather(bent, 1, which.indices[..., None].expand(-1, -1, half)))
        total = torch.cat([(bent * which.values[..., None]).sum(1), straight + there @ self.bias[:, half:]], 1)
        mean = total / there.sum(1, keepdim=True).clamp(min=1)
        # Scaled to order unity: the brightness of clusters at 10 pc spans 25 in ln mJy around 20.
        rest = torch.stack([(brightness - 20) / 6, (ln_weight - 6) / 3, (number - 5) / 3], 1)
        return self.hidden(self.merge(torch.cat([total / 5, mean, rest], 1)))

    def _most_bands(self, there):
        """Return the maximum number of measured bands per object, which limits the work of the shared layers.

        The number is not available while a CUDA graph is recorded; then `most_recorded` is used.
        """
        if there.is_cuda and torch.cuda.is_current_stream_capturing():
            return self.most_recorded
        return int(there.sum(1).max())


class SetSplineFlow(ContextSplineFlow):
    """Spline flow whose blocks use the context of a set of bands.

    Parameters
    ----------
    spec : SetSpec

    Examples
    --------
    >>> from clusterpost.flow.set_encoder import SetSpec, SetSplineFlow
    >>> spec = SetSpec(n_parameters=2, n_conditions=9, low=(0, 2), high=(4, 7),
    ...                order=(0, 1), width=(8, 8),
    ...                depth=(1, 1), bins=(4, 4), splines=(1, 1), knots=8,
    ...                coordinates=("linear", "amplitude"),
    ...                token=8, context=8)
    >>> flow = SetSplineFlow(spec)
    >>> sum(weights.numel() for weights in flow.parameters()) == spec.count_weights()
    True
    """

    kind, formula = "set-spline", 1
    encoder = "tokens"
    _make_encoder = TokenEncoder

    def set_from(self, theta: torch.Tensor, conditions: torch.Tensor) -> None:
        """Set scales and the maximum number of bands; see `~clusterpost.flow.context.ContextSplineFlow.set_from`."""
        super().set_from(theta, conditions)
        self.tokens.most_recorded = int(conditions[:, -1].max())

    def _raw(self, standard):
        """Return the conditions unchanged, because marks and brightness need no scaling."""
        return standard * self.standardize.scale + self.standardize.shift

    def _brightness(self, standard):
        return self._raw(standard)[:, -_GLOBALS, None]

    def _summary(self, standard):
        return self.tokens(self._raw(standard))
