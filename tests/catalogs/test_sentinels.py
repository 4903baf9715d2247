import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

import clusterpost
from clusterpost.catalogs.sentinels import no_measurement
from clusterpost.errors import InputError, InputWarning
from clusterpost.photometry import Photometry


def table(unit, flux, error):
    tbl = Table({"F275W": [flux, 20.0], "F275W_err": [error, 0.1], "F336W": [20.0, 20.0], "F336W_err": [0.1, 0.1]})
    for name in tbl.colnames:
        tbl[name].unit = unit if "err" not in name or "mag" not in unit else "mag"
    return tbl


PAIRS = [(99.0, 99.0), (99.0, 0.0), (99.99, 9.99), (-99.0, -99.0), (99.9, 99.9), (999.0, 999.0), (1e20, 1e20),
         (66.666, 66.666), (99.999, 99.999), (-999.9, -999.9), (9999.0, 9999.0)]


@pytest.mark.parametrize("unit", ["mag(AB)", "mJy", "uJy"])
@pytest.mark.parametrize("pair", PAIRS)
def test_customary_sentinels_are_missing_and_counted_once(unit, pair):
    tbl = table(unit, *pair)
    with pytest.warns(InputWarning, match=rf"taken as missing in F275W: {pair[0]:.10g}".replace("+", r"\+")) as told:
        photometry = Photometry.from_table(tbl, distance=1)
    assert len(told) == 1
    assert photometry.missing.tolist() == [[True, False], [False, False]]
    assert not photometry.limit.any()
    with pytest.warns(InputWarning, match="missing in F275W"):
        read = clusterpost.read_catalog(tbl)
    assert np.isnan(read["F275W"][0])
    assert not read["F275W_limit"].any()
    Photometry.from_table(read, distance=1)  # and nothing more is said


@pytest.mark.parametrize("unit", ["mJy", "uJy"])
@pytest.mark.parametrize("value", [99.0, 999.0, 66.666])
def test_a_flux_with_a_plausible_error_is_a_measurement(unit, value):
    assert not Photometry.from_table(table(unit, value, 0.08 * value), distance=1).missing.any()


@pytest.mark.parametrize("value", [99.0, 66.666])
def test_one_that_is_too_exact_is_none(value):
    with pytest.warns(InputWarning, match="missing in F275W"):
        assert Photometry.from_table(table("mJy", value, 1e-5), distance=1).missing[0, 0]


@given(st.floats(8, 32), st.floats(0.001, 3))
def test_ordinary_magnitudes_are_measurements(magnitude, error):
    assert not no_measurement(np.array([magnitude]), np.array([error]), magnitudes=True).any()


@given(st.floats(1e-6, 90), st.floats(0.01, 2))
def test_ordinary_fluxes_are_measurements(flux, relative):
    if flux not in (66.666, 44.444):
        assert not no_measurement(np.array([flux]), np.array([relative * flux]), magnitudes=False).any()


def test_other_values_by_option():
    tbl = table("mJy", 77.7, 7.0)
    assert not Photometry.from_table(tbl, distance=1).missing.any()
    with pytest.warns(InputWarning, match="77.7"):
        assert Photometry.from_table(tbl, distance=1, missing=(77.7,)).missing[0, 0]
    with pytest.raises(InputError, match="missing= takes numbers"):
        Photometry.from_table(tbl, distance=1, missing="nothing")
