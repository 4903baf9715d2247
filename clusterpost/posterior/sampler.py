"""Weighted draws from the posteriors of a batch of objects, from a network alone or refined."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import flags
from ..errors import InputError
from ..noise import get_noise
from ..observations import Observed
from ..priors import as_prior
from .draws import rotation, sobol_points
from .proposal import AmplitudeProposal, BoundedAmplitude, FlowProposal, UncertainDistances, base_dimensions
from .refine import UnitPoints, WeightedSamples, n_base_points, refine, support
from .simulated import sample_by_simulation
from .target import NetworkTarget, Target

if TYPE_CHECKING:
    from ..families.base import Prior
    from ..flow.model import Model
    from ..noise import Noise

__all__ = ["Sampler"]

# Fraction of uniform draws for clusters whose likelihood differs from that of the training.
_DEFENSIVE = 0.1
# Efficiency below which the prior selects parameters that the network rarely saw in training for such photometry.
_LEAST_EFFICIENCY = 0.1
# Wanted effective number of simulated objects, per draw and its range, and the maximum number to simulate.
_WANTED, _RANGE, _MOST_SIMULATIONS = 0.6, (100.0, 1500.0), 100_000
_PREDICTED = 128  # draws that tell whether the model can describe an object



class Sampler:
    """Sampler of posteriors, with draws that do not depend on other objects.

    Parameters
    ----------
    model : Model
        Model whose flow draws all parameters, or all except the amplitude of its family's likelihood.
    noise : object of :mod:`clusterpost.noise`, optional
        Noise model; by default that of the family's likelihood.
    prior : object of :mod:`clusterpost.priors` or callable, optional
        Prior; by default that of the training.
    refined : bool, optional
        Whether to weight draws to follow the exact posterior; by default if the family has a likelihood.
    n_samples, seed : int
    given : bool
        Whether the prior depends on known quantities of the objects, so draws under the training prior need weights.
    uncertain : bool
        Whether objects have distance errors.
    simulated : bool
        Whether to use simulated objects where a network without a likelihood has few effective draws under the prior.
    """

    def __init__(self, model: Model, *, noise: Noise | None = None, prior: Prior | None = None,
                 refined: bool | None = None, n_samples: int, seed: int, given: bool = False, uncertain: bool = False,
                 simulated: bool = False):
        family = model.family
        self.flow, self.family, likelihood = model.flow, family, family.likelihood
        self.refined = likelihood is not None if refined is None else bool(refined)
        if self.refined and likelihood is None:
            raise InputError(f"the model {model.name} has no likelihood for refinement; omit option:refine, or "
                             "choose a model with a likelihood: option:model='any_bands'")
        self.likelihood = likelihood if noise is None or likelihood is None else likelihood.with_noise(noise)
        trained_noise = model.metadata.simulator.noise
        self.noise = (noise or get_noise(trained_noise)) if likelihood is None else self.likelihood.noise
        self.simulated = simulated and likelihood is None
        self.prior = family.prior if prior is None else _unless_trained(as_prior(prior, family), family)
        self.n_samples, self.seed = n_samples, int(seed)
        everything = set(model.learned) >= set(family.parameter_names)
        kind = FlowProposal if everything else AmplitudeProposal if self.refined else BoundedAmplitude
        # A network alone gives draws under its own prior, which are then weighted.
        proposed = self.prior if self.refined else family.prior
        if likelihood is None and (uncertain or getattr(self.prior, "distance_error", 0.0)):
            if not hasattr(model.encoder, "farther"):
                raise InputError(f"the model {model.name} does not support uncertain distances; omit "
                                 "option:distance-error")
            self.proposal = UncertainDistances(model.flow, model.encoder.farther, proposed, self.prior)
        else:
            self.proposal = kind(model.flow, self.likelihood, proposed, trained_noise=trained_noise,
                                 defensive=_DEFENSIVE if self.refined else 0.0)
        #: Whether draws have unequal weights.
        self.weighted = self.refined or given or self.prior is not family.prior
        n_points = n_base_points(n_samples) if self.weighted else n_samples
        self.points = sobol_points(n_points, base_dimensions(proposed, uncertain), seed).to(model.device)

    def target(self, observed: Observed, conditions: Tensor | None = None) -> Target | NetworkTarget:
        """Make the posterior density of objects: the exact one, or that of the network without a likelihood.

        Parameters
        ----------
        observed : Observed
        conditions : Tensor (n, n_condition), optional
            Conditions of the network; required if the family has no likelihood.

        Returns
        -------
        Target or NetworkTarget
        """
        if self.likelihood is not None:
            return Target(observed, self.likelihood, self.prior)
        return self._learned(observed, conditions)

    def __call__(self, target: Target | NetworkTarget, conditions: Tensor) -> WeightedSamples:
        """Draw from the posteriors of a batch of objects.

        Parameters
        ----------
        target : Target or NetworkTarget
        conditions : Tensor (n, n_condition)

        Returns
        -------
        WeightedSamples
            For the network alone: equal weights, its log density, and NaN for
            efficiency and evidence.  Under another prior than that of training: weights from the ratio of
            the priors, and their efficiency; simulated objects, of unknown density, have weights from the photometry.
        """
        shift = rotation(self.flow.standardize(conditions), self.points.shape[1])
        points = UnitPoints(self.points, shift)
        if self.refined:
            return refine(self.proposal, target, conditions, points, n_samples=self.n_samples, seed=self.seed)
        if self.weighted:
            draws = self._reweighted(target.observed, conditions, points).normalized_alone()
            return self._with_simulated(draws, target, conditions, points) if self.simulated else draws
        rows = torch.arange(len(target), device=conditions.device)
        draws = self.proposal.draw(target.observed, conditions, points(rows, 0, self.n_samples))
        unknown = torch.full((len(target),), torch.nan, device=conditions.device)
        weight = torch.full_like(draws.log_q, 1 / self.n_samples)
        return WeightedSamples(draws.theta, weight, draws.log_q, unknown, unknown, unknown,
                       torch.zeros(len(target), dtype=torch.int32, device=conditions.device))

    def log_prob(self, target: Target | NetworkTarget, conditions: Tensor, theta: Tensor) -> Tensor:
        """Compute the normalized log posterior density of given parameters.

        Parameters
        ----------
        target : Target or NetworkTarget
        conditions : Tensor (n, n_condition)
        theta : Tensor (n, k, n_parameter)

        Returns
        -------
        Tensor (n, k)
            Log of likelihood times prior over evidence, or log density of the network under the prior; -inf outside the
            prior.
        """
        if self.refined:
            return target.log_density(theta) - self(target, conditions).log_evidence[:, None]
        density = self._learned(target.observed, conditions).log_density(theta)
        if not self.weighted:
            return density
        points = UnitPoints(self.points, rotation(self.flow.standardize(conditions), self.points.shape[1]))
        return density - self._reweighted(target.observed, conditions, points).log_evidence[:, None]

    def _reweighted(self, observed, conditions, points):
        """Return draws of the network, weighted by the ratio of requested to trained prior."""
        return refine(self.proposal, self._learned(observed, conditions), conditions, points,
                      n_samples=self.n_samples, adapt=False, mcmc=False)

    def _with_simulated(self, draws, target, conditions, points):
        """Replace the draws of rows of low efficiency by simulated objects, if the model can describe the row."""
        rows = (draws.efficiency < _LEAST_EFFICIENCY).nonzero()[:, 0]
        if not len(rows):
            return draws
        theta = self.proposal.draw(target.observed[rows], conditions[rows], points(rows, 0, _PREDICTED)).theta
        _, beyond = support(target[rows], theta, torch.full_like(theta[..., 0], 1 / _PREDICTED))
        enough = min(max(_WANTED * self.n_samples, _RANGE[0]), _RANGE[1])
        for at in rows[beyond == 0].split(1):
            # The draws of the row alone: rounding depends on its neighbors, and every further step on rounding.
            alone = UnitPoints(points.points, points.shift[at])
            proposed = self._reweighted(target.observed[at], conditions[at], alone).all_of(0, "cpu")
            found = sample_by_simulation(target[at].without_network(), n_simulations=_MOST_SIMULATIONS, enough=enough,
                                         n_samples=self.n_samples, seed=self.seed, proposed=proposed)
            if found.flag.any():  # too few objects resemble the row
                draws.flag[at] |= flags.LOW_EFFICIENCY
            else:
                draws.put(at, replace(found, efficiency=draws.efficiency[at]))
                draws.flag[at] = flags.SIMULATED
        return draws

    def _learned(self, observed, conditions):
        return NetworkTarget(observed, self.proposal, conditions, self.family, self.prior, self.noise)


def _unless_trained(prior, family):
    """Return the family's own prior if another is equal to it, so draws of a network need no weights."""
    same = family.likelihood is None and prior.describe() == family.prior.describe()
    return family.prior if same else prior
