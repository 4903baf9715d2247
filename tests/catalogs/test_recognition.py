import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.bands import ACS_BANDS, BANDS, WFC3_BANDS
from clusterpost.catalogs.columns import BandColumns
from clusterpost.catalogs.recognition import recognize
from clusterpost.errors import ColumnError, InputError

ACS = ("F275W", "F336W", "F435W", "F555W", "F814W")


def table(names, unit=None, value=1.0):
    tbl = Table({name: [value, value] for name in names})
    for name in names:
        tbl[name].unit = unit
    return tbl


def canonical(bands=WFC3_BANDS):
    return [name for band in bands for name in (band, f"{band}_err")]


def phangs(bands=WFC3_BANDS, kind="mJy", tot="", slip=()):
    names = []
    for band in bands:
        flux = f"PHANGS_{band}_{kind}{tot}"
        names += [flux, f"PHANGS_{band}_{kind}_TOT_ERR" if band in slip else f"{flux}_ERR"]
    return names


def state(tbl):
    return list(tbl.colnames), dict(tbl.meta), [(c.info.unit, c.dtype) for c in tbl.itercols()]


def test_canonical_in_the_order_of_the_registry():
    bands = ("F814W_ACS", "F275W", "F438W")
    layout = recognize(table(["foreign", *canonical(bands), "F275W_limit", "distance", "galaxy"], "mJy"))
    assert layout.name == "canonical"
    assert list(layout.bands) == ["F275W", "F438W", "F814W_ACS"]
    assert layout.bands["F275W"] == BandColumns("F275W", "F275W_err", "F275W_limit")
    assert layout.bands["F438W"].limit is None
    assert (layout.distance, layout.galaxy, layout.default_unit) == ("distance", "galaxy", None)
    assert layout.negative_error_is_limit
    assert layout.published == {}


def test_sentinels_follow_the_kind_of_column():
    assert -9999 in recognize(table(canonical(), "mJy")).sentinels
    assert 99.999 not in recognize(table(canonical(), "mJy")).sentinels
    assert {99.999, -999} <= set(recognize(table(canonical(), "mag(AB)")).sentinels)


def test_a_quantity_table_is_as_good():
    tbl = QTable({"F275W": [1.0] * u.mJy, "F275W_err": [0.1] * u.mJy})
    assert recognize(tbl).bands == {"F275W": BandColumns("F275W", "F275W_err")}


@given(order=st.permutations(canonical() + ["id", "RA"]))
@settings(max_examples=20, deadline=None)
def test_the_order_of_columns_does_not_matter(order):
    assert recognize(table(order)) == recognize(table(canonical() + ["id", "RA"]))


@pytest.mark.parametrize(
    "names",
    [canonical(), phangs(), phangs(ACS, slip=("F555W", "F814W")), phangs(kind="vega", tot="_tot")],
)
def test_the_table_stays_as_it_is(names):
    tbl = table(names, "mJy")
    tbl.meta["x"] = 1
    before = state(tbl)
    recognize(tbl)
    assert state(tbl) == before


@pytest.mark.parametrize("names", [["F275W"], ["PHANGS_F275W_mJy"], ["PHANGS_F275W_VEGA_TOT"]])
def test_a_band_without_error_is_refused(names):
    with pytest.raises(ColumnError, match=rf"'{names[0]}' has no column with its errors.*columns="):
        recognize(table([*names, *canonical(("F336W",))] if names == ["F275W"] else names))


def test_no_photometry_says_what_was_looked_for():
    with pytest.raises(ColumnError, match=r"'flux_u'.*PHANGS_F275W_mJy.*LEGUS.*columns=") as caught:
        recognize(table(["flux_u"]))
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(("name", "meant"), [("f438w", "F438W"), ("F435W", "F435W_ACS")])
def test_a_band_called_almost_right_is_taken(name, meant):
    layout = recognize(table([*canonical(("F275W",)), name, f"{name}_err"]))
    assert layout.bands[meant] == BandColumns(name, f"{name}_err")


