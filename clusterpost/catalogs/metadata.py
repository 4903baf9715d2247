"""Records in a table's ``meta`` of how it was read, under keys that fit into a FITS header."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["COLUMNS_KEY", "DISTANCE_KEY", "FLOOR_COLUMNS_KEY", "FLOOR_KEY", "LAYOUT_KEY", "LEVELS_KEY", "MISSING_KEY",
           "READ_KEY", "RECORD_KEY", "UNIT_KEY", "as_reading", "meta_value", "recorded_columns", "recorded_entries",
           "recorded_reading", "results_prefix", "was_read", "written_columns"]

#: Name of the layout that was recognized.
LAYOUT_KEY = "CPLAYOUT"
#: Which columns each band was read from, as JSON: ``{"F275W": ["flux column", "error column"]}``.
COLUMNS_KEY = "CPCOLS"
#: True where `~clusterpost.read_catalog` wrote the canonical columns.
READ_KEY = "CPREAD"
#: The unit and the values for missing that were given when a table was inferred without reading it first.
UNIT_KEY, MISSING_KEY = "CPUNIT", "CPMISS"
#: Where the column ``distance`` comes from.
DISTANCE_KEY = "CPDSRC"
#: How mJy and Vega columns disagree, where they do.
LEVELS_KEY = "CPLEVELS"
#: The relative error floor, and the error columns that hold it.
FLOOR_KEY = "ERRFLOOR"
FLOOR_COLUMNS_KEY = "ERRFCOLS"
#: How results were made, as JSON, by their prefix.
RECORD_KEY = "CPRECORD"


def meta_value(tbl: Table, *keys: str) -> Any:
    """Return the first of these keys in a table's meta, in any case.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    *keys : str

    Returns
    -------
    object
        None where there is none.
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
    """Write down the columns of bands as a value of meta.

    Parameters
    ----------
    bands : dict of str to BandColumns

    Returns
    -------
    str
    """
    return json.dumps({band: [c for c in (names.flux, names.error, names.limit) if c] for band, names in bands.items()})


def recorded_columns(tbl: Table) -> dict:
    """Read the columns of bands that a table's meta records.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    dict of str to tuple of str
        As ``columns=`` takes it; empty where nothing is recorded.

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
    except (ValueError, TypeError, AttributeError):  # not there, or another program's
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
        What the user chose, which is returned.

    Returns
    -------
    str
        The empty one where the table has none, or several of which one is empty.

    Raises
    ------
    InputError
        If there are several, none of them empty.
    """
    entries = recorded_entries(tbl)
    if prefix is not None or not entries or "" in entries:
        return prefix or ""
    if len(entries) > 1:
        raise InputError(f"the table has results under the prefixes {', '.join(map(repr, entries))}; choose one with "
                         "option:prefix")
    return next(iter(entries))


def recorded_reading(tbl: Table) -> dict:
    """Return how the photometry of a result was read, where its columns do not say it.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    dict
        Options of `~clusterpost.read_catalog`; empty where nothing is recorded.
    """
    entries = recorded_entries(tbl)
    return as_reading(entries[next(reversed(entries))].get("reading", {})) if entries else {}


def as_reading(values: dict) -> dict:
    """Turn a recorded reading into options of `~clusterpost.read_catalog`."""
    columns = values.get("columns")
    return {**values, "columns": {band: tuple(names) for band, names in columns.items()}} if columns else dict(values)
