import copy

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked

import clusterpost
from clusterpost import conf, flags, infer, infer_table, log_prob, sample_posterior
from clusterpost.bands import WFC3_BANDS, get_band
from clusterpost.catalogs.writer import write_catalog
from clusterpost.errors import ColumnError, DistanceError, InputError, ModelError
from clusterpost.flow.modelfile import load_model
from clusterpost.schema import output_columns

N = 100  # draws of most tests here
LEVELS = (0.16, 0.5, 0.84)
NAMES = [c.name for c in output_columns(LEVELS)]
MODES = ("age_modes", "mass_modes", "ebv_modes", "mode_weight")


@pytest.fixture(scope="module")
def mocks():
    """Twelve bright clusters, with what inference must leave alone."""
    tbl = clusterpost.simulate(
        QTable(
            {
                "age": np.geomspace(2, 8000, 12) * u.Myr,
                "mass": np.geomspace(1e4, 1e6, 12) * u.solMass,
                "ebv": np.linspace(0, 0.8, 12) * u.mag,
            }
        ),
        distance=np.linspace(5, 20, 12),
        errors=0.08,
        seed=4,
    )
    tbl["name"] = [f"cluster {i}" for i in range(12)]
    tbl["class"] = np.arange(12) % 4
    tbl["class"].info.description = "human class"
    tbl.meta.update(note="kept", nested={"a": [1, 2]})
    return tbl


@pytest.fixture(scope="module")
def inferred(mocks):
    return infer_table(mocks, n_samples=N)


def state(tbl):
    columns = {
        n: (
            value(tbl[n]).tobytes(),
            str(tbl[n].dtype),
            str(tbl[n].unit),
            tbl[n].info.description,
            copy.deepcopy(tbl[n].info.meta),
        )
        for n in tbl.colnames
    }
    return columns, copy.deepcopy(dict(tbl.meta))


def value(column):
    return np.asarray(getattr(column, "value", column))


def assert_same(one, two, rtol=0.0, but=()):
    """Every output column agrees; NaN with NaN."""
    for name in NAMES:
        if name not in but:
            np.testing.assert_allclose(
                value(one[name]), value(two[name]), rtol=rtol, atol=rtol, equal_nan=True, err_msg=name
            )


def assert_close(one, two):
    """Equal but for the rounding of float32.

    Another chunk or another unit rounds a condition or a matrix product
    elsewhere, by 1e-7 of it, and twelve blocks make up to 1e-4 of a draw from
    that; the scatter of a hundred draws is 1e-1.  A mode that fewer than six
    of them make may be as dense as another to the last digit (two draws far
    apart make two such), and either may come first: those are left out.
    """
    assert_same(one, two, 1e-3, but=MODES)
    large = value(two["mode_weight"]) > 0.05
    for name in MODES:
        np.testing.assert_allclose(value(one[name])[large], value(two[name])[large], rtol=1e-3, atol=1e-3, err_msg=name)


# The table comes back as it was, with more columns


@pytest.mark.parametrize("kind", [Table, QTable])
def test_rows_columns_and_meta_are_kept(mocks, kind):
    tbl = kind(mocks)
    before = state(tbl)
    out = infer_table(tbl, n_samples=50)
    assert state(tbl) == before
    assert type(out) is kind
    assert len(out) == 12
    assert out.colnames == tbl.colnames + NAMES
    columns, _ = state(out)
    for name in tbl.colnames:
        assert columns[name] == before[0][name], name
    for key, kept in before[1].items():
        assert out.meta[key] == kept
    out["F275W"][0] *= 2
    out.meta["nested"]["a"].append(3)
    assert state(tbl) == before  # the copy shares nothing


def test_functions_of_draws_and_density_change_nothing(mocks):
    before = state(mocks)
    sample_posterior(mocks[:2], n_samples=20)
    log_prob(mocks, np.tile([2.0, 5.0, 0.3], (12, 1)))
    assert state(mocks) == before


