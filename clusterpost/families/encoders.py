"""Encoders of photometry into network inputs.

An encoder converts fluxes and errors (mJy), masks of measured bands, and
distances (Mpc) to a tensor of conditions.  A model file describes its encoder.
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
    """Conditions of Walter et al. (2025), Sect. 2.2: log10 fluxes, relative errors, and distance."""

    name = "log-flux, relative error, distance"
    #: Covariates that are direct inputs of the network and must be within the training range.
    covariates = ("distance",)
    #: The network cannot be used outside its training range.
    bounded = True

    def to_dict(self) -> str:
        """Return the name, which is the complete description for a model's card."""
        return self.name

    def size(self, n_bands: int) -> int:
        """Return the number of conditions for ``n_bands`` bands."""
        return 2 * n_bands + 1

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode observations.

        Parameters
        ----------
        observed : Observed
            Photometry with positive fluxes; all bands must be measured.

        Returns
        -------
        Tensor (n, 2 n_band + 1)
        """
        flux, error = observed.flux, observed.error
        return torch.cat([torch.log10(flux), error / flux, observed.covariates["distance"].unsqueeze(-1)], dim=-1)


class RelativeConditions:
    """Colors and errors of any set of bands, independent of brightness and distance.

    For each slot (a place in the spectrum with one or two similar bands):
    ln flux minus the object's weighted mean, ln of the error, whether the slot
    was measured, and which of its bands was used.

    Parameters
    ----------
    slots : sequence of sequence of int
        Indices of the bands in each slot.

    Notes
    -----
    Scaling all fluxes of an object, or changing its distance, does not change the
    conditions except for rounding.  s^2 = ln(1 + r^2) is the variance
    of ln f* for a relative error r, and s^2/2 its bias.
    """

    name = "relative"
    #: Colors and the brightness at a standard distance do not depend on the range of distances.
    covariates = ()
    #: Values outside the range are clipped to its ends, which training covers.
    bounded = False
    #: Widths of ln f* are clipped to this range for the network; the likelihood uses the true ones.
    error_range = (0.02, 1.5)
    _FARTHEST = 12.0  # ln of the largest flux ratio

    def __init__(self, slots: Sequence):
        self.slots = tuple(tuple(slot) for slot in slots)
        self._double = tuple(i for i, slot in enumerate(self.slots) if len(slot) > 1)
        if any(len(slot) not in (1, 2) for slot in self.slots):
            raise ValueError("a slot must have one or two bands")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a model's card."""
        return {"name": self.name, "slots": [list(slot) for slot in self.slots]}

    def size(self, n_bands: int | None = None) -> int:
        """Return the number of conditions."""
        return 3 * len(self.slots) + len(self._double)

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode observations.

        Parameters
        ----------
        observed : Observed
            Photometry with positive fluxes and errors of measured bands.

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
        """Choose the band with the smaller error in each slot, and return whether it is the second one."""
        first = torch.tensor([slot[0] for slot in self.slots], device=value.device)
        last = torch.tensor([slot[-1] for slot in self.slots], device=value.device)
        second = (sigma[:, last] < sigma[:, first]) & torch.isfinite(sigma[:, last])
        filled = (torch.where(second, x[:, last], x[:, first]) for x in (value, *others))
        return second, next(filled), sigma[:, last].minimum(sigma[:, first]), *filled


