import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from clusterpost.bands import ACS_BANDS, BANDS, WFC3_BANDS
from clusterpost.errors import InputError
from clusterpost.families.clusters.table import (
    FURTHER_BANDS,
    TABLE_PATH,
    TABLES,
    BandFluxTable,
    distance_term,
    find_table,
    load_table,
)
from clusterpost.training.grid import AGE_NODES, EBV_NODES, burst_mean

EIGHT = (*WFC3_BANDS, *ACS_BANDS)

MAG = 2.5 / math.log(10)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.fixture(scope="module")
def table():
    return load_table().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def reference(shared_data):
    return np.genfromtxt(shared_data / "cigale_reference.csv", delimiter=",", names=True)


def test_packaged_tables_are_small():
    assert all(path.stat().st_size < 2_000_000 for path in TABLES.values())
    assert TABLES["z0.02"] == TABLE_PATH


class TestFurtherBands:
    @pytest.mark.parametrize("name", TABLES)
    def test_they_are_found_where_they_are_asked_for(self, name):
        packaged = load_table(name)
        assert packaged.bands == EIGHT
        table = packaged.select(["F160W_IR", "F275W", "V_JC"])
        assert table.bands == ("F160W_IR", "F275W", "V_JC")
        assert torch.equal(table.ln_flux_nodes[..., 1], packaged.ln_flux_nodes[..., 0])
        every = {*EIGHT, *load_table(FURTHER_BANDS[name]).bands}
        assert every == {b for b, band in BANDS.items() if band.instrument != "SDSS"}
        assert FURTHER_BANDS[name].stat().st_size < 500_000
        assert load_table(FURTHER_BANDS[name]).header["sed_sha256"] == packaged.header["sed_sha256"]

    def test_neighbors_in_wavelength_are_neighbors_in_flux(self):
        """A narrow band differs from the broad one around it by the line, others by their pivots."""
        log_age, ebv = torch.meshgrid(torch.linspace(0, 4, 40), torch.linspace(0, 1.4, 8), indexing="ij")
        for one, other, least, most in (("V_JC", "F555W_ACS", -0.06, 0.2), ("F475W", "F475W_ACS", -0.02, 0.08),
                                        ("F658N_ACS", "F657N", -0.04, 0.02), ("F225W", "F275W", -2.2, 0.4)):
            color = -MAG * load_table().select([one, other]).ln_flux(log_age, ebv).diff()
            assert least < float(color.min()) <= float(color.max()) < most, (one, other)

    def test_means_of_the_stars_agree(self):
        """Another integration of the same spectra, by the table of stars."""
        from clusterpost.families.stochastic.table import load_stars

        names = load_table(FURTHER_BANDS["z0.02"]).bands
        stars, table = load_stars().select(names), load_table().select(names)
        for i in range(0, 83, 6):
            fine = 4 * i
            columns = np.exp(stars.ln_ratio[5, fine]) * (stars.number[5, i].astype(float) @ stars.light[5, i])
            ours = table.ln_flux(torch.tensor(stars.log_age[i]).float(), torch.tensor(0.0)).numpy()
            np.testing.assert_allclose(np.log(np.bincount(stars.column_band, columns)), ours, atol=0.005)

    def test_what_no_table_has_is_named(self):
        with pytest.raises(InputError, match=r"no u_SDSS; it has F275W, .*F160W_IR"):
            load_table().select(["u_SDSS"])

    def test_other_spectra_have_none(self):
        packaged = load_table()
        header = {**packaged.header, "sed_sha256": "0" * 64}
        other = BandFluxTable(packaged.log_age, packaged.ebv, packaged.ln_flux_nodes, packaged.surviving_nodes, header)
        with pytest.raises(InputError, match="no F160W_IR"):
            other.select(["F160W_IR"])


