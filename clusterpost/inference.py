"""Inference of a table in steps: prepare the rows, infer them in chunks, and fill the output columns.

Only this module uses both the network and the physical model.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
import torch
from astropy.table import Column, QTable

from . import __version__, flags
from .catalogs.recognition import recognize
from .config import conf
from .errors import ColumnError, InputError, ModelError, shown
from .families import ModelFamily
from .flow.bundled import MODELS_PATH, model_stem
from .flow.model import Model, torch_device
from .flow.modelfile import find_family, load_model
from .flow.quantile_levels import corrected_levels
from .noise import get_noise
from .photometry import check_table
from .posterior.draws import rotation, sobol_points
from .posterior.modes import MOST_MODES
from .posterior.refine import WeightedSamples
from .posterior.sampler import Sampler
from .posterior.simulated import sample_by_simulation
from .posterior.target import NetworkTarget, Target
from .posterior.trees import MOST_CELLS, can_sample, sample_by_cells
from .prepare import check_reach, encode_observations, prepare
from .priors import as_prior
from .provenance import EXACT_GRID, EXACT_MODEL, SIMULATIONS, Settings, add_record, free_column, resolve_floor
from .schema import DISTANCE_COLUMN, SIMULATED_COLUMNS, output_columns
from .summarize import summarize
from .utils import progress_bar
from .workers import count_workers, in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from astropy.table import Table

    from .families.base import Prior
    from .noise import Noise
    from .prepare import PreparedTable
    from .typing import ModelLike

__all__ = ["ExactInference", "Job", "TableInference", "about", "float_type", "whole_number"]

DEFAULT_SAMPLES = 1000
_EXACT_DRAWS = DEFAULT_SAMPLES  # draws from the grid, for modes and support
_EXACT_AIM = 3 * _EXACT_DRAWS  # effective draws if quantiles come from draws
_SIMULATIONS, _LEAST_SIMULATIONS = 100_000, 1000  # simulated objects per row
_PROPOSED = 500  # draws of a network to start the simulations from
_RESERVE = 4  # weighted draws for each equally weighted one
_CHUNKS = 8  # chunks to share among workers, or a multiple


class TableInference:
    """`infer_table` in two steps: the constructor prepares the rows, and `run` infers them.

    Attributes
    ----------
    findings : `~clusterpost.findings.Findings`
        Findings, for evaluation over the whole table.
    """

    def __init__(self, tbl: Table, *, model: ModelLike, n_samples: int | None, quantiles: Sequence[float], n_modes: int,
                 noise: str | Noise | None, prior: Callable | Prior | str | None, refine: bool | None,
                 recalibrated: bool, error_floor: float | str | None, distance: Any, columns: Mapping | None,
                 prefix: str | None, seed: int, device: str | torch.device | None, workers: int | None = None,
                 unit: str | u.UnitBase | None = None, missing: Sequence[float] = ()):
        self.tbl, self.prefix, self.recalibrated = tbl, prefix, recalibrated
        check_table(tbl)
        self.job = Job(tbl, model, noise, prior, refine, n_samples, seed, device, workers=workers,
                       columns=columns, unit=unit, missing=missing, distance=distance, error_floor=error_floor)
        self.family = self.job.model.family
        self.n_modes, self.registry, self.levels = _check_outputs(tbl, self.family, quantiles, n_modes, prefix)
        self.findings = self.job.ready.findings

    def describe(self) -> str:
        """Describe in one line how the table is read and inferred."""
        return _described(self.job.ready, self.job.settings)

    def run(self, progress: bool | None) -> Table:
        """Infer the rows and return a copy of the table with the results."""
        job, refine, taken = self.job, self.job.sampler.refined, None
        if self.recalibrated:
            taken = corrected_levels(job.model.card, self.levels, refine=refine)
        results = _empty_results(self.registry, len(self.tbl), self.n_modes)
        ascend = refine or self.family.likelihood is None

        def summary(at: slice, target: Target | NetworkTarget, draws: WeightedSamples) -> dict[str, np.ndarray]:
            """Summarize the draws of a chunk."""
            return summarize(draws, target, self.levels, self.n_modes, family=self.family, ascend=ascend, taken=taken)

        for rows, chunk in job.map_chunks(summary, progress):
            _put(results, rows, chunk)
        settings = replace(job.settings, recalibrated=self.recalibrated)
        return _completed(self.tbl, self.registry, results, self.prefix, job.ready, settings)


def _with_further_bands(family, tbl, columns, unit, missing):
    """Return the family including those of its further bands that are in the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # preparing the table issues the same warnings
        found = recognize(tbl, columns, unit=unit, missing=missing).bands
    further = [band for band in found if band in family.further_bands]
    return family.with_bands((*family.band_names, *further)) if further else family


