"""From a table to plain arrays: fluxes, errors, limits and distances.

Units, sentinels, masks and magnitudes end here; what follows sees mJy and Mpc.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np
from astropy.table import Row, Table

from .bands import get_band
from .catalogs.layouts import recognise
from .errors import ColumnError, DistanceError, InputError, UnitError

__all__ = ["MAG_PER_RELATIVE", "Photometry", "apply_error_floor", "check_table", "to_mpc"]

#: Magnitude error of a small relative flux error of one: 2.5 / ln 10.
MAG_PER_RELATIVE = 2.5 / np.log(10)
_FLOOR_KEY = "ERRFLOOR"


@dataclass
class Photometry:
    """Measured fluxes of ``n`` objects in plain arrays.

    Attributes
    ----------
    bands : tuple of str
        Canonical names.
    flux, error : ndarray (n, n_band)
        mJy; NaN where a band is missing, and ``flux`` the limit where ``limit`` is True.
        Errors are positive or zero, with the floor in them.
    limit : ndarray of bool (n, n_band)
        Upper limits.
    distance : ndarray (n,)
        Mpc; NaN where unknown.
    distance_source : str
        Where the distances come from.
    error_floor : float
        The relative floor that the errors hold; zero for none.
    layout : str
        What the table was recognised as.
    """

    bands: tuple
    flux: np.ndarray
    error: np.ndarray
    limit: np.ndarray
    distance: np.ndarray
    distance_source: str
    error_floor: float
    layout: str

    def __len__(self):
        return len(self.flux)

    @property
    def missing(self):
        """True where a band has neither a measurement nor a limit, (n, n_band)."""
        return np.isnan(self.flux)

    def select(self, bands):
        """The same objects in other bands, by name; a band that is not there is missing.

        Parameters
        ----------
        bands : sequence of str

        Returns
        -------
        Photometry
        """
        shape = (len(self), len(bands))
        flux, error, limit = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, bool)
        for i, band in enumerate(bands):
            if band in self.bands:
                j = self.bands.index(band)
                flux[:, i], error[:, i], limit[:, i] = self.flux[:, j], self.error[:, j], self.limit[:, j]
        return replace(self, bands=tuple(bands), flux=flux, error=error, limit=limit)

    @classmethod
    def from_table(cls, tbl, *, columns=None, distance=None, error_floor=0.05):
        """Read the photometry of a table.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
            Not changed.
        columns : dict, optional
            ``{"F275W": ("my_flux", "my_error")}`` for columns of other names.
        distance : float, Quantity, array or str, optional
            Mpc unless it has a unit; one for all or one per row, or a galaxy's
            name.  By default from the table.
        error_floor : float or None
            Relative systematic error, added in quadrature unless the table
            says that `apply_error_floor` did so (Walter et al. 2025, Eq. 10).

        Returns
        -------
        Photometry

        Raises
        ------
        InputError
            Or one of its kinds, naming column, row and remedy.
        """
        check_table(tbl)
        if len(tbl) == 0:
            raise InputError("the table has no rows; give one with at least one cluster")
        layout = recognise(tbl, columns)
        found = [_read_band(tbl, layout, band) for band in layout.bands]
        flux, error, limit = (np.stack(part, axis=1) for part in zip(*found, strict=True))
        if np.isnan(flux).all():
            raise InputError(
                f"all {len(tbl)} rows are missing in every band (columns "
                f"{', '.join(c.flux for c in layout.bands.values())}); are these the right columns? "
                "columns={...} names others"
            )
        floor = 0.0 if error_floor is None else _check_floor(error_floor)
        applied = _applied_floor(tbl)
        if applied is None:
            error = np.where(limit, error, np.hypot(error, floor * np.abs(flux)))
        mpc, source = _distances(tbl, layout, distance)
        return cls(tuple(layout.bands), flux, error, limit, mpc, source,
                   floor if applied is None else applied, layout.name)


def apply_error_floor(tbl, floor=0.05, *, columns=None):
    """Add a systematic relative error to every flux error, in quadrature.

    r' = sqrt(r^2 + floor^2) for the relative error r (Walter et al. 2025,
    Eq. 10).  Upper limits and missing values stay as they are.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        With photometry in fluxes or magnitudes; not changed.
    floor : float
        Relative error, 0.05 for 5 %.
    columns : dict, optional
        As for `~clusterpost.infer_table`.

    Returns
    -------
    `~astropy.table.Table`
        A copy with larger errors and the floor recorded in its ``meta``.  A
        table that has this floor already comes back as an unchanged copy.

    Raises
    ------
    InputError
        If the table holds another floor already.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import QTable
    >>> import clusterpost
    >>> tbl = QTable({"F555W": [1.0, 2.0] * u.uJy, "F555W_err": [0.0, 0.24] * u.uJy})
    >>> clusterpost.apply_error_floor(tbl, 0.05)["F555W_err"]
    <Quantity [0.05, 0.26] uJy>
    """
    check_table(tbl)
    floor = _check_floor(floor)
    applied = _applied_floor(tbl)
    if applied is not None and applied != floor:
        raise InputError(
            f"this table's errors hold a floor of {applied:g} already (meta[{_FLOOR_KEY!r}]); "
            f"start from the table without it to apply {floor:g}"
        )
    out = tbl.copy()
    if applied is not None:
        return out
    layout = recognise(tbl, columns)
    for band, names in layout.bands.items():
        flux, error, limit = _read_band(tbl, layout, band)
        change = np.isfinite(flux) & ~limit
        if _is_magnitude(_unit(tbl, names.flux, layout)):
            new = np.hypot(_numbers(tbl, names.error), MAG_PER_RELATIVE * floor)
        else:
            mjy = np.hypot(error, floor * np.abs(flux)) * u.mJy
            pivot = get_band(band).pivot * u.AA
            new = mjy.to_value(_unit(tbl, names.error, layout), u.spectral_density(pivot))
        out[names.error] = out[names.error].astype(float)
        _plain(out[names.error])[change] = new[change]
    out.meta[_FLOOR_KEY] = floor
    return out


def check_table(tbl):
    """Raise if this is no table.

    Parameters
    ----------
    tbl : object

    Raises
    ------
    InputError
        With the way to make one.
    """
    if isinstance(tbl, Row):
        raise InputError("a table is needed and this is a row of one; tbl[5:6] keeps row 5 as a table")
    if not isinstance(tbl, Table):
        raise InputError(f"an astropy Table is needed, not {type(tbl).__name__}; Table(...) or Table.from_pandas(...) "
                         "makes one, clusterpost.read_catalog reads one")


def _check_floor(floor):
    if not 0 <= float(floor) < 1:
        raise InputError(f"error_floor={floor!r} must be a relative error from 0 to below 1, such as 0.05")
    return float(floor)


def _applied_floor(tbl):
    value = next((v for k, v in tbl.meta.items() if str(k).upper() == _FLOOR_KEY), None)
    return None if value is None else float(value)


def _numbers(tbl, name):
    """A column as float64 with NaN where masked."""
    column = tbl[name]
    if column.ndim != 1:
        raise ColumnError(f"column {name!r} holds an array per row; photometry needs one number per row")
    mask = np.asarray(getattr(column, "mask", np.zeros(len(tbl), bool)))
    plain = _plain(column)
    if plain.dtype.kind not in "fiu":
        row = next((i for i, v in enumerate(plain) if not _is_number(v)), 0)
        raise ColumnError(
            f"column {name!r} holds {plain.dtype} and not numbers (row {row}: {plain[row]!r}); "
            "convert it, or name another column with columns={...}"
        )
    return np.where(mask, np.nan, plain.astype(float))


def _plain(column):
    """A column's values as a view that knows neither unit nor mask."""
    return getattr(column, "unmasked", column).view(np.ndarray)


