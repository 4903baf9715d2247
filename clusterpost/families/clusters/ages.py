"""Age grid of Walter et al. (2025): photometry at whole Myr."""

from __future__ import annotations

import torch

from ...priors import BoxPrior

__all__ = ["WholeMyrPrior", "at_whole_myr"]


class WholeMyrPrior(BoxPrior):
    """Box prior that spreads drawn ages uniformly within their whole Myr.

    Notes
    -----
    The density is that of the box; the difference, within half a Myr, is ignored as in the paper.
    """

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw ``n`` parameter vectors; see `~clusterpost.priors.BoxPrior.sample`."""
        theta = super().sample(n, generator)
        myr = torch.round(10 ** theta[:, 0])
        youngest, oldest = (10 ** end[0].to(myr) for end in (self.low, self.high))
        low, high = (myr - 0.5).clamp(min=youngest), torch.minimum(myr + 0.5, oldest)
        age = torch.lerp(low, high, torch.rand(n, generator=generator, device=myr.device))
        theta[:, 0] = torch.log10(age).clamp(float(self.low[0]), float(self.high[0]))
        return theta


def at_whole_myr(theta: torch.Tensor) -> torch.Tensor:
    """Round the age to whole Myr, at least 1.

    Parameters
    ----------
    theta : Tensor (..., n_parameter)
        log10 age/Myr first.

    Returns
    -------
    Tensor (..., n_parameter)
    """
    whole = theta.clone()
    whole[..., 0] = torch.log10(torch.round(10 ** theta[..., 0]).clamp(min=1))
    return whole
