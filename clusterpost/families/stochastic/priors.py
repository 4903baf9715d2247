"""Priors of the stochastic family.

All are flat in log age, log mass, and the covering fraction, and normal about 3.1 in
R_V. They differ in reddening and metallicity given the age.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from ...densities import shape_in_ln
from ...errors import InputError
from ...priors import BoxPrior, ProductPrior, Uniform, record_densities
from .parameters import METALLICITY, PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...typing import Density
    from ..base import Prior

__all__ = ["PRIORS", "FlatPrior", "StochasticPrior", "SurveyPrior", "TrainingPrior", "get_stochastic_prior",
           "given_metallicity"]

_BOUNDS = {p.name: (p.low, p.high) for p in PARAMETERS}
_AT = {p.name: i for i, p in enumerate(PARAMETERS)}
_EBV, _METALS = _BOUNDS["ebv"], _BOUNDS["metallicity"]

# E(B-V) given the age: exponential with a scale that decreases with age.
_YOUNG_SCALE, _OLD_SCALE = 0.4, 0.1
_SCALE_FROM, _SCALE_TO = 1.0, 3.0  # log10 age/Myr
# [M/H] given the age: about the galaxy's value for young clusters, metal-poor to solar for old ones.
_SPREAD = 0.2
_OLD_METALS = (_METALS[0], 0.0)
_METALS_FROM, _METALS_TO = 3.0, math.log10(5000.0)  # log10 age/Myr
_TRAINING = (0.4, 0.3, 0.3)  # weights of the three components of the training density


class FlatGivenAge:
    """Density that does not depend on age.

    Parameters
    ----------
    low, high : float
    """

    def __init__(self, low: float, high: float):
        self.low, self.high = low, high

    @property
    def density(self) -> Uniform:
        """The same density at every age."""
        return Uniform(self.low, self.high)

    def log_prob(self, x: torch.Tensor, log_age: torch.Tensor) -> torch.Tensor:
        """Compute the log density of ``x`` given the age."""
        inside = (x >= self.low) & (x <= self.high)
        return torch.where(inside, -math.log(self.high - self.low), -torch.inf) + 0 * log_age

    def sample(self, log_age: torch.Tensor, unit: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Draw with uniform numbers ``unit``; mixtures also use uniform numbers ``choice``."""
        return self.low + unit * (self.high - self.low)


