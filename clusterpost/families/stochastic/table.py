"""The stars that a cluster is drawn from: kinds of star of every age and metallicity, with their light.

`clusterpost.training.stars` computes the table; it holds numbers of 16 bits, packed.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...typing import PathLike

__all__ = ["STARS_PATH", "StarTable", "load_stars"]

#: The packaged table.
STARS_PATH = Path(__file__).parents[2] / "data" / "stars_chabrier_o94.safetensors.xz"
#: Ionizing photons are counted in this many per second, which single precision holds.
PHOTONS = 1e45


class StarTable:
    """Kinds of star by metallicity and age, for some bands.

    Parameters
    ----------
    arrays : dict of ndarray
        As `clusterpost.training.stars.table.quantize` gives them.
    bands : sequence of str
        Names of the bands in the arrays.
    header : dict, optional
        Provenance.
    sha256 : str
        Hash of the file.

    Attributes
    ----------
    bands, stored_bands : tuple of str
        Bands of the columns, and bands available to `select`.
    log_z, log_age : ndarray
        Nodes: log10 Z, and log10 age/Myr.
    number, mass : ndarray (n_z, n_age, n_kind)
        Expected stars per solar mass formed; present mass of one, Msun.
    light : ndarray (n_z, n_age, n_kind, n_column)
        Light of one star, mJy at 10 pc, unreddened: the contribution of each wavelength to the flux of a band.
    photons : ndarray (n_z, n_age, n_kind)
        Ionizing photons of one star, 1e45 per second.
    remnants : ndarray (n_z, n_age)
        Mass in remnants per solar mass formed.
    fine_log_age : ndarray (n_fine,)
    ln_ratio : ndarray (n_z, n_fine, n_column)
        ln of the correction factor of light between nodes.
    ln_ratio_photons : ndarray (n_z, n_fine)
        ln of the correction factor of photons.
    column_band : ndarray of int (n_column,)
        Index of the band of each column.
    a, b : ndarray (n_column,)
        A/E(B-V) = R_V a + b at each wavelength.
    log_u, gas_log_age : ndarray
        Nodes of the gas.
    gas : ndarray (n_log_u, n_z, n_gas_age, n_column)
        Light per 1e45 ionizing photons per second, mJy at 10 pc.
    """

    def __init__(self, arrays: dict, bands: Sequence[str], header: dict | None = None, sha256: str = ""):
        self.sha256 = sha256
        self._arrays, self.stored_bands, self.header = arrays, tuple(bands), dict(header or {})
        self.bands = tuple(bands)
        self.log_z, self.log_age = np.log10(arrays["node_z"]), arrays["node_log_age"]
        self.fine_log_age = arrays["anchor_log_age"]
        self.log_u, self.gas_log_age = arrays["neb_log_u"], np.log10(arrays["neb_age"])
        self.number, self.mass = self._decoded("ln_number"), self._decoded("ln_mass")
        self.photons = self._decoded("ln_q", -np.log(PHOTONS))
        # Photons of faint stars are rounded up to the smallest stored value, which stands for zero.
        self.photons[arrays["ln_q"] == 0] = 0
        self.remnants = arrays["remnant_mass"].astype(np.float32)
        self.ln_ratio_photons = arrays["ln_anchor_ratio_q"].astype(np.float32)
        self._take(range(len(self.bands)))

    def _decoded(self, key, shift=0.0):
        low, step = self._arrays[f"scale_{key}"]
        return np.exp(self._arrays[key] * step + (low + shift)).astype(np.float32)

    def _take(self, chosen):
        arrays, column_band, columns = self._arrays, [], []
        light = []
        for place, i in enumerate(chosen):
            low, step = arrays["scale_ln_flux"][i]
            of_band = np.flatnonzero(arrays["quad_band"] == i)
            share = (arrays["fraction"][..., of_band] / np.float32(65535)) ** 2
            flux = np.exp(arrays["ln_flux"][..., i] * step + low)[..., None]
            light.append((flux * share / np.maximum(share.sum(-1, keepdims=True), 1e-9)).astype(np.float32))
            column_band += [place] * len(of_band)
            columns += list(of_band)
        self.light = np.concatenate(light, -1)
        self.column_band = np.array(column_band)
        self.ln_ratio = arrays["ln_anchor_ratio"][..., np.array(list(chosen))[self.column_band]].astype(np.float32)
        self.a, self.b = arrays["quad_a"][columns].astype(np.float32), arrays["quad_b"][columns].astype(np.float32)
        self.gas = np.exp(arrays["ln_nebular"][..., columns] + np.log(PHOTONS)).astype(np.float32)

    @classmethod
    def read(cls, path: Path) -> StarTable:
        """Read a table written by `clusterpost.training.stars`."""
        from safetensors.numpy import load

        try:
            packed = Path(path).read_bytes()
            data = lzma.decompress(packed)
            size = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8:8 + size])["__metadata__"]["header"])
            return cls(load(data), header["bands"], header, hashlib.sha256(packed).hexdigest())
        except (OSError, lzma.LZMAError, ValueError, KeyError) as error:
            raise InputError(f"no table of stars in {path}: {error}; make one with python -m clusterpost.training.stars"
                             ) from None

    def select(self, bands: Sequence[str]) -> StarTable:
        """Return the same stars in the given bands, in this order.

        Parameters
        ----------
        bands : sequence of str

        Returns
        -------
        StarTable

        Raises
        ------
        InputError
            If the table does not have one of them.
        """
        bands = tuple(bands)
        missing = [band for band in bands if band not in self.stored_bands]
        if missing:
            raise InputError(f"the table of stars has no {', '.join(missing)}; it has {', '.join(self.stored_bands)}")
        other = object.__new__(StarTable)
        other.__dict__.update(self.__dict__)
        other.bands = bands
        other._take([self.stored_bands.index(band) for band in bands])
        return other


@lru_cache(maxsize=4)
def load_stars(path: PathLike = STARS_PATH) -> StarTable:
    """Return a table of stars, read once.

    Parameters
    ----------
    path : path
        Path of the table; by default the packaged one.

    Returns
    -------
    StarTable

    Examples
    --------
    >>> from clusterpost.families.stochastic.table import load_stars
    >>> "F160W_IR" in load_stars().bands
    True
    """
    return StarTable.read(path)
