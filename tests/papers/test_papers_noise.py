"""Log-normal and normal noise side by side."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

import clusterpost
from benchmarks.papers.noise import NOISES, _weighed, compare_noise, noisy_rows
from clusterpost.errors import InputError
from clusterpost.validation import compare_with_catalog

pytestmark = pytest.mark.usefixtures("exact_by_default")

STEMS = ("age", "mass", "ebv")


@pytest.fixture(scope="module")
def noisy():
    """Mocks with errors of 45 % in every band, as CIGALE would have them."""
    mocks = clusterpost.simulate(7, noise="normal", errors=0.45, seed=6)
    return compare_noise(mocks[np.asarray((mocks["F275W"] > 0) & (mocks["F336W"] > 0))], n_draws=1500)


def coordinate(table, name):
    values = np.asarray(getattr(table[name], "value", table[name]))
    return values if "ebv" in name else np.log10(values)


def test_noisy_rows_are_those_of_large_relative_errors():
    flux, error = [1.0, 1, 1, -1, np.nan, 2] * u.mJy, [0.1, 0.5, 0.1, 0.6, 0.1, -1.9] * u.mJy
    tbl = QTable({"F275W": flux, "F275W_err": error, "F555W": np.ones(6) * u.mJy, "F555W_err": np.full(6, 0.9) * u.mJy})
    rows, largest = noisy_rows(tbl)
    assert rows.tolist() == [False, True, False, True, False, False]  # the last is a limit
    np.testing.assert_allclose(largest, [0.1, 0.5, 0.1, 0.6, np.nan, np.nan])
    assert noisy_rows(tbl, bands=["F555W"])[0].all()
    assert not noisy_rows(tbl, least_error=0.7)[0].any()


def test_one_set_of_draws_explains_both(noisy):
    assert len(noisy) > 3
    for stem in STEMS:
        half = (coordinate(noisy, f"normal_{stem}_q84") - coordinate(noisy, f"normal_{stem}_q16")) / 2
        for q in ("q16", "q50", "q84"):
            change = np.abs(coordinate(noisy, f"reweighted_{stem}_{q}") - coordinate(noisy, f"normal_{stem}_{q}"))
            assert np.median(change / half) < 0.1
            assert (change < 0.5 * half).all()
    # The two themselves differ by more.
    moved = np.abs(coordinate(noisy, "lognormal_mass_q50") - coordinate(noisy, "normal_mass_q50"))
    again = np.abs(coordinate(noisy, "reweighted_mass_q50") - coordinate(noisy, "normal_mass_q50"))
    assert np.median(moved) > 2 * np.median(again)


def test_weights_are_those_of_a_mixture(noisy):
    for noise in NOISES:
        weight = np.asarray(noisy[f"weight_{noise}"])
        np.testing.assert_allclose(weight.sum(1), 1)
        assert weight.max() < 2.2 / weight.shape[1]
    assert ((noisy["divergence"] >= 0) & (noisy["divergence"] <= 1)).all()
    assert ((noisy["overlap"] > 0) & (noisy["overlap"] <= 1)).all()


def test_at_small_errors_the_models_agree(noisy):
    quiet = compare_noise(clusterpost.simulate(4, errors=0.03, seed=1), least_error=0.01, n_draws=500, error_floor=None)
    assert quiet["divergence"].max() < 0.02
    assert quiet["overlap"].min() > 0.9
    assert np.median(noisy["divergence"]) > 3 * quiet["divergence"].max()
    assert np.median(noisy["overlap"]) < quiet["overlap"].min()


def test_divergence_of_known_densities():
    """Two normal densities in the first parameter, three standard deviations apart."""
    rng = np.random.default_rng(0)
    n = 40_000
    draws = np.zeros((1, 2 * n, 3))
    draws[0, :, 0] = rng.normal(size=2 * n)
    draws[0, n:, 0] += 3

    def density(center):
        return -0.5 * (draws[..., 0] - center) ** 2 - 0.5 * np.log(2 * np.pi)

    found = _weighed(draws, {"lognormal": density(0), "normal": density(3)}, n)
    x = np.linspace(-9, 12, 20001)
    p, q = (np.exp(-0.5 * (x - c) ** 2) / np.sqrt(2 * np.pi) for c in (0, 3))
    exact = sum(np.sum(f * np.log2(2 * f / (p + q))) for f in (p, q)) / 2 * (x[1] - x[0])
    np.testing.assert_allclose(found["divergence"], exact, atol=0.01)
    np.testing.assert_allclose(np.log10([found[f"reweighted_age_q{q}"][0] for q in (16, 50, 84)]), [2.006, 3, 3.994],
                               atol=0.03)
    assert found["overlap"][0] < 0.05
    same = _weighed(draws, {"lognormal": density(0), "normal": density(0)}, n)
    assert same["divergence"][0] < 1e-12
    assert same["overlap"][0] == pytest.approx(1)


def test_published_fits_are_compared_with_either(noisy):
    truth = {"age": ("age_true", None, None, None, "Myr")}
    shares = [compare_with_catalog(noisy, truth, prefix=f"{noise}_")["n"][0] for noise in NOISES]
    assert shares == [len(noisy)] * 2


def test_refusals():
    mocks = clusterpost.simulate(3, errors=0.1, seed=1)
    with pytest.raises(InputError, match=r"above 0\.4 in F275W or F336W"):
        compare_noise(mocks)
    for band in ("F336W", "F438W", "F555W", "F814W"):
        mocks[band] *= np.nan
    mocks["F275W_err"] *= 9
    with pytest.raises(InputError, match="none of the noisy rows"):
        compare_noise(mocks, n_draws=20)


@pytest.mark.slow
def test_noise_models_matter_for_noisy_clusters(shared_data):
    (path,) = shared_data.glob("*ngc628-c*.tab")
    whole = clusterpost.read_catalog(path, distance_source="legus")
    some = whole[np.flatnonzero(np.isin(whole["class_mode"], (1, 2)) & (whole["n_filters"] == 5))[::20]]
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
