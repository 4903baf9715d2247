"""The replica of Walter et al. (2025): five bands, 1 to 30 Mpc, and the network's own word."""

import functools

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from infer_tables import NAMES, PARAMETERS, N, assert_close, assert_same, coordinate, theta_of, value, without

import clusterpost
from clusterpost import decode_flags, flags, infer_table
from clusterpost.bands import ACS_BANDS, WFC3_BANDS
from clusterpost.errors import DistanceError
from clusterpost.flow.modelfile import load_model
from clusterpost.schema import quantile_label

pytestmark = pytest.mark.usefixtures("exact_by_default")

REPLICA = {"model": "walter2025", "refine": False}
infer_replica = functools.partial(infer_table, n_samples=N, **REPLICA)


@pytest.fixture(scope="module")
def replicated(clusters):
    return infer_replica(clusters)


def assert_not_inferred(out, row, *expected):
    assert set(decode_flags(out["flag"][row])) >= {"not inferred", *expected}
    for name in NAMES:
        if name not in ("flag", "n_bands", "n_modes"):
            assert np.isnan(value(out[name])[row]).all(), name


def test_provenance(replicated):
    meta = replicated.meta
    assert (meta["CPMODEL"], meta["CPNOISE"], meta["CPREFINE"], meta["CPDRAWS"]) == (
        "walter2025", "walter2025", False, N)
    assert load_model("walter2025").card["sha256"].startswith(meta["CPHASH"])


def test_the_map_is_the_first_mode(replicated):
    for name in PARAMETERS:
        np.testing.assert_array_equal(value(replicated[f"{name}_map"]), value(replicated[f"{name}_modes"])[:, 0])
    assert np.isnan(replicated["efficiency"]).all()
    assert np.isfinite(replicated["entropy"]).all()
    assert not (replicated["flag"] & flags.NOT_INFERRED).any()


def test_order_and_units_change_nothing(clusters, replicated):
    order = np.random.default_rng(1).permutation(12)
    assert_close(infer_replica(clusters[order]), replicated[order])
    micro = clusters.copy()
    for band in WFC3_BANDS:
        for name in (band, f"{band}_err"):
            micro[name] = micro[name].to(u.uJy)
    assert_close(infer_replica(micro), replicated)


def test_all_five_bands_are_needed(clusters, replicated):
    tbl = without(Table(clusters), 0, "F275W")
    tbl["F438W"][2] = -9999
    tbl["F555W_err"][3] *= -1
    tbl["F814W"][5] = 0
    tbl["F555W"][6] = -1e-3
    tbl["distance"][7] = np.nan
    tbl["F275W"][8] = 1e9  # beyond anything in training
    out = infer_replica(tbl)
    for row, reason in ((0, "missing band"), (2, "missing band"), (3, "upper limit"), (5, "flux not positive"),
                        (6, "flux not positive")):
        assert_not_inferred(out, row, reason, "too few bands")
    assert_not_inferred(out, 7, "no distance")
    assert_not_inferred(out, 8, "outside training range")
    assert out["n_bands"].tolist() == [4, 5, 4, 4, 5, 4, 4, 5, 5, 5, 5, 5]
    assert_close(out[9:], replicated[9:])


def test_a_distance_out_of_range_in_one_row(clusters, replicated):
    tbl = clusters.copy()
    tbl["distance"][3] = 500 * u.Mpc
    with pytest.warns(
        AstropyUserWarning, match=r"column 'distance' gives 500 Mpc in row 3; .* supports 1 to 30 Mpc. 1 such rows"
    ):
        out = infer_replica(tbl)
    assert_not_inferred(out, 3, "distance outside range")
    assert_close(out[4:], replicated[4:])


def test_the_distance_out_of_range_in_all_rows(clusters):
    with pytest.raises(DistanceError, match=r"argument gives 100 Mpc in row 0; .*Check the unit of the distance"):
        infer_replica(clusters, distance=100)
    with pytest.raises(DistanceError, match="Check the unit"):
        clusterpost.sample_posterior(clusters, distance=10 * u.kpc, **REPLICA)


