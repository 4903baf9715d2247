"""Prior densities over the parameters.

A prior is a `BoxPrior`, a `ProductPrior`, or a function that returns a log density
(`FunctionPrior`).  Each has bounds and a distance
uncertainty, which refinement marginalizes over.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch

from .bounded import BoundedPrior
from .densities import Exponential, Normal, PowerLaw, Share, Sloped, Uniform, shape_in_ln
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from .families.base import ModelFamily, Parameter, Prior
    from .typing import Density

__all__ = ["BoxPrior", "Exponential", "FunctionPrior", "Normal", "PowerLaw", "ProductPrior", "Share", "Uniform",
           "as_prior", "cluster_prior", "prior_from_record"]

_POINTS_OF_A_FUNCTION = 8  # points whose densities identify a function


class BoxPrior(BoundedPrior):
    """Independent uniform densities between bounds.

    Parameters
    ----------
    low, high : sequence of float
        Bounds of each parameter.
    names : sequence of str, optional
        Names of the parameters; by default those of fully sampled clusters.
    distance_error : float
        Standard deviation of ln distance.

    Examples
    --------
    >>> from clusterpost.priors import cluster_prior
    >>> cluster_prior().names
    ('log_age', 'log_mass', 'ebv')
    """

    def __init__(self, low: torch.Tensor | Sequence[float], high: torch.Tensor | Sequence[float],
                 names: Sequence[str] | None = None, distance_error: float = 0.0):
        super().__init__(low, high, [p.name for p in _cluster_parameters()] if names is None else names,
                         distance_error)

    @classmethod
    def of(cls, parameters: tuple[Parameter, ...], distance_error: float = 0.0) -> BoxPrior:
        """Make a uniform prior within the bounds of a family's parameters."""
        return cls([p.low for p in parameters], [p.high for p in parameters], [p.name for p in parameters],
                   distance_error)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; see `from_dict`."""
        return {"names": list(self.names), "low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BoxPrior:
        """Make the prior from the output of `to_dict`."""
        return cls(values["low"], values["high"], values["names"])

    @property
    def mass_shape(self) -> tuple[float, ...]:
        """Flat in log mass."""
        return 0.0, 0.0, 0.0

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw ``n`` parameter vectors.

        Parameters
        ----------
        n : int
        generator : torch.Generator
            Generator on the device of the draws.

        Returns
        -------
        Tensor (n, n_parameter)
        """
        unit = torch.rand(n, len(self.low), generator=generator, device=generator.device)
        low = self.low.to(generator.device)
        return torch.lerp(low, self.high.to(generator.device), unit)

    def with_densities(self, family: str | ModelFamily, **densities: Density) -> Prior:
        """Return the same prior with some densities replaced, as a `ProductPrior`."""
        return ProductPrior(family=family, distance_error=self.distance_error, **self.independent | densities)

    @property
    def independent(self) -> dict[str, Density]:
        """Uniform densities of all parameters."""
        return {n: Uniform(*ends) for n, *ends in zip(self.names, self.low.tolist(), self.high.tolist(), strict=True)}

    def log_within(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute the log density within the bounds, a constant."""
        return torch.full_like(theta[..., 0], -math.log((self.high - self.low).prod().item()))

    def describe(self) -> str:
        """Describe the prior in one line for a table's meta.

        Returns
        -------
        str
        """
        bounds = zip(self.names, self.low.tolist(), self.high.tolist(), strict=True)
        return self._with_distance("uniform: " + ", ".join(f"{n} {a:g}..{b:g}" for n, a, b in bounds))

    def to_record(self) -> dict:
        """Return plain values; see `prior_from_record`."""
        return {"kind": "box", "names": list(self.names), "low": self.low.tolist(), "high": self.high.tolist(),
                "distance_error": self.distance_error}


class ProductPrior(BoundedPrior):
    """Independent one-dimensional densities, one for each parameter.

    .. versionchanged:: 0.2
       Added the option ``family``.

    Parameters
    ----------
    family : str or ModelFamily
        Family of the parameters, or its name.
    distance_error : float
        Standard deviation of ln distance.
    **densities : Uniform, PowerLaw, Exponential, Normal or Share
        Densities by parameter name: ``log_age``, ``log_mass``, and ``ebv`` for clusters, for log10 age/Myr,
        log10 initial mass/Msun, and E(B-V)/mag.  Other parameters have the usual density of the family, as R_V of
        stochastic clusters, or are uniform; missing bounds are those of the parameter.

    Raises
    ------
    InputError
        If bounds are reversed, a parameter is unknown, or a density is not valid.

    Examples
    --------
    >>> from clusterpost.priors import Exponential, PowerLaw, ProductPrior
    >>> prior = ProductPrior(log_mass=PowerLaw(-2), ebv=Exponential(0.3),
    ...                      distance_error=0.05)
    >>> prior.describe().split(", ")  # doctest: +NORMALIZE_WHITESPACE
    ['log_age uniform 0..4.1383', 'log_mass power law -2 in 2..8',
     'ebv exponential 0.3 in 0..1.5', 'distance error 0.05']
    """

    def __init__(self, *, family: str | ModelFamily = "clusters", distance_error: float = 0.0, **densities: Density):
        parameters = _cluster_parameters() if family == "clusters" else _family(family).parameters
        names = [p.name for p in parameters]
        unknown = [name for name in densities if name not in names]
        if unknown:
            raise InputError(f"unknown parameter {unknown[0]!r}; choose from {', '.join(names)}. For another model, "
                             "give its family with option:family")
        self.family = family if isinstance(family, str) else family.name
        self.given, pieces = {name: piece for name, piece in densities.items() if piece is not None}, []
        bounds = torch.tensor([[p.low, p.high] for p in parameters])  # rounded like the tensors of bounds
        for name, parameter, (low, high) in zip(names, parameters, bounds.tolist(), strict=True):
            piece = self.given.get(name, parameter.usual)
            if not isinstance(piece, Uniform | Sloped | Normal | Share):
                raise InputError(f"{name} {piece!r} is not a density; give a Uniform, PowerLaw, Exponential, Normal, "
                                 "or Share of clusterpost.priors, or a function of all parameters as the prior")
            piece = replace(piece, low=low if piece.low is None else piece.low,
                            high=high if piece.high is None else piece.high)
            if not piece.low < piece.high:
                raise InputError(f"the prior of {name} has the bounds {piece.low:g}..{piece.high:g}; "
                                 "the lower must be below the upper")
            pieces.append(piece)
        super().__init__([p.low for p in pieces], [p.high for p in pieces], names, distance_error)
        self.pieces = tuple(pieces)

    def of_family(self, family: ModelFamily) -> Prior:
        """Return the same densities for a family's parameters; other parameters have their usual density."""
        return ProductPrior(family=family, distance_error=self.distance_error, **self.given)

    @property
    def mass_shape(self) -> tuple[float, ...]:
        """Slope, center, and precision of the density in ln mass if it is a power law or normal, else None."""
        return shape_in_ln(self.pieces[self.names.index("log_mass")]) if "log_mass" in self.names else None

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw ``n`` parameter vectors; see `BoxPrior.sample`."""
        return self.from_unit(torch.rand(n, len(self.pieces), generator=generator, device=generator.device))

    def from_unit(self, unit: torch.Tensor) -> torch.Tensor:
        """Map the unit cube to parameters with this prior as their density.

        Parameters
        ----------
        unit : Tensor (..., n_parameter)

        Returns
        -------
        Tensor (..., n_parameter)
        """
        draws = torch.stack([p.quantile(u) for p, u in zip(self.pieces, unit.unbind(-1), strict=True)], dim=-1)
        low, high = self.low.to(draws), self.high.to(draws)
        return torch.minimum(torch.maximum(draws, low), high)

    def log_within(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute the log density within the bounds, the sum over the parameters."""
        return sum(p.log_prob(x) for p, x in zip(self.pieces, theta.unbind(-1), strict=True))

    def with_densities(self, family: str | ModelFamily, **densities: Density) -> Prior:
        """Return the same prior with some densities replaced."""
        return ProductPrior(family=family, distance_error=self.distance_error, **self.given | densities)

    @property
    def independent(self) -> dict[str, Density]:
        """Densities of all parameters."""
        return dict(zip(self.names, self.pieces, strict=True))

    def describe(self) -> str:
        """Describe the prior in one line for a table's meta."""
        text = ", ".join(f"{n} {p.describe()}" for n, p in zip(self.names, self.pieces, strict=True))
        return self._with_distance(text)

    def to_record(self) -> dict:
        """Return plain values; see `prior_from_record`."""
        pieces = record_densities(dict(zip(self.names, self.pieces, strict=True)))
        return {"kind": "product", "family": self.family, "pieces": pieces, "distance_error": self.distance_error}


class FunctionPrior(BoundedPrior):
    """Prior given as a function, within bounds.

    .. versionchanged:: 0.2
       Added the option ``family``.

    Parameters
    ----------
    function : callable
        Function of theta, a tensor (..., n_parameter), for clusters log10 age/Myr, log10 mass/Msun, and
        E(B-V)/mag. It returns the log density (...), normalized or not.
    low, high : sequence of float, optional
        Bounds; by default those of the family's parameters.
    family : str or ModelFamily
        Family of the parameters theta, or its name.
    distance_error : float
        Standard deviation of ln distance.

    Examples
    --------
    >>> from clusterpost.priors import FunctionPrior
    >>> old_is_clear = FunctionPrior(lambda theta: -theta[..., 0] * theta[..., 2])
    """

    def __init__(self, function: Callable, low: Sequence[float] | None = None, high: Sequence[float] | None = None, *,
                 family: str | ModelFamily = "clusters", distance_error: float = 0.0):
        parameters = _cluster_parameters() if family == "clusters" else _family(family).parameters
        box = BoxPrior.of(parameters)
        super().__init__(box.low if low is None else low, box.high if high is None else high, box.names,
                         distance_error)
        self.function, self._given = function, (low, high)

    def of_family(self, family: ModelFamily) -> Prior:
        """Return the same function for a family's parameters, with the family's bounds if none were given."""
        return FunctionPrior(self.function, *self._given, family=family, distance_error=self.distance_error)

    def sample(self, n: int, generator: torch.Generator) -> NoReturn:
        """Raise, because a function cannot be sampled.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("a prior given as a function cannot be sampled; use a ProductPrior to simulate")

    def log_within(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute the log density within the bounds; elsewhere, use the nearest point within them.

        Raises
        ------
        InputError
            If the function's result has another shape, or is NaN or +inf.
        """
        low, high = self.low.to(theta), self.high.to(theta)
        at = torch.minimum(torch.maximum(theta, low), high)
        values = torch.as_tensor(self.function(at))
        if values.shape != theta.shape[:-1]:
            raise InputError(f"the prior {self._name} returned the shape {tuple(values.shape)} for parameters of shape "
                             f"{tuple(theta.shape)}; it must return {tuple(theta.shape[:-1])}: index with "
                             "theta[..., 0]")
        values = values.to(theta)
        bad = torch.isnan(values) | torch.isposinf(values)
        if bad.any():
            point = [round(x, 4) for x in at[bad][0].tolist()]
            raise InputError(f"the prior {self._name} returned {values[bad][0].item()} at ({', '.join(self.names)}) = "
                             f"{point}; it must return a log density, -inf where the density is zero")
        return values

    def describe(self) -> str:
        """Describe the prior in one line for a table's meta."""
        bounds = zip(self.names, self.low.tolist(), self.high.tolist(), strict=True)
        return self._with_distance(f"function {self._name} in " + ", ".join(f"{n} {a:g}..{b:g}" for n, a, b in bounds))

    def to_record(self) -> dict:
        """Return plain values: bounds, and the density at a few points, which identify the function."""
        unit = torch.rand(_POINTS_OF_A_FUNCTION, len(self.names), generator=torch.Generator().manual_seed(0))
        values = self.log_within(torch.lerp(self.low, self.high, unit)).tolist()
        return {"kind": "function", "name": self._name, "low": self.low.tolist(), "high": self.high.tolist(),
                "values": [float(f"{value:.5g}") for value in values], "distance_error": self.distance_error}

    @property
    def _name(self):
        return getattr(self.function, "__name__", type(self.function).__name__)


def cluster_prior(distance_error: float = 0.0) -> BoxPrior:
    """Make the prior of Walter et al. (2025): uniform in log10 t, log10 m, and E(B-V).

    Parameters
    ----------
    distance_error : float
        Standard deviation of ln distance; zero by default.

    Returns
    -------
    BoxPrior
        log10 t/Myr in [0, log10 13750], log10 m/Msun in [2, 8], E(B-V) in [0, 1.5] mag.

    Examples
    --------
    >>> from clusterpost.priors import cluster_prior
    >>> cluster_prior(distance_error=0.05)
    <BoxPrior uniform: log_age 0..4.1383, log_mass 2..8, ebv 0..1.5, distance error 0.05>
    """
    return BoxPrior.of(_cluster_parameters(), distance_error)


def _cluster_parameters():
    from .families.clusters.parameters import PARAMETERS  # imports priors itself

    return PARAMETERS


def _family(family):
    from .families.registry import get_family

    return get_family(family)() if isinstance(family, str) else family


def as_prior(prior: Any | None, family: ModelFamily | None = None) -> Any:
    """Convert user input to a prior.

    .. versionchanged:: 0.2
       Added the option ``family``.

    Parameters
    ----------
    prior : object, callable, str or None
        None for the family's own prior; a string for one of its named priors.
    family : ModelFamily, optional
        Family of the parameters; by default fully sampled clusters.

    Returns
    -------
    object
        Object with ``log_prob``, ``low``, ``high``, ``names``, ``distance_error``, ``mass_slope``, and ``describe``.

    Raises
    ------
    InputError
        If the input is not a prior, or is a prior for other parameters.

    Examples
    --------
    >>> from clusterpost.priors import as_prior
    >>> as_prior(lambda theta: -theta[..., 2] / 0.3).names
    ('log_age', 'log_mass', 'ebv')
    """
    if prior is None:
        return cluster_prior() if family is None else family.default_prior
    if family is not None and (prior is family.prior or prior is family.default_prior):
        return prior
    names = {} if family is None else family.named_priors
    if isinstance(prior, str) and prior in names:
        return names[prior]()
    if callable(prior):
        prior = FunctionPrior(prior, family=family or "clusters")
    if isinstance(prior, BoundedPrior):
        return prior if family is None else prior.of_family(family)
    named = f"{', '.join(map(repr, names))}, " if names else ""
    raise InputError(f"option:prior={prior!r} is not a prior; give {named}option:own-prior")


def prior_from_record(values: dict) -> Prior:
    """Make the prior described by plain values.

    .. versionadded:: 0.2

    Parameters
    ----------
    values : dict
        Output of a prior's ``to_record``.

    Returns
    -------
    Prior
        Prior of a family's own class if the record has its name.

    Raises
    ------
    InputError
        If the prior was a function, which plain values cannot represent, or of a
        kind unknown to this version.

    Examples
    --------
    >>> from clusterpost.priors import PowerLaw, ProductPrior, prior_from_record
    >>> prior = ProductPrior(log_mass=PowerLaw(-2))
    >>> prior_from_record(prior.to_record()).describe() == prior.describe()
    True
    """
    from .families.registry import family_names, get_family

    kind, rest = values.get("kind"), {key: value for key, value in values.items() if key != "kind"}
    if kind == "box":
        return BoxPrior(**rest)
    if kind == "product":
        pieces = _densities(values["pieces"])
        return ProductPrior(**pieces, family=values.get("family", "clusters"), distance_error=values["distance_error"])
    if kind == "function":
        raise InputError(f"the prior was a function, {values['name']}, which a table cannot store")
    if kind in family_names() and (named := get_family(kind).named_priors.get(rest.pop("name", None))):
        densities = _densities(rest.pop("densities", {}))
        prior = named(**rest)
        return prior.with_densities(kind, **densities) if densities else prior
    raise InputError(f"this version of clusterpost does not know the prior kind {kind!r}")


def record_densities(pieces: dict[str, Any]) -> dict:
    """Return plain values for densities by parameter."""
    return {name: {"density": type(piece).__name__, **asdict(piece)} for name, piece in pieces.items()}


def _densities(pieces):
    """Make densities by parameter from plain values."""
    return {name: _DENSITIES[piece["density"]](**{k: v for k, v in piece.items() if k != "density"})
            for name, piece in pieces.items()}


_DENSITIES = {density.__name__: density for density in (Uniform, PowerLaw, Exponential, Normal, Share)}
