"""Anchor the mean light of the stars to published populations, which constrains the giants.

Where isochrones and libraries disagree with the adopted mean, first the numbers of
three groups of evolved stars are adjusted, and then the light of cool stars, three
times as readily as that of the other stars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

from .isochrones import POST_AGB, WR_PHASES

if TYPE_CHECKING:
    from .isochrones import Stars

__all__ = ["FITTED_BANDS", "brighten", "evolved_groups", "reweight"]

#: Bands for the fit of the groups' numbers, with the color residual that counts as one.
FITTED_BANDS = {"F275W": 0.08, "F336W": 0.04, "F438W": 0.03, "F555W": 0.03, "F814W": 0.03}
_GRAY, _NUMBERS, _MOST = 0.08, 0.5, 1.1
_READY = np.array([3.0, 1.0])  # cool stars and the rest
_GIANT, _COOL, _WARM = 3.5, 3.76, 4.10  # log g, log Teff


def evolved_groups(stars: Stars) -> np.ndarray:
    """Return the groups of evolved stars.

    Parameters
    ----------
    stars : Stars

    Returns
    -------
    ndarray of int (n,)
        0 cool, 1 warm, 2 hot, 3 none of these.
    """
    wolf_rayet = np.isin(stars.phase, WR_PHASES)
    giant = (stars.log_g < _GIANT) & ~wolf_rayet
    group = np.full(len(stars), 3)
    group[giant & (stars.log_t < _COOL)] = 0
    group[giant & (stars.log_t >= _COOL) & (stars.log_t <= _WARM)] = 1
    group[wolf_rayet | (giant & (stars.log_t > _WARM) & (stars.phase != POST_AGB))] = 2
    return group


def reweight(flux: np.ndarray, group: np.ndarray, adopted: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, float]:
    """Find the factors of the groups' numbers for which the mean has the adopted colors.

    Parameters
    ----------
    flux : ndarray (n, n_band)
        Flux of each kind of star, times its number.
    group : ndarray of int (n,)
        Output of `evolved_groups`.
    adopted : ndarray (n_band,)
        ln of the adopted mean.
    scales : ndarray (n_band,)
        Color residuals that count as one.

    Returns
    -------
    x : ndarray (4,)
        ln of the factors; that of the last group is zero.
    gray : float
        Remaining offset of the brightness, ln.
    """
    of_group = np.stack([flux[group == g].sum(0) for g in range(4)])
    present = np.flatnonzero(of_group[:3].sum(1) > 0)
    # The gray offset is free but penalized; its best value follows from the residuals.
    information = np.sum(scales**-2) + _GRAY**-2

    def residuals(x: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the brightness residuals of factors in each band, and their gray part."""
        factors = np.ones(4)
        factors[present] = np.exp(x)
        left = adopted - np.log(factors @ of_group)
        gray = np.sum(left / scales**2) / information
        return left, gray

    def terms(x: np.ndarray) -> np.ndarray:
        """Return the terms of the sum of squares."""
        left, gray = residuals(x)
        return np.concatenate([(left - gray) / scales, [gray / _GRAY], x / _NUMBERS])

    out = np.zeros(4)
    if present.size:
        out[present] = least_squares(terms, np.zeros(present.size), bounds=(-_MOST, _MOST)).x
    return out, float(residuals(out[present])[1])


def brighten(flux: np.ndarray, cool: np.ndarray, adopted: np.ndarray, gray: float) -> np.ndarray:
    """Find the factors of the light of cool stars and other stars in each band that give the adopted mean.

    Parameters
    ----------
    flux : ndarray (n, n_band)
        Flux of each kind of star, times its number.
    cool : ndarray of bool (n,)
    adopted : ndarray (n_band,)
        ln of the adopted mean.
    gray : float
        Gray offset from `reweight`.

    Returns
    -------
    ndarray (2, n_band)
        ln of the factors of cool stars and of the rest: gray + lambda s^2 share, with s three times as large for the
        cool ones.
    """
    parts = np.stack([flux[cool].sum(0), flux[~cool].sum(0)])
    total = parts.sum(0)
    share = parts / total
    pull = _READY[:, None] ** 2 * share
    wanted = np.exp(adopted) / total
    lagrange = np.zeros(len(adopted))
    for _ in range(60):
        factors = np.exp(np.clip(gray + lagrange * pull, -5, 5))
        value, slope = (share * factors).sum(0) - wanted, (share * factors * pull).sum(0)
        lagrange -= np.clip(value / slope, -0.3, 0.3)
    return gray + lagrange * pull
