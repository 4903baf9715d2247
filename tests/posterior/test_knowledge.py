"""Narrow priors as input of a network: the draws are those of the prior, and their weights do not count it twice."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "families"))
from toy import ToyGalaxies

from clusterpost.families.encoders import known_covariates
from clusterpost.families.stochastic import StochasticClusters, SurveyPrior
from clusterpost.families.stochastic.priors import FlatPrior
from clusterpost.flow.metadata import KnowledgeMetadata
from clusterpost.observations import Observed
from clusterpost.posterior import target as targets
from clusterpost.posterior.knowledge import informed, log_knowledge
from clusterpost.posterior.sampler import Sampler
from clusterpost.priors import BoxPrior, Exponential, Normal, ProductPrior

CENTER = torch.tensor([0.3, 0.3, 9.5, 1.0, 0.1])
WIDTH = torch.tensor([0.02, 0.03, 0.3, 0.2, 0.2])
TAU = 3  # the parameter that may be known
KNOWLEDGE = KnowledgeMetadata(("tau",), (0.02,), (0.3,))
STOCHASTIC = KnowledgeMetadata(("metallicity", "rv", "nebular_covering"), (0.02, 0.02, 0.02), (0.5, 0.25, 0.25))


def product(mean, width, value, error):
    """Mean and width of the product of two normal densities."""
    precision = width**-2 + error**-2
    return (mean * width**-2 + value * error**-2) / precision, precision**-0.5


class InformedFlow:
    """A network that has learned a Gaussian, exactly multiplied by what it is told of one parameter."""

    def standardize(self, conditions):
        return conditions

    def normal(self, conditions):
        value, precision = conditions[:, None, :1], conditions[:, None, 1:2]
        center, width = CENTER.repeat(len(conditions), 1, 1), WIDTH.repeat(len(conditions), 1, 1)
        told = product(CENTER[TAU], WIDTH[TAU], value[..., 0], 1 / precision[..., 0].clamp(min=1e-6))
        center[..., TAU], width[..., TAU] = told
        return torch.distributions.Normal(center, width)

    def draw(self, unit, conditions):
        normal = self.normal(conditions)
        theta = normal.mean + normal.stddev * torch.special.ndtri(unit)
        return theta, self.log_prob(theta, conditions)

    def log_prob(self, theta, conditions):
        return self.normal(conditions).log_prob(theta).sum(-1)


class NarrowPrior(type(ToyGalaxies.prior)):
    """Normal about a value far from what the photometry tells of one parameter."""

    density = Normal(1.6, 0.06, 0.0, 2.0)
    independent = {"tau": density}  # noqa: RUF012

    def log_prob(self, theta):
        return super().log_prob(theta) + self.density.log_prob(theta[..., TAU])


def sample(n_samples=4000):
    family = ToyGalaxies()
    model = SimpleNamespace(family=family, flow=InformedFlow(), name="toy", device="cpu",
                            learned=family.parameter_names,
                            metadata=SimpleNamespace(simulator=SimpleNamespace(noise="lognormal", knowledge=KNOWLEDGE)))
    sampler = Sampler(model, prior=BoxPrior.of(family.parameters), n_samples=n_samples, seed=0)
    sampler.prior = NarrowPrior()
    seen = torch.ones(3, 6, dtype=torch.bool)
    observed = Observed(torch.ones(3, 6), torch.ones(3, 6), seen, ~seen, {"redshift": torch.full((3,), 0.05)})
    told = sampler.informed(observed)
    value, error = (told.covariates[key] for key in known_covariates("tau"))
    conditions = torch.stack([value, 1 / error], 1)
    out = sampler(sampler.target(told, conditions), conditions)
    mean = (out.weight * out.theta[..., TAU]).sum(1)
    width = (out.weight * (out.theta[..., TAU] - mean[:, None]) ** 2).sum(1).sqrt()
    return out, mean, width


def test_the_posterior_is_that_of_the_prior():
    out, mean, width = sample()
    expected_mean, expected_width = product(CENTER[TAU], WIDTH[TAU], torch.tensor(1.6), torch.tensor(0.06))
    torch.testing.assert_close(mean, expected_mean.expand(3), atol=0.005, rtol=0)
    torch.testing.assert_close(width, expected_width.expand(3), atol=0.005, rtol=0)
    assert (out.efficiency > 0.8).all()  # a network without knowledge has draws three widths away


def test_a_prior_that_counts_twice_would_show(monkeypatch):
    """Negative control: weights that leave out what the network was told."""
    monkeypatch.setattr(targets, "log_knowledge", lambda observed, theta, names: torch.zeros(theta.shape[:-1]))
    _, mean, width = sample()
    expected_mean, expected_width = product(CENTER[TAU], WIDTH[TAU], torch.tensor(1.6), torch.tensor(0.06))
    assert (mean - expected_mean > 0.01).all()
    assert (width < 0.9 * expected_width).all()


def observe(n=2, **covariates):
    seen = torch.ones(n, 5, dtype=torch.bool)
    return Observed(torch.ones(n, 5), torch.ones(n, 5), seen, ~seen, {"distance": torch.ones(n), **covariates})


def told(prior, name, **covariates):
    """What a network of the stochastic family is told of a parameter under a prior."""
    covariates = {key: torch.tensor(values) for key, values in covariates.items()}
    observed = informed(observe(**covariates), StochasticClusters(), prior, STOCHASTIC)
    return torch.stack([observed.covariates[key] for key in known_covariates(name)], 1)


def test_only_narrow_priors_are_told():
    assert told(SurveyPrior(), "rv").isnan().all()
    assert told(FlatPrior(), "nebular_covering").isnan().all()
    prior = ProductPrior(family="stochastic", rv=Normal(3.1, 0.05), nebular_covering=Exponential(0.001))
    torch.testing.assert_close(told(prior, "rv"), torch.tensor([[3.1, 0.06]]).expand(2, -1), atol=1e-3, rtol=0)
    # No error is smaller than in training.
    torch.testing.assert_close(told(prior, "nebular_covering"), torch.tensor([[0.001, 0.02]]).expand(2, -1), atol=1e-4,
                               rtol=0)
    assert told(ProductPrior(family="stochastic"), "metallicity").isnan().all()


def test_metallicities_of_single_clusters():
    known = {"metallicity": [-0.6, -0.6], "metallicity_err": [0.1, float("nan")]}
    found = told(SurveyPrior(), "metallicity", **known)
    torch.testing.assert_close(found[0], torch.tensor([-0.6, 0.12]), atol=2e-3, rtol=0)
    assert found[1].isnan().all()  # that of the galaxy leaves old clusters free
    # A value beyond the models is told as the metallicities that remain.
    outside = told(SurveyPrior(), "metallicity", metallicity=[-2.4, 0.0], metallicity_err=[0.1, 0.1])[0]
    assert -1.7 < outside[0] < -1.66
    assert outside[1] == pytest.approx(0.02)


def test_networks_without_knowledge_are_told_nothing():
    observed = observe()
    assert informed(observed, StochasticClusters(), FlatPrior(), None) is observed


def test_density_of_what_is_known():
    nothing = torch.tensor([float("nan"), 1.0])
    observed = observe(known_rv=nothing, known_rv_err=torch.full((2,), 0.5))
    theta = torch.tensor([2.0, 3.0]).repeat(2, 1)[..., None].expand(-1, -1, 2)
    density = log_knowledge(observed, theta, ("log_age", "rv"))
    torch.testing.assert_close(density, torch.tensor([[0.0, 0.0], [-2.0, -8.0]]))
    assert (log_knowledge(replace(observed, covariates={}), theta, ("log_age", "rv")) == 0).all()
