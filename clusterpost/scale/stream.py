"""Inference of one file of any size into another, resumable after a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..typing import PathLike
from ..utils import check_target, progress_bar
from .checkpoints import run
from .chunks import ParquetSource, open_source, read_column
from .job import ROWS_PER_PART, plan_job
from .reading import read_as_one

__all__ = ["infer_file"]


def infer_file(source: PathLike, target: PathLike, *, columns: Mapping | None = None, unit: Any = None,
               missing: Sequence[float] = (), distance_source: str | None = None, exact: bool = False,
               where: str | None = None, flat: bool = False, overwrite: bool = False,
               rows_per_part: int = ROWS_PER_PART, progress: bool | None = None, **options: Any) -> Path:
    """Infer a catalog of any size from file to file.

    The result is the same as of `~clusterpost.read_catalog`,
    `~clusterpost.infer_table` and `~clusterpost.write_catalog`, with only the rows
    of one part in memory.

    Parameters
    ----------
    source : path
        Parquet file.  Other files that `~clusterpost.read_catalog` supports are
        read whole, and then inferred and written in parts.
    target : path
        Parquet file, created once it is complete; until then, its parts are in
        the folder ``<target>.parts``.
    columns, unit, missing, distance_source
        As for `~clusterpost.read_catalog`.
    exact : bool
        Whether to use `~clusterpost.exact_posterior` instead.
    where : str, optional
        Expression of columns that selects the rows to write, such as ``"good and age_q50 < 10"``; see
        `~clusterpost.selection.select_rows`.
    flat : bool
        Whether to write one column for each element of a column of arrays: ``age_mode1``, ``age_mode2``, ...
    overwrite : bool
        Whether to replace an existing target, once the new one is complete.
    rows_per_part : int
        Number of rows in memory, and at most lost after a kill.
    progress : bool, optional
        Whether to show a progress bar on standard error; by default on a terminal.
    **options
        Options of `~clusterpost.infer_table`.

    Returns
    -------
    `~pathlib.Path`
        The target.

    Raises
    ------
    InputError
        As for those three functions, or if another process works on the same
        target, or existing parts were made with other options.

    Notes
    -----
    The catalog is read twice, first to check all rows before any long computation.
    After a kill, the same call resumes with parts that are missing, damaged, or
    from changed rows.  Parts and target together temporarily need twice the disk
    space of the target.

    Examples
    --------
    >>> import tempfile, clusterpost
    >>> from clusterpost.scale import infer_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clusterpost.write_catalog(clusterpost.simulate(3, seed=1),
    ...                               f"{folder}/in.parquet")
    ...     path = infer_file(f"{folder}/in.parquet", f"{folder}/out.parquet",
    ...                       n_samples=50)
    ...     out = clusterpost.read_catalog(path)
    >>> len(out), out["age_q50"].unit
    (3, Unit("Myr"))
    """
    target = Path(target)
    if target.suffix.lower() != ".parquet":
        raise InputError(f"{target}: parts are written as Parquet; name it {target.with_suffix('.parquet').name}; "
                         "clusterpost.read_catalog and write_catalog convert it to other formats")
    check_target(target, overwrite=overwrite)
    reading = {"columns": columns, "unit": unit, "missing": missing, "distance_source": distance_source}
    job = plan_job(options, reading=reading, exact=exact, rows_per_part=rows_per_part, where=where,
                   flat=flat)
    catalog = open_source(source, job.size, reading)
    if catalog.n_rows == 0:
        raise InputError(f"{catalog.path}: the table has no rows; give one with at least one cluster")
    if isinstance(catalog, ParquetSource):
        job = replace(job, reading=read_as_one(job.reading, [catalog]))
    with progress_bar(catalog.n_rows, show=progress, desc="checking", unit="row") as bar:
        survey = job.survey(catalog, bar.update)
    survey.raise_or_warn()
    run(job.writing(survey.sample), catalog, target, survey.digests, progress=progress)
    job.warn_of_improbable(lambda name: read_column(target, name))
    return target
