"""Posteriors on a dense grid of age and reddening, by matrix products.

See :mod:`clusterpost.families.clusters.exact_grid` for the method.
"""

from __future__ import annotations

import math
import threading
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from .cells import add_mass
from .table import LN10, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .exact_grid import ExactGrid, LogFluxTerms

__all__ = ["CellGrid", "cell_quantiles", "solve_on_grid"]

_CELLS_PER_PASS = 830_000  # eight objects of the default grid
_MASS_BINS = 256
_MASS_GROUPS = 32  # groups of surviving fraction, to map the bounds of the initial mass to present-day mass
_REACH = 23.0  # in ln weight below the maximum; ages without any such cell are dropped
_NEGLIGIBLE = 1e-9  # relative to the largest weight
_FLOOR, _LEAST_INSIDE = -40.0, 1e-9  # minimum ln weight and fraction within the bounds, to avoid slow subnormal numbers
_ROOT_HALF = math.sqrt(0.5)
_DEEP = 1e-3  # largest weight below which float32 is insufficient for the mass bounds
_CLEAR = 7.0  # standard deviations from the bounds beyond which they have no effect


class CellGrid:
    """Fluxes at the centers of equal cells in log age and reddening.

    Parameters
    ----------
    model : `~clusterpost.families.clusters.exact_grid.ExactGrid`
    shape : tuple of int
        Number of cells in age and reddening.
    least_cells : float
        Minimum effective number of cells (exp of the entropy of the cell weights)
        that resolves a posterior.
    """

    def __init__(self, model: ExactGrid, shape: tuple[int, ...], least_cells: float):
        self.model, self.shape, self.least_cells = model, shape, least_cells
        n_age, n_ebv = shape
        device = model.fine.log_age.device
        self.low, self.slope = model.low, model.slope
        self.bounds = LN10 * model.low[1], LN10 * model.high[1]
        self.step = (model.high[0] - model.low[0]) / n_age, (model.high[2] - model.low[2]) / n_ebv
        self.log_age = self.low[0] + self.step[0] * (torch.arange(n_age, device=device, dtype=torch.float64) + 0.5)
        self.ebv = self.low[2] + self.step[1] * (torch.arange(n_ebv, device=device, dtype=torch.float64) + 0.5)
        age, ebv = self._points
        ln_flux = model.fine.ln_flux(age, ebv).T
        self.reference = ln_flux.mean(1)
        centered = ln_flux - self.reference[:, None]
        self.log_prior = model.log_prior(age, ebv)
        self.linear = centered.float().contiguous()
        self.basis = torch.cat([centered, centered**2, self.log_prior[None].clamp(min=-1e4)]).float()
        self.ln_surviving = torch.log(model.fine.surviving_mass(self.log_age))
        least, most = self.ln_surviving.aminmax()
        width = (most - least).clamp(min=1e-9) / _MASS_GROUPS
        self.group = ((self.ln_surviving - least) / width).long().clamp(max=_MASS_GROUPS - 1)
        self._local = threading.local()

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _local=threading.local())

    @property
    def work(self) -> _Workspace:
        """Work arrays of this thread."""
        if not hasattr(self._local, "work"):
            self._local.work = _Workspace(self.shape, self.log_age.device)
        return self._local.work

    @property
    def _points(self):
        return [x.reshape(-1) for x in torch.meshgrid(self.log_age, self.ebv, indexing="ij")]

    @cached_property
    def cells(self) -> tuple[torch.Tensor, torch.Tensor]:
        """ln flux at the center of each cell and its change within the cell, both (n_cell, n_band)."""
        age, ebv = self._points
        middle = self.model.fine.ln_flux(age, ebv)
        change = torch.zeros_like(middle)
        for axis, parts in ((0, (-0.5, -0.25, 0.25, 0.5)), (1, (-0.5, 0.5))):
            moved = [self.model.fine.ln_flux(age + part * self.step[0] * (axis == 0), ebv + part * self.step[1] * axis)
                     for part in parts]
            change += torch.stack([(x - middle).abs() for x in moved]).amax(0)
        return middle, change


def solve_on_grid(grid: CellGrid, terms: LogFluxTerms, levels: torch.Tensor,
                  points: torch.Tensor | None) -> tuple[dict, torch.Tensor]:
    """Compute exact posteriors of a block of objects if the cells are fine enough.

    Parameters
    ----------
    grid : CellGrid
    terms : `~clusterpost.families.clusters.exact_grid.LogFluxTerms`
    levels : Tensor (n_level,)
    points : Tensor (k, 3) or None

    Returns
    -------
    dict of Tensor
        Attributes of `~clusterpost.families.clusters.exact_grid.GridSummary` by name.
    enough : Tensor (n,) of bool
        Whether the cells resolve the posterior.
    """
    return _Block(grid, terms, points).summarize(levels)


