"""Simulator of stochastically sampled star clusters.

A cluster of age t and metallicity Z contains stars of the neighboring isochrones:
a Poisson number of each type of star, with a mean that is linear in log t and
log Z. The light is the sum over stars and the emission of the gas,
reddened by dust.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from .parameters import SOLAR_Z
from .table import StarTable, load_stars

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["Light", "StarSimulator"]

LOG_U = (-3.5, -2.0)  # ionization parameter, uniform
_CLUSTERS_AT_ONCE = 16_384
_GATHERED_AT_ONCE = 256
_FEW = 40  # clusters between the same nodes below which rates are gathered for each cluster
_LN10 = np.log(10.0)


class Light(NamedTuple):
    """Light of clusters before dust attenuation.

    Attributes
    ----------
    columns : Tensor (n, n_column)
        Light at each wavelength of the table, mJy at 10 pc.
    photons : Tensor (n,)
        Ionizing photons, 1e45 per second.
    stellar_mass : Tensor (n,)
        Present mass in stars and remnants, Msun.
    """

    columns: torch.Tensor
    photons: torch.Tensor
    stellar_mass: torch.Tensor


class StarSimulator:
    """Simulator of cluster fluxes.

    Parameters
    ----------
    table : StarTable, optional
        Table of stars; by default ``bands`` of the packaged one.
    bands : sequence of str, optional
        Names of the bands; by default all bands of the table.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.stochastic.simulator import StarSimulator
    >>> simulator = StarSimulator(bands=["F275W", "F814W"])
    >>> theta = torch.tensor([[1.0, 4.0, 0.1, 0.0, 3.1, 0.5]])  # 10 Myr, 1e4 Msun
    >>> flux = simulator.simulate(theta, generator=torch.Generator().manual_seed(1))
    >>> flux.shape
    torch.Size([1, 2])
    """

    def __init__(self, table: StarTable | None = None, bands: Sequence[str] | None = None):
        table = load_stars() if table is None else table
        self.table = table = table if bands is None else table.select(bands)
        self.bands = table.bands
        self._number, light, photons, mass, self._remnants = (
            torch.as_tensor(values)
            for values in (table.number, table.light, table.photons, table.mass, table.remnants))
        self._of_star = torch.cat([light, photons[..., None], mass[..., None]], -1)  # to sum all with one product
        self._ln_ratio, self._ln_ratio_photons, self._gas = (
            torch.as_tensor(values) for values in (table.ln_ratio, table.ln_ratio_photons, table.gas))
        self._a, self._b = torch.as_tensor(table.a), torch.as_tensor(table.b)
        self._to_band = torch.zeros(len(table.column_band), len(self.bands))
        self._to_band[torch.arange(len(table.column_band)), torch.as_tensor(table.column_band)] = 1.0
        self._log_z, self._log_age = torch.as_tensor(table.log_z).float(), torch.as_tensor(table.log_age).float()
        self._fine = round(float(np.diff(table.log_age)[0] / np.diff(table.fine_log_age)[0]))  # fine nodes per node

    def to(self, device: str | torch.device) -> StarSimulator:
        """Return the same simulator with its tensors on another device."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(other, name, value.to(device))
        return other

    def light(self, log_age: torch.Tensor, log_mass: torch.Tensor, metallicity: torch.Tensor, covering: torch.Tensor,
              log_u: torch.Tensor, generator: torch.Generator | None = None) -> Light:
        """Draw the stars of clusters and sum their light.

        Parameters
        ----------
        log_age, log_mass, metallicity, covering, log_u : Tensor (n,)
            log10 age/Myr; log10 of the expected birth mass in Msun; [M/H] = log10 Z/0.02; fraction of ionizing
            photons absorbed by gas; log10 of the ionization parameter.
        generator : torch.Generator, optional

        Returns
        -------
        Light
        """
        log_age, log_z = log_age.float(), metallicity.float() + np.log10(SOLAR_Z)
        i, w = interval(self._log_age, log_age)
        j, v = interval(self._log_z, log_z)
        cell = j * len(self._log_age) + i
        _, which, sizes = torch.unique(cell, return_inverse=True, return_counts=True)
        order = torch.argsort(which, stable=True)
        few = sizes < _FEW
        is_alone = few[which[order]]
        alone = order[is_alone]

        def drawn(rate: torch.Tensor) -> torch.Tensor:
            """Draw numbers of stars."""
            return torch.poisson(rate, generator=generator)

        def parts() -> Iterator[tuple[torch.Tensor, Light]]:
            """Sum the light of the clusters with few others between the same nodes, and of all others by nodes."""
            values = (log_age, log_mass, w, v, covering.float(), log_u.float())
            if len(alone):
                tables = self._of_star, self._ln_ratio, self._gas
                yield alone, self._gathered(drawn, tables, *(value[alone] for value in (j, i, *values)))
            for some in torch.split(order[~is_alone], sizes[~few].tolist()):
                for at in some.split(_CLUSTERS_AT_ONCE):
                    yield at, self._cell(drawn, int(j[at[0]]), int(i[at[0]]), *(value[at] for value in values))

        out = Light(torch.empty(len(cell), self._ln_ratio.shape[-1], device=cell.device),
                    *torch.empty(2, len(cell), device=cell.device))
        for at, part in parts():
            for whole, piece in zip(out, part, strict=True):
                whole[at] = piece
        return out

    def _cell(self, draw, j, i, log_age, log_mass, w, v, covering, log_u):
        """Sum the light of clusters between the same nodes; a function of the rates draws the stars."""
        mass = 10 ** log_mass.double()
        share = torch.stack([(1 - w) * (1 - v), w * (1 - v), (1 - w) * v, w * v], 1)
        number = self._number[j:j + 2, i:i + 2].reshape(4, -1)
        rate = (mass[:, None] * share).float()
        counts = draw(rate[:, :, None] * number)
        counts = counts.reshape(len(counts), 2, -1)  # of the lower and the upper metallicity
        # Between age nodes, the mean follows the adopted mean on a finer grid.
        place = (log_age - self._log_age[i]) / (self._log_age[1] - self._log_age[0]) * self._fine
        fine = _hat(torch.arange(self._fine + 1.0, device=place.device), place, 1.0)
        first = self._fine * i
        gas_weight = None
        if log_age.min() <= self.table.gas_log_age[-1]:
            seen = torch.where(log_age <= self.table.gas_log_age[-1], covering, 0.0)
            gas_weight = seen[:, None] * self._gas_weight(log_age, log_u)
        columns, photons = 0.0, 0.0
        stellar = mass.float() * (share @ self._remnants[j:j + 2, i:i + 2].flatten())
        for k in (0, 1):
            of_stars = counts[:, k] @ self._of_star[j + k, i:i + 2].flatten(0, 1)
            columns = columns + torch.exp(fine @ self._ln_ratio[j + k, first:first + self._fine + 1]) * of_stars[:, :-2]
            of_these = torch.exp(fine @ self._ln_ratio_photons[j + k, first:first + self._fine + 1]) * of_stars[:, -2]
            photons, stellar = photons + of_these, stellar + of_stars[:, -1]
            if gas_weight is not None:
                columns = columns + of_these[:, None] * (gas_weight @ self._gas[:, j + k].flatten(0, 1))
        return Light(columns, photons, stellar)

    def _gathered(self, draw, tables, *values, n=_GATHERED_AT_ONCE):
        """Sum the light of clusters between any nodes, ``n`` at a time; a function of the rates draws the stars."""
        parts = [self._of_nodes(draw, tables, *(value[at:at + n] for value in values))
                 for at in range(0, len(values[0]), n)]
        return Light(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _of_nodes(self, draw, tables, j, i, log_age, log_mass, w, v, covering, log_u):
        of_star, ln_ratio, of_gas = tables
        j, i = j[:, None], i[:, None]
        z, age = torch.cat([j, j, j + 1, j + 1], 1), torch.cat([i, i + 1, i, i + 1], 1)
        share = torch.stack([(1 - w) * (1 - v), w * (1 - v), (1 - w) * v, w * v], 1)
        rate = (10 ** log_mass.double()[:, None] * share).float()
        node = z * len(self._log_age) + age
        counts = draw(rate[:, :, None] * functional.embedding(node, self._number.flatten(0, 1)))
        of_each = functional.embedding(node, of_star.flatten(2).flatten(0, 1)).unflatten(-1, of_star.shape[2:])
        of_stars = (counts[:, :, None] @ of_each)[:, :, 0]
        stellar = of_stars[..., -1].sum(1) + (rate * self._remnants[z, age]).sum(1)
        fine = log_age / (self._log_age[1] - self._log_age[0]) * self._fine
        below = fine.long().clamp(0, self._ln_ratio.shape[1] - 2)
        part = (fine - below).clamp(0, 1)[:, None]

        def between(values):
            """Interpolate values for both metallicities, (n, 2, ...), linearly on the finer grid."""
            at = below[:, None]
            low, high = values[z[:, ::2], at], values[z[:, ::2], at + 1]
            return torch.exp(torch.lerp(low, high, part.reshape(-1, *[1] * (low.ndim - 1))))

        emitted = of_stars.unflatten(1, (2, 2)).sum(2)
        photons = emitted[..., -2] * between(self._ln_ratio_photons)
        light = (emitted[..., :-2] * between(ln_ratio)).sum(1)
        gassy = torch.nonzero(log_age <= self.table.gas_log_age[-1])[:, 0]
        if len(gassy):
            weight = (covering[:, None] * self._gas_weight(log_age, log_u))[gassy]
            gas = of_gas.movedim(1, 0)[z[gassy, ::2]]  # (n, 2, n_log_u, n_age, n_column)
            light[gassy] += torch.einsum("ns,nsuac,nua->nc", photons[gassy], gas,
                                           weight.unflatten(1, gas.shape[2:4]))
        return Light(light, photons.sum(1), stellar)

    def simulate_each(self, theta: torch.Tensor, seed: int, bands: torch.Tensor) -> torch.Tensor:
        """Draw several fluxes for each of several clusters, with the same random numbers for every cluster.

        Parameters
        ----------
        theta : Tensor (n, k, 6)
            As for `simulate`.
        seed : int
        bands : Tensor (n_band,) of bool
            Required bands; fluxes of the others are 1.

        Returns
        -------
        Tensor (n, k, n_band)
            mJy at 10 pc.
        """
        generator, k = torch.Generator(theta.device), theta.shape[1]
        log_u = torch.empty(k, device=theta.device).uniform_(*LOG_U, generator=generator.manual_seed(seed))
        log_age, log_mass, ebv, metallicity, rv, covering = theta.float().flatten(0, 1).unbind(-1)
        i, w = interval(self._log_age, log_age)
        j, v = interval(self._log_z, metallicity + np.log10(SOLAR_Z))
        of_band = bands[self._to_band.argmax(1)]
        of_star = torch.cat([of_band, of_band.new_ones(2)])
        tables = self._of_star[..., of_star], self._ln_ratio[..., of_band], self._gas[..., of_band]

        def drawn(rate: torch.Tensor) -> torch.Tensor:
            """Draw numbers of stars."""
            return torch.cat([torch.poisson(part, generator=generator.manual_seed(seed)) for part in rate.split(k)])

        light = self._gathered(drawn, tables, j, i, log_age, log_mass, w, v, covering, log_u.repeat(len(theta)),
                               n=k * max(1, _GATHERED_AT_ONCE // k))
        screen = self._screen(ebv, rv)[:, of_band]
        flux = (light.columns * screen) @ self._to_band[of_band]
        return torch.where(bands, flux, 1.0).unflatten(0, theta.shape[:2])

    def simulate_behind(self, theta: torch.Tensor, n_screens: int, span: tuple[float, float],
                        generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw clusters, each behind several dust screens.

        Parameters
        ----------
        theta : Tensor (n, 6)
            As for `simulate`; E(B-V) is ignored.
        n_screens : int
        span : (float, float)
            Range of E(B-V) that the screens cover evenly, with a random start.
        generator : torch.Generator

        Returns
        -------
        flux : Tensor (n, n_screens, n_band)
            mJy at 10 pc.
        ebv : Tensor (n, n_screens)
        """
        log_age, log_mass, _, metallicity, rv, covering = theta.unbind(-1)
        log_u = torch.empty(len(theta), device=theta.device).uniform_(*LOG_U, generator=generator)
        light = self.light(log_age, log_mass, metallicity, covering, log_u, generator)
        place = torch.rand(len(theta), 1, generator=generator, device=theta.device) + torch.arange(
            n_screens, device=theta.device)
        values = span[0] + place / n_screens * (span[1] - span[0])
        return self.redden(light.columns[:, None], values, rv[:, None]), values

    def _gas_weight(self, log_age, log_u):
        """Compute weights of the gas nodes, (n, n_log_u n_age)."""
        log_u_nodes, ages = (torch.as_tensor(nodes).float().to(log_u.device)
                             for nodes in (self.table.log_u, self.table.gas_log_age))
        weight = (_hat(log_u_nodes, log_u, log_u_nodes[1] - log_u_nodes[0])[:, :, None]
                  * _hat(ages, log_age, ages[1] - ages[0])[:, None])
        return weight.flatten(1)

    def redden(self, columns: torch.Tensor, ebv: torch.Tensor, rv: torch.Tensor) -> torch.Tensor:
        """Apply dust to clusters and sum the light of each band.

        Parameters
        ----------
        columns : Tensor (..., n_column)
            Columns from `light`.
        ebv, rv : Tensor (...)
            E(B-V)/mag of a foreground screen, and R_V (O'Donnell 1994).

        Returns
        -------
        Tensor (..., n_band)
            mJy at 10 pc.
        """
        return (columns * self._screen(ebv, rv)) @ self._to_band

    def _screen(self, ebv, rv):
        ebv, rv = ebv.float().unsqueeze(-1), rv.float().unsqueeze(-1)
        return torch.exp((-0.4 * _LN10) * ebv * (rv * self._a + self._b))

    def simulate(self, theta: torch.Tensor, *, log_u: torch.Tensor | None = None,
                 generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw the fluxes of clusters with parameters ``theta``.

        Parameters
        ----------
        theta : Tensor (n, 6)
            log10 age/Myr, log10 mass/Msun, E(B-V)/mag, [M/H], R_V, and the covering fraction of the gas.
        log_u : Tensor (n,), optional
            Ionization parameter; by default drawn uniformly from -3.5 to -2.
        generator : torch.Generator, optional

        Returns
        -------
        Tensor (n, n_band)
            mJy at 10 pc.
        """
        log_age, log_mass, ebv, metallicity, rv, covering = theta.unbind(-1)
        if log_u is None:
            log_u = torch.empty(len(theta), device=theta.device).uniform_(*LOG_U, generator=generator)
        light = self.light(log_age, log_mass, metallicity, covering, log_u, generator)
        return self.redden(light.columns, ebv, rv)

    def expected(self, theta: torch.Tensor, log_u: torch.Tensor) -> torch.Tensor:
        """Compute the expected fluxes of clusters, as for a fully sampled population.

        Parameters
        ----------
        theta : Tensor (n, 6)
            As for `simulate`.
        log_u : Tensor (n,)

        Returns
        -------
        Tensor (n, n_band)
            mJy at 10 pc.
        """
        log_age, log_mass, ebv, metallicity, rv, covering = theta.unbind(-1)
        i, w = interval(self._log_age, log_age.float())
        j, v = interval(self._log_z, metallicity.float() + np.log10(SOLAR_Z))
        light = self._gathered(lambda rate: rate, (self._of_star, self._ln_ratio, self._gas), j, i, log_age.float(),
                               log_mass, w, v, covering.float(), log_u.float())
        return self.redden(light.columns, ebv, rv)


def interval(nodes: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the node below each value, and the fractional distance to the next.

    Parameters
    ----------
    nodes : Tensor (n,)
        Increasing.
    values : Tensor (...)

    Returns
    -------
    left : Tensor (...) of int
        From 0 to n - 2.
    part : Tensor (...)
        From 0 to 1; an end of it outside of the nodes.
    """
    left = (torch.searchsorted(nodes, values.contiguous(), right=True) - 1).clamp(0, len(nodes) - 2)
    return left, ((values - nodes[left]) / (nodes[left + 1] - nodes[left])).clamp(0, 1)


def _hat(nodes, values, step):
    """Compute weights of linear interpolation between equally spaced nodes, (n, n_node)."""
    place = torch.minimum(torch.maximum(values, nodes[0]), nodes[-1])
    return (1 - torch.abs(place[:, None] - nodes) / step).clamp(min=0)