def _is_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _unit(tbl, name, layout):
    unit = getattr(tbl[name], "unit", None)
    if unit is None and layout.default_unit is not None:
        return u.Unit(layout.default_unit)
    return unit


def _is_magnitude(unit):
    return isinstance(unit, u.MagUnit) or unit == u.mag


def _is_sentinel(values, sentinels):
    return np.isclose(values[:, None], sentinels, rtol=1e-6, atol=0).any(axis=1) if sentinels else False


def _read_band(tbl, layout, band):
    """Flux and error in mJy and the limits of one band."""
    names = layout.bands[band]
    raw_flux, raw_error = _numbers(tbl, names.flux), _numbers(tbl, names.error)
    missing = (_is_sentinel(raw_flux, layout.sentinels) | _is_sentinel(raw_error, layout.sentinels)
               | ~np.isfinite(raw_flux) | ~np.isfinite(raw_error))
    limit = np.zeros(len(tbl), bool)
    if names.limit is not None:
        limit |= _numbers_or_bool(tbl, names.limit)
    if layout.negative_error_is_limit:
        limit |= ~missing & (raw_error < 0)
    elif (bad := np.flatnonzero(~missing & (raw_error < 0))).size:
        raise ColumnError(f"column {names.error!r} has a negative error in row {bad[0]}; mask it or mend it")
    raw_error = np.abs(raw_error)
    with np.errstate(over="ignore", invalid="ignore"):
        flux, error = _to_mjy(tbl, layout, band, raw_flux, raw_error)
    missing |= ~np.isfinite(flux) | ~np.isfinite(error)
    flux, error = np.where(missing, np.nan, flux), np.where(missing, np.nan, error)
    return flux, error, limit & ~missing


def _numbers_or_bool(tbl, name):
    values = np.ma.filled(np.ma.asarray(tbl[name]), False)
    if values.dtype.kind not in "biu":
        raise ColumnError(f"column {name!r} marks upper limits and must be boolean, not {values.dtype}")
    return values.astype(bool)