class ExactInference:
    """`exact_posterior` in the two steps of `TableInference`."""

    def __init__(self, tbl: QTable, *, model: ModelLike | ModelFamily, noise: str | Noise | None,
                 quantiles: Sequence[float], n_modes: int, prior: str | None, error_floor: float | str | None,
                 distance: Any, columns: Mapping | None, prefix: str, seed: int, device: str | torch.device | None,
                 workers: int | None = None, n_simulations: int | None = None, unit: str | u.UnitBase | None = None,
                 missing: Sequence[float] = ()):
        self.tbl, self.prefix = tbl, prefix
        self.seed, self.device = whole_number("seed", seed, least=0, most=2**63 - 1), torch_device(device)
        self.workers = count_workers(workers, self.device)
        family = model if isinstance(model, ModelFamily) else find_family(model)
        path = _other_model(model, family)
        family = self.family = _with_further_bands(family, tbl, columns, unit, missing)
        self.prior = as_prior(prior, family)
        simulated = family.likelihood is None
        if not simulated and not can_sample(family.likelihood, self.prior):
            raise InputError(f"the model family {family.name!r} has no exact grid, which requires an amplitude and two "
                             "more parameters. Use a trained model instead")
        if not simulated and n_simulations is not None:
            raise InputError(f"the model family {family.name!r} has an exact grid and needs no simulations; omit "
                             "option:n-simulations")
        self.network = _network(model, self.device) if simulated else None
        wanted = _SIMULATIONS if n_simulations is None else n_simulations
        self.n_simulations = whole_number("n_simulations", wanted, least=_LEAST_SIMULATIONS) if simulated else None
        own = get_noise("lognormal") if simulated else family.likelihood.noise
        self.noise = own if noise is None else get_noise(noise)
        self.n_modes, self.registry, self.levels = _check_outputs(tbl, family, quantiles, n_modes, prefix,
                                                                  SIMULATED_COLUMNS if simulated else ())
        self.ready = prepare(tbl, family.band_names, self.noise, slots=family.filter_groups, at_least=family.min_bands,
                             covariates=family.covariates, optional=family.optional_covariates, columns=columns,
                             unit=unit, missing=missing, whole=not simulated, distance=distance,
                             error_floor=resolve_floor(error_floor, family))
        self.ready.add_doubts(family)
        self.findings = self.ready.findings
        self.settings = Settings(
            SIMULATIONS if simulated else EXACT_GRID, self.noise.name, self.prior.describe(), path=path,
            prior=self.prior.to_record(), error_floor=self.ready.error_floor, seed=self.seed,
            distance=None if distance is None else "", reading=_recorded_reading(columns=columns))

    def describe(self) -> str:
        """Describe in one line how the table is read and inferred."""
        return _described(self.ready, self.settings)

    def run(self, progress: bool | None) -> QTable:
        """Infer the rows and return a copy of the table with the results."""
        ready, results = self.ready, _empty_results(self.registry, len(self.tbl), self.n_modes)
        tasks, summary = self._by_grid() if self.n_simulations is None else self._by_simulation()
        with progress_bar(len(ready.rows), show=progress, desc=self.settings.model, unit="row") as bar:
            for (at, *_), chunk in zip(tasks, in_parallel(summary, tasks, self.workers), strict=True):
                _put(results, ready.rows[at.numpy()], chunk)
                bar.update(len(at))
        return _completed(self.tbl, self.registry, results, self.prefix, ready, self.settings)

    def _by_simulation(self):
        """Return the rows and a function that infers one of them with simulated objects."""
        ready, family, network = self.ready, self.family, self.network
        sampler = None if network is None else Sampler(network, noise=self.noise, prior=self.prior, seed=self.seed,
                                                       n_samples=_PROPOSED, given=bool(ready.known),
                                                       uncertain="distance_err" in ready.observed.covariates)

        def summary(task):
            """Summarize the draws of a chunk."""
            (at,) = task
            observed = ready.observed[at].to(dtype=torch.float32)
            target = NetworkTarget(observed, None, torch.zeros(1, 0), family, self.prior, self.noise)
            proposed = None
            if network is not None:
                conditions = encode_observations(ready.observed[at], network, self.noise)
                drawn = sampler(sampler.target(observed, conditions), conditions)
                proposed = drawn.all_of(0, "cpu") if torch.isfinite(drawn.theta).all() else None
            draws = sample_by_simulation(target, n_simulations=self.n_simulations, n_samples=_EXACT_DRAWS,
                                         seed=self.seed, proposed=proposed)
            numbers = {"log_evidence": draws.log_evidence.numpy(), "n_effective": draws.n_effective.numpy()}
            return numbers | summarize(draws, target, self.levels, self.n_modes, family=family, ascend=False)

        return [(at,) for at in torch.arange(len(ready.rows)).split(1)] if len(ready.rows) else [], summary

    def _by_grid(self):
        """Return chunks of rows with a method for each, and a function that applies it.

        Rows are integrated where the family can; the others use weighted draws from cells.
        """
        ready, device, family = self.ready, self.device, self.family.to(self.device)
        likelihood = family.likelihood.with_noise(self.noise)
        limited = ready.observed.limit.any(-1)
        quadrature = None if limited.all() else likelihood.quadrature(self.prior)
        integrated = torch.zeros_like(limited) if quadrature is None else ~limited
        points = sobol_points(_EXACT_DRAWS, len(family.parameters), self.seed).to(device)

        def integrate(observed, target):
            summary = quadrature.summarize(observed, self.levels, points)
            theta, one = summary.theta.float(), torch.ones(len(target), device=device)
            draws = WeightedSamples(theta, torch.full(theta.shape[:2], 1 / _EXACT_DRAWS, device=device),
                                    target.log_density(theta), one, summary.log_evidence, _EXACT_DRAWS * one,
                                    torch.zeros(len(target), dtype=torch.int32, device=device))
            return draws, (summary.quantiles, summary.mean, summary.entropy)

        def weigh(observed, target):
            return sample_by_cells(target, n_samples=_EXACT_DRAWS, seed=self.seed, target_ess=_EXACT_AIM), None

        def summary(task):
            """Summarize the draws of a chunk."""
            at, solve = task
            observed = ready.observed[at].to(device)
            target = Target(observed.to(dtype=torch.float32), likelihood, self.prior)
            draws, marginals = solve(observed, target)
            return summarize(draws, target, self.levels, self.n_modes, family=family, ascend=True, marginals=marginals)

        tasks = [(rows[at], solve)
                 for rows, solve, n_points in ((integrated.nonzero()[:, 0], integrate, _EXACT_DRAWS),
                                               ((~integrated).nonzero()[:, 0], weigh, MOST_CELLS))
                 for at in _split(len(rows), n_points, device)]
        return tasks, summary


