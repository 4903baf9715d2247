"""The bundled model of galaxies: posteriors of mocks, of a catalog, and against Markov chains where there are any."""

import copy
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import clusterpost
from clusterpost import flags

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def mocks():
    return clusterpost.simulate(60, model="galaxies", seed=4)


@pytest.fixture(scope="module")
def inferred(mocks):
    return clusterpost.infer_table(mocks, model="galaxies", n_samples=500)


def test_posteriors_of_mocks(mocks, inferred):
    assert (inferred["flag"] & flags.NOT_INFERRED == 0).all()
    assert np.median(inferred["efficiency"]) > 0.7
    assert inferred["efficiency"].min() > 0.1
    inside = [(mocks[f"{p.column}_true"] > inferred[f"{p.column}_q16"])
              & (mocks[f"{p.column}_true"] < inferred[f"{p.column}_q84"])
              for p in clusterpost.load_model("galaxies").family.parameters]
    assert np.mean(inside) == pytest.approx(0.68, abs=0.08)  # 540, correlated in a galaxy


def test_twice_the_flux_is_twice_the_mass(mocks, inferred):
    brighter = mocks[:5].copy()
    for band in "ugriz":
        brighter[f"{band}_SDSS"] *= 2
        brighter[f"{band}_SDSS_err"] *= 2
    out = clusterpost.infer_table(brighter, model="galaxies", n_samples=500)
    room = inferred["log_mstar_formed_q84"][:5] < 12
    np.testing.assert_allclose((out["log_mstar_formed_q50"] - inferred["log_mstar_formed_q50"][:5])[room], np.log10(2),
                               atol=0.02)
    np.testing.assert_allclose(out["tau_ism_q50"][room], inferred["tau_ism_q50"][:5][room], atol=0.05)


def test_what_no_galaxy_looks_like_is_flagged_and_kept(mocks):
    odd = mocks[:2].copy()
    odd["g_SDSS"][0] *= 4
    odd["g_SDSS_err"][0] *= 4
    out = clusterpost.infer_table(odd, model="galaxies", n_samples=500)
    assert out["flag"][0] & flags.POOR_FIT
    assert not out["flag"][1] & flags.POOR_FIT
    assert np.isfinite(out["log_mstar_formed_q50"]).all()


def test_the_other_prior_by_weights(mocks, inferred):
    from clusterpost.families.galaxies.priors import galaxy_prior

    out = clusterpost.infer_table(mocks[:20], model="galaxies", prior=galaxy_prior("dirichlet"), n_samples=500)
    assert np.mean(out["sfh_stick1_q50"] - inferred["sfh_stick1_q50"][:20]) > 0.05  # less in the first component
    assert np.median(out["efficiency"]) > 0.3


def test_density_is_that_of_the_file():
    """Written down once: another number is another model."""
    flow = copy.deepcopy(clusterpost.load_model("galaxies").flow).double()
    theta = torch.tensor([[0.754, 0.489, 0.477, -3.446, -2.99, 1.433, 1.419, -0.504]], dtype=torch.float64)
    log_prob = flow.log_prob(theta, flow.standardize.shift[None])
    assert float(log_prob[0]) == pytest.approx(1.53970, abs=1e-4)


@pytest.mark.skipif("CLUSTERPOST_GALAXY_CHAINS" not in os.environ, reason="no folder of Markov chains was named")
def test_against_markov_chains():
    """CLUSTERPOST_GALAXY_CHAINS=FOLDER pytest tests/families/galaxies/test_galaxies_bundled.py."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import galaxies
    finally:
        sys.path.remove(str(BENCHMARKS))
    summary = galaxies.chain_summary(*galaxies.against_chains("galaxies", os.environ["CLUSTERPOST_GALAXY_CHAINS"]))
    (row,) = summary[(summary["posterior"] == "refined") & (summary["quantity"] == "all")]
    assert row["median"] < 0.05
    assert row["q95"] < 0.2
    assert np.median(summary.meta["efficiency"]) > 0.5
