"""The exact posterior by brute force: a dense grid over all three parameters, in float64."""

import math

import torch

from clusterpost.families.clusters.table import LN10, distance_term, load_table
from clusterpost.noise import get_noise
from clusterpost.observations import Observed
from clusterpost.priors import cluster_prior

LOG_AGE, LOG_MASS, EBV = 0, 1, 2


def mocks(n, noise="lognormal", seed=0, error=(0.25, 0.45), n_bands=5, mass=(3.0, 5.0), dtype=torch.float32):
    """True parameters, photometry in the first bands, and the table."""
    generator = torch.Generator().manual_seed(seed)
    table = load_table().to(dtype=dtype)
    theta = cluster_prior().sample(n, generator).to(dtype)
    theta[:, 1] = torch.empty(n, dtype=dtype).uniform_(*mass, generator=generator)
    distance = torch.full((n,), 10.0, dtype=dtype)
    relative = torch.empty(n, len(table.bands), dtype=dtype).uniform_(*error, generator=generator)
    flux, sigma = get_noise(noise).sample(table.predict(theta, distance), relative, generator)
    measured = torch.zeros(flux.shape, dtype=torch.bool)
    measured[:, :n_bands] = True
    one = torch.ones_like(flux)
    flux, sigma = torch.where(measured, flux, one), torch.where(measured, sigma, one)
    return theta, Observed(flux, sigma, measured, torch.zeros_like(measured), {"distance": distance}), table


class UniformFlow:
    """The simplest of all flows: uniform in some of the parameters, whatever the conditions."""

    def __init__(self, columns=(0, 2), prior=None):
        prior = cluster_prior() if prior is None else prior
        self.low, self.high = prior.low[list(columns)], prior.high[list(columns)]

    def draw(self, unit, conditions):
        theta = self.low.to(unit) + (self.high - self.low).to(unit) * unit
        return theta, self.log_prob(theta, conditions)

    def log_prob(self, theta, conditions):
        inside = ((theta >= self.low.to(theta)) & (theta <= self.high.to(theta))).all(-1)
        return torch.where(inside, -torch.log(self.high - self.low).sum().to(theta), -torch.inf)


class NormalFlow:
    """A normal density in (log age, E(B-V)) about the conditions, cut by nothing."""

    def __init__(self, sigma):
        self.sigma = torch.tensor(sigma)

    def draw(self, unit, conditions):
        theta = conditions[:, None] + self.sigma * torch.special.ndtri(unit)
        return theta, self.log_prob(theta, conditions)

    def log_prob(self, theta, conditions):
        z = (theta - conditions[:, None]) / self.sigma
        return (-0.5 * z**2 - torch.log(self.sigma) - 0.5 * math.log(2 * math.pi)).sum(-1)


def dense(observed, table, noise, prior, shape=(420, 240, 120)):
    """Marginals and evidence of one cluster's posterior.

    Returns
    -------
    axes : list of Tensor
    marginals : list of Tensor
        Probability of each cell.
    log_evidence : float
    """
    observed, table = observed.to(dtype=torch.float64), table.to(dtype=torch.float64)
    axes = [a + (b - a) * (torch.arange(n, dtype=torch.float64) + 0.5) / n
            for a, b, n in zip(prior.low.tolist(), prior.high.tolist(), shape, strict=True)]
    base = table.ln_flux(axes[0][:, None], axes[2][None, :])
    scale = LN10 * axes[1] + distance_term(observed.covariates["distance"])
    shifts, shift_weights = _shifts(prior.distance_error)
    total = None
    for shift, log_weight in zip(shifts, shift_weights, strict=True):
        log_density = 0
        for band in range(base.shape[-1]):
            if not (observed.measured[0, band] or observed.limit[0, band]):
                continue
            density = noise.log_prob if observed.measured[0, band] else noise.log_limit
            ln_flux = base[:, None, :, band] + (scale - 2 * shift)[None, :, None]
            log_density = log_density + density(observed.flux[0, band], observed.error[0, band], ln_flux)
        log_density = log_density + log_weight
        total = log_density if total is None else torch.logaddexp(total, log_density)
    theta = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    total = total + prior.log_prob(theta)
    cell = math.log(math.prod((b - a) / n for a, b, n in zip(prior.low.tolist(), prior.high.tolist(), shape,
                                                              strict=True)))
    log_evidence = torch.logsumexp(total.flatten(), 0)
    p = torch.exp(total - log_evidence)
    marginals = [p.sum(dim=tuple(d for d in range(3) if d != i)) for i in range(3)]
    return axes, marginals, (log_evidence + cell).item()


def _shifts(sigma):
    if not sigma:
        return [0.0], [0.0]
    z = torch.linspace(-4, 4, 17, dtype=torch.float64)
    log_weight = -0.5 * z**2
    return (sigma * z).tolist(), (log_weight - torch.logsumexp(log_weight, 0)).tolist()


def grid_quantile(axis, p, level):
    """Quantile of a marginal, linear within cells."""
    step = axis[1] - axis[0]
    edges = torch.cat([axis - step / 2, axis[-1:] + step / 2])
    cumulative = torch.cat([torch.zeros(1, dtype=p.dtype), p.cumsum(0)])
    i = int(torch.searchsorted(cumulative, torch.tensor(level, dtype=p.dtype)).clamp(1, len(axis))) - 1
    return (edges[i] + step * (level - cumulative[i]) / (cumulative[i + 1] - cumulative[i])).item()


def draw_quantile(x, weight, level):
    """Quantile of weighted draws of one cluster."""
    order = x.argsort()
    x, weight = x[order].double(), weight[order].double()
    middle = weight.cumsum(0) - weight / 2
    i = int(torch.searchsorted(middle, torch.tensor(level, dtype=torch.float64)).clamp(1, len(x) - 1))
    part = (level - middle[i - 1]) / (middle[i] - middle[i - 1])
    return (x[i - 1] + part * (x[i] - x[i - 1])).item()


def worst_quantile(theta, weight, axes, marginals, levels=(0.16, 0.5, 0.84)):
    """The largest difference of any quantile, in half-widths of the exact marginal."""
    worst = 0.0
    for i in range(3):
        exact = [grid_quantile(axes[i], marginals[i], level) for level in levels]
        half_width = (exact[-1] - exact[0]) / 2
        got = [draw_quantile(theta[:, i], weight, level) for level in levels]
        worst = max(worst, *(abs(a - b) / half_width for a, b in zip(got, exact, strict=True)))
    return worst
