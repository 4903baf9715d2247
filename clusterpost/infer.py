"""The table face: photometry in, posteriors out, row by row in the order given.

The only room that sees both the network and the physics.
"""

from __future__ import annotations

from dataclasses import replace

import astropy.units as u
import numpy as np
import torch
from astropy.table import Column, QTable

from . import __version__
from .bands import band_slots
from .catalogs.identity import identifying_columns
from .config import conf
from .errors import ColumnError, InputError
from .families import get_family
from .families.clusters.likelihood import ClusterLikelihood
from .families.clusters.table import load_table
from .flow.levels import corrected_levels
from .flow.modelfile import MODELS_PATH, Model, load_model, model_stem, torch_device
from .noise import get_noise
from .photometry import check_table
from .posterior.draws import base_points, rotation
from .posterior.grid import ExactGrid
from .posterior.modes import MOST_MODES
from .posterior.refine import Refined
from .posterior.sampler import Sampler
from .posterior.target import Target
from .posterior.weights import resampled_index
from .prepare import check_reach, conditions_of, prepare
from .priors import as_prior
from .provenance import AUTO, Settings, add_record, free_column, repeat
from .schema import DISTANCE_COLUMN, output_columns
from .summarise import summarise, with_derived
from .utils import progress_bar

__all__ = ["exact_posterior", "infer_table", "log_prob", "sample_posterior"]

_DEFAULT_SAMPLES = 1000
_EXACT_DRAWS = _DEFAULT_SAMPLES  # of the grid, for modes and support
_RESERVE = 4  # weighted draws for each equally weighted one
_FEWEST = 250  # equally weighted ones, of which the first are given
_LEAST_BANDS = 2


def infer_table(tbl, *, model="default", n_samples=None, quantiles=(0.16, 0.5, 0.84), n_modes=3, noise=None, prior=None,
                refine=None, recalibrated=False, error_floor=0.05, distance=None, columns=None, unit=None, missing=(),
                prefix="", seed=0, device=None, progress=None):
    """Infer age, mass and reddening of every cluster of a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry: one flux or magnitude column and one error column a band.
        Not changed.
    model : str or path
        A bundled model's name, or a model file.
    n_samples : int, optional
        Draws from each posterior, to begin with: rows of which fewer than three
        fifths count as effective ones are given more.  By default what the
        model's card says, 1000 for the default model, which leaves 95 % of the
        quantiles within 0.05 half-widths of the exact ones.
    quantiles : sequence of float
        Of the marginal posteriors, each between 0 and 1.
    n_modes : int
        At most this many modes are given; from 1 to 8.
    noise : str, optional
        ``lognormal``, ``normal`` (as CIGALE has it; also takes fluxes of zero
        and below) or ``walter2025``; by default the model's own.
    prior : object of `clusterpost.priors` or callable, optional
        By default the model's own: flat in log age, log mass and E(B-V).  A
        callable takes theta (..., 3), a tensor, and gives a log density.
    refine : bool, optional
        Weight the network's draws so that they follow the exact posterior,
        and take more, or a Markov chain, where too few count.  False gives
        the network's results alone.  By default wherever the model has a likelihood.
    recalibrated : bool
        Take the quantiles at the levels of a correction that the model's file
        holds (`clusterpost.validation.recalibrate`).
    error_floor : float or None
        Relative systematic error added in quadrature (Walter et al. 2025,
        Eq. 10), unless the table records that it holds one already.
    distance : float, Quantity, array or str, optional
        Mpc unless it has a unit; one for all or one per row; or a galaxy's
        name.  By default from a column ``distance``, from ``tbl.meta``, or from
        a galaxy's name there.
    columns : dict, optional
        ``{"F275W": ("my_flux", "my_error")}`` for columns of other names.
    unit : str or Unit, optional
        Of all fluxes or magnitudes, where the columns do not tell it: ``"mJy"``,
        ``"uJy"``, ``"nmgy"``, ``"AB"``, ``"Vega"``, ``"ST"``, ...
    missing : sequence of float
        Values that stand for missing, besides the customary ones (99, 999, 1e20, ...).
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
        :mod:`clusterpost.schema` added, and with ``distance`` (Mpc) where that was
        given as an argument.  No row is dropped: one that cannot be
        inferred holds NaN, and its ``flag`` says why.  ``meta`` holds all
        settings, and what is drawn from the results repeats them.

    Raises
    ------
    InputError
        Or one of its kinds (`clusterpost.errors`), naming column, row and remedy.

    Notes
    -----
    Refined, quantiles and means are of weighted draws (neural importance
    sampling; Dax et al. 2023) and the MAP is the maximum of the exact density.
    Of a network alone, the MAP is the strongest mode (Walter et al. 2025,
    Sect. 3.2.3).  The entropy is that of their Sect. 4.1.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.simulate(2, seed=1)
    >>> out = clusterpost.infer_table(tbl, n_samples=500)
    >>> out["age_q50"].unit, len(out)
    (Unit("Myr"), 2)
    """
    inference = TableInference(
        tbl, model=model, n_samples=n_samples, quantiles=quantiles, n_modes=n_modes, noise=noise, prior=prior,
        refine=refine, recalibrated=recalibrated, error_floor=error_floor, distance=distance, columns=columns,
        unit=unit, missing=missing, prefix=prefix, seed=seed, device=device)
    inference.findings.raise_or_warn()
    return inference.run(progress)


