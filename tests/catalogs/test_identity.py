"""Columns that tell which object a row is of."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table

from clusterpost.catalogs.identity import identifying_columns


@pytest.mark.parametrize("name", ["RA", "PHANGS_DEC", "raj2000", "ra_deg", "PHANGS_X", "glon"])
def test_coordinates_by_name(name):
    assert identifying_columns(Table({name: [1.5]}), []).colnames == [name]


@pytest.mark.parametrize("name", ["F555W", "radius", "extra", "decline", "mass_q50", "distance"])
def test_numbers_are_none(name):
    assert identifying_columns(Table({name: [1.5]}), []).colnames == []


def test_texts_whole_numbers_and_positions():
    tbl = QTable({"id": [3, 4], "name": ["a", "b"], "class": np.array([1, 2], "i2"), "ok": [True, False],
                  "flag": [0, 1], "p_flag": [0, 1], "F275W_limit": [0, 1], "n_modes": [1, 1], "many": [[1, 2], [3, 4]],
                  "where": SkyCoord([1, 2] * u.deg, [3, 4] * u.deg), "counts": [1, 2] * u.ct})
    tbl["field"] = MaskedColumn(["x", "y"], mask=[True, False])
    assert identifying_columns(tbl, [], "p_").colnames == ["id", "name", "class", "where", "field"]


def test_ucds_count_and_names_do_not_clash():
    tbl = Table({"alpha": [1.0], "age": [12]})
    tbl["alpha"].info.meta = {"ucd": "pos.eq.ra;meta.main"}
    assert identifying_columns(tbl, ["age"]).colnames == ["alpha", "age_input"]
