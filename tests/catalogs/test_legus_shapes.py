"""LEGUS catalogs with more or fewer columns, in another order, with and without their .readme."""

import numpy as np
import pytest

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.catalogs import read_legus
from clusterpost.cli import main
from clusterpost.errors import InputError, InputWarning
from clusterpost.photometry import Photometry

NAME = "hlsp_legus_hst_wfc3_ngc1566_multiband_v1_padagb-mwext-avgapcor.tab"
MAGNITUDES = np.array([[99.999, 20.5, 21.0, 20.8, 20.1], [19.3, 19.3, 19.8, 19.8, 19.0],
                       [24.7, 23.5, 23.0, 22.1, 20.7]])


def rows(mosaic=False, trailing=(1, 1.0)):
    for i, magnitudes in enumerate(MAGNITUDES):
        row = [i + 1, 1000.5 + i, 2000.25 + i] + ([4000.5, 5000.5] if mosaic else []) + [65.0 + 1e-4 * i, -54.9]
        for m in magnitudes:
            row += [m, 99.999 if m == 99.999 else 0.087]
        row += [1.5, 1e8, 2e8, 5e7, 1e4, 2e4, 5e3, 0.1, 0.2, 0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 0.9, 5]
        yield [*row, *trailing]


def write(path, **shape):
    path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows(**shape)))
    return path


SHAPES = {35: {}, 34: {"trailing": (1,)}, 37: {"mosaic": True}, 36: {"trailing": (1, 1.0, 2)},
          39: {"trailing": (1, 3, 1, 2, 0, 0)}, 41: {"mosaic": True, "trailing": (1, 3, 1, 2, 0, 0)}}


@pytest.mark.parametrize("n", SHAPES)
def test_magnitudes_are_found_wherever_they_are(n, tmp_path):
    tbl = read_legus(write(tmp_path / NAME, **SHAPES[n]))
    assert len(tbl.colnames) == n
    np.testing.assert_array_equal(np.stack([tbl[f"{band}_vega"] for band in WFC3_BANDS], axis=1), MAGNITUDES)
    assert list(tbl["ra"]) == [65.0, 65.0001, 65.0002]
    assert set(tbl["age_legus"]) == {1e8}
    assert ("x_mosaic" in tbl.colnames) == (n in (37, 41))
    assert ("class_hybrid" in tbl.colnames) == (n in (39, 41))
    if n in (39, 41):
        assert (tbl["class_method"][0], tbl["class_ml"][0]) == (3, 2)
        assert "class_mean" not in tbl.colnames
    photometry = Photometry.from_table(clusterpost.read_catalog(tmp_path / NAME))
    assert photometry.missing.tolist() == [[True, False, False, False, False], [False] * 5, [False] * 5]


def test_columns_that_make_no_sense_are_never_shifted(tmp_path):
    path = tmp_path / NAME
    table = [[*row[:3], *row[5:], 1, 1] for row in rows()]  # without right ascension and declination
    path.write_text("".join(" ".join(map(str, [*row, 1, 2])) + "\n" for row in table))
    with pytest.raises(InputError, match=r"37 columns are not in the order.*readme.*columns=.*unit= Vega"):
        read_legus(path)
    columns = {band: (f"col{4 + 2 * i}", f"col{5 + 2 * i}") for i, band in enumerate(WFC3_BANDS)}
    with pytest.warns(InputWarning, match="99.999"):
        tbl = clusterpost.read_catalog(path, columns=columns, unit="Vega")
    assert np.isfinite(tbl["F336W"]).all()


README = """LEGUS cluster catalog of NGC 1566
The columns are
1. source id
2. final total mag in WFC3/F336W
3. final photometric error in WFC3/F336W
4. x coordinates in the ref mosaic frame (image aligned and registered)
5. y coordinates in the ref mosaic frame (image aligned and registered)
6. RA coordinates in the ref frame
7. DEC coordinates in the ref frame
8. final total mag in ACS/F814W
9. final photometric error in F814W
10. best age in yr
11. Final morphological flag. It has been derived in a hybrid way.
12. an unheard-of quantity
"""


def test_the_readme_beside_the_file_decides(tmp_path):
    (tmp_path / NAME).write_text("1 20.1 0.1 5 6 65.0 -54.9 19.0 0.2 1e7 2 7.5\n"
                                 "2 99.999 99.999 5 6 65.0 -54.9 19.0 0.2 1e7 2 7\n")
    (tmp_path / NAME).with_suffix(".readme").write_text(README)
    tbl = clusterpost.read_catalog(tmp_path / NAME)
    assert tbl.colnames[:12] == ["id", "F336W_vega", "F336W_vega_err", "x_mosaic", "y_mosaic", "ra", "dec",
                                 "F814W_ACS_vega", "F814W_ACS_vega_err", "age_legus", "class_hybrid", "col12"]
    assert tbl["col12"].description == "an unheard-of quantity"
    assert np.isfinite(tbl["F336W"]).tolist() == [True, False]
    (tmp_path / NAME).with_suffix(".readme").write_text(README[: README.index("12.")])
    with pytest.warns(InputWarning, match="does not number the 12 columns"), pytest.raises(InputError, match="columns"):
        read_legus(tmp_path / NAME)


def test_columns_win_over_the_name_and_the_cameras_are_an_option(tmp_path, capsys):
    path = write(tmp_path / NAME)
    columns = {"F438W": ("col10", "col11"), "F814W_ACS": ("col14", "col15")}
    assert clusterpost.read_catalog(path, columns=columns).meta["CPLAYOUT"] == "columns argument"
    mine = write(tmp_path / "mine.tab")
    bands = ("F275W", "F336W", "F435W", "F555W", "F814W_ACS")
    assert "F435W_ACS" in clusterpost.read_catalog(mine, bands=bands).colnames
    options = ["--bands", *bands, "--distance", "17.7", "-n", "20", "--quiet"]
    assert main(["infer", str(mine), str(tmp_path / "o.fits"), *options]) == 0
    assert "F814W_ACS" in clusterpost.read_catalog(tmp_path / "o.fits").colnames
    assert capsys.readouterr().err == ""


def test_a_result_of_named_columns_is_read_as_it_was_inferred(tmp_path, recwarn):
    given = [f"{band}=col{6 + 2 * i},col{7 + 2 * i}" for i, band in enumerate(WFC3_BANDS)]
    target = tmp_path / "o.fits"
    path = write(tmp_path / NAME, **SHAPES[39])
    options = ["-n", "20", "--no-refine", "--quiet", "--distance", "13", "--columns", *given]
    assert main(["infer", str(path), str(target), *options]) == 0
    recwarn.clear()
    assert set(WFC3_BANDS) <= set(clusterpost.read_catalog(target).colnames)
    assert not [w for w in recwarn if "cameras" in str(w.message)]
