"""Distances of a table's rows: from the table, from the user, or from its galaxies.

A given distance always has priority.  It is compared with the built-in distance of
the galaxy, because parsecs, distance moduli and galactocentric distances are easily
mistaken for megaparsecs, and a factor of three in distance is a factor of nine in
mass.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable

from ..errors import DistanceError, InputWarning, shown
from .columns import find, some
from .distances import SOURCES, distance_and_source, known_distances
from .messages import Fault
from .metadata import DISTANCE_KEY, meta_value
from .sentinels import is_sentinel
from .values import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import Table

    from .layouts import Layout

__all__ = ["DISTANCE_SOURCES", "Distances", "add_distance", "find_distances", "table_distances", "to_mpc"]

#: Values of ``distance_source=``.
DISTANCE_SOURCES = (*SOURCES, "table")
_SAME = 1e-3  # two columns with the same distance, one of them rounded
_GALAXY_KEYS = ("GALAXY", "TARGET", "OBJECT")
_OFF = 1.5  # published distances of one galaxy rarely differ by this factor
_WITHIN = 0.1  # relative range of distances within one galaxy
_FARTHEST = 1000.0  # Mpc; no cluster is resolved beyond this distance
_GALACTIC = 0.03  # Mpc; a smaller distance in kpc is a galactocentric distance


def table_distances(tbl: Table, layout: Layout,
                    argument: u.Quantity | float | str | None = None) -> tuple[np.ndarray, str, Fault]:
    """Return the distances of the rows of a table and their source.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    argument : float, Quantity, array or str, optional
        Distance given by the user, with priority over the table: a distance, a
        distance modulus in mag, or galaxy names, one for all rows or one per row.

    Returns
    -------
    mpc : ndarray (n,)
        Distances in Mpc, NaN if unknown or not positive.
    source : str
    fault : Fault
        Fault of rows with a distance that is not positive.

    Raises
    ------
    DistanceError
        If there is no distance, or the given value is not a distance.

    Warns
    -----
    InputWarning
        If distances are unlikely.
    """
    own = None if argument is not None else _own_distance(tbl, layout)
    given = _given_names(argument)
    if given is not None:
        mpc, source = _of_names(given, "the distance that was given (option:distance)"), (
            f"galaxy {given[0]}" if len(given) == 1 else "galaxy names as argument")
    elif argument is not None:
        mpc, source = to_mpc(argument, "option:distance"), "argument"
    elif own is not None:
        mpc, source = own
    else:
        names, source = _needed_galaxies(tbl, layout)
        mpc = _of_names(names, source)
    where = "option:distance" if source == "argument" else "meta['distance']" if source == "meta" else source
    mpc = np.asarray(mpc)
    if mpc.shape not in ((), (1,), (len(tbl),)):
        raise DistanceError(f"{where} has {mpc.size} values of shape {mpc.shape} for {len(tbl)} rows; give one, or one "
                            "per row")
    mpc = np.broadcast_to(mpc, len(tbl)).astype(float)
    fault = _not_positive(mpc, where)
    if fault.rows and source in ("argument", "meta"):
        raise DistanceError(f"{fault.reason}. {fault.remedy}", row=fault.first)
    mpc = np.where(np.isfinite(mpc) & (mpc > 0), mpc, np.nan)
    if given is None and (argument is not None or own is not None):
        _check_likely(tbl, layout, mpc, where, argument)
    return mpc, source, fault


def _not_positive(mpc, where):
    bad = np.flatnonzero(mpc <= 0)
    if not bad.size:
        return Fault(len(mpc))
    return Fault(len(mpc), len(bad), int(bad[0]), f"{where} gives a distance of {mpc[bad[0]]:g} Mpc in row {{row}}; "
                 "distances are positive", "Correct it, or mask it where it is not known")


def _check_likely(tbl, layout, mpc, where, argument):
    """Warn about values that are probably not distances to the galaxy in Mpc."""
    known = np.isfinite(mpc)
    if not known.any():
        return
    column = tbl[layout.distance] if argument is None and layout.distance is not None else None
    off = _off_galaxies(tbl, layout, mpc)
    if off is not None:
        row, name, listed, factor = off
        warnings.warn(InputWarning(
            f"{where} gives {mpc[row]:.4g} Mpc in row {{row}} for {name}, which is at {listed}: a factor {factor:.2g} "
            f"in distance, {factor**2:.2g} in mass. {_perhaps(mpc[row], name)}", row=row), stacklevel=6)
    elif np.nanmedian(mpc) > _FARTHEST and getattr(argument if column is None else column, "unit", None) is None:
        warnings.warn(InputWarning(
            f"{where} gives {np.nanmedian(mpc):.4g} Mpc, where no cluster is resolved; a distance without a unit is "
            "taken as Mpc: give it as '9.9e6 pc', for example, if it is in pc"), stacklevel=6)
    elif column is not None and np.nanmedian(mpc) < _GALACTIC and str(getattr(column, "unit", None)) == "kpc":
        warnings.warn(InputWarning(
            f"{where} is in kpc and below {1e3 * _GALACTIC:g} kpc, as are distances from the center of a galaxy; if it "
            "is one, give the distance of the galaxy with option:distance"), stacklevel=6)


def _off_galaxies(tbl, layout, mpc):
    """Return the first row with an unlikely distance for its galaxy: row, galaxy, known distances, and factor."""
    names, _ = _galaxies(tbl, layout)
    rows = np.array(names) if len(names) == len(mpc) else np.full(len(mpc), names[0] if names else "")
    for name in dict.fromkeys(rows[np.isfinite(mpc)].tolist()):
        try:
            known = known_distances(name)
        except DistanceError:
            continue
        here = np.flatnonzero((rows == name) & np.isfinite(mpc))
        factors = np.min([np.maximum(mpc[here] / value, value / mpc[here]) for value in known.values()], axis=0)
        spread = np.ptp(mpc[here]) > _WITHIN * np.median(mpc[here])
        if factors.max() > _OFF or (spread and factors.max() > 1 + _WITHIN):
            worst = int(np.argmax(factors > _OFF)) if factors.max() > _OFF else int(np.argmax(factors))
            listed = " or ".join(f"{value:g} Mpc ({_PUBLISHED[source]})" for source, value in known.items())
            return int(here[worst]), name, listed, float(factors[worst])
    return None


_PUBLISHED = {"lee2022": "Lee et al. 2022", "legus": "Calzetti et al. 2015", "literature": "literature"}


def _perhaps(mpc, name):
    for value in known_distances(name).values():
        if 15 < mpc < 45 and abs(mpc - (5 * np.log10(value) + 25)) < 0.5:
            return ("It looks like a distance modulus: name the column 'distance_modulus', or give it the unit mag")
        if 0.5 < mpc / value / 1e6 < 2 or 0.5 < mpc / value / 1e3 < 2:
            return "It looks like pc or kpc: give it that unit"
    return ("Is it in Mpc, and the distance of the galaxy? If it is a galactocentric distance, rename its column, or "
            "give the distance of the galaxy with option:distance")


@dataclass(frozen=True)
class Distances:
    """Source of the distances of a table's rows.

    Attributes
    ----------
    record : str, optional
        Record for the table's meta; None leaves the meta unchanged.
    of : dict of str to float, optional
        Distances in Mpc by name of galaxy; None for the table's own.
    """

    record: str | None = None
    of: dict[str, float] | None = None


def find_distances(tbl: Table, layout: Layout, source: str | None = None) -> Distances:
    """Choose the source of the distances of a table's rows.

    The table's own distance has priority.  A distance that an earlier reading took
    from `~clusterpost.catalogs.distance_table` is not the table's own.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    source : {"lee2022", "legus", "literature", "table"}, optional
        Requested source; ``table`` accepts only the table's own distance.

    Returns
    -------
    Distances

    Raises
    ------
    DistanceError
        If the source is unknown, or the requested source has no distance.

    Warns
    -----
    InputWarning
        If the table's own distance is used although another source was requested,
        or galaxies in the table are unknown.
    """
    if source is not None and source not in DISTANCE_SOURCES:
        raise DistanceError(f"{shown(source)} is not a source of distances (option:distance-source); use one of "
                            f"{', '.join(map(repr, DISTANCE_SOURCES))}")
    taken = _taken(tbl, layout)
    if not taken and (layout.distance is not None or meta_value(tbl, "DISTANCE") is not None):
        if source in SOURCES:
            text = (f"{source!r} is not used (option:distance-source), because the table has its own distance "
                    f"({_own_name(tbl, layout)}); remove it to use another")
            warnings.warn(InputWarning(text), stacklevel=4)
        recorded = str(meta_value(tbl, DISTANCE_KEY)).startswith("table: ")
        return Distances(None if recorded else f"table: {_own_name(tbl, layout)}")
    if source == "table":
        raise DistanceError("'table' was given (option:distance-source), but the table has no distance of its own: add "
                            f"a column 'distance' (Mpc), or choose {', '.join(map(repr, SOURCES))}")
    return Distances() if taken and source in (None, taken) else _of_galaxies(tbl, layout, source)


def add_distance(tbl: Table, layout: Layout, distances: Distances) -> None:
    """Write the column ``distance`` of a table and record its source.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table, changed in place.
    layout : `~clusterpost.catalogs.layouts.Layout`
    distances : Distances
        Source of the distances of the whole table.

    Raises
    ------
    DistanceError
        If two distances in the table contradict each other.
    """
    _check_own(tbl, layout)
    if distances.of is not None:
        names, _ = _galaxies(tbl, layout)
        mpc = np.array([distances.of.get(name, np.nan) for name in names])
        _write(tbl, mpc if len(mpc) == len(tbl) else np.full(len(tbl), mpc[0]), "Distance of the galaxy")
    elif layout.distance not in (None, "distance"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # the inference warns once
            _write(tbl, table_distances(tbl, layout)[0], "Distance of the catalog")
    if distances.record is not None:
        tbl.meta[DISTANCE_KEY] = distances.record


def _check_own(tbl, layout):
    """Raise if two distance columns of a table contradict each other."""
    names = [name for name in (layout.distance, find(tbl.colnames, "PHANGS_DMPC")) if name is not None]
    if len(set(names)) < 2:
        return
    values = [_column_mpc(tbl, layout, name) for name in names]
    values = [np.where(v > 0, v, np.nan) for v in values]
    wrong = np.flatnonzero(np.abs(values[0] / values[1] - 1) > _SAME)
    if wrong.size:
        raise DistanceError(
            f"columns {names[0]!r} and {names[1]!r} contradict each other in row {{row}} "
            f"({values[0][wrong[0]]:g} and {values[1][wrong[0]]:g} Mpc); drop one of them", row=wrong[0]
        )


def _taken(tbl, layout):
    """Return the source of an earlier reading's column ``distance``, or None if it is the table's own."""
    source = str(meta_value(tbl, DISTANCE_KEY)).split(":")[0]
    if layout.distance != "distance" or not set(source.split(" and ")) <= set(SOURCES):
        return None
    names, _ = _galaxies(tbl, layout)
    known = _known(names, source if source in SOURCES else None)[0]
    mpc = [known.get(name, np.nan) for name in names]
    same = not names or np.allclose(to_mpc(tbl["distance"], "distance"), mpc, equal_nan=True)
    return source if same else None


def _known(names, source):
    """Return the distances of known galaxies, their sources, and the last error for an unknown galaxy."""
    found, sources, problem = {}, [], None
    for name in dict.fromkeys(names):
        try:
            found[name], where = distance_and_source(name, source)
            sources.append(where)
        except DistanceError as error:
            problem = error
    return found, list(dict.fromkeys(sources)), problem


def _of_galaxies(tbl, layout, source):
    names, where = _galaxies(tbl, layout)
    found, sources, problem = _known(names, source)
    if not found:
        if source is not None:
            raise problem or DistanceError(f"{source!r} (option:distance-source) needs to know the galaxy: add a "
                                           "column 'galaxy' or the galaxy's name in the metadata")
        return Distances()  # the inference takes a given distance, or raises
    _warn_of_unknown(names, found, where)
    return Distances(f"{' and '.join(sources)}: {where}", found)


def _warn_of_unknown(names, found, where):
    unknown = [name for name in dict.fromkeys(names) if name not in found]
    if unknown:
        warnings.warn(InputWarning(f"no distance is known for {some(unknown, 5)} ({where}); their rows have no "
                                   "distance and are not inferred: add a column 'distance' (Mpc)"), stacklevel=6)


def _write(tbl, mpc, description):
    if isinstance(tbl, QTable):
        tbl["distance"] = mpc * u.Mpc
        tbl["distance"].info.description = description
    else:
        tbl["distance"] = Column(mpc, unit=u.Mpc, description=description)


def _own_name(tbl, layout):
    return "meta['distance']" if layout.distance is None else f"column {layout.distance!r}"


def _own_distance(tbl, layout):
    """Return the table's own distances and their source, or None."""
    if layout.distance is not None:
        where = f"column {layout.distance!r}"
        said = meta_value(tbl, DISTANCE_KEY) if layout.distance == "distance" else None
        recorded = said if isinstance(said, str) and said else where
        return _column_mpc(tbl, layout, layout.distance), recorded.removeprefix("table: ")
    value = meta_value(tbl, "DISTANCE")
    return None if value is None else (to_mpc(value, "meta['distance']"), "meta")