class AbsoluteConditions(RelativeConditions):
    """Fluxes of any set of bands and of any sign, and the brightness at 10 Mpc.

    For each slot: asinh magnitude (Lupton et al. 1999; in nats, softened by the
    flux error) minus the object's weighted mean, asinh of half the
    signal-to-noise ratio, whether the slot was measured, and which of its bands
    was used; in addition, the mean at a standard distance.

    Parameters
    ----------
    slots : sequence of sequence of int
        Indices of the bands in each slot.

    Notes
    -----
    For flows that also learn the mass, and for noise with
    negative fluxes.
    """

    name = "absolute"

    def size(self, n_bands: int | None = None) -> int:
        """Return the number of conditions."""
        return super().size() + 1

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode observations.

        Parameters
        ----------
        observed : Observed
            Photometry with fluxes of any sign and positive errors of measured bands.

        Returns
        -------
        Tensor (n, n_condition)
        """
        measured, (signal, value) = observed.measured, _asinh_magnitudes(observed)
        # The relative error of a good measurement; negative fluxes have almost no weight in the brightness.
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
    """Fluxes of any sign, their errors, and covariates, for families without a custom encoder.

    For each band: asinh magnitude (Lupton et al. 1999; in nats, softened by the flux error) minus the object's
    weighted mean, asinh of half the signal-to-noise ratio, and whether it was measured; then the mean and
    each covariate.

    Parameters
    ----------
    n_bands : int
    covariates : sequence of str
        Names of the family's covariates.
    """

    name = "flux"
    bounded = False
    _SMALLEST_ERROR = 0.02  # better measurements do not get more weight in the mean

    def __init__(self, n_bands: int, covariates: Sequence[str]):
        self.n_bands, self.covariates = int(n_bands), tuple(covariates)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a model file."""
        return {"name": self.name, "n_bands": self.n_bands, "covariates": list(self.covariates)}

    def size(self, n_bands: int | None = None) -> int:
        """Return the number of conditions."""
        return 3 * self.n_bands + 1 + len(self.covariates)

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode observations.

        Parameters
        ----------
        observed : Observed
            Photometry with fluxes of any sign and positive errors of measured bands.

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
    """Measurements and upper limits, band by band, for networks that take a set of bands.

    For each band: ln flux minus the object's weighted mean, ln of the error, and a mark: 0 missing, 1
    measurement, 2 upper limit.  For the object: the mean scaled to 10 pc, ln of the total weight, and the
    number of bands with data.

    Parameters
    ----------
    n_bands : int
    distance : str, optional
        Name of the covariate with the distance, Mpc; None for a family without distances.

    Notes
    -----
    s^2 = ln(1 + r^2) is the variance of ln f* under log-normal noise with relative error r, and s^2/2 its bias.
    """

    name = "set"
    #: A distance enters only through the brightness at a standard distance.
    covariates = ()
    bounded = False
    error_range = (0.01, 1.5)
    _FARTHEST = 12.0  # ln of the largest flux ratio
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
        """Return the conditions for ln distances increased by ``ln_shift``, Tensor (n, n_condition)."""
        shift = torch.zeros_like(conditions)
        shift[:, 3 * self.n_bands] = 2 * ln_shift
        return conditions + shift

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode observations.

        Parameters
        ----------
        observed : Observed
            Photometry with positive fluxes and errors of measurements and limits.

        Returns
        -------
        Tensor (n, 3 n_band + 3)
        """
        measured, any_there = observed.measured, observed.measured | observed.limit
        variance = torch.where(any_there, torch.log1p((observed.error / observed.flux) ** 2), 1.0)
        bias = torch.where(measured, variance / 2, 0.0)
        value = torch.where(any_there, torch.log(torch.where(any_there, observed.flux, 1.0)) + bias, 0.0)
        error = variance.sqrt().clamp(*self.error_range)
        # Limits determine the brightness only if there are no measurements.
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

    Both are zero for missing bands; exp of minus the first is the relative error of a good measurement.
    """
    signal = torch.where(observed.measured, torch.asinh(observed.flux / (2 * observed.error)), 0.0)
    return signal, torch.where(observed.measured, signal + torch.log(observed.error), 0.0)


def read_encoder(values: str | dict[str, Any] | None) -> Any:
    """Make the encoder described in a model file.

    Parameters
    ----------
    values : str or dict
        Output of an encoder's ``to_dict``.

    Returns
    -------
    object

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if values == Walter2025Conditions.name:
        return Walter2025Conditions()
    for encoder in (RelativeConditions, AbsoluteConditions, FluxConditions, SetConditions):
        if isinstance(values, dict) and values.get("name") == encoder.name:
            return encoder(**{key: value for key, value in values.items() if key != "name"})
    raise ValueError(f"this version of clusterpost does not know the conditions {values!r}")
