"""Weighted draws from the posteriors of a batch of clusters, by a network alone or refined."""

from __future__ import annotations

import torch

from ..priors import as_prior
from .draws import base_points, rotation
from .proposal import AmplitudeProposal, FlowProposal, base_dimensions
from .refine import Refined, UnitPoints, n_base_points, refine
from .target import Target

__all__ = ["Sampler"]

# Share of uniform draws for clusters whose likelihood is not what the network learned.
_DEFENSIVE = 0.1


class Sampler:
    """Draws for clusters, the same for each whatever is beside it.

    Parameters
    ----------
    model : Model
        Its flow draws all parameters, or all but the mass.
    table : BandFluxTable
        In the model's bands.
    noise : object of :mod:`clusterpost.noise`
    prior : object of :mod:`clusterpost.priors`
    refined : bool
        Whether draws are weighted to follow the exact posterior.
    n_samples, seed : int
    """

    def __init__(self, model, table, noise, prior, *, refined, n_samples, seed):
        self.flow, self.table, self.noise, self.prior = model.flow, table, noise, prior
        self.refined, self.n_samples, self.seed = refined, n_samples, int(seed)
        kind = FlowProposal if "log_mass" in model.learned else AmplitudeProposal
        self.proposal = kind(model.flow, table, noise, prior, trained_noise=model.card["simulator"]["noise"],
                             defensive=_DEFENSIVE if refined else 0.0)
        n_points = n_base_points(n_samples) if refined else n_samples
        self.points = base_points(n_points, base_dimensions(prior), seed).to(model.device)

    @classmethod
    def trained_as(cls, model, *, noise=None, prior=None, refined, n_samples, seed):
        """With the table of the model's training and, unless others are given, its noise and prior.

        Parameters
        ----------
        model : Model
        noise : object of :mod:`clusterpost.noise`, optional
        prior : object of :mod:`clusterpost.priors` or callable, optional
        refined, n_samples, seed
            See the class.

        Returns
        -------
        Sampler
        """
        family = model.family
        return cls(model, family.table, family.likelihood.noise if noise is None else noise,
                   as_prior(prior, family), refined=refined, n_samples=n_samples,
                   seed=seed)

    def target(self, observed):
        """The exact posterior of these clusters.

        Parameters
        ----------
        observed : Observed

        Returns
        -------
        Target
        """
        return Target(observed, self.table, self.noise, self.prior)

    def __call__(self, target, conditions) -> Refined:
        """Draw.

        Parameters
        ----------
        target : Target
        conditions : Tensor (n, n_condition)

        Returns
        -------
        Refined
            Of the network alone: equal weights, its own log density, NaN for
            efficiency and evidence.
        """
        shift = rotation(self.flow.standardize(conditions), self.points.shape[1])
        points = UnitPoints(self.points, shift)
        if self.refined:
            return refine(self.proposal, target, conditions, points, n_samples=self.n_samples, seed=self.seed)
        rows = torch.arange(len(target), device=conditions.device)
        draws = self.proposal.draw(target.observed, conditions, points(rows, 0, self.n_samples))
        unknown = torch.full((len(target),), torch.nan, device=conditions.device)
        weight = torch.full_like(draws.log_q, 1 / self.n_samples)
        return Refined(draws.theta, weight, draws.log_q, unknown, unknown, unknown,
                       torch.zeros(len(target), dtype=torch.int32, device=conditions.device))
