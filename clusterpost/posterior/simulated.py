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
from .weights import effective_sample_size, normalized, thinned

if TYPE_CHECKING:
    from .target import NetworkTarget

__all__ = ["FEW_SIMULATED", "sample_by_simulation"]

_AT_ONCE = 4096  # simulated objects per batch
_UNIFORM = 0.1  # fraction of objects that are uniform within the prior's bounds
_ROUNDS = {True: (0.5, 0.5), False: (0.3, 0.3, 0.4)}  # fraction of objects per round, with and without initial draws
_NEGLIGIBLE = 60.0  # nats below the best likelihood at which weights are negligible
#: Effective number of objects below which a row is flagged.
FEW_SIMULATED = 100


def sample_by_simulation(target: NetworkTarget, *, n_simulations: int, n_samples: int, seed: int,
                         proposed: torch.Tensor | None = None) -> WeightedSamples:
    """Draw from the posterior of one object by simulating similar ones.

    Parameters
    ----------
    target : NetworkTarget
        Target of one object, with its family, prior, and noise; its network is not used.
    n_simulations : int
        Number of simulated objects.
    n_samples : int
        Number of weighted draws to keep; ``every`` of the result contains all.
    seed : int
    proposed : Tensor (k, n_parameter), optional
        Initial draws near the posterior, such as those of a network. Without them, the first objects are
        uniform within the bounds.

    Returns
    -------
    WeightedSamples
        Draws of one object. ``n_effective`` counts simulated objects, and ``efficiency`` is their fraction; densities
        are NaN, because only averages over the simulator's randomness are known.

    Notes
    -----
    Rounds of objects come from kernels around the previous draws, wider than their distribution, and a tenth from the
    whole range; the denominator of the weights is the mixture of all rounds (Cornuet et al. 2012).
    """
    return _Run(target, n_simulations, seed).result(n_samples, proposed)


class _Run:
    def __init__(self, target, n_simulations, seed):
        seen = (target.observed.measured | target.observed.limit)[0]
        names = [band for band, there in zip(target.family.band_names, seen.tolist(), strict=True) if there]
        observed = target.observed
        self.observed = type(observed)(*(x[:, seen] for x in (observed.flux, observed.error, observed.measured,
                                                              observed.limit)), observed.covariates)
        self.target, self.family, self.noise = target, target.family.with_bands(names), target.noise
        self.n, self.generator = n_simulations, torch.Generator().manual_seed(seed)
        prior = target.family.default_prior
        self.low, self.high = prior.low.double(), prior.high.double()
        self.redrawn = self.family.redrawn
        self.others = [i for i in range(len(self.low)) if i != self.redrawn]
        self.distance_error = observed.distance_error(target.prior)
        self.theta, self.log_like, self.rounds = [], [], []

    def result(self, n_samples, proposed):
        shares, fitted = _ROUNDS[proposed is not None], None
        if proposed is not None:
            fitted = self._fit(proposed, torch.zeros(len(proposed), dtype=torch.float64))
        for share in shares:
            self._round(max(1, round(share * self.n)), fitted)
            theta, log_weight = self._weighted()
            fitted = self._fit(theta, log_weight) if torch.isfinite(log_weight).any() else None
        weight = normalized(log_weight[None])[0]
        n_effective = float(effective_sample_size(weight[None])[0]) if torch.isfinite(log_weight).any() else 0.0
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
        return torch.logaddexp(uniform + math.log(_UNIFORM), fitted.log_prob(x[None])[0] + math.log1p(-_UNIFORM))

    def _round(self, n, fitted):
        """Simulate objects from a proposal, and keep those that resemble the observed one."""
        self.rounds.append((n, fitted))
        for start in range(0, n, _AT_ONCE):
            size = min(_AT_ONCE, n - start)
            unit = torch.rand(size, len(self.low), generator=self.generator, dtype=torch.float64)
            theta = self.low + unit * (self.high - self.low)
            if fitted is not None:
                from_kernels = torch.rand(size, generator=self.generator, dtype=torch.float64) > _UNIFORM
                drawn = fitted.draw(unit[None][..., self.others])[0][0]
                theta[:, self.others] = torch.where(from_kernels[:, None], drawn, theta[:, self.others])
            inside = ((theta >= self.low) & (theta <= self.high)).all(-1)
            self._simulate(theta[inside])

    def _simulate(self, theta):
        observed = self.observed
        known = {c.name: observed.covariates[c.name].expand(len(theta)) for c in self.family.covariates}
        if self.distance_error is not None:
            shift = self.distance_error[0] * torch.randn(len(theta), generator=self.generator)
            known["distance"] = known["distance"] * torch.exp(shift)
        ln_flux, theta = self.family.simulate_redrawn(theta.float(), known, self.generator)  # (m, k, n_band), (m, k, p)
        m, k = theta.shape[:2]
        ln_flux = ln_flux.reshape(1, m * k, -1).to(observed.flux)
        log_like = self.noise.log_likelihood(observed.flux, observed.error, observed.measured, ln_flux)
        if observed.limit.any():
            log_limit = self.noise.log_limit(observed.flux[:, None], observed.error[:, None], ln_flux)
            log_like = log_like + torch.where(observed.limit[:, None], log_limit, 0.0).sum(-1)
        posterior = log_like[0].reshape(m, k).double() + self.target.wanted.log_prob(
            theta.reshape(1, m * k, -1))[0].reshape(m, k).double()
        if k > 1:  # values are evenly spaced over the range, so their mean integrates over it
            posterior = posterior + torch.log((self.high - self.low)[self.redrawn])
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
        best = max(float(each.max()) for each in self.log_like)
        for i, each in enumerate(self.log_like):
            good = each > best - _NEGLIGIBLE
            if not good.all():
                self.theta[i], self.log_like[i] = self.theta[i][good], each[good]

    def _weighted(self):
        """Return all objects so far and their log weights with the mixture of all rounds."""
        if not self.theta:
            return torch.lerp(self.low, self.high, 0.5)[None].float(), torch.full((1,), -torch.inf, dtype=torch.float64)
        theta, log_like = torch.cat(self.theta), torch.cat(self.log_like)
        total = sum(n for n, _ in self.rounds)
        x = theta[:, self.others].double()
        log_q = torch.logsumexp(torch.stack([self._density(fitted, x) + math.log(n / total)
                                             for n, fitted in self.rounds]), 0)
        return theta, log_like - log_q
