"""Distances and names of galaxies in PHANGS-HST and LEGUS, and of other nearby hosts of cluster catalogs.

Distances of the surveys differ by up to a factor of 2.3, which is a factor of 5
in mass: NGC 1433 is at 18.94 Mpc in PHANGS and at 8.3 Mpc in LEGUS.  Each
distance is therefore given with its source.
"""

from __future__ import annotations

import difflib
import functools
import re
from importlib import resources

import astropy.units as u
import numpy as np
from astropy.table import Column, Table

from ..errors import DistanceError, shown

__all__ = ["SOURCES", "distance_and_source", "distance_table", "galaxy_distance", "known_distances", "resolve_galaxy"]

#: Columns of the table by source, in order of preference.
SOURCES = {"lee2022": "distance", "legus": "distance_legus", "literature": "distance_literature"}
# A compass letter or c(enter) names a pointing, such as ngc628c; NGC 1097A is another galaxy.
_NAME = re.compile(r"(ngc|n|ic|messier|m|ugca|ugc|u)0*(\d+)([cnesw]?)")


def distance_table() -> Table:
    """List the built-in distances of galaxies.

    Returns
    -------
    `~astropy.table.Table`
        One row per galaxy, first the 38 of PHANGS-HST, then those of
        LEGUS only, then others: ``galaxy``, ``aliases``, ``distance`` and ``error`` [Mpc],
        ``method``, ``reference`` (Lee et al. 2022; NaN and empty if there
        is none), ``distance_legus`` [Mpc], ``method_legus`` and
        ``reference_legus`` (Calzetti et al. 2015, likewise),
        ``distance_literature`` [Mpc], ``method_literature`` and
        ``reference_literature`` (for galaxies in neither survey), and ``mw_ebv``
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
    >>> columns = ("distance", "distance_legus")
    >>> tuple(int(np.isfinite(tbl[name]).sum()) for name in columns)
    (38, 50)
    """
    return _table().copy()


def resolve_galaxy(name: str) -> str:
    """Return the standard name of a galaxy from any of its names.

    Parameters
    ----------
    name : str
        Name such as ``NGC 628``, ``NGC0628``, ``ngc0628c``, ``ngc628-c`` or ``M74``.

    Returns
    -------
    str
        Standard name, such as ``NGC 628``.

    Raises
    ------
    DistanceError
        If the galaxy is not listed; the message names close ones.

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
    close = dict.fromkeys(names[k] for k in difflib.get_close_matches(key[:60], list(names), n=3, cutoff=0.75))
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise DistanceError(
        f"galaxy {shown(str(name))} is not one of the {len(_table())} galaxies with a built-in distance{hint}; "
        "give its distance in Mpc with option:distance or in a column 'distance'"
    )


def galaxy_distance(name: str, source: str | None = None) -> u.Quantity:
    """Look up the distance of a galaxy.

    Parameters
    ----------
    name : str
        Name in any form that `resolve_galaxy` accepts.
    source : {"lee2022", "legus", "literature"}, optional
        Source of the distance: PHANGS-HST (Lee et al. 2022), LEGUS (Calzetti et
        al. 2015), or the reference in `distance_table`.  By default the first of
        these with the galaxy.

    Returns
    -------
    `~astropy.units.Quantity`
        Distance in Mpc.

    Raises
    ------
    DistanceError
        If the galaxy or the source is unknown, or the source does not have the galaxy.

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
    return distance_and_source(name, source)[0] * u.Mpc


def known_distances(name: str) -> dict[str, float]:
    """Return all built-in distances of a galaxy.

    Parameters
    ----------
    name : str

    Returns
    -------
    dict of str to float
        Distances in Mpc, by source.

    Raises
    ------
    DistanceError
        If the galaxy is unknown.
    """
    row = _table()[_rows()[resolve_galaxy(name)]]
    values = {source: float(row[column]) for source, column in SOURCES.items()}
    return {source: value for source, value in values.items() if np.isfinite(value)}


def distance_and_source(name: str, source: str | None = None) -> tuple[float, str]:
    """Return the distance of a galaxy in Mpc and its source.

    Parameters
    ----------
    name, source
        As for `galaxy_distance`.

    Returns
    -------
    mpc : float
    source : str
    """
    if source is not None and source not in SOURCES:
        raise DistanceError(f"unknown source of distances {shown(source)}; use one of {', '.join(map(repr, SOURCES))}")
    known = known_distances(name)
    if source is None or source in known:
        chosen = source or next(iter(known))
        return known[chosen], chosen
    raise DistanceError(f"{source!r} has no distance for {resolve_galaxy(name)}; use {' or '.join(map(repr, known))}, "
                        "or give it with option:distance (Mpc)")


def _key(name):
    """Return a key that is the same for all spellings of a name."""
    bare = re.sub(r"[\s_\-/'.]+", "", name).lower()
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
def _rows():
    return {str(name): row for row, name in enumerate(_table()["galaxy"])}


@functools.cache
def _names():
    names = {}
    for row in _table():
        for name in (row["galaxy"], *filter(None, row["aliases"].split(","))):
            names[_key(name)] = str(row["galaxy"])
    return names
