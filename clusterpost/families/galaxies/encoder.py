"""Network input for galaxies: colors, errors, and redshift, without brightness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from typing import Any

    from ...observations import Observed

__all__ = ["ColorConditions"]


class ColorConditions:
    """Logarithms of fluxes minus their weighted mean, logarithms of errors, and redshift.

    A galaxy with twice the mass has the same conditions; the network learns the other parameters, and the mass follows.

    Parameters
    ----------
    n_bands : int
    redshift : float
        Maximum redshift, which is scaled to one.
    """

    name = "galaxy colors"
    #: Names of the covariates in the network input.
    covariates = ("redshift",)
    #: Values outside the training range are not clipped; such rows are flagged by their redshift.
    bounded = False
    _WIDEST = 1.5  # relative error above which a flux contains no information and may be negative

    def __init__(self, n_bands: int, redshift: float):
        self.n_bands, self.redshift = int(n_bands), float(redshift)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a model file."""
        return {"name": self.name, "n_bands": self.n_bands, "redshift": self.redshift}

    def size(self, n_bands: int | None = None) -> int:
        """Return the number of conditions."""
        return 2 * self.n_bands + 1

    def __call__(self, observed: Observed) -> torch.Tensor:
        """Encode observations.

        Parameters
        ----------
        observed : Observed

        Returns
        -------
        Tensor (n, 2 n_band + 1)
        """
        flux = torch.maximum(observed.flux, observed.error / self._WIDEST)
        variance = torch.log1p((observed.error / flux) ** 2)
        value = torch.log(flux) + variance / 2
        mean = (value / variance).sum(-1, keepdim=True) / (1 / variance).sum(-1, keepdim=True)
        redshift = observed.covariates["redshift"][:, None] / self.redshift
        return torch.cat([value - mean, torch.log(variance) / 2, redshift.to(value)], dim=-1)