def exact_posterior(tbl, *, quantiles=(0.16, 0.5, 0.84), n_modes=3, prior=None, error_floor=0.05, distance=None,
                    columns=None, unit=None, missing=(), prefix="", seed=0, device=None, progress=None):
    """The exact posteriors by a dense grid, without a network.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        As for `infer_table`; not changed.
    quantiles, n_modes, error_floor, distance, columns, unit, missing, prefix, seed, device, progress
        As for `infer_table`.
    prior : object of `clusterpost.priors`, optional
        Whose density is a power law in mass.

    Returns
    -------
    `~astropy.table.Table`
        The same columns as from `infer_table`.

    Raises
    ------
    InputError
        As `infer_table`, and for a prior of another kind.

    Notes
    -----
    690 by 150 cells in log age and E(B-V), the mass integrated in closed form
    under log-normal noise (Walter et al. 2025, Sect. 3.2.2).  Upper limits are
    not taken into account; rows that have one are flagged.

    Examples
    --------
    >>> import clusterpost
    >>> out = clusterpost.exact_posterior(clusterpost.simulate(2, seed=1))
    >>> bool((out["efficiency"] == 1).all())
    True
    """
    inference = ExactInference(tbl, quantiles=quantiles, n_modes=n_modes, prior=prior, error_floor=error_floor,
                               distance=distance, columns=columns, unit=unit, missing=missing, prefix=prefix, seed=seed,
                               device=device)
    inference.findings.raise_or_warn()
    return inference.run(progress)


def sample_posterior(tbl, *, n_samples=1000, model="default", noise=None, prior=None, refine=None, error_floor=AUTO,
                     distance=None, columns=None, unit=None, missing=(), prefix=None, seed=None, dtype=float,
                     device=None, progress=None):
    """Draw from the posterior of every cluster of a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry, as for `infer_table`, or what that returned; not changed.
    n_samples : int
        Draws for each object.
    model, noise, prior, refine, error_floor, distance, columns, unit, missing, seed
        As for `infer_table`.  By default those that the results in the table
        were made with; without results, the defaults of `infer_table`.
    prefix : str, optional
        Of the results whose settings are repeated, where the table has several.
    dtype : dtype
        Of the draws; ``"float32"`` takes half the space.
    device, progress
        As for `infer_table`.

    Returns
    -------
    `~astropy.table.QTable`
        One row per object, in order.  First the columns by which it is identified: those of text or whole
        numbers, and coordinates.  Then one column for each parameter and derived quantity of the model, for
        clusters ``age`` (Myr), ``mass`` (solMass), ``ebv`` (mag) and ``stellar_mass`` (solMass), and ``log_prob``,
        of shape (n, n_samples); NaN, with the reason in ``flag``, where a row cannot be inferred.  ``log_prob`` is
        the log density of the parameters, for clusters in (log10 age/Myr, log10 mass/Msun, E(B-V)/mag).  All draws
        count the same.

    Raises
    ------
    InputError
        As `infer_table`; and if the results in the table had a function as
        prior, which has to be given again.

    Warns
    -----
    AstropyUserWarning
        If an option contradicts what the results in the table were made with.

    Notes
    -----
    Refined draws are taken with replacement from four times as many weighted
    ones, so that some may be the same.  The draws of different clusters are
    independent of each other: the k-th of every row is one realisation of the
    whole table.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.simulate(2, seed=1)
    >>> clusterpost.sample_posterior(tbl, n_samples=100)["age"].shape
    (2, 100)
    """
    n_samples, dtype = _whole_number("n_samples", n_samples), _float_type(dtype)
    check_table(tbl)
    tbl, options = repeat(tbl, prefix=prefix, model=model, noise=noise, prior=prior, refine=refine,
                          error_floor=error_floor, distance=distance, columns=columns, seed=seed)
    size = max(n_samples, _FEWEST)
    job = _Job(tbl, n_samples=n_samples, size=size, device=device, unit=unit, missing=missing, **options)
    job.ready.findings.raise_or_warn()
    refine = job.sampler.refined
    family, flag = job.model.family, job.ready.flag.copy()
    quantities = (*family.parameters, *family.derived)
    values = {q.column: np.full((len(tbl), n_samples), np.nan, dtype) for q in quantities}
    density = np.full((len(tbl), n_samples), np.nan, dtype)
    for at, target, draws in job.chunks(progress):
        rows = job.ready.rows[at]
        drawn, index = draws.theta, job.orders(at, size)
        if refine:
            even = resampled_index(draws.weight.double(), size, order=drawn[..., 0])
            index = even.take_along_dim(index, 1)
        index = index[:, :n_samples]
        drawn, log_density = drawn.take_along_dim(index[..., None], 1), draws.normalised.take_along_dim(index, 1)
        known = {name: each[:, None] for name, each in target.observed.covariates.items()}
        every = with_derived(drawn, family, known).double().cpu().numpy()
        for k, quantity in enumerate(quantities):
            values[quantity.column][rows] = quantity.to_column(every[..., k])
        density[rows] = log_density.cpu().numpy()
        flag[rows] |= draws.flag.cpu().numpy()
    out = identifying_columns(tbl, [*values, "log_prob", "flag"], prefix)
    for quantity in quantities:
        out[quantity.column] = u.Quantity(values.pop(quantity.column), quantity.unit, copy=False)
        out[quantity.column].info.description = f"Draws from the posterior: {quantity.description}"
    out["log_prob"], out["flag"] = density, flag
    add_record(out.meta, replace(job.settings, distance=None, reading={}))
    out.meta.update(_about(job.ready))
    return out


