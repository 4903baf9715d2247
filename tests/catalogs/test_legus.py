import numpy as np
import pytest
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from clusterpost.bands import ACS_BANDS, WFC3_BANDS
from clusterpost.catalogs.legus import N_COLUMNS, label_legus, legus_bands, legus_columns, read_legus
from clusterpost.catalogs.recognition import recognize
from clusterpost.errors import InputError

FILE = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"
WFC3_FILE = "hlsp_legus_hst_wfc3_ngc1566_multiband_v1_padagb-mwext-avgapcor.tab"


def write(path, n_columns=N_COLUMNS, n_rows=3):
    path.write_text("".join("  ".join(str(10 * i + j) for j in range(n_columns)) + "\n" for i in range(n_rows)))
    return path


@pytest.fixture(scope="module")
def real(shared_data):
    return read_legus(shared_data / FILE)


def test_the_real_file(real):
    assert len(real) == 3080
    assert len(real.colnames) == N_COLUMNS
    assert real.meta == {"source": FILE, "galaxy": "NGC 628"}
    clusters = np.isin(real["class_mode"], (1, 2))
    assert clusters.sum() == 691
    # LEGUS fitted with the bands whose errors are below about 0.3 mag; more are measured.
    assert (clusters & (real["n_filters"] == 5)).sum() == 594
    layout = recognize(real)
    columns = [c for names in layout.bands.values() for c in (names.flux, names.error)]
    measured = np.all([~np.isin(real[c], layout.sentinels) for c in columns], axis=0)
    assert (clusters & measured).sum() == 679
    good = measured & np.all([real[names.error] < 0.35 for names in layout.bands.values()], axis=0)
    assert (clusters & good).sum() == 594


def test_sentinels_stay_in_the_table(real):
    values = np.concatenate([np.asarray(real[f"{b}_vega"]) for b in recognize(real).bands])
    assert (values == 66.666).sum() == 1346
    assert (values == 99.999).sum() == 333


def test_the_order_of_max_and_min(real):
    fitted = real["n_filters"] > 0
    for name in ("age", "mass", "ebv"):
        low, best, high = (real[f"{name}_legus{end}"][fitted] for end in ("_min", "", "_max"))
        assert (low <= best).mean() > 0.95
        assert (best <= high).mean() > 0.95
        assert (low < high).mean() > 0.5
    layout = recognize(real)
    assert layout.name == "LEGUS"
    assert layout.published["mass"] == ("mass_legus", "mass_legus_min", "mass_legus_max", None, "solMass")


def test_units_and_descriptions(real):
    assert str(real["F275W_vega"].unit) == "mag"
    assert str(real["age_legus"].unit) == "yr"
    assert str(real["mass_legus_min"].unit) == "solMass"
    assert all(column.info.description for column in real.itercols())


def test_residuals_belong_to_their_bands(real):
    """A source fitted with four bands has one residual unset: of the band with the error above 0.3 mag."""
    four = real["n_filters"] == 4
    bands = list(recognize(real).bands)
    unset = np.stack([real[f"residual_{band}"][four] == 200 for band in bands])
    uncertain = np.stack([real[f"{band}_vega_err"][four] > 0.3 for band in bands])
    assert four.sum() == 394
    assert (unset.sum(axis=0) == 1).all()
    assert (unset == uncertain).all(axis=0).mean() > 0.9
    # The next band over does not fit.
    assert (unset == np.roll(uncertain, 1, axis=0)).all(axis=0).mean() < 0.05
    assert not any((real[f"residual_{band}"][real["n_filters"] == 5] == 200).any() for band in bands)


def test_names_differ_and_there_are_35():
    for bands in (WFC3_BANDS, ("F275W", "F336W", *ACS_BANDS)):
        names = [name for name, _, _ in legus_columns(bands)]
        assert len(set(names)) == len(names) == N_COLUMNS


