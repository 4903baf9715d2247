"""Reading of chunks with the same result as for the whole table.

Most of the reading is row by row.  Exceptions are tables of both cameras, where a
row without B has the camera of its galaxy; distances from galaxy names; and the
comparison of a survey's mJy and Vega columns, with a median per galaxy.  These
properties of the whole table are found once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table, vstack

from ..catalogs.columns import PHANGS_SENTINELS, find, phangs_columns
from ..catalogs.layouts import common_columns
from ..catalogs.levels import CORRECTION, check_levels
from ..catalogs.metadata import DISTANCE_KEY, meta_value
from ..catalogs.parquet import arrow_table
from ..catalogs.reader import Understanding, read_rows, understand
from ..errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from .chunks import Chunk, ParquetSource

__all__ = ["Reading", "read_as_one"]


@dataclass(frozen=True)
class Reading:
    """Settings for reading the rows of a catalog.

    Attributes
    ----------
    options : dict
        Options of `~clusterpost.read_catalog`.
    understood : Understanding, optional
        Properties of the whole table; not needed for files that are read whole.
    """

    options: dict
    understood: Understanding | None = None

    def __call__(self, chunk: Chunk, path: Path) -> tuple[Table, dict]:
        """Read a chunk of the file at this path and return it with the values that were taken as missing."""
        if isinstance(chunk.rows, Table):
            return chunk.rows, {}
        try:
            return read_rows(arrow_table(chunk.rows), self.understood)
        except InputError as error:
            raise error.moved(f"{path}: ", chunk.start) from None


def read_as_one(reading: Reading, sources: list[ParquetSource]) -> Reading:
    """Return a reading with the properties of the whole table, which consists of the rows of all sources."""
    context, places = _context([source for source in sources if source.n_rows])
    try:
        understood = understand(context, **reading.options)
    except InputError as error:
        if error.row is not None:  # row of the context
            error = type(error)(str(error.args[0]).replace("{row}", places[error.row]))
        raise error.moved(f"{sources[0].path if len(sources) == 1 else sources[0].path.parent}: ") from None
    return replace(reading, understood=replace(understood, levels=_levels(sources)))


def _context(sources):
    """Return rows that represent the whole table, and their locations as text."""
    found = _find(sources) or [(0, 0)]
    tables, places = [], []
    for number, source in enumerate(sources):
        mine = [row for where, row in found if where == number]
        for i, rows in enumerate(source.arrow()) if mine else ():
            inside = [row for row in mine if row // source.size == i]
            if inside:
                tables.append(arrow_table(rows.take([row - i * source.size for row in inside])))
                places += [str(row) if len(sources) == 1 else f"{row} of {source.path.name}" for row in inside]
    return vstack(tables, metadata_conflicts="silent"), places


def _find(sources):
    """Return the first row of each galaxy with each combination of relevant properties, as (source, row)."""
    empty = arrow_table(sources[0].schema.empty_table())
    columns, cameras = common_columns(empty), _camera_columns(empty.colnames)
    galaxy, distance = columns["galaxy"], columns["distance"]
    taken = meta_value(empty, DISTANCE_KEY) is not None  # from an earlier reading, if it is the galaxy's distance
    if not (cameras or (galaxy and (distance is None or taken))):
        return []
    compared = distance if taken else None
    needed = list(dict.fromkeys(name for name in (galaxy, *cameras, compared) if name))
    known, first, found = set(), {}, []
    for number, source in enumerate(sources):
        for i, rows in enumerate(source.arrow()):
            kinds = _kinds(arrow_table(rows, needed), galaxy, cameras, compared, first)
            for row in sorted(np.unique(kinds, return_index=True, axis=0)[1]):
                kind = tuple(kinds[row])
                if kind not in known:
                    known.add(kind)
                    found.append((number, i * source.size + int(row)))
    return found


def _kinds(tbl, galaxy, cameras, distance, first):
    """Return the relevant properties of each row: galaxy, cameras, and whether its distance is the galaxy's."""
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
    """Return the columns of B if there are columns of both cameras."""
    fluxes, _ = phangs_columns(names)
    of_b = [[c for (band, _), columns in fluxes.items() if band == name for c in columns] for name in
            ("F435W", "F438W")]
    return [*of_b[0], *of_b[1]] if all(of_b) else []


def _levels(sources):
    """Return the findings of `check_levels` in the whole table, which needs some columns at once."""
    names = sources[0].schema.names
    fluxes, errors = phangs_columns(names)
    if len({kind for _, kind in fluxes}) < 2:
        return None
    needed = [c for columns in (*fluxes.values(), *errors.values()) for c in columns]
    needed += [c for c in (find(names, "galaxy", "PHANGS_GALAXY"), CORRECTION) if c in names]
    parts = [arrow_table(rows, needed) for source in sources for rows in source.arrow()]
    return check_levels(vstack(parts, metadata_conflicts="silent"))
