"""Posteriors of a family without a likelihood: the network's, under its own prior or another."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "families"))
from toy import ToyGalaxies

from clusterpost import flags
from clusterpost.errors import InputError
from clusterpost.observations import Observed
from clusterpost.posterior.ascent import find_map
from clusterpost.posterior.refine import support
from clusterpost.posterior.sampler import Sampler
from clusterpost.posterior.summary import mean
from clusterpost.priors import BoxPrior

CENTER = torch.tensor([0.3, 0.3, 9.5, 1.0, 0.1])
WIDTH = torch.tensor([0.02, 0.03, 0.3, 0.2, 0.2])


class GaussianFlow:
    """A network that has learned the same Gaussian for every object."""

    def standardize(self, conditions):
        return conditions

    def draw(self, unit, conditions):
        theta = CENTER + WIDTH * torch.special.ndtri(unit)
        return theta, self.log_prob(theta, conditions)

    def log_prob(self, theta, conditions):
        return torch.distributions.Normal(CENTER, WIDTH).log_prob(theta).sum(-1)


@dataclass
class Model:
    family: object
    flow: object
    name: str = "toy"
    device: str = "cpu"

    @property
    def learned(self):
        return self.family.parameter_names

    @property
    def metadata(self):
        return SimpleNamespace(simulator=SimpleNamespace(noise="lognormal"))


class TiltedPrior(type(ToyGalaxies.prior)):
    """Exponential in the fourth parameter."""

    def log_prob(self, theta):
        return super().log_prob(theta) - 5 * theta[..., 3]


@pytest.fixture
def family():
    return ToyGalaxies()


def observe(family, n=4, error=0.1):
    generator = torch.Generator().manual_seed(3)
    theta = CENTER + WIDTH * torch.randn(n, 5, generator=generator)
    known = {"redshift": torch.full((n,), 0.05)}
    flux = torch.exp(family.simulate(theta, known, generator) + error * torch.randn(n, 6, generator=generator))
    seen = torch.ones(n, 6, dtype=torch.bool)
    return Observed(flux, error * flux, seen, ~seen, known)


def sampler_of(family, prior=None, n_samples=2000):
    model = Model(family, GaussianFlow())
    sampler = Sampler(model, n_samples=n_samples, seed=0)
    if prior is not None:  # past the check of what users give
        other = Sampler(model, prior=BoxPrior.of(family.parameters), n_samples=n_samples, seed=0)
        other.prior = prior
        return other
    return sampler


def sample(family, prior=None, n_samples=2000):
    sampler = sampler_of(family, prior, n_samples)
    observed, conditions = observe(family), torch.rand(4, 2, generator=torch.Generator().manual_seed(1))
    target = sampler.target(observed, conditions)
    return sampler(target, conditions), target


def test_draws_of_the_network_count_the_same(family):
    out, target = sample(family)
    torch.testing.assert_close(out.weight, torch.full((4, 2000), 1 / 2000))
    torch.testing.assert_close(mean(out.theta[..., 3], out.weight).float(), torch.full((4,), 1.0), atol=0.005, rtol=0)
    assert out.efficiency.isnan().all()
    assert out.log_evidence.isnan().all()
    torch.testing.assert_close(target.log_density(out.theta)[:, :50], out.log_density[:, :50])


def test_another_prior_weights_the_draws(family):
    out, target = sample(family, TiltedPrior())
    # A normal times exp(-5 x) is a normal about a mean that is lower by five variances.
    torch.testing.assert_close(mean(out.theta[..., 3], out.weight).float(), torch.full((4,), 1.0 - 5 * 0.04),
                               atol=0.01, rtol=0)
    assert ((out.efficiency > 0.2) & (out.efficiency < 0.6)).all()  # exp(-1) of a normal
    assert not (out.flag & flags.LOW_EFFICIENCY).any()
    density = torch.distributions.Normal(CENTER - torch.tensor([0, 0, 0, 0.2, 0]), WIDTH).log_prob(out.theta).sum(-1)
    inside = torch.isfinite(out.log_density)
    assert inside.double().mean() > 0.99
    torch.testing.assert_close(out.log_density[inside], density[inside], atol=0.05, rtol=0)  # normalized
    assert out.log_evidence.isnan().all()
    best, _ = find_map(target.log_density, out.theta, out.log_density, target.prior.low, target.prior.high)
    expected = torch.tensor([0, 0, 0, -1.0, 0]).expand(4, -1)
    torch.testing.assert_close((best - CENTER) / WIDTH, expected, atol=0.1, rtol=0)


def test_log_densities_are_normalized_under_either_prior(family):
    observed, conditions = observe(family), torch.rand(4, 2, generator=torch.Generator().manual_seed(1))
    theta = (CENTER + 0.5 * WIDTH * torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(5)))
    for prior, moved in ((None, 0.0), (TiltedPrior(), 0.2)):
        sampler = sampler_of(family, prior)
        got = sampler.log_prob(sampler.target(observed, conditions), conditions, theta)
        center = CENTER - torch.tensor([0, 0, 0, moved, 0])
        expected = torch.distributions.Normal(center, WIDTH).log_prob(theta).sum(-1)
        torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0)
        assert torch.isneginf(sampler.log_prob(sampler.target(observed, conditions), conditions, theta - 10)).all()


def test_the_predictive_pvalue_tells_what_the_model_cannot_make(family):
    out, target = sample(family)
    p_value, flag = support(target, out.theta, out.weight)
    assert (p_value > 0.01).all()
    assert not flag.any()
    flux = target.observed.flux.clone()
    flux[:, 2] *= 30.0
    target.observed = replace(target.observed, flux=flux, error=0.1 * flux)
    p_value, flag = support(target, out.theta, out.weight)
    assert (p_value < 1e-3).all()
    assert (flag == flags.OUTSIDE_SUPPORT).all()
    alone, _ = support(target[2], out.theta[2:3], out.weight[2:3])
    torch.testing.assert_close(alone, p_value[2:3])


def test_there_is_nothing_to_refine_with(family):
    with pytest.raises(InputError, match="no likelihood for refinement"):
        Sampler(Model(family, GaussianFlow()), refined=True, n_samples=100, seed=0)
