import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from phangs_like import phangs_like

from clusterpost.catalogs.distances import distance_table, galaxy_distance, resolve_galaxy
from clusterpost.catalogs.reader import read_catalog
from clusterpost.errors import DistanceError
from clusterpost.photometry import Photometry


@pytest.mark.parametrize(
    "name",
    ["NGC 628", "NGC0628", "ngc0628", "ngc628c", "ngc0628e", "ngc628-c", "NGC_628", "M74", "m 74", "Messier 74"],
)
def test_many_names_of_one_galaxy(name):
    assert resolve_galaxy(name) == "NGC 628"
    assert galaxy_distance(name) == 9.84 * u.Mpc


def test_sources_differ():
    assert galaxy_distance("ngc1433").unit == u.Mpc
    assert galaxy_distance("ngc1433") / galaxy_distance("ngc1433", source="legus") > 2.2
    with pytest.raises(DistanceError, match="'legus' has no distance for NGC 1300; use 'lee2022'"):
        galaxy_distance("NGC 1300", source="legus")
    with pytest.raises(DistanceError, match="'lee2022', 'legus'"):
        galaxy_distance("NGC 1300", source="ned")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("NGC 1434", "NGC 1433"), ("NGC 1097A", "NGC 1097"), ("M7", None), ("My Galaxy", None), ("", None)],
)
def test_unknown_names_are_refused(name, hint):
    with pytest.raises(DistanceError, match=r"not one of the 110.*distance=") as caught:
        resolve_galaxy(name)
    if hint:
        assert f"{hint}" in str(caught.value)
    if hint is None and name != "M7":
        assert "did you mean" not in str(caught.value)


def test_every_galaxy_of_the_table_resolves_to_itself():
    tbl = distance_table()
    for row in tbl:
        catalog, _, number = row["galaxy"].partition(" ")
        padded = f"{catalog.lower()}{int(number):04d}" if number.isdigit() and catalog != "M" else row["galaxy"].lower()
        for name in (row["galaxy"], padded, *filter(None, row["aliases"].split(","))):
            assert resolve_galaxy(name) == row["galaxy"]
    assert len(set(tbl["galaxy"])) == len(tbl) == 110


def test_the_table_is_a_copy():
    distance_table()["distance"][:] = 0
    assert galaxy_distance("IC 1954") == 12.8 * u.Mpc


def test_the_table_is_plausible():
    tbl = distance_table()
    assert tbl["distance"].unit == u.Mpc
    phangs, legus = np.isfinite(tbl["distance"]), np.isfinite(tbl["distance_legus"])
    assert (phangs.sum(), legus.sum(), (phangs & legus).sum()) == (38, 50, 7)
    assert phangs[:38].all()
    assert ((tbl["distance"] > 4) & (tbl["distance"] < 25))[phangs].all()
    assert ((tbl["error"] > 0) & (tbl["error"] < 0.3 * tbl["distance"]))[phangs].all()
    assert ((tbl["mw_ebv"] > 0) & (tbl["mw_ebv"] < 0.1))[phangs].all()
    assert ((tbl["distance_legus"] > 3) & (tbl["distance_legus"] < 15))[legus].all()
    assert all(str(r).startswith("Lee et al. 2022") for r in tbl["reference"][phangs])
    for name in ("reference", "method"):
        assert ((tbl[name] != "") == phangs).all()
        assert ((tbl[f"{name}_legus"] != "") == legus).all()


def test_galaxies_of_legus_alone():
    assert galaxy_distance("NGC 4449") == galaxy_distance("NGC 4449", "legus") == 4.31 * u.Mpc
    assert resolve_galaxy("m51") == resolve_galaxy("NGC5194") == "NGC 5194"
    assert resolve_galaxy("Holmberg-II") == resolve_galaxy("ugc 4305") == "UGC 4305"
    assert resolve_galaxy("eso486-g021") == "ESO 486-G021"
    with pytest.raises(DistanceError, match="'lee2022' has no distance for NGC 4449; use 'legus'"):
        galaxy_distance("NGC 4449", "lee2022")


# The distance of a table that is read


def catalog(**meta):
    tbl = phangs_like()
    tbl.meta = meta
    return tbl


def test_the_choice_can_be_made_again():
    tbl = read_catalog(catalog(galaxy="NGC 1433"))
    assert tbl.meta["CPDSRC"] == "lee2022: galaxy NGC 1433"
    other = read_catalog(tbl, distance_source="legus")
    assert (other["distance"][0], other.meta["CPDSRC"]) == (8.3, "legus: galaxy NGC 1433")
    assert read_catalog(other)["distance"][0] == 8.3  # until another choice is made
    with pytest.raises(DistanceError, match="the table has no distance of its own"):
        read_catalog(tbl, distance_source="table")


def test_a_distance_that_was_changed_after_reading_is_the_tables_own():
    tbl = read_catalog(catalog(galaxy="NGC 1433"))
    tbl["distance"] = 10.0
    with pytest.warns(AstropyUserWarning, match="'legus' is not used .distance_source=., because the table has"):
        other = read_catalog(tbl, distance_source="legus")
    assert other["distance"][0] == 10
    assert other.meta["CPDSRC"] == "table: column 'distance'"


def test_the_meta_is_the_tables_own():
    tbl = read_catalog(catalog(galaxy="NGC 1433", distance=12.0), distance_source="table")
    assert "distance" not in tbl.colnames
    assert tbl.meta["CPDSRC"] == "table: meta['distance']"
    assert (Photometry.from_table(tbl).distance == 12).all()


def test_a_galaxy_for_each_row():
    tbl = catalog()
    tbl["galaxy"] = ["NGC 1433", "M74", "NGC 4449"] * 2
    read = read_catalog(tbl)
    assert read["distance"].tolist() == [18.94, 9.84, 4.31] * 2
    assert read.meta["CPDSRC"] == "lee2022 and legus: galaxy names in column 'galaxy'"
    assert read_catalog(read)["distance"].tolist() == read["distance"].tolist()
    with pytest.warns(AstropyUserWarning, match=r"no distance is known for 'NGC 4449' \(galaxy names"):
        strict = read_catalog(tbl, distance_source="lee2022")
    assert np.isnan(strict["distance"][2])
    assert read_catalog(tbl, distance_source="legus")["distance"].tolist() == [8.3, 9.9, 4.31] * 2


def test_no_galaxy_no_distance():
    assert "distance" not in read_catalog(catalog()).colnames
    assert "distance" not in read_catalog(catalog(OBJECT="my field")).colnames
    with pytest.raises(DistanceError, match="needs to know the galaxy"):
        read_catalog(catalog(), distance_source="legus")
    with pytest.raises(DistanceError, match="'my field' is not one of the 110"):
        read_catalog(catalog(OBJECT="my field"), distance_source="legus")
    with pytest.raises(DistanceError, match="'ned' is not a source of distances"):
        read_catalog(catalog(), distance_source="ned")


def test_agrees_with_the_reference_table(shared_data):
    reference = Table.read(shared_data / "phangs_distances.ecsv")
    tbl = distance_table()
    assert len(reference) == 38
    for row in reference:
        ours = tbl[list(tbl["galaxy"]).index(resolve_galaxy(row["galaxy"]))]
        assert ours["distance"] == row["lee22_dist_mpc"]
        assert ours["error"] == row["lee22_dist_err_mpc"]
        assert ours["mw_ebv"] == row["mw_ebv_sf11"]
        np.testing.assert_equal(ours["distance_legus"], row["calzetti15_dist_mpc"])
