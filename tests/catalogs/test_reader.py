import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.io.fits.verify import VerifyWarning
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from phangs_like import ACS_FIELD, GENERATIONS, names, phangs_like

import clusterpost.catalogs
from clusterpost.bands import BANDS, WFC3_BANDS
from clusterpost.catalogs.legus import LEGUS_SENTINELS
from clusterpost.catalogs.reader import LAYOUT_KEY, read_catalog
from clusterpost.catalogs.recognition import recognize
from clusterpost.errors import ColumnError, DistanceError, InputError, UnitError
from clusterpost.photometry import Photometry

LEGUS = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"


def same(got, wanted):
    """The same table, to the last bit, description and record."""
    assert got.colnames == wanted.colnames
    assert type(got) is type(wanted)
    assert dict(got.meta) == dict(wanted.meta)
    for name in wanted.colnames:
        a, b = got[name], wanted[name]
        np.testing.assert_array_equal(np.asarray(getattr(a, "unmasked", a)), np.asarray(getattr(b, "unmasked", b)),
                                      err_msg=name)
        np.testing.assert_array_equal(getattr(a, "mask", False), getattr(b, "mask", False), err_msg=name)
        assert (a.info.unit, a.info.description, a.info.format) == (b.info.unit, b.info.description, b.info.format)


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
    assert back.colnames == [*tbl.colnames, *(f"{band}_limit" for band in WFC3_BANDS)]
    for i, band in enumerate(WFC3_BANDS):
        np.testing.assert_array_equal(back[band], [1.0 + i, 2.0 + i, np.nan])
        np.testing.assert_array_equal(back[f"{band}_err"], [0.1, 0.2, np.nan])
        np.testing.assert_array_equal(back[f"{band}_limit"], [False, True, False])
    for name in ("id", "name", "distance"):
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
    bands = ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS")
    for band in bands:
        own, error = np.asarray(back[f"{band}_vega"]), np.asarray(back[f"{band}_vega_err"])
        missing = np.isin(own, LEGUS_SENTINELS) | np.isin(error, LEGUS_SENTINELS)
        assert missing.sum() < 1000
        np.testing.assert_array_equal(np.isnan(back[band]), missing)
        flux = 3.6307805477e6 * 10 ** (-0.4 * (own + BANDS[band].ab_minus_vega))
        np.testing.assert_allclose(np.asarray(back[band])[~missing], flux[~missing], rtol=1e-9)
        assert not back[f"{band}_limit"].any()
    same(read_catalog(back), back)


def test_legus_survives_fits(shared_data, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # FITS keywords of more than eight characters
        read_catalog(shared_data / LEGUS).write(tmp_path / "ngc628.fits")
    back = read_catalog(tmp_path / "ngc628.fits")
    assert back.meta[LAYOUT_KEY] == "LEGUS"
    missing = np.isin(np.asarray(back["F275W_vega"]), (66.666, 99.999))
    assert missing.sum() > 0
    assert (np.isnan(np.asarray(back["F275W"])) >= missing).all()


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
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pytest.importorskip("pyarrow").table({"F275W": [1.0]}), tmp_path / "mine.parquet")
    with pytest.raises(InputError, match=r"mine.parquet: pandas is required to read parquet files; install it"):
        read_catalog(tmp_path / "mine.parquet")


def test_what_is_no_catalog():
    with pytest.raises(InputError, match="not dict"):
        read_catalog({"F275W": [1.0]})


def test_a_file_without_photometry_is_named(tmp_path):
    Table({"a": [1, 2], "b": [3, 4]}).write(tmp_path / "other.csv")
    with pytest.raises(ColumnError, match=r"other.csv: no photometry found"):
        read_catalog(tmp_path / "other.csv")
    phangs_like().write(tmp_path / "mine.ecsv")
    with pytest.raises(DistanceError, match=r"mine.ecsv: 'ned' is not a source of distances \(distance_source=\)"):
        read_catalog(tmp_path / "mine.ecsv", distance_source="ned")


