"""The band-flux table's making; what needs the spectra themselves takes them from CLUSTERPOST_SED_SOURCE."""

import io
import json
import os

import astropy.constants as const
import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from dust_extinction.parameter_averages import CCM89, O94
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from clusterpost.bands import ACS_BANDS, BANDS, WFC3_BANDS
from clusterpost.families.clusters.table import TABLES
from clusterpost.training import grid
from clusterpost.training.curves import open_sources, read_curve
from clusterpost.training.grid import (
    AGE_NODES,
    EBV_NODES,
    SED_MEMBERS,
    SSPLibrary,
    band_fluxes,
    burst_mean,
    compute_table,
    factorize,
    read_ezgal,
    read_ised_ascii,
)

AGES = np.array([0.0, 0.13, 0.5, 1.0, 1.58, 2.2, 3.9, 6.0, 11.0, 20.0, 50.0])


def flat_library(fnu=1e-26, n_age=3):
    """Spectra of constant f_nu, one per age, each ten times fainter than the one before."""
    wavelength = np.linspace(1000, 20000, 4001)
    levels = fnu * 10.0 ** -np.arange(n_age)
    return SSPLibrary(wavelength, levels[:, None] * np.ones(wavelength.size), AGES[:n_age], np.ones(n_age))


def top_hat(low, high):
    return np.array([low - 1e-3, low, high, high + 1e-3]), np.array([0.0, 1.0, 1.0, 0.0])


class TestBurstMean:
    def slow(self, age, values, t):
        total = np.zeros(values.shape[1:])
        for k in range(10):
            when = t - 0.1 * k
            for index in np.ndindex(values.shape[1:]):
                total[index] += np.interp(when, age, values[(slice(None), *index)])
        return total / 10

    @settings(deadline=None, max_examples=50)
    @given(log_ages=st.lists(st.floats(0, 1.6), min_size=1, max_size=4), seed=st.integers(0, 1000))
    def test_is_the_slow_sum(self, log_ages, seed):
        values = np.random.default_rng(seed).lognormal(size=(AGES.size, 2, 3))
        got = burst_mean(AGES, values, np.array(log_ages))
        assert got.shape == (len(log_ages), 2, 3)
        for log_age, row in zip(log_ages, got, strict=True):
            np.testing.assert_allclose(row, self.slow(AGES, values, 10**log_age), rtol=1e-9)

    def test_whole_myr_is_the_mean_of_the_ten_steps_up_to_it(self):
        values = np.random.default_rng(0).lognormal(size=AGES.size)
        for myr in (1, 2, 7, 40):
            steps = np.array([round(10 * (myr - 1)) + n for n in range(1, 11)]) / 10  # (n - 1, n] in 0.1 Myr
            got = burst_mean(AGES, values, np.log10([float(myr)]))
            np.testing.assert_allclose(got, np.interp(steps, AGES, values).mean(), rtol=1e-12)

    def test_of_what_is_linear_in_time_is_its_value_0_45_myr_earlier(self):
        log_age = np.linspace(0, 1.6, 7)
        np.testing.assert_allclose(burst_mean(AGES, 3 * AGES + 1, log_age), 3 * (10**log_age - 0.45) + 1, rtol=1e-12)


class TestBandFluxes:
    @settings(deadline=None, max_examples=50)
    @given(start=st.floats(1500, 9000), width=st.floats(5, 4000), seed=st.integers(0, 1000), n=st.integers(2, 60))
    def test_flat_spectrum_gives_its_flux_whatever_the_curve(self, start, width, seed, n):
        rng = np.random.default_rng(seed)
        wave = start + width * np.linspace(0, 1, n)
        got = band_fluxes(flat_library(), (wave, rng.uniform(0.01, 1, n)), np.array([0.0]))
        np.testing.assert_allclose(got[:, 0], [1.0, 0.1, 0.01], rtol=1e-12)  # 1e-26 cgs are a mJy

    @pytest.mark.parametrize("wavelength", [2710.0, 4326.0, 5500.0, 8030.0])
    @pytest.mark.parametrize("law", [O94, CCM89])
    def test_narrow_band_is_reddened_as_the_law_says(self, wavelength, law):
        ebv = np.array([0.0, 0.3, 1.5])
        got = band_fluxes(flat_library(), top_hat(wavelength - 0.5, wavelength + 0.5), ebv, law.__name__)
        expected = 10 ** (-0.4 * 3.1 * float(law(Rv=3.1)(wavelength * u.AA)) * ebv)
        np.testing.assert_allclose(got[0], expected, rtol=1e-5)

    def test_visual_extinction_is_r_v_times_the_color_excess(self):
        got = band_fluxes(flat_library(), top_hat(5490, 5500), np.array([0.0, 1.0]))
        assert 2.5 * np.log10(got[0, 0] / got[0, 1]) == pytest.approx(3.1, rel=0.01)

    def test_mean_is_that_of_photons(self):
        # f_nu = nu: <f_nu> = int T dlam c/lam^2 / int T dlam/lam, by hand for a top hat
        library = flat_library()
        library.fnu = np.broadcast_to(1 / library.wavelength, library.fnu.shape)
        low, high = 4000.0, 8000.0
        expected = (1 / low - 1 / high) / np.log(high / low)
        got = band_fluxes(library, top_hat(low, high), np.array([0.0]))[0, 0] / 1e26
        assert got == pytest.approx(expected, rel=1e-5)
        energies = (low**-2 - high**-2) / 2 / (1 / low - 1 / high)  # weighing by energy would show
        assert got != pytest.approx(energies, rel=1e-2)

    def test_scale_of_the_curve_does_not_matter(self):
        wave = np.linspace(4000, 5000, 11)
        throughput = np.sin((wave - 4000) / 1000 * np.pi) + 1e-3
        args = np.array([0.0, 1.0])
        np.testing.assert_allclose(band_fluxes(flat_library(), (wave, 7 * throughput), args),
                                   band_fluxes(flat_library(), (wave, throughput), args), rtol=1e-12)


