"""Known quantities of each object, such as distance or redshift, and how they are read from a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

from ..catalogs.messages import Fault
from ..catalogs.sentinels import is_sentinel
from ..catalogs.table_distances import table_distances, to_mpc
from ..catalogs.values import numbers
from ..errors import ColumnError, DistanceError, InputError, UnitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table

    from ..catalogs.layouts import Layout

__all__ = ["Covariate", "Distance", "read_covariates", "read_optional"]

#: Values that mark missing data and are not possible for [M/H].
_SENTINELS = (99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 9999.0, -99.0, -99.9, -99.99, -99.999, -999.0, -999.9, -9999.0)
_LOGARITHMIC = ("dex", "dex(1)", "[-]", "[Sun]")


@dataclass(frozen=True, kw_only=True)
class Covariate:
    """Quantity that is known for each object before inference, such as a redshift.

    Attributes
    ----------
    name : str
        Name of the input column, and key of the covariates.
    unit : str
        Unit of the values in tensors.
    low, high : float
        Training range; rows outside are flagged.
    log : bool
        Whether its error is a standard deviation of the natural logarithm (a relative error).
    description : str
    error : bool
        Whether the likelihood is integrated over it if a table has its error in a column with suffix ``_err``.

    Examples
    --------
    >>> from clusterpost.families import Covariate
    >>> redshift = Covariate(name="redshift", low=0.0, high=0.3,
    ...                      description="spectroscopic redshift")
    >>> redshift.convert([0.05, 0.1]).tolist()
    [0.05, 0.1]
    """

    name: str
    unit: str = ""
    low: float = 0.0
    high: float = math.inf
    log: bool = False
    description: str = ""
    error: bool = False

    def read(self, tbl: Table, layout: Layout | None, given: Any = None) -> tuple[np.ndarray, str, Any] | None:
        """Read the values of a table's rows.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
        layout : `~clusterpost.catalogs.layouts.Layout`
        given : object, optional
            Value given by the user, instead of that in the table.

        Returns
        -------
        values : ndarray (n,)
            Values in `unit`; NaN if unknown.
        source : str
            Source of the values.
        fault : Fault or None
            Rows with invalid values.

        Raises
        ------
        ColumnError, UnitError
            If the table has no column with this name, or one of the wrong type.
        """
        if given is not None:
            return np.broadcast_to(self.convert(given), len(tbl)).copy(), "argument", None
        name = _column_called(tbl, self.name)
        if name is None:
            raise ColumnError(f"the model needs a column {self.name!r} ({self.description}), but the table has none; "
                              "rename the column with these values")
        unit = tbl[name].unit or self.unit
        if not self.unit and str(unit) in _LOGARITHMIC:
            unit = ""
        try:
            factor = u.Unit(unit).to(self.unit)
        except u.UnitConversionError:
            raise UnitError(f"column {name!r} is in {unit}; {self.name} needs "
                            f"{self.unit or 'dimensionless values'}") from None
        values = factor * np.asarray(numbers(tbl, name), float)
        if self.log:
            values = np.where(values > 0, values, np.nan)
        return np.where(np.isfinite(values), values, np.nan), f"column {name!r}", None

    def convert(self, values: Any, unit: str | u.UnitBase | None = None) -> np.ndarray:
        """Convert user input for mocks.

        Parameters
        ----------
        values : float, Quantity, Column or array
        unit : Unit, optional
            Unit of values without one.

        Returns
        -------
        ndarray
            Values in `unit`.

        Raises
        ------
        UnitError
            If the unit is of the wrong type.
        """
        try:
            return np.asarray(u.Quantity(values, self.unit if unit is None else None).to_value(self.unit), float)
        except (u.UnitsError, TypeError):
            raise UnitError(f"column {self.name!r} is in {unit}; it needs {self.unit or 'a dimensionless unit'} "
                            "or no unit") from None


@dataclass(frozen=True, kw_only=True)
class Distance(Covariate):
    """Distance, read from several kinds of columns or from the name of a galaxy.

    Examples
    --------
    >>> import astropy.units as u
    >>> from clusterpost.families import Distance
    >>> Distance().convert(9840 * u.kpc).tolist()
    9.84
    """

    name: str = "distance"
    unit: str = "Mpc"
    log: bool = True

    def read(self, tbl: Table, layout: Layout, given: Any = None) -> tuple[np.ndarray, str, Fault]:
        """Read the distances of a table's rows; see `Covariate.read` and `~clusterpost.infer_table`."""
        return table_distances(tbl, layout, given)

    def convert(self, values: Any, unit: str | u.UnitBase | None = None) -> np.ndarray:
        """Convert user input for mocks; see `Covariate.convert`.

        Raises
        ------
        DistanceError
            If a value is not a distance, or not positive.
        """
        mpc = to_mpc(values, "option:distance", unit)
        if not (mpc > 0).all():
            raise DistanceError(f"option:distance={values!r} must be positive")
        return mpc