def test_indices_and_masks_of_the_input(mocks):
    tbl = Table(mocks)
    tbl["note"] = MaskedColumn(np.arange(12), mask=np.arange(12) % 2 == 0)
    tbl.add_index("name")
    out = infer_table(tbl, n_samples=20)
    assert out["note"].mask.tolist() == tbl["note"].mask.tolist()
    assert out.loc["cluster 3"]["class"] == 3


def test_columns_are_as_the_registry_says(mocks):
    levels = (0.025, 0.5, 0.9973)
    for kind in (Table, QTable):
        out = infer_table(kind(mocks[:3]), n_samples=50, quantiles=levels)
        registry = output_columns(levels)
        assert out.colnames[len(mocks.colnames) :] == [c.name for c in registry]
        assert "age_q2.5" in out.colnames
        assert "stellar_mass_q99.73" in out.colnames
        for column in registry:
            got = out[column.name]
            assert (got.unit or "") == (u.Unit(column.unit) if column.unit else "")
            assert got.info.description == column.description
            assert got.info.meta["ucd"] == column.ucd
            assert got.shape == ((3, 3) if column.shape == "modes" else (3,))
            assert not isinstance(got, (MaskedColumn, Masked))
            assert isinstance(got, u.Quantity) is (kind is QTable and bool(column.unit))
            assert got.dtype == (np.int32 if column.name in ("flag", "n_modes", "n_bands") else np.float64)


@pytest.mark.parametrize("n_modes", [1, 5])
def test_number_of_modes(mocks, n_modes):
    out = infer_table(mocks[:3], n_samples=50, n_modes=n_modes)
    for name in MODES:
        assert out[name].shape == (3, n_modes)
    assert (out["n_modes"] <= n_modes).all()


def test_prefix(mocks, inferred):
    out = infer_table(inferred, n_samples=N, prefix="new_")
    assert out.colnames == inferred.colnames + [f"new_{n}" for n in NAMES]
    for name in ("age_q50", "flag", "ebv_modes"):
        np.testing.assert_array_equal(value(out[f"new_{name}"]), value(inferred[name]))


def test_a_column_in_the_way(mocks, inferred):
    with pytest.raises(ColumnError, match=r"has a column 'age_q16' already \(and 2\d more .*give prefix="):
        infer_table(inferred)
    tbl = mocks.copy()
    tbl["flag"] = 0
    with pytest.raises(ColumnError, match=r"has a column 'flag' already; give prefix='...' or remove"):
        infer_table(tbl)


def test_provenance(mocks, inferred):
    meta = inferred.meta
    assert meta["CPMODEL"] == "walter2025"
    assert load_model("walter2025").card["sha256"].startswith(meta["CPHASH"])
    assert (meta["CPSEED"], meta["CPDRAWS"], meta["CPFLOOR"], meta["CPNOISE"]) == (0, N, 0.05, "walter2025")
    assert meta["CPDIST"] == "column 'distance'"
    assert meta["CPVERS"] == clusterpost.__version__
    assert "log_mass 2..8" in meta["CPPRIOR"]
    assert all(len(k) <= 8 for k in meta if k.startswith("CP"))
    other = infer_table(mocks[:1], n_samples=20, distance=7.0, error_floor=None, seed=5).meta
    assert (other["CPFLOOR"], other["CPDIST"], other["CPSEED"]) == (0.0, "argument", 5)


