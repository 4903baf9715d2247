import astropy.units as u
import numpy as np
import pytest
from astropy.table import Column, Table

import clusterpost
from clusterpost.catalogs import galaxy_distance
from clusterpost.errors import DistanceError, InputWarning
from clusterpost.photometry import Photometry


def table(n=2, **columns):
    tbl = Table({"F275W": np.ones(n), "F275W_err": np.full(n, 0.1), "F336W": np.ones(n), "F336W_err": np.full(n, 0.1)})
    for name in tbl.colnames:
        tbl[name].unit = "mJy"
    for name, value in columns.items():
        tbl[name] = value
    return tbl


def distances(tbl, **options):
    return Photometry.from_table(tbl, **options).distance


@pytest.mark.parametrize("name", ["DM", "dist_mod", "distance_modulus", "distmod", "dm"])
@pytest.mark.parametrize("unit", [None, "mag"])
def test_a_distance_modulus_by_its_name(name, unit):
    tbl = table(**{name: Column([29.98, 30.0], unit=unit)})
    np.testing.assert_allclose(distances(tbl), [9.908, 10.0], rtol=1e-3)
    np.testing.assert_allclose(clusterpost.read_catalog(tbl)["distance"], [9.908, 10.0], rtol=1e-3)


def test_a_distance_modulus_by_its_unit_or_description():
    np.testing.assert_allclose(distances(table(), distance=30 * u.mag), 10)
    np.testing.assert_allclose(distances(table(distance=[30, 30] * u.mag)), 10)
    np.testing.assert_allclose(distances(table(distance=Column([30.0, 30.0], description="distance modulus"))), 10)


@pytest.mark.parametrize(("name", "mpc"), [("distance_kpc", 9.9e-3), ("dist_mpc", 9.9), ("distance_pc", 9.9e-6)])
def test_units_in_the_name(name, mpc):
    np.testing.assert_allclose(distances(table(**{name: [9.9, 9.9]})), mpc)
    np.testing.assert_allclose(distances(table(dist=[9.9, 9.9] * u.Mpc)), 9.9)


def test_candidates_are_named():
    with pytest.raises(DistanceError, match=r"no distance \(columns 'dist' may be one: rename it\)"):
        distances(table(dist=[9.9, 9.9]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (29.98, "It looks like a distance modulus"), (9.8e6, "It looks like pc or kpc"), (9800.0, "pc or kpc"),
        (2.0, "Is it in Mpc, and the distance of the galaxy"),
    ],
)
def test_a_known_galaxy_is_compared(value, words):
    match = rf"for NGC 628, which is at 9.84 Mpc \(Lee et al. 2022\) or 9.9 Mpc.*{words}"
    with pytest.warns(InputWarning, match=match):
        distances(table(galaxy=["NGC 628"] * 2, distance=[value] * 2))
    tbl = table()
    tbl.meta["galaxy"] = "NGC 628"
    with pytest.warns(InputWarning, match=match):
        distances(tbl, distance=value)


def test_galactocentric_distances():
    with pytest.warns(InputWarning, match="galactocentric"):
        distances(table(galaxy=["NGC 628"] * 2, distance=[5.0, 9.0]))
    with pytest.warns(InputWarning, match="below 30 kpc, as are distances from the center"):
        distances(table(distance=[5.0, 9.0] * u.kpc))


@pytest.mark.parametrize("value", [9.84, 9.9, 9.5, 11.0, 18.94])
def test_distances_that_agree_are_not_remarked(value):
    name = "NGC 1433" if value > 12 else "NGC 628"
    assert (distances(table(galaxy=[name] * 2, distance=[value] * 2)) == value).all()
    assert (distances(table(distance=[value] * 2)) == value).all()


def test_parsecs_taken_for_megaparsecs():
    with pytest.warns(InputWarning, match="9.9e[+]06 Mpc, where no cluster is resolved"):
        distances(table(), distance=9.9e6)
    distances(table(), distance=9.9e6 * u.pc)


def test_one_name_a_row():
    assert distances(table(), distance=["NGC 628", "M31"]).tolist() == [9.84, 0.761]
    assert distances(table(), distance=np.array(["NGC 628", "M31"])).tolist() == [9.84, 0.761]
    with pytest.warns(InputWarning, match="no distance is known for 'nowhere'"):
        assert np.isnan(distances(table(), distance=["NGC 628", "nowhere"])[1])
    with pytest.warns(InputWarning, match="no distance is known for ''"):
        assert np.isnan(distances(table(galaxy=["NGC 628", ""]))[1])
    with pytest.raises(DistanceError, match="'nowhere' is not one of"):
        distances(table(galaxy=["nowhere", "nowhere"]))


@pytest.mark.parametrize(
    ("names", "mpc"),
    [
        (("M31", "NGC224", "Andromeda"), 0.761), (("M33", "NGC598", "Triangulum"), 0.84), (("LMC",), 0.04959),
        (("SMC", "Small Magellanic Cloud"), 0.06244), (("M83", "NGC5236"), 4.5),
        (("Antennae", "NGC 4038", "NGC4038/4039", "NGC4038-39"), 22.3), (("M82",), 3.53),
    ],
)
def test_nearby_hosts_of_cluster_catalogs(names, mpc):
    for name in names:
        assert galaxy_distance(name) == mpc * u.Mpc


@pytest.mark.parametrize("value", [1e-45, 1e-38, 1e20, 1e39, 1e99, 1e308, -1e39, 0.0, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["F275W", "F275W_err", "distance"])
@pytest.mark.filterwarnings("ignore::clusterpost.errors.InputWarning")
def test_one_odd_value_flags_its_row_and_stops_nothing(column, value):
    tbl = table(3, distance=[10.0, 10.0, 10.0])
    tbl[column][1] = value
    out = clusterpost.infer_table(tbl, n_samples=20, refine=False)
    assert np.isfinite(out["age_q50"][[0, 2]]).all()
    assert out["flag"][1] & ~np.int32(clusterpost.flags.MISSING_BAND) != 0 or np.isfinite(out["age_q50"][1])
