"""Photometric bands of clusterpost.

Pivot wavelengths and AB minus Vega magnitudes are computed from throughput curves of
public packages and the CALSPEC spectrum of Vega by `clusterpost.training.curves`,
which documents the procedure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ACS_BANDS", "BANDS", "WFC3_BANDS", "Band", "add_band", "band_slots", "find_band", "get_band",
           "include_bands", "pivot_wavelength", "remove_band", "user_curves"]


@dataclass(frozen=True)
class Band:
    """One photometric band.

    Attributes
    ----------
    name : str
        Canonical name, as used for columns, such as ``F275W`` or ``F435W_ACS``.
    instrument : str
        ``WFC3/UVIS``, ``ACS/WFC``, ``WFC3/IR``, ``Johnson-Cousins``, ``SDSS``, or a user-defined name.
    pivot : float
        Pivot wavelength in Angstrom.
    ab_minus_vega : float
        AB magnitude minus Vega magnitude of the same flux; NaN if not given for a user's band.
    wfc3 : str
        The corresponding WFC3/UVIS band (the band itself if there is none).
    aliases : tuple of str
        Other names of the band, not case-sensitive.
    curve : str
        Origin of the throughput curve: package and file, as `clusterpost.training.curves` reads it.
    filter_alone : bool
        Whether the curve excludes telescope and detector, which is sufficient for a
        narrow band.

    Examples
    --------
    >>> from clusterpost.bands import get_band
    >>> band = get_band("F555W")
    >>> band.instrument, round(band.pivot)
    ('WFC3/UVIS', 5308)
    """

    name: str
    instrument: str
    pivot: float
    ab_minus_vega: float
    wfc3: str = ""
    aliases: tuple = ()
    curve: str = ""
    filter_alone: bool = False

    def __post_init__(self) -> None:
        if not self.wfc3:
            object.__setattr__(self, "wfc3", self.name)


_UVIS, _PYPHOT, _EAZY = "pymgal/filters/wfc3_uvis_", "pyphot/libs/ascii_sources/hst_", "ppxf/examples/FILTER.RES.txt#"
_ACS, _IR, _BESSELL = "pymgal/filters/wfc_acs_", "pymgal/filters/wfc3_ir_", "sedpy/data/filters/bessell_"
_SDSS = "speclite/data/filters/sdss2010-"
# AB - Vega: CALSPEC's alpha_lyr_stis_011 through these curves, by python -m clusterpost.training.curves.
_CURVES = {
    "WFC3/UVIS": (
        ("F225W", 2372.7, 1.637, f"{_UVIS}f225w"),
        ("F275W", 2710.2, 1.480, f"{_UVIS}f275w"),
        ("F336W", 3354.8, 1.163, f"{_UVIS}f336w"),
        ("F390W", 3924.4, 0.197, f"{_UVIS}f390w"),
        ("F438W", 4326.5, -0.165, f"{_UVIS}f438w"),
        ("F475W", 4773.7, -0.106, f"{_UVIS}f475w"),
        ("F555W", 5308.1, -0.029, f"{_UVIS}f555w"),
        ("F606W", 5887.4, 0.082, f"{_UVIS}f606w"),
        ("F625W", 6245.0, 0.151, f"{_EAZY}hst/wfc3/UVIS/f625w.dat"),
        ("F656N", 6561.5, 0.582, f"{_PYPHOT}wfc3_f656n.csv"),
        ("F657N", 6566.6, 0.326, f"{_EAZY}HST/WFC3_UVIS1.F657N"),
        ("F658N", 6585.7, 0.355, f"{_PYPHOT}wfc3_f658n.csv"),
        ("F775W", 7648.5, 0.391, f"{_UVIS}f775w"),
        ("F814W", 8029.5, 0.428, f"{_UVIS}f814w"),
    ),
    "ACS/WFC": (
        ("F435W_ACS", 4317.4, -0.116, f"{_ACS}f435w"),
        ("F475W_ACS", 4744.4, -0.108, f"{_ACS}f475w"),
        ("F555W_ACS", 5359.6, -0.010, f"{_ACS}f555w"),
        ("F606W_ACS", 5917.7, 0.086, f"{_ACS}f606w"),
        ("F625W_ACS", 6310.5, 0.166, f"{_ACS}f625w"),
        ("F658N_ACS", 6583.9, 0.371, f"{_PYPHOT}acs_wfc_f658n.csv"),
        ("F775W_ACS", 7693.0, 0.398, f"{_ACS}f775w"),
        ("F814W_ACS", 8059.8, 0.433, f"{_ACS}f814w"),
        ("F850LP_ACS", 9054.8, 0.529, f"{_ACS}f850lp"),
    ),
    "WFC3/IR": (
        ("F110W_IR", 11534.5, 0.777, f"{_IR}f110w"),
        ("F125W_IR", 12486.1, 0.920, f"{_IR}f125w"),
        ("F160W_IR", 15368.9, 1.274, f"{_IR}f160w"),
    ),
    "Johnson-Cousins": (
        ("U_JC", 3584.8, 0.791, f"{_BESSELL}U.par"),
        ("B_JC", 4371.1, -0.119, f"{_BESSELL}B.par"),
        ("V_JC", 5477.7, 0.002, f"{_BESSELL}V.par"),
        ("R_JC", 6498.1, 0.192, f"{_BESSELL}R.par"),
        ("I_JC", 8020.1, 0.445, f"{_BESSELL}I.par"),
    ),
    "SDSS": (
        ("u_SDSS", 3589.3, 0.868, f"{_SDSS}u.ecsv"),
        ("g_SDSS", 4701.4, -0.111, f"{_SDSS}g.ecsv"),
        ("r_SDSS", 6177.2, 0.145, f"{_SDSS}r.ecsv"),
        ("i_SDSS", 7496.5, 0.366, f"{_SDSS}i.ecsv"),
        ("z_SDSS", 8904.2, 0.524, f"{_SDSS}z.ecsv"),
    ),
}
_WORDS = {  # names of an instrument, before or after the filter name
    "WFC3/UVIS": ("UVIS", "WFC3", "WFC3_UVIS"),
    "ACS/WFC": ("ACS", "ACS_WFC", "WFC_ACS"),
    "WFC3/IR": ("IR", "WFC3_IR", "WFC3"),
    "Johnson-Cousins": ("JC", "JOHNSON", "COUSINS", "BESSELL"),
    "SDSS": ("SDSS", "SLOAN"),
}
_SAME_SLOT = {"F435W_ACS": "F438W"}
#: Filters of a single camera, which their plain name identifies.
_PLAIN = {"F435W": "F435W_ACS", "F850LP": "F850LP_ACS", "F110W": "F110W_IR", "F125W": "F125W_IR", "F160W": "F160W_IR"}


def _builtin():
    uvis = {name for name, *_ in _CURVES["WFC3/UVIS"]}
    for instrument, rows in _CURVES.items():
        for name, pivot, zero, curve in rows:
            plain = name.split("_")[0]
            broad = not plain.endswith("N")  # narrow bands of the two cameras contain different lines
            slot = _SAME_SLOT.get(name, plain if instrument == "ACS/WFC" and plain in uvis and broad else name)
            names = [form for word in _WORDS[instrument] for form in (f"{plain}_{word}", f"{word}_{plain}")]
            names = [form.upper() for form in names] + [short for short, of in _PLAIN.items() if of == name]
            yield Band(name, instrument, pivot, zero, slot, tuple(other for other in names if other != name), curve,
                       curve.startswith(f"{_PYPHOT}wfc3"))


#: All bands by canonical name, from blue to red for each instrument.
BANDS: dict[str, Band] = {band.name: band for band in _builtin()}
#: The five bands of PHANGS-HST and of Walter et al. (2025).
WFC3_BANDS = ("F275W", "F336W", "F438W", "F555W", "F814W")
#: The ACS/WFC bands that can replace three of them.
ACS_BANDS = ("F435W_ACS", "F555W_ACS", "F814W_ACS")

_user_curves = {}  # throughput curves of user-defined bands, by name


def find_band(name: str) -> Band | None:
    """Find a band by its name or an alias.

    Parameters
    ----------
    name : str
        Name such as ``"F275W"``, ``"acs_f814w"``, or ``"ACS/WFC F814W"``.

    Returns
    -------
    Band or None

    Examples
    --------
    >>> from clusterpost.bands import find_band
    >>> find_band("ACS/WFC F814W").name
    'F814W_ACS'
    """
    if name in BANDS:
        return BANDS[name]
    form = str(name).strip().upper().translate(str.maketrans("/- .", "____"))
    return next((band for band in BANDS.values() if form == band.name.upper() or form in band.aliases), None)


def get_band(name: str) -> Band:
    """Return a band by its name or an alias, or raise.

    Parameters
    ----------
    name : str
        Name such as ``"F275W"``, ``"f814w_acs"``, or ``"ACS_F814W"``.

    Returns
    -------
    Band

    Raises
    ------
    InputError
        If the band is unknown; the message lists the known ones.

    Examples
    --------
    >>> from clusterpost.bands import get_band
    >>> get_band("f435w_acs").instrument
    'ACS/WFC'
    """
    band = find_band(name)
    if band is None:
        raise InputError(f"unknown band {name!r}; known bands: {', '.join(BANDS)}")
    return band


def band_slots(bands: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Group interchangeable bands: ACS/WFC bands with their WFC3/UVIS neighbors.

    Parameters
    ----------
    bands : sequence of str

    Returns
    -------
    tuple of tuple of int
        Indices of the bands in each slot.
    """
    slots = {}
    for i, band in enumerate(bands):
        slots.setdefault(BANDS[band].wfc3, []).append(i)
    return tuple(tuple(slot) for slot in slots.values())


