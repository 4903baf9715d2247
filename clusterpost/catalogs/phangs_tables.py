"""Tables of the PHANGS-HST archive: reading, labeling, joining and stacking."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning

from ..errors import ArchiveError, ColumnError
from .columns import find, some

__all__ = ["ID_COLUMN", "join_tables", "read_fits", "select_classes", "stack_tables", "to_qtable"]

ID_COLUMN = "ID_PHANGS_CLUSTER"
_CLASS_COLUMNS = {"human": "PHANGS_CLUSTER_CLASS_HUMAN", "machine": "PHANGS_CLUSTER_CLASS_ML_VGG"}
_NO_INTEGER = -999  # these tables' own value for missing integers

_FIT = "{}: single-branch maximum-likelihood fit (CIGALE)"
_TREE = "{}: fit chosen by a decision tree of priors"
_PARAMETERS = {"AGE": ("Myr", "Age"), "MASS": ("solMass", "Mass"), "EBV": ("mag", "E(B-V)")}
_LIMITS = {"LIMLO": "lower end of the 1 sigma interval", "LIMHI": "upper end of the 1 sigma interval"}


def _meanings():
    """Yield name patterns, units, and descriptions with the pattern's groups."""
    photometry = "corrected for aperture and Milky Way extinction"
    yield r"PHANGS_(F\d{3}W)_MJY(?:_TOT)?", "mJy", f"Flux density in {{0}}, {photometry}; -9999 = no coverage"
    yield r"PHANGS_(F\d{3}W)_MJY(?:_TOT)?_ERR", "mJy", "Its error in {0}; negative = the flux is an upper limit"
    yield r"PHANGS_(F\d{3}W)_VEGA(?:_TOT)?", "mag", f"Vega magnitude in {{0}}, {photometry}; -9999 = no coverage"
    yield r"PHANGS_(F\d{3}W)_VEGA(?:_TOT)?_ERR", "mag", "Its error in {0}; negative = the magnitude is a limit"
    for name, (unit, what) in _PARAMETERS.items():
        yield rf"PHANGS_{name}_MINCHISQ", unit, f"{_FIT.format(what)}; -999 = no fit"
        yield rf"PHANGS_{name}_MINCHISQ_ERR", unit, f"{_FIT.format(what)}, symmetric error"
        for family in ("PHANGS_SED", "PHANGS_DR5_THILKER25", "SEDfix"):
            yield rf"{family}_{name}", unit, f"{_TREE.format(what)}; -999 = no fit"
            for limit, meaning in _LIMITS.items():
                yield rf"{family}_{name}_{limit}", unit, f"{_TREE.format(what)}, {meaning}"
    yield r"PHANGS_(?:DR5_THILKER25_)?REDUCED_?(?:MIN)?CHISQ(?:_MINCHISQ)?", None, "Reduced chi square of the fit"
    yield r"PHANGS_([XY])", "pix", "Position along {0} in the image, counted from 0"
    yield r"PHANGS_RA", "deg", "Right ascension"
    yield r"PHANGS_DEC", "deg", "Declination"
    yield r"PHANGS_CI", "mag", "Concentration index: magnitude in 1 pixel minus that in 3 pixels, in V"
    yield r"PHANGS_DM", "mag", "Distance modulus"
    yield r"PHANGS_DMPC", "Mpc", "Distance"
    yield r"PHANGS_DERR", "Mpc", "Error of the distance"
    yield r"PHANGS_GALAXY", None, "Galaxy, in the archive's spelling"
    yield r"INDEX", None, "Row in the original table"
    yield ID_COLUMN, None, "Number of the cluster in its target"
    yield r"ID_PHANGS_(CANDIDATE|ALLSOURCES)", None, "Number in the list of {0}"
    yield r"PHANGS_CLUSTER_CLASS_HUMAN", None, "Class by eye: 1, 2 cluster, 3 compact association; NaN = not inspected"
    yield r"PHANGS_CLUSTER_CLASS_ML_VGG", None, "Class by a neural network: 1, 2 cluster, 3 compact association"
    yield r"PHANGS_CLUSTER_CLASS_ML_VGG_QUAL", None, "Estimated accuracy of the neural network's class"
    yield r"PHANGS_NON_DETECTION_FLAG", None, "Number of bands with an upper limit"
    yield r"PHANGS_NO_COVERAGE_FLAG", None, "Number of bands without coverage"


