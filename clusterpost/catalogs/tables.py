"""Conversion of tables, rows, data frames and file paths to a table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astropy.table import Row, Table

from ..errors import InputError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["as_table"]


def as_table(given: Row | Table | dict, **reading: Any) -> tuple[Table, dict]:
    """Return a table and the remaining options for reading its photometry.

    Parameters
    ----------
    given : `~astropy.table.Table`, `~astropy.table.Row`, `pandas.DataFrame` or path
        A row becomes a table of one row.  A file is read by `~clusterpost.read_catalog`.
    **reading
        ``columns``, ``unit`` and ``missing``, as for `~clusterpost.infer_table`.

    Returns
    -------
    tbl : `~astropy.table.Table`
        Table; the same object if a table was given.
    reading : dict
        Options that remain; none if they were used to read a file.

    Raises
    ------
    InputError
        If ``given`` is none of these types.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.tables import as_table
    >>> tbl = Table({"id": [1, 2, 3]})
    >>> as_table(tbl[1])[0]["id"].tolist()
    [2]
    """
    if isinstance(given, Table):
        return given, reading
    if isinstance(given, Row):
        return given.table[given.index:given.index + 1], reading
    if isinstance(given, str | os.PathLike):
        from .reader import read_catalog

        return read_catalog(given, **reading), {"columns": None, "unit": None, "missing": ()}
    if hasattr(given, "iloc") and hasattr(given, "columns"):
        # An index without a name only counts rows.
        return Table.from_pandas(given, index=any(name is not None for name in given.index.names)), reading
    raise InputError(f"a table is needed, not {type(given).__name__}: give an astropy Table or Row, a pandas "
                     "DataFrame, or the path of a file")
