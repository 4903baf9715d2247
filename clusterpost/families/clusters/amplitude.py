"""Conditional density of a cluster's mass, given age, reddening, and photometry.

It has a closed form under log-normal noise and is tabulated otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from .table import LN10, distance_term
from .truncated import CutNormal

if TYPE_CHECKING:
    from ...noise import Noise
    from ...observations import Observed
    from ..base import Prior
    from .table import BandFluxTable

__all__ = ["MassConditional", "MassDensity", "Tabulated"]

_FLOOR = 40.0  # minimum of the proposal within the bounds, as minus ln of its ratio to the peak
# Nodes of tabulated mass densities in standard deviations from the peak: dense at the peak, up to any bound.
_HALF = (0.35, 0.7, 1.05, 1.4, 1.75, 2.1, 2.5, 3.0, 3.6, 4.5, 6.0, 10.0, 20.0, 50.0, 150.0)
_PLACES = tuple(-x for x in reversed(_HALF)) + (0.0,) + _HALF
_EDGES = (0.0, 1e-5, 1e-4, 1e-3)  # nodes at each bound, distance in ln mass
_N_COARSE, _N_CLOSER = 24, 2  # additional nodes and refinements for priors with their own peak


class Tabulated:
    """Tabulated densities, log-linear between nodes.

    Parameters
    ----------
    nodes : Tensor (..., n_node)
        Nodes in ascending order; duplicates are allowed.
    log_density : Tensor (..., n_node)
        Log density at the nodes, not normalized.
    """

    def __init__(self, nodes: torch.Tensor, log_density: torch.Tensor):
        self.nodes = nodes
        highest = log_density.amax(-1, keepdim=True)
        log_density = (log_density - highest).nan_to_num(nan=0.0, neginf=-_FLOOR).clamp(min=-_FLOOR)
        self.log_density = log_density
        width = nodes.diff(dim=-1)
        slope = log_density.diff(dim=-1)
        larger = torch.maximum(log_density[..., 1:], log_density[..., :-1])
        steep = slope.abs().clamp(min=1e-6)
        mass = width * torch.exp(larger) * (-torch.expm1(-steep) / steep)
        self.cumulative = torch.nn.functional.pad(mass.cumsum(-1), (1, 0))

    @property
    def log_inside(self) -> torch.Tensor:
        """Zero (..., 1), as nothing is known beyond the nodes."""
        return torch.zeros_like(self.cumulative[..., -1:])

    def quantile(self, unit: torch.Tensor) -> torch.Tensor:
        """Compute the inverse of the cumulative distribution function for ``unit`` (..., n) between 0 and 1."""
        wanted = (unit * self.cumulative[..., -1:]).contiguous()
        i = (torch.searchsorted(self.cumulative, wanted, right=True) - 1).clamp(0, self.nodes.shape[-1] - 2)
        start, end = self._take(self.cumulative, i)
        left, right = self._take(self.nodes, i)
        low, high = self._take(self.log_density, i)
        part = ((wanted - start) / (end - start).clamp(min=1e-37)).clamp(0, 1)
        slope = high - low
        # Integrate from the higher end to avoid overflow.
        steep = -slope.abs().clamp(min=1e-6)
        along = torch.log1p(torch.where(slope < 0, part, 1 - part) * torch.expm1(steep)) / steep
        along = torch.where(slope.abs() < 1e-5, part, torch.where(slope < 0, along, 1 - along))
        return left + (right - left) * along.clamp(0, 1)

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the log density at ``x`` (..., n) within the nodes."""
        i = (torch.searchsorted(self.nodes, x.contiguous(), right=True) - 1).clamp(0, self.nodes.shape[-1] - 2)
        left, right = self._take(self.nodes, i)
        low, high = self._take(self.log_density, i)
        along = ((x - left) / (right - left).clamp(min=1e-37)).clamp(0, 1)
        return torch.lerp(low, high, along) - torch.log(self.cumulative[..., -1:])

    @staticmethod
    def _take(values, i):
        return torch.gather(values, -1, i), torch.gather(values, -1, i + 1)


