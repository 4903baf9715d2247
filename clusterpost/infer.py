"""The table face: photometry in, posteriors out, row by row in the order given.

The only room that sees both the network and the physics.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import astropy.units as u
import numpy as np
import torch
from astropy.table import Column, QTable
from astropy.utils.exceptions import AstropyUserWarning

from . import __version__, flags
from .bands import BANDS
from .config import conf
from .errors import ColumnError, DistanceError, InputError
from .flow.modelfile import load_model
from .forward import load_table
from .photometry import Photometry, check_table
from .posterior.draws import base_points, draw_posterior
from .posterior.modes import MOST_MODES, find_modes
from .posterior.summary import entropy, quantiles
from .schema import output_columns, quantile_label
from .utils import progress_bar

__all__ = ["infer_table", "log_prob", "sample_posterior"]

_DEFAULT_SAMPLES = 10_000
_POINTS_PER_CHUNK = 160_000  # draws held at once
_POOR_CHI2 = 10.0


@dataclass
class _Prepared:
    """A table as the model sees it.

    ``rows`` are the indices of those that can be inferred; the tensors hold
    those rows only, in the model's bands.
    """

    model: object
    photometry: Photometry
    flag: np.ndarray
    rows: np.ndarray
    flux: torch.Tensor
    error: torch.Tensor
    distance: torch.Tensor
    conditions: torch.Tensor


def infer_table(tbl, *, model="default", n_samples=None, quantiles=(0.16, 0.5, 0.84), n_modes=3, error_floor=0.05,
                distance=None, columns=None, prefix="", seed=0, device=None, progress=None):
    """Infer age, mass and reddening of every cluster of a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry: one flux or magnitude column and one error column a band.
        Not changed.
    model : str or path
        A bundled model's name, or a model file.
    n_samples : int, optional
        Draws from each posterior; 10 000 by default.
    quantiles : sequence of float
        Of the marginal posteriors, each between 0 and 1.
    n_modes : int
        At most this many modes are given; from 1 to 8.
    error_floor : float or None
        Relative systematic error added in quadrature (Walter et al. 2025,
        Eq. 10), unless the table records that it holds one already.
    distance : float, Quantity, array or str, optional
        Mpc unless it has a unit; one for all or one per row; or a galaxy's
        name.  By default from a column ``distance``, from ``tbl.meta``, or from
        a galaxy's name there.
    columns : dict, optional
        ``{"F275W": ("my_flux", "my_error")}`` for columns of other names.
    prefix : str
        Put before the name of every column that is added.
    seed : int
    device : str, optional
        ``cpu`` or ``cuda``; by default `clusterpost.conf.device`.
    progress : bool, optional
        Show a bar on standard error; by default on a terminal.

    Returns
    -------
    `~astropy.table.Table`
        A copy of ``tbl`` (of its class) with the columns of
        :mod:`clusterpost.schema` added.  No row is dropped: one that cannot be
        inferred holds NaN, and its ``flag`` says why.

    Raises
    ------
    InputError
        Or one of its kinds (`clusterpost.errors`), naming column, row and remedy.

    Notes
    -----
    Quantiles, means and modes are of draws from the network of Walter et al.
    (2025); the MAP is the strongest mode (their Sect. 3.2.3), the entropy is
    their Sect. 4.1.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.simulate(2, seed=1)
    >>> out = clusterpost.infer_table(tbl, n_samples=500)
    >>> out["age_q50"].unit, len(out)
    (Unit("Myr"), 2)
    """
    n_samples = _whole_number("n_samples", _DEFAULT_SAMPLES if n_samples is None else n_samples, least=10)
    n_modes = _whole_number("n_modes", n_modes, most=MOST_MODES)
    levels = _check_quantiles(quantiles)
    registry = output_columns(levels)
    check_table(tbl)
    _check_free(tbl, [prefix + c.name for c in registry])
    ready = _prepare(tbl, model, distance, columns, error_floor, device)
    results = _empty_results(registry, len(tbl), n_modes)
    table = load_table().select(ready.model.bands).to(ready.model.device)
    for at, theta, log_q in _chunks(ready, n_samples, seed, progress):
        chunk = _summarise(ready, table, at, theta, log_q, levels, n_modes)
        rows = ready.rows[at]
        for name, values in chunk.items():
            results[name][rows] = values
        ready.flag[rows[chunk["chi2_map"] > _POOR_CHI2]] |= flags.POOR_FIT
    results["n_bands"][:] = (~ready.photometry.missing & ~ready.photometry.limit).sum(axis=1)
    results["flag"][:] = ready.flag
    out = tbl.copy()
    for column in registry:
        out[prefix + column.name] = _as_column(column, results[column.name], type(out))
    out.meta.update(_provenance(ready, n_samples, seed))
    return out


def sample_posterior(tbl, *, n_samples=1000, model="default", error_floor=0.05, distance=None, columns=None,
                     seed=0, device=None, progress=None):
    """Draw from the posterior of every cluster of a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        As for `infer_table`; not changed.
    n_samples : int
        Draws for each object.
    model, error_floor, distance, columns, seed, device, progress
        As for `infer_table`.

    Returns
    -------
    `~astropy.table.QTable`
        One row an object, in order: ``age`` (Myr), ``mass`` (solMass), ``ebv``
        (mag) and ``log_prob`` of shape (n, n_samples); NaN, with the reason in
        ``flag``, where a row cannot be inferred.  ``log_prob`` is the log
        density in (log10 age/Myr, log10 mass/Msun, E(B-V)/mag).

    Raises
    ------
    InputError
        As `infer_table`.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.simulate(2, seed=1)
    >>> clusterpost.sample_posterior(tbl, n_samples=100)["age"].shape
    (2, 100)
    """
    n_samples = _whole_number("n_samples", n_samples)
    ready = _prepare(tbl, model, distance, columns, error_floor, device)
    draws = np.full((len(tbl), n_samples, 3), np.nan)
    density = np.full((len(tbl), n_samples), np.nan)
    for at, theta, log_q in _chunks(ready, n_samples, seed, progress):
        draws[ready.rows[at]] = theta.cpu().numpy()
        density[ready.rows[at]] = log_q.cpu().numpy()
    out = QTable({
        "age": 10 ** draws[..., 0] * u.Myr,
        "mass": 10 ** draws[..., 1] * u.solMass,
        "ebv": draws[..., 2] * u.mag,
        "log_prob": density,
        "flag": ready.flag,
    })
    out.meta.update(_provenance(ready, n_samples, seed))
    return out


def log_prob(tbl, theta, *, model="default", error_floor=0.05, distance=None, columns=None, device=None):
    """Log posterior density of parameters.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        As for `infer_table`; not changed.
    theta : array (n, 3) or (n, k, 3)
        One or ``k`` parameter vectors for each row: log10 age/Myr, log10 initial
        mass/Msun, E(B-V)/mag.
    model, error_floor, distance, columns, device
        As for `infer_table`.

    Returns
    -------
    ndarray (n,) or (n, k)
        Natural log of the density in those three coordinates; -inf outside the
        prior, NaN where a row cannot be inferred.

    Raises
    ------
    InputError
        As `infer_table`, and when ``theta`` has another shape.

    Examples
    --------
    >>> import numpy as np, clusterpost
    >>> tbl = clusterpost.simulate(1, seed=1)
    >>> clusterpost.log_prob(tbl, np.array([[1.0, 4.0, -0.1]]))
    array([-inf])
    """
    check_table(tbl)
    theta = np.asarray(theta, dtype=float)
    if theta.ndim not in (2, 3) or theta.shape[0] != len(tbl) or theta.shape[-1] != 3:
        raise InputError(f"theta has shape {theta.shape}; for {len(tbl)} rows give ({len(tbl)}, 3) or "
                         f"({len(tbl)}, k, 3): log10 age/Myr, log10 mass/Msun, E(B-V)")
    ready = _prepare(tbl, model, distance, columns, error_floor, device)
    stacked = theta.reshape(len(tbl), -1, 3)
    result = np.full(stacked.shape[:2], np.nan)
    chosen = torch.as_tensor(stacked[ready.rows], dtype=torch.float32, device=ready.flux.device)
    flat = chosen.reshape(-1, 3)
    owner = torch.arange(len(chosen), device=flat.device).repeat_interleave(stacked.shape[1])
    with torch.inference_mode():
        parts = [ready.model.flow.log_prob(flat[at], ready.conditions[owner[at]])
                 for at in torch.arange(len(flat), device=flat.device).split(conf.points_per_pass)]
    if parts:
        result[ready.rows] = torch.cat(parts).reshape(chosen.shape[:2]).cpu().numpy()
    return result.reshape(theta.shape[:-1])


def _prepare(tbl, model, distance, columns, error_floor, device):
    """Photometry in the model's bands, with a flag for each row."""
    model = load_model(model, device=device)
    photometry = Photometry.from_table(tbl, columns=columns, distance=distance, error_floor=error_floor)
    photometry, flag = _to_model_bands(photometry, model)
    flag[np.isnan(photometry.distance)] |= flags.NO_DISTANCE
    _flag_distance_range(photometry, model, flag)
    flag[photometry.missing.any(axis=1)] |= flags.MISSING_BAND
    flag[photometry.limit.any(axis=1)] |= flags.UPPER_LIMIT
    with np.errstate(invalid="ignore"):
        flag[((photometry.flux <= 0) & ~photometry.limit).any(axis=1)] |= flags.NOT_POSITIVE
    usable = (flag & (flags.MISSING_BAND | flags.UPPER_LIMIT | flags.NOT_POSITIVE
                      | flags.NO_DISTANCE | flags.DISTANCE_RANGE)) == 0
    rows = np.flatnonzero(usable)
    relative = photometry.error[rows] / photometry.flux[rows]
    low, high = model.card["simulator"]["relative_error"]
    flag[rows[((relative < low) | (relative > high)).any(axis=1)]] |= flags.ERROR_RANGE
    tensors = [torch.as_tensor(values[rows], dtype=torch.float32, device=model.device)
               for values in (photometry.flux, photometry.error, photometry.distance)]
    tensors.append(model.encode(*tensors))
    covered = _within_training(tensors[-1].cpu().numpy(), model)
    flag[rows[~covered]] |= flags.TRAINING_RANGE
    rows = rows[covered]
    flag[~np.isin(np.arange(len(flag)), rows)] |= flags.NOT_INFERRED
    return _Prepared(model, photometry, flag, rows, *(values[covered] for values in tensors))


