"""Exact posteriors of objects for which a dense grid is too coarse, by subdivision of its cells.

A cell is dropped if none of its points can come close to the maximum. Other cells are divided until the
density changes little across them, and the density is then linear through its values
at the center and on the four faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .table import LN10
from .truncated import CutNormal, cut_entropy, cut_mean, interval, log_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from .exact_grid import ExactGrid, LogFluxTerms

__all__ = ["add_mass", "solve_by_cells"]

_REACH = 16.0  # in log density below the maximum; lower cells are dropped
_DEEP = -100.0  # ln of the normal probability within bounds, below which logarithms are needed
_SAFETY = 1.3  # on the change of a flux within a cell, which is known at a few points
_LARGEST_CHANGE = 0.5  # of the residuals, in standard deviations, from the center of a cell to a face
_LARGEST_SLOPE = 1.0  # of the log density, from the center of a cell to a face
_MOST_DIVISIONS = 24
# Center of a cell and centers of its faces, in units of half its width.
_FACES = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))


@dataclass
class _Cells:
    """Cells of several objects in one list.

    ``size`` (m, 2) are full widths in log age and reddening; ``value`` (m, 5) is
    the log density and ``mean`` (m, 5) the mean of ln m at the center and faces.
    """

    owner: torch.Tensor
    log_age: torch.Tensor
    ebv: torch.Tensor
    size: torch.Tensor
    value: torch.Tensor | None = None
    mean: torch.Tensor | None = None

    def __getitem__(self, rows):
        return _Cells(*(None if x is None else x[rows] for x in vars(self).values()))

    @staticmethod
    def join(parts):
        """Concatenate several lists."""
        values = zip(*(vars(part).values() for part in parts), strict=True)
        return _Cells(*(None if column[0] is None else torch.cat(column) for column in values))

    def points(self):
        """Return center and faces, log age and reddening, each (m, 5)."""
        faces = torch.tensor(_FACES, dtype=self.log_age.dtype, device=self.log_age.device)
        offset = faces * self.size[:, None, :] / 2
        return self.log_age[:, None] + offset[..., 0], self.ebv[:, None] + offset[..., 1]

    def divided(self, axis):
        """Divide each cell in two along one axis."""
        size = self.size.clone()
        size[:, axis] /= 2
        shift = torch.zeros_like(size)
        shift[:, axis] = size[:, axis] / 2
        return _Cells.join([_Cells(self.owner, self.log_age + sign * shift[:, 0], self.ebv + sign * shift[:, 1], size)
                            for sign in (-1, 1)])


class _Density:
    """Density at a point of age and reddening, in double precision."""

    def __init__(self, model, terms):
        self.model, self.terms = model, terms
        self.bounds = LN10 * model.low[1], LN10 * model.high[1]

    def __call__(self, owner, log_age, ebv):
        """Compute log density, mean of ln m, squared residuals, log prior, and log fluxes at points (m, 5)."""
        weight, total = self.terms.weight[owner, None], self.terms.total[owner, None]
        sigma = self.terms.sigma[owner, None]
        ln_flux = self.model.fine.ln_flux(log_age, ebv)
        residual = self.terms.y[owner, None] - ln_flux
        mean = (weight * residual).sum(-1) / total
        chi2 = (weight * (residual - mean[..., None]) ** 2).sum(-1)
        prior = self.model.log_prior(log_age, ebv) + self.model.slope * mean
        mean = mean + self.model.slope * sigma**2
        alpha, beta = ((end - mean) / sigma for end in self.bounds)
        outside = (alpha.clamp(min=0) - beta.clamp(max=0)) ** 2
        value = -0.5 * chi2 + prior + log_interval(alpha, beta)
        return value, mean, chi2 + outside, prior, ln_flux


def solve_by_cells(model: ExactGrid, terms: LogFluxTerms, levels: torch.Tensor, points: torch.Tensor | None) -> dict:
    """Compute exact posteriors by subdivision of cells.

    Parameters
    ----------
    model : `~clusterpost.families.clusters.exact_grid.ExactGrid`
    terms : `~clusterpost.families.clusters.exact_grid.LogFluxTerms`
    levels : Tensor (n_level,)
    points : Tensor (k, 3) or None

    Returns
    -------
    dict of Tensor
        Attributes of `~clusterpost.families.clusters.exact_grid.GridSummary` by name.
    """
    leaves = _pad(_divide(model, terms), len(terms))
    sigma = terms.sigma[:, None]
    low_t, high_t, low_e, high_e = (leaves["value"][..., i] - leaves["value"][..., 0] for i in range(1, 5))
    bend = sum(torch.exp(x.clamp(-5, 5)) - 1 for x in (low_t, high_t, low_e, high_e)) / 6
    area = torch.log(leaves["size"][..., 0] * leaves["size"][..., 1])
    log_mass = leaves["value"][..., 0] + torch.log1p(bend.clamp(min=-0.9)) + area
    log_mass = torch.where(leaves["there"], log_mass, -torch.inf)
    log_total = torch.logsumexp(log_mass, 1, keepdim=True)
    share = torch.exp(log_mass - log_total)
    tilt = [2 * torch.tanh((high - low) / 2) for low, high in ((low_t, high_t), (low_e, high_e))]

    mean = leaves["mean"]
    across = mean[..., 2] - mean[..., 1], mean[..., 4] - mean[..., 3]
    middle = mean[..., 0] + sum(a * k for a, k in zip(across, tilt, strict=True)) / 12
    width = torch.sqrt(sigma**2 + sum(a**2 for a in across) / 12)
    bounds = LN10 * model.low[1], LN10 * model.high[1]
    alpha, beta = ((end - middle) / width for end in bounds)
    ln_surviving = torch.log(model.fine.surviving_mass(leaves["log_age"]))

    def planes(axis: int, center: torch.Tensor) -> Callable:
        """Make the distribution function of age or reddening in each cell."""
        start, step, slope = center - leaves["size"][..., axis] / 2, leaves["size"][..., axis], tilt[axis]

        def below(x: torch.Tensor) -> torch.Tensor:
            """Return the fraction of each cell below a value."""
            u = ((x - start) / step).clamp_(0, 1)
            return u + slope / 2 * (u**2 - u)
        return below

    log_inside = log_interval(alpha, beta)
    deep = bool((torch.where(leaves["there"], log_inside, 0.0) < _DEEP).any())
    inside = None if deep else torch.exp(log_inside)

    def normal(shift: float | torch.Tensor) -> Callable:
        """Make the distribution function of the mass in each cell."""
        def below(x: torch.Tensor) -> torch.Tensor:
            """Return the fraction of each cell below a value."""
            z = torch.minimum(torch.maximum((x * LN10 - middle - shift) / width, alpha), beta)
            return torch.exp(log_interval(alpha, z) - log_inside) if deep else interval(alpha, z) / inside
        return below

    low, high = model.low, model.high
    quantiles = torch.stack([
        _mixture_quantiles(share, planes(0, leaves["log_age"]), low[0], high[0], levels),
        _mixture_quantiles(share, normal(0.0), low[1], high[1], levels),
        _mixture_quantiles(share, planes(1, leaves["ebv"]), low[2], high[2], levels),
        _mixture_quantiles(share, normal(ln_surviving), low[1] - 1.0, high[1], levels)], 1)
    in_cell = torch.where(leaves["there"], cut_entropy(alpha, beta) - (tilt[0] ** 2 + tilt[1] ** 2) / 24, 0.0)
    log_density = torch.where(leaves["there"], log_mass - area - log_total, 0.0)
    result = {
        "quantiles": quantiles,
        "mean": torch.stack([
            (share * (leaves["log_age"] + tilt[0] * leaves["size"][..., 0] / 12)).sum(1),
            (share * (middle + width * cut_mean(alpha, beta))).sum(1) / LN10,
            (share * (leaves["ebv"] + tilt[1] * leaves["size"][..., 1] / 12)).sum(1)], 1),
        "entropy": (share * (in_cell - log_density)).sum(1) + torch.log(terms.sigma) - math.log(LN10),
        "log_evidence": terms.constant + log_total[:, 0]}
    if points is not None:
        result["theta"] = _draw(model, terms, leaves, share, points)
    return result


def _divide(model, terms):
    """Return sufficiently fine cells with the density at center and faces."""
    density = _Density(model, terms)
    cells = _first_cells(model, terms, density)
    done, best = [], torch.full((len(terms),), torch.inf, dtype=torch.float64, device=terms.y.device)
    highest = -best
    for division in range(_MOST_DIVISIONS + 1):
        log_age, ebv = cells.points()
        value, mean, square, prior, ln_flux = density(cells.owner, log_age, ebv)
        best = best.scatter_reduce(0, cells.owner, square[:, 0] - 2 * prior[:, 0], "amin")
        highest = highest.scatter_reduce(0, cells.owner, value[:, 0], "amax")
        cells.value, cells.mean = value, mean
        weight = terms.weight[cells.owner]
        change = torch.stack([torch.sqrt((weight * (ln_flux[:, i : i + 2] - ln_flux[:, :1]).abs().amax(1) ** 2).sum(-1))
                              for i in (1, 3)], 1)
        kept = _may_matter(square[:, 0], prior[:, 0], change.sum(1), best[cells.owner])
        slope = torch.stack([(value[:, i : i + 2] - value[:, :1]).abs().amax(1) for i in (1, 3)], 1)
        near = (value.amax(1) > highest[cells.owner] - _REACH / 2)[:, None]
        split = (change > _LARGEST_CHANGE) | ((slope > _LARGEST_SLOPE) & near)
        if division == _MOST_DIVISIONS:
            split[:] = False
        done.append(cells[kept & ~split.any(1)])
        both = split.all(1)
        parts = [cells[kept & split[:, 0] & ~both].divided(0), cells[kept & split[:, 1] & ~both].divided(1),
                 cells[kept & both].divided(0).divided(1)]
        cells = _Cells.join([_Cells(p.owner, p.log_age, p.ebv, p.size) for p in parts])
        if not len(cells.owner):
            break
    cells = _Cells.join(done)
    return cells[cells.value.amax(1) > highest[cells.owner] - _REACH]


def _may_matter(square, prior, change, best):
    """Return whether any point of a cell can come close to the maximum.

    The norm of the residual vector, whose ``square`` is known at the
    center, changes by at most ``change`` within the cell.
    """
    least = (torch.sqrt(square) - _SAFETY * change).clamp(min=0)
    return least**2 - 2 * prior < best + 2 * _REACH


def _first_cells(model, terms, density):
    """Find the relevant cells of the model's finest grid."""
    grid = model.grids[-1]
    fluxes, changes = grid.cells
    parts = []
    for number in range(len(terms)):  # each object has enough cells for vectorized operations
        weight, total = terms.weight[number], terms.total[number]
        residual = terms.y[number] - fluxes
        mean = residual @ weight / total
        chi2 = residual**2 @ weight - total * mean**2
        prior = grid.log_prior + model.slope * mean
        mean = mean + model.slope * terms.sigma[number] ** 2
        low, high = ((end - mean) / terms.sigma[number] for end in density.bounds)
        square = chi2.clamp(min=0) + (low.clamp(min=0) - high.clamp(max=0)) ** 2
        change = torch.sqrt(changes**2 @ weight)
        kept = _may_matter(square, prior, change, (square - 2 * prior).amin()).nonzero()[:, 0]
        age, ebv = kept // grid.shape[1], kept % grid.shape[1]
        size = torch.tensor(grid.step, dtype=torch.float64, device=kept.device).expand(len(kept), 2)
        parts.append(_Cells(torch.full_like(kept, number), grid.log_age[age], grid.ebv[ebv], size))
    return _Cells.join(parts)


