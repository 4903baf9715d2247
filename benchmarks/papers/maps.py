"""Whether inferred MAPs are maxima: against the best point of a fine grid."""

from typing import Any

import numpy as np
import torch
from astropy.table import Table

from clusterpost.families.clusters.table import LN10, distance_term
from clusterpost.flags import NOT_INFERRED
from clusterpost.infer import infer_table
from clusterpost.noise import get_noise
from clusterpost.provenance import AUTO, repeat, results_prefix
from clusterpost.utils import progress_bar
from clusterpost.validation.fits import inferred_parameters
from clusterpost.validation.targets import read_target

_SHAPE = (690, 301)  # ages and reddenings of the grid
_AT_ONCE = 8


def map_shortfall(tbl: Table, *, model: Any = "any_bands", noise: Any = "lognormal",
                  error_floor: float | str | None = 0.05, progress: bool | None = None, **options: Any) -> Table:
    """By how much the MAP of each row falls short of a fine grid's best point.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        As for `~clusterpost.infer_table`; rows with upper limits are left out.
    model, noise, error_floor, progress, **options
        As for `~clusterpost.infer_table`.

    Returns
    -------
    `~astropy.table.Table`
        For each row that is inferred: ``row``, ``log_density`` (the grid's best
        log posterior less the MAP's) and ``chi2`` (the MAP's chi-square, not
        divided, less the grid's least one).  Negative: the MAP is the better.

    Notes
    -----
    690 ages by 301 reddenings, at each the best mass within the prior's bounds,
    known in closed form for either noise model.
    """
    noise = get_noise(noise)
    out = infer_table(tbl, model=model, noise=noise.name, error_floor=error_floor, progress=progress, **options)
    reading = {name: options.get(name) for name in ("columns", "distance")}
    rows, target = read_target(tbl, model=model, noise=noise.name, error_floor=error_floor, **reading)
    inferred = (np.asarray(out["flag"])[rows] & NOT_INFERRED) == 0
    wanted = np.flatnonzero(inferred & ~target.observed.limit.any(1).numpy())
    prior = target.prior
    theta = torch.as_tensor(inferred_parameters(out, "map", prefix=options.get("prefix", ""))[rows])
    theta = torch.minimum(torch.maximum(theta, prior.low.double()), prior.high.double())
    grid = FineGrid(target.table, prior)
    shortfall, chi2 = [], []
    with progress_bar(len(wanted), show=progress, desc="fine grid", unit="row") as bar:
        for at in torch.as_tensor(wanted).split(_AT_ONCE):
            part, point = target[at], theta[at][:, None]
            best, least = grid.best(part)
            shortfall.append(best - part.log_density(point)[:, 0])
            chi2.append(part.chi2(point)[:, 0] - least)
            bar.update(len(at))
    numbers = [torch.cat(values).numpy() if values else np.empty(0) for values in (shortfall, chi2)]
    return Table({"row": rows[wanted], "log_density": numbers[0], "chi2": numbers[1]})


def grid_chi2(out, *, model="default"):
    """Compute the least reduced chi-square of each inferred row on a fine grid.

    Parameters
    ----------
    out : Table
        From `~clusterpost.infer_table`.
    model : str, path or Model

    Returns
    -------
    ndarray (n,)
        Over the bands less three; NaN where a row has no usable band.
    """
    bare, options = repeat(out, prefix=results_prefix(out, None), model=model, noise=None, error_floor=AUTO,
                           distance=None, columns=None)
    rows, target = read_target(bare, **options)
    grid, least = FineGrid(target.table, target.prior), np.full(len(out), np.nan)
    for at in torch.arange(len(rows)).split(_AT_ONCE):
        free = np.maximum(target.observed.n_measured[at].numpy() - 3, 1)
        least[rows[at]] = grid.best(target[at])[1].numpy() / free
    return least


class FineGrid:
    """Ages and reddenings, and the best mass at each.

    Parameters
    ----------
    table : `~clusterpost.families.clusters.table.BandFluxTable`
        In double precision.
    prior : object of `clusterpost.priors`
        Flat within its bounds.
    """

    def __init__(self, table, prior):
        axes = [torch.linspace(prior.low[i].item(), prior.high[i].item(), n, dtype=torch.float64)
                for i, n in zip((0, 2), _SHAPE, strict=True)]
        age, ebv = (x.reshape(-1) for x in torch.meshgrid(*axes, indexing="ij"))
        self.bounds = (prior.low[1].item(), prior.high[1].item())
        self.ln_flux = table.ln_flux(age, ebv)
        self.log_prior = prior.log_prob((prior.low + prior.high) / 2).item()  # the same everywhere

    def best(self, target):
        """Highest log density and least chi-square of each object.

        Parameters
        ----------
        target : Target
            Of n clusters under log-normal or normal noise, without upper limits.

        Returns
        -------
        log_density, chi2 : Tensor (n,)
            Not divided by degrees of freedom.
        """
        o = target.observed
        seen = o.measured.any(0)
        flux, error, there = (x[:, None, seen] for x in (o.flux, o.error, o.measured))
        ln_unit = self.ln_flux[None, :, seen] + distance_term(o.covariates["distance"])[:, None, None]
        variance = torch.log1p((error / flux) ** 2)
        weight = torch.where(there, 1 / variance, 0.0)
        value = torch.where(there, torch.log(flux.abs()) + variance / 2, 0.0)
        by_logs = (weight * (value - ln_unit)).sum(-1) / weight.sum(-1)
        inverse = torch.where(there, error**-2, 0.0)
        unit = torch.exp(ln_unit)
        by_fluxes = torch.log(((inverse * flux * unit).sum(-1) / (inverse * unit**2).sum(-1)).clamp(min=1e-30))
        low, high = (LN10 * end for end in self.bounds)
        by_logs, by_fluxes = by_logs.clamp(low, high), by_fluxes.clamp(low, high)
        chi2 = (inverse * (flux - unit * torch.exp(by_fluxes)[..., None]) ** 2).sum(-1)
        ln_mass = by_fluxes if target.noise.name == "normal" else by_logs
        density = target.noise.log_prob(flux, error, ln_unit + ln_mass[..., None])
        density = torch.where(there, density, 0.0).sum(-1) + self.log_prior
        return density.amax(1), chi2.amin(1)
