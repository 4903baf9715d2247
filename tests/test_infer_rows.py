"""Every row gets an answer or a flag that says why not."""

import itertools

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from infer_tables import INTEGERS, NAMES, N, assert_close, coordinate, value, without

import clusterpost
from clusterpost import decode_flags, exact_posterior, flags, infer_table, log_prob, sample_posterior
from clusterpost.bands import ACS_BANDS, BANDS, WFC3_BANDS

pytestmark = pytest.mark.usefixtures("exact_by_default")

EIGHT = (*WFC3_BANDS, *ACS_BANDS)

ALL_BUT_ONE = ("F275W", "F336W", "F438W", "F555W")
NEVER = flags.NOT_INFERRED | flags.MISSING_BAND | flags.UPPER_LIMIT | flags.ACS_AS_WFC3 | flags.TOO_FEW_BANDS


def assert_not_inferred(out, row, *expected):
    assert set(decode_flags(out["flag"][row])) >= {"not inferred", *expected}
    for name in NAMES:
        if name not in INTEGERS:
            assert np.isnan(value(out[name])[row]).all(), name
    assert out["n_modes"][row] == 0


def assert_inferred(out, row, *expected):
    """An answer, with these flags and none that tells of trouble with the row."""
    named = set(decode_flags(out["flag"][row]))
    assert named >= set(expected)
    assert not named & {"not inferred", "too few bands", "no distance"}
    for name in ("age_q16", "mass_q50", "ebv_q84", "stellar_mass_q50", "efficiency", "log_evidence", "entropy"):
        assert np.isfinite(value(out[name])[row]), name


def test_no_flag_on_good_rows(inferred):
    assert not (inferred["flag"] & NEVER).any()


def test_rows_of_every_kind(clusters, inferred):
    tbl = without(Table(clusters), 0, "F275W")
    tbl["F336W"] = MaskedColumn(tbl["F336W"], mask=np.arange(12) == 1)
    tbl["F438W"][2] = -9999
    tbl["F555W_err"][3] *= -1
    tbl["F814W_limit"] = np.arange(12) == 4
    tbl["F814W"][5] = 0
    tbl["F555W"][6] = -1e-3
    tbl["distance"][7] = np.nan
    without(tbl, 8, *ALL_BUT_ONE)
    out = infer_table(tbl, n_samples=N)
    for row in (0, 1, 2):
        assert_inferred(out, row, "missing band")
    for row in (3, 4):
        assert_inferred(out, row, "upper limit")
    for row in (5, 6):
        assert_inferred(out, row, "flux not positive")
    assert_not_inferred(out, 7, "no distance")
    assert_not_inferred(out, 8, "missing band", "too few bands")
    assert out["n_bands"].tolist() == [4] * 7 + [5, 1, 5, 5, 5]
    assert not ({"upper limit", "missing band"} & set(decode_flags(out["flag"][6])))
    assert_close(out[9:], inferred[9:])  # the rows between are as ever


def test_the_same_rows_on_the_grid(clusters):
    """The answers agree, with an upper limit among the rows."""
    tbl = without(Table(clusters[:6]), 0, "F275W")
    without(tbl, 1, *ALL_BUT_ONE)
    tbl["F814W"][2] = -1e-3
    tbl["distance"][3] = np.nan
    tbl["F555W_err"][4] *= -1
    out, exact = infer_table(tbl), exact_posterior(tbl)
    for row in (1, 3):
        assert_not_inferred(exact, row)
    np.testing.assert_array_equal(exact["n_bands"], out["n_bands"])
    np.testing.assert_array_equal(exact["flag"], out["flag"])
    same = [0, 2, 4, 5]
    for name in ("age_q50", "mass_q50", "ebv_q50"):
        np.testing.assert_allclose(coordinate(exact, name)[same], coordinate(out, name)[same], atol=0.02)


def test_no_row_can_be_inferred(clusters):
    tbl = clusters[:3].copy()
    for row in range(3):
        without(tbl, row, *ALL_BUT_ONE)
    for out in (infer_table(tbl, n_samples=20), infer_table(tbl, n_samples=20, refine=False), exact_posterior(tbl)):
        for row in range(3):
            assert_not_inferred(out, row, "missing band", "too few bands")
    assert np.isnan(sample_posterior(tbl, n_samples=5)["age"]).all()
    assert np.isnan(log_prob(tbl, np.ones((3, 3)))).all()


def test_all_reasons_are_told(clusters):
    tbl = without(clusters[:2].copy(), 0, "F275W")
    tbl["F336W_err"][0] *= -1
    for band in ("F438W", "F555W"):
        tbl[band][0] *= -1
    assert_not_inferred(infer_table(tbl, n_samples=20), 0, "missing band", "upper limit", "flux not positive",
                        "too few bands")


