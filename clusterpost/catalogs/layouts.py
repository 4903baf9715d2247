"""Which columns of a table are its photometry, and by whose conventions.

A table is recognized by its column names alone, as one of:

============== ================================================ ===============================
layout         photometry                                       missing values
============== ================================================ ===============================
canonical      ``F275W``, ``F275W_err``, ``F275W_limit`` ...    NaN or masked, and customary
               and other clear names: ``e_F275Wmag``,           sentinels
               ``acs_f814w_mjy``, ``F275W_unc``
PHANGS DR4     ``PHANGS_F275W_mJy``, ``..._mJy_ERR``, or        -9999, -999
               ``PHANGS_F275W_VEGA``, ``..._VEGA_ERR``
PHANGS CR3     the same, with ``PHANGS_SED_AGE``, ...           -9999, -999
PHANGS DR5     the same, with ``PHANGS_DR5_...``                -9999, -999
PHANGS         ``PHANGS_F275W_mJy_TOT``, ``..._TOT_ERR``, or    -9999, -999
internal       ``PHANGS_F275W_VEGA_TOT``, ..., in any case
LEGUS          34 to 39 columns without names, or as            66.666, 99.999, 44.444
               `read_legus` names them: ``F275W_vega``,
               ``F275W_vega_err``
============== ================================================ ===============================

In the PHANGS tables of DR4 the errors in V and I are called ``_mJy_TOT_ERR``
where those of the other bands are ``_mJy_ERR``; either name is found in every
band.  Where B is F435W (ngc0628c, ngc0628e, ngc1300, ngc1672, ngc3621) V and I
are of ACS, too; in a table of many galaxies each row has the cameras of its B.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.table import Table

from ..bands import BANDS
from ..errors import ColumnError, InputError, InputWarning, UnitError, shown
from .columns import (
    PHANGS_SENTINELS,
    BandColumns,
    ambiguous,
    find,
    hint,
    no_error,
    phangs_bands,
    phangs_columns,
    phangs_name,
    phangs_unit,
    some,
)
from .legus import LEGUS_SENTINELS, is_raw_legus, legus_bands, raw_positions
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
from .names import band_called, parse_name, plain_filter
from .published import published_columns
from .units import FluxUnit, equal_units, is_number, read_unit

__all__ = ["BandColumns", "Layout", "recognize", "survey_layout"]

# Columns of distances that have no unit, by name; mag stands for a distance modulus.
_DISTANCES = {"distance": "Mpc", "PHANGS_DMPC": "Mpc",
              **dict.fromkeys(("distance_mpc", "dist_mpc", "d_mpc", "dmpc", "dist(mpc)"), "Mpc"),
              **dict.fromkeys(("distance_kpc", "dist_kpc", "d_kpc"), "kpc"),
              **dict.fromkeys(("distance_pc", "dist_pc"), "pc"),
              **dict.fromkeys(("distance_modulus", "dist_mod", "distmod", "dist_modulus", "DM", "PHANGS_DM"), "mag")}
#: Names that may be those of a distance; with a unit of length they are.
_PERHAPS_DISTANCES = ("dist", "D", "distances", "gal_dist", "galaxy_distance")


@dataclass(frozen=True)
class Layout:
    """What the columns of a table mean; a plain value that can be sent to other processes.

    Attributes
    ----------
    name : str
        ``canonical``, ``PHANGS DR4``, ``PHANGS internal``, ``PHANGS CR3``,
        ``PHANGS DR5``, ``LEGUS`` or ``columns argument``.
    bands : dict of str to BandColumns
        By canonical band name, in the order of `clusterpost.bands.BANDS`.
    sentinels : tuple of float
        Values that stand for missing, in fluxes, magnitudes and errors.
    customary : bool
        Whether customary sentinels (99, 999, 1e20, ...) are missing, too.
    negative_error_is_limit : bool
        Whether a negative error marks the flux as an upper limit.
    unit : FluxUnit or None
        Unit of all fluxes or magnitudes, whatever the columns say.
    default_unit : str or None
        Unit of flux, magnitude and error columns that carry none.
    distance : str or None
        Column with the distance.
    distance_unit : str
        Its unit where it carries none; ``mag`` for a distance modulus.
    galaxy : str or None
        Column with the name of the galaxy.
    published : dict of str to tuple
        For those of ``age``, ``mass`` and ``ebv`` that the catalog has: value
        column, column of the lower and of the upper end of the interval,
        column of the symmetric error (None where absent), and the unit.
    cameras : dict of str to str, or None
        For a table whose rows are of two cameras: the B column of each, by
        instrument.
    camera_of : dict of str to str, or None
        The camera of each galaxy, where rows are of two cameras.
    unused : dict of str to str
        Columns that look like photometry and are not used, with the band that
        they may be of.

    Examples
    --------
    A table in chunks is recognized once:

    >>> import clusterpost
    >>> from clusterpost.catalogs import recognize
    >>> tbl = clusterpost.simulate(10, seed=1)
    >>> layout = recognize(tbl)
    >>> [layout.read(tbl[start : start + 5]).flux.shape for start in (0, 5)]
    [(5, 5), (5, 5)]
    """

    name: str
    bands: dict[str, BandColumns]
    sentinels: tuple[float, ...] = ()
    customary: bool = True
    negative_error_is_limit: bool = True
    unit: FluxUnit | None = None
    default_unit: str | None = None
    distance: str | None = None
    distance_unit: str = "Mpc"
    galaxy: str | None = None
    published: dict[str, tuple] = field(default_factory=dict)
    cameras: dict[str, str] | None = None
    camera_of: dict[str, str] | None = None
    unused: dict[str, str] = field(default_factory=dict)
    recorded: dict = field(default_factory=dict)

    def informed(self, tbl) -> Layout:
        """Take in what only the whole table tells: the camera of each galaxy.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
            All rows, or one for each galaxy and combination of cameras with B.

        Returns
        -------
        Layout
        """
        from .values import galaxy_cameras

        return replace(self, camera_of=galaxy_cameras(tbl, self)) if self.cameras else self

    def read(self, tbl):
        """Read the photometry of a table, or of some of its rows.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
            With the columns that were recognized.

        Returns
        -------
        `~clusterpost.catalogs.values.Measured`

        Raises
        ------
        ColumnError, UnitError
            If a column holds what it cannot, or its unit is not known.
        """
        from .values import read_bands

        return read_bands(tbl, self)


def recognize(tbl: Table, columns: Any = None, *, unit: Any = None, missing: Sequence[float] = ()) -> Layout:
    """Find the photometry, distance and published fits of a table.

    Canonical columns are taken before those of a survey beside them.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Not changed.
    columns : dict or Layout, optional
        ``{"F275W": ("my_flux", "my_error")}``, or with a third name for the
        column of upper limits, for every band to use.  Nothing else is then
        taken for photometry.  A layout is what this function returns for
        another part of the same table.
    unit : str or Unit, optional
        Of all fluxes or magnitudes, as `~clusterpost.catalogs.units.read_unit`
        takes it; by default what each column carries.
    missing : sequence of float
        Values that stand for missing, besides the customary ones.

    Returns
    -------
    Layout
        Of a table that `~clusterpost.read_catalog` made, with the name that it
        gave, and the canonical columns.

    Raises
    ------
    ColumnError
        If there is no photometry, if a band lacks its error, if two columns
        could be the flux of one band, or if ``columns`` names what is not
        there.  The message names the columns and the remedy.
    UnitError
        If ``unit`` is none of photometry.

    Warns
    -----
    InputWarning
        If a LEGUS table without column names does not tell its cameras, or
        columns carry another unit than the one given.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs import recognize
    >>> tbl = Table({"PHANGS_F555W_mJy": [1e-3], "PHANGS_F555W_mJy_TOT_ERR": [1e-4]})
    >>> layout = recognize(tbl)
    >>> layout.name, layout.bands["F555W"].error
    ('PHANGS DR4', 'PHANGS_F555W_mJy_TOT_ERR')
    >>> recognize(Table({"acs_f814w": [1.0], "err_acs_f814w": [0.1]})).bands["F814W_ACS"].error
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
    """Return what an earlier inference of this table was told, unless something else is said now."""
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
    """Use an explicit unit; where a column says otherwise, the user hears of it."""
    other = []
    for names in layout.bands.values():
        try:
            own = read_unit(getattr(tbl[names.flux], "unit", None))
        except InputError:
            continue  # whatever it is, the given one replaces it
        if not equal_units(own, given):
            other.append(f"{names.flux!r} ({own})")
    if other:
        text = f"the unit {given} that was given (option:unit) is used, though {some(other, 5, str)} carry another"
        warnings.warn(InputWarning(text), stacklevel=3)


