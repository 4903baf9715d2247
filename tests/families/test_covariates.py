"""A covariate owns how a table tells it, and what a user may give in its place."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table

from clusterpost.catalogs.recognition import recognize
from clusterpost.errors import DistanceError, UnitError
from clusterpost.families import Covariate, Distance
from clusterpost.families.covariates import read_covariates

REACH = Covariate(name="reach", unit="kpc", description="reach of a survey")


@pytest.fixture
def tbl():
    return QTable({"F555W": [1.0, 2.0] * u.mJy, "F555W_err": [0.1, 0.1] * u.mJy, "reach": [1.0, np.nan] * u.Mpc,
                   "distance_modulus": [30.0, 25.0] * u.mag})


def test_a_column_of_its_name_in_its_unit(tbl):
    values, source, fault = REACH.read(tbl, None)
    np.testing.assert_allclose(values, [1000, np.nan])
    assert (source, fault) == ("column 'reach'", None)


def test_what_is_given_takes_its_place(tbl):
    values, sources, _ = read_covariates(tbl, None, (REACH,), reach=2 * u.Mpc)
    np.testing.assert_allclose(values["reach"], [2000, 2000])
    assert sources["reach"] == "argument"
    with pytest.raises(UnitError, match="needs kpc or no unit"):
        read_covariates(tbl, None, (REACH,), reach=2 * u.mag)


def test_distances_are_told_in_several_ways(tbl):
    values, _, _ = read_covariates(tbl, recognize(Table(tbl)), (Distance(), REACH))
    np.testing.assert_allclose(values["distance"], [10, 1])
    np.testing.assert_allclose(Distance().convert(30 * u.mag), 10)
    with pytest.raises(DistanceError, match="must be positive"):
        Distance().convert([1.0, -1.0])


def test_what_the_model_does_not_take_is_refused(tbl):
    with pytest.raises(DistanceError, match="does not use a distance"):
        read_covariates(tbl, None, (REACH,), distance=10)
