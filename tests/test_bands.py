import pytest

from clusterpost.bands import ACS_BANDS, BANDS, WFC3_BANDS, get_band
from clusterpost.forward import load_table


def test_registry():
    assert WFC3_BANDS == ("F275W", "F336W", "F438W", "F555W", "F814W")
    assert ACS_BANDS == ("F435W_ACS", "F555W_ACS", "F814W_ACS")
    assert set(WFC3_BANDS) | set(ACS_BANDS) == set(BANDS)
    for name, band in BANDS.items():
        assert band.name == name
        assert band.wfc3 in WFC3_BANDS
        assert name in WFC3_BANDS or band.instrument == "ACS/WFC"


def test_every_camera_lists_its_bands_from_blue_to_red():
    for bands in (WFC3_BANDS, ACS_BANDS):
        pivots = [BANDS[b].pivot for b in bands]
        assert pivots == sorted(pivots)


def test_color_slot_is_the_nearest_wfc3_band():
    for name in ACS_BANDS:
        nearest = min(WFC3_BANDS, key=lambda b: abs(BANDS[b].pivot - BANDS[name].pivot))
        assert BANDS[name].wfc3 == nearest


@pytest.mark.parametrize("name", ["F275W", "f275w", "f814w_acs"])
def test_lookup_ignores_case(name):
    assert get_band(name).name == name.upper()


@pytest.mark.parametrize("name", ["F999W", "", "F275W_ACS"])
def test_unknown_band_names_itself_and_the_known_ones(name):
    with pytest.raises(ValueError, match="unknown band") as info:
        get_band(name)
    assert repr(name) in str(info.value)
    assert all(known in str(info.value) for known in BANDS)


def test_pivots_agree_with_the_packaged_table():
    header = load_table().header
    assert header["bands"] == list(BANDS)
    for name, pivot in zip(header["bands"], header["pivot_angstrom"], strict=True):
        assert abs(BANDS[name].pivot - pivot) <= 0.2, name
