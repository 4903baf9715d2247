"""Canonical columns beside a catalog's own, with uniform fluxes, errors, limits and missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable

from ..errors import ColumnError, InputError, shown
from .layouts import survey_layout
from .levels import CORRECTION, level_difference
from .metadata import (
    COLUMNS_KEY,
    FLOOR_COLUMNS_KEY,
    FLOOR_KEY,
    LAYOUT_KEY,
    READ_KEY,
    meta_value,
    recorded_columns,
    was_read,
    written_columns,
)
from .values import clean_band, has_flux_unit, plain, read_band

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table

    from .layouts import Layout

__all__ = ["add_canonical", "check_agreement", "floor_in", "record_floor", "recorded_floor"]

_SAME = 0.01  # mag; rounding in text files is smaller


def check_agreement(tbl: Table, layout: Layout) -> None:
    """Raise if canonical fluxes contradict those of the survey columns beside them.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`

    Raises
    ------
    ColumnError
        If they contradict; the message names the candidates and the remedy.
    """
    try:
        survey = survey_layout(tbl)
    except ColumnError:
        return  # beside a complete canonical set, the choice among survey columns does not matter
    for band in layout.bands if survey is not None else ():
        other = survey.bands.get(band)
        chosen = recorded_columns(tbl).get(band, ("",))[0] == band  # an earlier call chose this column
        if other is None or chosen or not has_flux_unit(tbl, layout, band):
            continue
        try:
            difference = level_difference(tbl, (layout, survey), band)
        except InputError:
            continue
        if CORRECTION in tbl.colnames:
            difference = difference - np.nan_to_num(plain(tbl[CORRECTION]))
        wrong = np.flatnonzero(np.abs(difference) > _SAME)
        if wrong.size:
            raise ColumnError(
                f"columns {band!r} and {other.flux!r} contradict each other in {wrong.size} of {len(tbl)} rows "
                f"(row {{row}}: by {difference[wrong[0]]:+.3f} mag); drop one set, or choose the columns of every "
                f"band with option:columns: {band} as {other.flux!r} and {other.error!r}, or as {band!r} and "
                f"'{band}_err'",
                row=wrong[0],
            )


def add_canonical(tbl: Table, layout: Layout, *, told: bool = False) -> dict:
    """Write ``<band>``, ``<band>_err`` and ``<band>_limit`` for every band of a table, and record their origin.

    Survey fluxes are converted to mJy; canonical columns keep their unit.
    Missing values are NaN.  An upper limit has True in ``<band>_limit``, the flux
    of the limit and a positive error.  Other columns of the user with one of
    these names are renamed to ``<name>_original``.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table, changed in place.
    layout : `~clusterpost.catalogs.layouts.Layout`
    told : bool
        Whether the user named the columns; these names are then recorded.

    Returns
    -------
    dict of str to Counter
        Counts of the values that were taken as missing, by band.
    """
    sources = {band: tuple(c for c in (names.flux, names.error, names.limit) if c)
               for band, names in layout.bands.items()}
    earlier = recorded_columns(tbl) if was_read(tbl) else {}
    settled = {b: s for b, s in sources.items() if earlier.get(b) == s and b in tbl.colnames and s[0] != b}
    new = {band: _converted(tbl, layout, band) for band in sources if band not in settled}
    held = {band: floor_in(tbl, [sources[band][1]]) is not None for band in new}
    counted = {}
    for band, (flux, error, limit, counts) in new.items():
        counted |= {band: counts} if counts else {}
        if sources[band][:2] == (band, f"{band}_err"):
            _mend(tbl, band, *flux)
            _mend(tbl, f"{band}_err", *error)
        else:
            ours = band in earlier
            _put(tbl, band, *flux, f"Flux density in {band}, or its upper limit", ours)
            _put(tbl, f"{band}_err", *error, f"Error of the flux density in {band}", ours)
            _carry_floor(tbl, f"{band}_err", held[band])
        _put(tbl, f"{band}_limit", limit, None, f"True where {band} is an upper limit",
             band in earlier or f"{band}_limit" in sources[band])
    if layout.unit is not None and layout.unit.is_magnitude and layout.unit.system == "Vega":
        tbl.meta["MAGSYS"] = "Vega"  # no unit can express it, for columns that stay in magnitudes
    if told or not earlier or any(sources[band][0] != band for band in sources):
        tbl.meta[COLUMNS_KEY] = written_columns(layout.bands)
        tbl.meta[LAYOUT_KEY] = layout.name
    tbl.meta[READ_KEY] = True
    return counted


def _converted(tbl, layout, band):
    """Return flux and error, each with its unit, limits, and the values taken as missing."""
    names = layout.bands[band]
    if names.flux != band and has_flux_unit(tbl, layout, band):
        flux, error, limit, counts = read_band(tbl, layout, band)
        return (flux, u.mJy), (error, u.mJy), limit, counts
    flux, error, limit, counts = clean_band(tbl, layout, band)
    return (flux, _kept_unit(tbl, names.flux, layout)), (error, _kept_unit(tbl, names.error, layout)), limit, counts


def _kept_unit(tbl, name, layout):
    """Return the unit of an unconverted column, or the given unit."""
    given = layout.unit
    if given is None:
        own = getattr(tbl[name], "unit", None)
        return u.Unit(layout.default_unit) if own is None and layout.default_unit is not None else own
    flux = name in {columns.flux for columns in layout.bands.values()}
    if given.is_magnitude and flux and given.system in ("AB", "ST"):
        return {"AB": u.ABmag, "ST": u.STmag}[given.system]
    return given.unit


def _mend(tbl, name, values, unit):
    """Write cleaned values into a user's column, which keeps its metadata."""
    column = tbl[name]
    old = plain(column)
    same = old.dtype.kind == "f" and np.array_equal(old, values, equal_nan=True)
    if not hasattr(column, "mask") and same and unit == getattr(column, "unit", None):
        return
    info = {key: getattr(column.info, key) for key in ("description", "format", "meta")}
    _put(tbl, name, values, unit, None, True)
    for key, value in info.items():
        if value:
            setattr(tbl[name].info, key, value)


def _put(tbl, name, values, unit, description, ours):
    if name in tbl.colnames and not ours:
        aside = f"{name}_original"
        while aside in tbl.colnames:
            aside += "_"
        tbl.rename_column(name, aside)
    if isinstance(tbl, QTable) and unit is not None:
        column = u.Magnitude(values, unit) if isinstance(unit, u.MagUnit) else u.Quantity(values, unit)
        column.info.description = description
    else:
        column = Column(values, unit=unit, description=description)
    if name in tbl.colnames:
        tbl.replace_column(name, column)
    else:
        tbl[name] = column


# Error columns that include a floor


def floor_in(tbl: Table, errors: Sequence[str]) -> float | None:
    """Return the relative error floor that these error columns include.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    errors : sequence of str
        Names of error columns.

    Returns
    -------
    float or None

    Raises
    ------
    InputError
        If only some of them include it.
    """
    floor = recorded_floor(tbl)
    if floor is None:
        return None
    recorded = _floored(tbl)
    if not recorded or not set(recorded) & set(tbl.colnames):  # a user's record, or renamed columns
        return floor
    without = [name for name in errors if name not in recorded]
    if not without:
        return floor
    if len(without) < len(errors):
        raise InputError(
            f"the errors in {without[0]!r} do not include the floor of {floor:g} that those of other bands include "
            f"({FLOOR_COLUMNS_KEY} in the metadata: {', '.join(recorded)}); apply the floor to all of them at once"
        )
    return None


def recorded_floor(tbl: Table) -> float | None:
    """Read the error floor that a table's meta records.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    float or None

    Raises
    ------
    InputError
        If it is not a relative error.
    """
    value = meta_value(tbl, FLOOR_KEY)
    if value is None:
        return None
    try:
        floor = float(value)
    except (TypeError, ValueError):
        floor = np.nan
    if not 0 <= floor < 1:
        raise InputError(f"{FLOOR_KEY} in the metadata is {shown(value)}, and must be the relative error floor "
                         "that the errors hold, from 0 to below 1; correct it, or remove it if they hold none")
    return floor


def _floored(tbl):
    return [name for name in str(meta_value(tbl, FLOOR_COLUMNS_KEY) or "").split(", ") if name]


def record_floor(tbl: Table, errors: Sequence[str], floor: float) -> None:
    """Record that these error columns include a floor.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table, whose meta is changed.
    errors : sequence of str
    floor : float
    """
    tbl.meta[FLOOR_KEY] = floor
    tbl.meta[FLOOR_COLUMNS_KEY] = ", ".join(dict.fromkeys([*_floored(tbl), *errors]))


def _carry_floor(tbl, error, held):
    """Record that a new error column includes the floor, if its source column does."""
    recorded = _floored(tbl)
    if not recorded or held == (error in recorded):
        return
    recorded = [*recorded, error] if held else [name for name in recorded if name != error]
    tbl.meta[FLOOR_COLUMNS_KEY] = ", ".join(recorded)
    if not recorded:
        del tbl.meta[FLOOR_KEY], tbl.meta[FLOOR_COLUMNS_KEY]
