"""The photometric bands that clusterpost knows.

Pivot wavelengths follow from the throughput curves that the band-flux table
is computed with (:mod:`clusterpost.training.grid` stores them in the table's
header, and the tests compare).
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError

__all__ = ["ACS_BANDS", "BANDS", "WFC3_BANDS", "Band", "band_slots", "get_band"]


@dataclass(frozen=True)
class Band:
    """One photometric band.

    Attributes
    ----------
    name : str
        Canonical name, as used for columns, such as ``F275W`` or ``F435W_ACS``.
    instrument : str
        ``WFC3/UVIS`` or ``ACS/WFC``.
    pivot : float
        Pivot wavelength in Angstrom.
    ab_minus_vega : float
        AB magnitude minus Vega magnitude of the same flux.
    wfc3 : str
        The WFC3/UVIS band of the same color slot (the band itself for WFC3).
    """

    name: str
    instrument: str
    pivot: float
    ab_minus_vega: float
    wfc3: str


# AB - Vega: WFC3 as in the headers of the PHANGS-HST catalogs (Lee et al. 2022),
# ACS from the zero points of Sirianni et al. (2005), their Table 10.
BANDS: dict[str, Band] = {
    band.name: band
    for band in (
        Band("F275W", "WFC3/UVIS", 2710.2, 1.491, "F275W"),
        Band("F336W", "WFC3/UVIS", 3354.8, 1.138, "F336W"),
        Band("F438W", "WFC3/UVIS", 4326.5, -0.181, "F438W"),
        Band("F555W", "WFC3/UVIS", 5308.1, -0.049, "F555W"),
        Band("F814W", "WFC3/UVIS", 8029.5, 0.409, "F814W"),
        Band("F435W_ACS", "ACS/WFC", 4317.4, -0.106, "F438W"),
        Band("F555W_ACS", "ACS/WFC", 5359.6, -0.006, "F555W"),
        Band("F814W_ACS", "ACS/WFC", 8059.8, 0.436, "F814W"),
    )
}
WFC3_BANDS = tuple(b for b in BANDS if BANDS[b].instrument == "WFC3/UVIS")
ACS_BANDS = tuple(b for b in BANDS if BANDS[b].instrument == "ACS/WFC")


def get_band(name: str) -> Band:
    """Look a band up by its canonical name, whatever the case.

    Parameters
    ----------
    name : str
        Such as ``"F275W"`` or ``"f814w_acs"``.

    Returns
    -------
    Band

    Raises
    ------
    InputError
        If there is no such band; the message lists those there are.

    Examples
    --------
    >>> from clusterpost.bands import get_band
    >>> get_band("f435w_acs").instrument
    'ACS/WFC'
    """
    try:
        return BANDS[name.upper()]
    except KeyError:
        raise InputError(f"unknown band {name!r}; known bands: {', '.join(BANDS)}") from None


def band_slots(bands):
    """Which bands stand in for each other: the ACS/WFC ones for their WFC3/UVIS neighbors.

    Parameters
    ----------
    bands : sequence of str

    Returns
    -------
    tuple of tuple of int
        The bands of each slot, by index.
    """
    slots = {}
    for i, band in enumerate(bands):
        slots.setdefault(BANDS[band].wfc3, []).append(i)
    return tuple(tuple(slot) for slot in slots.values())
