"""Named priors of the star formation history of galaxies.

Hahn & Melchior (2022) describe a flat Dirichlet distribution of the weights of the four components.  Their code draws
three sticks uniformly instead, so the mean weight is one half for the first component and an eighth for the last.
``"uniform"`` is this prior of their published posteriors; with ``"dirichlet"``, all weights are equally probable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError
from ...priors import ProductPrior, Share

if TYPE_CHECKING:
    from ..base import ModelFamily

__all__ = ["STICKS", "galaxy_prior"]

#: Non-uniform densities of the sticks, by name of the prior.
STICKS = {"uniform": {}, "dirichlet": {"stick1": Share(3), "stick2": Share(2)}}


def galaxy_prior(sticks: str = "uniform", family: str | ModelFamily = "galaxies") -> ProductPrior:
    """Make the prior of Hahn & Melchior (2022).

    Parameters
    ----------
    sticks : {"uniform", "dirichlet"}
        Prior of the star formation history: as in their code, or as in their text.
    family : str or ModelFamily
        Family of galaxies; all other parameters are uniform within its bounds.

    Returns
    -------
    ProductPrior

    Raises
    ------
    InputError
        If the name is unknown.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.galaxies.history import component_weights
    >>> from clusterpost.families.galaxies.priors import galaxy_prior
    >>> theta = galaxy_prior("dirichlet").sample(100_000,
    ...                                          torch.Generator().manual_seed(1))
    >>> weights = component_weights(theta[:, 1:4]).mean(0)
    >>> [round(weight, 2) for weight in weights.tolist()]
    [0.25, 0.25, 0.25, 0.25]
    """
    if sticks not in STICKS:
        raise InputError(f"unknown prior of the star formation history {sticks!r}; choose from {', '.join(STICKS)}")
    return ProductPrior(family=family, **STICKS[sticks])
