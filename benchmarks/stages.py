"""Where the time of `infer_table` goes, and how near its drawing comes to the machine's own rate of matrix products.

No hook in the package: functions are wrapped from outside for as long as a measurement lasts.
"""

from collections import Counter
from contextlib import contextmanager
from functools import wraps
from time import perf_counter

import numpy as np
import torch
from astropy.table import Table
from machine import synchronize, timed
from torch.utils._python_dispatch import TorchDispatchMode

import clusterpost
from clusterpost import inference, summarize
from clusterpost.flow.base import Flow
from clusterpost.flow.modelfile import load_model
from clusterpost.posterior import refine, sampler
from clusterpost.posterior.proposal import AmplitudeProposal, FlowProposal
from clusterpost.posterior.target import Target

#: What belongs to a stage: (owner, name) of functions; what they call in their turn is theirs, but for the first stage.
STAGES = {
    "draws of the mass": [(AmplitudeProposal, "draw"), (FlowProposal, "draw")],
    "draws from the network": [(Flow, "draw")],
    "density and weights": [(Target, "log_density"), (refine, "log_weights"), (refine, "normalized"),
                            (refine, "number_effective"), (refine, "log_mean"), (refine, "thinned"),
                            (sampler.UnitPoints, "__call__")],
    "refinement": [(refine, "_draw_more"), (refine, "_fit_kde"), (refine, "_sample_with_mcmc")],
    "modes": [(summarize, "find_modes")],
    "MAP": [(summarize, "find_map")],
    "quantiles": [(summarize, "quantiles"), (summarize, "entropy")],
    "support": [(summarize, "support")],
    "table": [(inference, "prepare"), (inference, "check_reach"), (inference, "encode_observations"),
              (inference, "load_model"), (inference, "_put"), (inference, "_completed")],
}
OTHER, _OUTER = "everything else", "draws of the mass"
_DRAWING = ("draws of the mass", "draws from the network", "density and weights", "refinement")
_SUMMARIES = ("modes", "MAP", "quantiles")

SCALES = {"small": {"n": 6, "replica": 2, "n_samples": 100, "repeats": 1},
          "full": {"n": 400, "replica": 16, "n_samples": None, "repeats": 3}}
_ENOUGH = 0.2  # seconds that a product is repeated for


def stages(scale):
    """Tables ``stages``, ``balance`` and ``products``.

    ``stages`` has the share of the wall time of each stage, the median over repetitions, and ``balance`` what modes,
    MAP and quantiles take beside the weighted draws that they are of.  In ``products``,
    ``flop`` are those of all matrix products of the drawing call, ``flop_draw_by_draw`` what the network's layers would
    take if they were run for every draw, ``machine_rate`` that of the same products with nothing between them, and
    ``share_of_products`` the part of the drawing time that they would fill.
    """
    size = SCALES[scale]
    shares, balance, products = [], [], []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for model, n, noise in (("any_bands", size["n"], "lognormal"), ("walter2025", size["replica"], "walter2025")):
            tbl = clusterpost.simulate(n, model=model, noise=noise, seed=3)
            options = {"model": model, "error_floor": None, "progress": False, "device": device}
            clusterpost.infer_table(tbl[:2], **options)
            runs, call = [], None
            for _ in range(size["repeats"]):
                with _watched(device) as (seconds, largest):
                    _, wall, _ = timed(lambda tbl=tbl, options=options: clusterpost.infer_table(
                        tbl, n_samples=size["n_samples"], **options), device)
                runs.append({**{stage: seconds[stage] for stage in STAGES}, OTHER: wall - sum(seconds.values())})
                call = largest.get("call", call)
            name = load_model(model).name
            median = {stage: np.median([run[stage] for run in runs]) / n for stage in runs[0]}
            shares += [{"model": name, "device": device, "stage": stage, "seconds_per_object": one,
                        "share": one / sum(median.values())} for stage, one in median.items()]
            drawing, summaries = (sum(median[stage] for stage in of) for of in (_DRAWING, _SUMMARIES))
            balance.append({"model": name, "device": device, "drawing": drawing, "summaries": summaries,
                            "summaries_over_drawing": summaries / drawing})
            products.append({"model": name, "device": device, **_rate(call, device)})
    tables = {"stages": Table(rows=shares), "balance": Table(rows=balance), "products": Table(rows=products)}
    units = {"seconds_per_object": "s", "drawing": "s", "summaries": "s", "rate": "Gflop/s", "machine_rate": "Gflop/s"}
    for table in tables.values():
        table.meta.update({"scale": scale, "objects": size["n"]})
        for name in set(units).intersection(table.colnames):
            table[name].unit = units[name]
    return tables


