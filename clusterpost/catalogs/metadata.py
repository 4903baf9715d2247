"""Records of the reading of a table in its ``meta``, under keys that fit into a FITS header."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["COLUMNS_KEY", "DISTANCE_KEY", "FLOOR_COLUMNS_KEY", "FLOOR_KEY", "LAYOUT_KEY", "LEVELS_KEY", "MISSING_KEY",
           "READ_KEY", "RECORD_KEY", "UNIT_KEY", "as_reading", "meta_value", "recorded_columns", "recorded_entries",
           "recorded_reading", "results_prefix", "was_read", "written_columns"]

#: Name of the recognized layout.
LAYOUT_KEY = "CPLAYOUT"
#: Columns of each band, as JSON: ``{"F275W": ["flux column", "error column"]}``.
COLUMNS_KEY = "CPCOLS"
#: True where `~clusterpost.read_catalog` wrote the canonical columns.
READ_KEY = "CPREAD"
#: Unit and missing values given to an inference of a table that was not read before.
UNIT_KEY, MISSING_KEY = "CPUNIT", "CPMISS"
#: Source of the column ``distance``.
DISTANCE_KEY = "CPDSRC"
#: Disagreements of mJy and Vega columns.
LEVELS_KEY = "CPLEVELS"
#: Relative error floor, and the error columns that include it.
FLOOR_KEY = "ERRFLOOR"
FLOOR_COLUMNS_KEY = "ERRFCOLS"
#: Settings of results, as JSON, by their prefix.
RECORD_KEY = "CPRECORD"


def meta_value(tbl: Table, *keys: str) -> Any:
    """Return the value of the first of these keys in a table's meta, ignoring case.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    *keys : str

    Returns
    -------
    object
        Value, or None if there is none.
    """
    upper = {str(key).upper(): value for key, value in tbl.meta.items()}
    return next((upper[key.upper()] for key in keys if upper.get(key.upper()) is not None), None)


def was_read(tbl: Table) -> bool:
    """Return whether `~clusterpost.read_catalog` wrote the canonical columns of a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    bool
    """
    return str(meta_value(tbl, READ_KEY)).lower() in ("true", "t", "1")


def written_columns(bands: dict) -> str:
    """Encode the columns of bands as a value of meta.

    Parameters
    ----------
    bands : dict of str to BandColumns

    Returns
    -------
    str
    """
    return json.dumps({band: [c for c in (names.flux, names.error, names.limit) if c] for band, names in bands.items()})


def recorded_columns(tbl: Table) -> dict:
    """Return the columns of bands recorded in a table's meta.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    dict of str to tuple of str
        Value for ``columns=``; empty without a record.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.metadata import recorded_columns
    >>> recorded_columns(Table(meta={"CPCOLS": '{"F275W": ["nuv", "nuv_err"]}'}))
    {'F275W': ('nuv', 'nuv_err')}
    """
    try:
        found = json.loads(str(meta_value(tbl, COLUMNS_KEY)))
        return {str(band): tuple(map(str, names)) for band, names in found.items()}
    except (ValueError, TypeError, AttributeError):  # missing, or written by another program
        return {}


def recorded_entries(tbl: Table) -> dict:
    """Return the records of the results in a table, by the prefix of their columns."""
    text = meta_value(tbl, RECORD_KEY)
    return {} if text is None else json.loads(str(text))


def results_prefix(tbl: Table, prefix: str | None = None) -> str:
    """Return the prefix of the results in a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    prefix : str, optional
        Prefix chosen by the user, which is returned unchanged.

    Returns
    -------
    str
        Prefix; empty if the table has no results, or several of which one has the empty prefix.

    Raises
    ------
    InputError
        If there are several prefixes, none of them empty.
    """
    entries = recorded_entries(tbl)
    if prefix is not None or not entries or "" in entries:
        return prefix or ""
    if len(entries) > 1:
        raise InputError(f"the table has results under the prefixes {', '.join(map(repr, entries))}; choose one with "
                         "option:prefix")
    return next(iter(entries))


def recorded_reading(tbl: Table) -> dict:
    """Return the recorded reading options of a result's photometry.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    dict
        Options of `~clusterpost.read_catalog`; empty without a record.
    """
    entries = recorded_entries(tbl)
    return as_reading(entries[next(reversed(entries))].get("reading", {})) if entries else {}


def as_reading(values: dict) -> dict:
    """Convert a recorded reading to options of `~clusterpost.read_catalog`."""
    columns = values.get("columns")
    return {**values, "columns": {band: tuple(names) for band, names in columns.items()}} if columns else dict(values)
