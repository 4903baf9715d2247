"""Observation of mock clusters: errors, bands and upper limits.

None of these may depend on a mock's parameters, because it would then carry
information that is not in the likelihood.  Patterns of real catalogs (the
ultraviolet of a red cluster is noisy) therefore come from another cluster.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch

from ..errors import InputError, ModelError
from ..families.galaxies.errors import FlooredErrors, PaperErrors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import Table

    from ..typing import Coverage, ErrorModel

__all__ = ["AllBands", "AnyBands", "EmpiricalErrors", "FlatErrors", "LevelErrors", "MixedErrors", "SurveyBands",
           "UpperLimits", "read_coverage", "read_errors", "read_limits"]


_LEAST_PER_NODE = 20  # detections
_FEWEST_BANDS = 2


def _uniform(shape, generator, low=0.0, high=1.0):
    return torch.empty(shape, device=generator.device).uniform_(low, high, generator=generator)


def _normal(shape, generator):
    return torch.randn(shape, generator=generator, device=generator.device)


@dataclass(frozen=True)
class FlatErrors:
    """Relative errors drawn uniformly and independently.

    Attributes
    ----------
    low, high : float

    Examples
    --------
    >>> import torch
    >>> from clusterpost.training.observing import FlatErrors
    >>> generator = torch.Generator().manual_seed(1)
    >>> FlatErrors(0.05, 0.2).draw(torch.zeros(3, 5), generator).shape
    torch.Size([3, 5])
    """

    low: float = 0.05
    high: float = 0.5

    kind = "flat"

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest relative error."""
        return self.low, self.high

    def draw(self, ln_flux: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw relative errors.

        Parameters
        ----------
        ln_flux : Tensor (n, n_band)
            True fluxes of *other* clusters; only their shape matters here.
        generator : torch.Generator

        Returns
        -------
        Tensor (n, n_band)
        """
        return _uniform(ln_flux.shape, generator, self.low, self.high)


@dataclass(frozen=True)
class MixedErrors:
    """Flat errors, errors of one level for all bands, and errors from a survey's depth.

    Attributes
    ----------
    flat, level : float
        Fractions of the first two kinds; the rest is of the third kind: 1/SNR of
        another cluster at a depth drawn log-uniformly, with the floor added in
        quadrature.
    floor : float
        Systematic relative error of the third kind.
    low, high : float
        All errors lie between these.
    """

    flat: float = 0.5
    level: float = 0.2
    floor: float = 0.05
    low: float = 0.02
    high: float = 1.5

    kind = "mixed"

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest relative error."""
        return self.low, self.high

    def draw(self, ln_flux: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw relative errors; see `FlatErrors.draw`."""
        shape, column = ln_flux.shape, (len(ln_flux), 1)
        flat = _uniform(shape, generator, self.floor, 0.5)
        level = torch.exp(_uniform(column, generator, math.log(self.low), 0.0) + 0.35 * _normal(shape, generator))
        brightest = ln_flux.amax(dim=1, keepdim=True)
        snr = torch.exp(_uniform(column, generator, math.log(3.0), math.log(3000.0)) + ln_flux - brightest
                        + 0.3 * _normal(shape, generator))
        survey = torch.hypot(1 / snr, torch.full_like(snr, self.floor))
        which = _uniform(column, generator)
        relative = torch.where(which < self.flat, flat, torch.where(which < self.flat + self.level, level, survey))
        return relative.clamp(self.low, self.high)


@dataclass(frozen=True)
class LevelErrors:
    """Relative errors with a log-uniform level per object and scatter between bands.

    Attributes
    ----------
    least, most : float
        Limits of the level.
    scatter : float
        Standard deviation of ln error.
    low, high : float
        All errors lie between these.
    """

    least: float = 0.01
    most: float = 0.6
    scatter: float = 0.6
    low: float = 0.01
    high: float = 1.5

    kind = "level"

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest relative error."""
        return self.low, self.high

    def draw(self, ln_flux: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw relative errors; see `FlatErrors.draw`."""
        level = _uniform((len(ln_flux), 1), generator, math.log(self.least), math.log(self.most))
        return torch.exp(level + self.scatter * _normal(ln_flux.shape, generator)).clamp(self.low, self.high)


@dataclass(frozen=True)
class EmpiricalErrors:
    """Relative errors with the flux dependence of a catalog (Hahn & Melchior 2022, Eq. 5).

    `from_catalog` measures them.  In each band, ln of the relative error is normal,
    with a mean and a standard deviation that depend on flux, linearly in ln flux
    between nodes and constant beyond them.

    Attributes
    ----------
    ln_flux, mean, scatter : tuple of tuple of float
        Nodes of each band: ln of the flux in mJy, and mean and standard deviation
        of ln relative error.
    low, high : float
        All errors lie between these.

    Notes
    -----
    Hahn & Melchior draw a mock's errors at its own fluxes.  The errors then carry
    information about its brightness that is not in the likelihood of the fluxes.  A
    network learns this, and its posteriors are valid only for catalogs of the same
    depth and differ from those of the likelihood.  Here, errors are drawn at another
    mock's fluxes and carry no information.  As a consequence, bright mocks have the
    same errors as faint ones, and errors cover a wider range than in the catalog.
    """

    ln_flux: tuple[tuple[float, ...], ...]
    mean: tuple[tuple[float, ...], ...]
    scatter: tuple[tuple[float, ...], ...]
    low: float = 0.02
    high: float = 1.5

    kind = "empirical"

    @classmethod
    def from_catalog(cls, tbl: Table, bands: Sequence[str], *, n_nodes: int = 12, low: float = 0.02, high: float = 1.5,
                     error_floor: float | None = 0.05) -> EmpiricalErrors:
        """Measure the flux dependence of the errors of a catalog.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
            Catalog with columns as for `~clusterpost.infer_table`.
        bands : sequence of str
            Bands of the simulator.
        n_nodes : int
            Largest number of nodes, each from an equal number of at least 20 fluxes.
        low, high : float
            Error limits of the model; errors beyond are clipped.
        error_floor : float, optional
            Relative error that is added in quadrature, as in inference.

        Returns
        -------
        EmpiricalErrors

        Raises
        ------
        InputError
            If a band has fewer than 20 detections.

        Examples
        --------
        >>> import clusterpost
        >>> from clusterpost.training.observing import EmpiricalErrors
        >>> errors = EmpiricalErrors.from_catalog(clusterpost.simulate(200, seed=1),
        ...                                       ["F555W", "F814W"])
        >>> len(errors.ln_flux), len(errors.ln_flux[0])
        (2, 10)
        """
        from ..photometry import Photometry

        catalog = Photometry.from_table(tbl, covariates=(), error_floor=error_floor).select(bands)
        nodes = []
        for i, band in enumerate(bands):
            flux, error = catalog.flux[:, i], catalog.error[:, i]
            good = ~catalog.missing[:, i] & ~catalog.limit[:, i] & (flux > 0) & (error > 0)
            if good.sum() < _LEAST_PER_NODE:
                raise InputError(f"the catalog has {good.sum()} detections in {band}; {_LEAST_PER_NODE} are needed to "
                                 "measure the flux dependence of its errors")
            ln_flux, ln_error = np.log(flux[good]), np.log(np.clip(error[good] / flux[good], low, high))
            order = np.array_split(np.argsort(ln_flux), min(n_nodes, good.sum() // _LEAST_PER_NODE))
            nodes.append([(ln_flux[part].mean(), ln_error[part].mean(), ln_error[part].std()) for part in order])
        columns = (tuple(tuple(float(node[k]) for node in band) for band in nodes) for k in range(3))
        return cls(*columns, low, high)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest relative error."""
        return self.low, self.high

    def draw(self, ln_flux: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw relative errors; see `FlatErrors.draw`."""
        if ln_flux.shape[1] != len(self.ln_flux):
            raise InputError(f"these errors are of {len(self.ln_flux)} bands, and the simulator has {ln_flux.shape[1]}")
        bands = []
        for x, nodes, *values in zip(ln_flux.unbind(1), self.ln_flux, self.mean, self.scatter, strict=True):
            bands.append(torch.stack([_interpolated(x, nodes, v) for v in values]))
        mean, scatter = torch.stack(bands, dim=-1)
        return torch.exp(mean + scatter * _normal(ln_flux.shape, generator)).clamp(self.low, self.high)


def _interpolated(x, nodes, values):
    """Interpolate linearly between nodes, constant beyond them."""
    nodes, values = torch.tensor(nodes).to(x), torch.tensor(values).to(x)
    if len(nodes) == 1:
        return values.expand_as(x)
    right = torch.searchsorted(nodes, x.contiguous()).clamp(1, len(nodes) - 1)
    start, end = nodes[right - 1], nodes[right]
    return torch.lerp(values[right - 1], values[right], ((x - start) / (end - start)).clamp(0, 1))


@dataclass(frozen=True)
class AllBands:
    """Coverage with measurements in all bands."""

    kind = "all"

    def draw(self, n: int, n_bands: int, generator: torch.Generator) -> torch.Tensor:
        """Draw the measured bands.

        Parameters
        ----------
        n, n_bands : int
        generator : torch.Generator

        Returns
        -------
        Tensor of bool (n, n_bands)
        """
        return torch.ones(n, n_bands, dtype=torch.bool, device=generator.device)


@dataclass(frozen=True)
class AnyBands:
    """Coverage with measurements in some of the slots, each in one of its bands.

    Attributes
    ----------
    slots : tuple of tuple of int
        Indices of the bands that can fill each slot.
    complete : float
        Fraction of mocks with all slots filled; the others have from two slots to
        one less than all, with equal frequency.
    """

    slots: tuple[tuple[int, ...], ...]
    complete: float = 0.45

    kind = "any"

    def draw(self, n: int, n_bands: int, generator: torch.Generator) -> torch.Tensor:
        """Draw which bands are measured; see `AllBands.draw`."""
        n_slots = len(self.slots)
        rank = _uniform((n, n_slots), generator).argsort(dim=1).argsort(dim=1)
        several = 2 + (_uniform((n, 1), generator) * (n_slots - 2)).long()
        filled = rank < torch.where(_uniform((n, 1), generator) < self.complete, n_slots, several)
        # One camera for the whole object is more frequent than a mixture.
        whole, each = _uniform((n, 1), generator), _uniform((n, n_slots), generator) < 0.5
        last = torch.where(whole < 0.45, False, torch.where(whole < 0.75, True, each))
        measured = torch.zeros(n, n_bands, dtype=torch.bool, device=generator.device)
        for i, slot in enumerate(self.slots):
            measured[:, slot[0]] |= filled[:, i] & ~(last[:, i] & (len(slot) > 1))
            measured[:, slot[-1]] |= filled[:, i] & (last[:, i] | (len(slot) == 1))
        return measured


@dataclass(frozen=True)
class SurveyBands:
    """Coverage with the bands of one of several surveys, some of them missing, or with random sets of bands.

    Attributes
    ----------
    slots : tuple of tuple of int
        Indices of equivalent bands; every band is in one slot.
    sets : tuple of tuple of int
        Indices of the bands of each survey.
    shares : tuple of float
        Relative frequencies of the sets.
    random : float
        Fraction of mocks with a random set instead of a survey's.
    largest : int
        Largest number of bands in a random set.
    incomplete, dropped : float
        Fraction of the surveys' mocks that can miss bands, and probability of each band to be missing in them.  At
        least two bands remain.
    """

    slots: tuple[tuple[int, ...], ...]
    sets: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...]
    random: float = 0.25
    largest: int = 8
    incomplete: float = 0.4
    dropped: float = 0.15

    kind = "surveys"

    def draw(self, n: int, n_bands: int, generator: torch.Generator) -> torch.Tensor:
        """Draw which bands are measured; see `AllBands.draw`."""
        device = generator.device
        sets = torch.zeros(len(self.sets), n_bands, dtype=torch.bool, device=device)
        for row, bands in zip(sets, self.sets, strict=True):
            row[list(bands)] = True
        shares = torch.tensor(self.shares, device=device)
        survey = sets[torch.multinomial(shares, n, replacement=True, generator=generator)]
        missing = _uniform((n, n_bands), generator) < self.dropped * (_uniform((n, 1), generator) < self.incomplete)
        kept = survey & ~missing
        survey = torch.where(kept.sum(1, keepdim=True) >= _FEWEST_BANDS, kept, survey)
        most = min(self.largest, n_bands)
        several = _FEWEST_BANDS + (_uniform((n, 1), generator) * (most + 1 - _FEWEST_BANDS)).long()
        any_set = _uniform((n, n_bands), generator).argsort(1).argsort(1) < several
        return torch.where(_uniform((n, 1), generator) < self.random, any_set, survey)


@dataclass(frozen=True)
class UpperLimits:
    """Upper limits that replace measurements below them.

    Some bands of some mocks have a limit, drawn around a typical flux of the other bands.  It replaces the measurement
    with the probability in the likelihood of limits, Phi((L - f)/sigma) for a true flux f and a limit L with scale
    sigma (see `clusterpost.noise`).  Otherwise the band remains measured.

    Attributes
    ----------
    mocks, bands : float
        Fraction of mocks with limits, and fraction of bands of these mocks.
    below, above : float
        Largest distances of a limit from the typical flux, in ln flux.
    sharpest, softest : float
        Scale of a limit, relative to it.
    """

    mocks: float = 0.2
    bands: float = 0.3
    below: float = 4.0
    above: float = 3.0
    sharpest: float = 0.01
    softest: float = 0.5

    kind = "upper limits"

    def draw(self, ln_flux: torch.Tensor, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor,
             generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Replace measurements by limits.

        Parameters
        ----------
        ln_flux : Tensor (n, n_band)
            ln of the true flux.
        flux, error : Tensor (n, n_band)
            Measured fluxes, positive, and errors.
        measured : Tensor of bool (n, n_band)
        generator : torch.Generator

        Returns
        -------
        flux, error : Tensor (n, n_band)
            Fluxes and errors, with limits and their scales.
        limit : Tensor of bool (n, n_band)
            True for limits; at least two measurements remain.
        """
        shape, column = ln_flux.shape, (len(ln_flux), 1)
        chosen = measured & (_uniform(shape, generator) < self.bands) & (_uniform(column, generator) < self.mocks)
        chosen &= (measured & ~chosen).sum(1, keepdim=True) >= _FEWEST_BANDS
        others = measured & ~chosen
        # A limit must not depend on the flux that it limits.
        typical = torch.where(others, torch.log(flux), 0.0).sum(1, keepdim=True) / others.sum(1, keepdim=True)
        level = torch.exp(typical + _uniform(shape, generator, -self.below, self.above))
        scale = level * torch.exp(_uniform(shape, generator, math.log(self.sharpest), math.log(self.softest)))
        limit = chosen & (torch.exp(ln_flux) + scale * _normal(shape, generator) < level)
        return torch.where(limit, level, flux), torch.where(limit, scale, error), limit


_KINDS = {kind.kind: kind for kind in (FlatErrors, LevelErrors, MixedErrors, EmpiricalErrors, FlooredErrors,
                                       PaperErrors, AllBands, AnyBands, SurveyBands, UpperLimits)}


def _read(values):
    """Create an object from the output of `to_dict`, whose values are checked against the class's types."""
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ModelError(f"this version of clusterpost has no observing conditions of the kind {str(kind)[:40]!r}")
    try:
        return msgspec.convert({name: value for name, value in values.items() if name != "kind"}, _KINDS[kind])
    except msgspec.ValidationError as error:
        raise ModelError(f"observing conditions of the kind {kind!r} have an invalid description: {error}") from None


def to_dict(observing: ErrorModel | Coverage | UpperLimits) -> dict[str, Any]:
    """Return plain values for a model's card."""
    return {"kind": observing.kind, **asdict(observing)}


def read_errors(values: dict) -> ErrorModel:
    """Return the error model described in a card.

    Parameters
    ----------
    values : dict

    Returns
    -------
    FlatErrors, LevelErrors, MixedErrors, EmpiricalErrors, FlooredErrors or PaperErrors
    """
    return _read(values)


def read_coverage(values: dict) -> Coverage:
    """Return the coverage described in a card.

    Parameters
    ----------
    values : dict

    Returns
    -------
    AllBands, AnyBands or SurveyBands
    """
    return _read(values)


def read_limits(values: dict) -> UpperLimits:
    """Return the upper limits described in a card.

    Parameters
    ----------
    values : dict

    Returns
    -------
    UpperLimits
    """
    return _read(values)
