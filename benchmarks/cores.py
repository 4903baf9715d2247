"""Time and memory of `infer_table` with one worker and with one for each core, on a free and on a busy machine."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from growth import in_a_process
from machine import timed

import clusterpost
from clusterpost.workers import available_cores

SCALES = {"small": {"n": 24, "n_samples": 100, "repeats": 1, "memory": 24},
          "full": {"n": 2000, "n_samples": None, "repeats": 5, "memory": 4000}}
_BURNER = "while True: pass"


def cores(scale):
    """Tables ``cores`` and ``memory``.

    ``ratio`` is the time with one worker over that with one for each core, the median of pairs that are run one right
    after the other; ``others`` is the share of all cores that other processes took meanwhile, the burners among them:
    there is one for each core where the machine is called busy.
    """
    size, both = SCALES[scale], sorted({1, max(2, available_cores())})
    tbl = clusterpost.simulate(size["n"], model="any_bands", seed=9)

    def infer(workers):
        return clusterpost.infer_table(tbl, model="any_bands", n_samples=size["n_samples"], workers=workers,
                                       progress=False, device="cpu")

    infer(1)
    rows = []
    for state, burners in (("free", 0), ("busy", available_cores())):
        with _burning(burners):
            seconds = {workers: [] for workers in both}
            others = []
            for _ in range(size["repeats"]):
                before = _cpu()
                for workers in both:
                    seconds[workers].append(timed(lambda workers=workers: infer(workers))[1])
                others.append(_others(before, _cpu()))
        for workers in both:
            rows.append({"machine": state, "workers": workers, "others": np.median(others),
                         "seconds_per_object": np.median(seconds[workers]) / size["n"],
                         "ratio": np.median(np.divide(seconds[1], seconds[workers])),
                         "ratio_low": np.min(np.divide(seconds[1], seconds[workers])),
                         "ratio_high": np.max(np.divide(seconds[1], seconds[workers]))})
    table = Table(rows=rows)
    table["seconds_per_object"].unit = "s"
    memory = Table(rows=[{"workers": workers, **in_a_process("infer_table", size["memory"], {
        "workers": workers, "n_samples": size["n_samples"]})} for workers in both])
    memory["working"] = memory["peak"] - memory["before"] - memory["tables"]
    memory = memory["workers", "rows", "peak", "before", "tables", "working"]
    for name in memory.colnames[2:]:
        memory[name].unit = "MB"
    for each in (table, memory):
        each.meta.update({"scale": scale, "objects": size["n"], "repetitions": size["repeats"]})
    return {"cores": table, "memory": memory}


@contextlib.contextmanager
def _burning(n):
    """Keep n cores busy with something else."""
    burners = [subprocess.Popen([sys.executable, "-c", _BURNER]) for _ in range(n)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def _cpu():
    """CPU seconds of all processes and of this one since each began, and the wall time; NaN where nothing tells."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return np.full(3, np.nan)
    numbers = np.array(stat.read_text().split("\n", 1)[0].split()[1:9], float) / os.sysconf("SC_CLK_TCK")
    idle = numbers[3] + numbers[4]
    return np.array([numbers.sum() - idle, sum(os.times()[:2]), numbers.sum()])


def _others(before, after):
    everything, own, total = after - before
    return (everything - own) / total if total > 0 else np.nan
