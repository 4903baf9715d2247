"""Names of the targets of PHANGS-HST, in archives and in common use."""

from __future__ import annotations

import difflib
import functools
import re
from importlib import resources

from astropy.table import Table

from ..errors import InputError
from .distances import distance_table

__all__ = ["WITHIN", "galaxy_of", "name_key", "resolve_target", "target_table"]

#: Fields cut out of another field, with the same distance.
WITHIN = {"ngc1510": "ngc1512"}
_NAME = re.compile(r"(ngc|n|ic|messier|m)0*(\d+)([a-z]?)")


@functools.cache
def target_table() -> Table:
    """Return the table of the 39 targets, which must not be changed.

    Returns
    -------
    `~astropy.table.Table`
    """
    with resources.as_file(resources.files("clusterpost") / "data" / "phangs_targets.ecsv") as path:
        return Table.read(path, format="ascii.ecsv")


@functools.cache
def _names():
    """Return targets by all names of their galaxy, without the pointing."""
    out = {name_key(target)[0]: [target] for target in WITHIN}
    aliases = {row["galaxy"]: row["aliases"] for row in distance_table()}
    for target, galaxy in target_table().iterrows("target", "galaxy"):
        for name in (galaxy, *filter(None, aliases[galaxy].split(","))):
            out.setdefault(name_key(name)[0], []).append(str(target))
    return out


def name_key(name: str) -> tuple[str, str]:
    """Return a normalized name and the letter of a pointing.

    Parameters
    ----------
    name : str

    Returns
    -------
    name, letter : str

    Examples
    --------
    >>> from clusterpost.catalogs.phangs_targets import name_key
    >>> name_key("NGC 0628-C")
    ('ngc628', 'c')
    """
    bare = re.sub(r"[\s_\-]+", "", str(name)).lower()
    match = _NAME.fullmatch(bare)
    if not match:
        return bare, ""
    catalog = {"n": "ngc", "messier": "m"}.get(match[1], match[1])
    return f"{catalog}{match[2]}", match[3]


def resolve_target(name: str) -> list[str]:
    """Return the targets with a name.

    Parameters
    ----------
    name : str

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If there is none; the message lists similar names.

    Examples
    --------
    >>> from clusterpost.catalogs.phangs_targets import resolve_target
    >>> resolve_target("M74"), resolve_target("ngc628c")
    (['ngc0628c', 'ngc0628e'], ['ngc0628c'])
    """
    key, pointing = name_key(name)
    targets = _names().get(key, [])
    found = [target for target in targets if not pointing or target.endswith(pointing)]
    if found:
        return found
    if targets:
        raise InputError(f"{name!r} is not a target of {galaxy_of(targets[0])}, which has {', '.join(targets)}")
    close = [_names()[k] for k in difflib.get_close_matches(key, list(_names()), n=3, cutoff=0.75)]
    hint = f" (did you mean {' or '.join(dict.fromkeys(t for ts in close for t in ts))}?)" if close else ""
    raise InputError(f"{name!r} is not a target of PHANGS-HST{hint}; option:list lists them")


def galaxy_of(target: str) -> str:
    """Return the galaxy of a target, which is the key of its distance.

    Parameters
    ----------
    target : str

    Returns
    -------
    str

    Examples
    --------
    >>> from clusterpost.catalogs.phangs_targets import galaxy_of
    >>> galaxy_of("ngc0628e"), galaxy_of("ngc1510")
    ('NGC 628', 'NGC 1512')
    """
    target = WITHIN.get(target, target)
    for known, galaxy in target_table().iterrows("target", "galaxy"):
        if known == target or name_key(galaxy)[0] == name_key(target)[0]:
            return str(galaxy)
    return target
