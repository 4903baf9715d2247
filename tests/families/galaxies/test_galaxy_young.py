"""Young stars besides those of the history."""

import numpy as np
import pytest
import torch

from clusterpost.families import get_family
from clusterpost.families.galaxies import Galaxies, GalaxiesWithYoungStars
from clusterpost.training.simulation import seeded_generator

KNOWN = {"redshift": torch.tensor(0.05, dtype=torch.float64)}


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def young():
    return GalaxiesWithYoungStars().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def theta(young):
    return young.prior.sample(200, seeded_generator(1)).double()


def with_share(theta, log_f_young):
    return torch.cat([theta[:, :-1], torch.full_like(theta[:, -1:], log_f_young)], -1)


def test_found_by_name(young):
    assert get_family("galaxies_young") is GalaxiesWithYoungStars
    assert len(young.parameters) == 10
    assert young.prior.names[-1] == "log_f_young"


def test_without_them_nothing_changes(galaxies, young, theta):
    none = with_share(theta, -30.0)
    torch.testing.assert_close(young.simulate(none, KNOWN), galaxies.simulate(theta[:, :-1], KNOWN))
    for with_young, without in zip(young.derived, galaxies.derived, strict=True):
        torch.testing.assert_close(with_young.function(none, KNOWN), without.function(theta[:, :-1], KNOWN))


def test_the_light_is_that_of_the_young_stars_of_the_first_component(galaxies, young, theta):
    """A galaxy of the first component alone has young stars; as many more are twice the light that clouds can dim."""
    theta = theta.clone()
    theta[:, 1] = 0.0
    age = galaxies.model.components.age(KNOWN["redshift"])
    share = galaxies.model.components.histories.young_share(age).item()
    f = share / (1 + share)  # so that (1 - f) share + f = 2 (1 - f) share
    more = with_share(theta, np.log10(f))
    cloudy, clear = (torch.cat([theta[:, :6], torch.full_like(theta[:, :1], tau), theta[:, 7:]], -1)
                     for tau in (60.0, 0.0))
    dimmed = galaxies.simulate(clear[:, :-1], KNOWN).exp() - galaxies.simulate(cloudy[:, :-1], KNOWN).exp()
    clear_more, cloudy_more = (torch.cat([x[:, :-1], more[:, -1:]], -1) for x in (clear, cloudy))
    dimmed_more = young.simulate(clear_more, KNOWN).exp() - young.simulate(cloudy_more, KNOWN).exp()
    torch.testing.assert_close(dimmed_more, 2 * (1 - f) * dimmed, rtol=1e-6, atol=0)


def test_they_are_blue(young, theta):
    clear = torch.cat([theta[:, :6], torch.zeros_like(theta[:, :2]), theta[:, 8:]], -1)
    few, many = (young.simulate(with_share(clear, x), KNOWN) for x in (-4.0, -2.0))
    bluer = many - few
    assert (bluer > 0).all()
    assert (bluer[:, 0] > bluer[:, 2]).all()


def test_star_formation_rate(young, theta):
    """All of the mass in them formed within 100 Myr."""
    rate = {q.name: q.function for q in young.derived}["log_sfr_100myr"]
    few, many = (10 ** rate(with_share(theta, x), KNOWN) for x in (-30.0, -1.0))
    expected = 0.9 * few + 0.1 * 10 ** theta[:, 0] / 1e8
    torch.testing.assert_close(many, expected)


def test_mean_age_falls(young, theta):
    age = {q.name: q.function for q in young.derived}["age_mw"]
    assert (age(with_share(theta, -1.0), KNOWN) < age(with_share(theta, -3.0), KNOWN)).all()


def test_differentiable(young, theta):
    some = theta[:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: young.simulate(x, {"redshift": torch.full((3,), 0.05).double()}), some)
