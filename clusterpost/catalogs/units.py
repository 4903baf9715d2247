"""Units of photometry and their spellings.

Files spell the same unit in many ways (``ABmag``, ``mag_AB``, ``microJy``,
``erg/s/cm2/A``).  Each spelling is converted to a `FluxUnit`, or raises an error
that suggests the likely unit.
"""

from __future__ import annotations

import functools
import re
import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np

from ..errors import UnitError, shown

__all__ = ["SYSTEMS", "FluxUnit", "is_number", "read_unit"]

#: Systems of magnitudes.
SYSTEMS = ("AB", "ST", "Vega")
#: Flux of AB magnitude zero, mJy.
_AB_ZERO = (0 * u.ABmag).to_value(u.mJy)

_SPELLINGS = {
    **dict.fromkeys(("mjy", "millijy", "millijansky", "milijansky", "mjansky"), "mJy"),
    **dict.fromkeys(("ujy", "microjy", "microjansky", "mujy", "ujansky"), "uJy"),
    **dict.fromkeys(("njy", "nanojy", "nanojansky", "njansky"), "nJy"),
    **dict.fromkeys(("jy", "jansky", "janskys"), "Jy"),
    **dict.fromkeys(("nmgy", "nanomaggy", "nanomaggies", "nanomgy", "nmaggy", "nmaggies"), "nmgy"),
    **dict.fromkeys(("mgy", "maggy", "maggies"), "mgy"),
    **dict.fromkeys(("flam", "flambda", "f_lambda"), "erg / (s cm2 Angstrom)"),
    **dict.fromkeys(("fnu", "f_nu"), "erg / (s cm2 Hz)"),
    **dict.fromkeys(("mag", "mags", "magnitude", "magnitudes"), "mag"),
}
_SYSTEM_OF = {form: system for system in SYSTEMS
              for name in (system.lower(),) for form in (name, f"{name}mag", f"mag{name}", f"{name}mags")}


@dataclass(frozen=True)
class FluxUnit:
    """A unit of flux density, or magnitudes of a system.

    Attributes
    ----------
    unit : Unit
        Unit convertible to Jy, or ``mag``.
    system : str or None
        ``AB``, ``ST`` or ``Vega``; None for flux densities and for magnitudes of
        unknown system.
    """

    unit: u.UnitBase
    system: str | None = None

    @property
    def is_magnitude(self) -> bool:
        """Whether these are magnitudes."""
        return self.unit == u.mag

    def __str__(self) -> str:
        if not self.is_magnitude:
            return str(self.unit)
        return {None: "mag", "Vega": "Vega"}.get(self.system, f"mag({self.system})")


