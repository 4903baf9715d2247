"""Stochastic clusters in a crowded disk, with field stars in their apertures."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

import torch

from ..base import ModelFamily
from .family import StochasticClusters
from .simulator import StarSimulator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .simulator import Light

__all__ = ["ClustersAmongFieldStars", "FieldSimulator", "FieldStars"]

# Stars form at a constant rate; in each interval, all stars of one draw have one age (log10 age/Myr).
_AGES = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, math.log10(13750.0))
_METALS = (0.0, 0.2)  # mean and width of [M/H]
_SETS = 65_536


class FieldStars:
    """Light of field stars in apertures, as a stored set of random draws.

    Parameters
    ----------
    simulator : StarSimulator
        Simulator that draws the stars.
    log_mass : tuple of float
        Range of log10 of the mass formed in an aperture, Msun, with a uniform distribution.
    n : int
        Number of stored draws.
    seed : int

    Notes
    -----
    Stars formed at a constant rate over 13.75 Gyr, with [M/H] normal about 0 with 0.2 dex.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.stochastic.field import FieldStars
    >>> from clusterpost.families.stochastic.simulator import StarSimulator
    >>> field = FieldStars(StarSimulator(bands=["F555W", "F814W"]), n=50)
    >>> field.draw(3, torch.Generator().manual_seed(1)).shape
    torch.Size([3, 6])
    """

    def __init__(self, simulator: StarSimulator, *, log_mass: tuple[float, ...] = (2.5, 4.0), n: int = _SETS,
                 seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        mass = 10 ** (log_mass[0] + (log_mass[1] - log_mass[0]) * torch.rand(n, generator=generator))
        metals = (_METALS[0] + _METALS[1] * torch.randn(n, generator=generator)).clamp(-1.0, 0.17)
        edges = torch.tensor([0.0, *(10**age for age in _AGES[1:])])
        none, ionization = torch.zeros(n), torch.full((n,), -3.0)
        columns = 0.0
        for low, high in itertools.pairwise(edges):
            age = (low + (high - low) * torch.rand(n, generator=generator)).clamp(min=1.0)
            formed = mass * (high - low) / edges[-1]
            light = simulator.light(torch.log10(age), torch.log10(formed), metals, none, ionization, generator)
            columns = columns + light.columns
        self._columns = columns

    def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Choose ``n`` of the stored draws at random.

        Parameters
        ----------
        n : int
        generator : torch.Generator

        Returns
        -------
        Tensor (n, n_column)
            Light before dust, in mJy at 10 pc, as in `~clusterpost.families.stochastic.simulator.Light`.
        """
        device = torch.device("cpu") if generator is None else generator.device
        which = torch.randint(len(self._columns), (n,), generator=generator, device=device)
        return self._columns.to(device)[which]


class FieldSimulator(StarSimulator):
    """Simulator of clusters with field stars.

    Parameters
    ----------
    stars : StarSimulator
        Simulator that draws the stars of both.
    log_mass : tuple of float
        As for `FieldStars`.
    """

    def __init__(self, stars: StarSimulator, log_mass: tuple[float, ...]):
        vars(self).update(vars(stars))
        self._stars, self._log_mass = stars, log_mass

    @functools.cached_property
    def _field(self):
        return FieldStars(self._stars, log_mass=self._log_mass)

    def light(self, log_age: torch.Tensor, log_mass: torch.Tensor, metallicity: torch.Tensor, covering: torch.Tensor,
              log_u: torch.Tensor, generator: torch.Generator | None = None) -> Light:
        """Draw stars and sum their light and that of the field; see `StarSimulator.light`."""
        light = super().light(log_age, log_mass, metallicity, covering, log_u, generator)
        return light._replace(columns=light.columns + self._field.draw(len(log_age), generator))


class ClustersAmongFieldStars(StochasticClusters):
    """Stochastic star clusters with the light of field stars in their apertures.

    Parameters
    ----------
    field_mass : tuple of float
        Range of log10 of the mass formed in an aperture, Msun.
    **options
        As for `StochasticClusters`.

    Notes
    -----
    The field is behind the same dust as its cluster and marginalized over like the stars.  The masses are those of
    apertures in the disk of M33.

    Examples
    --------
    >>> from clusterpost.families.stochastic.field import ClustersAmongFieldStars
    >>> family = ClustersAmongFieldStars(bands=["F475W_ACS", "F814W_ACS"])
    >>> family.name, family.to_dict()["field_mass"]
    ('stochastic_field', [2.5, 4.0])
    """

    name = "stochastic_field"
    summary = f"{StochasticClusters.summary}, and with field stars in the apertures"

    def __init__(self, *, field_mass: Sequence[float] = (2.5, 4.0), **options: Any):
        super().__init__(**options)
        self._field_mass = tuple(field_mass)
        self.simulator = FieldSimulator(self.simulator, self._field_mass)

    def simulate_each(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor], seed: int,
                      bands: torch.Tensor) -> torch.Tensor:
        """Draw ln of the fluxes in mJy; see `~clusterpost.families.ModelFamily.simulate_each`."""
        return ModelFamily.simulate_each(self, theta, covariates, seed, bands)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values; see `from_dict`."""
        return {**super().to_dict(), "field_mass": list(self._field_mass)}
