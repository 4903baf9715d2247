"""What a benchmark ran on, and how it measures time and writes its tables."""

import multiprocessing
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table

from clusterpost import __version__
from clusterpost.utils import whole_file, write_whole

_PACKAGES = ("torch", "numpy", "astropy", "FrEIA", "emcee", "scikit-learn", "sbi")


def cpu_name():
    """Return the processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine():
    """Hardware, threads, load and versions, for the head of a table."""
    about = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "clusterpost": __version__,
    }
    for name in _PACKAGES:
        try:
            about[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            about[name] = "not installed"
    return about


def synchronize(device="cpu"):
    """Wait for what a GPU still has to do."""
    if str(device).startswith("cuda"):
        torch.cuda.synchronize()


def timed(call, device="cpu"):
    """Return what a call gives, and its wall and CPU seconds (those of all threads of this process)."""
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    synchronize(device)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def peak_rss_mb():
    """Return the most memory that this process has held, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins with what the parent held
        return _peak(status)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1e-6 if sys.platform == "darwin" else 1.024e-3)


def peak_of_workers_mb():
    """Return the most memory that one of the worker processes has held, MB; 0 without any, NaN if unknown."""
    children = [Path(f"/proc/{child.pid}/status") for child in multiprocessing.active_children()]
    return max((_peak(status) if status.exists() else np.nan for status in children), default=0.0)


def _peak(status):
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1.024e-3


def write(tables, folder, about):
    """Write each table as ECSV, for programs, and as reStructuredText, for the documentation.

    Parameters
    ----------
    tables : dict of Table
        By name.
    folder : path
    about : dict
        Goes to each table's meta.
    """
    for name, table in tables.items():
        table.meta = {**about, **table.meta}
        with whole_file(Path(folder) / f"{name}.ecsv") as path:
            table.write(path, format="ascii.ecsv")
        write_whole(Path(folder) / f"{name}.txt", as_rst(table).encode())


def as_rst(table):
    """Return a table for a page: numbers to three digits, nothing for what is not known."""
    shown = Table()
    for name in table.colnames:
        title = name.replace("_", " ")
        shown[f"{title} [{table[name].unit}]" if table[name].unit else title] = [_text(v) for v in table[name]]
    columns = [[title, *shown[title]] for title in shown.colnames]
    widths = [max(map(len, column)) for column in columns]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
             for row in zip(*columns, strict=True)]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])


def _text(value):
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value) or "–"


def describe(about):
    """One paragraph for the documentation."""
    versions = ", ".join(f"{name} {about[name]}" for name in _PACKAGES if about[name] != "not installed")
    gpu = "" if about["gpu"] == "none" else f", {about['gpu']}"
    return (f"Measured on {about['date'][:10]} with ``{about['command']}``: {about['cpu']}{gpu}, {about['threads']} "
            f"of {about['cores']} threads, load {about['load']} at the start; Python {about['python']}, "
            f"clusterpost {about['clusterpost']}, {versions}.\n")
