"""Draws thinned in proportion to what the mass's prior leaves of each."""

import math

import pytest
import torch
from brute import UniformFlow, mocks

from clusterpost.noise import get_noise
from clusterpost.posterior.proposal import AmplitudeProposal
from clusterpost.posterior.target import Target
from clusterpost.posterior.tilt import Tilt, times_as_many
from clusterpost.posterior.weights import log_mean, log_weights, thinned
from clusterpost.priors import PowerLaw, ProductPrior


def unit(n, k, d):
    points = torch.quasirandom.SobolEngine(d, scramble=True, seed=0).draw(k).clamp(1e-6, 1 - 1e-6)
    return points.expand(n, -1, -1)


class TestTilt:
    x = torch.linspace(-3, 3, 40_000, dtype=torch.float64)[None]

    def test_thinned_draws_have_the_density_it_states(self):
        log_factor = -2 * (self.x - 1) ** 2
        tilt, share = Tilt.of(log_factor, 5000)
        index, _ = thinned(share, 5000, order=self.x)
        kept = self.x.take_along_dim(index, 1)
        log_density = tilt.log_density(log_factor) - math.log(6)
        assert torch.logsumexp(log_density, 1).exp().item() * 6 / 40_000 == pytest.approx(1, abs=1e-3)
        mean = (log_density.exp() * self.x).sum() * 6 / 40_000
        assert kept.mean().item() == pytest.approx(mean.item(), abs=2e-3)
        assert abs(kept.mean().item() - self.x.mean().item()) > 0.5  # it did something

    def test_a_tenth_is_not_tilted(self):
        log_factor = torch.where(self.x > 0, 0.0, -torch.inf)
        _, share = Tilt.of(log_factor, 5000)
        index, _ = thinned(share, 5000, order=self.x)
        below = (self.x.take_along_dim(index, 1) < 0).double().mean().item()
        assert below == pytest.approx(0.05, abs=1e-3)  # half of that tenth

    def test_where_all_are_kept_nothing_is_added(self):
        tilt = Tilt.none(self.x)
        assert (tilt.log_density(-(self.x**2)) == 0).all()

    def test_the_sharper_the_factor_the_more_draws(self):
        factors = torch.cat([torch.zeros_like(self.x), -0.1 * self.x**2, -2 * self.x**2, -400 * self.x**2])
        assert times_as_many(factors).tolist() == [1, 2, 8, 16]


BOUNDS = {"lower bound": ProductPrior(log_mass=PowerLaw(-1, 4.2, 8)),
          "mass function": ProductPrior(log_mass=PowerLaw(-2)),
          "distance": ProductPrior(log_mass=PowerLaw(-1, 4.2, 8), distance_error=0.1)}


def drawn(prior, k):
    _, observed, table = mocks(6, seed=3, error=(0.2, 0.3), mass=(4.0, 4.3))
    proposal = AmplitudeProposal(UniformFlow(), table, get_noise("lognormal"), prior)
    dimension = 4 if prior.distance_error else 3
    conditions = torch.zeros(6, 1)
    return proposal.draw(observed, conditions, unit(6, k, dimension)), proposal, observed, conditions, table


@pytest.mark.parametrize("name", BOUNDS)
def test_log_prob_is_what_draws_were_drawn_with(name):
    draws, proposal, observed, conditions, _ = drawn(BOUNDS[name], 2048)
    assert (draws.tilt.times > 1).any()
    again = proposal.log_prob(observed, conditions, draws.theta, draws.shift, tilt=draws.tilt)
    torch.testing.assert_close(again, draws.log_q, rtol=0, atol=2e-3)
    anew = proposal.log_prob(observed, conditions, draws.theta, draws.shift)
    assert 1e-4 < (anew - draws.log_q).abs().max() < 0.3  # another estimate of the same tilt


@pytest.mark.parametrize("name", BOUNDS)
def test_evidence_is_the_same_with_and_without(name, monkeypatch):
    prior = BOUNDS[name]

    def evidence():
        draws, _, observed, _, table = drawn(prior, 1 << 15)
        target = Target(observed, table, get_noise("lognormal"), prior)
        return log_mean(log_weights(target.log_density(draws.theta, draws.shift), draws.log_q))

    tilted = evidence()
    monkeypatch.setattr("clusterpost.posterior.proposal.times_as_many",
                        lambda factor: torch.ones(len(factor), dtype=torch.long))
    torch.testing.assert_close(tilted, evidence(), rtol=0, atol=0.15)  # of a uniform flow, with a few effective draws


def efficiency(log_weight):
    weight = torch.softmax(log_weight.double(), -1)
    return 1 / (weight**2).sum(-1) / weight.shape[-1]


def test_where_the_flow_is_right_the_weights_become_even():
    """For a cluster whose likelihood is flat the posterior is the factor alone."""
    draws, proposal, observed, _, _ = drawn(BOUNDS["lower bound"], 4096)
    log_age, log_mass, ebv = draws.theta.unbind(-1)
    mass = proposal.mass.at(observed, log_age, ebv)
    rows = (draws.tilt.times > 1) & (draws.tilt.times < 16)  # sharper ones would want still more
    assert rows.any()
    tilted = efficiency(mass.log_total + mass.log_prob(log_mass) - draws.log_q)
    assert (tilted[rows] > 0.8).all()
    log_age, ebv = (BOUNDS["lower bound"].high[[0, 2]] * unit(6, 4096, 2)).unbind(-1)
    untilted = efficiency(proposal.mass.at(observed, log_age, ebv).log_total)
    assert (untilted[rows] < 0.8).any()
