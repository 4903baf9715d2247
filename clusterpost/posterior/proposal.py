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
from .draws import base_points
from .tilt import Tilt, times_as_many
from .weights import thinned

__all__ = ["AmplitudeProposal", "Draws", "FlowProposal", "base_dimensions"]

_EDGE = 2.0**-24
_POINTS_AT_ONCE = 200_000
_N_TILT = 1024


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
    tilt : Tilt or None
        How they were thinned.
    """

    theta: torch.Tensor
    log_q: torch.Tensor
    shift: torch.Tensor | None = None
    tilt: Tilt | None = None


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

    #: Whether thinned draws are kept evenly along the age, as quasi-random points want it, or independently.
    even = True

    def __init__(self, flow, table, noise, prior, *, trained_noise="lognormal", defensive=0.1):
        self.flow, self.prior = flow, prior
        self.mass = MassConditional(table, noise, prior)
        self.trained_noise, self.defensive = trained_noise, float(defensive)

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
        return type(self)(flow, self.mass.table, self.mass.noise, self.prior, trained_noise=None, defensive=defensive)

    def bounds(self, like):
        """Lower and upper bounds of the flow's parameters, as tensors like another."""
        columns = list(self._columns)
        return self.prior.low.to(like)[columns], self.prior.high.to(like)[columns]

    def _flow_draw(self, observed, conditions, unit):
        """The flow's draws; where they may miss something, the first few are uniform in the prior's bounds instead."""
        theta, log_q = self.flow.draw(unit, conditions)
        rows = self._needs_defence(observed).nonzero()[:, 0]
        n_uniform = round(self.defensive * unit.shape[1])
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

    def draw(self, observed, conditions, unit) -> Draws:
        """Draw.

        Parameters
        ----------
        observed : Observed
        conditions : Tensor (n, n_condition)
            The flow's.
        unit : Tensor (n, k, `base_dimensions`)
            Points of the unit cube.

        Returns
        -------
        Draws
        """
        (two, log_q, shift), mass, tilt = self._tilted(observed, conditions, unit)
        log_age, ebv = two.unbind(-1)
        log_mass, log_mass_q = mass.draw(unit[..., 2])
        log_q = log_q + tilt.log_density(mass.log_total).to(log_q) + log_mass_q
        return Draws(torch.stack([log_age, log_mass, ebv], dim=-1), log_q, shift, tilt)

    def log_prob(self, observed, conditions, theta, shift=None, *, tilt=None, n_samples=None):
        """Log density that points of the prior's bounds are drawn with.

        Parameters
        ----------
        observed : Observed
        conditions : Tensor (n, n_condition)
        theta : Tensor (n, k, 3)
        shift : Tensor (n, k), optional
            Added to ln distance.
        tilt : Tilt, optional
            That of the draws; by default it is found anew.
        n_samples : int, optional
            How many are drawn at a time, which the uniform draws are a whole number of; k by default.

        Returns
        -------
        Tensor (n, k)
        """
        if tilt is None:
            points = base_points(_N_TILT, base_dimensions(self.prior), 0).to(theta).clamp(_EDGE, 1 - _EDGE)
            tilt = self._tilted(observed, conditions, points.expand(len(theta), -1, -1))[-1]
        log_age, log_mass, ebv = theta.unbind(-1)
        two = torch.stack([log_age, ebv], dim=-1)
        log_q = self._flow_log_prob(observed, two, conditions, n_samples or two.shape[1])
        mass = self.mass.at(observed, log_age, ebv, shift)
        return log_q + tilt.log_density(mass.log_total).to(log_q) + mass.log_prob(log_mass)

    def _tilted(self, observed, conditions, unit):
        """The flow's draws as many as the mass's range leaves of them, the density of the mass at each."""
        parts = two, log_q, shift = *self._flow_draw(observed, conditions, unit[..., :2]), self._shift(unit)
        mass = self.mass.at(observed, *two.unbind(-1), shift)
        tilt = Tilt.none(log_q)
        times = torch.where(self._needs_defence(observed), 1, times_as_many(mass.log_total))
        if (times == 1).all():
            return parts, mass, tilt
        k = unit.shape[1]
        for many in times.unique().tolist():
            rows = (times == many).nonzero()[:, 0]
            for at in rows.split(max(1, _POINTS_AT_ONCE // (many * k))) if many > 1 else ():
                points = _copies(unit[at], many)
                more = *self.flow.draw(points[..., :2], conditions[at]), self._shift(points)
                log_factor = self.mass.at(observed[at], *more[0].unbind(-1), more[2]).log_total
                tilt[at], share = Tilt.of(log_factor, k)
                index, _ = thinned(share, k, order=more[0][..., 0] if self.even else None)
                for old, new in zip(parts, more, strict=True):
                    if old is not None:
                        old[at] = new.take_along_dim(index.reshape(index.shape + (1,) * (new.ndim - 2)), 1)
        return parts, self.mass.at(observed, *two.unbind(-1), shift), tilt

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

    def draw(self, observed, conditions, unit) -> Draws:
        """Draw; see `AmplitudeProposal.draw`."""
        shift = self._shift(unit)
        theta, log_q = self._flow_draw(observed, conditions, unit[..., :3])
        return Draws(theta if shift is None else _move_mass(theta, shift), log_q, shift)

    def log_prob(self, observed, conditions, theta, shift=None, *, tilt=None, n_samples=None):
        """Log density; see `AmplitudeProposal.log_prob`."""
        at = theta if shift is None else _move_mass(theta, -shift)
        return self._flow_log_prob(observed, at, conditions, n_samples or at.shape[1])

    def flow_parameters(self, theta, shift=None):
        """The parameters that the flow is over: the mass as it is at the nominal distance."""
        return theta if shift is None else _move_mass(theta, -shift)


def _copies(unit, many):
    """So many times as many points of the unit cube: copies, each moved around it by another step."""
    ratio = 1.3247179572447460 ** -(1.0 + torch.arange(unit.shape[-1], dtype=torch.float64, device=unit.device))
    steps = torch.arange(many, dtype=torch.float64, device=unit.device)[:, None] * ratio
    moved = torch.remainder(unit[:, None] + torch.frac(steps).to(unit)[:, None], 1.0)
    return moved.flatten(1, 2).clamp(_EDGE, 1 - _EDGE)


def _move_mass(theta, shift):
    log_age, log_mass, ebv = theta.unbind(-1)
    return torch.stack([log_age, log_mass + 2 * shift / LN10, ebv], dim=-1)