def _network(model, device):
    """Return the model whose network proposes draws, or None for a family."""
    if isinstance(model, ModelFamily):
        return None
    try:
        return load_model(model, device=device)
    except ModelError:  # the name of a family
        return None


def _other_model(model, family):
    """Return the name of the model of the exact grid if its family is not that of `EXACT_MODEL`, else None."""
    usual = find_family(EXACT_MODEL)
    if (family.name, family.to_dict()) == (usual.name, usual.to_dict()):
        return None
    return f"family {family.name}" if isinstance(model, ModelFamily) else str(getattr(model, "name", model))


class Job:
    """A table, a model, and the settings of the inference."""

    def __init__(self, tbl: Table, model: ModelLike, noise: str | Noise | None, prior: Callable | Prior | str | None,
                 refine: bool | None, n_samples: int | None, seed: int, device: str | torch.device | None, *,
                 workers: int | None = None, size: int | None = None, **reading: Any):
        self.model = load_model(model, device=device)
        self.workers = count_workers(workers, self.model.device)
        card, family = self.model.metadata, self.model.family
        noise = get_noise(card.simulator.noise if noise is None else noise)
        if family.likelihood is None and noise.name != card.simulator.noise:
            raise InputError(f"the model {self.model.name} has no likelihood and supports {card.simulator.noise} noise "
                             "only; omit option:noise, or choose a model with a likelihood: "
                             f"option:model={EXACT_MODEL!r}")
        refine, tractable = refine is None or bool(refine), family.likelihood is not None
        asked = prior is not None
        prior = as_prior(prior, family)
        weighted = (refine and tractable) or prior is not family.prior or len(family.optional_covariates) > 0
        n_samples = whole_number("n_samples", card.n_samples if n_samples is None else n_samples,
                                 least=1 if size else 10)
        seed = whole_number("seed", seed, least=0, most=2**63 - 1)
        drawn = n_samples if size is None else _RESERVE * size if weighted else size
        bands, reading["error_floor"] = self.model.bands, resolve_floor(reading["error_floor"], family)
        self.ready = prepare(tbl, bands, noise, slots=self.model.filter_groups, at_least=self.model.min_bands,
                             whole=not self.model.takes_sets, covariates=family.covariates,
                             optional=family.optional_covariates, **reading)
        check_reach(self.ready, self.model, noise)
        self.ready.add_doubts(family)
        self.sampler = Sampler(self.model, noise=noise, prior=prior, refined=refine and tractable,
                               simulated=refine, n_samples=drawn, seed=seed, given=bool(self.ready.known),
                               uncertain="distance_err" in self.ready.observed.covariates)
        self.weighted = self.sampler.weighted
        elsewhere = not isinstance(model, Model) and model_stem(model).parent != MODELS_PATH
        self.settings = Settings(
            self.model.name, noise.name, prior.describe(), path=str(model_stem(model)) if elsewhere else None,
            sha256=card.sha256[:16], prior=prior.to_record() if asked else None,
            refine=refine, error_floor=self.ready.error_floor, seed=seed, n_samples=n_samples,
            distance=None if reading["distance"] is None else "", reading=_recorded_reading(columns=reading["columns"]))

    def map_chunks(self, function: Callable, progress: bool | None, points: int = 0,
                   draw: bool = True) -> Iterator[tuple[np.ndarray, Any]]:
        """Call ``function(at, target, draws)`` for successive chunks of rows, several in parallel.

        ``at`` is the slice of the chunk in ``ready.rows``; ``draws`` is None unless ``draw`` is True, and ``points`` is
        the number of other points per row.

        Yields
        ------
        rows : ndarray of int
            Rows of the table.
        result : object
            Result of the function, in row order.
        """
        tasks = _split(len(self.ready.rows), max(draw * self.sampler.n_samples, points), self.model.device)

        def call(at: slice) -> Any:
            """Draw for a chunk of rows and pass the draws to the function."""
            target, conditions = self.target(at)
            return function(at, target, self.sampler(target, conditions) if draw else None)

        with progress_bar(len(self.ready.rows), show=progress, desc="inferring", unit="row") as bar:
            for at, result in zip(tasks, in_parallel(call, tasks, self.workers), strict=True):
                yield self.ready.rows[at], result
                bar.update(at.stop - at.start)

    def conditions(self, at: slice) -> torch.Tensor:
        """Compute the network's conditions for a chunk of rows, on demand to save memory."""
        return encode_observations(self.ready.observed[at], self.model, self.sampler.noise)

    def target(self, at: slice) -> tuple[Target | NetworkTarget, torch.Tensor]:
        """Return the posterior density of a chunk of rows, and the network's conditions."""
        conditions = self.conditions(at)
        return self.sampler.target(self.ready.observed[at].to(self.model.device, torch.float32), conditions), conditions

    def orders(self, at: slice, n: int) -> torch.Tensor:
        """Return a random order of ``n`` draws for each row, different from those of other rows.

        Without it, the k-th draws of two clusters would be correlated, which affects every sum over clusters.
        """
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.sampler.seed)).to(self.model.device)
        turn = rotation(self.model.flow.standardize(self.conditions(at)), 1) * n
        return order[(torch.arange(n, device=order.device) + turn.long()) % n]


