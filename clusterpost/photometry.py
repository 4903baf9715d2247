"""Conversion of a table to plain arrays: fluxes, errors, limits, and distances.

Units, sentinels, masks, and magnitudes are handled here; later code uses mJy and Mpc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.table import Row, Table

from .bands import get_band
from .catalogs.canonical import floor_in, record_floor, recorded_floor
from .catalogs.levels import check_levels
from .catalogs.metadata import FLOOR_KEY
from .catalogs.recognition import recognize
from .catalogs.table_distances import to_mpc
from .catalogs.values import MAG_PER_RELATIVE, is_magnitude, numbers, plain, read_band, unit_of
from .errors import InputError, shown
from .families.clusters.parameters import DISTANCE
from .families.covariates import read_covariates, read_optional
from .findings import Findings

if TYPE_CHECKING:
    from .families.covariates import Covariate

_SOURCES = {"lee2022": "Lee et al. 2022", "legus": "Calzetti et al. 2015", "literature": "literature",
            "argument": "as given"}

__all__ = ["MAG_PER_RELATIVE", "Photometry", "apply_error_floor", "check_table", "to_mpc"]


@dataclass
class Photometry:
    """Measured fluxes of ``n`` objects in plain arrays.

    Attributes
    ----------
    bands : tuple of str
        Canonical names.
    flux, error : ndarray (n, n_band)
        mJy; NaN for missing bands. ``flux`` is the limit where ``limit`` is True.
        Errors are positive or zero and include the floor.
    limit : ndarray of bool (n, n_band)
        Upper limits.
    covariates : dict of ndarray (n,)
        Other known quantities, such as ``distance`` (Mpc); NaN if unknown.
    sources : dict of str
        Sources of the covariates.
    error_floor : float
        Relative floor included in the errors; zero for none.
    layout : str
        Recognized layout of the table.
    columns : tuple of str
        Flux column of each band.
    unused : tuple of str
        Columns that look like photometry in unknown bands.
    sentinels : dict of str to Counter
        Values treated as missing and their counts, by band.
    faults : dict of str to Fault
        Faults of the covariates.
    units : dict of str
        Units of the covariates.
    recorded : dict
        Entries for a table's meta with which it is read the same way again.
    """

    bands: tuple
    flux: np.ndarray
    error: np.ndarray
    limit: np.ndarray
    covariates: dict
    sources: dict
    error_floor: float
    layout: str
    columns: tuple = ()
    unused: tuple = ()
    sentinels: dict = field(default_factory=dict)
    recorded: dict = field(default_factory=dict)
    units: dict = field(default_factory=dict)
    faults: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.flux)

    @property
    def missing(self) -> np.ndarray:
        """Whether a band has neither a measurement nor a limit, (n, n_band)."""
        return np.isnan(self.flux)

    @property
    def distance(self) -> np.ndarray | None:
        """Distances in Mpc, NaN if unknown, (n,)."""
        return self.covariates["distance"]

    @property
    def findings(self) -> Findings:
        """Counts of rows, rows without any measurement, and values treated as missing."""
        counted = tuple((band, *found) for band, counts in self.sentinels.items() for found in counts.items())
        return Findings(len(self), int(self.missing.all(axis=1).sum()), self.columns, self.faults, counted)

    def describe(self, bands: Sequence[str] | None = None) -> str:
        """Describe in one line what was read: bands, distance and its source, error floor.

        Parameters
        ----------
        bands : sequence of str, optional
            Bands in use; all by default.

        Returns
        -------
        str
        """
        floor = f"error floor {100 * self.error_floor:.3g} %" if self.error_floor else "no error floor"
        used = " ".join(self.bands if bands is None else bands)
        return "; ".join([f"bands: {used}", *map(self._described, self.sources), floor])

    def _described(self, name):
        """Describe the range and source of a covariate."""
        known, unit = self.covariates[name][np.isfinite(self.covariates[name])], self.units.get(name, "")
        if not len(known):
            return f"no {name}"
        same = np.ptp(known) <= 1e-6 * np.abs(known).max()
        span = f"{known.min():.4g}" if same else f"{known.min():.4g} to {known.max():.4g}"
        source, _, where = self.sources[name].partition(": ")
        sources = " and ".join(_SOURCES.get(part, part) for part in source.split(" and "))
        return f"{name} {f'{span} {unit}'.rstrip()} ({sources}{f', {where}' if where else ''})"

    def select(self, bands: Sequence[str]) -> Photometry:
        """Return the same objects in other bands, by name; absent bands are missing.

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
    def from_table(cls, tbl: Table, *, columns: dict | None = None, unit: str | u.UnitBase | None = None,
                   missing: Sequence[float] = (), distance: float | None = None, error_floor: float | None = 0.05,
                   covariates: Sequence = (DISTANCE,)) -> Photometry:
        """Read the photometry of a table.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
            Table with photometry; not modified.
        columns : dict or Layout, optional
            Names of columns, ``{"F275W": ("my_flux", "my_error")}``.
        unit : str or Unit, optional
            Unit of all fluxes or magnitudes if the columns have none.
        missing : sequence of float
            Additional values that mark missing data, besides the usual ones.
        distance : float, Quantity, array or str, optional
            Distance in Mpc unless it has a unit, one for all rows or one per row, or the name of a
            galaxy.  By default from the table.
        error_floor : float or None
            Relative systematic error, added in quadrature unless the table
            records that `apply_error_floor` added it (Walter et al. 2025, Eq. 10).
        covariates : sequence of Covariate
            Other known quantities required by the model family; a distance by default.

        Returns
        -------
        Photometry

        Raises
        ------
        InputError
            If the input is not valid, with column, row, and remedy, or if no row
            has a measurement.
        """
        photometry = cls.of_rows(tbl, columns=columns, unit=unit, missing=missing, distance=distance,
                                 error_floor=error_floor, covariates=covariates)
        photometry.findings.raise_or_warn()
        return photometry

    @classmethod
    def of_rows(cls, tbl: Table, *, columns: list[int] | dict[str, Any] | None = None,
                unit: str | u.UnitBase | None = None, missing: Sequence[float] = (),
                distance: u.Quantity | float | str | None = None, error_floor: float | str | None = 0.05,
                covariates: tuple[Covariate, ...] = (DISTANCE,), optional: tuple[Covariate, ...] = ()) -> Photometry:
        """Read rows of a table that may have no measurement; see `from_table`.

        ``optional`` covariates and their errors are included if the table has columns with their names.
        """
        check_table(tbl)
        if len(tbl) == 0:
            raise InputError("the table has no rows; give a table with at least one object")
        layout = recognize(tbl, columns, unit=unit, missing=missing)
        if layout.name.startswith("PHANGS") and not set(layout.bands) & set(tbl.colnames):
            check_levels(tbl)  # read_catalog has already checked other tables
        measured = layout.read(tbl)
        flux, error, limit = measured.flux, measured.error, measured.limit
        floor = 0.0 if error_floor is None else _check_floor(error_floor)
        applied = floor_in(tbl, [c.error for c in layout.bands.values()])
        if applied is None:
            error = np.where(limit, error, np.hypot(error, floor * np.abs(flux)))
        values, sources, faults = read_covariates(tbl, layout, covariates, distance=distance)
        for known, more in zip((values, sources, faults), read_optional(tbl, optional, layout.sentinels), strict=True):
            known.update(more)
        return cls(tuple(layout.bands), flux, error, limit, values, sources,
                   floor if applied is None else applied, layout.name, tuple(c.flux for c in layout.bands.values()),
                   tuple(layout.unused), measured.sentinels, layout.recorded,
                   {c.name: c.unit for c in (*covariates, *optional)}, faults)


