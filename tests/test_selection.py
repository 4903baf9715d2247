"""Rows chosen by an expression."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table

from clusterpost.errors import ColumnError, InputError
from clusterpost.selection import column_names, row_numbers, select_rows


@pytest.fixture
def tbl():
    out = Table({"class": [1, 2, 3, 0], "age_q50": [5.0, 400.0, 8.0, np.nan], "flag": [0, 2, 256, 1],
                 "name": ["a", "b", "c", "d"], "age_q2.5": [1.0, 2.0, 3.0, 4.0],
                 "modes": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]})
    out["m"] = MaskedColumn([1, 2, 3, 4], mask=[False, True, False, False])
    return out


@pytest.mark.parametrize(("expression", "rows"), [
    ("class <= 2", [0, 1, 3]),
    ("`class` in (1, 2)", [0, 1]),
    ("class not in (1, 2)", [2, 3]),
    ("good", [0, 1]),
    ("good and class == 2", [1]),
    ("not good", [2, 3]),
    ("1 < age_q50 < 10", [0, 2]),
    ("age_q50 != 5", [1, 2]),
    ("(flag & 256) == 256", [2]),
    ("log10(age_q50) > 2", [1]),
    ("`age_q2.5` * 2 >= 6", [2, 3]),
    ("name == 'b'", [1]),
    ("name in ['a', 'c']", [0, 2]),
    ("modes[0] > 3", [2, 3]),
    ("modes[-1] < 5", [0, 1]),
    ("m >= 1", [0, 2, 3]),
    ("isfinite(age_q50)", [0, 1, 2]),
    ("-age_q50 + 10 > 0", [0, 2]),
    ("True", [0, 1, 2, 3]),
    ("age_q50 < 10.5", [0, 2]),
    ("0.5 < m / 2.0", [2, 3]),
    ("`age_q2.5` != 2.0", [0, 2, 3]),
])
def test_expressions(tbl, expression, rows):
    assert np.flatnonzero(select_rows(tbl, expression)).tolist() == rows


def test_units_are_those_of_the_columns():
    assert select_rows(QTable({"age": [1, 100] * u.Myr}), "age > 10").tolist() == [False, True]


@pytest.mark.parametrize("expression", [
    "__import__('os').system('true')", "().__class__", "age_q50.max() > 1", "[x for x in class]", "lambda: 1",
    "open('x')", "abs(age_q50, 1)", "f'{name}'", "age_q50 if good else 1", "(age_q50 := 3) > 1", "class <", "",
    "age_q50 > 1; 2", "9" * 20_000, "name > 3", "age_q50 is None",
    "age_q50 and good", "age_q50 + name > 3", "age_q50", "modes > 3", "modes[9] > 1", "age_q50[0] > 1",
])
def test_nothing_else_is_evaluated(tbl, expression):
    with pytest.raises(InputError):
        select_rows(tbl, expression)


def test_unknown_columns_are_named(tbl):
    with pytest.raises(ColumnError, match=r"a column 'age_q5' that is not in the table \(did you mean 'age_q50'"):
        select_rows(tbl, "age_q5 > 3")


def test_names_in_an_expression():
    assert column_names("class <= 2 and log10(`age_q2.5`) > 1 and good") == {"class", "age_q2.5", "good"}


@pytest.mark.parametrize(("where", "rows"), [
    (None, [0, 1, 2, 3]),
    ("class <= 2", [0, 1, 3]),
    (np.array([True, False, False, True]), [0, 3]),
    ([True, False, False, True], [0, 3]),
    (MaskedColumn([True, True, False, False], mask=[False, True, False, False]), [0]),
    ([2, 0, 2], [2, 0, 2]),
    ([-1, 1], [3, 1]),
    (2, [2]),
    (slice(1, 3), [1, 2]),
    ([], []),
])
def test_rows_in_any_form(tbl, where, rows):
    assert row_numbers(tbl, where).tolist() == rows


@pytest.mark.parametrize(("where", "message"), [
    (np.ones(3, bool), r"where= is a mask of shape \(3,\) for a table of length 4; give one True or False"),
    (np.ones((4, 1), bool), r"where= is a mask of shape \(4, 1\) for a table of length 4"),
    ([0, 99], "where= contains row 99, which does not exist; the table has 4 rows, counted from 0"),
    (-5, "where= contains row -5, which does not exist"),
    ([0.5], r"where= is \[0.5\]; give True or False for each of the 4 rows, numbers of rows, or an expression"),
    ([[0, 1]], "numbers of rows, or an expression"),
])
def test_rows_that_do_not_exist_are_refused(tbl, where, message):
    with pytest.raises(InputError, match=message):
        row_numbers(tbl, where)
    with pytest.raises(InputError, match=r"^examples="):
        row_numbers(tbl, where, option="examples")
