"""The values of a table's columns: units, masks, sentinels and magnitudes end here."""

from __future__ import annotations

import astropy.units as u
import numpy as np

from ..bands import BANDS, get_band
from ..errors import ColumnError, UnitError
from .records import meta_value

__all__ = ["MAG_PER_RELATIVE", "clean_band", "has_flux_unit", "is_magnitude", "is_sentinel", "numbers", "plain",
           "read_band", "row_cameras", "unit_of"]

#: Magnitude error of a small relative flux error of one: 2.5 / ln 10.
MAG_PER_RELATIVE = 2.5 / np.log(10)
_TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False, "": False}


def numbers(tbl, name):
    """A column as float64 with NaN where masked.

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
        If it holds anything but one number a row.
    """
    column = tbl[name]
    if column.ndim != 1:
        raise ColumnError(f"column {name!r} holds an array per row; photometry needs one number per row")
    mask = np.asarray(getattr(column, "mask", np.zeros(len(tbl), bool)))
    values = plain(column)
    if values.dtype.kind not in "fiu":
        row = next((i for i, v in enumerate(values) if not _is_number(v)), 0)
        raise ColumnError(
            f"column {name!r} holds {values.dtype} and not numbers (row {{row}}: {values[row]!r}); "
            "convert it, or name another column with columns={...}", row=row
        )
    return np.where(mask, np.nan, values.astype(float))


def plain(column):
    """A column's values as a view that knows neither unit nor mask.

    Parameters
    ----------
    column : Column or Quantity

    Returns
    -------
    ndarray
    """
    return getattr(column, "unmasked", column).view(np.ndarray)


def _is_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def unit_of(tbl, name, layout):
    """The unit of a column, or the one of its layout where it carries none.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    name : str
    layout : `~clusterpost.catalogs.layouts.Layout`

    Returns
    -------
    Unit or None
    """
    unit = getattr(tbl[name], "unit", None)
    if unit is None and layout.default_unit is not None:
        return u.Unit(layout.default_unit)
    return unit


def is_magnitude(unit):
    """Whether a unit is one of magnitudes.

    Parameters
    ----------
    unit : Unit or None

    Returns
    -------
    bool
    """
    return isinstance(unit, u.MagUnit) or unit == u.mag


def is_sentinel(values, sentinels):
    """Where values are among the sentinels.

    Parameters
    ----------
    values : ndarray (n,)
    sentinels : sequence of float

    Returns
    -------
    ndarray of bool (n,)
    """
    if not sentinels:
        return np.zeros(len(values), bool)
    return np.isclose(values[:, None], sentinels, rtol=1e-6, atol=0).any(axis=1)


def row_cameras(tbl, layout):
    """The camera of B, V and I of each row of a table that holds both.

    A row without B has the camera of the other rows of its galaxy.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`

    Returns
    -------
    ndarray of str (n,)
        Instrument, or empty where it is not known.

    Raises
    ------
    ColumnError
        If a row has both.
    """
    measured = {}
    for camera, name in layout.cameras.items():
        values = numbers(tbl, name)
        measured[camera] = np.isfinite(values) & ~is_sentinel(values, layout.sentinels)
    both = np.flatnonzero(np.all(list(measured.values()), axis=0))
    if both.size:
        raise ColumnError(
            f"row {{row}} has B from both cameras ({' and '.join(map(repr, layout.cameras.values()))}), and V and I "
            "could be of either; mask one of the two, or name the bands with columns={...}", row=both[0]
        )
    camera = np.full(len(tbl), "", dtype="U9")
    for name, rows in measured.items():
        camera[rows] = name
    if layout.galaxy is not None:
        galaxy = np.asarray(tbl[layout.galaxy]).astype(str)
        for name in np.unique(galaxy[camera == ""]):
            known = np.unique(camera[(galaxy == name) & (camera != "")])
            if len(known) == 1:
                camera[(galaxy == name) & (camera == "")] = known[0]
    return camera


def clean_band(tbl, layout, band):
    """Flux, error and limits of one band as the columns hold them, written one way.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    band : str

    Returns
    -------
    flux, error : ndarray (n,)
        In the unit of their columns; NaN where either is missing.  Errors are
        positive or zero.
    limit : ndarray of bool (n,)

    Raises
    ------
    ColumnError
        If a column holds what it cannot.
    """
    names = layout.bands[band]
    flux, error = numbers(tbl, names.flux), numbers(tbl, names.error)
    missing = (is_sentinel(flux, layout.sentinels) | is_sentinel(error, layout.sentinels)
               | ~np.isfinite(flux) | ~np.isfinite(error))
    if layout.cameras and BANDS[band].instrument in layout.cameras and BANDS[band].pivot > 4000:  # ACS/WFC has no bluer
        missing |= row_cameras(tbl, layout) != BANDS[band].instrument
    limit = np.zeros(len(tbl), bool)
    if names.limit is not None:
        limit |= _truths(tbl, names.limit)
    if layout.negative_error_is_limit:
        limit |= ~missing & (error < 0)
    elif (bad := np.flatnonzero(~missing & (error < 0))).size:
        raise ColumnError(f"column {names.error!r} has a negative error in row {{row}}; mask it or mend it",
                          row=bad[0])
    return np.where(missing, np.nan, flux), np.where(missing, np.nan, np.abs(error)), limit & ~missing


