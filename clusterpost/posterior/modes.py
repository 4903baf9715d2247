"""Modes of a joint density by Gaussian mean shift, all objects of a batch at once.

Fukunaga & Hostetler (1975): a point climbs the kernel density estimate of the
draws by moving to the kernel-weighted mean about it, again and again.  Where to
begin follows from a smaller, equally weighted set of the draws: each of them is
linked to the nearest denser one, and those with none nearby are the heads of
bumps (quick shift; Vedaldi & Soatto 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from .covariance import cholesky
from .weights import argmax, argsort

__all__ = ["MOST_MODES", "Modes", "find_modes"]

_N_SEEDS = 128  # draws that are linked
_LINK = 1.0  # bandwidths; a draw with no denser one so near is the head of a bump
_LEAST_SEEDS = 0.005  # of the seeds: a smaller bump is not looked at
_STEPS = (10, 4, 10)  # of mean shift: heads among the seeds, among all draws, and the modes that are given
_RELAXATION, _MOMENTUM = 1.5, 0.5  # of mean shift
#: Bumps that are looked at, and the most modes that can be asked for.
MOST_MODES = 8
_LEAST_SHARE, _LEAST_DRAWS = 0.01, 5  # of the draws, and of them at least so many: less is a bump and no mode
_SAME = 0.3  # bandwidths; heads so near to each other are one
_PATH = 4  # points on the way to the nearest denser head where the density is looked at
_SIGNIFICANT = 3.0  # standard errors
_FAR = -60.0  # least log kernel; smaller numbers would be subnormal, and slow
_SEEDS_AT_ONCE, _DRAWS_AT_ONCE = 2**11, 2**17  # so that what is between stays in the processor's cache


@dataclass
class Modes:
    """Modes of ``n`` objects, densest first.

    Attributes
    ----------
    theta : Tensor (n, n_modes, n_parameter)
        NaN beyond the modes there are.
    weight : Tensor (n, n_modes)
        Share of the posterior in each mode's basin.
    count : Tensor (n,)
        How many there are.
    """

    theta: torch.Tensor
    weight: torch.Tensor
    count: torch.Tensor


def find_modes(theta: torch.Tensor, n_modes: int = 3, dip: float = 0.1, weight: torch.Tensor | None = None) -> Modes:
    """Find the modes of each object's draws.

    Parameters
    ----------
    theta : Tensor (n, n_samples, n_parameter)
        Draws.
    n_modes : int
        At most this many are given, of `MOST_MODES` at the most.
    dip : float
        Two modes count as one when the density between them falls by less
        than this share of the lower one.
    weight : Tensor (n, n_samples), optional
        Of the draws, not negative; need not be normalized.  All the same if
        not given.

    Returns
    -------
    Modes
        The weights of all modes found sum to one; only those beyond
        ``n_modes`` are missing.

    Notes
    -----
    Draws are whitened with their own covariance; the kernel's width is Scott's
    n^(-1/(n_parameter + 4)) of that, n being the effective number of draws,
    (sum w)^2 / sum w^2.  Between two modes the density is taken along the
    straight line; a dip that is no deeper than three times its standard error
    from the finite number of draws does not count either.  A bump that less
    than one draw in a hundred, or fewer than five draws, belong to is not given;
    its share goes to the nearest mode.
    """
    size = max(1, _DRAWS_AT_ONCE // theta.shape[1])
    parts = [_find(theta[at], n_modes, dip, None if weight is None else weight[at])
             for at in torch.arange(len(theta), device=theta.device).split(size)]
    return Modes(*(torch.cat([getattr(part, name) for part in parts]) for name in ("theta", "weight", "count")))


def _find(draws, n_modes, dip, weight):
    n_samples, p = draws.shape[1:]
    draws = draws.mT.contiguous()  # arithmetic along the draws is quickest
    if weight is None:
        weight = torch.ones_like(draws[:, 0])
    weight = weight / weight.sum(dim=1, keepdim=True)
    effective = 1 / (weight**2).sum(dim=1)
    width = effective ** (-1.0 / (p + 4))
    white, center, root = _whiten(draws, weight)
    x = white / width[:, None, None]

    seeds = _resample(x, weight, min(_N_SEEDS, n_samples))
    linked = [_link(some) for some in seeds.split(max(1, _SEEDS_AT_ONCE // seeds.shape[2]))]
    heads, there, owner = (torch.cat(part) for part in zip(*linked, strict=True))
    heads = _Kernels(seeds).climb(heads, _STEPS[0])
    kernels = _Kernels(x, weight)
    heads = kernels.climb(heads, _STEPS[1])
    density = torch.where(there, kernels.density(heads), -torch.inf)
    density, order = density.sort(dim=1, descending=True, stable=True)
    heads = torch.gather(heads, 1, order[..., None].expand(-1, -1, p))
    owner = torch.gather(order.argsort(dim=1), 1, owner)
    group = _merge(kernels, heads, density, dip, effective)
    least = (_LEAST_DRAWS / effective).clamp(min=_LEAST_SHARE, max=1.0)
    group = _fold(heads, group, _share(torch.gather(group, 1, owner)), least)
    share = _share(torch.gather(group, 1, owner))

    leader = (group == torch.arange(group.shape[1], device=x.device)) & torch.isfinite(density)
    order = torch.where(leader, density, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :n_modes]
    given = torch.gather(leader, 1, order)
    found = kernels.climb(torch.gather(heads, 1, order[..., None].expand(-1, -1, p)), _STEPS[2])
    found = found * width[:, None, None]
    found = (found.double() @ root.mT + center.mT).to(draws.dtype)
    nan = torch.full((), torch.nan, dtype=draws.dtype, device=draws.device)
    return Modes(torch.where(given[..., None], found, nan),
                 torch.where(given, torch.gather(share, 1, order).to(draws.dtype), nan), given.sum(dim=1))


def _whiten(draws, weight):
    center = (draws * weight[:, None]).sum(dim=2, keepdim=True)
    centered = draws - center
    # In double precision throughout, or that of draws along a line would have no root.
    double = centered.double()
    covariance = (double * weight.double()[:, None]) @ double.mT
    scale = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    # The absolute part keeps draws that are all the same from stopping a whole batch.
    unit = torch.eye(draws.shape[1], dtype=covariance.dtype, device=draws.device)
    root = cholesky(covariance + (1e-9 * scale + 1e-16) * unit)
    inverse = torch.linalg.solve_triangular(root, unit.expand_as(root), upper=False)
    return inverse.to(draws.dtype) @ centered, center, root


def _resample(x, weight, size):
    """Draws in proportion to their weight, by equal steps through them in the order of the first parameter.

    The order makes the set even, and free of the pattern of a Sobol sequence.
    """
    order = argsort(x[:, 0])
    level = torch.gather(weight, 1, order).double().cumsum(dim=1)
    step = (torch.arange(size, dtype=level.dtype, device=x.device) + 0.5) / size
    at = torch.searchsorted(level, (step * level[:, -1:]).contiguous()).clamp(max=x.shape[2] - 1)
    return torch.gather(x, 2, torch.gather(order, 1, at)[:, None].expand(-1, x.shape[1], -1))


def _link(seeds):
    """Heads of bumps among equally weighted draws.

    Returns
    -------
    heads (n, MOST_MODES, n_parameter), of the bump with the densest seed and
    the largest others, after they have climbed the seeds' density; whether
    there were that many; and the number of the head that each seed belongs to.
    """
    n, p, size = seeds.shape
    order = _Kernels(seeds).density(seeds.mT).argsort(dim=1, descending=True, stable=True)
    seeds = torch.gather(seeds, 2, order[:, None].expand(-1, p, -1))
    not_denser = torch.full((size, size), -torch.inf, dtype=seeds.dtype, device=seeds.device).triu()
    near = _Kernels(seeds).log(seeds.mT).add_(not_denser)
    parent = argmax(near)
    nearest = torch.gather(near, 2, parent[..., None])[..., 0]
    itself = torch.arange(size, device=seeds.device).expand(n, -1)
    head = _follow(torch.where(nearest < -0.5 * _LINK**2, itself, parent))

    count = torch.zeros_like(nearest).scatter_add_(1, head, torch.ones_like(nearest))
    prominence = torch.where(count >= _LEAST_SEEDS * size, -nearest * count, 0.0)
    prominence[:, 0] = torch.inf  # the densest comes first
    prominence, picked = prominence.topk(min(MOST_MODES, size), dim=1)
    there = prominence > 0
    # Bumps that were not picked belong to the one that they are linked to.
    chosen = torch.zeros_like(head, dtype=torch.bool).scatter_(1, picked, there)
    head = _follow(torch.where(chosen, itself, parent))
    slots = torch.arange(picked.shape[1], device=seeds.device).expand(n, -1)
    slot = torch.zeros_like(head).scatter_(1, picked, slots)
    heads = torch.gather(seeds, 2, picked[:, None].expand(-1, p, -1)).mT
    return heads, there, torch.gather(slot, 1, head)


def _follow(parent):
    """Find the root of each node of a forest, by doubling."""
    for _ in range(parent.shape[1].bit_length()):
        parent = torch.gather(parent, 1, parent)
    return parent


class _Kernels:
    """Gaussian kernels of unit width about weighted points, (n, p, k) and (n, k)."""

    def __init__(self, x, weight=None):
        height = -0.5 * x.square().sum(1, keepdim=True)
        if weight is not None:
            height = height + torch.log(weight)[:, None]
        self._terms = torch.cat([x, height, torch.ones_like(height)], 1)

    def log(self, points):
        """ln of every kernel at some points (n, m, p) by one matrix product, (n, m, k)."""
        left = torch.cat([points, torch.ones_like(points[..., :1]), -0.5 * (points**2).sum(-1, keepdim=True)], -1)
        return (left @ self._terms).clamp_(min=_FAR)

    def density(self, points):
        """Their sum, (n, m)."""
        return self.log(points).exp_().sum(-1)

    def climb(self, points, n_steps):
        """Mean shift with momentum, which alone would take many steps on a flat top."""
        pace = torch.zeros_like(points)
        for _ in range(n_steps):
            moved = self.log(points).exp_() @ self._terms.mT
            shift = moved[..., :-2] / moved[..., -1:].clamp(min=1e-30) - points
            pace = _RELAXATION * shift + _MOMENTUM * pace
            points = points + pace
        return points


def _merge(kernels, heads, density, dip, effective):
    """For each head the first (densest) one that it is one mode with."""
    n, k, p = heads.shape
    group = torch.arange(k, device=heads.device).repeat(n, 1)
    denser = torch.isfinite(density)[:, :, None] & torch.ones(k, k, dtype=torch.bool, device=heads.device).tril(-1)
    distance, nearest = torch.cdist(heads, heads).masked_fill_(~denser, torch.inf).min(dim=2)
    other = torch.gather(heads, 1, nearest[..., None].expand(-1, -1, p))
    steps = torch.linspace(0, 1, _PATH + 2, device=heads.device, dtype=heads.dtype)[1:-1]
    way = torch.stack([kernels.density(torch.lerp(heads[:, 1:], other[:, 1:], step)) for step in steps])
    lowest = functional.pad(way.amin(dim=0), (1, 0))  # the first has no denser one
    # A kernel density f has the variance f 2^(-p/2) / n where the kernel is one at its center.
    noise = ((lowest + density) * 2 ** (-p / 2) / effective[:, None]).sqrt()
    shallow = (lowest >= (1 - dip) * density) | (density - lowest < _SIGNIFICANT * noise)
    joined = (distance < _SAME) | (torch.isfinite(distance) & shallow)
    for j in range(1, k):
        group[:, j] = torch.where(joined[:, j], torch.gather(group, 1, nearest[:, j, None])[:, 0], j)
    return group


def _share(owner):
    count = torch.zeros(len(owner), MOST_MODES, dtype=torch.float64, device=owner.device)
    return count.scatter_add_(1, owner, torch.ones_like(owner, dtype=count.dtype)) / owner.shape[1]


def _fold(heads, group, share, least):
    """Join groups too small to be modes to the nearest one that is; the densest is one, whatever its share."""
    k = heads.shape[1]
    kept = share[:, :k] >= least[:, None]
    kept[:, 0] = True
    kept &= group == torch.arange(k, device=group.device)
    distance = torch.cdist(heads, heads).masked_fill_(~kept[:, None, :], torch.inf)
    nearest = distance.argmin(dim=2)
    into = torch.where(kept, torch.arange(k, device=group.device), nearest)
    return torch.gather(into, 1, group)

