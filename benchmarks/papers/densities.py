"""The posterior of one cluster without a network: on a grid of all three parameters, and by Markov chains."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from astropy.table import Table

from clusterpost.errors import InputError
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.posterior.mcmc import run_chain
from clusterpost.posterior.target import Target
from clusterpost.posterior.weights import systematic_resample
from clusterpost.validation.exactness import dense_draws
from clusterpost.validation.targets import read_target

_POINTS_AT_ONCE = 400_000
_STARTS = 64  # of a chain, one for each of its walkers


@dataclass
class GriddedDensity:
    """A density on a grid, which adds up to one over the cells.

    Attributes
    ----------
    axes : tuple of ndarray
        Middles of the cells in log10 age/Myr, log10 mass/Msun, E(B-V)/mag.
    share : ndarray (n_age, n_mass, n_ebv)
        Of the probability, in each cell.
    """

    axes: tuple
    share: np.ndarray

    def marginal(self, *parameters):
        """Density in one parameter or two.

        Parameters
        ----------
        *parameters : int
            0, 1 and 2 for log age, log mass and E(B-V), in ascending order.

        Returns
        -------
        ndarray
            Per dex or mag of each.
        """
        others = tuple(i for i in range(3) if i not in parameters)
        cell = np.prod([self.axes[i][1] - self.axes[i][0] for i in parameters])
        return self.share.sum(axis=others) / cell


def gridded_density(row: Table, bounds: Any, *, shape: tuple[int, ...] = (160, 120, 120), **options: Any) -> Any:
    """Likelihood times prior of one cluster in a box, point by point.

    Parameters
    ----------
    row : Table of one row
        Photometry.
    bounds : array (2, 3)
        Lower and upper ends of the box in log10 age/Myr, log10 mass/Msun, E(B-V)/mag, which should hold (nearly) all of
        the posterior.
    shape : tuple of int
        Cells along each parameter.
    **options
        ``model``, ``noise``, ``prior``, ``error_floor``, ``distance`` and ``columns`` of `~clusterpost.infer_table`.

    Returns
    -------
    GriddedDensity

    Raises
    ------
    InputError
        If the row cannot be inferred, or the posterior has nothing in the box.

    Notes
    -----
    No network, no draws and no closed form: Bayes' theorem, as for the ground truth of Walter et al. (2025), Fig. 5.
    """
    target = _one(row, options)
    low, high = np.asarray(bounds, float)
    edges = [np.linspace(low[i], high[i], n + 1) for i, n in enumerate(shape)]
    axes = tuple((edge[:-1] + edge[1:]) / 2 for edge in edges)
    points = torch.cartesian_prod(*map(torch.as_tensor, axes))
    density = torch.cat([target.log_density(part[None])[0] for part in points.split(_POINTS_AT_ONCE)])
    if not torch.isfinite(density.max()):
        raise InputError(f"the posterior has nothing between {low.tolist()} and {high.tolist()}")
    share = torch.softmax(density, 0)
    return GriddedDensity(axes, share.reshape(*shape).numpy())


def mcmc_draws(row: Table, n_samples: int = 10_000, *, n_chains: int = 4, seed: int = 0, **options: Any) -> Any:
    """Draws of one cluster's posterior by Markov chains, without a network.

    Parameters
    ----------
    row : Table of one row
        Photometry.
    n_samples : int
    n_chains : int
        Independent ones, which share the draws: where a posterior has several modes, between which walkers seldom
        move, one alone does not hold them in the right shares.
    seed : int
    **options
        As for `gridded_density`.

    Returns
    -------
    theta : ndarray (n_samples, 3)
        log10 age/Myr, log10 mass/Msun, E(B-V)/mag.
    converged : bool
        Whether all chains are thirty autocorrelation times long.

    Notes
    -----
    emcee (Foreman-Mackey et al. 2013) with 64 walkers in each chain, which start from points spread uniformly over the
    prior's ages and reddenings and chosen evenly by their likelihood; Hahn & Melchior (2022), Sect. 5, compare with
    such chains.
    """
    target = _one(row, options, single=True)
    theta, weight = dense_draws(target)
    starts = theta[0, systematic_resample(weight, n_chains * _STARTS, order=theta[..., 0])[0]]
    even = torch.full((_STARTS,), 1 / _STARTS)
    chains = []
    with torch.inference_mode():
        for k in range(n_chains):
            chains.append(run_chain(target, starts[k::n_chains], even, -(-n_samples // n_chains), seed=seed + k))
    together = torch.cat([chain.theta for chain in chains]).double().numpy()
    return together[:n_samples], all(chain.converged for chain in chains)


def _one(row, options, single=False):
    rows, target = read_target(row, **options)
    if len(row) != 1 or not len(rows):
        raise InputError(f"one row that can be inferred is needed; of these {len(row)}, {len(rows)} can")
    if single:
        likelihood = ClusterLikelihood(target.table.to(dtype=torch.float32), target.noise)
        target = Target(target.observed.to(dtype=torch.float32), likelihood, target.prior)
    return target