def survey_layout(tbl) -> Layout | None:
    """Recognize a survey's own columns, whatever canonical ones are beside them.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    Layout or None

    Raises
    ------
    ColumnError
        As `recognize`.
    """
    if is_raw_legus(tbl) and not was_read(tbl):
        return _legus(tbl, _raw_legus_bands(tbl, legus_bands(tbl.meta.get("source"))))
    labeled = _labelled_legus_bands(tbl)
    if labeled:
        for columns in labeled.values():
            if columns.error not in tbl.colnames:
                raise no_error(columns.flux, columns.error, tbl.colnames)
        return _legus(tbl, labeled)
    bands, cameras = phangs_bands(tbl)
    if not bands:
        return None
    units = {phangs_unit(c.flux) for c in bands.values()}
    # One unit cannot stand for both kinds: without a default, a column that has no unit is refused.
    default_unit = units.pop() if len(units) == 1 else None
    known = {plain_filter(band) for band in bands}
    unused = {columns[0]: name for (name, _), columns in phangs_columns(tbl.colnames)[0].items() if name not in known}
    return Layout(phangs_name(tbl.colnames, bands), bands, PHANGS_SENTINELS, False, default_unit=default_unit,
                  cameras=cameras, unused=unused, **common_columns(tbl))


def common_columns(tbl) -> dict:
    """Find the columns that any layout has: distance with its unit, galaxy and published fits, by their names."""
    names = tbl.colnames
    there = ((found, unit) for name, unit in _DISTANCES.items() if (found := find(names, name)))
    column, unit = next(there, (None, "Mpc"))
    if column is None:
        column = next((found for name in _PERHAPS_DISTANCES if (found := find(names, name)) and _is_length(tbl[found])),
                      None)
    return {"distance": column, "distance_unit": unit, "published": published_columns(tbl)[1],
            "galaxy": find(names, "galaxy", "PHANGS_GALAXY", "galaxy_name", "host_galaxy")}


