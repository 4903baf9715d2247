import numpy as np
import pytest
from astropy.io import fits

from clusterpost.errors import InputError
from clusterpost.training.stars.atmospheres import (
    Bandpasses,
    Grid,
    read_castelli_kurucz,
    read_cool_giants,
    read_wm_basic,
    read_wolf_rayet,
)
from clusterpost.training.stars.photometry import LSUN_AT_10PC

WAVELENGTH = np.geomspace(90, 30000, 3000)
BLUE, RED = ((np.array([low, low + 10, high - 10, high], float), np.array([0, 1, 1, 0.0]))
             for low, high in ((4000, 5000), (7000, 9000)))
BANDS = Bandpasses([BLUE, RED], [np.array([4500.0]), np.array([7500.0, 8500.0])])
N = 2 + 1 + 3  # ln fluxes, ln photons, shares
SIGMA = 5.670374e-5


def planck(temperature, wavelength=WAVELENGTH):
    """Surface flux per Angstrom, erg/s/cm2/Angstrom."""
    return 3.7417749e-5 * 1e32 / wavelength**5 / np.expm1(1.438777e8 / (wavelength * temperature))


def band_flux(temperature):
    """mJy at 10 pc of a black body of one solar luminosity, in the blue band."""
    wave = np.linspace(4000, 5000, 5001)
    through = np.interp(wave, *BLUE)
    photons = np.trapezoid(planck(temperature, wave) * through * wave, wave)
    mean = photons / np.trapezoid(through * 2.99792458e18 / wave, wave)
    return LSUN_AT_10PC * mean / (SIGMA * temperature**4) * 1e26


def test_grid_is_linear_between_nodes_and_constant_beyond():
    x, y = np.array([0.0, 1.0, 3.0]), np.array([-1.0, 2.0])
    grid = Grid((x, y), (2 * x[:, None] + 3 * y)[..., None])
    at = np.array([0.5, 2.9, -5, 9.0]), np.array([0.0, 1.9, 0.0, 5.0])
    np.testing.assert_allclose(grid(*at)[:, 0], [1.0, 5.8 + 5.7, 0.0, 12.0])


@pytest.fixture
def models(tmp_path):
    for sub in ("ckm10", "ckp00"):
        (tmp_path / sub).mkdir()
        for temperature in (3500, 4000, 5000):
            flux = planck(temperature) * (2 if sub == "ckm10" else 1)
            columns = [fits.Column("WAVELENGTH", "D", array=WAVELENGTH)]
            for g in range(0, 55, 5):
                there = temperature < 5000 or g >= 20  # as the hotter models lack low gravities
                columns.append(fits.Column(f"g{g:02d}", "D", array=flux if there else 0 * flux))
            table = fits.BinTableHDU.from_columns(columns)
            fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / sub / f"{sub}_{temperature}.fits")
    return tmp_path


def test_castelli_kurucz_per_solar_luminosity(models):
    grid = read_castelli_kurucz(models, BANDS)
    assert grid.values.shape == (2, 8, 11, N)
    np.testing.assert_allclose(grid.axes[0], [-1, 0])
    value = grid(np.zeros(3), np.log10([4000, 5000, 5000]), np.array([4.0, 3.0, 0.0]))
    np.testing.assert_allclose(np.exp(value[:, 0]), [band_flux(t) for t in (4000, 5000, 5000)], rtol=3e-3)
    poor = grid(np.array([-1.0]), np.log10([4000]), np.array([4.0]))
    assert poor[0, 0] - value[0, 0] == pytest.approx(np.log(2))
    # below 3500 K by the ratio of black bodies: here that is the black body itself
    cool = grid(np.zeros(1), np.log10([2600]), np.array([4.0]))
    assert np.exp(cool[0, 0]) == pytest.approx(band_flux(2600), rel=3e-3)


def test_folder_without_models_is_named(tmp_path):
    with pytest.raises(InputError, match="ckm25"):
        read_castelli_kurucz(tmp_path, BANDS)


def per_hz(temperature, wavelength):
    return planck(temperature, wavelength) / (SIGMA * temperature**4) * wavelength**2 / 2.99792458e18


def test_wm_basic_layout(tmp_path):
    """Temperatures run faster than gravities in its columns."""
    (tmp_path / "WMBASIC_zlegend.dat").write_text("0.0040\n0.0200\n")
    (tmp_path / "WMBASIC.teff").write_text("4.4\n4.6\n")
    wave = np.geomspace(100, 20000, 1500)
    columns = [wave, *(per_hz(10**t, wave) * g for g in (1, 2, 3) for t in (4.4, 4.6))]
    for z in ("0.0040", "0.0200"):
        np.savetxt(tmp_path / f"WMBASIC_z{z}.spec", np.column_stack(columns))
    grid = read_wm_basic(tmp_path, BANDS)
    value = grid(np.log10([0.01, 0.01]), np.array([4.4, 4.6]), np.array([3.5, 4.5]))
    np.testing.assert_allclose(np.exp(value[:, 0]), [band_flux(10**4.4), 3 * band_flux(10**4.6)], rtol=5e-3)


def test_wolf_rayet_layout(tmp_path):
    wave = np.geomspace(100, 20000, 1500)
    lines = [" ".join(f"{w:.4E}" for w in wave)]
    for t in (4.6, 5.0):
        for z in (0.004, 0.02):
            lines += [f"{t:.2f} {z}", " ".join(f"{x:.6E}" for x in per_hz(10**t, wave) * (1 + (z > 0.01)))]
    (tmp_path / "CMFGEN_WN_Zall.spec").write_text("\n".join(lines) + "\n")
    value = read_wolf_rayet(tmp_path, "WN", BANDS)(np.log10([0.004, 0.02]), np.array([4.6, 5.0]))
    np.testing.assert_allclose(np.exp(value[:, 0]), [band_flux(10**4.6), 2 * band_flux(1e5)], rtol=5e-3)


def test_cool_giants_have_the_temperatures_of_their_metallicity(tmp_path):
    wave = np.geomspace(1000, 50000, 1500)
    spectra = [planck(t, wave) / (SIGMA * t**4) for t in (2500, 3000)]
    np.savetxt(tmp_path / "Orich.spec", np.column_stack([wave, *spectra]))
    (tmp_path / "Orich.teff").write_text("# color, Teff\n9.99 -1.0 0.0\n5.0 2700 2500\n3.0 3300 3000\n")
    for metallicity, temperature in ((0.0, 2500), (-1.0, 2700), (-0.5, 2600)):
        grid = read_cool_giants(tmp_path, metallicity, BANDS)
        assert 10 ** grid.axes[0][0] == pytest.approx(temperature)
        assert np.exp(grid(np.log10([temperature]))[0, 0]) == pytest.approx(band_flux(2500), rel=5e-3)
