"""Clusters with ages from resolved stars: the catalogs of M31 of the PHAT survey.

The photometry is from Johnson et al. (2015, ApJ 802, 127; CDS J/ApJ/802/127, ``table2``): aperture-corrected Vega
magnitudes in six bands.  Ages and masses from color-magnitude diagrams are from Johnson et al. (2016, ApJ 827, 33; CDS
J/ApJ/827/33, ``table4``).  Download both from CDS in any format that astropy reads; this package does not fetch them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column, Table

from ..errors import ColumnError, InputError
from .columns import find, needed, some
from .files import read_table
from .metadata import UNIT_KEY
from .values import numbers, plain, truths

__all__ = ["read_phat"]

# Bands of the survey by their names in its catalogs.
_BANDS = {"F275W": "F275W", "F336W": "F336W", "F475W": "F475W_ACS", "F814W": "F814W_ACS", "F110W": "F110W_IR",
          "F160W": "F160W_IR"}
_DISTANCE = 0.776  # Mpc, modulus 24.45 (Dalcanton et al. 2012), as in both papers
_LIMIT_ERROR = 2.5 / np.log(10) / 3  # mag; limits have no error in the catalog and are three-sigma limits
_LEAST_ERROR = 0.005  # mag; smaller errors are zero in the catalog
_KNOWN = {"logAge": "log10 age/yr of the color-magnitude diagram",
          "logMass": "log10 mass/Msun of the color-magnitude diagram"}


def read_phat(photometry: Any, ages: Any = None) -> Table:
    """Read the star clusters of M31 of the PHAT survey, with the ages of their resolved stars.

    Parameters
    ----------
    photometry : path or `~astropy.table.Table`
        ``table2`` of J/ApJ/802/127: ``APID``, ``F275W``, ``e_F275W``, ``l_F275W`` ... .  A table is copied.
    ages : path or `~astropy.table.Table`, optional
        ``table4`` of J/ApJ/827/33: ``APID``, ``logAge``, ``logMass`` and their ranges, ``b_logAge`` to ``B_logAge``.

    Returns
    -------
    `~astropy.table.Table`
        All columns of the photometry, with the names of bands in this package (Vega magnitudes; ``F475W_ACS`` ...,
        ``_err``, ``_limit``; three-sigma limits, errors of at least 0.005), ``distance`` (Mpc), and ``log_age_cmd``
        and ``log_mass_cmd`` with ranges ``_lo`` and ``_hi``, NaN for clusters without them.

    Raises
    ------
    InputError
        If a file is missing or cannot be read.
    ColumnError
        If the columns do not match the catalogs.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs import read_phat
    >>> bands = ("F275W", "F336W", "F475W", "F814W")
    >>> phat = Table({"APID": [7]} | {b: [20.5] for b in bands}
    ...              | {f"e_{b}": [0.1] for b in bands})
    >>> diagram = Table({"APID": [7], "logAge": [8.2], "b_logAge": [7.9],
    ...                  "B_logAge": [8.2], "logMass": [3.16],
    ...                  "b_logMass": [3.12], "B_logMass": [3.16]})
    >>> clusters = read_phat(phat, diagram)
    >>> print(clusters["F475W_ACS"][0], clusters["log_age_cmd"][0])
    20.5 8.2
    """
    tbl = _table(photometry)
    identifier = needed(tbl.colnames, "APID", "AP")
    seen = [name for name in _BANDS if find(tbl.colnames, name) is not None]
    if len(seen) < 2:
        raise ColumnError(f"the table has no photometry of PHAT ({', '.join(_BANDS)}); it has "
                          f"{some(tbl.colnames)}")
    for name in seen:
        _name_band(tbl, name)
    tbl["distance"] = Column(np.full(len(tbl), _DISTANCE), unit=u.Mpc, description="M31 (Dalcanton et al. 2012)")
    tbl.meta[UNIT_KEY] = "Vega"
    if ages is not None:
        _add_ages(tbl, plain(tbl[identifier]), _table(ages))
    return tbl


def _table(source):
    if isinstance(source, Table):
        return source.copy()
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"a catalog is a path or an astropy Table, not {type(source).__name__}")
    return read_table(Path(source).expanduser())


def _name_band(tbl, name):
    """Rename magnitude, error and limit columns to the names that this package reads."""
    band = _BANDS[name]
    magnitude, error = needed(tbl.colnames, name), needed(tbl.colnames, f"e_{name}", f"{name}_err")
    flag = find(tbl.colnames, f"l_{name}", f"{name}_limit")
    limit = np.zeros(len(tbl), bool)
    if flag is not None:
        limit = truths(tbl, flag)
        tbl.remove_column(flag)
        tbl[error] = np.where(limit, _LIMIT_ERROR, numbers(tbl, error))
    tbl[error] = np.maximum(numbers(tbl, error), _LEAST_ERROR)
    tbl.rename_columns([magnitude, error], [band, f"{band}_err"])
    for column in (band, f"{band}_err"):
        tbl[column].unit = u.mag
    tbl[f"{band}_limit"] = Column(limit, description="True where the magnitude is a lower limit")


def _add_ages(tbl, identifiers, ages):
    name = needed(ages.colnames, "APID", "AP")
    rows = {int(number): row for row, number in enumerate(plain(ages[name]))}
    at = np.array([rows.get(int(number), -1) for number in identifiers])
    for column, description in _KNOWN.items():
        short = {"logAge": "log_age_cmd", "logMass": "log_mass_cmd"}[column]
        for source, ending in ((column, ""), (f"b_{column}", "_lo"), (f"B_{column}", "_hi")):
            values = numbers(ages, needed(ages.colnames, source))
            tbl[f"{short}{ending}"] = Column(np.where(at >= 0, values[at], np.nan), description=description)
