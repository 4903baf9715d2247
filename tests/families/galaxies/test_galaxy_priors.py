"""The priors of galaxies."""

import json
import math

import pytest
import torch
from scipy import stats

from clusterpost.errors import InputError
from clusterpost.families.galaxies.history import component_weights
from clusterpost.families.galaxies.priors import galaxy_prior
from clusterpost.priors import Share, prior_from_record


@pytest.mark.parametrize("sticks", ["uniform", "dirichlet"])
def test_unit_cube(sticks):
    prior = galaxy_prior(sticks)
    unit = torch.rand(200, 9, generator=torch.Generator().manual_seed(1))
    assert prior.inside(prior.from_unit(unit)).all()
    ends = prior.from_unit(torch.stack([torch.zeros(9), torch.ones(9)]))
    torch.testing.assert_close(ends, torch.stack([prior.low, prior.high]))


@pytest.mark.parametrize("name", ["galaxies", "galaxies_young"])
def test_recorded_and_made_again(name):
    prior = galaxy_prior("dirichlet", name)
    again = prior_from_record(json.loads(json.dumps(prior.to_record())))
    theta = prior.sample(20, torch.Generator().manual_seed(7))
    torch.testing.assert_close(again.log_prob(theta), prior.log_prob(theta))
    assert (galaxy_prior("uniform", name).log_prob(theta) != prior.log_prob(theta)).all()


@pytest.mark.parametrize("sticks", ["uniform", "dirichlet"])
def test_density_is_that_of_the_map(sticks):
    """The log density is minus ln of the determinant of the map from the unit cube."""
    prior = galaxy_prior(sticks)
    unit = torch.rand(5, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for u in unit:
        jacobian = torch.autograd.functional.jacobian(prior.from_unit, u)
        assert prior.log_prob(prior.from_unit(u)).item() == pytest.approx(-jacobian.logdet().item(), abs=1e-5)


def test_dirichlet_is_flat_and_uniform_sticks_are_not():
    def first_weight(sticks):
        theta = galaxy_prior(sticks).sample(4000, torch.Generator().manual_seed(3))
        return component_weights(theta[:, 1:4])

    expected = stats.beta(1, 3)  # of one weight of four
    for k in range(4):
        assert stats.kstest(first_weight("dirichlet")[:, k].numpy(), expected.cdf).pvalue > 1e-3
    assert stats.kstest(first_weight("uniform")[:, 0].numpy(), expected.cdf).pvalue < 1e-6
    means = first_weight("uniform").mean(0).tolist()
    assert means == pytest.approx([0.5, 0.25, 0.125, 0.125], abs=0.015)


def test_nothing_outside():
    prior = galaxy_prior("dirichlet")
    inside = prior.sample(1, torch.Generator().manual_seed(4))
    outside = inside.clone()
    outside[0, 1] = 1.01
    assert math.isfinite(prior.log_prob(inside).item())
    assert prior.log_prob(outside).item() == -math.inf


def test_names():
    assert "stick1 share of power 3 in 0..1" in galaxy_prior("dirichlet").describe()
    with pytest.raises(InputError, match="uniform, dirichlet"):
        galaxy_prior("flat")


def test_power_of_a_share():
    with pytest.raises(InputError, match="positive"):
        Share(0)