def test_numbers_are_consistent(inferred):
    for name in ("age", "mass", "ebv", "stellar_mass"):
        low, mid, high = (value(inferred[f"{name}_{q}"]) for q in ("q16", "q50", "q84"))
        assert (low <= mid).all()
        assert (mid <= high).all()
        assert np.isfinite([low, high]).all()
    # Nothing is lost yet at 1 Myr, and more than half at 8 Gyr.
    left = value(inferred["stellar_mass_q50"]) / value(inferred["mass_q50"])
    assert (left <= 1).all()
    assert (left[value(inferred["age_q50"]) > 1000] < 0.7).all()
    assert (value(inferred["stellar_mass_q50"]) > 0.3 * value(inferred["mass_q50"])).all()
    for name in ("age", "mass", "ebv"):  # the MAP is the first mode
        np.testing.assert_array_equal(value(inferred[f"{name}_map"]), value(inferred[f"{name}_modes"])[:, 0])
    there = np.arange(3) < np.asarray(inferred["n_modes"])[:, None]
    for name in MODES:
        np.testing.assert_array_equal(np.isfinite(value(inferred[name])), there)
    assert (np.nansum(inferred["mode_weight"], axis=1) <= 1 + 1e-6).all()
    assert (inferred["n_bands"] == 5).all()
    assert (inferred["chi2_map"] >= 0).all()
    assert (value(inferred["age_q16"]) >= 1 - 1e-6).all()
    assert (value(inferred["age_q84"]) <= 13750 * (1 + 1e-6)).all()


# The same whatever the order, chunk and unit


def test_seeds(mocks, inferred):
    assert_same(infer_table(mocks, n_samples=N, seed=np.int64(0)), inferred)
    other = infer_table(mocks, n_samples=N, seed=1)
    assert not np.isclose(value(other["age_q50"]), value(inferred["age_q50"]), rtol=1e-6).any()
    # and yet it is the same posterior
    width = np.log10(value(inferred["mass_q84"]) / value(inferred["mass_q16"]))
    change = np.log10(value(other["mass_q50"]) / value(inferred["mass_q50"]))
    assert (np.abs(change) < 0.5 * width).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_rows_changes_nothing(mocks, inferred, seed):
    order = np.random.default_rng(seed).permutation(12)
    assert_close(infer_table(mocks[order], n_samples=N), inferred[order])


@pytest.mark.parametrize(("points_per_pass", "points_per_chunk"), [(64, 160_000), (7, 300), (8192, 1), (100_000, 500)])
def test_chunks_change_nothing(mocks, inferred, monkeypatch, points_per_pass, points_per_chunk):
    monkeypatch.setattr(infer, "_POINTS_PER_CHUNK", points_per_chunk)
    with conf.set_temp("points_per_pass", points_per_pass):
        assert_close(infer_table(mocks, n_samples=N), inferred)


def test_neighbors_do_not_matter(mocks, inferred):
    assert_close(infer_table(mocks[4:5], n_samples=N), inferred[4:5])


def in_unit(mocks, unit):
    tbl = mocks.copy()
    for band in WFC3_BANDS:
        flux, error = tbl[band], tbl[f"{band}_err"]
        if unit in ("AB", "Vega"):
            magnitude = flux.to(u.ABmag)
            tbl.remove_columns([band, f"{band}_err"])
            tbl[band] = magnitude if unit == "AB" else (magnitude.value - get_band(band).ab_minus_vega) * u.mag
            tbl[f"{band}_err"] = 2.5 / np.log(10) * (error / flux).value * u.mag
        else:
            equivalency = u.spectral_density(get_band(band).pivot * u.AA)
            tbl[band], tbl[f"{band}_err"] = flux.to(unit, equivalency), error.to(unit, equivalency)
    tbl.meta["magnitude_system"] = unit
    return tbl


@pytest.mark.parametrize("unit", ["uJy", "Jy", "erg / (s cm2 AA)", "AB", "Vega"])
def test_units_change_nothing(mocks, inferred, unit):
    assert_close(infer_table(in_unit(mocks, unit), n_samples=N), inferred)


