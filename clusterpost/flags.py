"""Row flags: one registry for decoding and documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FLAGS", "SEVERITIES", "Flag", "decode_flags", "flag_values", "is_good"]

#: Severities, from harmless to unusable.
SEVERITIES = ("information", "caution", "bad")


@dataclass(frozen=True)
class Flag:
    """One bit of the ``flag`` column.

    Attributes
    ----------
    bit : int
        Value of the bit, a power of two.
    name : str
        Name returned by `decode_flags`.
    severity : str
        ``information`` about a usable row, ``caution`` if the results are
        doubtful, ``bad`` if there are none or the model does not describe the object.
    description : str

    Examples
    --------
    >>> from clusterpost.flags import FLAGS
    >>> [(flag.bit, flag.name) for flag in FLAGS if flag.severity == "caution"]
    [(256, 'poor fit'), (2048, 'low efficiency'), (32768, 'perhaps old')]
    """

    bit: int
    name: str
    severity: str
    description: str


NOT_INFERRED = 1
MISSING_BAND = 2
UPPER_LIMIT = 4
NOT_POSITIVE = 8
NO_DISTANCE = 16
DISTANCE_RANGE = 32
ERROR_RANGE = 64
ACS_AS_WFC3 = 128
POOR_FIT = 256
TRAINING_RANGE = 512
OUTSIDE_SUPPORT = 1024
LOW_EFFICIENCY = 2048
MCMC = 4096
TOO_FEW_BANDS = 8192
NUMBER_RANGE = 16384
PERHAPS_OLD = 32768
SIMULATED = 65536

#: All flags.
FLAGS = (
    Flag(NOT_INFERRED, "not inferred", "bad",
         "The model cannot use this row; the results are NaN, and another flag gives the reason."),
    Flag(MISSING_BAND, "missing band", "information",
         "A band of the model has no measurement with either camera (masked, NaN, or a sentinel value)."),
    Flag(UPPER_LIMIT, "upper limit", "information", "A band has an upper limit instead of a detection."),
    Flag(NOT_POSITIVE, "flux not positive", "information",
         "A measured flux (or its error) is zero or negative, which log-normal noise cannot describe; the band is "
         "ignored."),
    Flag(NO_DISTANCE, "no distance", "bad", "The row has no distance."),
    Flag(DISTANCE_RANGE, "distance outside range", "bad",
         "The distance is outside the training range of the model."),
    Flag(ERROR_RANGE, "error outside range", "information",
         "A relative error (including the floor) is outside the training range of the model; the posterior is less "
         "reliable."),
    Flag(ACS_AS_WFC3, "ACS taken as WFC3", "information",
         "The model has WFC3/UVIS bands only; an ACS/WFC flux was used for the neighboring WFC3 band."),
    Flag(POOR_FIT, "poor fit", "caution",
         "The MAP has a reduced chi-square above 10: the model does not fit the photometry."),
    Flag(TRAINING_RANGE, "outside training range", "bad",
         "The flux or error is outside the range of 99.999 % of the training set; the row is not inferred."),
    Flag(OUTSIDE_SUPPORT, "outside support", "bad",
         "The photometry is very unlikely under the model (support below 0.001): another kind of object, a wrong unit, "
         "or bands in the wrong order. The results are kept."),
    Flag(LOW_EFFICIENCY, "low efficiency", "caution",
         "The effective sample size is small even after refinement, so the results have a large sampling error."),
    Flag(MCMC, "refined by MCMC", "information",
         "Importance sampling gave too small an effective sample size; the results come from Markov chains."),
    Flag(TOO_FEW_BANDS, "too few bands", "bad", "Fewer bands have a usable measurement than the model needs."),
    Flag(NUMBER_RANGE, "number outside range", "information",
         "A flux, error, or distance is too large or too small to compute with, such as a fill value of 1e20; the band "
         "is ignored, and without a distance the row is not inferred."),
    Flag(PERHAPS_OLD, "perhaps old", "caution",
         "An old metal-poor cluster, which the model does not include, fits the photometry at least as well as one of "
         "solar metallicity, but the posterior does not reach 5 Gyr: age, mass, and reddening may be wrong."),
    Flag(SIMULATED, "refined by simulation", "information",
         "Under this prior few of the network's draws count; the results come from simulated objects."),
)


def decode_flags(flag: Any) -> list:
    """Return the names of the bits that are set.

    Parameters
    ----------
    flag : int or array-like of int
        A single value or the ``flag`` column.

    Returns
    -------
    list of str, or list of list of str
        The names for a single value; one list per row for a column.

    Examples
    --------
    >>> from clusterpost import decode_flags
    >>> decode_flags(3)
    ['not inferred', 'missing band']
    >>> decode_flags([0, 128])
    [[], ['ACS taken as WFC3']]
    """
    if hasattr(flag, "__len__") and getattr(flag, "shape", (1,)) != ():
        return [decode_flags(value) for value in flag]
    value = int(flag)
    return [f.name for f in FLAGS if value & f.bit]


def is_good(table_or_flag: Any, *, prefix: str | None = None) -> np.ndarray:
    """Select rows without a flag of severity caution or bad.

    .. versionadded:: 0.2

    Informational flags, such as *missing band* or *upper limit*, do not exclude a row.

    Parameters
    ----------
    table_or_flag : `~astropy.table.Table` or array-like of int
        A result, or its ``flag`` column.
    prefix : str, optional
        The ``prefix`` passed to `~clusterpost.infer_table`, if the table has several results.

    Returns
    -------
    ndarray of bool (n,)

    Raises
    ------
    ColumnError
        If the table has no flag column.

    Examples
    --------
    >>> from clusterpost import is_good
    >>> is_good([0, 2, 256, 1 | 8192]).tolist()
    [True, True, False, False]
    """
    return (flag_values(table_or_flag, prefix) & _of_severity(*SEVERITIES[1:])) == 0


def flag_values(table_or_flag: Table | list[int] | np.ndarray, prefix: str | None = None) -> np.ndarray:
    """Return the flags of a result as plain integers.

    .. versionadded:: 0.2

    Parameters
    ----------
    table_or_flag, prefix
        As for `is_good`.

    Returns
    -------
    ndarray of int (n,)

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.flags import flag_values
    >>> (flag_values(Table({"flag": [0, 2, 258]})) & 256 > 0).tolist()
    [False, False, True]
    """
    if not hasattr(table_or_flag, "colnames"):
        return np.asarray(table_or_flag, dtype=int)
    from .catalogs.metadata import results_prefix
    from .errors import ColumnError

    name = f"{results_prefix(table_or_flag, prefix)}flag"
    if name not in table_or_flag.colnames:
        raise ColumnError(f"the table has no column {name!r}; use the output of an inference and check the prefix")
    return np.asarray(table_or_flag[name], dtype=int)


def _of_severity(*severities):
    return sum(flag.bit for flag in FLAGS if flag.severity in severities)
