import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table

import clusterpost
from clusterpost.bands import WFC3_BANDS, get_band
from clusterpost.catalogs.units import read_unit
from clusterpost.errors import InputWarning, UnitError
from clusterpost.photometry import Photometry

pytestmark = pytest.mark.usefixtures("exact_by_default")

MOCKS = clusterpost.simulate(3, model="any_bands", seed=1, distance=10)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ABmag", "mag(AB)"), ("mag(AB)", "mag(AB)"), ("AB", "mag(AB)"), ("mag_AB", "mag(AB)"), ("AB mag", "mag(AB)"),
        ("STmag", "mag(ST)"), ("Vega", "Vega"), ("vegamag", "Vega"), ("mag(Vega)", "Vega"), ("mag", "mag"),
        ("mjy", "mJy"), ("ujy", "uJy"), ("microJy", "uJy"), ("µJy", "uJy"), ("milliJansky", "mJy"), ("Jy", "Jy"),
        ("erg/s/cm2/A", "erg / (Angstrom s cm2)"), ("erg/s/cm^2/A", "erg / (Angstrom s cm2)"),
        ("erg s-1 cm-2 Angstrom-1", "erg / (Angstrom s cm2)"), ("flam", "erg / (Angstrom s cm2)"),
        (u.ABmag, "mag(AB)"), (u.uJy, "uJy"), (u.UnrecognizedUnit("ABmag"), "mag(AB)"),
    ],
)
def test_spellings(text, meant):
    assert str(read_unit(text)) == meant


@pytest.mark.parametrize("text", ["nmgy", "nanomaggy", "nanomaggies"])
def test_nanomaggies(text):
    assert read_unit(text).unit.to("mJy") == pytest.approx(3.6307805e-3)


@pytest.mark.parametrize(("unit", "hint"), [("MJY", "mJy is milli- and MJy megajansky"),
                                            ("ct/s", "not a flux density.*PHOTFLAM"), ("electron/s", "PHOTFLAM"),
                                            ("furlong", "not a known flux density"), ("m", "not a flux density"),
                                            ("dex(mJy)", "not a flux density")])
def test_what_is_no_flux_is_refused_with_a_hint(unit, hint):
    with pytest.raises(UnitError, match=hint):
        read_unit(unit)
    with pytest.raises(UnitError, match=r"the unit that was given \(unit=\)"):
        Photometry.from_table(MOCKS, unit=unit)
    assert read_unit("") is None


def without_units(unit):
    """The mocks as plain numbers in a unit, as a text file has them."""
    tbl = Table({"distance": np.full(3, 10.0)})
    for band in WFC3_BANDS:
        flux, error = MOCKS[band], MOCKS[f"{band}_err"]
        pivot = u.spectral_density(get_band(band).pivot * u.AA)
        if unit in ("AB", "ST", "Vega"):
            magnitude = flux.to(u.STmag if unit == "ST" else u.ABmag, pivot).value
            tbl[band] = magnitude - (get_band(band).ab_minus_vega if unit == "Vega" else 0)
            tbl[f"{band}_err"] = 2.5 / np.log(10) * (error / flux).to_value("")
        elif unit == "nmgy":
            tbl[band], tbl[f"{band}_err"] = (q.to_value("mJy") / 3.630780547701e-3 for q in (flux, error))
        else:
            exact = u.Unit(unit.replace("/s/cm2/Angstrom", " / (s cm2 Angstrom)"))
            tbl[band], tbl[f"{band}_err"] = (q.to_value(exact, pivot) for q in (flux, error))
    return tbl


@pytest.mark.parametrize("unit", ["mJy", "uJy", "Jy", "nmgy", "erg/s/cm2/Angstrom", "AB", "ST", "Vega"])
def test_the_unit_by_option_in_every_way(unit, tmp_path):
    tbl, wanted = without_units(unit), Photometry.from_table(MOCKS)
    tbl.write(tmp_path / "mine.csv")
    raw = Photometry.from_table(tbl, unit=unit)
    read = Photometry.from_table(clusterpost.read_catalog(tmp_path / "mine.csv", unit=unit))
    for got in (raw, read):
        np.testing.assert_allclose(got.flux, wanted.flux, rtol=1e-7)
        np.testing.assert_allclose(got.error, wanted.error, rtol=1e-7)


def test_a_result_is_read_in_the_unit_that_it_was_inferred_with():
    tbl = without_units("uJy")
    tbl["F275W"][1] = tbl["F275W_err"][1] = -77
    with pytest.warns(InputWarning, match="-77"):
        out = clusterpost.infer_table(tbl, unit="uJy", missing=(-77,), n_samples=20)
    with pytest.warns(InputWarning, match="-77"):
        again = Photometry.from_table(out)
    with pytest.warns(InputWarning, match="-77"):
        first = Photometry.from_table(tbl, unit="uJy", missing=(-77,))
    np.testing.assert_array_equal(again.flux, first.flux)
    assert again.missing[1, 0]


def test_a_unit_that_contradicts_the_columns_is_used_and_said():
    with pytest.warns(InputWarning, match=r"the unit uJy that was given \(unit=\) is used, though 'F275W' \(mJy\)"):
        got = Photometry.from_table(MOCKS, unit="uJy")
    np.testing.assert_allclose(got.flux, Photometry.from_table(MOCKS).flux / 1000)


@pytest.mark.parametrize("ending", ["fits", "ecsv", "vot", "parquet"])
@pytest.mark.parametrize("kind", [Table, QTable])
def test_ab_magnitudes_survive_our_files(ending, kind, tmp_path):
    tbl = QTable({"distance": np.full(3, 10.0) * u.Mpc})
    for band in WFC3_BANDS:
        tbl[band] = MOCKS[band].to(u.ABmag)
        tbl[f"{band}_err"] = [0.1, 0.1, 0.1] * u.mag
    tbl = kind(tbl)
    clusterpost.write_catalog(tbl, tmp_path / f"mine.{ending}")
    back = clusterpost.read_catalog(tmp_path / f"mine.{ending}")
    np.testing.assert_allclose(Photometry.from_table(back).flux, Photometry.from_table(tbl).flux, rtol=1e-12)
    clusterpost.write_catalog(back, tmp_path / f"again.{ending}")
    assert str(clusterpost.read_catalog(tmp_path / f"again.{ending}")["F275W"].unit) == "mag(AB)"


def test_a_magnitude_without_a_system_says_which_option_settles_it():
    tbl = without_units("Vega")
    for name in tbl.colnames[1:]:
        tbl[name].unit = "mag"
    with pytest.raises(UnitError, match="of an unknown system; give unit= as AB, ST or Vega") as caught:
        Photometry.from_table(tbl)
    assert "give --unit as AB" in caught.value.at_the_shell()
    for value in ("Vega", "vegamag", "VEGA"):
        tbl.meta["MAGSYS"] = value
        np.testing.assert_allclose(Photometry.from_table(tbl).flux, Photometry.from_table(MOCKS).flux, rtol=1e-7)
