"""Recognition of the columns of photometry in a table, and of their conventions.

The column names alone decide the layout, which is one of:

=============== ================================================ ===============================
layout          photometry                                       missing values
=============== ================================================ ===============================
canonical       ``F275W``, ``F275W_err``, ``F275W_limit`` ...    NaN or masked, and customary
                and other clear names: ``e_F275Wmag``,           sentinels
                ``acs_f814w_mjy``, ``F275W_unc``
PHANGS DR4      ``PHANGS_F275W_mJy``, ``..._mJy_ERR``, or        -9999, -999
                ``PHANGS_F275W_VEGA``, ``..._VEGA_ERR``
PHANGS CR3      the same, with ``PHANGS_SED_AGE``, ...           -9999, -999
PHANGS DR5      the same, with ``PHANGS_DR5_...``                -9999, -999
PHANGS internal ``PHANGS_F275W_mJy_TOT``, ``..._TOT_ERR``, or    -9999, -999
                ``PHANGS_F275W_VEGA_TOT``, ..., in any case
LEGUS           34 to 39 columns without names, or as            66.666, 99.999, 44.444
                `read_legus` names them: ``F275W_vega``,
                ``F275W_vega_err``
=============== ================================================ ===============================

In the PHANGS tables of DR4, the errors in V and I are called ``_mJy_TOT_ERR``
and those of the other bands ``_mJy_ERR``; both names are recognized in every
band.  If B is F435W (ngc0628c, ngc0628e, ngc1300, ngc1672, ngc3621), V and I
are also from ACS.  In a table of many galaxies, the B band of a row determines
its camera.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.table import Table

from ..bands import BANDS
from ..errors import ColumnError, InputError, InputWarning, UnitError, shown
from .clear_names import check_cameras, chosen_columns, clear_bands, parsed_columns, unused_columns
from .columns import PHANGS_SENTINELS, BandColumns, hint, no_error, phangs_columns, some
from .layouts import Layout, common_columns, survey_filters, survey_layout, survey_unit
from .legus import LEGUS_SENTINELS, is_raw_legus
from .metadata import (
    COLUMNS_KEY,
    LAYOUT_KEY,
    MISSING_KEY,
    UNIT_KEY,
    meta_value,
    recorded_columns,
    recorded_reading,
    was_read,
)
from .names import band_called, plain_filter
from .units import FluxUnit, equal_units, is_number, read_unit

__all__ = ["recognize"]


def recognize(tbl: Table, columns: Any = None, *, unit: Any = None, missing: Sequence[float] = ()) -> Layout:
    """Find the photometry, distance and published fits of a table.

    Canonical columns have priority over survey columns.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table, not changed.
    columns : dict or Layout, optional
        ``{"F275W": ("my_flux", "my_error")}``, or with a third name for the
        column of upper limits, for every band to use.  No other columns are then
        used as photometry.  A layout is the output of this function for another
        part of the same table.
    unit : str or Unit, optional
        Unit of all fluxes or magnitudes, in any form that
        `~clusterpost.catalogs.units.read_unit` accepts; by default the units of
        the columns.
    missing : sequence of float
        Values that mean missing, in addition to the customary ones.

    Returns
    -------
    Layout
        Layout of the table.  For a table from `~clusterpost.read_catalog`, it has
        the recorded name and the canonical columns.

    Raises
    ------
    ColumnError
        If there is no photometry, a band lacks its error, two columns could be
        the flux of one band, or ``columns`` names a missing column.  The message
        names the columns and the remedy.
    UnitError
        If ``unit`` is not a unit of photometry.

    Warns
    -----
    InputWarning
        If the cameras of a LEGUS table without column names are unknown, or
        columns have another unit than the given one.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs import recognize
    >>> tbl = Table({"PHANGS_F555W_mJy": [1e-3], "PHANGS_F555W_mJy_TOT_ERR": [1e-4]})
    >>> layout = recognize(tbl)
    >>> layout.name, layout.bands["F555W"].error
    ('PHANGS DR4', 'PHANGS_F555W_mJy_TOT_ERR')
    >>> recognize(Table({"acs_f814w": [1.0],
    ...                  "err_acs_f814w": [0.1]})).bands["F814W_ACS"].error
    'err_acs_f814w'
    """
    if isinstance(columns, Layout):
        return columns
    read = was_read(tbl) or (meta_value(tbl, COLUMNS_KEY) is not None and not recorded_columns(tbl))
    if not read:
        columns, unit, missing = _repeated(tbl, columns, unit, missing)
    given = FluxUnit(*_checked_unit(unit)) if unit is not None else None
    missing = _checked_missing(missing)
    layout = _from_names(tbl, read) if columns is None else _from_argument(tbl, columns)
    if given is not None:
        _check_unit(tbl, layout, given)
    record = {} if read or given is None else {UNIT_KEY: str(given)}
    if missing and not read:
        record[MISSING_KEY] = ", ".join(f"{value:g}" for value in missing)
    return replace(layout, unit=given, sentinels=(*layout.sentinels, *missing), recorded=record)


def _repeated(tbl, columns, unit, missing):
    """Return the recorded reading options of an earlier inference, unless options are given now."""
    earlier = recorded_reading(tbl).get("columns")
    if columns is None and earlier and all(name in tbl.colnames for names in earlier.values() for name in names):
        columns = earlier
    recorded = meta_value(tbl, MISSING_KEY)
    if recorded is not None and not np.size(missing):
        missing = [float(value) for value in str(recorded).split(",") if is_number(value)]
    said = meta_value(tbl, UNIT_KEY)
    return columns, said if unit is None and isinstance(said, str) and said else unit, missing


def _checked_unit(unit):
    try:
        read = read_unit(unit)
    except UnitError as error:
        raise UnitError(f"the unit that was given (option:unit) is {error.args[0]}") from None
    if read is None:
        raise UnitError("the unit that was given (option:unit) is none; give mJy, uJy, Jy, nmgy, AB, ST or Vega")
    return read.unit, read.system


def _checked_missing(missing):
    try:
        return tuple(float(value) for value in np.atleast_1d(missing).ravel())
    except (TypeError, ValueError):
        raise InputError(f"option:missing takes numbers, such as 99 and 66.666, and not {shown(missing)}") from None


def _check_unit(tbl, layout, given):
    """Use the given unit, and warn if a column has another."""
    other = []
    for names in layout.bands.values():
        try:
            own = read_unit(getattr(tbl[names.flux], "unit", None))
        except InputError:
            continue  # the given unit replaces it
        if not equal_units(own, given):
            other.append(f"{names.flux!r} ({own})")
    if other:
        text = f"the unit {given} that was given (option:unit) is used, though {some(other, 5, str)} have another"
        warnings.warn(InputWarning(text), stacklevel=3)


def _from_names(tbl, read):
    names = tbl.colnames
    parsed = parsed_columns(names)
    exact = [band for band in parsed["flux"] if band in names]
    if exact:
        canonical = {band: chosen_columns(parsed, band) for band in exact}
        lacking = [band for band, columns in canonical.items() if columns.error is None]
        if lacking or not read:
            _settle(tbl, [band for band in canonical if band not in lacking], lacking)
        if lacking:
            raise no_error(lacking[0], f"{lacking[0]}_err", names)
        # With canonical or survey columns, other names are not searched.
        alone = not read and not survey_filters(tbl)
        others = clear_bands(parsed, parsed["flux"].keys() - exact) if alone else {}
        check_cameras(names, others)
        bands = canonical | others
        name = meta_value(tbl, LAYOUT_KEY) if read else None
        unused = {} if name == "columns argument" else unused_columns(tbl, bands)
        return Layout(name or "canonical", _ordered(bands), _known_sentinels(tbl, bands), unused=unused,
                      **common_columns(tbl))
    layout = survey_layout(tbl)
    if layout is not None:
        return layout
    bands = {band: chosen_columns(parsed, band) for band in parsed["flux"]}
    lacking = [columns.flux for columns in bands.values() if columns.error is None]
    if not bands or len(lacking) == len(bands):
        raise no_error(lacking[0], f"{lacking[0]}_err", names) if lacking else _no_photometry(tbl)
    bands = {band: columns for band, columns in bands.items() if columns.error is not None}
    check_cameras(names, bands)
    unused = unused_columns(tbl, bands)
    return Layout("canonical", _ordered(bands), _known_sentinels(tbl, bands), unused=unused, **common_columns(tbl))


def _ordered(bands):
    return {band: bands[band] for band in BANDS if band in bands}


def _settle(tbl, canonical, lacking):
    """Raise if canonical columns beside survey columns, which have priority, are incomplete."""
    survey = survey_filters(tbl)
    if not survey or not (lacking or survey.keys() - {plain_filter(band) for band in canonical}):
        return
    candidates = {name: [b for b in (*canonical, *lacking) if plain_filter(b) == name] + survey.get(name, [])
                  for name in dict.fromkeys(map(plain_filter, BANDS))}
    listed = "; ".join(f"{name}: {' or '.join(found)}" for name, found in candidates.items() if found)
    raise ColumnError(
        f"the table has canonical and survey photometry, and the canonical set is not complete ({listed}); complete it "
        "(each band with its <band>_err), drop one set, or choose with option:columns"
    )


def _from_argument(tbl, columns):
    bands = _argument_bands(tbl, columns)
    # Columns with survey names keep the survey's unit, even if the user names them.
    units = {survey_unit(tbl, c.flux) for c in bands.values()}
    default_unit = units.pop() if len(units) == 1 else None
    sentinels = LEGUS_SENTINELS if is_raw_legus(tbl) else _known_sentinels(tbl, bands)
    return Layout("columns argument", bands, sentinels, default_unit=default_unit, **common_columns(tbl))


def _argument_bands(tbl, columns):
    names = tbl.colnames
    if not isinstance(columns, Mapping):
        raise ColumnError('option:columns is a dictionary, {"F275W": ("flux column", "error column"), ...}, and not '
                          f"{shown(columns)}")
    if not columns:
        raise ColumnError('option:columns is empty; give the flux and error columns of each band, or leave it out')
    given, owner = {}, {}
    for key, value in columns.items():
        band = band_called(str(key))
        if band is None:
            raise ColumnError(f"option:columns names an unknown band {shown(key)}{hint(str(key), BANDS)}; bands: "
                              f"{', '.join(BANDS)}")
        if isinstance(value, str) or not isinstance(value, Sequence) or not 2 <= len(value) <= 3:
            raise ColumnError(
                f"option:columns has {shown(value)} for {key}; give (flux column, error column) or (flux column, error "
                "column, upper-limit column)"
            )
        for column in value[:2] if value[-1] is None else value:
            if column not in names:
                raise ColumnError(
                    f"option:columns names a column {shown(column)} for {key} that the table does not have"
                    f"{hint(str(column), names)}; it has {some(names)}"
                )
        if owner.setdefault(value[0], band) != band:
            raise ColumnError(f"option:columns gives column {value[0]!r} to two bands, {owner[value[0]]} and {band}")
        given[band] = tuple(value)
    bands = {}
    for band in (b for b in BANDS if b in given):
        flux, error, *limit = given[band]
        if not limit:  # a flux column is incomplete without its limits
            limit = [name for name in (f"{flux}_limit", f"l_{flux}") if name in names]
        system = "Vega" if survey_unit(tbl, flux) == "mag" else None
        bands[band] = BandColumns(flux, error, limit[0] if limit else None, system)
    return bands


def _known_sentinels(tbl, bands):
    """Return the sentinels of both surveys, for tables of unknown origin."""
    units = [str(getattr(tbl[c.flux], "unit", None)).lower() for c in bands.values()]
    return PHANGS_SENTINELS + LEGUS_SENTINELS if all("mag" in unit for unit in units) else PHANGS_SENTINELS


def _no_photometry(tbl):
    found = sorted({name for name, _ in phangs_columns(tbl.colnames)[0]} | {*unused_columns(tbl, {}).values()})
    return ColumnError(
        f"no photometry found; the table has {some(tbl.colnames)}."
        + (f" Its columns are of unknown filters: {', '.join(found)}." if found else "")
        + " Recognized are canonical columns (F275W with F275W_err, ...) and other names with a band, columns of "
        "PHANGS-HST (PHANGS_F275W_mJy or PHANGS_F275W_VEGA with _ERR) and of LEGUS (34 to 39 columns without names). "
        "Name the columns with option:columns, a flux column and an error column for each band"
    )
