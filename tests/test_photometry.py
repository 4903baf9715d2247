import re

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st

import clusterpost
from clusterpost.bands import BANDS, WFC3_BANDS, get_band
from clusterpost.errors import ColumnError, DistanceError, InputError, InputWarning, UnitError
from clusterpost.photometry import MAG_PER_RELATIVE, Photometry, apply_error_floor

pytestmark = pytest.mark.usefixtures("exact_by_default")

MJY = np.array([2e-3, 5e-2, 1.5])
RELATIVE = np.array([0.01, 0.1, 0.02])
KINDS = (
    "Jy",
    "mJy",
    "uJy",
    "nJy",
    "erg / (s cm2 Hz)",
    "erg / (s cm2 AA)",
    "W / (m2 um)",
    "mag(AB)",
    "mag(ST)",
    "Vega",
    "AB",
    "ST",
)


def pivot(band):
    return u.spectral_density(get_band(band).pivot * u.AA)


def as_kind(kind, flux=MJY, relative=RELATIVE, bands=WFC3_BANDS):
    """The same photometry in any unit; Vega, AB and ST are magnitudes whose system the meta tells."""
    tbl = QTable({"id": np.arange(len(flux)), "distance": np.full(len(flux), 10.0) * u.Mpc})
    for band in bands:
        mjy = flux * u.mJy
        if kind in ("Vega", "AB", "ST") or kind.startswith("mag"):
            if kind == "Vega":
                tbl[band] = (-2.5 * np.log10(flux / 3.630780547701e6) - get_band(band).ab_minus_vega) * u.mag
            else:
                value = mjy.to(u.ABmag if "AB" in kind else u.STmag, pivot(band))
                tbl[band] = value if kind.startswith("mag") else value.value * u.mag
            tbl[f"{band}_err"] = MAG_PER_RELATIVE * relative * u.mag
        else:
            tbl[band] = mjy.to(u.Unit(kind), pivot(band))
            tbl[f"{band}_err"] = (relative * mjy).to(u.Unit(kind), pivot(band))
    if kind in ("Vega", "AB", "ST"):
        tbl.meta["magnitude_system"] = kind
    return tbl


def plain(**changes):
    """A small canonical table without units trouble."""
    tbl = Table(
        {"F275W": [1.0, 2.0, 3.0], "F275W_err": [0.1, 0.2, 0.3], "F336W": [1.0, 2.0, 3.0], "F336W_err": [0.1, 0.2, 0.3]}
    )
    for name in tbl.colnames:
        tbl[name].unit = "mJy"
    for name, value in changes.items():
        tbl[name] = value
        if tbl[name].dtype.kind == "f" and tbl[name].unit is None:
            tbl[name].unit = "mJy"
    return tbl


def read(tbl, distance=10.0, error_floor=None, **options):
    return Photometry.from_table(tbl, distance=distance, error_floor=error_floor, **options)


def state(tbl):
    """All that must not change in a table."""
    return (
        {
            n: (
                np.array(tbl[n], copy=True).tobytes(),
                np.array(getattr(tbl[n], "mask", False)).tobytes(),
                str(tbl[n].unit),
                tbl[n].info.description,
                str(tbl[n].dtype),
            )
            for n in tbl.colnames
        },
        dict(tbl.meta),
    )


# Units


@pytest.mark.parametrize("kind", KINDS)
def test_every_unit_gives_the_same_flux(kind):
    photometry = read(as_kind(kind))
    assert photometry.bands == WFC3_BANDS
    np.testing.assert_allclose(photometry.flux, np.repeat(MJY[:, None], 5, axis=1), rtol=1e-8)
    np.testing.assert_allclose(photometry.error / photometry.flux, np.repeat(RELATIVE[:, None], 5, axis=1), rtol=1e-8)
    assert not photometry.limit.any()
    assert not photometry.missing.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_as_good_as_a_qtable(kind):
    quantities = as_kind(kind)
    columns = Table(quantities)
    np.testing.assert_allclose(read(columns).flux, read(quantities).flux, rtol=1e-12)
    assert type(columns["F275W"]) is not type(quantities["F275W"])


def test_flux_and_error_may_differ_in_unit():
    tbl = as_kind("mJy")
    tbl["F275W_err"] = tbl["F275W_err"].to("nJy")
    np.testing.assert_allclose(read(tbl).error, read(as_kind("mJy")).error)


