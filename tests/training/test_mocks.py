import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table

import clusterpost
from clusterpost.bands import ACS_BANDS, BANDS, WFC3_BANDS
from clusterpost.errors import ColumnError, DistanceError, InputError, UnitError
from clusterpost.training.mocks import simulate

pytestmark = pytest.mark.usefixtures("exact_by_default")

EIGHT = (*WFC3_BANDS, *ACS_BANDS)

PARAMS = QTable({"age": [5, 100, 5000] * u.Myr, "mass": [1e4, 1e5, 1e6] * u.solMass, "ebv": [0.1, 0.0, 1.5] * u.mag})


def fluxes(tbl, bands=WFC3_BANDS):
    return np.stack([tbl[b].to_value(u.mJy) for b in bands], axis=1)


def relative(tbl, bands=WFC3_BANDS):
    return np.stack([(tbl[f"{b}_err"] / tbl[b]).value for b in bands], axis=1)


def same(one, two):
    return one.colnames == two.colnames and all(np.array_equal(one[n], two[n]) for n in one.colnames)


def test_columns_and_meta():
    mocks = simulate(20, seed=3)
    assert isinstance(mocks, QTable)
    assert mocks.colnames == [
        "age_true",
        "mass_true",
        "ebv_true",
        "distance",
        *(n for b in WFC3_BANDS for n in (b, f"{b}_err")),
    ]
    assert [str(mocks[n].unit) for n in mocks.colnames[:5]] == ["Myr", "solMass", "mag", "Mpc", "mJy"]
    assert mocks.meta == {"SIMULATR": "clusterpost.simulate", "SIMSEED": 3, "SIMNOISE": "lognormal"}
    assert all((mocks[b] > 0).all() for b in WFC3_BANDS)


def test_prior_distances_and_errors():
    mocks = simulate(2000, seed=1)
    for values, low, high in (
        (np.log10(mocks["age_true"].value), 0, np.log10(13750)),
        (np.log10(mocks["mass_true"].value), 2, 8),
        (mocks["ebv_true"].value, 0, 1.5),
        (mocks["distance"].value, 1, 30),
        (relative(mocks), 0.05, 0.5),
    ):
        assert low - 1e-6 <= values.min()
        assert values.max() <= high + 1e-6
        assert values.mean() == pytest.approx((low + high) / 2, abs=5 * (high - low) / np.sqrt(12 * 2000))


def test_seeds():
    assert same(simulate(10, seed=1), simulate(10, seed=1))
    assert not (simulate(10, seed=1)["F555W"] == simulate(10, seed=2)["F555W"]).any()
    noisy = {seed: simulate(PARAMS, distance=10, errors=0.1, seed=seed) for seed in (1, 2)}
    assert (noisy[1]["age_true"] == noisy[2]["age_true"]).all()
    assert not (noisy[1]["F555W"] == noisy[2]["F555W"]).any()


def test_noiseless():
    mocks = simulate(PARAMS, distance=10 * u.Mpc)
    assert same(mocks, simulate(PARAMS, distance=10, seed=5, noise="normal"))
    assert mocks.meta["SIMNOISE"] == "none"
    for name in ("age", "mass", "ebv"):
        np.testing.assert_allclose(mocks[f"{name}_true"].value, PARAMS[name].value, rtol=1e-12)
    assert not any(mocks[f"{b}_err"].value.any() for b in WFC3_BANDS)
    np.testing.assert_allclose(fluxes(simulate(PARAMS, distance=10, seed=5)), fluxes(mocks))


def test_flux_scales_with_mass_and_distance():
    base = fluxes(simulate(PARAMS, distance=10))
    heavy = QTable(PARAMS, copy=True)
    heavy["mass"] *= 1e5  # beyond the prior, which is no limit here
    np.testing.assert_allclose(fluxes(simulate(heavy, distance=10)), 1e5 * base, rtol=1e-9)
    np.testing.assert_allclose(fluxes(simulate(PARAMS, distance=20)), base / 4, rtol=1e-9)
    np.testing.assert_allclose(fluxes(simulate(PARAMS, distance=10 * u.pc)), base * 1e12, rtol=1e-9)
    reddened = QTable(PARAMS[:2], copy=True)
    reddened["ebv"] += 0.5 * u.mag
    assert (fluxes(simulate(reddened, distance=10)) < base[:2]).all()