def read_covariates(tbl: Table, layout: Layout | None, covariates: Sequence,
                    **given: Any) -> tuple[dict, dict[str, str], dict]:
    """Read the covariates of a model family.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    covariates : sequence of Covariate
    **given
        Values instead of those in the table, by covariate name: ``distance`` is as for
        `~clusterpost.infer_table`.

    Returns
    -------
    values : dict of ndarray (n,)
        Values in the covariates' units; NaN if unknown.  ``distance_err`` is relative.
    sources : dict of str
        Sources of the values.
    faults : dict of str to Fault
        Rows whose distance is not positive, or whose error is not valid.

    Raises
    ------
    ColumnError, UnitError
        If a covariate has no column, or one of the wrong type.
    DistanceError
        If there is no distance, or one was given and the model does not use it.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := given.keys() - {covariate.name for covariate in covariates}:
        raise DistanceError(f"the model does not use a {min(unknown)}; omit option:{min(unknown)}")
    values, sources, faults = {}, {}, {}
    for covariate in covariates:
        name = covariate.name
        values[name], sources[name], fault = covariate.read(tbl, layout, given.get(name))
        if fault is not None:
            faults[f"{name} not positive"] = fault
        if covariate.error and name not in given:
            _add_error(tbl, covariate, values, sources, faults)
    return values, sources, faults


def _add_error(tbl, covariate, values, sources, faults):
    """Add the relative error of a covariate if the table has a column of it; NaN for rows without a value."""
    name = f"{covariate.name}_err"
    if _column_called(tbl, name) is None:
        return
    error, sources[name], _ = _error_of(covariate).read(tbl, None)
    error[is_sentinel(error, _SENTINELS)] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = error / values[covariate.name]
        bad = (relative < 0) | (relative >= 1)
    if bad.any():
        row = int(np.argmax(bad))
        faults[name] = Fault(int(np.isfinite(error).sum()), int(bad.sum()), row,
                             f"{sources[name]} gives an error of {error[row]:g} {covariate.unit} for a "
                             f"{covariate.name} of {values[covariate.name][row]:g} in row {{row}}; it must be from "
                             "0 to below that value",
                             "Correct it, or mask it if it is unknown", "are inferred without it", InputError)
    values[name] = np.where(bad, np.nan, relative)


def read_optional(tbl: Table, covariates: Sequence,
                  sentinels: Sequence[float] = ()) -> tuple[dict, dict[str, str], dict]:
    """Read optional covariates and their errors.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    covariates : sequence of Covariate
        Covariates, read from columns with their names and, for errors, with the suffix ``_err``.
    sentinels : sequence of float
        Additional values that mark missing data, besides the usual ones.

    Returns
    -------
    values : dict of ndarray (n,)
        Values of those with a column, and their errors under the name with ``_err``; NaN if unknown.
    sources : dict of str
    faults : dict of str to Fault
        Rows with an invalid value or error.
    """
    values, sources, faults = {}, {}, {}
    for covariate in covariates:
        name = covariate.name
        if _column_called(tbl, name) is None:
            continue
        value, sources[name], _ = covariate.read(tbl, None)
        value[is_sentinel(value, (*_SENTINELS, *sentinels))] = np.nan
        error, with_error = np.full(len(tbl), np.nan), _column_called(tbl, f"{name}_err") is not None
        if with_error:
            error, source, _ = _error_of(covariate).read(tbl, None)
            error[is_sentinel(error, (*_SENTINELS, *sentinels))] = np.nan
            sources[name] += f" and {source}"
        beyond = np.isfinite(value) & ((value < covariate.low) | (value > covariate.high))
        negative = np.isfinite(value) & (error <= 0)
        bad = beyond | negative
        if bad.any():
            row = int(np.argmax(bad))
            what = (f"a {name} of {value[row]:g} ({covariate.description}, from {covariate.low:g} to "
                    f"{covariate.high:g})" if beyond[row] else f"an error of {error[row]:g} (errors are positive)")
            faults[name] = Fault(int(np.isfinite(value).sum()), int(bad.sum()), row,
                                 f"{sources[name]} gives {what} in row {{row}}",
                                 f"Correct it, mask it if it is unknown, or rename a column {name!r} with other "
                                 "content", "are inferred without it", InputError)
        values[name], values[f"{name}_err"] = np.where(bad, np.nan, value), np.where(bad, np.nan, error)
    return values, sources, faults


def _column_called(tbl, name):
    return next((column for column in tbl.colnames if column.lower() == name.lower()), None)


def _error_of(covariate):
    """Return the covariate for the error column of another."""
    return Covariate(name=f"{covariate.name}_err", unit=covariate.unit, description=covariate.description)