def test_a_filter_of_one_camera_beside_those_of_two_is_refused():
    with pytest.raises(ColumnError, match=r"'F435W' is a filter of ACS/WFC alone, and 'F555W', 'F814W' could be"):
        recognize(table(canonical(("F275W", "F435W", "F555W", "F814W"))))


# PHANGS


def test_dr4_with_its_slip():
    layout = recognize(table([*phangs(slip=("F555W", "F814W")), *phangs(kind="VEGA"), "PHANGS_DMPC"]))
    assert layout.name == "PHANGS DR4"
    assert tuple(layout.bands) == WFC3_BANDS
    assert layout.bands["F275W"] == BandColumns("PHANGS_F275W_mJy", "PHANGS_F275W_mJy_ERR")
    assert layout.bands["F555W"].error == "PHANGS_F555W_mJy_TOT_ERR"
    assert layout.bands["F814W"].error == "PHANGS_F814W_mJy_TOT_ERR"
    assert layout.sentinels == (-9999.0, -999.0)
    assert layout.negative_error_is_limit
    assert (layout.default_unit, layout.distance) == ("mJy", "PHANGS_DMPC")


def test_the_slip_mended_beside_the_slip():
    names = [*phangs(("F555W",)), "PHANGS_F555W_mJy_TOT_ERR"]
    assert recognize(table(names)).bands["F555W"].error == "PHANGS_F555W_mJy_ERR"


def test_b_in_f435w_makes_v_and_i_acs():
    layout = recognize(table(phangs(ACS, slip=("F555W", "F814W"))))
    assert list(layout.bands) == ["F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS"]
    assert layout.bands["F555W_ACS"] == BandColumns("PHANGS_F555W_mJy", "PHANGS_F555W_mJy_TOT_ERR")


@pytest.mark.parametrize("case", [str, str.lower, str.upper])
def test_internal_generation_in_any_case(case):
    layout = recognize(table([case(n) for n in phangs(tot="_TOT")]))
    assert layout.name == "PHANGS internal"
    assert layout.bands["F336W"].flux == case("PHANGS_F336W_mJy_TOT")


def test_vega_where_there_is_nothing_else():
    layout = recognize(table(phangs(kind="vega", tot="_tot")))
    assert {c.magnitude_system for c in layout.bands.values()} == {"Vega"}
    assert layout.default_unit == "mag"
    mixed = recognize(table([*phangs(("F275W",)), *phangs(("F336W",), kind="VEGA")]))
    assert mixed.bands["F336W"].magnitude_system == "Vega"
    assert mixed.default_unit is None


def test_generations_by_their_fits():
    dr4 = ["PHANGS_AGE_MINCHISQ", "PHANGS_AGE_MINCHISQ_ERR", "PHANGS_EBV_MINCHISQ"]
    cr3 = ["PHANGS_SED_AGE", "PHANGS_SED_AGE_LIMLO", "PHANGS_SED_AGE_LIMHI", "PHANGS_SED_MASS"]
    layout = recognize(table(phangs() + dr4))
    assert layout.name == "PHANGS DR4"
    assert layout.published["age"] == ("PHANGS_AGE_MINCHISQ", None, None, "PHANGS_AGE_MINCHISQ_ERR", "Myr")
    assert layout.published["ebv"] == ("PHANGS_EBV_MINCHISQ", None, None, None, "mag")
    assert "mass" not in layout.published
    layout = recognize(table([*phangs(), *cr3, "PHANGS_GALAXY"]))
    assert (layout.name, layout.galaxy) == ("PHANGS CR3", "PHANGS_GALAXY")
    assert layout.published["age"] == ("PHANGS_SED_AGE", "PHANGS_SED_AGE_LIMLO", "PHANGS_SED_AGE_LIMHI", None, "Myr")
    assert layout.published["mass"] == ("PHANGS_SED_MASS", None, None, None, "solMass")
    # The paper compares with the single-branch fits, and the families are not mixed.
    assert recognize(table(phangs() + dr4 + cr3)).published.keys() == {"age", "ebv"}
    assert recognize(table([*phangs(), "PHANGS_DR5_THILKER25_AGE"])).name == "PHANGS DR5"


