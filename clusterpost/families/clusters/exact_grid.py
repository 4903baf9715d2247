"""Exact posteriors under log-normal noise on a dense grid in age and reddening.

At given age and reddening, the log mass has a normal posterior, truncated at the
prior's bounds, so only two of the three dimensions need a grid.  The remaining
chi-square, with y the observed and c the model's log fluxes at unit mass,
w the weights of the bands, W their sum, and y shifted to sum w y = 0, is

    sum w y^2 - 2 sum w y c + sum w c^2 - (sum w c)^2 / W,

two matrix products of fixed arrays, (c, c^2) and c, with a batch of objects.  Missing
bands have zero weight.  Objects with posteriors
narrower than a few cells are solved by :mod:`clusterpost.families.clusters.cells`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...errors import InputError
from ...noise import get_noise
from ...priors import as_prior
from .cells import solve_by_cells
from .dense import CellGrid, solve_on_grid
from .table import LN10, distance_term

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...observations import Observed
    from ..base import Prior
    from .table import BandFluxTable

__all__ = ["ExactGrid", "GridSummary"]

_OBJECTS_PER_BLOCK = 128
_DIVIDED_PER_BLOCK = 4
_ENOUGH_CELLS, _LEAST_CELLS = 640.0, 160.0  # minimum effective cells, if there is a finer grid, or none


@dataclass
class GridSummary:
    """Summaries of the exact posteriors of ``n`` objects.

    Attributes
    ----------
    quantiles : Tensor (n, 4, n_level)
        Quantiles of log10 age/Myr, log10 initial mass/Msun, E(B-V)/mag, and log10
        present-day mass/Msun.
    mean : Tensor (n, 3)
        Means of the first three.
    entropy : Tensor (n,)
        Differential entropy in the first three, nat.
    log_evidence : Tensor (n,)
        ln p(x), where x is ln of the observed fluxes, as in
        `~clusterpost.noise.LogNormalNoise`.
    divided : Tensor (n,) of bool
        Whether the grid was too coarse and its cells were divided.
    theta : Tensor (n, k, 3), optional
        Equally weighted draws from the posterior, but flat in age and reddening within a cell.
    """

    quantiles: torch.Tensor
    mean: torch.Tensor
    entropy: torch.Tensor
    log_evidence: torch.Tensor
    divided: torch.Tensor
    theta: torch.Tensor | None = None


class LogFluxTerms:
    """Likelihood of log fluxes as sums over bands, in double precision.

    Given age and reddening, ln m is normal with standard deviation
    ``sigma`` about a mean that depends on the fluxes.

    Attributes
    ----------
    y : Tensor (n, n_band)
        ln of the observed flux scaled to 10 pc, to compare with that of one solar mass; zero if not measured.
    weight : Tensor (n, n_band)
    total : Tensor (n,)
        Sum of the weights.
    sigma : Tensor (n,)
        Standard deviation of ln m, including the distance uncertainty.
    constant : Tensor (n,)
        Constant term of the log evidence.
    """

    def __init__(self, observed: Observed, distance_error: torch.Tensor | None, slope: float):
        used = observed.measured
        if not used.any(1).all():
            row = int((~used.any(1)).nonzero()[0])
            raise InputError(f"row {row} has no measured band; remove such rows")
        flux, error = observed.flux.double(), observed.error.double()
        if not (((flux > 0) & (error > 0)) | ~used).all():
            row, band = (used & ~((flux > 0) & (error > 0))).nonzero()[0].tolist()
            raise InputError(f"log-normal noise needs positive fluxes and errors; row {row}, band number {band} has "
                             f"{flux[row, band]:g} +- {error[row, band]:g} mJy. Omit that band")
        value, width, _ = get_noise("lognormal").as_lognormal(flux, error)
        variance = torch.where(used, width**2, 1.0)
        self.weight = torch.where(used, 1 / variance, 0.0)
        y = value - distance_term(observed.covariates["distance"].double())[:, None]
        self.y = torch.where(used, y, 0.0)
        self.total = self.weight.sum(1)
        wide = 0.0 if distance_error is None else distance_error[:, 0].double()
        self.sigma = torch.sqrt(1 / self.total + (2 * wide) ** 2)
        self.constant = (-0.5 * torch.where(used, torch.log(2 * math.pi * variance), 0.0).sum(1)
                         + 0.5 * torch.log(2 * math.pi / self.total) - math.log(LN10)
                         + 0.5 * (slope * self.sigma) ** 2)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: torch.Tensor) -> LogFluxTerms:
        part = object.__new__(LogFluxTerms)
        part.__dict__.update({name: value[rows] for name, value in self.__dict__.items()})
        return part


class ExactGrid:
    """Exact posteriors of clusters under log-normal noise.

    Parameters
    ----------
    table : `~clusterpost.families.clusters.table.BandFluxTable`
        Table with the observed bands, on the device to use.
    prior : object of `clusterpost.priors`, optional
        Prior that is a power law in mass and of any form in age and reddening;
        by default `~clusterpost.priors.cluster_prior`.  Its distance uncertainty
        is marginalized exactly.
    n_age, n_ebv : int
        Number of cells of the fine grid.

    Raises
    ------
    InputError
        If the prior is not a power law in mass.

    Notes
    -----
    The density is evaluated at the center of a cell.  Marginals of age and
    reddening are integrated with the next order; the marginal of mass is a sum of
    normal densities.  A grid of half as many cells along each axis is tried first,
    then the full grid if the posterior covers few cells.  If it still covers
    few cells, or the mass is outside the prior's bounds, cells are divided
    until the posterior is resolved.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.clusters.table import load_table
    >>> from clusterpost.families.clusters.exact_grid import ExactGrid
    >>> from clusterpost.observations import Observed
    >>> table = load_table().select(["F275W", "F336W", "F438W", "F555W", "F814W"])
    >>> flux = torch.exp(table.predict(torch.tensor([[1.0, 4.0, 0.2]]),
    ...                                torch.tensor([10.0])))
    >>> seen = torch.ones(1, 5, dtype=torch.bool)
    >>> observed = Observed(flux, 0.1 * flux, seen, ~seen,
    ...                     {"distance": torch.tensor([10.0])})
    >>> grid = ExactGrid(table, n_age=345, n_ebv=75)
    >>> summary = grid.summarize(observed, levels=(0.16, 0.5, 0.84))
    >>> summary.quantiles.shape
    torch.Size([1, 4, 3])
    """

    def __init__(self, table: BandFluxTable, prior: Callable | Prior | None = None, *, n_age: int = 690,
                 n_ebv: int = 150):
        self.prior = as_prior(prior)
        self.low, self.high = self.prior.low.double().tolist(), self.prior.high.double().tolist()
        self.slope = self.prior.mass_slope
        if self.slope is None:
            raise InputError(f"the exact grid needs a prior that is a power law in mass, not "
                             f"{self.prior.describe()}; use exact_posterior for other priors")
        self.fine = table.to(dtype=torch.float64)
        shape = int(n_age), int(n_ebv)
        half = max(2, shape[0] // 2), max(2, shape[1] // 2)
        self.grids = [CellGrid(self, half, _ENOUGH_CELLS), CellGrid(self, shape, _LEAST_CELLS)]

    def log_prior(self, log_age: torch.Tensor, ebv: torch.Tensor) -> torch.Tensor:
        """Compute the log prior density at one solar mass, the normalization of the power law.

        Parameters
        ----------
        log_age, ebv : Tensor (...)

        Returns
        -------
        Tensor (...)
        """
        middle = 0.5 * (self.low[1] + self.high[1])
        theta = torch.stack([log_age, torch.full_like(log_age, middle), ebv], -1).float()
        # Rounding to float32 moves the center of a cell out of the box only if the cell is very small.
        theta = torch.minimum(torch.maximum(theta, self.prior.low.to(theta)), self.prior.high.to(theta))
        return self.prior.log_prob(theta).double() - self.slope * LN10 * middle

    def summarize(self, observed: Observed, levels: Sequence[float] = (0.16, 0.5, 0.84),
                  points: torch.Tensor | None = None) -> GridSummary:
        """Compute quantiles, means, evidence, and draws of each object.

        Parameters
        ----------
        observed : Observed
            Rows with at least one measured band; limits are ignored.
        levels : sequence of float
            Quantile levels.
        points : Tensor (k, 3), optional
            Evenly spread points of the unit cube for the draws.

        Returns
        -------
        GridSummary
            Summaries in double precision.

        Raises
        ------
        InputError
            If a measured flux or error is not positive, or a row has none.
        """
        terms = LogFluxTerms(observed, observed.distance_error(self.prior), self.slope)
        n, device, double = len(terms), self.fine.log_age.device, torch.float64
        shapes = {"quantiles": (n, 4, len(levels)), "mean": (n, 3), "entropy": (n,), "log_evidence": (n,)}
        if points is not None:
            points = points.to(device)
            shapes["theta"] = (n, len(points), 3)
        results = {name: torch.full(shape, torch.nan, dtype=double, device=device) for name, shape in shapes.items()}
        levels = torch.as_tensor(levels, dtype=double, device=device)
        left = torch.arange(n, device=device)
        with torch.inference_mode():
            for grid in self.grids:
                coarse = []
                for rows in left.split(_OBJECTS_PER_BLOCK) if len(left) else ():
                    found, enough = solve_on_grid(grid, terms[rows], levels, points)
                    _put(results, rows, found)
                    coarse.append(rows[~enough])
                left = torch.cat(coarse) if coarse else left
            for rows in left.split(_DIVIDED_PER_BLOCK) if len(left) else ():
                _put(results, rows, solve_by_cells(self, terms[rows], levels, points))
        divided = torch.zeros(n, dtype=torch.bool, device=device)
        divided[left] = True
        return GridSummary(**results, divided=divided)


def _put(results, rows, found):
    for name, values in results.items():
        values[rows] = found[name].double()
