"""The mass given everything else, and what the network is shown."""

import numpy as np
import pytest
import torch

from clusterpost.families.galaxies import Galaxies, GalaxiesWithYoungStars
from clusterpost.families.galaxies.encoder import ColorConditions
from clusterpost.families.galaxies.errors import nsa_errors
from clusterpost.noise import get_noise
from clusterpost.posterior.proposal import AmplitudeProposal
from clusterpost.training.simulation import Simulator, seeded_generator


class PriorFlow:
    """Draws everything but the mass from the prior."""

    def __init__(self, prior):
        self.low, self.width = prior.low[1:], (prior.high - prior.low)[1:]

    def draw(self, unit, conditions):
        theta = self.low + self.width * unit
        return theta, self.log_prob(theta, conditions)

    def log_prob(self, theta, conditions):
        return torch.full_like(theta[..., 0], -float(self.width.log().sum()))


@pytest.fixture(scope="module", params=[Galaxies, GalaxiesWithYoungStars])
def family(request):
    return request.param()


@pytest.fixture(scope="module")
def mocks(family):
    mocks = Simulator(family, errors=nsa_errors()).draw(40, seeded_generator(1))
    good = (mocks.theta[:, 0] > 8) & (mocks.theta[:, 0] < 11.5)  # away from the prior's bounds
    return mocks[good]


def test_density_of_the_mass_is_the_likelihood_s(family, mocks):
    """Log density plus a number of each galaxy and set of other parameters is the log likelihood."""
    theta = mocks.theta[:, None].expand(-1, 5, -1).clone()
    theta[..., 0] += torch.linspace(-0.02, 0.02, 5)
    amplitude = family.likelihood.amplitude(family.prior)
    density = amplitude.at(mocks, *theta[..., 1:].unbind(-1), None).log_prob(theta[..., 0])
    off = family.likelihood.log_prob(mocks, theta) - density
    torch.testing.assert_close(off, off[:, :1].expand_as(off), atol=0.02, rtol=0)


def test_draws_follow_the_density(family, mocks):
    others = mocks.theta[:, None, 1:].expand(-1, 2000, -1)
    unit = torch.rand(len(mocks), 2000, generator=seeded_generator(2))
    density = family.likelihood.amplitude(family.prior).at(mocks, *others.unbind(-1), None)
    log_mass, log_q = density.draw(unit)
    torch.testing.assert_close(density.log_prob(log_mass), log_q, atol=1e-2, rtol=0)
    # The truth is where the draws are, in their units.
    z = (mocks.theta[:, 0] - log_mass.mean(1)) / log_mass.std(1)
    assert z.std().item() == pytest.approx(1, abs=0.4)
    assert z.abs().max() < 5


def test_masses_stay_within_the_prior(family, mocks):
    flux = mocks.flux * 1e8  # brighter than any galaxy
    bright = type(mocks)(flux, mocks.error * 1e8, mocks.measured, mocks.limit, mocks.covariates, mocks.theta)
    others = mocks.theta[:, None, 1:].expand(-1, 10, -1)
    density = family.likelihood.amplitude(family.prior).at(bright, *others.unbind(-1), None)
    log_mass, _ = density.draw(torch.rand(len(mocks), 10, generator=seeded_generator(3)))
    assert (log_mass <= 12.5 + 1e-5).all()
    assert (log_mass > 12).all()


@pytest.mark.parametrize("noise", ["lognormal", "normal"])
def test_the_engine_takes_it(family, mocks, noise):
    """Importance weights of draws from the prior: the mass costs nothing, whatever the noise."""
    likelihood = family.likelihood.with_noise(get_noise(noise))
    proposal = AmplitudeProposal(PriorFlow(family.prior), likelihood, family.prior, defensive=0.0)
    points = torch.rand(len(mocks), 4000, len(family.parameters), generator=seeded_generator(4))
    draws = proposal.draw(mocks, torch.zeros(len(mocks), 1), points)
    assert draws.theta.shape == (len(mocks), 4000, len(family.parameters))
    torch.testing.assert_close(proposal.log_prob(mocks, torch.zeros(len(mocks), 1), draws.theta), draws.log_q,
                               atol=0.02, rtol=0)
    log_w = likelihood.log_prob(mocks, draws.theta) + family.prior.log_prob(draws.theta) - draws.log_q
    weight = torch.softmax(log_w, -1)
    mean = (weight * draws.theta[..., 0]).sum(-1)
    assert np.median((mean - mocks.theta[:, 0]).abs()) < 0.2


def test_conditions_do_not_know_the_mass(family, mocks):
    encoder = ColorConditions(5, 0.2)
    brighter = type(mocks)(7 * mocks.flux, 7 * mocks.error, mocks.measured, mocks.limit, mocks.covariates, mocks.theta)
    torch.testing.assert_close(encoder(brighter), encoder(mocks), atol=1e-5, rtol=0)
    assert encoder(mocks).shape == (len(mocks), encoder.size())
    redder = type(mocks)(mocks.flux * torch.tensor([1.0, 1, 1, 1, 2]), mocks.error, mocks.measured, mocks.limit,
                         mocks.covariates, mocks.theta)
    assert ((encoder(redder) - encoder(mocks)).abs().amax(1) > 0.1).all()


def test_conditions_of_fluxes_below_zero_are_finite(mocks):
    dark = type(mocks)(-mocks.flux, mocks.error, mocks.measured, mocks.limit, mocks.covariates, mocks.theta)
    assert torch.isfinite(ColorConditions(5, 0.2)(dark)).all()


def test_encoder_in_a_model_file(family):
    encoder = ColorConditions(5, 0.2)
    again = family.read_encoder(encoder.to_dict())
    assert again.to_dict() == encoder.to_dict()
    with pytest.raises(ValueError, match="does not know the conditions"):
        family.read_encoder({"name": "spectra"})
