"""What a smaller error costs: quantile error against speed, for several numbers of draws and sizes of grid."""

import methods
import numpy as np
from astropy.table import Table
from machine import timed
from mocks import LEVELS, REFERENCE, Rows, quantile_error

from clusterpost.bands import WFC3_BANDS
from clusterpost.families.clusters.exact_grid import ExactGrid
from clusterpost.families.clusters.table import load_table

#: Rows of each kind, draws of `infer_table`, cells of the grid, repetitions.
SCALES = {
    "small": {"n": 4, "draws": (100, 200), "grids": ((172, 38), (345, 75)), "reference": (690, 150), "repeats": 1},
    "full": {"n": 100, "draws": (250, 500, 1000, 2000, 4000, 8000), "repeats": 2, "reference": REFERENCE,
             "grids": ((172, 38), (345, 75), (460, 100), (690, 150), (1380, 300))},
}


def accuracy(scale):
    """Table ``accuracy``: seconds an object, and the errors of nine quantiles, for two kinds of mocks.

    ``exact grid`` is the grid's own computation, without modes, MAP and table, of the mocks as tensors; ``divided`` is
    the share of objects that it is too coarse for, whose cells are divided instead.
    """
    size = SCALES[scale]
    result = []
    for kind in ("prior", "survey-like"):
        rows = Rows(size["n"], kind, reference=size["reference"])
        at = np.arange(len(rows))
        exact = rows.exact("lognormal", at)
        for setting, run in _settings(rows, size):
            run(at[:2])
            each = [timed(lambda run=run, at=at: run(at)) for _ in range(size["repeats"])]
            (found, divided), *_ = each[0]
            error = quantile_error(found, exact)
            seconds, cpu = (np.median([one[k] for one in each]) / len(rows) for k in (1, 2))
            result.append({"mocks": kind, **setting, "seconds_per_object": seconds, "cpu_seconds_per_object": cpu,
                           "error_median": np.median(error), "error_p95": np.quantile(error, 0.95),
                           "error_p99": np.quantile(error, 0.99), "divided": divided})
    table = Table(rows=result)
    for name in ("seconds_per_object", "cpu_seconds_per_object"):
        table[name].unit = "s"
    table.meta.update({"scale": scale, "objects": size["n"], "cells_of_the_reference": list(size["reference"])})
    return {"accuracy": table}


def _settings(rows, size):
    """Name and size of each setting, and a function of rows that gives quantiles and the share of divided objects."""
    for refine in (True, False):
        for draws in size["draws"]:
            method = methods.infer(rows, 1, n_samples=draws, refine=refine)
            name = "infer_table" if refine else "network alone"
            yield {"method": name, "setting": f"{draws} draws"}, lambda at, run=method.run: (run(at), np.nan)
    table = load_table().select(WFC3_BANDS)
    for n_age, n_ebv in size["grids"]:
        grid = ExactGrid(table, n_age=n_age, n_ebv=n_ebv)

        def run(at, grid=grid):
            summary = grid.summarize(rows.observed("lognormal", at), LEVELS)
            return summary.quantiles[:, :3].numpy(), summary.divided.double().mean().item()

        yield {"method": "exact grid", "setting": f"{n_age} x {n_ebv}"}, run
