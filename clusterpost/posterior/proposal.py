"""Proposals for importance sampling, with the exact density of every draw.

A flow proposes age and reddening (or all parameters); the mass is drawn from its
conditional density, which has a closed form under log-normal noise and
is tabulated otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .draws import sobol_points
from .weights import effective_sample_size, log_mean, normalized, systematic_resample

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..families.base import Prior
    from ..flow.base import Flow
    from ..observations import Observed

__all__ = ["AmplitudeProposal", "BoundedAmplitude", "Draws", "FlowProposal", "UncertainDistances", "base_dimensions"]

_EDGE = 2.0**-24
_DISTANCES = 8  # number of distances at which a network is evaluated if the distance is uncertain
_ROOM = 0.95  # least share of the amplitude's density within the bounds at which a draw is kept in any case
_ENOUGH = 0.5  # effective share of the draws above which those that are kept are chosen from as many
_TIMES = 8  # draws per draw that is kept otherwise
_REFERENCE = 1024  # draws that normalize a density
LN10 = math.log(10.0)


@dataclass
class Draws:
    """Points drawn for ``n`` clusters.

    Attributes
    ----------
    theta : Tensor (n, k, n_parameter)
    log_q : Tensor (n, k)
        Log density of the proposal at each point.
    shift : Tensor (n, k) or None
        Shift of ln distance, drawn from its own density (not included in ``log_q``).
    log_amplitude : Tensor (n, k), optional
        Part of ``log_q`` that is the conditional density of the amplitude.
    """

    theta: torch.Tensor
    log_q: torch.Tensor
    shift: torch.Tensor | None = None
    log_amplitude: torch.Tensor | None = None


def base_dimensions(prior: Prior, uncertain: bool = False) -> int:
    """Count the unit-cube coordinates of a draw: the parameters, and the distance if it is uncertain."""
    return len(prior.names) + (uncertain or getattr(prior, "distance_error", 0.0) > 0)


class _Proposal:
    """Base class of the proposals."""

    def __init__(self, flow, likelihood, prior, *, trained_noise="lognormal", defensive=0.1):
        self.flow, self.likelihood, self.prior = flow, likelihood, prior
        self.trained_noise, self.defensive = trained_noise, float(defensive)
        #: Parameter with a conditional density, given the others; None if the flow draws all.
        self.mass = None if likelihood is None else likelihood.amplitude(prior)
        #: Whether to use the closed form of the mass where it is an approximation, instead of a table.
        self.quick = True

    def with_flow(self, flow, defensive):
        """Return the same proposal with another flow and a fraction of uniform draws for every cluster.

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
        """Return lower and upper bounds of the flow's parameters, with the type of a given tensor."""
        columns = list(self._columns)
        return self.prior.low.to(like)[columns], self.prior.high.to(like)[columns]

    def log_prob(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                 shift: torch.Tensor | None = None, *, n_samples: int | None = None) -> torch.Tensor:
        """Compute the log density of the proposal at points within the prior's bounds.

        Parameters
        ----------
        observed : Observed
        conditions : Tensor (n, n_condition)
        theta : Tensor (n, k, n_parameter)
        shift : Tensor (n, k), optional
            Shift of ln distance.
        n_samples : int, optional
            As for `draw`.

        Returns
        -------
        Tensor (n, k)
        """
        return (self.log_prob_of_flow(observed, conditions, theta, shift, n_samples=n_samples)
                + self.log_prob_of_amplitude(observed, theta, shift))

    def log_prob_of_flow(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                         shift: torch.Tensor | None = None, *, n_samples: int | None = None) -> torch.Tensor:
        """Compute the log density of the flow's parameters; see `log_prob`."""
        others = self.flow_parameters(theta, shift)
        return self._flow_log_prob(observed, others, conditions, n_samples or others.shape[1])

    def log_prob_of_amplitude(self, observed: Observed, theta: torch.Tensor,
                              shift: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the log density of the amplitude given the flow's parameters, (n, k); 0 if the flow draws it too."""
        return theta.new_zeros(theta.shape[:-1])

    def _flow_draw(self, observed, conditions, unit, n_samples):
        """Draw from the flow; if it may be incomplete, the first few draws are uniform within the prior's bounds."""
        theta, log_q = self.flow.draw(unit, conditions)
        rows = self.needs_defence(observed).nonzero()[:, 0]
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
        return torch.where(self.needs_defence(observed)[:, None], self._mixed(theta, log_q, share), log_q)

    def needs_defence(self, observed):
        """Return whether the likelihood of each cluster differs from that of the flow's training, (n,)."""
        if self.likelihood is None:
            return torch.zeros(len(observed), dtype=torch.bool, device=observed.flux.device)
        return observed.limit.any(-1) | (self.likelihood.noise.name != self.trained_noise)

    def _mixed(self, theta, log_q, share):
        low, high = self.bounds(theta)
        inside = ((theta >= low) & (theta <= high)).all(-1)
        log_uniform = torch.where(inside, math.log(share) - torch.log(high - low).sum(), -torch.inf)
        return torch.logaddexp(log_q + math.log1p(-share), log_uniform)

    def _shift(self, observed, unit):
        """Return the distance shift from the last coordinate, or None."""
        error = observed.distance_error(self.prior)
        if error is None:
            return None
        return error * torch.special.ndtri(unit[..., -1].clamp(_EDGE, 1 - _EDGE))


class AmplitudeProposal(_Proposal):
    """Proposal with age and reddening from a flow and the mass from its conditional density.

    Parameters
    ----------
    flow : object
        Flow over (log age, E(B-V)): ``draw(unit (n, k, 2), conditions)`` returns theta
        (n, k, 2) and its log density (n, k); ``log_prob(theta, conditions)`` returns the
        log density of given theta.
    likelihood : object
        Likelihood with an amplitude; see `clusterpost.families.base.Likelihood`.
    prior : object of `clusterpost.priors`
    trained_noise : str
        Noise model of the flow's training.
    defensive : float
        Fraction of draws that are uniform within the prior's bounds instead of
        from the flow, for clusters with an upper limit or another noise model
        than the flow's; the density is that of the mixture.
    """

    @property
    def _columns(self):
        return tuple(i for i, name in enumerate(self.prior.names) if name != self.mass.parameter)

    def draw(self, observed: Observed, conditions: torch.Tensor, unit: torch.Tensor, *,
             n_samples: int | None = None) -> Draws:
        """Draw points from the proposal.

        Parameters
        ----------
        observed : Observed
        conditions : Tensor (n, n_condition)
            Conditions of the flow.
        unit : Tensor (n, k, `base_dimensions`)
            Points of the unit cube.
        n_samples : int, optional
            Number of draws per round; k is a multiple of it, and the number
            of uniform draws is an integer. By default k.

        Returns
        -------
        Draws
        """
        last = len(self._columns)
        others, log_q = self._flow_draw(observed, conditions, unit[..., :last], n_samples or unit.shape[1])
        shift, others = self._shift(observed, unit), list(others.unbind(-1))
        log_mass, log_mass_q = self.mass.at(observed, *others, shift, closed=self.quick).draw(unit[..., last])
        others.insert(self.prior.names.index(self.mass.parameter), log_mass)
        return Draws(torch.stack(others, dim=-1), log_q + log_mass_q, shift, log_mass_q)

    def log_prob_of_amplitude(self, observed: Observed, theta: torch.Tensor,
                              shift: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the log density of the mass, (n, k), given the flow's parameters."""
        mass = self.mass.at(observed, *self.flow_parameters(theta).unbind(-1), shift, closed=self.quick)
        return mass.log_prob(theta[..., self.prior.names.index(self.mass.parameter)])

    def flow_parameters(self, theta: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """Return the parameters of the flow."""
        return theta[..., list(self._columns)]


class BoundedAmplitude(AmplitudeProposal):
    """Posterior of a network alone, with the bounds of the amplitude.

    The flow sees no brightness, so it cannot know that some ages and reddenings need a mass outside the prior's bounds.
    Draws are kept in proportion to the share of the mass density that lies within the bounds.  Importance weights
    already correct for this; only draws without weights need this proposal.

    Parameters
    ----------
    flow, likelihood, prior, trained_noise, defensive
        As of `AmplitudeProposal`.
    """

    def _flow_draw(self, observed, conditions, unit, n_samples):
        others, log_q = super()._flow_draw(observed, conditions, unit, n_samples)
        log_inside = self._log_inside(observed, others)
        total, k = log_mean(log_inside), unit.shape[1]
        uneven = log_inside.amin(1) < math.log(_ROOM)
        few = effective_sample_size(normalized(log_inside)) < _ENOUGH * k
        for which, times in ((uneven & ~few, 1), (uneven & few, _TIMES)):
            rows = which.nonzero()[:, 0]
            if not len(rows):
                continue
            # The same points, moved in different directions, are further points of the unit cube.
            moves = sobol_points(times, unit.shape[2], 0).to(unit)[:, None]
            several = torch.remainder(unit[rows, None] + moves, 1.0).flatten(1, 2).clamp(_EDGE, 1 - _EDGE)
            many, log_many = self.flow.draw(several, conditions[rows])
            log_room = self._log_inside(observed[rows], many)
            kept = systematic_resample(normalized(log_room), k, many[..., 0])
            others[rows] = torch.gather(many, 1, kept[..., None].expand(-1, -1, many.shape[-1]))
            log_q[rows], log_inside[rows] = torch.gather(log_many, 1, kept), torch.gather(log_room, 1, kept)
            total[rows] = log_mean(log_room)
        return others, (log_q + log_inside - total[:, None]).to(log_q)

    def _flow_log_prob(self, observed, theta, conditions, n_samples):
        log_q = super()._flow_log_prob(observed, theta, conditions, n_samples)
        unit = sobol_points(_REFERENCE, theta.shape[-1], 0).to(theta).expand(len(theta), -1, -1)
        total = log_mean(self._log_inside(observed, self.flow.draw(unit, conditions)[0]))
        return (log_q + self._log_inside(observed, theta) - total[:, None]).to(log_q)

    def _log_inside(self, observed, others):
        """Log of the share (n, k) of the amplitude's density within the bounds, in double precision."""
        return self.mass.at(observed, *others.unbind(-1), None, closed=self.quick).log_inside.double()


class FlowProposal(_Proposal):
    """Proposal with all parameters from a flow.

    Parameters
    ----------
    flow, likelihood, prior, trained_noise, defensive
        As for `AmplitudeProposal`; the flow has all parameters, and the likelihood may be missing.

    Notes
    -----
    If the distance is uncertain, the amplitude is shifted with it.
    """

    @property
    def _columns(self):
        return tuple(range(len(self.prior.names)))

    def draw(self, observed: Observed, conditions: torch.Tensor, unit: torch.Tensor, *,
             n_samples: int | None = None) -> Draws:
        """Draw points; see `AmplitudeProposal.draw`."""
        shift = self._shift(observed, unit)
        theta, log_q = self._flow_draw(observed, conditions, unit[..., :len(self._columns)], n_samples or unit.shape[1])
        return Draws(self._moved(theta, shift), log_q, shift, torch.zeros_like(log_q))

    def flow_parameters(self, theta: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """Return the parameters of the flow, with the mass at the nominal distance."""
        return self._moved(theta, None if shift is None else -shift)

    def drawn_shift(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                    generator: torch.Generator | None) -> None:
        """Return None, because the flow uses a single distance."""

    def _moved(self, theta, shift):
        """Shift parameters to a ln distance larger by ``shift``; fluxes decrease with the distance squared."""
        if shift is None:
            return theta
        parts = list(theta.unbind(-1))
        at = self.prior.names.index(self.mass.parameter)
        parts[at] = parts[at] + 2 * shift / LN10
        return torch.stack(parts, dim=-1)


class UncertainDistances(FlowProposal):
    """Proposal with all parameters from a flow, averaged over several distances of each object.

    Parameters
    ----------
    flow : Flow
        Flow over all parameters.
    farther : callable
        ``farther(conditions, ln_shift)`` returns the conditions at other distances for ``ln_shift``, a Tensor (n,).
    prior : object of `clusterpost.priors`
        Prior of the flow.
    wanted : object of `clusterpost.priors`
        Prior with the distance error of objects without their own.

    Notes
    -----
    The photometry is assumed to contain no information on distance, as for a prior that is flat in log mass.
    """

    def __init__(self, flow: Flow, farther: Callable, prior: Prior, wanted: Prior):
        super().__init__(flow, None, prior, defensive=0.0)
        self._farther, self._wanted = farther, wanted
        middle = torch.special.ndtri((torch.arange(_DISTANCES, dtype=torch.float64) + 0.5) / _DISTANCES)
        self._steps = (middle / middle.square().mean().sqrt()).tolist()

    def draw(self, observed: Observed, conditions: torch.Tensor, unit: torch.Tensor, *,
             n_samples: int | None = None) -> Draws:
        """Draw points; see `AmplitudeProposal.draw`."""
        unit = unit[..., :len(self._columns)]
        theta = torch.empty_like(unit)
        for k, there in enumerate(self._elsewhere(observed, conditions)):
            theta[:, k::_DISTANCES] = self.flow.draw(unit[:, k::_DISTANCES], there)[0]
        return Draws(theta, self.log_prob(observed, conditions, theta))

    def log_prob_of_flow(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                         shift: torch.Tensor | None = None, *, n_samples: int | None = None) -> torch.Tensor:
        """Compute the log density, averaged over the distances; see `AmplitudeProposal.log_prob`."""
        each = [self.flow.log_prob(theta, there) for there in self._elsewhere(observed, conditions)]
        return torch.logsumexp(torch.stack(each), 0) - math.log(_DISTANCES)

    def drawn_shift(self, observed: Observed, conditions: torch.Tensor, theta: torch.Tensor,
                    generator: torch.Generator | None) -> torch.Tensor | None:
        """Draw the shift of ln distance (n, k) in proportion to the network's density at each."""
        error = observed.distance_error(self._wanted).to(conditions)
        each = [self.flow.log_prob(theta, there) for there in self._elsewhere(observed, conditions)]
        log_prob = torch.stack(each, -1)
        gumbel = -torch.log(-torch.log(torch.rand(log_prob.shape, generator=generator, dtype=torch.float64)))
        step = torch.tensor(self._steps).to(conditions)[(log_prob + gumbel.to(log_prob)).argmax(-1)]
        return step * error

    def _elsewhere(self, observed, conditions):
        """Return the conditions at each of the distances."""
        error = observed.distance_error(self._wanted)[:, 0].to(conditions)
        return [self._farther(conditions, step * error) for step in self._steps]
