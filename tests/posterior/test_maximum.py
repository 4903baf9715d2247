import math

import pytest
import torch
from brute import mocks

from clusterpost.families.clusters.amplitude import MassConditional
from clusterpost.noise import get_noise
from clusterpost.posterior.ascent import find_map
from clusterpost.posterior.maximum import maximum
from clusterpost.posterior.target import Target
from clusterpost.priors import Normal, PowerLaw, ProductPrior, cluster_prior

PRIORS = {"flat": cluster_prior(), "mass function": ProductPrior(log_mass=PowerLaw(-2)),
          "masses known": ProductPrior(log_mass=Normal(4.0, 0.1)), "distance uncertain": cluster_prior(0.1)}


def drawn(prior, noise="lognormal", n=40, k=1000, seed=4):
    """A target, some of it near the least mass and some with a limit, and draws from the posteriors."""
    theta, observed, table = mocks(n, noise, seed=seed, error=(0.1, 0.3), mass=(2.0, 5.0))
    observed.measured[:5, 0], observed.limit[:5, 0] = False, True
    target, generator = Target(observed, table, get_noise(noise), prior), torch.Generator().manual_seed(seed)
    span = prior.high - prior.low
    draws = prior.low + span * torch.rand(n, 60 * k, 3, generator=generator)
    draws[:, ::2] = theta[:, None] + 0.3 * torch.randn(n, 30 * k, 3, generator=generator)
    value = target.log_density(draws)
    near = (-0.5 * ((draws - theta[:, None]) / 0.3).square()).sum(-1).exp() / (0.3 * math.sqrt(2 * math.pi)) ** 3
    index = torch.softmax(value - torch.log(near + 1 / span.prod()), 1).multinomial(k, generator=generator)
    return target, draws.gather(1, index[..., None].expand(-1, -1, 3)), value.gather(1, index)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("noise", ["lognormal", "normal"])
def test_it_is_that_of_an_ascent_in_all_parameters(prior, noise):
    target, theta, value = drawn(PRIORS[prior], noise)
    best = maximum(target, theta, value)
    _, highest = find_map(target.log_density, theta, value, target.prior.low, target.prior.high)
    reached = target.log_density(best[:, None])[:, 0]
    assert (reached >= value.amax(1) - 1e-4).all()
    assert (reached >= highest - 0.005).all()
    assert (reached > value.amax(1) + 0.005).any()


def test_the_best_mass_is_the_best():
    for prior in (PRIORS["flat"], PRIORS["mass function"]):
        target, theta, _ = drawn(prior)
        rows = MassConditional(target.table, target.noise, prior).is_closed(target.observed).nonzero()[:, 0]
        assert len(rows) == 35
        target, (log_age, _, ebv) = target[rows], theta[rows, :50].unbind(-1)
        log_mass, density = MassConditional(target.table, target.noise, prior).highest(target.observed)(log_age, ebv)
        torch.testing.assert_close(density, target.log_density(torch.stack([log_age, log_mass, ebv], -1)), rtol=1e-5,
                                   atol=1e-3)
        for step in (-0.01, 0.01):
            moved = (log_mass + step).clamp(prior.low[1], prior.high[1])
            there = target.log_density(torch.stack([log_age, moved, ebv], -1))
            assert (there <= density + 1e-3).all()
            assert (there < density - 1e-3).any()
        at_a_bound = (log_mass == prior.low[1]) | (log_mass == prior.high[1])
        assert at_a_bound.any()
        assert not at_a_bound.all()


def test_a_cluster_does_not_depend_on_its_neighbors():
    target, theta, value = drawn(PRIORS["flat"])
    whole = maximum(target, theta, value)
    some = torch.tensor([1, 20, 7])
    torch.testing.assert_close(maximum(target[some], theta[some], value[some]), whole[some], atol=2e-3, rtol=0)