class DustOfTheYoung:
    """Exponential density of E(B-V) with a scale from 0.4 mag below 10 Myr to 0.1 mag above 1 Gyr."""

    words = (f"exponential in E(B-V) ({_EBV[0]:g} to {_EBV[1]:g} mag), with a scale that decreases from "
             f"{_YOUNG_SCALE:g} mag at {10**_SCALE_FROM:g} Myr to {_OLD_SCALE:g} mag at {10 ** (_SCALE_TO - 3):g} Gyr")

    def _scale(self, log_age):
        part = ((log_age - _SCALE_FROM) / (_SCALE_TO - _SCALE_FROM)).clamp(0, 1)
        return torch.exp(math.log(_YOUNG_SCALE) + part * math.log(_OLD_SCALE / _YOUNG_SCALE))

    def log_prob(self, x: torch.Tensor, log_age: torch.Tensor) -> torch.Tensor:
        """Compute the log density of E(B-V) given the age."""
        scale = self._scale(log_age)
        density = -x / scale - torch.log(scale) - torch.log(-torch.expm1(-_EBV[1] / scale))
        return torch.where((x >= _EBV[0]) & (x <= _EBV[1]), density, -torch.inf)

    def sample(self, log_age: torch.Tensor, unit: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Draw with uniform numbers ``unit``."""
        scale = self._scale(log_age)
        return -scale * torch.log1p(unit * torch.expm1(-_EBV[1] / scale))


class MetalsOfTheGalaxy:
    """Density of [M/H]: normal about the galaxy's value below 1 Gyr, uniform up to solar above 5 Gyr, mixed between.

    Parameters
    ----------
    metallicity : float or Tensor (n, 1)
        Metallicity [M/H] of the galaxy.
    """

    def __init__(self, metallicity: float | torch.Tensor):
        self.young = _TruncatedNormal(metallicity, _SPREAD, *_METALS)
        self.old = FlatGivenAge(*_OLD_METALS)

    def _old_share(self, log_age):
        return ((log_age - _METALS_FROM) / (_METALS_TO - _METALS_FROM)).clamp(0, 1)

    @property
    def words(self) -> str:
        """Phrase for a methods section."""
        return (f"normal in [M/H] about {float(self.young.mean):g} with a standard deviation of {_SPREAD:g} dex below "
                f"{10 ** (_METALS_FROM - 3):g} Gyr and flat in [M/H] ({_OLD_METALS[0]:.2g} to {_OLD_METALS[1]:g}) "
                f"above {10 ** (_METALS_TO - 3):g} Gyr")

    def log_prob(self, x: torch.Tensor, log_age: torch.Tensor) -> torch.Tensor:
        """Compute the log density of [M/H] given the age."""
        old = self._old_share(log_age)
        young = torch.exp(self.young.log_prob(x))
        return torch.log((1 - old) * young + old * torch.exp(self.old.log_prob(x, log_age)))

    def sample(self, log_age: torch.Tensor, unit: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Draw with uniform numbers ``unit``; ``choice`` selects the young or old component."""
        is_old = choice < self._old_share(log_age)
        return torch.where(is_old, self.old.sample(log_age, unit, choice), self.young.quantile(unit))


class KnownMetals:
    """Density of [M/H] for objects with known metallicities.

    A value without an error is that of the galaxy, and [M/H] given the age is `MetalsOfTheGalaxy`. A value with an
    error is that of the object, and [M/H] is normal about it at every age.

    Parameters
    ----------
    otherwise : object
        Density given the age for objects without a value.
    value, error : Tensor (n, 1)
        Known metallicity and its error; NaN if unknown.
    """

    def __init__(self, otherwise: Any, value: torch.Tensor, error: torch.Tensor):
        self.otherwise, self.known = otherwise, torch.isfinite(value)
        self.measured = self.known & torch.isfinite(error)
        value = torch.where(self.known, value, 0.0)
        self.galaxy = MetalsOfTheGalaxy(value)
        self.own = _TruncatedNormal(value, torch.where(self.measured, error, 1.0), *_METALS)

    def log_prob(self, x: torch.Tensor, log_age: torch.Tensor) -> torch.Tensor:
        """Compute the log density of [M/H] (n, k) given the age."""
        known = torch.where(self.measured, self.own.log_prob(x), self.galaxy.log_prob(x, log_age))
        return torch.where(self.known, known, self.otherwise.log_prob(x, log_age))


class _TruncatedNormal:
    def __init__(self, mean, width, low, high):
        self.mean, self.width, self.low, self.high = mean, width, low, high
        first, last = ((torch.as_tensor(end - mean).double() / width) for end in (low, high))
        self.first, self.last = torch.special.ndtr(first), torch.special.ndtr(last)
        # Use the tail farther from both ends to avoid cancellation between two values close to one.
        near, far = torch.where(first > 0, -first, last), torch.where(first > 0, -last, first)
        near, far = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
        self._ln_norm = torch.log(torch.as_tensor(width)) + near + torch.log(-torch.expm1(far - near))

    def log_prob(self, x):
        inside = (x >= self.low) & (x <= self.high)
        ln_norm = self._ln_norm.to(x) + 0.5 * math.log(2 * math.pi)
        return torch.where(inside, -0.5 * ((x - self.mean) / self.width) ** 2 - ln_norm, -torch.inf)

    def quantile(self, unit):
        first, last = self.first.to(unit), self.last.to(unit)
        at = (first + unit * (last - first)).clamp(1e-12, 1 - 1e-12)
        return (self.mean + self.width * torch.special.ndtri(at)).clamp(self.low, self.high)


class Independent:
    """Density that does not depend on age.

    Parameters
    ----------
    density : object
        Density of `clusterpost.priors` with bounds.
    """

    def __init__(self, density: Any):
        self.density = density

    def log_prob(self, x: torch.Tensor, log_age: torch.Tensor) -> torch.Tensor:
        """Compute the log density of ``x`` given the age."""
        inside = (x >= self.density.low) & (x <= self.density.high)
        return torch.where(inside, self.density.log_prob(x), -torch.inf) + 0 * log_age

    def sample(self, log_age: torch.Tensor, unit: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
        """Draw with uniform numbers ``unit``."""
        return self.density.quantile(unit)


class StochasticPrior(BoxPrior):
    """Prior with reddening and metallicity that may depend on age.

    Parameters
    ----------
    name : str
    parts : sequence of (share, reddening, metals)
        Mixture; each component has a weight and two densities given the age.
    distance_error : float
        Standard deviation of ln distance.

    Attributes
    ----------
    alone : dict
        Densities of independent parameters.
    replaced : dict
        Densities given by the user, see `with_densities`.
    """

    def __init__(self, name: str, parts: Sequence, distance_error: float = 0.0):
        super().__init__(*zip(*_BOUNDS.values(), strict=True), tuple(_BOUNDS), distance_error=distance_error)
        self.name, self.parts, self.replaced = name, tuple(parts), {}
        usual, bounds = PARAMETERS[_AT["rv"]].usual, dict(zip(_BOUNDS, zip(self.low.tolist(), self.high.tolist(),
                                                                            strict=True), strict=True))
        self.alone = {name: Uniform(*bounds[name]) for name in ("log_age", "log_mass", "nebular_covering")}
        self.alone["rv"] = _TruncatedNormal(usual.mean, usual.sigma, *_BOUNDS["rv"])

    def with_densities(self, family: str = "stochastic", **densities: Density) -> Prior:
        """Return the same prior with some densities replaced.

        Densities of E(B-V) and [M/H] replace the age-dependent ones at every age.

        Parameters
        ----------
        family : str or ModelFamily
        **densities
            As for `clusterpost.priors.ProductPrior`, by parameter name.

        Returns
        -------
        StochasticPrior

        Raises
        ------
        InputError
            If a parameter is unknown or a density is not valid.

        Examples
        --------
        >>> from clusterpost.families.stochastic.priors import SurveyPrior
        >>> from clusterpost.priors import PowerLaw
        >>> print(SurveyPrior().with_densities(log_mass=PowerLaw(-2)).describe())
        survey but log_mass power law -2 in 2..7
        """
        product = ProductPrior(family=family, **densities)
        given = {name: piece for name, piece in zip(product.names, product.pieces, strict=True)
                 if name in product.given}
        other = copy.copy(self)
        other.replaced = self.replaced | given
        other.alone = {name: given.get(name, density) for name, density in self.alone.items()}
        dust, metals = (Independent(given[name]) if name in given else None for name in ("ebv", "metallicity"))
        other.parts = tuple((share, dust or of_dust, metals or of_metals) for share, of_dust, of_metals in self.parts)
        other.low, other.high = self.low.clone(), self.high.clone()
        for name, density in given.items():
            other.low[_AT[name]], other.high[_AT[name]] = density.low, density.high
        return other

    @property
    def independent(self) -> dict[str, Density]:
        """Densities of the parameters that are independent of the others, by name."""
        found = self.alone | {"rv": replace(PARAMETERS[_AT["rv"]].usual, low=_BOUNDS["rv"][0], high=_BOUNDS["rv"][1])}
        if len(self.parts) == 1:
            found |= {name: part.density for name, part in zip(("ebv", "metallicity"), self.parts[0][1:], strict=True)
                      if hasattr(part, "density")}
        return found | self.replaced

    @property
    def dependent(self) -> tuple[str, ...]:
        """Phrases on the densities that depend on age."""
        if len(self.parts) > 1:
            return (f"the mixture {self.name!r} of clusterpost in E(B-V) and [M/H]",)
        return tuple(part.words for part in self.parts[0][1:] if not hasattr(part, "density"))

    @property
    def mass_shape(self) -> tuple[float, float, float] | None:
        """Shape of the density in ln mass; see `clusterpost.priors.ProductPrior`."""
        return shape_in_ln(self.alone["log_mass"])

    def log_within(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute the log density within the bounds.

        Parameters
        ----------
        theta : Tensor (..., 6)

        Returns
        -------
        Tensor (...)
        """
        by_name = dict(zip(_AT, theta.unbind(-1), strict=True))
        log_age, ebv, metallicity = (by_name[name] for name in ("log_age", "ebv", "metallicity"))
        terms = [math.log(share) + dust.log_prob(ebv, log_age) + metals.log_prob(metallicity, log_age)
                 for share, dust, metals in self.parts]
        alone = sum(density.log_prob(by_name[name]) for name, density in self.alone.items())
        return alone + torch.logsumexp(torch.stack(terms), 0)

    def sample(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw ``n`` parameter vectors.

        Parameters
        ----------
        n : int
        generator : torch.Generator, optional

        Returns
        -------
        Tensor (n, 6)
        """
        device = torch.device("cpu") if generator is None else generator.device
        unit = torch.rand(n, len(_BOUNDS), generator=generator, dtype=torch.float64, device=device)
        choice = torch.rand(n, 2, generator=generator, dtype=torch.float64, device=device)
        theta = torch.empty_like(unit)
        for name, density in self.alone.items():
            theta[:, _AT[name]] = density.quantile(unit[:, _AT[name]])
        log_age = theta[:, _AT["log_age"]]
        shares = torch.tensor([share for share, *_ in self.parts], dtype=torch.float64, device=device)
        part = torch.searchsorted(shares.cumsum(0), choice[:, 0] * shares.sum(), right=True).clamp(max=len(shares) - 1)
        drawn = torch.stack([torch.stack([dust.sample(log_age, unit[:, 2], choice[:, 1]),
                                          metals.sample(log_age, unit[:, 3], choice[:, 1])], 1)
                             for _, dust, metals in self.parts])
        theta[:, 2:4] = drawn[part, torch.arange(n, device=device)]
        return torch.minimum(torch.maximum(theta.float(), self.low.to(device)), self.high.to(device))

    def given(self, value: torch.Tensor, error: torch.Tensor) -> Prior:
        """Return the prior for objects with known metallicities; see `given_metallicity`."""
        other = copy.copy(self)
        other.parts = tuple((share, dust, KnownMetals(metals, value, error)) for share, dust, metals in self.parts)
        return other

    def describe(self) -> str:
        """Return a one-line description for a table's meta."""
        others = ", ".join(f"{name} {density.describe()}" for name, density in self.replaced.items())
        return self._with_distance(f"{self.name} but {others}" if others else self.name)

    def to_record(self) -> dict:
        """Return plain values; see `clusterpost.priors.prior_from_record`."""
        record = {"kind": "stochastic", "name": self.name, "distance_error": self.distance_error}
        if self.replaced:
            record["densities"] = record_densities(self.replaced)
        return record


class FlatPrior(StochasticPrior):
    """Prior with age, mass, and reddening as in Walter et al. (2025), and log-uniform Z.

    Parameters
    ----------
    distance_error : float

    Examples
    --------
    >>> from clusterpost.families.stochastic.priors import FlatPrior
    >>> FlatPrior().names
    ('log_age', 'log_mass', 'ebv', 'metallicity', 'rv', 'nebular_covering')
    """

    def __init__(self, distance_error: float = 0.0):
        super().__init__("flat", [(1.0, FlatGivenAge(*_EBV), FlatGivenAge(*_METALS))], distance_error)


class SurveyPrior(StochasticPrior):
    """Prior for clusters in disk galaxies: dust for young clusters, low metallicity for old ones.

    Parameters
    ----------
    metallicity : float
        [M/H] of the galaxy.
    distance_error : float

    Notes
    -----
    E(B-V) is exponential and normalized at every age, with a scale of 0.4 mag below 10 Myr that decreases log-linearly
    in log age to 0.1 mag at 1 Gyr. Below 1 Gyr, [M/H] is normal about the galaxy's value with 0.2 dex, truncated to the
    table's range and normalized there; above 5 Gyr, it is uniform from Z = 0.0004 to solar; in between, the two are
    mixed linearly in log age.

    The scales were chosen with reference to clusters in M31 and M33 with known ages from resolved stars.

    Examples
    --------
    >>> from clusterpost.families.stochastic import SurveyPrior
    >>> SurveyPrior(metallicity=-0.3).describe()
    'survey, [M/H] = -0.3'
    """

    def __init__(self, metallicity: float = 0.0, distance_error: float = 0.0):
        low, high = METALLICITY.low, METALLICITY.high
        if not low <= metallicity <= high:
            raise InputError(f"option:metallicity={metallicity!r} must be a galaxy's [M/H] from {low:g} to {high:g}")
        self.metallicity = float(metallicity)
        name = "survey" if metallicity == 0 else f"survey, [M/H] = {metallicity:g}"
        super().__init__(name, [(1.0, DustOfTheYoung(), MetalsOfTheGalaxy(self.metallicity))], distance_error)

    def to_record(self) -> dict:
        """Return plain values; see `clusterpost.priors.prior_from_record`."""
        return {**super().to_record(), "name": "survey", "metallicity": self.metallicity}


class TrainingPrior(StochasticPrior):
    """Training density between the two priors, which can be weighted to either.

    It is a mixture of 0.4 flat, 0.3 survey, and 0.3 with the survey's dust and flat metallicities.

    Parameters
    ----------
    distance_error : float
    """

    def __init__(self, distance_error: float = 0.0):
        flat, metals, dust = FlatGivenAge(*_EBV), FlatGivenAge(*_METALS), DustOfTheYoung()
        super().__init__("training", [(_TRAINING[0], flat, metals), (_TRAINING[1], dust, MetalsOfTheGalaxy(0.0)),
                                      (_TRAINING[2], dust, metals)], distance_error)


def get_stochastic_prior(name: str) -> StochasticPrior:
    """Return a prior of the stochastic family by name.

    Parameters
    ----------
    name : str
        ``survey``, ``flat``, or ``training``.

    Returns
    -------
    StochasticPrior

    Raises
    ------
    InputError
        If the name is unknown.

    Examples
    --------
    >>> from clusterpost.families.stochastic.priors import get_stochastic_prior
    >>> get_stochastic_prior("survey").sample(2).shape
    torch.Size([2, 6])
    """
    if name not in PRIORS:
        raise InputError(f"unknown prior {name!r} of the stochastic family; choose from {', '.join(PRIORS)}")
    return PRIORS[name]()


def given_metallicity(prior: Prior, value: torch.Tensor, error: torch.Tensor) -> Any:
    """Return the prior for objects with known metallicities.

    Parameters
    ----------
    prior : object of `clusterpost.priors` or StochasticPrior
    value, error : Tensor (n,)
        [M/H]: without an error that of the galaxy, about which young clusters scatter by 0.2 dex; with an error that of
        the object. NaN if unknown.

    Returns
    -------
    object
        Prior whose ``log_prob`` takes theta (n, k, 6).  The known values replace the [M/H] density of a prior of this
        family and multiply any other prior.
    """
    value, error = value[:, None], error[:, None]
    return prior.given(value, error) if isinstance(prior, StochasticPrior) else _Multiplied(prior, value, error)


class _Multiplied:
    """Prior times the density of the known metallicity of each object."""

    def __init__(self, prior, value, error):
        self.prior, self.metals = prior, KnownMetals(FlatGivenAge(*_METALS), value, error)

    def log_prob(self, theta):
        return self.prior.log_prob(theta) + self.metals.log_prob(theta[..., _AT["metallicity"]], theta[..., 0])


#: Priors by name.
PRIORS = MappingProxyType({"survey": SurveyPrior, "flat": FlatPrior, "training": TrainingPrior})
