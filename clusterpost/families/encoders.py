"""Encoders: what a network is shown of an object's measured values.

An encoder turns fluxes and errors (mJy), which of them were measured, and
distances (Mpc) into a tensor of conditions.  A model file describes its encoder.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..observations import Observed

__all__ = ["AbsoluteConditions", "FluxConditions", "RelativeConditions", "SetConditions", "Walter2025Conditions",
           "read_encoder"]


class Walter2025Conditions:
    """log10 fluxes, relative errors and the distance (Walter et al. 2025, Sect. 2.2)."""

    name = "log-flux, relative error, distance"
    #: Covariates that the network sees as they are, which must lie in the range of training.
    covariates = ("distance",)
    #: Beyond what it was shown in training the network has no answer.
    bounded = True

    def to_dict(self) -> str:
        """As plain values for a model's card: its name says it all."""
        return self.name

    def size(self, n_bands: int) -> int:
        """Return the number of conditions for ``n_bands`` bands."""
        return 2 * n_bands + 1

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode.

        Parameters
        ----------
        observed : Observed
            Fluxes positive.
            All True: this network needs every band.

        Returns
        -------
        Tensor (n, 2 n_band + 1)
        """
        flux, error = observed.flux, observed.error
        return torch.cat([torch.log10(flux), error / flux, observed.covariates["distance"].unsqueeze(-1)], dim=-1)


class RelativeConditions:
    """Colors and errors of whatever bands there are; blind to brightness and distance.

    Of each slot (a place in the spectrum that one of a few similar bands fills):
    ln flux less the object's own weighted mean, ln of its error, whether it
    was measured at all, and which of the slot's bands it was.

    Parameters
    ----------
    slots : sequence of sequence of int
        The bands, by index, that can fill each slot.

    Notes
    -----
    Multiplying all fluxes of an object, or changing its distance, leaves the
    conditions as they are but for rounding.  s^2 = ln(1 + r^2) is the variance
    of ln f* for a relative error r, and s^2/2 its bias.
    """

    name = "relative"
    #: Neither colors nor the brightness at a standard distance depend on the range of distances.
    covariates = ()
    #: Values beyond its range are shown as its ends, which training has covered.
    bounded = False
    #: ln f* beyond these widths are shown to the network as these; the likelihood knows better.
    error_range = (0.02, 1.5)
    _FARTHEST = 12.0  # ln of the largest flux ratio shown

    def __init__(self, slots: Sequence):
        self.slots = tuple(tuple(slot) for slot in slots)
        self._double = tuple(i for i, slot in enumerate(self.slots) if len(slot) > 1)
        if any(len(slot) not in (1, 2) for slot in self.slots):
            raise ValueError("a slot is filled by one band or by one of two")

    def to_dict(self) -> dict[str, Any]:
        """As plain values for a model's card."""
        return {"name": self.name, "slots": [list(slot) for slot in self.slots]}

    def size(self, n_bands: int | None = None) -> int:
        """Return the number of conditions."""
        return 3 * len(self.slots) + len(self._double)

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode.

        Parameters
        ----------
        observed : Observed
            Fluxes and errors positive where measured.

        Returns
        -------
        Tensor (n, n_condition)
        """
        flux, error, measured = observed.flux, observed.error, observed.measured
        variance = torch.log1p((error / flux) ** 2)
        value = torch.where(measured, torch.log(flux) + variance / 2, 0.0)
        sigma = torch.where(measured, variance.sqrt().clamp(*self.error_range), torch.inf)
        second, value, sigma = self._fill(value, sigma)
        there = torch.isfinite(sigma)
        weight = sigma**-2
        mean = (weight * value).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        parts = [torch.where(there, (value - mean).clamp(-self._FARTHEST, self._FARTHEST), 0.0),
                 torch.where(there, torch.log(sigma), 0.0), there, second[:, self._double]]
        return torch.cat([part.to(flux.dtype) for part in parts], dim=1)

    def _fill(self, value, sigma, *others):
        """Choose the better measured band of each slot, and tell whether it is the second one."""
        first = torch.tensor([slot[0] for slot in self.slots], device=value.device)
        last = torch.tensor([slot[-1] for slot in self.slots], device=value.device)
        second = (sigma[:, last] < sigma[:, first]) & torch.isfinite(sigma[:, last])
        filled = (torch.where(second, x[:, last], x[:, first]) for x in (value, *others))
        return second, next(filled), sigma[:, last].minimum(sigma[:, first]), *filled


class AbsoluteConditions(RelativeConditions):
    """Fluxes of whatever bands there are, of any sign, and how bright the object is at 10 Mpc.

    Of each slot: asinh magnitude (Lupton et al. 1999; in nats, softened by the
    flux's error) less the object's own weighted mean, asinh of half the
    signal-to-noise ratio, whether it was measured, and which of the slot's bands
    it was; and that mean, with the distance taken out.

    Parameters
    ----------
    slots : sequence of sequence of int
        The bands, by index, that can fill each slot.

    Notes
    -----
    What a flow needs that learns the mass too, and under noise that gives
    negative fluxes.
    """

    name = "absolute"

    def size(self, n_bands: int | None = None) -> int:
        """Return the number of conditions."""
        return super().size() + 1

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode.

        Parameters
        ----------
        observed : Observed
            Fluxes of any sign, errors positive, where measured.

        Returns
        -------
        Tensor (n, n_condition)
        """
        measured, (signal, value) = observed.measured, _asinh_magnitudes(observed)
        # The relative error of a good measurement; one below zero has no say in how bright the object is.
        sigma = torch.where(measured, torch.exp(-signal), torch.inf).clamp(min=self.error_range[0])
        second, value, sigma, signal = self._fill(value, sigma, signal)
        there = torch.isfinite(sigma)
        weight = sigma**-2
        mean = (weight * value).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        bright = mean + 2 * torch.log(observed.covariates["distance"] / 10).unsqueeze(-1)
        parts = [torch.where(there, (value - mean).clamp(-self._FARTHEST, self._FARTHEST), 0.0),
                 torch.where(there, signal, 0.0), there, second[:, self._double], bright]
        return torch.cat([part.to(observed.flux.dtype) for part in parts], dim=1)


class FluxConditions:
    """Fluxes of any sign, their errors and the covariates, for families without an encoder of their own.

    Of each band: asinh magnitude (Lupton et al. 1999; in nats, softened by the flux's error) less the object's
    own weighted mean, asinh of half the signal-to-noise ratio, and whether it was measured; then that mean, and
    each covariate.

    Parameters
    ----------
    n_bands : int
    covariates : sequence of str
        Names of the family's covariates.
    """

    name = "flux"
    bounded = False
    _SMALLEST_ERROR = 0.02  # a better measurement has no greater say in the mean

    def __init__(self, n_bands: int, covariates: Sequence[str]):
        self.n_bands, self.covariates = int(n_bands), tuple(covariates)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a model file."""
        return {"name": self.name, "n_bands": self.n_bands, "covariates": list(self.covariates)}

    def size(self, n_bands: int | None = None) -> int:
        """Return the number of conditions."""
        return 3 * self.n_bands + 1 + len(self.covariates)

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode.

        Parameters
        ----------
        observed : Observed
            Fluxes of any sign, errors positive, where measured.

        Returns
        -------
        Tensor (n, n_condition)
        """
        measured, (signal, value) = observed.measured, _asinh_magnitudes(observed)
        weight = torch.where(measured, torch.exp(-signal).clamp(min=self._SMALLEST_ERROR) ** -2, 0.0)
        mean = (weight * value).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        known = [observed.covariates[name][:, None].to(value) for name in self.covariates]
        return torch.cat([torch.where(measured, value - mean, 0.0), signal, measured.to(value), mean, *known], dim=1)


class SetConditions:
    """Whatever was measured, band by band, for networks that see a set of bands; with upper limits.

    Of each band ln flux less the object's own weighted mean, ln of its error, and a mark: 0 nothing, 1 a
    measurement, 2 an upper limit.  Of the object that mean, as it were at 10 pc, ln of its total weight, and the
    number of bands with anything.

    Parameters
    ----------
    n_bands : int
    distance : str, optional
        Name of the covariate that holds the distance, Mpc; None for a family without.

    Notes
    -----
    s^2 = ln(1 + r^2) is the variance of ln f* under log-normal noise of a relative error r, and s^2/2 its bias.
    """

    name = "set"
    #: A distance enters by the brightness at a standard distance alone.
    covariates = ()
    bounded = False
    error_range = (0.01, 1.5)
    _FARTHEST = 12.0  # ln of the largest flux ratio shown
    _TEN_PC = 2 * math.log(1e5)  # of ln flux, from 1 Mpc

    def __init__(self, n_bands: int, distance: str | None = "distance"):
        self.n_bands, self.distance = n_bands, distance

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a model file."""
        return {"name": self.name, "n_bands": self.n_bands, "distance": self.distance}

    def size(self, n_bands: int | None = None) -> int:
        """Return the number of conditions."""
        return 3 * self.n_bands + 3

    def farther(self, conditions: torch.Tensor, ln_shift: float | torch.Tensor) -> torch.Tensor:
        """Return what the conditions are at distances whose ln is larger by ``ln_shift``, Tensor (n, n_condition)."""
        shift = torch.zeros_like(conditions)
        shift[:, 3 * self.n_bands] = 2 * ln_shift
        return conditions + shift

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode.

        Parameters
        ----------
        observed : Observed
            Fluxes and errors positive where measured or a limit.

        Returns
        -------
        Tensor (n, 3 n_band + 3)
        """
        measured, any_there = observed.measured, observed.measured | observed.limit
        variance = torch.where(any_there, torch.log1p((observed.error / observed.flux) ** 2), 1.0)
        bias = torch.where(measured, variance / 2, 0.0)
        value = torch.where(any_there, torch.log(torch.where(any_there, observed.flux, 1.0)) + bias, 0.0)
        error = variance.sqrt().clamp(*self.error_range)
        # Limits tell how bright an object is only where nothing else does.
        counts = torch.where(measured.any(1, keepdim=True), measured, any_there)
        weight = torch.where(counts, error**-2, 0.0)
        total = weight.sum(1, keepdim=True).clamp(min=1e-6)
        mean = (weight * value).sum(1, keepdim=True) / total
        deviation = torch.where(any_there, (value - mean).clamp(-self._FARTHEST, self._FARTHEST), 0.0)
        mark = measured.to(value) + 2 * (observed.limit & ~measured).to(value)
        if self.distance is not None:
            mean = mean + 2 * torch.log(observed.covariates[self.distance])[:, None].to(value) + self._TEN_PC
        return torch.cat([deviation, torch.where(any_there, torch.log(error), 0.0), mark, mean, torch.log(total),
                          any_there.sum(1, keepdim=True).to(value)], dim=1)


def _asinh_magnitudes(observed):
    """Return asinh of half the signal-to-noise ratio, and the asinh magnitude in nats (Lupton et al. 1999).

    Both are zero where nothing is measured; exp of minus the first is the relative error of a good measurement.
    """
    signal = torch.where(observed.measured, torch.asinh(observed.flux / (2 * observed.error)), 0.0)
    return signal, torch.where(observed.measured, signal + torch.log(observed.error), 0.0)


def read_encoder(values: str | dict[str, Any] | None) -> Any:
    """Make the encoder that a model file describes.

    Parameters
    ----------
    values : str or dict
        What an encoder's ``to_dict`` returned.

    Returns
    -------
    object

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if values == Walter2025Conditions.name:
        return Walter2025Conditions()
    for encoder in (RelativeConditions, AbsoluteConditions, FluxConditions, SetConditions):
        if isinstance(values, dict) and values.get("name") == encoder.name:
            return encoder(**{key: value for key, value in values.items() if key != "name"})
    raise ValueError(f"this version of clusterpost has no conditions {values!r}")