def test_integers_and_float32():
    tbl = plain(F275W=np.array([1, 2, 3]), F336W=np.array([1, 2, 3], np.float32))
    tbl["F275W"].unit = "mJy"
    np.testing.assert_allclose(read(tbl).flux, [[1, 1], [2, 2], [3, 3]])


def test_vega_differs_from_ab_by_the_zero_point():
    tbl = as_kind("Vega")
    tbl.meta["magnitude_system"] = "AB"
    ratio = read(tbl).flux / read(as_kind("Vega")).flux
    np.testing.assert_allclose(-2.5 * np.log10(ratio[0]), [-BANDS[b].ab_minus_vega for b in WFC3_BANDS], atol=1e-9)


@pytest.mark.parametrize("key", ["MAGSYS", "magsys", "MAGNITUDE_SYSTEM"])
@pytest.mark.parametrize("value", ["Vega", "VEGA", "vega"])
def test_the_meta_in_any_case(key, value):
    tbl = as_kind("Vega")
    del tbl.meta["magnitude_system"]
    tbl.meta[key] = value
    np.testing.assert_allclose(read(tbl).flux[:, 0], MJY)


# Missing values and limits


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -9999.0, -999.0])
@pytest.mark.parametrize("name", ["F275W", "F275W_err"])
def test_missing_values(bad, name):
    tbl = plain()
    tbl[name][1] = bad
    photometry = read(tbl)
    assert photometry.missing.tolist() == [[False, False], [True, False], [False, False]]
    assert np.isnan(photometry.error[1, 0])
    assert not photometry.limit.any()


def test_sentinels_of_magnitudes():
    tbl = as_kind("mag(AB)")
    tbl["F275W"][0] = 99.999 * u.ABmag
    tbl["F336W_err"][1] = 66.666 * u.mag
    with pytest.warns(InputWarning, match=r"missing in F275W, F336W: 99.999 \(once\), 66.666 \(once\)"):
        assert np.argwhere(read(tbl).missing).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("name", ["F275W", "F275W_err"])
def test_masked_columns(name):
    tbl = plain()
    tbl[name] = MaskedColumn(tbl[name], mask=[False, True, False])
    assert read(tbl).missing[:, 0].tolist() == [False, True, False]
    tbl = QTable(plain())
    tbl[name] = Masked(tbl[name], mask=[False, True, False])
    assert read(tbl).missing[:, 0].tolist() == [False, True, False]
    assert read(tbl).flux[[0, 2], 0].tolist() == [1.0, 3.0]


def test_a_negative_error_is_an_upper_limit():
    tbl = plain()
    tbl["F275W_err"][1] *= -1
    photometry = read(tbl)
    assert np.argwhere(photometry.limit).tolist() == [[1, 0]]
    assert photometry.flux[1, 0] == 2
    assert photometry.error[1, 0] == 0.2


@pytest.mark.parametrize("values", [[False, True, False], [0, 1, 0]])
def test_a_limit_column(values):
    tbl = plain(F275W_limit=values)
    tbl["F275W_err"][2] *= -1
    assert read(tbl).limit[:, 0].tolist() == [False, True, True]
    assert not read(tbl).limit[:, 1].any()


def test_a_masked_limit_is_none():
    tbl = plain(F275W_limit=MaskedColumn([True, True, False], mask=[True, False, False]))
    assert read(tbl).limit[:, 0].tolist() == [False, True, False]


def test_what_is_missing_is_no_limit():
    tbl = plain(F275W_limit=[True, True, True])
    tbl["F275W"][0] = np.nan
    photometry = read(tbl)
    assert photometry.limit[:, 0].tolist() == [False, True, True]
    assert photometry.missing[:, 0].tolist() == [True, False, False]


@pytest.mark.parametrize("values", [[0.0, 1.0, 0.0], ["N", "Y", "N"], ["", "<", ""], ["", ">", ""], [b"0", b"1", b"0"],
                                    np.array([False, True, None], object), ["no", "yes", "no"]])
def test_a_limit_column_of_any_kind(values):
    assert read(plain(F275W_limit=np.asarray(values))).limit[:, 0].tolist() == [False, True, False]


@pytest.mark.parametrize("values", [[0.0, 0.3, 0.0], ["", "perhaps", ""], [b"\xff", b"1", b""], [0, 7, 0]])
def test_a_limit_column_that_says_neither_yes_nor_no(values):
    with pytest.raises(ColumnError, match=r"'F275W_limit' marks upper limits, and row"):
        read(plain(F275W_limit=np.asarray(values)))


