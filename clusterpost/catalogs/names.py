"""Column names: their band, and whether they hold a flux, an error or a limit.

Common spellings are ``F275W_err``, ``e_F275Wmag``, ``sigma_F275W``,
``acs_f814w_mjy`` and ``F814W_ACS_unc``.  A name is recognized if every word in it
is known.  With an unknown word (``F275W_true``, ``residual_F275W``), the column
is not photometry.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from ..bands import BANDS

__all__ = ["ColumnName", "band_called", "parse_name", "plain_filter"]

_FILTER = re.compile(r"f\d{3}(?:lp|w2|[wmnx])")
_ROLES = {
    **dict.fromkeys(("e", "err", "errs", "error", "errors", "sig", "sigma", "unc", "uncert", "uncertainty", "std"),
                    "error"),
    **dict.fromkeys(("l", "lim", "limit", "limits", "uplim", "upperlimit", "upper", "ul", "islimit"), "limit"),
}
# Units implied by words, for columns without a unit.
_KINDS = {"mjy": "mJy", "ujy": "uJy", "njy": "nJy", "jy": "Jy", "nmgy": "nmgy", "vega": "Vega", "vegamag": "Vega",
          "ab": "AB", "abmag": "AB", "st": "ST", "stmag": "ST",
          **dict.fromkeys(("mag", "mags", "magnitude", "m"), "mag")}
_QUANTITIES = ("flux", "fluxes", "flx", "f", "fnu", "flam", "hst", "tot", "total", "obs", "phot")
# Cameras whose bands the package may not have.
_OTHER_CAMERAS = ("acs", "wfc", "hrc", "sbc", "wfc3", "uvis", "uvis1", "uvis2", "ir", "wfpc2", "pc", "nicmos", "nic1",
                  "nic2", "nic3", "nircam", "miri", "niriss", "stis")
_WORDS = sorted({*_ROLES, *_KINDS, *_QUANTITIES, *_OTHER_CAMERAS}, key=len, reverse=True)
_RUN = re.compile("|".join(_WORDS))


@dataclass(frozen=True)
class ColumnName:
    """Meaning of a column's name.

    Attributes
    ----------
    filter : str
        Filter for display, such as ``F606W`` or ``F150W NIRCAM``.
    band : str or None
        Band in the registry; None if it has no such band.
    role : str
        ``flux``, ``error`` or ``limit``.
    unit : str or None
        Unit implied by the name.
    """

    filter: str
    band: str | None
    role: str
    unit: str | None


def plain_filter(band: str) -> str:
    """Return a band's filter, without the camera.

    Parameters
    ----------
    band : str

    Returns
    -------
    str
    """
    return band.split("_")[0]


@functools.lru_cache(maxsize=8)
def _registry(bands):
    """Return bands by names and aliases, and the words in them."""
    names = {}
    for band in bands:
        for name in (*getattr(BANDS[band], "aliases", ()), band):
            names[name.lower()] = band
    return names, {word for name in names for word in name.split("_")} - {*_ROLES, *_KINDS, *_QUANTITIES}


def band_called(name: str) -> str | None:
    """Find the band in the registry for a name or an alias.

    Parameters
    ----------
    name : str
        Name in any case; words may be joined by blanks, dots, slashes or underscores.

    Returns
    -------
    str or None
        Band, or None if there is none or more than one.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    known = _registry(tuple(BANDS))[0].get("_".join(words))
    if known is not None:
        return known
    filters = [word for word in words if _FILTER.fullmatch(word)]
    found = [band for band, record in BANDS.items() if filters == [plain_filter(band).lower()]
             and {*words} - {*filters} <= {*re.split(r"[^a-z0-9]+", record.instrument.lower())}]
    return found[0] if len(found) == 1 else None


def parse_name(name: str) -> ColumnName | None:
    """Parse a column's name.

    Parameters
    ----------
    name : str

    Returns
    -------
    ColumnName or None
        Meaning of the name, or None if it is not a name of photometry.

    Examples
    --------
    >>> from clusterpost.catalogs.names import parse_name
    >>> parse_name("e_F275Wmag")
    ColumnName(filter='F275W', band='F275W', role='error', unit='mag')
    >>> parse_name("residual_F275W") is None
    True
    """
    lower = str(name).lower()
    names, band_words = _registry(tuple(BANDS))
    if lower in names:
        return ColumnName(names[lower], names[lower], "flux", None)
    words = _words(lower, band_words)
    if words is None:
        return None
    filters = [word for word in words if _FILTER.fullmatch(word)]
    roles = {_ROLES[word] for word in words if word in _ROLES}
    if len(roles) > 1:
        return None
    role = roles.pop() if roles else "flux"
    units = [_KINDS[word] for word in words if word in _KINDS]
    unit = next((unit for unit in units if unit != "mag"), units[0] if units else None)
    core = [word for word in words if word not in _ROLES and word not in _KINDS and word not in _QUANTITIES]
    band = band_called("_".join(core))
    if band is None and len(filters) != 1:
        return None
    shown = band or " ".join(word.upper() for word in (*filters, *(w for w in core if w not in filters)))
    return ColumnName(shown, band, role, unit)


def _words(lower, band_words):
    """Return the words of a name, or None if one of them is unknown."""
    words = []
    for token in (token for token in re.split(r"[^a-z0-9]+", lower) if token):
        match = _FILTER.search(token)
        parts = [token] if match is None else [token[: match.start()], match[0], token[match.end():]]
        for part in (part for part in parts if part):
            if part == (match and match[0]) or part in band_words:
                words.append(part)
                continue
            run = _RUN.findall(part)
            if "".join(run) != part:
                return None
            words += run
    return words

