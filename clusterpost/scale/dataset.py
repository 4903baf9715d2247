"""Inference of a folder of Parquet files on a Dask cluster, with one task per file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..typing import PathLike
from ..utils import progress_bar, require
from . import hats
from .checkpoints import claim, run
from .chunks import ParquetSource, data_files, read_column
from .job import ROWS_PER_PART, join_surveys, plan_job
from .output import join_samples
from .reading import read_as_one

__all__ = ["infer_dataset"]

_RECORD, _DONE = ".clusterpost.json", "_SUCCESS"


def infer_dataset(source: PathLike, target: PathLike, client: Any = None, *, columns: Mapping | None = None,
                  unit: Any = None, missing: Sequence[float] = (), distance_source: str | None = None,
                  exact: bool = False, where: str | None = None, flat: bool = False, rows_per_part: int = ROWS_PER_PART,
                  progress: bool | None = None, **options: Any) -> Path:
    """Infer a partitioned catalog on the workers of a Dask cluster.

    Parameters
    ----------
    source : path
        Folder of Parquet files, with or without subfolders, that together are one
        table; or a HATS catalog or collection, which needs LSDB.  Workers must
        see it under the same path.
    target : path
        Output folder, with one file of the same name per file of the source, each
        created once it is complete, and finally an empty file ``_SUCCESS``.
    client : `distributed.Client` or str, optional
        Client, or address of a scheduler.  By default the existing client, or
        otherwise a cluster of the cores of this machine.
    columns, unit, missing, distance_source, exact, where, flat, rows_per_part
        As for `~clusterpost.scale.infer_file`.
    progress : bool, optional
        Whether to show a progress bar on standard error; by default on a terminal.
    **options
        Options of `~clusterpost.infer_table`; by default ``workers=1``, because Dask has its own workers.

    Returns
    -------
    `~pathlib.Path`
        The target.

    Raises
    ------
    InputError
        As for `~clusterpost.scale.infer_file`, or if the target holds other files,
        or source and target are nested.

    Notes
    -----
    If a worker is lost, only its current part is lost: another worker resumes its
    file.  Repeating the same call resumes with the missing files.
    All files are checked before the first is inferred, so results are the same as
    for one table of all files.

    Examples
    --------
    >>> from clusterpost.scale import infer_dataset
    >>> infer_dataset("mocks/", "posteriors/", "tcp://scheduler:8786")  # doctest: +SKIP
    """
    source, target = hats.catalog_of(source), Path(target)
    if np.ndim(options.get("distance")):
        raise InputError("option:distance with several numbers cannot be used for the files of a dataset; add a "
                         "column 'distance'")
    reading = {"columns": columns, "unit": unit, "missing": missing, "distance_source": distance_source}
    job = plan_job({"workers": 1, **options}, reading=reading, exact=exact, rows_per_part=rows_per_part,
                   where=where, flat=flat)
    root = hats.data_folder(source)
    files = data_files(root)
    _check_folders(source, target)
    target.mkdir(parents=True, exist_ok=True)
    claim(target / _RECORD, job, target)
    catalogs = [ParquetSource(file, job.size) for file in files]
    rows = [catalog.n_rows for catalog in catalogs]
    if not any(rows):
        raise InputError(f"{root}: the table has no rows; give one with at least one cluster")
    job = replace(job, reading=read_as_one(job.reading, catalogs))
    del catalogs
    with _connected(client) as client:
        with progress_bar(sum(rows), show=progress, desc="checking", unit="row") as bar:
            surveys = _on_workers(client, _survey, [(job, file) for file in files], lambda i: bar.update(rows[i]))
        join_surveys(surveys).raise_or_warn()
        job = job.writing(reduce(join_samples, (survey.sample for survey in surveys if survey.sample is not None)))
        tasks = [(job, file, target / file.relative_to(source), survey.digests)
                 for file, survey in zip(files, surveys, strict=True)]
        with progress_bar(sum(rows), show=progress, desc="inferring", unit="row") as bar:
            _on_workers(client, _infer, tasks, lambda i: bar.update(rows[i]))
    hats.complete(source, target)
    job.warn_of_improbable(lambda name: read_column(target, name))
    (target / _DONE).touch()
    return target


def _survey(job, file):
    """Read and check one file, on a worker."""
    job.check_here()
    survey = job.survey(ParquetSource(file, job.size))
    return replace(survey, findings=survey.findings.moved(0, f"{file}: "))


def _infer(job, file, place, digests):
    """Infer one file unless it is finished, on a worker."""
    if digests:
        place.parent.mkdir(parents=True, exist_ok=True)
        run(job, ParquetSource(file, job.size), place, digests, progress=False, wait=True)


def _check_folders(source, target):
    """Raise if the results would be inside the source, contain it, or mix with other files."""
    inner, outer = target.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise InputError(f"{target} and {source} are inside one another; name a folder outside of the other for the "
                         "results")
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is not a folder; name a folder for the results")
    if target.exists() and not (target / _RECORD).exists() and any(target.iterdir()):
        raise InputError(f"{target} is not empty; give an empty or new folder")


@contextlib.contextmanager
def _connected(client):
    distributed = require("distributed", "scale")
    if client is None:
        with contextlib.suppress(ValueError):
            client = distributed.default_client()
    if client is None:
        with (distributed.LocalCluster(threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
              distributed.Client(cluster) as own):
            yield own
    elif isinstance(client, str):
        with distributed.Client(client) as own:
            yield own
    else:
        yield client


def _on_workers(client, function, tasks, report):
    """Call a function on the workers for each task and return the results in order, or raise the first error."""
    distributed = require("distributed", "scale")
    results = [None] * len(tasks)
    futures = {client.submit(function, *task, pure=False): i for i, task in enumerate(tasks)}
    try:
        for future, result in distributed.as_completed(futures, with_results=True):
            results[futures[future]] = result
            report(futures[future])
            future.release()
    finally:
        for future in futures:
            future.cancel()
    return results