def test_errors_out_of_range_are_flagged_and_inferred(clusters):
    tbl = clusters.copy()
    tbl["F438W_err"][2] = 0.8 * tbl["F438W"][2]
    out = infer_replica(tbl)
    assert decode_flags(out["flag"][2])[0] == "error outside range"
    assert np.isfinite(out["age_q50"][2])
    assert not (out["flag"][3:] & flags.ERROR_RANGE).any()


def test_acs_stands_in_for_wfc3(clusters, replicated):
    tbl = clusters.copy()
    for old, new in zip(WFC3_BANDS[2:], ACS_BANDS, strict=True):
        tbl.rename_columns([old, f"{old}_err"], [new, f"{new}_err"])
    out = infer_replica(tbl)
    assert (out["flag"] & flags.ACS_AS_WFC3 != 0).all()
    assert_same(out, replicated, 1e-6, but=["flag"])
    # where WFC3 measured, ACS is not used
    both = clusters.copy()
    both["F814W_ACS"], both["F814W_ACS_err"] = 2 * both["F814W"], both["F814W_err"]
    both["F814W"][0] = np.nan * u.mJy
    out = infer_replica(both)
    assert (np.asarray(out["flag"]) & flags.ACS_AS_WFC3 != 0).tolist() == [True] + [False] * 11
    assert_close(out[1:], replicated[1:])


def test_draws_are_those_of_the_table(clusters):
    replicated = infer_table(clusters, n_samples=300, **REPLICA)
    smp = clusterpost.sample_posterior(clusters, n_samples=300, **REPLICA)
    for name in ("age", "mass"):
        expected = 10 ** np.quantile(np.log10(smp[name].value), 0.16, axis=1)
        np.testing.assert_allclose(value(replicated[f"{name}_q16"]), expected, rtol=1e-4)
    np.testing.assert_allclose(value(replicated["ebv_q84"]), np.quantile(smp["ebv"].value, 0.84, axis=1), atol=1e-5)
    np.testing.assert_allclose(value(replicated["entropy"]), -smp["log_prob"].mean(axis=1), rtol=1e-4, atol=1e-4)


def test_both_directions_of_the_flow_agree(clusters):
    smp = clusterpost.sample_posterior(clusters, n_samples=60, **REPLICA)
    theta = theta_of(smp)
    density = clusterpost.log_prob(clusters, theta, **REPLICA)
    assert density.shape == (12, 60)
    # Closer than a thousandth to a bound, float32 does not hold where exactly a draw lies.
    prior = load_model("walter2025").card["simulator"]["prior"]
    unit = (theta - prior["low"]) / (np.array(prior["high"]) - prior["low"])
    inner = ((unit > 1e-3) & (unit < 1 - 1e-3)).all(axis=-1)
    assert inner.mean() > 0.6
    np.testing.assert_allclose(density[inner], smp["log_prob"][inner], atol=1e-2, rtol=1e-2)
    assert np.isfinite(density).all()


def test_refinement_brings_it_to_the_exact_posterior():
    """Under its own noise: from draws of the same simulator, to where it and the default model meet."""
    params = Table({"age": [8.0, 80.0, 800.0], "mass": [2e4, 5e4, 2e5], "ebv": [0.4, 0.1, 0.2]})
    tbl = clusterpost.simulate(params, distance=9.0, errors=0.15, noise="walter2025", seed=3)
    levels = tuple(np.round(np.arange(0.02, 1, 0.02), 2))
    one = infer_table(tbl, model="walter2025", noise="lognormal", n_samples=4000, quantiles=levels)
    two = infer_table(tbl, n_samples=4000)
    for name in PARAMETERS:
        every = np.stack([coordinate(one, f"{name}_{quantile_label(level)}") for level in levels])
        for level in (0.16, 0.5, 0.84):  # shares, as a quantile between two modes moves far for a small one
            at = coordinate(two, f"{name}_{quantile_label(level)}")
            shares = [np.interp(x, column, levels) for x, column in zip(at, every.T, strict=True)]
            np.testing.assert_allclose(shares, level, atol=0.03)
    np.testing.assert_allclose(one["log_evidence"], two["log_evidence"], atol=0.05)
    assert (one["efficiency"] < 0.9 * two["efficiency"]).all()