def test_distance_of_each_row():
    base = fluxes(simulate(PARAMS, distance=1))
    expected = base / np.array([1, 4, 9])[:, None]
    np.testing.assert_allclose(fluxes(simulate(PARAMS, distance=[1, 2, 3])), expected)
    with_column = QTable(PARAMS, copy=True)
    with_column["distance"] = [1e6, 2e6, 3e6] * u.pc
    mocks = simulate(with_column)
    np.testing.assert_allclose(fluxes(mocks), expected)
    np.testing.assert_allclose(mocks["distance"].to_value(u.Mpc), [1, 2, 3])
    np.testing.assert_allclose(fluxes(simulate(with_column, distance=1)), base)


def test_units_of_parameters():
    other = Table({"age": [0.005, 0.1, 5.0], "mass": [1e4, 1e5, 1e6], "ebv": [0.1, 0, 1.5]}, units={"age": "Gyr"})
    np.testing.assert_allclose(fluxes(simulate(other, distance=10)), fluxes(simulate(PARAMS, distance=10)))


@pytest.mark.parametrize("bands", [("F814W", "F275W"), ("f435w_acs",), list(EIGHT)])
def test_bands(bands):
    mocks = simulate(5, bands=bands, seed=1)
    assert [n for n in mocks.colnames if n in EIGHT] == [b.upper() for b in bands]
    assert BANDS[bands[0].upper()].instrument in mocks[bands[0].upper()].info.description


@pytest.mark.parametrize("errors", [0.1, np.linspace(0.1, 0.5, 5), np.linspace(0.05, 0.5, 15).reshape(3, 5)])
@pytest.mark.parametrize("noise", ["lognormal", "normal", "walter2025"])
def test_errors(errors, noise):
    mocks = simulate(PARAMS, distance=10, errors=errors, noise=noise, seed=1)
    expected = np.broadcast_to(errors, (3, 5))
    reported = np.stack([mocks[f"{b}_err"].value for b in WFC3_BANDS], axis=1)
    truth = fluxes(simulate(PARAMS, distance=10))
    observed = fluxes(mocks)
    assert mocks.meta["SIMNOISE"] == noise
    assert not np.isclose(observed, truth, atol=0).any()
    # which flux the relative error belongs to is what the noise models differ in
    np.testing.assert_allclose(reported, expected * (observed if noise == "lognormal" else truth))


@pytest.mark.parametrize("noise", ["lognormal", "normal", "walter2025"])
def test_noise_has_the_mean_and_width_that_it_says(noise):
    n, r = 4000, 0.3
    params = QTable({"age": np.full(n, 50) * u.Myr, "mass": np.full(n, 1e5) * u.solMass, "ebv": np.zeros(n) * u.mag})
    ratio = fluxes(simulate(params, distance=10, errors=r, noise=noise, seed=2)) / fluxes(
        simulate(params[:1], distance=10)
    )
    tolerance = 5 * r / np.sqrt(n)
    np.testing.assert_allclose(ratio.mean(axis=0), 1, atol=tolerance)
    np.testing.assert_allclose(ratio.std(axis=0), r, atol=2 * tolerance)
    assert np.abs(np.corrcoef(ratio.T) - np.eye(5)).max() < 5 / np.sqrt(n)
    assert ((ratio <= 0).any()) is np.bool_(noise == "normal")