class _Workspace:
    """Large arrays for reuse, because allocation costs as much as filling them."""

    def __init__(self, shape, device):
        n_age, n_ebv = shape
        self.size = max(1, _CELLS_PER_PASS // (n_age * n_ebv))
        self.whole = [torch.empty(self.size, n_age * n_ebv, device=device) for _ in range(2)]
        self.rows = [torch.empty(self.size * n_age, n_ebv, device=device) for _ in range(5)]
        self.index = torch.empty(self.size * n_age, n_ebv, dtype=torch.int64, device=device)


class _Block:
    """A block of objects on one grid.

    Arrays over cells are computed for a few objects at a time in
    float32; their sums are kept in double precision.
    """

    def __init__(self, grid, terms, points):
        self.grid, self.terms, self.work = grid, terms, grid.work
        self.bounds = grid.bounds
        weight, total = terms.weight, terms.total
        y = torch.where(weight > 0, terms.y - grid.reference, 0.0)
        mean = (weight * y).sum(1) / total
        centered = torch.where(weight > 0, y - mean[:, None], 0.0)
        self.root = torch.sqrt(total)
        # The mean of ln m in a cell is center - scaled / root.
        self.center = mean + grid.slope * terms.sigma**2
        self.offset = -0.5 * (weight * centered**2).sum(1) + grid.slope * mean + terms.constant
        self.scale_factors = (weight / self.root[:, None]).float()
        self.factors = torch.cat([weight * centered - grid.slope * weight / total[:, None], -0.5 * weight,
                                  torch.ones_like(total)[:, None]], 1).float()
        parts = [self._pass(torch.arange(start, min(start + self.work.size, len(terms)), device=weight.device), points)
                 for start in range(0, len(terms), self.work.size)]
        self.sums = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _pass(self, objects, points):
        """Sum over the cells of several objects."""
        grid, work, n = self.grid, self.work, len(objects)
        n_age, n_ebv = grid.shape
        scaled = torch.mm(self.scale_factors[objects], grid.linear, out=work.whole[0][:n])
        log_weight = torch.mm(self.factors[objects], grid.basis, out=work.whole[1][:n])
        log_weight.addcmul_(scaled, scaled, value=0.5)
        # From here on, use only ages with weight: rows of n_ebv cells.
        highest = log_weight.view(n, n_age, n_ebv).amax(2)
        top = highest.amax(1)
        chosen = (highest > (top - _REACH)[:, None]).view(-1).nonzero()[:, 0]
        rows = _Rows(self, objects, chosen, scaled, log_weight, top)
        sums = {"top": top, "mean_low": rows.mean_low, "mean_high": rows.mean_high}
        for name, present_day in (("mass", False), ("stellar_mass", True)):
            sums[name] = rows.histogram(present_day)
        rows.cut()
        sums["age"], sums["ebv"], sums["information"] = rows.marginals()
        sums["highest"] = rows.highest()
        if points is not None:
            sums["theta"] = rows.draw(sums["age"].double(), points)
        return sums

    def lattice(self, objects, mean_low, mean_high, present_day):
        """Start and width of the bins of ln m, with margins for the normal densities around the outer means."""
        sigma, shift = self.terms.sigma[objects], self.grid.ln_surviving
        least, largest = (shift.min(), shift.max()) if present_day else (0.0, 0.0)
        first = mean_low + least - _CLEAR * sigma
        return first, (mean_high + largest + _CLEAR * sigma - first) / _MASS_BINS

    def summarize(self, levels):
        """Compute the results from the sums, and whether the cells are fine enough."""
        grid, sums = self.grid, self.sums
        age, ebv = sums["age"].double(), sums["ebv"].double()
        total = age.sum(1)
        spread = torch.log(total) - sums["information"].double() / total  # entropy of the cell weights
        area = math.log(grid.step[0] * grid.step[1])
        mass, mass_mean = self._mass_density("mass")
        stellar_mass, _ = self._mass_density("stellar_mass")
        marginals = ((age, grid.low[0], grid.step[0], True), (*mass, False), (ebv, grid.low[2], grid.step[1], True),
                     (*stellar_mass, False))
        edges = self._edge_entropy() / total
        result = {
            "quantiles": cell_quantiles(marginals, levels),
            "mean": torch.stack([age @ grid.log_age / total, mass_mean, ebv @ grid.ebv / total], 1),
            "entropy": (spread + area + edges + torch.log(self.terms.sigma)
                        + 0.5 * math.log(2 * math.pi * math.e) - math.log(LN10)),
            "log_evidence": self.offset + sums["top"].double() + torch.log(total) + area}
        if "theta" in sums:
            result["theta"] = sums["theta"]
        enough = (spread > math.log(grid.least_cells)) & (sums["highest"] > _DEEP)
        return result, enough

    def _group_shift(self):
        """Compute the mean ln surviving fraction of the ages in each group, (n, group)."""
        age = self.sums["age"].double()
        sums = [torch.zeros(len(age), _MASS_GROUPS, dtype=age.dtype, device=age.device).index_add_(
            1, self.grid.group, age * factor) for factor in (1.0, self.grid.ln_surviving)]
        return sums[1] / sums[0].clamp(min=1e-300)

    def _edge_entropy(self):
        """Compute the weighted change of the entropy of ln m at given age and reddening due to the bounds.

        The entropy of the truncated normal also contains the log of the fraction within the bounds, which
        cancels with its counterpart in the cell weights.
        """
        first, width = self.lattice(slice(None), self.sums["mean_low"], self.sums["mean_high"], False)
        mean = first[:, None] + (torch.arange(_MASS_BINS, device=width.device) + 0.5) * width[:, None]
        ends = [(end - mean) / self.terms.sigma[:, None] for end in self.bounds]
        low, high = (x * torch.exp(-0.5 * x**2) for x in ends)
        return (self.sums["mass"][:, 0].double() * (low - high)).sum(1) * (0.5 / math.sqrt(2 * math.pi))

    def _mass_density(self, name):
        """Compute density and mean of log10 mass from a histogram of means of truncated normal densities.

        Returns the density (n, bin) with start and width of the bins, and the mean.
        """
        present_day = name == "stellar_mass"
        first, width = self.lattice(slice(None), self.sums["mean_low"], self.sums["mean_high"], present_day)
        # Avoid ringing of densities much narrower than a bin.
        sigma = torch.maximum(self.terms.sigma, width) / width
        wave = 2 * math.pi * torch.fft.rfftfreq(2 * _MASS_BINS, device=width.device, dtype=width.dtype)
        kernel = torch.exp(-0.5 * (sigma[:, None] * wave) ** 2)[:, None]
        at = self._group_shift() if present_day else torch.zeros_like(width)[:, None]
        low, high = ((end + at - first[:, None]) / width[:, None] for end in self.bounds)
        groups, number = self.sums[name].double(), torch.arange(_MASS_BINS, device=width.device)
        # All groups are smoothed together unless the bounds cut them in different bins.
        density = _smoothed(groups.sum(1, keepdim=True), kernel)[:, 0]
        rows = ((low > 0) | (high < _MASS_BINS)).any(1).nonzero()[:, 0]
        if len(rows):
            inside = torch.minimum(number + 1, high[rows, :, None]) - torch.maximum(number, low[rows, :, None])
            density[rows] = (_smoothed(groups[rows], kernel[rows]) * inside.clamp(0, 1)).sum(1)
        mean = first + width * ((density * (number + 0.5)).sum(1) / density.sum(1))
        return (density, first / LN10, width / LN10), mean / LN10


def _smoothed(bins, kernel):
    """Convolve histograms with the density whose Fourier transform is given."""
    transform = torch.fft.rfft(bins, 2 * _MASS_BINS) * kernel
    return torch.fft.irfft(transform, 2 * _MASS_BINS)[..., :_MASS_BINS].clamp(min=0)


class _Rows:
    """Ages with weight of several objects, each a row of n_ebv cells."""

    def __init__(self, block, objects, chosen, scaled, log_weight, top):
        self.block, self.grid, self.work = block, block.grid, block.work
        n_age, n_ebv = self.grid.shape
        self.n, m = len(objects), len(chosen)
        self.chosen, self.owner, self.age = chosen, chosen // n_age, chosen % n_age
        self.center, self.root = block.center[objects], block.root[objects]
        self.sigma = block.terms.sigma[objects]
        self.objects = objects
        self.scaled, self.log_weight, self.weight, self.spare = (array[:m] for array in self.work.rows[:4])
        self.index = self.work.index[:m]
        torch.index_select(scaled.view(-1, n_ebv), 0, chosen, out=self.scaled)
        torch.index_select(log_weight.view(-1, n_ebv), 0, chosen, out=self.log_weight)
        self.log_weight.sub_(top[self.owner, None]).clamp_(min=_FLOOR)
        torch.exp(self.log_weight, out=self.weight)
        self._find_means()

    def _find_means(self):
        """Find the range of the mean of ln m among relevant cells, by object and by row."""
        significant = self.weight > _NEGLIGIBLE
        inf = torch.tensor(torch.inf, device=self.spare.device)
        least = torch.where(significant, self.scaled, inf, out=self.spare).amin(1)
        largest = torch.where(significant, self.scaled, -inf, out=self.spare).amax(1)
        # Rows without such a cell have inf and -inf.
        self.row_low, self.row_high = (self.center[self.owner] - x.double() / self.root[self.owner]
                                       for x in (largest, least))
        self.mean_low = self._by_object(self.row_low, "amin")
        self.mean_high = self._by_object(self.row_high, "amax")

    def _by_object(self, values, how):
        result = torch.zeros(self.n, dtype=values.dtype, device=values.device)
        return result.scatter_reduce_(0, self.owner, values, how, include_self=False)

    def histogram(self, present_day):
        """Compute the histogram of weights in mean ln m, (n, group, bin), without the prior's bounds."""
        first, width = self.block.lattice(self.objects, self.mean_low, self.mean_high, present_day)
        start, slot = ((self.center - first) / width)[self.owner], self.owner
        groups = 1
        if present_day:
            groups = _MASS_GROUPS
            start = start + self.grid.ln_surviving[self.age] / width[self.owner]
            slot = self.owner * groups + self.grid.group[self.age]
        factor = (-1 / (self.root * width)).float()[self.owner, None]
        position = torch.addcmul(start.float()[:, None], self.scaled, factor, out=self.spare)
        self.index.copy_(position.clamp_(0, _MASS_BINS - 1)).add_(slot[:, None] * _MASS_BINS)
        histogram = torch.zeros(self.n * groups * _MASS_BINS, device=self.index.device)
        histogram.scatter_add_(0, self.index.view(-1), self.weight.view(-1))
        return histogram.view(self.n, groups, _MASS_BINS)

    def cut(self):
        """Remove from each cell the probability outside the prior's bounds on the mass."""
        (low, high), room = self.block.bounds, (_CLEAR * self.sigma)[self.owner]
        rows = ((self.row_low < low + room) | (self.row_high > high - room)).nonzero()[:, 0]
        owner, m = self.owner[rows], len(rows)
        # As `interval`, in place; beyond is the distance of the mean outside the bounds, in standard deviations.
        half = ((high - low) / 2 / self.sigma)[owner, None].float()
        middle = (((low + high) / 2 - self.center) / self.sigma)[owner, None].float()
        beyond = torch.index_select(self.scaled, 0, rows, out=self.spare[:m])
        beyond.mul_((1 / (self.root * self.sigma)).float()[owner, None]).add_(middle).abs_()
        far = torch.erfc(((beyond + half) * _ROOT_HALF).clamp_(max=9.0)) if (half < _CLEAR).any() else 0.0
        inside = beyond.sub_(half).mul_(_ROOT_HALF).clamp_(max=9.0).erfc_().sub_(far).mul_(0.5)
        weight = torch.index_select(self.weight, 0, rows, out=self.work.rows[-1][:m])
        self.weight.index_copy_(0, rows, weight.mul_(inside.clamp_(min=_LEAST_INSIDE)))

    def marginals(self):
        """Sum the weights by age (n, n_age) and reddening (n, n_ebv), and weight times its log (n,)."""
        n_age, n_ebv = self.grid.shape
        age = torch.zeros(self.n * n_age, device=self.weight.device)
        age[self.chosen] = self.weight.sum(1)
        ebv = torch.zeros(self.n, n_ebv, device=self.weight.device).index_add_(0, self.owner, self.weight)
        information = torch.zeros(self.n, device=self.weight.device)
        information.index_add_(0, self.owner, torch.linalg.vecdot(self.weight, self.log_weight))
        return age.view(self.n, n_age), ebv, information

    def highest(self):
        """Find the largest weight of each object, (n,)."""
        return self._by_object(self.weight.amax(1), "amax")

    def draw(self, age, points):
        """Map points of the unit cube through the inverse distribution functions of age, reddening, and mass."""
        grid, n_ebv = self.grid, self.grid.shape[1]
        cdf = age.cumsum(1)
        u = (points[:, 0].double() * cdf[:, -1:]).contiguous()
        i = torch.searchsorted(cdf, u).clamp(max=grid.shape[0] - 1)
        before = torch.gather(cdf, 1, i) - torch.gather(age, 1, i)
        log_age = grid.low[0] + grid.step[0] * (i + ((u - before) / torch.gather(age, 1, i)).clamp(0, 1))

        number = torch.zeros(self.n * grid.shape[0], dtype=torch.int32, device=i.device)
        number[self.chosen] = torch.arange(len(self.chosen), dtype=torch.int32, device=i.device)
        row = torch.gather(number.view(self.n, -1), 1, i) * n_ebv
        within = torch.cumsum(self.weight, 1, out=self.spare).view(-1)
        v = points[:, 1].float() * take(within, row + n_ebv - 1)
        j = torch.zeros_like(row)  # number of lower cells in the row
        for bit in reversed(range(n_ebv.bit_length())):
            trial = j + (1 << bit)
            below = take(within, row + (trial - 1).clamp(max=n_ebv - 1)) <= v
            j = torch.where((trial < n_ebv) & below, trial, j)
        cell = row + j
        v = v - torch.where(j > 0, take(within, (cell - 1).clamp(min=0)), 0.0)
        ebv = grid.low[2] + grid.step[1] * (j + (v / take(self.weight.view(-1), cell)).clamp(0, 1).double())
        return add_mass(grid.model, self.block.terms[self.objects], log_age, ebv, points[:, 2])


def cell_quantiles(marginals: Sequence[tuple], levels: torch.Tensor) -> torch.Tensor:
    """Compute quantiles of densities known in equal cells.

    Parameters
    ----------
    marginals : sequence of tuple
        For each, the density up to a factor, Tensor (n, n_cell); the start of the first cell and the cell width, float
        or Tensor (n,); and whether the density is a value at the center and smooth, or else the mean over the cell.
    levels : Tensor (n_level,)

    Returns
    -------
    Tensor (n, n_marginal, n_level)

    Notes
    -----
    In each cell, the density is a parabola through its edge values with the correct integral
    (Colella & Woodward 1984); the integral is the midpoint rule
    with the next order, h f + h^3 f'' / 24.
    """
    found = [_in_cell(density, levels, smooth) for density, _, _, smooth in marginals]
    cell, rest, left, right, hump = (torch.stack(values, 1) for values in zip(*found, strict=True))
    below, above = torch.zeros_like(rest), torch.ones_like(rest)
    for _ in range(30):
        u = (below + above) / 2
        reached = u * (left + u * ((right - left + hump) / 2 - u * hump / 3))
        below, above = torch.where(reached < rest, u, below), torch.where(reached < rest, above, u)
    low, step = (torch.stack([torch.as_tensor(each[k], dtype=rest.dtype, device=rest.device).expand(len(rest))
                              for each in marginals], 1)[..., None] for k in (1, 2))
    return low + step * (cell + (below + above) / 2)


def _in_cell(density, levels, smooth):
    """Find the cell of each quantile, the integral from its edge, and the parabola in it, each (n, n_level)."""
    padded = torch.cat([density[:, :1], density, density[:, -1:]], 1)
    bend = padded[:, 2:] - 2 * density + padded[:, :-2]
    bend[:, 0] = bend[:, -1] = 0.0
    mass = density + bend / 24 if smooth else density
    inner = (density[:, 1:] + density[:, :-1]) / 2 - (bend[:, 1:] + bend[:, :-1]) / 16
    ends = [1.5 * density[:, a] - 0.5 * density[:, b] for a, b in ((0, 1), (-1, -2))]
    edge = torch.cat([ends[0][:, None], inner, ends[1][:, None]], 1).clamp(min=0)
    cdf = mass.cumsum(1)
    target = levels * cdf[:, -1:]
    cell = torch.searchsorted(cdf, target).clamp(max=density.shape[1] - 1)
    mass_in = torch.gather(mass, 1, cell)
    rest = (target - torch.gather(cdf, 1, cell) + mass_in).clamp(min=0)
    left, right = torch.gather(edge, 1, cell), torch.gather(edge, 1, cell + 1)
    return cell, rest, left, right, 6 * (mass_in - (left + right) / 2)
