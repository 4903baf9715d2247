import warnings

import numpy as np
import pytest
from astropy.io.fits.verify import VerifyWarning
from astropy.table import MaskedColumn, QTable, Table

import clusterpost.catalogs
from clusterpost.bands import WFC3_BANDS
from clusterpost.catalogs.reader import LAYOUT_KEY, read_catalog
from clusterpost.errors import ColumnError, InputError

LEGUS = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"


@pytest.fixture
def tbl():
    out = Table({"id": [3, 1, 2], "name": ["a", "b", "c"]})
    for i, band in enumerate(WFC3_BANDS):
        out[band] = [1.0 + i, 2.0 + i, -9999.0]
        out[f"{band}_err"] = [0.1, -0.2, -9999.0]
        out[band].unit = out[f"{band}_err"].unit = "mJy"
    out["distance"] = [10.0, 11.0, 12.0]
    return out


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "ecsv", "csv", "xml", "vot", "parquet", "txt", "dat"])
def test_any_kind_of_file(tbl, tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")  # astropy reads Parquet through it
    path = tmp_path / f"mine.{ending}"
    formats = {"txt": "ascii", "dat": "ascii.commented_header", "xml": "votable", "vot": "votable"}
    tbl.write(path, format=formats.get(ending))
    back = read_catalog(str(path))
    assert back.meta[LAYOUT_KEY] == "canonical"
    assert back.colnames == tbl.colnames
    for name in tbl.colnames:
        np.testing.assert_array_equal(np.asarray(back[name]).astype(tbl[name].dtype), np.asarray(tbl[name]))
    if ending not in ("csv", "txt", "dat"):
        assert str(back["F275W"].unit) == "mJy"


def test_a_table_is_copied_with_everything_in_it(tbl):
    tbl["count"] = MaskedColumn([1, 2, 3], mask=[False, True, False])
    tbl.meta["note"] = "kept"
    back = read_catalog(tbl)
    assert LAYOUT_KEY not in tbl.meta
    assert back.meta["note"] == "kept"
    assert back["count"].dtype == tbl["count"].dtype
    assert list(back["count"].mask) == [False, True, False]
    back["F275W"][0] = 99
    assert tbl["F275W"][0] == 1.0
    assert type(read_catalog(QTable(tbl))) is QTable


def test_masked_integers_of_a_file_stay(tbl, tmp_path):
    tbl["count"] = MaskedColumn([1, 2, 3], mask=[False, True, False])
    tbl.write(tmp_path / "mine.ecsv")
    back = read_catalog(tmp_path / "mine.ecsv")
    assert back["count"].dtype.kind == "i"
    assert list(back["count"].mask) == [False, True, False]


def test_the_real_legus_file(shared_data):
    back = read_catalog(shared_data / LEGUS)
    assert back.meta[LAYOUT_KEY] == "LEGUS"
    assert len(back) == 3080
    assert back.meta["galaxy"] == "NGC 628"


def test_legus_survives_fits(shared_data, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # FITS keywords of more than eight characters
        read_catalog(shared_data / LEGUS).write(tmp_path / "ngc628.fits")
    back = read_catalog(tmp_path / "ngc628.fits")
    assert back.meta[LAYOUT_KEY] == "LEGUS"
    assert (np.asarray(back["F275W"]) == 66.666).sum() > 0


def test_a_tab_file_that_is_not_of_legus(tbl, tmp_path):
    tbl.write(tmp_path / "mine.tab", format="ascii.tab")
    assert read_catalog(tmp_path / "mine.tab").meta[LAYOUT_KEY] == "canonical"


def test_columns_are_passed_on(tbl):
    tbl.rename_column("F275W", "nuv")
    back = read_catalog(tbl, columns={"F275W": ("nuv", "F275W_err")})
    assert back.meta[LAYOUT_KEY] == "columns argument"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"absent.fits does not exist; check the path"):
        read_catalog(tmp_path / "absent.fits")
    with pytest.raises(InputError, match="is not a file"):
        read_catalog(tmp_path)
    (tmp_path / "empty.fits").touch()
    with pytest.raises(InputError, match="is empty"):
        read_catalog(tmp_path / "empty.fits")
    for name, content in (
        ("broken.fits", b"SIMPLE  = nonsense"),
        ("broken.ecsv", b"no header\n1 2\n3"),
        ("broken.parquet", b"PAR1"),
        ("broken.tab", b"\xff\xfe\x00\x01"),
        ("broken.dat", b"\xff\xfe\x00\x01"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}"):
            read_catalog(tmp_path / name)


def test_a_reader_that_is_not_installed(tmp_path, monkeypatch):
    def read(*args, **kwargs):
        raise ModuleNotFoundError("pandas is required to read parquet files")

    monkeypatch.setattr(Table, "read", read)
    (tmp_path / "mine.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"mine.parquet: pandas is required to read parquet files; install it"):
        read_catalog(tmp_path / "mine.parquet")


def test_what_is_no_catalog():
    with pytest.raises(InputError, match="not dict"):
        read_catalog({"F275W": [1.0]})


def test_a_file_without_photometry_is_named(tmp_path):
    Table({"a": [1, 2], "b": [3, 4]}).write(tmp_path / "other.csv")
    with pytest.raises(ColumnError, match=r"other.csv: no photometry found"):
        read_catalog(tmp_path / "other.csv")


def test_names_of_the_room():
    assert clusterpost.catalogs.read_catalog is read_catalog
    assert all(hasattr(clusterpost.catalogs, name) for name in clusterpost.catalogs.__all__)
    assert set(clusterpost.catalogs.__all__) <= set(dir(clusterpost.catalogs))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        clusterpost.catalogs.nothing  # noqa: B018
