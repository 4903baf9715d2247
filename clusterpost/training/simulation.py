"""Mock observations as tensors, for training and testing networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ..families import ModelFamily, family_of_simulator
from ..families.clusters import FullySampledClusters
from ..noise import get_noise
from ..observations import Observed
from . import observing
from .observing import AllBands, FlatErrors

if TYPE_CHECKING:
    from typing import Any

    from ..families.base import Prior
    from ..flow.model import Model
    from ..typing import Coverage, ErrorModel

__all__ = ["Mocks", "Simulator", "cluster_simulator", "seeded_generator", "walter2025_simulator"]


def seeded_generator(seed: int, stream: int = 0, device: str = "cpu") -> torch.Generator:
    """Make a random generator for one numbered stream of a seed.

    Parameters
    ----------
    seed : int
        Nonnegative seed.
    stream : int
        Number below 2**32; each number gives different draws.
    device : str or torch.device

    Returns
    -------
    torch.Generator

    Raises
    ------
    ValueError
        If the stream is out of range.

    Examples
    --------
    >>> from clusterpost.training.simulation import seeded_generator
    >>> other = seeded_generator(1, stream=2)
    >>> seeded_generator(1).initial_seed() == other.initial_seed()
    False
    """
    if not 0 <= stream < 1 << 32:
        raise ValueError(f"the stream must lie in [0, 2**32), not be {stream}")
    # torch's CPU generator uses only the lowest 32 bits of a seed, so these must encode both numbers;
    # multiples of the golden ratio keep the streams of different seeds far apart.
    return torch.Generator(device).manual_seed((int(stream) + int(seed) * 0x9E3779B1) % (1 << 32))


@dataclass
class Mocks(Observed):
    """Batch of mock observations, as in `~clusterpost.observations.Observed`, with true parameters.

    Attributes
    ----------
    flux, error, measured, limit, covariates
        Observations; values in bands with neither a measurement nor a limit are meaningless.
    theta : Tensor (n, n_parameter)
        True parameters.
    """

    theta: torch.Tensor


@dataclass
class Simulator:
    """Simulator of mock observations of a model family.

    Attributes
    ----------
    family : ModelFamily
        Family that draws parameters from its prior and covariates from their ranges, and predicts fluxes.
    noise : str, optional
        Name of the noise model; by default that of the family's likelihood, or log-normal.
    errors : object
        Distribution of relative errors, from :mod:`clusterpost.training.observing`.
    coverage : object
        Distribution of measured bands, from the same module.
    limits : object, optional
        Distribution of upper limits, from the same module; none by default.

    Examples
    --------
    >>> from clusterpost.families.clusters import FullySampledClusters
    >>> from clusterpost.training.simulation import Simulator, seeded_generator
    >>> mocks = Simulator(FullySampledClusters()).draw(4, seeded_generator(0))
    >>> mocks.theta.shape, mocks.flux.shape
    (torch.Size([4, 3]), torch.Size([4, 5]))
    """

    family: ModelFamily
    noise: str | None = None
    errors: object = FlatErrors()
    coverage: object = AllBands()
    limits: object | None = None

    def __post_init__(self) -> None:
        if self.noise is None:
            self.noise = self.family.likelihood.noise.name if self.family.likelihood else "lognormal"

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return self.family.band_names

    @property
    def prior(self) -> Prior:
        """Prior of the family."""
        return self.family.prior

    def to(self, device: str) -> Simulator:
        """Return the same simulator on another device."""
        return replace(self, family=self.family.to(device))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a model file; see `from_dict`."""
        return {
            "family": {"name": self.family.name, "version": self.family.version, "options": self.family.to_dict()},
            "noise": self.noise,
            "errors": observing.to_dict(self.errors),
            "coverage": observing.to_dict(self.coverage),
            **({} if self.limits is None else {"limits": observing.to_dict(self.limits)}),
        }

    @classmethod
    def from_dict(cls, values: dict, family: ModelFamily | None = None) -> Simulator:
        """Create a simulator from the output of `to_dict`, or from that part of an older model file.

        Parameters
        ----------
        values : dict
        family : ModelFamily, optional
            Family; by default the described one.

        Returns
        -------
        Simulator

        Raises
        ------
        InputError
            If the family needs a table that is not loaded.
        ModelError
            If the family is unknown.
        """
        return cls(family or family_of_simulator(values), values["noise"], observing.read_errors(values["errors"]),
                   observing.read_coverage(values["coverage"]),
                   observing.read_limits(values["limits"]) if "limits" in values else None)

    @classmethod
    def of(cls, model: Model) -> Simulator:
        """Create the simulator that a model was trained with.

        Parameters
        ----------
        model : Model

        Returns
        -------
        Simulator
        """
        return cls.from_dict(model.card["simulator"], model.family)

    def draw(self, n: int, generator: torch.Generator) -> Mocks:
        """Draw ``n`` mocks.

        Parameters
        ----------
        n : int
        generator : torch.Generator
            Random generator on the simulator's device.

        Returns
        -------
        Mocks
        """
        theta = self.family.prior.sample(n, generator)
        covariates = self.family.draw_covariates(n, generator)
        ln_flux = self.family.simulate(theta, covariates, generator)
        # Errors follow the brightness of another mock; otherwise they would carry information about the parameters.
        relative = self.errors.draw(torch.roll(ln_flux, 1, dims=0), generator)
        measured = self.coverage.draw(n, len(self.bands), generator)
        flux, error = get_noise(self.noise).sample(ln_flux, relative, generator)
        limit = torch.zeros_like(measured)
        if self.limits is not None:
            flux, error, limit = self.limits.draw(ln_flux, flux, error, measured, generator)
        return Mocks(flux, error, measured & ~limit, limit, covariates, theta)


def cluster_simulator(*, errors: ErrorModel | None = None, coverage: Coverage | None = None,
                      **options: Any) -> Simulator:
    """Create a simulator of fully sampled clusters.

    Parameters
    ----------
    errors, coverage : object of :mod:`clusterpost.training.observing`, optional
        Errors and coverage; by default flat errors in all bands.
    **options
        Options of `~clusterpost.families.clusters.FullySampledClusters`.

    Returns
    -------
    Simulator
    """
    return Simulator(FullySampledClusters(**options), errors=errors or FlatErrors(), coverage=coverage or AllBands())


def walter2025_simulator() -> Simulator:
    """Create the simulator of Walter et al. (2025), with their noise, distances and age grid.

    Returns
    -------
    Simulator
    """
    return cluster_simulator(noise="walter2025", distance=(1.0, 30.0), whole_myr=True, errors=FlatErrors(0.0, 0.5))
