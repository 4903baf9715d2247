"""Draws of a density thinned to follow another that is lower in places.

What a flow learned may be a part of the posterior only: a factor that depends on
brightness or prior (how much of the mass's range is left) is known beforehand,
and draws are kept in proportion to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .weights import effective, log_mean, normalized, threshold

__all__ = ["Tilt", "times_as_many"]

_EVEN = 0.95  # effective share of draws weighted by the factor, above which they are left as they are
_MOST = 16
_DEFENSIVE = 0.1  # share of the draws that are not tilted


@dataclass
class Tilt:
    """How draws were thinned: of ``times`` as many, one is kept with probability min(1, scale (factor + floor)).

    Attributes
    ----------
    times, log_scale, log_floor : Tensor (n,)
        1 and infinity where all were kept.  The floor sees to it that a tenth of
        the draws are not tilted: should the flow be wrong, these are there to tell.
    """

    times: torch.Tensor
    log_scale: torch.Tensor
    log_floor: torch.Tensor

    @classmethod
    def none(cls, like):
        """Of the clusters of another tensor (n, ...), none is thinned."""
        endless = like.new_full((len(like),), torch.inf, dtype=torch.float64)
        return cls(torch.ones_like(endless), endless, endless.clone())

    @classmethod
    def of(cls, log_factor, n_kept):
        """The tilt of draws with these factors (n, k), and which ``n_kept`` of them are kept.

        Parameters
        ----------
        log_factor : Tensor (n, k)
        n_kept : int

        Returns
        -------
        tilt : Tilt
        weight : Tensor (n, k)
            In proportion to which to keep them, adding up to one.
        """
        log_floor = log_mean(log_factor) + math.log(_DEFENSIVE / (1 - _DEFENSIVE))
        floored = torch.logaddexp(log_factor.double(), log_floor[:, None])
        weight = normalized(floored)
        log_scale = -threshold(weight, n_kept)[:, 0].log() - torch.logsumexp(floored, -1)
        return cls(torch.full_like(log_scale, log_factor.shape[1] / n_kept), log_scale, log_floor), weight

    def __getitem__(self, rows):
        return Tilt(*(values[rows] for values in vars(self).values()))

    def __setitem__(self, rows, other):
        for name, values in vars(self).items():
            values[rows] = getattr(other, name)

    def log_density(self, log_factor):
        """What is added to the log density of draws that have these factors.

        Parameters
        ----------
        log_factor : Tensor (n, k)

        Returns
        -------
        Tensor (n, k)
        """
        result = torch.zeros_like(log_factor)
        thinned = torch.isfinite(self.log_scale).nonzero()[:, 0]
        if len(thinned):
            tilt = self[thinned]
            kept = torch.logaddexp(log_factor[thinned].double(), tilt.log_floor[:, None]) + tilt.log_scale[:, None]
            result[thinned] = (kept.clamp(max=0.0) + tilt.times.log()[:, None]).to(result)
        return result


def times_as_many(log_factor):
    """How many times as many draws are to be thinned.

    Parameters
    ----------
    log_factor : Tensor (n, k)
        Of some draws.

    Returns
    -------
    Tensor of int (n,)
        A power of two up to 16; 1 where the factor is even enough.
    """
    weight = normalized(log_factor)
    wanted = weight.amax(-1) * weight.shape[-1]
    times = 2 ** torch.ceil(torch.log2(1.1 * wanted)).clamp(1, math.log2(_MOST)).long()
    return torch.where(effective(weight) > _EVEN * weight.shape[-1], 1, times)