def _split(n_rows, points_per_row, device):
    """Return slices of rows to process at a time, limited by memory and shared evenly by two, four or eight workers.

    They do not depend on the number of workers, so the results are identical to the last digit.
    """
    number = -(-n_rows * points_per_row // max(conf.points_per_pass, points_per_row))
    if torch.device(device).type == "cpu" and number > 1:
        even = 2 ** (number - 1).bit_length() if number < _CHUNKS else -(-number // _CHUNKS) * _CHUNKS
        number = min(n_rows, even)
    bounds = [n_rows * i // max(1, number) for i in range(number + 1)]
    return [slice(*ends) for ends in pairwise(bounds)]


def _check_outputs(tbl, family, quantiles, n_modes, prefix, further=()):
    check_table(tbl)
    if not isinstance(prefix, str):
        raise InputError(f"option:prefix={shown(prefix)} must be a string, '' for none")
    levels = _check_quantiles(quantiles)
    registry = [*output_columns(levels, family), *further]
    _check_free(tbl, [prefix + c.name for c in registry])
    return whole_number("n_modes", n_modes, most=MOST_MODES), registry, levels


def _put(results, rows, chunk):
    for name, values in chunk.items():
        if name == "flag":
            results[name][rows] |= values
        else:
            results[name][rows] = values


def _leave_out_unknown(results):
    """Flag rows with a parameter whose mean or MAP is not finite, and remove all their results."""
    numbers = [values for name, values in results.items() if name.endswith(("_mean", "_map")) and name != "chi2_map"]
    inferred = (results["flag"] & flags.NOT_INFERRED) == 0
    unknown = inferred & ~np.all([np.isfinite(values) for values in numbers], axis=0)
    results["flag"][unknown] |= flags.NOT_INFERRED | flags.NUMBER_RANGE
    for name, values in results.items():
        if name not in ("flag", "n_bands"):
            values[unknown] = 0 if values.dtype.kind == "i" else np.nan


def _completed(tbl, registry, results, prefix, ready, settings):
    """Return a copy of the table with the results and their record."""
    results["flag"] |= ready.flag
    results["n_bands"][:] = ready.n_bands
    _leave_out_unknown(results)
    ready.observed = None  # no longer needed, and half as large as the results
    out = tbl.copy()
    if settings.distance is not None:  # given as an argument, so the table does not contain it
        settings = replace(settings, distance=free_column(tbl, prefix))
        out[settings.distance] = _as_column(DISTANCE_COLUMN, ready.covariates["distance"], type(out))
    for column in registry:
        out.add_column(_as_column(column, results.pop(column.name), type(out)), name=prefix + column.name, copy=False)
    out.meta.update(ready.recorded)
    add_record(out.meta, settings, prefix=prefix, before=tbl)
    out.meta.update(about(ready))
    return out


def _described(ready, settings):
    return f"{ready.description}; noise {settings.noise}; prior {settings.words}; model {settings.model}"


def about(ready: PreparedTable) -> dict[str, str]:
    """Return further entries of a table's meta."""
    known = {"CPKNOWN": "; ".join(f"{name}: {source}" for name, source in ready.known.items())} if ready.known else {}
    return {"CPVERS": __version__, "CPDIST": ready.sources.get("distance", ""), "CPLAYOUT": ready.layout, **known}


def _recorded_reading(columns):
    return {"columns": {band: list(names) for band, names in columns.items()}} if isinstance(columns, Mapping) else {}


def whole_number(name: str, value: int, least: int = 1, most: int | None = None) -> int:
    """Return an integer, or raise an `InputError` that names the option."""
    if not _is_whole(value) or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"option:{name.replace('_', '-')}={value!r} must be an integer {limits}")
    return int(value)


def float_type(dtype: str | type) -> np.dtype:
    """Return single or double precision, or raise an `InputError`."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in (np.dtype("float32"), np.dtype("float64")):
        raise InputError(f"option:dtype={dtype!r} must be 'float32' or 'float64'")
    return found


def _is_whole(value):
    try:
        return int(value) == value
    except (TypeError, ValueError, OverflowError):
        return False


def _check_quantiles(levels):
    try:
        levels = tuple(float(q) for q in np.atleast_1d(levels))
    except (TypeError, ValueError):
        raise InputError(f"option:quantiles={shown(levels)} must be numbers between 0 and 1, such as 0.16 for "
                         "16 %") from None
    bad = [q for q in levels if not 0 < q < 1]
    if bad or not levels or len(set(levels)) < len(levels):
        raise InputError(f"option:quantiles={levels!r} must be different numbers between 0 and 1, such as 0.16 "
                         "for 16 %")
    return levels


def _check_free(tbl, names):
    taken = [name for name in names if name in tbl.colnames]
    if taken:
        raise ColumnError(f"the table already has a column {taken[0]!r}"
                          + (f" (and {len(taken) - 1} more output columns)" if len(taken) > 1 else "")
                          + "; give option:prefix or remove them")


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
