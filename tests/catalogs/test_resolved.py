"""Clusters of M31 whose ages are known from resolved stars."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from clusterpost.catalogs import read_phat
from clusterpost.errors import ColumnError, InputError
from clusterpost.photometry import Photometry

_BANDS = ("F275W", "F336W", "F475W", "F814W", "F110W", "F160W")


def _photometry():
    tbl = Table({"APID": [3, 7, 9]})
    for k, band in enumerate(_BANDS):
        tbl[band] = [20.0 + 0.1 * k, 19.0, 18.0]
        tbl[f"l_{band}"] = MaskedColumn(["", ">" if band == "F160W" else "", ""], mask=[True, band != "F160W", True])
        tbl[f"e_{band}"] = MaskedColumn([0.1, 0.2, 0.05], mask=[False, band == "F160W", False])
    return tbl


def _ages():
    return Table({"APID": [9, 3], "logAge": [8.1, 7.2], "b_logAge": [8.0, 7.1], "B_logAge": [8.3, 7.4],
                  "logMass": [4.0, 3.1], "b_logMass": [3.9, 3.0], "B_logMass": [4.1, 3.2]})


def test_bands_have_their_cameras_and_limits_and_ages_their_clusters():
    tbl = read_phat(_photometry(), _ages())
    assert tbl["F475W_ACS"][0] == pytest.approx(20.2)
    assert list(tbl["F160W_IR_limit"]) == [False, True, False]
    assert not tbl["F275W_limit"].any()
    np.testing.assert_array_equal(tbl["log_age_cmd"], [7.2, np.nan, 8.1])
    np.testing.assert_array_equal(tbl["log_mass_cmd_hi"], [3.2, np.nan, 4.1])


def test_magnitudes_are_taken_as_vega_ones():
    photometry = Photometry.from_table(read_phat(_photometry()), error_floor=None)
    flux = photometry.flux[0, photometry.bands.index("F275W")]
    assert -2.5 * np.log10(flux / 3.631e6) - 20.0 == pytest.approx(1.49, abs=0.03)  # AB - Vega


def test_limits_are_of_three_sigma():
    photometry = Photometry.from_table(read_phat(_photometry()), error_floor=None)
    at = photometry.bands.index("F160W_IR")
    assert list(photometry.limit[:, at]) == [False, True, False]
    assert photometry.flux[1, at] / photometry.error[1, at] == pytest.approx(3)


def test_errors_that_are_rounded_to_zero_are_half_a_digit():
    tbl = _photometry()
    tbl["e_F275W"][0] = 0.0
    assert read_phat(tbl)["F275W_err"][0] == 0.005


def test_files_are_read(tmp_path):
    _photometry().write(tmp_path / "table2.fits")
    _ages().write(tmp_path / "table4.ecsv")
    tbl = read_phat(tmp_path / "table2.fits", tmp_path / "table4.ecsv")
    assert list(tbl["F160W_IR_limit"]) == [False, True, False]
    assert tbl["log_mass_cmd"][0] == 3.1


def test_other_tables_are_refused():
    with pytest.raises(ColumnError, match="APID"):
        read_phat(Table({"x": [1]}))
    with pytest.raises(ColumnError, match="no photometry of PHAT"):
        read_phat(Table({"APID": [1], "F275W": [20.0], "e_F275W": [0.1]}))
    with pytest.raises(ColumnError, match="b_logAge"):
        read_phat(_photometry(), Table({"APID": [1], "logAge": [8.0]}))
    with pytest.raises(InputError, match="not int"):
        read_phat(7)
