"""Mock clusters as tensors: what the networks are trained and tested on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from ..bands import WFC3_BANDS
from ..errors import InputError
from ..forward import EXTINCTION, BandFluxTable, find_table, load_table
from ..noise import get_noise
from ..priors import BoxPrior, cluster_prior
from . import observing
from .observing import AllBands, FlatErrors

__all__ = ["Mocks", "Simulator", "seeded_generator", "walter2025_simulator"]


def seeded_generator(seed, stream=0, device="cpu"):
    """A random generator for one numbered stream of a seed.

    Parameters
    ----------
    seed : int
        Not negative.
    stream : int
        Below 2**32; each number gives other draws.
    device : str or torch.device

    Returns
    -------
    torch.Generator

    Raises
    ------
    ValueError
        If the stream is out of range.
    """
    if not 0 <= stream < 1 << 32:
        raise ValueError(f"the stream must lie in [0, 2**32), not be {stream}")
    # torch's generator on the CPU looks at the lowest 32 bits of a seed alone, so both must go in there;
    # multiples of the golden ratio keep the streams of different seeds far apart.
    return torch.Generator(device).manual_seed((int(stream) + int(seed) * 0x9E3779B1) % (1 << 32))


@dataclass
class Mocks:
    """A batch of mock observations.

    Attributes
    ----------
    theta : Tensor (n, 3)
        log10 age/Myr, log10 initial mass/Msun, E(B-V)/mag.
    flux, error : Tensor (n, n_band)
        Observed, mJy.
    measured : Tensor of bool (n, n_band)
        Whether a band was observed; what stands there otherwise means nothing.
    distance : Tensor (n,)
        Mpc.
    """

    theta: torch.Tensor
    flux: torch.Tensor
    error: torch.Tensor
    measured: torch.Tensor
    distance: torch.Tensor


@dataclass
class Simulator:
    """Draws mock observations from the prior.

    Attributes
    ----------
    bands : tuple of str
    noise : str
        Name of the noise model.
    prior : BoxPrior
    distance : tuple of float
        Range of the uniformly drawn distances, Mpc.
    errors : object
        Draws relative errors; of :mod:`clusterpost.training.observing`.
    coverage : object
        Chooses the bands of each mock; likewise.
    whole_myr : bool
        Take the photometry at whole Myr and spread the true age uniformly over
        that Myr: the age grid of Walter et al. (2025), Sect. 2.2.
    table : BandFluxTable
    """

    bands: tuple = WFC3_BANDS
    noise: str = "lognormal"
    prior: BoxPrior = field(default_factory=cluster_prior)
    distance: tuple = (1.0, 30.0)
    errors: object = FlatErrors()
    coverage: object = AllBands()
    whole_myr: bool = False
    table: BandFluxTable = None

    def __post_init__(self):
        self.table = (self.table or load_table()).select(self.bands)

    def to(self, device):
        """The same simulator with its table on another device."""
        return replace(self, table=self.table.to(device))

    def to_dict(self):
        """As plain values, for a model's card."""
        return {
            "bands": list(self.bands),
            "noise": self.noise,
            "prior": {"names": list(self.prior.names), "low": self.prior.low.tolist(),
                      "high": self.prior.high.tolist()},
            "distance": list(self.distance),
            "errors": observing.to_dict(self.errors),
            "coverage": observing.to_dict(self.coverage),
            "whole_myr": self.whole_myr,
            **_origin(self.table),
        }

    @classmethod
    def from_dict(cls, values, table=None):
        """From what `to_dict` gave.

        Parameters
        ----------
        values : dict
        table : BandFluxTable, optional
            By default `~clusterpost.forward.find_table` looks for it.

        Returns
        -------
        Simulator

        Raises
        ------
        InputError
            If the band-flux table is not at hand, or the one given is another.
        """
        prior, origin = values["prior"], {key: values[key] for key in ("sed_sha256", "extinction") if key in values}
        table = table or find_table(**origin)
        if _origin(table) != origin:
            raise InputError("the band-flux table that was given is of other spectra or another extinction than the "
                             f"card's, {origin}")
        return cls(tuple(values["bands"]), values["noise"], BoxPrior(prior["low"], prior["high"], prior["names"]),
                   tuple(values["distance"]), observing.read_errors(values["errors"]),
                   observing.read_coverage(values["coverage"]), values["whole_myr"], table)

    def draw(self, n, generator):
        """Draw ``n`` mocks.

        Parameters
        ----------
        n : int
        generator : torch.Generator
            On the simulator's device.

        Returns
        -------
        Mocks
        """
        theta = self.prior.sample(n, generator)
        distance = torch.empty(n, device=generator.device).uniform_(*self.distance, generator=generator)
        others = torch.roll(theta, 1, dims=0)  # errors must not tell of a mock's own parameters
        relative = self.errors.draw(self.table.predict(others, distance), generator)
        measured = self.coverage.draw(n, len(self.bands), generator)
        model_theta = theta
        if self.whole_myr:
            theta, model_theta = self._spread_ages(theta, generator)
        flux, error = get_noise(self.noise).sample(self.table.predict(model_theta, distance), relative, generator)
        return Mocks(theta, flux, error, measured, distance)

    def _spread_ages(self, theta, generator):
        myr = torch.round(10 ** theta[:, 0])
        oldest = 10 ** self.prior.high[0].to(myr)
        low, high = (myr - 0.5).clamp(min=10 ** self.prior.low[0].to(myr)), torch.minimum(myr + 0.5, oldest)
        age = torch.lerp(low, high, torch.rand(len(myr), generator=generator, device=myr.device))
        spread, whole = theta.clone(), theta.clone()
        spread[:, 0] = torch.log10(age).clamp(float(self.prior.low[0]), float(self.prior.high[0]))
        whole[:, 0] = torch.log10(myr)
        return spread, whole


def _origin(table):
    """What tells band-flux tables apart; the extinction only where it is not that of the packaged ones."""
    header = table.header
    other = {} if header["extinction"] == EXTINCTION else {"extinction": header["extinction"]}
    return {"sed_sha256": header["sed_sha256"], **other}


def walter2025_simulator() -> Simulator:
    """The simulator of Walter et al. (2025): their noise, distances and age grid.

    Returns
    -------
    Simulator
    """
    return Simulator(noise="walter2025", errors=FlatErrors(0.0, 0.5), whole_myr=True)