def _pad(cells, n):
    """Arrange the list as arrays (n, m), sorted by age, with ``there`` False for padding."""
    order = cells.log_age.argsort()
    order = order[cells.owner[order].argsort(stable=True)]
    cells = cells[order]
    count = torch.bincount(cells.owner, minlength=n)
    rank = torch.arange(len(order), device=order.device) - (count.cumsum(0) - count)[cells.owner]
    shape = n, int(count.max())
    result = {"there": torch.zeros(shape, dtype=torch.bool, device=order.device)}
    result["there"][cells.owner, rank] = True
    for name in ("log_age", "ebv", "size", "value", "mean"):
        values = getattr(cells, name)
        # Padding has no weight, but must be finite.
        result[name] = values[:1].expand(n * shape[1], *values.shape[1:]).reshape(*shape, *values.shape[1:]).clone()
        result[name][cells.owner, rank] = values
    return result


def _mixture_quantiles(share, below, low, high, levels):
    """Compute quantiles of a mixture with cumulative distribution functions ``below(x)`` by bisection."""
    columns = []
    for level in levels:
        left = torch.full((len(share), 1), float(low), dtype=share.dtype, device=share.device)
        right = torch.full_like(left, float(high))
        for _ in range(36):
            x = (left + right) / 2
            less = (share * below(x)).sum(1, keepdim=True) < level
            left, right = torch.where(less, x, left), torch.where(less, right, x)
        columns.append((left + right) / 2)
    return torch.cat(columns, 1)


