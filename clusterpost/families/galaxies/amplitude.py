"""Likelihood of galaxies, and conditional density of the mass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ..clusters.truncated import CutNormal
from ..photometric import PhotometricLikelihood

if TYPE_CHECKING:
    from ...noise import Noise
    from ...observations import Observed
    from ..base import Prior

__all__ = ["FormedMass", "GalaxyLikelihood"]

_LN10 = math.log(10.0)
_LEAST_WEIGHT = 1e-4  # of an object without brightness information


class GalaxyLikelihood(PhotometricLikelihood):
    """Photometric likelihood with fluxes proportional to the mass, the first parameter."""

    def with_noise(self, noise: Noise) -> GalaxyLikelihood:
        """Return the same likelihood with another noise model."""
        return GalaxyLikelihood(self._ln_flux, noise, self.band_names)

    def amplitude(self, prior: Prior) -> FormedMass:
        """Return the conditional density of log10 mass, given the other parameters."""
        return FormedMass(self, prior)


class FormedMass:
    """Conditional density of log10 of the mass formed, given the other parameters and the photometry.

    Parameters
    ----------
    likelihood : GalaxyLikelihood
    prior : object of `clusterpost.priors`

    Notes
    -----
    Under log-normal noise and a prior that is flat in log10 mass, ln mass is normal, truncated at the prior's bounds.
    Its weight is the sum of the weights 1/s^2 of the bands, and its mean the weighted mean of their estimates.  With
    another noise model, limits, or another prior, this is a log-normal approximation, and draws need weights.
    """

    #: Name of the parameter.
    parameter = "log_mstar"

    def __init__(self, likelihood: GalaxyLikelihood, prior: Prior):
        self.likelihood = likelihood
        self.first = prior.names.index(self.parameter)
        self.low, self.high = (float(end[self.first]) * _LN10 for end in (prior.low, prior.high))

    def at(self, observed: Observed, *others_and_shift: torch.Tensor, closed: bool = True) -> _CutLogMass:
        """Return the densities at values of the other parameters.

        Parameters
        ----------
        observed : Observed
            Photometry of n galaxies.
        *others_and_shift : Tensor (n, k)
            The other parameters in order, and the shift of ln distance or None.
        closed : bool
            Ignored; only the closed form exists.

        Returns
        -------
        object
            Object with ``draw(unit)`` and ``log_prob(log_mass)`` for Tensor (n, k).
        """
        *others, shift = others_and_shift
        others.insert(self.first, torch.zeros_like(others[0]))
        ln_flux = self.likelihood.ln_flux(observed, torch.stack(others, -1))
        if shift is not None:
            ln_flux = ln_flux - 2 * shift[..., None]
        value, width, usable = self.likelihood.noise.as_lognormal(observed.flux, observed.error)
        weight = torch.where(usable & observed.measured, width**-2, 0.0)[:, None]
        total = weight.sum(-1).clamp(min=_LEAST_WEIGHT)
        residual = torch.where(weight > 0, value[:, None] - ln_flux, 0.0)
        mean = (weight * residual).sum(-1) / total
        return _CutLogMass(CutNormal(mean, total.rsqrt().expand_as(mean), self.low, self.high))


class _CutLogMass:
    """Densities of log10 mass with ln mass normal between bounds."""

    def __init__(self, density):
        self._density = density

    @property
    def log_inside(self):
        """Log of the share of the normal density that lies within the bounds, (n, k)."""
        return self._density.log_inside

    def draw(self, unit):
        """Draw log10 masses at points (n, k) of the unit interval, and return their log density."""
        ln_mass = self._density.quantile(unit)
        return (ln_mass / _LN10).to(unit), (self._density.log_prob(ln_mass) + math.log(_LN10)).to(unit)

    def log_prob(self, log_mass):
        """Compute the log density in log10 mass for masses (n, k) within the bounds."""
        return (self._density.log_prob(_LN10 * log_mass.double()) + math.log(_LN10)).to(log_mass)
