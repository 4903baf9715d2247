"""Piecewise constant densities over two parameters on adaptively divided cells, for drawing.

`clusterpost.posterior.refine` weights the draws, so the cells only need to approximate and cover the density.
This needs no network and works with any noise, limits, and prior.
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

_SHAPE = 92, 20  # initial cells
_DIVIDED, _TIMES = 384, 8  # cells of an object divided per step, and maximum number of steps
_ENOUGH = 800.0  # effective number of cells at which division stops
_UNIFORM = 0.02  # fraction of uniform draws, for features missed by cell centers
_SMOOTH = "lognormal", "normal"  # noise models with a smooth density of the amplitude
_NOTHING = -1e30  # ln of a density that is zero or NaN; missing cells have minus infinity
#: Maximum number of cells per object.
MOST_CELLS = _SHAPE[0] * _SHAPE[1] + 4 * _DIVIDED * _TIMES


def can_sample(likelihood: PhotometricLikelihood, prior: Prior) -> bool:
    """Return whether cells work for a likelihood or None: they need an amplitude and two more parameters."""
    return likelihood is not None and likelihood.amplitude(prior) is not None and len(prior.names) == 3


class CellTrees:
    """Piecewise constant densities of ``n`` objects over a rectangle, with the interface of a flow.

    Parameters
    ----------
    log_density : callable
        ``log_density(rows, points)`` returns the log density (m, k), up to a constant for each object, of objects
        ``rows`` (m,) at ``points`` (m, k, 2).
    n : int
    low, high : Tensor (2,)
        Corners of the rectangle.

    Notes
    -----
    The initial cells are equal.  The heaviest cells of an object are repeatedly divided in four until
    the effective number of cells is sufficient; the density is evaluated at cell centers.  The treatment of an object
    does not depend on the others.  The ``conditions`` of `draw` and `log_prob` are the indices of the objects, (m, 1).

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
            """Make a tensor with one value per cell."""
            return torch.full((n, MOST_CELLS, *shape), fill, dtype=dtype, device=low.device)

        self._middle, self._width = empty(2, fill=0.0), empty(2, fill=1.0)
        self._first_child = empty(fill=-1, dtype=torch.long)
        value = empty(fill=-torch.inf)  # ln of density times area of undivided cells
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
        """Compute the fraction of draws in each undivided cell, and the order of the cells."""
        area = (self._width / (self.high - self.low)).prod(-1).double()
        last = torch.isfinite(value)
        share = (1 - _UNIFORM) * torch.softmax(value.double(), -1) + _UNIFORM * torch.where(last, area, 0.0)
        share = share / share.sum(-1, keepdim=True)
        self._log_q = (share / area).log().to(value) - (self.high - self.low).log().sum()
        # Sort cells by the first parameter, to keep evenly spread points even.
        self._order = self._middle[..., 0].argsort(-1)
        self._cumulative = share.gather(1, self._order).cumsum(-1)

    def draw(self, unit: torch.Tensor, conditions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw points (m, k, 2) and their log density (m, k) from points ``unit`` (m, k, 2) of the unit square."""
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
        return theta, self.log_prob(theta, conditions)  # rounding may move a point to the next cell

    def log_prob(self, theta: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Compute the log density (m, k) at points ``theta`` (m, k, 2) of the rectangle."""
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
    """Draw from posteriors of an amplitude and two more parameters without a network.

    Parameters
    ----------
    target : `~clusterpost.posterior.target.Target`
        Target of n objects, whose likelihood has an amplitude.
    n_samples, seed : int
    target_ess : float, optional
        Effective sample size per object, from up to eight times as many draws as are kept; by default as in
        `~clusterpost.posterior.refine.refine`.

    Returns
    -------
    WeightedSamples

    Notes
    -----
    The density of the two parameters is the joint density at any amplitude a, divided by that of a given the two.
    """
    prior, likelihood, observed = target.prior, target.likelihood, target.observed
    amplitude = likelihood.amplitude(prior)
    at = prior.names.index(amplitude.parameter)
    columns, uncertain = [i for i in range(3) if i != at], observed.distance_error(prior) is not None
    # If noise model, prior, and limits are smooth along the amplitude.
    smooth = ~observed.limit.any(-1) & (target.noise.name in _SMOOTH) & (prior.mass_slope is not None)

    def log_density(rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Compute the log density of points with the amplitude at its conditional median."""
        part, others = target[rows], list(points.unbind(-1))
        value, log_q = (torch.empty_like(others[0]) for _ in range(2))
        for closed, some in ((True, smooth[rows]), (False, ~smooth[rows])):
            if some.any():
                given = amplitude.at(part.observed[some], *(x[some] for x in others), closed=closed)
                value[some], log_q[some] = given.draw(torch.full_like(value[some], 0.5))
        others.insert(at, value)
        # An uncertain distance shifts the amplitude and is handled by the weights.
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
