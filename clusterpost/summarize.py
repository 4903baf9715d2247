"""Summaries of weighted draws, by column name."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import torch

from . import flags
from .config import conf
from .posterior.ascent import find_map
from .posterior.modes import find_modes
from .posterior.refine import AllDraws, support
from .posterior.summary import entropy, mean, quantiles
from .schema import quantile_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from .families.base import ModelFamily
    from .posterior.refine import WeightedSamples
    from .posterior.target import NetworkTarget, Target

__all__ = ["summarize", "with_derived"]

_POOR_CHI2 = 10.0
_POINTS_IN_CACHE = 16_384  # processed at a time for derived quantities, to keep intermediate results in cache
_SUPPORT_STRIDE = 7  # stride of the draws for the predictive p-value; odd because of the Sobol points


def summarize(draws: WeightedSamples, target: Target | NetworkTarget, levels: Sequence[float], n_modes: int, *,
              family: ModelFamily, ascend: bool, taken: np.ndarray | None = None,
              marginals: tuple[torch.Tensor, ...] | None = None) -> dict:
    """Compute all results of one chunk.

    Parameters
    ----------
    draws : WeightedSamples
    target : Target
    levels : sequence of float
        Quantile levels.
    n_modes : int
    family : `~clusterpost.families.ModelFamily`
        Family of the parameters ``theta``.
    ascend : bool
        Use the maximum of ``target``'s density as the MAP instead of the strongest mode of the draws (Walter et al.
        2025, Sect. 3.2.3).
    taken : array (n_parameter, n_level), optional
        Corrected quantile levels of the parameters.
    marginals : tuple of Tensor, optional
        Quantiles (n, n_parameter + n_derived, n_level), means of the parameters (n, n_parameter), and entropy (n,),
        if they are known more accurately than from the draws.

    Returns
    -------
    dict of ndarray
    """
    theta, weight = draws.theta, draws.weight
    modes = find_modes(theta, n_modes, weight=weight)
    best = modes.theta[:, 0]
    if ascend:
        highest, _ = find_map(target.log_density, theta, draws.log_density, target.prior.low, target.prior.high,
                              target.climb)
        best = torch.where(draws.log_density.isnan().all(1, keepdim=True), best, highest)  # simulated objects
    known = {name: values[:, None] for name, values in target.observed.covariates.items()}
    taken = [*([levels] * len(family.parameters) if taken is None else taken), *[levels] * len(family.derived)]
    if marginals is None:
        quantile, means, results_entropy = _marginals(theta, weight, draws.normalized, family, known, taken)
        for rows, every in _batches(draws.every):
            # Quantiles of all draws are more accurate than those of the draws that are kept.
            log_density = every.log_density - draws.log_evidence[rows].nan_to_num(nan=0.0)[:, None]
            of_rows = {name: values[rows] for name, values in known.items()}
            found = _marginals(every.theta, every.weight, log_density, family, of_rows, taken)
            for of_all, of_some in zip((quantile, means, results_entropy), found, strict=True):
                of_all[rows] = of_some
    else:
        quantile, means, results_entropy = marginals
        derived = with_derived(theta, family, known)[..., theta.shape[-1]:].unbind(-1)
        means = torch.cat([means, *(mean(x, weight)[:, None] for x in derived)], 1)
    results = {}
    best_of_all = with_derived(best[:, None], family, known)[:, 0]
    for i, quantity in enumerate((*family.parameters, *family.derived)):
        for level, column in zip(levels, quantile[:, i].unbind(1), strict=True):
            results[f"{quantity.column}_{quantile_label(level)}"] = _column(column, quantity)
        results[f"{quantity.column}_mean"] = _column(means[:, i], quantity)
        results[f"{quantity.column}_map"] = _column(best_of_all[:, i], quantity)
    for i, parameter in enumerate(family.parameters):
        results[f"{parameter.column}_modes"] = _column(modes.theta[..., i], parameter)
    some = slice(None, None, _SUPPORT_STRIDE)
    p_value, flag = support(target, theta[:, some], weight[:, some] / weight[:, some].sum(1, keepdim=True))
    numbers = {"mode_weight": modes.weight, "n_modes": modes.count, "entropy": results_entropy, "support": p_value,
               "efficiency": draws.efficiency, "flag": flag | draws.flag}
    if family.likelihood is not None:
        chi2 = target.chi2(best[:, None])[:, 0] / (target.observed.n_measured - theta.shape[-1]).clamp(min=1)
        numbers |= {"chi2_map": chi2, "log_evidence": draws.log_evidence}
        numbers["flag"] = numbers["flag"] | torch.where(chi2 > _POOR_CHI2, flags.POOR_FIT, 0).to(torch.int32)
    return results | {name: values.cpu().numpy() for name, values in numbers.items()}


def with_derived(theta: torch.Tensor, family: ModelFamily, covariates: dict) -> torch.Tensor:
    """Append the derived quantities of a family to its parameters.

    Parameters
    ----------
    theta : Tensor (n, k, n_parameter)
    family : `~clusterpost.families.ModelFamily`
    covariates : dict of Tensor (n, 1)

    Returns
    -------
    Tensor (n, k, n_parameter + n_derived)
    """
    size, parts = max(1, _POINTS_IN_CACHE // theta.shape[1]), []
    for at in range(0, max(1, len(theta)), size):
        part, known = theta[at:at + size], {name: values[at:at + size] for name, values in covariates.items()}
        derived = [quantity.function(part, known)[..., None].to(part) for quantity in family.derived]
        parts.append(torch.cat([part, *derived], -1))
    return torch.cat(parts)


def _batches(every):
    """Yield rows with equal numbers of draws, and their stacked draws."""
    alike = defaultdict(list)
    for row, draws in every.items():
        alike[len(draws.weight)].append(row)
    for size, rows in alike.items():
        step = max(1, conf.points_per_pass // size)
        for some in (rows[start:start + step] for start in range(0, len(rows), step)):
            of_some = [every[row] for row in some]
            yield some, AllDraws(*(torch.stack([getattr(one, name) for one in of_some])
                                         for name in ("theta", "weight", "log_density")))


def _marginals(theta, weight, log_density, family, covariates, taken):
    """Compute quantiles (n, n_quantity, n_level), means (n, n_quantity), and entropy (n,) of weighted draws."""
    every = with_derived(theta, family, covariates).unbind(-1)  # one by one, to save memory
    quantile = [quantiles(x, at, weight) for x, at in zip(every, taken, strict=True)]
    return torch.stack(quantile, 1), torch.stack([mean(x, weight) for x in every], 1), entropy(log_density, weight)


def _column(values, quantity):
    return quantity.to_column(values.double().cpu().numpy())