def pivot_wavelength(curve: tuple[np.ndarray, np.ndarray]) -> float:
    """Compute the pivot wavelength of a photon-counting throughput curve.

    Parameters
    ----------
    curve : (wavelength, throughput)
        Throughput curve; wavelengths in Angstrom.

    Returns
    -------
    float
        Pivot wavelength in Angstrom: the square root of int T lambda dlambda / int T dlambda/lambda.

    Examples
    --------
    >>> from clusterpost.bands import pivot_wavelength
    >>> round(pivot_wavelength(([4000, 4500, 5000], [0, 1, 0])), 1)
    4500.0
    """
    wave, throughput = (np.asarray(values, dtype=float) for values in curve)
    return float(np.sqrt(np.trapezoid(throughput * wave, wave) / np.trapezoid(throughput / wave, wave)))


def add_band(name: str, curve: Any, *, instrument: str = "user", ab_minus_vega: float | None = None,
             aliases: Sequence[str] = ()) -> Band:
    """Add a user-defined band for this session.

    .. versionadded:: 0.2

    Tables computed later by `clusterpost.training.grid` and `clusterpost.training.stars` include it, as do
    models trained on them; existing models do not.

    Parameters
    ----------
    name : str
        Canonical name of letters, digits, and underscores.
    curve : (wavelength, throughput)
        Photon-counting total throughput, on any scale. Wavelengths increase, in Angstrom or as a
        `~astropy.units.Quantity`.
    instrument : str
        Name of the instrument in `list_bands`.
    ab_minus_vega : float, optional
        AB minus Vega magnitude; without it, Vega magnitudes are not supported.
    aliases : sequence of str
        Other names.

    Returns
    -------
    Band

    Raises
    ------
    InputError
        If a name is taken or not valid, or the curve is not valid.

    Examples
    --------
    >>> from clusterpost.bands import add_band, remove_band
    >>> band = add_band("MY_G", ([4000, 4500, 5000, 5500], [0, 1, 1, 0]))
    >>> round(band.pivot)
    4743
    >>> remove_band("MY_G")
    """
    wave, throughput = _checked_curve(name, curve)
    name, aliases = str(name).upper(), tuple(str(alias).upper() for alias in aliases)
    if not name.isidentifier():
        raise InputError(f"{name!r} is not a valid band name; use letters, digits, and underscores, not a digit first")
    for form in (name, *aliases):
        if find_band(form) is not None:
            raise InputError(f"the name {form!r} is already used by the band {find_band(form).name}; choose another")
    zero = float("nan") if ab_minus_vega is None else float(ab_minus_vega)
    _user_curves[name] = wave, throughput
    BANDS[name] = Band(name, str(instrument), pivot_wavelength((wave, throughput)), zero, name, aliases, "user")
    return BANDS[name]


