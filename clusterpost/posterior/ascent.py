"""Maximum of a density by local ascent from many starts, for all objects of a batch at once.

Each start has a Gaussian approximation of the local density, whose
root defines decorrelated coordinates.  A stencil of points is evaluated in these,
a quadratic is fitted, and Newton's step is tried. The highest point is the
next center, and the curvature of the quadratic gives the next Gaussian; if no point is
higher, the stencil shrinks.  Kinks of the density may spoil a Newton step but
not the stencil, which is a pattern search on its own.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

from .weights import argsort

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONG", "SHORT", "ascend", "choose_starts", "find_map", "long_climb"]

#: Climbers in each round, the highest of the previous round: from the starts, then from both sides of the best end.
_FIRST, _SECOND = (32, 24, 12, 6, 3, 2), (4, 3, 2, 2)
#: Starts and climbers, for cheap densities and for those that need a network pass at every point.
LONG, SHORT = (32, (_FIRST, _SECOND)), (2, ((2, 1), ()))
_CROSSED = 20  # maximum number of climbers that also evaluate the points of mixed terms
_N_RIDGE, _REACH = 96, 6.0  # points evaluated before the second part, and widths to either side
_STENCIL, _SHRINK = 0.5, 0.4  # arm of the first stencil in widths, and its factor if no point is higher
_LEAST_GAIN = 2e-3  # minimum gain in log density
_FACTORS = (1.0, 0.5, 1.7)  # tried factors of Newton's step
_LONGEST = 4.0  # longest step, in widths
_CHANGE = 3.0  # maximum factor of a width per round
_FLOOR = 1e-4  # minimum width as a fraction of the box; the maximum is one
_STEEPEST = 1e4  # maximum change of the log density over a stencil


def long_climb(n_parameters: int) -> tuple[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Scale ``LONG`` down to about as many density evaluations as for three parameters.

    Parameters
    ----------
    n_parameters : int

    Returns
    -------
    tuple
        Number of starts and the schedule of `ascend`.

    Examples
    --------
    >>> from clusterpost.posterior.ascent import LONG, long_climb
    >>> long_climb(3) == LONG
    True
    """
    def points(n: int) -> float:
        """Count the points of a stencil around its center."""
        return n * (n + 3) / 2

    share = min(1.0, points(3) / points(n_parameters))
    n_starts, schedule = LONG
    return max(1, round(share * n_starts)), tuple(tuple(max(1, round(share * n)) for n in part) for part in schedule)