# Properties


@st.composite
def catalogs(draw):
    """A PHANGS or canonical table with limits, missing values and sentinels anywhere."""
    generation = draw(st.sampled_from([*GENERATIONS, "canonical"]))
    bands = draw(st.sampled_from([WFC3_BANDS, ACS_FIELD, WFC3_BANDS[1:4]]))
    own = "PHANGS DR4" if generation == "canonical" else generation
    tbl = phangs_like(own, bands=bands, units=draw(st.booleans()) or generation == "canonical", magnitudes=False)
    for band in bands:
        flux, error, *_ = names(own, band)
        for row in range(len(tbl)):
            what = draw(st.sampled_from(["measured", "measured", "limit", "no flux", "no error", "nan", "zero"]))
            if what == "limit":
                tbl[error][row] *= -1
            elif what in ("no flux", "no error"):
                tbl[flux if what == "no flux" else error][row] = draw(st.sampled_from([-9999.0, -999.0]))
            elif what == "nan":
                tbl[flux][row] = np.nan
            elif what == "zero":
                tbl[flux][row] = draw(st.sampled_from([0.0, -1e-6]))
        if generation == "canonical":
            tbl.rename_columns([flux, error], [band, f"{band}_err"])
    if draw(st.booleans()):
        name = tbl.colnames[2]
        tbl[name] = MaskedColumn(tbl[name], mask=[False, True] + [False] * (len(tbl) - 2))
    return tbl


@given(tbl=catalogs(), quantities=st.booleans())
@settings(max_examples=20, deadline=None)
def test_reading_is_idempotent_and_loses_nothing(tbl, quantities):
    tbl = QTable(tbl) if quantities else tbl
    before = tbl.copy()
    once = read_catalog(tbl)
    same(tbl, before)
    same(read_catalog(once), once)
    for name in tbl.colnames:
        if name.startswith("PHANGS"):
            np.testing.assert_array_equal(np.asarray(once[name]), np.asarray(tbl[name]), err_msg=name)
    raw, read = (Photometry.from_table(t, distance=10, error_floor=None) for t in (before, once))
    for what in ("flux", "error", "limit", "missing"):
        np.testing.assert_array_equal(getattr(raw, what), getattr(read, what), err_msg=what)
    assert raw.layout == read.layout


@given(tbl=catalogs(), floor=st.sampled_from([0.02, 0.05]))
@settings(max_examples=12, deadline=None)
def test_a_floor_before_or_after_reading_is_the_same(tbl, floor):
    before = read_catalog(clusterpost.apply_error_floor(tbl, floor))
    after = clusterpost.apply_error_floor(read_catalog(tbl), floor)
    same(read_catalog(after), after)
    same(clusterpost.apply_error_floor(after, floor), after)
    photometry = [Photometry.from_table(t, distance=10, error_floor=0.3) for t in (before, after)]
    assert [p.error_floor for p in photometry] == [floor, floor]
    np.testing.assert_allclose(photometry[0].error, photometry[1].error, rtol=1e-12)
    direct = Photometry.from_table(tbl, distance=10, error_floor=floor)
    np.testing.assert_allclose(photometry[1].error, direct.error, rtol=1e-12)


@given(tbl=catalogs(), data=st.data())
@settings(max_examples=12, deadline=None)
def test_the_order_of_columns_does_not_matter(tbl, data):
    order = data.draw(st.permutations(tbl.colnames))
    wanted, got = read_catalog(tbl), read_catalog(tbl[order])
    assert set(got.colnames) == set(wanted.colnames)
    same(got[wanted.colnames], wanted)