def _column_mpc(tbl, layout, name):
    column = tbl[name]
    values = numbers(tbl, name)
    values = np.where(is_sentinel(values, layout.sentinels), np.nan, values)
    unit = getattr(column, "unit", None)
    if unit is None or str(unit) == "":
        modulus = "modulus" in str(getattr(column.info, "description", "")).lower()
        unit = u.mag if modulus else u.Unit(layout.distance_unit if name == layout.distance else "Mpc")
    return to_mpc(values, f"column {shown(name)}", unit)


def to_mpc(value: Any, where: str | Sequence | np.ndarray, unit: str | u.UnitBase | None = None) -> np.ndarray:
    """Convert a distance in any form to plain Mpc.

    Parameters
    ----------
    value : float, Quantity, array or str
        Distance; magnitudes are distance moduli.
    where : str
        Name of the value in messages.
    unit : Unit, optional
        Unit of a value without one; by default Mpc.

    Returns
    -------
    ndarray
        Distances in Mpc, NaN for masked values.

    Raises
    ------
    DistanceError
        If the value is not a distance.
    """
    try:
        quantity = u.Quantity(value, unit)
        if np.iscomplexobj(quantity):
            raise TypeError("complex")
        mask = getattr(value, "mask", False)  # Quantity drops the mask and returns the masked values
        if quantity.unit == u.dimensionless_unscaled:
            quantity = quantity.value * u.Mpc
        elif quantity.unit == u.mag:
            with np.errstate(over="ignore"):
                quantity = 10.0 ** (np.asarray(quantity.value, float) / 5 - 5) * u.Mpc
        return np.where(mask, np.nan, np.asarray(quantity.to_value(u.Mpc), dtype=float))
    except (u.UnitConversionError, TypeError, ValueError, OverflowError):
        raise DistanceError(f"{where} {shown(value)} is not a distance; give Mpc, or a quantity of length, a distance "
                            "modulus in mag, or a galaxy's name") from None