class TestTables:
    def test_by_name_and_path(self, tmp_path):
        assert load_table("z0.02") is load_table() is load_table(TABLE_PATH) is load_table(str(TABLE_PATH))
        copy = tmp_path / "mine.safetensors"
        copy.write_bytes(TABLES["z0.05"].read_bytes())
        assert torch.equal(load_table(copy).ln_flux_nodes, load_table("z0.05").ln_flux_nodes)
        assert load_table(str(copy)) is load_table(copy)

    @pytest.mark.parametrize("name", ["z0.03", "no/such.safetensors"])
    def test_unknown_is_refused(self, name):
        with pytest.raises(InputError, match=r"give one of z0\.008, z0\.02, z0\.05, or the path of a file"):
            load_table(name)

    def test_differ_in_metallicity_alone(self):
        headers = [dict(load_table(name).header) for name in TABLES]
        for key in ("bands", "curve_sha256", "extinction", "burst"):
            assert headers[0][key] == headers[1][key] == headers[2][key]
        assert len({h["sed_sha256"] for h in headers}) == 3
        assert [h["sed_file"] for h in headers] == [f"pymgal/models/bc03_ssp_{z.replace('z', 'z_')}_chab.model"
                                                    for z in TABLES]
        assert all(torch.equal(load_table(name).log_age, load_table().log_age) for name in TABLES)

    def test_metal_rich_clusters_are_redder_when_old(self):
        age, no_dust = torch.linspace(3.0, 4.1, 12), torch.zeros(12)
        colors = []
        for name in ("z0.008", "z0.02", "z0.05"):
            ln_flux = load_table(name).select(("F438W", "F814W")).ln_flux(age, no_dust)
            colors.append(ln_flux[:, 1] - ln_flux[:, 0])
        assert (colors[0] < colors[1]).all()
        assert (colors[1] < colors[2]).all()

    def test_found_by_the_hash_of_their_spectra(self, tmp_path):
        for name in TABLES:
            assert find_table(load_table(name).header["sed_sha256"]) is load_table(name)
        with pytest.raises(InputError, match="loaded band-flux table has the spectra with sha256 abababab"):
            find_table("ab" * 32)
        with safe_open(str(TABLE_PATH), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            header = json.loads(file.metadata()["header"])
        save_file(tensors, tmp_path / "own.safetensors",
                  metadata={"header": json.dumps({**header, "sed_sha256": "ab" * 32})})
        own = load_table(tmp_path / "own.safetensors")
        assert find_table("ab" * 32) is own


def test_packaged_table_says_where_it_comes_from():
    with safe_open(str(TABLE_PATH), framework="pt") as file:
        header = json.loads(file.metadata()["header"])
    for key in ("format", "bands", "pivot_angstrom", "flux_unit", "ssp", "sed_file", "sed_sha256",
                "curve_files", "curve_sha256", "extinction", "burst", "source"):
        assert header[key], key
    assert set(header["curve_files"]) == set(header["curve_sha256"]) == set(header["bands"]) == set(EIGHT)
    assert all(len(h) == 64 for h in (header["sed_sha256"], *header["curve_sha256"].values()))


def test_nodes_are_those_of_the_script():
    table = load_table()
    np.testing.assert_allclose(table.log_age, AGE_NODES, atol=1e-6)
    np.testing.assert_allclose(table.ebv, EBV_NODES, atol=1e-6)
    assert (table.log_age.diff() > 0).all()
    assert torch.isfinite(table.ln_flux_nodes).all()
    assert load_table() is table


def test_fluxes_are_those_of_cigale(reference):
    table = load_table().select(WFC3_BANDS)
    ln_flux = table.ln_flux(torch.tensor(np.log10(reference["age_Myr"])).float(),
                            torch.tensor(reference["E_BV"]).float()).double().numpy()
    expected = np.log(np.stack([reference[f"fnu_{b}_mJy"] for b in WFC3_BANDS], axis=-1))
    difference = MAG * np.abs(ln_flux - expected)
    assert difference.shape == (100, 5)
    assert difference.max() <= 0.005


def test_surviving_mass_is_that_of_cigale(reference):
    got = load_table().surviving_mass(torch.tensor(np.log10(reference["age_Myr"])).float())
    np.testing.assert_allclose(got, reference["m_star_surviving_Msun"], atol=1e-4)


def test_surviving_mass_is_that_of_galaxev(shared_data):
    log_age_yr, mass = np.loadtxt(shared_data / "bc03_lr_m62_chab.4color", usecols=(0, 6), unpack=True)
    age, mass = np.concatenate([[0], 10**log_age_yr / 1e6]), np.concatenate([[1], mass])
    table = load_table()
    # The SED file carries the same five digits; only float32 of ages and masses differs (measured: 1.2e-7).
    at_nodes = burst_mean(age, mass, table.log_age.double().numpy())
    np.testing.assert_allclose(table.surviving_nodes, at_nodes, atol=1e-6)
    # Between nodes the table is linear in log age, the mean is not: the steps are fine enough for 3e-4
    # (measured: 2.2e-4 at 12 Gyr, where they are widest).
    between = (0.5 * (table.log_age[1:] + table.log_age[:-1])).double()
    np.testing.assert_allclose(table.surviving_mass(between.float()), burst_mean(age, mass, between.numpy()), atol=3e-4)


def test_surviving_mass_goes_from_all_to_half():
    nodes = load_table().surviving_nodes
    assert (nodes <= 1 + 1e-6).all()
    assert nodes[0] == pytest.approx(1, abs=1e-3)
    assert 0.45 < nodes[-1] < 0.55
    # BC03's masses are no perfectly falling function (they rise at 2.9 Myr); over 0.1 dex ours falls
    coarse = load_table().surviving_mass(torch.arange(0.6, 4.1, 0.1))
    assert (coarse.diff() < 0).all()


def test_nothing_is_copied_for_the_same_bands_and_precision():
    table = load_table()
    assert table.to("cpu", torch.float32) is table
    assert table.select(table.bands) is table
    assert table.to(dtype=torch.float64).log_age.dtype == torch.float64
    assert table.select(table.bands[::-1]).bands == table.bands[::-1]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_at_the_nodes(device, dtype):
    table = load_table().to(device, dtype)
    i, j = torch.arange(0, len(table.log_age), 7), torch.arange(len(table.ebv))
    got = table.ln_flux(*torch.meshgrid(table.log_age[i], table.ebv[j], indexing="ij"))
    assert got.dtype == dtype
    assert got.device.type == device
    # nodes are known in float32 only, so that the position in a cell is off by its last digits
    torch.testing.assert_close(got, table.ln_flux_nodes[i], rtol=0, atol=2e-5 if dtype == torch.float32 else 1e-6)


def test_edges_of_the_table_are_finite():
    table = load_table()
    corners = torch.cartesian_prod(table.log_age[[0, -1]], table.ebv[[0, -1]])
    got = table.ln_flux(corners[:, 0], corners[:, 1])
    expected = table.ln_flux_nodes[[0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(log_age=st.floats(0, 4.138), ebv=st.floats(0, 1.5))
def test_between_nodes_it_lies_between_their_values(log_age, ebv):
    table = load_table().to(dtype=torch.float64)
    i = max(np.searchsorted(table.log_age.numpy(), log_age, side="right") - 1, 0)
    j = max(np.searchsorted(table.ebv.numpy(), ebv, side="right") - 1, 0)
    cell = table.ln_flux_nodes[i:i + 2, j:j + 2].reshape(-1, len(table.bands))
    got = table.ln_flux(torch.tensor(log_age, dtype=torch.float64), torch.tensor(ebv, dtype=torch.float64))
    assert (got >= cell.amin(0) - 1e-6).all()
    assert (got <= cell.amax(0) + 1e-6).all()


@pytest.mark.parametrize("crowded", [False, True])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_it_is_linear_in_the_interval_whatever_the_ages_of_the_nodes(crowded, seed):
    """Also where some nodes are nearer to each other than the cells by which they are looked up."""
    rng = np.random.default_rng(seed)
    nodes = np.sort(np.concatenate([rng.uniform(0, 3, 30), 1 + rng.uniform(0, 1e-4, 20 * crowded), [0.0, 3.0]]))
    flux, surviving = rng.normal(size=(len(nodes), 2, 1)), rng.uniform(0.5, 1, len(nodes))
    table = BandFluxTable(*map(torch.as_tensor, (nodes, [0.0, 1.0], flux, surviving)), {"bands": ["F555W"]})
    ages = np.concatenate([rng.uniform(0, 3, 200), nodes, np.nextafter(nodes[1:], 0), 1 + rng.uniform(0, 1e-4, 50)])
    ebv = rng.uniform(0, 1, len(ages))
    expected = (1 - ebv) * np.interp(ages, nodes, flux[:, 0, 0]) + ebv * np.interp(ages, nodes, flux[:, 1, 0])
    got = table.ln_flux(torch.as_tensor(ages), torch.as_tensor(ebv))
    np.testing.assert_allclose(got[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(table.surviving_mass(torch.as_tensor(ages)), np.interp(ages, nodes, surviving),
                               atol=1e-6)


def away_from_nodes(table, n=40):
    generator = torch.Generator().manual_seed(2)
    i = torch.randint(len(table.log_age) - 1, (n,), generator=generator)
    j = torch.randint(len(table.ebv) - 1, (n,), generator=generator)
    a, e = 0.2 + 0.6 * torch.rand(2, n, generator=generator, dtype=torch.float64)
    return torch.lerp(table.log_age[i], table.log_age[i + 1], a), torch.lerp(table.ebv[j], table.ebv[j + 1], e)


def test_gradients_are_right_away_from_nodes(table):
    log_age, ebv = (x.requires_grad_() for x in away_from_nodes(table))
    assert torch.autograd.gradcheck(table.ln_flux, (log_age, ebv), eps=1e-6, atol=1e-5)
    assert torch.autograd.gradcheck(table.surviving_mass, (log_age,), eps=1e-6, atol=1e-5)
    theta = torch.stack([log_age, torch.full_like(log_age, 4.0), ebv], -1).detach().requires_grad_()
    distance = torch.linspace(1, 30, len(theta), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(table.predict, (theta, distance), eps=1e-6, atol=1e-5)


def test_reddening_dims_and_the_blue_most(table):
    log_age, ebv = away_from_nodes(table)
    ebv = ebv.requires_grad_()
    slopes = [torch.autograd.grad(table.ln_flux(log_age, ebv)[:, b].sum(), ebv)[0] for b in range(5)]
    slopes = torch.stack(slopes)
    assert (slopes < 0).all()
    assert (slopes.diff(dim=0) > 0).all()
    # A_V / E(B-V) = 3.1, and F555W lies a little blueward of V
    assert ((-MAG * slopes[3] > 3.0) & (-MAG * slopes[3] < 3.4)).all()


def test_flux_scales_with_mass_and_distance(table):
    theta = torch.tensor([[1.0, 4.0, 0.3]], dtype=torch.float64)
    distance = torch.tensor([7.0], dtype=torch.float64)
    one = table.predict(theta, distance).exp()
    ten_times = table.predict(theta + torch.tensor([0.0, 1.0, 0.0]), distance).exp()
    twice_as_far = table.predict(theta, 2 * distance).exp()
    torch.testing.assert_close(ten_times, 10 * one)
    torch.testing.assert_close(twice_as_far, one / 4)
    at_ten_parsec = table.predict(theta - torch.tensor([0.0, 4.0, 0.0]), torch.full_like(distance, 1e-5))
    torch.testing.assert_close(at_ten_parsec, table.ln_flux(theta[:, 0], theta[:, 2]))


def test_distance_term_is_that_of_the_distance_modulus():
    distance = torch.tensor([1e-5, 1.0, 18.0], dtype=torch.float64)
    modulus = 5 * torch.log10(distance * 1e6) - 5
    torch.testing.assert_close(distance_term(distance), -modulus / MAG)


def test_shapes():
    table = load_table().select(WFC3_BANDS)
    theta = torch.tensor([1.0, 4.0, 0.3]).expand(3, 4, 3)
    assert table.predict(theta, torch.tensor(10.0)).shape == (3, 4, 5)
    assert table.predict(theta[0, 0], torch.tensor(10.0)).shape == (5,)
    assert table.surviving_mass(theta[..., 0]).shape == (3, 4)


def test_select_keeps_the_order_asked_for():
    table = load_table()
    bands = ("F814W_ACS", "F275W", "F555W")
    chosen = table.select(bands)
    assert chosen.bands == bands
    theta, distance = torch.tensor([[1.2, 4.0, 0.4]]), torch.tensor([5.0])
    index = [table.bands.index(b) for b in bands]
    torch.testing.assert_close(chosen.predict(theta, distance), table.predict(theta, distance)[:, index])
    assert chosen.select(("F275W",)).bands == ("F275W",)
    assert table.bands == EIGHT  # the one selected from is unchanged


def test_select_says_which_band_is_missing():
    with pytest.raises(ValueError, match="has no F336W, NOPE; it has F275W"):
        load_table().select(("F275W",)).select(("F336W", "NOPE"))


@pytest.mark.parametrize("device", DEVICES)
def test_precisions_and_devices_agree(device, table):
    theta = torch.stack([torch.linspace(0, 4.138, 500), torch.linspace(2, 8, 500), torch.linspace(0, 1.5, 500)], -1)
    distance = torch.linspace(1, 30, 500)
    single = load_table().to(device).predict(theta.to(device), distance.to(device))
    double = table.predict(theta.double(), distance.double())
    torch.testing.assert_close(single.cpu().double(), double, rtol=0, atol=2e-4)


def test_read_gives_back_a_table_of_any_path(tmp_path):
    copy = tmp_path / "table.safetensors"
    copy.write_bytes(TABLE_PATH.read_bytes())
    table = BandFluxTable.read(copy)
    assert torch.equal(table.ln_flux_nodes, load_table().ln_flux_nodes)
    assert table.header == load_table().header