def _truths(tbl, name):
    column = tbl[name]
    masked = np.asarray(getattr(column, "mask", False))
    values = np.asarray(getattr(column, "unmasked", column))
    if values.dtype.kind in "US":  # as text files spell them
        text = [str(v).strip().lower() for v in values.astype(str)]
        if all(t in _TRUTH or m for t, m in zip(text, np.broadcast_to(masked, len(text)), strict=True)):
            values = np.array([_TRUTH.get(t, False) for t in text], bool)
    if values.dtype.kind not in "biu":
        raise ColumnError(f"column {name!r} marks upper limits and must be boolean, not {values.dtype}")
    return values.astype(bool) & ~masked


def read_band(tbl, layout, band):
    """Flux and error in mJy and the limits of one band.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    band : str

    Returns
    -------
    flux, error : ndarray (n,)
        NaN where missing.
    limit : ndarray of bool (n,)

    Raises
    ------
    ColumnError, UnitError
    """
    flux, error, limit = clean_band(tbl, layout, band)
    with np.errstate(over="ignore", invalid="ignore"):
        flux, error = _to_mjy(tbl, layout, band, flux, error)
    missing = ~np.isfinite(flux) | ~np.isfinite(error)
    return np.where(missing, np.nan, flux), np.where(missing, np.nan, error), limit & ~missing


def has_flux_unit(tbl, layout, band):
    """Whether the columns of a band say enough to be converted to mJy, however wrongly.

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
    unit = unit_of(tbl, names.flux, layout)
    if unit is None or unit == u.dimensionless_unscaled:
        return False
    if is_magnitude(unit):
        return _magnitude_system(tbl, names, unit) is not None
    return unit_of(tbl, names.error, layout) is not None


def _to_mjy(tbl, layout, band, flux, error):
    names = layout.bands[band]
    unit, error_unit = unit_of(tbl, names.flux, layout), unit_of(tbl, names.error, layout)
    if unit is None or unit == u.dimensionless_unscaled:
        raise UnitError(f"column {names.flux!r} has no unit; set one, for example tbl[{names.flux!r}].unit = 'mJy' "
                        "(or 'mag(AB)')")
    pivot = get_band(band).pivot * u.AA
    if is_magnitude(unit):
        if error_unit is not None and not error_unit.is_equivalent(u.mag):
            raise UnitError(f"column {names.error!r} is in {error_unit} beside magnitudes in {names.flux!r}; "
                            "give the error in mag")
        zero_point = _magnitude_zero_point(tbl, names, unit, band, pivot)
        value = zero_point * 10 ** (-0.4 * flux)
        return value, value * error / MAG_PER_RELATIVE
    if error_unit is None:
        raise UnitError(f"column {names.error!r} has no unit beside {names.flux!r} in {unit}; "
                        f"set tbl[{names.error!r}].unit = {str(unit)!r}")
    spectral = u.spectral_density(pivot)
    try:
        return (flux * unit).to_value(u.mJy, spectral), (error * error_unit).to_value(u.mJy, spectral)
    except ValueError:  # of conversion, or because astropy does not know the unit at all
        wrong = names.error if unit.is_equivalent(u.mJy, spectral) else names.flux
        raise UnitError(
            f"column {wrong!r} is in {getattr(tbl[wrong], 'unit', None)}, which is no flux density; "
            "fluxes need a unit convertible to Jy, or AB, ST or Vega magnitudes"
        ) from None


def _magnitude_system(tbl, names, unit):
    """The name of the system, ``unit`` where the unit itself tells, or None."""
    if isinstance(unit, u.MagUnit) and unit.physical_unit != u.dimensionless_unscaled:
        return "unit"
    return names.magnitude_system or meta_value(tbl, "MAGSYS", "MAGNITUDE_SYSTEM")


def _magnitude_zero_point(tbl, names, unit, band, pivot):
    """Flux of magnitude zero, mJy."""
    system = _magnitude_system(tbl, names, unit)
    if system == "unit":
        return (0 * unit).to_value(u.mJy, u.spectral_density(pivot))
    systems = {"AB": 0 * u.ABmag, "ST": 0 * u.STmag, "VEGA": get_band(band).ab_minus_vega * u.ABmag}
    if str(system).upper() not in systems:
        raise UnitError(
            f"column {names.flux!r} is in mag, and of which system is not said; use the unit 'mag(AB)' or 'mag(ST)', "
            "or set tbl.meta['magnitude_system'] to 'AB', 'ST' or 'Vega'"
        )
    return systems[str(system).upper()].to_value(u.mJy, u.spectral_density(pivot))
