"""Base class of prior densities: bounds, names, and the uncertainty of the distance."""

from __future__ import annotations

import functools
from copy import copy
from typing import TYPE_CHECKING

import torch

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .families.base import ModelFamily, Prior
    from .typing import Density

__all__ = ["BoundedPrior"]


def _relative_error(value):
    """Return the relative error of a distance, or raise an `InputError`."""
    if not 0 <= float(value) < 1:
        raise InputError(f"option:distance-error={value!r} must be a relative standard deviation from 0 to below 1, "
                         "such as 0.05 for 5 %")
    return float(value)


class BoundedPrior:
    """Base class of priors: bounds, names, and the relative standard deviation of the distance.

    Parameters
    ----------
    low, high : sequence of float
        Bounds of the parameters.
    names : sequence of str
        Names of the parameters.
    distance_error : float
        Relative standard deviation of distances.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float], names: Sequence[str], distance_error: float):
        self.names = tuple(names)
        self.low = torch.as_tensor(low, dtype=torch.float32)
        self.high = torch.as_tensor(high, dtype=torch.float32)
        if not (self.low < self.high).all():
            raise InputError("every lower bound of a prior must be below its upper bound")
        if not (len(self.low) == len(self.high) == len(self.names)):
            raise InputError(f"a prior over {', '.join(self.names)} needs {len(self.names)} lower and upper bounds")
        self.distance_error = _relative_error(distance_error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"

    def with_distance_error(self, distance_error: float) -> Prior:
        """Return the same prior with another standard deviation of ln distance.

        Parameters
        ----------
        distance_error : float

        Returns
        -------
        object
            Prior of the same class.

        Examples
        --------
        >>> from clusterpost.priors import cluster_prior
        >>> cluster_prior().with_distance_error(0.05).distance_error
        0.05
        """
        other = copy(self)
        other.distance_error = _relative_error(distance_error)
        return other

    def with_densities(self, family: str | ModelFamily, **densities: Density) -> Prior:
        """Return the same prior with some densities replaced.

        Parameters
        ----------
        family : str or ModelFamily
            Family of the parameters.
        **densities
            As for `ProductPrior`.

        Raises
        ------
        InputError
            If the prior is a function, or a density is not valid or not for a parameter of the family.

        Examples
        --------
        >>> from clusterpost.priors import PowerLaw, cluster_prior
        >>> print(cluster_prior().with_densities("clusters",
        ...                                      log_mass=PowerLaw(-2)).describe())
        log_age uniform 0..4.1383, log_mass power law -2 in 2..8, ebv uniform 0..1.5
        """
        raise InputError(f"{self.describe()} has no densities of single parameters to replace; include them in the "
                         "function")

    def of_family(self, family: ModelFamily) -> Prior:
        """Return the prior for a family's parameters.

        Parameters
        ----------
        family : ModelFamily

        Raises
        ------
        InputError
            If the prior is for other parameters.
        """
        if self.names != family.parameter_names:
            raise InputError(f"the prior is for {', '.join(self.names)}, but the model infers "
                             f"{', '.join(family.parameter_names)}")
        return self

    dependent: tuple[str, ...] = ()  # phrases on the densities that depend on other parameters

    @property
    def independent(self) -> dict[str, Density]:
        """Densities of the other parameters, by name."""
        return {}

    @property
    def mass_shape(self) -> tuple[float, float, float] | None:
        """Slope a, center c, and precision b of ln density = a x - b (x - c)^2 / 2 in x = ln mass, or None."""
        return None

    @property
    def mass_slope(self) -> float | None:
        """d ln density / d ln mass if it is constant within the bounds, else None."""
        shape = self.mass_shape
        return None if shape is None or shape[2] else shape[0]

    def inside(self, theta: torch.Tensor) -> torch.Tensor:
        """Return whether parameters are within the bounds.

        Parameters
        ----------
        theta : Tensor (..., n_parameter)

        Returns
        -------
        Tensor (...) of bool
        """
        within = [(x >= low) & (x <= high)
                  for x, low, high in zip(theta.unbind(-1), self.low.tolist(), self.high.tolist(), strict=True)]
        return functools.reduce(torch.logical_and, within)

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute the log density; -inf outside the bounds.

        Parameters
        ----------
        theta : Tensor (..., n_parameter)

        Returns
        -------
        Tensor (...)
        """
        return torch.where(self.inside(theta), self.log_within(theta), -torch.inf)

    def log_within(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute the log density of parameters within the bounds.

        Parameters
        ----------
        theta : Tensor (..., n_parameter)

        Returns
        -------
        Tensor (...)
            Log density; without meaning outside the bounds.
        """
        raise NotImplementedError

    def to_record(self) -> dict:
        """Return plain values from which `prior_from_record` makes the same prior.

        Returns
        -------
        dict
            Numbers, strings, lists, and dicts.
        """
        raise NotImplementedError

    def _with_distance(self, text):
        return f"{text}, distance error {self.distance_error:g}" if self.distance_error else text
