"""What reading leaves in a table's ``meta``, under keys that fit into a FITS header."""

from __future__ import annotations

__all__ = ["COLUMNS_KEY", "DISTANCE_KEY", "FLOOR_COLUMNS_KEY", "FLOOR_KEY", "LAYOUT_KEY", "LEVELS_KEY", "meta_value"]

#: Name of the layout that was recognized.
LAYOUT_KEY = "CPLAYOUT"
#: Which columns each band was read from; only `~clusterpost.read_catalog` writes it.
COLUMNS_KEY = "CPCOLS"
#: Where the column ``distance`` comes from.
DISTANCE_KEY = "CPDSRC"
#: How mJy and Vega columns disagree, where they do.
LEVELS_KEY = "CPLEVELS"
#: The relative error floor, and the error columns that hold it.
FLOOR_KEY = "ERRFLOOR"
FLOOR_COLUMNS_KEY = "ERRFCOLS"


def meta_value(tbl, *keys):
    """The first of these keys in a table's meta, in any case; None where there is none.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    *keys : str

    Returns
    -------
    object
    """
    upper = {str(key).upper(): value for key, value in tbl.meta.items()}
    return next((upper[key.upper()] for key in keys if upper.get(key.upper()) is not None), None)
