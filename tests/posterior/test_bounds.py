"""Draws of a network alone respect the bounds of the mass, which the network does not know."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

import clusterpost


@pytest.fixture(scope="module")
def at_the_bounds():
    """Clusters almost as massive, or as light, as the prior allows."""
    params = QTable({"age": [4, 6, 8, 12, 2, 9000] * u.Myr, "ebv": [0.6, 1.2, 0.2, 1.3, 0.3, 0.8] * u.mag,
                     "mass": 10 ** np.array([7.9, 7.85, 7.8, 7.7, 2.1, 2.15]) * u.solMass})
    return clusterpost.simulate(params, model="any_bands", errors=0.15, distance=10.0, seed=3)


def quantiles(out):
    values = np.array([[np.asarray(out[f"{name}_q{level}"].value) for level in (16, 50, 84)]
                       for name in ("age", "mass", "ebv")])
    values[:2] = np.log10(values[:2])
    return values


@pytest.mark.parametrize("n_samples", [100, 2000])
def test_ages_that_need_a_mass_outside_the_bounds_are_left_out(at_the_bounds, n_samples):
    alone, exact = (quantiles(clusterpost.infer_table(at_the_bounds, model="any_bands", refine=refine, error_floor=None,
                                                      n_samples=n, progress=False))
                    for refine, n in ((False, n_samples), (True, 2000)))
    half = np.ptp(exact, axis=1)[:, None] / 2
    assert np.abs((alone - exact) / half).max() < (0.5 if n_samples > 1000 else 1.0)


def test_the_density_of_the_draws_is_that_of_given_points(at_the_bounds):
    alone = {"model": "any_bands", "refine": False, "error_floor": None}
    draws = clusterpost.sample_posterior(at_the_bounds, n_samples=500, progress=False, **alone)
    theta = np.stack([np.log10(draws["age"].to_value("Myr")), np.log10(draws["mass"].to_value("solMass")),
                      draws["ebv"].to_value("mag")], -1)
    density = clusterpost.log_prob(at_the_bounds, theta, **alone)
    np.testing.assert_allclose(density, draws["log_prob"], atol=0.1)
