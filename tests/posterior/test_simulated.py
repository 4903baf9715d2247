"""Exact posteriors of clusters drawn star by star, from simulated ones."""

import numpy as np
import pytest
import torch

import clusterpost
from clusterpost.errors import InputError
from clusterpost.families.stochastic import FlatPrior, StochasticClusters
from clusterpost.flags import LOW_EFFICIENCY
from clusterpost.noise import get_noise
from clusterpost.observations import Observed
from clusterpost.posterior.refine import AllDraws
from clusterpost.posterior.simulated import sample_by_simulation
from clusterpost.posterior.summary import quantiles
from clusterpost.posterior.target import NetworkTarget
from clusterpost.priors import Normal, ProductPrior

FIVE = ("F275W", "F336W", "F438W", "F555W", "F814W")
pytestmark = pytest.mark.filterwarnings("ignore:model stochastic has no certificate")


@pytest.fixture(scope="module")
def family():
    return StochasticClusters(bands=FIVE, prior="training")


def sample(family, flux, relative, limit=None, n=20_000, prior=None, proposed=None):
    flux = torch.as_tensor(np.atleast_2d(flux)).float()
    limit = torch.zeros_like(flux, dtype=torch.bool) if limit is None else limit
    observed = Observed(flux, flux * torch.as_tensor(relative).float(), ~limit, limit,
                        {"distance": torch.full((1,), 1e-5)})
    target = NetworkTarget(observed, None, torch.zeros(1, 0), family, prior or FlatPrior(), get_noise("lognormal"))
    out = sample_by_simulation(target, n_simulations=n, n_samples=500, seed=1, proposed=proposed)
    every = out.every[0]
    weight = every.weight.expand(6, -1).contiguous()
    return out, quantiles(every.theta.T.contiguous(), (0.16, 0.5, 0.84), weight).numpy()


@pytest.mark.parametrize("row", [1, 5])
@pytest.mark.parametrize("with_draws", [True, False])
def test_agrees_with_brute_force(family, shared_data, row, with_draws):
    """Against eight million clusters of another program, of the same table."""
    reference = np.load(shared_data / "stochastic" / "setB.npz")
    proposed = torch.as_tensor(reference["draws"][row]).float()
    proposed[:, 3] -= np.log10(0.02)
    proposed = AllDraws(proposed, torch.full((len(proposed),), 1 / len(proposed)), torch.zeros(len(proposed)))
    out, found = sample(family, reference["flux_mjy_10pc"][row], reference["relative_error"][row],
                        n=60_000, proposed=proposed if with_draws else None)
    assert out.n_effective > 500
    expected = reference["quantiles"][row][:3, 1:4]
    off = np.abs(found[:3] - expected) / (np.ptp(expected, axis=1)[:, None] / 2)
    assert off.max() < 5 * 1.3 / np.sqrt(out.n_effective.item())
    assert out.log_evidence.item() == pytest.approx(reference["ln_evidence"][row], abs=0.15)
    # A negative control: the posterior of another cluster is far away.
    other = reference["quantiles"][{1: 5, 5: 1}[row]][:3, 1:4]
    assert np.abs((found[:3] - other) / (np.ptp(other, axis=1)[:, None] / 2)).max() > 2