def test_a_floor_once_or_before_is_the_same(mocks, inferred):
    assert_close(infer_table(clusterpost.apply_error_floor(mocks, 0.05), n_samples=N), inferred)
    without = infer_table(mocks, n_samples=N, error_floor=None)
    assert not np.isclose(value(without["age_q50"]), value(inferred["age_q50"]), rtol=1e-4).all()
    assert_same(infer_table(mocks, n_samples=N, error_floor=0), without)


def test_mapped_columns(mocks, inferred):
    tbl = mocks.copy()
    for band in WFC3_BANDS:
        tbl.rename_columns([band, f"{band}_err"], [f"flux_{band}", f"unc_{band}"])
    columns = {band: (f"flux_{band}", f"unc_{band}") for band in WFC3_BANDS}
    out = infer_table(tbl, n_samples=N, columns=columns)
    assert_same(out, inferred)
    assert out.meta["CPLAYOUT"] == "columns argument"


# Flags


def assert_not_inferred(out, row, *expected):
    named = clusterpost.decode_flags(out["flag"][row])
    assert set(named) >= {"not inferred", *expected}
    for name in NAMES:
        if name not in ("flag", "n_bands", "n_modes"):
            assert np.isnan(value(out[name])[row]).all(), name
    assert out["n_modes"][row] == 0


def test_no_flag_on_good_rows(inferred):
    assert not (
        inferred["flag"] & (flags.NOT_INFERRED | flags.MISSING_BAND | flags.UPPER_LIMIT | flags.ACS_AS_WFC3)
    ).any()


def test_rows_that_cannot_be_inferred(mocks, inferred):
    tbl = Table(mocks)
    tbl["F275W"][0] = np.nan
    tbl["F336W"] = MaskedColumn(tbl["F336W"], mask=np.arange(12) == 1)
    tbl["F438W"][2] = -9999
    tbl["F555W_err"][3] *= -1
    tbl["F814W_limit"] = np.arange(12) == 4
    tbl["F814W"][5] = 0
    tbl["F555W"][6] = -1e-3
    tbl["distance"][7] = np.nan
    tbl["F275W"][8] = 1e9  # beyond anything in training
    out = infer_table(tbl, n_samples=N)
    for row in (0, 1, 2):
        assert_not_inferred(out, row, "missing band")
        assert out["n_bands"][row] == 4
    for row in (3, 4):
        assert_not_inferred(out, row, "upper limit")
        assert out["n_bands"][row] == 4
    for row in (5, 6):
        assert_not_inferred(out, row, "flux not positive")
    assert_not_inferred(out, 7, "no distance")
    assert_not_inferred(out, 8, "outside training range")
    assert "upper limit" not in clusterpost.decode_flags(out["flag"][6])
    # the rows between are as ever
    assert_close(out[9:], inferred[9:])
    assert (out["n_bands"][5:] == 5).all()


def test_no_row_can_be_inferred(mocks):
    tbl = mocks[:3].copy()
    tbl["F275W"][:] = -1 * u.mJy
    out = infer_table(tbl, n_samples=20)
    for row in range(3):
        assert_not_inferred(out, row, "flux not positive")
    assert np.isnan(sample_posterior(tbl, n_samples=5)["age"]).all()
    assert np.isnan(log_prob(tbl, np.ones((3, 3)))).all()


def test_two_reasons_are_both_told(mocks):
    tbl = mocks[:2].copy()
    tbl["F275W"][0] = np.nan * u.mJy
    tbl["F336W_err"][0] *= -1
    assert_not_inferred(infer_table(tbl, n_samples=20), 0, "missing band", "upper limit")


def test_a_band_that_the_table_has_not(mocks):
    out = infer_table(mocks["F275W", "F275W_err", "F336W", "F336W_err", "distance"][:2], n_samples=20)
    assert_not_inferred(out, 1, "missing band")
    assert (out["n_bands"] == 2).all()


