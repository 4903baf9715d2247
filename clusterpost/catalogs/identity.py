"""Columns that identify the object of each row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["identifying_columns", "object_names", "rows_with_id"]

# Names of coordinates as a whole word: PHANGS_RA, RAJ2000, dec_deg, X_PIX.
_COORDINATES = {"ra", "dec", "raj2000", "dej2000", "decj2000", "glon", "glat", "lon", "lat", "x", "y"}
# Words in the names of identifier columns, in order of preference.
_NAMES = ("id", "name", "source", "object", "cluster", "galaxy", "designation", "number", "no", "nr")
_SETTINGS = re.compile(r"_(limit|err|flag)$|^(flag|n_modes|n_bands)$")


def identifying_columns(tbl: Table, taken: Sequence[str], prefix: str | None = None) -> QTable:
    """Return the columns that identify the rows of a table.

    They are columns of text or whole numbers, and coordinates (by name, by UCD, or a column of sky coordinates), with
    one value per row.  Columns of photometry and of results are left out.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    taken : sequence of str
        Reserved names; a column with such a name is renamed with ``_input`` appended.
    prefix : str, optional
        Prefix of the results in the table.

    Returns
    -------
    `~astropy.table.QTable`
        Table of these columns, without meta.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.identity import identifying_columns
    >>> tbl = Table({"id": [7], "RA": [24.1], "F555W": [0.1], "flag": [0]})
    >>> identifying_columns(tbl, ["flag"]).colnames
    ['id', 'RA']
    """
    out = QTable()
    for name in tbl.colnames:
        if _identifies(tbl[name], name.removeprefix(prefix or "")):
            out[f"{name}_input" if name in taken else name] = tbl[name]
    return out


def rows_with_id(tbl: Table, identifier: str) -> np.ndarray:
    """Find the rows with an identifier.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    identifier : str
        Value to find in the columns of text or whole numbers; of the columns that have it, the one with the fewest
        matching rows is used.

    Returns
    -------
    ndarray of int
        Row numbers, empty if no column has the value.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.identity import rows_with_id
    >>> rows_with_id(Table({"id": [7, 8], "class": [1, 1]}), "8").tolist()
    [1]
    """
    found = []
    for name in tbl.colnames:
        if not _identifies(tbl[name], name) or getattr(tbl[name], "dtype", np.dtype(float)).kind == "f":
            continue
        values = np.char.strip(np.asarray(np.ma.filled(np.ma.asarray(tbl[name]).astype(str), "")))
        rows = np.flatnonzero(values == str(identifier).strip())
        found += [rows] if len(rows) else []
    return min(found, key=len, default=np.array([], int))


def object_names(tbl: Table) -> tuple[str | None, list[str]]:
    """Return names of the objects of a table, for figures and reports.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    column : str or None
        Column of identifiers, of text or whole numbers, with a word such as ``id`` or ``name`` in its name, preferably
        with unique values; None if there is none.
    names : list of str
        The identifier of each row, or ``row 0`` and so on.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.identity import object_names
    >>> object_names(Table({"PHANGS_ID": [7, 8], "class": [1, 1]}))
    ('PHANGS_ID', ['7', '8'])
    >>> object_names(Table({"F555W": [0.1]}))
    (None, ['row 0'])
    """
    found = []
    for name in tbl.colnames:
        words = [word for word in re.split(r"[\W_]+", name.lower()) if word in _NAMES]
        if not words or not _identifies(tbl[name], name) or hasattr(tbl[name], "transform_to"):
            continue
        if getattr(tbl[name], "dtype", np.dtype(float)).kind == "f":
            continue
        values = [str(value).strip() for value in np.ma.filled(np.ma.asarray(tbl[name]).astype(str), "")]
        found.append((len(set(values)) < len(values), min(map(_NAMES.index, words)), name, values))
    if not found:
        return None, [f"row {i}" for i in range(len(tbl))]
    *_, name, values = min(found, key=lambda each: each[:2])
    return name, [value or f"row {i}" for i, value in enumerate(values)]


def _identifies(column, name):
    if _SETTINGS.search(name) or getattr(column, "shape", (0,))[1:]:
        return False
    if hasattr(column, "transform_to"):  # sky coordinates
        return True
    words = set(re.split(r"[\W_]+", name.lower()))
    ucd = str((getattr(column.info, "meta", None) or {}).get("ucd", ""))
    if words & _COORDINATES or ucd.startswith(("pos.eq", "pos.galactic", "pos.cartesian")):
        return True
    kind = np.asarray(getattr(column, "value", column)).dtype.kind
    texts = kind == "O" and all(isinstance(value, str) for value in column)
    return getattr(column, "unit", None) is None and (kind in "iuUS" or texts)
