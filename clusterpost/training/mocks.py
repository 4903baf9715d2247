"""Mock catalogs as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import astropy.units as u
import numpy as np
import torch
from astropy.table import QTable, Table

from ..bands import get_band
from ..errors import ColumnError, DistanceError, InputError, UnitError
from ..families import ModelFamily
from ..flow.modelfile import find_family
from ..noise import get_noise
from ..photometry import Photometry
from .simulation import seeded_generator

__all__ = ["simulate"]


def simulate(n_or_params: int | Table, *, model: Any = "default", bands: Sequence[str] | None = None,
             distance: Any = None, errors: Any = None, noise: Any = "lognormal", seed: int = 0) -> QTable:
    """Simulate the photometry of a model family's objects, by default star clusters drawn star by star.

    .. versionchanged:: 0.2
       Added the option ``model``.

    Parameters
    ----------
    n_or_params : int or `~astropy.table.Table`
        Number of mocks to draw from the prior, or their parameters in columns named as the results of
        `~clusterpost.infer_table`: ``age`` (Myr), ``mass`` (initial, solMass) and ``ebv`` (mag) for clusters, and
        also ``metallicity``, ``rv`` and ``nebular_covering`` for clusters drawn star by star.
        Columns with the name of a covariate, such as ``distance`` or ``redshift``, give its values.
    model : str, path, Model or ModelFamily
        Model with the family and prior to use, or the name of a family.  By default the model of
        `~clusterpost.infer_table`, which matches these mocks.
    bands : sequence of str, optional
        Bands; by default the five of WFC3/UVIS, or all bands of the family.
    distance : float, Quantity or array, optional
        Distance, in Mpc unless it has a unit.  By default the column ``distance`` of the parameters, or drawn from
        the family's range.
    errors : float, array or `~astropy.table.Table`, optional
        Relative flux errors: one number, one per band, one per row and band, or a catalog from whose rows relative
        errors are drawn at random.  Mocks from the prior have the family's errors by default: uniform between 0.05
        and 0.5 for clusters, as in the NASA-Sloan Atlas for galaxies.  Given parameters have no errors and no noise
        by default.
    noise : str
        ``lognormal``, ``normal`` or ``walter2025``.
    seed : int

    Returns
    -------
    `~astropy.table.QTable`
        True parameters (``age_true``, ``mass_true``, ``ebv_true`` for clusters), covariates, and flux and error
        (mJy) of every band.

    Raises
    ------
    InputError
        If a parameter is outside the range of the forward model or an option has a wrong shape.

    Notes
    -----
    The prior of clusters drawn star by star (:mod:`clusterpost.families.stochastic`) is ``survey``.  Fully sampled
    clusters, ``model="any_bands"``, have the forward model of :mod:`clusterpost.families.clusters` and the prior
    of Walter et al. (2025), Sect. 2.2.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import QTable
    >>> import clusterpost
    >>> params = QTable({"age": [5, 100] * u.Myr, "mass": [1e4, 1e5] * u.solMass,
    ...                  "ebv": [0.1, 0] * u.mag})
    >>> mocks = clusterpost.simulate(params, model="any_bands", distance=10 * u.Mpc)
    >>> mocks["F555W"].unit
    Unit("mJy")

    and clusters drawn from the prior:

    >>> clusterpost.simulate(100, seed=1)["metallicity_true"].shape
    (100,)
    """
    family = model if isinstance(model, ModelFamily) else find_family(model)
    family = family.with_bands(family.mock_bands if bands is None else
                               [get_band(band).name for band in bands]).to(dtype=torch.float64)
    generator = seeded_generator(seed)
    params = n_or_params if isinstance(n_or_params, Table) else None
    if params is not None:
        theta = _theta_of(params, family)
    else:
        if int(n_or_params) != n_or_params or n_or_params < 1:
            raise InputError(f"{n_or_params!r} mocks cannot be drawn; give a whole number of at least 1, or a table")
        theta = family.default_prior.sample(int(n_or_params), generator).double()
    covariates = _covariates_of(family, params, distance, len(theta), generator)
    if errors is None:
        relative = None if params is not None else family.draw_errors(theta, covariates, generator)
    else:
        relative = _relative_errors(errors, family.band_names, len(theta), generator)
    ln_flux = family.simulate(theta, covariates, generator).double()
    if relative is None:
        flux, error = torch.exp(ln_flux), torch.zeros_like(ln_flux)
    else:
        flux, error = get_noise(noise).sample(ln_flux, relative, generator)
    out = QTable()
    for parameter, values in zip(family.parameters, theta.unbind(-1), strict=True):
        out[f"{parameter.column}_true"] = u.Quantity(parameter.to_column(values.numpy()), parameter.unit)
    for covariate in family.covariates:
        out[covariate.name] = u.Quantity(covariates[covariate.name].numpy(), covariate.unit)
    for i, band in enumerate(family.bands):
        out[band.name] = flux[:, i].numpy() * u.mJy
        out[f"{band.name}_err"] = error[:, i].numpy() * u.mJy
        out[band.name].info.description = f"{band.instrument} {band.name.split('_')[0]} flux, simulated"
    out.meta.update({"SIMULATR": "clusterpost.simulate", "SIMSEED": seed,
                     "SIMNOISE": "none" if relative is None else noise})
    return out


def _theta_of(params, family):
    needed = ", ".join(f"{p.column} ({p.unit})" if p.unit else p.column for p in family.parameters)
    columns = []
    for parameter, (low, high) in zip(family.parameters, family.domain, strict=True):
        name, unit = parameter.column, u.Unit(parameter.unit)
        if name not in params.colnames:
            raise ColumnError(f"the parameters have no column {name!r}; needed are {needed}; for parameters of "
                              "another model, name it, such as option:model='any_bands' for age, mass and ebv")
        try:
            values = u.Quantity(params[name], unit if params[name].unit is None else None).to_value(unit)
        except (u.UnitsError, TypeError):
            raise UnitError(f"column {name!r} is in {params[name].unit}; it needs a unit convertible to {unit}, or "
                            "none") from None
        if parameter.log10 and (bad := np.flatnonzero(~(values > 0))).size:
            raise InputError(f"column {name!r} is {values[bad[0]]:g} in row {bad[0]}; it must be positive", row=bad[0])
        theta = np.asarray(parameter.from_column(values), float)
        bad = np.flatnonzero(~((theta >= low - 1e-6) & (theta <= high + 1e-6)))
        if bad.size:
            at, lowest, highest = (f"{parameter.to_column(x):g} {unit}".rstrip() for x in (theta[bad[0]], low, high))
            raise InputError(f"column {name!r} is {at} in row {bad[0]}; the forward model goes from {lowest} to "
                             f"{highest}", row=bad[0])
        columns.append(theta)
    return torch.as_tensor(np.stack(columns, axis=-1), dtype=torch.float64)


def _covariates_of(family, params, distance, n, generator):
    """Return covariates from the argument, from columns of the parameters, or drawn at random."""
    names = [covariate.name for covariate in family.covariates]
    if distance is not None and "distance" not in names:
        raise DistanceError(f"the model family {family.name!r} takes no distance; leave option:distance out")
    given = {} if params is None else {name: (params[name], params[name].unit) for name in names
                                       if name in params.colnames}
    if distance is not None:
        given["distance"] = distance, None
    known = {}
    for name, (values, unit) in given.items():
        (covariate,) = (c for c in family.covariates if c.name == name)
        converted = covariate.convert(values, unit)
        if converted.shape not in ((), (1,), (n,)):
            raise DistanceError(f"option:{name} has shape {converted.shape} for {n} objects; give one, or one per "
                                "object")
        known[name] = torch.as_tensor(np.broadcast_to(converted, n).copy())
    return known if len(known) == len(names) else family.draw_covariates(n, generator, torch.float64) | known


def _relative_errors(errors, bands, n, generator):
    shape = (n, len(bands))
    if isinstance(errors, Table):
        catalog = Photometry.from_table(errors, covariates=(), error_floor=None).select(bands)
        good = ~catalog.missing.any(axis=1) & ~catalog.limit.any(axis=1) & (catalog.flux > 0).all(axis=1)
        if not good.any():
            raise InputError(f"no row of the catalog given as option:errors has all of {', '.join(bands)}")
        pool = torch.as_tensor((catalog.error / catalog.flux)[good])
        return pool[torch.randint(len(pool), (n,), generator=generator)]
    try:
        relative = np.broadcast_to(np.asarray(errors, float), shape)
    except ValueError:
        raise InputError(f"option:errors has shape {np.shape(errors)}; give one number, one per band ({len(bands)}), "
                         f"or one per row and band {shape}") from None
    if not (relative >= 0).all():
        raise InputError("option:errors are relative errors and cannot be negative or NaN")
    return torch.as_tensor(relative.copy())