def apply_error_floor(tbl: Table, floor: float = 0.05, *, columns: Mapping | None = None, unit: Any = None,
                      missing: Sequence[float] = ()) -> Table:
    """Add a systematic relative error to every flux error in quadrature.

    .. versionchanged:: 0.2
       Added the options ``unit`` and ``missing``.

    r' = sqrt(r^2 + floor^2) for the relative error r (Walter et al. 2025,
    Eq. 10).  Upper limits and missing values do not change.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table with photometry in fluxes or magnitudes; not modified.
    floor : float
        Relative error, 0.05 for 5 %.
    columns, unit, missing
        As for `~clusterpost.infer_table`.

    Returns
    -------
    `~astropy.table.Table`
        A copy with larger errors and the floor recorded in its ``meta``.  A
        table that already has this floor is returned as an unchanged copy.

    Raises
    ------
    InputError
        If the table already has another floor.

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
    layout = recognize(tbl, columns, unit=unit, missing=missing)
    errors = [names.error for names in layout.bands.values()]
    recorded = recorded_floor(tbl)
    if recorded is not None and recorded != floor:
        raise InputError(
            f"the errors of this table already include a floor of {recorded:g} ({FLOOR_KEY} in the metadata); "
            f"start from the table without it to apply {floor:g}"
        )
    out = tbl.copy()
    if floor_in(tbl, errors) is not None:
        return out
    for band, names in layout.bands.items():
        flux, error, limit, _ = read_band(tbl, layout, band)
        change = np.isfinite(flux) & ~limit
        if is_magnitude(unit_of(tbl, names.flux, layout, names)):
            new = np.hypot(numbers(tbl, names.error), MAG_PER_RELATIVE * floor)
        else:
            mjy = np.hypot(error, floor * np.abs(flux)) * u.mJy
            pivot = get_band(band).pivot * u.AA
            new = mjy.to_value(unit_of(tbl, names.error, layout, names).unit, u.spectral_density(pivot))
        out[names.error] = out[names.error].astype(float)
        plain(out[names.error])[change] = new[change]
    record_floor(out, errors, floor)
    return out


def check_table(tbl: Any) -> None:
    """Raise if the input is not a table.

    Parameters
    ----------
    tbl : object

    Raises
    ------
    InputError
        If it is not, with the remedy.
    """
    if isinstance(tbl, Row):
        raise InputError("expected a table, not a row; a slice of one row is still a table")
    if not isinstance(tbl, Table):
        raise InputError(f"expected an astropy Table, not {type(tbl).__name__}; make one with Table or "
                         "Table.from_pandas, or read one with clusterpost.read_catalog")


def _check_floor(floor):
    try:
        value = float(floor)
    except (TypeError, ValueError):
        value = np.nan
    if not 0 <= value < 1:
        raise InputError(f"option:error-floor={shown(floor)} must be a relative error from 0 to below 1, such as 0.05")
    return value
