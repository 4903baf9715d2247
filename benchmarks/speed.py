"""Seconds an object of every method, in pairs with `infer_table`, and how far its quantiles are from the exact ones."""

import methods
import numpy as np
import torch
from astropy.table import Table
from machine import timed
from mocks import Rows, quantile_error

#: How many rows, repetitions and steps: seconds, and some minutes.
SCALES = {
    "small": {"n": 4, "repeats": 2, "infer": 2, "exact": 2, "replica": 1, "gpu": 8, "paper": 1, "mcmc": 1, "sbi": 1,
              "replica_draws": 100, "paper_draws": 500, "steps": 500, "sbi_mocks": 500, "sbi_epochs": 1,
              "reference": (690, 150)},
    "full": {"n": 200, "repeats": 5, "infer": 200, "exact": 100, "replica": 8, "gpu": 20_000, "paper": 4, "mcmc": 1,
             "sbi": 5, "replica_draws": None, "paper_draws": 10_000, "steps": 20_000, "sbi_mocks": 50_000,
             "sbi_epochs": 15, "reference": (2760, 600)},
}


def speed(scale):
    """Tables ``speed``, ``methods`` (what was run, and against which exact posterior) and ``rates``.

    Each method is run ``repeats`` times on further rows, every time followed by `infer_table`: the ratio is the median
    of these pairs', its interval goes from their lowest to their highest, which holds the true median with a
    probability of 1 - 2^(1 - repeats).
    """
    size = SCALES[scale]
    rows = Rows(size["n"], reference=size["reference"])
    base, others = _methods(rows, size)
    timers = {id(method): _Timer(method, len(rows)) for method in (base, *others)}
    for timer in timers.values():
        if timer.method.rows > 1:  # load what is loaded once; of no account beside a Markov chain
            timer.method.run(np.arange(1))
    for _ in range(size["repeats"]):
        for other in others:
            timers[id(other)].run(after=timers[id(base)])
    for timer in timers.values():
        timer.compare(rows)
    ours = timers[id(base)]
    table = Table(rows=[timer.row(ours) for timer in timers.values()])
    rates = Table({"method": table["method"], "device": table["device"],
                   "rows_per_second": 1 / table["seconds_per_object"],
                   "cpu_seconds_per_row": table["cpu_seconds_per_object"]})
    for name in ("seconds_per_object", "cpu_seconds_per_object"):
        table[name].unit = "s"
    table.meta.update({"scale": scale, "repetitions": size["repeats"],
                       "confidence_of_the_interval": 1 - 2.0 ** (1 - size["repeats"])})
    if "sbi NPE" not in table["method"]:
        _add_skipped(table, "sbi NPE", "not measured: sbi is not installed")
    if not torch.cuda.is_available():
        _add_skipped(table, "infer_table", "not measured: no GPU", device="cuda")
    about = table["method", "device", "objects", "exact_posterior_of", "note"]
    table.remove_columns(["exact_posterior_of", "note"])
    return {"speed": table, "methods": about, "rates": rates}


def _methods(rows, size):
    base = methods.infer(rows, size["infer"], device="cpu", note="the default")
    others = [
        methods.paper(rows, size["paper"], size["paper_draws"]),
        methods.mcmc(rows, size["mcmc"], size["steps"]),
        methods.grid(rows, size["exact"]),
        methods.infer(rows, size["infer"], "infer_table, 250 draws", n_samples=250, note="a quarter of the draws"),
        methods.infer(rows, size["infer"], "infer_table, network alone", refine=False),
        methods.infer(rows, size["replica"], "infer_table, walter2025", "walter2025", model="walter2025",
                      n_samples=size["replica_draws"], note="the paper's network, refined"),
        methods.npe(rows, size["sbi"], size["sbi_mocks"], size["sbi_epochs"]),
    ]
    if torch.cuda.is_available():
        others += [methods.infer(rows, size["gpu"], device="cuda"), methods.grid(rows, size["gpu"], device="cuda")]
    return base, [method for method in others if method is not None]


class _Timer:
    """Seconds of a method, repetition by repetition, and what it found."""

    def __init__(self, method, n):
        self.method, self.n = method, n
        self.seconds, self.cpu_seconds, self.ratios = [], [], []
        self.found = np.full((n, 3, 3), np.nan)
        self.error = np.full((n, 9), np.nan)
        self._next = 0

    def run(self, after=None):
        """One repetition on the next rows; ``after`` it the other, to compare with."""
        method = self.method
        at = (self._next + np.arange(method.rows)) % self.n
        self._next += method.rows
        found, wall, cpu = timed(lambda: method.run(at), method.device)
        self.found[at] = found
        self.seconds.append(wall / len(at))
        self.cpu_seconds.append(cpu / len(at))
        if after is not None:
            after.run()
            self.ratios.append(self.seconds[-1] / after.seconds[-1])

    def compare(self, rows):
        """Errors of all rows that were measured."""
        at = np.flatnonzero(~np.isnan(self.found).any((1, 2)))
        self.error[at] = quantile_error(self.found[at], rows.exact(self.method.truth, at))

    def row(self, ours):
        """Of the table ``speed``."""
        seen = ~np.isnan(self.error).any(1)
        both = seen & ~np.isnan(ours.error).any(1)
        ratio = [1.0] if self is ours else self.ratios
        return {"method": self.method.name, "device": self.method.device,
                "seconds_per_object": np.median(self.seconds), "cpu_seconds_per_object": np.median(self.cpu_seconds),
                "ratio": np.median(ratio), "ratio_low": np.min(ratio), "ratio_high": np.max(ratio),
                "objects": int(seen.sum()), **_two("error", self.error[seen]),
                **_two("infer_table_error", ours.error[both]),
                "exact_posterior_of": self.method.truth, "note": self.method.note}


def _two(name, error):
    known = error.size > 0
    return {f"{name}_median": float(np.median(error)) if known else np.nan,
            f"{name}_p95": float(np.quantile(error, 0.95)) if known else np.nan}


def _add_skipped(table, name, note, device="cpu"):
    row = {column: "" if table[column].dtype.kind == "U" else np.nan for column in table.colnames}
    row = {**row, "method": name, "device": device, "objects": 0, "note": note}
    for column in ("method", "device", "note"):  # or a longer text would be cut
        table[column] = table[column].astype(object)
    table.add_row(row)
    for column in ("method", "device", "note"):
        table[column] = table[column].astype(str)
