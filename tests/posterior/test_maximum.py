import math

import pytest
import torch
from brute import mocks

from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.noise import get_noise
from clusterpost.posterior.ascent import ascend, choose_starts, find_map
from clusterpost.posterior.target import Target
from clusterpost.priors import Normal, PowerLaw, ProductPrior, cluster_prior

PRIORS = {"flat": cluster_prior(), "mass function": ProductPrior(log_mass=PowerLaw(-2)),
          "masses known": ProductPrior(log_mass=Normal(4.0, 0.1)), "distance uncertain": cluster_prior(0.1)}


def drawn(prior, noise="lognormal", n=20, k=600, seed=4):
    """A target, some of it near the least mass and some with a limit, and draws from the posteriors."""
    theta, observed, table = mocks(n, noise, seed=seed, error=(0.1, 0.3), mass=(2.0, 5.0))
    observed.measured[:3, 0], observed.limit[:3, 0] = False, True
    likelihood = ClusterLikelihood(table, get_noise(noise))
    target, generator = Target(observed, likelihood, prior), torch.Generator().manual_seed(seed)
    span = prior.high - prior.low
    draws = prior.low + span * torch.rand(n, 24 * k, 3, generator=generator)
    draws[:, ::2] = theta[:, None] + 0.3 * torch.randn(n, 12 * k, 3, generator=generator)
    value = target.log_density(draws)
    near = (-0.5 * ((draws - theta[:, None]) / 0.3).square()).sum(-1).exp() / (0.3 * math.sqrt(2 * math.pi)) ** 3
    index = torch.softmax(value - torch.log(near + 1 / span.prod()), 1).multinomial(k, generator=generator)
    return target, draws.gather(1, index[..., None].expand(-1, -1, 3)), value.gather(1, index)


def found(target, theta, value):
    return find_map(target.log_density, theta, value, target.prior.low, target.prior.high)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("noise", ["lognormal", "normal"])
def test_a_longer_ascent_hardly_ever_finds_a_higher_point(prior, noise):
    higher = []
    for seed in range(4, 8):
        target, theta, value = drawn(PRIORS[prior], noise, seed=seed)
        best, reached = found(target, theta, value)
        start, _, covariance = choose_starts(theta, value, 64)
        _, highest = ascend(target.log_density, start, target.prior.low, target.prior.high, covariance,
                            ((64, 48, 32, 24, 16, 8, 4, 2), (16, 16, 12, 8, 6, 4, 2)))
        higher.append(reached < highest - 0.005)
        assert (reached >= value.amax(1) - 1e-4).all()
        assert (reached > value.amax(1) + 0.005).any()
        torch.testing.assert_close(target.log_density(best[:, None])[:, 0], reached, rtol=0, atol=1e-3)
    assert torch.cat(higher).float().mean() <= 0.05  # few draws do not reach every peak


def test_a_cluster_does_not_depend_on_its_neighbors():
    target, theta, value = drawn(PRIORS["flat"])
    whole, _ = found(target, theta, value)
    some = torch.tensor([1, 19, 7])
    torch.testing.assert_close(found(target[some], theta[some], value[some])[0], whole[some], atol=2e-3, rtol=0)
