import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from clusterpost.catalogs.distances import distance_table, galaxy_distance, resolve_galaxy
from clusterpost.errors import DistanceError


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
    with pytest.raises(DistanceError, match="'legus' has no distance for NGC 1300"):
        galaxy_distance("NGC 1300", source="legus")
    with pytest.raises(DistanceError, match="'lee2022', 'legus'"):
        galaxy_distance("NGC 1300", source="ned")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("NGC 1434", "NGC 1433"), ("NGC 1097A", "NGC 1097"), ("M7", None), ("Andromeda", None), ("", None)],
)
def test_unknown_names_are_refused(name, hint):
    with pytest.raises(DistanceError, match=r"not one of the 38.*distance=") as caught:
        resolve_galaxy(name)
    if hint:
        assert f"{hint}" in str(caught.value)
    if hint is None and name != "M7":
        assert "did you mean" not in str(caught.value)


def test_every_galaxy_of_the_table_resolves_to_itself():
    tbl = distance_table()
    for row in tbl:
        catalog, number = row["galaxy"].split()
        for name in (row["galaxy"], f"{catalog.lower()}{int(number):04d}", *filter(None, row["aliases"].split(","))):
            assert resolve_galaxy(name) == row["galaxy"]
    assert len(set(tbl["galaxy"])) == len(tbl) == 38


def test_the_table_is_a_copy():
    distance_table()["distance"][:] = 0
    assert galaxy_distance("IC 1954") == 12.8 * u.Mpc


def test_the_table_is_plausible():
    tbl = distance_table()
    assert tbl["distance"].unit == u.Mpc
    assert ((tbl["distance"] > 4) & (tbl["distance"] < 25)).all()
    assert ((tbl["error"] > 0) & (tbl["error"] < 0.3 * tbl["distance"])).all()
    assert ((tbl["mw_ebv"] > 0) & (tbl["mw_ebv"] < 0.1)).all()
    assert all(reference.startswith("Lee et al. 2022") for reference in tbl["reference"])
    assert (np.isfinite(tbl["distance_legus"]) == (tbl["reference_legus"] != "")).all()


def test_agrees_with_the_reference_table(shared_data):
    reference = Table.read(shared_data / "phangs_distances.ecsv")
    tbl = distance_table()
    assert len(reference) == len(tbl)
    for row in reference:
        ours = tbl[list(tbl["galaxy"]).index(resolve_galaxy(row["galaxy"]))]
        assert ours["distance"] == row["lee22_dist_mpc"]
        assert ours["error"] == row["lee22_dist_err_mpc"]
        assert ours["mw_ebv"] == row["mw_ebv_sf11"]
        np.testing.assert_equal(ours["distance_legus"], row["calzetti15_dist_mpc"])
