"""Band fluxes of spectra behind dust screens as one matrix product, and few wavelengths that represent each band.

A band's flux behind a screen is approximated by a nonnegative sum over few fixed
wavelengths: F(E, R_V) = F(0) sum_c x_c 10^(-0.4 E (R_V a_c + b_c)), sum_c x_c = 1.
It is linear in the stars, so a cluster can be reddened after its stars are summed.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LSUN_AT_10PC", "SCREENS", "band_operator", "choose_wavelengths", "extinction", "ionizing_operator",
           "shares"]

_C_ANGSTROM_S, _PLANCK = 2.99792458e18, 6.62607015e-27
LSUN = 3.839e33  # erg/s
#: erg/s/cm2 at 10 pc per solar luminosity.
LSUN_AT_10PC = LSUN / (4 * np.pi * 3.0856775814913673e19**2)
LYMAN_LIMIT = 911.6  # Angstrom
#: (E(B-V), R_V) of the screens for the fit of shares.
SCREENS = [(e, rv) for e in (0.2, 0.5, 1.0, 1.5) for rv in (2.2, 3.1, 4.0, 5.0)]
_MOST = 6  # largest number of wavelengths per band
_GOOD_RMS, _GOOD_WORST = 0.0015, 0.005  # mag
_WORTHWHILE = 0.9  # an additional wavelength must reduce the error by this factor


def extinction(wavelength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients of the extinction law, linear in R_V.

    Parameters
    ----------
    wavelength : ndarray
        Angstrom, 1000 to 33000.

    Returns
    -------
    a, b : ndarray
        A(lambda)/E(B-V) = R_V a + b (O'Donnell 1994, ApJ 422, 158).
    """
    import astropy.units as u
    from dust_extinction.parameter_averages import O94

    low, high = (np.asarray(O94(Rv=rv)(np.atleast_1d(wavelength) * u.AA)) for rv in (2.5, 5.0))
    b = (low - high) / (1 / 2.5 - 1 / 5.0)
    return low - b / 2.5, b


def band_operator(wavelength: np.ndarray, curves: Sequence, screens: Sequence = ()) -> np.ndarray:
    """Build the matrix that converts spectra to band fluxes.

    Parameters
    ----------
    wavelength : ndarray (n,)
        Wavelengths of the spectra, Angstrom, increasing.
    curves : sequence of (wavelength, throughput)
    screens : sequence of (ebv, rv)

    Returns
    -------
    ndarray (n, n_band, 1 + n_screen)
        Multiplied by spectra in erg/s/cm2/Angstrom: mean flux densities in mJy without and behind each screen.
    """
    operator = np.zeros((len(wavelength), len(curves), 1 + len(screens)))
    for i, (wave, throughput) in enumerate(curves):
        inside = wavelength[(wavelength > wave[0]) & (wavelength < wave[-1])]
        grid = np.union1d(wave, inside)
        step = np.diff(grid)
        trapezoid = np.concatenate([step, [0]]) / 2 + np.concatenate([[0], step]) / 2
        transmitted = np.interp(grid, wave, throughput) * trapezoid
        weight = transmitted * grid / np.sum(transmitted * _C_ANGSTROM_S / grid) * 1e26
        a, b = extinction(np.clip(grid, 1000, 33000))
        columns = [weight, *(weight * 10 ** (-0.4 * e * (rv * a + b)) for e, rv in screens)]
        right = np.clip(np.searchsorted(wavelength, grid), 1, len(wavelength) - 1)
        part = np.clip((grid - wavelength[right - 1]) / (wavelength[right] - wavelength[right - 1]), 0, 1)
        for j, column in enumerate(columns):
            operator[:, i, j] = (np.bincount(right - 1, (1 - part) * column, len(wavelength))
                                 + np.bincount(right, part * column, len(wavelength)))
    return operator


def ionizing_operator(wavelength: np.ndarray) -> np.ndarray:
    """Build the vector that converts spectra to ionizing photons.

    Parameters
    ----------
    wavelength : ndarray (n,)
        Angstrom.

    Returns
    -------
    ndarray (n,)
        Multiplied by luminosities per Angstrom in erg/s: photons per second below 911.6 Angstrom.
    """
    grid = np.append(wavelength[wavelength < LYMAN_LIMIT], LYMAN_LIMIT)
    step = np.diff(grid)
    weight = (np.concatenate([step, [0]]) + np.concatenate([[0], step])) / 2 * grid / (_PLANCK * _C_ANGSTROM_S)
    operator = np.zeros(len(wavelength))
    operator[: len(grid) - 1] = weight[:-1]
    after = len(grid) - 1
    part = (LYMAN_LIMIT - wavelength[after - 1]) / (wavelength[after] - wavelength[after - 1])
    operator[after - 1] += (1 - part) * weight[-1]
    operator[after] += part * weight[-1]
    return operator


def _transmissions(wavelengths):
    a, b = extinction(wavelengths)
    ebv, rv = np.array([(0.0, 3.1), *SCREENS]).T
    return 10 ** (-0.4 * ebv[:, None] * (rv[:, None] * a + b))


