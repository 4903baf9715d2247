"""Forward model: band fluxes of a star cluster from age, mass, and reddening.

f_b(theta, d) = m F_b(t, E) (10 pc / d)^2 with F_b from the band-flux table
computed by :mod:`clusterpost.training.grid`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch.nn import functional

from ...errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...typing import PathLike

__all__ = ["TABLES", "TABLE_PATH", "BandFluxTable", "distance_term", "find_table", "load_table", "take"]

#: The packaged tables, by metallicity.
TABLES = {f"z{z}": Path(__file__).parents[2] / "data" / f"bc03_chabrier_z{z}_o94.safetensors"
          for z in ("0.008", "0.02", "0.05")}
#: Additional bands of each table.
FURTHER_BANDS = {name: path.with_name(f"{path.stem}_further{path.suffix}") for name, path in TABLES.items()}
#: Default table.
TABLE_PATH = TABLES["z0.02"]
#: Extinction of the packaged tables.
EXTINCTION = "dust_extinction.parameter_averages.O94, Rv=3.1, foreground screen"
LN10 = math.log(10.0)
_CELLS = 2**14  # cells of log age for looking up nodes


class BandFluxTable:
    """Fluxes at 10 pc per solar mass formed, on a grid of age and reddening.

    Parameters
    ----------
    log_age : Tensor (n_age,)
        log10 age/Myr of the nodes.
    ebv : Tensor (n_ebv,)
        E(B-V)/mag of the nodes, equally spaced.
    ln_flux : Tensor (n_age, n_ebv, n_band)
        ln of the flux in mJy.
    surviving_mass : Tensor (n_age,)
        Surviving stellar mass per solar mass formed, including remnants.
    header : dict
        Provenance; ``header["bands"]`` names the bands.

    Notes
    -----
    Linear in (log age, E(B-V), ln flux) between nodes, and therefore
    differentiable almost everywhere; runs on the device of its tensors.
    """

    def __init__(self, log_age: torch.Tensor, ebv: torch.Tensor, ln_flux: torch.Tensor, surviving_mass: torch.Tensor,
                 header: dict):
        self.log_age, self.ebv, self.ln_flux_nodes = log_age, ebv, ln_flux
        self.surviving_nodes = surviving_mass
        self.header = header
        self.bands = tuple(header["bands"])
        # Equal cells of log age with few nodes each, so the node below an age is a few steps after the last
        # node before its cell.
        self._youngest, self._cells_per_dex = log_age[0], _CELLS / (log_age[-1] - log_age[0])
        cell = self._cell(log_age)
        every = torch.arange(_CELLS, dtype=cell.dtype, device=cell.device)
        self._node_before = (torch.searchsorted(cell, every, out_int32=True) - 1).clamp(min=0)
        self._most_in_a_cell = int(cell.bincount().max())
        self._inverse_width = 1 / log_age.diff()
        self._least_ebv, self._ebv_step, n = ebv[0], ebv[1] - ebv[0], len(ebv)
        self._corners = torch.tensor([0, 1, n, n + 1], dtype=cell.dtype, device=cell.device)

    @classmethod
    def read(cls, path: Path = TABLE_PATH) -> BandFluxTable:
        """Read a table written by :mod:`clusterpost.training.grid`."""
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()["header"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "ln_flux" not in tensors:  # low-rank factors of each band's matrix of ages and color excesses
            of_band = [tensors["factor_band"] == band for band in range(len(header["bands"]))]
            tensors["ln_flux"] = torch.stack([tensors["age_factors"][:, own] @ tensors["ebv_factors"][own]
                                              for own in of_band], -1)
        return cls(tensors["log_age"].float(), tensors["ebv"].float(), tensors["ln_flux"],
                   tensors["surviving_mass"], header)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> BandFluxTable:
        """Return the same table on another device or in another precision."""
        here = (self.log_age, self.ebv, self.ln_flux_nodes, self.surviving_nodes)
        moved = [x.to(device=device, dtype=dtype) for x in here]
        same = all(new is old for new, old in zip(moved, here, strict=True))
        return self if same else BandFluxTable(*moved, self.header)

    @property
    def further_bands(self) -> tuple[str, ...]:
        """Additional bands supported by `select`."""
        return tuple(band for further in _further_tables(self) for band in further.bands if band not in self.bands)

    def select(self, bands: Sequence[str]) -> BandFluxTable:
        """Return the same table with only these bands, in this order, including additional packaged ones."""
        nodes, known = self.ln_flux_nodes, self.bands
        if tuple(bands) == known:
            return self
        if not set(bands) <= set(known):
            for further in _further_tables(self):
                nodes, known = torch.cat([nodes, further.ln_flux_nodes.to(nodes)], -1), (*known, *further.bands)
        missing = [b for b in bands if b not in known]
        if missing:
            raise InputError(f"the band-flux table has no {', '.join(missing)}; it has {', '.join(known)}")
        index = [known.index(b) for b in bands]
        return BandFluxTable(self.log_age, self.ebv, nodes[..., index].contiguous(), self.surviving_nodes,
                             {**self.header, "bands": list(bands)})

    def _cell(self, log_age):
        return ((log_age.detach() - self._youngest) * self._cells_per_dex).int().clamp(0, _CELLS - 1)

    def _age_interval(self, log_age):
        """Find the node below each age, and the fractional distance to the next node."""
        left = take(self._node_before, self._cell(log_age))
        for _ in range(self._most_in_a_cell):
            left = (left + (log_age >= take(self.log_age, left + 1))).clamp(max=len(self.log_age) - 2)
        return left, (log_age - take(self.log_age, left)) * take(self._inverse_width, left)

    def ln_flux(self, log_age: torch.Tensor, ebv: torch.Tensor) -> torch.Tensor:
        """Compute ln of the flux in mJy at 10 pc per solar mass formed.

        Parameters
        ----------
        log_age : Tensor (...)
            log10 age/Myr.
        ebv : Tensor (...)
            E(B-V)/mag.

        Returns
        -------
        Tensor (..., n_band)
        """
        i, a = self._age_interval(log_age)
        n = len(self.ebv)
        position = (ebv - self._least_ebv) / self._ebv_step
        j = position.detach().int().clamp(0, n - 2)
        a, e = torch.broadcast_tensors(a, position - j)
        corners = (i * n + j)[..., None] + self._corners
        not_a, not_e = 1 - a, 1 - e
        weights = torch.stack([not_a * not_e, not_a * e, a * not_e, a * e], -1)
        flux = functional.embedding_bag(corners.reshape(-1, 4), self.ln_flux_nodes.flatten(0, 1), mode="sum",
                                        per_sample_weights=weights.reshape(-1, 4))
        return flux.reshape(*a.shape, -1)

    def surviving_mass(self, log_age: torch.Tensor) -> torch.Tensor:
        """Compute the surviving stellar mass per solar mass formed, including remnants.

        Parameters
        ----------
        log_age : Tensor (...)

        Returns
        -------
        Tensor (...)
        """
        i, a = self._age_interval(log_age)
        return torch.lerp(take(self.surviving_nodes, i), take(self.surviving_nodes, i + 1), a)

    def predict(self, theta: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        """Compute ln of the observed flux in mJy for parameters ``theta``.

        Parameters
        ----------
        theta : Tensor (..., 3)
            log10 age/Myr, log10 initial mass/Msun, E(B-V)/mag.
        distance : Tensor (...)
            Mpc.

        Returns
        -------
        Tensor (..., n_band)
        """
        log_age, log_mass, ebv = theta.unbind(-1)
        scale = LN10 * log_mass + distance_term(distance)
        return self.ln_flux(log_age, ebv) + scale.unsqueeze(-1)


def take(values: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    """Select elements of a one-dimensional tensor; `torch.take` would need a 64-bit index."""
    return values.index_select(0, i.reshape(-1)).reshape(i.shape)


def distance_term(distance: torch.Tensor) -> torch.Tensor:
    """Compute ln (10 pc / d)^2 for a distance in Mpc.

    Parameters
    ----------
    distance : Tensor
        Mpc.

    Returns
    -------
    Tensor
    """
    return -2 * (torch.log(distance) + math.log(1e5))


def _further_tables(table):
    """Yield the packaged tables of additional bands for the same spectra, extinction, and nodes."""
    same = ("sed_sha256", "extinction")
    for path in FURTHER_BANDS.values():
        further = load_table(path)
        if all(further.header[key] == table.header.get(key) for key in same) and len(further.log_age) == len(
                table.log_age):
            yield further


_READ = {}  # all tables that were read, by path


def load_table(name: PathLike = TABLE_PATH) -> BandFluxTable:
    """Return a band-flux table, read once.

    Parameters
    ----------
    name : str or path
        ``z0.008``, ``z0.02`` (the default), or ``z0.05`` for the packaged table of that
        metallicity, or the path of a table written by :mod:`clusterpost.training.grid`.

    Returns
    -------
    BandFluxTable
        Table in float32 on the CPU.

    Raises
    ------
    InputError
        If the table does not exist.

    Examples
    --------
    >>> from clusterpost.families.clusters.table import load_table
    >>> load_table("z0.008").header["ssp"]
    'Bruzual & Charlot 2003 (MNRAS 344, 1000), Chabrier IMF, Padova 1994 tracks, Z = 0.008'
    """
    path = Path(TABLES.get(str(name), name))
    if path not in _READ:
        if not path.is_file():
            raise InputError(f"no band-flux table {str(name)!r}; give one of {', '.join(TABLES)}, or the path of a "
                             "file written by python -m clusterpost.training.grid")
        _READ[path] = BandFluxTable.read(path)
    return _READ[path]


def find_table(sed_sha256: str, extinction: str = EXTINCTION) -> BandFluxTable:
    """Find the band-flux table for given spectra.

    Parameters
    ----------
    sed_sha256 : str
        Hash of the file with the spectra, as in tables and model cards.
    extinction : str
        Extinction curve, as in the header of a table.

    Returns
    -------
    BandFluxTable
        A packaged table, or one that `load_table` has read before.

    Raises
    ------
    InputError
        If there is no such table.

    Examples
    --------
    >>> from clusterpost.families.clusters.table import find_table, load_table
    >>> find_table(load_table("z0.05").header["sed_sha256"]) is load_table("z0.05")
    True
    """
    for path in (*TABLES.values(), *_READ):
        table = load_table(path)
        if (table.header["sed_sha256"], table.header["extinction"]) == (sed_sha256, extinction):
            return table
    raise InputError(f"no loaded band-flux table has the spectra with sha256 {sed_sha256[:12]} and the extinction "
                     f"{extinction!r}; in Python, load yours with clusterpost.families.clusters.table.load_table")
