"""What a further parameter costs the grid, and what it costs the network."""

import math

import numpy as np
import torch
from astropy.table import Table
from machine import timed
from mocks import LEVELS, observed

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.families.clusters.exact_grid import ExactGrid
from clusterpost.families.clusters.table import TABLES, load_table
from clusterpost.flow.spline import SplineFlow, SplineSpec
from clusterpost.priors import ProductPrior

#: Mocks; cells of the grid, the default's among them; draws of each object, and repetitions.
SCALES = {
    "small": {"n": 4, "cells": ((172, 38), (690, 150)), "draws": 100, "repeats": 1},
    "full": {"n": 100, "cells": ((345, 75), (690, 150), (1380, 300)), "draws": 2000, "repeats": 3},
}
NODES = 20  # of the grid along a further parameter: a sixth of those along reddening
_DEFAULT = (690, 150)
#: What is added, one after the other; the mass alone, and with it the distance, is integrated in closed form.
FURTHER = ("metallicity", "R_V", "distance, where it is not integrated in closed form")
_CONDITIONS, _WIDTH, _DEPTH, _BINS = 18, 128, 2, 12  # of a block like the second of any_bands


def dimensions(scale):
    """Tables ``parts`` and ``dimensions``: what was measured, and what follows for each further parameter.

    A further parameter multiplies the cells of the grid, and with them its time, by `NODES`; it adds a block to the
    network.  Both calls' other work (modes, MAP, support, table) is taken to remain what it is.
    """
    size = SCALES[scale]
    tbl = clusterpost.simulate(size["n"], model="any_bands", seed=5)
    seen = observed(tbl)
    measured = _grid_by_cells(seen, size) + _grid_by_metallicity(seen, size) + _by_distance(tbl, size)
    blocks = _flow_by_parameters(size)
    options = {"model": "any_bands", "error_floor": None, "progress": False}
    calls = {call: _seconds(lambda call=call: call(tbl, **options), size) / len(tbl)
             for call in (clusterpost.infer_table, clusterpost.exact_posterior)}
    cost = Table(rows=measured + blocks)
    cost["seconds_per_object"].unit = "s"
    cells = {row["size"]: row["seconds_per_object"] for row in measured if row["what"] == "grid, cells"}
    exponent = _slope([n for n in cells], list(cells.values()))
    table = Table(rows=_grown(calls, cells[math.prod(_DEFAULT)], blocks))
    table["grid"].unit = table["network"].unit = "s"
    for each in (cost, table):
        each.meta.update({"scale": scale, "objects": size["n"], "nodes_along_a_further_parameter": NODES,
                          "power_of_the_cells_that_the_grid's_time_grows_with": round(exponent, 2)})
    return {"parts": cost, "dimensions": table}


def _seconds(call, size):
    call()
    return float(np.median([timed(call)[1] for _ in range(size["repeats"])]))


def _grid_by_cells(seen, size):
    result = []
    for n_age, n_ebv in size["cells"]:
        grid = ExactGrid(load_table().select(WFC3_BANDS), n_age=n_age, n_ebv=n_ebv)
        seconds = _seconds(lambda grid=grid: grid.summarize(seen, LEVELS), size) / len(seen)
        result.append({"what": "grid, cells", "size": n_age * n_ebv, "seconds_per_object": seconds})
    return result


def _grid_by_metallicity(seen, size):
    """As many grids as there are tables: what the sum over a coarse metallicity costs."""
    grids = [ExactGrid(load_table(name).select(WFC3_BANDS)) for name in TABLES]
    return [{"what": "grid, metallicities", "size": n, "seconds_per_object": _seconds(
        lambda n=n: [grid.summarize(seen, LEVELS) for grid in grids[:n]], size) / len(seen)} for n in (1, len(grids))]


def _by_distance(tbl, size):
    """Time the whole calls with the distance known, and uncertain by 5 %."""
    result = []
    for call in (clusterpost.exact_posterior, clusterpost.infer_table):
        for error in (0.0, 0.05):
            prior = ProductPrior(distance_error=error)
            seconds = _seconds(lambda call=call, prior=prior: call(tbl, model="any_bands", prior=prior,
                                                                   error_floor=None, progress=False), size)
            result.append({"what": f"{call.__name__}, {'distance uncertain' if error else 'distance known'}", "size": 1,
                           "seconds_per_object": seconds / len(tbl)})
    return result


def _flow_by_parameters(size):
    """Drawing from untrained networks, whose time is that of trained ones: a block for each parameter."""
    result = []
    n, generator = min(size["n"], 32), torch.Generator().manual_seed(0)
    conditions = torch.randn(n, _CONDITIONS, generator=generator)
    for p in range(2, 3 + len(FURTHER)):
        flow = SplineFlow(SplineSpec(p, _CONDITIONS, (0.0,) * p, (1.0,) * p, tuple(range(p)), (_WIDTH,) * p,
                                     (_DEPTH,) * p, (_BINS,) * p, (1,) * p)).eval()
        unit = torch.rand(n, size["draws"], p, generator=generator)
        with torch.inference_mode():
            seconds = _seconds(lambda flow=flow, unit=unit: flow.draw(unit, conditions), size) / n
        result.append({"what": "network, parameters", "size": p, "seconds_per_object": seconds})
    return result


def _slope(x, y):
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _grown(calls, cells, blocks):
    """Seconds an object with each further parameter: the first row measured, the others from what was measured."""
    network = [row["seconds_per_object"] for row in blocks]
    grid = calls[clusterpost.exact_posterior]
    result = []
    for k in range(1 + len(FURTHER)):
        whole_grid = grid + cells * (NODES**k - 1)
        whole_network = calls[clusterpost.infer_table] + network[k] - network[0]
        result.append({"parameters": 3 + k, "added": FURTHER[k - 1] if k else "age, mass, reddening",
                       "grid_cells": math.prod(_DEFAULT) * NODES**k, "grid": whole_grid, "network": whole_network,
                       "grid_over_network": whole_grid / whole_network,
                       "how": "extrapolated" if k else "measured"})
    return result
