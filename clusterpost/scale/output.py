"""Columns of a Parquet file that is written in parts, with the columns of the whole table in each part."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table, TableMergeError, vstack
from astropy.table.serialize import represent_mixins_as_columns
from astropy.utils.data_info import serialize_context_as

from ..errors import InputError
from ..utils import require

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow

__all__ = ["join_samples", "sample", "schema_of", "write_rows"]


def sample(tbl: Table) -> Table:
    """Return the first row and, for each masked column, a masked row, without which no mask would be written."""
    rows = {0}
    for column in tbl.itercols():
        mask = np.asarray(getattr(column, "mask", False))
        if mask.dtype == bool and mask.shape[:1] == (len(tbl),) and mask.any():
            rows.add(int(np.argmax(mask.reshape(len(tbl), -1).any(axis=1))))
    return tbl[sorted(rows)]


def join_samples(one: Table, two: Table) -> Table:
    """Return a combined sample of two chunks, with the ``meta``, units and descriptions of the first.

    Raises
    ------
    InputError
        If they do not have the same columns.
    """
    if one.colnames != two.colnames:
        other = sorted(set(one.colnames) ^ set(two.colnames)) or two.colnames
        raise InputError(f"parts of the catalog differ in their columns ({', '.join(map(repr, other[:5]))}); "
                         "all parts need the same columns")
    try:
        both = vstack([one, two], metadata_conflicts="silent")
    except TableMergeError as error:
        raise InputError(f"parts of the catalog differ in their columns: {error}") from error
    both.meta = one.meta
    for name in both.colnames:
        both[name].info.meta = one[name].info.meta
    return sample(both)


def schema_of(tbl: Table) -> pyarrow.Schema:
    """Return the arrow schema that astropy writes for a table: types, units, descriptions and meta."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sample.parquet"
        tbl.write(path, format="parquet")
        return require("pyarrow.parquet", "scale").read_schema(path)


def write_rows(tbl: Table, path: Path, schema: pyarrow.Schema) -> None:
    """Write a part of a table with the columns of the whole."""
    require("pyarrow.parquet", "scale").write_table(_as_arrow(tbl, schema), path)


def _as_arrow(tbl, schema):
    """Convert as astropy does, but without its small array per row for columns of arrays, which is slow."""
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
        else:  # the mask of a column without masked values in these rows
            no = pyarrow.scalar([False] * column.type.list_size if fixed else False, column.type)
            arrays.append(pyarrow.repeat(no, len(tbl)))
    return pyarrow.Table.from_arrays(arrays, schema=schema)
