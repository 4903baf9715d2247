"""One file in, one file out, whatever its size, and again after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..catalogs.writer import check_writable
from ..errors import DistanceError, InputError
from ..photometry import Photometry
from ..utils import progress_bar
from .columns import join_samples, sample
from .parts import run
from .pieces import ParquetSource
from .witnesses import with_witnesses
from .work import ROWS_PER_PART, path_of, plan_work

__all__ = ["infer_file"]


def infer_file(source, target, *, columns=None, distance_source=None, exact=False, overwrite=False,
               rows_per_part=ROWS_PER_PART, progress=None, **options) -> Path:
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
    columns, distance_source
        As for `~clusterpost.read_catalog`.
    exact : bool
        By `~clusterpost.exact_posterior` instead.
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
    target = path_of(target)
    check_writable(target, overwrite=overwrite)
    work = plan_work(options, columns=columns, distance_source=distance_source, exact=exact,
                     rows_per_part=rows_per_part)
    catalog = work.open(source)
    if isinstance(catalog, ParquetSource):
        work = work.read_with(with_witnesses(work.reading, [catalog]))
    check_distances(work, catalog.n_rows)
    with progress_bar(catalog.n_rows, show=progress, desc="checking", unit="row") as bar:
        frame, digests = survey(work, catalog, bar.update)
    run(work.written_as(frame), catalog, target, digests, progress=progress)
    return target


def survey(work, catalog, report=lambda n: None):
    """Read a whole catalog without inferring it: whatever is wrong with it shows now.

    Parameters
    ----------
    work : Work
    catalog : ParquetSource or TableSource
    report : callable, optional
        Told how many rows more were read.

    Returns
    -------
    frame : `~astropy.table.Table`
        A few rows that show all columns.
    digests : list of str
        Of its pieces.
    """
    if catalog.n_rows == 0:
        raise InputError(f"{catalog.path}: the table has no rows; give one with at least one cluster")
    frame, digests = None, []
    for piece in catalog.pieces():
        tbl = piece.read(work.reading)
        with piece.messages():
            distance = work.options.get("distance")
            if np.ndim(distance):
                distance = distance[piece.start : piece.start + len(tbl)]
            Photometry.of_rows(tbl, distance=distance, error_floor=work.options.get("error_floor", 0.05))
            frame = sample(tbl) if frame is None else join_samples(frame, sample(tbl))
        digests.append(piece.digest)
        report(len(tbl))
    return frame, digests


def check_distances(work, n_rows):
    """Distances given for each row must be as many as the rows.

    Parameters
    ----------
    work : Work
    n_rows : int
    """
    distance = work.options.get("distance")
    if np.ndim(distance) and len(distance) != n_rows:
        raise DistanceError(f"distance= has {len(distance)} values for {n_rows} rows; give one, or one per row")
