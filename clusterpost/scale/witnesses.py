"""The few rows that a table has to be read with so that its pieces are understood as the whole is.

Most of reading looks at one row at a time.  What does not: a table of both
cameras, where a row without B has the camera of its galaxy; distances that
follow from galaxies' names; and the comparison of the mJy with the Vega columns
of a survey, a median over each galaxy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.table import vstack

from ..catalogs.columns import PHANGS_SENTINELS, find, phangs_columns
from ..catalogs.levels import CORRECTION, check_levels
from ..catalogs.records import DISTANCE_KEY, meta_value
from ..utils import require
from .pieces import as_table

__all__ = ["with_witnesses"]


def with_witnesses(reading, sources):
    """A reading that knows the whole table.

    Parameters
    ----------
    reading : Reading
    sources : sequence of ParquetSource
        Whose rows, one after the other, are the table.

    Returns
    -------
    Reading
    """
    names = sources[0].schema.names
    levels = _levels(names, sources)
    found = _find(names, sources)
    if not found:
        return replace(reading, levels=levels)
    rows, places = [], []
    for number, source in enumerate(sources):
        mine = [row for where, row in found if where == number]
        for piece in source.pieces({row // source.size for row in mine}) if mine else ():
            inside = [row for row in mine if row // source.size == piece.number]
            rows.append(piece.rows.take([row - piece.start for row in inside]))
            places += [str(row) if len(sources) == 1 else f"{row} of {source.path.name}" for row in inside]
    together = require("pyarrow", "scale").concat_tables(rows, promote_options="permissive").combine_chunks()
    return replace(reading, witnesses=together, places=tuple(places), levels=levels)


def _find(names, sources):
    """The first row of each galaxy that differs in what matters, as (source, row)."""
    galaxy, distance = find(names, "galaxy", "PHANGS_GALAXY"), find(names, "distance", "PHANGS_DMPC")
    cameras = _camera_columns(names)
    empty = as_table(sources[0].schema.empty_table())
    taken = meta_value(empty, DISTANCE_KEY) is not None  # an earlier reading's, as long as it is the galaxy's
    if not (cameras or (galaxy and (distance is None or taken))):
        return []
    compared = distance if taken else None
    needed = list(dict.fromkeys(name for name in (galaxy, *cameras, compared) if name))
    known, first, found = set(), {}, []
    for number, source in enumerate(sources):
        for start, tbl in source.columns(needed):
            kinds = _kinds(tbl, galaxy, cameras, compared, first)
            for row in sorted(np.unique(kinds, return_index=True, axis=0)[1]):
                kind = tuple(kinds[row])
                if kind not in known:
                    known.add(kind)
                    found.append((number, start + int(row)))
    return found


def _kinds(tbl, galaxy, cameras, distance, first):
    """What matters of each row: its galaxy, the cameras that have it, and whether its distance is the galaxy's."""
    names = np.full(len(tbl), "") if galaxy is None else np.asarray(tbl[galaxy]).astype(str)
    masked = np.zeros(len(tbl), bool) if galaxy is None else np.asarray(getattr(tbl[galaxy], "mask", False))
    kinds = [names, np.broadcast_to(masked, len(tbl)).astype(str)]
    kinds += [_there(tbl[name]).astype(str) for name in cameras]
    if distance is not None:
        unique, index, inverse = np.unique(names, return_index=True, return_inverse=True)
        values = np.asarray(tbl[distance], dtype=float)
        of_galaxy = np.array([first.setdefault(n, v) for n, v in zip(unique, values[index], strict=True)])[inverse]
        kinds.append(((values == of_galaxy) | (np.isnan(values) & np.isnan(of_galaxy))).astype(str))
    return np.stack(kinds, axis=1)


def _there(column):
    values = np.asarray(column)
    if values.dtype.kind not in "fiu":
        return np.ones(len(values), bool)
    mask = np.asarray(getattr(column, "mask", False))
    return np.isfinite(values) & ~np.isin(values, PHANGS_SENTINELS) & ~mask


def _camera_columns(names):
    """The columns of B where there are some of both cameras."""
    fluxes, _ = phangs_columns(names)
    of_b = [[c for (band, _), columns in fluxes.items() if band == name for c in columns] for name in
            ("F435W", "F438W")]
    return [*of_b[0], *of_b[1]] if all(of_b) else []


def _levels(names, sources):
    """What `check_levels` finds in the whole table: the one thing for which some columns are read at once."""
    fluxes, errors = phangs_columns(names)
    if len({kind for _, kind in fluxes}) < 2:
        return None
    needed = [c for columns in (*fluxes.values(), *errors.values()) for c in columns]
    needed += [c for c in (find(names, "galaxy", "PHANGS_GALAXY"), CORRECTION) if c in names]
    parts = [tbl for source in sources for _, tbl in source.columns(needed)]
    return check_levels(vstack(parts, metadata_conflicts="silent")) or ""