def _draw(model, terms, leaves, share, points):
    cdf = share.cumsum(1)
    u = (points[:, 0].double() * cdf[:, -1:]).contiguous()
    at = torch.searchsorted(cdf, u).clamp(max=share.shape[1] - 1)

    def pick(x):
        return torch.gather(x, 1, at)

    first = ((u - pick(cdf) + pick(share)) / pick(share)).clamp(0, 1) - 0.5
    second = points[:, 1].double().expand_as(first) - 0.5
    log_age = pick(leaves["log_age"]) + first * pick(leaves["size"][..., 0])
    ebv = pick(leaves["ebv"]) + second * pick(leaves["size"][..., 1])
    return add_mass(model, terms, log_age, ebv, points[:, 2])


def add_mass(model: ExactGrid, terms: LogFluxTerms, log_age: torch.Tensor, ebv: torch.Tensor,
             unit: torch.Tensor) -> torch.Tensor:
    """Add masses to draws of age and reddening.

    Parameters
    ----------
    model : `~clusterpost.families.clusters.exact_grid.ExactGrid`
    terms : `~clusterpost.families.clusters.exact_grid.LogFluxTerms`
    log_age, ebv : Tensor (n, k)
    unit : Tensor (k,)
        Points in [0, 1].

    Returns
    -------
    Tensor (n, k, 3)
        log10 age, log10 mass, E(B-V).
    """
    low, high = LN10 * model.low[1], LN10 * model.high[1]
    residual = terms.y[:, None] - model.fine.ln_flux(log_age, ebv)
    sigma = terms.sigma[:, None]
    mean = (residual @ terms.weight[..., None])[..., 0] / terms.total[:, None] + model.slope * sigma**2
    ln_mass = CutNormal(mean, sigma, low, high).quantile(unit.double())
    return torch.stack([log_age, ln_mass.clamp(low, high) / LN10, ebv], 2)
