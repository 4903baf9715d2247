"""Fluxes against magnitudes, the correction, and the record of floors."""

import numpy as np
import pytest
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from phangs_like import names, phangs_like

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.catalogs import check_levels, correct_aperture
from clusterpost.catalogs.legus import N_COLUMNS
from clusterpost.errors import InputError
from clusterpost.photometry import Photometry, apply_error_floor


def off_by(magnitudes, rows=slice(None)):
    tbl = phangs_like()
    for band in WFC3_BANDS:
        for name in names("PHANGS DR4", band)[:2]:
            tbl[name][rows] *= 10 ** (-0.4 * magnitudes)
    return tbl


def test_hundredths_are_zero_points_and_not_reported():
    assert check_levels(off_by(0.05)) is None


def test_another_slip_offers_no_known_factor():
    with pytest.warns(AstropyUserWarning, match=r"0\.700 mag \(a factor 1\.91\) fainter") as caught:
        check_levels(off_by(0.7))
    assert "correct_aperture" not in str(caught[0].message)


def test_inference_of_a_table_that_nobody_read_reports_it_too():
    with pytest.warns(AstropyUserWarning, match="mJy and Vega columns disagree"):
        Photometry.from_table(off_by(-1.724))


def test_what_was_read_is_reported_once():
    with pytest.warns(AstropyUserWarning, match="disagree"):
        tbl = clusterpost.read_catalog(off_by(-1.724))
    Photometry.from_table(tbl)  # a warning would be an error here


def test_nothing_to_compare():
    assert check_levels(Table({"a": [1]})) is None
    assert check_levels(phangs_like(magnitudes=False)) is None
    tbl = phangs_like()
    tbl.replace_column("PHANGS_F275W_VEGA", ["bright"] * 6)  # not this check's to complain about
    assert check_levels(tbl) is None


@pytest.mark.parametrize("kind", [Table, QTable])
def test_correction_of_some_rows(kind):
    tbl = clusterpost.read_catalog(kind(phangs_like()))
    before = tbl.copy()
    out = correct_aperture(tbl, 0.5, where=[1, 4])
    ratio = np.asarray(tbl["F336W"]) / np.asarray(out["F336W"])
    np.testing.assert_allclose(ratio, [1, 10**0.2, 1, 1, 10**0.2, 1])
    np.testing.assert_array_equal(tbl["F336W"], before["F336W"])
    np.testing.assert_array_equal(correct_aperture(out, 0.5, where=[1])["F336W"], out["F336W"])
    with pytest.raises(InputError, match=r"row 4 already has a correction of \+0\.500 mag"):
        correct_aperture(out, 0.7, where=[4, 5])
    both = correct_aperture(out, 0.7, where=[5])
    np.testing.assert_allclose(np.asarray(both["aperture_correction"]), [0, 0.5, 0, 0, 0.5, 0.7])


@pytest.mark.parametrize(("where", "message"), [
    ([True] * 5, r"where= is a mask of shape \(5,\) for a table of length 6"),
    ([0, 6], "where= contains row 6, which does not exist"),
    ([0.0, 1.0], r"where= is \[0\.0, 1\.0\]; give True or False for each of the 6 rows"),
    ("nothing < 2", "nothing"),
])
def test_correction_of_rows_that_do_not_exist(where, message):
    with pytest.raises(InputError, match=message):
        correct_aperture(clusterpost.read_catalog(phangs_like()), where=where)


def test_correction_of_rows_by_an_expression_or_a_masked_array():
    tbl = clusterpost.read_catalog(phangs_like())
    tbl["number"] = range(6)
    for where in ("number > 3", np.ma.array([True] * 6, mask=[True] * 4 + [False] * 2), [-1, -2], slice(4, None)):
        out = correct_aperture(tbl, 0.5, where=where)
        np.testing.assert_array_equal(np.asarray(out["aperture_correction"]), [0, 0, 0, 0, 0.5, 0.5])