_MEANINGS = [(re.compile(pattern, re.IGNORECASE), unit, text) for pattern, unit, text in _meanings()]


def read_fits(data: str | Path | bytes) -> Table:
    """Read a table of the archive, without masks.

    Parameters
    ----------
    data : path or bytes

    Returns
    -------
    `~astropy.table.Table`
        Table with native numbers and text; undefined FITS values are NaN, -999 or empty.

    Raises
    ------
    ArchiveError
        If the file cannot be read.
    """
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        tbl = Table.read(source, format="fits", mask_invalid=False, unit_parse_strict="silent")
    except Exception as error:  # the reader raises many kinds of errors
        raise ArchiveError(f"a table of the archive cannot be read ({type(error).__name__}: {error})") from error
    tbl.convert_bytestring_to_unicode()
    for name in tbl.colnames:
        column = tbl[name]
        if getattr(column, "mask", None) is not None:
            column = column.filled(_nothing(column))
        tbl[name] = column.astype(column.dtype.newbyteorder("="))
    return tbl


def select_classes(tbl: Table, classifier: str, classes: Sequence[int]) -> Table:
    """Select the rows of some classes.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    classifier : {"human", "machine"}
    classes : sequence of int

    Returns
    -------
    `~astropy.table.Table`

    Raises
    ------
    ColumnError
        If the table has no column of classes.
    """
    name = find(tbl.colnames, _CLASS_COLUMNS[classifier])
    if name is None:
        raise ColumnError(f"the table has no column {_CLASS_COLUMNS[classifier]!r} with classes; it has "
                          f"{some(tbl.colnames)}")
    return tbl[np.isin(np.asarray(tbl[name], dtype=float), classes)]


def join_tables(obs: Table, sed: Table, what: str) -> Table:
    """Join observed and fitted properties of clusters by the cluster's number.

    Parameters
    ----------
    obs, sed : `~astropy.table.Table`
    what : str
        Name of the catalog for messages.

    Returns
    -------
    `~astropy.table.Table`
        The rows of ``obs`` in order, followed by rows in ``sed`` only.  Columns in
        both tables are from ``obs``; different values in ``sed`` are kept in a
        column with the suffix ``_SED``.

    Raises
    ------
    ColumnError
        If the number is missing or not unique.

    Warns
    -----
    AstropyUserWarning
        If a cluster is in one of the tables only, or their photometry differs.
    """
    keys = [find(tbl.colnames, ID_COLUMN) for tbl in (obs, sed)]
    for key, tbl in zip(keys, (obs, sed), strict=True):
        if key is None:
            raise ColumnError(f"{what}: obs and sed are joined on {ID_COLUMN!r}, and one of them lacks it; "
                              f"it has {some(tbl.colnames)}")
    in_obs, in_sed = _matching(np.asarray(obs[keys[0]]), np.asarray(sed[keys[1]]), what)
    if alone := [f"{np.sum(rows < 0)} in {name} only" for rows, name in ((in_sed, "obs"), (in_obs, "sed"))
                 if (rows < 0).any()]:
        warnings.warn(f"{what}: of {len(in_obs)} clusters, {' and '.join(alone)}; their other columns are empty",
                      AstropyUserWarning, stacklevel=2)
    out = Table({name: _take(obs[name], in_obs) for name in obs.colnames}, meta=obs.meta)
    differing = []
    for name in sed.colnames:
        twin = find(obs.colnames, name)
        column = _take(sed[name], in_sed)
        if twin is None:
            out[name] = column
            continue
        only_sed = in_obs < 0
        out[twin][only_sed] = column[only_sed]
        both = ~only_sed & (in_sed >= 0)
        if not _agree(out[twin][both], column[both]):
            out[f"{name}_SED"] = column
            differing.append(name)
    if photometry := [name for name in differing if re.match(r"PHANGS_F\d{3}W", name, re.IGNORECASE)]:
        warnings.warn(f"{what}: obs and sed differ in {some(photometry)}; those of sed are kept as ..._SED",
                      AstropyUserWarning, stacklevel=2)
    return out


