"""Conversion of table columns with units, masks, sentinels and magnitudes to plain fluxes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from ..bands import BANDS, get_band
from ..errors import ColumnError, UnitError, shown
from .columns import PHANGS_SENTINELS, tells_camera
from .metadata import meta_value
from .sentinels import is_sentinel, no_measurement
from .units import FluxUnit, read_unit

if TYPE_CHECKING:
    from astropy.table import Column, Table

    from .columns import BandColumns
    from .layouts import Layout

__all__ = ["MAG_PER_RELATIVE", "Measured", "clean_band", "galaxy_cameras", "has_flux_unit", "is_magnitude", "numbers",
           "plain", "read_band", "read_bands", "truths", "unit_of"]

#: Magnitude error over relative flux error, for small errors: 2.5 / ln 10.
MAG_PER_RELATIVE = 2.5 / np.log(10)
_MOST = 1e300  # mJy, replaces values beyond double precision
_TRUE = {"true", "t", "1", "1.0", "y", "yes", "<", ">", "<=", ">=", "l", "ul"}
_FALSE = {"false", "f", "0", "0.0", "n", "no", "", "=", "-", "--", "none", "nan", "null"}
# Names of numpy's kinds of data, for messages.
_KINDS = {"U": "texts", "S": "texts", "b": "booleans", "M": "times", "m": "durations", "c": "complex numbers",
          "V": "records"}


@dataclass
class Measured:
    """Fluxes of a table's rows, read from its columns.

    Attributes
    ----------
    bands : tuple of str
    flux, error : ndarray (n, n_band)
        mJy; NaN for missing values.
    limit : ndarray of bool (n, n_band)
    sentinels : dict of str to Counter
        How often which value was taken as missing, by band.
    """

    bands: tuple
    flux: np.ndarray
    error: np.ndarray
    limit: np.ndarray
    sentinels: dict = field(default_factory=dict)


def numbers(tbl: Table, name: str) -> np.ndarray:
    """Return a column as float64, with NaN for masked values.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    name : str

    Returns
    -------
    ndarray (n,)

    Raises
    ------
    ColumnError
        If it does not hold one real number per row.
    """
    column = tbl[name]
    dtype = getattr(column, "dtype", None)
    if dtype is None or getattr(column, "ndim", 1) != 1:
        what = f"{type(column).__name__} objects" if dtype is None else "an array per row"
        raise ColumnError(f"column {shown(name)} holds {what}; photometry needs one number per row")
    mask = np.asarray(getattr(column, "mask", np.zeros(len(tbl), bool)))
    values = plain(column)
    if values.dtype.kind == "O" and all(value is None or _is_real(value) for value in values):
        mask = mask | np.array([value is None for value in values], bool)
        values = np.array([np.nan if value is None else float(value) for value in values])
    if values.dtype.kind not in "fiu":
        row = next((i for i, v in enumerate(values) if not _is_real(v)), 0 if len(values) else None)
        found = ("", None) if row is None else (f" (row {{row}}: {shown(values[row])})", row)
        raise ColumnError(
            f"column {shown(name)} holds {_KINDS.get(values.dtype.kind, 'objects')} and not numbers{found[0]}; "
            "convert it, or name another column with option:columns", row=found[1]
        )
    return np.where(mask, np.nan, values.astype(float))


def plain(column: Column | u.Quantity) -> np.ndarray:
    """Return a column's values as a view without unit and mask.

    Parameters
    ----------
    column : Column or Quantity

    Returns
    -------
    ndarray
    """
    return getattr(column, "unmasked", column).view(np.ndarray)


def _is_real(value):
    if isinstance(value, complex | np.complexfloating):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def unit_of(tbl: Table, name: str, layout: Layout, names: BandColumns | None = None) -> FluxUnit | None:
    """Return the unit of a column: the given unit, its own unit, or that of its layout.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    name : str
    layout : `~clusterpost.catalogs.layouts.Layout`
    names : BandColumns, optional
        Columns of its band, whose names may imply the unit.

    Returns
    -------
    FluxUnit or None

    Raises
    ------
    UnitError
        If it is not a unit of photometry.
    """
    if layout.unit is not None:
        return layout.unit
    try:
        unit = read_unit(getattr(tbl[name], "unit", None))
    except UnitError as error:
        raise UnitError(f"column {shown(name)} is in {error.args[0]}") from None
    if unit is None and names is not None and names.unit is not None:
        return read_unit(names.unit)
    return read_unit(layout.default_unit) if unit is None else unit


def is_magnitude(unit: u.UnitBase | FluxUnit) -> bool:
    """Return whether a unit is a magnitude.

    Parameters
    ----------
    unit : FluxUnit, Unit or None

    Returns
    -------
    bool
    """
    if isinstance(unit, FluxUnit):
        return unit.is_magnitude
    return isinstance(unit, u.MagUnit) or unit == u.mag


def _measured_cameras(tbl, layout):
    """Return, by instrument, the rows with a value in the B column of that camera."""
    measured = {}
    for camera, name in layout.cameras.items():
        values = numbers(tbl, name)
        measured[camera] = np.isfinite(values) & ~is_sentinel(values, layout.sentinels)
    both = np.flatnonzero(np.all(list(measured.values()), axis=0))
    if both.size:
        raise ColumnError(
            f"row {{row}} has B from both cameras ({' and '.join(map(repr, layout.cameras.values()))}), and V and I "
            "could be of either; mask one of the two, or name the bands with option:columns", row=both[0]
        )
    camera = np.full(len(tbl), "", dtype="U20")
    for name, rows in measured.items():
        camera[rows] = name
    return camera


def galaxy_cameras(tbl: Table, layout: Layout) -> dict:
    """Return the camera of each galaxy of a table with rows of two cameras.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`

    Returns
    -------
    dict of str to str
        Cameras of the galaxies whose rows with B are all of one camera.

    Raises
    ------
    ColumnError
        If a row has B from both cameras.
    """
    camera = _measured_cameras(tbl, layout)
    if layout.galaxy is None:
        return {}
    galaxy = np.asarray(tbl[layout.galaxy]).astype(str)
    known = {name: np.unique(camera[(galaxy == name) & (camera != "")]) for name in np.unique(galaxy)}
    return {str(name): str(cameras[0]) for name, cameras in known.items() if len(cameras) == 1}


def _row_cameras(tbl, layout):
    """Return the camera of B, V and I of each row; for a row without B that of its galaxy, or an empty string."""
    camera = _measured_cameras(tbl, layout)
    known = galaxy_cameras(tbl, layout) if layout.camera_of is None else layout.camera_of
    if layout.galaxy is not None:
        galaxy = np.asarray(tbl[layout.galaxy]).astype(str)
        for row in np.flatnonzero(camera == ""):
            camera[row] = known.get(galaxy[row], "")
    return camera


def clean_band(tbl: Table, layout: Layout, band: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, Counter]:
    """Return flux, error and limits of one band in a uniform format and the columns' own unit.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    band : str

    Returns
    -------
    flux, error : ndarray (n,)
        Values in the unit of their columns, NaN if either is missing.  Errors are
        positive or zero.
    limit : ndarray of bool (n,)
    sentinels : Counter
        How often which value was taken as missing.

    Raises
    ------
    ColumnError
        If a column has invalid values.
    """
    names = layout.bands[band]
    flux, error = numbers(tbl, names.flux), numbers(tbl, names.error)
    missing = ~np.isfinite(flux) | ~np.isfinite(error)
    sentinel = is_sentinel(flux, layout.sentinels) | is_sentinel(error, layout.sentinels)
    counted = Counter()
    if layout.customary:
        magnitudes = is_magnitude(_unit_or_none(tbl, names.flux, layout, names))
        sentinel |= no_measurement(flux, error, magnitudes=magnitudes)
        odd = sentinel & ~missing
        flux_odd, error_odd = flux[odd], error[odd]
        by_flux = is_sentinel(flux_odd, layout.sentinels) | no_measurement(flux_odd, flux_odd, magnitudes=magnitudes)
        found = np.where(by_flux, flux_odd, error_odd)
        counted = Counter(found[~is_sentinel(found, PHANGS_SENTINELS)].tolist())  # the usual values need no warning
    missing |= sentinel
    if layout.cameras and tells_camera(band):
        missing |= _row_cameras(tbl, layout) != BANDS[band].instrument
    limit = np.zeros(len(tbl), bool)
    if names.limit is not None:
        limit |= truths(tbl, names.limit)
    if layout.negative_error_is_limit:
        limit |= ~missing & (error < 0)
    elif (bad := np.flatnonzero(~missing & (error < 0))).size:
        raise ColumnError(f"column {names.error!r} has a negative error in row {{row}}; mask it or correct it",
                          row=bad[0])
    return (np.where(missing, np.nan, flux), np.where(missing, np.nan, np.abs(error)), limit & ~missing, counted)


def _unit_or_none(tbl, name, layout, names):
    try:
        return unit_of(tbl, name, layout, names)
    except UnitError:
        return None


def truths(tbl: Table, name: str) -> np.ndarray:
    """Read a column that marks upper limits, in the spellings of text files and tables.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    name : str

    Returns
    -------
    ndarray of bool (n,)

    Raises
    ------
    ColumnError
        If a value is neither yes nor no.
    """
    column = tbl[name]
    masked = np.broadcast_to(np.asarray(getattr(column, "mask", False)), len(tbl))
    values = np.asarray(getattr(column, "unmasked", column))
    if values.ndim == 1 and values.dtype.kind in "USO":  # spellings of text files
        text = ["" if m or v is None else _text(v).strip().lower() for v, m in zip(values, masked, strict=True)]
        unknown = next((i for i, t in enumerate(text) if t not in _TRUE and t not in _FALSE), None)
        if unknown is None:
            return np.array([t in _TRUE for t in text], bool)
        found = shown(_text(values[unknown]))
        raise ColumnError(f"column {shown(name)} marks upper limits, and row {{row}} has {found}, which is neither yes "
                          "nor no; give True and False, 0 and 1, Y and N, or '<' and ''", row=unknown)
    if values.ndim != 1 or values.dtype.kind not in "bfiu":
        raise ColumnError(f"column {shown(name)} marks upper limits and must hold one yes or no per row, not "
                          f"{values.dtype}")
    known = ~masked & (np.isfinite(values) if values.dtype.kind == "f" else True)
    odd = np.flatnonzero(known & ~np.isin(values, (0, 1, -1)))
    if odd.size:
        raise ColumnError(f"column {shown(name)} marks upper limits, and row {{row}} has "
                          f"{shown(values[odd[0]].item())}; give 0 and 1", row=odd[0])
    return np.where(known, values, 0).astype(bool)


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read_band(tbl: Table, layout: Layout, band: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, Counter]:
    """Return flux and error in mJy and the limits of one band.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    band : str

    Returns
    -------
    flux, error : ndarray (n,)
        NaN for missing values; otherwise finite, but possibly too extreme for
        calculations.
    limit : ndarray of bool (n,)
    sentinels : Counter
        How often which value was taken as missing.

    Raises
    ------
    ColumnError, UnitError
    """
    flux, error, limit, counted = clean_band(tbl, layout, band)
    missing = np.isnan(flux)
    with np.errstate(over="ignore", invalid="ignore"):
        flux, error = (np.clip(values, -_MOST, _MOST) for values in _to_mjy(tbl, layout, band, flux, error))
    return np.where(missing, np.nan, flux), np.where(missing, np.nan, np.nan_to_num(error)), limit & ~missing, counted


def read_bands(tbl: Table, layout: Layout) -> Measured:
    """Read every band of a layout.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`

    Returns
    -------
    Measured

    Raises
    ------
    ColumnError, UnitError
    """
    parts = {band: read_band(tbl, layout, band) for band in layout.bands}
    arrays = (np.stack(part, axis=1) for part in zip(*(part[:3] for part in parts.values()), strict=True))
    return Measured(tuple(parts), *arrays, {band: part[3] for band, part in parts.items() if part[3]})


def has_flux_unit(tbl: Table, layout: Layout, band: str) -> bool:
    """Return whether the columns of a band have a unit, right or wrong, for a conversion to mJy.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    band : str

    Returns
    -------
    bool
    """
    names = layout.bands[band]
    unit = _unit_or_none(tbl, names.flux, layout, names)
    if unit is None:
        return getattr(tbl[names.flux], "unit", None) is not None  # reading raises for a wrong unit
    return not unit.is_magnitude or _system(tbl, names, unit) is not None


def _to_mjy(tbl, layout, band, flux, error):
    names = layout.bands[band]
    unit = unit_of(tbl, names.flux, layout, names)
    if unit is None:
        raise UnitError(f"column {shown(names.flux)} has no unit; give it with option:unit: mJy, uJy, Jy, nmgy, "
                        "erg/s/cm2/Angstrom, or the system of magnitudes: AB, ST or Vega")
    error_unit = _error_unit(tbl, layout, names, unit)
    spectral = _spectral(get_band(band).pivot)
    if unit.is_magnitude:
        if not error_unit.is_magnitude:
            raise UnitError(f"column {shown(names.error)} is in {error_unit}, but {shown(names.flux)} holds "
                            "magnitudes; give the error in mag")
        system = _system(tbl, names, unit)
        if system is None:
            raise UnitError(f"column {shown(names.flux)} is in magnitudes of an unknown system; give "
                            "option:unit as AB, ST or Vega")
        if system == "Vega" and np.isnan(get_band(band).ab_minus_vega):
            raise UnitError(f"the zero point of {band} in the Vega system is not known; give AB or ST magnitudes, or "
                            "fluxes")
        zero_mag = {"AB": 0 * u.ABmag, "ST": 0 * u.STmag, "Vega": get_band(band).ab_minus_vega * u.ABmag}[system]
        value = zero_mag.to_value(u.mJy, spectral) * 10.0 ** (-0.4 * flux)
        return value, value * error / MAG_PER_RELATIVE
    if error_unit.is_magnitude:
        raise UnitError(f"column {shown(names.error)} is in mag, which is not a flux density, beside fluxes in "
                        f"{shown(names.flux)}; give both in a unit convertible to Jy, or AB, ST or Vega magnitudes")
    return (flux * unit.unit).to_value(u.mJy, spectral), (error * error_unit.unit).to_value(u.mJy, spectral)


@lru_cache
def _spectral(pivot):
    """Return the conversions of flux densities at a wavelength in Angstrom, which take 2 ms to make."""
    return u.spectral_density(pivot * u.AA)


def _error_unit(tbl, layout, names, unit):
    """Return the unit of an error; an error without a unit is in mag for magnitudes, and raises for fluxes."""
    own = unit_of(tbl, names.error, layout, names)
    if own is None and not unit.is_magnitude:
        raise UnitError(f"column {shown(names.error)} has no unit beside {shown(names.flux)} in {unit}; set it, or "
                        "give the unit of all with option:unit")
    return own or unit


def _system(tbl, names, unit):
    """Return the system of magnitudes, or None if it is unknown."""
    if unit.system or names.magnitude_system:
        return unit.system or names.magnitude_system
    said = meta_value(tbl, "MAGSYS", "MAGNITUDE_SYSTEM")
    try:
        return getattr(read_unit(str(said)), "system", None) if said is not None else None
    except UnitError:
        return None
