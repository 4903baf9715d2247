"""Mock clusters as tensors: what the networks are trained and tested on."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..bands import WFC3_BANDS
from ..forward import BandFluxTable, load_table
from ..noise import get_noise
from ..priors import BoxPrior, cluster_prior

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
    distance : Tensor (n,)
        Mpc.
    """

    theta: torch.Tensor
    flux: torch.Tensor
    error: torch.Tensor
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
    relative_error : tuple of float
        Range of the uniformly drawn relative errors.
    whole_myr : bool
        Take the photometry at whole Myr and spread the true age uniformly over
        that Myr: the age grid of Walter et al. (2025), Sect. 2.2.
    table : BandFluxTable
    """

    bands: tuple = WFC3_BANDS
    noise: str = "lognormal"
    prior: BoxPrior = field(default_factory=cluster_prior)
    distance: tuple = (1.0, 30.0)
    relative_error: tuple = (0.05, 0.5)
    whole_myr: bool = False
    table: BandFluxTable = None

    def __post_init__(self):
        self.table = (self.table or load_table()).select(self.bands)

    def to(self, device):
        """The same simulator with its table on another device."""
        return Simulator(self.bands, self.noise, self.prior, self.distance, self.relative_error,
                         self.whole_myr, self.table.to(device))

    def to_dict(self):
        """As plain values, for a model's card."""
        return {
            "bands": list(self.bands),
            "noise": self.noise,
            "prior": {"names": list(self.prior.names), "low": self.prior.low.tolist(),
                      "high": self.prior.high.tolist()},
            "distance": list(self.distance),
            "relative_error": list(self.relative_error),
            "whole_myr": self.whole_myr,
            "sed_sha256": self.table.header["sed_sha256"],
        }

    @classmethod
    def from_dict(cls, values):
        """From what `to_dict` gave, with the packaged band-flux table."""
        prior = values["prior"]
        return cls(tuple(values["bands"]), values["noise"], BoxPrior(prior["low"], prior["high"], prior["names"]),
                   tuple(values["distance"]), tuple(values["relative_error"]), values["whole_myr"])

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
        device = generator.device
        theta = self.prior.sample(n, generator)
        distance = torch.empty(n, device=device).uniform_(*self.distance, generator=generator)
        relative = torch.empty(n, len(self.bands), device=device).uniform_(*self.relative_error, generator=generator)
        model_theta = theta
        if self.whole_myr:
            theta, model_theta = self._spread_ages(theta, generator)
        flux, error = get_noise(self.noise).sample(self.table.predict(model_theta, distance), relative, generator)
        return Mocks(theta, flux, error, distance)

    def _spread_ages(self, theta, generator):
        myr = torch.round(10 ** theta[:, 0])
        oldest = 10 ** self.prior.high[0].to(myr)
        low, high = (myr - 0.5).clamp(min=10 ** self.prior.low[0].to(myr)), torch.minimum(myr + 0.5, oldest)
        age = torch.lerp(low, high, torch.rand(len(myr), generator=generator, device=myr.device))
        spread, whole = theta.clone(), theta.clone()
        spread[:, 0] = torch.log10(age).clamp(float(self.prior.low[0]), float(self.prior.high[0]))
        whole[:, 0] = torch.log10(myr)
        return spread, whole


def walter2025_simulator() -> Simulator:
    """The simulator of Walter et al. (2025): their noise, distances and age grid.

    Returns
    -------
    Simulator
    """
    return Simulator(noise="walter2025", relative_error=(0.0, 0.5), whole_myr=True)