def _within_training(conditions, model):
    """Whether training has covered each row's conditions."""
    low, high = (np.array(model.card["condition_range"][end]) for end in ("low", "high"))
    return ((conditions >= low) & (conditions <= high)).all(axis=1)


def _to_model_bands(photometry, model):
    """The model's bands, with ACS fluxes in the place of WFC3 ones that are missing."""
    chosen = photometry.select(model.bands)
    flag = np.zeros(len(photometry), np.int32)
    for band in photometry.bands:
        slot = BANDS[band].wfc3
        if band in model.bands or slot not in model.bands:
            continue
        i, j = model.bands.index(slot), photometry.bands.index(band)
        take = chosen.missing[:, i] & ~photometry.missing[:, j]
        for into, source in ((chosen.flux, photometry.flux), (chosen.error, photometry.error),
                             (chosen.limit, photometry.limit)):
            into[take, i] = source[take, j]
        flag[take] |= flags.ACS_AS_WFC3
    return chosen, flag


def _flag_distance_range(photometry, model, flag):
    low, high = model.card["simulator"]["distance"]
    with np.errstate(invalid="ignore"):
        outside = (photometry.distance < low) | (photometry.distance > high)
    if not outside.any():
        return
    first = np.flatnonzero(outside)[0]
    text = (f"{photometry.distance_source} gives {photometry.distance[first]:g} Mpc in row {first}; "
            f"the model {model.name} knows {low:g} to {high:g} Mpc")
    if outside.all():
        raise DistanceError(f"{text}. Check the unit of the distance")
    warnings.warn(f"{text}. {outside.sum()} such rows are flagged and not inferred", AstropyUserWarning, stacklevel=4)
    flag[outside] |= flags.DISTANCE_RANGE


