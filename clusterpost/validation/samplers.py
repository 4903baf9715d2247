"""Independent posterior draws of mocks, for simulation-based calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..flow.modelfile import load_model
from ..posterior.proposal import Draws, base_dimensions
from ..posterior.refine import n_base_points, refine
from ..posterior.sampler import Sampler
from ..posterior.weights import systematic_resample

if TYPE_CHECKING:
    from ..training.simulation import Mocks
    from ..typing import ModelLike

__all__ = ["PosteriorSampler"]

_WEIGHTED = 512  # number of weighted draws per mock


class PosteriorSampler:
    """Sampler of a model's posteriors, of the network alone or refined.

    Parameters
    ----------
    model : str, path or Model
    refine : bool, optional
        Whether to refine; by default if the model's family has a likelihood.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler
    >>> sampler = PosteriorSampler("walter2025", refine=False)
    >>> generator = torch.Generator().manual_seed(0)
    >>> mocks = Simulator.of(sampler.model).draw(5, generator)
    >>> sampler(mocks, 10, generator).shape
    torch.Size([5, 10, 3])
    """

    def __init__(self, model: ModelLike, *, refine: bool | None = None):
        self.model = load_model(model)
        self._inner = Sampler(self.model, refined=refine, n_samples=_WEIGHTED, seed=0)
        self.refine = self._inner.refined

    def __call__(self, mocks: Mocks, n_draws: int, generator: torch.Generator) -> torch.Tensor:
        """Draw from the posteriors of mocks.

        Parameters
        ----------
        mocks : Mocks
        n_draws : int
        generator : torch.Generator
            Random generator; every mock and draw uses its own random numbers.

        Returns
        -------
        Tensor (n, n_draws, 3)
        """
        return self._drawn(mocks, n_draws, generator)[0].theta

    def draw(self, mocks: Mocks, n_draws: int,
             generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw, and return the normalized log density of the draws and of the truth.

        Parameters
        ----------
        mocks, n_draws, generator
            As for a call, which returns the same draws.

        Returns
        -------
        theta : Tensor (n, n_draws, 3)
        log_q : Tensor (n, n_draws)
            Density of the network including mass, or likelihood times prior over the evidence.
        log_q_truth : Tensor (n,)
        """
        draws, log_evidence = self._drawn(mocks, n_draws, generator)
        truth = self._log_prob(self._observed(mocks), mocks.theta[:, None])
        return draws.theta, draws.log_q, truth[:, 0] - log_evidence

    def log_prob(self, mocks: Mocks, theta: torch.Tensor) -> torch.Tensor:
        """Return the log density of points; refined densities lack a constant per mock, the log evidence.

        Parameters
        ----------
        mocks : Mocks
        theta : Tensor (n, k, 3)

        Returns
        -------
        Tensor (n, k)
            Density of the network, or log likelihood plus log prior; -inf outside the prior.
        """
        return self._log_prob(self._observed(mocks), theta)

    def _log_prob(self, observed, theta):
        theta, inner = theta.to(self.model.device), self._inner
        if self.refine:
            return inner.target(observed).log_density(theta)
        low, high = inner.prior.low.to(theta), inner.prior.high.to(theta)
        inside = torch.minimum(torch.maximum(theta, low), high)
        density = inner.proposal.log_prob(observed, self._encode(observed), inside)
        return torch.where(inner.prior.inside(theta), density, -torch.inf)

    def _observed(self, mocks):
        return mocks.to(self.model.device)

    def _encode(self, observed):
        return self.model.encode(observed)

    def _drawn(self, mocks, n_draws, generator):
        """Return draws with their normalized log density, and the log evidence."""
        device, inner, observed = self.model.device, self._inner, self._observed(mocks)
        conditions, n, d = self._encode(observed), len(mocks.theta), base_dimensions(inner.prior)
        size, more = (n_base_points(_WEIGHTED), _WEIGHTED) if self.refine else (n_draws, 0)
        # All random numbers of a mock are in one row, so that its draws do not depend on other mocks.
        unit = torch.rand(n, size * d + more, generator=generator).clamp(1e-7, 1 - 1e-7).to(device)
        unit, order = unit[:, :size * d].reshape(n, size, d), unit[:, size * d:]
        if not self.refine:
            return inner.proposal.draw(observed, conditions, unit), torch.zeros(n, device=device)
        draws = refine(inner.proposal, inner.target(observed), conditions,
                       lambda rows, start, stop: unit[rows, start:stop], n_samples=_WEIGHTED, mcmc=False)
        # Systematic resampling in a random order: with replacement, ranks would show the finite number of weighted
        # draws (for 512 even weights, a tenth too many ranks 0 and 100 among 100 draws).
        index = systematic_resample(draws.weight.double(), n_draws, order)
        return Draws(draws.theta.take_along_dim(index[..., None], 1),
                     draws.normalized.take_along_dim(index, 1)), draws.log_evidence
