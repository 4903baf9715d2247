"""Observed photometry of a batch of objects, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from .families.base import Prior
    from .training.simulation import Mocks

__all__ = ["Observed"]

_EXACT = 1e-4  # minimum error of ln distance


@dataclass
class Observed:
    """Photometry and other known quantities of ``n`` objects.

    Attributes
    ----------
    flux : Tensor (n, n_band)
        Flux in mJy; the limit where ``limit`` is True; any positive number for missing bands.
    error : Tensor (n, n_band)
        Error in mJy; the scale of a limit; any positive number for missing bands.
    measured : Tensor (n, n_band) of bool
        Whether a band has a detection that enters the likelihood.
    limit : Tensor (n, n_band) of bool
        Whether a band has an upper limit.
    covariates : dict of Tensor (n,)
        Known quantities of the model family by name, such as ``distance`` (Mpc) or ``redshift``; ``distance_err`` is
        relative, NaN if not given.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.observations import Observed
    >>> seen = torch.ones(4, 5, dtype=torch.bool)
    >>> never = ~seen
    >>> known = {"distance": torch.full((4,), 10.0)}
    >>> observed = Observed(torch.ones(4, 5), torch.full((4, 5), 0.1), seen, never,
    ...                     known)
    >>> len(observed), len(observed[known["distance"] > 10]), len(observed[0])
    (4, 0, 1)
    """

    flux: torch.Tensor
    error: torch.Tensor
    measured: torch.Tensor
    limit: torch.Tensor
    covariates: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> Observed:
        """Select rows by an index, a slice, a mask, or a tensor of indices."""
        if isinstance(rows, int):
            rows = [rows]
        return self._each(lambda x: x[rows])

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Observed:
        """Move to another device, or convert floating-point tensors to another precision."""
        return self._each(lambda x: x.to(device=device, dtype=dtype if x.is_floating_point() else None))

    @property
    def n_measured(self) -> torch.Tensor:
        """Number of detections of each object that enter the likelihood, (n,)."""
        return self.measured.sum(-1)

    def distance_error(self, prior: Prior) -> torch.Tensor | None:
        """Return the standard deviation of ln distance of each object.

        Parameters
        ----------
        prior : object of `clusterpost.priors`
            Prior, with the default for objects without their own error.

        Returns
        -------
        Tensor (n, 1) or None
            None if all distances are exact; otherwise always positive.
        """
        own, of_all = self.covariates.get("distance_err"), getattr(prior, "distance_error", 0.0)
        if own is None and not of_all:
            return None
        if own is None:
            own = torch.full_like(self.covariates["distance"], torch.nan)
        return torch.where(torch.isnan(own), of_all, own).clamp(min=_EXACT)[:, None]

    @classmethod
    def concatenate(cls, parts: tuple[Mocks, ...]) -> Mocks:
        """Concatenate batches with the same bands and covariates."""
        return cls._joined(lambda *tensors: torch.cat(tensors), *parts)

    def _each(self, function):
        return self._joined(function, self)

    @classmethod
    def _joined(cls, function, *parts):
        """Apply a function to each tensor of some batches."""
        values = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        return cls(**{name: {key: function(*(x[key] for x in value)) for key in value[0]}
                      if isinstance(value[0], dict) else function(*value) for name, value in values.items()})