def _is_length(column):
    unit = getattr(column, "unit", None)
    try:
        return unit is not None and unit.is_equivalent("Mpc")
    except (AttributeError, ValueError, TypeError):
        return False


def _legus(tbl, bands):
    return Layout("LEGUS", bands, LEGUS_SENTINELS, False, negative_error_is_limit=False, default_unit="mag",
                  unused={f"{name}_vega": name for name in ("F606W_ACS",)
                          if f"{name}_vega" in tbl.colnames and name not in bands}, **common_columns(tbl))


def _raw_legus_bands(tbl, bands):
    position = raw_positions(tbl, bands)
    return {b: BandColumns(position[f"{b}_vega"], position[f"{b}_vega_err"], None, "Vega") for b in BANDS
            if f"{b}_vega" in position}


def _labelled_legus_bands(tbl):
    """As `read_legus` names them."""
    if not {"age_legus", "mass_legus", "ebv_legus", "chi2_legus", "q_legus"} & set(tbl.colnames):
        return {}
    return {band: BandColumns(f"{band}_vega", f"{band}_vega_err", None, "Vega") for band in BANDS
            if f"{band}_vega" in tbl.colnames}


# By names


def _from_names(tbl, read):
    names = tbl.colnames
    fluxes, errors, limits = _parsed(names)
    exact = [band for band in fluxes if band in names]
    if exact:
        canonical = {band: _chosen(names, band, fluxes, errors, limits) for band in exact}
        lacking = [band for band, columns in canonical.items() if columns.error is None]
        if lacking or not read:
            _settle(tbl, [band for band in canonical if band not in lacking], lacking)
        if lacking:
            raise no_error(lacking[0], f"{lacking[0]}_err", names)
        # Beside what was read already, or a survey's columns, other names are not looked into.
        alone = not read and not _survey_filters(tbl)
        others = _complete(names, fluxes, errors, limits, set(fluxes) - set(exact)) if alone else {}
        bands = canonical | others
        name = meta_value(tbl, LAYOUT_KEY) if read else None
        unused = {} if name == "columns argument" else _unused(tbl, bands)
        return Layout(name or "canonical", _ordered(bands), _known_sentinels(tbl, bands), unused=unused,
                      **common_columns(tbl))
    layout = survey_layout(tbl)
    if layout is not None:
        return layout
    bands = {band: _chosen(names, band, fluxes, errors, limits) for band in fluxes}
    lacking = [columns.flux for columns in bands.values() if columns.error is None]
    if not bands or len(lacking) == len(bands):
        raise no_error(lacking[0], f"{lacking[0]}_err", names) if lacking else _no_photometry(tbl)
    bands = {band: columns for band, columns in bands.items() if columns.error is not None}
    _check_cameras(names, bands)
    unused = _unused(tbl, bands)
    return Layout("canonical", _ordered(bands), _known_sentinels(tbl, bands), unused=unused, **common_columns(tbl))