def _chunks(ready, n_samples, seed, progress):
    """Draws of successive chunks of rows: (indices into ``ready.rows``, theta, log_q)."""
    flow = ready.model.flow
    points = base_points(n_samples, flow.spec.n_parameters, seed).to(ready.flux.device)
    size = max(1, _POINTS_PER_CHUNK // n_samples)
    with torch.inference_mode(), progress_bar(len(ready.rows), show=progress, desc="inferring", unit="row") as bar:
        for start in range(0, len(ready.rows), size):
            at = slice(start, min(start + size, len(ready.rows)))
            theta, log_q = draw_posterior(flow, ready.conditions[at], points, conf.points_per_pass)
            yield at, theta, log_q
            bar.update(len(theta))


def _summarise(ready, table, at, theta, log_q, levels, n_modes):
    """All results of one chunk, by column name, as arrays."""
    results = {}
    modes = find_modes(theta, n_modes)
    best = modes.theta[:, 0]
    log_age, log_mass, ebv = theta.unbind(-1)
    log_stellar_mass = log_mass + torch.log10(table.surviving_mass(log_age))
    for name, draws, power in (("age", log_age, True), ("mass", log_mass, True), ("ebv", ebv, False),
                               ("stellar_mass", log_stellar_mass, True)):
        marginal = quantiles(draws, levels)
        for label, column in zip(levels, marginal.unbind(1), strict=True):
            results[f"{name}_{quantile_label(label)}"] = _linear(column, power)
    for i, (name, power) in enumerate((("age", True), ("mass", True), ("ebv", False))):
        results[f"{name}_mean"] = _linear(theta[..., i].double().mean(dim=1), power)
        results[f"{name}_map"] = _linear(best[:, i], power)
        results[f"{name}_modes"] = _linear(modes.theta[..., i], power)
    results["mode_weight"] = modes.weight.cpu().numpy()
    results["n_modes"] = modes.count.cpu().numpy()
    results["entropy"] = entropy(log_q).cpu().numpy()
    predicted = torch.exp(table.predict(best, ready.distance[at]))
    chi2 = (((predicted - ready.flux[at]) / ready.error[at]) ** 2).sum(-1)
    degrees = len(ready.model.bands) - theta.shape[-1]
    results["chi2_map"] = (chi2 / degrees).cpu().numpy()
    return results


def _linear(values, power):
    values = values.double().cpu().numpy()
    return 10**values if power else values


def _whole_number(name, value, least=1, most=None):
    if int(value) != value or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name}={value!r} must be a whole number {limits}")
    return int(value)


