"""Parquet tables of other software, with any column type, units in a VOTable header, and nulls."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.table import MaskedColumn, Table

from ..errors import InputError, shown
from ..utils import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow

    from ..typing import PathLike

__all__ = ["arrow_table", "parquet_table"]

_VOTABLE_HEADER = b"IVOA.VOTable-Parquet.content"


def parquet_table(path: PathLike) -> Table:
    """Read a Parquet file.

    Parameters
    ----------
    path : path

    Returns
    -------
    `~astropy.table.Table`
        Table made by `arrow_table`.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        parquet = require("pyarrow.parquet", "scale")
    except ImportError as error:
        raise InputError(f"{path}: {error}; or convert the file to FITS or ECSV") from error
    try:
        rows = parquet.read_table(path)
    except Exception as error:  # the reader raises many kinds of errors
        raise InputError(f"{path} cannot be read as Parquet ({shown(str(error))})") from error
    try:
        return arrow_table(rows)
    except InputError as error:
        raise error.moved(f"{path}: ") from None


def arrow_table(rows: pyarrow.Table, names: Sequence[str] | None = None) -> Table:
    """Convert the content of a Parquet file to a table.

    Parameters
    ----------
    rows : pyarrow.Table
    names : sequence of str, optional
        Columns to convert; by default all.

    Returns
    -------
    `~astropy.table.Table`
        Table with the units, descriptions and meta of the file, from astropy or
        the IVOA (VOParquet).  Times, dates and durations become ISO 8601 text,
        categories their values, and lists of text and structures JSON.  Nulls are
        masked, or NaN in floating-point columns.

    Raises
    ------
    InputError
        If the columns cannot be converted.
    """
    pyarrow = require("pyarrow", "scale")
    if names is not None:
        rows = rows.select([name for name in rows.column_names if name in set(names)])
    metadata = dict(rows.schema.metadata or {})
    columns, masks = {}, {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        columns[name], mask = _plain(column)
        if mask is not None:
            masks[name] = mask
        if pyarrow.types.is_string(columns[name].type):
            compute = require("pyarrow.compute", "scale")
            longest = compute.max(compute.utf8_length(columns[name])).as_py() or 1
            metadata.setdefault(f"table::len::{name}".encode(), str(max(longest, 1)).encode())
    try:
        made = pyarrow.table(columns).replace_schema_metadata(metadata)
        buffer = io.BytesIO()
        require("pyarrow.parquet", "scale").write_table(made, buffer, compression="none", use_dictionary=False)
        buffer.seek(0)
        tbl = Table.read(buffer, format="parquet", **({} if names is None else {"include_names": list(columns)}))
    except ImportError as error:
        raise InputError(f"{error}; install it, or convert the file to FITS or ECSV") from error
    except Exception as error:  # the reader raises many kinds of errors
        why = f"{type(error).__name__}: {shown(str(error))}"
        raise InputError(f"the columns cannot be read as a table ({why})") from error
    for name, mask in masks.items():
        if name in tbl.colnames and tbl[name].shape == mask.shape:
            tbl[name] = MaskedColumn(tbl[name], mask=mask)
    _add_units(tbl, metadata.get(_VOTABLE_HEADER))
    return tbl


def _plain(column):
    """Return a column of a type that astropy reads, and its mask if nulls need one."""
    pyarrow, compute = require("pyarrow", "scale"), require("pyarrow.compute", "scale")
    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if types.is_null(kind):
        column = pyarrow.chunked_array([pyarrow.nulls(len(column), pyarrow.string())])
    elif types.is_large_string(kind) or (hasattr(types, "is_string_view") and types.is_string_view(kind)):
        column = column.cast(pyarrow.string())
    elif types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind):
        column = _text(column, lambda value: value.isoformat())
    elif types.is_decimal(kind):
        column = column.cast(pyarrow.float64())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_string(kind)
              or types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
              or _holds_numbers(kind)):
        column = _text(column, lambda value: json.dumps(value, default=str))
    if not column.null_count:
        return column, None
    if types.is_floating(column.type):
        return compute.fill_null(column, float("nan")), None
    if not (types.is_integer(column.type) or types.is_boolean(column.type) or types.is_string(column.type)):
        return _text(column, lambda value: json.dumps(value, default=str)).fill_null(""), None
    mask = np.asarray(column.is_null())
    fill = "" if types.is_string(column.type) else False if types.is_boolean(column.type) else 0
    return compute.fill_null(column, fill), mask


def _holds_numbers(kind):
    types = require("pyarrow", "scale").types
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
        if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
            return True
    return False


def _text(column, write):
    pyarrow = require("pyarrow", "scale")
    texts = [None if value is None else write(value) for value in _values(column)]
    return pyarrow.chunked_array([pyarrow.array(texts, pyarrow.string())])


def _values(column):
    """Return values as Python objects; nanoseconds are truncated to microseconds."""
    pyarrow = require("pyarrow", "scale")
    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
    elif pyarrow.types.is_time64(column.type) and column.type.unit == "ns":
        column = column.cast(pyarrow.time64("us"), safe=False)
    return column.to_pylist()


def _add_units(tbl, header):
    """Return the units and descriptions of a VOTable header (VOParquet)."""
    if header is None or b"<!DOCTYPE" in header.upper() or b"<!ENTITY" in header.upper():
        return
    try:
        root = ElementTree.fromstring(header)
    except ElementTree.ParseError:
        return
    for element in (e for e in root.iter() if e.tag.rsplit("}", 1)[-1] == "FIELD"):
        name = element.get("name") or element.get("ID")
        if name not in tbl.colnames:
            continue
        if element.get("unit") and getattr(tbl[name], "unit", None) is None:
            tbl[name].unit = u.Unit(element.get("unit"), parse_strict="silent")
        described = next((e.text for e in element if e.tag.rsplit("}", 1)[-1] == "DESCRIPTION"), None)
        if described and not tbl[name].info.description:
            tbl[name].info.description = described.strip()
