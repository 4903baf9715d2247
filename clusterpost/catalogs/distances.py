"""Distances and names of the galaxies of PHANGS-HST and LEGUS, and the distances of a table.

Distances differ between the surveys by up to a factor 2.3, which is a factor 5
in mass: NGC 1433 is at 18.94 Mpc for PHANGS and at 8.3 Mpc for LEGUS.  Hence
each one is given with its source, and a table's own distance always wins.
"""

from __future__ import annotations

import difflib
import functools
import re
import warnings
from importlib import resources

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable, Table
from astropy.utils.exceptions import AstropyUserWarning

from ..errors import DistanceError
from .columns import find
from .records import DISTANCE_KEY, meta_value
from .values import is_sentinel, numbers

__all__ = ["DISTANCE_SOURCES", "add_distance", "distance_table", "galaxy_distance", "resolve_galaxy",
           "table_distances", "to_mpc"]

_COLUMNS = {"lee2022": "distance", "legus": "distance_legus"}
#: What ``distance_source=`` may be.
DISTANCE_SOURCES = (*_COLUMNS, "table")
# A compass letter or c(enter) names a pointing, such as ngc628c; NGC 1097A is another galaxy.
_NAME = re.compile(r"(ngc|n|ic|messier|m|ugca|ugc|u)0*(\d+)([cnesw]?)")
_SAME = 1e-3  # two columns with the same distance, one of them rounded
_GALAXY_KEYS = ("GALAXY", "TARGET", "OBJECT")


def distance_table() -> Table:
    """The distances that clusterpost knows.

    Returns
    -------
    `~astropy.table.Table`
        One row for each galaxy, first the 38 of PHANGS-HST, then those of
        LEGUS alone: ``galaxy``, ``aliases``, ``distance`` and ``error`` [Mpc],
        ``method``, ``reference`` (Lee et al. 2022; NaN and empty where they
        have none), ``distance_legus`` [Mpc], ``method_legus`` and
        ``reference_legus`` (Calzetti et al. 2015, likewise), and ``mw_ebv``
        [mag], the Milky Way reddening (Schlafly & Finkbeiner 2011).

    References
    ----------
    Lee et al. 2022, ApJS 258, 10; Calzetti et al. 2015, AJ 149, 51; Schlafly &
    Finkbeiner 2011, ApJ 737, 103.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.catalogs import distance_table
    >>> tbl = distance_table()
    >>> int(np.isfinite(tbl["distance"]).sum()), int(np.isfinite(tbl["distance_legus"]).sum())
    (38, 50)
    """
    return _table().copy()


def resolve_galaxy(name) -> str:
    """The usual name of a galaxy that is known under any of its names.

    Parameters
    ----------
    name : str
        Such as ``NGC 628``, ``NGC0628``, ``ngc0628c``, ``ngc628-c`` or ``M74``.

    Returns
    -------
    str
        Such as ``NGC 628``.

    Raises
    ------
    DistanceError
        If the galaxy is in neither survey; the message lists close names.

    Examples
    --------
    >>> from clusterpost.catalogs import resolve_galaxy
    >>> resolve_galaxy("ngc0628c"), resolve_galaxy("M74")
    ('NGC 628', 'NGC 628')
    """
    names = _names()
    key = _key(str(name))
    if key in names:
        return names[key]
    close = dict.fromkeys(names[k] for k in difflib.get_close_matches(key, list(names), n=3, cutoff=0.75))
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise DistanceError(
        f"galaxy {str(name)!r} is not one of the {len(_table())} whose distance is known{hint}; "
        "give its distance with distance= (Mpc), a column 'distance' or tbl.meta['distance']"
    )


def galaxy_distance(name, source=None) -> u.Quantity:
    """The distance of a galaxy.

    Parameters
    ----------
    name : str
        In any form that `resolve_galaxy` takes.
    source : {"lee2022", "legus"}, optional
        Whose distance: of PHANGS-HST (Lee et al. 2022) or of LEGUS (Calzetti
        et al. 2015).  By default the former, and the latter for galaxies of
        LEGUS alone.

    Returns
    -------
    `~astropy.units.Quantity`
        In Mpc.

    Raises
    ------
    DistanceError
        If the galaxy or the source is unknown, or the source has not this galaxy.

    References
    ----------
    Lee et al. 2022, ApJS 258, 10; Calzetti et al. 2015, AJ 149, 51.

    Examples
    --------
    >>> from clusterpost.catalogs import galaxy_distance
    >>> galaxy_distance("NGC 1433")
    <Quantity 18.94 Mpc>
    >>> galaxy_distance("NGC 1433", source="legus")
    <Quantity 8.3 Mpc>
    """
    return _distance_and_source(name, source)[0] * u.Mpc


def _distance_and_source(name, source):
    if source is not None and source not in _COLUMNS:
        raise DistanceError(f"unknown source of distances {source!r}; there are {', '.join(map(repr, _COLUMNS))}")
    galaxy = resolve_galaxy(name)
    row = _table()[list(_table()["galaxy"]).index(galaxy)]
    for candidate in _COLUMNS if source is None else (source,):
        value = float(row[_COLUMNS[candidate]])
        if np.isfinite(value):
            return value, candidate
    other = next(s for s in _COLUMNS if s != source)
    raise DistanceError(f"{source!r} has no distance for {galaxy}; use {other!r}, or give distance= (Mpc)")