def test_select():
    photometry = read(as_kind("mJy", bands=("F336W", "F555W"))).select(("F555W", "F275W"))
    assert photometry.bands == ("F555W", "F275W")
    np.testing.assert_allclose(photometry.flux[:, 0], MJY)
    assert photometry.missing[:, 1].all()
    assert not photometry.limit.any()


# Distances


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (9.9, 9.9),
        (9.9 * u.Mpc, 9.9),
        (9.9e6 * u.pc, 9.9),
        ("NGC 1433", 18.94),
        ([1.0, 2.0, 3.0], [1, 2, 3]),
        ([1, 2, 3] * u.kpc, [1e-3, 2e-3, 3e-3]),
        (np.float32(4), 4),
        (Column([1.0, 2.0, 3.0], unit="Mpc"), [1, 2, 3]),
        ([1.0, np.nan, 3.0], [1, np.nan, 3]),
        (np.inf, np.nan),
        (MaskedColumn([1.0, 2.0, 3.0], mask=[False, True, False]), [1, np.nan, 3]),
        (Masked([1.0, 2.0, 3.0] * u.Mpc, mask=[False, True, False]), [1, np.nan, 3]),
    ],
)
def test_distance_by_argument(distance, expected):
    tbl = plain()
    tbl["distance"] = 77.0 * u.Mpc  # the argument comes first
    photometry = read(tbl, distance=distance)
    np.testing.assert_allclose(photometry.distance, np.broadcast_to(np.array(expected, float), 3), rtol=1e-6)
    assert photometry.sources["distance"] == ("galaxy NGC 1433" if isinstance(distance, str) else "argument")


@pytest.mark.filterwarnings("ignore:.*below 30 kpc")
@pytest.mark.parametrize(("unit", "factor"), [(None, 1), ("Mpc", 1), ("pc", 1e-6), ("kpc", 1e-3)])
@pytest.mark.parametrize("kind", [Table, QTable])
def test_distance_by_column(unit, factor, kind):
    tbl = plain()
    tbl["distance"] = Column([5.0, 6.0, 7.0], unit=unit)
    photometry = read(kind(tbl), distance=None)
    np.testing.assert_allclose(photometry.distance, factor * np.array([5.0, 6.0, 7.0]))
    assert photometry.sources["distance"] == "column 'distance'"


def test_missing_distances_in_a_column():
    tbl = plain()
    tbl["distance"] = MaskedColumn([5.0, -999.0, np.nan], mask=[True, False, False], unit="Mpc")
    assert np.isnan(read(tbl, distance=None).distance).all()


@pytest.mark.parametrize("key", ["distance", "DISTANCE"])
@pytest.mark.parametrize(
    ("value", "expected"), [(5, 5), (5 * u.Mpc, 5), (5e6 * u.pc, 5), ("5 Mpc", 5), ([1, 2, 3], [1, 2, 3])]
)
def test_distance_by_meta(key, value, expected):
    tbl = plain()
    tbl.meta[key] = value
    photometry = read(tbl, distance=None)
    np.testing.assert_allclose(photometry.distance, np.broadcast_to(expected, 3))
    assert photometry.sources["distance"] == "meta"


@pytest.mark.parametrize("key", ["galaxy", "GALAXY", "TARGET", "OBJECT"])
def test_distance_by_the_name_of_the_galaxy(key):
    tbl = plain()
    tbl.meta[key] = "ngc0628c"
    photometry = read(tbl, distance=None)
    np.testing.assert_allclose(photometry.distance, 9.84)
    assert photometry.sources["distance"] == "galaxy ngc0628c"


def test_a_column_of_galaxies():
    photometry = read(plain(galaxy=["NGC 1433", "M74", "NGC 1433"]), distance=None)
    np.testing.assert_allclose(photometry.distance, [18.94, 9.84, 18.94])


def test_no_distance():
    with pytest.raises(DistanceError, match=r"no distance: give it with distance=.*column 'distance'"):
        read(plain(), distance=None)


@pytest.mark.parametrize("value", [-5.0, 0.0])
def test_a_distance_that_is_not_positive(value):
    message = rf"gives a distance of {value:g} Mpc in row 1; distances are positive"
    tbl = plain(distance=[3.0, value, 3.0])
    tbl["distance"].unit = "Mpc"
    with pytest.warns(InputWarning, match=f"column 'distance' {message}. 1 such rows are flagged"):
        photometry = read(tbl, distance=None)
    np.testing.assert_array_equal(photometry.distance, [3, np.nan, 3])
    with pytest.raises(DistanceError, match=rf"distance= {message}\. Correct it, or mask it"):
        read(plain(), distance=[3.0, value, 3.0])
    tbl = plain()
    tbl.meta["distance"] = value
    with pytest.raises(DistanceError, match=r"meta\['distance'\] gives .* in row 0; .*Correct it"):
        read(tbl, distance=None)