@contextmanager
def _watched(device):
    """Time the stages while this lasts: (seconds of each, the largest call of ``Flow.draw``)."""
    seconds, largest, inside, originals = Counter(), {"size": 0}, [], []

    def watch(owner, name, stage):
        function = getattr(owner, name)
        originals.append((owner, name, function))

        @wraps(function)
        def wrapped(*args, **kwargs):
            if inside and inside[-1][0] != _OUTER:
                return function(*args, **kwargs)
            if (owner, name) == (Flow, "draw") and args[1].numel() > largest["size"]:
                largest.update(size=args[1].numel(), call=(args[0], args[1].clone(), args[2].clone()))
            inside.append([stage, 0.0])
            synchronize(device)
            start = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                synchronize(device)
                whole = perf_counter() - start
                seconds[stage] += whole - inside.pop()[1]
                if inside:
                    inside[-1][1] += whole

        setattr(owner, name, wrapped)

    for stage, functions in STAGES.items():
        for owner, name in functions:
            watch(owner, name, stage)
    try:
        yield seconds, largest
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


class _Products(TorchDispatchMode):
    """Collects the shapes of matrix products: (batch, rows, inner, columns)."""

    def __init__(self):
        super().__init__()
        self.shapes = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm", "bmm", "baddbmm"):
            a, b = args[-2:] if name in ("mm", "bmm") else args[1:3]
            batch = a.shape[0] if a.ndim == 3 else 1
            self.shapes[batch, *a.shape[-2:], b.shape[-1]] += 1
        return func(*args, **(kwargs or {}))


def _rate(call, device):
    """Arithmetic of one drawing call against that of its matrix products alone."""
    flow, unit, conditions = call
    n_objects, n_draws = unit.shape[:2]

    def draw():
        return flow.draw(unit, conditions)

    # Not inference_mode, in which layers would hide their products from the mode.
    with torch.no_grad():
        with _Products() as products:
            draw()
        drawing = _seconds(draw, device)
        alone = sum(count * _product_seconds(shape, unit) for shape, count in products.shapes.items())
    flop = sum(count * 2 * np.prod(shape, dtype=float) for shape, count in products.shapes.items())
    layers = sum(m.weight.numel() for m in flow.modules() if isinstance(m, torch.nn.Linear))
    return {"objects": n_objects, "draws_per_object": n_draws, "seconds_per_object": drawing / n_objects,
            "draws_per_second": n_objects * n_draws / drawing, "flop_per_draw": flop / (n_objects * n_draws),
            "flop_draw_by_draw": 2.0 * layers, "rate": flop / drawing / 1e9, "machine_rate": flop / alone / 1e9,
            "share_of_products": alone / drawing}


def _product_seconds(shape, like):
    batch, rows, inner, columns = shape
    a = torch.randn(batch, rows, inner, dtype=like.dtype, device=like.device)
    b = torch.randn(batch, inner, columns, dtype=like.dtype, device=like.device)
    if batch == 1:
        a, b = a[0], b[0]
    out = a @ b
    return _seconds(lambda: torch.matmul(a, b, out=out), like.device)


def _seconds(call, device):
    """Median wall time of a call, repeated for a while."""
    call()
    each = []
    while sum(each) < _ENOUGH and len(each) < 200:
        each.append(timed(call, device)[1])
    return float(np.median(each))
