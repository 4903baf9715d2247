"""Independent posterior draws of mocks, as simulation-based calibration asks for."""

from __future__ import annotations

import torch

from ..flow.modelfile import load_model
from ..noise import get_noise
from ..posterior.proposal import base_dimensions
from ..posterior.refine import n_base_points, refine
from ..posterior.sampler import Sampler
from ..posterior.target import Observed
from ..training.simulation import Simulator

__all__ = ["PosteriorSampler"]

_WEIGHTED = 512  # draws that are weighted for each mock


class PosteriorSampler:
    """A model's posteriors, alone or refined.

    Parameters
    ----------
    model : str, path or Model
    refine : bool

    Examples
    --------
    >>> import torch
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler
    >>> sampler = PosteriorSampler("walter2025", refine=False)
    >>> generator = torch.Generator().manual_seed(0)
    >>> mocks = Simulator.from_dict(sampler.model.card["simulator"]).draw(5, generator)
    >>> sampler(mocks, 10, generator).shape
    torch.Size([5, 10, 3])
    """

    def __init__(self, model, *, refine=True):
        self.model, self.refine = load_model(model), refine
        simulator = Simulator.from_dict(self.model.card["simulator"]).to(self.model.device)
        self._inner = Sampler(self.model, simulator.table, get_noise(simulator.noise), simulator.prior, refined=refine,
                              n_samples=_WEIGHTED, seed=0)

    def __call__(self, mocks, n_draws, generator):
        """Draw.

        Parameters
        ----------
        mocks : Mocks
        n_draws : int
        generator : torch.Generator
            Every mock and draw has random numbers of its own.

        Returns
        -------
        Tensor (n, n_draws, 3)
        """
        device, inner = self.model.device, self._inner
        observed = Observed(mocks.flux, mocks.error, mocks.measured, torch.zeros_like(mocks.measured),
                            mocks.distance).to(device)
        conditions = self.model.encode(observed.flux, observed.error, observed.measured, observed.distance)
        n, size = len(mocks.theta), n_base_points(_WEIGHTED) if self.refine else n_draws
        unit = torch.rand(n, size, base_dimensions(inner.prior), generator=generator).clamp(1e-7, 1 - 1e-7).to(device)
        if not self.refine:
            return inner.proposal.draw(observed, conditions, unit).theta
        draws = refine(inner.proposal, inner.target(observed), conditions,
                       lambda rows, start, stop: unit[rows, start:stop], n_samples=_WEIGHTED, mcmc=False)
        index = torch.multinomial(draws.weight.double().cpu(), n_draws, replacement=True, generator=generator)
        return draws.theta.take_along_dim(index.to(device)[..., None], 1)
