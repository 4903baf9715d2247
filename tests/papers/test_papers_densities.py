"""Posteriors without a network: on a grid, and by Markov chains."""

import numpy as np
import pytest

import clusterpost
from benchmarks.papers.densities import gridded_density, mcmc_draws
from clusterpost.errors import InputError
from clusterpost.validation.targets import read_target

pytestmark = pytest.mark.usefixtures("exact_by_default")

LEVELS = (0.16, 0.5, 0.84)
BOX = [[0, 2, 0], [4.138, 8, 1.5]]


@pytest.fixture(scope="module")
def one():
    return clusterpost.simulate(3, errors=0.15, seed=8)[1:2]


@pytest.fixture(scope="module")
def exact(one):
    """Quantiles (3, 3) of log age, log mass and E(B-V)."""
    out = clusterpost.exact_posterior(one, error_floor=None)
    values = np.array([[out[f"{stem}_q{round(100 * q)}"][0].value for q in LEVELS] for stem in ("age", "mass", "ebv")])
    values[:2] = np.log10(values[:2])
    return values


def quantiles(axis, density):
    held = np.cumsum(density)
    return np.interp(LEVELS, held / held[-1], axis + (axis[1] - axis[0]) / 2)


def test_the_grid_agrees_with_the_exact_posterior(one, exact):
    half = (exact[:, 2] - exact[:, 0])[:, None] / 2
    low, high = (exact[:, 1] - 6 * half[:, 0]), (exact[:, 1] + 6 * half[:, 0])
    box = np.clip([low, high], *BOX)
    grid = gridded_density(one, box, shape=(120, 100, 100), error_floor=None)
    np.testing.assert_allclose(grid.share.sum(), 1)
    found = np.array([quantiles(axis, grid.marginal(i)) for i, axis in enumerate(grid.axes)])
    assert (np.abs(found - exact) < 0.1 * half).all()


def test_marginals_are_consistent(one):
    grid = gridded_density(one, BOX, shape=(30, 40, 50), error_floor=None)
    steps = [axis[1] - axis[0] for axis in grid.axes]
    assert grid.marginal(0, 2).shape == (30, 50)
    np.testing.assert_allclose(grid.marginal(0, 2).sum(1) * steps[2], grid.marginal(0))
    np.testing.assert_allclose(grid.marginal(1).sum() * steps[1], 1)


@pytest.mark.slow
def test_chains_agree_with_the_exact_posterior(one, exact):
    theta, converged = mcmc_draws(one, 4000, n_chains=1, error_floor=None)
    assert converged
    half = (exact[:, 2] - exact[:, 0])[:, None] / 2
    assert (np.abs(np.quantile(theta, LEVELS, axis=0).T - exact) < 0.2 * half).all()


def test_refusals(one):
    with pytest.raises(InputError, match="nothing between"):
        gridded_density(one, [[5, 2, 0], [6, 8, 1.5]], shape=(5, 5, 5))
    two = clusterpost.simulate(2, seed=1)
    with pytest.raises(InputError, match="one row"):
        mcmc_draws(two)
    two["F275W"] *= np.nan
    rows, target = read_target(two)
    assert rows.tolist() == [0, 1]
    assert target.observed.n_measured.tolist() == [4, 4]