def _ordered(bands):
    return {band: bands[band] for band in BANDS if band in bands}


def _parsed(names):
    """Columns of flux, error and limit by band, in the order of the table."""
    found = {"flux": {}, "error": {}, "limit": {}}
    for name in names:
        parsed = parse_name(name)
        if parsed is not None and parsed.band is not None:
            found[parsed.role].setdefault(parsed.band, []).append((name, parsed.unit))
    return found["flux"], found["error"], found["limit"]


def _chosen(names, band, fluxes, errors, limits):
    """Return the columns of one band; its error is None where it is absent."""
    flux, unit = _one(band, "flux", fluxes[band], band)
    alike = [entry for entry in errors.get(band, ()) if _same_kind(unit, entry[1])]
    error = _one(band, "error", alike, f"{band}_err")[0] if alike else None
    flags = [entry for entry in limits.get(band, ())]
    limit = _one(band, "limit", flags, f"{band}_limit")[0] if flags else None
    kind = read_unit(unit)
    return BandColumns(flux, error, limit, kind.system if kind else None, None if kind is None else str(kind.unit))


def _one(band, what, candidates, canonical):
    """Return the canonical name, or else the only candidate."""
    for name, unit in candidates:
        if name == canonical:
            return name, unit
    if len(candidates) > 1:
        raise ambiguous(band, what, [name for name, _ in candidates])
    return candidates[0]


def _same_kind(flux, error):
    """Whether the names of a flux and of an error can go together."""
    magnitudes = {"mag", "Vega", "AB", "ST"}
    return flux is None or error is None or (flux in magnitudes) == (error in magnitudes)


def _complete(names, fluxes, errors, limits, wanted):
    """Those of the wanted bands whose columns are clear; the others are reported as unused."""
    bands = {}
    for band in wanted:
        try:
            columns = _chosen(names, band, fluxes, errors, limits)
        except ColumnError:
            continue
        if columns.error is not None:
            bands[band] = columns
    _check_cameras(names, bands)
    return bands


def _check_cameras(names, bands):
    """Raise if a filter of ACS/WFC alone, by its plain name, stands beside filters of both optical cameras."""
    plain = [c.flux for band, c in bands.items()
             if c.flux.upper() == plain_filter(band) != band and BANDS[band].instrument == "ACS/WFC"]
    filters = [plain_filter(band) for band in BANDS]
    both = [band for band in names if band in BANDS and filters.count(band) > 1 and band in {c.upper() for c in names}]
    if plain and both:
        band = band_called(plain[0])
        raise ColumnError(
            f"{plain[0]!r} is a filter of {BANDS[band].instrument} alone, and {', '.join(map(repr, both))} could be of "
            f"either camera; rename the columns (such as {both[0]!r} to '{both[0]}_ACS' if it is of ACS/WFC), or name "
            f"every band with option:columns, {plain[0]!r} as {band}"
        )


