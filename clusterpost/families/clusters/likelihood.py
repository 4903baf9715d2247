"""Likelihood of fully sampled clusters: photometry with the mass as a linear amplitude."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError
from ...noise import get_noise
from ..photometric import PhotometricLikelihood
from .amplitude import MassConditional
from .exact_grid import ExactGrid
from .table import LN10, distance_term

if TYPE_CHECKING:
    import torch

    from ...noise import Noise
    from ...observations import Observed
    from ..base import Prior
    from .table import BandFluxTable

__all__ = ["ClusterLikelihood"]


class ClusterLikelihood(PhotometricLikelihood):
    """Photometric likelihood with fluxes proportional to the mass.

    Parameters
    ----------
    table : BandFluxTable
    noise : object of `clusterpost.noise`
    """

    def __init__(self, table: BandFluxTable, noise: Noise):
        super().__init__(self._predict, noise, table.bands)
        self.table = table

    def with_noise(self, noise: Noise) -> ClusterLikelihood:
        """Return the same likelihood with another noise model."""
        return ClusterLikelihood(self.table, noise)

    def amplitude(self, prior: Prior) -> MassConditional:
        """Return the conditional density of log10 mass, given age and reddening."""
        return MassConditional(self.table, self.noise, prior)

    def quadrature(self, prior: Prior) -> ExactGrid | None:
        """Return the grid that integrates posteriors without limits, or None if noise or prior do not allow it."""
        return ExactGrid(self.table, prior) if self.noise.name == "lognormal" and prior.mass_slope is not None else None

    def log_prob_of_colors(self, observed: Observed, theta: torch.Tensor) -> torch.Tensor:
        """Compute ln of the log-normal likelihood of age and reddening, marginalized over a uniform log mass.

        Parameters
        ----------
        observed : Observed
        theta : Tensor (n, k, 2)
            log10 age/Myr, E(B-V)/mag.

        Returns
        -------
        Tensor (n, k)
            Log likelihood up to a constant for each object.
        """
        noise, seen = get_noise("lognormal"), (observed.flux, observed.error, observed.measured)
        ln_flux = self.table.ln_flux(*theta.unbind(-1))
        best, _ = noise.amplitude(*seen, ln_flux)
        return noise.log_likelihood(*seen, ln_flux + best[..., None])

    def check_prior(self, prior: Prior) -> None:
        """Check that a prior is within the range of the table.

        Raises
        ------
        InputError
            If the prior extends beyond the table.
        """
        for name, nodes in (("log_age", self.table.log_age), ("ebv", self.table.ebv)):
            i, ends = prior.names.index(name), (nodes[0].item(), nodes[-1].item())
            low, high = prior.low[i].item(), prior.high[i].item()
            if low < ends[0] - 1e-5 or high > ends[1] + 1e-5:
                raise InputError(f"the prior of {name} covers {low:g} to {high:g}, but the band-flux table only "
                                 f"{ends[0]:g} to {ends[1]:g}; give bounds within the table")

    def _predict(self, theta, covariates):
        log_age, log_mass, ebv = theta.unbind(-1)
        scale = LN10 * log_mass + distance_term(covariates["distance"])
        return self.table.ln_flux(log_age, ebv) + scale[..., None]
