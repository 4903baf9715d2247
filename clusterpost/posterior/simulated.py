"""Exact posteriors without a likelihood: importance sampling with simulated objects.

An object is simulated with parameters theta from a proposal, and its weight is the likelihood of the observed
fluxes under the noise, times prior over proposal. Averaged over the randomness of the simulator, this gives the
posterior.  If a family can change one parameter of a simulated object cheaply, such as the dust in front of stars,
each object is used with many values of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from .. import flags
from .kernels import KernelDensity
from .refine import AllDraws, WeightedSamples
from .weights import normalized, number_effective, thinned

if TYPE_CHECKING:
    from .target import NetworkTarget

__all__ = ["FEW_SIMULATED", "sample_by_simulation"]

_AT_ONCE = 8192  # simulated objects per batch
_UNIFORM = 0.1  # fraction of objects that are uniform within the prior's bounds
_ROUNDS, _SHORT_ROUND = 5, 4096  # number of rounds, and objects per round if fewer may be enough
_NEGLIGIBLE = 60.0  # nats below the best likelihood at which weights are negligible
_SPANNED, _VALUES = 16, 1025  # points and values of the redrawn parameter at which the prior is evaluated
_IMPROBABLE = 30.0  # nats below the largest prior density at which the prior is negligible
#: Effective number of objects below which a row is flagged.
FEW_SIMULATED = 100


def sample_by_simulation(target: NetworkTarget, *, n_simulations: int, n_samples: int, seed: int,
                         proposed: AllDraws | None = None, enough: float | None = None) -> WeightedSamples:
    """Draw from the posterior of one object by simulating similar ones.

    Parameters
    ----------
    target : NetworkTarget
        Target of one object, with its family, prior, and noise; its network is not used.
    n_simulations : int
        Number of simulated objects, or the maximum if ``enough`` is given.
    n_samples : int
        Number of weighted draws to keep; ``every`` of the result contains all.
    seed : int
    proposed : AllDraws, optional
        Initial weighted draws near the posterior, such as those of a network. Without them, the first objects are
        uniform within the bounds.
    enough : float, optional
        Effective number of simulated objects that is sufficient.

    Returns
    -------
    WeightedSamples
        Draws of one object. ``n_effective`` counts simulated objects, and ``efficiency`` is their fraction; densities
        are NaN, because only averages over the simulator's randomness are known.

    Notes
    -----
    Rounds of objects come from kernels around the previous draws, wider than their distribution, and a tenth from the
    whole range; the denominator of the weights is the mixture of all rounds (Cornuet et al. 2012). An object with a
    large weight may just have lucky stars, so its own kernel is left out of its density; otherwise the log evidence
    of 20,000 objects would be too small by 0.2 to 0.4.
    """
    run = _Run(target, seed)
    size = -(-n_simulations // _ROUNDS) if enough is None else _SHORT_ROUND
    sizes = [min(size, n_simulations - done) for done in range(0, n_simulations, size)]
    return run.result(*run.simulate(sizes, proposed, math.inf if enough is None else enough), n_samples)


class _Run:
    def __init__(self, target, seed):
        seen = (target.observed.measured | target.observed.limit)[0]
        names = [band for band, there in zip(target.family.band_names, seen.tolist(), strict=True) if there]
        observed = target.observed
        self.observed = type(observed)(*(x[:, seen] for x in (observed.flux, observed.error, observed.measured,
                                                              observed.limit)), observed.covariates)
        self.target, self.family, self.noise = target, target.family.with_bands(names), target.noise
        self.generator = torch.Generator().manual_seed(seed)
        prior = target.family.default_prior
        self.low, self.high = prior.low.double(), prior.high.double()
        self.redrawn = self.family.redrawn
        self.others = [i for i in range(len(self.low)) if i != self.redrawn]
        self.span = self._span()
        self.distance_error = observed.distance_error(target.prior)
        #: Simulated objects by batch: parameters (m, p), log posteriors (m,), and log densities of the rounds (r, m).
        self.theta, self.log_like, self.log_q = [], [], []
        self.rounds = []

    def _span(self):
        """Return the range of the redrawn parameter in which the prior is not negligible."""
        if self.redrawn is None:
            return None
        low, high = float(self.low[self.redrawn]), float(self.high[self.redrawn])
        points = torch.rand(_SPANNED, 1, len(self.low), generator=self.generator, dtype=torch.float64)
        points = (self.low + points * (self.high - self.low)).repeat(1, _VALUES, 1)
        values = torch.linspace(low, high, _VALUES, dtype=torch.float64)
        points[..., self.redrawn] = values
        density = self.target.wanted.log_prob(points.reshape(1, -1, len(self.low)).float())[0].reshape(_SPANNED, -1)
        seen = (density > density.amax(1, keepdim=True) - _IMPROBABLE).any(0).nonzero()[:, 0]
        if not len(seen):
            return low, high
        step = (high - low) / (_VALUES - 1)
        return max(low, float(values[seen[0]]) - step), min(high, float(values[seen[-1]]) + step)

    def simulate(self, sizes, proposed, enough):
        """Simulate rounds of objects until the effective number is enough, and return them with their log weights."""
        known = None if proposed is None else (proposed.theta, torch.log(proposed.weight.double()))
        for size in sizes:
            self._round(size, None if known is None else self._fit(*known))
            theta, log_weight = self._weighted()
            if number_effective(log_weight) >= enough:
                break
            known = (theta, log_weight) if torch.isfinite(log_weight).any() else None
        return theta, log_weight

    def result(self, theta, log_weight, n_samples):
        """Collect weighted objects as draws of one object."""
        weight, n_effective = normalized(log_weight[None])[0], float(number_effective(log_weight))
        size = max(n_samples, len(theta))
        if len(theta) < size:  # dropped objects have no weight
            theta = torch.cat([theta, theta[:1].expand(size - len(theta), -1)])
            weight = torch.cat([weight, weight.new_zeros(size - len(weight))])
        index, kept = thinned(weight[None], n_samples, order=theta[None, :, 0])
        unknown = torch.full((size,), torch.nan)
        total = sum(n for n, _ in self.rounds)
        flag = flags.LOW_EFFICIENCY if n_effective < FEW_SIMULATED else 0
        return WeightedSamples(
            theta[index[0]][None], kept.float(), unknown[None, :n_samples], torch.tensor([n_effective / total]),
            torch.logsumexp(log_weight, 0, keepdim=True) - math.log(total), torch.tensor([n_effective]),
            torch.tensor([flag], dtype=torch.int32), {0: AllDraws(theta, weight.float(), unknown)})

    def _fit(self, theta, log_weight):
        low, high = self.low[self.others], self.high[self.others]
        return KernelDensity(theta[None][..., self.others].double(), log_weight[None], low, high)

    def _density(self, fitted, x):
        """Compute the log density of a round's proposal at points (m, n_other)."""
        inside = ((x >= self.low[self.others]) & (x <= self.high[self.others])).all(-1)
        uniform = torch.where(inside, -(self.high - self.low)[self.others].log().sum(), -torch.inf)
        if fitted is None:
            return uniform
        around_others = fitted.log_prob_of_others(x[None])[0]
        return torch.logaddexp(uniform + math.log(_UNIFORM), around_others + math.log1p(-_UNIFORM))

    def _round(self, n, fitted):
        """Simulate objects from a proposal, and keep those that resemble the observed one."""
        self.rounds.append((n, fitted))
        for start in range(0, n, _AT_ONCE):
            size = min(_AT_ONCE, n - start)
            unit = torch.rand(size, len(self.low), generator=self.generator, dtype=torch.float64)
            theta = self.low + unit * (self.high - self.low)
            if fitted is not None:
                from_kernels = torch.rand(size, generator=self.generator, dtype=torch.float64) > _UNIFORM
                drawn = fitted.points(unit[None][..., self.others])[0]
                theta[:, self.others] = torch.where(from_kernels[:, None], drawn, theta[:, self.others])
            inside = ((theta >= self.low) & (theta <= self.high)).all(-1)
            self._simulate(theta[inside])

    def _simulate(self, theta):
        observed = self.observed
        known = {c.name: observed.covariates[c.name].expand(len(theta)) for c in self.family.covariates}
        if self.distance_error is not None:
            shift = self.distance_error[0] * torch.randn(len(theta), generator=self.generator)
            known["distance"] = known["distance"] * torch.exp(shift)
        # Of shapes (m, k, n_band) and (m, k, p).
        ln_flux, theta = self.family.simulate_redrawn(theta.float(), known, self.span, self.generator)
        m, k = theta.shape[:2]
        ln_flux = ln_flux.reshape(1, m * k, -1).to(observed.flux)
        log_like = self.noise.log_likelihood(observed.flux, observed.error, observed.measured, ln_flux)
        if observed.limit.any():
            log_limit = self.noise.log_limit(observed.flux[:, None], observed.error[:, None], ln_flux)
            log_like = log_like + torch.where(observed.limit[:, None], log_limit, 0.0).sum(-1)
        posterior = log_like[0].reshape(m, k).double() + self.target.wanted.log_prob(
            theta.reshape(1, m * k, -1))[0].reshape(m, k).double()
        if k > 1:  # values are evenly spaced over the range, so their mean integrates over it
            posterior = posterior + math.log(self.span[1] - self.span[0])
        total = torch.logsumexp(posterior, 1) - math.log(k)
        like = torch.isfinite(total)
        if not like.any():
            return
        # Choose one of the values for the object in proportion to weight.
        share = torch.softmax(posterior[like], 1)
        chosen = torch.multinomial(share, 1, generator=self.generator)
        self._keep(theta[like][torch.arange(int(like.sum())), chosen[:, 0]], total[like])

    def _keep(self, theta, log_like):
        self.theta.append(theta)
        self.log_like.append(log_like)
        self.log_q.append(log_like.new_empty(0, len(theta)))
        best = max(float(each.max()) for each in self.log_like if len(each))
        for i, each in enumerate(self.log_like):
            good = each > best - _NEGLIGIBLE
            if not good.all():
                self.theta[i], self.log_like[i], self.log_q[i] = self.theta[i][good], each[good], self.log_q[i][:, good]

    def _weighted(self):
        """Return all objects so far and their log weights with the mixture of all rounds."""
        if not self.theta:
            return torch.lerp(self.low, self.high, 0.5)[None].float(), torch.full((1,), -torch.inf, dtype=torch.float64)
        for i, theta in enumerate(self.theta):
            x = theta[:, self.others].double()
            new = [self._density(fitted, x) for _, fitted in self.rounds[len(self.log_q[i]):]]
            self.log_q[i] = torch.cat([self.log_q[i], *(each[None] for each in new)])
        share = torch.tensor([n for n, _ in self.rounds], dtype=torch.float64)
        log_q = torch.logsumexp(torch.cat(self.log_q, 1) + torch.log(share / share.sum())[:, None], 0)
        return torch.cat(self.theta), torch.cat(self.log_like) - log_q
