"""Making the components of galaxies from the networks of PROVABGS."""

import json

import numpy as np
import pytest
import torch

from clusterpost.families.galaxies.components import Components
from clusterpost.families.galaxies.forward import GalaxyModel
from clusterpost.training.galaxies import Emulator, band_parts, component_sets, fit_polynomials, main, part_weights

CURVE = np.linspace(3800.0, 5500.0, 35), np.hanning(35)


@pytest.fixture
def emulator(shared_data):
    return Emulator.read(shared_data / "galaxies" / "provabgs_nmf_emulator.safetensors")


def test_parts_make_up_the_band():
    knots, nodes = band_parts(*CURVE, "g")
    assert (np.diff(nodes.ravel()[::2]) > 0).all()
    wave = np.linspace(3000.0, 7000.0, 401)
    parts = part_weights(*CURVE, knots, wave, 0.1)
    whole = part_weights(*CURVE, knots[:1], wave, 0.1)
    np.testing.assert_allclose(parts.sum(0), whole[0], rtol=1e-3, atol=1e-9 * whole.max())


def test_flat_source_has_its_magnitude():
    """A source of constant f_nu, here 1 mJy at 1 Mpc, is as bright in every band and at every redshift."""
    wave = np.linspace(2500.0, 7000.0, 9001)
    per_lsun = 3.846e33 / (4 * np.pi * 3.0856775814913673e24**2)
    for redshift in (0.0, 0.15):
        f_lambda = 1e-26 * 2.99792458e18 / (wave * (1 + redshift)) ** 2
        spectrum = f_lambda * (1 + redshift) / per_lsun
        flux = part_weights(*CURVE, band_parts(*CURVE, "g")[0], wave, redshift) @ spectrum
        assert flux.sum() == pytest.approx(1.0, rel=1e-5)


def test_quadratic_dust_is_exact_within_a_part():
    knots, nodes = band_parts(*CURVE, "g")
    x = np.linspace(3800.0, 5500.0, 20001)
    weight = x * np.interp(x, *CURVE) * np.interp(x, knots, np.eye(len(knots))[2])
    for power in (0, 1, 2):
        assert np.average(x**power, weights=weight) == pytest.approx((nodes[2] ** power).mean(), rel=1e-6)


def test_networks_as_published(emulator, shared_data):
    """Exact band integrals of the full networks' spectra are the golden fluxes."""
    golden = np.load(shared_data / "galaxies" / "golden.npz")
    curves = np.load(shared_data / "galaxies" / "sdss2010.npz")
    some = slice(0, 12)
    x = np.column_stack([golden["sticks"], 10 ** golden["log_gamma"], golden["tau_bc"], golden["tau_ism"],
                         golden["n_dust"], golden["tage"]])[some]
    light = emulator.ln_spectrum(torch.tensor(x, dtype=torch.float32)).double().exp().numpy()
    for k, band in enumerate("ugriz"):
        wave, response = curves[f"{band}_w"], curves[f"{band}_r"]
        for row, spectrum in enumerate(light):
            per_mass = part_weights(wave, response, wave[:1], emulator.wavelength, golden["redshift"][row])
            mpc = golden["dl_cm"][row] / 3.0856775814913673e24
            flux = (per_mass @ spectrum)[0] * 10 ** golden["log_mstar"][row] / mpc**2 / 3.631e-3
            assert flux == pytest.approx(golden["nanomaggies"][row, k], rel=1e-3)
    surviving = emulator.surviving_mass(torch.tensor(np.column_stack(
        [golden["sticks"], golden["log_gamma"], golden["tage"]])))
    np.testing.assert_allclose(surviving, golden["msurv"], rtol=1e-6)


def test_command(emulator, shared_data, tmp_path, capsys):
    folder = shared_data / "galaxies"
    curves = np.load(folder / "sdss2010.npz")
    (tmp_path / "speclite/data/filters").mkdir(parents=True)
    for band in "ugriz":
        rows = [f"{w!r} {r!r}" for w, r in zip(curves[f"{band}_w"].tolist(), curves[f"{band}_r"].tolist(), strict=True)]
        (tmp_path / f"speclite/data/filters/sdss2010-{band}.ecsv").write_text("\n".join(["wavelength response", *rows]))
    assert main(["components", str(folder / "provabgs_nmf_emulator.safetensors"), str(tmp_path), "-o",
                 str(tmp_path / "c.safetensors"), "--sets", "2", "--redshifts", "3"]) == 0
    assert "wrote" in capsys.readouterr().err
    made, packaged = Components.read(tmp_path / "c.safetensors"), GalaxyModel().components
    for name in ("wavelength", "band", "lookback", "star_formation", "metallicity", "age", "ln_distance"):
        torch.testing.assert_close(made.tensors[name], packaged.tensors[name])
    assert made.header["emulator_sha256"] == packaged.header["emulator_sha256"]


def test_packaged_light_is_that_of_the_networks(emulator, shared_data):
    curves = np.load(shared_data / "galaxies" / "sdss2010.npz")
    curves = {name: (curves[f"{name}_w"], curves[f"{name}_r"]) for name in "ugriz"}
    inputs, outputs = component_sets(emulator, curves, np.array([0.033, 0.1415]), 16, seed=9)
    low, high = GalaxyModel().components.log_gamma_range
    log_gamma, redshift = (inputs[:, :2] + 1) / 2 * (high - low) + low, (inputs[:, 2] + 1) / 2 * 0.2
    components = GalaxyModel().components
    light, surviving = (of(log_gamma, redshift) for of in (components.ln_light, components.surviving_mass))
    off = light.flatten(1) - outputs[:, :-4]
    assert off.square().mean().sqrt() < 0.02
    torch.testing.assert_close(surviving.log(), outputs[:, -4:], atol=4e-3, rtol=0)


def test_fit_of_polynomials():
    x = torch.rand(2000, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    y = torch.stack([x[:, 0] ** 2 * x[:, 2], torch.sin(2 * x[:, 1]), x[:, 2]], -1)
    tensors, rms = fit_polynomials(x, y, 8, 4)
    assert rms < 1e-4
    assert tensors["coefficients"].shape == (len(tensors["degrees"]), 3)
    noisy = y + 0.1 * torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    assert fit_polynomials(x, noisy, 8, 4)[1] > 0.08


def test_errors_command(tmp_path, capsys):
    from astropy.table import Table

    rng = np.random.default_rng(1)
    columns = {}
    for band in "ugriz":
        columns[f"nmgy_{band}"] = rng.uniform(10, 100, 200)
        columns[f"nmgy_err_{band}"] = columns[f"nmgy_{band}"] * 0.06
    Table({**columns, "clean": np.ones(200, bool)}).write(tmp_path / "nsa.ecsv")
    assert main(["errors", str(tmp_path / "nsa.ecsv"), "-o", str(tmp_path / "e.json")]) == 0
    assert "200 galaxies" in capsys.readouterr().err
    assert json.loads((tmp_path / "e.json").read_text())["paper"]["mean"][2][0] == pytest.approx(0.0651, abs=1e-4)
