"""Modes of a joint density by Gaussian mean shift, for all objects of a batch at once.

A point climbs the kernel density estimate of the
draws by moving repeatedly to the kernel-weighted mean around it (Fukunaga & Hostetler 1975).  The starting
points come from a smaller, equally weighted set of the draws: each is
linked to the nearest denser one, and those without a denser neighbor are the heads of
bumps (quick shift; Vedaldi & Soatto 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from .covariance import cholesky
from .weights import argmax, argsort

__all__ = ["MOST_MODES", "Modes", "find_modes"]

_N_SEEDS = 128  # linked draws
_LINK = 1.0  # bandwidths; a draw without a denser one within this distance is the head of a bump
_LEAST_SEEDS = 0.005  # fraction of the seeds; smaller bumps are ignored
_STEPS = (10, 4, 10)  # mean-shift steps for heads among the seeds, heads among all draws, and the returned modes
_RELAXATION, _MOMENTUM = 1.5, 0.5  # parameters of mean shift
#: Number of candidate bumps, and maximum number of modes.
MOST_MODES = 8
_LEAST_SHARE, _LEAST_DRAWS = 0.01, 5  # minimum fraction and number of draws of a mode
_SAME = 0.3  # bandwidths; closer heads are merged
_PATH = 4  # density evaluations on the way to the nearest denser head
_SIGNIFICANT = 3.0  # standard errors
_FAR = -60.0  # minimum log kernel, to avoid slow subnormal numbers
_SEEDS_AT_ONCE, _DRAWS_AT_ONCE = 2**11, 2**17  # keeps intermediate results in the processor cache


@dataclass
class Modes:
    """Modes of ``n`` objects, densest first; the density counts less its standard error.

    Attributes
    ----------
    theta : Tensor (n, n_modes, n_parameter)
        Modes, padded with NaN.
    weight : Tensor (n, n_modes)
        Fraction of the posterior in the basin of each mode.
    count : Tensor (n,)
        Number of modes.
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
        Maximum number of returned modes, up to eight.
    dip : float
        Two modes are merged if the density between them falls by less
        than this fraction of the lower one.
    weight : Tensor (n, n_samples), optional
        Non-negative weights of the draws, not necessarily normalized.  Equal by
        default.

    Returns
    -------
    Modes
        Modes; the weights of all modes found sum to one, including those beyond
        ``n_modes``, which are not returned.

    Notes
    -----
    Draws are whitened with their own covariance. The kernel width follows Scott's rule,
    n^(-1/(n_parameter + 4)), with the effective sample size n,
    (sum w)^2 / sum w^2.  The density between two modes is evaluated along the
    straight line; a dip of less than three times its standard error
    from the finite number of draws is ignored.  A bump with less
    than one percent of the draws, or fewer than five draws, is not returned;
    its weight is added to the nearest mode.
    """
    size = max(1, _DRAWS_AT_ONCE // theta.shape[1])
    parts = [_find(theta[at], n_modes, dip, None if weight is None else weight[at])
             for at in torch.arange(len(theta), device=theta.device).split(size)]
    return Modes(*(torch.cat([getattr(part, name) for part in parts]) for name in ("theta", "weight", "count")))


def _find(draws, n_modes, dip, weight):
    n_samples, p = draws.shape[1:]
    draws = draws.mT.contiguous()  # arithmetic along the draws is fastest
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
    # A single draw of large weight is dense, but uncertain.
    rank, order = (density - kernels.error(heads)).sort(dim=1, descending=True, stable=True)
    density = torch.gather(density, 1, order)
    heads = torch.gather(heads, 1, order[..., None].expand(-1, -1, p))
    owner = torch.gather(order.argsort(dim=1), 1, owner)
    group = _merge(kernels, heads, density, dip, effective)
    least = (_LEAST_DRAWS / effective).clamp(min=_LEAST_SHARE, max=1.0)
    group = _fold(heads, group, _share(torch.gather(group, 1, owner)), least)
    share = _share(torch.gather(group, 1, owner))

    leader = (group == torch.arange(group.shape[1], device=x.device)) & torch.isfinite(density)
    order = torch.where(leader, rank, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :n_modes]
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
    # Use double precision throughout, or draws along a line would have no root.
    double = centered.double()
    covariance = (double * weight.double()[:, None]) @ double.mT
    scale = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    # The absolute part keeps identical draws of one object from stopping a whole batch.
    unit = torch.eye(draws.shape[1], dtype=covariance.dtype, device=draws.device)
    root = cholesky(covariance + (1e-9 * scale + 1e-16) * unit)
    inverse = torch.linalg.solve_triangular(root, unit.expand_as(root), upper=False)
    return inverse.to(draws.dtype) @ centered, center, root


def _resample(x, weight, size):
    """Resample draws in proportion to weight, by equal steps in the order of the first parameter.

    The order makes the set even and removes the pattern of the Sobol sequence.
    """
    order = argsort(x[:, 0])
    level = torch.gather(weight, 1, order).double().cumsum(dim=1)
    step = (torch.arange(size, dtype=level.dtype, device=x.device) + 0.5) / size
    at = torch.searchsorted(level, (step * level[:, -1:]).contiguous()).clamp(max=x.shape[2] - 1)
    return torch.gather(x, 2, torch.gather(order, 1, at)[:, None].expand(-1, x.shape[1], -1))


def _link(seeds):
    """Find heads of bumps among equally weighted draws.

    Returns
    -------
    heads (n, MOST_MODES, n_parameter) of the bump with the densest seed and
    the largest others, after climbing the density of the seeds; a mask of
    existing heads; and the index of the head of each seed.
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
    prominence[:, 0] = torch.inf  # put the densest first
    prominence, picked = prominence.topk(min(MOST_MODES, size), dim=1)
    there = prominence > 0
    # Other bumps belong to the one to which they are linked.
    chosen = torch.zeros_like(head, dtype=torch.bool).scatter_(1, picked, there)
    head = _follow(torch.where(chosen, itself, parent))
    slots = torch.arange(picked.shape[1], device=seeds.device).expand(n, -1)
    slot = torch.zeros_like(head).scatter_(1, picked, slots)
    heads = torch.gather(seeds, 2, picked[:, None].expand(-1, p, -1)).mT
    return heads, there, torch.gather(slot, 1, head)


