"""From Parquet to Parquet: rows a second and memory of one process, and Dask with one and with two workers.

Run ``python streams.py FOLDER MODEL ROWS`` for the one process.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Table
from growth import from_a_process, many_mocks

SCALES = {"small": {"rows": {"any_bands": 60}, "files": 2, "of_a_file": 20, "repeats": 1},
          "full": {"rows": {"any_bands": 30_000, "stochastic": 9000}, "files": 4, "of_a_file": 1500, "repeats": 3}}
_MODEL = "any_bands"  # of the comparison of Dask workers


def streams(scale):
    """Tables ``stream`` and ``dask``.

    ``ratio`` is the time with one Dask worker over that with several, the median of pairs run one right after the
    other.
    """
    size = SCALES[scale]
    with tempfile.TemporaryDirectory() as folder:
        stream = Table(rows=[from_a_process(__file__, folder, model, n) for model, n in size["rows"].items()])
        dask = _dask(Path(folder), size)
    stream["peak"].unit = stream["before"].unit = "MB"
    stream["seconds"].unit = dask["seconds"].unit = "s"
    for table in (stream, dask):
        table.meta.update({"scale": scale, "repetitions": size["repeats"]})
    return {"stream": stream, "dask": dask}


def _catalog(path, n):
    many_mocks(n).write(path, overwrite=True)
    return path


def _stream(folder, model, n):
    from machine import peak_rss_mb, timed

    from clusterpost.scale import infer_file

    few, many = _catalog(folder / "few.parquet", 5), _catalog(folder / "many.parquet", n)

    def infer(path):
        infer_file(path, folder / "out.parquet", model=model, workers=1, device="cpu", progress=False, overwrite=True)

    infer(few)
    before = peak_rss_mb()
    _, seconds, _ = timed(lambda: infer(many))
    return {"model": model, "rows": n, "workers": 1, "seconds": seconds, "rows_per_second": n / seconds,
            "peak": peak_rss_mb(), "before": before}


def _dask(folder, size):
    from distributed import Client, LocalCluster
    from machine import timed

    from clusterpost.scale import infer_dataset

    source = folder / "catalog"
    source.mkdir()
    for i in range(size["files"]):
        _catalog(source / f"{i}.parquet", size["of_a_file"])
    seconds = {1: [], 2: []}
    for repeat in range(size["repeats"]):
        for workers in seconds:
            with (LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
                  Client(cluster) as client):
                warm = folder / f"warm-{workers}-{repeat}"
                infer_dataset(source, warm, client, model=_MODEL, n_samples=10, device="cpu", progress=False)
                target = folder / f"out-{workers}-{repeat}"
                seconds[workers].append(timed(lambda target=target, client=client: infer_dataset(
                    source, target, client, model=_MODEL, device="cpu", progress=False))[1])
    return Table(rows=[{"workers": workers, "rows": size["files"] * size["of_a_file"], "seconds": np.median(each),
                        "ratio": np.median(np.divide(seconds[1], each))} for workers, each in seconds.items()])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(json.dumps(_stream(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