def test_a_distance_out_of_range_in_one_row(mocks, inferred):
    tbl = mocks.copy()
    tbl["distance"][3] = 500 * u.Mpc
    with pytest.warns(
        AstropyUserWarning, match=r"column 'distance' gives 500 Mpc in row 3; .* knows 1 to 30 Mpc. 1 such rows"
    ):
        out = infer_table(tbl, n_samples=N)
    assert_not_inferred(out, 3, "distance outside range")
    assert_close(out[4:], inferred[4:])


def test_the_distance_out_of_range_in_all_rows(mocks):
    with pytest.raises(DistanceError, match=r"argument gives 10000 Mpc in row 0; .*Check the unit of the distance"):
        infer_table(mocks, distance=1e4)
    with pytest.raises(DistanceError, match="Check the unit"):
        sample_posterior(mocks, distance=10 * u.kpc)


def test_errors_out_of_range_are_flagged_and_inferred(mocks):
    tbl = mocks.copy()
    tbl["F438W_err"][2] = 0.8 * tbl["F438W"][2]
    out = infer_table(tbl, n_samples=50)
    assert clusterpost.decode_flags(out["flag"][2])[0] == "error outside range"
    assert np.isfinite(out["age_q50"][2])
    assert not (out["flag"][3:] & flags.ERROR_RANGE).any()


def test_what_no_cluster_looks_like(mocks):
    tbl = mocks[5:7].copy()
    tbl["F438W"][0] *= 20
    tbl["F438W_err"][0] *= 20
    out = infer_table(tbl, n_samples=50)
    assert out["chi2_map"][0] > 10
    assert "poor fit" in clusterpost.decode_flags(out["flag"][0])
    assert "poor fit" not in clusterpost.decode_flags(out["flag"][1])


def test_acs_stands_in_for_wfc3(mocks, inferred):
    tbl = mocks.copy()
    for old, new in (("F438W", "F435W_ACS"), ("F555W", "F555W_ACS"), ("F814W", "F814W_ACS")):
        tbl.rename_columns([old, f"{old}_err"], [new, f"{new}_err"])
    out = infer_table(tbl, n_samples=N)
    assert (out["flag"] & flags.ACS_AS_WFC3 != 0).all()
    assert_same(out, inferred, 1e-6, but=["flag"])
    # where WFC3 measured, ACS is not used
    both = mocks.copy()
    both["F814W_ACS"], both["F814W_ACS_err"] = 2 * both["F814W"], both["F814W_err"]
    both["F814W"][0] = np.nan * u.mJy
    out = infer_table(both, n_samples=N)
    assert (np.asarray(out["flag"]) & flags.ACS_AS_WFC3 != 0).tolist() == [True] + [False] * 11
    assert_close(out[1:], inferred[1:])


# Options that cannot be


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_samples": 5}, InputError, "n_samples=5 must be a whole number of at least 10"),
        ({"n_samples": 50.5}, InputError, "n_samples=50.5"),
        ({"n_modes": 0}, InputError, "n_modes=0"),
        ({"n_modes": 9}, InputError, "from 1 to 8"),
        ({"quantiles": (0.16, 1.0)}, InputError, "quantiles=.*between 0 and 1, such as 0.16 for 16 %"),
        ({"quantiles": (16, 84)}, InputError, "quantiles="),
        ({"quantiles": ()}, InputError, "quantiles="),
        ({"quantiles": (0.5, 0.5)}, InputError, "different"),
        ({"model": "nothing"}, ModelError, "bundled models are"),
        ({"distance": [1.0, 2.0]}, DistanceError, "2 values .* for 12 rows"),
        ({"error_floor": 2}, InputError, "error_floor=2"),
        ({"columns": {"F275W": ("a", "b")}}, ColumnError, "'a'"),
        ({"device": "gpu"}, ModelError, "'cpu' or 'cuda'"),
    ],
)
def test_options_that_cannot_be(mocks, options, error, message):
    with pytest.raises(error, match=message):
        infer_table(mocks, **options)


