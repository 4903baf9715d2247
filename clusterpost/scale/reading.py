"""Chunks read as they would be within the whole table.

Most of reading looks at one row at a time.  What does not: a table of both
cameras, where a row without B has the camera of its galaxy; distances that
follow from galaxies' names; and the comparison of the mJy with the Vega columns
of a survey, a median over each galaxy.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table, vstack
from astropy.utils.exceptions import AstropyUserWarning

from ..catalogs.columns import PHANGS_SENTINELS, find, phangs_columns
from ..catalogs.levels import CORRECTION, check_levels
from ..catalogs.metadata import DISTANCE_KEY, LEVELS_KEY, meta_value
from ..catalogs.reader import read_catalog
from ..errors import InputError
from ..utils import require
from .chunks import arrow_to_table, parquet_bytes

__all__ = ["Reading", "read_as_one"]


@dataclass(frozen=True)
class Reading:
    """How chunks are read so that it makes no difference with how many other rows.

    Attributes
    ----------
    columns, distance_source
        As for `~clusterpost.read_catalog`.
    context : pyarrow.Table, optional
        Rows from all over the table, read along with each chunk: whatever one
        row of a galaxy, or of the table, says of the others is known in every chunk.
    places : tuple of str
        Where those rows are, for messages.
    levels : str, optional
        What the comparison of mJy with Vega columns found in the whole table,
        which no chunk repeats; empty for nothing.
    """

    columns: dict | None = None
    distance_source: str | None = None
    context: object = None
    places: tuple = ()
    levels: str | None = None

    def __call__(self, chunk, path) -> Table:
        """Read a chunk of the file at this path."""
        if isinstance(chunk.rows, Table):
            return chunk.rows
        rows, n = chunk.rows, len(self.places)
        if n:
            rows = require("pyarrow", "scale").concat_tables([self.context, rows], promote_options="permissive")
        try:
            with warnings.catch_warnings():
                if self.levels is not None:  # the user was told
                    warnings.filterwarnings("ignore", "mJy and Vega columns disagree", AstropyUserWarning)
                tbl = read_catalog(arrow_to_table(rows), columns=self.columns, distance_source=self.distance_source)
        except InputError as error:
            if error.row is not None and error.row < n:
                error.row, place = None, self.places[error.row]
                error.args = (str(error.args[0]).replace("{row}", place),)
            raise error.moved(f"{path}: ", chunk.start - n) from None
        if self.levels is not None:
            tbl.meta.pop(LEVELS_KEY, None)
            tbl.meta.update({LEVELS_KEY: self.levels} if self.levels else {})
        return tbl[n:]

    @property
    def digest(self):
        """Of all that this adds to the rows themselves."""
        said = repr((self.columns, self.distance_source, self.places, self.levels))
        return hashlib.sha256(said.encode() + (parquet_bytes(self.context) if self.places else b"")).hexdigest()


def read_as_one(reading, sources):
    """Return a reading that knows the whole table, whose rows are those of the sources one after the other."""
    names = sources[0].schema.names
    levels = _levels(names, sources)
    found = _find(names, sources)
    if not found:
        return replace(reading, levels=levels)
    rows, places = [], []
    for number, source in enumerate(sources):
        mine = [row for where, row in found if where == number]
        for i, chunk in enumerate(source.arrow()) if mine else ():
            inside = [row for row in mine if row // source.size == i]
            if not inside:
                continue
            rows.append(chunk.take([row - i * source.size for row in inside]))
            places += [str(row) if len(sources) == 1 else f"{row} of {source.path.name}" for row in inside]
    together = require("pyarrow", "scale").concat_tables(rows, promote_options="permissive").combine_chunks()
    return replace(reading, context=together, places=tuple(places), levels=levels)


def _find(names, sources):
    """The first row of each galaxy that differs in what matters, as (source, row)."""
    galaxy, distance = find(names, "galaxy", "PHANGS_GALAXY"), find(names, "distance", "PHANGS_DMPC")
    cameras = _camera_columns(names)
    empty = arrow_to_table(sources[0].schema.empty_table())
    taken = meta_value(empty, DISTANCE_KEY) is not None  # an earlier reading's, as long as it is the galaxy's
    if not (cameras or (galaxy and (distance is None or taken))):
        return []
    compared = distance if taken else None
    needed = list(dict.fromkeys(name for name in (galaxy, *cameras, compared) if name))
    known, first, found = set(), {}, []
    for number, source in enumerate(sources):
        for i, rows in enumerate(source.arrow()):
            kinds = _kinds(arrow_to_table(rows, needed), galaxy, cameras, compared, first)
            for row in sorted(np.unique(kinds, return_index=True, axis=0)[1]):
                kind = tuple(kinds[row])
                if kind not in known:
                    known.add(kind)
                    found.append((number, i * source.size + int(row)))
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
    parts = [arrow_to_table(rows, needed) for source in sources for rows in source.arrow()]
    return check_levels(vstack(parts, metadata_conflicts="silent")) or ""
