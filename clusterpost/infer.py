"""Table interface: photometry in, posteriors out, one row per object in the input order."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
import torch
from astropy.table import QTable, Table

from .catalogs.identity import identifying_columns
from .catalogs.tables import as_table
from .errors import InputError
from .families import ModelFamily
from .findings import warn_of_improbable
from .inference import ExactInference, Job, TableInference, about, float_type, whole_number
from .posterior.weights import systematic_resample
from .provenance import AUTO, EXACT_MODEL, add_record, repeat
from .summarize import with_derived
from .typing import ModelLike, TableLike
from .utils import named_options

if TYPE_CHECKING:
    from .posterior.refine import WeightedSamples
    from .posterior.target import NetworkTarget, Target

__all__ = ["exact_posterior", "infer_table", "log_prob", "sample_posterior"]

_log = logging.getLogger("clusterpost")
_FEWEST = 250  # equally weighted draws; only the first ones are returned
_NO_OPTIONS = {
    "metallicity": "a model has a fixed metallicity or infers it; models that infer it, such as stochastic, read known "
                   "values from a column 'metallicity' ([M/H])",
    "redshift": "models that need it read a column 'redshift'",
    "threads": "workers= sets the number of cores",
    "n_jobs": "workers= sets the number of cores",
    "show_progress": "progress= shows a progress bar",
    "rng": "seed= takes an integer",
}


@named_options(_NO_OPTIONS)
def infer_table(tbl: TableLike, *, model: ModelLike = "default", n_samples: int | None = None,
                quantiles: Sequence[float] = (0.16, 0.5, 0.84), n_modes: int = 3, noise: str | None = None,
                prior: Any = None, refine: bool | None = None, recalibrated: bool = False,
                error_floor: float | str | None = AUTO, distance: Any = None, columns: Mapping | None = None,
                unit: Any = None, missing: Sequence[float] = (), prefix: str = "", seed: int = 0,
                device: str | None = None, workers: int | None = None, progress: bool | None = None) -> Table:
    """Infer the parameters of every object in a table: age, mass, reddening, and metallicity for star clusters.

    .. versionchanged:: 0.2
       Added the options ``unit``, ``missing`` and ``workers``.

    Parameters
    ----------
    tbl : `~astropy.table.Table`, `~astropy.table.Row`, `pandas.DataFrame` or path
        Photometry: one flux or magnitude column and one error column per band.
        Not modified.
    model : str or path
        Name of a bundled model, or a model file.  The default is `clusterpost.conf.default_model`,
        ``stochastic``: clusters with individually drawn stars and any metallicity, for real clusters.
        ``any_bands`` is the setting of Walter et al. (2025): fully sampled clusters of solar metallicity, exact for
        their likelihood.
    n_samples : int, optional
        Initial number of draws from each posterior; rows with a small effective sample size get more.
        The default is stored in the model's card, 1000 for most, with which 95 % of the quantiles of ``any_bands``
        are within 0.05 half-widths of the exact ones.
    quantiles : sequence of float
        Quantiles of the marginal posteriors, each between 0 and 1.
    n_modes : int
        Maximum number of modes to return, from 1 to 8.
    noise : str, optional
        Noise model: ``lognormal``, ``normal`` (as in CIGALE; also accepts fluxes of zero
        and below), or ``walter2025``; by default the model's own.  Noise other than that of the training needs a
        model with a likelihood, such as ``any_bands``.
    prior : object of `clusterpost.priors`, callable or str, optional
        By default the model's own: ``survey`` for stochastic clusters; flat in log age, log mass, and
        E(B-V) for fully sampled ones.  A string is the name of a prior of the model's family, such as ``survey`` or
        ``flat``.  A callable takes a tensor theta (..., n_parameter) and returns a log density.
    refine : bool, optional
        Weight the network's draws to follow the exact posterior,
        with more draws or a Markov chain if the effective sample size is small.  A model without a likelihood, such as
        ``stochastic``, simulates objects for rows in which less than a tenth of the draws count under the prior.  False
        returns the network's results.  By default True.
    recalibrated : bool
        Apply the quantile correction stored in the model's file
        (`clusterpost.validation.recalibrate`).
    error_floor : float or None
        Relative systematic error added in quadrature (Walter et al. 2025,
        Eq. 10), unless the table records that its errors already include one.  By default that of the model's family:
        0.12 for stochastic clusters, 0.05 for the others.
    distance : float, Quantity, array or str, optional
        Distance in Mpc unless it has a unit, one for all rows or one per row, or the name of a
        galaxy.  By default from a column ``distance``, from ``tbl.meta``, or from
        a galaxy name there.  A column ``distance_err`` (Mpc) gives the
        standard deviation for each row, and likelihoods are integrated over it;
        rows without a value use that of the prior.
    columns : dict, optional
        Names of columns, ``{"F275W": ("my_flux", "my_error")}``.
    unit : str or Unit, optional
        Unit of all fluxes or magnitudes if the columns have none: ``"mJy"``,
        ``"uJy"``, ``"nmgy"``, ``"AB"``, ``"Vega"``, ``"ST"``, ...
    missing : sequence of float
        Additional values that mark missing data, besides the usual ones (99, 999, 1e20, ...).
    prefix : str
        Prefix for the name of every added column.
    seed : int
    device : str, optional
        ``cpu`` or ``cuda``; by default `clusterpost.conf.device`.
    workers : int, optional
        Number of chunks of rows to process in parallel, each on one core; by default `clusterpost.conf.workers`, all
        cores available to the process.  It does not change the results.  Tables of about 8000 rows and more use
        processes, which take a few seconds to start; smaller ones use threads.
    progress : bool, optional
        Whether to show a progress bar on standard error; by default only on a terminal.

    Returns
    -------
    `~astropy.table.Table`
        A copy of ``tbl`` (of the same class) with the columns of
        :mod:`clusterpost.schema` added, and with ``distance`` (Mpc) if it was
        given as an argument.  No row is dropped: a row that cannot be
        inferred contains NaN, and its ``flag`` gives the reason.  ``meta`` records all
        settings, and functions that draw from the results reuse them.

    Raises
    ------
    InputError
        If the input is not valid; subclasses (`clusterpost.errors`) and messages name column, row, and remedy.

    Notes
    -----
    Refined quantiles and means use weighted draws (neural importance
    sampling; Dax et al. 2023), and the MAP is the maximum of the exact density.
    For a network alone, the MAP is the strongest mode (Walter et al. 2025,
    Sect. 3.2.3).  The entropy is defined in their Sect. 4.1.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.simulate(2, seed=1)
    >>> out = clusterpost.infer_table(tbl, n_samples=500)
    >>> out["age_q50"].unit, len(out)
    (Unit("Myr"), 2)
    """
    tbl, reading = as_table(tbl, columns=columns, unit=unit, missing=missing)
    inference = TableInference(
        tbl, model=model, n_samples=n_samples, quantiles=quantiles, n_modes=n_modes, noise=noise, prior=prior,
        refine=refine, recalibrated=recalibrated, error_floor=error_floor, distance=distance, prefix=prefix, seed=seed,
        device=device, workers=workers, **reading)
    inference.findings.raise_or_warn(stacklevel=4)
    _log.info(inference.describe())
    out = inference.run(progress)
    warn_of_improbable(out, inference.family.parameters, prefix, stacklevel=4)
    return out


@named_options(_NO_OPTIONS)
def exact_posterior(tbl: TableLike, *, model: ModelLike | ModelFamily = EXACT_MODEL,
                    quantiles: Sequence[float] = (0.16, 0.5, 0.84), n_modes: int = 3, noise: str | None = None,
                    prior: Any = None, n_simulations: int | None = None, error_floor: float | str | None = AUTO,
                    distance: Any = None, columns: Mapping | None = None, unit: Any = None,
                    missing: Sequence[float] = (), prefix: str = "", seed: int = 0, device: str | None = None,
                    workers: int | None = None, progress: bool | None = None) -> Table:
    """Compute exact posteriors on a dense grid or, for a family without a likelihood, by simulation.

    .. versionchanged:: 0.2
       Added the options ``model``, ``noise``, ``n_simulations``, ``unit``, ``missing`` and ``workers``.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry, as for `infer_table`; not modified.
    model : str, path, Model or ModelFamily
        A model, whose family, bands, and prior are used, or the name of a family.  The default is
        the family of fully sampled clusters, which has a likelihood, **not** the default of `infer_table`; use
        ``model="stochastic"`` to check that one.
    n_simulations : int, optional
        Number of objects to simulate for each row, for a family without a likelihood; by default 100,000, which take
        about two seconds.
    quantiles, n_modes, noise, prior, error_floor, distance, columns, unit, missing, prefix, seed, device, workers, \
    progress
        As for `infer_table`.

    Returns
    -------
    `~astropy.table.Table`
        The same columns as from `infer_table`; with simulations also ``log_evidence`` and ``n_effective``, the
        effective number of simulated objects; ``efficiency`` is its ratio to the number of simulations.

    Raises
    ------
    InputError
        As for `infer_table`, and for a family with a likelihood other than fully sampled clusters: the grid requires
        an amplitude and two more parameters.

    Notes
    -----
    Under log-normal noise and a prior that is a power law in mass, rows of detections are integrated on 690 by 150
    cells in log age and E(B-V), the mass in closed form (Walter et al. 2025, Sect. 3.2.2), and ``efficiency`` is 1.
    All other rows, including those with an upper limit, use four thousand or more draws from cells that are
    smaller where the posterior is denser, weighted by the exact density over that of the cells.

    Without a likelihood, as for stochastic clusters, objects are simulated with parameters near
    the posterior, starting from the model's network if there is one. Their weight is the likelihood of the
    fluxes under the noise, times prior over proposal. Nothing is approximated; quantiles are uncertain by about
    1.3 over the root of ``n_effective`` in half-widths, and rows with fewer than 100 are flagged *low efficiency*.
    The MAP is the strongest mode of the draws, and the entropy is not available.

    Examples
    --------
    >>> import clusterpost
    >>> out = clusterpost.exact_posterior(clusterpost.simulate(2, model="any_bands",
    ...                                                        seed=1))
    >>> bool((out["efficiency"] == 1).all())
    True
    """
    tbl, reading = as_table(tbl, columns=columns, unit=unit, missing=missing)
    inference = ExactInference(tbl, model=model, noise=noise, quantiles=quantiles, n_modes=n_modes, prior=prior,
                               n_simulations=n_simulations, error_floor=error_floor, distance=distance,
                               prefix=prefix, seed=seed, device=device, workers=workers, **reading)
    inference.findings.raise_or_warn(stacklevel=4)
    _log.info(inference.describe())
    out = inference.run(progress)
    warn_of_improbable(out, inference.family.parameters, prefix, stacklevel=4)
    return out


@named_options(_NO_OPTIONS)
def sample_posterior(tbl: TableLike, *, n_samples: int = 1000, model: ModelLike = "default", noise: str | None = None,
                     prior: Any = None, refine: bool | None = None, error_floor: float | str | None = AUTO,
                     distance: Any = None, columns: Mapping | None = None, unit: Any = None,
                     missing: Sequence[float] = (), prefix: str | None = None, seed: int | None = None,
                     dtype: Any = float, device: str | None = None, workers: int | None = None,
                     progress: bool | None = None) -> QTable:
    """Draw from the posterior of every object in a table.

    .. versionchanged:: 0.2
       Added the options ``unit``, ``missing``, ``prefix``, ``dtype`` and ``workers``.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry as for `infer_table`, or its output; not modified.
    n_samples : int
        Number of draws per object.
    model, noise, prior, refine, error_floor, distance, columns, unit, missing, seed
        As for `infer_table`.  By default the settings of the results in the table;
        without results, the defaults of `infer_table`.
    prefix : str, optional
        Prefix of the results whose settings are reused, if the table has several.
    dtype : dtype
        Type of the draws; ``"float32"`` takes half the space. Quantities beyond its range, such as the rate of ionizing
        photons, stay in double precision.
    device, workers, progress
        As for `infer_table`.

    Returns
    -------
    `~astropy.table.QTable`
        One row per object, in order.  The first columns identify it: those with text or integers,
        and coordinates.  Next is one column for each parameter and derived quantity of the model, for
        clusters ``age`` (Myr), ``mass`` (solMass), ``ebv`` (mag), ``stellar_mass`` (solMass) and so on, and
        ``log_prob``, of shape (n, n_samples); NaN if a row cannot be inferred, with the reason in ``flag``.
        ``log_prob`` is the log density of the parameters, for clusters in log10 age/Myr, log10 mass/Msun, E(B-V)/mag
        and the others.  All draws have equal weight.

    Raises
    ------
    InputError
        As for `infer_table`, and if the results in the table used a function as
        prior, which must be given again.

    Warns
    -----
    AstropyUserWarning
        If an option contradicts the settings of the results in the table.

    Notes
    -----
    Refined draws are resampled with replacement from four times as many weighted
    ones, so some may be identical.  The draws of different objects are
    independent: the k-th draws of all rows are one realization of the
    whole table.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.simulate(2, seed=1)
    >>> clusterpost.sample_posterior(tbl, n_samples=100)["age"].shape
    (2, 100)
    """
    n_samples, dtype = whole_number("n_samples", n_samples), float_type(dtype)
    tbl, reading = as_table(tbl, columns=columns, unit=unit, missing=missing)
    tbl, options = repeat(tbl, prefix=prefix, model=model, noise=noise, prior=prior, refine=refine,
                          error_floor=error_floor, distance=distance, columns=reading.pop("columns"), seed=seed)
    size = max(n_samples, _FEWEST)
    job = Job(tbl, n_samples=n_samples, size=size, device=device, workers=workers, **reading, **options)
    job.ready.findings.raise_or_warn(stacklevel=4)
    family, flag = job.model.family, job.ready.flag.copy()
    quantities = (*family.parameters, *family.derived)
    values = {q.column: np.full((len(tbl), n_samples), np.nan, float if q.wide else dtype)
              for q in quantities}
    density = np.full((len(tbl), n_samples), np.nan, dtype)

    def equally_weighted(at: slice, target: Target | NetworkTarget, draws: WeightedSamples) -> tuple[np.ndarray, ...]:
        """Draw equally weighted samples of a chunk."""
        drawn, index = draws.theta, job.orders(at, size)
        if job.weighted:
            even = systematic_resample(draws.weight.double(), size, order=drawn[..., 0])
            index = even.take_along_dim(index, 1)
        index = index[:, :n_samples]
        drawn, log_density = drawn.take_along_dim(index[..., None], 1), draws.normalized.take_along_dim(index, 1)
        known = {name: each[:, None] for name, each in target.observed.covariates.items()}
        every = with_derived(drawn, family, known).double()
        return every.cpu().numpy(), log_density.cpu().numpy(), draws.flag.cpu().numpy()

    for rows, (every, log_density, raised) in job.map_chunks(equally_weighted, progress):
        for k, quantity in enumerate(quantities):
            values[quantity.column][rows] = quantity.to_column(every[..., k])
        density[rows] = log_density
        flag[rows] |= raised
    out = identifying_columns(tbl, [*values, "log_prob", "flag"], prefix)
    for quantity in quantities:
        out[quantity.column] = u.Quantity(values.pop(quantity.column), quantity.unit, copy=False)
        out[quantity.column].info.description = f"Draws from the posterior: {quantity.description}"
    out["log_prob"], out["flag"] = density, flag
    add_record(out.meta, replace(job.settings, distance=None, reading={}))
    out.meta.update(about(job.ready))
    return out


@named_options(_NO_OPTIONS)
def log_prob(tbl: TableLike, theta: Any, *, model: ModelLike = "default", noise: str | None = None, prior: Any = None,
             refine: bool | None = None, error_floor: float | str | None = AUTO, distance: Any = None,
             columns: Mapping | None = None, unit: Any = None, missing: Sequence[float] = (),
             prefix: str | None = None, seed: int | None = None, device: str | None = None,
             workers: int | None = None) -> np.ndarray:
    """Evaluate the log posterior density of parameters.

    .. versionchanged:: 0.2
       Added the options ``unit``, ``missing``, ``prefix`` and ``workers``.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry as for `infer_table`, or its output; not modified.
    theta : array (n, n_parameter) or (n, k, n_parameter)
        One or ``k`` parameter vectors for each row, for clusters log10 age/Myr, log10
        initial mass/Msun, E(B-V)/mag and, for stochastic clusters, [M/H], R_V, and the nebular covering fraction.
    model, noise, prior, refine, error_floor, distance, columns, unit, missing, prefix, seed, device, workers
        As for `sample_posterior`.

    Returns
    -------
    ndarray (n,) or (n, k)
        Natural log of the density in those coordinates: likelihood
        times prior over evidence or, without refinement, the network's density.
        -inf outside the prior, NaN if a row cannot be inferred.

    Raises
    ------
    InputError
        As for `infer_table`, and if ``theta`` has another shape.

    Examples
    --------
    >>> import numpy as np, clusterpost
    >>> tbl = clusterpost.simulate(1, seed=1)
    >>> clusterpost.log_prob(tbl, np.array([[1.0, 4.0, -0.1, 0.0, 3.1, 0.5]]))
    array([-inf])
    """
    tbl, reading = as_table(tbl, columns=columns, unit=unit, missing=missing)
    theta = np.asarray(theta, dtype=float)
    tbl, options = repeat(tbl, prefix=prefix, model=model, noise=noise, prior=prior, refine=refine,
                          error_floor=error_floor, distance=distance, columns=reading.pop("columns"), seed=seed,
                          n_samples=None)
    job = Job(tbl, device=device, workers=workers, **reading, **options)
    parameters = job.model.family.parameters
    names = [f"log10 {p.column}/{p.unit}" if p.log10 else p.column for p in parameters]
    if theta.ndim not in (2, 3) or theta.shape[0] != len(tbl) or theta.shape[-1] != len(names):
        raise InputError(f"theta has shape {theta.shape}; for {len(tbl)} rows give ({len(tbl)}, {len(names)}) or "
                         f"({len(tbl)}, k, {len(names)}): {', '.join(names)}")
    job.ready.findings.raise_or_warn(stacklevel=4)
    refine = job.sampler.refined
    stacked = theta.reshape(len(tbl), -1, len(names))
    result = np.full(stacked.shape[:2], np.nan)

    def density_at(at: slice, target: Target | NetworkTarget, draws: WeightedSamples | None) -> np.ndarray:
        """Compute the normalized density of a chunk at the given points."""
        points = torch.as_tensor(stacked[job.ready.rows[at]], dtype=torch.float32, device=job.model.device)
        if refine:
            density = target.log_density(points) - draws.log_evidence[:, None]
        else:
            density = job.sampler.log_prob(target, job.conditions(at), points)
        return torch.where(target.prior.inside(points), density, -torch.inf).cpu().numpy()

    needed = max(stacked.shape[1], job.sampler.n_samples if job.weighted else 0)
    for rows, density in job.map_chunks(density_at, False, points=needed, draw=refine):
        result[rows] = density
    return result.reshape(theta.shape[:-1])
