"""Likelihoods of the rows of a table, for checks of single objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import InputError
from ..flow.modelfile import load_model
from ..noise import get_noise
from ..posterior.target import Target
from ..prepare import prepare
from ..provenance import AUTO, repeat, resolve_floor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import astropy.units as u
    import numpy as np
    from astropy.table import Table

    from ..typing import ModelLike

__all__ = ["read_target"]


def read_target(tbl: Table, *, prefix: str | None = None, model: ModelLike = "default", noise: str | None = None,
                prior: Any = None, error_floor: float | str | None = AUTO, distance: u.Quantity | None = None,
                columns: Mapping | None = None) -> tuple[np.ndarray, Target]:
    """Return the exact posterior densities of a table's rows under a model.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry, with or without results.
    prefix, model, noise, prior, error_floor, distance, columns
        As for `~clusterpost.sample_posterior`.

    Returns
    -------
    rows : ndarray of int (n,)
        Rows with known covariates and at least one usable band.
    target : Target
        Target of those rows, in double precision, in the bands of the model.

    Raises
    ------
    InputError
        As for `~clusterpost.infer_table`, or if the model has no likelihood.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation.targets import read_target
    >>> rows, target = read_target(clusterpost.simulate(2, seed=1), model="any_bands")
    >>> rows.tolist(), len(target.likelihood.band_names)
    ([0, 1], 8)
    """
    tbl, options = repeat(tbl, prefix=prefix, model=model, noise=noise, prior=prior, error_floor=error_floor,
                          distance=distance, columns=columns)
    noise, prior, error_floor, distance, columns = (options[name] for name in ("noise", "prior", "error_floor",
                                                                               "distance", "columns"))
    model = load_model(options["model"])
    family = model.family.to(dtype=torch.float64)
    if family.likelihood is None:
        raise InputError(f"the model {model.name} has no likelihood, and this needs one; infer with a model "
                         "that has one: option:model='any_bands'")
    likelihood = family.likelihood if noise is None else family.likelihood.with_noise(get_noise(noise))
    ready = prepare(tbl, model.bands, likelihood.noise, slots=[[i] for i in range(len(model.bands))], at_least=1,
                    covariates=family.covariates, columns=columns, distance=distance,
                    error_floor=resolve_floor(error_floor, family))
    return ready.rows, Target(ready.observed, likelihood, family.prior if prior is None else prior)
