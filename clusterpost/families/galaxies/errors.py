"""Photometric errors of galaxies, for mock observations of SDSS.

The errors in the NASA-Sloan Atlas (Blanton et al. 2011, AJ 142, 31) already include a floor of 0.05, 0.02, 0.02, 0.02,
and 0.03 mag in u, g, r, i, and z in quadrature with a statistical part s: sigma^2 = floor^2 + s^2.  Do not add another
floor.  `FlooredErrors` draws such errors.  `PaperErrors` draws sigma from a normal density as Hahn & Melchior
(2022), Eq. 5, do; some are below the floor, where there are no galaxies.

Both use the fluxes of *other* galaxies: errors at a galaxy's own fluxes would contain information on its brightness
that the likelihood does not have.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...typing import ErrorModel

__all__ = ["ERRORS_PATH", "MAGNITUDES", "NSA_FLOORS", "FlooredErrors", "PaperErrors", "measure_errors", "nsa_errors"]

#: Floors of the errors in the NASA-Sloan Atlas, mag in ugriz.
NSA_FLOORS = (0.05, 0.02, 0.02, 0.02, 0.03)
#: Range of r magnitudes of mock galaxies.
MAGNITUDES = (11.5, 20.5)
#: Path of the packaged measurement.
ERRORS_PATH = Path(__file__).parents[2] / "data" / "nsa_errors.json"
_MAG = 2.5 / math.log(10.0)  # magnitudes for a relative error of one
_LN_AB_MJY = math.log(3.631e6)  # ln of the flux of magnitude zero, mJy
_LEAST_STATISTICAL = 1e-4  # mag: smaller ones are rounding errors of the sum in quadrature
_LEAST_PER_NODE = 20
_NORMAL_MAD = 1.4826


def _interpolate(x, nodes, values):
    """Interpolate linearly in each band, constant outside; x (n, n_band), nodes and values (n_band, n_node)."""
    nodes, values = (torch.as_tensor(a, dtype=x.dtype, device=x.device) for a in (nodes, values))
    right = torch.searchsorted(nodes, x.T.contiguous()).clamp(1, nodes.shape[1] - 1)
    left = right - 1
    start, end = nodes.gather(1, left), nodes.gather(1, right)
    fraction = ((x.T - start) / (end - start)).clamp(0, 1)
    return torch.lerp(values.gather(1, left), values.gather(1, right), fraction).T


def _bins(flux, error, floors, n_nodes):
    """Bin rows in ln flux for each band; return bins, ln flux, sigma in mag, and its statistical part."""
    good = np.isfinite(flux).all(1) & (flux > 0).all(1) & np.isfinite(error).all(1) & (error > 0).all(1)
    if good.sum() < 2 * _LEAST_PER_NODE:
        raise InputError(f"the catalog has {good.sum()} galaxies detected in every band; {2 * _LEAST_PER_NODE} are "
                         "needed to measure the dependence of errors on flux")
    ln_flux, sigma = np.log(flux[good]), _MAG * error[good] / flux[good]
    statistical = np.sqrt(np.maximum(sigma**2 - np.square(floors), _LEAST_STATISTICAL**2))
    count = min(n_nodes, good.sum() // _LEAST_PER_NODE)
    bins = [np.array_split(np.argsort(x, kind="stable"), count) for x in ln_flux.T]
    return bins, ln_flux, sigma, statistical


def _per_bin(function, bins, values):
    return tuple(tuple(round(float(function(values[part, b])), 6) for part in parts) for b, parts in enumerate(bins))


@dataclass(frozen=True)
class FlooredErrors:
    """Errors with a floor and a statistical part that depends on flux.

    Attributes
    ----------
    floor : tuple of float
        Floor in each band, mag.
    ln_flux, ln_statistical : tuple of tuple of float
        Nodes in each band: ln of the flux in mJy, and median ln of the statistical error in mag.
    scatter : tuple of float
        Standard deviation of ln of the statistical error in each band.
    correlation : tuple of tuple of float
        Correlation of ln of the statistical error between bands: large galaxies are noisy in all of them.
    widen : float
        Factor on the scatter, to cover more than the catalog.
    magnitude : tuple of float
        Range of magnitudes in the middle of three or five bands to which the other galaxies are scaled, for
        errors in that range; by default their brightness does not change.
    low, high : float
        Bounds of all relative errors.
    """

    floor: tuple[float, ...]
    ln_flux: tuple[tuple[float, ...], ...]
    ln_statistical: tuple[tuple[float, ...], ...]
    scatter: tuple[float, ...]
    correlation: tuple[tuple[float, ...], ...]
    widen: float = 1.0
    magnitude: tuple[float, ...] = ()
    low: float = 0.001
    high: float = 2.0

    kind = "floored"

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest relative error."""
        return self.low, self.high

    @classmethod
    def from_catalog(cls, flux: np.ndarray, error: np.ndarray, floor: Sequence[float] = NSA_FLOORS, *,
                     n_nodes: int = 12) -> FlooredErrors:
        """Measure the dependence of errors on flux in a catalog.

        Parameters
        ----------
        flux, error : ndarray (n, n_band)
            Flux and error in mJy, with the floor included in the error.
        floor : sequence of float
            mag.
        n_nodes : int
            Maximum number of nodes, each from equally many galaxies, at least 20.

        Returns
        -------
        FlooredErrors

        Raises
        ------
        InputError
            If fewer than 40 galaxies are detected in every band.

        Examples
        --------
        >>> import numpy as np
        >>> from clusterpost.families.galaxies.errors import FlooredErrors
        >>> flux = np.geomspace(1, 100, 200)[:, None]
        >>> errors = FlooredErrors.from_catalog(flux, 0.02 * flux**0.5, floor=[0.0])
        >>> len(errors.ln_flux[0])
        10
        """
        bins, ln_flux, _, statistical = _bins(np.asarray(flux, float), np.asarray(error, float), floor, n_nodes)
        ln_statistical = np.log(statistical)
        nodes, medians = _per_bin(np.mean, bins, ln_flux), _per_bin(np.median, bins, ln_statistical)
        residual = ln_statistical - _interpolate(torch.as_tensor(ln_flux), nodes, medians).numpy()
        scatter = _NORMAL_MAD * np.median(np.abs(residual - np.median(residual, axis=0)), axis=0)
        ordinary = (np.abs(residual) < 4 * scatter + 1e-3).all(1)
        with np.errstate(invalid="ignore"):  # errors without scatter have no correlation
            correlation = np.nan_to_num(np.atleast_2d(np.corrcoef(residual[ordinary].T)))
        np.fill_diagonal(correlation, 1.0)
        return cls(tuple(floor), nodes, medians, tuple(np.round(scatter, 4).tolist()),
                   tuple(tuple(row) for row in np.round(correlation, 4).tolist()))

    def draw(self, ln_flux: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw relative errors.

        Parameters
        ----------
        ln_flux : Tensor (n, n_band)
            ln of the fluxes of *other* galaxies, mJy.
        generator : torch.Generator

        Returns
        -------
        Tensor (n, n_band)
        """
        _check_bands(ln_flux, self.floor)
        if self.magnitude:
            faintest, brightest = (_LN_AB_MJY - m / _MAG for m in reversed(self.magnitude))
            middle = ln_flux[:, len(self.floor) // 2, None]
            wanted = torch.empty_like(middle).uniform_(faintest, brightest, generator=generator)
            ln_flux = ln_flux - middle + wanted
        root = torch.linalg.cholesky(ln_flux.new_tensor(self.correlation))
        normal = torch.randn(ln_flux.shape, generator=generator, device=ln_flux.device, dtype=ln_flux.dtype) @ root.T
        median = _interpolate(ln_flux, self.ln_flux, self.ln_statistical)
        statistical = torch.exp(median + self.widen * ln_flux.new_tensor(self.scatter) * normal)
        return (torch.hypot(statistical, ln_flux.new_tensor(self.floor)) / _MAG).clamp(self.low, self.high)


@dataclass(frozen=True)
class PaperErrors:
    """Normally distributed errors, as in Hahn & Melchior (2022), Eq. 5.

    Attributes
    ----------
    ln_flux, mean, deviation : tuple of tuple of float
        Nodes in each band: ln of the flux in mJy, and mean and standard deviation of sigma in mag.
    low, high : float
        Bounds of all relative errors; the normal density extends below zero.
    """

    ln_flux: tuple[tuple[float, ...], ...]
    mean: tuple[tuple[float, ...], ...]
    deviation: tuple[tuple[float, ...], ...]
    low: float = 0.001
    high: float = 2.0

    kind = "paper"

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest relative error."""
        return self.low, self.high

    @classmethod
    def from_catalog(cls, flux: np.ndarray, error: np.ndarray, *, n_nodes: int = 12) -> PaperErrors:
        """Measure how errors depend on flux in a catalog; see `FlooredErrors.from_catalog`.

        The mean is a median and the deviation a scaled median absolute deviation, because a few errors in the atlas
        are a thousand times larger than the others.
        """
        floors = np.zeros(np.shape(flux)[1])
        bins, ln_flux, sigma, _ = _bins(np.asarray(flux, float), np.asarray(error, float), floors, n_nodes)
        return cls(_per_bin(np.mean, bins, ln_flux), _per_bin(np.median, bins, sigma),
                   _per_bin(lambda x: _NORMAL_MAD * np.median(np.abs(x - np.median(x))), bins, sigma))

    def draw(self, ln_flux: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw relative errors; see `FlooredErrors.draw`."""
        _check_bands(ln_flux, self.ln_flux)
        mean, deviation = (_interpolate(ln_flux, self.ln_flux, values) for values in (self.mean, self.deviation))
        normal = torch.randn(ln_flux.shape, generator=generator, device=ln_flux.device, dtype=ln_flux.dtype)
        return ((mean + deviation * normal) / _MAG).clamp(self.low, self.high)


def _check_bands(ln_flux, per_band):
    if ln_flux.shape[1] != len(per_band):
        raise InputError(f"these errors have {len(per_band)} bands, but the fluxes have {ln_flux.shape[1]}")


_FORMS = {form.kind: form for form in (FlooredErrors, PaperErrors)}


@functools.cache
def nsa_errors(form: str = "floored") -> ErrorModel:
    """Return an error model for ugriz measured from the NASA-Sloan Atlas.

    Parameters
    ----------
    form : {"floored", "paper"}

    Returns
    -------
    FlooredErrors or PaperErrors
        Error model from ``python -m clusterpost.training.galaxies errors``.

    Raises
    ------
    InputError
        If the form is unknown.

    Examples
    --------
    >>> from clusterpost.families.galaxies.errors import nsa_errors
    >>> nsa_errors().floor
    (0.05, 0.02, 0.02, 0.02, 0.03)
    """
    if form not in _FORMS:
        raise InputError(f"unknown form of errors {form!r}; choose from {', '.join(_FORMS)}")
    values = json.loads(ERRORS_PATH.read_text())[form]
    return _FORMS[form](**{name: _as_tuples(value) for name, value in values.items()})


def _as_tuples(value):
    return tuple(_as_tuples(x) for x in value) if isinstance(value, list) else value


def measure_errors(flux: np.ndarray, error: np.ndarray) -> dict:
    """Measure both forms from a catalog, as plain values.

    Parameters
    ----------
    flux, error : ndarray (n, 5)
        mJy, in ugriz.

    Returns
    -------
    dict
        Values by the name of the form.
    """
    forms = FlooredErrors.from_catalog(flux, error), PaperErrors.from_catalog(flux, error)
    return {form.kind: asdict(form) for form in forms}
