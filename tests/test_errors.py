"""Errors: the row is a number beside the message, so that whoever knows the larger table can add to it."""

import pickle

import numpy as np
import pytest

import clusterpost
from clusterpost.errors import ColumnError, DistanceError, InputError

pytestmark = pytest.mark.usefixtures("exact_by_default")


def test_the_row_is_counted_in_the_larger_table():
    error = ColumnError("column 'a' has no number in row {row}; columns={...} names another", row=np.int64(2))
    assert str(error) == "column 'a' has no number in row 2; columns={...} names another"
    moved = error.moved("b.parquet: ", 40)
    assert type(moved) is ColumnError
    assert moved.row == 42
    assert str(moved) == "b.parquet: column 'a' has no number in row 42; columns={...} names another"
    assert str(InputError("no {row}").moved("c: ", 3)) == "c: no {row}"


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(DistanceError("in row {row}", row=5)))
    assert (type(error), error.row, str(error)) == (DistanceError, 5, "in row 5")


def test_what_reading_raises_tells_the_row(clusters):
    tbl = clusters.copy()
    with pytest.raises(DistanceError, match="in row 3;") as caught:
        clusterpost.infer_table(tbl, distance=[1.0, 1.0, 1.0, -1.0, *[1.0] * (len(tbl) - 4)])
    assert caught.value.row == 3
