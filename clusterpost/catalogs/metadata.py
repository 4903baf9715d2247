"""What a table's ``meta`` says of how it was read, under keys that fit into a FITS header."""

from __future__ import annotations

import json

__all__ = ["COLUMNS_KEY", "DISTANCE_KEY", "FLOOR_COLUMNS_KEY", "FLOOR_KEY", "LAYOUT_KEY", "LEVELS_KEY", "MISSING_KEY",
           "READ_KEY", "UNIT_KEY", "meta_value", "recorded_columns", "was_read", "written_columns"]

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


def meta_value(tbl, *keys):
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


def was_read(tbl) -> bool:
    """Return whether `~clusterpost.read_catalog` wrote the canonical columns of a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    bool
    """
    return str(meta_value(tbl, READ_KEY)).lower() in ("true", "t", "1")


def written_columns(bands) -> str:
    """Write down the columns of bands as a value of meta.

    Parameters
    ----------
    bands : dict of str to BandColumns

    Returns
    -------
    str
    """
    return json.dumps({band: [c for c in (names.flux, names.error, names.limit) if c] for band, names in bands.items()})


def recorded_columns(tbl) -> dict:
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