def log_prob(tbl, theta, *, model="default", noise=None, prior=None, refine=None, error_floor=AUTO, distance=None,
             columns=None, unit=None, missing=(), prefix=None, seed=None, device=None):
    """Log posterior density of parameters.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry, as for `infer_table`, or what that returned; not changed.
    theta : array (n, n_parameter) or (n, k, n_parameter)
        One or ``k`` parameter vectors for each row, for clusters log10 age/Myr, log10
        initial mass/Msun, E(B-V)/mag.
    model, noise, prior, refine, error_floor, distance, columns, unit, missing, prefix, seed, device
        As for `sample_posterior`.

    Returns
    -------
    ndarray (n,) or (n, k)
        Natural log of the density in those coordinates: of likelihood
        times prior over the evidence or, without refinement, of the network.
        -inf outside the prior, NaN where a row cannot be inferred.

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
    tbl, options = repeat(tbl, prefix=prefix, model=model, noise=noise, prior=prior, refine=refine,
                          error_floor=error_floor, distance=distance, columns=columns, seed=seed, n_samples=None)
    job = _Job(tbl, device=device, unit=unit, missing=missing, **options)
    parameters = job.model.family.parameters
    names = [f"log10 {p.column}/{p.unit}" if p.log10 else p.column for p in parameters]
    if theta.ndim not in (2, 3) or theta.shape[0] != len(tbl) or theta.shape[-1] != len(names):
        raise InputError(f"theta has shape {theta.shape}; for {len(tbl)} rows give ({len(tbl)}, {len(names)}) or "
                         f"({len(tbl)}, k, {len(names)}): {', '.join(names)}")
    job.ready.findings.raise_or_warn()
    refine = job.sampler.refined
    stacked = theta.reshape(len(tbl), -1, len(names))
    result = np.full(stacked.shape[:2], np.nan)
    for at, target, draws in job.chunks(False, points=stacked.shape[1], draw=refine):
        rows = job.ready.rows[at]
        points = torch.as_tensor(stacked[rows], dtype=torch.float32, device=job.model.device)
        inside = target.prior.inside(points)
        if refine:
            density = target.log_density(points) - draws.log_evidence[:, None]
        else:
            density = job.sampler.proposal.log_prob(target.observed, job.conditions(at), points)
        result[rows] = torch.where(inside, density, -torch.inf).cpu().numpy()
    return result.reshape(theta.shape[:-1])


class TableInference:
    """`infer_table` in two steps: rows are read and sorted out first, and inferred by `run`.

    Attributes
    ----------
    findings : `~clusterpost.findings.Findings`
        To be judged by whoever knows the whole table.
    """

    def __init__(self, tbl, *, model, n_samples, quantiles, n_modes, noise, prior, refine, recalibrated, error_floor,
                 distance, columns, prefix, seed, device,
                 unit=None, missing=()):
        self.tbl, self.prefix, self.recalibrated = tbl, prefix, recalibrated
        check_table(tbl)
        self.job = _Job(tbl, model, noise, prior, refine, n_samples, seed, device,
                        columns=columns, unit=unit, missing=missing, distance=distance, error_floor=error_floor)
        self.family = self.job.model.family
        self.n_modes, self.registry, self.levels = _check_outputs(tbl, self.family, quantiles, n_modes, prefix)
        self.findings = self.job.ready.findings

    def run(self, progress):
        """Infer the rows; return a copy of the table with the results."""
        job, refine, taken = self.job, self.job.sampler.refined, None
        if self.recalibrated:
            taken = corrected_levels(job.model.card, self.levels, refine=refine)
        results = _empty_results(self.registry, len(self.tbl), self.n_modes)
        for at, target, draws in job.chunks(progress):
            _put(results, job.ready.rows[at],
                 summarise(draws, target, self.levels, self.n_modes, family=self.family, ascend=refine, taken=taken))
        settings = replace(job.settings, recalibrated=self.recalibrated)
        return _completed(self.tbl, self.registry, results, self.prefix, job.ready, settings)


class ExactInference:
    """`exact_posterior` in the two steps of `TableInference`."""

    def __init__(self, tbl, *, quantiles, n_modes, prior, error_floor, distance, columns, prefix, seed, device,
                 unit=None, missing=()):
        self.tbl, self.prefix, self.seed, self.device = tbl, prefix, _whole_number("seed", seed, least=0), device
        self.family = get_family("clusters")(bands=load_table().bands)
        self.n_modes, self.registry, self.levels = _check_outputs(tbl, self.family, quantiles, n_modes, prefix)
        self.noise, self.prior, self.bands = get_noise("lognormal"), as_prior(prior), self.family.band_names
        self.ready = prepare(tbl, self.bands, self.noise, slots=band_slots(self.bands), at_least=_LEAST_BANDS,
                             columns=columns, unit=unit, missing=missing, distance=distance, error_floor=error_floor)
        self.findings = self.ready.findings
        self.settings = Settings(
            "exact grid", self.noise.name, self.prior.describe(), prior=self.prior.to_record(),
            error_floor=self.ready.error_floor, seed=self.seed, distance=None if distance is None else "",
            reading=_recorded_reading(columns=columns))

    def run(self, progress):
        """Infer the rows; return a copy of the table with the results."""
        ready, device = self.ready, torch_device(self.device)
        table = load_table().select(self.bands).to(device)
        grid, family = ExactGrid(table, self.prior), self.family.to(device)
        points = base_points(_EXACT_DRAWS, 3, self.seed).to(device)
        results = _empty_results(self.registry, len(self.tbl), self.n_modes)
        size = max(1, conf.points_per_pass // _EXACT_DRAWS)
        with torch.inference_mode(), progress_bar(len(ready.rows), show=progress, desc="exact grid", unit="row") as bar:
            for start in range(0, len(ready.rows), size):
                at = slice(start, start + size)
                observed = ready.observed[at].to(device)
                target = Target(observed.to(dtype=torch.float32), ClusterLikelihood(table, self.noise), self.prior)
                summary = grid.summarise(observed, self.levels, points)
                n, theta = len(target), summary.theta.float()
                one = torch.ones(n, device=device)
                draws = Refined(theta, torch.full(theta.shape[:2], 1 / _EXACT_DRAWS, device=device),
                                target.log_density(theta), one, summary.log_evidence, _EXACT_DRAWS * one,
                                torch.zeros(n, dtype=torch.int32, device=device))
                marginals = summary.quantiles, summary.mean, summary.entropy
                _put(results, ready.rows[at],
                     summarise(draws, target, self.levels, self.n_modes, family=family, ascend=True,
                               marginals=marginals))
                bar.update(n)
        return _completed(self.tbl, self.registry, results, self.prefix, ready, self.settings)


class _Job:
    """A table, a model, and how the one is inferred with the other."""

    def __init__(self, tbl, model, noise, prior, refine, n_samples, seed, device, *, size=None, **reading):
        self.model = load_model(model, device=device)
        card = self.model.card
        simulator = card["simulator"]
        noise = get_noise(simulator["noise"] if noise is None else noise)
        refine = self.model.family.likelihood is not None if refine is None else refine
        default = card.get("n_samples", _DEFAULT_SAMPLES)
        n_samples = _whole_number("n_samples", default if n_samples is None else n_samples, least=1 if size else 10)
        seed = _whole_number("seed", seed, least=0)
        drawn = n_samples if size is None else _RESERVE * size if refine else size
        bands = self.model.bands
        self.ready = prepare(tbl, bands, noise, slots=self.model.filter_groups, at_least=self.model.min_bands,
                             covariates=self.model.family.covariates, **reading)
        check_reach(self.ready, self.model, noise)
        self.sampler = Sampler(self.model, noise=noise, prior=prior, refined=refine, n_samples=drawn, seed=seed)
        prior = self.sampler.prior
        elsewhere = not isinstance(model, Model) and model_stem(model).parent != MODELS_PATH
        self.settings = Settings(
            self.model.name, noise.name, prior.describe(), path=str(model_stem(model)) if elsewhere else None,
            sha256=card["sha256"][:16], prior=None if prior is self.model.family.prior else prior.to_record(),
            refine=self.sampler.refined, error_floor=self.ready.error_floor, seed=seed, n_samples=n_samples,
            distance=None if reading["distance"] is None else "", reading=_recorded_reading(columns=reading["columns"]))

    def chunks(self, progress, points=0, draw=True):
        """Successive chunks of rows: their place in ``ready.rows``, target and, if wanted, draws.

        ``points`` besides the draws are to be worked on for each row.
        """
        n, size = len(self.ready.rows), max(1, conf.points_per_pass // max(draw * self.sampler.n_samples, points))
        with torch.inference_mode(), progress_bar(n, show=progress, desc="inferring", unit="row") as bar:
            for start in range(0, n, size):
                at = slice(start, start + size)
                conditions = self.conditions(at)
                target = self.sampler.target(self.ready.observed[at].to(self.model.device, torch.float32), conditions)
                yield at, target, self.sampler(target, conditions) if draw else None
                bar.update(len(target))

    def conditions(self, at):
        """The network's, of a chunk of rows; worked out when wanted, as all of them would take much memory."""
        return conditions_of(self.ready.observed[at], self.model, self.sampler.noise)

    def orders(self, at, n):
        """An order of ``n`` draws for each row: random, and unlike those of other rows.

        Without it the k-th draws of two clusters would go together, which shows in every sum over clusters.
        """
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.sampler.seed)).to(self.model.device)
        turn = rotation(self.model.flow.standardize(self.conditions(at)), 1) * n
        return order[(torch.arange(n, device=order.device) + turn.long()) % n]