@pytest.mark.parametrize("value", [5 * u.km / u.s, "far away", object(), "5 kg"])
def test_what_is_no_distance(value):
    tbl = plain()
    tbl.meta["distance"] = value
    with pytest.raises(
        DistanceError, match=r"meta\['distance'\].* is not a distance; give Mpc, or a quantity of length"
    ):
        read(tbl, distance=None)
    if not isinstance(value, str):
        with pytest.raises(DistanceError, match=r"distance=.* is not a distance"):
            read(plain(), distance=value)


@pytest.mark.parametrize("unit", ["km/s", u.Unit("frob", parse_strict="silent")])
def test_a_distance_column_in_a_wrong_unit(unit):
    tbl = plain()
    tbl["distance"] = Column([3.0, 3.0, 3.0], unit=unit)
    with pytest.raises(DistanceError, match=r"column 'distance'.* is not a distance"):
        read(tbl, distance=None)


@pytest.mark.parametrize("value", [[1.0, 2.0], np.ones((3, 1)), np.ones((1, 3)), []])
def test_a_wrong_number_of_distances(value):
    with pytest.raises(DistanceError, match=r"distance= has .* for 3 rows; give one, or one per row"):
        read(plain(), distance=value)
    tbl = plain()
    tbl.meta["distance"] = value
    with pytest.raises(DistanceError, match=r"meta\['distance'\] has .* for 3 rows"):
        read(tbl, distance=None)


def test_an_unknown_galaxy():
    with pytest.raises(DistanceError, match=r"'NGC 99999'.*give its distance in Mpc with distance="):
        read(plain(), distance="NGC 99999")


# Error floor


errors = st.floats(0, 0.9)
floors = st.floats(0, 0.5)


@given(relative=st.lists(errors, min_size=3, max_size=3), floor=floors, kind=st.sampled_from(KINDS))
@settings(deadline=None, max_examples=40)
def test_the_floor_adds_in_quadrature_and_once(relative, floor, kind):
    tbl = as_kind(kind, relative=np.array(relative), bands=("F275W", "F814W"))
    before = state(tbl)
    out = apply_error_floor(tbl, floor)
    assert state(tbl) == before
    assert out.meta["ERRFLOOR"] == floor
    photometry = read(out)
    expected = np.hypot(relative, floor)
    np.testing.assert_allclose(
        photometry.error / photometry.flux, np.stack([expected] * 2, axis=1), rtol=1e-8, atol=1e-12
    )
    assert state(apply_error_floor(out, floor)) == state(out)
    # what is applied already is not added again, whatever is asked for
    again = read(out, error_floor=0.3)
    np.testing.assert_allclose(again.error, photometry.error)
    assert again.error_floor == floor
    np.testing.assert_allclose(read(tbl, error_floor=floor).error, photometry.error, rtol=1e-8, atol=1e-15)


def test_another_floor_is_refused():
    out = apply_error_floor(plain(), 0.05)
    with pytest.raises(
        InputError, match=r"already include a floor of 0.05 \(ERRFLOOR in the metadata\); start from .* apply 0.1"
    ):
        apply_error_floor(out, 0.1)
    out.meta = {"errfloor": 0.05}
    assert (apply_error_floor(out, 0.05)["F275W_err"] == out["F275W_err"]).all()


@pytest.mark.parametrize("floor", [-0.1, 1.0, 5, np.nan])
def test_a_floor_that_is_none(floor):
    with pytest.raises(InputError, match="must be a relative error from 0 to below 1"):
        apply_error_floor(plain(), floor)
    with pytest.raises(InputError, match="error_floor"):
        read(plain(), error_floor=floor)