def shares(fluxes: np.ndarray, wavelengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the share of a band's flux that each wavelength represents.

    Parameters
    ----------
    fluxes : ndarray (n, 1 + n_screen)
        Fluxes of one band, without a screen and behind each of ``SCREENS``.
    wavelengths : ndarray (k,)
        Angstrom, six at most.

    Returns
    -------
    shares : ndarray (n, k)
        Nonnegative shares that sum to one, fitted to relative fluxes by nonnegative least squares.
    error : ndarray (n, n_screen)
        Errors of the reddened fluxes, mag.
    """
    ratio = fluxes[:, 1:] / fluxes[:, :1]
    basis = _transmissions(np.asarray(wavelengths, float))
    return _solve(ratio, basis)


def _solve(ratio, basis):
    """Solve nonnegative least squares for few unknowns that sum to one, by trying which of them are zero."""
    n, k = len(ratio), basis.shape[1]
    design = basis[1:] / ratio[:, :, None]  # relative
    best, least = np.zeros((n, k)), np.full(n, np.inf)
    for some in itertools.chain.from_iterable(itertools.combinations(range(k), r) for r in range(1, k + 1)):
        first, rest = some[0], list(some[1:])
        found = np.zeros((n, k))
        if rest:  # x_first = 1 - the others
            matrix = design[..., rest] - design[..., [first]]
            normal = np.einsum("nsi,nsj->nij", matrix, matrix)
            normal += 1e-14 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(len(rest))
            right = np.einsum("nsi,ns->ni", matrix, 1 - design[..., first])
            found[:, rest] = np.linalg.solve(normal, right[..., None])[..., 0]
        found[:, first] = 1 - found.sum(1)
        residual = ((np.einsum("nsk,nk->ns", design, found) - 1) ** 2).sum(1)
        better = (found >= 0).all(1) & (residual < least)
        best[better], least[better] = found[better], residual[better]
    error = -2.5 * np.log10(np.einsum("nsk,nk->ns", design, best))
    return best, error


def choose_wavelengths(curve: tuple[np.ndarray, np.ndarray], fluxes: np.ndarray, spectra: np.ndarray,
                       wavelength: np.ndarray) -> np.ndarray:
    """Choose the wavelengths that represent a band.

    Parameters
    ----------
    curve : (wavelength, throughput)
    fluxes : ndarray (n, 1 + n_screen)
        Fluxes of the band, as for `shares`, for a variety of spectra.
    spectra : ndarray (n, n_wavelength)
        The same spectra, per Angstrom.
    wavelength : ndarray (n_wavelength,)

    Returns
    -------
    ndarray (k,)
        Angstrom: the fewest wavelengths with errors of 0.0015 mag rms and at most 0.005 mag, or six.
    """
    wave, throughput = curve
    ratio = fluxes[:, 1:] / fluxes[:, :1]
    levels = np.linspace(0.04, 0.96, 12)
    candidates = set()
    a, b = extinction(np.clip(wave, 1000, 33000))
    for spectrum, ebv in itertools.product(spectra, (0.0, 1.0)):  # behind dust, a red leak is more important
        photons = np.interp(wave, wavelength, spectrum) * throughput * wave * 10 ** (-0.4 * ebv * (3.1 * a + b))
        cumulative = np.concatenate([[0], np.cumsum((photons[1:] + photons[:-1]) / 2 * np.diff(wave))])
        candidates.update(np.round(np.interp(levels, cumulative / cumulative[-1], wave), -1))
    candidates = np.array(sorted(candidates))
    if len(candidates) > 32:
        candidates = np.unique(candidates[np.linspace(0, len(candidates) - 1, 32).round().astype(int)])
    basis = _transmissions(candidates)

    def worth(chosen: Sequence[int]) -> tuple[float, float]:
        """Return the RMS and largest error of a choice of wavelengths."""
        error = _solve(ratio, basis[:, list(chosen)])[1]
        return np.sqrt(np.mean(error**2)), np.abs(error).max()

    def cost(chosen: Sequence[int]) -> float:
        """Return a weighted combination of both errors."""
        rms, most = worth(chosen)
        return rms + most / 4

    best, fewer = (), ()
    for size in range(1, min(_MOST, len(candidates)) + 1):
        if size <= 2:
            options = itertools.combinations(range(len(candidates)), size)
        else:  # add one, then shift each in turn
            options = (tuple(sorted((*best, extra))) for extra in range(len(candidates)) if extra not in best)
        best, before = min(options, key=cost), None
        while best != before:
            before = best
            for place in range(size):
                others = best[:place] + best[place + 1:]
                moved = (tuple(sorted((*others, i))) for i in range(len(candidates)) if i not in others)
                best = min(moved, key=cost)
        if fewer and cost(best) > _WORTHWHILE * cost(fewer):
            best = fewer
            break
        rms, most = worth(best)
        if rms <= _GOOD_RMS and most <= _GOOD_WORST:
            break
        fewer = best
    return candidates[list(best)]
