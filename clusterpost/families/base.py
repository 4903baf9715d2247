"""Base class of model families: parameters, covariates, bands, prior, likelihood, and simulator."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from ..bands import Band
from ..densities import Uniform
from ..errors import InputError
from ..observations import Observed
from .covariates import Covariate
from .encoders import read_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..noise import Noise
    from ..typing import Encoder

__all__ = ["Derived", "Likelihood", "ModelFamily", "Parameter", "Prior"]

_UNIFORM = Uniform()
_GOOD_ERRORS = (0.05, 0.5)  # relative errors of good photometry


@dataclass(frozen=True)
class _Column:
    """Column of a quantity: conversion between ``theta``, or a function of it, and a table column.

    Attributes
    ----------
    name : str
        Name of the internal coordinate, such as ``log_age``.
    column : str
        Stem of its columns, such as ``age`` for ``age_q50``.
    unit : str
        Unit of the columns, in astropy's notation; empty if dimensionless.
    ucd : str
        Unified content descriptor.
    label : str
        Axis label of the internal coordinate, in Matplotlib's notation.
    description : str
        Noun phrase for column descriptions.
    log10 : bool
        Whether the internal coordinate is log10 of the column values.
    symbol : str
        Short form of the label, for narrow columns of figures.
    wide : bool
        Whether column values may exceed the range of single precision, 3e38.
    word : str
        Name in running text, such as ``E(B-V)``; the column by default.
    """

    name: str
    column: str
    unit: str = ""
    ucd: str = ""
    label: str = ""
    description: str = ""
    log10: bool = False
    symbol: str = ""
    wide: bool = False
    word: str = ""

    def to_column(self, values):
        """Convert internal values, an array or a tensor, to column values."""
        return 10**values if self.log10 else values

    def from_column(self, values):
        """Convert column values, an array or a tensor in `unit`, to internal values."""
        if not self.log10:
            return values
        return torch.log10(values) if isinstance(values, torch.Tensor) else np.log10(values)


@dataclass(frozen=True, kw_only=True)
class Parameter(_Column):
    """Inferred parameter.

    Attributes
    ----------
    name, column, unit, ucd, label, description, log10
        Name of the coordinate in ``theta``; stem, unit, and descriptor of its columns; axis label;
        noun phrase; and whether ``theta`` contains log10 of the column values.
    low, high : float
        Bounds of the coordinate.
    wide : bool
        Whether column values may exceed the range of single precision, 3e38.
    usual : object of `clusterpost.densities`
        Default density in a `~clusterpost.priors.ProductPrior`; uniform by default.

    Examples
    --------
    >>> from clusterpost.families import Parameter
    >>> age = Parameter(name="log_age", column="age", unit="Myr", log10=True, low=0.0,
    ...                 high=4.0)
    >>> age.to_column(2.0), float(age.from_column(100.0))
    (100.0, 2.0)
    """

    low: float
    high: float
    usual: Any = _UNIFORM

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"the parameter {self.name} has the bounds {self.low:g} and {self.high:g}; "
                             "the lower must be below the upper")


@dataclass(frozen=True, kw_only=True)
class Derived(_Column):
    """Quantity computed from the parameters, with columns of its own.

    Attributes
    ----------
    name, column, unit, ucd, label, description, log10, wide
        As for `Parameter`.
    function : callable
        Takes ``theta`` (n, k, n_parameter) and the covariates, a mapping of tensors (n, 1), and
        returns internal values (n, k).

    Examples
    --------
    >>> from clusterpost.families import get_family
    >>> mass_left = get_family("clusters")().derived[0]
    >>> mass_left.column, mass_left.unit
    ('stellar_mass', 'solMass')
    """

    function: Callable[[torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]


class Prior(Protocol):
    """Prior density over ``theta``.

    Examples
    --------
    >>> from clusterpost.families import get_family
    >>> prior = get_family("clusters")().prior
    >>> prior.names, prior.log_prob(prior.low).shape
    (('log_age', 'log_mass', 'ebv'), torch.Size([]))
    """

    names: tuple[str, ...]
    low: torch.Tensor
    high: torch.Tensor

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
        """Return the log density (...) of ``theta`` (..., n_parameter); -inf outside."""

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw ``theta`` (n, n_parameter)."""

    def describe(self) -> str:
        """Return a one-line description for a table's meta."""


