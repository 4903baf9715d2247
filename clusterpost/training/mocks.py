"""Mock clusters as tables."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import torch
from astropy.table import QTable, Table

from ..bands import BANDS, WFC3_BANDS, get_band
from ..errors import ColumnError, DistanceError, InputError, UnitError
from ..families.clusters.table import load_table
from ..noise import get_noise
from ..photometry import Photometry, to_mpc
from ..priors import cluster_prior
from .simulation import seeded_generator

__all__ = ["simulate"]

# Distance and relative errors of mocks that nothing is said about: a nearby galaxy, good photometry.
_DISTANCE = (1.0, 30.0)
_RELATIVE_ERROR = (0.05, 0.5)


def simulate(n_or_params, *, bands=None, distance=None, errors=None, noise="lognormal", seed=0):
    """Simulate the photometry of star clusters.

    Parameters
    ----------
    n_or_params : int or `~astropy.table.Table`
        Number of mocks to draw from the prior, or their parameters in columns
        ``age`` (Myr), ``mass`` (initial, solMass) and ``ebv`` (mag).
    bands : sequence of str, optional
        The five of WFC3/UVIS by default.
    distance : float, Quantity or array, optional
        Mpc unless it has a unit.  By default a column ``distance`` of the
        parameters, or uniform between 1 and 30 Mpc.
    errors : float, array or `~astropy.table.Table`, optional
        Relative flux errors: one number, one per band, one per row and band, or
        a catalog whose rows' relative errors are drawn at random.  By default
        uniform between 0.05 and 0.5 for mocks from the prior; none, and no
        noise, for given parameters.
    noise : str
        ``lognormal``, ``normal`` or ``walter2025``.
    seed : int

    Returns
    -------
    `~astropy.table.QTable`
        ``age_true``, ``mass_true``, ``ebv_true``, ``distance``, and flux and
        error (mJy) of every band.

    Raises
    ------
    InputError
        If a parameter is outside the band-flux table or an option has a wrong shape.

    Notes
    -----
    The forward model is that of :mod:`clusterpost.families.clusters.table`, the prior that of
    Walter et al. (2025), Sect. 2.2.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import QTable
    >>> import clusterpost
    >>> params = QTable({"age": [5, 100] * u.Myr, "mass": [1e4, 1e5] * u.solMass, "ebv": [0.1, 0] * u.mag})
    >>> mocks = clusterpost.simulate(params, distance=10 * u.Mpc)
    >>> mocks["F555W"].unit
    Unit("mJy")
    """
    bands = WFC3_BANDS if bands is None else tuple(get_band(b).name for b in bands)
    generator = seeded_generator(seed)
    given = isinstance(n_or_params, Table)
    if given:
        theta = _theta_of(n_or_params)
    else:
        if int(n_or_params) != n_or_params or n_or_params < 1:
            raise InputError(f"{n_or_params!r} mocks cannot be drawn; give a whole number of at least 1, or a table")
        theta = cluster_prior().sample(int(n_or_params), generator).double()
    n = len(theta)
    mpc = _distance_of(n_or_params if given else None, distance, n, generator)
    relative = _relative_errors(errors, bands, n, generator, noiseless=given)
    ln_flux = load_table().select(bands).to(dtype=torch.float64).predict(theta, mpc)
    if relative is None:
        flux, error = torch.exp(ln_flux), torch.zeros_like(ln_flux)
    else:
        flux, error = get_noise(noise).sample(ln_flux, relative, generator)
    out = QTable({
        "age_true": 10 ** theta[:, 0].numpy() * u.Myr,
        "mass_true": 10 ** theta[:, 1].numpy() * u.solMass,
        "ebv_true": theta[:, 2].numpy() * u.mag,
        "distance": mpc.numpy() * u.Mpc,
    })
    for i, band in enumerate(bands):
        out[band] = flux[:, i].numpy() * u.mJy
        out[f"{band}_err"] = error[:, i].numpy() * u.mJy
        out[band].info.description = f"{BANDS[band].instrument} {band.split('_')[0]} flux of a simulated cluster"
    out.meta.update({"SIMULATR": "clusterpost.simulate", "SIMSEED": seed,
                     "SIMNOISE": "none" if relative is None else noise})
    return out


def _theta_of(params):
    columns = []
    for name, unit, log in (("age", u.Myr, True), ("mass", u.solMass, True), ("ebv", u.mag, False)):
        if name not in params.colnames:
            raise ColumnError(f"the parameters have no column {name!r}; needed are age (Myr), mass (solMass) and "
                              "ebv (mag)")
        try:
            values = u.Quantity(params[name], unit if params[name].unit is None else None).to_value(unit)
        except (u.UnitsError, TypeError):
            raise UnitError(f"column {name!r} is in {params[name].unit}; it needs a unit convertible to {unit}, or "
                            "none") from None
        if log and (bad := np.flatnonzero(~(values > 0))).size:
            raise InputError(f"column {name!r} is {values[bad[0]]:g} in row {bad[0]}; it must be positive")
        columns.append(np.log10(values) if log else np.asarray(values, float))
    table = load_table()
    for values, nodes, name, to_unit in ((columns[0], table.log_age, "age", lambda x: f"{10**x:g} Myr"),
                                         (columns[2], table.ebv, "ebv", lambda x: f"{x:g} mag")):
        low, high = nodes[0].item(), nodes[-1].item()
        bad = np.flatnonzero(~((values >= low - 1e-6) & (values <= high + 1e-6)))
        if bad.size:
            raise InputError(f"column {name!r} is {to_unit(values[bad[0]])} in row {bad[0]}; "
                             f"the band-flux table goes from {to_unit(low)} to {to_unit(high)}")
    return torch.as_tensor(np.stack(columns, axis=-1), dtype=torch.float64)


def _distance_of(params, distance, n, generator):
    unit = None
    if distance is None and params is not None and "distance" in params.colnames:
        distance, unit = params["distance"], params["distance"].unit
    if distance is None:
        low, high = _DISTANCE
        return torch.empty(n, dtype=torch.float64).uniform_(low, high, generator=generator)
    mpc = to_mpc(distance, "distance=", unit)
    if not (mpc > 0).all():
        raise DistanceError(f"distance={distance!r} must be positive")
    if mpc.shape not in ((), (1,), (n,)):
        raise DistanceError(f"distance= has shape {mpc.shape} for {n} clusters; give one, or one per cluster")
    return torch.as_tensor(np.broadcast_to(mpc, n).copy())


def _relative_errors(errors, bands, n, generator, *, noiseless):
    shape = (n, len(bands))
    if errors is None:
        if noiseless:
            return None
        return torch.empty(shape, dtype=torch.float64).uniform_(*_RELATIVE_ERROR, generator=generator)
    if isinstance(errors, Table):
        catalog = Photometry.from_table(errors, distance=1.0, error_floor=None).select(bands)
        good = ~catalog.missing.any(axis=1) & ~catalog.limit.any(axis=1) & (catalog.flux > 0).all(axis=1)
        if not good.any():
            raise InputError(f"no row of the catalog given as errors= has all of {', '.join(bands)}")
        pool = torch.as_tensor((catalog.error / catalog.flux)[good])
        return pool[torch.randint(len(pool), (n,), generator=generator)]
    try:
        relative = np.broadcast_to(np.asarray(errors, float), shape)
    except ValueError:
        raise InputError(f"errors= has shape {np.shape(errors)}; give one number, one per band ({len(bands)}), "
                         f"or one per row and band {shape}") from None
    if not (relative >= 0).all():
        raise InputError("errors= are relative errors and cannot be negative or NaN")
    return torch.as_tensor(relative.copy())
