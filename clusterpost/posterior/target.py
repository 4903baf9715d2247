"""Posterior densities of a batch of objects, up to their evidences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..observations import Observed
from ..priors import as_prior
from .ascent import SHORT, long_climb
from .covariance import cholesky
from .weights import systematic_resample

if TYPE_CHECKING:
    from typing import Any

    from ..families.base import ModelFamily, Prior
    from ..families.clusters.table import BandFluxTable
    from ..noise import Noise
    from .proposal import Draws

__all__ = ["NetworkTarget", "Target"]

_DISTANCES = 9  # nodes of the integral over an uncertain distance
_SHIFTS = 16  # candidate shifts of the distance per draw
_REPEATED_A_BAND, _LEAST_REPEATED = 8, 64  # simulated observations per band, and minimum


class NetworkTarget:
    """Posterior density of a network, under its own prior or another.

    Parameters
    ----------
    observed : Observed
        Photometry of n objects.
    proposal : object
        Object whose ``log_prob(observed, conditions, theta)`` is the network's density.
    conditions : Tensor (n, n_condition)
    family : ModelFamily
        Family of the network, with the training prior.
    prior : object of `clusterpost.priors`
        Requested prior.
    noise : object of `clusterpost.noise`
        Noise model of the observation.

    Notes
    -----
    The posterior under another prior is the network's density times the ratio of the priors, up to a constant for
    each object, because the likelihood is the same under both.
    """

    likelihood = None
    climb = SHORT

    def __init__(self, observed: Observed, proposal: Any | None, conditions: Tensor, family: ModelFamily, prior: Prior,
                 noise: Noise):
        self.observed, self.proposal, self.conditions = observed, proposal, conditions
        self.family, self.prior, self.noise = family, prior, noise

    def __len__(self) -> int:
        return len(self.observed)

    def __getitem__(self, rows: int | torch.Tensor) -> NetworkTarget:
        """Select rows."""
        rows = [rows] if isinstance(rows, int) else rows
        return NetworkTarget(self.observed[rows], self.proposal, self.conditions[rows], self.family, self.prior,
                             self.noise)

    def without_network(self) -> NetworkTarget:
        """Return the same on the CPU without the network, for `~.simulated.sample_by_simulation`."""
        observed = self.observed.to("cpu", torch.float32)
        return NetworkTarget(observed, None, torch.zeros(len(self), 0), self.family, self.prior, self.noise)

    def log_density(self, theta: Tensor, ln_distance_shift: torch.Tensor | None = None) -> Tensor:
        """Compute the log density (n, k) of ``theta`` (n, k, n_parameter); -inf if either prior is zero."""
        trained = self.family.prior
        low, high = trained.low.to(theta), trained.high.to(theta)
        inside = torch.minimum(torch.maximum(theta, low), high)
        density = self.proposal.log_prob(self.observed, self.conditions, inside)
        return self._under_prior(density, theta)

    def drawn_shift(self, theta: torch.Tensor, generator: torch.Generator) -> Tensor | None:
        """Draw shifts of ln distance given parameters; see `Target.drawn_shift`."""
        return self.proposal.drawn_shift(self.observed, self.conditions, theta, generator)

    def density_of(self, draws: Draws) -> Tensor:
        """Compute the log density (n, k) of draws from that of the network."""
        return self._under_prior(draws.log_q, draws.theta)

    def _under_prior(self, density, theta):
        """Multiply a network density by the ratio of requested to trained prior."""
        prior = self.wanted
        wanted, known = prior.log_prob(theta), self.family.prior.log_prob(theta)
        if prior is not self.family.prior:
            density = density + wanted - known
        return torch.where(torch.isneginf(wanted) | torch.isneginf(known), -torch.inf, density)

    @property
    def wanted(self) -> Prior:
        """The prior of these objects, given their known quantities."""
        return self.family.prior_given(self.prior, self.observed.covariates)

    def predictive_pvalue(self, theta: Tensor, weight: Tensor) -> Tensor:
        """Compute a posterior predictive p-value of the detections by simulation, (n,).

        Parameters
        ----------
        theta : Tensor (n, k, n_parameter)
        weight : Tensor (n, k)
            Weights, with a sum of one.

        Returns
        -------
        Tensor (n,)
            Fraction of simulated observations, 64 or eight per band, farther from their mean, in units of their
            covariance, than the observed one; the chi-square probability if it is beyond all of them.
        """
        many = (_REPEATED_A_BAND * self.observed.n_measured).clamp(min=_LEAST_REPEATED)
        p_value = torch.empty(len(self), dtype=torch.float64, device=theta.device)
        for n_repeated in many.unique().tolist():
            rows = (many == n_repeated).nonzero()[:, 0]
            p_value[rows] = self[rows]._pvalue(theta[rows], weight[rows], n_repeated)
        return p_value

    def _pvalue(self, theta, weight, n_repeated):
        observed = self.observed
        index = systematic_resample(weight.double(), n_repeated, order=theta[..., 0])
        theta = theta.take_along_dim(index[..., None], 1)
        # Use the same random numbers for every object, independent of its neighbors.
        ln_flux = self.family.simulate_each(theta, observed.covariates, 0, observed.measured.any(0))
        flux, error, seen = observed.flux, observed.error, observed.measured
        # Reported errors stay what they are, relative to the flux; to its size where noise makes that small.
        dim = torch.where(seen, flux <= 0, False).any(-1)[:, None, None]
        size = torch.where(dim, torch.maximum(flux.abs()[:, None], torch.exp(ln_flux)), flux.abs()[:, None])
        relative = torch.where(seen[:, None], error[:, None] / size, 1.0)
        generator = torch.Generator(theta.device)
        repeated = torch.stack([self.noise.sample(*of_one, generator.manual_seed(1))[0]
                                for of_one in zip(ln_flux, relative, strict=True)])
        softening = 2 * error[:, None]  # asinh is logarithmic for bright fluxes and linear around zero
        x, y = (torch.where(seen[:, None], torch.asinh(each / softening).double(), 0.0)
                for each in (repeated, flux[:, None]))
        center = x.mean(1, keepdim=True)
        covariance = (x - center).mT @ (x - center) / (n_repeated - 1)
        root = cholesky(covariance + torch.diag_embed(torch.where(seen, 1e-9, 1.0).to(x)))
        repeated, found = (torch.linalg.solve_triangular(root, (each - center).mT, upper=False).square().sum(1)
                           for each in (x, y))
        share = (repeated >= found).double().mean(1)
        tail = torch.special.gammaincc(observed.n_measured.double() / 2, found[:, 0] / 2)
        return torch.where(share > 0, share, tail.clamp(max=1 / n_repeated)).nan_to_num(nan=0.0)


class Target:
    """Posterior density p(theta) p(x | theta) of each object.

    Parameters
    ----------
    observed : Observed
    likelihood : object
        A `clusterpost.families.base.Likelihood` for the bands of ``observed``, on its device.
    prior : object of `clusterpost.priors`, or callable
        A callable takes theta (..., 3) and returns a log density; it applies within
        the bounds of `~clusterpost.priors.cluster_prior`.

    Raises
    ------
    InputError
        If the noise model cannot describe a measurement, such as a negative
        flux under log-normal noise, or the prior extends beyond the model.

    Notes
    -----
    ``theta`` (n, k, n_parameter) are k points for each of n objects.
    ``ln_distance_shift`` (n, k), if given, is added to
    ln distance; its own density is not included in the result.  If it is not given and
    the prior has an uncertain distance, likelihood and
    density are integrated over it.
    """

    def __init__(self, observed: Observed, likelihood: Any, prior: Prior | None):
        self.observed, self.likelihood = observed, likelihood
        self.prior = prior if hasattr(prior, "log_prob") else as_prior(prior)
        self.climb = long_climb(len(self.prior.names))
        self._distance_error = observed.distance_error(self.prior)
        likelihood.check(observed)
        likelihood.check_prior(self.prior)
        self._any_limit = bool(observed.limit.any())

    def __len__(self) -> int:
        return len(self.observed)

    def __getitem__(self, rows: slice | int | torch.Tensor) -> Target:
        """Select rows."""
        return Target(self.observed[rows], self.likelihood, self.prior)

    @property
    def noise(self) -> Noise:
        """Noise model of the likelihood."""
        return self.likelihood.noise

    @property
    def table(self) -> BandFluxTable:
        """Band-flux table of the likelihood, if it has one."""
        return self.likelihood.table

    def ln_flux(self, theta: Tensor, ln_distance_shift: Tensor | None = None) -> Tensor:
        """Compute the natural log of the model's fluxes in mJy, (n, k, n_band)."""
        return self.likelihood.ln_flux(self.observed, theta, self._covariates(ln_distance_shift))

    def log_likelihood(self, theta: Tensor, ln_distance_shift: Tensor | None = None) -> Tensor:
        """Compute ln p(x | theta), (n, k): detections times the probabilities of upper limits.

        The noise model defines x and therefore the unit.
        """
        if ln_distance_shift is None and self._distance_error is not None:
            return self._marginal_likelihood(theta)
        return self.likelihood.log_prob(self.observed, theta, self._covariates(ln_distance_shift))

    def log_density(self, theta: torch.Tensor, ln_distance_shift: torch.Tensor | None = None) -> torch.Tensor:
        """Compute log likelihood plus log prior.

        Parameters
        ----------
        theta : Tensor (n, k, 3)
        ln_distance_shift : Tensor (n, k), optional

        Returns
        -------
        Tensor (n, k)
            Log density; -inf if the prior is zero.
        """
        log_prior = self.prior.log_prob(theta)
        density = self.log_likelihood(theta, ln_distance_shift) + log_prior
        return torch.where(torch.isneginf(log_prior), -torch.inf, density)

    def density_of(self, draws: Draws) -> Tensor:
        """Compute the log density (n, k) of draws at their distances."""
        return self.log_density(draws.theta, draws.shift)

    def chi2(self, theta: Tensor, ln_distance_shift: Tensor | None = None) -> Tensor:
        """Compute the chi-square in linear fluxes over the detections (Walter et al. 2025, Eq. 11), (n, k)."""
        return self.likelihood.chi2(self.observed, theta, self._covariates(ln_distance_shift))

    def pull2(self, theta: Tensor, ln_distance_shift: Tensor | None = None) -> Tensor:
        """Compute the sum of squared residuals over the detections, standardized by the noise model, (n, k).

        For data simulated with theta, it is chi-square distributed with one degree of freedom per detection.  If the
        distance is uncertain and no shift is given, the result is its expectation.
        """
        if ln_distance_shift is None and self._distance_error is not None:
            mean, sigma, weight = self._shift_given(theta)
            return self.pull2(theta, mean) + weight * (2 * sigma) ** 2
        return self.likelihood.squared_residuals(self.observed, theta, self._covariates(ln_distance_shift))

    def predictive_pvalue(self, theta: Tensor, weight: Tensor) -> Tensor:
        """Compute the posterior predictive p-value of the detections, (n,).

        Parameters
        ----------
        theta : Tensor (n, k, n_parameter)
        weight : Tensor (n, k)
            Weights, with a sum of one.

        Returns
        -------
        Tensor (n,)
            Mean over the draws of the chi-square probability of a larger deviation from the model.
        """
        bands = self.observed.n_measured.to(torch.float64)[:, None] / 2
        tail = torch.special.gammaincc(bands, self.pull2(theta).double() / 2)
        # A NaN residual corresponds to a flux infinitely far from the model.
        return (weight * tail.nan_to_num(nan=0.0)).sum(-1).clamp(0, 1)

    def drawn_shift(self, theta: torch.Tensor, generator: torch.Generator) -> Tensor | None:
        """Draw shifts of ln distance given parameters.

        Parameters
        ----------
        theta : Tensor (n, k, n_parameter)
        generator : torch.Generator

        Returns
        -------
        Tensor (n, k) or None
            Shifts, or None if all distances are exact.
        """
        if self._distance_error is None:
            return None
        mean, sigma, _ = self._shift_given(theta)
        noise = torch.randn(*mean.shape, _SHIFTS, generator=generator, dtype=torch.float64).to(mean)
        shift = mean[..., None] + sigma[..., None] * noise
        # The approximations are exact for log-normal detections, where all weights are equal.
        log_prior = 0.5 * (noise**2 - (shift / self._distance_error[..., None]) ** 2)
        log_weight = torch.stack([self.log_likelihood(theta, each) for each in shift.unbind(-1)], -1) + log_prior
        gumbel = -torch.log(-torch.log(torch.rand(shift.shape, generator=generator, dtype=torch.float64))).to(mean)
        return shift.take_along_dim((log_weight + gumbel).argmax(-1, keepdim=True), -1)[..., 0]

    def expected_shift(self, theta: torch.Tensor) -> Tensor | None:
        """Return the expected shift of ln distance (n, k) given parameters, or None if all distances are exact."""
        return None if self._distance_error is None else self._shift_given(theta)[0]

    def _covariates(self, ln_distance_shift):
        if ln_distance_shift is None:
            return None
        known = {name: x[:, None] for name, x in self.observed.covariates.items()}
        return known | {"distance": known["distance"] * torch.exp(ln_distance_shift)}

    def _marginal_likelihood(self, theta):
        """Integrate the likelihood over distance by Gauss-Hermite quadrature, exact for log-normal detections."""
        wide = self._distance_error
        mean, sigma, _ = self._shift_given(theta)
        exact = self.noise.name == "lognormal" and not self._any_limit
        terms = []
        for node, weight in zip(*np.polynomial.hermite_e.hermegauss(1 if exact else _DISTANCES), strict=True):
            shift = mean + sigma * node
            # Ratio of the density of the shift to that of the nodes, both normal.
            log_ratio = torch.log(sigma / wide) - 0.5 * (shift / wide) ** 2 + 0.5 * node**2
            log_weight = math.log(weight) - 0.5 * math.log(2 * math.pi)
            terms.append(self.log_likelihood(theta, shift) + log_ratio + log_weight)
        return torch.logsumexp(torch.stack(terms), 0)

    def _shift_given(self, theta):
        """Compute mean (n, k), deviation (n, 1), and weight (n, 1) of the shift by log-normal approximation."""
        o = self.observed
        value, width, usable = self.noise.as_lognormal(o.flux, o.error)
        weight = torch.where(usable & o.measured, width**-2, 0.0)
        total = weight.sum(-1, keepdim=True)
        precision = 4 * total + self._distance_error**-2
        residual = torch.where(weight[:, None] > 0, value[:, None] - self.ln_flux(theta), 0.0)
        return -2 * (weight[:, None] * residual).sum(-1) / precision, precision.rsqrt(), total