def test_same_numbers_again(family):
    one, other = (sample(family, [1e6, 1.2e6, 2e6, 2.4e6, 3e6], 0.1, n=4000)[1] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_limits_move_it(family):
    flux, limit = [1e6, 1.2e6, 2e6, 2.4e6, 3e6], torch.tensor([[True, False, False, False, False]])
    _, free = sample(family, flux, 0.1, n=8000)
    out, limited = sample(family, [4e5, *flux[1:]], 0.1, limit, n=20_000)
    assert np.abs(limited[:2] - free[:2]).max() > 0.05
    assert out.n_effective > 20


def test_narrow_priors_are_obeyed(family):
    prior = ProductPrior(family="stochastic", ebv=Normal(0.4, 0.02), log_age=Normal(1.0, 0.05))
    _, found = sample(family, [1e6, 1.2e6, 2e6, 2.4e6, 3e6], 0.3, n=20_000, prior=prior)
    np.testing.assert_allclose(found[2], [0.38, 0.4, 0.42], atol=0.015)
    np.testing.assert_allclose(found[0, 1], 1.0, atol=0.06)


@pytest.mark.parametrize("width", [0.3, 0.002])
def test_any_width_of_the_reddening_prior(family, width):
    prior = ProductPrior(family="stochastic", ebv=Normal(0.4, width))
    out, found = sample(family, [1e6, 1.2e6, 2e6, 2.4e6, 3e6], 0.3, n=20_000, prior=prior)
    assert out.n_effective > 40
    assert np.ptp(found[2]) / 2 < 1.1 * width
    assert np.ptp(found[2]) / 2 > 0.8 * min(width, 0.1)


def test_stops_when_it_is_enough(family):
    flux = torch.tensor([[1e6, 1.2e6, 2e6, 2.4e6, 3e6]])
    observed = Observed(flux, 0.2 * flux, flux > 0, flux < 0, {"distance": torch.full((1,), 1e-5)})
    target = NetworkTarget(observed, None, torch.zeros(1, 0), family, FlatPrior(), get_noise("lognormal"))
    found = [sample_by_simulation(target, n_simulations=50_000, n_samples=500, seed=1, enough=enough)
             for enough in (100, 400, np.inf)]
    few, more, every = (float(out.n_effective[0]) for out in found)
    assert 100 <= few < 400 <= more < every
    # The same objects come first, and the efficiency tells how many were simulated.
    used = [round(float(out.n_effective[0] / out.efficiency[0])) for out in found]
    assert used[0] < used[1] < used[2] == 50_000


class TestTable:
    @pytest.fixture(scope="class")
    def mocks(self):
        return clusterpost.simulate(2, model="stochastic", bands=FIVE, errors=0.1, seed=5)

    def test_with_a_network_and_without(self, tiny_stochastic, mocks):
        guided, alone = (clusterpost.exact_posterior(mocks, model=model, n_simulations=12_000)
                         for model in (tiny_stochastic, StochasticClusters(bands=FIVE)))
        for out in (guided, alone):
            assert out.meta["CPMODEL"] == "simulations"
            assert (out["n_effective"] > 20).all()
            np.testing.assert_allclose(out["efficiency"] * 12_000, out["n_effective"], rtol=0.01)
            assert np.isfinite(out["log_evidence"]).all()
            assert out.meta["CPFLOOR"] == 0.12
        width = np.log10(alone["mass_q84"] / alone["mass_q16"])
        assert (np.abs(np.log10(guided["mass_q50"] / alone["mass_q50"])) < width).all()
        np.testing.assert_allclose(guided["log_evidence"], alone["log_evidence"], atol=1.0)

    def test_few_simulations_are_flagged(self, mocks):
        out = clusterpost.exact_posterior(mocks[:1], model=StochasticClusters(bands=FIVE), n_simulations=1000)
        assert out["n_effective"][0] < 100
        assert out["flag"][0] & LOW_EFFICIENCY

    def test_metallicity_column(self, mocks):
        tbl = mocks[:1].copy()
        tbl["metallicity"], tbl["metallicity_err"] = [-0.5], [0.05]
        out = clusterpost.exact_posterior(tbl, model="stochastic", n_simulations=12_000)
        assert out["metallicity_q50"][0] == pytest.approx(-0.5, abs=0.04)

    def test_bad_numbers(self, mocks):
        with pytest.raises(InputError, match="n_simulations=10 must be an integer of at least 1000"):
            clusterpost.exact_posterior(mocks, model="stochastic", n_simulations=10)
        with pytest.raises(InputError, match="has an exact grid and needs no simulations; omit n_simulations="):
            clusterpost.exact_posterior(mocks, model="any_bands", n_simulations=5000)