def test_a_limit_is_no_band_to_rest_on(clusters):
    tbl = without(clusters[:1].copy(), 0, "F336W", "F438W", "F814W")
    assert_inferred(infer_table(tbl, n_samples=50), 0, "missing band")
    tbl["F275W_err"][0] *= -1
    assert_not_inferred(infer_table(tbl, n_samples=50), 0, "missing band", "upper limit", "too few bands")


def test_fluxes_of_zero_and_below(clusters):
    """Normal noise has a use for them, log-normal noise has none."""
    tbl = clusters[:3].copy()
    for row, flux in ((0, -0.2), (1, 0.0)):
        tbl["F275W"][row] = flux * tbl["F275W_err"][row]
    with_lognormal, with_normal = infer_table(tbl, n_samples=50), infer_table(tbl, n_samples=50, noise="normal")
    for row in (0, 1):
        assert_inferred(with_lognormal, row, "flux not positive")
        assert_inferred(with_normal, row)
        assert "flux not positive" not in decode_flags(with_normal["flag"][row])
    assert with_lognormal["n_bands"].tolist() == [4, 4, 5]
    assert with_normal["n_bands"].tolist() == [5, 5, 5]


# Bands


def test_bands_that_the_table_has_not(clusters):
    two = infer_table(clusters["F275W", "F275W_err", "F336W", "F336W_err", "distance"][:2], n_samples=50)
    for row in range(2):
        assert_inferred(two, row, "missing band")
    assert (two["n_bands"] == 2).all()
    one = infer_table(clusters["F275W", "F275W_err", "distance"][:2], n_samples=50)
    assert_not_inferred(one, 1, "missing band", "too few bands")
    assert (one["n_bands"] == 1).all()


@pytest.fixture(scope="module")
def eight_bands():
    """One cluster in all bands of both cameras, once for each subset of them."""
    subsets = [s for n in range(1, 9) for s in itertools.combinations(EIGHT, n)]
    params = Table({"age": [60.0] * len(subsets), "mass": [2e5] * len(subsets), "ebv": [0.3] * len(subsets)})
    tbl = clusterpost.simulate(params, distance=11, errors=0.1, bands=list(EIGHT), seed=8)
    for row, subset in enumerate(subsets):
        without(tbl, row, *(b for b in EIGHT if b not in subset))
    return tbl, subsets


def test_any_subset_of_two_or_more_bands(eight_bands):
    """Of all 255: two places in the spectrum are needed, from whichever camera."""
    tbl, subsets = eight_bands
    out = infer_table(tbl, n_samples=60, quantiles=(0.01, 0.99))
    slots = np.array([len({BANDS[band].wfc3 for band in subset}) for subset in subsets])
    not_inferred = (out["flag"] & flags.NOT_INFERRED) != 0
    np.testing.assert_array_equal(not_inferred, slots < 2)
    np.testing.assert_array_equal((out["flag"] & flags.TOO_FEW_BANDS) != 0, slots < 2)
    np.testing.assert_array_equal((out["flag"] & flags.MISSING_BAND) != 0, slots < 5)
    np.testing.assert_array_equal(out["n_bands"], [len(subset) for subset in subsets])
    assert not (out["flag"] & (flags.ACS_AS_WFC3 | flags.LOW_EFFICIENCY | flags.OUTSIDE_SUPPORT)).any()
    good = ~not_inferred
    for name, truth in (("age", np.log10(60)), ("mass", np.log10(2e5)), ("ebv", 0.3)):
        low, high = (coordinate(out, f"{name}_{q}")[good] for q in ("q1", "q99"))
        assert ((low <= truth) & (truth <= high)).mean() > 0.95, name
    # Photometry in more places of the spectrum tells more.
    entropy = [np.median(out["entropy"][slots == n]) for n in (2, 3, 4, 5)]
    assert (np.diff(entropy) < -0.1).all()


def test_subsets_agree_with_the_grid(eight_bands):
    tbl, subsets = eight_bands
    some = [i for i, subset in enumerate(subsets) if len({BANDS[band].wfc3 for band in subset}) > 1][::12]
    out, exact = infer_table(tbl[some]), exact_posterior(tbl[some])
    for name in ("age", "mass", "ebv"):
        half = (coordinate(exact, f"{name}_q84") - coordinate(exact, f"{name}_q16")) / 2
        for q in ("q16", "q50", "q84"):
            change = np.abs(coordinate(out, f"{name}_{q}") - coordinate(exact, f"{name}_{q}")) / half
            assert change.max() < 0.25, (name, q)
    np.testing.assert_allclose(out["log_evidence"], exact["log_evidence"], atol=0.1)


