"""Column names: the patterns of PHANGS-HST, and messages about missing or ambiguous columns."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..bands import BANDS
from ..errors import ColumnError, shown
from .names import plain_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astropy.table import Table

    from ..bands import Band

__all__ = ["PHANGS_SENTINELS", "BandColumns", "find", "needed", "phangs_bands", "phangs_columns", "phangs_name",
           "phangs_unit", "tells_camera"]

PHANGS_SENTINELS = (-9999.0, -999.0)

_PHANGS_BAND = re.compile(r"PHANGS_(F\d{3}(?:LP|[WMN]))_(MJY|VEGA)(_TOT)?(_ERR)?", re.IGNORECASE)
_CAMERA_TELLS = {"WFC3/UVIS": "F438W", "ACS/WFC": "F435W"}


@dataclass(frozen=True)
class BandColumns:
    """The columns of one band.

    Attributes
    ----------
    flux, error : str
        Column names of the flux or magnitude and of its error.
    limit : str, optional
        Column that is true where ``flux`` is an upper limit.
    magnitude_system : str, optional
        ``AB``, ``ST`` or ``Vega`` if the catalog is known to hold magnitudes
        of that system; None if the unit (or the meta) gives it.
    unit : str, optional
        Unit implied by the names, for columns without a unit.

    Examples
    --------
    >>> from clusterpost.catalogs import BandColumns
    >>> BandColumns("u_mag", "u_err", magnitude_system="Vega").limit is None
    True
    """

    flux: str
    error: str
    limit: str | None = None
    magnitude_system: str | None = None
    unit: str | None = None


def find(names: Sequence[str], *wanted: str) -> str | None:
    """Return the first wanted column that exists, ignoring case if that is unambiguous.

    Parameters
    ----------
    names : sequence of str
    *wanted : str

    Returns
    -------
    str or None
    """
    for name in wanted:
        if name in names:
            return name
        alike = [n for n in names if n.lower() == name.lower()]
        if len(alike) == 1:
            return alike[0]
    return None


def needed(names: Sequence[str], *wanted: str) -> str:
    """Return the first wanted column that exists, as `find` does.

    Parameters
    ----------
    names : sequence of str
    *wanted : str

    Returns
    -------
    str

    Raises
    ------
    ColumnError
        If none of them exists.
    """
    name = find(names, *wanted)
    if name is None:
        raise ColumnError(f"the table has no column {' or '.join(map(repr, wanted))}; it has {some(names)}")
    return name


def tells_camera(band: str) -> bool:
    """Return whether the camera of a band's filter needs to be known.

    Parameters
    ----------
    band : str

    Returns
    -------
    bool
        True for a filter that two cameras have, and for the B filters that identify
        the camera of a PHANGS galaxy.
    """
    name = plain_filter(band)
    return name in _CAMERA_TELLS.values() or sum(plain_filter(other) == name for other in BANDS) > 1


# PHANGS


def phangs_columns(names: Sequence[str]) -> tuple[dict, dict]:
    """Return flux and error columns by filter and kind, such as ``("F275W", "MJY")``.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    fluxes, errors : dict of list of str
    """
    fluxes, errors = defaultdict(list), defaultdict(list)
    for name in names:
        match = _PHANGS_BAND.fullmatch(name)
        if match:
            (errors if match[4] else fluxes)[match[1].upper(), match[2].upper()].append(name)
    return fluxes, errors


def phangs_unit(flux: str) -> str | None:
    """Return the unit of a PHANGS flux column without a unit.

    Parameters
    ----------
    flux : str

    Returns
    -------
    str or None
    """
    match = _PHANGS_BAND.fullmatch(flux)
    return None if match is None else "mag" if match[2].upper() == "VEGA" else "mJy"


def phangs_bands(tbl: Table, kinds: Sequence[str] = ("MJY", "VEGA")) -> tuple[dict, dict | None]:
    """Return the bands of a PHANGS table with their columns.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    kinds : sequence of str
        Kinds of photometry, the preferred one first.

    Returns
    -------
    bands : dict of str to BandColumns
    cameras : dict of str to str, or None
        For a table of both cameras, the B column of each, by instrument; it identifies the camera of a row.

    Raises
    ------
    ColumnError
        If two columns match the same role, or an error column is missing.
    """
    fluxes, errors = phangs_columns(tbl.colnames)
    used = _cameras(tbl, fluxes, kinds)
    bands = {}
    for band, record in BANDS.items():
        name = plain_filter(band)
        if tells_camera(band) and record.instrument not in used:
            continue
        kind = next((kind for kind in kinds if (name, kind) in fluxes), None)
        if kind is None:
            continue
        candidates = fluxes[name, kind]
        if len(candidates) > 1:
            raise ambiguous(band, "flux", candidates)
        flux = candidates[0]
        error = _error_of(band, flux, errors[name, kind], tbl.colnames)
        bands[band] = BandColumns(flux, error, magnitude_system="Vega" if kind == "VEGA" else None)
    return bands, used if len(used) > 1 else None


def _error_of(band, flux, candidates, names):
    if not candidates:
        raise no_error(flux, f"{flux}_ERR", names)
    own = [c for c in candidates if c.lower() == f"{flux}_ERR".lower()]
    candidates = own or candidates
    if len(candidates) > 1:
        raise ambiguous(band, "error", candidates)
    return candidates[0]


def _cameras(tbl, fluxes, kinds):
    """Return the cameras of B, V and I in this table, each with its B column."""
    found = {}
    for camera, name in _CAMERA_TELLS.items():
        columns = next((fluxes[name, kind] for kind in kinds if (name, kind) in fluxes), None)
        if columns:
            found[camera] = columns
    if len(found) > 1:  # for one galaxy of a large table, one of the two may be empty
        values = {camera: columns for camera, columns in found.items() if any(_has_values(tbl[c]) for c in columns)}
        found = values or found
    return {camera: columns[0] for camera, columns in found.items()} or {"WFC3/UVIS": None}


def _has_values(column):
    values = np.asarray(getattr(column, "unmasked", column))
    if values.dtype.kind not in "fiu":
        return True
    mask = np.asarray(getattr(column, "mask", False))
    return bool((np.isfinite(values) & ~np.isin(values, PHANGS_SENTINELS) & ~mask).any())


def phangs_name(names: Sequence[str], bands: dict) -> str:
    """Return the PHANGS release whose naming scheme these names follow.

    Parameters
    ----------
    names : sequence of str
    bands : dict of str to BandColumns

    Returns
    -------
    str
    """
    upper = [n.upper() for n in names]
    if any(n.startswith("PHANGS_DR5_") for n in upper):
        return "PHANGS DR5"
    if any(n in ("PHANGS_SED_AGE", "PHANGS_SED_MASS", "PHANGS_SED_EBV") for n in upper):
        return "PHANGS CR3"
    # DR4 has _TOT in the names of some error columns, but never of a flux column.
    if any(_PHANGS_BAND.fullmatch(c.flux)[3] for c in bands.values()):
        return "PHANGS internal"
    return "PHANGS DR4"


# Messages


def hint(name: str, choices: dict[str, Band] | list[str]) -> str:
    """Return a suggestion of similar names, for the end of a message.

    Parameters
    ----------
    name : str
    choices : sequence of str

    Returns
    -------
    str
    """
    if len(name) > 100:
        return ""
    close = {c.lower(): c for c in choices}
    begins = [c for c in close if c.startswith(name.lower())]
    found = list(dict.fromkeys(begins + difflib.get_close_matches(name.lower(), list(close), n=3)))[:3]
    return f" (did you mean {' or '.join(repr(close[f]) for f in found)}?)" if found else ""


def some(names: Sequence[str], n: int = 12, show: Callable | type = shown) -> str:
    """Return the first few names, for a message.

    Parameters
    ----------
    names : sequence of str
    n : int
    show : callable
        Formatter of each name.

    Returns
    -------
    str
    """
    listed = ", ".join(show(name) for name in names[:n])
    return f"{listed}, ... ({len(names)} columns)" if len(names) > n else listed or "no columns"


def no_error(flux: str, error: str, names: Sequence[str]) -> ColumnError:
    """Return the exception for a flux column without an error column.

    Parameters
    ----------
    flux, error : str
    names : sequence of str

    Returns
    -------
    ColumnError
    """
    meant = hint(error, [name for name in names if name != flux])
    return ColumnError(
        f"column {shown(flux)} has no column with its errors: {shown(error)} is absent{meant}; add it, or name the "
        "columns with option:columns"
    )


def ambiguous(band: str, what: str, candidates: Sequence[str]) -> ColumnError:
    """Return the exception for two columns that match the same role.

    Parameters
    ----------
    band, what : str
    candidates : sequence of str

    Returns
    -------
    ColumnError
    """
    return ColumnError(
        f"{len(candidates)} columns could be the {what} of {band}: {', '.join(map(repr, candidates))}; drop all but "
        f"one, or choose a flux column and an error column for {band} with option:columns"
    )
