"""Isochrones as stars: narrow intervals of initial mass with their expected numbers of stars."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError

if TYPE_CHECKING:
    from ...typing import PathLike

__all__ = ["ISOCHRONE_FILES", "Stars", "chabrier_number", "read_isochrones", "remnant_mass", "resample"]

#: Metallicity in the table, and the file of Padova2007 used for it.
ISOCHRONE_FILES = {0.0004: "0.0004", 0.001: "0.0010", 0.002: "0.0020", 0.004: "0.0039", 0.008: "0.0077",
                   0.02: "0.0190", 0.03: "0.0300"}
TP_AGB, POST_AGB, WR_PHASES = 5.0, 6.0, (9.0, 10.0)

_LOWEST, _HIGHEST = 0.1, 100.0  # Msun
_STEP_LUMINOSITY, _STEP_TEMPERATURE, _STEP_MASS = 0.04, 0.015, 0.03
_CENTER, _WIDTH, _SLOPE = np.log10(0.08), 0.69, 1.3  # Chabrier (2003), as in BC03


@dataclass
class Stars:
    """Kinds of stars of one isochrone, in order of initial mass.

    Attributes
    ----------
    number : ndarray (n,)
        Expected number per solar mass formed.
    initial, mass : ndarray (n,)
        Initial and present mass, Msun.
    log_l, log_t, log_g : ndarray (n,)
        log10 of L/Lsun, Teff/K and g/(cm/s2).
    composition, phase : ndarray (n,)
        As in the file: surface composition, and 5 for TP-AGB, 6 for post-AGB, 9 and 10 for Wolf-Rayet stars.
    """

    number: np.ndarray
    initial: np.ndarray
    mass: np.ndarray
    log_l: np.ndarray
    log_t: np.ndarray
    log_g: np.ndarray
    composition: np.ndarray
    phase: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    def __getitem__(self, index: slice | np.ndarray) -> Stars:
        return Stars(*(getattr(self, field.name)[index] for field in fields(self)))


def _imf(mass):
    """Return dN/dlog m, not normalized."""
    turn = np.exp(-_CENTER**2 / (2 * _WIDTH**2))
    log_normal = np.exp(-((np.log10(mass) - _CENTER) ** 2) / (2 * _WIDTH**2))
    return np.where(mass <= 1, log_normal, turn * mass**-_SLOPE)


_LOG_MASS = np.linspace(np.log10(_LOWEST), np.log10(_HIGHEST), 60001)
_CUMULATIVE = np.concatenate([[0], np.cumsum((_imf(10**_LOG_MASS)[1:] + _imf(10**_LOG_MASS)[:-1]) / 2
                                            * np.diff(_LOG_MASS))])
_TOTAL_MASS = np.trapezoid(_imf(10**_LOG_MASS) * 10**_LOG_MASS, _LOG_MASS)


def chabrier_number(low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """Count the stars born between two masses.

    Parameters
    ----------
    low, high : ndarray
        Msun.

    Returns
    -------
    ndarray
        Expected number per solar mass formed: Chabrier (2003, PASP 115, 763) as in Bruzual & Charlot (2003), 0.1 to
        100 Msun.

    Examples
    --------
    >>> from clusterpost.training.stars.isochrones import chabrier_number
    >>> print(round(float(chabrier_number(0.1, 100)), 3))
    1.487
    """
    ends = [np.interp(np.log10(np.clip(end, _LOWEST, _HIGHEST)), _LOG_MASS, _CUMULATIVE) for end in (low, high)]
    return (ends[1] - ends[0]) / _TOTAL_MASS


def remnant_mass(turnoff: float) -> float:
    """Sum the remnants of all stars above a mass.

    Parameters
    ----------
    turnoff : float
        Initial mass above which stars have died, Msun.

    Returns
    -------
    float
        Msun per solar mass formed (Renzini & Ciotti 1993, ApJ 416, L49, as in FSPS).
    """
    mass = 10**_LOG_MASS
    left = np.where(mass >= 40, 0.5 * mass, np.where(mass >= 8.5, 1.4, 0.077 * mass + 0.48))
    left[mass <= turnoff] = 0
    return float(np.trapezoid(_imf(mass) * left, _LOG_MASS) / _TOTAL_MASS)


def read_isochrones(folder: PathLike, metallicity: float) -> dict[float, np.ndarray]:
    """Read the isochrones of one metallicity in FSPS' layout.

    Parameters
    ----------
    folder : path
        ``ISOCHRONES/Padova/Padova2007`` of FSPS.
    metallicity : float
        One of ``ISOCHRONE_FILES``.

    Returns
    -------
    dict of ndarray (n, 7)
        Columns by log10 age/yr: initial mass, present mass, log L, log Teff, log g, composition, phase.

    Raises
    ------
    InputError
        If the file is missing or has a different format.
    """
    path = Path(folder) / f"isoc_z{ISOCHRONE_FILES[metallicity]}.dat"
    try:
        rows = np.loadtxt(path, comments="#")
    except (OSError, ValueError) as error:
        raise InputError(f"no isochrones of Z = {metallicity} in {path}: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != 8:
        raise InputError(f"{path} does not hold the eight columns of FSPS' isochrones")
    return {round(float(age), 2): rows[rows[:, 0] == age, 1:] for age in np.unique(rows[:, 0])}


def resample(rows: np.ndarray, log_age: float) -> Stars:
    """Divide an isochrone into narrow intervals of initial mass.

    Parameters
    ----------
    rows : ndarray (n, 7)
        Rows from `read_isochrones`.
    log_age : float
        log10 age/yr, which sets the weights of TP-AGB stars (Villaume, Conroy & Johnson 2015, ApJ 806, 82).

    Returns
    -------
    Stars
        Stars; between two rows, mass, log L and log Teff are linear in the initial mass.
    """
    initial, mass, log_l, log_t, _, composition, phase = rows.T
    steps = np.max([np.abs(np.diff(log_l)) / _STEP_LUMINOSITY, np.abs(np.diff(log_t)) / _STEP_TEMPERATURE,
                    np.diff(np.log(initial)) / _STEP_MASS], axis=0)
    pieces = np.maximum(np.ceil(steps), 1).astype(int)
    row = np.repeat(np.arange(len(pieces)), pieces)
    place = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)

    def at(values: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Interpolate between the rows of the isochrone."""
        return values[row] + share * (values[row + 1] - values[row])

    start, end, middle = (((place + shift) / pieces[row]) for shift in (0, 1, 0.5))
    number = chabrier_number(at(initial, start), at(initial, end))
    nearest = row + (middle >= 0.5)
    stars = Stars(number, at(initial, middle), at(mass, middle), at(log_l, middle), at(log_t, middle), middle,
                  composition[nearest], phase[nearest])
    stars.log_g = np.log10(stars.mass) + 4 * stars.log_t - stars.log_l - 10.6114
    stars.number = np.where(stars.phase == TP_AGB, number * max(0.1, 10 ** (-1 + (log_age - 8) / 2.5)), number)
    return stars[stars.number > 0]