def test_one_quantile(mocks):
    out = infer_table(mocks[:1], n_samples=20, quantiles=0.5)
    assert "age_q50" in out.colnames
    assert "age_q16" not in out.colnames


def test_progress_is_on_standard_error(mocks, capsys):
    infer_table(mocks[:2], n_samples=20)
    assert capsys.readouterr() == ("", "")
    infer_table(mocks[:2], n_samples=20, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "inferring" in shown.err


# Draws and density


@pytest.fixture(scope="module")
def draws(mocks):
    tbl = mocks.copy()
    tbl["F275W"][1] = np.nan * u.mJy
    return sample_posterior(tbl, n_samples=60)


def theta_of(smp):
    return np.stack([np.log10(smp["age"].value), np.log10(smp["mass"].value), smp["ebv"].value], axis=-1)


def test_shapes_and_nan_rows(draws):
    assert isinstance(draws, QTable)
    assert draws.colnames == ["age", "mass", "ebv", "log_prob", "flag"]
    assert [str(draws[n].unit) for n in ("age", "mass", "ebv")] == ["Myr", "solMass", "mag"]
    for name in ("age", "mass", "ebv", "log_prob"):
        assert draws[name].shape == (12, 60)
        assert np.isnan(value(draws[name])[1]).all()
        assert np.isfinite(value(draws[name])[[0, *range(2, 12)]]).all()
    assert clusterpost.decode_flags(draws["flag"][1]) == ["not inferred", "missing band"]
    theta = theta_of(draws)[2:]
    assert (theta >= [0, 2, 0]).all()
    assert (theta <= [np.log10(13750) + 1e-6, 8, 1.5]).all()
    assert draws.meta["CPDRAWS"] == 60


def test_draws_are_those_of_the_table(mocks, inferred):
    smp = sample_posterior(mocks, n_samples=N)
    for name in ("age", "mass"):
        expected = 10 ** np.quantile(np.log10(smp[name].value), 0.16, axis=1)
        np.testing.assert_allclose(value(inferred[f"{name}_q16"]), expected, rtol=1e-4)
    np.testing.assert_allclose(value(inferred["ebv_q84"]), np.quantile(smp["ebv"].value, 0.84, axis=1), atol=1e-5)
    np.testing.assert_allclose(value(inferred["entropy"]), -smp["log_prob"].mean(axis=1), rtol=1e-4, atol=1e-4)


def test_both_directions_of_the_flow_agree(mocks, draws):
    theta = theta_of(draws)[2:]
    density = log_prob(mocks[2:], theta)
    assert density.shape == (10, 60)
    # Closer than a thousandth to a bound, float32 does not hold where exactly a draw lies.
    prior = load_model().card["simulator"]["prior"]
    unit = (theta - prior["low"]) / (np.array(prior["high"]) - prior["low"])
    inner = ((unit > 1e-3) & (unit < 1 - 1e-3)).all(axis=-1)
    assert inner.mean() > 0.6
    np.testing.assert_allclose(density[inner], value(draws["log_prob"])[2:][inner], atol=1e-2, rtol=1e-2)
    assert np.isfinite(density).all()


def test_one_vector_each(mocks, draws):
    theta = theta_of(draws)[2:]
    np.testing.assert_allclose(log_prob(mocks[2:], theta[:, 0]), log_prob(mocks[2:], theta)[:, 0], rtol=1e-3, atol=1e-3)
    with conf.set_temp("points_per_pass", 17):
        np.testing.assert_allclose(log_prob(mocks[2:], theta), log_prob(mocks[2:], theta), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "theta", [[-0.1, 4, 0.3], [4.2, 4, 0.3], [2, 1.9, 0.3], [2, 8.1, 0.3], [2, 4, -0.01], [2, 4, 1.51]]
)
def test_nothing_outside_the_prior(mocks, theta):
    assert log_prob(mocks[:1], [theta])[0] == -np.inf
    both = log_prob(mocks[:1], [[theta, [2, 4.5, 0.3]]])
    assert both[0, 0] == -np.inf
    assert np.isfinite(both[0, 1])


def test_density_of_rows_that_cannot_be_inferred(mocks):
    tbl = mocks[:3].copy()
    tbl["F275W"][1] = np.nan * u.mJy
    density = log_prob(tbl, np.tile([2, 4.5, 0.3], (3, 1)))
    assert np.isnan(density).tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(3,), (11, 3), (12, 2), (12, 4, 2), (1, 12, 3), (12, 1, 1, 3)])
