"""Known quantities of each row, such as its distance or its redshift, from a table."""

from __future__ import annotations

import astropy.units as u
import numpy as np

from .catalogs.table_distances import table_distances
from .catalogs.values import numbers
from .errors import ColumnError, DistanceError, UnitError

__all__ = ["read_covariates"]


def read_covariates(tbl, layout, covariates, *, distance=None):
    """Read the covariates of a model family.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    covariates : sequence of Covariate
    distance : float, Quantity, array or str, optional
        As for `~clusterpost.infer_table`.

    Returns
    -------
    values : dict of ndarray (n,)
        In the covariates' units; NaN where unknown.
    sources : dict of str
        Where they come from.
    faults : dict of str to Fault
        Of rows whose distance is not positive.

    Raises
    ------
    ColumnError, UnitError
        If a covariate has no column, or one of another kind.
    DistanceError
        If there is no distance, or one was given and the model takes none.
    """
    if distance is not None and "distance" not in {covariate.name for covariate in covariates}:
        raise DistanceError("the model takes no distance; leave option:distance out")
    values, sources, faults = {}, {}, {}
    for covariate in covariates:
        name = covariate.name
        if name == "distance":
            values[name], sources[name], faults["distance not positive"] = table_distances(tbl, layout, distance)
        else:
            values[name], sources[name] = _from_column(tbl, covariate)
    return values, sources, faults


def _from_column(tbl, covariate):
    found = [name for name in tbl.colnames if name.lower() == covariate.name.lower()]
    if not found:
        raise ColumnError(f"the model needs a column {covariate.name!r} ({covariate.description}), and the table has "
                          "none; rename the one that holds it")
    name = found[0]
    unit = tbl[name].unit or covariate.unit
    try:
        factor = u.Unit(unit).to(covariate.unit)
    except u.UnitConversionError:
        raise UnitError(f"column {name!r} is in {unit}; {covariate.name} needs "
                        f"{covariate.unit or 'a pure number'}") from None
    values = factor * np.asarray(numbers(tbl, name), float)
    if covariate.log:
        values = np.where(values > 0, values, np.nan)
    return np.where(np.isfinite(values), values, np.nan), f"column {name!r}"
