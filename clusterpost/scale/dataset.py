"""A folder of Parquet files on a Dask cluster: one file is one task, and its output appears whole."""

from __future__ import annotations

import contextlib
import json
import os
from functools import reduce
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..findings import Findings
from ..utils import progress_bar, require
from . import hats
from .columns import join_samples
from .parts import finished, run
from .pieces import ParquetSource
from .stream import survey
from .witnesses import with_witnesses
from .work import ROWS_PER_PART, differences, plan_work

__all__ = ["infer_dataset", "read_column"]

_RECORD, _DONE = ".clusterpost.json", "_SUCCESS"


def infer_dataset(source, target, client=None, *, columns=None, distance_source=None, exact=False,
                  rows_per_part=ROWS_PER_PART, progress=None, **options) -> Path:
    """Infer a partitioned catalog on the workers of a Dask cluster.

    Parameters
    ----------
    source : path
        A folder of Parquet files, in folders of their own or not, that together
        are one table; or a HATS catalog or collection, for which LSDB must be
        installed.  The workers see it under the same path.
    target : path
        A folder: for each file of the source one of the same name, which
        appears once it is whole, and at last an empty file ``_SUCCESS``.
    client : `distributed.Client` or str, optional
        A client, or the address of a scheduler.  By default the client that
        there is, or else a cluster of the cores of this machine.
    columns, distance_source, exact, rows_per_part
        As for `~clusterpost.scale.infer_file`.
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
        As `~clusterpost.scale.infer_file`; also if the target holds anything else.

    Notes
    -----
    A worker that is lost costs the part that it was at: another takes its file
    up where it was.  The same call again goes on with the files that are missing.
    All files are looked at before the first is inferred, so that a table of
    them all would give the same.

    Examples
    --------
    >>> from clusterpost.scale import infer_dataset
    >>> infer_dataset("mocks/", "posteriors/", "tcp://scheduler:8786")  # doctest: +SKIP
    """
    source, target = hats.catalog_of(source), Path(target)
    if np.ndim(options.get("distance")):
        raise InputError("the files of a dataset cannot share an array distance=; add a column 'distance'")
    work = plan_work(options, columns=columns, distance_source=distance_source, exact=exact,
                     rows_per_part=rows_per_part)
    root = hats.data_folder(source)
    files = _files(root)
    _claim(target, work)
    catalogs = [ParquetSource(file, work.size) for file in files]
    work = work.read_with(with_witnesses(work.reading, catalogs))
    places = [target / file.relative_to(source) for file in files]
    rows = [catalog.n_rows for catalog in catalogs]
    del catalogs
    with _connected(client) as client:
        with progress_bar(sum(rows), show=progress, desc="checking", unit="row") as bar:
            tasks = {client.submit(_survey, work, file, pure=False): i for i, file in enumerate(files)}
            frames = _gather(tasks, lambda i, _: bar.update(rows[i]))
        work = work.written_as(reduce(join_samples, (frame for frame, _ in frames if frame is not None)))
        with progress_bar(sum(rows), show=progress, desc="inferring", unit="row") as bar:
            tasks = {client.submit(_infer, work, file, place, digests, pure=False): i
                     for i, (file, place, (_, digests)) in enumerate(zip(files, places, frames, strict=True))
                     if digests}
            results = _gather(tasks, lambda i, _: bar.update(rows[i]), len(files))
    total = Findings()
    for findings in results:
        total += findings or Findings()
    total.raise_or_warn()
    hats.complete(source, target)
    (target / _DONE).touch()
    return target


def read_column(path, name):
    """One column of a file or dataset of any size.

    Parameters
    ----------
    path : path
        Of a Parquet file, or a folder of them.
    name : str

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from clusterpost.scale import read_column
    >>> flag = read_column("posteriors/", "flag")  # doctest: +SKIP
    """
    parquet, path = require("pyarrow.parquet", "scale"), Path(path)
    files = _files(path) if path.is_dir() else [path]
    return np.concatenate([parquet.read_table(file, columns=[name], partitioning=None)[name].to_numpy()
                           for file in files])


def _survey(work, file):
    """On a worker: read one file and see that it can be inferred."""
    work.check_here()
    catalog = ParquetSource(file, work.size)
    return survey(work, catalog) if catalog.n_rows else (None, [])


def _infer(work, file, place, digests):
    """On a worker: infer one file, if that is not done."""
    findings = finished(work, place, digests)
    if findings is None:
        place.parent.mkdir(parents=True, exist_ok=True)
        findings = run(work, ParquetSource(file, work.size), place, digests, whole=False, progress=False, wait=True)
    return findings


def _files(root):
    """The data files of a folder; those that begin with . or _ are about them."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder; give one that holds Parquet files, or infer a single file with "
                         "clusterpost.scale.infer_file")
    inside = [file for file in sorted(root.rglob("*.parquet"))
              if not any(part.startswith((".", "_")) or part.endswith(".parts") for part in
                         file.relative_to(root).parts)]
    if not inside:
        raise InputError(f"{root} holds no Parquet files")
    return inside


def _claim(target, work):
    """Make the folder, or see that what is there is of the same job."""
    target.mkdir(parents=True, exist_ok=True)
    record = target / _RECORD
    if record.exists():
        before = json.loads(record.read_text())
        if before != work.identity:
            raise InputError(f"{target} holds results of another run ({differences(before, work.identity)}); go on "
                             "with the same options, or give another folder")
        return
    if any(target.iterdir()):
        raise InputError(f"{target} is not empty; give a folder that is, or that does not exist")
    fresh = target / f"{_RECORD}.new"
    fresh.write_text(json.dumps(work.identity, indent=1))
    os.replace(fresh, record)


@contextlib.contextmanager
def _connected(client):
    distributed = require("distributed", "scale")
    if client is None:
        with contextlib.suppress(ValueError):
            client = distributed.default_client()
    if client is None:
        with (distributed.LocalCluster(threads_per_worker=1, dashboard_address=None) as cluster,
              distributed.Client(cluster) as own):
            yield own
    elif isinstance(client, str):
        with distributed.Client(client) as own:
            yield own
    else:
        yield client


def _gather(tasks, report, n=None):
    """The results of all tasks in order; the first error ends them."""
    distributed = require("distributed", "scale")
    results = [None] * (len(tasks) if n is None else n)
    try:
        for future, result in distributed.as_completed(tasks, with_results=True):
            results[tasks[future]] = result
            report(tasks[future], result)
            future.release()
    finally:
        for future in tasks:
            future.cancel()
    return results