def _unused(tbl, bands):
    """Columns that look like photometry and are of no band that is used."""
    used = {name for columns in bands.values() for name in (columns.flux, columns.error, columns.limit)}
    kept = {}
    for name in tbl.colnames:
        parsed = parse_name(name)
        if parsed is None or parsed.role != "flux" or name in used or parsed.band in bands or not _numeric(tbl[name]):
            continue
        kept.setdefault(parsed.filter, name)
    return {name: filter_ for filter_, name in kept.items()}


def _numeric(column):
    """Whether a column holds one number a row; times and positions have neither shape nor type of numbers."""
    return getattr(column, "ndim", 2) == 1 and getattr(getattr(column, "dtype", None), "kind", "O") in "fiu"


def _survey_filters(tbl):
    survey = {}
    for (name, _), columns in phangs_columns(tbl.colnames)[0].items():
        survey.setdefault(name, []).extend(columns)
    for band, columns in _labelled_legus_bands(tbl).items():
        survey.setdefault(plain_filter(band), []).append(columns.flux)
    return {name: columns for name, columns in survey.items() if name in {plain_filter(band) for band in BANDS}}


def _settle(tbl, canonical, lacking):
    """Canonical columns beside those of a survey are the ones to use, if they are all there."""
    survey = _survey_filters(tbl)
    if not survey or not (lacking or survey.keys() - {plain_filter(band) for band in canonical}):
        return
    candidates = {name: [b for b in (*canonical, *lacking) if plain_filter(b) == name] + survey.get(name, [])
                  for name in dict.fromkeys(map(plain_filter, BANDS))}
    listed = "; ".join(f"{name}: {' or '.join(found)}" for name, found in candidates.items() if found)
    raise ColumnError(
        f"the table has canonical and survey photometry, and the canonical one is not complete ({listed}); complete it "
        "(each band with its <band>_err), drop one set, or choose with option:columns"
    )


# By argument


def _from_argument(tbl, columns):
    bands = _argument_bands(tbl, columns)
    # Columns that a survey named keep its unit, whoever points at them.
    units = {_survey_unit(tbl, c.flux) for c in bands.values()}
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
                    f"option:columns names for {key} a column {shown(column)} that the table has not"
                    f"{hint(str(column), names)}; it has {some(names)}"
                )
        if owner.setdefault(value[0], band) != band:
            raise ColumnError(f"option:columns gives column {value[0]!r} to two bands, {owner[value[0]]} and {band}")
        given[band] = tuple(value)
    bands = {}
    for band in (b for b in BANDS if b in given):
        flux, error, *limit = given[band]
        if not limit:  # a flux column is not one without its limits
            limit = [name for name in (f"{flux}_limit", f"l_{flux}") if name in names]
        system = "Vega" if _survey_unit(tbl, flux) == "mag" else None
        bands[band] = BandColumns(flux, error, limit[0] if limit else None, system)
    return bands


def _survey_unit(tbl, flux):
    legus = is_raw_legus(tbl) or any(columns.flux == flux for columns in _labelled_legus_bands(tbl).values())
    return "mag" if legus else phangs_unit(flux)


def _known_sentinels(tbl, bands):
    """Sentinels that both surveys write, of tables whose origin is not known."""
    units = [str(getattr(tbl[c.flux], "unit", None)).lower() for c in bands.values()]
    return PHANGS_SENTINELS + LEGUS_SENTINELS if all("mag" in unit for unit in units) else PHANGS_SENTINELS


def _no_photometry(tbl):
    found = sorted({name for name, _ in phangs_columns(tbl.colnames)[0]} | {*_unused(tbl, {}).values()})
    return ColumnError(
        f"no photometry found; the table has {some(tbl.colnames)}."
        + (f" Its columns are of filters that are not known: {', '.join(found)}." if found else "")
        + " Looked for canonical columns (F275W with F275W_err, ...) and others that name a band, for those of "
        "PHANGS-HST (PHANGS_F275W_mJy or PHANGS_F275W_VEGA with _ERR) and of LEGUS (34 to 39 columns without names). "
        "Name the columns with option:columns, for each band a flux column and an error column"
    )