def test_the_unit_of_a_published_column_counts():
    tbl = table([*phangs(), "PHANGS_AGE_MINCHISQ"])
    tbl["PHANGS_AGE_MINCHISQ"].unit = "Gyr"
    assert recognize(tbl).published["age"][-1] == "Gyr"


@pytest.mark.parametrize(
    "second", [["PHANGS_F275W_mJy_TOT", "PHANGS_F275W_mJy_TOT_ERR"], ["phangs_f275w_mjy", "phangs_f275w_mjy_err"]]
)
def test_two_candidates_are_refused(second):
    with pytest.raises(ColumnError, match=rf"flux of F275W: 'PHANGS_F275W_mJy', '{second[0]}'.*columns="):
        recognize(table(phangs() + second))
    chosen = recognize(table(phangs() + second), columns={"F275W": second})
    assert chosen.bands["F275W"].flux == second[0]


def test_two_errors_that_differ_in_case_are_refused():
    with pytest.raises(ColumnError, match="error of F275W"):
        recognize(table([*phangs(), "phangs_f275w_mjy_err"]))


def test_two_cameras_in_one_table():
    tbl = table(phangs((*ACS[:3], "F438W", "F555W", "F814W")))
    layout = recognize(tbl)
    assert list(layout.bands) == [b for b in BANDS if b in (*WFC3_BANDS, *ACS_BANDS)]
    assert layout.bands["F555W"] == layout.bands["F555W_ACS"]
    assert layout.cameras == {"WFC3/UVIS": "PHANGS_F438W_mJy", "ACS/WFC": "PHANGS_F435W_mJy"}
    for name in ("PHANGS_F438W_mJy", "PHANGS_F438W_mJy_ERR"):
        tbl[name][:] = -9999
    assert recognize(tbl).cameras is None
    assert "F555W_ACS" in recognize(tbl).bands
    assert "F555W" not in recognize(tbl).bands
    tbl["PHANGS_F438W_mJy"] = MaskedColumn([1.0, np.nan], mask=[True, False])
    assert "F435W_ACS" in recognize(tbl).bands
    tbl["PHANGS_F438W_mJy"] = [1.0, 1.0]
    tbl["PHANGS_F435W_mJy"][:] = np.nan
    assert tuple(recognize(tbl).bands) == WFC3_BANDS


def test_canonical_beside_phangs():
    names = canonical() + phangs() + ["PHANGS_AGE_MINCHISQ"]
    layout = recognize(table(names))
    assert layout.name == "canonical"
    assert layout.published["age"][0] == "PHANGS_AGE_MINCHISQ"
    for incomplete in (names[:-1][1:], [n for n in names if n != "F275W_err"], names[4:]):
        if "F275W" in incomplete or "F336W" not in incomplete:
            with pytest.raises(ColumnError, match=r"F275W: .*PHANGS_F275W_mJy.*columns="):
                recognize(table(incomplete))
    # What PHANGS columns there are in doubt does not matter beside a complete canonical set.
    assert recognize(table([*names, "phangs_f275w_mjy"])).name == "canonical"


def test_unknown_filters_are_named():
    with pytest.raises(ColumnError, match="unknown filters: F218W"):
        recognize(table(phangs(("F218W",))))


# LEGUS


def test_legus_without_names():
    tbl = table([f"col{i}" for i in range(1, 36)])
    with pytest.warns(AstropyUserWarning, match="does not tell the cameras"):
        layout = recognize(tbl)
    assert layout.name == "LEGUS"
    assert layout.bands["F275W"] == BandColumns("col6", "col7", None, "Vega")
    assert layout.bands["F814W_ACS"] == BandColumns("col14", "col15", None, "Vega")
    assert layout.sentinels == (66.666, 99.999, 44.444)
    assert not layout.negative_error_is_limit
    assert layout.default_unit == "mag"
    assert layout.published["age"] == ("col17", "col19", "col18", None, "yr")
    tbl.meta["source"] = "hlsp_legus_hst_wfc3_ngc1566_multiband_v1_padagb-mwext-avgapcor.tab"
    assert tuple(recognize(tbl).bands) == WFC3_BANDS


