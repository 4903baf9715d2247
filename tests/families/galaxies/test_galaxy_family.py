"""Galaxies as a model family."""

import json

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable, Table

import clusterpost
from clusterpost.bands import find_band
from clusterpost.catalogs.nsa import read_nsa
from clusterpost.errors import InputError
from clusterpost.families import get_family
from clusterpost.families.galaxies import Galaxies, GalaxiesWithYoungStars
from clusterpost.families.galaxies.errors import nsa_errors
from clusterpost.families.galaxies.forward import NANOMAGGY_MJY
from clusterpost.noise import get_noise
from clusterpost.observations import Observed
from clusterpost.photometry import Photometry
from clusterpost.training.simulation import Simulator, seeded_generator


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies()


def test_found_by_name(galaxies):
    assert get_family("galaxies") is Galaxies
    assert galaxies.band_names == ("u_SDSS", "g_SDSS", "r_SDSS", "i_SDSS", "z_SDSS")
    assert find_band("sdss_r").name == find_band("R_SDSS").name == "r_SDSS"
    assert galaxies.prior.names == galaxies.parameter_names
    assert len(galaxies.parameters) == 9
    assert len(galaxies.statistics) == 9 + 36


def test_columns_have_units(galaxies):
    columns = [*galaxies.parameters, *galaxies.derived]
    assert len({c.column for c in columns}) == len(columns) == 14
    for column in columns:
        u.Unit(column.unit)
        assert column.description
        assert column.label.startswith("$")


@pytest.mark.parametrize("kind", [Galaxies, GalaxiesWithYoungStars])
def test_options_come_back(kind):
    family = kind(noise="normal", sticks="dirichlet", redshift=(0.01, 0.1))
    again = kind.from_dict(json.loads(json.dumps(family.to_dict())))
    assert again.to_dict() == family.to_dict()
    theta, known = family.prior.sample(5, seeded_generator(1)), {"redshift": torch.full((5,), 0.05)}
    torch.testing.assert_close(again.simulate(theta, known), family.simulate(theta, known))
    torch.testing.assert_close(again.prior.log_prob(theta), family.prior.log_prob(theta))


def test_other_components_are_refused():
    options = Galaxies().to_dict() | {"components": "ab" * 32}
    with pytest.raises(InputError, match="abababababab"):
        Galaxies.from_dict(options)


@pytest.mark.parametrize("redshift", [(0.0, 0.1), (0.1, 0.05), (0.01, 0.3)])
def test_redshifts_beyond_the_model(redshift):
    with pytest.raises(InputError, match="redshift="):
        Galaxies(redshift=redshift)


def test_mocks_look_like_galaxies(galaxies):
    mocks = Simulator(galaxies, errors=nsa_errors()).draw(300, seeded_generator(2))
    assert mocks.flux.shape == mocks.error.shape == (300, 5)
    assert (mocks.flux > 0).all()
    assert ((mocks.covariates["redshift"] > 0) & (mocks.covariates["redshift"] <= 0.2)).all()
    with_truth = galaxies.likelihood.squared_residuals(mocks, mocks.theta[:, None])
    assert with_truth.mean().item() == pytest.approx(5, abs=0.6)  # chi-square of five bands
    # and the truth of another is no match
    assert galaxies.likelihood.squared_residuals(mocks, mocks.theta.roll(1, 0)[:, None]).median() > 100


def test_likelihood_is_the_noise_model_of_the_fluxes(galaxies):
    mocks = Simulator(galaxies, errors=nsa_errors()).draw(4, seeded_generator(3))
    theta = galaxies.prior.sample(12, seeded_generator(4)).reshape(4, 3, 9)
    for name in ("lognormal", "normal"):
        likelihood = galaxies.likelihood.with_noise(get_noise(name))
        known = {"redshift": mocks.covariates["redshift"].repeat_interleave(3)}
        ln_flux = galaxies.simulate(theta.flatten(0, 1), known)
        flux, error = (x.repeat_interleave(3, 0) for x in (mocks.flux, mocks.error))
        expected = get_noise(name).log_prob(flux, error, ln_flux).sum(-1).reshape(4, 3)
        torch.testing.assert_close(likelihood.log_prob(mocks, theta), expected, rtol=1e-3, atol=1e-3)


