"""Table of all bands and the models that support them."""

from __future__ import annotations

import astropy.units as u
from astropy.table import QTable

from .bands import BANDS
from .flow.bundled import list_models

__all__ = ["list_bands"]


def list_bands() -> QTable:
    """List all bands.

    .. versionadded:: 0.2

    Returns
    -------
    `~astropy.table.QTable`
        ``name``, ``instrument``, ``pivot`` wavelength, ``ab_minus_vega`` magnitude, ``aliases``, the bundled
        ``models`` that support the band, and the origin of its ``curve``.

    Examples
    --------
    >>> import clusterpost
    >>> bands = clusterpost.list_bands()
    >>> print(bands[bands["name"] == "F160W_IR"]["instrument"][0])
    WFC3/IR
    """
    known = {str(row["name"]): str(row["bands"]).split() for row in list_models()}
    table = QTable(rows=[(b.name, b.instrument, b.pivot, b.ab_minus_vega, ", ".join(b.aliases),
                          ", ".join(model for model, bands in known.items() if b.name in bands), b.curve)
                         for b in BANDS.values()],
                   names=("name", "instrument", "pivot", "ab_minus_vega", "aliases", "models", "curve"))
    table["pivot"], table["ab_minus_vega"] = table["pivot"] * u.AA, table["ab_minus_vega"] * u.mag
    table["pivot"].info.format, table["ab_minus_vega"].info.format = ".1f", "+.3f"
    return table