class MassDensity:
    """Densities of log10 mass at ``k`` ages and reddenings of each of ``n`` clusters."""

    def __init__(self, parts: list[tuple[torch.Tensor, Tabulated | CutNormal]], low: float, high: float):
        self._parts, self._low, self._high = parts, low, high
        self._order = torch.cat([rows for rows, _ in parts]).argsort()

    def draw(self, unit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw masses.

        Parameters
        ----------
        unit : Tensor (n, k)
            Between 0 and 1.

        Returns
        -------
        log_mass : Tensor (n, k)
        log_q : Tensor (n, k)
            Log density of the draws, in log10 mass.
        """
        def quantile(rows: torch.Tensor, density: Tabulated | CutNormal) -> torch.Tensor:
            """Return the quantiles of some rows and their log density."""
            x = density.quantile(unit[rows, :, None])
            return torch.stack([x, density.log_prob(x)])[..., 0].to(unit.dtype)

        ln_mass, log_q = self._joined(quantile)
        return (ln_mass / LN10).clamp(self._low / LN10, self._high / LN10), log_q + math.log(LN10)

    def log_prob(self, log_mass: torch.Tensor) -> torch.Tensor:
        """Compute the log density in log10 mass for masses (n, k) within the prior's bounds."""
        def at(rows: torch.Tensor, density: Tabulated | CutNormal) -> torch.Tensor:
            """Compute the log density of some rows."""
            return density.log_prob(LN10 * log_mass[rows, :, None])[..., 0].to(log_mass.dtype)

        return self._joined(at) + math.log(LN10)

    @property
    def log_inside(self) -> torch.Tensor:
        """Log of the share of the density without bounds that lies within them, (n, k); zero where it is tabulated."""
        return self._joined(lambda rows, density: density.log_inside[..., 0])

    def _joined(self, of):
        return torch.cat([of(*part) for part in self._parts], dim=-2)[..., self._order, :]


class MassConditional:
    """Conditional density of log10 mass, given age, reddening, and photometry.

    Parameters
    ----------
    table : `~clusterpost.families.clusters.table.BandFluxTable`
    noise : object of `clusterpost.noise`
    prior : object of `clusterpost.priors`

    Notes
    -----
    Under log-normal noise, ln m is normal with weight W = sum 1/s^2 about the
    weighted mean of y - ln F. A power-law prior shifts the mean by slope / W, a prior that is normal in ln m
    multiplies the density, and the prior's bounds truncate it. This is exact if no band is an upper limit.
    Otherwise, the density is tabulated at about 40 masses around that mean.
    """

    #: Name of the parameter.
    parameter = "log_mass"

    def __init__(self, table: BandFluxTable, noise: Noise, prior: Prior):
        self.table, self.noise, self.prior = table, noise, prior
        self.low, self.high = (float(end[prior.names.index("log_mass")]) * LN10 for end in (prior.low, prior.high))

    def at(self, observed: Observed, log_age: torch.Tensor, ebv: torch.Tensor, shift: torch.Tensor | None = None, *,
           closed: bool = False) -> MassDensity:
        """Compute the densities at given ages and reddenings.

        Parameters
        ----------
        observed : Observed
        log_age, ebv : Tensor (n, k)
        shift : Tensor (n, k), optional
            Shift of ln distance.
        closed : bool
            Use a closed form for every cluster whose likelihood is nearly log-normal in
            mass. It includes the detections, but not limits or a
            prior that is neither a power law nor normal; weights must correct for the rest.
            It is many times faster than a table.

        Returns
        -------
        MassDensity
        """
        ln_flux = self._ln_flux(observed, log_age, ebv)
        if shift is not None:
            ln_flux = ln_flux - 2 * shift[..., None]
        exact = self.is_closed(observed)
        closed = exact | self.noise.clear(observed.flux, observed.error, observed.measured) if closed else exact
        parts = []
        # Choose closed form or table for each cluster independently of the others.
        for kind, rows in ((self._closed, closed.nonzero()[:, 0]), (self._tabulated, (~closed).nonzero()[:, 0])):
            if len(rows):
                parts.append((rows, kind(observed[rows], log_age[rows], ebv[rows], ln_flux[rows])))
        return MassDensity(parts, self.low, self.high)

    def is_closed(self, observed: Observed) -> torch.Tensor:
        """Return whether the closed form is exact for each cluster, (n,)."""
        if self.noise.name != "lognormal" or self.prior.mass_shape is None:
            return torch.zeros(len(observed), dtype=torch.bool, device=observed.flux.device)
        return ~observed.limit.any(-1)

    def _ln_flux(self, observed, log_age, ebv):
        """Compute ln flux for one solar mass, (n, k, n_band)."""
        return self.table.ln_flux(log_age, ebv) + distance_term(observed.covariates["distance"])[:, None, None]

    def _peak(self, observed, ln_flux):
        """Compute mean and standard deviation of ln mass, each (n, k)."""
        return self.noise.amplitude(observed.flux, observed.error, observed.measured, ln_flux)

    def _closed(self, observed, log_age, ebv, ln_flux):
        mean, sigma = (x[..., None].double() for x in self._peak(observed, ln_flux))
        slope, center, precision = self.prior.mass_shape or (0.0, 0.0, 0.0)
        share = 1 / (1 + precision * sigma**2)  # share of the likelihood in the product of two normal densities
        mean = (mean + (slope + precision * center) * sigma**2) * share
        return CutNormal(mean, sigma * share**0.5, self.low, self.high)

    def _tabulated(self, observed, log_age, ebv, ln_flux):
        mean, sigma = self._peak(observed, ln_flux)
        places = torch.tensor(_PLACES, dtype=mean.dtype, device=mean.device)
        ends = torch.tensor([self.low, self.high], dtype=mean.dtype, device=mean.device).expand(*mean.shape, 2)
        # For a peak outside the bounds, the density decreases from the bound.
        nodes = mean.clamp(self.low, self.high)[..., None] + sigma[..., None] * places
        edges = torch.tensor(_EDGES, dtype=mean.dtype, device=mean.device)
        nodes = torch.cat([ends[..., :1] + edges, nodes, ends[..., 1:] - edges], dim=-1).clamp(self.low, self.high)
        nodes = nodes.sort(-1).values
        if self.prior.mass_slope is not None:
            return Tabulated(nodes, self._log_density(observed, log_age, ebv, ln_flux, nodes))
        # The prior may peak elsewhere: sample the whole range, then refine where the density is high.
        everywhere = torch.linspace(self.low, self.high, _N_COARSE, dtype=mean.dtype, device=mean.device)
        nodes = torch.cat([nodes, everywhere.expand(*mean.shape, -1)], dim=-1).sort(-1).values
        log_density = self._log_density(observed, log_age, ebv, ln_flux, nodes)
        for _ in range(_N_CLOSER):
            levels = (torch.arange(_N_COARSE, dtype=mean.dtype, device=mean.device) + 0.5) / _N_COARSE
            closer = Tabulated(nodes, log_density).quantile(levels.expand(*mean.shape, -1))
            there = self._log_density(observed, log_age, ebv, ln_flux, closer)
            nodes, order = torch.cat([nodes, closer], dim=-1).sort(-1)
            log_density = torch.gather(torch.cat([log_density, there], dim=-1), -1, order)
        return Tabulated(nodes, log_density)

    def _log_density(self, observed, log_age, ebv, ln_flux, nodes):
        """Compute log likelihood plus log prior along the mass, up to a constant, (n, k, n_node)."""
        total = self.noise.along_mass(observed.flux, observed.error, observed.measured, ln_flux, nodes)
        for band in observed.limit.any(0).nonzero()[:, 0].tolist():
            limit, sigma, there = (x[:, band, None, None] for x in (observed.flux, observed.error, observed.limit))
            log_limit = self.noise.log_limit(limit, sigma, ln_flux[..., band, None] + nodes)
            total = total + torch.where(there, log_limit, 0.0)
        if self.prior.mass_slope is not None:
            return total + self.prior.mass_slope * nodes
        log_age, ebv = (x[..., None].expand_as(nodes) for x in (log_age, ebv))
        theta = torch.stack([log_age, nodes / LN10, ebv], dim=-1)
        low, high = self.prior.low.to(theta), self.prior.high.to(theta)
        return total + self.prior.log_within(torch.minimum(torch.maximum(theta, low), high))
