"""The forward model of galaxies: against the networks of PROVABGS, by its own symmetries, and as it stands today."""

import numpy as np
import pytest
import torch
from astropy.cosmology import Planck13

from clusterpost.errors import InputError
from clusterpost.families.galaxies import Galaxies
from clusterpost.families.galaxies.components import load_components
from clusterpost.families.galaxies.forward import NANOMAGGY_MJY, GalaxyModel
from clusterpost.families.galaxies.history import component_weights

MAG = 2.5 / np.log(10)
#: Names of derived quantities here and in the reference.
NAMES = {"log_stellar_mass": "log_mstar_surv", "log_sfr_100myr": "log_sfr_100myr", "log_sfr_1gyr": "log_sfr_1gyr",
         "age_mw": "age_mw", "log_metallicity_mw": "log_z_mw"}


def derived_quantities(model, theta, redshift):
    known = {"redshift": redshift}
    return {quantity.name: quantity.function(theta, known) for quantity in Galaxies(model=model).derived}


@pytest.fixture(scope="module")
def model():
    return GalaxyModel().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def theta():
    generator = torch.Generator().manual_seed(3)
    unit = torch.rand(500, 9, generator=generator, dtype=torch.float64)
    low = torch.tensor([8.0, 0, 0, 0, -4.3, -4.3, 0, 0, -2.0])
    return torch.lerp(low.double(), torch.tensor([12.0, 1, 1, 1, -1.9, -1.9, 3, 3, 1.0]).double(), unit)


@pytest.fixture(scope="module")
def golden(shared_data):
    arrays = dict(np.load(shared_data / "galaxies" / "golden.npz"))
    columns = [arrays[name] for name in ("log_mstar", "sticks", "log_gamma", "tau_bc", "tau_ism", "n_dust")]
    return torch.tensor(np.column_stack(columns)), torch.tensor(arrays["redshift"]), arrays


def test_fluxes_are_those_of_the_full_networks(model, golden):
    theta, redshift, arrays = golden
    off = MAG * (model.ln_flux(theta, redshift).numpy() - np.log(arrays["nanomaggies"] * NANOMAGGY_MJY))
    magnitude = -2.5 * np.log10(arrays["nanomaggies"])
    ordinary = magnitude[:, 0] - magnitude[:, 2] < 3.2
    assert ordinary.sum() > 150
    assert (np.quantile(np.abs(off[ordinary]), 0.68, axis=0) < [0.0030, 0.0035, 0.0025, 0.0025, 0.0025]).all()
    assert (np.quantile(np.abs(off[ordinary]), 0.99, axis=0) < [0.010, 0.010, 0.009, 0.009, 0.008]).all()
    assert (np.quantile(np.abs(off[~ordinary]), 0.99, axis=0) < [0.025, 0.015, 0.01, 0.01, 0.01]).all()


def test_derived_quantities_are_those_of_the_full_networks(model, golden):
    theta, redshift, arrays = golden
    derived = derived_quantities(model, theta, redshift)
    for ours, theirs in NAMES.items():
        tolerance = 2e-3 if ours == "log_stellar_mass" else 2e-6
        np.testing.assert_allclose(derived[ours].numpy(), arrays[theirs], atol=tolerance, rtol=0, err_msg=ours)


def test_as_it_stands():
    """Numbers of this code, so that a change of them is seen where the networks are not."""
    theta = torch.tensor([[10.0, 0.5, 0.5, 0.5, -2.5, -2.5, 1.0, 0.5, -0.7],
                          [9.0, 0.95, 0.2, 0.6, -3.5, -2.2, 0.2, 1.5, 0.3]])
    redshift = torch.tensor([0.05, 0.15])
    model = GalaxyModel()
    magnitudes = -MAG * (model.ln_flux(theta, redshift) - np.log(3.631e6)).numpy()
    np.testing.assert_allclose(magnitudes, [[19.2732, 17.8046, 17.1714, 16.8473, 16.5316],
                                            [26.7768, 25.3008, 24.2111, 23.6710, 23.1651]], atol=2e-3)
    derived = torch.stack(list(derived_quantities(model, theta, redshift).values()), -1).numpy()
    np.testing.assert_allclose(derived, [[9.78656, 0.07745, 0.08909, 5.02559, -1.86189],
                                         [8.77250, -1.91697, -1.90040, 6.00883, -1.82282]], atol=2e-4)


