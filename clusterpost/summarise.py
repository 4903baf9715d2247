"""From weighted draws to the numbers of a row, by column name."""

from __future__ import annotations

import torch

from . import flags
from .posterior.ascent import find_map
from .posterior.modes import find_modes
from .posterior.refine import support
from .posterior.summary import entropy, quantiles
from .schema import quantile_label

__all__ = ["summarise"]

_POOR_CHI2 = 10.0
_SUPPORT_STRIDE = 7  # of the draws that the predictive p-value is taken over; odd, as Sobol points want it
#: Parameters, in the order of theta, and whether a column holds them as powers of ten.
_PARAMETERS = (("age", True), ("mass", True), ("ebv", False))


def summarise(draws, target, levels, n_modes, *, ascend, taken=None, marginals=None):
    """All results of one chunk.

    Parameters
    ----------
    draws : Refined
    target : Target
    levels : sequence of float
        Of the quantiles.
    n_modes : int
    ascend : bool
        Take the maximum of ``target``'s density for the MAP, and not the
        strongest mode of the draws (Walter et al. 2025, Sect. 3.2.3).
    taken : array (4, n_level), optional
        Where the quantiles of age, mass, reddening and stellar mass are taken
        in their stead.
    marginals : tuple of Tensor, optional
        Quantiles (n, 4, n_level), means (n, 3) and entropy (n,) where they are known better
        than from the draws.

    Returns
    -------
    dict of ndarray
    """
    theta, weight = draws.theta, draws.weight
    modes = find_modes(theta, n_modes, weight=weight)
    best = modes.theta[:, 0]
    if ascend:
        best, _ = find_map(target.log_density, theta, draws.log_density, target.prior.low, target.prior.high)
    if marginals is None:
        taken = [levels] * 4 if taken is None else taken
        marginals = _marginals(theta, weight, draws.normalised, target.table, taken)
        for row, every in draws.every.items():
            # Quantiles of all draws there are: of those that are kept, they are less certain.
            log_density = every.log_density - draws.log_evidence[row]
            alone = _marginals(every.theta[None], every.weight[None], log_density[None], target.table, taken)
            for of_all, of_one in zip(marginals, alone, strict=True):
                of_all[row] = of_one[0]
    quantile, mean, results_entropy = marginals
    results = {}
    for i, (name, power) in enumerate((*_PARAMETERS, ("stellar_mass", True))):
        for level, column in zip(levels, quantile[:, i].unbind(1), strict=True):
            results[f"{name}_{quantile_label(level)}"] = _linear(column, power)
    for i, (name, power) in enumerate(_PARAMETERS):
        results[f"{name}_mean"] = _linear(mean[:, i], power)
        results[f"{name}_map"] = _linear(best[:, i], power)
        results[f"{name}_modes"] = _linear(modes.theta[..., i], power)
    n_measured = target.observed.n_measured
    chi2 = target.chi2(best[:, None])[:, 0] / (n_measured - theta.shape[-1]).clamp(min=1)
    some = slice(None, None, _SUPPORT_STRIDE)
    p_value, flag = support(target, theta[:, some], weight[:, some] / weight[:, some].sum(1, keepdim=True))
    flag = flag | draws.flag | torch.where(chi2 > _POOR_CHI2, flags.POOR_FIT, 0).to(torch.int32)
    numbers = {"mode_weight": modes.weight, "n_modes": modes.count, "entropy": results_entropy, "chi2_map": chi2,
               "efficiency": draws.efficiency, "log_evidence": draws.log_evidence,
               "support": p_value, "flag": flag}
    return results | {name: values.cpu().numpy() for name, values in numbers.items()}


def _marginals(theta, weight, log_density, table, taken):
    """Quantiles (n, 4, n_level), means (n, 3) and entropy (n,) of weighted draws."""
    log_stellar_mass = theta[..., 1] + torch.log10(table.surviving_mass(theta[..., 0]))
    every = [*theta.unbind(-1), log_stellar_mass]
    return (torch.stack([quantiles(x, at, weight) for x, at in zip(every, taken, strict=True)], 1),
            (weight[..., None].double() * theta).sum(1), entropy(log_density, weight))


def _linear(values, power):
    values = values.double().cpu().numpy()
    return 10**values if power else values
