"""The highest point of a density by local ascent from many starts, all objects of a batch at once.

Each start carries its own picture of the density about it, a Gaussian whose
root gives decorrelated coordinates.  In these a stencil of points is evaluated,
a quadratic fitted to it and Newton's step tried; whatever lies highest is the
next center, the quadratic's curvature the next Gaussian, and where nothing lies
higher the stencil shrinks.  Kinks of the density may spoil a Newton step but
not the stencil, which is a pattern search by itself.
"""

from __future__ import annotations

import torch

from .ordering import ascending

__all__ = ["ascend", "choose_starts", "find_map"]

_N_STARTS = 32
#: Climbers in each round, the highest of those before: from the starts, and then from both sides of the best end.
_FIRST, _SECOND = (32, 24, 16, 8, 4, 2), (16, 16, 12, 8, 6, 4, 2)
_N_RIDGE, _REACH = 96, 6.0  # points that are looked at before the second part, and widths to either side
_STENCIL, _SHRINK = 0.5, 0.4  # arm of the first stencil in widths, and its factor where nothing lies higher
_LEAST_GAIN = 2e-3  # a gain in log density below this counts as none
_FACTORS = (1.0, 0.5, 1.7)  # of Newton's step that are tried
_LONGEST = 4.0  # step, in widths
_CHANGE = 3.0  # most that one round changes a width by
_FLOOR = 1e-4  # least width, as a share of the box; the most is one
_STEEPEST = 1e4  # change of the log density over a stencil


def find_map(log_density, theta, value, low, high, n_starts=_N_STARTS, schedule=(_FIRST, _SECOND)):
    """The maximum of each object's density, from draws.

    Parameters
    ----------
    log_density : callable
        Of Tensor (n, k, n_parameter), any k, to Tensor (n, k); -inf outside
        its support.  It may have kinks.
    theta : Tensor (n, n_samples, n_parameter)
        Draws, from wherever the density may have its maximum.
    value : Tensor (n, n_samples)
        Their log density, or another measure of where the best of them are.
    low, high : Tensor (n_parameter,)
        The box that holds the support.
    n_starts : int
        At most this many starts, spread over the first parameter.
    schedule : two sequences of int
        See `ascend`.

    Returns
    -------
    theta : Tensor (n, n_parameter)
    value : Tensor (n,)
        Never lower than that of the draw with the highest ``value``.
    """
    start, _, covariance = choose_starts(theta, value, n_starts)
    return ascend(log_density, start, low, high, covariance, schedule)