def test_limits_and_missing_values_stay_alone():
    tbl = plain(F275W_limit=[True, False, False])
    tbl["F275W_err"][1] = -0.2
    tbl["F336W"][0] = -9999.0
    tbl["F336W_err"] = MaskedColumn(tbl["F336W_err"], mask=[False, True, False])
    out = apply_error_floor(tbl, 0.5)
    assert out["F275W_err"].tolist() == [0.1, -0.2, pytest.approx(np.hypot(0.3, 1.5))]
    assert out["F336W_err"][0] == 0.1
    assert out["F336W_err"].mask.tolist() == [False, True, False]
    assert out["F336W_err"][2] == pytest.approx(np.hypot(0.3, 1.5))
    np.testing.assert_allclose(read(tbl, error_floor=0.5).error[0, 0], 0.1)


def test_the_floor_keeps_what_else_a_column_says():
    tbl = plain(name=["a", "b", "c"])
    tbl["F275W_err"].description = "error"
    tbl["F275W_err"].meta["ucd"] = "stat.error"
    tbl["F275W_err"].format = ".3f"
    tbl.meta["note"] = "kept"
    tbl["F336W_err"] = np.array([1, 2, 3])
    tbl["F336W_err"].unit = "mJy"
    out = apply_error_floor(tbl, 0.05)
    assert type(out) is Table
    assert out.colnames == tbl.colnames
    assert (out["F275W_err"].description, out["F275W_err"].meta, out["F275W_err"].format) == (
        "error",
        {"ucd": "stat.error"},
        ".3f",
    )
    assert out["F275W_err"].unit == u.mJy
    assert out.meta == {"note": "kept", "ERRFLOOR": 0.05, "ERRFCOLS": "F275W_err, F336W_err"}
    assert out["F336W_err"].dtype == float
    assert out["F336W_err"][0] == pytest.approx(np.hypot(1, 0.05))
    assert out["name"].tolist() == ["a", "b", "c"]
    quantities = QTable(tbl)
    quantities["F275W_err"].info.description = "error"
    assert apply_error_floor(quantities)["F275W_err"].info.description == "error"


def test_floor_of_mapped_columns():
    tbl = plain()
    tbl.rename_columns(["F275W", "F275W_err"], ["a", "b"])
    out = apply_error_floor(tbl["a", "b"], 0.5, columns={"F275W": ("a", "b")})
    np.testing.assert_allclose(out["b"], np.hypot(tbl["b"], 0.5 * tbl["a"]))


def test_reading_changes_nothing():
    tbl = plain(F275W_limit=[True, False, False])
    tbl["F336W"] = MaskedColumn(tbl["F336W"], mask=[False, True, False])
    before = state(tbl)
    read(tbl, error_floor=0.05)
    assert state(tbl) == before


# Bad input: each message names the column, the row where there is one, and the remedy


def ambiguous():
    return Table({"PHANGS_F275W_mJy": [1.0], "PHANGS_F275W_mJy_TOT": [1.0], "PHANGS_F275W_mJy_ERR": [0.1]})


def unit(name, value):
    tbl = plain()
    tbl[name].unit = value
    return tbl


def magnitudes_without_system():
    tbl = as_kind("AB")
    del tbl.meta["magnitude_system"]
    return tbl


def error_in_flux_units():
    tbl = as_kind("mag(AB)")
    tbl["F275W_err"] = [1, 1, 1] * u.mJy
    return tbl


def all_masked():
    tbl = Table(plain(), masked=True)
    for name in tbl.colnames:
        tbl[name].mask = True
    return tbl


def legus_with_a_negative_error():
    tbl = as_kind("Vega")
    tbl["age_legus"] = 1.0 * u.yr
    for band in WFC3_BANDS:
        tbl.rename_columns([band, f"{band}_err"], [f"{band}_vega", f"{band}_vega_err"])
    tbl["F336W_vega_err"][1] *= -1
    return tbl