def test_compute_table_layout_and_pivots():
    library = flat_library(n_age=AGES.size)
    library.surviving_mass = np.linspace(1, 0.5, AGES.size)
    curves = {"blue": (np.linspace(4000, 5000, 99), np.ones(99)), "red": (np.linspace(7000, 9000, 99), np.ones(99))}
    table = compute_table(library, curves, log_age=np.array([0.0, 0.5, 1.0]), ebv=np.array([0.0, 0.7]))
    assert table["ln_flux"].shape == (3, 2, 2)
    assert table["ln_flux"].dtype == table["surviving_mass"].dtype == np.float32
    # pivot^2 = int T lam dlam / int T dlam / lam
    for pivot, (low, high) in zip(table["pivot"], [(4000, 5000), (7000, 9000)], strict=True):
        assert pivot == pytest.approx(np.sqrt((high**2 - low**2) / 2 / np.log(high / low)), rel=1e-4)
    ln = table["ln_flux"]
    np.testing.assert_allclose(ln[:, 0, 0], ln[:, 0, 1], rtol=1e-6)  # flat and unreddened: alike
    assert (ln[:, 1, 0] < ln[:, 1, 1]).all()
    np.testing.assert_allclose(table["surviving_mass"],
                               burst_mean(AGES, library.surviving_mass, table["log_age"]), rtol=1e-6)


def test_factors_give_the_matrices_back():
    age, ebv = np.linspace(0, 4, 200)[:, None], np.linspace(0, 1.5, 31)
    ln_flux = np.stack([np.sin(age) - 3 * ebv, np.log(np.exp(-3 * ebv) + 0.01 * np.exp(-ebv - age))], -1)
    factors = factorize(ln_flux)
    assert (factors["factor_band"] == 0).sum() == 2
    for band in (0, 1):
        own = factors["factor_band"] == band
        again = factors["age_factors"][:, own] @ factors["ebv_factors"][own]
        np.testing.assert_allclose(again, ln_flux[..., band], rtol=0, atol=2e-4)


