"""Proposals for importance sampling, with the exact density of every draw.

A flow proposes age and reddening (or everything); the mass follows from its
conditional density, which is known in closed form under log-normal noise and
otherwise tabulated along the mass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..families.base import Prior
    from ..flow.base import Flow
    from ..observations import Observed

__all__ = ["AmplitudeProposal", "Draws", "FlowProposal", "UncertainDistances", "base_dimensions"]

_EDGE = 2.0**-24
_DISTANCES = 8  # at which a network is asked where they are uncertain
LN10 = math.log(10.0)


@dataclass
class Draws:
    """Points drawn for ``n`` clusters.

    Attributes
    ----------
    theta : Tensor (n, k, n_parameter)
    log_q : Tensor (n, k)
        The log density that each was drawn with.
    shift : Tensor (n, k) or None
        What is added to ln distance, drawn from its own density (which is not in ``log_q``).
    """

    theta: torch.Tensor
    log_q: torch.Tensor
    shift: torch.Tensor | None = None


def base_dimensions(prior: Prior, uncertain: bool = False) -> int:
    """Count the coordinates of the unit cube that a draw takes: parameters, and the distance where it is uncertain."""
    return len(prior.names) + (uncertain or getattr(prior, "distance_error", 0.0) > 0)


class _Proposal:
    """Common base of the proposals."""

    def __init__(self, flow, likelihood, prior, *, trained_noise="lognormal", defensive=0.1):
        self.flow, self.likelihood, self.prior = flow, likelihood, prior
        self.trained_noise, self.defensive = trained_noise, float(defensive)
        #: Parameter with a density of its own, given the others; None where the flow draws all.
        self.mass = None if likelihood is None else likelihood.amplitude(prior)
        #: Whether the mass follows from a closed form where that is an approximation, or from a table.
        self.quick = True

    def with_flow(self, flow, defensive):
        """Return the same with another flow, and uniform draws among it for every cluster.

        Parameters
        ----------
        flow : object
        defensive : float

        Returns
        -------
        proposal of the same class
        """
        other = type(self)(flow, self.likelihood, self.prior, trained_noise=None, defensive=defensive)
        other.quick = False
        return other

    def bounds(self, like):
        """Lower and upper bounds of the flow's parameters, as tensors like another."""
        columns = list(self._columns)
        return self.prior.low.to(like)[columns], self.prior.high.to(like)[columns]

    def _flow_draw(self, observed, conditions, unit, n_samples):
        """Draw from the flow; where it may miss something, the first few are uniform in the prior's bounds instead."""
        theta, log_q = self.flow.draw(unit, conditions)
        rows = self._needs_defence(observed).nonzero()[:, 0]
        n_uniform = round(self.defensive * n_samples) * (unit.shape[1] // n_samples)
        if not (len(rows) and n_uniform):
            return theta, log_q
        low, high = self.bounds(unit)
        uniform = low + (high - low) * unit[rows, :n_uniform]
        theta[rows, :n_uniform] = uniform
        log_q[rows, :n_uniform] = self.flow.log_prob(uniform, conditions[rows])
        log_q[rows] = self._mixed(theta[rows], log_q[rows], n_uniform / unit.shape[1])
        return theta, log_q

    def _flow_log_prob(self, observed, theta, conditions, n_samples):
        log_q = self.flow.log_prob(theta, conditions)
        share = round(self.defensive * n_samples) / n_samples
        if not share:
            return log_q
        return torch.where(self._needs_defence(observed)[:, None], self._mixed(theta, log_q, share), log_q)

    def _needs_defence(self, observed):
        """Of which clusters the likelihood is not the one that the flow was trained with, (n,)."""
        if self.likelihood is None:
            return torch.zeros(len(observed), dtype=torch.bool, device=observed.flux.device)
        return observed.limit.any(-1) | (self.likelihood.noise.name != self.trained_noise)

    def _mixed(self, theta, log_q, share):
        low, high = self.bounds(theta)
        inside = ((theta >= low) & (theta <= high)).all(-1)
        log_uniform = torch.where(inside, math.log(share) - torch.log(high - low).sum(), -torch.inf)
        return torch.logaddexp(log_q + math.log1p(-share), log_uniform)

    def _shift(self, observed, unit):
        """Return the distance's shift from the last coordinate, or None."""
        error = observed.distance_error(self.prior)
        if error is None:
            return None
        return error * torch.special.ndtri(unit[..., -1].clamp(_EDGE, 1 - _EDGE))


class AmplitudeProposal(_Proposal):
    """Age and reddening from a flow, the mass from its conditional density.

    Parameters
    ----------
    flow : object
        Over (log age, E(B-V)): ``draw(unit (n, k, 2), conditions)`` gives theta
        (n, k, 2) and its log density (n, k), ``log_prob(theta, conditions)`` the
        latter of given theta.
    likelihood : object
        With an amplitude; see `clusterpost.families.base.Likelihood`.
    prior : object of `clusterpost.priors`
    trained_noise : str
        The noise model that the flow was trained with.
    defensive : float
        Share of the draws that are uniform within the prior's bounds, and not
        from the flow, for a cluster with an upper limit or another noise model
        than the flow's; the density is that of the mixture.
    """

    @property
    def _columns(self):
        return tuple(i for i, name in enumerate(self.prior.names) if name != self.mass.parameter)

    def draw(self, observed: Observed, conditions: torch.Tensor, unit: torch.Tensor, *,
             n_samples: int | None = None) -> Draws:
        """Draw.

        Parameters
        ----------
        observed : Observed
        conditions : Tensor (n, n_condition)
            The flow's.
        unit : Tensor (n, k, `base_dimensions`)
            Points of the unit cube.
        n_samples : int, optional
            How many are drawn at a time, of which k is a multiple and the
            uniform draws a whole number; k by default.

        Returns
        -------
        Draws
        """
        last = len(self._columns)
        others, log_q = self._flow_draw(observed, conditions, unit[..., :last], n_samples or unit.shape[1])
        shift, others = self._shift(observed, unit), list(others.unbind(-1))
        log_mass, log_mass_q = self.mass.at(observed, *others, shift, closed=self.quick).draw(unit[..., last])
        others.insert(self.prior.names.index(self.mass.parameter), log_mass)
        return Draws(torch.stack(others, dim=-1), log_q + log_mass_q, shift)

    def log_prob(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                 shift: torch.Tensor | None = None, *, n_samples: int | None = None) -> torch.Tensor:
        """Log density that points of the prior's bounds are drawn with.

        Parameters
        ----------
        observed : Observed
        conditions : Tensor (n, n_condition)
        theta : Tensor (n, k, 3)
        shift : Tensor (n, k), optional
            Added to ln distance.
        n_samples : int, optional
            As of `draw`.

        Returns
        -------
        Tensor (n, k)
        """
        others = theta[..., list(self._columns)]
        log_q = self._flow_log_prob(observed, others, conditions, n_samples or others.shape[1])
        mass = self.mass.at(observed, *others.unbind(-1), shift, closed=self.quick)
        return log_q + mass.log_prob(theta[..., self.prior.names.index(self.mass.parameter)])

    def flow_parameters(self, theta: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """Return the parameters that the flow is over."""
        return theta[..., list(self._columns)]


class FlowProposal(_Proposal):
    """All parameters from a flow.

    Parameters
    ----------
    flow, likelihood, prior, trained_noise, defensive
        As of `AmplitudeProposal`; the flow is over all parameters, and there may be no likelihood.

    Notes
    -----
    Where the distance is uncertain the amplitude moves with it.
    """

    @property
    def _columns(self):
        return tuple(range(len(self.prior.names)))

    def draw(self, observed: Observed, conditions: torch.Tensor, unit: torch.Tensor, *,
             n_samples: int | None = None) -> Draws:
        """Draw; see `AmplitudeProposal.draw`."""
        shift = self._shift(observed, unit)
        theta, log_q = self._flow_draw(observed, conditions, unit[..., :len(self._columns)], n_samples or unit.shape[1])
        return Draws(self._moved(theta, shift), log_q, shift)

    def log_prob(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                 shift: torch.Tensor | None = None, *, n_samples: int | None = None) -> torch.Tensor:
        """Log density; see `AmplitudeProposal.log_prob`."""
        at = self._moved(theta, None if shift is None else -shift)
        return self._flow_log_prob(observed, at, conditions, n_samples or at.shape[1])

    def flow_parameters(self, theta: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """Return the parameters that the flow is over: the mass as it is at the nominal distance."""
        return self._moved(theta, None if shift is None else -shift)

    def drawn_shift(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                    generator: torch.Generator | None) -> None:
        """Draw the shift of ln distance that goes with parameters: none, as the flow knows one distance."""

    def _moved(self, theta, shift):
        """Parameters as they are at a distance that is farther by ``shift`` in its ln: fluxes fall with its square."""
        if shift is None:
            return theta
        parts = list(theta.unbind(-1))
        at = self.prior.names.index(self.mass.parameter)
        parts[at] = parts[at] + 2 * shift / LN10
        return torch.stack(parts, dim=-1)


class UncertainDistances(FlowProposal):
    """All parameters from a flow, averaged over the distance of each object: a mean of what it says at several.

    Parameters
    ----------
    flow : Flow
        Over all parameters.
    farther : callable
        ``farther(conditions, ln_shift)`` gives the conditions at other distances, ``ln_shift`` a Tensor (n,).
    prior : object of `clusterpost.priors`
        That of the flow.
    wanted : object of `clusterpost.priors`
        Whose distance error is taken for objects that have none of their own.

    Notes
    -----
    The photometry itself is taken to say nothing about the distance, as is so where the prior is flat in log mass.
    """

    def __init__(self, flow: Flow, farther: Callable, prior: Prior, wanted: Prior):
        super().__init__(flow, None, prior, defensive=0.0)
        self._farther, self._wanted = farther, wanted
        middle = torch.special.ndtri((torch.arange(_DISTANCES, dtype=torch.float64) + 0.5) / _DISTANCES)
        self._steps = (middle / middle.square().mean().sqrt()).tolist()

    def draw(self, observed: Observed, conditions: torch.Tensor, unit: torch.Tensor, *,
             n_samples: int | None = None) -> Draws:
        """Draw; see `AmplitudeProposal.draw`."""
        unit = unit[..., :len(self._columns)]
        theta = torch.empty_like(unit)
        for k, there in enumerate(self._elsewhere(observed, conditions)):
            theta[:, k::_DISTANCES] = self.flow.draw(unit[:, k::_DISTANCES], there)[0]
        return Draws(theta, self.log_prob(observed, conditions, theta))

    def log_prob(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                 shift: torch.Tensor | None = None, *, n_samples: int | None = None) -> torch.Tensor:
        """Log density; see `AmplitudeProposal.log_prob`."""
        each = [self.flow.log_prob(theta, there) for there in self._elsewhere(observed, conditions)]
        return torch.logsumexp(torch.stack(each), 0) - math.log(_DISTANCES)

    def drawn_shift(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                    generator: torch.Generator | None) -> torch.Tensor | None:
        """Draw the shift of ln distance (n, k) by what the network says of the parameters at each."""
        error = observed.distance_error(self._wanted).to(conditions)
        each = [self.flow.log_prob(theta, there) for there in self._elsewhere(observed, conditions)]
        log_prob = torch.stack(each, -1)
        gumbel = -torch.log(-torch.log(torch.rand(log_prob.shape, generator=generator, dtype=torch.float64)))
        step = torch.tensor(self._steps).to(conditions)[(log_prob + gumbel.to(log_prob)).argmax(-1)]
        return step * error

    def _elsewhere(self, observed, conditions):
        """Conditions at each of the distances."""
        error = observed.distance_error(self._wanted)[:, 0].to(conditions)
        return [self._farther(conditions, step * error) for step in self._steps]
