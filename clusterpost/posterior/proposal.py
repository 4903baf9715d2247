"""Where importance sampling draws from, with the exact density of every draw.

A flow proposes age and reddening (or everything); the mass follows from its
conditional density, which is known in closed form under log-normal noise and
otherwise tabulated along the mass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..families.clusters.amplitude import MassConditional
from ..families.clusters.table import LN10

__all__ = ["AmplitudeProposal", "Draws", "FlowProposal", "base_dimensions"]

_EDGE = 2.0**-24


@dataclass
class Draws:
    """Points drawn for ``n`` clusters.

    Attributes
    ----------
    theta : Tensor (n, k, 3)
        log10 age/Myr, log10 initial mass/Msun, E(B-V)/mag.
    log_q : Tensor (n, k)
        The log density that each was drawn with.
    shift : Tensor (n, k) or None
        What is added to ln distance, drawn from its own density (which is not in ``log_q``).
    """

    theta: torch.Tensor
    log_q: torch.Tensor
    shift: torch.Tensor | None = None


def base_dimensions(prior):
    """How many coordinates of the unit cube a draw takes.

    Parameters
    ----------
    prior : object of `clusterpost.priors`

    Returns
    -------
    int
        One for each parameter, and one for the distance where it is uncertain.
    """
    return len(prior.names) + (prior.distance_error > 0)


class _Proposal:
    """What the proposals have in common."""

    def __init__(self, flow, table, noise, prior, *, trained_noise="lognormal", defensive=0.1):
        self.flow, self.prior = flow, prior
        self.mass = MassConditional(table, noise, prior)
        self.trained_noise, self.defensive = trained_noise, float(defensive)
        #: Whether the mass follows from a closed form where that is an approximation, or from a table.
        self.quick = True

    def with_flow(self, flow, defensive):
        """The same with another flow, and uniform draws among it for every cluster.

        Parameters
        ----------
        flow : object
        defensive : float

        Returns
        -------
        proposal of the same class
        """
        other = type(self)(flow, self.mass.table, self.mass.noise, self.prior, trained_noise=None, defensive=defensive)
        other.quick = False
        return other

    def bounds(self, like):
        """Lower and upper bounds of the flow's parameters, as tensors like another."""
        columns = list(self._columns)
        return self.prior.low.to(like)[columns], self.prior.high.to(like)[columns]

    def _flow_draw(self, observed, conditions, unit, n_samples):
        """The flow's draws; where they may miss something, the first few are uniform in the prior's bounds instead."""
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
        other = self.mass.noise.name != self.trained_noise
        return observed.limit.any(-1) | other

    def _mixed(self, theta, log_q, share):
        low, high = self.bounds(theta)
        inside = ((theta >= low) & (theta <= high)).all(-1)
        log_uniform = torch.where(inside, math.log(share) - torch.log(high - low).sum(), -torch.inf)
        return torch.logaddexp(log_q + math.log1p(-share), log_uniform)

    def _shift(self, unit):
        """The distance's shift from the last coordinate, or None."""
        if not self.prior.distance_error:
            return None
        return self.prior.distance_error * torch.special.ndtri(unit[..., 3].clamp(_EDGE, 1 - _EDGE))


class AmplitudeProposal(_Proposal):
    """Age and reddening from a flow, the mass from its conditional density.

    Parameters
    ----------
    flow : object
        Over (log age, E(B-V)): ``draw(unit (n, k, 2), conditions)`` gives theta
        (n, k, 2) and its log density (n, k), ``log_prob(theta, conditions)`` the
        latter of given theta.
    table : `~clusterpost.families.clusters.table.BandFluxTable`
    noise : object of `clusterpost.noise`
    prior : object of `clusterpost.priors`
    trained_noise : str
        The noise model that the flow was trained with.
    defensive : float
        Share of the draws that are uniform within the prior's bounds, and not
        from the flow, for a cluster with an upper limit or another noise model
        than the flow's; the density is that of the mixture.
    """

    _columns = (0, 2)

    def draw(self, observed, conditions, unit, *, n_samples=None) -> Draws:
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
        two, log_q = self._flow_draw(observed, conditions, unit[..., :2], n_samples or unit.shape[1])
        shift, (log_age, ebv) = self._shift(unit), two.unbind(-1)
        log_mass, log_mass_q = self.mass.at(observed, log_age, ebv, shift, closed=self.quick).draw(unit[..., 2])
        return Draws(torch.stack([log_age, log_mass, ebv], dim=-1), log_q + log_mass_q, shift)

    def log_prob(self, observed, conditions, theta, shift=None, *, n_samples=None):
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
        log_age, log_mass, ebv = theta.unbind(-1)
        two = torch.stack([log_age, ebv], dim=-1)
        log_q = self._flow_log_prob(observed, two, conditions, n_samples or two.shape[1])
        return log_q + self.mass.at(observed, log_age, ebv, shift, closed=self.quick).log_prob(log_mass)

    def flow_parameters(self, theta, shift=None):
        """The parameters that the flow is over, (..., 2)."""
        return theta[..., [0, 2]]


class FlowProposal(_Proposal):
    """Everything from a flow over (log age, log mass, E(B-V)).

    Parameters
    ----------
    flow, table, noise, prior, trained_noise, defensive
        As of `AmplitudeProposal`; the flow is over three parameters.

    Notes
    -----
    Where the distance is uncertain the mass moves with it.
    """

    _columns = (0, 1, 2)

    def draw(self, observed, conditions, unit, *, n_samples=None) -> Draws:
        """Draw; see `AmplitudeProposal.draw`."""
        shift = self._shift(unit)
        theta, log_q = self._flow_draw(observed, conditions, unit[..., :3], n_samples or unit.shape[1])
        return Draws(theta if shift is None else _move_mass(theta, shift), log_q, shift)

    def log_prob(self, observed, conditions, theta, shift=None, *, n_samples=None):
        """Log density; see `AmplitudeProposal.log_prob`."""
        at = theta if shift is None else _move_mass(theta, -shift)
        return self._flow_log_prob(observed, at, conditions, n_samples or at.shape[1])

    def flow_parameters(self, theta, shift=None):
        """The parameters that the flow is over: the mass as it is at the nominal distance."""
        return theta if shift is None else _move_mass(theta, -shift)


def _move_mass(theta, shift):
    log_age, log_mass, ebv = theta.unbind(-1)
    return torch.stack([log_age, log_mass + 2 * shift / LN10, ebv], dim=-1)