def test_errors_of_a_catalog():
    catalog = clusterpost.example_catalog()
    mocks = simulate(300, errors=catalog, noise="lognormal", seed=1)
    photometry = clusterpost.photometry.Photometry.from_table(catalog, error_floor=None)
    pool = photometry.error / photometry.flux
    good = ~photometry.missing.any(axis=1) & ~photometry.limit.any(axis=1)
    for row in relative(mocks):  # all bands of one row together
        assert np.isclose(pool[good], row, rtol=1e-9).all(axis=1).any()
    assert len(np.unique(relative(mocks)[:, 0])) > 50


def test_errors_of_a_catalog_without_the_bands():
    with pytest.raises(InputError, match="no row of the catalog given as errors= has all of F275W, F435W_ACS"):
        simulate(3, bands=("F275W", "F435W_ACS"), errors=clusterpost.example_catalog())


@pytest.mark.parametrize("errors", [np.ones(4), np.ones((3, 4)), np.ones((2, 5))])
def test_errors_of_a_wrong_shape(errors):
    with pytest.raises(InputError, match=r"errors= has shape .*one per band \(5\), or one per row and band \(3, 5\)"):
        simulate(PARAMS, distance=10, errors=errors)


@pytest.mark.parametrize("errors", [-0.1, np.nan])
def test_errors_that_are_none(errors):
    with pytest.raises(InputError, match="cannot be negative or NaN"):
        simulate(PARAMS, distance=10, errors=errors)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("age", 0.5, r"'age' is 0.5 Myr in row 1; the forward model goes from .* Myr to .* Myr"),
        ("age", 2e4, r"'age' is 20000 Myr in row 1"),
        ("age", -1, "'age' is -1 in row 1; it must be positive"),
        ("age", np.nan, "'age' is nan in row 1"),
        ("mass", 0, "'mass' is 0 in row 1; it must be positive"),
        ("mass", np.nan, "'mass' is nan in row 1"),
        ("ebv", -0.1, "'ebv' is -0.1 mag in row 1; the forward model goes from 0 mag"),
        ("ebv", 5, "'ebv' is 5 mag in row 1"),
        ("ebv", np.nan, "'ebv' is nan mag in row 1"),
    ],
)
def test_parameters_out_of_range(name, value, message):
    params = QTable(PARAMS, copy=True)
    params[name][1] = value * params[name].unit
    with pytest.raises(InputError, match=message):
        simulate(params, distance=10)


def test_parameters_that_are_absent_or_in_a_wrong_unit():
    with pytest.raises(ColumnError, match="no column 'ebv'; needed are age"):
        simulate(PARAMS["age", "mass"], distance=10)
    params = Table(PARAMS)
    params["age"].unit = "kg"
    with pytest.raises(UnitError, match="'age' is in kg; it needs a unit convertible to Myr"):
        simulate(params, distance=10)


@pytest.mark.parametrize("n", [0, -3, 2.5])
def test_a_number_of_mocks_that_is_none(n):
    with pytest.raises(InputError, match="give a whole number of at least 1"):
        simulate(n)


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        (0, "must be positive"),
        (-1 * u.Mpc, "must be positive"),
        (np.nan, "must be positive"),
        (3 * u.km / u.s, "is not a distance; give Mpc"),
        ("far", "is not a distance"),
        ([1, 2], "one per object"),
        (np.ones((3, 1)), "one per object"),
    ],
)
def test_a_distance_that_is_none(distance, message):
    with pytest.raises(DistanceError, match=message):
        simulate(PARAMS, distance=distance)


def test_names_that_are_unknown():
    with pytest.raises(InputError, match="unknown band 'F999W'; known bands: F225W"):
        simulate(3, bands=["F999W"])
    with pytest.raises(InputError, match="no u_SDSS"):
        simulate(3, bands=["u_SDSS"])
    with pytest.raises(InputError, match="unknown noise model 'poisson'; choose from"):
        simulate(3, noise="poisson")


def test_the_parameters_stay_as_they_are():
    before = {n: PARAMS[n].copy() for n in PARAMS.colnames}
    simulate(PARAMS, distance=10, errors=0.1)
    assert PARAMS.colnames == list(before)
    assert all((PARAMS[n] == before[n]).all() for n in before)
