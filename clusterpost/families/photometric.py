"""Likelihood of photometry, for families that predict band fluxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..noise import Noise
    from ..observations import Observed
    from .base import Prior

__all__ = ["PhotometricLikelihood"]


class PhotometricLikelihood:
    """Product of the densities of detections and the probabilities of upper limits, for independent bands.

    Parameters
    ----------
    ln_flux : callable
        Function of ``theta`` (n, k, n_parameter) and covariates, a mapping of tensors (n, 1) or (n, k), that
        returns the natural log of the flux in mJy, (n, k, n_band).
    noise : object of `clusterpost.noise`
    band_names : sequence of str
        Names of the bands, for messages.
    """

    def __init__(self, ln_flux: Callable, noise: Noise, band_names: Sequence[str]):
        self._ln_flux, self.noise, self.band_names = ln_flux, noise, tuple(band_names)

    def with_noise(self, noise: str | Noise) -> PhotometricLikelihood:
        """Return the same likelihood with another noise model."""
        return PhotometricLikelihood(self._ln_flux, noise, self.band_names)

    def amplitude(self, prior: Prior) -> Any:
        """Return None, because no parameter has a conditional density in closed form."""
        return None

    def quadrature(self, prior: Prior) -> Any:
        """Return None, because posteriors are available only as weighted draws."""
        return None

    def check(self, observed: Observed) -> None:
        """Check that the noise model can describe every detection.

        Raises
        ------
        InputError
            If it cannot, such as for a negative flux under log-normal noise.
        """
        bad = observed.measured & ~self.noise.usable(observed.flux, observed.error)
        if bad.any():
            row, band = bad.nonzero()[0].tolist()
            raise InputError(
                f"option:noise={self.noise.name!r} cannot describe the flux {observed.flux[row, band]:g} mJy in row "
                f"{row}, band {self.band_names[band]}; omit that band or choose option:noise='normal'")

    def check_prior(self, prior: Prior) -> None:
        """Check that the model covers the range of a prior; by default it always does.

        Raises
        ------
        InputError
            If the prior extends beyond the model.
        """

    def ln_flux(self, observed: Observed, theta: torch.Tensor, covariates: dict | None = None) -> torch.Tensor:
        """Compute the natural log of the flux in mJy for parameters ``theta``.

        Parameters
        ----------
        observed : Observed
            Photometry of n objects.
        theta : Tensor (n, k, n_parameter)
        covariates : mapping of Tensor (n, 1) or (n, k), optional
            Covariates to use instead of the observed ones.

        Returns
        -------
        Tensor (n, k, n_band)
        """
        if covariates is None:
            covariates = {name: x[:, None] for name, x in observed.covariates.items()}
        return self._ln_flux(theta, covariates)

    def log_prob(self, observed: Observed, theta: torch.Tensor,
                 covariates: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Compute ln p(x | theta), (n, k); see `ln_flux` for the arguments."""
        ln_flux = self.ln_flux(observed, theta, covariates)
        total = self.noise.log_likelihood(observed.flux, observed.error, observed.measured, ln_flux)
        if observed.limit.any():
            log_limit = self.noise.log_limit(observed.flux[:, None], observed.error[:, None], ln_flux)
            total = total + torch.where(observed.limit[:, None], log_limit, 0.0).sum(-1)
        return total

    def chi2(self, observed: Observed, theta: torch.Tensor,
             covariates: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Compute the chi-square in linear fluxes over the detections (Walter et al. 2025, Eq. 11), (n, k)."""
        pull = (observed.flux[:, None] - torch.exp(self.ln_flux(observed, theta, covariates))) / observed.error[:, None]
        return torch.where(observed.measured[:, None], pull**2, 0.0).sum(-1)

    def squared_residuals(self, observed: Observed, theta: torch.Tensor,
                          covariates: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Compute the sum of squared residuals over the detections, standardized by the noise model, (n, k).

        For data simulated with theta, it is chi-square distributed with one degree of freedom per detection.
        """
        pull = self.noise.pull(observed.flux[:, None], observed.error[:, None],
                               self.ln_flux(observed, theta, covariates))
        return torch.where(observed.measured[:, None], pull**2, 0.0).sum(-1)
