"""Layouts of tables: the meaning of their columns, and the layouts of PHANGS-HST and LEGUS."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..bands import BANDS
from .columns import (
    PHANGS_SENTINELS,
    BandColumns,
    find,
    no_error,
    phangs_bands,
    phangs_columns,
    phangs_name,
    phangs_unit,
)
from .legus import LEGUS_SENTINELS, is_raw_legus, legus_bands, raw_positions
from .metadata import was_read
from .names import plain_filter
from .published import published_columns
from .units import FluxUnit
from .values import galaxy_cameras, read_bands

if TYPE_CHECKING:
    from astropy.table import Table

    from .values import Measured

__all__ = ["BandColumns", "Layout", "common_columns", "survey_filters", "survey_layout", "survey_unit"]

# Units of distance columns without a unit, by name; mag is a distance modulus.
_DISTANCES = {"distance": "Mpc", "PHANGS_DMPC": "Mpc",
              **dict.fromkeys(("distance_mpc", "dist_mpc", "d_mpc", "dmpc", "dist(mpc)"), "Mpc"),
              **dict.fromkeys(("distance_kpc", "dist_kpc", "d_kpc"), "kpc"),
              **dict.fromkeys(("distance_pc", "dist_pc"), "pc"),
              **dict.fromkeys(("distance_modulus", "dist_mod", "distmod", "dist_modulus", "DM", "PHANGS_DM"), "mag")}
#: Possible names of a distance column; a unit of length confirms them.
_PERHAPS_DISTANCES = ("dist", "D", "distances", "gal_dist", "galaxy_distance")


@dataclass(frozen=True)
class Layout:
    """Meaning of the columns of a table, as plain values that can be pickled for other processes.

    Attributes
    ----------
    name : str
        ``canonical``, ``PHANGS DR4``, ``PHANGS internal``, ``PHANGS CR3``,
        ``PHANGS DR5``, ``LEGUS`` or ``columns argument``.
    bands : dict of str to BandColumns
        Columns by canonical band name, in the order of ``clusterpost.bands.BANDS``.
    sentinels : tuple of float
        Values that mean missing in fluxes, magnitudes and errors.
    customary : bool
        Whether customary sentinels (99, 999, 1e20, ...) also mean missing.
    negative_error_is_limit : bool
        Whether a negative error marks the flux as an upper limit.
    unit : FluxUnit or None
        Unit of all fluxes or magnitudes, which overrides the units of the columns.
    default_unit : str or None
        Unit of flux, magnitude and error columns without a unit.
    distance : str or None
        Column with the distance.
    distance_unit : str
        Unit of a distance column without a unit; ``mag`` for a distance modulus.
    galaxy : str or None
        Column with the name of the galaxy.
    published : dict of str to tuple
        For each of ``age``, ``mass`` and ``ebv`` in the catalog: value column,
        columns of the lower and upper end of the interval, column of the
        symmetric error (None if absent), and the unit.
    cameras : dict of str to str, or None
        For a table with rows of two cameras: the B column of each, by
        instrument.
    camera_of : dict of str to str, or None
        The camera of each galaxy, if rows are of two cameras.
    unused : dict of str to str
        Columns that look like photometry and are not used, with their likely
        band.

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

    def informed(self, tbl: Table) -> Layout:
        """Return the layout with the camera of each galaxy, which only the whole table can tell.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
            All rows, or one row per galaxy and combination of cameras with B.

        Returns
        -------
        Layout
        """
        return replace(self, camera_of=galaxy_cameras(tbl, self)) if self.cameras else self

    def read(self, tbl: Table) -> Measured:
        """Read the photometry of a table, or of some of its rows.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
            Table with the recognized columns.

        Returns
        -------
        `~clusterpost.catalogs.values.Measured`

        Raises
        ------
        ColumnError, UnitError
            If a column has invalid values, or its unit is not known.
        """
        return read_bands(tbl, self)


def survey_layout(tbl: Table) -> Layout | None:
    """Recognize a survey's own columns, independently of canonical columns.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    Layout or None

    Raises
    ------
    ColumnError
        If two columns match the same role, or an error column is missing.
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
    # One unit cannot apply to both kinds: without a default, a column without a unit raises.
    default_unit = units.pop() if len(units) == 1 else None
    known = {plain_filter(band) for band in bands}
    unused = {columns[0]: name for (name, _), columns in phangs_columns(tbl.colnames)[0].items() if name not in known}
    return Layout(phangs_name(tbl.colnames, bands), bands, PHANGS_SENTINELS, False, default_unit=default_unit,
                  cameras=cameras, unused=unused, **common_columns(tbl))


def common_columns(tbl: Table) -> dict:
    """Find, by name, the columns that every layout can have: distance, galaxy and published fits.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    dict
        ``distance``, ``distance_unit``, ``published`` and ``galaxy`` of `Layout`.
    """
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
    """Recognize a LEGUS table as `read_legus` names its columns."""
    if not {"age_legus", "mass_legus", "ebv_legus", "chi2_legus", "q_legus"} & set(tbl.colnames):
        return {}
    return {band: BandColumns(f"{band}_vega", f"{band}_vega_err", None, "Vega") for band in BANDS
            if f"{band}_vega" in tbl.colnames}


def survey_filters(tbl: Table) -> dict[str, list[str]]:
    """Find flux columns with PHANGS-HST or LEGUS names, independently of other columns.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    dict of str to list of str
        Columns by filter.
    """
    survey = {}
    for (name, _), columns in phangs_columns(tbl.colnames)[0].items():
        survey.setdefault(name, []).extend(columns)
    for band, columns in _labelled_legus_bands(tbl).items():
        survey.setdefault(plain_filter(band), []).append(columns.flux)
    return {name: columns for name, columns in survey.items() if name in {plain_filter(band) for band in BANDS}}


def survey_unit(tbl: Table, flux: str) -> str | None:
    """Return the unit of a survey's flux column without a unit.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    flux : str

    Returns
    -------
    str or None
    """
    legus = is_raw_legus(tbl) or any(columns.flux == flux for columns in _labelled_legus_bands(tbl).values())
    return "mag" if legus else phangs_unit(flux)