def test_posterior_draws_of_chains_fit_as_well_as_their_own_model(shared_data, galaxies):
    """Draws of converged chains of the full networks: their masses are normal given all else, and chi-square small."""
    for name in ("mock_00", "mock_08", "nsa_14"):
        chain = np.load(shared_data / "galaxies" / "mcmc" / f"{name}.npz")
        unit = torch.tensor(chain["draws"][:2000])
        low, high = galaxies.prior.low, galaxies.prior.high
        theta = torch.cat([unit[:, 8:], torch.lerp(low[1:], high[1:], unit[:, :8])], -1)[None]
        flux, error = (torch.tensor(chain[key] * NANOMAGGY_MJY, dtype=torch.float32)[None] for key in ("flux", "err"))
        seen = torch.ones(1, 5, dtype=torch.bool)
        observed = Observed(flux, error, seen, ~seen, {"redshift": torch.tensor([float(chain["z"])])})
        residuals = galaxies.likelihood.squared_residuals(observed, theta)[0]
        # Along the mass, which is one of five numbers that the photometry fixes, draws scatter as the noise says.
        ln_value, width, _ = galaxies.likelihood.noise.as_lognormal(flux, error)
        off = ln_value - galaxies.likelihood.ln_flux(observed, theta)[0]
        weight = width**-2
        along = (off * weight).sum(-1) / weight.sum().sqrt()
        assert along.mean().abs() < 0.1, name
        assert along.std().item() == pytest.approx(1, abs=0.06), name
        # The prior, and its redness alone, are far off.
        assert residuals.median() < 7, name
        prior = galaxies.prior.sample(2000, seeded_generator(5))[None]
        assert galaxies.likelihood.squared_residuals(observed, prior).median() > 100, name


def test_on_another_device(galaxies):
    moved = galaxies.to("cpu", torch.float64)
    assert moved.to_dict() == galaxies.to_dict()
    assert moved.model.components.tensors["coefficients"].dtype == torch.float64


def test_simulated_tables():
    tbl = clusterpost.simulate(50, model="galaxies", seed=1)
    assert tbl["r_SDSS"].unit == u.mJy
    assert ((tbl["redshift"] > 0) & (tbl["redshift"] < 0.2)).all()
    assert {"log_mstar_formed_true", "tau_ism_true", "u_SDSS_err"} <= set(tbl.colnames)
    params = QTable({name.removesuffix("_true"): tbl[name] for name in tbl.colnames if name.endswith("_true")})
    params["redshift"] = 0.05
    exact = clusterpost.simulate(params, model="galaxies")
    params["redshift"] = 0.1
    assert (clusterpost.simulate(params, model="galaxies")["g_SDSS"] < exact["g_SDSS"]).all()
    params["redshift"][3] = 0.4
    with pytest.raises(InputError, match=r"0\.4 in row 3"):
        clusterpost.simulate(params, model="galaxies")


def test_a_catalog_goes_in_as_it_is_read():
    """The columns that `read_nsa` writes are those of the family."""
    flux = np.outer(np.arange(1, 4), [0.5, 0.7, 10.0, 40.0, 80.0, 110.0, 140.0])
    tbl = read_nsa(Table({"NMGY": flux, "NMGY_IVAR": (25 / flux) ** 2, "Z": np.full(3, 0.02)}))
    photometry = Photometry.from_table(tbl, distance=1.0).select(Galaxies().band_names)
    np.testing.assert_allclose(photometry.flux, flux[:, 2:] * NANOMAGGY_MJY)
    np.testing.assert_allclose(photometry.error, flux[:, 2:] * NANOMAGGY_MJY / 25)  # and no floor is added
