"""Prior densities over the parameters."""

from __future__ import annotations

import math

import torch

__all__ = ["PARAMETERS", "BoxPrior", "cluster_prior"]

#: The three parameters of the cluster model, in the order used everywhere.
PARAMETERS = ("log_age", "log_mass", "ebv")


class BoxPrior:
    """Independent uniform densities between bounds.

    Parameters
    ----------
    low, high : sequence of float
        Bounds of each parameter.
    names : sequence of str
        Names of the parameters.

    Examples
    --------
    >>> from clusterpost.priors import cluster_prior
    >>> cluster_prior().names
    ('log_age', 'log_mass', 'ebv')
    """

    def __init__(self, low, high, names=PARAMETERS):
        self.names = tuple(names)
        self.low = torch.as_tensor(low, dtype=torch.float32)
        self.high = torch.as_tensor(high, dtype=torch.float32)
        if not (self.low < self.high).all():
            raise ValueError("every lower bound of a prior must lie below its upper bound")

    def sample(self, n, generator):
        """Draw ``n`` parameter vectors.

        Parameters
        ----------
        n : int
        generator : torch.Generator
            Its device is the device of the draws.

        Returns
        -------
        Tensor (n, n_parameter)
        """
        unit = torch.rand(n, len(self.low), generator=generator, device=generator.device)
        low = self.low.to(generator.device)
        return torch.lerp(low, self.high.to(generator.device), unit)

    def log_prob(self, theta):
        """Log density; -inf outside.

        Parameters
        ----------
        theta : Tensor (..., n_parameter)

        Returns
        -------
        Tensor (...)
        """
        low, high = self.low.to(theta.device), self.high.to(theta.device)
        inside = ((theta >= low) & (theta <= high)).all(-1)
        log_volume = torch.log(high - low).sum()
        return torch.where(inside, -log_volume, -torch.inf)


def cluster_prior() -> BoxPrior:
    """The prior of Walter et al. (2025): uniform in log10 t, log10 m and E(B-V).

    Returns
    -------
    BoxPrior
        log10 t/Myr in [0, log10 13750], log10 m/Msun in [2, 8], E(B-V) in [0, 1.5] mag.
    """
    return BoxPrior([0.0, 2.0, 0.0], [math.log10(13750.0), 8.0, 1.5])
