"""What is done to each piece of a catalog, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import InputError
from ..flow.modelfile import load_model
from ..infer import ExactInference, TableInference, exact_posterior, infer_table
from ..posterior.draws import base_points
from ..priors import as_prior
from .columns import sample, schema_of
from .pieces import Reading, open_source

__all__ = ["ROWS_PER_PART", "Work", "differences", "path_of", "plan_work"]

#: Rows that are inferred, written and, after a kill, at most lost together.
ROWS_PER_PART = 16384
_CALLS = {"infer_table": infer_table, "exact_posterior": exact_posterior}
_INFERENCES = {"infer_table": TableInference, "exact_posterior": ExactInference}
_NO_MATTER = ("progress", "device", "columns")


@dataclass(frozen=True)
class Work:
    """All that a process must know to do its share.

    Attributes
    ----------
    call : str
        ``infer_table`` or ``exact_posterior``.
    options : dict
        Its keyword arguments.
    size : int
        Rows of a part.
    identity : dict
        What makes results the same, in words.
    reading : Reading
    schema : pyarrow.Schema, optional
        Of the output.
    """

    call: str
    options: dict
    size: int
    identity: dict
    reading: Reading
    schema: object = None

    def on(self, tbl, start=0):
        """Infer a part of the catalog.

        Parameters
        ----------
        tbl : `~astropy.table.Table`
        start : int
            Its first row.

        Returns
        -------
        out : `~astropy.table.Table`
        findings : Findings
        """
        options = dict(self.options)
        if np.ndim(options.get("distance")):
            options["distance"] = options["distance"][start : start + len(tbl)]
        bound = inspect.signature(_CALLS[self.call]).bind(tbl, **options)
        bound.apply_defaults()
        bound.arguments.pop("progress")
        inference = _INFERENCES[self.call](**bound.arguments)
        return inference.run(progress=False), inference.findings

    def open(self, path):
        """The catalog at this path, in pieces.

        Parameters
        ----------
        path : path

        Returns
        -------
        ParquetSource or TableSource
        """
        return open_source(path, self.size, self.reading)

    def mark(self, piece_digest):
        """What the record of a part says if it was made from this piece by this work.

        Parameters
        ----------
        piece_digest : str

        Returns
        -------
        str
        """
        said = json.dumps([self.identity, self.reading.digest, piece_digest], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def read_with(self, reading):
        """The same work, with rows read like this.

        Parameters
        ----------
        reading : Reading

        Returns
        -------
        Work
        """
        return replace(self, reading=reading)

    def written_as(self, frame):
        """The same work, knowing the columns of its output.

        Parameters
        ----------
        frame : `~astropy.table.Table`
            A few rows that show all columns of the whole table.

        Returns
        -------
        Work
        """
        options = self.options
        if np.ndim(options.get("distance")):
            options = {**options, "distance": options["distance"][: len(frame)]}
        out, _ = replace(self, options=options).on(frame)
        return replace(self, schema=schema_of(sample(out)))

    def check_here(self):
        """Stop where this process would give other results.

        Raises
        ------
        InputError
            If its clusterpost or its model is another.
        """
        here = _identity(self.call, self.options, self.size, self.reading)
        if here != self.identity:
            raise InputError(f"this worker would not give the same results ({differences(self.identity, here)}); "
                             "install the same clusterpost and models everywhere")


def plan_work(options, *, columns, distance_source, exact, rows_per_part):
    """Check the options of a user and say what is to be done.

    Parameters
    ----------
    options : dict
        Of `~clusterpost.infer_table` or `~clusterpost.exact_posterior`.
    columns, distance_source, exact, rows_per_part
        As of `~clusterpost.scale.infer_file`.

    Returns
    -------
    Work
    """
    call = "exact_posterior" if exact else "infer_table"
    inspect.signature(_CALLS[call]).bind(None, **options)  # a TypeError names what is unknown
    if int(rows_per_part) != rows_per_part or rows_per_part < 1:
        raise InputError(f"rows_per_part={rows_per_part!r} must be a whole number of at least 1")
    size, reading = int(rows_per_part), Reading(columns, distance_source)
    return Work(call, dict(options), size, _identity(call, options, size, reading), reading)


def _identity(call, options, size, reading):
    bound = inspect.signature(_CALLS[call]).bind(None, **options)
    bound.apply_defaults()
    said = {name: _in_words(value) for name, value in bound.arguments.items() if name not in ("tbl", *_NO_MATTER)}
    if call == "infer_table":
        said["model"] = load_model(bound.arguments["model"], device="cpu").card["sha256"]
    if bound.arguments["prior"] is not None:
        said["prior"] = _prior_in_words(bound.arguments["prior"])
    said |= {"columns": _in_words(reading.columns), "distance_source": reading.distance_source}
    return json.loads(json.dumps({"call": call, "rows_per_part": size, "version": __version__, **said}))


def _in_words(value):
    """Something that JSON can hold and that differs where the value does."""
    if np.ndim(value):
        numbers = np.asarray(getattr(value, "value", value))
        if numbers.size > 16:
            digest = hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()[:16]
            return f"{numbers.size} values {digest} {getattr(value, 'unit', '')}"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _prior_in_words(prior):
    """Its description and, as that says little of a function, its density at a thousand points."""
    prior = as_prior(prior)
    low, high = prior.low.double(), prior.high.double()
    points = low + (high - low) * base_points(1024, len(low), 0).double()
    density = prior.log_prob(points.float()).double().numpy()
    return f"{prior.describe()} {hashlib.sha256(density.tobytes()).hexdigest()[:16]}"


def differences(before, now):
    """Where two identities differ, in words.

    Parameters
    ----------
    before, now : dict

    Returns
    -------
    str
    """
    return ", ".join(f"{name}: {before.get(name)} then, {now.get(name)} now" for name in {**before, **now}
                     if before.get(name) != now.get(name))


def path_of(target):
    """An output that can be written in parts.

    Parameters
    ----------
    target : path

    Returns
    -------
    `~pathlib.Path`
    """
    path = Path(target)
    if path.suffix.lower() != ".parquet":
        raise InputError(f"{path}: parts are written as Parquet; name it {path.with_suffix('.parquet').name}, and "
                         "clusterpost.read_catalog and write_catalog make any other format of it")
    return path
