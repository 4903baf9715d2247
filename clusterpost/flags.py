"""The flags of a row: one registry, from which decoding and documentation follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FLAGS", "SEVERITIES", "Flag", "decode_flags", "flag_values", "is_good"]

#: From harmless to useless.
SEVERITIES = ("information", "caution", "bad")


@dataclass(frozen=True)
class Flag:
    """One bit of the ``flag`` column.

    Attributes
    ----------
    bit : int
        Its value, a power of two.
    name : str
        What `decode_flags` calls it.
    severity : str
        One of `SEVERITIES`: ``information`` about a row that is as good as others, ``caution`` where the
        numbers are doubtful, ``bad`` where there are none or they are of no cluster of the model.
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

#: Every flag there is.
FLAGS = (
    Flag(NOT_INFERRED, "not inferred", "bad",
         "The model cannot use this row; its results are NaN and another flag says why."),
    Flag(MISSING_BAND, "missing band", "information",
         "A band of the model has no measurement (masked, NaN or a sentinel), with either camera."),
    Flag(UPPER_LIMIT, "upper limit", "information", "A band holds an upper limit and not a detection."),
    Flag(NOT_POSITIVE, "flux not positive", "information",
         "A measured flux (or its error) is zero or negative, which log-normal noise cannot describe: the band is "
         "ignored."),
    Flag(NO_DISTANCE, "no distance", "bad", "The row has no distance."),
    Flag(DISTANCE_RANGE, "distance outside range", "bad",
         "The distance lies outside the range that the model was trained on."),
    Flag(ERROR_RANGE, "error outside range", "information",
         "A relative error (with the floor) lies outside the range that the model was trained on, where its "
         "posteriors are less reliable."),
    Flag(ACS_AS_WFC3, "ACS taken as WFC3", "information",
         "The model knows WFC3/UVIS bands only; an ACS/WFC flux was taken for its WFC3 neighbor."),
    Flag(POOR_FIT, "poor fit", "caution",
         "The MAP leaves a reduced chi-square above 10: a cluster of the model would hardly look like this."),
    Flag(TRAINING_RANGE, "outside training range", "bad",
         "The flux or error lies outside 99.999 % of the training set; the row is not inferred."),
    Flag(OUTSIDE_SUPPORT, "outside support", "bad",
         "Hardly any cluster of the model would be measured so (support below 0.001): another kind of object, a wrong "
         "unit, or bands in a wrong order. The best answer is given all the same."),
    Flag(LOW_EFFICIENCY, "low efficiency", "caution",
         "Few effective draws remain after every refinement, so that the numbers themselves are uncertain."),
    Flag(MCMC, "refined by MCMC", "information",
         "Importance sampling left too few effective draws; the results come from Markov chains."),
    Flag(TOO_FEW_BANDS, "too few bands", "bad", "Fewer bands hold a usable measurement than the model needs."),
    Flag(NUMBER_RANGE, "number outside range", "information",
         "A flux, error or distance is too large or too small to be computed with, such as a fill value of 1e20: the "
         "band is left out; without a distance the row is not inferred."),
    Flag(PERHAPS_OLD, "perhaps old", "caution",
         "An old cluster of few metals, such as the model has none, explains the photometry at least as well as one of "
         "solar metallicity, and the answer does not reach 5 Gyr: age, mass and reddening may be those of neither."),
)


def decode_flags(flag: Any) -> list:
    """Name the bits that are set.

    Parameters
    ----------
    flag : int or array-like of int
        One value, or the ``flag`` column.

    Returns
    -------
    list of str, or list of list of str
        For a single value its names; for a column one list per row.

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
    """Tell which rows to keep: those with no flag that calls for caution or worse.

    Flags that only inform, such as *missing band* or *upper limit*, are no reason to drop a row.

    Parameters
    ----------
    table_or_flag : `~astropy.table.Table` or array-like of int
        A result, or its ``flag`` column.
    prefix : str, optional
        The ``prefix`` that `~clusterpost.infer_table` was given, where the table has several results.

    Returns
    -------
    ndarray of bool (n,)

    Raises
    ------
    ColumnError
        If the table has no column of flags.

    Examples
    --------
    >>> from clusterpost import is_good
    >>> is_good([0, 2, 256, 1 | 8192]).tolist()
    [True, True, False, False]
    """
    return (flag_values(table_or_flag, prefix) & _of_severity(*SEVERITIES[1:])) == 0


def flag_values(table_or_flag: Table | list[int] | np.ndarray, prefix: str | None = None) -> np.ndarray:
    """Return the flags of a result as plain integers.

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
        raise ColumnError(f"the table has no column {name!r}; is it a result, and the prefix right?")
    return np.asarray(table_or_flag[name], dtype=int)


def _of_severity(*severities):
    return sum(flag.bit for flag in FLAGS if flag.severity in severities)
