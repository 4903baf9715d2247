"""A real catalog: WFC3 and ACS bands, gaps, sentinels, and sources that are no clusters."""

import numpy as np
import pytest
from infer_tables import INTEGERS, coordinate

import clusterpost
from clusterpost import flags
from clusterpost.schema import output_columns

pytestmark = pytest.mark.usefixtures("exact_by_default")

FILE = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"
BANDS = ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS")
SENTINELS = (66.666, 99.999, 44.444)


@pytest.fixture(scope="module")
def whole(shared_data):
    return clusterpost.read_catalog(shared_data / FILE)


@pytest.fixture(scope="module")
def tbl(whole):
    """Every tenth source of the 3080."""
    assert len(whole) == 3080
    assert (np.isin(whole["class_mode"], (1, 2)) & (whole["n_filters"] == 5)).sum() == 594
    return whole[::10]


@pytest.fixture(scope="module")
def out(tbl):
    return clusterpost.infer_table(tbl, n_samples=200, progress=False)


def has(out, bit):
    return (np.asarray(out["flag"]) & bit) != 0


def clusters_of(out):
    return np.isin(out["class_mode"], (1, 2)) & (out["n_filters"] == 5)


def absent(tbl, band):
    return np.isin(tbl[f"{band}_vega"], SENTINELS) | np.isin(tbl[f"{band}_vega_err"], SENTINELS)


@pytest.mark.slow
def test_every_row_has_an_answer_or_a_reason(tbl, out):
    assert len(out) == 308
    assert (out["id"] == tbl["id"]).all()
    left_out = has(out, flags.NOT_INFERRED)
    np.testing.assert_array_equal(left_out, has(out, flags.TOO_FEW_BANDS))
    np.testing.assert_array_equal(left_out, out["n_bands"] < 2)
    for column in output_columns((0.16, 0.5, 0.84)):
        values = np.asarray(out[column.name])
        if values.ndim == 1 and column.name not in INTEGERS:
            np.testing.assert_array_equal(np.isfinite(values), ~left_out, err_msg=column.name)
    assert out.meta["CPDIST"] == "lee2022: galaxy NGC 628"
    assert out.meta["CPLAYOUT"] == "LEGUS"


@pytest.mark.slow
def test_clusters_with_five_bands_are_inferred(out):
    clusters = clusters_of(out)
    assert clusters.sum() > 40
    assert not has(out, flags.NOT_INFERRED | flags.MISSING_BAND | flags.TOO_FEW_BANDS)[clusters].any()
    assert (out["n_bands"][clusters] == 5).all()
    # Clusters are what the model describes; among all sources there are others.
    assert not has(out, flags.LOW_EFFICIENCY)[clusters].any()
    odd = has(out, flags.OUTSIDE_SUPPORT)
    inferred = ~has(out, flags.NOT_INFERRED)
    assert odd[clusters].mean() < 0.1
    assert odd[clusters].mean() < odd[inferred & ~clusters].mean()


@pytest.mark.slow
def test_acs_bands_are_taken_as_they_are(whole):
    some = whole[np.flatnonzero(clusters_of(whole))[:30]]
    ours = clusterpost.infer_table(some, n_samples=500)
    assert not has(ours, flags.ACS_AS_WFC3).any()
    replica = clusterpost.infer_table(some, n_samples=100, model="walter2025", refine=False)
    assert has(replica, flags.ACS_AS_WFC3).all()
    exact = clusterpost.exact_posterior(some)
    change = np.abs(coordinate(ours, "age_q50") - coordinate(exact, "age_q50"))
    half = (coordinate(exact, "age_q84") - coordinate(exact, "age_q16")) / 2
    assert np.median(change / half) < 0.05


@pytest.mark.slow
def test_sentinels_are_missing_bands(tbl, out):
    number = sum(absent(tbl, band) for band in BANDS)
    np.testing.assert_array_equal(out["n_bands"], 5 - number)
    np.testing.assert_array_equal(has(out, flags.MISSING_BAND), number > 0)


@pytest.mark.slow
def test_masses_are_those_of_a_star_cluster(out):
    """Against LEGUS' own fits: other models and priors, hence the median of all only."""
    clusters = clusters_of(out)
    ratio = np.log10(out["mass_q50"][clusters] / out["mass_legus"][clusters])
    assert abs(np.median(ratio)) < 0.5
    good = ~has(out, flags.POOR_FIT)[clusters]
    assert good.mean() > 0.9
