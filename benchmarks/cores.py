"""Time and memory of `infer_table` with one worker and with one for each core, on a free and on a busy machine.

Run ``python cores.py ROWS DRAWS`` for a process that infers a table of its own whenever a line comes in.
"""

import contextlib
import json
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
          "full": {"n": 4000, "n_samples": None, "repeats": 7, "memory": 4000}}
_BURNER = "while True: pass"


def cores(scale):
    """Tables ``cores``, ``memory`` and ``processes``.

    ``ratio`` is the time with one worker over that with one for each core, the median of pairs that are run one right
    after the other; ``others`` is the share of all cores that other processes took meanwhile, the burners among them:
    there is one for each core where the machine is called busy.  ``processes`` is what independent processes
    of one worker each gain, which share nothing but the machine: more than that no number of workers can.
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
    processes = _processes(size, both[-1])
    for each in (table, memory, processes):
        each.meta.update({"scale": scale, "objects": size["n"], "repetitions": size["repeats"]})
    return {"cores": table, "memory": memory, "processes": processes}


def _processes(size, number):
    """Infer the same table in one process, and at the same time in several, each of them one of its own."""
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(_inferring(size)) for _ in range(number)]
        for each in every:
            each.stdout.readline()  # it is ready
        seconds = {1: [], number: []}
        for _ in range(size["repeats"]):
            for some in (every[:1], every):
                for each in some:
                    print(file=each.stdin, flush=True)
                seconds[len(some)].append(max(json.loads(each.stdout.readline()) for each in some))
    ratios = {n: n * np.divide(seconds[1], seconds[n]) for n in seconds}
    table = Table(rows=[{"processes": n, "seconds": np.median(seconds[n]), "ratio": np.median(ratios[n]),
                         "ratio_low": np.min(ratios[n]), "ratio_high": np.max(ratios[n])} for n in seconds])
    table["seconds"].unit = "s"
    return table


def _inferring(size):
    """Start a process that ends with its input."""
    command = [sys.executable, "-W", "ignore", __file__, str(size["n"]), json.dumps(size["n_samples"])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _infer_whenever_asked(n, n_samples):
    tbl = clusterpost.simulate(n, model="any_bands", seed=9)

    def infer():
        clusterpost.infer_table(tbl, model="any_bands", n_samples=n_samples, workers=1, progress=False, device="cpu")

    infer()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(timed(infer)[1]), flush=True)


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


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _infer_whenever_asked(int(sys.argv[1]), json.loads(sys.argv[2]))
