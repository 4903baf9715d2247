"""Modes of a joint density by Gaussian mean shift, all objects of a batch at once.

Fukunaga & Hostetler (1975): a point climbs the kernel density estimate of the
draws by moving to the kernel-weighted mean about it, again and again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["MOST_MODES", "Modes", "find_modes"]

_N_SEEDS = 64  # draws that climb
_N_CLIMBED = 2500  # draws whose density the seeds climb; candidates then climb that of all
_N_STEPS = 40
#: Separate end points that are looked at, and the most modes that can be asked for.
MOST_MODES = 8
_NEAR = 0.5  # end points closer than this many bandwidths are the same
_LEAST_SHARE, _LEAST_DRAWS = 0.01, 5  # of the draws, and of them at least so many: less is a bump and no mode
_PATH = 7  # points between two candidates where the density is looked at


@dataclass
class Modes:
    """Modes of ``n`` objects, densest first.

    Attributes
    ----------
    theta : Tensor (n, n_modes, n_parameter)
        NaN beyond the modes there are.
    weight : Tensor (n, n_modes)
        Share of the draws in each mode's basin.
    count : Tensor (n,)
        How many there are.
    """

    theta: torch.Tensor
    weight: torch.Tensor
    count: torch.Tensor


def find_modes(draws, n_modes=3, dip=0.1):
    """The modes of each object's draws.

    Parameters
    ----------
    draws : Tensor (n, n_samples, n_parameter)
    n_modes : int
        At most this many are given, of `MOST_MODES` at the most.
    dip : float
        Two modes count as one when the density between them falls by less
        than this share of the lower one.

    Returns
    -------
    Modes

    Notes
    -----
    Draws are whitened with their own covariance; the kernel's width is Scott's
    n_samples^(-1/(n_parameter + 4)) of that.  Between two modes the density is
    taken along the straight line.  A bump that less than one draw in a hundred,
    or fewer than five draws, belong to is not given.
    """
    n, n_samples, n_parameters = draws.shape
    x, center, root = _whiten(draws)
    width = n_samples ** (-1.0 / (n_parameters + 4))
    x = x / width
    seeds, sparse = _every(x, n_samples // _N_SEEDS), _every(x, n_samples // _N_CLIMBED)
    ends = _climb(sparse, seeds)
    candidates, exists, nearest = _separate(ends, _density(sparse, ends))
    candidates = _climb(x, candidates)
    candidate_density = torch.where(exists, _density(x, candidates), -torch.inf)
    candidate_density, order = candidate_density.sort(dim=1, descending=True)
    candidates = torch.gather(candidates, 1, order[..., None].expand(-1, -1, n_parameters))
    nearest = torch.gather(order.argsort(dim=1), 1, nearest)
    group = _merge(x, candidates, candidate_density, dip)

    # A draw belongs to the mode that the seed nearest to it climbed to.
    seed_group = torch.gather(group, 1, nearest)
    owner = torch.gather(seed_group, 1, _squared_distance(x, seeds).argmin(dim=2))
    share = torch.zeros(n, MOST_MODES, dtype=x.dtype, device=x.device)
    share.scatter_add_(1, owner, torch.ones_like(owner, dtype=x.dtype))
    share /= n_samples

    leader = group == torch.arange(MOST_MODES, device=x.device)
    leader &= torch.isfinite(candidate_density) & (share >= max(_LEAST_SHARE, _LEAST_DRAWS / n_samples))
    leader[:, 0] = True  # the densest, whatever its share
    order = torch.where(leader, candidate_density, -torch.inf).argsort(dim=1, descending=True)[:, :n_modes]
    there = torch.gather(leader, 1, order)
    theta = torch.gather(candidates, 1, order[..., None].expand(-1, -1, n_parameters)) * width
    theta = (theta.double() @ root.mT + center).to(draws.dtype)
    nan = torch.full((), torch.nan, dtype=draws.dtype, device=draws.device)
    return Modes(torch.where(there[..., None], theta, nan),
                 torch.where(there, torch.gather(share, 1, order), nan), there.sum(dim=1))


def _every(x, stride):
    # Odd, because an even stride through a Sobol sequence stays in one part of the cube.
    return x[:, :: max(1, stride - 1) | 1]


def _whiten(draws):
    double = draws.double()
    center = double.mean(dim=1, keepdim=True)
    centered = double - center
    covariance = centered.mT @ centered / draws.shape[1]
    scale = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    # The absolute part keeps draws that are all the same from stopping a whole batch.
    unit = torch.eye(draws.shape[2], dtype=double.dtype, device=draws.device)
    covariance = covariance + (1e-9 * scale + 1e-16) * unit
    root = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(root, centered.mT, upper=False).mT
    return white.to(draws.dtype), center, root


def _squared_distance(x, points):
    """Of every draw to every point, (n, n_samples, n_points), by one matrix product."""
    cross = points @ x.mT
    squared = (x**2).sum(-1)[:, None, :] + (points**2).sum(-1)[:, :, None] - 2 * cross
    return squared.clamp_(min=0).mT


def _kernel(x, points):
    cross = torch.baddbmm((-0.5 * (x**2).sum(-1))[:, None, :], points, x.mT)
    return cross.sub_((0.5 * (points**2).sum(-1))[:, :, None]).clamp_(max=0).exp_()


def _density(x, points):
    return _kernel(x, points).mean(dim=2)


def _climb(x, points):
    ones = torch.ones_like(x[..., :1])
    values = torch.cat([x, ones], dim=2)
    climbing = torch.ones(len(x), 1, 1, dtype=torch.bool, device=x.device)
    for _ in range(_N_STEPS):
        moved = _kernel(x, points) @ values
        new = moved[..., :-1] / moved[..., -1:].clamp(min=1e-30)
        step = (new - points).abs().amax(dim=(1, 2), keepdim=True)
        # Each object stops by itself, so that its neighbors in the batch do not matter.
        points = torch.where(climbing, new, points)
        climbing = climbing & (step >= 1e-3)
        if not climbing.any():
            break
    return points


def _separate(ends, density):
    """The densest end point, then the densest not near it, and so on.

    Returns
    -------
    candidates (n, MOST_MODES, n_parameter), whether there were that many, and
    the candidate that each end point is nearest to.
    """
    left = density.clone()
    picked, picked_density = [], []
    for _ in range(MOST_MODES):
        value, index = left.max(dim=1)
        point = torch.gather(ends, 1, index[:, None, None].expand(-1, 1, ends.shape[2]))
        picked.append(point)
        picked_density.append(value)
        near = ((ends - point) ** 2).sum(-1) < _NEAR**2
        left = torch.where(near, -torch.inf, left)
    candidates, exists = torch.cat(picked, dim=1), torch.stack(picked_density, dim=1) > -torch.inf
    distance = ((ends[:, :, None] - candidates[:, None]) ** 2).sum(-1)
    distance = torch.where(exists[:, None, :], distance, torch.inf)
    return candidates, exists, distance.argmin(dim=2)


def _merge(x, candidates, density, dip):
    """For each candidate the first (densest) one that it is one mode with."""
    n, k, p = candidates.shape
    along = torch.linspace(0, 1, _PATH + 2, device=x.device, dtype=x.dtype)[1:-1, None]
    group = torch.arange(k, device=x.device).repeat(n, 1)
    exists = torch.isfinite(density)
    for i in range(1, k):
        if not exists[:, i].any():
            break
        start, end = candidates[:, :i, None], candidates[:, i, None, None]
        path = (start + (end - start) * along).reshape(n, -1, p)
        lowest = _density(x, path).reshape(n, i, _PATH).amin(dim=2)
        joined = (lowest >= (1 - dip) * density[:, i, None]) & exists[:, :i]
        first = torch.where(joined, group[:, :i], k).amin(dim=1)
        group[:, i] = torch.where((first < k) & exists[:, i], first, group[:, i])
    return group
