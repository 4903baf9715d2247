"""One file in, one file out, whatever its size, and again after a kill."""

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

    The same as `~clusterpost.read_catalog`, `~clusterpost.infer_table` and
    `~clusterpost.write_catalog` one after the other, with no more rows in memory
    than a part has.

    Parameters
    ----------
    source : path
        A Parquet file.  Any other that `~clusterpost.read_catalog` reads is
        read whole, and then inferred and written in parts.
    target : path
        A Parquet file.  It appears once it is whole; until then its parts are
        in the folder ``<target>.parts``.
    columns, unit, missing, distance_source
        As for `~clusterpost.read_catalog`.
    exact : bool
        By `~clusterpost.exact_posterior` instead.
    where : str, optional
        Write only rows for which this expression of columns holds, such as ``"good and age_q50 < 10"``; see
        `~clusterpost.selection.select_rows`.
    flat : bool
        Write a column for each element of a column of arrays: ``age_mode1``, ``age_mode2``, ...
    overwrite : bool
        Replace a target that exists, once the new one is whole.
    rows_per_part : int
        Rows in memory, and those that a kill costs at most.
    progress : bool, optional
        Show a bar on standard error; by default on a terminal.
    **options
        Of `~clusterpost.infer_table`.

    Returns
    -------
    `~pathlib.Path`
        The target.

    Raises
    ------
    InputError
        As those three; if another process works on the same target; or if
        parts are there that were made with other options.

    Notes
    -----
    The catalog is read twice, first to check all of it before any long work.
    After a kill, the same call goes on with the parts that are missing, were
    damaged, or whose rows have changed.  Parts and target together need twice
    the room of the target on the disk for a while.

    Examples
    --------
    >>> import tempfile, clusterpost
    >>> from clusterpost.scale import infer_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clusterpost.write_catalog(clusterpost.simulate(3, seed=1), f"{folder}/in.parquet")
    ...     path = infer_file(f"{folder}/in.parquet", f"{folder}/out.parquet", n_samples=50)
    ...     out = clusterpost.read_catalog(path)
    >>> len(out), out["age_q50"].unit
    (3, Unit("Myr"))
    """
    target = Path(target)
    if target.suffix.lower() != ".parquet":
        raise InputError(f"{target}: parts are written as Parquet; name it {target.with_suffix('.parquet').name}, and "
                         "clusterpost.read_catalog and write_catalog make any other format of it")
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
