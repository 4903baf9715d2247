"""Photometric columns with self-explanatory names: canonical names and common variants."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ..bands import BANDS
from ..errors import ColumnError
from .columns import BandColumns, ambiguous
from .names import band_called, parse_name, plain_filter
from .units import read_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table

__all__ = ["check_cameras", "chosen_columns", "clear_bands", "parsed_columns", "unused_columns"]


def parsed_columns(names: Sequence[str]) -> dict:
    """Sort columns with recognized names by role and band, in the order of the table.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    dict
        For each of ``flux``, ``error`` and ``limit``, a dictionary of names and implied units by band.

    Examples
    --------
    >>> from clusterpost.catalogs.clear_names import parsed_columns
    >>> parsed_columns(["id", "e_F275Wmag"])["error"]
    {'F275W': [('e_F275Wmag', 'mag')]}
    """
    found = {"flux": {}, "error": {}, "limit": {}}
    for name in names:
        parsed = parse_name(name)
        if parsed is not None and parsed.band is not None:
            found[parsed.role].setdefault(parsed.band, []).append((name, parsed.unit))
    return found


def chosen_columns(parsed: dict, band: str) -> BandColumns:
    """Return the columns of one band; a missing error column is None.

    Parameters
    ----------
    parsed : dict
        Output of `parsed_columns`.
    band : str
        Band with a flux column.

    Returns
    -------
    BandColumns

    Raises
    ------
    ColumnError
        If two columns match the same role.
    """
    flux, unit = _one(band, "flux", parsed["flux"][band], band)
    alike = [entry for entry in parsed["error"].get(band, ()) if _same_kind(unit, entry[1])]
    error = _one(band, "error", alike, f"{band}_err")[0] if alike else None
    flags = parsed["limit"].get(band)
    limit = _one(band, "limit", flags, f"{band}_limit")[0] if flags else None
    kind = read_unit(unit)
    return BandColumns(flux, error, limit, kind.system if kind else None, None if kind is None else str(kind.unit))


def _one(band, what, candidates, canonical):
    """Return the canonical name, or the only candidate."""
    for name, unit in candidates:
        if name == canonical:
            return name, unit
    if len(candidates) > 1:
        raise ambiguous(band, what, [name for name, _ in candidates])
    return candidates[0]


def _same_kind(flux, error):
    """Return whether the names of a flux column and an error column can belong together."""
    magnitudes = {"mag", "Vega", "AB", "ST"}
    return flux is None or error is None or (flux in magnitudes) == (error in magnitudes)


def clear_bands(parsed: dict, wanted: set) -> dict[str, BandColumns]:
    """Return the wanted bands whose columns are unambiguous and complete.

    Parameters
    ----------
    parsed : dict
        Output of `parsed_columns`.
    wanted : iterable of str

    Returns
    -------
    dict of str to BandColumns
    """
    bands = {}
    for band in wanted:
        with contextlib.suppress(ColumnError):
            bands[band] = chosen_columns(parsed, band)
    return {band: columns for band, columns in bands.items() if columns.error is not None}


def check_cameras(names: Sequence[str], bands: dict) -> None:
    """Check that no filter unique to ACS/WFC, by its plain name, is listed with filters that both cameras have.

    Parameters
    ----------
    names : sequence of str
        All columns.
    bands : dict of str to BandColumns

    Raises
    ------
    ColumnError
        If there is one.
    """
    plain = [c.flux for band, c in bands.items()
             if c.flux.upper() == plain_filter(band) != band and BANDS[band].instrument == "ACS/WFC"]
    filters = [plain_filter(band) for band in BANDS]
    both = [band for band in names if band in BANDS and filters.count(band) > 1 and band in {c.upper() for c in names}]
    if plain and both:
        band = band_called(plain[0])
        raise ColumnError(
            f"{plain[0]!r} is a filter of {BANDS[band].instrument} alone, and {', '.join(map(repr, both))} could be of "
            f"either camera; rename the columns (such as {both[0]!r} to '{both[0]}_ACS' for ACS/WFC), or name "
            f"every band with option:columns, {plain[0]!r} as {band}"
        )


def unused_columns(tbl: Table, bands: dict) -> dict:
    """Find columns that look like photometry but belong to no band in use.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    bands : dict of str to BandColumns

    Returns
    -------
    dict of str to str
        Filter by column.
    """
    used = {name for columns in bands.values() for name in (columns.flux, columns.error, columns.limit)}
    kept = {}
    for name in tbl.colnames:
        parsed = parse_name(name)
        if parsed is None or parsed.role != "flux" or name in used or parsed.band in bands or not _numeric(tbl[name]):
            continue
        kept.setdefault(parsed.filter, name)
    return {name: filter_ for filter_, name in kept.items()}


def _numeric(column):
    """Return whether a column holds one number per row; times and positions do not."""
    return getattr(column, "ndim", 2) == 1 and getattr(getattr(column, "dtype", None), "kind", "O") in "fiu"
