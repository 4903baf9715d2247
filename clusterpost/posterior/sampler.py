"""Weighted draws from the posteriors of a batch of objects, by a network alone or refined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import InputError
from ..noise import get_noise
from ..observations import Observed
from ..priors import as_prior
from .draws import rotation, sobol_points
from .proposal import AmplitudeProposal, FlowProposal, UncertainDistances, base_dimensions
from .refine import UnitPoints, WeightedSamples, n_base_points, refine
from .target import NetworkTarget, Target

if TYPE_CHECKING:
    from ..families.base import Prior
    from ..flow.model import Model
    from ..noise import Noise

__all__ = ["Sampler"]

# Share of uniform draws for clusters whose likelihood is not what the network learned.
_DEFENSIVE = 0.1


class Sampler:
    """Draw for objects, the same for each whatever is beside it.

    Parameters
    ----------
    model : Model
        Its flow draws all parameters, or all but the amplitude of its family's likelihood.
    noise : object of :mod:`clusterpost.noise`, optional
        By default that of the family's likelihood.
    prior : object of :mod:`clusterpost.priors` or callable, optional
        By default that of the training.
    refined : bool, optional
        Weight draws to follow the exact posterior; by default where the family has a likelihood.
    n_samples, seed : int
    given : bool
        Whether objects come with what their prior depends on, so that draws under the prior of training have weights.
    uncertain : bool
        Whether objects come with errors of their distances.
    """

    def __init__(self, model: Model, *, noise: Noise | None = None, prior: Prior | None = None,
                 refined: bool | None = None, n_samples: int, seed: int, given: bool = False, uncertain: bool = False):
        family = model.family
        self.flow, self.family, likelihood = model.flow, family, family.likelihood
        self.refined = likelihood is not None if refined is None else bool(refined)
        if self.refined and likelihood is None:
            raise InputError(f"the model {model.name} has no likelihood to refine with; leave option:refine out, or "
                             "take one that has a likelihood: option:model='any_bands'")
        self.likelihood = likelihood if noise is None or likelihood is None else likelihood.with_noise(noise)
        trained_noise = model.metadata.simulator.noise
        self.noise = (noise or get_noise(trained_noise)) if likelihood is None else self.likelihood.noise
        self.prior = family.prior if prior is None else _unless_trained(as_prior(prior, family), family)
        self.n_samples, self.seed = n_samples, int(seed)
        everything = set(model.learned) >= set(family.parameter_names)
        kind = FlowProposal if everything else AmplitudeProposal
        # A network alone gives draws of its own prior, which are then weighted.
        proposed = self.prior if self.refined else family.prior
        if likelihood is None and (uncertain or getattr(self.prior, "distance_error", 0.0)):
            if not hasattr(model.encoder, "farther"):
                raise InputError(f"the model {model.name} takes no uncertain distances; leave "
                                 "option:distance-error out")
            self.proposal = UncertainDistances(model.flow, model.encoder.farther, proposed, self.prior)
        else:
            self.proposal = kind(model.flow, self.likelihood, proposed, trained_noise=trained_noise,
                                 defensive=_DEFENSIVE if self.refined else 0.0)
        #: Whether draws have weights of their own.
        self.weighted = self.refined or given or self.prior is not family.prior
        n_points = n_base_points(n_samples) if self.weighted else n_samples
        self.points = sobol_points(n_points, base_dimensions(proposed, uncertain), seed).to(model.device)

    def target(self, observed: Observed, conditions: Tensor | None = None) -> Target | NetworkTarget:
        """Make the posterior density of some objects: the exact one, or without a likelihood the network's.

        Parameters
        ----------
        observed : Observed
        conditions : Tensor (n, n_condition), optional
            The network's; needed where the family has no likelihood.

        Returns
        -------
        Target or NetworkTarget
        """
        if self.likelihood is not None:
            return Target(observed, self.likelihood, self.prior)
        return self._learned(observed, conditions)

    def __call__(self, target: Target | NetworkTarget, conditions: Tensor) -> WeightedSamples:
        """Draw.

        Parameters
        ----------
        target : Target or NetworkTarget
        conditions : Tensor (n, n_condition)

        Returns
        -------
        WeightedSamples
            Of the network alone: equal weights, its own log density, NaN for
            efficiency and evidence.  Under another prior than that of training: weights that are the ratio of
            both, and the efficiency that these leave.
        """
        shift = rotation(self.flow.standardize(conditions), self.points.shape[1])
        points = UnitPoints(self.points, shift)
        if self.refined:
            return refine(self.proposal, target, conditions, points, n_samples=self.n_samples, seed=self.seed)
        if self.weighted:
            return self._reweighted(target.observed, conditions, points).normalized_alone()
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
            Of likelihood times prior over the evidence, or of the network under the prior; -inf outside that.
        """
        if self.refined:
            return target.log_density(theta) - self(target, conditions).log_evidence[:, None]
        density = self._learned(target.observed, conditions).log_density(theta)
        if not self.weighted:
            return density
        points = UnitPoints(self.points, rotation(self.flow.standardize(conditions), self.points.shape[1]))
        return density - self._reweighted(target.observed, conditions, points).log_evidence[:, None]

    def _reweighted(self, observed, conditions, points):
        """Draws of the network with the ratio of the wanted to the trained prior as weights."""
        return refine(self.proposal, self._learned(observed, conditions), conditions, points,
                      n_samples=self.n_samples, adapt=False, mcmc=False)

    def _learned(self, observed, conditions):
        return NetworkTarget(observed, self.proposal, conditions, self.family, self.prior, self.noise)


def _unless_trained(prior, family):
    """Return the family's own prior where another is the same: a network's draws need no weights then."""
    same = family.likelihood is None and prior.describe() == family.prior.describe()
    return family.prior if same else prior