def test_both_bands_of_one_place(clusters):
    """Both enter the likelihood: two errors of 8 % at one place tell more than one."""
    params = Table({"age": [60.0], "mass": [2e5], "ebv": [0.3]})
    bands = ["F336W", "F555W", "F814W"]
    noiseless = clusterpost.simulate(params, distance=11, bands=[*bands, "F555W_ACS", "F814W_ACS"])
    for band in (*bands, "F555W_ACS", "F814W_ACS"):
        noiseless[f"{band}_err"] = 0.2 * noiseless[band]
    one = infer_table(noiseless["distance", *(n for band in bands for n in (band, f"{band}_err"))])
    both = infer_table(noiseless)
    assert (one["n_bands"][0], both["n_bands"][0]) == (3, 5)
    assert both["entropy"][0] < one["entropy"][0] - 0.2
    assert decode_flags(both["flag"][0]) == ["missing band"]
    exact = exact_posterior(noiseless)
    np.testing.assert_allclose(coordinate(both, "mass_q16"), coordinate(exact, "mass_q16"), atol=0.02)
    # and where they disagree, no cluster looks so
    odd = noiseless.copy()
    odd["F555W_ACS"], odd["F555W_ACS_err"] = 8 * odd["F555W_ACS"], 8 * odd["F555W_ACS_err"]
    assert "outside support" in decode_flags(infer_table(odd)["flag"][0])


def test_acs_is_not_taken_for_wfc3(clusters):
    """F435W_ACS and F438W are different bands: the same number in the other column is another cluster."""
    tbl = clusters.copy()
    for old, new in zip(WFC3_BANDS[2:], ACS_BANDS, strict=True):
        tbl.rename_columns([old, f"{old}_err"], [new, f"{new}_err"])
    out, as_wfc3 = infer_table(tbl), infer_table(clusters)
    assert not (out["flag"] & NEVER).any()
    assert (out["n_bands"] == 5).all()
    change = np.abs(coordinate(out, "age_q50") - coordinate(as_wfc3, "age_q50"))
    assert (change > 1e-3).mean() > 0.8
    assert np.median(change) < 0.1


# Ranges


@pytest.mark.parametrize("mpc", [0.01, 0.8, 500.0])
def test_any_distance(clusters, inferred, mpc):
    """The same cluster further away: everything but the flux is as before."""
    tbl = clusters.copy()
    fainter = (value(tbl["distance"]) / mpc) ** 2
    for band in WFC3_BANDS:
        tbl[band], tbl[f"{band}_err"] = tbl[band] * fainter, tbl[f"{band}_err"] * fainter
    out = infer_table(tbl, n_samples=N, distance=mpc)
    assert_close(out, inferred)


def test_errors_out_of_range_are_flagged_and_inferred(clusters):
    tbl = clusters.copy()
    tbl["F438W_err"][2] = 4 * tbl["F438W"][2]
    tbl["F438W_err"][3] = 0.01 * tbl["F438W"][3]
    out = infer_table(tbl, n_samples=50)
    assert_inferred(out, 2, "error outside range")
    assert not (out["flag"][3:] & flags.ERROR_RANGE).any()
    assert_inferred(infer_table(tbl, n_samples=50, error_floor=None), 3, "error outside range")


def test_a_band_of_a_huge_error_tells_nothing(clusters):
    tbl = without(clusters[:1].copy(), 0, "F438W")
    without_it = infer_table(tbl)
    tbl["F438W"][0], tbl["F438W_err"][0] = clusters["F438W"][0], 1e4 * clusters["F438W"][0]
    out = infer_table(tbl)
    for name in ("age_q50", "ebv_q16", "mass_q84"):
        assert coordinate(out, name)[0] == pytest.approx(coordinate(without_it, name)[0], abs=0.03)


def test_what_no_cluster_looks_like(clusters):
    tbl = clusters[5:7].copy()
    tbl["F438W"][0] *= 20
    tbl["F438W_err"][0] *= 20
    for out in (infer_table(tbl, n_samples=50), infer_table(tbl, n_samples=50, refine=False), exact_posterior(tbl)):
        assert out["chi2_map"][0] > 10
        assert set(decode_flags(out["flag"][0])) >= {"poor fit", "outside support"}
        assert out["support"][0] < 1e-3
        assert np.isfinite(out["age_q50"][0])
        assert not {"poor fit", "outside support"} & set(decode_flags(out["flag"][1]))


def test_a_distance_for_each_row(clusters):
    """Ten times as far, a hundred times the mass."""
    out = infer_table(clusters, distance=np.where(np.arange(12) < 6, 3.0, 30.0) * u.Mpc)
    near = infer_table(clusters[6:], distance=3.0)
    np.testing.assert_allclose(coordinate(out[6:], "mass_q50"), coordinate(near, "mass_q50") + 2, atol=1e-3)
