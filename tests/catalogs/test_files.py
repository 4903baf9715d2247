"""Files that have several tables, that are too much, or that point elsewhere."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import clusterpost
from clusterpost import conf
from clusterpost.cli import main
from clusterpost.errors import InputError, InputWarning


@pytest.fixture(scope="module")
def mocks():
    tbl = Table(clusterpost.simulate(4, seed=1, distance=10))
    return tbl["F275W", "F275W_err", "F336W", "F336W_err", "distance"]


@pytest.fixture
def several(mocks, tmp_path):
    tables = [Table({"band": ["F275W"], "zp": [1.0]}), mocks, mocks[:1]]
    hdus = [fits.BinTableHDU(t, name=name) for t, name in zip(tables, ("FILTERS", "FIELD_C", "FIELD_E"), strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "several.fits")
    return tmp_path / "several.fits"


def test_the_table_with_photometry_is_taken_and_said(several):
    with pytest.warns(InputWarning, match=r"3 tables.*table 2 \(FIELD_C\) is read: 4 of the 5 rows with photometry"):
        tbl = clusterpost.read_catalog(several)
    np.testing.assert_allclose(tbl["F275W"], clusterpost.read_catalog(several, hdu=2)["F275W"])
    assert len(clusterpost.read_catalog(several, hdu="field_e")) == 1


def test_another_table_by_option(several, tmp_path, capsys):
    with pytest.raises(InputError, match=r"no table 9 for hdu=; its tables are 1 \(FILTERS\), 2 \(FIELD_C\)"):
        clusterpost.read_catalog(several, hdu=9)
    assert main(["infer", str(several), str(tmp_path / "o.fits"), "--hdu", "9"]) == 2
    assert "for --hdu; its tables are" in capsys.readouterr().err
    other = [fits.BinTableHDU(Table({"band": ["F275W"], "zp": [1.0]})) for _ in range(2)]
    fits.HDUList([fits.PrimaryHDU(), *other]).writeto(tmp_path / "none.fits")
    with pytest.raises(InputError, match=r"2 tables.*none with recognized photometry; choose one with hdu="):
        clusterpost.read_catalog(tmp_path / "none.fits")


VOTABLE = """<?xml version="1.0"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="F275W" datatype="double" unit="mJy"/><FIELD name="F275W_err" datatype="double" unit="mJy"/>
<DATA><{kind}><STREAM {space}href="{where}"/></{kind}></DATA></TABLE></RESOURCE></VOTABLE>
"""


@pytest.mark.parametrize("kind", ["BINARY", "BINARY2", "FITS"])
@pytest.mark.parametrize("ending", ["vot", "xml", "vot.gz", "txt"])
@pytest.mark.parametrize("where", ["http://127.0.0.1:9/x", "file:///etc/hostname", "secret.bin"])
def test_a_votable_that_points_elsewhere_is_refused_before_any_access(kind, ending, where, tmp_path, monkeypatch):
    def opened(*args, **kwargs):
        raise AssertionError("accessed")

    monkeypatch.setattr("urllib.request.urlopen", opened)
    text = VOTABLE.format(kind=kind, where=where, space='encoding="base64"\n ').encode()
    path = tmp_path / f"x.{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    with pytest.raises(InputError, match="takes its rows from another file or address"):
        clusterpost.read_catalog(path)


def test_a_line_that_never_ends_is_refused(tmp_path):
    zeros = gzip.compress(b"\0" * 2_000_000)
    for name, data in (("a.csv", b"x" * 300_000), ("a.csv.gz", zeros), ("a.tab", b"1 " * 200_000)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="line of more than 200000 characters"):
            clusterpost.read_catalog(tmp_path / name)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 5_000_000))
    with pytest.raises(InputError, match="unpacks to more than 200 times its size"):
        clusterpost.read_catalog(tmp_path / "a.csv.gz")


def test_the_limits_can_be_set(mocks, tmp_path):
    mocks.write(tmp_path / "a.ecsv")
    with conf.set_temp("max_file_size", 100), pytest.raises(InputError, match="too large to be read at once"):
        clusterpost.read_catalog(tmp_path / "a.ecsv")
    with conf.set_temp("max_line_length", 10), pytest.raises(InputError, match="more than 10 characters"):
        clusterpost.read_catalog(tmp_path / "a.ecsv")
    assert len(clusterpost.read_catalog(tmp_path / "a.ecsv")) == 4


@pytest.mark.parametrize("where", ["unit", "limit", "distance", "galaxy", "columns", "cell", "missing", "source"])
def test_no_message_holds_a_whole_cell(mocks, where):
    long, tbl, options = "x" * 1_000_000, mocks.copy(), {}
    if where == "limit":
        tbl["F275W_limit"] = [long, "", "", ""]
    elif where == "distance":
        tbl.meta["distance"] = long
        tbl.remove_column("distance")
    elif where == "galaxy":
        tbl.meta["galaxy"] = long
        tbl.remove_column("distance")
    elif where == "cell":
        tbl["F275W"] = [long, "", "", ""]
    else:
        value = {"unit": long, "columns": {"F275W": (long, long)}, "missing": long, "source": long}[where]
        options[{"source": "distance_source"}.get(where, where)] = value
    with pytest.raises(InputError) as caught:
        clusterpost.photometry.Photometry.from_table(clusterpost.read_catalog(tbl, **options))
    assert len(str(caught.value)) < 2000


def test_a_table_of_vizier_with_tabs(mocks, tmp_path):
    lines = ["#RESOURCE=x", "#Name: J/ApJ/1/1", "", "\t".join(["F275Wmag", "e_F275Wmag", "l_F275Wmag"]),
             "\t".join(["mag", "mag", ""]), "\t".join(["------", "-----", "-"]), "20.1  \t 0.1\t ", "21.2  \t 0.1\t>",
             " \t \t ", ""]
    (tmp_path / "asu.tsv").write_text("\n".join(lines))
    tbl = clusterpost.read_catalog(tmp_path / "asu.tsv", unit="Vega")
    assert np.isfinite(tbl["F275W"]).tolist() == [True, True, False]
    assert tbl["F275W_limit"].tolist() == [False, True, False]


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"cannot be read as a table \(it is not text\)"):
        clusterpost.read_catalog(path)