# By name


def _given_names(argument):
    """Return the argument as names of galaxies, or None if it is not names."""
    if isinstance(argument, str):
        return [argument]
    if argument is None or isinstance(argument, u.Quantity):
        return None
    try:
        values = np.asarray(argument)
    except (TypeError, ValueError):
        return None
    names = values.ndim == 1 and len(values) and all(isinstance(v, str | bytes) for v in values)
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values] if names else None


def _of_names(names, where):
    """Return distances by galaxy names, NaN for unknown galaxies."""
    found, _, problem = _known(names, None)
    if not found:
        raise problem
    _warn_of_unknown(names, found, where)
    return np.array([found.get(name, np.nan) for name in names])


def _galaxies(tbl, layout):
    """Return names of galaxies, one per row or one for all, and their source; masked names are empty."""
    if layout.galaxy is not None:
        column = tbl[layout.galaxy]
        masked = np.broadcast_to(np.asarray(getattr(column, "mask", False)), len(tbl))
        names = ["" if m or value is None else str(value).strip() for value, m in zip(column, masked, strict=True)]
        return names, f"galaxy names in column {layout.galaxy!r}"
    name = meta_value(tbl, *_GALAXY_KEYS)
    return ([], "") if name is None else ([str(name)], f"galaxy {name}")


def _needed_galaxies(tbl, layout):
    names, where = _galaxies(tbl, layout)
    if not names:
        parts = ("dist", "dmod", "modulus", "mpc", "kpc")
        alike = [name for name in tbl.colnames if any(part in name.lower() for part in parts)]
        seen = f" (columns {some(alike, 5)} may be one: rename it)" if alike else ""
        raise DistanceError(
            f"the table has no distance{seen}: give it with option:distance (a number in Mpc, a quantity, or a "
            "galaxy's name), or add a column 'distance' (Mpc) or 'galaxy'"
        )
    return names, where

