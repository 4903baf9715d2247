"""Selection of table rows by an expression of its columns.

The expression is parsed and each node is checked against a short list of allowed operations; nothing is evaluated
as Python.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from typing import Any

import numpy as np
from astropy.table import Table

from .errors import ColumnError, InputError, shown
from .flags import flag_values, is_good

__all__ = ["column_names", "row_mask", "row_numbers", "select_rows"]

_COMPARE = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
            ast.Eq: operator.eq, ast.NotEq: operator.ne}
_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
           ast.Pow: operator.pow, ast.BitAnd: operator.and_, ast.BitOr: operator.or_}
_UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert, ast.Not: np.logical_not}
_FUNCTIONS = {"abs": np.abs, "log10": np.log10, "sqrt": np.sqrt, "isfinite": np.isfinite}
_GOOD = "good"
_QUOTED = re.compile(r"`([^`]+)`")
_LONGEST = 10_000


def select_rows(tbl: Table, expression: str, *, prefix: str | None = None) -> np.ndarray:
    """Return the rows for which an expression is true.

    .. versionadded:: 0.2

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    expression : str
        Expression of column names, numbers, and quoted strings with ``< <= > >= == !=``, ``in (...)``, ``and or not``,
        ``+ - * / **``, ``& | ~`` and the functions abs, log10, sqrt, and isfinite; ``good`` stands for
        `~clusterpost.is_good`.  Put names with other characters between backticks; ``age_modes[0]`` is the
        first element of an array.  Numbers are in the column's unit.
    prefix : str, optional
        Prefix of the results for ``good``, if the table has several.

    Returns
    -------
    ndarray of bool (n,)
        False if a value is missing.

    Raises
    ------
    InputError
        If the expression contains anything else, or its value is not boolean.
    ColumnError
        If it contains a column that the table does not have.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.selection import select_rows
    >>> tbl = Table({"class": [1, 2, 3], "age_q50": [5.0, 400.0, 8.0]})
    >>> select_rows(tbl, "`class` in (1, 2) and age_q50 < 10").tolist()
    [True, False, False]
    """
    tree, names = _parsed(expression)
    with np.errstate(all="ignore"):
        result = np.asarray(_Evaluation(tbl, names, expression, prefix).value(tree))
    if result.shape not in ((), (len(tbl),)) or result.dtype != bool:
        raise InputError(f"{expression!r} is not true or false for each row; compare columns with numbers, as in "
                         "'age_q50 < 10'")
    return np.broadcast_to(result, len(tbl)).copy()


def column_names(expression: str) -> set[str]:
    """Return the names of the columns that an expression uses; ``good`` is one of them if it does.

    .. versionadded:: 0.2

    Parameters
    ----------
    expression : str

    Returns
    -------
    set of str

    Examples
    --------
    >>> from clusterpost.selection import column_names
    >>> sorted(column_names("good and `class` in (1, 2) and log10(age_q50) < 1"))
    ['age_q50', 'class', 'good']
    """
    tree, names = _parsed(expression)
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {names.get(node.id, node.id) for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called}


def row_numbers(tbl: Table, where: Any = None, *, prefix: str | None = None, option: str = "where") -> np.ndarray:
    """Return the numbers of the rows that a selection of any form names.

    .. versionadded:: 0.2

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    where : str, slice, array of bool (n,), array of int (m,), or None
        Expression as for `select_rows`, or a mask, or row numbers, of which negative ones count from the end; by
        default all rows.  Masked values of a mask are False.
    prefix : str, optional
        As for `select_rows`.
    option : str
        Name of the option, for messages.

    Returns
    -------
    ndarray of int (m,)
        Not negative; in the order of ``where`` if it has row numbers.

    Raises
    ------
    InputError
        If a mask does not have one value per row, or a row does not exist.
    ColumnError
        If an expression contains a column that the table does not have.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.selection import row_numbers
    >>> tbl = Table({"age_q50": [5.0, 400.0, 8.0]})
    >>> [row_numbers(tbl, where).tolist()
    ...  for where in ("age_q50 < 10", [True, True, False], [2, -3], None)]
    [[0, 2], [0, 1], [2, 0], [0, 1, 2]]
    """
    n = len(tbl)
    if where is None or isinstance(where, slice):
        return np.arange(n)[where or slice(None)]
    if isinstance(where, str):
        return np.flatnonzero(select_rows(tbl, where, prefix=prefix))
    rows = np.ma.asarray(where)
    if rows.dtype == bool:
        if rows.shape != (n,):
            raise InputError(f"option:{option} is a mask of shape {rows.shape} for a table of length {n}; give one "
                             "True or False for each row, or the numbers of the rows")
        return np.flatnonzero(rows.filled(False))
    if not rows.size and rows.ndim == 1:
        return np.zeros(0, int)
    if rows.dtype.kind not in "iu" or rows.ndim > 1 or np.ma.is_masked(rows):
        raise InputError(f"option:{option} is {shown(where)}; give True or False for each of the {n} rows, numbers of "
                         "rows, or an expression such as 'age_q50 < 10'")
    rows = np.atleast_1d(rows.data).astype(int)
    beyond = rows[(rows < -n) | (rows >= n)]
    if len(beyond):
        raise InputError(f"option:{option} contains row {beyond[0]}, which does not exist; the table has {n} rows, "
                         "counted from 0")
    return rows % max(n, 1)


def row_mask(tbl: Table, where: Any = None, *, prefix: str | None = None) -> np.ndarray:
    """Return which rows a selection of any form contains.

    .. versionadded:: 0.2

    Parameters
    ----------
    tbl, where, prefix
        As for `row_numbers`, with the same errors.

    Returns
    -------
    ndarray of bool (n,)

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.selection import row_mask
    >>> row_mask(Table({"age_q50": [5.0, 400.0, 8.0]}), [2, -3]).tolist()
    [True, False, True]
    """
    return np.isin(np.arange(len(tbl)), row_numbers(tbl, where, prefix=prefix))


def _parsed(expression):
    """Return the syntax tree of the expression and the names between backticks."""
    names = {}

    def placeholder(match):
        key = f"_quoted_{len(names)}_"
        names[key] = match[1]
        return key

    # A column may have the name of a Python keyword, as "class" in many catalogs.
    text = re.sub(r"(?<![\w`.'\"])class(?![\w`'\"])", "`class`", expression.strip())
    text = _QUOTED.sub(placeholder, text)
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        return ast.parse(text, mode="eval").body, names
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{expression[:200]!r} cannot be understood; write for example 'class <= 2 and age_q50 < 10', "
                         "and names with other characters between backticks: '`age_q2.5` < 3'") from None


class _Evaluation:
    """Values of an expression's parts for one table."""

    def __init__(self, tbl, names, expression, prefix):
        self.tbl, self.names, self.expression, self.prefix = tbl, names, expression, prefix
        self.missing = np.zeros(len(tbl), bool)

    def value(self, node):
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.Name():
                return self._column(self.names.get(node.id, node.id))
            case ast.Tuple() | ast.List():
                return [self.value(part) for part in node.elts]
            case ast.Subscript(slice=ast.Constant(value=int() as index)):
                return self._element(self.value(node.value), index)
            case ast.Subscript(slice=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as index))):
                return self._element(self.value(node.value), -index)
            case ast.UnaryOp() if type(node.op) in _UNARY:
                return self._applied(_UNARY[type(node.op)], node.operand)
            case ast.BinOp() if type(node.op) in _BINARY:
                return self._applied(_BINARY[type(node.op)], node.left, node.right)
            case ast.BoolOp():
                together = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                return together.reduce([np.broadcast_to(self._truth(part), len(self.tbl)) for part in node.values])
            case ast.Compare():
                return self._compared(node)
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS and len(node.args) == 1:
                return self._applied(_FUNCTIONS[name], node.args[0])
        raise InputError(f"{self.expression!r} contains {ast.unparse(node)!r}, which is not allowed in an expression; "
                         f"use columns, numbers, strings, comparisons, and, or, not, in, arithmetic, and "
                         f"{', '.join(_FUNCTIONS)}")

    def _column(self, name):
        if name == _GOOD and name not in self.tbl.colnames:
            return is_good(flag_values(self.tbl, self.prefix))
        if name not in self.tbl.colnames:
            close = difflib.get_close_matches(name, [*self.tbl.colnames, _GOOD], n=1)
            raise ColumnError(f"{self.expression!r} contains a column {name!r} that is not in the table"
                              + (f" (did you mean {close[0]!r}?)" if close else ""))
        column = self.tbl[name]
        mask = np.asarray(getattr(column, "mask", False))
        plain = np.ma.getdata(getattr(column, "unmasked", column))
        values = np.asarray(getattr(plain, "value", plain))
        if mask.any():
            values = values.astype(float) if values.dtype.kind in "iuf" else values.astype(object)
            values[mask] = np.nan if values.dtype.kind == "f" else None
        return values.astype(str) if values.dtype.kind == "S" else values

    def _element(self, values, index):
        if np.ndim(values) < 2 or not -values.shape[-1] <= index < values.shape[-1]:
            raise InputError(f"{self.expression!r} uses element {index}, which does not exist")
        return values[..., index]

    def _applied(self, function, *nodes):
        values = [self.value(node) for node in nodes]
        try:
            return function(*(np.asarray(value) for value in values))
        except (TypeError, ValueError):
            raise InputError(f"{self.expression!r}: cannot compute with {' and '.join(map(ast.unparse, nodes))}; use "
                             "numbers") from None

    def _truth(self, node):
        value = np.asarray(self.value(node))
        if value.dtype != bool:
            raise InputError(f"{self.expression!r}: {ast.unparse(node)!r} is not true or false; compare it with "
                             "a value")
        return value

    def _compared(self, node):
        values = [self.value(part) for part in (node.left, *node.comparators)]
        parts = [self._pair(op, left, right)
                 for op, left, right in zip(node.ops, values[:-1], values[1:], strict=True)]
        return np.logical_and.reduce([np.broadcast_to(part, len(self.tbl)) for part in parts])

    def _pair(self, op, left, right):
        if isinstance(op, ast.In | ast.NotIn):
            found = np.isin(np.asarray(left), np.asarray(right))
            return found if isinstance(op, ast.In) else ~found
        if type(op) not in _COMPARE:
            raise InputError(f"{self.expression!r} has a comparison that is not allowed; use < <= > >= == != or in")
        left, right = np.asarray(left), np.asarray(right)
        if left.ndim > 1 or right.ndim > 1:
            raise InputError(f"{self.expression!r} compares a column of arrays; use one element, as in "
                             "'age_modes[0] < 10'")
        if (left.dtype.kind in "UO") != (right.dtype.kind in "UO"):
            raise InputError(f"{self.expression!r} compares strings with numbers; quote strings, but not numbers")
        result = np.asarray(_COMPARE[type(op)](left, right), dtype=bool)
        for values in (left, right):
            if values.dtype.kind == "f":
                result = result & ~np.isnan(values)
        return result
