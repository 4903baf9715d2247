"""Priors of single parameters, as input of a network that was trained with such knowledge.

Draws of a network under its broad training prior are few where a narrow prior is high.  A network that takes a value
with a normal error as input draws there, and its density is accurate there.  Weights remove this normal density again
and put the prior in its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ..families.encoders import known_covariates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..families.base import ModelFamily, Prior
    from ..flow.metadata import KnowledgeMetadata
    from ..observations import Observed

__all__ = ["informed", "log_knowledge"]

_WIDER = 1.2  # error of a value in standard deviations of the prior, so that weights stay small in its tails


def informed(observed: Observed, family: ModelFamily, prior: Prior, knowledge: KnowledgeMetadata | None) -> Observed:
    """Add what a prior tells of parameters to the covariates of objects.

    Parameters
    ----------
    observed : Observed
    family : ModelFamily
    prior : Prior
        Prior of all objects.
    knowledge : KnowledgeMetadata or None
        What the network was trained to take as input.

    Returns
    -------
    Observed
        The same objects, with values and errors where the prior, with the known quantities of an object, is narrow.
    """
    if knowledge is None:
        return observed
    added, told = {}, family.moments_given(prior, observed.covariates)
    for name, least, most in zip(knowledge.names, knowledge.least, knowledge.most, strict=True):
        if name in told:
            mean, width = (torch.as_tensor(x, dtype=observed.flux.dtype).to(observed.flux.device) for x in told[name])
            error = _WIDER * width
            narrow = (error <= most).expand(len(observed))
            added |= {key: torch.where(narrow, x, torch.nan)
                      for key, x in zip(known_covariates(name), (mean, error.clamp(min=least)), strict=True)}
    return replace(observed, covariates=observed.covariates | added)


def log_knowledge(observed: Observed, theta: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
    """Compute the log density of what the network takes as known, up to a constant for each object.

    Parameters
    ----------
    observed : Observed
        Objects with the covariates of `informed`.
    theta : Tensor (n, k, n_parameter)
    names : sequence of str
        Names of the parameters.

    Returns
    -------
    Tensor (n, k)
        Zero where nothing is known.
    """
    total = theta.new_zeros(theta.shape[:-1])
    for i, keys in enumerate(map(known_covariates, names)):
        if keys[0] in observed.covariates:
            value, error = (observed.covariates[key].to(theta)[:, None] for key in keys)
            total = total - 0.5 * ((theta[..., i] - value) / error).square().nan_to_num(nan=0.0)
    return total