class TestReaders:
    n_wave = 600

    @pytest.fixture
    def spectra(self):
        wavelength = np.round(np.geomspace(91, 1.6e6, self.n_wave), 4)
        return wavelength, np.random.default_rng(1).lognormal(size=(3, self.n_wave))

    def write_ised(self, path, wavelength, llambda, header=()):
        def block(values):
            text = " ".join(f"{v:.7E}" for v in values).split()
            lines = [" ".join(text[i:i + 6]) for i in range(0, len(text), 6)]
            return f"        {len(values)} " + "\n ".join(lines) + "\n"

        text = block([0.0, 1e5, 2e6])
        text += "\n".join(header) + "\n" + block(wavelength)
        for row in llambda:
            text += block(row) + block(np.zeros(52))
        for _ in range(12):  # rates and masses, which follow the spectra
            text += block(np.ones(3))
        path.write_text(text)
        path.with_name(path.name.replace(".ised_ASCII", ".4color")).write_text(
            "# log age ...\n4.999999 0 0 0 0 0 0.98 0 1 0\n6.30103 0 0 0 0 0 0.9 0 1 0\n")

    plain = ("  0.10 100.00 2 0 1.30 0.5", "  0.00 1.0 0.0",
             "TRACKS: Padova (1994) + S. Charlot (1997). X=0.70, Y=0.28")
    awkward = (*plain, "Padova 1994 tracks, version 2003 of August 2003 by G. Bruzual", "221 ages 0.02")

    @pytest.mark.parametrize("header", [plain, awkward])
    def test_ised_ascii_round_trip(self, tmp_path, spectra, header):
        wavelength, llambda = spectra
        path = tmp_path / "model_ssp.ised_ASCII"
        self.write_ised(path, wavelength, llambda, header)
        library = read_ised_ascii(path)
        np.testing.assert_allclose(library.wavelength, wavelength, rtol=1e-6)
        np.testing.assert_allclose(library.age, [0, 0.1, 2.0], rtol=1e-6)
        np.testing.assert_allclose(library.surviving_mass, [1, 0.98, 0.9], atol=1e-5)
        flam = llambda * 3.826e33 * u.erg / u.s / u.AA / (4 * np.pi * (10 * const.pc) ** 2)
        expected = flam.to(u.erg / u.s / u.cm**2 / u.Hz, u.spectral_density(wavelength * u.AA)).value
        np.testing.assert_allclose(library.fnu, expected, rtol=1e-6)

    def test_ised_ascii_takes_masses_from_a_named_file(self, tmp_path, spectra):
        path = tmp_path / "model.ised_ASCII"
        self.write_ised(path, *spectra, self.plain)
        masses = (tmp_path / "model.4color").rename(tmp_path / "elsewhere.4color")
        assert read_ised_ascii(path, masses).surviving_mass[-1] == pytest.approx(0.9)
        with pytest.raises(FileNotFoundError):
            read_ised_ascii(path)

    @pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
    def test_ised_ascii_cut_short_is_refused(self, tmp_path, spectra, share):
        path = tmp_path / "model.ised_ASCII"
        self.write_ised(path, *spectra, self.plain)
        text = path.read_text()
        path.write_text(text[:int(share * len(text))])
        with pytest.raises(ValueError, match="is the file complete"):
            read_ised_ascii(path)

    @pytest.mark.parametrize("transposed", [False, True])
    def test_ezgal_round_trip(self, tmp_path, spectra, transposed):
        wavelength, fnu = spectra
        frequency = 2.99792458e18 / wavelength  # falling: the file runs from low to high frequency
        order = np.argsort(frequency)
        image = fnu[:, order] if transposed else fnu[:, order].T
        path = tmp_path / "tiny.model"
        fits.HDUList([
            fits.PrimaryHDU(image),
            fits.BinTableHDU.from_columns([fits.Column("vs", "D", array=frequency[order])]),
            fits.BinTableHDU.from_columns([fits.Column("ages", "D", array=[0, 1e6, 2e6]),
                                           fits.Column("masses", "D", array=[0, 0.99, 0.9])]),
        ]).writeto(path)
        for source in (path, io.BytesIO(path.read_bytes())):
            library = read_ezgal(source)
            np.testing.assert_allclose(library.wavelength, wavelength, rtol=1e-12)
            np.testing.assert_allclose(library.fnu, fnu)
            np.testing.assert_allclose(library.age, [0, 1, 2])
            np.testing.assert_allclose(library.surviving_mass, [1, 0.99, 0.9])


def test_nodes():
    assert (np.diff(AGE_NODES) > 0).all()
    assert AGE_NODES[0] == 0
    assert AGE_NODES[-1] == pytest.approx(np.log10(13750))
    np.testing.assert_allclose(np.diff(EBV_NODES), 0.05)


@pytest.fixture(scope="module")
def sed_source():
    """The wheel of pymgal 1.0, or the folder it was unpacked in."""
    source = os.environ.get("CLUSTERPOST_SED_SOURCE")
    if not source or not os.path.exists(source):
        pytest.skip("set CLUSTERPOST_SED_SOURCE to the wheel of pymgal 1.0 or the folder it was unpacked in")
    return source


@pytest.fixture(scope="module")
def library(sed_source):
    return read_ezgal(io.BytesIO(open_sources(sed_source)(SED_MEMBERS["0.02"])))


def test_other_spectra_do_not_replace_the_packaged_ones(capsys):
    with pytest.raises(SystemExit):
        grid.main(["wheel.whl", "--sed", "mine.ised_ASCII"])
    assert "--sed needs -o" in capsys.readouterr().err


def test_other_bands_do_not_replace_the_packaged_ones(capsys):
    with pytest.raises(SystemExit):
        grid.main(["wheel.whl", "--bands", "F275W", "F160W_IR"])
    assert "--bands needs -o" in capsys.readouterr().err