def test_legus_columns_by_argument_keep_the_sentinels():
    layout = recognize(table([f"col{i}" for i in range(1, 36)]), columns={"F438W": ("col10", "col11")})
    assert layout.bands["F438W"].magnitude_system == "Vega"
    assert (layout.default_unit, layout.sentinels) == ("mag", (66.666, 99.999, 44.444))


def test_legus_as_the_reader_names_it():
    names = [f"{band}_vega{end}" for band in WFC3_BANDS for end in ("", "_err")]
    layout = recognize(table([*names, "age_legus"]))
    assert layout.name == "LEGUS"
    assert layout.bands["F336W"] == BandColumns("F336W_vega", "F336W_vega_err", None, "Vega")
    with pytest.raises(ColumnError, match="'F275W_vega' has no column with its errors"):
        recognize(table([names[0], "age_legus"]))
    alone = recognize(table(names))  # without a column of LEGUS, by what the names say
    assert alone.name == "canonical"
    assert alone.bands["F336W"] == BandColumns("F336W_vega", "F336W_vega_err", None, "Vega", "mag")


def test_legus_with_canonical_columns_beside_is_canonical():
    layout = recognize(table([*canonical(), "age_legus"], "mJy"))
    assert layout.name == "canonical"
    assert layout.published["age"][0] == "age_legus"


# columns=


def test_columns_map_any_table():
    tbl = table(["b", "eb", "u", "eu", "lu", "distance"])
    layout = recognize(tbl, columns={"f438w": ("b", "eb"), "F275W": ("u", "eu", "lu")})
    assert layout.name == "columns argument"
    assert list(layout.bands) == ["F275W", "F438W"]
    assert layout.bands["F275W"] == BandColumns("u", "eu", "lu")
    assert layout.distance == "distance"
    assert layout.default_unit is None


def test_columns_of_phangs_keep_its_unit():
    layout = recognize(table(phangs(kind="VEGA")), columns={"F275W": ("PHANGS_F275W_VEGA", "PHANGS_F275W_VEGA_ERR")})
    assert (layout.bands["F275W"].magnitude_system, layout.default_unit) == ("Vega", "mag")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "is empty"),
        ({"F437W": ("b", "eb")}, r"unknown band 'F437W' \(did you mean"),
        ({"F275W": ("my_flx", "eb")}, r"'my_flx' for F275W that the table does not have \(did you mean 'my_flux'"),
        ({"F275W": "b"}, "give .flux column, error column."),
        ({"F275W": ("b",)}, "give .flux column, error column."),
        ({"F275W": ("b", "eb"), "F336W": ("b", "eb")}, "'b' to two bands, F275W and F336W"),
    ],
)
def test_wrong_columns_are_refused(columns, message):
    with pytest.raises(ColumnError, match=message):
        recognize(table(["b", "eb", "my_flux"]), columns=columns)


@given(st.sets(st.sampled_from(sorted(BANDS)), min_size=1))
@settings(max_examples=30, deadline=None)
def test_any_set_of_bands(bands):
    assert list(recognize(table(canonical(sorted(bands)))).bands) == [b for b in BANDS if b in bands]


def test_infrared_filters_say_nothing_of_the_optical_camera():
    """As in PHAT: F110W and F160W are of WFC3/IR alone, and plain names beside them stay those of WFC3/UVIS."""
    names = [f"{band}{end}" for band in ("F275W", "F336W", "F475W", "F814W", "F160W") for end in ("", "_err")]
    tbl = Table({name: [1.0] for name in names}, units={name: "mJy" for name in names})
    assert set(recognize(tbl).bands) == {"F275W", "F336W", "F475W", "F814W", "F160W_IR"}
