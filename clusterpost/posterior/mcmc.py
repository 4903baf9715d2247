"""Markov chains for the few clusters for which importance sampling fails.

As in SEDflow (Hahn & Melchior 2022), they use emcee (Foreman-Mackey et al. 2013),
one cluster at a time, and start from existing draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..utils import require
from .weights import systematic_resample

if TYPE_CHECKING:
    from .target import Target

__all__ = ["Chain", "run_chain"]

_N_WALKERS = 64  # many times the number of parameters, as required by differential evolution
_N_BURN = 300
_N_STEPS = 500  # steps between estimates of the autocorrelation time
_MOST_STEPS = 3000
_LENGTHS = 30  # length of a converged chain in autocorrelation times
_JITTER = 1e-3  # fraction of the prior's width, to separate equal starting points


@dataclass
class Chain:
    """Draws of one cluster from Markov chains.

    Attributes
    ----------
    theta : Tensor (n_samples, n_parameter)
    log_density : Tensor (n_samples,)
    converged : bool
        Whether the chain was long enough.
    n_effective : float
        Number of draws divided by the autocorrelation time.
    """

    theta: torch.Tensor
    log_density: torch.Tensor
    converged: bool
    n_effective: float


def run_chain(target: Target, theta: torch.Tensor, weight: torch.Tensor, n_samples: int, *, seed: int = 0) -> Chain:
    """Run Markov chains from weighted draws of one cluster.

    Parameters
    ----------
    target : Target
        Target density of one cluster.
    theta : Tensor (k, n_parameter)
    weight : Tensor (k,)
        Weights, with a sum of one.
    n_samples : int
        Number of draws to return.
    seed : int

    Returns
    -------
    Chain

    Raises
    ------
    ImportError
        If emcee is not installed.

    Notes
    -----
    64 walkers move by differential evolution with snooker steps, which can jump
    between separate modes.  An uncertain distance is an additional coordinate.
    """
    emcee = require("emcee", "mcmc")
    rng = np.random.RandomState(seed)
    prior, p = target.prior, theta.shape[-1]
    error = target.observed.distance_error(prior)
    distance_error = 0.0 if error is None else float(error)
    low, high = prior.low.double().numpy(), prior.high.double().numpy()
    picked = systematic_resample(weight[None].double(), _N_WALKERS, order=theta[None, :, 0])[0]
    start = theta[picked].double().cpu().numpy()
    start = start + _JITTER * (high - low) * rng.standard_normal(start.shape)
    start = np.where(np.isfinite(start), start, rng.uniform(low, high, start.shape))
    # Move walkers back inside, with no two on a bound.
    start = low + np.abs(start - low)
    start = np.clip(high - np.abs(high - start), low, high)
    if distance_error:
        start = np.concatenate([start, rng.standard_normal((_N_WALKERS, 1))], axis=1)

    def log_density(position: np.ndarray) -> np.ndarray:
        """Compute the log density of the walkers' positions."""
        points = torch.as_tensor(position, dtype=theta.dtype, device=theta.device)[None]
        shift = distance_error * points[..., p] if distance_error else None
        with torch.inference_mode():
            density = target.log_density(points[..., :p], shift)
            if shift is not None:
                density = density - 0.5 * points[..., p] ** 2
        # Keep minus infinity: with a finite substitute, all such points would be equal and walkers could drift.
        return torch.where(torch.isnan(density), -torch.inf, density)[0].double().cpu().numpy()

    moves = [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.1), (emcee.moves.StretchMove(), 0.1)]
    sampler = emcee.EnsembleSampler(_N_WALKERS, start.shape[1], log_density, moves=moves, vectorize=True)
    sampler.random_state = rng.get_state()
    with np.errstate(all="ignore"):  # constant chains have no autocorrelation
        state = sampler.run_mcmc(start, _N_BURN, skip_initial_state_check=True)
        sampler.reset()
        converged = False
        while sampler.iteration < _MOST_STEPS and not converged:
            state = sampler.run_mcmc(state, _N_STEPS, skip_initial_state_check=True)
            time = float(np.max(sampler.get_autocorr_time(tol=0)))
            converged = bool(time * _LENGTHS < sampler.iteration)
    chain, values = sampler.get_chain(flat=True), sampler.get_log_prob(flat=True)
    somewhere = np.isfinite(values)  # a walker may start at zero density
    if somewhere.any():
        chain, values = chain[somewhere], values[somewhere]
    take = np.linspace(0, len(chain) - 1, n_samples).round().astype(int)
    points = torch.as_tensor(chain[take, :p]).to(theta)
    log_value = torch.as_tensor(values[take]).to(theta)
    if distance_error:
        log_value = log_value + 0.5 * torch.as_tensor(chain[take, p] ** 2).to(theta)
    return Chain(points, log_value, converged, len(chain) / time if np.isfinite(time) and time > 0 else 0.0)