def test_shapes_of_theta_that_are_refused(mocks, shape):
    with pytest.raises(InputError, match=r"theta has shape .*; for 12 rows give \(12, 3\) or \(12, k, 3\): log10 age"):
        log_prob(mocks, np.ones(shape))


def test_the_density_integrates_to_one():
    """On a grid over where the draws are, for one cluster of large errors."""
    tbl = clusterpost.simulate(
        QTable({"age": [300] * u.Myr, "mass": [1e5] * u.solMass, "ebv": [0.3] * u.mag}), distance=10, errors=0.3, seed=2
    )
    theta = theta_of(sample_posterior(tbl, n_samples=500))[0]
    low, high = np.maximum(theta.min(axis=0) - 0.15, [0, 2, 0]), np.minimum(theta.max(axis=0) + 0.15, [4.138, 8, 1.5])
    axes = [lo + (np.arange(26) + 0.5) / 26 * (hi - lo) for lo, hi in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    density = np.exp(log_prob(tbl, grid[None])[0])
    assert density.mean() * np.prod(high - low) == pytest.approx(1, abs=0.08)


# Truth and files


def test_known_clusters(mocks):
    """Ages, masses and reddening of clean clusters to within what five bands can tell."""
    out = infer_table(mocks, n_samples=300, quantiles=(0.005, 0.995))
    for name in ("age", "mass", "ebv"):
        truth = value(mocks[f"{name}_true"])
        slack = 1.3 if name != "ebv" else 1.0
        low, high = value(out[f"{name}_q0.5"]), value(out[f"{name}_q99.5"])
        assert ((truth >= low / slack - 0.05) & (truth <= high * slack + 0.05)).sum() >= 10, name


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".vot", ".parquet"])
@pytest.mark.parametrize("kind", [Table, QTable])
def test_round_trip(tmp_path, mocks, kind, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")
    tbl = kind(mocks[:4])
    del tbl.meta["nested"]
    tbl["F275W"][2] = np.nan * (u.mJy if kind is QTable else 1)  # a row that holds NaN
    out = infer_table(tbl, n_samples=20)
    path = tmp_path / f"out{suffix}"
    write_catalog(out, path)
    back = kind.read(path)
    assert back.colnames == out.colnames
    for column in output_columns(LEVELS):
        got = back[column.name]
        got = got.unmasked if isinstance(got, Masked) else got
        np.testing.assert_array_equal(value(got), value(out[column.name]), err_msg=column.name)
        assert (got.unit or "") == (out[column.name].unit or ""), column.name
        assert got.info.description.split() == column.description.split()  # a VOTable breaks lines
        assert back[column.name].info.meta["ucd"] == column.ucd
    again = clusterpost.read_catalog(path)
    for key, kept in out.meta.items():
        assert again.meta[key.upper() if suffix == ".fits" else key] == kept
    # and it can be inferred again
    second = infer_table(back, n_samples=20, prefix="b_")
    np.testing.assert_allclose(value(second["b_age_q50"]), value(out["age_q50"]), rtol=1e-5)
    assert not isinstance(second["b_age_q50"], (MaskedColumn, Masked))


def test_on_a_gpu_the_same(mocks, inferred):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    assert_close(infer_table(mocks, n_samples=N, device="cuda"), inferred)
