"""Expected mass, brightness, and ionizing photons of a cluster by age and metallicity."""

from __future__ import annotations

import math

import numpy as np
import torch

from ...bands import BANDS
from .parameters import SOLAR_Z
from .simulator import interval
from .table import PHOTONS, StarTable

__all__ = ["VISUAL", "ExpectedLight"]

VISUAL = "V_JC"
_AB_ZERO_MJY = 3.6307805477e6


class ExpectedLight:
    """Expected properties of the stars of a cluster.

    Parameters
    ----------
    table : StarTable
        Table with Johnson V among its bands.
    """

    def __init__(self, table: StarTable):
        in_v = table.select([VISUAL])
        number = table.number.astype(float)
        visual = np.einsum("zak,zakc->za", number, in_v.light.astype(float))
        photons = np.einsum("zak,zak->za", number, table.photons.astype(float))
        mass = np.einsum("zak,zak->za", number, table.mass.astype(float)) + table.remnants
        self._log_z = torch.as_tensor(table.log_z)
        self._youngest, self._age_step = table.fine_log_age[0], np.diff(table.fine_log_age).mean()

        def between(values: np.ndarray) -> np.ndarray:
            """Interpolate rows to the finer age grid."""
            return np.stack([np.interp(table.fine_log_age, table.log_age, row) for row in values])

        self._visual = torch.as_tensor(between(visual) * np.exp(in_v.ln_ratio[..., 0]))
        self._photons = torch.as_tensor(between(photons) * np.exp(table.ln_ratio_photons))
        self._mass = torch.as_tensor(between(mass))

    def _at(self, values, theta):
        """Interpolate values per solar mass formed at theta (..., n_parameter), linearly in log Z and log age."""
        values = values.to(theta.device)
        j, v = interval(self._log_z.to(theta.device), theta[..., 3].double() + math.log10(SOLAR_Z))
        # The ages are equally spaced, which avoids a slow search among hundreds of nodes.
        place = (theta[..., 0].double() - self._youngest) / self._age_step
        i = place.long().clamp(0, values.shape[1] - 2)
        first, w = j * values.shape[1] + i, (place - i).clamp(0, 1)
        lower, upper = (torch.lerp(torch.take(values, corner), torch.take(values, corner + 1), w)
                        for corner in (first, first + values.shape[1]))
        return torch.lerp(lower, upper, v).to(theta)

    def log_stellar_mass(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute log10 of the present mass in stars and remnants, Msun."""
        return theta[..., 1] + torch.log10(self._at(self._mass, theta))

    def absolute_v(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute the absolute V magnitude (Vega) without dust and gas."""
        flux = torch.log10(self._at(self._visual, theta)) + theta[..., 1]
        return -2.5 * (flux - np.log10(_AB_ZERO_MJY)) - BANDS[VISUAL].ab_minus_vega

    def log_ionizing_rate(self, theta: torch.Tensor) -> torch.Tensor:
        """Compute log10 of the ionizing photons per second; very small if stars emit none."""
        return theta[..., 1] + torch.log10(self._at(self._photons, theta).clamp(min=1e-30)) + np.log10(PHOTONS)