def include_bands(bands: Iterator | tuple[Band, ...]) -> None:
    """Register the bands of a model family for reading tables.

    Parameters
    ----------
    bands : sequence of Band

    Raises
    ------
    InputError
        If another band has the same name.

    Examples
    --------
    >>> from clusterpost.bands import WFC3_BANDS, get_band, include_bands
    >>> include_bands(get_band(name) for name in WFC3_BANDS)
    """
    for band in bands:
        known = find_band(band.name)
        if known is None:
            BANDS[band.name] = band
        elif known != band:
            raise InputError(f"the model family has a band {band.name} with a pivot of {band.pivot:g} Angstrom, but "
                             f"{known.name} already exists with {known.pivot:g}; rename one of them")


def remove_band(name: str) -> None:
    """Remove a band added with `add_band`.

    Parameters
    ----------
    name : str

    Raises
    ------
    InputError
        If it is not such a band.
    """
    name = get_band(name).name
    if _user_curves.pop(name, None) is None:
        raise InputError(f"{name} is a built-in band; only bands added with add_band can be removed")
    del BANDS[name]


def user_curves() -> dict:
    """Return the throughput curves of bands added with `add_band`, by name.

    Returns
    -------
    dict of (wavelength, throughput)
        Curves with wavelengths in Angstrom.

    Examples
    --------
    >>> from clusterpost.bands import user_curves
    >>> user_curves()
    {}
    """
    return dict(_user_curves)


def _checked_curve(name, curve):
    try:
        wave, throughput = curve
        wave = np.asarray(wave.to_value("AA") if hasattr(wave, "to_value") else wave, dtype=float)
        throughput = np.asarray(throughput, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"the curve of {name!r} must be a pair of wavelengths and throughputs: {error}") from None
    if wave.ndim != 1 or wave.shape != throughput.shape or wave.size < 2:
        raise InputError(f"the curve of {name!r} needs as many throughputs as wavelengths, at least two; got shapes "
                         f"{wave.shape} and {throughput.shape}")
    if not (np.isfinite(wave).all() and np.isfinite(throughput).all() and (wave > 0).all() and (np.diff(wave) > 0).all()
            and (throughput >= 0).all() and (throughput > 0).any()):
        raise InputError(f"the curve of {name!r} needs increasing wavelengths and finite, non-negative throughputs, "
                         "some of them positive")
    return wave, throughput
