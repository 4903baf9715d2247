"""The exact posterior density of a batch of clusters, up to their evidences."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..errors import InputError
from ..families.clusters.table import LN10, distance_term
from ..priors import as_prior

__all__ = ["Target"]

_DISTANCES = 9  # nodes of the integral over an uncertain one


class Target:
    """The posterior density p(theta) p(x | theta) of each cluster.

    Parameters
    ----------
    observed : Observed
    table : `~clusterpost.families.clusters.table.BandFluxTable`
        With the bands of ``observed``, on its device.
    noise : object of `clusterpost.noise`
    prior : object of `clusterpost.priors`, or callable
        A callable takes theta (..., 3) and gives a log density; it holds inside
        the bounds of `~clusterpost.priors.cluster_prior`.

    Raises
    ------
    InputError
        If the noise model has no use for a measurement, such as a negative
        flux under log-normal noise, or the prior reaches beyond the table.

    Notes
    -----
    theta is (log10 age/Myr, log10 initial mass/Msun, E(B-V)/mag), k points for
    each of n clusters.  ``ln_distance_shift`` (n, k), where given, is added to
    ln of the distance; its own density is no part of what is returned.  Where
    it is not given and the prior has the distance uncertain, likelihood and
    density are integrated over it.
    """

    def __init__(self, observed, table, noise, prior):
        self.observed, self.table, self.noise, self.prior = observed, table, noise, as_prior(prior)
        bad = observed.measured & ~noise.usable(observed.flux, observed.error)
        if bad.any():
            row, band = bad.nonzero()[0].tolist()
            raise InputError(
                f"noise={noise.name!r} has no use for the flux {observed.flux[row, band]:g} mJy in row {row}, band "
                f"{table.bands[band]}; leave that band out or choose noise='normal'")
        for name, nodes in (("log_age", table.log_age), ("ebv", table.ebv)):
            i, ends = self.prior.names.index(name), (nodes[0].item(), nodes[-1].item())
            low, high = self.prior.low[i].item(), self.prior.high[i].item()
            if low < ends[0] - 1e-5 or high > ends[1] + 1e-5:
                raise InputError(f"the prior of {name} goes from {low:g} to {high:g}, but the band-flux table only "
                                 f"from {ends[0]:g} to {ends[1]:g}; give bounds within it")
        self._any_limit = bool(observed.limit.any())

    def __len__(self):
        return len(self.observed)

    def __getitem__(self, rows) -> Target:
        """The target of these rows only."""
        return Target(self.observed[rows], self.table, self.noise, self.prior)

    def ln_flux(self, theta, ln_distance_shift=None):
        """Natural log of the flux in mJy that clusters would have.

        Parameters
        ----------
        theta : Tensor (n, k, 3)
        ln_distance_shift : Tensor (n, k), optional

        Returns
        -------
        Tensor (n, k, n_band)
        """
        log_age, log_mass, ebv = theta.unbind(-1)
        scale = LN10 * log_mass + distance_term(self.observed.covariates["distance"])[:, None]
        if ln_distance_shift is not None:
            scale = scale - 2 * ln_distance_shift
        return self.table.ln_flux(log_age, ebv) + scale[..., None]

    def log_likelihood(self, theta, ln_distance_shift=None):
        """ln p(x | theta): detections times the probabilities of upper limits.

        Parameters
        ----------
        theta : Tensor (n, k, 3)
        ln_distance_shift : Tensor (n, k), optional

        Returns
        -------
        Tensor (n, k)
            What x is, and so the unit, is the noise model's affair.
        """
        if ln_distance_shift is None and self.prior.distance_error:
            return self._marginal_likelihood(theta)
        ln_flux = self.ln_flux(theta, ln_distance_shift)
        o = self.observed
        total = self.noise.log_likelihood(o.flux, o.error, o.measured, ln_flux)
        if self._any_limit:
            flux, error, _, limit = self._bands()
            total = total + torch.where(limit, self.noise.log_limit(flux, error, ln_flux), 0.0).sum(-1)
        return total

    def log_density(self, theta, ln_distance_shift=None):
        """Log likelihood plus log prior.

        Parameters
        ----------
        theta : Tensor (n, k, 3)
        ln_distance_shift : Tensor (n, k), optional

        Returns
        -------
        Tensor (n, k)
            -inf where the prior has nothing.
        """
        log_prior = self.prior.log_prob(theta)
        density = self.log_likelihood(theta, ln_distance_shift) + log_prior
        return torch.where(torch.isneginf(log_prior), -torch.inf, density)

    def chi2(self, theta, ln_distance_shift=None):
        """Chi-square in linear fluxes (Walter et al. 2025, Eq. 11, not divided).

        Parameters
        ----------
        theta : Tensor (n, k, 3)
        ln_distance_shift : Tensor (n, k), optional

        Returns
        -------
        Tensor (n, k)
            Over the measured bands.
        """
        flux, error, measured, _ = self._bands()
        pull = (flux - torch.exp(self.ln_flux(theta, ln_distance_shift))) / error
        return torch.where(measured, pull**2, 0.0).sum(-1)

    def pull2(self, theta, ln_distance_shift=None):
        """Sum of squared residuals, each standardised as the noise model has it.

        Parameters
        ----------
        theta : Tensor (n, k, 3)
        ln_distance_shift : Tensor (n, k), optional

        Returns
        -------
        Tensor (n, k)
            Over the measured bands; of data made with that theta, chi-square
            distributed with as many degrees of freedom.  Its expectation where
            the distance is uncertain and no shift is given.
        """
        if ln_distance_shift is None and self.prior.distance_error:
            mean, sigma, weight = self._shift_given(theta)
            return self.pull2(theta, mean) + weight * (2 * sigma) ** 2
        flux, error, measured, _ = self._bands()
        pull = self.noise.pull(flux, error, self.ln_flux(theta, ln_distance_shift))
        return torch.where(measured, pull**2, 0.0).sum(-1)

    def _marginal_likelihood(self, theta):
        """Log likelihood integrated over the distance: Gauss-Hermite, exact for log-normal detections."""
        wide = self.prior.distance_error
        mean, sigma, _ = self._shift_given(theta)
        exact = self.noise.name == "lognormal" and not self._any_limit
        terms = []
        for node, weight in zip(*np.polynomial.hermite_e.hermegauss(1 if exact else _DISTANCES), strict=True):
            shift = mean + sigma * node
            # Density of the shift over that with which the nodes stand, both normal.
            log_ratio = torch.log(sigma / wide) - 0.5 * (shift / wide) ** 2 + 0.5 * node**2
            log_weight = math.log(weight) - 0.5 * math.log(2 * math.pi)
            terms.append(self.log_likelihood(theta, shift) + log_ratio + log_weight)
        return torch.logsumexp(torch.stack(terms), 0)

    def _shift_given(self, theta):
        """Mean (n, k) and standard deviation (n, 1) of the shift by log-normal stand-ins, and their weight (n, 1)."""
        o = self.observed
        value, width, usable = self.noise.as_lognormal(o.flux, o.error)
        weight = torch.where(usable & o.measured, width**-2, 0.0)
        total = weight.sum(-1, keepdim=True)
        precision = 4 * total + self.prior.distance_error**-2
        residual = torch.where(weight[:, None] > 0, value[:, None] - self.ln_flux(theta), 0.0)
        return -2 * (weight[:, None] * residual).sum(-1) / precision, precision.rsqrt(), total

    def _bands(self):
        """Flux, error and masks, each (n, 1, n_band)."""
        o = self.observed
        return o.flux[:, None], o.error[:, None], o.measured[:, None], o.limit[:, None]