def choose_starts(theta, value, n_starts=_N_STARTS):
    """The best draw of each part of the first parameter's range.

    Parameters
    ----------
    theta : Tensor (n, n_samples, n_parameter)
    value : Tensor (n, n_samples)
        Log density.
    n_starts : int
        Parts, with equally many draws each.

    Returns
    -------
    start : Tensor (n, n_starts, n_parameter)
        The best draw of all is one of them.
    value : Tensor (n, n_starts)
    covariance : Tensor (n, n_starts, n_parameter, n_parameter)
        Of the draws of each part.
    """
    n, n_samples, n_parameters = theta.shape
    n_starts = max(1, min(n_starts, n_samples // 8))
    size = -(-n_samples // n_starts)
    order = ascending(theta[..., 0])
    # The last part is filled up with the draws before it.
    at = (torch.arange(n_starts, device=theta.device)[:, None] * size).clamp(max=n_samples - size)
    order = order[:, (at + torch.arange(size, device=theta.device)).reshape(-1)]
    part = torch.gather(theta, 1, order[..., None].expand(-1, -1, n_parameters))
    part = part.reshape(n * n_starts, size, n_parameters)
    best, index = torch.gather(value, 1, order).reshape(n * n_starts, size).max(dim=1)
    start = part[torch.arange(len(part), device=theta.device), index]
    centered = part - part.mean(dim=1, keepdim=True)
    covariance = centered.mT @ centered / size
    shape = (n, n_starts, n_parameters)
    return start.reshape(shape), best.reshape(shape[:2]), covariance.reshape(*shape, n_parameters)


def ascend(log_density, start, low, high, covariance, schedule=(_FIRST, _SECOND)):
    """Climb from each object's starts and keep the highest point reached.

    Once the best start has arrived, new climbers set out on both sides of it
    along the ridge, where the next peak may be a little higher.

    Parameters
    ----------
    log_density : callable
        As of `find_map`.
    start : Tensor (n, n_starts, n_parameter)
        Inside the box.
    low, high : Tensor (n_parameter,)
        The box; its edges belong to it.
    covariance : Tensor (n, n_starts, n_parameter, n_parameter) or (n, 1, ...)
        A rough width and correlation of the density about each start.
    schedule : two sequences of int
        How many climb in each round, the highest of those before; from the
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
    >>> start, covariance = torch.full((1, 1, 2), 0.5), 0.01 * torch.eye(2).expand(1, 1, 2, 2)
    >>> theta, value = ascend(log_density, start, low, high, covariance)
    >>> print(theta)
    tensor([[0.3000, 1.0000]])
    """
    low, high = low.to(start), high.to(start)
    climb = _Climb(log_density, start, log_density(start), covariance, low, high)
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
    return climb.theta[:, 0], climb.value[:, 0]


class _Climb:
    """State of all climbers: (n, s) of them, in ``p`` parameters."""

    def __init__(self, log_density, theta, value, covariance, low, high):
        self.log_density, self.theta, self.low, self.high = log_density, theta, low, high
        self.value = torch.where(torch.isnan(value), -torch.inf, value)
        self.covariance = _regular(covariance, high - low).expand(*theta.shape, theta.shape[-1])
        self.arm = torch.full_like(value, _STENCIL)

    def keep(self, n_left):
        """Give up all but the highest climbers."""
        if n_left >= self.theta.shape[1]:
            return
        best = self.value.topk(n_left, dim=1).indices
        p = self.theta.shape[2]
        self.theta = torch.gather(self.theta, 1, best[..., None].expand(-1, -1, p))
        self.covariance = torch.gather(self.covariance, 1, best[..., None, None].expand(-1, -1, p, p))
        self.value, self.arm = torch.gather(self.value, 1, best), torch.gather(self.arm, 1, best)

    def spread_out(self, n_climbers):
        """Climbers on both sides of the one there is, along its Gaussian's ridge in the first parameter."""
        ridge = self.covariance[..., 0] / self.covariance[..., 0, 0, None].sqrt()
        reach = torch.linspace(0, 1, n_climbers // 2 + 1, dtype=ridge.dtype, device=ridge.device)[1:] ** 1.5 * _REACH
        reach = torch.cat([reach, -reach])[: n_climbers - 1]
        points = self._inside(self._slide((self.theta + reach[:, None] * ridge)[:, None], self.covariance))[:, 0]
        self.theta = torch.cat([self.theta, points], dim=1)
        self.value = torch.cat([self.value, self.evaluate(points[:, None])[:, 0]], dim=1)
        self.covariance = self.covariance.expand(-1, n_climbers, -1, -1)
        self.arm = torch.full_like(self.value, _STENCIL)

    def evaluate(self, points):
        """Log density of points (n, s, m, p)."""
        n, s, m, p = points.shape
        value = self.log_density(points.reshape(n, s * m, p)).reshape(n, s, m)
        return torch.where(torch.isnan(value), -torch.inf, value)

    def step(self):
        """One round: stencil, quadratic, Newton; the highest point is the next center."""
        p = self.theta.shape[2]
        root = self._root() * self.arm[..., None, None]
        offsets, inward = self._stencil(root)
        points = self._inside(self.theta[..., None, :] + offsets @ root.mT)
        values = self.evaluate(points)
        # Bounded where the density vanishes, at a point of the stencil or at its center.
        rise = (values - self.value[..., None]).nan_to_num(0.0).clamp(-_STEEPEST, _STEEPEST)
        gradient, curvature = _quadratic(rise, inward)
        newton, spread = _newton(gradient, curvature, self.arm)
        spread = root @ spread @ root.mT
        move = (root @ newton[..., None]).mT * self.theta.new_tensor(_FACTORS)[:, None]
        tried = self._inside(self._slide(self.theta[..., None, :] + move, spread))
        points, values = torch.cat([points, tried], 2), torch.cat([values, self.evaluate(tried)], 2)

        best, index = values.max(dim=2)
        gain = best - self.value
        point = torch.gather(points, 2, index[..., None, None].expand(-1, -1, 1, p))[:, :, 0]
        self.theta = torch.where((gain > 0)[..., None], point, self.theta)
        self.value = torch.where(gain > 0, best, self.value)
        self.arm = torch.where(gain > _LEAST_GAIN, self.arm, self.arm * _SHRINK)
        self.covariance = _regular(spread, self.high - self.low)

    def _root(self):
        """Root of the covariance in which the parameters nearest to a face of the box come first.

        Then the later axes do not leave that face.
        """
        width = self.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        room = torch.minimum(self.theta - self.low, self.high - self.theta) / width
        order = room.clamp(max=1.0).argsort(dim=-1, stable=True)[..., None]
        rows = order.expand_as(self.covariance)
        ordered = torch.gather(torch.gather(self.covariance, -2, rows), -1, rows.mT)
        root = torch.linalg.cholesky(ordered)
        return torch.zeros_like(root).scatter_(-2, rows, root)

    def _stencil(self, root):
        """Offsets (n, s, m, p) in decorrelated coordinates: both ways along each axis, then each pair of axes.

        Where the box leaves room on one side of an axis only, both points lie there.
        """
        p = root.shape[-1]
        ahead, behind = (self._room(sign * root) for sign in (1, -1))
        inward = torch.where(behind & ~ahead, -1.0, 1.0).to(root)
        back = torch.where(ahead & behind, -inward, 2 * inward)
        unit = torch.eye(p, dtype=root.dtype, device=root.device)
        first, second = inward[..., None] * unit, back[..., None] * unit
        i, j = torch.triu_indices(p, p, 1, device=root.device)
        return torch.cat([first, second, first[..., i, :] + first[..., j, :]], dim=2), (inward, back)

    def _room(self, moves):
        """Whether each column of ``moves`` (n, s, p, p) stays in the box, (n, s, p)."""
        end = self.theta[..., None] + moves
        return ((end >= self.low[:, None]) & (end <= self.high[:, None])).all(dim=2)

    def _inside(self, points):
        return torch.minimum(torch.maximum(points, self.low), self.high)

    def _slide(self, points, covariance):
        """Points beyond a face of the box go to where the Gaussian is highest on that face."""
        for i in range(points.shape[-1]):
            excess = points[..., i].clamp(self.low[i], self.high[i]) - points[..., i]
            points = points + excess[..., None] * (covariance[..., i] / covariance[..., i, i, None])[..., None, :]
        return points


def _quadratic(rise, inward):
    """Gradient (n, s, p) and curvature (n, s, p, p) of the quadratic through the center and a stencil."""
    a, b = inward
    p = a.shape[-1]
    fa, fb, cross = rise[..., :p], rise[..., p : 2 * p], rise[..., 2 * p :]
    # f(a) = g a + h a^2 / 2, and the same at b
    bend = 2 * (fa / a - fb / b) / (a - b)
    gradient = fa / a - bend * a / 2
    i, j = torch.triu_indices(p, p, 1, device=a.device)
    mixed = (cross - fa[..., i] - fa[..., j]) * a[..., i] * a[..., j]
    curvature = torch.diag_embed(bend)
    curvature[..., i, j] = mixed
    curvature[..., j, i] = mixed
    return gradient, curvature


def _newton(gradient, curvature, arm):
    """Newton's step and the Gaussian's covariance, in units of the stencil's arm."""
    bend, axes = _eigen(curvature)
    arm = arm[..., None]
    bend = bend.abs().clamp((arm / _CHANGE) ** 2, (arm * _CHANGE) ** 2)
    along = (axes.mT @ gradient[..., None])[..., 0] / bend
    along = along * (_LONGEST / arm / along.norm(dim=-1, keepdim=True).clamp(min=1e-30)).clamp(max=1.0)
    return (axes @ along[..., None])[..., 0], (axes / bend[..., None, :]) @ axes.mT


def _eigen(matrix):
    """Eigenvalues and eigenvectors; of two dimensions in closed form, many times quicker than by a routine for each."""
    if matrix.shape[-1] != 2:
        return torch.linalg.eigh(matrix)
    (a, b), (_, c) = (row.unbind(-1) for row in matrix.unbind(-2))
    angle = 0.5 * torch.atan2(2 * b, a - c)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    middle, apart = 0.5 * (a + c), torch.hypot(0.5 * (a - c), b)
    axes = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    return torch.stack([middle + apart, middle - apart], -1), axes


def _regular(covariance, span):
    """With no width beyond the box's and a least one, so that it has a root in float32."""
    width = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    shrink = (span / width.clamp(min=1e-30)).clamp(max=1.0)
    covariance = (covariance + covariance.mT) / 2 * shrink[..., None] * shrink[..., None, :]
    return covariance + torch.diag_embed((_FLOOR * span) ** 2 + 1e-5 * (width * shrink) ** 2)
