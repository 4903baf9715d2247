"""The columns of a Parquet file that is written in parts: those of the whole table, in each of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Table, TableMergeError, vstack
from astropy.table.serialize import represent_mixins_as_columns
from astropy.utils.data_info import serialize_context_as

from ..errors import InputError
from ..utils import require

__all__ = ["join_samples", "sample", "schema_of", "write_rows"]


def sample(tbl) -> Table:
    """A few rows that show how a table's columns are written.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    `~astropy.table.Table`
        The first row, and one with a mask for each column that has one: without a masked row,
        a column is written without its mask.
    """
    rows = {0}
    for column in tbl.itercols():
        mask = np.asarray(getattr(column, "mask", False))
        if mask.dtype == bool and mask.shape[:1] == (len(tbl),) and mask.any():
            rows.add(int(np.argmax(mask.reshape(len(tbl), -1).any(axis=1))))
    return tbl[sorted(rows)]


def join_samples(one, two) -> Table:
    """A sample of two parts together.

    Parameters
    ----------
    one, two : `~astropy.table.Table`
        As from `sample`.

    Returns
    -------
    `~astropy.table.Table`
        Its ``meta``, units and descriptions are those of the first.

    Raises
    ------
    InputError
        If they have not the same columns.
    """
    if one.colnames != two.colnames:
        other = sorted(set(one.colnames) ^ set(two.colnames)) or two.colnames
        raise InputError(f"parts of the catalog differ in their columns ({', '.join(map(repr, other[:5]))}); "
                         "give them the same")
    try:
        both = vstack([one, two], metadata_conflicts="silent")
    except TableMergeError as error:
        raise InputError(f"parts of the catalog differ in their columns: {error}") from error
    both.meta = one.meta
    for name in both.colnames:
        both[name].info.meta = one[name].info.meta
    return sample(both)


def schema_of(tbl):
    """The arrow schema that a table is written with: types, units, descriptions and meta.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    pyarrow.Schema
    """
    with tempfile.TemporaryDirectory() as folder:
        tbl.write(Path(folder) / "sample.parquet", format="parquet")
        return require("pyarrow.parquet", "scale").read_schema(Path(folder) / "sample.parquet")


def write_rows(tbl, path, schema):
    """Write a part of a table, whole or not at all, with the columns of the whole.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    path : `~pathlib.Path`
    schema : pyarrow.Schema
    """
    fresh = path.with_name(f"{path.name}.new")
    require("pyarrow.parquet", "scale").write_table(_as_arrow(tbl, schema), fresh)
    os.replace(fresh, path)


def _as_arrow(tbl, schema):
    """As astropy writes it, which makes a small array of each row of a column of arrays, and takes its time."""
    pyarrow = require("pyarrow", "scale")
    with serialize_context_as("parquet"):
        plain = represent_mixins_as_columns(tbl)
    arrays = []
    for column in schema:
        fixed = pyarrow.types.is_fixed_size_list(column.type)
        if column.name in plain.colnames:
            values = np.asarray(plain[column.name])
            values = values.astype(values.dtype.newbyteorder("<"), copy=False)
            if fixed:
                values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), column.type.list_size)
            arrays.append(pyarrow.array(values).cast(column.type))
        else:  # the mask of a column that has none in these rows
            no = pyarrow.scalar([False] * column.type.list_size if fixed else False, column.type)
            arrays.append(pyarrow.repeat(no, len(tbl)))
    return pyarrow.Table.from_arrays(arrays, schema=schema)
