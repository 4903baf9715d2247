"""Rows in which few of the network's draws count under the prior, and which simulated clusters then describe."""

import numpy as np
import pytest
from tiny_stochastic import FIVE

import clusterpost
from clusterpost.flags import LOW_EFFICIENCY, OUTSIDE_SUPPORT, SIMULATED
from clusterpost.priors import Normal, ProductPrior

pytestmark = pytest.mark.filterwarnings("ignore:model stochastic has no certificate")
NARROW = ProductPrior(family="stochastic", ebv=Normal(0.2, 0.002), metallicity=Normal(0.0, 0.01))


@pytest.fixture(scope="module")
def mocks():
    return clusterpost.simulate(3, model="stochastic", bands=FIVE, errors=0.1, seed=3)


@pytest.fixture(scope="module")
def infer(tiny_stochastic):
    def infer(tbl, **options):
        return clusterpost.infer_table(tbl, **({"model": tiny_stochastic, "prior": NARROW, "n_samples": 400} | options))
    return infer


@pytest.fixture(scope="module")
def out(infer, mocks):
    return infer(mocks)


def quantiles(tbl, name):
    return np.log10([np.asarray(tbl[f"{name}_q{level}"], float) for level in (16, 50, 84)]).T


def test_they_follow_the_exact_posterior(infer, tiny_stochastic, mocks, out):
    exact = clusterpost.exact_posterior(mocks, model=tiny_stochastic, prior=NARROW, n_simulations=60_000, seed=7)
    alone = infer(mocks, refine=False)
    assert (out["flag"] & SIMULATED).astype(bool).all()
    assert not (out["flag"] & LOW_EFFICIENCY).any()
    assert not (alone["flag"] & SIMULATED).any()
    off = {}
    for name, tbl in (("refined", out), ("network", alone)):
        errors = [np.abs(quantiles(tbl, column) - quantiles(exact, column))
                  / (np.ptp(quantiles(exact, column), axis=1)[:, None] / 2) for column in ("age", "mass")]
        off[name] = np.median(errors)
    assert off["refined"] < 0.15
    assert off["network"] > 2 * off["refined"]  # of seconds of training
    np.testing.assert_array_equal(out["efficiency"], alone["efficiency"])
    np.testing.assert_allclose(np.asarray(out["ebv_q50"]), 0.2, atol=0.001)


def test_what_is_known_of_them(mocks, out):
    assert np.isnan(out["entropy"]).all()  # their density is unknown
    assert (out["support"] > 0.001).all()
    for name in ("age", "mass", "ebv"):
        assert np.isfinite(out[f"{name}_map"]).all()
        assert ((out[f"{name}_map"] >= 0.5 * out[f"{name}_q16"]) & (out[f"{name}_map"] <= 2 * out[f"{name}_q84"])).all()
    assert out.meta["CPREFINE"] is True


def test_draws_are_of_the_same_posterior(tiny_stochastic, out):
    draws = clusterpost.sample_posterior(out, model=tiny_stochastic, prior=NARROW, n_samples=400)
    assert (draws["flag"] & SIMULATED).astype(bool).all()
    assert np.isnan(draws["log_prob"]).all()
    width = np.ptp(quantiles(out, "mass"), axis=1)
    median = np.median(np.log10(np.asarray(draws["mass"])), axis=1)
    assert (np.abs(median - quantiles(out, "mass")[:, 1]) < 0.2 * width).all()


def test_a_row_does_not_depend_on_the_others(infer, mocks, out):
    alone = infer(mocks[1:2])
    for name in ("age_q50", "mass_q84", "efficiency", "flag"):
        np.testing.assert_allclose(alone[name][0], out[name][1], rtol=1e-5)


def test_other_rows_stay_as_they_are(infer, mocks):
    one, other = (infer(mocks, prior="survey", refine=refine) for refine in (True, False))
    common = (one["flag"] & SIMULATED) == 0
    assert common.any()
    for name in ("age_q50", "mass_q84", "entropy"):
        np.testing.assert_array_equal(np.asarray(one[name])[common], np.asarray(other[name])[common])


def test_impossible_photometry_is_not_simulated(infer, mocks):
    tbl = mocks[:1].copy()
    tbl["F438W"] = 300 * tbl["F438W"]
    found = infer(tbl)
    assert found["flag"][0] & OUTSIDE_SUPPORT
    assert not found["flag"][0] & SIMULATED


def test_uncertain_distances_and_limits(infer, mocks, out):
    tbl = mocks[:1].copy()
    tbl["distance_err"] = 0.2 * tbl["distance"]
    tbl["F275W_limit"] = [True]
    found = infer(tbl)
    assert found["flag"][0] & SIMULATED
    width = np.ptp(quantiles(out[:1], "mass"), axis=1)
    assert np.ptp(quantiles(found, "mass"), axis=1) > width
