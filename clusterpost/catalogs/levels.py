"""Comparison of the mJy and the Vega columns of a PHANGS table.

In some versions of DR4, the V aperture correction of NGC 1512 and NGC 1510 is off
by 1.724 mag.  Fluxes and masses are then wrong by a factor of 4.9, but all colors
are right, so SED fits do not reveal the error.  A comparison of the two kinds of
photometry in a table does.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable, Table

from ..errors import InputError, InputWarning
from ..selection import row_mask
from .columns import PHANGS_SENTINELS, phangs_bands
from .layouts import Layout, survey_layout
from .metadata import was_read
from .recognition import recognize
from .values import is_magnitude, plain, read_band

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CORRECTION", "KNOWN_SLIP", "check_levels", "correct_aperture", "level_difference"]

#: Column with the correction of `correct_aperture`, in magnitudes, positive for fainter.
CORRECTION = "aperture_correction"
#: Error of the V aperture correction of NGC 1512 and NGC 1510 in DR4, mag.
KNOWN_SLIP = 1.724
# Zero points of a camera drift by hundredths of a magnitude.
_TOLERANCE = 0.1


def level_difference(tbl: Table, layouts: Sequence[Layout], band: str) -> np.ndarray:
    """Return the magnitude of a band in one layout minus that in another.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layouts : (Layout, Layout)
    band : str

    Returns
    -------
    ndarray (n,)
        Difference, NaN if one of the two is missing, a limit, or not positive.
    """
    fluxes = []
    for layout in layouts:
        flux, _, limit, *_ = read_band(tbl, layout, band)
        fluxes.append(np.where(limit | ~(flux > 0), np.nan, flux))
    return -2.5 * np.log10(fluxes[0] / fluxes[1])


def check_levels(tbl: Table) -> str | None:
    """Compare the mJy and Vega columns of a PHANGS table per galaxy, and report disagreements.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table, not changed.

    Returns
    -------
    str or None
        Description of the disagreements; None if there are none, or nothing to compare.

    Warns
    -----
    InputWarning
        If they disagree, with the size of the disagreement and the remedy.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.catalogs import check_levels
    >>> check_levels(clusterpost.example_catalog()) is None
    True
    """
    bands, differences = _differences(tbl)
    if not bands:
        return None
    if CORRECTION in tbl.colnames:  # the user has corrected these rows
        differences[plain(tbl[CORRECTION]) != 0] = np.nan
    reports = [report for name, rows in _groups(tbl) if (report := _report(name, bands, differences[rows], rows))]
    if not reports:
        return None
    text = "; ".join(reports)
    advice = ("The mJy columns are used; to use the magnitudes, give option:columns with PHANGS_F275W_VEGA and "
              "PHANGS_F275W_VEGA_ERR for F275W and so on.")
    slip = _slip(differences)
    if slip is not None:
        advice += (f" The V aperture correction of NGC 1512 and NGC 1510 in DR4 has a known error of {KNOWN_SLIP} mag, "
                   f"a factor of {10 ** (0.4 * KNOWN_SLIP):.1f} in flux and mass; after reading, from Python, "
                   f"clusterpost.catalogs.correct_aperture ({slip:+.3f} mag) removes it from the fluxes.")
    warnings.warn(InputWarning(f"mJy and Vega columns disagree: {text}. {advice}"), stacklevel=3)
    return text


def _differences(tbl):
    """Return the bands with both kinds of columns, and their mJy minus Vega magnitudes, (n, n_band)."""
    try:
        layouts = []
        for kind, unit in (("MJY", "mJy"), ("VEGA", "mag")):
            bands, cameras = phangs_bands(tbl, (kind,))
            layouts.append(Layout(kind, bands, PHANGS_SENTINELS, False, default_unit=unit, cameras=cameras))
        survey = survey_layout(tbl)
        layouts = [replace(layout, galaxy=survey and survey.galaxy) for layout in layouts]
        bands = [band for band in layouts[0].bands if band in layouts[1].bands]
        columns = [level_difference(tbl, layouts, band) for band in bands]
    except InputError:
        return [], None  # reading the columns reports the error; here they only serve as a check
    return bands, np.stack(columns, axis=1) if bands else None


def _groups(tbl):
    """Return the names and rows of the galaxies of a table."""
    survey = survey_layout(tbl)
    if survey.galaxy is None:
        return [("", np.arange(len(tbl)))]
    names = np.array([str(name) for name in tbl[survey.galaxy]])  # any type of column
    return [(f"{name.strip()}: ", np.flatnonzero(names == name)) for name in np.unique(names)]


def _median(differences):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # for bands without a value
        return np.nanmedian(differences, axis=0)


def _report(name, bands, differences, rows):
    off = _median(differences)
    known = np.isfinite(off)
    if (np.abs(off[known]) > _TOLERANCE).any():
        if np.ptp(off[known]) <= _TOLERANCE:
            return (f"{name}mJy is {_in_words(np.mean(off[known]))} than Vega in every band (colors agree, the level "
                    "does not)")
        listed = ", ".join(f"{band} {value:+.3f}" for band, value in zip(bands, off, strict=True)
                           if np.abs(value) > _TOLERANCE)
        return f"{name}mJy minus Vega is {listed} mag"
    wrong = np.argwhere(np.abs(differences) > _TOLERANCE)
    if not len(wrong):
        return None
    row, band = wrong[0]
    count = len(np.unique(wrong[:, 0]))
    return (f"{name}{count} of {len(rows)} rows, the first of them row {rows[row]} with "
            f"{differences[row, band]:+.3f} mag in {bands[band]}")


def _in_words(difference):
    return f"{abs(difference):.3f} mag (a factor {10 ** (0.4 * abs(difference)):.2f}) " + (
        "fainter" if difference > 0 else "brighter")


def _slip(differences):
    """Return the correction of the known error, if some rows have it in all bands."""
    rows = _median(differences.T)
    for sign in (1, -1):
        if (np.abs(rows + sign * KNOWN_SLIP) < _TOLERANCE).any():
            return sign * KNOWN_SLIP
    return None


def correct_aperture(tbl: Table, magnitudes: Any = KNOWN_SLIP, *, where: Any = None) -> Table:
    """Correct the fluxes of a table for an error of the aperture correction, equally in all bands.

    This correction is never automatic: `check_levels` reports where it is needed.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Output of `~clusterpost.read_catalog`; not changed.
    magnitudes : float
        Correction in magnitudes, positive for fainter.  1.724 is the known error
        of NGC 1512 and NGC 1510 in DR4.
    where : array of bool or int, or str, optional
        Rows to correct, or an expression that selects them; all by default.

    Returns
    -------
    `~astropy.table.Table`
        Copy with corrected canonical columns, and the correction of each row in
        the column ``aperture_correction`` (mag).  Rows with this correction are
        unchanged.  The catalog's own columns are also unchanged, including its
        masses, which are wrong by the same factor.

    Raises
    ------
    InputError
        If the table was not read with `~clusterpost.read_catalog`, ``where`` does
        not fit the table, or a row already has another correction.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.catalogs import correct_aperture
    >>> tbl = clusterpost.read_catalog(clusterpost.example_catalog())
    >>> fainter = correct_aperture(tbl, 1.724)
    >>> print(f"{tbl['F555W'][0] / fainter['F555W'][0]:.2f}")
    4.89
    """
    if not was_read(tbl):
        raise InputError("the table has no canonical columns to correct; give what clusterpost.read_catalog returns")
    rows = row_mask(tbl, where)
    out = tbl.copy()
    applied = np.nan_to_num(plain(out[CORRECTION])) if CORRECTION in out.colnames else np.zeros(len(tbl))
    other = np.flatnonzero(rows & (applied != 0) & ~np.isclose(applied, magnitudes))
    if other.size:
        raise InputError(f"row {other[0]} already has a correction of {applied[other[0]]:+.3f} mag; start from the "
                         f"table without it to apply {magnitudes:+.3f} mag")
    rows &= applied == 0
    layout = recognize(out)
    for band, names in layout.bands.items():
        flux, error = (np.array(plain(out[name]), float) for name in (names.flux, names.error))
        if is_magnitude(getattr(out[names.flux], "unit", None)):
            flux[rows] += magnitudes
        else:
            flux[rows] *= 10 ** (-0.4 * magnitudes)
            error[rows] *= 10 ** (-0.4 * magnitudes)
        plain(out[band])[:], plain(out[names.error])[:] = flux, error
    applied[rows] = magnitudes
    new = applied * u.mag if isinstance(out, QTable) else Column(applied, unit=u.mag)
    new.info.description = "Correction of canonical fluxes for a wrong aperture correction, positive for fainter"
    out[CORRECTION] = new
    return out
