"""Odd columns, options and meta stop with a documented exception, or do no harm."""

import contextlib

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Column, Table
from astropy.time import Time

import clusterpost
from clusterpost.errors import ColumnError, InputError

pytestmark = pytest.mark.usefixtures("exact_by_default")

MOCKS = Table(clusterpost.simulate(2, model="any_bands", seed=1, distance=10))


def infer(tbl, **options):
    return clusterpost.infer_table(tbl, n_samples=20, refine=False, **options)


@pytest.mark.parametrize(
    "flux",
    [
        Time([50000, 50001], format="mjd"), SkyCoord([1, 2] * u.deg, [1, 2] * u.deg),
        Column(np.array([1e-3 + 1j, 1e-3]), unit="mJy"), Column([[1.0], [2.0]], unit="mJy"),
        np.array([[1, 2], [3]], object), np.array(["bright", "faint"]), np.array([{"a": 1}, None], object),
    ],
)
def test_what_is_no_flux(flux):
    tbl = MOCKS.copy()
    tbl["F275W"] = flux
    for call in (clusterpost.read_catalog, infer, clusterpost.apply_error_floor):
        with pytest.raises(ColumnError, match="'F275W' holds"):
            call(tbl)


@pytest.mark.parametrize("beside", [Time([50000, 50001], format="mjd"), SkyCoord([1, 2] * u.deg, [1, 2] * u.deg),
                                    np.array(["a", "b"]), np.array([[1.0], [2.0]])])
def test_what_has_the_name_of_a_band_that_is_not_known(beside):
    tbl = MOCKS.copy()
    tbl["F150W"] = beside
    assert "F150W" in infer(tbl).colnames


def test_no_rows_with_a_text_flux():
    tbl = MOCKS[:0]
    tbl["F275W"] = Column(np.zeros(0, "U3"), unit="mJy")
    with pytest.raises(InputError):
        infer(tbl)
    with pytest.raises(ColumnError, match="holds texts and not numbers"):
        clusterpost.read_catalog(tbl)


@pytest.mark.parametrize(
    "options",
    [
        {"columns": {"F275W": None}}, {"columns": {"F275W": (None, None)}}, {"columns": [1]}, {"columns": {"F275W": 5}},
        {"distance": 1 + 2j}, {"distance": "nowhere"}, {"distance": object()}, {"error_floor": "a"},
        {"error_floor": -1},
        {"unit": 5}, {"unit": "kg"}, {"missing": "a"}, {"missing": [None]}, {"quantiles": "a"}, {"prefix": None},
        {"seed": 2**70},
    ],
)
def test_odd_options(options):
    with pytest.raises(InputError):
        infer(MOCKS, **options)


@pytest.mark.parametrize("value", ["AB", "", [1], -3, "nan", np.array([1.0, 2.0]), {}, 1.5])
def test_a_floor_in_meta_that_is_none(value):
    tbl = MOCKS.copy()
    tbl.meta["ERRFLOOR"] = value
    with pytest.raises(InputError, match="ERRFLOOR"):
        infer(tbl)


@pytest.mark.parametrize("key", ["CPDSRC", "CPCOLS", "CPREAD", "CPUNIT", "CPMISS", "CPLAYOUT", "MAGSYS", "galaxy"])
@pytest.mark.parametrize("value", [np.array([1.0, 2.0]), "nonsense", "", {"a": 1}, [1], 5])
def test_other_odd_meta(key, value):
    tbl = MOCKS.copy()
    tbl.meta[key] = value
    for call in (infer, clusterpost.read_catalog):
        with contextlib.suppress(InputError):
            call(tbl)


def test_galaxies_that_are_no_names():
    """Magnitudes and fluxes are compared by galaxy, whatever the column of galaxies holds."""
    tbl = clusterpost.example_catalog()[:3]
    tbl["PHANGS_GALAXY"] = _ragged()
    with contextlib.suppress(InputError):
        clusterpost.read_catalog(tbl)


def _ragged():
    column = np.empty(3, object)
    column[:] = [np.ones(2), "NGC 628", None]
    return column
