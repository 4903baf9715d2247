import json

import astropy.units as u
import numpy as np
import pytest

import clusterpost
from clusterpost.bands import (
    ACS_BANDS,
    BANDS,
    WFC3_BANDS,
    add_band,
    band_slots,
    find_band,
    get_band,
    remove_band,
    user_curves,
)
from clusterpost.errors import InputError
from clusterpost.families.clusters.table import load_table
from clusterpost.flow.bundled import MODELS_PATH

#: Bands of the package itself: those of other families that tests or examples made known have no curve.
OWN = {name: band for name, band in BANDS.items() if band.curve}
TRIANGLE = (np.array([4000.0, 4500.0, 5000.0]), np.array([0.0, 1.0, 0.0]))


@pytest.fixture
def mine():
    yield add_band("my_g", TRIANGLE, aliases=["gee"], ab_minus_vega=-0.1)
    remove_band("MY_G")


def test_registry():
    assert WFC3_BANDS == ("F275W", "F336W", "F438W", "F555W", "F814W")
    assert ACS_BANDS == ("F435W_ACS", "F555W_ACS", "F814W_ACS")
    assert set(WFC3_BANDS) | set(ACS_BANDS) < set(BANDS)
    for name, band in OWN.items():
        assert band.name == name
        assert band.wfc3 in BANDS
        assert BANDS[band.wfc3].instrument == "WFC3/UVIS" or band.wfc3 == name
        assert np.isfinite(band.ab_minus_vega)


def test_the_bands_that_surveys_have():
    uvis = ["F225W", "F275W", "F336W", "F390W", "F438W", "F475W", "F555W", "F606W", "F625W", "F775W", "F814W", "F656N",
            "F657N", "F658N"]
    acs = ["F435W", "F475W", "F555W", "F606W", "F625W", "F775W", "F814W", "F850LP", "F658N"]
    assert set(OWN) == {*uvis, *(f"{name}_ACS" for name in acs), "F110W_IR", "F125W_IR", "F160W_IR",
                          *(f"{name}_JC" for name in "UBVRI"), *(f"{name}_SDSS" for name in "ugriz")}
    assert {name for name, band in BANDS.items() if band.filter_alone} == {"F656N", "F658N"}


def test_every_camera_lists_its_bands_from_blue_to_red():
    for instrument in {band.instrument for band in OWN.values()}:
        pivots = [band.pivot for band in OWN.values() if band.instrument == instrument]
        assert pivots == sorted(pivots)


def test_color_slot_is_the_nearest_wfc3_band():
    for name in ACS_BANDS:
        nearest = min(WFC3_BANDS, key=lambda b: abs(BANDS[b].pivot - BANDS[name].pivot))
        assert BANDS[name].wfc3 == nearest
    assert band_slots(("F606W", "F606W_ACS", "F658N", "F658N_ACS")) == ((0, 1), (2,), (3,))


@pytest.mark.parametrize(("name", "canonical"), [
    ("F275W", "F275W"), ("f275w", "F275W"), ("f814w_acs", "F814W_ACS"), ("ACS_F814W", "F814W_ACS"),
    ("ACS/WFC F814W", "F814W_ACS"), ("wfc3_uvis_f336w", "F336W"), ("F435W", "F435W_ACS"), ("wfc3 f160w", "F160W_IR"),
    ("F850LP", "F850LP_ACS"), ("Johnson V", "V_JC"), ("bessell_I", "I_JC"), ("sdss r", "r_SDSS"),
    ("U_SDSS", "u_SDSS")])
def test_lookup_by_name_or_alias(name, canonical):
    assert get_band(name).name == canonical


def test_no_alias_means_two_bands():
    aliases = [name for band in BANDS.values() for name in (band.name, *band.aliases)]
    assert len(aliases) == len(set(aliases))


@pytest.mark.parametrize("name", ["F999W", "", "F275W_ACS", "V"])
def test_unknown_band_names_itself_and_the_known_ones(name):
    with pytest.raises(InputError, match="unknown band") as info:
        get_band(name)
    assert find_band(name) is None
    assert repr(name) in str(info.value)
    assert all(known in str(info.value) for known in BANDS)


def test_pivots_agree_with_the_packaged_table():
    header = load_table().header
    assert header["bands"] == [*WFC3_BANDS, *ACS_BANDS]
    for name, pivot in zip(header["bands"], header["pivot_angstrom"], strict=True):
        assert abs(BANDS[name].pivot - pivot) <= 0.2, name
        assert header["curve_files"][name] == BANDS[name].curve


def test_list_of_bands():
    table = clusterpost.list_bands()
    assert list(table["name"]) == list(BANDS)
    row = table[table["name"] == "F275W"][0]
    assert row["pivot"] == BANDS["F275W"].pivot * u.AA
    assert row["ab_minus_vega"] == BANDS["F275W"].ab_minus_vega * u.mag
    for path in MODELS_PATH.glob("*.json"):
        simulator = json.loads(path.read_text())["simulator"]
        known = simulator.get("bands") or clusterpost.load_model(path.stem).bands
        assert {str(r["name"]) for r in table if path.stem in str(r["models"]).split(", ")} == set(known)


def test_own_band(mine):
    assert mine.name == "MY_G"
    assert mine.pivot == pytest.approx(4500)  # of a symmetric curve, to second order
    assert get_band("gee") == mine
    assert "MY_G" in clusterpost.list_bands()["name"]
    np.testing.assert_array_equal(user_curves()["MY_G"], TRIANGLE)


def test_own_band_takes_wavelengths_with_unit(mine):
    other = add_band("other", (TRIANGLE[0] / 10 * u.nm, TRIANGLE[1]))
    assert other.pivot == pytest.approx(mine.pivot)
    assert np.isnan(other.ab_minus_vega)
    remove_band("OTHER")
    assert find_band("OTHER") is None


@pytest.mark.parametrize("name", ["F275W", "acs_f814w", "GEE", "1band", "a b", ""])
def test_names_that_no_own_band_can_have(mine, name):
    with pytest.raises(InputError, match=r"already used by|not a valid band name"):
        add_band(name, TRIANGLE)


@pytest.mark.parametrize("curve", [
    None, (TRIANGLE[0],), (TRIANGLE[0], TRIANGLE[1][:2]), (TRIANGLE[0][::-1], TRIANGLE[1]), (TRIANGLE[0], -TRIANGLE[1]),
    (TRIANGLE[0], 0 * TRIANGLE[1]), (TRIANGLE[0], [0, np.nan, 0]), ([4000], [1]), (TRIANGLE[0] * u.s, TRIANGLE[1])])
def test_curves_that_are_none(curve):
    with pytest.raises(InputError, match="the curve of 'X'"):
        add_band("X", curve)
    assert find_band("X") is None


def test_own_bands_alone_can_be_removed():
    with pytest.raises(InputError, match="built-in"):
        remove_band("F275W")
    assert "F275W" in BANDS
