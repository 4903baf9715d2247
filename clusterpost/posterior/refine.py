"""Refinement of proposal draws to the exact posterior by importance sampling.

Each draw is weighted by density / proposal density.  A cluster with a small
effective sample size gets more draws, then draws from kernels fitted
to these (population Monte Carlo), then Markov chains, then a flag.  The treatment
of a cluster does not depend on other clusters.
"""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from astropy.utils.exceptions import AstropyUserWarning

from .. import flags
from ..config import conf
from .kernels import KernelDensity
from .mcmc import run_chain
from .proposal import Draws
from .weights import log_mean, log_weights, normalized, number_effective, thinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from .proposal import AmplitudeProposal, FlowProposal, UncertainDistances
    from .target import NetworkTarget, Target

__all__ = ["AllDraws", "UnitPoints", "WeightedSamples", "n_base_points", "refine", "support"]

_log = logging.getLogger("clusterpost")

_BEFORE_FIT, _LEAST_BEFORE = 4, 1000  # factor on the number of draws before kernels are fitted, and minimum number
_MORE = (2, 4, 8)  # factors on the number of draws, if these suffice
_UNIFORM = (0.5, 0.1, 0.1, 0.1, 0.1, 0.1)  # fraction of uniform draws in each fit of kernels
# Required effective fraction of draws for three parameters, and the maximum required number.
_AIM, _MOST = 0.6, 1500
_OTHER = 2.0  # factor on the required draws for likelihoods on which the network was not trained
_MOST_CHAINED = 6  # parameters; chains of affordable length do not converge in more dimensions
_LEAST_SUPPORT = 1e-3