def find_map(log_density: Callable, theta: torch.Tensor, value: torch.Tensor, low: torch.Tensor, high: torch.Tensor,
             climb: tuple[int, tuple[tuple[int, ...], tuple[int, ...]]] = LONG) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the maximum of each object's density, starting from draws.

    Parameters
    ----------
    log_density : callable
        Function of Tensor (n, k, n_parameter), any k, with Tensor (n, k); -inf outside
        its support.  It may have kinks.
    theta : Tensor (n, n_samples, n_parameter)
        Draws that cover the maximum of the density.
    value : Tensor (n, n_samples)
        Log density of the draws, or another measure of their quality.
    low, high : Tensor (n_parameter,)
        Box that contains the support.
    climb : (int, schedule)
        Maximum number of starts, spread over the first parameter, and the schedule of `ascend`.

    Returns
    -------
    theta : Tensor (n, n_parameter)
    value : Tensor (n,)
        Density at the maximum, never lower than at the draw with the highest ``value``.
    """
    n_starts, schedule = climb
    start, _, covariance = choose_starts(theta, value, n_starts)
    return ascend(log_density, start, low, high, covariance, schedule)


def choose_starts(theta: torch.Tensor, value: torch.Tensor,
                  n_starts: int = LONG[0]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Choose the best draw in each part of the range of the first parameter.

    Parameters
    ----------
    theta : Tensor (n, n_samples, n_parameter)
    value : Tensor (n, n_samples)
        Log density.
    n_starts : int
        Number of parts, with equally many draws each.

    Returns
    -------
    start : Tensor (n, n_starts, n_parameter)
        Starts, including the best draw overall.
    value : Tensor (n, n_starts)
    covariance : Tensor (n, n_starts, n_parameter, n_parameter)
        Covariance of the draws in each part.
    """
    n, n_samples, n_parameters = theta.shape
    n_starts = max(1, min(n_starts, n_samples // 8))
    size = -(-n_samples // n_starts)
    order = argsort(theta[..., 0])
    # The last part is filled with preceding draws.
    at = (torch.arange(n_starts, device=theta.device)[:, None] * size).clamp(max=n_samples - size)
    order = order[:, (at + torch.arange(size, device=theta.device)).reshape(-1)]
    parts = [torch.gather(x, 1, order).reshape(n, n_starts, size) for x in theta.unbind(-1)]
    best, index = torch.gather(value, 1, order).reshape(n, n_starts, size).max(dim=2)
    start = [torch.gather(part, 2, index[..., None])[..., 0] for part in parts]
    parts = [part - part.mean(dim=2, keepdim=True) for part in parts]
    covariance = torch.stack([(a * b).mean(dim=2) for a in parts for b in parts], -1)
    return torch.stack(start, -1), best, covariance.reshape(n, n_starts, n_parameters, n_parameters)


def ascend(log_density: Callable, start: torch.Tensor, low: torch.Tensor, high: torch.Tensor, covariance: torch.Tensor,
           schedule: tuple[tuple[int, ...], tuple[int, ...]] = (_FIRST, _SECOND)) -> tuple[torch.Tensor, torch.Tensor]:
    """Climb from each object's starts and return the highest point.

    After the best start converges, new climbers start on both sides of it
    along the ridge, where another peak may be slightly higher.

    Parameters
    ----------
    log_density : callable
        As for `find_map`.
    start : Tensor (n, n_starts, n_parameter)
        Starts inside the box.
    low, high : Tensor (n_parameter,)
        The box, including its edges.
    covariance : Tensor (n, n_starts, n_parameter, n_parameter) or (n, 1, ...)
        Approximate width and correlation of the density around each start.
    schedule : two sequences of int
        Number of climbers in each round, the highest of the previous round; from the
        starts, and then along the ridge.

    Returns
    -------
    theta : Tensor (n, n_parameter)
    value : Tensor (n,)

    Examples
    --------
    >>> import torch
    >>> from clusterpost.posterior.ascent import ascend
    >>> low, high = torch.zeros(2), torch.ones(2)
    >>> def log_density(theta):
    ...     return -0.5 * ((theta - torch.tensor([0.3, 1.2])) / 0.1).square().sum(-1)
    >>> start = torch.full((1, 1, 2), 0.5)
    >>> covariance = 0.01 * torch.eye(2).expand(1, 1, 2, 2)
    >>> theta, value = ascend(log_density, start, low, high, covariance)
    >>> print(theta)
    tensor([[0.3000, 1.0000]])
    """
    climb = _Climb(log_density, start, covariance, low, high)
    first, second = schedule
    for n_left in first:
        climb.keep(n_left)
        climb.step()
    climb.keep(1)
    if second:
        climb.spread_out(_N_RIDGE)
    for n_left in second:
        climb.keep(n_left)
        climb.step()
    climb.keep(1)
    return climb.theta[..., 0].mT, climb.value[:, 0]


class _Climb:
    """State of all climbers: (n, s) of them, in ``p`` parameters.

    Dimensions of parameters and stencil points come before the
    climbers, (p, n, s), because arithmetic along the longest dimensions is fastest.
    """

    def __init__(self, log_density, theta, covariance, low, high):
        self.log_density, self.theta = log_density, theta.movedim(-1, 0).contiguous()
        self.low, self.high = (end.to(theta)[:, None, None, None] for end in (low, high))
        self.span = (self.high - self.low)[:, 0]
        self.value = self.evaluate(self.theta[:, None])[0]
        covariance = _regular(covariance.permute(2, 3, 0, 1), self.span)
        self.covariance = covariance.expand(-1, -1, *self.value.shape)
        self.arm = torch.full_like(self.value, _STENCIL)

    def keep(self, n_left):
        """Keep only the highest climbers."""
        if n_left >= self.value.shape[1]:
            return
        best = self.value.topk(n_left, dim=1).indices
        self.theta, self.covariance, self.value, self.arm = (
            torch.gather(x, -1, best.expand(*x.shape[:-1], -1))
            for x in (self.theta, self.covariance, self.value, self.arm))

    def spread_out(self, n_climbers):
        """Add climbers on both sides of the current one, along the ridge of its Gaussian in the first parameter."""
        ridge = self.covariance[:, 0] / self.covariance[0, 0].sqrt()
        reach = torch.linspace(0, 1, n_climbers // 2 + 1, dtype=ridge.dtype, device=ridge.device)[1:] ** 1.5 * _REACH
        reach = torch.cat([reach, -reach])[: n_climbers - 1]
        points = self._inside(self._slide((self.theta + reach * ridge)[:, None], self.covariance))
        self.theta = torch.cat([self.theta, points[:, 0]], dim=-1)
        self.value = torch.cat([self.value, self.evaluate(points)[0]], dim=-1)
        self.covariance = self.covariance.expand(-1, -1, -1, n_climbers)
        self.arm = torch.full_like(self.value, _STENCIL)

    def evaluate(self, points):
        """Compute the log density (m, n, s) of points (p, m, n, s)."""
        p, m, n, s = points.shape
        value = self.log_density(points.transpose(1, 2).reshape(p, n, m * s).movedim(0, -1))
        value = value.reshape(n, m, s).transpose(0, 1)
        return torch.where(torch.isnan(value), -torch.inf, value)

    def step(self):
        """Do one round of stencil, quadratic fit, and Newton step; the highest point is the next center."""
        root = self._root() * self.arm
        offsets, sides = self._stencil(root)
        points = self._inside(self.theta[:, None] + offsets)
        values = self.evaluate(points)
        # Limit the change if the density vanishes at a stencil point or at the center.
        rise = (values - self.value).nan_to_num(0.0).clamp(-_STEEPEST, _STEEPEST)
        newton, spread = _newton(*_quadratic(rise, *sides), self.arm)
        spread = _product(root, _product(spread, root.transpose(0, 1)))
        move = _product(root, newton[:, None])
        tried = self.theta[:, None] + move * move.new_tensor(_FACTORS)[:, None, None]
        tried = self._inside(self._slide(tried, spread))
        points, values = torch.cat([points, tried], 1), torch.cat([values, self.evaluate(tried)])

        best, index = values.max(dim=0)
        gain = best - self.value
        point = torch.gather(points, 1, index.expand(len(points), 1, -1, -1))[:, 0]
        self.theta = torch.where(gain > 0, point, self.theta)
        self.value = torch.where(gain > 0, best, self.value)
        self.arm = torch.where(gain > _LEAST_GAIN, self.arm, self.arm * _SHRINK)
        self.covariance = _regular(spread, self.span)

    def _root(self):
        """Compute a root of the covariance with the parameters nearest to a face of the box first.

        Later axes then stay on that face.
        """
        room = torch.minimum(self.theta - self.low[:, 0], self.high[:, 0] - self.theta)
        room = (room / _diagonal(self.covariance).sqrt()).clamp(max=1.0)
        order = room.argsort(dim=0, stable=True)[:, None].expand_as(self.covariance)
        ordered = torch.gather(torch.gather(self.covariance, 0, order), 1, order.transpose(0, 1))
        root = _cholesky(ordered)
        return torch.zeros_like(root).scatter_(0, order, root)

    def _stencil(self, root):
        """Compute offsets (p, m, n, s) in decorrelated coordinates: both ways along each axis, then for axis pairs.

        If the box has room on only one side of an axis, both points are on that side.  Axis pairs are left out while
        many climb, because the covariance of the draws is good enough for a first selection.
        """
        ahead, behind = (self._room(sign * root) for sign in (1, -1))
        inward = 1 - 2 * (behind & ~ahead).to(root.dtype)
        back = torch.where(ahead & behind, -inward, 2 * inward)
        first = inward * root
        pairs = _pairs(len(root)) if self.value.shape[1] <= _CROSSED else ()
        cross = [first[:, i, None] + first[:, j, None] for i, j in pairs]
        return torch.cat([first, back * root, *cross], dim=1), (inward, back)

    def _room(self, moves):
        """Return whether each column of ``moves`` (p, p, n, s) stays in the box, (p, n, s)."""
        end = self.theta[:, None] + moves
        return ((end >= self.low) & (end <= self.high)).all(dim=0)

    def _inside(self, points):
        return torch.minimum(torch.maximum(points, self.low), self.high)

    def _slide(self, points, covariance):
        """Move points (p, m, n, s) beyond a face of the box to the maximum of the Gaussian on that face."""
        for i in range(len(points)):
            along = covariance[:, i] / covariance[i, i]
            points = points + (points[i].clamp(self.low[i], self.high[i]) - points[i]) * along[:, None]
        return points


def _pairs(p):
    return itertools.combinations(range(p), 2)


def _quadratic(rise, a, b):
    """Compute gradient (p, n, s) and curvature (p, p, n, s) of the quadratic through the center and a stencil.

    Mixed terms are zero if the stencil has no points of axis pairs.
    """
    p = len(a)
    fa, fb, cross = rise[:p], rise[p : 2 * p], rise[2 * p :]
    # f(a) = g a + h a^2 / 2, and the same at b
    bend = 2 * (fa / a - fb / b) / (a - b)
    gradient = fa / a - bend * a / 2
    curvature = a.new_zeros(p, *a.shape)
    _diagonal(curvature).copy_(bend)
    for (i, j), both in zip(_pairs(p) if len(cross) else (), cross, strict=True):
        curvature[i, j] = curvature[j, i] = (both - fa[i] - fa[j]) * a[i] * a[j]
    return gradient, curvature


def _newton(gradient, curvature, arm):
    """Compute Newton's step and the covariance of the Gaussian, in units of the stencil's arm.

    The curvature is factored into a unit triangular matrix and pivots, which take the sign of a maximum. Pivots and
    factors are limited, because a kink may exaggerate them.  Eigenvalues would take several times as long.
    """
    p, least, most = len(curvature), (arm / _CHANGE) ** 2, (arm * _CHANGE) ** 2
    rest, pivots = -curvature, torch.empty_like(gradient)
    inverse = torch.eye(p, dtype=rest.dtype, device=rest.device)[..., None, None].repeat(1, 1, *arm.shape)
    for j in range(p):
        pivots[j] = torch.minimum(torch.maximum(rest[j, j].abs(), least), most)
        factor = (rest[j + 1:, j] / pivots[j].copysign(rest[j, j])).clamp(-1.0, 1.0)
        rest[j + 1:, j + 1:] -= factor[:, None] * rest[j + 1:, j]
        inverse[j + 1:, : j + 1] -= factor[:, None] * inverse[j, : j + 1]
    covariance = _product(inverse.transpose(0, 1), inverse / pivots[:, None])
    along = _product(covariance, gradient[:, None])[:, 0]
    return along * (_LONGEST / arm / along.square().sum(0).sqrt().clamp(min=1e-30)).clamp(max=1.0), covariance


def _product(a, b):
    """Compute the matrix product over the first two dimensions."""
    return (a[:, :, None] * b[None]).sum(1)


def _cholesky(matrix):
    """Compute the lower triangular root over the first two dimensions."""
    root = torch.zeros_like(matrix)
    for j in range(len(matrix)):
        rest = matrix[j:, j] - (root[j:, :j] * root[j, :j]).sum(1)
        root[j:, j] = rest / rest[0].sqrt()
    return root


def _diagonal(matrix):
    """Return that of the first two dimensions, a view."""
    return matrix.diagonal(dim1=0, dim2=1).movedim(-1, 0)


def _regular(covariance, span):
    """Limit the widths to those of the box and a minimum, to ensure a root in float32."""
    width = _diagonal(covariance).clamp(min=0).sqrt()
    shrink = (span / width.clamp(min=1e-30)).clamp(max=1.0)
    covariance = (covariance + covariance.transpose(0, 1)) / 2 * shrink[:, None] * shrink
    _diagonal(covariance).add_((_FLOOR * span) ** 2 + 1e-5 * (width * shrink) ** 2)
    return covariance