class Likelihood(Protocol):
    """Probability of the observed photometry; only tractable families have one.

    Methods take an `Observed` of n objects and ``theta`` (n, k, n_parameter).  ``covariates``, if given,
    replaces the observed ones: a mapping of tensors (n, k) or (n, 1).

    Examples
    --------
    >>> from clusterpost.families import get_family
    >>> get_family("clusters")().likelihood.noise.name
    'lognormal'
    """

    noise: Any

    def log_prob(self, observed: Observed, theta: torch.Tensor,
                 covariates: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Return ln p(x | theta), (n, k)."""

    def chi2(self, observed: Observed, theta: torch.Tensor,
             covariates: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Return the chi-square in linear fluxes, (n, k)."""

    def squared_residuals(self, observed: Observed, theta: torch.Tensor,
                          covariates: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Return the sum of squared standardized residuals, chi-square distributed for the true theta, (n, k)."""

    def amplitude(self, prior: Prior) -> Any:
        """Return the conditional density of the linear amplitude under a prior, or None."""

    def quadrature(self, prior: Prior) -> Any:
        """Return the grid that integrates posteriors without limits, or None if only weighted draws are available."""

    def with_noise(self, noise: str | Noise) -> Likelihood:
        """Return the same likelihood with another noise model."""


class ModelFamily(ABC):
    """Forward model of one kind of object, and everything that depends on it.

    Subclasses set the attributes and implement `simulate`, `to_dict`, and `from_dict`.  Tables, summaries,
    figures, calibration tests, training, and files use these.

    Attributes
    ----------
    name : str
        Name of the family in model files and in the registry.
    version : int
        Version, increased if the same options give different fluxes or a different prior.
    parameters : tuple of Parameter
        Inferred parameters, in the order of ``theta``.
    derived : tuple of Derived
    covariates : tuple of Covariate
    optional_covariates : tuple of Covariate
        Known quantities that change the prior if a table has them.
    bands : tuple of Band
        Bands that the family predicts, in order.
    prior : Prior
        Prior of training.
    likelihood : Likelihood or None
        None if only a simulator exists.
    min_bands : int
        Minimum number of measured slots (places in the spectrum) for inference.
    error_floor : float
        Default relative error that inference adds in quadrature.
    summary : str
        Noun phrase for its objects, for the sentence "a model of (summary)" in a methods section.
    method : tuple of str
        Papers on the inference method, as keys of the package's BibTeX file.
    references : tuple of str
        Papers on the fluxes, as keys of the package's BibTeX file (`~clusterpost.cite`).
    redrawn : int or None
        Index of the parameter that `simulate_redrawn` varies for each object.
    named_priors : mapping of callable
        Named priors, as functions without required arguments. The entries of a prior's ``to_record`` other than
        ``kind`` (the family's name) and ``name`` are the arguments that reproduce it.

    Examples
    --------
    >>> from clusterpost.families import ModelFamily, get_family
    >>> clusters = get_family("clusters")()
    >>> isinstance(clusters, ModelFamily), clusters.parameter_names, clusters.min_bands
    (True, ('log_age', 'log_mass', 'ebv'), 2)
    """

    name: str
    version: int = 1
    parameters: tuple[Parameter, ...]
    derived: tuple[Derived, ...] = ()
    covariates: tuple[Covariate, ...] = ()
    optional_covariates: tuple[Covariate, ...] = ()
    bands: tuple[Band, ...]
    prior: Prior
    likelihood: Likelihood | None = None
    min_bands: int = 2
    error_floor: float = 0.05
    summary: str = "objects of a custom model family"
    method: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    redrawn: int | None = None
    named_priors: Mapping[str, Callable[[], Prior]] = MappingProxyType({})

    @abstractmethod
    def simulate(self, theta: torch.Tensor, covariates: Mapping[str, torch.Tensor],
                 generator: torch.Generator | None = None) -> torch.Tensor:
        """Compute true band fluxes.

        Parameters
        ----------
        theta : Tensor (n, n_parameter)
        covariates : mapping of Tensor (n,)
        generator : torch.Generator, optional
            Random generator of the model itself; not used by deterministic families.

        Returns
        -------
        Tensor (n, n_band)
            Natural log of the flux in mJy.
        """

    def simulate_each(self, theta: torch.Tensor, covariates: Mapping[str, torch.Tensor], seed: int,
                      bands: torch.Tensor) -> torch.Tensor:
        """Simulate several fluxes for each of several objects, with the same random numbers for every object.

        Parameters
        ----------
        theta : Tensor (n, k, n_parameter)
        covariates : mapping of Tensor (n,)
        seed : int
        bands : Tensor (n_band,) of bool
            Required bands; fluxes of the others are arbitrary.

        Returns
        -------
        Tensor (n, k, n_band)
            Natural log of the flux in mJy.
        """
        generator, known = torch.Generator(theta.device), {c.name: covariates[c.name] for c in self.covariates}
        return torch.stack([self.simulate(one, {name: values[i].expand(len(one)) for name, values in known.items()},
                                          generator.manual_seed(seed)) for i, one in enumerate(theta)])

    def simulate_redrawn(self, theta: torch.Tensor, covariates: Mapping[str, torch.Tensor], span: tuple[float, float],
                         generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Simulate objects, each with many values of one parameter; by default only with its own value.

        Parameters
        ----------
        theta : Tensor (n, n_parameter)
        covariates : mapping of Tensor (n,)
        span : (float, float)
            Range of the parameter `redrawn`.
        generator : torch.Generator

        Returns
        -------
        ln_flux : Tensor (n, k, n_band)
        theta : Tensor (n, k, n_parameter)
            Parameters, with k values of the parameter `redrawn`, evenly spaced over the range with a random start.
        """
        return self.simulate(theta, covariates, generator)[:, None], theta[:, None]

    @abstractmethod
    def to_dict(self) -> dict:
        """Return the options as plain values for `from_dict`."""

    @classmethod
    @abstractmethod
    def from_dict(cls, options: Mapping) -> ModelFamily:
        """Make the family from the output of `to_dict`."""

    @property
    def default_prior(self) -> Prior:
        """Default prior of inference; by default that of training."""
        return self.prior

    @property
    def domain(self) -> tuple[tuple[float, float], ...]:
        """Range of each parameter in `simulate`; by default the parameters' bounds."""
        return tuple((p.low, p.high) for p in self.parameters)

    def draw_covariates(self, n: int, generator: torch.Generator,
                        dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Draw covariates for mocks; by default each is uniform over its range."""
        empty = torch.empty(n, dtype=dtype, device=generator.device)
        return {c.name: empty.clone().uniform_(c.low, c.high, generator=generator) for c in self.covariates}

    def prior_given(self, prior: Prior, known: Mapping[str, torch.Tensor]) -> Prior:
        """Return the prior for objects with known quantities; by default it is the same for all.

        Parameters
        ----------
        prior : Prior
        known : mapping of Tensor (n,)
            Covariates and `optional_covariates` of n objects; the latter are NaN if unknown.

        Returns
        -------
        Prior
            Prior for theta (n, k, n_parameter).
        """
        return prior

    def doubts(self, observed: Observed) -> np.ndarray:
        """Flag objects that an effect missing from the model explains equally well; by default none.

        Parameters
        ----------
        observed : Observed
            Photometry of n objects.

        Returns
        -------
        ndarray of int32 (n,)
            Bits of `clusterpost.flags`.
        """
        return np.zeros(len(observed), np.int32)

    def draw_errors(self, theta: torch.Tensor, covariates: Mapping[str, torch.Tensor],
                    generator: torch.Generator) -> torch.Tensor:
        """Draw default relative errors (n, n_band) for mocks; by default uniform from 0.05 to 0.5."""
        empty = torch.empty(len(theta), len(self.bands), dtype=theta.dtype, device=theta.device)
        return empty.uniform_(*_GOOD_ERRORS, generator=generator)

    def read_encoder(self, values: str | dict[str, Any]) -> Encoder:
        """Make the encoder described in a model file; families with custom encoders override this."""
        return read_encoder(values)

    def with_bands(self, names: Sequence[str]) -> ModelFamily:
        """Return the same family for other bands.

        Parameters
        ----------
        names : sequence of str

        Raises
        ------
        InputError
            If the family does not predict them; by default it predicts exactly its own bands.
        """
        if tuple(names) != self.band_names:
            raise InputError(f"the model family {self.name!r} predicts exactly {', '.join(self.band_names)}, in this "
                             "order; omit option:bands")
        return self

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> ModelFamily:
        """Return the same family with its tensors on another device or in another precision; by default unchanged."""
        return self

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    @property
    def further_bands(self) -> tuple[str, ...]:
        """Names of additional bands supported by `with_bands`; by default none."""
        return ()

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def mock_bands(self) -> tuple[str, ...]:
        """Names of the default bands of mock catalogs; by default all."""
        return self.band_names

    @property
    def filter_groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of interchangeable bands; by default each band is a group of its own."""
        return tuple((i,) for i in range(len(self.bands)))

    @property
    def marginals(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """The parameters as functions of ``theta`` (..., n_parameter), by name."""
        return {p.name: (lambda theta, i=i: theta[..., i]) for i, p in enumerate(self.parameters)}

    @property
    def statistics(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """Functions of ``theta`` (..., n_parameter) whose ranks calibration tests use.

        By default each parameter, and the product of each pair of parameters scaled to the unit interval.
        The parameters come first, in order; the functions accept arrays and tensors.
        """
        def unit(theta: np.ndarray, i: int) -> np.ndarray:
            """Scale a parameter to the unit interval."""
            return (theta[..., i] - self.parameters[i].low) / (self.parameters[i].high - self.parameters[i].low)

        found = dict(self.marginals)
        for i, j in itertools.combinations(range(len(self.parameters)), 2):
            name = f"{self.parameters[i].name} {self.parameters[j].name}"
            found[name] = lambda theta, i=i, j=j: unit(theta, i) * unit(theta, j)
        return found

    def __repr__(self) -> str:
        return (f"<{type(self).__name__} {self.name!r} version {self.version}: "
                f"{', '.join(self.parameter_names)}; {len(self.bands)} bands>")