def _check_quantiles(levels):
    levels = tuple(float(q) for q in np.atleast_1d(levels))
    bad = [q for q in levels if not 0 < q < 1]
    if bad or not levels or len(set(levels)) < len(levels):
        raise InputError(f"quantiles={levels!r} must be different numbers between 0 and 1, such as 0.16 for 16 %")
    return levels


def _check_free(tbl, names):
    taken = [name for name in names if name in tbl.colnames]
    if taken:
        raise ColumnError(f"the table has a column {taken[0]!r} already"
                          + (f" (and {len(taken) - 1} more that would be written)" if len(taken) > 1 else "")
                          + "; give prefix='...' or remove them")


def _empty_results(registry, n, n_modes):
    results = {}
    for column in registry:
        shape = (n, n_modes) if column.shape == "modes" else (n,)
        integer = column.name in ("n_modes", "n_bands", "flag")
        results[column.name] = np.zeros(shape, np.int32) if integer else np.full(shape, np.nan)
    return results


def _as_column(column, values, table_class):
    unit = u.Unit(column.unit) if column.unit else None
    if issubclass(table_class, QTable) and unit is not None:
        result = values * unit
        result.info.description = column.description
        result.info.meta = {"ucd": column.ucd}
        return result
    return Column(values, unit=unit, description=column.description, meta={"ucd": column.ucd})


def _provenance(ready, n_samples, seed):
    """What a table's meta records; keys short enough for a FITS header."""
    card = ready.model.card
    prior = card["simulator"]["prior"]
    bounds = zip(prior["names"], prior["low"], prior["high"], strict=True)
    return {
        "CPVERS": __version__,
        "CPMODEL": ready.model.name,
        "CPHASH": card["sha256"][:16],
        "CPNOISE": card["simulator"]["noise"],
        "CPPRIOR": "uniform: " + ", ".join(f"{n} {a:g}..{b:g}" for n, a, b in bounds),
        "CPFLOOR": ready.photometry.error_floor,
        "CPDIST": ready.photometry.distance_source,
        "CPLAYOUT": ready.photometry.layout,
        "CPSEED": seed,
        "CPDRAWS": n_samples,
    }
