"""A problem whose posterior is known: theta normal, observed once with normal noise."""

import torch

from clusterpost.training.simulation import Mocks

MEAN = torch.tensor([2.0, 4.0, 0.7])
WIDTH = torch.tensor([0.5, 1.0, 0.2])


class ConjugateSimulator:
    """theta normal, observed once with normal noise."""

    def draw(self, n, generator):
        theta = MEAN + WIDTH * torch.randn(n, 3, generator=generator)
        error = WIDTH * torch.empty(n, 3).uniform_(0.3, 2.0, generator=generator)
        flux = theta + error * torch.randn(n, 3, generator=generator)
        seen = torch.ones(n, 3, dtype=torch.bool)
        return Mocks(flux, error, seen, ~seen, {}, theta)


class ConjugateSampler:
    """The exact posterior, or one that is shifted (in half-widths) or widened."""

    def __init__(self, shift=0.0, widen=1.0):
        self.shift, self.widen, self.largest = shift, widen, 0

    def __call__(self, mocks, n_draws, generator):
        z = torch.randn(len(mocks.flux), n_draws, 3, generator=generator)
        self.largest = max(self.largest, z.shape[0] * n_draws)
        mean, width = self.posterior(mocks)
        return mean[:, None] + width[:, None] * z

    def draw(self, mocks, n_draws, generator):
        theta = self(mocks, n_draws, generator)
        return theta, self.log_prob(mocks, theta), self.log_prob(mocks, mocks.theta[:, None])[:, 0]

    def log_prob(self, mocks, theta):
        mean, width = self.posterior(mocks)
        return torch.distributions.Normal(mean[:, None], width[:, None]).log_prob(theta).sum(-1)

    def posterior(self, mocks):
        precision = WIDTH**-2 + mocks.error**-2
        mean, width = (MEAN / WIDTH**2 + mocks.flux / mocks.error**2) / precision, precision**-0.5
        return mean + self.shift * width, self.widen * width