@pytest.mark.slow
class TestRealSpectra:
    @pytest.mark.parametrize("metallicity", ["0.008", "0.02", "0.05"])
    def test_script_gives_the_packaged_table(self, sed_source, tmp_path, capsys, metallicity):
        path = tmp_path / "again.safetensors"
        assert grid.main([sed_source, "-o", str(path), "--metallicity", metallicity]) == 0
        assert "wrote" in capsys.readouterr().err
        known = str(TABLES[f"z{metallicity}"])
        with safe_open(str(path), framework="np") as new, safe_open(known, framework="np") as packaged:
            assert json.loads(new.metadata()["header"]) == json.loads(packaged.metadata()["header"])
            assert set(new.keys()) == set(packaged.keys())
            for name in new.keys():  # noqa: SIM118
                # the last digits depend on the linear algebra library
                np.testing.assert_allclose(new.get_tensor(name), packaged.get_tensor(name), rtol=0, atol=2e-6)

    def test_twice_as_fine_a_table_would_change_nothing(self, sed_source, library):
        read = open_sources(sed_source)
        curves = {name: read_curve(read, BANDS[name].curve) for name in (*WFC3_BANDS, *ACS_BANDS)}
        fine_age = np.sort(np.concatenate([AGE_NODES, (AGE_NODES[1:] + AGE_NODES[:-1]) / 2]))
        fine_ebv = np.linspace(0, 1.5, 2 * EBV_NODES.size - 1)
        fine = compute_table(library, curves, log_age=fine_age, ebv=fine_ebv)["ln_flux"].astype(float)

        def worst(fine, coarse_axis):
            coarse = np.take(fine, range(0, fine.shape[coarse_axis], 2), axis=coarse_axis)
            middle = np.take(fine, range(1, fine.shape[coarse_axis], 2), axis=coarse_axis)
            coarse = np.moveaxis(coarse, coarse_axis, 0)
            guess = (coarse[1:] + coarse[:-1]) / 2
            return 2.5 / np.log(10) * np.abs(guess - np.moveaxis(middle, coarse_axis, 0))

        young = AGE_NODES[1:] <= 1
        extremes = fine[:, [0, 30, 60]]  # E(B-V) = 0, 0.75, 1.5
        in_age = worst(extremes, 0)
        assert in_age[young].max() <= 0.002
        assert in_age[~young].max() <= 0.005
        assert worst(fine[::10], 1).max() <= 0.002

    def test_sdss_magnitudes_are_galaxevs_own(self, sed_source, library, shared_data):
        # Theirs are the low-resolution spectra: they differ by up to 0.11, 0.07 and 0.04 mag
        log_age, _, g, ug, gr, gi, gz = np.loadtxt(shared_data / "bc03_lr_m62_chab.1ABmag", unpack=True)
        age = 10**log_age / 1e6
        np.testing.assert_allclose(library.age[1:], age, rtol=1e-5)
        for band, expected in {"u": g + ug, "g": g, "r": g - gr, "i": g - gi, "z": g - gz}.items():
            curve = read_curve(open_sources(sed_source), f"pymgal/filters/sdss_{band}")
            flux = band_fluxes(library, curve, np.array([0.0]))[1:, 0]
            difference = np.abs(-2.5 * np.log10(flux / 3631e3) - expected)
            assert difference[age < 10].max() <= 0.11, band
            assert difference[(age >= 10) & (age < 100)].max() <= 0.075, band
            assert difference[age >= 100].max() <= 0.04, band

    def test_masses_and_bolometric_magnitudes_are_galaxevs_own(self, library, shared_data):
        log_age, expected, mass = np.loadtxt(shared_data / "bc03_lr_m62_chab.4color", usecols=(0, 1, 6), unpack=True)
        np.testing.assert_array_equal(library.surviving_mass[1:], mass)
        assert library.surviving_mass[0] == 1
        age = 10**log_age / 1e6
        frequency = 2.99792458e18 / library.wavelength
        flux = np.trapezoid(library.fnu[:, ::-1], frequency[::-1], axis=1) * u.erg / u.s / u.cm**2
        luminosity = (flux * 4 * np.pi * (10 * const.pc) ** 2).to_value(u.erg / u.s)[1:]
        difference = np.abs(4.75 - 2.5 * np.log10(luminosity / 3.826e33) - expected)
        # 0.007 mag where there are no luminous cool giants; with them the two sets of spectra part,
        # by up to 0.040 mag at 0.8 Gyr, and ours are always the fainter.
        cool = (age > 100) & (age < 2350)
        assert difference[~cool].max() <= 0.01
        assert difference[cool].max() <= 0.045
