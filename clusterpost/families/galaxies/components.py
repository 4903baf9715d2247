"""Light of the components of a galaxy in narrow sub-bands, the basis of the forward model.

PROVABGS emulates the spectrum of a galaxy with networks of nine inputs.  The emulated spectrum is linear in the mass
fractions of the components of the star formation history, attenuated by dust with a closed form.  Only the unattenuated
light of each component is needed: a function of the metallicity history and the redshift, here a
polynomial that :mod:`clusterpost.training.galaxies` fits to the published networks.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch.nn import functional

from ...errors import InputError
from .history import Histories

if TYPE_CHECKING:
    from ...typing import PathLike

__all__ = ["COMPONENTS_PATH", "Components", "chebyshev", "load_components"]

#: Path of the packaged components.
COMPONENTS_PATH = Path(__file__).parents[2] / "data" / "provabgs_sdss.safetensors"
#: Stars older and younger than 10 Myr of the youngest component, and the three other components.
N_SPECTRA = 5
_FEW = 8  # minimum draws per redshift for which evaluating the polynomial at that redshift first is faster


class Components:
    """Spectra of the components, their mass loss, histories, and the cosmology.

    Parameters
    ----------
    tensors : dict of str to Tensor
        Tensors written by `clusterpost.training.galaxies`: ``degrees`` (n_term, 3) and ``coefficients``
        (n_term, n_output) of the polynomials; ``wavelength`` (n_part, 2), where the dust of each sub-band is evaluated,
        Angstrom at redshift 0; ``band`` (n_part,), the band of each part; ``lookback``, ``star_formation``,
        ``metallicity`` of the `Histories`; ``age``, ``ln_distance``, coefficients of powers of redshift, highest first.
    header : dict
        Provenance, with ``bands``, ``redshift`` range, ``log_gamma`` range, and ``sha256``, the hash of the
        coefficients.

    Notes
    -----
    Runs on the device and in the precision of its tensors; differentiable.
    """

    def __init__(self, tensors: dict, header: dict):
        self.tensors, self.header = tensors, header
        #: Hash of the coefficients.
        self.identity = header["sha256"]
        self.bands = tuple(header["bands"])
        self.max_redshift = float(header["redshift"][1])
        self.log_gamma_range = tuple(header["log_gamma"])
        self.histories = Histories(*(tensors[name] for name in ("lookback", "star_formation", "metallicity")))
        degrees, coefficients = tensors["degrees"].long(), tensors["coefficients"]
        pairs, self._pair = degrees[:, :2].unique(dim=0, return_inverse=True)
        self._first, self._second = pairs.unbind(1)
        self._power = degrees[:, 2]
        # (n_power, n_pair, n_output): the same coefficients, zero for missing terms.
        self._by_power = coefficients.new_zeros(int(self._power.max()) + 1, len(pairs), coefficients.shape[1])
        self._by_power[self._power, self._pair] = coefficients
        #: (n_part, n_band): mask of the band of each part.
        self.membership = functional.one_hot(tensors["band"].long(), len(self.bands)).to(tensors["coefficients"])

    @classmethod
    def read(cls, path: PathLike = COMPONENTS_PATH) -> Components:
        """Read components written by `clusterpost.training.galaxies`.

        Parameters
        ----------
        path : path

        Returns
        -------
        Components
            Components in float32 on the CPU.
        """
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()["header"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        return cls(tensors, header)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Components:
        """Move to another device or precision.

        Parameters
        ----------
        device : torch.device or str, optional
        dtype : torch.dtype, optional

        Returns
        -------
        Components
        """
        return Components({name: x.to(device=device, dtype=dtype) for name, x in self.tensors.items()}, self.header)

    def age(self, redshift: torch.Tensor) -> torch.Tensor:
        """Compute the age of the universe in the Planck (2013) cosmology.

        Parameters
        ----------
        redshift : Tensor (...)

        Returns
        -------
        Tensor (...)
            Gyr.
        """
        return self._polynomial("age", redshift)

    def ln_distance(self, redshift: torch.Tensor) -> torch.Tensor:
        """Compute ln of the luminosity distance in the Planck (2013) cosmology.

        Parameters
        ----------
        redshift : Tensor (...)
            Positive.

        Returns
        -------
        Tensor (...)
            ln of Mpc.
        """
        return torch.log(redshift) + self._polynomial("ln_distance", redshift)

    def _polynomial(self, name, redshift):
        return functools.reduce(lambda value, c: value * redshift + c, self.tensors[name].unbind())

    def ln_light(self, log_gamma: torch.Tensor, redshift: torch.Tensor) -> torch.Tensor:
        """Compute the light of each component per solar mass formed, without dust.

        Parameters
        ----------
        log_gamma : Tensor (..., 2)
        redshift : Tensor (...)
            Redshift, which broadcasts with ``log_gamma[..., 0]``.

        Returns
        -------
        Tensor (..., 5, n_part)
            Contribution of each part to the flux of its band, in ln of mJy at 1 Mpc: stars of component one older
            and younger than 10 Myr, and components two to four.
        """
        return self._evaluate(log_gamma, redshift, slice(None, -4)).unflatten(-1, (N_SPECTRA, -1))

    def surviving_mass(self, log_gamma: torch.Tensor, redshift: torch.Tensor) -> torch.Tensor:
        """Compute the surviving stellar mass per solar mass formed in each component.

        Parameters
        ----------
        log_gamma : Tensor (..., 2)
        redshift : Tensor (...)
            Redshift, which broadcasts with ``log_gamma[..., 0]``.

        Returns
        -------
        Tensor (..., 4)
        """
        return torch.exp(self._evaluate(log_gamma, redshift, slice(-4, None)))

    def _evaluate(self, log_gamma, redshift, outputs):
        if log_gamma.ndim == 1 and redshift.ndim == 0:
            return self._evaluate(log_gamma[None], redshift[None], outputs)[0]
        low, high = self.log_gamma_range
        gamma = ((2 * log_gamma - (low + high)) / (high - low)).movedim(-1, 0).contiguous()
        # Terms come before draws, so copied blocks are long.
        first, second = (chebyshev(torch.atleast_1d(x), int(degree.max())).index_select(-2, degree)
                         for x, degree in zip(gamma, (self._first, self._second), strict=True))
        pairs = (first * second).mT
        powers = chebyshev(2 * torch.atleast_1d(redshift) / self.max_redshift - 1, int(self._power.max())).mT
        if log_gamma.ndim > 1 and redshift.shape[-1:] == (1,) and log_gamma.shape[-2] >= _FEW:
            # With many draws at each redshift, first compute the polynomial in two variables at that redshift.
            return pairs @ torch.tensordot(powers[..., 0, :], self._by_power[..., outputs], 1)
        return (pairs[..., self._pair] * powers[..., self._power]) @ self.tensors["coefficients"][:, outputs]


def chebyshev(x: torch.Tensor, degree: int) -> torch.Tensor:
    """Evaluate the Chebyshev polynomials up to a degree.

    Parameters
    ----------
    x : Tensor (..., n)
        Points from -1 to 1.
    degree : int
        At least 1.

    Returns
    -------
    Tensor (..., degree + 1, n)
    """
    values = [torch.ones_like(x), x]
    for _ in range(degree - 1):
        values.append(2 * x * values[-1] - values[-2])
    return torch.stack(values, -2)


@functools.cache
def load_components(path: PathLike = COMPONENTS_PATH) -> Components:
    """Return components, read once.

    Parameters
    ----------
    path : path
        Path of the components; by default the packaged ones.

    Returns
    -------
    Components

    Raises
    ------
    InputError
        If the file does not exist.

    Examples
    --------
    >>> from clusterpost.families.galaxies.components import load_components
    >>> load_components().bands
    ('u_SDSS', 'g_SDSS', 'r_SDSS', 'i_SDSS', 'z_SDSS')
    """
    if not Path(path).is_file():
        raise InputError(f"no components of galaxies in {str(path)!r}; make them with "
                         "python -m clusterpost.training.galaxies components")
    return Components.read(path)
