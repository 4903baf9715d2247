"""Densities over two parameters as cells that are divided where there is much, to draw from.

What is drawn is weighted by `clusterpost.posterior.refine`, so that cells need not be exact: only near enough, wherever
there is anything.  No network is needed, and any noise, limit or prior will do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from .draws import rotation, sobol_points
from .proposal import AmplitudeProposal, base_dimensions
from .refine import UnitPoints, WeightedSamples, n_base_points, refine

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..families.base import Prior
    from ..families.photometric import PhotometricLikelihood
    from .target import Target

__all__ = ["MOST_CELLS", "CellTrees", "can_sample", "sample_by_cells"]

_SHAPE = 92, 20  # cells before any is divided
_DIVIDED, _TIMES = 384, 8  # cells of an object that are divided at a time, and how often at most
_ENOUGH = 800.0  # cells that in effect hold the density, from which on no more are divided
_UNIFORM = 0.02  # share of the draws that are uniform, for what the middles of the cells have missed
_SMOOTH = "lognormal", "normal"  # noise models whose amplitude has a density without edges
_NOTHING = -1e30  # ln of a density that is zero or no number; what is no cell has minus infinity
#: Cells of an object at most.
MOST_CELLS = _SHAPE[0] * _SHAPE[1] + 4 * _DIVIDED * _TIMES


def can_sample(likelihood: PhotometricLikelihood, prior: Prior) -> bool:
    """Return whether cells suffice for a likelihood, or None: what its amplitude leaves must be two parameters."""
    return likelihood is not None and likelihood.amplitude(prior) is not None and len(prior.names) == 3


class CellTrees:
    """Piecewise constant densities of ``n`` objects over a rectangle, drawn from and evaluated like a flow.

    Parameters
    ----------
    log_density : callable
        ``log_density(rows, points)`` gives the log density (m, k), up to a number of each object, of the objects
        ``rows`` (m,) at ``points`` (m, k, 2).
    n : int
    low, high : Tensor (2,)
        Corners of the rectangle.

    Notes
    -----
    Equal cells come first.  The heaviest ones of an object are divided in four again and again, until
    enough cells hold the density in effect, which is evaluated in their middles.  What is done with an object does
    not depend on the others.  The ``conditions`` of `draw` and `log_prob` are the numbers of the objects, (m, 1).

    Examples
    --------
    >>> import torch
    >>> from clusterpost.posterior.trees import CellTrees
    >>> def log_density(rows, points):
    ...     return -0.5 * ((points - 0.3) / 0.1).square().sum(-1)
    >>> trees = CellTrees(log_density, 1, torch.zeros(2), torch.ones(2))
    >>> theta, log_q = trees.draw(torch.rand(1, 100, 2), torch.tensor([[0]]))
    >>> torch.equal(log_q, trees.log_prob(theta, torch.tensor([[0]])))
    True
    """

    def __init__(self, log_density: Callable, n: int, low: torch.Tensor, high: torch.Tensor):
        self.low, self.high = low, high
        step = (high - low) / torch.tensor(_SHAPE, dtype=low.dtype, device=low.device)
        axes = [low[i] + step[i] * (torch.arange(_SHAPE[i], device=low.device) + 0.5) for i in (0, 1)]
        middle = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, 2)
        rows, n_first = torch.arange(n, device=low.device), middle.shape[1]

        def empty(*shape: int, fill: float, dtype: torch.dtype = low.dtype) -> torch.Tensor:
            """Make a tensor of one number for each cell."""
            return torch.full((n, MOST_CELLS, *shape), fill, dtype=dtype, device=low.device)

        self._middle, self._width = empty(2, fill=0.0), empty(2, fill=1.0)
        self._first_child = empty(fill=-1, dtype=torch.long)
        value = empty(fill=-torch.inf)  # ln of density times area, of cells that are not divided
        self._middle[:, :n_first], self._width[:, :n_first] = middle, step
        value[:, :n_first] = self._value(log_density, rows, middle.expand(n, -1, -1), step.log().sum())
        quarters = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]], device=low.device) / 4
        for division in range(_TIMES):
            weight = torch.softmax(value[rows], -1)
            spread = torch.special.entr(weight).sum(-1)
            rows = rows[spread < math.log(_ENOUGH)]
            if not len(rows):
                break
            heaviest = value[rows].topk(_DIVIDED, dim=-1).indices
            first = n_first + 4 * _DIVIDED * division
            one = rows[:, None]
            width = self._width[one, heaviest]
            middle = (self._middle[one, heaviest][:, :, None] + width[:, :, None] * quarters).flatten(1, 2)
            width = (width / 2).repeat_interleave(4, 1)
            new = slice(first, first + 4 * _DIVIDED)
            self._middle[rows, new], self._width[rows, new] = middle, width
            self._first_child[one, heaviest] = first + 4 * torch.arange(_DIVIDED, device=low.device)
            value[one, heaviest] = -torch.inf
            value[rows, new] = self._value(log_density, rows, middle, width.log().sum(-1))
        self._set_shares(value)

    @staticmethod
    def _value(log_density, rows, middle, log_area):
        return log_density(rows, middle).nan_to_num(nan=_NOTHING, posinf=_NOTHING, neginf=_NOTHING) + log_area

    def _set_shares(self, value):
        """Find the share of the draws of each cell that is not divided, and the order in which cells are drawn."""
        area = (self._width / (self.high - self.low)).prod(-1).double()
        last = torch.isfinite(value)
        share = (1 - _UNIFORM) * torch.softmax(value.double(), -1) + _UNIFORM * torch.where(last, area, 0.0)
        share = share / share.sum(-1, keepdim=True)
        self._log_q = (share / area).log().to(value) - (self.high - self.low).log().sum()
        # Cells in the order of the first parameter: points that are evenly spread then stay it.
        self._order = self._middle[..., 0].argsort(-1)
        self._cumulative = share.gather(1, self._order).cumsum(-1)

    def draw(self, unit: torch.Tensor, conditions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw points (m, k, 2), with their log density (m, k), from those ``unit`` (m, k, 2) of the unit square."""
        rows = conditions[:, 0].long()
        cumulative = self._cumulative[rows]
        wanted = unit[..., 0].double() * cumulative[:, -1:]
        place = torch.searchsorted(cumulative, wanted.contiguous(), right=True).clamp(max=MOST_CELLS - 1)
        before = torch.where(place > 0, cumulative.gather(1, (place - 1).clamp(min=0)), 0.0)
        within = ((wanted - before) / (cumulative.gather(1, place) - before).clamp(min=1e-300)).clamp(0, 1)
        cell, one = self._order[rows].gather(1, place), rows[:, None]
        offset = torch.stack([within.to(unit), unit[..., 1]], -1) - 0.5
        theta = self._middle[one, cell] + self._width[one, cell] * offset
        theta = torch.minimum(torch.maximum(theta, self.low), self.high)
        return theta, self.log_prob(theta, conditions)  # rounding may have moved a point to the next cell

    def log_prob(self, theta: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Log density (m, k) at points ``theta`` (m, k, 2) of the rectangle."""
        one, shape = conditions[:, :1].long(), torch.tensor(_SHAPE, device=theta.device)
        first = ((theta - self.low) / (self.high - self.low) * shape).long()
        first = torch.minimum(first.clamp(min=0), shape - 1)
        cell = first[..., 0] * _SHAPE[1] + first[..., 1]
        for _ in range(_TIMES):
            child = self._first_child[one, cell]
            above = (theta > self._middle[one, cell]).long()
            cell = torch.where(child < 0, cell, child + 2 * above[..., 0] + above[..., 1])
        return self._log_q[one, cell]


def sample_by_cells(target: Target, *, n_samples: int, seed: int, target_ess: float | None = None) -> WeightedSamples:
    """Draw from posteriors over an amplitude and two more parameters, without a network.

    Parameters
    ----------
    target : `~clusterpost.posterior.target.Target`
        Of n objects; its likelihood has an amplitude.
    n_samples, seed : int
    target_ess : float, optional
        Effective draws that an object should have, of up to eight times as many as are kept; by default as of
        `~clusterpost.posterior.refine.refine`.

    Returns
    -------
    WeightedSamples

    Notes
    -----
    The density over the two parameters is that at any amplitude a, divided by that of a given the two.
    """
    prior, likelihood, observed = target.prior, target.likelihood, target.observed
    amplitude = likelihood.amplitude(prior)
    at = prior.names.index(amplitude.parameter)
    columns, uncertain = [i for i in range(3) if i != at], observed.distance_error(prior) is not None
    # Where neither the noise model nor the prior nor a limit has an edge along the amplitude.
    smooth = ~observed.limit.any(-1) & (target.noise.name in _SMOOTH) & (prior.mass_slope is not None)

    def log_density(rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Compute the log density of points, with the amplitude at the median of its conditional."""
        part, others = target[rows], list(points.unbind(-1))
        value, log_q = (torch.empty_like(others[0]) for _ in range(2))
        for closed, some in ((True, smooth[rows]), (False, ~smooth[rows])):
            if some.any():
                given = amplitude.at(part.observed[some], *(x[some] for x in others), closed=closed)
                value[some], log_q[some] = given.draw(torch.full_like(value[some], 0.5))
        others.insert(at, value)
        # An uncertain distance moves the amplitude, and is left to the weights.
        shift = torch.zeros_like(value) if uncertain else None
        return part.log_density(torch.stack(others, -1), shift) - log_q

    low, high = (end.to(observed.flux)[columns] for end in (prior.low, prior.high))
    trees = CellTrees(log_density, len(target), low, high)
    proposal = AmplitudeProposal(trees, likelihood, prior, trained_noise=target.noise.name, defensive=0.0)
    proposal.quick = False
    known = observed.measured | observed.limit
    dimensions = base_dimensions(prior, uncertain)
    shift = rotation(torch.where(known, torch.asinh(observed.flux / observed.error), 0.0), dimensions)
    points = sobol_points(n_base_points(n_samples), dimensions, seed).to(low)
    numbers = torch.arange(len(target), device=low.device)[:, None]
    return refine(proposal, target, numbers, UnitPoints(points, shift), n_samples=n_samples, seed=seed,
                  target_ess=target_ess, min_ess=0.3 * n_samples)