NO_FLUX_DENSITY = "which is not a (known )?flux density.*Jy, or AB, ST or Vega magnitudes"
BAD = {
    "no photometry": (lambda: Table({"x": [1.0]}), ColumnError, "no photometry found.*'x'.*columns={"),
    "no error": (
        lambda: plain()["F275W", "F336W", "F336W_err"],
        ColumnError,
        "'F275W' has no column with its errors: 'F275W_err' is absent.*add it",
    ),
    "wrong unit": (lambda: unit("F275W", "electron / s"), UnitError, f"'F275W' is in electron / s, {NO_FLUX_DENSITY}"),
    "wrong unit of the error": (lambda: unit("F336W_err", "m"), UnitError, f"'F336W_err' is in m, {NO_FLUX_DENSITY}"),
    "unknown unit": (
        lambda: unit("F275W", u.Unit("frob", parse_strict="silent")),
        UnitError,
        f"'F275W' is in frob, {NO_FLUX_DENSITY}",
    ),
    "magnitude error of a flux": (
        lambda: unit("F275W_err", "mag"),
        UnitError,
        f"'F275W_err' is in mag, {NO_FLUX_DENSITY}",
    ),
    "flux error of a magnitude": (
        error_in_flux_units,
        UnitError,
        "'F275W_err' is in mJy, but 'F275W' holds magnitudes; give the error in mag",
    ),
    "no unit": (
        lambda: unit("F275W", None),
        UnitError,
        "'F275W' has no unit; give it with unit=: mJy",
    ),
    "no unit of the error": (
        lambda: unit("F275W_err", None),
        UnitError,
        "'F275W_err' has no unit beside 'F275W' in mJy; set it",
    ),
    "dimensionless": (lambda: unit("F275W", ""), UnitError, "'F275W' has no unit"),
    "magnitudes of no system": (
        magnitudes_without_system,
        UnitError,
        "'F275W' is in magnitudes of an unknown system; give unit= as AB, ST or Vega",
    ),
    "empty": (lambda: plain()[:0], InputError, "no rows; give a table with at least one"),
    "all masked": (all_masked, InputError, "all 3 rows are missing in every band .columns F275W, F336W.*columns={"),
    "all NaN": (
        lambda: plain(F275W=np.full(3, np.nan), F336W=np.full(3, -9999.0)),
        InputError,
        "all 3 rows are missing",
    ),
    "text": (
        lambda: plain(F275W=["1.0", "2.0", "bright"]),
        ColumnError,
        "'F275W' holds texts and not numbers .row 2: .*'bright'.*; convert it",
    ),
    "text of numbers": (
        lambda: plain(F275W_err=["1", "2", "3"]),
        ColumnError,
        "'F275W_err' holds .* and not numbers .row 0",
    ),
    "objects": (
        lambda: plain(F275W=np.array([1.0, [2.0], 2.0], object)),
        ColumnError,
        "'F275W' holds objects and not numbers .row 1: .2.0..; convert it",
    ),
    "booleans": (lambda: plain(F275W=[True, False, True]), ColumnError, "'F275W' holds booleans and not numbers"),
    "array": (
        lambda: plain(F275W=np.ones((3, 2))),
        ColumnError,
        "'F275W' holds an array per row; .*one number per row",
    ),
    "array of errors": (lambda: plain(F275W_err=np.ones((3, 2))), ColumnError, "'F275W_err' holds an array per row"),
    "ambiguous": (
        ambiguous,
        ColumnError,
        "2 columns could be the flux of F275W: .*'PHANGS_F275W_mJy_TOT'.*F275W with columns=",
    ),
    "negative error where it means nothing": (
        legus_with_a_negative_error,
        ColumnError,
        "'F336W_vega_err' has a negative error in row 1; mask it or correct it",
    ),
    "a row": (lambda: plain()[1], InputError, r"a slice of one row"),
    "a dict": (lambda: {"F275W": [1.0]}, InputError, r"expected an astropy Table, not dict; make one with Table "),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    make, error, message = BAD[case]
    with pytest.raises(error, match=message) as info:
        read(make())
    assert issubclass(info.type, InputError)
    assert issubclass(info.type, ValueError)
    assert re.search(r"\n", str(info.value)) is None


@pytest.mark.parametrize("case", [c for c in BAD if c not in ("all masked", "all NaN", "empty")])
def test_bad_input_of_the_floor(case):
    make, error, message = BAD[case]
    with pytest.raises(error, match=message):
        apply_error_floor(make())


@pytest.mark.parametrize(
    "function",
    [clusterpost.infer_table, clusterpost.sample_posterior, lambda tbl: clusterpost.log_prob(tbl, np.ones((1, 3)))],
)
@pytest.mark.parametrize(("thing", "message"), [
    ({"F275W": [1.0]}, "a table is needed, not dict: give an astropy Table or Row, a pandas DataFrame, or the path"),
    (None, "a table is needed, not NoneType"),
    ("catalog.fits", "catalog.fits does not exist; check the path"),
])
def test_what_is_no_table(function, thing, message):
    with pytest.raises(InputError, match=message):
        function(thing)


def test_a_column_of_galaxies_as_fits_gives_it():
    photometry = read(plain(galaxy=np.array([b"NGC 1433", b"M74", b"NGC 1433"])), distance=None)
    np.testing.assert_allclose(photometry.distance, [18.94, 9.84, 18.94])
