"""Checks that need no truth, on clusters of a real catalog."""

import numpy as np
import pytest

import clusterpost
from clusterpost.validation import (
    map_chi2,
    predictive_check,
    predictive_summary,
    resimulate,
)

pytestmark = pytest.mark.usefixtures("exact_by_default")

FILE = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"


@pytest.fixture(scope="module")
def whole(shared_data):
    return clusterpost.read_catalog(shared_data / FILE, distance_source="legus")


@pytest.fixture(scope="module")
def some(whole):
    """Thirty of the clusters in five bands."""
    return whole[np.flatnonzero(np.isin(whole["class_mode"], (1, 2)) & (whole["n_filters"] == 5))[::20]]


@pytest.mark.slow
def test_posteriors_predict_the_photometry(some):
    summary = predictive_summary(predictive_check(some, n_draws=200))
    assert len(summary) == 6
    assert (np.abs(summary["offset"]) < 0.03).all()
    assert (summary["scatter"] < 0.08).all()
    assert 68 < summary["inside"][-1] < 100
    assert summary["tails"][-1] < 10
    # The same photometry with the near-UV and the I band exchanged is that of no cluster.
    odd = some.copy()
    for end in ("", "_err"):
        odd[f"F275W{end}"], odd[f"F814W_ACS{end}"] = some[f"F814W_ACS{end}"].copy(), some[f"F275W{end}"].copy()
    assert predictive_summary(predictive_check(odd, n_draws=50))["tails"][-1] > 2 * summary["tails"][-1]


@pytest.mark.slow
def test_maps_fit_better_than_the_published_parameters(some):
    """In this package's model, that is; the published ones are the best of another."""
    out = clusterpost.infer_table(some, n_samples=500)
    table = map_chi2(out)
    assert np.isfinite(table["chi2_catalog"]).all()
    assert (table["chi2_catalog_free_mass"] <= table["chi2_catalog"] + 1e-9).all()
    assert np.median(table["chi2_map"]) < np.median(table["chi2_catalog_free_mass"])
    assert np.mean(table["chi2_map"] < 1.02 * table["chi2_catalog_free_mass"]) > 0.8
    seds = resimulate(out, [0, 5], n_draws=100)
    assert len(seds) == 10
    within = np.abs(seds["map"] - seds["flux"]) < 3 * seds["error"]
    assert within.mean() > 0.8