class UnitPoints:
    """Quasi-random points of the unit cube, shifted for each cluster (Cranley & Patterson 1976).

    Parameters
    ----------
    points : Tensor (n_points, n_dimension)
        Points in the unit cube, at least `n_base_points`.
    shift : Tensor (n, n_dimension)
        Shift of each cluster.
    """

    def __init__(self, points: torch.Tensor, shift: torch.Tensor):
        self.points, self.shift = points, shift

    def __call__(self, rows: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Return points ``start`` to ``stop`` of given rows, (n_rows, stop - start, n_dimension)."""
        edge = 2.0**-24
        return torch.remainder(self.points[start:stop] + self.shift[rows][:, None], 1.0).clamp(edge, 1 - edge)


def n_base_points(n_samples: int) -> int:
    """Return the maximum number of points of the unit cube per cluster.

    Parameters
    ----------
    n_samples : int
        Number of draws in the first round.

    Returns
    -------
    int
    """
    return max(_MORE[-1], _before_fit(n_samples) + len(_UNIFORM)) * n_samples


def _before_fit(n_samples):
    """Return the factor on the number of draws before kernels are fitted, larger if there are few draws."""
    return max(_BEFORE_FIT, _LEAST_BEFORE // n_samples)


@dataclass
class AllDraws:
    """All weighted draws of one cluster.

    Attributes
    ----------
    theta : Tensor (m, 3)
    weight : Tensor (m,)
        Weights, with a sum of one.
    log_density : Tensor (m,)
    """

    theta: torch.Tensor
    weight: torch.Tensor
    log_density: torch.Tensor


@dataclass
class WeightedSamples:
    """Weighted draws of ``n`` clusters.

    Attributes
    ----------
    theta : Tensor (n, k, 3)
    weight : Tensor (n, k)
        Weights, with a sum of one.
    log_density : Tensor (n, k)
        Log likelihood plus log prior.
    efficiency : Tensor (n,)
        (sum w)^2 / (k sum w^2) over the proposal's own draws.
    log_evidence : Tensor (n,)
        ln p(x), a density of ln fluxes or of fluxes in 1/mJy, depending on the noise
        model, times the probabilities of upper limits.
    n_effective : Tensor (n,)
        Effective sample size of the result.
    flag : Tensor (n,) of int32
        Low efficiency, refined by MCMC.
    every : dict of int to AllDraws
        All draws of the clusters, by index, with more than
        ``k`` draws, of which ``theta`` keeps ``k``.
    """

    theta: torch.Tensor
    weight: torch.Tensor
    log_density: torch.Tensor
    efficiency: torch.Tensor
    log_evidence: torch.Tensor
    n_effective: torch.Tensor
    flag: torch.Tensor
    every: dict[int, AllDraws] = field(default_factory=dict)

    def normalized_alone(self) -> WeightedSamples:
        """Return the same with normalized log densities and no evidence, which a network does not provide."""
        constant = self.log_evidence[:, None].to(self.log_density.dtype)
        every = {row: replace(one, log_density=one.log_density - constant[row]) for row, one in self.every.items()}
        return replace(self, log_density=self.log_density - constant, every=every,
                       log_evidence=torch.full_like(self.log_evidence, torch.nan))

    def all_of(self, row: int, device: str | torch.device) -> AllDraws:
        """Return all draws of one cluster."""
        one = self.every.get(row) or AllDraws(self.theta[row], self.weight[row], self.log_density[row])
        return AllDraws(*(x.to(device) for x in (one.theta, one.weight, one.log_density)))

    def put(self, rows: torch.Tensor, result: WeightedSamples) -> None:
        """Replace everything but the flags of some clusters."""
        for name in ("theta", "weight", "log_density", "efficiency", "log_evidence", "n_effective"):
            values = getattr(self, name)
            values[rows] = getattr(result, name).to(values)
        self.every.update({row: result.all_of(i, self.theta.device) for i, row in enumerate(rows.tolist())
                           if i in result.every})

    @property
    def normalized(self) -> torch.Tensor:
        """Log density of the draws, divided by the evidence if known, (n, k)."""
        return self.log_density - self.log_evidence.nan_to_num(nan=0.0)[:, None]


def refine(proposal: AmplitudeProposal | FlowProposal | UncertainDistances, target: Target | NetworkTarget,
           conditions: torch.Tensor, points: Callable | UnitPoints, *, n_samples: int, target_ess: float | None = None,
           min_ess: float | None = None, adapt: bool = True, mcmc: bool = True, seed: int = 0) -> WeightedSamples:
    """Draw weighted samples from the exact posteriors.

    Parameters
    ----------
    proposal : AmplitudeProposal or FlowProposal
    target : Target
        Target density of n clusters.
    conditions : Tensor (n, n_condition)
        Conditions of the proposal.
    points : callable
        ``points(rows, start, stop)`` returns points of the unit cube, as `UnitPoints`.
    n_samples : int
        Number of draws of each cluster, initially and at the end; larger sets are thinned,
        with new weights.
    target_ess : float, optional
        Effective sample size below which a cluster gets more draws;
        by default 0.6 ``n_samples`` and at most 900 for three parameters,
        0.6 times as much for every three more, and twice as much for clusters with limits or
        another noise model than the network's.
    min_ess : float, optional
        Effective sample size below which a cluster gets Markov chains and
        finally a flag; by default half of ``target_ess``.
    adapt : bool
        Whether to fit kernels if eight times as many draws would be insufficient for ``min_ess``.
    mcmc : bool
        Whether to run Markov chains if the result is still below ``min_ess``, for at most six parameters, if emcee is
        installed.
    seed : int
        Seed of the Markov chains.

    Returns
    -------
    WeightedSamples

    Warns
    -----
    AstropyUserWarning
        If Markov chains are needed but emcee is not installed; these rows keep their draws and ``LOW_EFFICIENCY``.
    """
    # At equal quality per parameter, the efficiency of a proposal decreases with the number of parameters.
    share = _AIM ** (len(target.prior.names) / 3)
    # Weights of unequal masses for similar ages make quantiles less accurate than the effective sample size implies.
    factor = torch.where(proposal.needs_defence(target.observed), _OTHER, 1.0) if target_ess is None else 1.0
    target_ess = share * min(n_samples, _MOST) if target_ess is None else float(target_ess)
    min_ess = target_ess / 2 if min_ess is None else float(min_ess)
    mcmc = mcmc and len(target.prior.names) <= _MOST_CHAINED
    rows = torch.arange(len(target), device=conditions.device)
    sampler = _Sampler(proposal, target, conditions, rows, points, n_samples)
    out = sampler.result()
    n_more = _draw_more(sampler, out, factor * target_ess, min_ess if adapt else 0.0)
    hard = (out.n_effective < min_ess).nonzero()[:, 0].tolist()
    without_chains = False
    for row in hard:
        # Separately and from the first draw on: rounding of sums depends on the batch size, which would
        # give the same cluster other kernels and chains among other neighbors.
        if adapt:
            _fit_kde(_Sampler(proposal, target[row], conditions[row, None], rows[row, None], points, n_samples),
                     out, row, target_ess)
        if out.n_effective[row] < min_ess:
            out.flag[row] |= flags.LOW_EFFICIENCY
            without_chains |= mcmc and find_spec("emcee") is None
            if mcmc and not without_chains:
                _sample_with_mcmc(out, row, target[row], seed)
    if without_chains:
        warnings.warn("some rows need Markov chains and keep LOW_EFFICIENCY because emcee is not installed: "
                      "pip install 'clusterpost[mcmc]'", AstropyUserWarning, stacklevel=2)
    n_fitted = len(hard) if adapt else 0
    if n_more or n_fitted:
        _log.debug("of %d rows, %d took more draws, %d kernels, and %d Markov chains", len(rows), n_more, n_fitted,
                   int((out.flag & flags.MCMC > 0).sum()))
    return out


def support(target: Target | NetworkTarget, theta: torch.Tensor,
            weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the posterior predictive p-value of the photometry.

    Parameters
    ----------
    target : Target or NetworkTarget
    theta : Tensor (n, k, n_parameter)
    weight : Tensor (n, k)
        Weights, with a sum of one.

    Returns
    -------
    p_value : Tensor (n,)
        Fraction of repeated measurements of clusters from the posterior with larger
        residuals, under the noise model, than this one.
    flag : Tensor (n,) of int32
        Flag *outside support* for p-values below 0.001.

    Notes
    -----
    Only detections are used.  The posterior already uses the data, so small values are rarer
    than the p-value indicates.
    """
    p_value = target.predictive_pvalue(theta, weight)
    return p_value, torch.where(p_value < _LEAST_SUPPORT, flags.OUTSIDE_SUPPORT, 0).to(torch.int32)


class _Sampler:
    """Draws of several clusters from several sources, weighted by the mixture of their densities.

    The weight of every draw uses the mixture density of all sources
    (the deterministic mixture of multiple importance sampling, Veach & Guibas 1995; Cornuet et al. 2012).
    """

    def __init__(self, proposal, target, conditions, rows, points, n_samples):
        self.proposal, self.target, self.conditions = proposal, target, conditions
        self.rows, self.points, self.n_samples = rows, points, n_samples
        self.draws = proposal.draw(target.observed, conditions, points(rows, 0, n_samples))
        self.log_density = target.density_of(self.draws)
        self.fitted, self.fitted_log_q = [], []  # in addition to the proposal
        self.log_amplitude = None  # of the draws, under the fitted sources

    def __getitem__(self, at):
        """Return the same for some of its rows, before any fit."""
        new = object.__new__(_Sampler)
        new.__dict__.update(self.__dict__)
        new.target, new.conditions, new.rows = self.target[at], self.conditions[at], self.rows[at]
        shift = None if self.draws.shift is None else self.draws.shift[at]
        new.draws, new.log_density = Draws(self.draws.theta[at], self.draws.log_q[at], shift), self.log_density[at]
        return new

    @property
    def log_weight(self):
        """Compute ln of the weights, (n, k)."""
        log_q = self.draws.log_q  # log density of the proposal at every draw
        if self.fitted:
            k, each = log_q.shape[1], self.n_samples
            own = k - each * len(self.fitted)
            parts = [log_q + math.log(own / k)] + [other + math.log(each / k) for other in self.fitted_log_q]
            log_q = torch.logsumexp(torch.stack(parts), 0)
        return log_weights(self.log_density, log_q)

    def more(self, times):
        """Add a number of rounds of draws from the proposal."""
        unit = self._next(times * self.n_samples)
        self._add(self.proposal.draw(self.target.observed, self.conditions, unit, n_samples=self.n_samples))

    def fit(self, uniform):
        """Fit kernels to the draws and draw from them, with a fraction of uniform draws."""
        flow_parameters = self.proposal.flow_parameters(self.draws.theta, self.draws.shift)
        kernels = KernelDensity(flow_parameters, self.log_weight, *self.proposal.bounds(flow_parameters))
        source = self.proposal.with_flow(kernels, uniform)
        observed, conditions = self.target.observed, self.conditions
        new = source.draw(observed, conditions, self._next(self.n_samples))
        # All fitted sources share the density of the amplitude, which is expensive: compute it once for each draw.
        if not self.fitted:
            self.log_amplitude = source.log_prob_of_amplitude(observed, self.draws.theta, self.draws.shift)
        self.fitted_log_q = [torch.cat([log_q, self._log_prob(other, new, new.log_amplitude)], 1)
                             for other, log_q in zip(self.fitted, self.fitted_log_q, strict=True)]
        self.fitted_log_q.append(torch.cat([self._log_prob(source, self.draws, self.log_amplitude), new.log_q], 1))
        self.fitted.append(source)
        self.log_amplitude = torch.cat([self.log_amplitude, new.log_amplitude], 1)
        self._add(replace(new, log_q=self.proposal.log_prob(observed, conditions, new.theta, new.shift,
                                                            n_samples=self.n_samples)))

    def _log_prob(self, source, draws, log_amplitude):
        """Compute the log density of a source at draws whose density of the amplitude is known."""
        return log_amplitude + source.log_prob_of_flow(self.target.observed, self.conditions, draws.theta, draws.shift,
                                                       n_samples=self.n_samples)

    @property
    def n_effective(self):
        """Compute the effective sample size, (n,)."""
        return number_effective(self.log_weight)

    def result(self):
        """Weight the draws, and keep as many as in the first round."""
        log_weight, theta = self.log_weight, self.draws.theta
        every, n_effective = normalized(log_weight), self.n_effective
        index, weight = thinned(every, self.n_samples, order=theta[..., 0])
        kept = torch.gather(theta, 1, index[..., None].expand(-1, -1, theta.shape[-1]))
        log_density = self.log_density
        if self.draws.shift is not None:  # this was the density of each draw at its own distance
            log_density = self.target.log_density(theta)
        out = WeightedSamples(kept, weight.to(theta.dtype), torch.gather(log_density, 1, index),
                      n_effective / theta.shape[1], log_mean(log_weight), n_effective,
                      torch.zeros_like(self.rows, dtype=torch.int32))
        if theta.shape[1] > self.n_samples:
            out.every = {i: AllDraws(theta[i], every[i].to(theta.dtype), log_density[i])
                         for i in range(len(theta))}
        return out

    def _next(self, k):
        start = self.draws.theta.shape[1]
        return self.points(self.rows, start, start + k)

    def _add(self, new):
        shift = None if new.shift is None else torch.cat([self.draws.shift, new.shift], 1)
        self.log_density = torch.cat([self.log_density, self.target.density_of(new)], 1)
        self.draws = Draws(torch.cat([self.draws.theta, new.theta], 1), torch.cat([self.draws.log_q, new.log_q], 1),
                           shift)


def _draw_more(sampler, out, target_ess, min_ess):
    """Add draws to reach ``target_ess``, or the maximum number if it reaches ``min_ess``; return the number of rows."""
    wanted = target_ess / out.n_effective
    times = torch.bucketize(wanted, wanted.new_tensor((1, *_MORE[:-1])))  # 0 if the first draws suffice
    times = torch.where(out.n_effective * _MORE[-1] < min_ess, -1, times)  # kernels are needed
    at_once = conf.points_per_pass // 2  # the first draws of all rows stay in memory
    for i, many in enumerate(_MORE, 1):
        rows = (times == i).nonzero()[:, 0]
        for at in rows.split(max(1, at_once // (many * sampler.n_samples))) if len(rows) else ():
            group = sampler[at]
            group.more(many - 1)
            out.put(at, group.result())
    return int((times > 0).sum())


def _fit_kde(sampler, out, row, target_ess):
    """Draw repeatedly from kernels fitted to the draws of one cluster."""
    # Kernels cover only regions reached by the draws to which they are fitted.
    sampler.more(_before_fit(sampler.n_samples) - 1)
    for uniform in _UNIFORM:
        if sampler.n_effective >= target_ess:
            break
        sampler.fit(uniform)
    at = torch.tensor([row], device=out.flag.device)
    out.put(at, replace(sampler.result(), efficiency=out.efficiency[at]))  # the efficiency stays that of the proposal


def _sample_with_mcmc(out, row, target, seed):
    """Run Markov chains for one cluster."""
    k = out.theta.shape[1]
    chain = run_chain(target, out.theta[row], out.weight[row], k, seed=seed)
    out.theta[row], out.log_density[row], out.weight[row] = chain.theta, chain.log_density, 1 / k
    out.every.pop(row, None)
    out.n_effective[row] = chain.n_effective
    out.flag[row] |= flags.MCMC
    if chain.converged:
        out.flag[row] &= ~flags.LOW_EFFICIENCY
