"""Distances and names of the PHANGS-HST galaxies.

Distances differ between the surveys by up to a factor 2.3, which is a factor 5
in mass: NGC 1433 is at 18.94 Mpc for PHANGS and at 8.3 Mpc for LEGUS.  Hence
each one is given with its source.
"""

from __future__ import annotations

import difflib
import functools
import re
from importlib import resources

import astropy.units as u
import numpy as np
from astropy.table import Table

from ..errors import DistanceError

__all__ = ["distance_table", "galaxy_distance", "resolve_galaxy"]

_COLUMNS = {"lee2022": "distance", "legus": "distance_legus"}
# A compass letter or c(enter) names a pointing, such as ngc628c; NGC 1097A is another galaxy.
_NAME = re.compile(r"(ngc|n|ic|messier|m)0*(\d+)([cnesw]?)")


def distance_table() -> Table:
    """The distances that clusterpost knows.

    Returns
    -------
    `~astropy.table.Table`
        One row for each of the 38 galaxies of PHANGS-HST: ``galaxy``,
        ``aliases``, ``distance`` and ``error`` [Mpc], ``method``,
        ``reference`` (Lee et al. 2022), ``distance_legus`` [Mpc] and
        ``reference_legus`` (Calzetti et al. 2015), and ``mw_ebv`` [mag], the
        Milky Way reddening (Schlafly & Finkbeiner 2011).

    References
    ----------
    Lee et al. 2022, ApJS 258, 10; Calzetti et al. 2015, AJ 149, 51; Schlafly &
    Finkbeiner 2011, ApJ 737, 103.

    Examples
    --------
    >>> from clusterpost.catalogs import distance_table
    >>> len(distance_table())
    38
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
        If the galaxy is not one of PHANGS-HST; the message lists close names.

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


def galaxy_distance(name, source="lee2022") -> u.Quantity:
    """The distance of a galaxy.

    Parameters
    ----------
    name : str
        In any form that `resolve_galaxy` takes.
    source : {"lee2022", "legus"}
        Whose distance: of PHANGS-HST (Lee et al. 2022) or of LEGUS (Calzetti et al. 2015).

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
    if source not in _COLUMNS:
        raise DistanceError(f"unknown source of distances {source!r}; there are {', '.join(map(repr, _COLUMNS))}")
    galaxy = resolve_galaxy(name)
    table = _table()
    value = float(table[_COLUMNS[source]][list(table["galaxy"]).index(galaxy)])
    if not np.isfinite(value):
        raise DistanceError(f"{source!r} has no distance for {galaxy}; use source='lee2022', or give distance= (Mpc)")
    return value * u.Mpc


def _key(name):
    """The same for all ways to write a name."""
    bare = re.sub(r"[\s_\-]+", "", name).lower()
    match = _NAME.fullmatch(bare)
    if not match:
        return bare
    catalog = {"n": "ngc", "messier": "m"}.get(match[1], match[1])
    return f"{catalog}{match[2]}"


@functools.cache
def _table():
    with resources.as_file(resources.files("clusterpost") / "data" / "distances.ecsv") as path:
        table = Table.read(path, format="ascii.ecsv")
    # ECSV reads an empty string as masked.
    for name in ("aliases", "reference_legus"):
        table[name] = table[name].filled("")
    return table


@functools.cache
def _names():
    names = {}
    for row in _table():
        for name in (row["galaxy"], *filter(None, row["aliases"].split(","))):
            names[_key(name)] = str(row["galaxy"])
    return names
