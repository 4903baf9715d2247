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

#: Tables of few chunks, for threads, and of many, for processes.
SCALES = {"small": {"n": (12, 24), "n_samples": 100, "repeats": 1},
          "full": {"n": (2000, 9000), "n_samples": None, "repeats": 5}}
_BURNER = "while True: pass"


def cores(scale):
    """Tables ``cores``, ``memory`` and ``processes``.

    ``ratio`` is the time with one worker divided by the time with one for each core, the median of pairs that run one
    right after the other. ``first`` is the time of the first call with several workers, which starts the processes
    of a large table. ``others`` is the share of all cores that other processes use during the calls with one worker; a
    *busy* machine has one burner per core. ``processes`` is the gain of independent processes with one worker
    each, the limit of the machine.
    """
    size, both = SCALES[scale], sorted({1, max(2, available_cores())})
    tables = {n: clusterpost.simulate(n, model="any_bands", seed=9) for n in size["n"]}

    def infer(n, workers):
        """Return the wall time."""
        return timed(lambda: clusterpost.infer_table(tables[n], model="any_bands", n_samples=size["n_samples"],
                                                     workers=workers, progress=False, device="cpu"))[1]

    rows = []
    for n in size["n"]:
        infer(n, 1)
        for state, burners in (("free", 0), ("busy", available_cores())):
            with _burning(burners):
                first = infer(n, both[-1])
                seconds = {workers: [] for workers in both}
                others = []
                for _ in range(size["repeats"]):
                    before = _cpu()
                    seconds[1].append(infer(n, 1))
                    others.append(_others(before, _cpu()))
                    seconds[both[-1]].append(infer(n, both[-1]))
            for workers in both:
                ratio = np.divide(seconds[1], seconds[workers])
                rows.append({"rows": n, "machine": state, "workers": workers, "others": np.median(others),
                             "first": np.nan if workers == 1 or state == "busy" else first,
                             "seconds": np.median(seconds[workers]), "ratio": np.median(ratio),
                             "ratio_low": np.min(ratio), "ratio_high": np.max(ratio)})
    table = Table(rows=rows)
    table["seconds"].unit = table["first"].unit = "s"
    memory, processes = _memory(size, both), _processes(size["n"][0], size, both[-1])
    for each in (table, memory, processes):
        each.meta.update({"scale": scale, "repetitions": size["repeats"]})
    return {"cores": table, "memory": memory, "processes": processes}


def _memory(size, both):
    table = Table(rows=[{"workers": workers, **in_a_process("infer_table", n, {
        "model": "any_bands", "workers": workers, "n_samples": size["n_samples"]})}
        for n in size["n"] for workers in both])
    table["working"] = table["peak"] - table["before"] - table["tables"]
    table = table["workers", "rows", "peak", "before", "tables", "working", "process"]
    for name in table.colnames[2:]:
        table[name].unit = "MB"
    return table


def _processes(n, size, number):
    """Infer the same table in one process, and at the same time in several, each of them one of its own."""
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(_inferring(n, size["n_samples"])) for _ in range(number)]
        for each in every:
            each.stdout.readline()  # it is ready
        seconds = {1: [], number: []}
        for _ in range(size["repeats"]):
            for some in (every[:1], every):
                for each in some:
                    print(file=each.stdin, flush=True)
                seconds[len(some)].append(max(json.loads(each.stdout.readline()) for each in some))
    ratios = {k: k * np.divide(seconds[1], seconds[k]) for k in seconds}
    table = Table(rows=[{"processes": k, "seconds": np.median(seconds[k]), "ratio": np.median(ratios[k]),
                         "ratio_low": np.min(ratios[k]), "ratio_high": np.max(ratios[k])} for k in seconds])
    table["seconds"].unit = "s"
    return table


def _inferring(n, n_samples):
    """Start a process that ends with its input."""
    command = [sys.executable, "-W", "ignore", __file__, str(n), json.dumps(n_samples)]
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