def _key(name):
    """The same for all ways to write a name."""
    bare = re.sub(r"[\s_\-]+", "", name).lower()
    match = _NAME.fullmatch(bare)
    if not match:
        return bare
    catalog = {"n": "ngc", "messier": "m", "u": "ugc"}.get(match[1], match[1])
    return f"{catalog}{match[2]}"


@functools.cache
def _table():
    with resources.as_file(resources.files("clusterpost") / "data" / "distances.ecsv") as path:
        table = Table.read(path, format="ascii.ecsv")
    for name in table.colnames:
        if table[name].dtype.kind == "U":  # ECSV reads an empty string as masked
            table[name] = Column(np.ma.filled(table[name], ""), description=table[name].description)
    return table


@functools.cache
def _names():
    names = {}
    for row in _table():
        for name in (row["galaxy"], *filter(None, row["aliases"].split(","))):
            names[_key(name)] = str(row["galaxy"])
    return names


# The distances of a table


def table_distances(tbl, layout, argument=None):
    """Distances of the rows of a table, and where they come from.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    argument : float, Quantity, array or str, optional
        What the user gave; it goes before what the table says.

    Returns
    -------
    mpc : ndarray (n,)
        NaN where unknown.
    source : str

    Raises
    ------
    DistanceError
        If there is none, or it is no distance.
    """
    own = None if argument is not None else _own_distance(tbl, layout)
    if isinstance(argument, str):
        mpc, source = to_mpc(galaxy_distance(argument), argument), f"galaxy {argument}"
    elif argument is not None:
        mpc, source = to_mpc(argument, "distance="), "argument"
    elif own is not None:
        mpc, source = own
    else:
        mpc, source = _galaxy_distances(tbl, layout)
    where = "distance=" if source == "argument" else "meta['distance']" if source == "meta" else source
    mpc = np.asarray(mpc)
    if mpc.shape not in ((), (1,), (len(tbl),)):
        raise DistanceError(f"{where} has {mpc.size} values of shape {mpc.shape} for {len(tbl)} rows; give one, or one "
                            "per row")
    mpc = np.broadcast_to(mpc, len(tbl)).astype(float)
    bad = np.flatnonzero(mpc <= 0)
    if bad.size:
        raise DistanceError(f"{where} gives a distance of {mpc[bad[0]]:g} Mpc in row {{row}}; distances are "
                            "positive: mend it, or mask it where it is not known", row=bad[0])
    return np.where(np.isfinite(mpc), mpc, np.nan), source


def add_distance(tbl, layout, source=None):
    """Write the column ``distance`` of a table that is being read, and record its source.

    The table's own distance wins; what an earlier reading took from
    `distance_table` is not its own.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Changed.
    layout : `~clusterpost.catalogs.layouts.Layout`
    source : {"lee2022", "legus", "table"}, optional
        Whose distance is wanted; ``table`` accepts the table's own only.

    Raises
    ------
    DistanceError
        If the source is unknown, or a source that was asked for has no distance.

    Warns
    -----
    AstropyUserWarning
        If the table's own distance is taken although another was asked for, or
        galaxies in it are not known.
    """
    if source is not None and source not in DISTANCE_SOURCES:
        raise DistanceError(f"distance_source={source!r} is not known; there are "
                            f"{', '.join(map(repr, DISTANCE_SOURCES))}")
    _check_own(tbl, layout)
    taken = _taken(tbl, layout)
    if not taken and (layout.distance is not None or meta_value(tbl, "DISTANCE") is not None):
        if source in _COLUMNS:
            warnings.warn(f"distance_source={source!r} is not followed, as the table has its own distance "
                          f"({_own_name(tbl, layout)}); remove that to take another", AstropyUserWarning, stacklevel=3)
        if layout.distance is not None and layout.distance != "distance":
            _write(tbl, table_distances(tbl, layout)[0], "Distance of the catalog")
        if not str(meta_value(tbl, DISTANCE_KEY)).startswith("table: "):
            tbl.meta[DISTANCE_KEY] = f"table: {_own_name(tbl, layout)}"
        return
    if source == "table":
        raise DistanceError("distance_source='table', and the table has no distance of its own: add a column "
                            "'distance' (Mpc) or tbl.meta['distance'], or choose 'lee2022' or 'legus'")
    if not taken or source not in (None, taken):
        _from_galaxies(tbl, layout, source)


def _check_own(tbl, layout):
    """Two distances of a table's own must be the same."""
    names = [name for name in (layout.distance, find(tbl.colnames, "PHANGS_DMPC")) if name is not None]
    if len(set(names)) < 2:
        return
    values = [to_mpc(numbers(tbl, name), f"column {name!r}", tbl[name].unit) for name in names]
    values = [np.where(v > 0, v, np.nan) for v in values]
    wrong = np.flatnonzero(np.abs(values[0] / values[1] - 1) > _SAME)
    if wrong.size:
        raise DistanceError(
            f"columns {names[0]!r} and {names[1]!r} contradict each other in row {{row}} "
            f"({values[0][wrong[0]]:g} and {values[1][wrong[0]]:g} Mpc); drop one of them", row=wrong[0]
        )


