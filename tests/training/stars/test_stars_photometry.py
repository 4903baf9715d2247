import numpy as np
import pytest
from scipy.optimize import nnls

from clusterpost.training.grid import SSPLibrary, band_fluxes
from clusterpost.training.stars.photometry import (
    SCREENS,
    band_operator,
    choose_wavelengths,
    extinction,
    ionizing_operator,
    shares,
)

WAVELENGTH = np.linspace(2000, 10000, 1601)
CURVE = (np.linspace(4000, 5600, 81), np.sin(np.linspace(0, np.pi, 81)) ** 2)
LEAKY = (np.array([2300, 2400, 2800, 2900, 8000, 8100, 9000, 9100.0]), np.array([0, 1, 1, 0, 0, 2e-4, 2e-4, 0]))


def black_body(temperature):
    return WAVELENGTH**-5 / np.expm1(1.438777e8 / (WAVELENGTH * temperature))


SPECTRA = np.array([black_body(t) for t in (3500, 6000, 12000, 30000)])


def test_operator_is_the_integral_of_the_fully_sampled_table():
    library = SSPLibrary(WAVELENGTH, SPECTRA * WAVELENGTH**2 / 2.99792458e18, np.arange(4.0), np.ones(4))
    expected = band_fluxes(library, CURVE, np.array([0.0, 0.5, 1.5]))
    operator = band_operator(WAVELENGTH, [CURVE], [(0.5, 3.1), (1.5, 3.1)])
    np.testing.assert_allclose(np.einsum("nw,wbs->ns", SPECTRA, operator), expected, rtol=2e-4)


def test_extinction_is_linear_in_r_v():
    from astropy import units as u
    from dust_extinction.parameter_averages import O94

    a, b = extinction(WAVELENGTH)
    for rv in (2.2, 3.1, 5.5):
        np.testing.assert_allclose(rv * a + b, rv * O94(Rv=rv)(WAVELENGTH * u.AA), rtol=1e-10)


def test_ionizing_photons_of_a_flat_spectrum():
    wave = np.linspace(100, 2000, 400)
    expected = (911.6**2 - 100**2) / 2 / (6.62607015e-27 * 2.99792458e18)
    assert np.ones(400) @ ionizing_operator(wave) == pytest.approx(expected, rel=1e-4)


def reddened(curve):
    return np.einsum("nw,wbs->ns", SPECTRA, band_operator(WAVELENGTH, [curve], SCREENS))


@pytest.mark.parametrize("waves", [(4500,), (4300, 5200), (4200, 4600, 5300), (4100, 4400, 4900, 5400)])
def test_shares_are_those_of_non_negative_least_squares(waves):
    fluxes = reddened(CURVE)
    found, error = shares(fluxes, np.array(waves, float))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-9)
    assert (found >= 0).all()
    a, b = extinction(np.array(waves, float))
    basis = np.array([10 ** (-0.4 * e * (rv * a + b)) for e, rv in SCREENS])
    for row, best in zip(fluxes, found, strict=True):
        ratio = row[1:] / row[0]
        weight = np.vstack([1e4 * np.ones(len(waves)), basis / ratio[:, None]])  # the sum is one, nearly exactly
        expected = nnls(weight, np.append(1e4, np.ones(len(ratio))))[0]
        np.testing.assert_allclose(best, expected, atol=2e-5)
    assert np.abs(error).max() < {1: 1.0, 2: 0.03, 3: 0.01, 4: 0.01}[len(waves)]


def test_a_leak_in_the_red_gets_a_wavelength_of_its_own():
    fluxes = reddened(LEAKY)
    chosen = choose_wavelengths(LEAKY, fluxes, SPECTRA, WAVELENGTH)
    assert chosen.min() < 2900
    assert chosen.max() > 8000
    assert np.abs(shares(fluxes, chosen)[1]).max() < 0.02
    blue_alone = shares(fluxes, np.array([2400.0, 2600.0, 2800.0]))[1]
    assert np.abs(blue_alone).max() > 0.5  # without it the coolest spectrum would be far too faint
