"""Priors of a galaxy's star formation history, by name.

Hahn & Melchior (2022) call theirs a flat Dirichlet distribution of the four components' weights.  Their code draws
three sticks uniformly instead, by which the first component gets half of the weight in the mean and the last an eighth.
``"uniform"`` is that prior, of their published posteriors; under ``"dirichlet"`` all weights are equally probable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError
from ...priors import ProductPrior, Share

if TYPE_CHECKING:
    from ..base import ModelFamily

__all__ = ["STICKS", "galaxy_prior"]

#: Densities of the sticks that are not uniform, by name of the prior.
STICKS = {"uniform": {}, "dirichlet": {"stick1": Share(3), "stick2": Share(2)}}


def galaxy_prior(sticks: str = "uniform", family: str | ModelFamily = "galaxies") -> ProductPrior:
    """Make the prior of Hahn & Melchior (2022).

    Parameters
    ----------
    sticks : {"uniform", "dirichlet"}
        The star formation history: as their code has it, or as they describe it.
    family : str or ModelFamily
        Of galaxies; all other parameters are uniform between its bounds.

    Returns
    -------
    ProductPrior

    Raises
    ------
    InputError
        If there is no prior of that name.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.galaxies.history import component_weights
    >>> from clusterpost.families.galaxies.priors import galaxy_prior
    >>> theta = galaxy_prior("dirichlet").sample(100_000, torch.Generator().manual_seed(1))
    >>> [round(weight, 2) for weight in component_weights(theta[:, 1:4]).mean(0).tolist()]
    [0.25, 0.25, 0.25, 0.25]
    """
    if sticks not in STICKS:
        raise InputError(f"unknown prior of the star formation history {sticks!r}; choose from {', '.join(STICKS)}")
    return ProductPrior(family=family, **STICKS[sticks])