def test_correction_of_magnitudes():
    tbl = Table({"F275W": [20.0, np.nan], "F275W_err": [0.1, np.nan]})
    tbl["F275W"].unit, tbl["F275W_err"].unit = "mag(AB)", "mag"
    out = correct_aperture(clusterpost.read_catalog(tbl), 1.724)
    np.testing.assert_allclose(out["F275W"], [21.724, np.nan])
    np.testing.assert_allclose(out["F275W_err"], [0.1, np.nan])


def test_what_was_not_read_is_not_corrected():
    with pytest.raises(InputError, match=r"give what clusterpost.read_catalog returns"):
        correct_aperture(phangs_like())


def test_a_legus_table_without_names_is_labelled():
    raw = Table({f"col{i}": [20.0, 66.666] for i in range(1, N_COLUMNS + 1)})
    raw.meta["source"] = "hlsp_legus_hst_wfc3_ngc4242_multiband_v1_padagb-mwext-avgapcor.tab"
    tbl = clusterpost.read_catalog(raw)
    assert tbl.meta["CPLAYOUT"] == "LEGUS"
    assert tbl["F438W_vega"].tolist() == [20.0, 66.666]
    assert np.isfinite(tbl["F438W"]).tolist() == [True, False]
    assert list(raw.colnames) == [f"col{i}" for i in range(1, N_COLUMNS + 1)]


# Which columns hold a floor


def test_a_floor_of_the_canonical_columns_is_not_one_of_the_magnitudes():
    raw = phangs_like()
    columns = {band: names("PHANGS DR4", band)[2:] for band in WFC3_BANDS}
    tbl = apply_error_floor(clusterpost.read_catalog(raw), 0.05)
    assert tbl.meta["ERRFCOLS"] == ", ".join(f"{band}_err" for band in WFC3_BANDS)
    wanted = Photometry.from_table(raw, error_floor=0.05)
    for options in ({}, {"columns": columns}):
        got = Photometry.from_table(tbl, error_floor=0.05, **options)
        np.testing.assert_allclose(got.error, wanted.error, rtol=1e-9)
    both = apply_error_floor(tbl, 0.05, columns=columns)
    np.testing.assert_allclose(Photometry.from_table(both, columns=columns, error_floor=0.3).error, wanted.error,
                               rtol=1e-9)
    with pytest.raises(InputError, match=r"already include a floor of 0\.05"):
        apply_error_floor(tbl, 0.1, columns=columns)


def test_a_floor_of_one_band_only():
    tbl = clusterpost.read_catalog(phangs_like())
    tbl = apply_error_floor(tbl, 0.05, columns={"F275W": ("F275W", "F275W_err")})
    with pytest.raises(InputError, match=r"'F336W_err' do not include the floor of 0.05.*ERRFCOLS.*all of them"):
        Photometry.from_table(tbl)


def test_renamed_columns_keep_their_floor():
    tbl = apply_error_floor(Table(phangs_like("PHANGS CR3", magnitudes=False)), 0.05)
    for band in WFC3_BANDS:
        tbl.rename_columns([f"PHANGS_{band}_mJy", f"PHANGS_{band}_mJy_ERR"], [band, f"{band}_err"])
    before = Photometry.from_table(tbl, error_floor=None)
    np.testing.assert_array_equal(Photometry.from_table(tbl, error_floor=0.5).error, before.error)


@pytest.mark.parametrize("floor", [0.05, 0.2])
def test_a_floor_of_magnitudes(floor):
    raw = phangs_like()
    columns = {band: names("PHANGS DR4", band)[2:] for band in WFC3_BANDS}
    out = apply_error_floor(raw, floor, columns=columns)
    got = Photometry.from_table(out, columns=columns, error_floor=None)
    np.testing.assert_allclose(got.error, Photometry.from_table(raw, error_floor=floor).error, rtol=1e-9)
    np.testing.assert_array_equal(out["PHANGS_F275W_mJy_ERR"], raw["PHANGS_F275W_mJy_ERR"])
