"""Priors of a galaxy's parameters, as densities and as maps from the unit cube.

Hahn & Melchior (2022) call their prior of the star formation history a flat Dirichlet distribution.  Their code draws
three sticks uniformly instead, by which the first component gets half of the weight in the mean and the last an
eighth.  Both are here: `galaxy_prior` with ``sticks="uniform"``, that of their published posteriors, and
``"dirichlet"``, under which the four weights are equally probable.
"""

from __future__ import annotations

import torch

from ...errors import InputError
from ...priors import BoxPrior
from .parameters import PARAMETERS

__all__ = ["STICKS", "GalaxyPrior", "galaxy_prior"]

#: The density of each stick s is p s^(p - 1): the powers p, by name of the prior.
STICKS = {"uniform": (1.0, 1.0, 1.0), "dirichlet": (3.0, 2.0, 1.0)}
_FIRST = [p.name for p in PARAMETERS].index("stick1")


class GalaxyPrior(BoxPrior):
    """Independent densities: of powers of the sticks, and uniform of all else.

    Parameters
    ----------
    sticks : str
        ``"uniform"`` or ``"dirichlet"``.

    Raises
    ------
    InputError
        If there is no prior of that name.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.galaxies.history import component_weights
    >>> from clusterpost.families.galaxies.priors import GalaxyPrior
    >>> theta = GalaxyPrior("dirichlet").sample(100_000, torch.Generator().manual_seed(1))
    >>> [round(weight, 2) for weight in component_weights(theta[:, 1:4]).mean(0).tolist()]
    [0.25, 0.25, 0.25, 0.25]
    """

    def __init__(self, sticks="uniform"):
        if sticks not in STICKS:
            raise InputError(f"unknown prior of the star formation history {sticks!r}; choose from {', '.join(STICKS)}")
        super().__init__([p.low for p in PARAMETERS], [p.high for p in PARAMETERS], [p.name for p in PARAMETERS])
        self.sticks = sticks
        powers = torch.ones(len(PARAMETERS))
        powers[_FIRST:_FIRST + 3] = torch.tensor(STICKS[sticks])
        self._powers = powers

    def to_dict(self):
        """Return plain values; see `from_dict`."""
        return {"sticks": self.sticks}

    @classmethod
    def from_dict(cls, values) -> GalaxyPrior:
        """Make the prior from what `to_dict` returned."""
        return cls(values["sticks"])

    def to_unit(self, theta):
        """Map parameters to the unit cube, in which the prior is uniform.

        Parameters
        ----------
        theta : Tensor (..., 9)

        Returns
        -------
        Tensor (..., 9)
            The prior's distribution function of each.
        """
        low, high, powers = (x.to(theta) for x in (self.low, self.high, self._powers))
        return ((theta - low) / (high - low)) ** powers

    def from_unit(self, unit):
        """Map the unit cube to parameters.

        Parameters
        ----------
        unit : Tensor (..., 9)

        Returns
        -------
        Tensor (..., 9)
        """
        low, high, powers = (x.to(unit) for x in (self.low, self.high, self._powers))
        return torch.lerp(low, high, unit ** (1 / powers))

    def sample(self, n, generator):
        """Draw parameters; see `clusterpost.priors.BoxPrior.sample`."""
        unit = torch.rand(n, len(PARAMETERS), generator=generator, device=generator.device)
        return self.from_unit(unit)

    def log_within(self, theta):
        """Log density within the bounds."""
        powers = self._powers[_FIRST:_FIRST + 3].to(theta)
        sticks = theta[..., _FIRST:_FIRST + 3]
        return super().log_within(theta) + (torch.xlogy(powers - 1, sticks) + torch.log(powers)).sum(-1)

    def describe(self):
        """One line for a table's meta."""
        return f"{super().describe()}; sticks {self.sticks}"


def galaxy_prior(sticks="uniform") -> GalaxyPrior:
    """Prior of Hahn & Melchior (2022).

    Parameters
    ----------
    sticks : {"uniform", "dirichlet"}
        The density of the coefficients of the star formation history: as their code has it, or as they describe it.

    Returns
    -------
    GalaxyPrior

    Examples
    --------
    >>> from clusterpost.families.galaxies.priors import galaxy_prior
    >>> galaxy_prior().names[:2]
    ('log_mstar', 'stick1')
    """
    return GalaxyPrior(sticks)