def _check_outputs(tbl, family, quantiles, n_modes, prefix):
    check_table(tbl)
    levels = _check_quantiles(quantiles)
    registry = output_columns(levels, family)
    _check_free(tbl, [prefix + c.name for c in registry])
    return _whole_number("n_modes", n_modes, most=MOST_MODES), registry, levels


def _put(results, rows, chunk):
    for name, values in chunk.items():
        if name == "flag":
            results[name][rows] |= values
        else:
            results[name][rows] = values


def _completed(tbl, registry, results, prefix, ready, settings):
    """A copy of the table with the results and what they rest on."""
    results["flag"] |= ready.flag
    results["n_bands"][:] = ready.n_bands
    ready.observed = None  # not needed any more, and half as large as the results
    out = tbl.copy()
    if settings.distance is not None:  # given as an argument: the table alone would not tell it
        settings = replace(settings, distance=free_column(tbl, prefix))
        out[settings.distance] = _as_column(DISTANCE_COLUMN, ready.covariates["distance"], type(out))
    for column in registry:
        out.add_column(_as_column(column, results.pop(column.name), type(out)), name=prefix + column.name, copy=False)
    out.meta.update(ready.recorded)
    add_record(out.meta, settings, prefix=prefix, before=tbl)
    out.meta.update(_about(ready))
    return out


def _about(ready):
    """What else a table's meta records."""
    return {"CPVERS": __version__, "CPDIST": ready.sources.get("distance", ""), "CPLAYOUT": ready.layout}


def _recorded_reading(columns):
    return {} if columns is None else {"columns": {band: list(names) for band, names in columns.items()}}


def _whole_number(name, value, least=1, most=None):
    if not _is_whole(value) or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name}={value!r} must be a whole number {limits}")
    return int(value)


def _float_type(dtype):
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in (np.dtype("float32"), np.dtype("float64")):
        raise InputError(f"dtype={dtype!r} must be 'float32' or 'float64'")
    return found


def _is_whole(value):
    try:
        return int(value) == value
    except (TypeError, ValueError, OverflowError):
        return False


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
        result = u.Quantity(values, unit, copy=False)
        result.info.description = column.description
        result.info.meta = {"ucd": column.ucd}
        return result
    return Column(values, unit=unit, description=column.description, meta={"ucd": column.ucd}, copy=False)
