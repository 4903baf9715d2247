"""Comparison of photometry with old metal-poor clusters.

A model with fully sampled clusters of solar metallicity fits a globular cluster well as a young dusty one.
This module compares the evidence of both on small grids, with the mean light of the stars of
`clusterpost.families.stochastic`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..stochastic.simulator import StarSimulator
from ..stochastic.table import load_stars

if TYPE_CHECKING:
    from ...observations import Observed

__all__ = ["explained_by_old"]

_ROWS_AT_ONCE = 96  # so that the intermediate arrays stay in the processor's cache
_MODEL_ERROR = 0.1  # of both models, in ln flux, so small grids suffice
_STEP = 0.05  # mag of E(B-V)
_SOLAR, _POOR = 0.02, 0.004  # Z of the solar model, and maximum Z of the metal-poor one
_OLD = math.log10(5000.0)  # log10 age/Myr
_LITTLE_DUST, _MOST_DUST = 0.1, 0.5  # scale and upper bound of the exponential prior of E(B-V) of old clusters
_REACHED = 0.16  # probability of old ages at which the solar posterior includes them


def explained_by_old(observed: Observed, bands: tuple[str, ...]) -> np.ndarray:
    """Return whether an old metal-poor cluster has at least the evidence of one with solar metallicity.

    Parameters
    ----------
    observed : Observed
        Photometry of n objects; only detections are used.
    bands : tuple of str

    Returns
    -------
    ndarray of bool (n,)
        Also False if the 84 % quantile of the solar posterior reaches 5 Gyr.

    Notes
    -----
    Solar: Z = 0.02, flat in log age above 1 Myr and in E(B-V) from 0 to 1.5. Old: Z = 0.0004 to 0.004, with equal
    weights of the table's nodes, flat in log age above 5 Gyr, E(B-V) exponential with 0.1 mag. The mass is free in
    both, and a relative error of 0.1 is added to the photometric errors.
    """
    known = [band for band in bands if band in load_stars().stored_bands]
    at = [bands.index(band) for band in known]
    light, terms, n_young, n_solar = _templates(tuple(known))
    found = np.zeros(len(observed), bool)
    for rows in torch.arange(len(observed)).split(_ROWS_AT_ONCE):
        flux, error, seen = (x[rows][:, at] for x in (observed.flux, observed.error, observed.measured))
        variance = torch.log1p((error / flux).double() ** 2) + _MODEL_ERROR**2
        usable = seen & (flux > 0) & torch.isfinite(variance)
        weight = torch.where(usable, 1 / variance, 0.0)
        value = torch.where(usable, torch.log(flux.double().clamp(min=1e-300)), 0.0)
        total = weight.sum(1, keepdim=True).clamp(min=1e-12)
        weighted = weight * (value - (weight * value).sum(1, keepdim=True) / total)
        # ln posterior with the best mass, up to a constant of each row, as products of matrices
        density = torch.cat([weighted, -0.5 * weight, torch.ones_like(total)], 1) @ terms
        brightness = (weight / total.sqrt()) @ light
        density.addcmul_(brightness, brightness, value=0.5)
        models = density.tensor_split((n_solar,), 1)  # views, because intermediate results would leave the cache
        solar_peak, poor_peak = (model.amax(1, keepdim=True) for model in models)
        for model, peak in zip(models, (solar_peak, poor_peak), strict=True):
            model.sub_(peak).exp_()
        young, aged, poor = (part.sum(1) for part in density.tensor_split((n_young, n_solar), 1))
        poor = poor * torch.exp(poor_peak - solar_peak)[:, 0]
        found[rows] = ((poor >= young + aged) & (aged <= _REACHED * (young + aged)) & (usable.sum(1) > 1)).numpy()
    return found


@lru_cache(maxsize=16)
def _templates(bands):
    """Return the clusters to compare with: solar ones, those below 5 Gyr first, and then metal-poor ones.

    Returns ln fluxes (n_band, n); these, their squares, and ln priors (2 n_band + 1, n); the number of solar clusters
    below 5 Gyr, and of all solar ones.
    """
    table = load_stars().select(bands)
    simulator = StarSimulator(table)
    fine = np.searchsorted(table.fine_log_age, table.log_age - 1e-6).clip(max=len(table.fine_log_age) - 1)
    columns = np.einsum("zak,zakc->zac", table.number.astype(float), table.light.astype(float))
    columns = torch.as_tensor(columns * np.exp(table.ln_ratio[:, fine])).float()
    z, age = 10**table.log_z, table.log_age

    def behind(some, ebv):
        """Compute ln flux (n, n_screen, n_band) of populations behind dust."""
        ebv = torch.as_tensor(ebv).float()
        flux = simulator.redden(some[:, None], ebv.expand(len(some), -1), torch.tensor(3.1))
        return torch.log(flux).double().flatten(0, 1)

    whole = np.flatnonzero(age < np.log10(13750))[::2]
    screens, few = np.arange(0, 1.5 + _STEP / 2, _STEP), np.arange(0, _MOST_DUST + _STEP / 2, _STEP)
    solar = behind(columns[np.argmin(np.abs(z - _SOLAR)), whole], screens)
    n_young = int((age[whole] < _OLD - 1e-6).sum()) * len(screens)
    poor, aged = np.flatnonzero(z < 1.01 * _POOR), np.flatnonzero((age >= _OLD - 0.01) & (age < np.log10(13750)))
    old = behind(columns[poor][:, aged].flatten(0, 1), few)
    log_prior = [torch.zeros(len(solar)), torch.as_tensor(-few / _LITTLE_DUST).repeat(len(poor) * len(aged))]
    log_prior = torch.cat([torch.log_softmax(x.double(), 0) for x in log_prior])
    light = torch.cat([solar, old]).T.contiguous()
    return light, torch.cat([light, light**2, log_prior[None]]), n_young, len(solar)