def is_number(text: str) -> bool:
    """Return whether a text can be read as a number.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_unit(unit: str | u.UnitBase | None) -> FluxUnit | None:
    """Parse a unit of photometry.

    Parameters
    ----------
    unit : str, Unit or None
        ``mJy``, ``uJy``, ``nmgy``, ``erg/s/cm2/A``, ``AB``, ``ABmag``,
        ``mag(ST)``, ``Vega``, ...

    Returns
    -------
    FluxUnit or None
        Unit, or None for no unit.

    Raises
    ------
    UnitError
        If this is neither a flux density nor a magnitude.  The message begins
        with the unit.

    Examples
    --------
    >>> from clusterpost.catalogs.units import read_unit
    >>> [str(read_unit(text))
    ...  for text in ("ABmag", "microJy", "erg/s/cm2/A", "vegamag")]
    ['mag(AB)', 'uJy', 'erg / (Angstrom s cm2)', 'Vega']
    """
    if isinstance(unit, FluxUnit) or unit is None:
        return unit
    return _read(unit if isinstance(unit, str) or not hasattr(unit, "to_string") else _named(unit))


def _named(unit):
    """Return a unit, or its name if astropy does not know it."""
    return str(unit) if isinstance(unit, u.UnrecognizedUnit) else unit


@functools.lru_cache(maxsize=256)
def _read(unit):
    if not isinstance(unit, str | u.UnitBase | u.FunctionUnitBase):
        raise UnitError(f"{shown(unit)} is not a unit; give one as 'mJy', 'uJy', 'AB' or 'Vega'")
    text = str(unit).strip()
    if not text:
        return None
    bare = re.sub(r"[\s_().\[\]-]+", "", text).lower().replace("µ", "u").replace("μ", "u")
    if bare in _SYSTEM_OF:
        return FluxUnit(u.mag, _SYSTEM_OF[bare])
    if bare in _SPELLINGS and not (bare.endswith("jy") and text[0] == "M"):
        return _flux_unit(u.Unit(_SPELLINGS[bare]), text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)  # for nonstandard spellings that astropy reads
            return _flux_unit(u.Unit(text) if isinstance(unit, str | u.UnrecognizedUnit) else unit, text)
    except UnitError:
        raise
    except (ValueError, TypeError):
        raise UnitError(f"{text[:60]}, which is not a known flux density{_meant(bare)}") from None


def _flux_unit(unit, text):
    if isinstance(unit, u.MagUnit):
        if unit.physical_unit == u.dimensionless_unscaled:
            return FluxUnit(u.mag)
        for system in ("AB", "ST"):
            if unit.physical_unit == getattr(u, system):
                return FluxUnit(u.mag, system)
    if unit == u.mag:
        return FluxUnit(u.mag)
    if isinstance(unit, u.FunctionUnitBase):  # dex(mJy) and similar units, which cannot be compared with others
        raise UnitError(f"{text[:60]}, which is not a flux density; fluxes need a unit convertible to Jy, or AB, ST or "
                        "Vega magnitudes")
    if unit == u.dimensionless_unscaled:
        return None
    if unit.is_equivalent(u.mgy):
        return FluxUnit(u.Unit(_AB_ZERO * unit.to(u.mgy) * u.mJy))
    for candidate in (unit, _angstrom_for_ampere(unit)):
        if candidate.is_equivalent(u.mJy, u.spectral_density(5000 * u.AA)) and candidate.is_equivalent(
                (u.Jy, u.erg / u.s / u.cm**2 / u.AA)):
            return FluxUnit(candidate)
    counts = "; multiply count rates by PHOTFLAM (erg/s/cm2/Angstrom) of the image's header" if any(
        base.name in ("ct", "electron", "adu") for base in unit.decompose().bases + unit.bases) else ""
    raise UnitError(f"{text[:60]}, which is not a flux density; fluxes need a unit convertible to Jy, or AB, ST or "
                    f"Vega magnitudes{counts}")


def _angstrom_for_ampere(unit):
    """Return the unit with A read as Angstrom."""
    powers = dict(zip(unit.bases, unit.powers, strict=True)) if hasattr(unit, "bases") else {}
    power = powers.get(u.A, 0)
    return unit * u.A**-power * u.AA**power


def _meant(bare):
    if bare == "mjy":
        return "; mJy is milli- and MJy megajansky: give the one that is meant with option:unit"
    near = [name for name in ("mJy", "uJy", "nJy", "Jy", "nmgy", "AB", "ST", "Vega") if name.lower() in bare]
    needed = "; fluxes need a unit convertible to Jy, or AB, ST or Vega magnitudes: "
    if near:
        return f"{needed}if {' or '.join(near)} is meant, say so with option:unit"
    return f"{needed}give one with option:unit"


def equal_units(one: FluxUnit | None, other: FluxUnit) -> bool:
    """Return whether two units agree; a unit that is not given agrees with any.

    Parameters
    ----------
    one, other : FluxUnit or None

    Returns
    -------
    bool
    """
    if one is None or other is None:
        return True
    if one.is_magnitude or other.is_magnitude:
        return one.is_magnitude and other.is_magnitude and (one.system == other.system or None in (
            one.system, other.system))
    return one.unit.is_equivalent(other.unit) and np.isclose(one.unit.to(other.unit), 1)