def _to_mjy(tbl, layout, band, flux, error):
    names = layout.bands[band]
    unit, error_unit = _unit(tbl, names.flux, layout), _unit(tbl, names.error, layout)
    if unit is None or unit == u.dimensionless_unscaled:
        raise UnitError(f"column {names.flux!r} has no unit; set one, for example tbl[{names.flux!r}].unit = 'mJy' "
                        "(or 'mag(AB)')")
    pivot = get_band(band).pivot * u.AA
    if _is_magnitude(unit):
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


def _magnitude_zero_point(tbl, names, unit, band, pivot):
    """Flux of magnitude zero, mJy."""
    system = names.magnitude_system
    if isinstance(unit, u.MagUnit) and unit.physical_unit != u.dimensionless_unscaled:
        return (0 * unit).to_value(u.mJy, u.spectral_density(pivot))
    if system is None:
        keys = ("MAGSYS", "MAGNITUDE_SYSTEM")
        system = next((v for k, v in tbl.meta.items() if str(k).upper() in keys), None)
    systems = {"AB": 0 * u.ABmag, "ST": 0 * u.STmag, "VEGA": get_band(band).ab_minus_vega * u.ABmag}
    if str(system).upper() not in systems:
        raise UnitError(
            f"column {names.flux!r} is in mag, and of which system is not said; use the unit 'mag(AB)' or 'mag(ST)', "
            "or set tbl.meta['magnitude_system'] to 'AB', 'ST' or 'Vega'"
        )
    return systems[str(system).upper()].to_value(u.mJy, u.spectral_density(pivot))


def _distances(tbl, layout, argument):
    """Distances in Mpc, one a row, and where they come from."""
    from .catalogs.distances import galaxy_distance

    n = len(tbl)
    meta = {str(k).upper(): v for k, v in tbl.meta.items()}
    if argument is not None and not isinstance(argument, str):
        mpc, source, where = to_mpc(argument, "distance="), "argument", "distance="
    elif isinstance(argument, str):
        mpc, source, where = to_mpc(galaxy_distance(argument), argument), f"galaxy {argument}", f"galaxy {argument}"
    elif layout.distance is not None:
        where = f"column {layout.distance!r}"
        values = _numbers(tbl, layout.distance)
        values = np.where(_is_sentinel(values, layout.sentinels), np.nan, values)
        mpc, source = to_mpc(values, where, tbl[layout.distance].unit), where
    elif "DISTANCE" in meta:
        mpc, source, where = to_mpc(meta["DISTANCE"], "meta['distance']"), "meta", "meta['distance']"
    else:
        mpc, source = _galaxy_distances(tbl, layout, meta, galaxy_distance)
        where = source
    if mpc.shape not in ((), (1,), (n,)):
        raise DistanceError(f"{where} has {mpc.size} values of shape {mpc.shape} for {n} rows; give one, or one per "
                            "row")
    mpc = np.broadcast_to(mpc, n).astype(float)
    bad = np.flatnonzero(mpc <= 0)
    if bad.size:
        raise DistanceError(f"{where} gives a distance of {mpc[bad[0]]:g} Mpc in row {bad[0]}; distances are "
                            "positive: mend it, or mask it where it is not known")
    return np.where(np.isfinite(mpc), mpc, np.nan), source


def to_mpc(value, where, unit=None):
    """A distance as plain Mpc, whatever it is given as.

    Parameters
    ----------
    value : float, Quantity, array or str
    where : str
        What a message calls it.
    unit : Unit, optional
        Of a value that has none; by default Mpc.

    Returns
    -------
    ndarray
        NaN where masked.

    Raises
    ------
    DistanceError
        If it is no distance.
    """
    try:
        quantity = u.Quantity(value, unit)
        if quantity.unit == u.dimensionless_unscaled:
            quantity = quantity.value * u.Mpc
        mask = getattr(value, "mask", False)  # which Quantity drops, and gives what lies beneath
        return np.where(mask, np.nan, np.asarray(quantity.to_value(u.Mpc), dtype=float))
    except (u.UnitConversionError, TypeError, ValueError):
        raise DistanceError(f"{where} {value!r} is not a distance; give Mpc, or a quantity of length") from None


def _galaxy_distances(tbl, layout, meta, galaxy_distance):
    if layout.galaxy is not None:
        names = [str(name) for name in tbl[layout.galaxy]]
        known = {name: galaxy_distance(name).to_value(u.Mpc) for name in dict.fromkeys(names)}
        return np.array([known[name] for name in names]), f"galaxy names in column {layout.galaxy!r}"
    for key in ("GALAXY", "TARGET", "OBJECT"):
        if key in meta:
            return np.asarray(galaxy_distance(str(meta[key])).to_value(u.Mpc)), f"galaxy {meta[key]}"
    raise DistanceError(
        "the table has no distance: add a column 'distance' (Mpc), set tbl.meta['distance'], "
        "or give distance= (a number in Mpc, a quantity, or a galaxy's name)"
    )
