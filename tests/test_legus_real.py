import numpy as np
import pytest

import clusterpost
from clusterpost import flags
from clusterpost.schema import output_columns

FILE = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"


@pytest.fixture(scope="module")
def tbl(shared_data):
    return clusterpost.read_catalog(shared_data / FILE)


@pytest.fixture(scope="module")
def out(tbl):
    return clusterpost.infer_table(tbl, n_samples=50, progress=False)


def has(out, bit):
    return (np.asarray(out["flag"]) & bit) != 0


@pytest.mark.slow
def test_every_row_has_an_answer_or_a_reason(tbl, out):
    assert len(out) == 3080
    assert (out["id"] == tbl["id"]).all()
    left_out = has(out, flags.NOT_INFERRED)
    reasons = flags.MISSING_BAND | flags.UPPER_LIMIT | flags.NOT_POSITIVE | flags.TRAINING_RANGE
    np.testing.assert_array_equal(left_out, has(out, reasons))
    for column in output_columns((0.16, 0.5, 0.84)):
        values = np.asarray(out[column.name])
        if values.ndim == 1 and column.name not in ("flag", "n_bands", "n_modes"):
            np.testing.assert_array_equal(np.isfinite(values), ~left_out, err_msg=column.name)
    assert out.meta["CPDIST"] == "galaxy NGC 628"
    assert out.meta["CPLAYOUT"] == "LEGUS"


@pytest.mark.slow
def test_clusters_with_five_bands_are_inferred(out):
    clusters = np.isin(out["class_mode"], (1, 2)) & (out["n_filters"] == 5)
    assert clusters.sum() == 594
    assert not has(out, flags.NOT_INFERRED)[clusters].any()
    assert (out["n_bands"][clusters] == 5).all()


@pytest.mark.slow
def test_acs_bands_are_flagged(out):
    measured = out["n_bands"] > 2  # more than the two of WFC3
    assert has(out, flags.ACS_AS_WFC3)[measured].all()


@pytest.mark.slow
def test_sentinels_are_missing_bands(tbl, out):
    bands = ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS")
    absent = sum(
        np.isin(tbl[b], (66.666, 99.999, 44.444)) | np.isin(tbl[f"{b}_err"], (66.666, 99.999, 44.444)) for b in bands
    )
    np.testing.assert_array_equal(out["n_bands"], 5 - absent)
    np.testing.assert_array_equal(has(out, flags.MISSING_BAND), absent > 0)


@pytest.mark.slow
def test_masses_are_those_of_a_star_cluster(out):
    """Against LEGUS' own fits: other models and priors, hence the median of all only."""
    clusters = np.isin(out["class_mode"], (1, 2)) & (out["n_filters"] == 5)
    ratio = np.log10(out["mass_q50"][clusters] / out["mass_legus"][clusters])
    assert abs(np.median(ratio)) < 0.5
    good = ~has(out, flags.POOR_FIT)[clusters]
    assert good.mean() > 0.9
