"""Sets of bands of cluster surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..bands import band_slots
from ..errors import InputError
from .observing import SurveyBands

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SURVEYS", "survey_bands"]

#: Relative frequency among mocks, and bands of each survey.
SURVEYS = {
    "PHANGS-HST": (4.0, ("F275W", "F336W", "F438W", "F555W", "F814W")),
    "PHANGS-HST, ACS": (2.0, ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS")),
    "PHANGS-HST with Halpha": (2.0, ("F275W", "F336W", "F438W", "F555W", "F814W", "F657N")),
    "PHANGS-HST, ACS, with Halpha": (1.0, ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS", "F658N_ACS")),
    "LEGUS, F606W": (1.0, ("F275W", "F336W", "F438W", "F606W_ACS", "F814W_ACS")),
    "PHAT": (2.0, ("F275W", "F336W", "F475W_ACS", "F814W_ACS")),
    "PHAT with infrared": (2.0, ("F275W", "F336W", "F475W_ACS", "F814W_ACS", "F110W_IR", "F160W_IR")),
    "HST with infrared": (1.0, ("F275W", "F336W", "F438W", "F555W", "F814W", "F110W_IR", "F160W_IR")),
    "HST UBVI": (1.0, ("F336W", "F438W", "F555W", "F814W")),
    "UBV": (1.0, ("U_JC", "B_JC", "V_JC")),
    "UBVR": (1.5, ("U_JC", "B_JC", "V_JC", "R_JC")),
    "UBVI": (1.5, ("U_JC", "B_JC", "V_JC", "I_JC")),
    "UBVRI": (0.5, ("U_JC", "B_JC", "V_JC", "R_JC", "I_JC")),
    "gri-like": (1.0, ("F475W_ACS", "F606W_ACS", "F625W_ACS", "F775W_ACS", "F814W_ACS")),
}


def survey_bands(bands: Sequence[str]) -> SurveyBands:
    """Return the coverage of mocks with the sets of bands of surveys.

    Parameters
    ----------
    bands : sequence of str
        Bands of the simulator; surveys with other bands are not used.

    Returns
    -------
    SurveyBands
        Coverage; if no survey has only these bands, the set of all bands.

    Raises
    ------
    InputError
        If there are fewer than two bands.

    Examples
    --------
    >>> from clusterpost.training.surveys import survey_bands
    >>> survey_bands(["U_JC", "B_JC", "V_JC", "I_JC"]).sets
    ((0, 1, 2), (0, 1, 2, 3))
    """
    bands = tuple(bands)
    if len(bands) < 2:
        raise InputError(f"a network needs at least two bands, not {', '.join(bands) or 'none'}")
    known = [(share, tuple(map(bands.index, names))) for share, names in SURVEYS.values() if set(names) <= set(bands)]
    shares, sets = zip(*known or [(1.0, tuple(range(len(bands))))], strict=True)
    return SurveyBands(slots=tuple(tuple(slot) for slot in band_slots(bands)), sets=sets, shares=shares)