def test_a_galaxy_ten_times_as_massive_is_ten_times_as_bright(model, theta):
    heavier = theta.clone()
    heavier[:, 0] += 1
    redshift = torch.tensor(0.1)
    ratio = model.ln_flux(heavier, redshift) - model.ln_flux(theta, redshift)
    torch.testing.assert_close(ratio, torch.full_like(ratio, np.log(10)))


def test_dust_dims_every_band(model, theta):
    dustier = theta.clone()
    dustier[:, 7] += 0.1
    assert (model.ln_flux(dustier, torch.tensor(0.03)) < model.ln_flux(theta, torch.tensor(0.03))).all()


def test_birth_clouds_dim_only_the_first_component(model, theta):
    cloudy = theta.clone()
    cloudy[:, 6] = 2.9
    theta = theta.clone()
    theta[:, 6] = 0.1
    redshift = torch.tensor(0.03)
    dimming = model.ln_flux(theta, redshift) - model.ln_flux(cloudy, redshift)
    assert (dimming > 0).all()
    for row in (theta, cloudy):
        row[:, 1] = 1.0  # nothing in the first
    torch.testing.assert_close(model.ln_flux(theta, redshift), model.ln_flux(cloudy, redshift))


def test_light_adds_up(model):
    """Half of the mass in each of two components: half of the light of each."""
    ends = torch.tensor([[10.0, 1, 0, 0.5, -2.5, -2.5, 1, 0.5, 0], [10.0, 1, 1, 1, -2.5, -2.5, 1, 0.5, 0]]).double()
    redshift = torch.tensor(0.05).double()
    age = model.components.age(redshift)
    half = ends[0].clone()
    formed = model.components.histories._formed(age)
    half[2], half[3] = formed[1] / (formed[1] + formed[3]), 1.0  # equal masses of the second and the fourth
    torch.testing.assert_close(model.components.histories.mass_fractions(half[1:4], age),
                               torch.tensor([0, 0.5, 0, 0.5]).double())
    torch.testing.assert_close(model.ln_flux(half, redshift).exp(), model.ln_flux(ends, redshift).exp().mean(0))


def test_differentiable(model, theta):
    some = theta[:5].clone().requires_grad_()
    redshift = torch.full((5,), 0.05, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: model.ln_flux(x, redshift), some)


def test_one_redshift_for_many_draws(model, theta):
    draws = theta[:60].reshape(3, 20, 9)
    redshift = torch.tensor([0.01, 0.05, 0.2]).double()
    together = model.ln_flux(draws, redshift[:, None])
    for k in range(3):
        torch.testing.assert_close(together[k], model.ln_flux(draws[k], redshift[k]))
    derived = derived_quantities(model, draws, redshift[:, None])
    assert all(value.shape == (3, 20) for value in derived.values())


def test_single_precision_is_enough(model, theta):
    redshift = torch.full((500,), 0.07)
    single = GalaxyModel().ln_flux(theta.float(), redshift)
    assert (single - model.ln_flux(theta, redshift.double())).abs().max() < 1e-3


def test_cosmology(model):
    redshift = np.array([0.002, 0.01, 0.05, 0.1, 0.2])
    z = torch.tensor(redshift)
    np.testing.assert_allclose(model.components.age(z), Planck13.age(redshift).value, rtol=1e-6)
    np.testing.assert_allclose(model.components.ln_distance(z).exp(), Planck13.luminosity_distance(redshift).value,
                               rtol=2e-6)


def test_history_is_consistent(model, theta):
    """Rates summed over time give the mass, and mean age and metallicity lie where there is something."""
    histories, age = model.components.histories, torch.tensor(13.0).double()
    whole = histories.specific_rate(theta[:, 1:4], age, 13.0) * 13e9
    torch.testing.assert_close(whole, torch.ones_like(whole))
    assert (histories.mean_age(theta[:, 1:4], age) < 13).all()
    metallicity = histories.mean_metallicity(theta[:, 1:4], theta[:, 4:6], age)
    assert ((metallicity >= 4.49e-5) & (metallicity <= 4.491e-2)).all()


def test_weights_of_the_components():
    sticks = torch.tensor([0.9, 0.4, 0.3]).double()
    expected = torch.tensor([0.1, 0.9 * 0.6, 0.9 * 0.4 * 0.7, 0.9 * 0.4 * 0.3]).double()
    torch.testing.assert_close(component_weights(sticks), expected)


def test_absent_components(tmp_path):
    with pytest.raises(InputError, match=r"clusterpost\.training\.galaxies"):
        load_components(tmp_path / "none.safetensors")
