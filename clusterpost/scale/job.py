"""Inference jobs: options, and the identity and fingerprints for resuming."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from .. import __version__
from ..config import conf
from ..errors import ColumnError, DistanceError, InputError, InputWarning
from ..families import ModelFamily
from ..findings import Findings, warn_of_improbable
from ..flow.modelfile import find_family, load_model
from ..infer import exact_posterior, infer_table
from ..inference import ExactInference, TableInference
from ..posterior.draws import sobol_points
from ..priors import as_prior
from .output import join_samples, sample, schema_of
from .reading import Reading
from .selected import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .chunks import Chunk, ParquetSource

__all__ = ["ROWS_PER_PART", "Job", "Survey", "differences", "join_surveys", "plan_job"]

_log = logging.getLogger("clusterpost")
#: Rows that are inferred and written together, and at most lost after a kill.
ROWS_PER_PART = 8192
_CALLS = {"infer_table": (infer_table, TableInference), "exact_posterior": (exact_posterior, ExactInference)}
# Options that do not affect the numbers, or that the reading options include.
_WITHOUT_EFFECT = ("progress", "device", "workers", "columns", "unit", "missing")


@dataclass(frozen=True)
class Survey:
    """Facts from a first reading of all rows of a source.

    Attributes
    ----------
    sample : `~astropy.table.Table` or None
        A few rows that define the format of all columns; None without rows.
    digests : tuple of str
        Digests of the chunks.
    findings : Findings
    warnings : tuple of InputWarning
    description : str
        One-line description of the reading and inference of the first rows.
    n_rows, n_wanted : int
        Number of rows, and of rows that may be written.
    """

    sample: object
    digests: tuple
    findings: Findings
    warnings: tuple = ()
    description: str = ""
    n_rows: int = 0
    n_wanted: int = 0

    def raise_or_warn(self) -> None:
        """Raise or warn for the findings and repeat the warnings of reading, and report how rows are inferred."""
        for warning in self.warnings:
            warnings.warn(warning, stacklevel=3)
        self.findings.raise_or_warn(stacklevel=4)
        if not self.n_wanted:
            raise InputError(f"none of the {self.n_rows} rows satisfies the expression that was given (option:where)")
        _log.info(self.description)


def join_surveys(surveys: Sequence[Survey]) -> Survey:
    """Return the combined survey of several files, of which only the findings are used."""
    return Survey(None, (), sum((survey.findings for survey in surveys), Findings()),
                  tuple(warning for survey in surveys for warning in survey.warnings),
                  next((survey.description for survey in surveys if survey.description), ""),
                  sum(survey.n_rows for survey in surveys), sum(survey.n_wanted for survey in surveys))


@dataclass(frozen=True)
class Job:
    """Settings that a process needs to infer its chunks.

    Attributes
    ----------
    call : str
        ``infer_table`` or ``exact_posterior``.
    options : dict
        All its keyword arguments.
    size : int
        Number of rows per chunk.
    identity : dict
        Dependencies of the numbers other than the rows, as text.
    reading : Reading
    selection : Selection
        Selection and format of the written rows.
    schema : pyarrow.Schema, optional
        Schema of the output.
    """

    call: str
    options: dict
    size: int
    identity: dict
    reading: Reading
    selection: Selection
    schema: object = None

    def survey(self, source: ParquetSource, report: Callable = lambda n: None) -> Survey:
        """Read and check all rows without inference, and call ``report`` with the number of new rows."""
        self._check_distances(source)
        columns, digests, findings, told, description, wanted = None, [], Findings(), {}, "", []
        for chunk in source.chunks():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                tbl, missing = self.reading(chunk, source.path)
                counted = tuple((band, *found) for band, counts in missing.items() for found in counts.items())
                prepared = self._prepared(tbl, chunk.start, source.path)
                findings += prepared.findings.moved(chunk.start)
                description = description or prepared.describe()
                findings += Findings(sentinels=counted)
            for warning in (record.message for record in caught):
                told.setdefault(str(warning.args[0]), _moved(warning, chunk.start))
            rows = self.selection.of_input(tbl)
            wanted.append(len(tbl) if rows is None else int(rows.sum()))
            columns = sample(tbl) if columns is None else join_samples(columns, sample(tbl))
            digests.append(chunk.digest)
            report(len(tbl))
        return Survey(columns, tuple(digests), findings, tuple(told.values()), description, source.n_rows, sum(wanted))

    def infer(self, source: ParquetSource, chunk: Chunk) -> Table:
        """Infer the rows of one chunk of a source and return the rows to write."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # the survey has warned
            tbl = self.reading(chunk, source.path)[0]
            wanted = None if np.ndim(self.options["distance"]) else self.selection.of_input(tbl)
            if wanted is not None and not wanted.all():
                tbl = tbl[wanted] if wanted.any() else tbl[:1]
            out = self._prepared(tbl, chunk.start, source.path).run(progress=False)
            return self.selection(out, self.options["prefix"])

    def _prepared(self, tbl, start=0, path=""):
        options = dict(self.options)
        if np.ndim(options["distance"]):
            options["distance"] = options["distance"][start : start + len(tbl)]
        try:
            return _CALLS[self.call][1](tbl, **options)
        except InputError as error:
            raise error.moved(f"{path}: ", start) from None

    def _check_distances(self, source):
        distance = self.options["distance"]
        if np.ndim(distance) and len(distance) != source.n_rows:
            raise DistanceError(f"option:distance has {len(distance)} values for {source.n_rows} rows; give one, "
                                "or one per row")

    def fingerprint(self, digest: str) -> str:
        """Return a fingerprint of results of this job from rows with this digest."""
        said = json.dumps([self.identity, repr(self.reading.understood), digest], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def writing(self, columns: Table) -> Job:
        """Return the same job with the schema of the output, from sample rows of the table."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            return replace(self, schema=self._schema(columns))

    def _schema(self, columns):
        out = self._prepared(columns).run(progress=False)
        self.selection(out, self.options["prefix"])
        return schema_of(sample(self.selection.flat_or_not(out)))

    def warn_of_improbable(self, read_column: Callable) -> None:
        """Warn if most results are improbable; ``read_column`` returns a column or raises a `ColumnError`."""
        prefix, family = self.options["prefix"], _family(self.call, self.options["model"])
        names = [f"{prefix}flag", *(f"{prefix}{p.column}_q50" for p in family.parameters)]
        columns = {}
        for name in names:
            with contextlib.suppress(ColumnError):
                columns[name] = read_column(name)
        warn_of_improbable(Table(columns), family.parameters, prefix, stacklevel=4)

    def check_here(self) -> None:
        """Raise if this process has a different clusterpost or model, and would give different results."""
        here = _identity(self.call, self.options, self.size, self.reading, self.selection)
        if here != self.identity:
            raise InputError(f"this worker would not give the same results ({differences(self.identity, here)}); "
                             "install the same clusterpost and models everywhere")


def _moved(warning, start):
    """Return a warning with the row number in the whole file."""
    if getattr(warning, "row", None) is None:
        return warning
    return InputWarning(warning.args[0], row=warning.row + start)


def _family(call, model):
    if call == "infer_table":
        return load_model(model, device="cpu").family
    return model if isinstance(model, ModelFamily) else find_family(model)


def plan_job(options: dict[str, Any], *, reading: dict[str, Any], exact: bool, rows_per_part: int,
             where: str | None = None, flat: bool = False) -> Job:
    """Check the options of `~clusterpost.scale.infer_file` and return a job."""
    call = "exact_posterior" if exact else "infer_table"
    bound = inspect.signature(_CALLS[call][0]).bind(None, **options)  # a TypeError names unknown options
    bound.apply_defaults()
    options = {name: value for name, value in bound.arguments.items() if name not in ("tbl", "progress")}
    if options["model"] == "default":  # by name, because other processes have their own settings
        options["model"] = conf.default_model
    if int(rows_per_part) != rows_per_part or rows_per_part < 1:
        raise InputError(f"option:rows-per-part={rows_per_part!r} must be a whole number of at least 1")
    size, reading = int(rows_per_part), Reading(reading)
    selection = Selection(where, bool(flat))
    return Job(call, options, size, _identity(call, options, size, reading, selection), reading, selection)


def _identity(call, options, size, reading, selection):
    said = {name: _in_words(value) for name, value in options.items() if name not in _WITHOUT_EFFECT}
    if call == "exact_posterior":  # depends only on the family of a model
        family = _family(call, options["model"])
        said["model"] = f"{family.name} {family.version} {json.dumps(family.to_dict(), sort_keys=True)}"
    else:
        said["model"] = load_model(options["model"], device="cpu").metadata.sha256
    if options["prior"] is not None:
        said["prior"] = _prior_in_words(options["prior"], _family(call, options["model"]))
    said |= {name: _in_words(value) for name, value in reading.options.items()} | selection.identity
    return json.loads(json.dumps({"call": call, "rows_per_part": size, "version": __version__, **said}))


def _in_words(value):
    """Return a JSON value that identifies the value."""
    if np.ndim(value):
        numbers = np.asarray(getattr(value, "value", value))
        if numbers.size > 16:
            digest = hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()[:16]
            return f"{numbers.size} values {digest} {getattr(value, 'unit', '')}"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _prior_in_words(prior, family):
    """Return a description of a prior with a hash of its density at a thousand points, which identifies functions."""
    prior = as_prior(prior, family)
    low, high = prior.low.double(), prior.high.double()
    points = low + (high - low) * sobol_points(1024, len(low), 0).double()
    density = prior.log_prob(points.float()).double().numpy()
    return f"{prior.describe()} {hashlib.sha256(density.tobytes()).hexdigest()[:16]}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the differences of two identities, as text."""
    return ", ".join(f"{name}: {before.get(name)} then, {now.get(name)} now" for name in {**before, **now}
                     if before.get(name) != now.get(name))
