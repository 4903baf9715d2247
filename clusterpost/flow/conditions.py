"""Encoders: what a network is shown of an object's measured values.

An encoder turns fluxes (mJy), relative errors and distances (Mpc) into a
tensor of conditions.  A model file names its encoder.
"""

from __future__ import annotations

import torch

__all__ = ["ENCODERS", "Walter2025Conditions"]


class Walter2025Conditions:
    """log10 fluxes, relative errors and the distance (Walter et al. 2025, Sect. 2.2)."""

    name = "log-flux, relative error, distance"

    def size(self, n_bands):
        """Number of conditions for ``n_bands`` bands."""
        return 2 * n_bands + 1

    def __call__(self, flux, error, distance):
        """Encode.

        Parameters
        ----------
        flux, error : Tensor (n, n_band)
            mJy, positive.
        distance : Tensor (n,)
            Mpc.

        Returns
        -------
        Tensor (n, 2 n_band + 1)
        """
        return torch.cat([torch.log10(flux), error / flux, distance.unsqueeze(-1)], dim=-1)


ENCODERS = {encoder.name: encoder for encoder in (Walter2025Conditions(),)}
