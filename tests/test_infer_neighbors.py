"""What is done with a row depends on that row alone, whatever stage its posterior needs."""

import numpy as np
import pytest
from infer_tables import value

import clusterpost
from clusterpost import flags, infer_table
from clusterpost.posterior import mcmc

pytestmark = pytest.mark.usefixtures("exact_by_default")

SUMMARIES = ("q16", "q50", "q84", "mean")


@pytest.fixture(scope="module")
def clusters():
    """Good rows, and rows for more draws, kernels and Markov chains."""
    tbl = clusterpost.simulate(8, seed=11)
    generator = np.random.default_rng(0)
    for row, band in zip((0, 3, 6), ("F275W", "F336W", "F438W"), strict=True):
        tbl[band][row] *= 10 ** generator.uniform(0.5, 4)
    return tbl


def assert_same_rows(out, expected, rows):
    np.testing.assert_array_equal(out["flag"], expected["flag"][rows])
    for stem in ("age", "mass", "ebv"):
        low, high = (value(expected[f"{stem}_{q}"])[rows] for q in ("q16", "q84"))
        for of in SUMMARIES:
            change = np.abs(value(out[f"{stem}_{of}"]) - value(expected[f"{stem}_{of}"])[rows])
            assert (change <= 2e-4 * (high - low) + 1e-12).all(), (stem, of)
    for name in ("log_evidence", "entropy"):
        np.testing.assert_allclose(value(out[name]), value(expected[name])[rows], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("noise", ["lognormal", "normal", pytest.param("walter2025", marks=pytest.mark.slow)])
def test_any_neighbors_and_any_chunks(clusters, noise, monkeypatch):
    for name, steps in (("_MOST_STEPS", 40), ("_N_STEPS", 40), ("_N_BURN", 20)):
        monkeypatch.setattr(mcmc, name, steps)
    whole = infer_table(clusters, noise=noise)
    assert noise != "walter2025" or (whole["flag"] & flags.MCMC).astype(bool).any()
    assert (value(whole["efficiency"]) < 0.5).any()
    order = np.arange(len(clusters))[::-1]
    assert_same_rows(infer_table(clusters[order], noise=noise), whole, order)
    with clusterpost.conf.set_temp("points_per_pass", 1000):
        assert_same_rows(infer_table(clusters, noise=noise), whole, np.arange(len(clusters)))