def stack_tables(tables: list[Table]) -> Table:
    """Stack tables of several targets, with all columns of any.

    Parameters
    ----------
    tables : list of `~astropy.table.Table`
        Tables; columns missing in one of them are NaN, -999 or empty in its rows.

    Returns
    -------
    `~astropy.table.Table`
        Stacked table, with the ``meta`` entries that all tables share.
    """
    if len(tables) == 1:
        return tables[0]
    names = list(dict.fromkeys(name for tbl in tables for name in tbl.colnames))
    out = Table()
    for name in names:
        present = [tbl[name] for tbl in tables if name in tbl.colnames]
        parts = [tbl[name] if name in tbl.colnames else np.full((len(tbl), *present[0].shape[1:]), _nothing(present[0]))
                 for tbl in tables]
        out[name] = np.concatenate([np.asarray(part) for part in parts])
        out[name].unit, out[name].description = present[0].unit, present[0].description
    first, *others = (tbl.meta for tbl in tables)
    out.meta.update({k: v for k, v in first.items() if all(k in meta and meta[k] == v for meta in others)})
    return out


def to_qtable(tbl: Table, what: str) -> QTable:
    """Add units and descriptions to a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table; units that astropy recognizes are kept.
    what : str
        Source of the table, for columns without a known description.

    Returns
    -------
    `~astropy.table.QTable`
    """
    out = Table(tbl)
    for name in out.colnames:
        column = out[name]
        unit, text = next(((unit, text.format(*match.groups())) for pattern, unit, text in _MEANINGS
                           if (match := pattern.fullmatch(name.removesuffix("_SED")))), (None, None))
        if column.unit is None or isinstance(column.unit, u.UnrecognizedUnit):
            column.unit = unit
        column.description = column.description or text or f"Column {name} of {what}"
        if column.dtype.kind in "iu" and column.unit is not None:
            out[name] = column.astype(float)  # as a Quantity is
    return QTable(out)


def _nothing(column):
    """Return the missing value of a column of this type."""
    return {"f": np.nan, "c": np.nan, "i": _NO_INTEGER, "u": 0, "b": False}.get(column.dtype.kind, "")


def _take(column, rows):
    """Select rows of a column; negative row numbers give missing values."""
    if (rows >= 0).all():
        return column[rows]
    if not len(column):
        column = type(column)(np.zeros((1, *column.shape[1:]), column.dtype), unit=column.unit,
                              description=column.description)
    taken = column[rows]
    if column.dtype.kind in "iu" and column.dtype.itemsize < 4:
        taken = taken.astype(np.int32)
    taken[rows < 0] = _nothing(taken)
    return taken


def _matching(obs, sed, what):
    """Return the row numbers of each cluster in both tables, -1 for none."""
    if np.array_equal(obs, sed):
        return np.arange(len(obs)), np.arange(len(obs))
    for ids, table in ((obs, "obs"), (sed, "sed")):
        known, count = np.unique(ids[ids >= 0], return_counts=True)
        if (count > 1).any():
            raise ColumnError(f"{what}: {ID_COLUMN} {known[count > 1][0]} is {count.max()} times in {table}, so "
                              "obs and sed cannot be joined; fetch each alone with option:table='obs' or 'sed'")
    row_in_sed = {number: row for row, number in enumerate(sed.tolist()) if number >= 0}
    in_sed = np.array([row_in_sed.get(number, -1) for number in obs.tolist()], dtype=int)
    alone = np.setdiff1d(np.arange(len(sed)), in_sed)
    in_obs = np.concatenate([np.arange(len(obs)), np.full(len(alone), -1)])
    return in_obs, np.concatenate([in_sed, alone])


def _agree(first, second):
    first, second = np.asarray(first), np.asarray(second)
    if first.dtype.kind in "fc" or second.dtype.kind in "fc":
        return np.allclose(first, second, rtol=1e-5, atol=0, equal_nan=True)
    return np.array_equal(first, second)
