"""Repeated measurements of inferred clusters, chi-squares and re-simulated fluxes."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable, Table

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.errors import InputError
from clusterpost.training.simulation import seeded_generator
from clusterpost.validation import map_chi2, predictive_check, predictive_summary, resimulate
from clusterpost.validation.predictive import _observed_again, bands_of
from clusterpost.validation.targets import read_target

pytestmark = pytest.mark.usefixtures("exact_by_default")

TRUTH = {"age": ("age_true", None, None, None, "Myr"), "mass": ("mass_true", None, None, None, "solMass"),
         "ebv": ("ebv_true", None, None, None, "mag")}


def truth_of(mocks):
    age, mass, ebv = (mocks[f"{stem}_true"].value for stem in ("age", "mass", "ebv"))
    return np.stack([np.log10(age), np.log10(mass), ebv], -1)


@pytest.fixture(scope="module")
def mocks():
    return clusterpost.simulate(60, seed=3)


@pytest.fixture(scope="module")
def noiseless():
    """Without noise, and with errors of 5 % once the floor is in."""
    params = QTable({"age": [3, 80, 2000] * u.Myr, "mass": [1e4, 1e5, 1e6] * u.solMass,
                     "ebv": [0.3, 0.1, 0.05] * u.mag})
    return clusterpost.simulate(params, distance=10.0)


@pytest.fixture(scope="module")
def inferred(noiseless):
    return clusterpost.infer_table(noiseless, n_samples=300)


@pytest.mark.parametrize("noise", ["lognormal", "normal", "walter2025"])
def test_a_repeated_measurement_is_what_the_noise_model_says(noise):
    """Of the true parameters: real and repeated measurements are exchangeable, or nearly where the error is random."""
    mocks = clusterpost.simulate(400, noise=noise, errors=0.2, seed=5)
    rows, target = read_target(mocks, noise=noise, error_floor=None)
    theta = torch.as_tensor(truth_of(mocks))[rows, None].expand(-1, 99, -1)
    again = _observed_again(target, theta, seeded_generator(1)).numpy()
    flux, there = target.observed.flux.numpy(), target.observed.measured.numpy()
    rank = (again < flux[:, None]).sum(1)[there] / 99
    assert len(rank) == 2000
    assert abs(rank.mean() - 0.5) < 0.02
    assert abs((rank < 0.1).mean() + (rank > 0.9).mean() - 0.2) < 0.03
    model = torch.exp(target.ln_flux(theta[:, :1]))[:, 0].numpy()
    np.testing.assert_allclose((again.std(1) / model)[there].mean(), 0.2, rtol=0.05)


def test_posteriors_of_mocks_predict_their_photometry(mocks):
    check = predictive_check(mocks, n_draws=200, error_floor=None)
    assert len(check) == 300
    assert check.meta["n_draws"] == 200
    np.testing.assert_allclose(check["flux"][:5], [mocks[band][0].value for band in WFC3_BANDS], rtol=1e-6)
    summary = predictive_summary(check)
    assert list(summary["band"]) == [*WFC3_BANDS, "all"]
    assert abs(summary["offset"][-1]) < 0.03
    assert summary["inside"][-1] > 68  # the posterior has seen the data
    assert summary["tails"][-1] < 8
    assert summary["n"].sum() == 600


def test_photometry_of_no_cluster_is_noticed(mocks):
    odd = mocks[:25].copy()
    odd["F336W"], odd["F336W_err"] = odd["F336W"] * 5, odd["F336W_err"] * 5
    tails = [predictive_summary(predictive_check(tbl, n_draws=100, error_floor=None))["tails"][1]
             for tbl in (mocks[:25], odd)]
    assert tails[1] > tails[0] + 20


def test_rows_without_an_answer_are_left_out(mocks):
    some = mocks[:4].copy()
    for band in WFC3_BANDS:
        some[band][1] = np.nan
    some["F275W"][2] = np.nan
    check = predictive_check(some, n_draws=20)
    assert sorted(set(check["row"])) == [0, 2, 3]
    assert "F275W" not in check["band"][check["row"] == 2]
    assert bands_of(check) == list(WFC3_BANDS)


def test_summary_by_hand():
    check = Table({"band": ["F555W"] * 4, "flux": [1.0, 1, 1, 1], "mean": [10.0, 10, 10, 10], "q16": [0.5, 2, 0.5, 2],
                   "q84": [2.0, 3, 2, 3], "rank": [0, 50, 50, 100]}, meta={"n_draws": 100})
    summary = predictive_summary(check)
    assert summary["offset"].tolist() == [1, 1]
    assert summary["inside"].tolist() == [50, 50]
    assert summary["tails"].tolist() == [50, 50]
    with pytest.raises(InputError, match="no row"):
        predictive_summary(check[:0])


def test_chi2_is_that_of_the_inference(mocks):
    out = clusterpost.infer_table(mocks[:20], n_samples=300)
    table = map_chi2(out)
    np.testing.assert_allclose(table["chi2_map"], out["chi2_map"], rtol=1e-3, atol=1e-4)
    assert np.isnan(table["chi2_catalog"]).all()  # mocks publish nothing


def test_the_catalogs_chi2_and_its_free_mass(noiseless, inferred):
    table = map_chi2(inferred, TRUTH)
    np.testing.assert_allclose(table["chi2_catalog"], 0, atol=1e-6)
    heavy = inferred.copy()
    heavy["mass_true"] *= 1.5
    wrong = map_chi2(heavy, TRUTH)
    np.testing.assert_allclose(wrong["chi2_catalog"], 5 * (0.5 / 0.05) ** 2 / 2, rtol=1e-4)
    np.testing.assert_allclose(wrong["chi2_catalog_free_mass"], 0, atol=1e-6)
    heavy["age_true"][1] *= np.nan
    assert np.isnan(map_chi2(heavy, TRUTH)["chi2_catalog_free_mass"][1])


def test_chi2_keeps_the_rows(inferred):
    out = inferred.copy()
    for band in WFC3_BANDS:
        out[band][0] = np.nan
    table = map_chi2(out)
    assert len(table) == 3
    assert np.isnan(table["chi2_map"][0])
    assert table["n_bands"].tolist() == [0, 5, 5]


def test_resimulated_fluxes(noiseless, inferred):
    table = resimulate(inferred, [2, 0], TRUTH, n_draws=200)
    assert table["row"].tolist() == [2] * 5 + [0] * 5
    assert (np.diff(table["wavelength"][:5]) > 0).all()
    np.testing.assert_allclose(table["catalog"], table["flux"], rtol=1e-5)
    np.testing.assert_allclose(table["map"], table["flux"], rtol=0.06)
    assert ((table["q16"] < table["q50"]) & (table["q50"] < table["q84"])).all()
    assert np.mean((table["q16"] < table["flux"]) & (table["flux"] < table["q84"])) > 0.5
    assert np.isnan(resimulate(inferred, [1], False, n_draws=20)["catalog"]).all()


def test_an_uncertain_distance_leaves_resimulated_fluxes_alone(noiseless):
    tbl = noiseless[:1].copy()
    exact = resimulate(clusterpost.infer_table(tbl, model="any_bands", n_samples=300), [0])
    tbl["distance_err"] = 0.3 * u.Quantity(tbl["distance"])
    uncertain = resimulate(clusterpost.infer_table(tbl, model="any_bands", n_samples=300), [0])
    np.testing.assert_allclose(np.log(uncertain["q84"] / uncertain["q16"]), np.log(exact["q84"] / exact["q16"]),
                               rtol=0.3)  # ten times as wide if each draw stood at the same distance
    np.testing.assert_allclose(uncertain["map"], exact["map"], rtol=0.1)


def test_resimulated_limits_and_refusals(inferred):
    out = inferred.copy()
    out["F275W_err"][1] = -0.1 * out["F275W"][1]
    for band in WFC3_BANDS:
        out[band][0] = np.nan
    table = resimulate(out, [1], n_draws=20)
    assert table["limit"].tolist() == [True, False, False, False, False]
    with pytest.raises(InputError, match="row 0 has no result"):
        resimulate(out, [1, 0], n_draws=20)