def _taken(tbl, layout):
    """The source from which an earlier reading took the column ``distance``, or None if it is the table's own."""
    source = str(meta_value(tbl, DISTANCE_KEY)).split(":")[0]
    if layout.distance != "distance" or not set(source.split(" and ")) <= set(_COLUMNS):
        return None
    names, _ = _galaxies(tbl, layout)
    single = source if source in _COLUMNS else None
    known = {}
    for name in dict.fromkeys(names):
        try:
            known[name] = _distance_and_source(name, single)[0]
        except DistanceError:
            known[name] = np.nan
    mpc = [known[name] for name in names]
    same = not names or np.allclose(to_mpc(tbl["distance"], "distance"), mpc, equal_nan=True)
    return source if same else None


def _from_galaxies(tbl, layout, source):
    names, where = _galaxies(tbl, layout)
    found, problem = {}, None
    for name in dict.fromkeys(names):
        try:
            found[name] = _distance_and_source(name, source)
        except DistanceError as error:
            problem = error
    if not found:
        if source is not None:
            raise problem or DistanceError(
                f"distance_source={source!r} needs to know the galaxy: add a column 'galaxy' or tbl.meta['galaxy']")
        return  # whoever infers gives the distance, or is told that there is none
    unknown = [name for name in dict.fromkeys(names) if name not in found]
    if unknown:
        warnings.warn(f"no distance is known for {', '.join(map(repr, unknown))} ({where}), and their rows have none; "
                      "fill the column 'distance' (Mpc)", AstropyUserWarning, stacklevel=4)
    mpc = np.array([found.get(name, (np.nan,))[0] for name in names])
    _write(tbl, mpc if len(mpc) == len(tbl) else np.full(len(tbl), mpc[0]), "Distance of the galaxy")
    sources = " and ".join(dict.fromkeys(s for _, s in found.values()))
    tbl.meta[DISTANCE_KEY] = f"{sources}: {where}"


def _write(tbl, mpc, description):
    if isinstance(tbl, QTable):
        tbl["distance"] = mpc * u.Mpc
        tbl["distance"].info.description = description
    else:
        tbl["distance"] = Column(mpc, unit=u.Mpc, description=description)


def _own_name(tbl, layout):
    return "meta['distance']" if layout.distance is None else f"column {layout.distance!r}"


def _own_distance(tbl, layout):
    """What the table itself says, or None."""
    if layout.distance is not None:
        where = f"column {layout.distance!r}"
        values = numbers(tbl, layout.distance)
        values = np.where(is_sentinel(values, layout.sentinels), np.nan, values)
        recorded = str(meta_value(tbl, DISTANCE_KEY) or where) if layout.distance == "distance" else where
        return to_mpc(values, where, tbl[layout.distance].unit), recorded.removeprefix("table: ")
    value = meta_value(tbl, "DISTANCE")
    return None if value is None else (to_mpc(value, "meta['distance']"), "meta")


def to_mpc(value, where, unit=None):
    """A distance as plain Mpc, whatever it is given as.

    Parameters
    ----------
    value : float, Quantity, array or str
    where : str
        What a message calls it.
    unit : Unit, optional
        Of a value that has none; by default Mpc.

    Returns
    -------
    ndarray
        NaN where masked.

    Raises
    ------
    DistanceError
        If it is no distance.
    """
    try:
        quantity = u.Quantity(value, unit)
        if quantity.unit == u.dimensionless_unscaled:
            quantity = quantity.value * u.Mpc
        mask = getattr(value, "mask", False)  # which Quantity drops, and gives what lies beneath
        return np.where(mask, np.nan, np.asarray(quantity.to_value(u.Mpc), dtype=float))
    except (u.UnitConversionError, TypeError, ValueError):
        raise DistanceError(f"{where} {value!r} is not a distance; give Mpc, or a quantity of length") from None


def _galaxies(tbl, layout):
    """Names of galaxies, one a row or one for all, and where they stand."""
    if layout.galaxy is not None:
        return [str(name).strip() for name in tbl[layout.galaxy]], f"galaxy names in column {layout.galaxy!r}"
    name = meta_value(tbl, *_GALAXY_KEYS)
    return ([], "") if name is None else ([str(name)], f"galaxy {name}")


def _galaxy_distances(tbl, layout):
    names, where = _galaxies(tbl, layout)
    if not names:
        raise DistanceError(
            "the table has no distance: add a column 'distance' (Mpc), set tbl.meta['distance'], "
            "or give distance= (a number in Mpc, a quantity, or a galaxy's name)"
        )
    known = {name: galaxy_distance(name).to_value(u.Mpc) for name in dict.fromkeys(names)}
    mpc = np.array([known[name] for name in names])
    return (mpc if layout.galaxy is not None else mpc[0]), where
