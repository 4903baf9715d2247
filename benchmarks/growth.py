"""Time and peak memory against the number of rows, each in a process of its own.

Run ``python growth.py CALL ROWS [OPTIONS AS JSON]`` for one of them.
"""

import json
import subprocess
import sys

import numpy as np
from astropy.table import Table

SCALES = {"small": (10, 20), "full": (10, 100, 1000, 10_000, 100_000, 1_000_000)}  # rows
#: Call, options, their name, and the seconds beyond which a larger table is left out (what it would take follows from
#: the one before).  The lean ones reach tables so large that they show what bounds the memory.
SETTINGS = (
    ("infer_table", {"model": "any_bands"}, "default", 400),
    ("exact_posterior", {}, "default", 60),
    ("infer_table", {"model": "any_bands", "refine": False, "n_samples": 10, "n_modes": 1},
     "10 draws, network alone", 900),
)
_MOCKS = 1000  # different rows; more are the same again


def growth(scale, settings=SETTINGS):
    """Table ``rows``.

    ``peak`` is the most memory that a process held which did nothing else, ``before`` what it held with the table made
    and the model loaded, ``tables`` the size of the table that goes in and of the one that comes out.

    Parameters
    ----------
    scale : str
    settings : sequence of tuple
        As ``SETTINGS``.
    """
    result, skipped = [], []
    for call, options, setting, patience in settings:
        for n in SCALES[scale]:
            done = [row for row in result if (row["call"], row["setting"]) == (call, setting)]
            expected = done[-1]["seconds"] * n / done[-1]["rows"] if done else 0
            if expected > patience:
                skipped.append(f"{call} ({setting}), {n} rows: {expected:.0f} s expected")
                continue
            result.append({"call": call, "setting": setting, **in_a_process(call, n, options)})
    table = Table(rows=result)
    table.remove_column("process")  # the memory of worker processes: there is one worker
    for name in ("peak", "before", "tables"):
        table[name].unit = "MB"
    for name in ("seconds", "cpu_seconds"):
        table[name].unit = "s"
    table.meta.update({"scale": scale, "skipped": skipped})
    return {"rows": table}


def in_a_process(call, n, options):
    """Measure a call on a table of n rows in a process of its own."""
    return from_a_process(__file__, call, n, json.dumps(options))


def from_a_process(script, *arguments):
    """Run a script of this folder in a process of its own, and read the JSON of its last line."""
    command = [sys.executable, "-W", "ignore", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def many_mocks(n):
    """Make a table of so many clusters."""
    import clusterpost

    return clusterpost.simulate(min(n, _MOCKS), model="any_bands", seed=9)[np.arange(n) % _MOCKS]


def measure(call, n, options):
    from machine import peak_of_workers_mb, peak_rss_mb, timed

    import clusterpost

    function = getattr(clusterpost, call)
    options = {"workers": 1, **options}
    tbl = many_mocks(n)
    function(tbl[:5], progress=False, device="cpu", **options)
    before = peak_rss_mb()
    out, seconds, cpu_seconds = timed(lambda: function(tbl, progress=False, device="cpu", **options))
    size = sum(column.nbytes for table in (tbl, out) for column in table.itercols()) / 1e6
    return {"rows": n, "seconds": seconds, "cpu_seconds": cpu_seconds, "rows_per_second": n / seconds,
            "peak": peak_rss_mb(), "before": before, "tables": size, "process": peak_of_workers_mb()}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]) if len(sys.argv) > 3 else {})))
