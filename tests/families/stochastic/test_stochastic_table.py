import lzma

import numpy as np
import pytest
from tiny_stars import BANDS, tiny_arrays, tiny_table

from clusterpost.bands import BANDS as EVERY
from clusterpost.bands import WFC3_BANDS
from clusterpost.errors import InputError
from clusterpost.families.clusters.table import load_table
from clusterpost.families.stochastic.table import STARS_PATH, StarTable, load_stars


def mean_magnitudes(table, z, log_age, ebv=0.0, rv=3.1):
    """AB, per solar mass at nodes."""
    j, i = np.argmin(np.abs(table.log_z - np.log10(z))), np.argmin(np.abs(table.log_age - log_age))
    fine = np.argmin(np.abs(table.fine_log_age - log_age))
    columns = np.exp(table.ln_ratio[j, fine]) * (table.number[j, i].astype(float) @ table.light[j, i])
    columns *= 10 ** (-0.4 * ebv * (rv * table.a + table.b))
    return -2.5 * np.log10(np.bincount(table.column_band, columns) / 3.6307805477e6)


def test_codes_give_the_numbers_back():
    arrays = tiny_arrays()
    table = tiny_table()
    assert arrays["ln_flux"].dtype == arrays["fraction"].dtype == np.uint16
    of_band = table.light[..., 1] + table.light[..., 2]
    low, step = arrays["scale_ln_flux"][1]
    np.testing.assert_allclose(of_band, np.exp(arrays["ln_flux"][..., 1] * step + low), rtol=1e-5)
    assert step < 1e-3
    assert (table.photons[..., 0] == 0).all()  # no photons stay none


def test_select():
    table = tiny_table()
    one = table.select(["F814W"])
    assert one.bands == ("F814W",)
    np.testing.assert_array_equal(one.light, table.light[..., 1:])
    np.testing.assert_array_equal(one.select(["F275W"]).gas, table.gas[..., :1])  # the rest is not lost
    with pytest.raises(InputError, match="no F160W_IR; it has F275W, F814W"):
        table.select(["F160W_IR"])


def test_file(tmp_path):
    from safetensors.numpy import save

    path = tmp_path / "stars.xz"
    data = save(tiny_arrays(), metadata={"header": '{"bands": ["F275W", "F814W"], "format": "x"}'})
    path.write_bytes(lzma.compress(data))
    table = StarTable.read(path)
    assert table.bands == BANDS
    assert table.header["format"] == "x"
    assert len(table.sha256) == 64
    np.testing.assert_array_equal(table.light, tiny_table().light)
    for spoilt in (b"", path.read_bytes()[:-50], b"no table"):
        path.write_bytes(spoilt)
        with pytest.raises(InputError, match=r"make one with .*training\.stars"):
            StarTable.read(path)
    with pytest.raises(InputError, match="no table of stars"):
        StarTable.read(tmp_path / "absent")


def test_packaged_table():
    table = load_stars()
    assert set(table.bands) == {name for name, band in EVERY.items() if band.instrument != "SDSS"}
    assert STARS_PATH.stat().st_size < 8e6
    assert table.number.shape == (7, 84, 48)
    np.testing.assert_allclose(10**table.log_z, [0.0004, 0.001, 0.002, 0.004, 0.008, 0.02, 0.03])
    for key in ("isochrones", "atmospheres", "hot_stars", "tp_agb", "anchor", "gas", "sha256", "curve_files"):
        assert table.header[key]
    # no mass is lost: 0.1 to 100 Msun of Chabrier's, when all are on the main sequence
    alive = table.number.sum(-1)
    assert 1.4 < alive[:, 0].min() <= alive[:, 0].max() < 1.55


@pytest.mark.parametrize(("ebv", "worst", "worst_nuv"), [(0.0, 0.005, 0.005), (0.5, 0.012, 0.012), (1.5, 0.026, 0.06)])
def test_mean_of_solar_metallicity_is_that_of_the_fully_sampled_table(ebv, worst, worst_nuv):
    import torch

    stars, sampled = load_stars().select(WFC3_BANDS), load_table().select(WFC3_BANDS)
    for log_age in stars.log_age[:-1:3]:
        expected = sampled.ln_flux(torch.tensor(log_age).float(), torch.tensor(ebv)).numpy()
        sampled_ab = -2.5 * (expected / np.log(10) - np.log10(3.6307805477e6))
        difference = mean_magnitudes(stars, 0.02, log_age, ebv) - sampled_ab
        assert np.abs(difference[1:]).max() <= worst, log_age
        assert abs(difference[0]) <= worst_nuv, log_age


def test_old_clusters_are_bluer_where_metals_are_few():
    """Vega F555W - F814W at 10 Gyr by metallicity."""
    table = load_stars().select(["F555W", "F814W"])
    zero = EVERY["F555W"].ab_minus_vega - EVERY["F814W"].ab_minus_vega
    colors = [-np.diff(mean_magnitudes(table, z, 4.0))[0] - zero for z in (0.0004, 0.001, 0.002, 0.004, 0.008, 0.02)]
    np.testing.assert_allclose(colors, [1.00, 1.04, 1.08, 1.12, 1.22, 1.34], atol=0.02)


def test_narrow_bands_hold_the_line():
    """H-alpha of a young cluster whose gas absorbs every photon: 1.37e-12 erg a photon (case B)."""
    table = load_stars().select(["F657N", "F555W"])
    per_photon = table.gas[1, 5, 0]  # mJy at 10 pc per 1e45 photons/s, log U = -3, solar, 1 Myr
    line = 1e45 * 1.37e-12 / (4 * np.pi * 3.0857e19**2)  # erg/s/cm2
    width = 118.0  # Angstrom, of F657N as a rectangle
    flux = line / width * 6566.6**2 / 2.99792458e18 * 1e26
    assert per_photon[table.column_band == 0].sum() == pytest.approx(1.35 * flux, rel=0.25)  # [N II] and continuum too


def reference(folder):
    with np.load(folder / "stochastic" / "reference_table.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return StarTable(arrays, (*WFC3_BANDS, "F435W_ACS", "F555W_ACS", "F814W_ACS"))


def test_means_agree_with_the_reference_table(shared_data):
    theirs = reference(shared_data)
    ours = load_stars().select(theirs.bands)
    for z in 10**theirs.log_z:
        for log_age in theirs.log_age:
            difference = mean_magnitudes(ours, z, log_age) - mean_magnitudes(theirs, z, log_age)
            assert np.abs(difference).max() <= 0.005, (z, log_age)


def test_scatter_agrees_with_the_reference_table(shared_data):
    import torch

    from clusterpost.families.stochastic.simulator import StarSimulator

    theirs = StarSimulator(reference(shared_data), WFC3_BANDS)
    ours = StarSimulator(load_stars(), WFC3_BANDS)
    n, off = 6000, []
    for z in (0.0004, 0.004, 0.02):
        for log_age in (0.3, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0):
            theta = torch.tensor([[log_age, 3.0, 0.0, np.log10(z / 0.02), 3.1, 0.0]]).repeat(n, 1)
            widths = []
            for simulator in (ours, theirs):
                flux = simulator.simulate(theta, generator=torch.Generator().manual_seed(1)).numpy()
                colors = -2.5 * np.diff(np.log10(flux), axis=1)
                q16, q84 = np.quantile(colors, [0.16, 0.84], axis=0)
                widths.append((q84 - q16) / 2)
            off.append(np.abs(widths[0] - widths[1]) / np.maximum(widths[1], 0.03))
    assert np.median(np.max(off, axis=1)) <= 0.07