def _follow(parent):
    """Find the root of each node of a forest by pointer doubling."""
    for _ in range(parent.shape[1].bit_length()):
        parent = torch.gather(parent, 1, parent)
    return parent


class _Kernels:
    """Gaussian kernels of unit width around weighted points, (n, p, k) and (n, k)."""

    def __init__(self, x, weight=None):
        height = -0.5 * x.square().sum(1, keepdim=True)
        if weight is not None:
            height = height + torch.log(weight)[:, None]
        self._terms = torch.cat([x, height, torch.ones_like(height)], 1)

    def log(self, points):
        """Compute ln of all kernels at points (n, m, p) with one matrix product, (n, m, k)."""
        left = torch.cat([points, torch.ones_like(points[..., :1]), -0.5 * (points**2).sum(-1, keepdim=True)], -1)
        return (left @ self._terms).clamp_(min=_FAR)

    def density(self, points):
        """Compute the sum of the kernels, (n, m)."""
        return self.log(points).exp_().sum(-1)

    def error(self, points):
        """Compute the standard error of the density from the finite number of kernels, (n, m)."""
        return self.log(points).mul_(2).exp_().sum(-1).sqrt()

    def climb(self, points, n_steps):
        """Apply mean shift with momentum, which saves many steps on a flat top."""
        pace = torch.zeros_like(points)
        for _ in range(n_steps):
            moved = self.log(points).exp_() @ self._terms.mT
            shift = moved[..., :-2] / moved[..., -1:].clamp(min=1e-30) - points
            pace = _RELAXATION * shift + _MOMENTUM * pace
            points = points + pace
        return points


def _merge(kernels, heads, density, dip, effective):
    """Return the densest head of the mode of each head."""
    n, k, p = heads.shape
    group = torch.arange(k, device=heads.device).repeat(n, 1)
    denser = torch.isfinite(density)[:, :, None] & torch.ones(k, k, dtype=torch.bool, device=heads.device).tril(-1)
    distance, nearest = torch.cdist(heads, heads).masked_fill_(~denser, torch.inf).min(dim=2)
    other = torch.gather(heads, 1, nearest[..., None].expand(-1, -1, p))
    steps = torch.linspace(0, 1, _PATH + 2, device=heads.device, dtype=heads.dtype)[1:-1]
    way = torch.stack([kernels.density(torch.lerp(heads[:, 1:], other[:, 1:], step)) for step in steps])
    lowest = functional.pad(way.amin(dim=0), (1, 0))  # the first head has no denser one
    # A kernel density f has variance f 2^(-p/2) / n if the kernel is one at its center.
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
    """Merge groups too small for modes with the nearest mode; the densest group is always a mode."""
    k = heads.shape[1]
    kept = share[:, :k] >= least[:, None]
    kept[:, 0] = True
    kept &= group == torch.arange(k, device=group.device)
    distance = torch.cdist(heads, heads).masked_fill_(~kept[:, None, :], torch.inf)
    nearest = distance.argmin(dim=2)
    into = torch.where(kept, torch.arange(k, device=group.device), nearest)
    return torch.gather(into, 1, group)

