import functools

import numpy as np
import pytest
from astropy.table import Table

import clusterpost
from clusterpost.catalogs import recognize
from clusterpost.catalogs.names import parse_name
from clusterpost.errors import ColumnError, InputWarning
from clusterpost.flags import MISSING_BAND
from clusterpost.photometry import Photometry


@pytest.mark.parametrize(
    ("name", "band", "role"),
    [
        ("ACS_F814W", "F814W_ACS", "flux"), ("F814W_ACS", "F814W_ACS", "flux"), ("acs_f814w", "F814W_ACS", "flux"),
        ("F275Wmag", "F275W", "flux"), ("e_F275Wmag", "F275W", "error"), ("err_F275W", "F275W", "error"),
        ("sigma_F275W", "F275W", "error"), ("F275W_unc", "F275W", "error"), ("F275W_ERR", "F275W", "error"),
        ("l_F275Wmag", "F275W", "limit"), ("flux_err_f275w", "F275W", "error"), ("ACS/WFC F814W", "F814W_ACS", "flux"),
        ("F435W", "F435W_ACS", "flux"), ("magerr_F336W", "F336W", "error"), ("F150W", None, "flux"),
        ("F814W_NIRCAM", None, "flux"),
    ],
)
def test_names_of_photometry(name, band, role):
    found = parse_name(name)
    assert (found.band, found.role) == (band, role)


@pytest.mark.parametrize("name", ["F275W_true", "residual_F275W", "F275W_original", "F275W_flag", "ra", "z", "V",
                                  "class", "age_q50", "PHANGS_F275W_mJy", "x", "f", "id", ""])
def test_names_of_other_things(name):
    assert parse_name(name) is None


@functools.cache
def mocks():
    """Three clusters; not to be changed."""
    return clusterpost.simulate(3, model="any_bands", seed=1, distance=10)


def renamed(pattern, error, unit="mJy"):
    tbl = Table(mocks())
    for band in clusterpost.bands.WFC3_BANDS:
        tbl.rename_columns([band, f"{band}_err"], [pattern.format(band), error.format(band)])
    return tbl


@pytest.mark.parametrize(("flux", "error"), [("{}", "e_{}"), ("{}", "err_{}"), ("{}", "sigma_{}"), ("{}", "{}_unc"),
                                             ("{}", "{}_ERR"), ("flux_{}", "flux_err_{}"), ("wfc3_{}", "wfc3_{}_err")])
@pytest.mark.parametrize("case", [str, str.lower])
def test_any_clear_name_is_read(flux, error, case):
    wanted = Photometry.from_table(mocks())
    got = Photometry.from_table(renamed(case(flux), case(error)))
    np.testing.assert_array_equal(got.flux, wanted.flux)
    np.testing.assert_array_equal(got.error, wanted.error)


def test_two_that_could_be_one_are_refused():
    tbl = renamed("{}", "e_{}")
    tbl["F275W_unc"] = tbl["e_F275W"]
    with pytest.raises(ColumnError, match="2 columns could be the error of F275W: 'e_F275W', 'F275W_unc'"):
        recognize(tbl)


def test_bands_that_the_model_does_not_know_are_named_once_and_are_not_missing():
    tbl = renamed("{}", "{}_err")
    for old, new in (("F438W", "F475W"), ("F555W", "F606W")):
        tbl.rename_columns([old, f"{old}_err"], [new, f"{new}_err"])
    tbl["F150W"], tbl["F150W_err"] = tbl["F814W"], tbl["F814W_err"]
    tbl["F275W"][1] = np.nan
    with pytest.warns(InputWarning, match="F150W, F475W, F606W look like photometry and are not used") as told:
        out = clusterpost.infer_table(tbl, model="any_bands", n_samples=20)
    assert len(told) == 1
    assert ((out["flag"] & MISSING_BAND) != 0).tolist() == [False, True, False]
    assert out["n_bands"].tolist() == [3, 2, 3]


def test_a_band_without_a_column_is_missing_where_no_other_stands_for_it():
    tbl = renamed("{}", "{}_err")
    tbl.remove_columns(["F438W", "F438W_err"])
    out = clusterpost.infer_table(tbl, model="any_bands", n_samples=20)
    assert ((out["flag"] & MISSING_BAND) != 0).all()
