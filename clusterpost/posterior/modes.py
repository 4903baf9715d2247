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

__all__ = ["MOST_MODES", "Modes", "find_modes"]

_N_SEEDS = 384  # draws that are linked
_LINK = 1.0  # bandwidths; a draw with no denser one so near is the head of a bump
_LEAST_SEEDS = 0.005  # of the seeds: a smaller bump is not looked at
_STEPS = (10, 4, 10)  # of mean shift: heads among the seeds, among all draws, and the modes that are given
_RELAXATION, _MOMENTUM = 1.5, 0.5  # of mean shift
#: Bumps that are looked at, and the most modes that can be asked for.
MOST_MODES = 8
_LEAST_SHARE, _LEAST_DRAWS = 0.01, 5  # of the draws, and of them at least so many: less is a bump and no mode
_PATH, _NEIGHBORS = 5, 2  # points on the way to so many denser heads where the density is looked at
_SIGNIFICANT = 3.0  # standard errors
_FAR = -60.0  # least log kernel; smaller numbers would be subnormal, and slow
_PASS = 2**20  # distances held at once


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


def find_modes(theta, n_modes=3, dip=0.1, weight=None):
    """The modes of each object's draws.

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
        Of the draws, not negative; need not be normalised.  All the same if
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
    parts = [_find(theta[at], n_modes, dip, None if weight is None else weight[at])
             for at in torch.arange(len(theta), device=theta.device).split(max(1, _PASS // _N_SEEDS**2))]
    return Modes(*(torch.cat([getattr(part, name) for part in parts]) for name in ("theta", "weight", "count")))


def _find(draws, n_modes, dip, weight):
    n_samples, p = draws.shape[1:]
    if weight is None:
        weight = torch.ones_like(draws[..., 0])
    weight = weight / weight.sum(dim=1, keepdim=True)
    effective = 1 / (weight**2).sum(dim=1)
    width = effective ** (-1.0 / (p + 4))
    white, center, root = _whiten(draws, weight)
    x = white / width[:, None, None]

    heads, there, owner = _link(_resample(x, weight, min(_N_SEEDS, n_samples)))
    heads = _climb(x, weight, heads, _STEPS[1])
    density = torch.where(there, _density(x, weight, heads), -torch.inf)
    density, order = density.sort(dim=1, descending=True, stable=True)
    heads = torch.gather(heads, 1, order[..., None].expand(-1, -1, p))
    owner = torch.gather(order.argsort(dim=1), 1, owner)
    group = _merge(x, weight, heads, density, dip, effective)
    least = (_LEAST_DRAWS / effective).clamp(min=_LEAST_SHARE, max=1.0)
    group = _fold(heads, group, _share(torch.gather(group, 1, owner)), least)
    share = _share(torch.gather(group, 1, owner))

    leader = (group == torch.arange(group.shape[1], device=x.device)) & torch.isfinite(density)
    order = torch.where(leader, density, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :n_modes]
    given = torch.gather(leader, 1, order)
    found = _climb(x, weight, torch.gather(heads, 1, order[..., None].expand(-1, -1, p)), _STEPS[2])
    found = found * width[:, None, None]
    found = (found.double() @ root.mT + center).to(draws.dtype)
    nan = torch.full((), torch.nan, dtype=draws.dtype, device=draws.device)
    return Modes(torch.where(given[..., None], found, nan),
                 torch.where(given, torch.gather(share, 1, order).to(draws.dtype), nan), given.sum(dim=1))


def _whiten(draws, weight):
    double, weight = draws.double(), weight.double()[:, None]
    center = weight @ double
    centered = double - center
    covariance = (centered.mT * weight) @ centered
    scale = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    # The absolute part keeps draws that are all the same from stopping a whole batch.
    unit = torch.eye(draws.shape[2], dtype=double.dtype, device=draws.device)
    root = torch.linalg.cholesky(covariance + (1e-9 * scale + 1e-16) * unit)
    inverse = torch.linalg.solve_triangular(root, unit.expand_as(root), upper=False)
    return (centered @ inverse.mT).to(draws.dtype), center, root


def _resample(x, weight, size):
    """Draws in proportion to their weight, by equal steps through them in the order of the first parameter.

    The order makes the set even, and free of the pattern of a Sobol sequence.
    """
    order = x[..., 0].argsort(dim=1)
    level = torch.gather(weight, 1, order).double().cumsum(dim=1)
    step = (torch.arange(size, dtype=level.dtype, device=x.device) + 0.5) / size
    at = torch.searchsorted(level, (step * level[:, -1:]).contiguous()).clamp(max=x.shape[1] - 1)
    return torch.gather(x, 1, torch.gather(order, 1, at)[..., None].expand(-1, -1, x.shape[2]))


def _link(seeds):
    """Heads of bumps among equally weighted draws.

    Returns
    -------
    heads (n, MOST_MODES, n_parameter), of the bump with the densest seed and
    the largest others, after they have climbed the seeds' density; whether
    there were that many; and the number of the head that each seed belongs to.
    """
    n, size, p = seeds.shape
    density = _log_kernel(seeds, seeds).exp_().sum(dim=2)
    order = density.argsort(dim=1, descending=True, stable=True)
    seeds = torch.gather(seeds, 1, order[..., None].expand(-1, -1, p))
    not_denser = torch.full((size, size), -torch.inf, dtype=seeds.dtype, device=seeds.device).triu()
    nearest, parent = _log_kernel(seeds, seeds).add_(not_denser).max(dim=2)
    itself = torch.arange(size, device=seeds.device).expand(n, -1)
    head = _follow(torch.where(nearest < -0.5 * _LINK**2, itself, parent))

    count = torch.zeros_like(density).scatter_add_(1, head, torch.ones_like(density))
    prominence = torch.where(count >= _LEAST_SEEDS * size, -nearest * count, 0.0)
    prominence[:, 0] = torch.inf  # the densest comes first
    prominence, picked = prominence.topk(min(MOST_MODES, size), dim=1)
    there = prominence > 0
    # Bumps that were not picked belong to the one that they are linked to.
    chosen = torch.zeros_like(head, dtype=torch.bool).scatter_(1, picked, there)
    head = _follow(torch.where(chosen, itself, parent))
    slots = torch.arange(picked.shape[1], device=seeds.device).expand(n, -1)
    slot = torch.zeros_like(head).scatter_(1, picked, slots)
    heads = torch.gather(seeds, 1, picked[..., None].expand(-1, -1, p))
    return _climb(seeds, torch.ones_like(density), heads, _STEPS[0]), there, torch.gather(slot, 1, head)


def _follow(parent):
    """The root of each node of a forest, by doubling."""
    for _ in range(parent.shape[1].bit_length()):
        parent = torch.gather(parent, 1, parent)
    return parent


def _log_kernel(x, points):
    """-d^2/2 of every point to every draw, (n, n_points, n_samples), by one matrix product."""
    cross = torch.baddbmm((-0.5 * (x**2).sum(-1))[:, None, :], points, x.mT)
    return cross.sub_((0.5 * (points**2).sum(-1))[:, :, None]).clamp_(min=_FAR, max=0)


def _density(x, weight, points):
    return (_log_kernel(x, points).exp_() @ weight[..., None])[..., 0]


def _climb(x, weight, points, n_steps):
    """Mean shift with momentum, which alone would take many steps on a flat top."""
    values = torch.cat([x, torch.ones_like(x[..., :1])], dim=2) * weight[..., None]
    pace = torch.zeros_like(points)
    for _ in range(n_steps):
        moved = _log_kernel(x, points).exp_() @ values
        shift = moved[..., :-1] / moved[..., -1:].clamp(min=1e-30) - points
        pace = _RELAXATION * shift + _MOMENTUM * pace
        points = points + pace
    return points


def _merge(x, weight, heads, density, dip, effective):
    """For each head the first (densest) one that it is one mode with."""
    n, k, p = heads.shape
    group = torch.arange(k, device=x.device).repeat(n, 1)
    if k == 1:
        return group
    pairs = torch.isfinite(density)[:, :, None] & torch.ones(k, k, dtype=torch.bool, device=x.device).tril(-1)
    distance = torch.cdist(heads, heads).masked_fill_(~pairs, torch.inf)
    nearest = distance.topk(min(_NEIGHBORS, k), dim=2, largest=False).indices
    pairs &= torch.zeros_like(pairs).scatter_(2, nearest, True)
    row, j, i = pairs.nonzero(as_tuple=True)
    along = torch.linspace(0, 1, _PATH + 2, device=x.device, dtype=x.dtype)[1:-1, None]
    path = heads[row, i][:, None] + (heads[row, j] - heads[row, i])[:, None] * along
    lowest, height = _density(x[row], weight[row], path).amin(dim=1), density[row, j]
    # A kernel density f has the variance f 2^(-p/2) / n where the kernel is one at its center.
    noise = ((lowest + height) * 2 ** (-p / 2) / effective[row]).sqrt()
    joined = torch.zeros_like(pairs)
    joined[row, j, i] = (lowest >= (1 - dip) * height) | (height - lowest < _SIGNIFICANT * noise)
    for j in range(1, k):
        group[:, j] = torch.where(joined[:, j, :j], group[:, :j], j).amin(dim=1)
    return group


def _share(owner):
    count = torch.zeros(len(owner), MOST_MODES, dtype=torch.float64, device=owner.device)
    return count.scatter_add_(1, owner, torch.ones_like(owner, dtype=count.dtype)) / owner.shape[1]


def _fold(heads, group, share, least):
    """Groups too small to be modes become part of the nearest one that is; the densest is one, whatever its share."""
    k = heads.shape[1]
    kept = share[:, :k] >= least[:, None]
    kept[:, 0] = True
    kept &= group == torch.arange(k, device=group.device)
    distance = torch.cdist(heads, heads).masked_fill_(~kept[:, None, :], torch.inf)
    nearest = distance.argmin(dim=2)
    into = torch.where(kept, torch.arange(k, device=group.device), nearest)
    return torch.gather(into, 1, group)
