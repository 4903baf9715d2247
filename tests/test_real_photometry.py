"""Checks that need no truth, on clusters of a real catalog."""

import numpy as np
import pytest

import clusterpost
from clusterpost.validation import (
    compare_noise,
    compare_with_catalog,
    map_chi2,
    noisy_rows,
    predictive_check,
    predictive_summary,
    resimulate,
)

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


@pytest.mark.slow
def test_noise_models_matter_for_noisy_clusters(whole, some):
    assert not noisy_rows(some)[0].any()  # LEGUS asks for errors below 0.3 mag in five bands
    clusters = whole[np.isin(whole["class_mode"], (1, 2))]
    rows = np.flatnonzero(noisy_rows(clusters)[0])
    assert len(rows) == 67
    table = compare_noise(clusters[rows[::8]], n_draws=1000)
    assert len(table) == 9
    quiet = compare_noise(some[::2], least_error=0.0, n_draws=500)
    assert np.median(table["divergence"]) > 2 * np.median(quiet["divergence"])
    for noise in ("lognormal", "normal"):
        assert compare_with_catalog(table, prefix=f"{noise}_")["n"][0] == 9
    half = np.asarray(table["normal_ebv_q84"] - table["normal_ebv_q16"]) / 2
    again = np.abs(np.asarray(table["reweighted_ebv_q50"] - table["normal_ebv_q50"])) / half
    assert np.median(again) < 0.1
