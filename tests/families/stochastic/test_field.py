"""Field stars in the apertures of clusters."""

import numpy as np
import pytest
import torch

import clusterpost
from clusterpost.families import get_family
from clusterpost.families.stochastic import ClustersAmongFieldStars, StochasticClusters
from clusterpost.families.stochastic.field import FieldStars
from clusterpost.families.stochastic.simulator import StarSimulator

BANDS = ["F475W_ACS", "F814W_ACS"]


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """A field of 2000 stored draws instead of 65,536 says the same in a tenth of the time."""
    monkeypatch.setitem(FieldStars.__init__.__kwdefaults__, "n", 2000)


def _theta(log_mass, n=4000):
    return torch.tensor([[1.0, log_mass, 0.3, 0.0, 3.1, 0.0]]).repeat(n, 1)


def _flux(family, theta):
    covariates = {"distance": torch.full((len(theta),), 0.84)}
    return torch.exp(family.simulate(theta, covariates, torch.Generator().manual_seed(4)))


def test_the_field_adds_light_that_matters_for_small_clusters_alone():
    with_field, without = ClustersAmongFieldStars(bands=BANDS), StochasticClusters(bands=BANDS)
    small, large = (_flux(with_field, _theta(mass)).median(0).values / _flux(without, _theta(mass)).median(0).values
                    for mass in (2.0, 5.0))
    assert small[1] > 1.3
    assert float(large[1]) == pytest.approx(1, abs=0.02)


def test_the_field_is_as_old_and_red_as_constant_star_formation_makes_it():
    simulator = StarSimulator(bands=BANDS)
    columns = FieldStars(simulator, log_mass=(6.0, 6.0), n=50).draw(50, torch.Generator().manual_seed(1))
    flux = simulator.redden(columns, torch.zeros(50), torch.full((50,), 3.1)).mean(0)
    color = -2.5 * np.log10(float(flux[0] / flux[1]))  # AB
    assert 0.5 < color < 1.1  # between 1 Gyr and 10 Gyr; a 10 Myr old cluster is below 0.2


def test_mocks_and_a_record_of_the_family():
    family = get_family("stochastic_field").from_dict(ClustersAmongFieldStars(bands=BANDS, field_mass=(3, 3)).to_dict())
    assert family.to_dict()["field_mass"] == [3, 3]
    assert type(family.with_bands(BANDS[::-1])) is ClustersAmongFieldStars
    mocks = clusterpost.simulate(5, model="stochastic_field", bands=BANDS, seed=2)
    assert np.isfinite(mocks["F814W_ACS"]).all()


def test_many_simulations_of_each_object_hold_the_field():
    family = ClustersAmongFieldStars(bands=BANDS, field_mass=(4, 4))
    theta, covariates = _theta(2.0, 3)[:, None].repeat(1, 200, 1), {"distance": torch.full((3,), 0.84)}
    flux = torch.exp(family.simulate_each(theta, covariates, 1, torch.ones(2).bool()))
    alone = torch.exp(StochasticClusters(bands=BANDS).simulate_each(theta, covariates, 1, torch.ones(2).bool()))
    assert (flux.median(1).values > 1.3 * alone.median(1).values).all()


def test_clusters_behind_many_screens_hold_the_field():
    """As `exact_posterior` simulates them."""
    theta, covariates = _theta(2.0, 300), {"distance": torch.full((300,), 0.84)}
    flux, alone = (torch.exp(family.simulate_redrawn(theta, covariates, (0, 1.5), torch.Generator().manual_seed(1))[0])
                   for family in (ClustersAmongFieldStars(bands=BANDS, field_mass=(4, 4)),
                                  StochasticClusters(bands=BANDS)))
    assert (flux.median(0).values > 1.3 * alone.median(0).values).all()