@given(tbl=catalogs(), unit=st.sampled_from(["Jy", "uJy", "erg / (s cm2 Hz)", "nJy"]))
@settings(max_examples=12, deadline=None)
def test_units_do_not_matter(tbl, unit):
    other = tbl.copy()
    for columns in recognize(tbl).bands.values():
        for name in (columns.flux, columns.error):
            values = np.ma.filled(np.ma.asarray(other[name]), np.nan)
            sentinel = np.isin(values, (-9999, -999))
            other[name] = np.where(sentinel, values, (values * u.mJy).to_value(unit))
            other[name].unit = unit
    wanted, got = read_catalog(tbl), read_catalog(other)
    for band in recognize(wanted).bands:
        if wanted[band].unit is not None:
            for name in (band, f"{band}_err"):
                np.testing.assert_allclose(got[name].quantity.to_value("mJy"), wanted[name].quantity.to_value("mJy"),
                                           rtol=1e-12)
        np.testing.assert_array_equal(got[f"{band}_limit"], wanted[f"{band}_limit"])


@pytest.mark.parametrize("ending", ["fits", "ecsv", "vot", "parquet"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_read_table_survives_a_file(generation, ending, tmp_path):
    raw = phangs_like(generation)
    raw[names(generation, "F275W")[1]][1] *= -1
    raw[names(generation, "F814W")[0]][2] = -9999
    once = clusterpost.apply_error_floor(read_catalog(raw), 0.05)
    clusterpost.write_catalog(once, tmp_path / f"mine.{ending}")
    back = read_catalog(tmp_path / f"mine.{ending}")
    assert {key: back.meta[key] for key in once.meta} == dict(once.meta)
    wanted, got = (Photometry.from_table(t) for t in (once, back))
    for what in ("flux", "error", "limit", "distance"):
        np.testing.assert_array_equal(getattr(got, what), getattr(wanted, what), err_msg=what)
    assert (got.error_floor, got.layout, got.sources["distance"]) == (0.05, generation, wanted.sources["distance"])


def test_limits_survive_a_text_file(tmp_path):
    tbl = Table({"F275W": [1.0, 2.0], "F275W_err": [0.1, 0.2], "F275W_limit": [False, True]})
    tbl.write(tmp_path / "mine.csv")
    back = read_catalog(tmp_path / "mine.csv")
    assert back["F275W_limit"].dtype == bool
    assert list(back["F275W_limit"]) == [False, True]


# What is ambiguous, contradictory, or in the way


def test_candidates_are_listed_and_columns_settles_it():
    raw = phangs_like()
    raw["phangs_f275w_mjy"] = 2 * raw["PHANGS_F275W_mJy"]
    with pytest.raises(ColumnError, match=r"'PHANGS_F275W_mJy', 'phangs_f275w_mjy'.*F275W with columns="):
        read_catalog(raw)
    tbl = read_catalog(raw, columns={"F275W": ("phangs_f275w_mjy", "PHANGS_F275W_mJy_ERR")})
    np.testing.assert_array_equal(tbl["F275W"], raw["phangs_f275w_mjy"])
    assert tbl.meta["CPCOLS"] == '{"F275W": ["phangs_f275w_mjy", "PHANGS_F275W_mJy_ERR"]}'
    same(read_catalog(tbl), tbl)


def test_canonical_columns_that_contradict_the_surveys():
    tbl = read_catalog(phangs_like())
    tbl["PHANGS_F438W_mJy"][4] *= 1.5
    with pytest.raises(ColumnError, match=r"'F438W' and 'PHANGS_F438W_mJy' contradict each other in 1 of 6 rows "
                                          r"\(row 4: by \+0\.440 mag\).*columns=\{"):
        read_catalog(tbl["PHANGS_F438W_mJy", "PHANGS_F438W_mJy_ERR", "F438W", "F438W_err"])
    settled = read_catalog(tbl["PHANGS_F438W_mJy", "PHANGS_F438W_mJy_ERR", "F438W", "F438W_err"],
                           columns={"F438W": ("F438W", "F438W_err")})
    np.testing.assert_array_equal(settled["F438W"], tbl["F438W"])
    same(read_catalog(settled), settled)


def test_two_distances_that_contradict():
    raw = phangs_like("PHANGS CR3")
    raw["distance"] = 8.3
    with pytest.raises(DistanceError, match=r"'distance' and 'PHANGS_DMPC' contradict each other in row 0 "
                                            r"\(8.3 and 18.63 Mpc\); drop one"):
        read_catalog(raw)
    raw["distance"] = 18.63
    assert read_catalog(raw).meta["CPDSRC"] == "table: column 'distance'"


def test_columns_of_the_user_go_aside_and_are_not_lost():
    raw = Table({"F275W": [7.0], "F275W_err": ["x"], "F275W_limit": ["maybe"], "flux": [1.0], "error": [0.1]})
    raw["flux"].unit = raw["error"].unit = "uJy"
    tbl = read_catalog(raw, columns={"F275W": ("flux", "error")})
    assert tbl["F275W"][0] == pytest.approx(1e-3)
    assert (tbl["F275W_original"][0], tbl["F275W_err_original"][0], tbl["F275W_limit_original"][0]) == (7, "x", "maybe")
    same(read_catalog(tbl), tbl)
    same(read_catalog(tbl, columns={"F275W": ("flux", "error")}), tbl)


def test_columns_without_a_unit_wait_for_one():
    raw = Table({"flux": [1.0, -9999], "error": [-0.1, 0.2]})
    tbl = read_catalog(raw, columns={"F275W": ("flux", "error")})
    assert tbl["F275W"].unit is None
    assert tbl["F275W_limit"].tolist() == [True, False]
    with pytest.raises(UnitError, match=r"'F275W' has no unit; give it with unit="):
        Photometry.from_table(tbl, distance=10)
    tbl["F275W"].unit = tbl["F275W_err"].unit = "mJy"
    assert Photometry.from_table(tbl, distance=10).flux[0, 0] == 1


def test_a_row_of_both_cameras_is_refused():
    raw = phangs_like()
    raw["PHANGS_F435W_mJy"], raw["PHANGS_F435W_mJy_ERR"] = -9999.0, -9999.0
    raw["PHANGS_F435W_mJy"][2] = 1e-3
    with pytest.raises(ColumnError, match=r"row 2 has B from both cameras .*columns=\{\.\.\.\}"):
        read_catalog(raw)


def test_the_camera_of_a_row_without_b():
    raw = phangs_like("PHANGS DR5")
    raw["PHANGS_F435W_mJy"], raw["PHANGS_F435W_mJy_ERR"] = -9999.0, -9999.0
    raw["PHANGS_F435W_mJy"][:3], raw["PHANGS_F438W_mJy"][:4] = 1e-3, -9999.0
    raw["PHANGS_F435W_mJy_ERR"][:3] = 1e-4
    raw["PHANGS_GALAXY"] = ["ngc1300"] * 3 + ["ngc1433"] * 3
    tbl = read_catalog(raw)
    assert np.isfinite(np.asarray(tbl["F555W"])).tolist() == [False] * 3 + [True] * 3  # as the rest of NGC 1433
    assert np.isfinite(np.asarray(tbl["F555W_ACS"])).tolist() == [True] * 3 + [False] * 3
    raw.remove_column("PHANGS_GALAXY")
    tbl = read_catalog(raw)
    assert np.isnan([tbl["F555W"][3], tbl["F555W_ACS"][3]]).all()


def test_names_of_the_room():
    assert clusterpost.catalogs.read_catalog is read_catalog
    assert all(hasattr(clusterpost.catalogs, name) for name in clusterpost.catalogs.__all__)
    assert set(clusterpost.catalogs.__all__) <= set(dir(clusterpost.catalogs))
    with pytest.raises(AttributeError, match="nothing"):
        clusterpost.catalogs.nothing  # noqa: B018


def test_a_gzip_file_with_a_damaged_block(tmp_path):
    path = tmp_path / "a.fits.gz"
    clusterpost.simulate(3, seed=1).write(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be unpacked"):
        clusterpost.read_catalog(path)
