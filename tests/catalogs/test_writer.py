import sys

import numpy as np
import pytest
from astropy.io.votable import parse
from astropy.table import QTable, Table

import clusterpost
from clusterpost.catalogs.writer import FORMATS, check_writable, write_catalog
from clusterpost.errors import InputError
from clusterpost.photometry import Photometry

pytestmark = pytest.mark.usefixtures("exact_by_default")

META = {"text": "grün", "number": 2.5, "count": 7, "large": 2**40, "yes": True, "numpy": np.float32(0.5), "empty": ""}


@pytest.fixture
def tbl():
    tbl = Table(
        {
            "F275W": [1.0, 2.0],
            "F275W_err": [0.1, 0.2],
            "name": ["α", "b"],
            "n": [1, 2],
            "flag": [True, False],
            "pair": [[1.0, np.nan], [3.0, 4.0]],
        }
    )
    tbl["F275W"].unit = tbl["F275W_err"].unit = "mJy"
    tbl["F275W"].description = "flux"
    return tbl


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix != ".csv"])
def test_each_format(tmp_path, tbl, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    if suffix.startswith(".fit"):
        tbl["name"][0] = "a"  # FITS knows ASCII only
    write_catalog(tbl, tmp_path / f"out{suffix}")
    back = clusterpost.read_catalog(tmp_path / f"out{suffix}")
    assert back.colnames == [*tbl.colnames, "F275W_limit"]
    for name in tbl.colnames:
        got = np.ma.getdata(back[name]) if name == "pair" else back[name].tolist()  # NaN is masked by some readers
        np.testing.assert_array_equal(got, tbl[name].tolist(), err_msg=name)
    assert str(back["F275W"].unit) == "mJy"
    assert back["F275W"].description == "flux"
    assert [p.name for p in tmp_path.iterdir()] == [f"out{suffix}"]


def test_csv_is_flat(tmp_path, tbl):
    tbl["age_modes"], tbl["mode_weight"] = tbl["pair"], tbl["pair"]
    write_catalog(tbl, tmp_path / "out.csv")
    back = clusterpost.read_catalog(tmp_path / "out.csv", unit="mJy")
    assert back.colnames == ["F275W", "F275W_err", "name", "n", "flag", "pair_1", "pair_2", "age_mode1", "age_mode2",
                             "mode_weight1", "mode_weight2", "F275W_limit"]
    assert back["age_mode1"].tolist() == [1, 3]
    assert back["name"].tolist() == ["α", "b"]
    tbl["draws"] = np.ones((2, 100))
    with pytest.raises(InputError, match=r"column 'draws' holds 100 numbers in each row.*write FITS"):
        write_catalog(tbl, tmp_path / "draws.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".vot", ".parquet", ".hdf5"])
def test_any_format_can_be_flat(tmp_path, tbl, suffix):
    tbl["name"] = ["a", "b"]
    write_catalog(tbl, tmp_path / f"out{suffix}", flat=True)
    back = clusterpost.read_catalog(tmp_path / f"out{suffix}")
    assert {"pair_1", "pair_2"} <= set(back.colnames)
    assert str(back["F275W"].unit) == "mJy"


def test_what_hdf5_needs_is_said_early(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"h5py is required.* pip install 'clusterpost\[hdf5\]'"):
        check_writable(tmp_path / "out.hdf5")


def test_results_and_draws_in_hdf5(tmp_path):
    out = clusterpost.infer_table(clusterpost.simulate(2, seed=1), n_samples=20, noise="normal")
    write_catalog(out, tmp_path / "out.hdf5")
    back = clusterpost.read_catalog(tmp_path / "out.hdf5")
    one, two = (clusterpost.sample_posterior(tbl, n_samples=10) for tbl in (out, back))
    np.testing.assert_array_equal(one["age"], two["age"])
    write_catalog(one, tmp_path / "draws.h5")
    assert Table.read(tmp_path / "draws.h5", path="clusterpost")["age"].shape == (2, 10)


def test_the_suffix_in_capitals(tmp_path, tbl):
    write_catalog(tbl["F275W", "n"], tmp_path / "out.FITS")
    assert len(Table.read(tmp_path / "out.FITS", format="fits")) == 2


def test_a_votable_keeps_scalars_of_the_meta(tmp_path, tbl):
    path = tmp_path / "out.vot"
    tbl.meta.update(META, several=[1, 2], nothing=None)
    write_catalog(tbl, path)
    params = {p.name: p.value for p in next(parse(path).iter_tables()).params}
    assert params == META
    back = clusterpost.read_catalog(path)
    assert {k: v for k, v in back.meta.items() if k in META} == META
    assert type(back.meta["yes"]) is bool
    assert type(back.meta["count"]) is int
    assert "several" not in back.meta


def test_a_floor_is_not_lost_in_a_votable(tmp_path, tbl):
    floored = clusterpost.apply_error_floor(tbl, 0.05)
    write_catalog(floored, tmp_path / "out.vot")
    back = clusterpost.read_catalog(tmp_path / "out.vot")
    again = clusterpost.apply_error_floor(back, 0.05)
    np.testing.assert_array_equal(again["F275W_err"], floored["F275W_err"])


@pytest.mark.parametrize("name", ["out.txt", "out", "out.fits.gz", ".fits", "out.xlsx"])
def test_an_unknown_suffix(tmp_path, tbl, name):
    with pytest.raises(InputError, match=r"no format is known for the suffix .*; use one of \.fits, .*\.parquet"):
        write_catalog(tbl, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_absent(tmp_path, tbl):
    with pytest.raises(InputError, match=r"the folder .*absent does not exist; create it first"):
        write_catalog(tbl, tmp_path / "absent" / "out.fits")


def test_overwrite(tmp_path, tbl):
    path = tmp_path / "out.ecsv"
    write_catalog(tbl, path)
    with pytest.raises(InputError, match="exists; give another name, or overwrite it"):
        write_catalog(tbl[:1], path)
    with pytest.raises(InputError, match="exists"):
        check_writable(path)
    assert len(Table.read(path)) == 2
    write_catalog(tbl[:1], path, overwrite=True)
    assert len(Table.read(path)) == 1


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".vot"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, tbl, suffix, monkeypatch):
    path = tmp_path / f"out{suffix}"
    tbl["name"][0] = "a"
    write_catalog(tbl, path)
    before = path.read_bytes()

    def fails(self, file, *args, **kwargs):
        with open(file, "wb") as half:
            half.write(b"half a ")
        raise OSError("no space left on device")

    monkeypatch.setattr(Table, "write", fails)
    monkeypatch.setattr("astropy.io.votable.tree.VOTableFile.to_xml", fails)
    with pytest.raises(OSError, match="no space left"):
        write_catalog(tbl, path, overwrite=True)
    assert path.read_bytes() == before
    with pytest.raises(OSError, match="no space left"):
        write_catalog(tbl, tmp_path / f"new{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_write_that_fails_leaves_nothing(tmp_path, tbl, monkeypatch):
    def write(tbl, path):
        path.write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr("clusterpost.catalogs.writer._write_fits", write)
    with pytest.raises(OSError, match="no space"):
        write_catalog(tbl, tmp_path / "out.fits")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unit", ["nmgy", "3.63 mJy", "1e-17 erg/(s cm2 Angstrom)"])
@pytest.mark.parametrize("kind", [Table, QTable])
def test_a_unit_that_fits_cannot_say(tmp_path, unit, kind):
    fluxes = {"F275W": [1.0], "F275W_err": [0.1], "F336W": [1.0], "F336W_err": [0.1]}
    tbl = kind(clusterpost.read_catalog(Table(fluxes), unit=unit))
    write_catalog(tbl, tmp_path / "out.fits")
    back = clusterpost.read_catalog(tmp_path / "out.fits")
    flux, written = (Photometry.from_table(one, covariates=()).flux for one in (tbl, back))
    np.testing.assert_allclose(written, flux, rtol=1e-5)