@pytest.mark.parametrize(
    ("name", "galaxy", "bvi"),
    [
        (FILE, "NGC 628", "F435W_ACS F555W_ACS F814W_ACS"),
        (WFC3_FILE, "NGC 1566", "F438W F555W F814W"),
        ("hlsp_legus_hst_acs-wfc3_ngc628-e_multiband_v1_x.tab", "NGC 628", "F435W_ACS F555W F814W_ACS"),
        ("hlsp_legus_hst_wfc3_ngc1313-e_multiband_v1_x.tab", "NGC 1313", "F435W_ACS F555W_ACS F814W_ACS"),
        ("hlsp_legus_hst_acs-wfc3_ngc7793-w_multiband_v1_x.tab", "NGC 7793", "F438W F555W_ACS F814W_ACS"),
        ("hlsp_legus_hst_uvis_ngc5194-ngc5195-mosaic_multiband_v1_x.tab", "NGC 5194",
         "F435W_ACS F555W_ACS F814W_ACS"),
        ("hlsp_legus_hst_wfc3_eso486-g021_multiband_v2_x.tab", "ESO 486-G021", "F438W F555W F814W"),
        ("hlsp_legus_hst_wfc3_holmberg-ii_multiband_v1_x.tab", "holmberg-ii", "F438W F555W F814W"),
    ],
)
def test_the_file_name_tells_galaxy_and_cameras(tmp_path, name, galaxy, bvi):
    tbl = read_legus(write(tmp_path / name))
    assert tbl.meta["galaxy"] == galaxy
    assert tbl.colnames[9:15:2] == [f"{band}_vega" for band in bvi.split()]
    assert list(tbl["id"]) == [0, 10, 20]
    assert list(tbl["age_legus_max"]) == [17, 27, 37]


def test_f606w_is_no_photometry_of_f555w(tmp_path):
    path = write(tmp_path / "hlsp_legus_hst_acs-wfc3_ic4247_multiband_v2_padagb-mwext-avgapcor.tab")
    tbl = read_legus(path)
    assert tbl.meta["galaxy"] == "IC 4247"
    assert tbl.colnames[11:13] == ["F606W_ACS_vega", "F606W_ACS_vega_err"]
    assert list(recognize(tbl).bands) == ["F275W", "F336W", "F438W", "F606W_ACS", "F814W_ACS"]
    assert read_legus(path, bands=recognize_bands(tbl)).colnames == tbl.colnames


def recognize_bands(tbl):
    return [name.removesuffix("_vega") for name in tbl.colnames[5:15:2]]


def test_columns_in_another_order_are_the_same(tmp_path):
    raw = Table({f"col{i}": [float(i)] for i in range(N_COLUMNS, 0, -1)}, meta={"source": WFC3_FILE})
    tbl = label_legus(raw)
    assert tbl["id"][0] == 1
    assert tbl["class_mean"][0] == 35
    assert recognize(raw).bands["F275W"].flux == "col6"


def test_a_mixed_field_that_is_not_known(tmp_path):
    with pytest.warns(AstropyUserWarning, match="does not tell the cameras"):
        read_legus(write(tmp_path / "hlsp_legus_hst_acs-wfc3_ngc4485_multiband_v2_x.tab"))


def test_a_name_that_does_not_tell(tmp_path):
    path = write(tmp_path / "mine.tab")
    with pytest.warns(AstropyUserWarning, match=r"'mine.tab' does not tell the cameras.*bands="):
        tbl = read_legus(path)
    assert "galaxy" not in tbl.meta
    assert read_legus(path, bands=WFC3_BANDS).colnames[9] == "F438W_vega"
    assert legus_bands(WFC3_FILE) == WFC3_BANDS


@pytest.mark.parametrize("bands", [WFC3_BANDS[:4], (*WFC3_BANDS[:4], "F999W"), (*WFC3_BANDS[:4], "F275W")])
def test_wrong_bands_are_refused(tmp_path, bands):
    with pytest.raises(InputError, match="five different bands"):
        read_legus(write(tmp_path / WFC3_FILE), bands=bands)


def test_a_wrong_number_of_columns(tmp_path):
    with pytest.raises(InputError, match=rf"{WFC3_FILE}.*35, and this file has 33"):
        read_legus(write(tmp_path / WFC3_FILE, n_columns=33))
    path = write(tmp_path / WFC3_FILE)
    path.write_text(path.read_text() + "1 2 3\n")
    with pytest.raises(InputError, match=rf"{WFC3_FILE}.*35 columns"):
        read_legus(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"absent.tab cannot be read"):
        read_legus(tmp_path / "absent.tab")


def test_label_leaves_its_input_alone(tmp_path):
    raw = Table({f"col{i}": [float(i)] for i in range(1, N_COLUMNS + 1)}, meta={"source": WFC3_FILE, "k": 1})
    tbl = label_legus(raw)
    assert raw.colnames[0] == "col1"
    assert raw["col6"].unit is None
    assert tbl.meta == {"source": WFC3_FILE, "k": 1}
    assert tbl.colnames == read_legus(write(tmp_path / WFC3_FILE)).colnames
    with pytest.raises(InputError, match="usually 35; this one has 35, beginning with 'id'"):
        label_legus(tbl)
    with pytest.raises(InputError, match="the 2 columns are not in the order"):
        label_legus(raw["col1", "col2"])
