"""Tests, training and speed on a GPU within a few minutes; run by ``benchmarks/gpu.sh``.

Every step writes what it found into ``results.json`` before the next begins, and a step that fails leaves its error
there, so that a run that is cut is not lost.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import torch

from clusterpost.flow.network import build_flow
from clusterpost.training.fit import fit
from clusterpost.training.recipes import RECIPES, train_model
from clusterpost.training.simulation import seeded_generator

#: Shares of the time, in the order of the steps: what is wanted most comes first.
SHARES = {"stochastic": 0.47, "walter2025": 0.27, "galaxies": 0.13, "tests": 0.05, "speed": 0.08, "any_bands": 0.05}
#: Ways to train, the fastest of which is taken: options of `clusterpost.training.fit.fit`.
WAYS = {"eager": {"record": False}, "replayed": {}, "compiled": {"record": False, "compile": True},
        "compiled and replayed": {"compile": True}}
#: Large batches cost a GPU hardly more than small ones, and mocks are drawn by the million.
GPU_SIZES = {"walter2025": {"batches_at_once": 512},
             "any_bands": {"batches_at_once": 512},
             "galaxies": {"batch_size": 8192, "batches_at_once": 64, "mocks_per_epoch": 10**9, "spike": 5.0,
                          "validations_per_epoch": 16, "checkpoint_every": 5000},
             "stochastic": {"batch_size": 8192, "batches_at_once": 256, "passes": 2, "mocks_per_epoch": 10**9,
                            "checkpoint_every": 5000, "validations_per_epoch": 4, "learning_rate": 5e-4, "seed": 13}}
#: Bundled models whose weights a training starts from, with another seed than theirs and thus other mocks.
GPU_STARTS = {"stochastic": "stochastic"}
GPU_WAYS = {"walter2025": ("compiled and replayed",)}
GPU_TESTS = ("tests/families/clusters/test_table.py", "tests/training/test_simulation.py",
             "tests/training/test_fit.py", "tests/test_infer.py")
_SMALL_TRIED = 3  # steps that a way is timed over, after as many to warm up; otherwise one draw of many batches
_AFTERWARDS = 15.0  # seconds that a trained network is tested in
#: Sizes of a dry run.
SMALL = {"walter2025": {"n_blocks": 2, "width": 16},
         "galaxies": {"width": (16,) * 7, "depth": (1,) * 7, "context": 16},
         "stochastic": {"token": 16, "context": 16, "width": (16,) * 6, "depth": (1,) * 6}}
_SMALL_ROWS, _SMALL_TEST, _SMALL_DRAWS = 4, 1000, (4, 100)
_LARGEST = 16 * 2**20


class Results:
    """What was found so far, on disk after each step."""

    def __init__(self, folder, device, minutes):
        self.path = folder / "results.json"
        self.values = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.values.setdefault("machine", machine(device) | {"minutes": minutes})

    def put(self, step, values):
        """Add what a step found."""
        self.values[step] = values
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.values, indent=1))
        os.replace(new, self.path)
        print(f"{step}: {json.dumps(values)[:300]}")


def machine(device):
    """Name the card and the versions."""
    found = {"torch": torch.__version__, "device": device}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {"card": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1)}
    return found


def run_tests(device, seconds):
    """Run the tests that need a GPU; without one they are skipped, which says so."""
    command = [sys.executable, "-m", "pytest", "-q", "-k", "gpu or cuda", "-p", "no:cacheprovider",
               "-o", "addopts=", *GPU_TESTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=max(60, seconds), check=False)
    return {"rc": done.returncode, "output": done.stdout[-2000:] + done.stderr[-1000:]}


def step_time(recipe, folder, device, way, tried):
    """Measure seconds of a training step, those of drawing its mocks included."""
    folder = folder / "timing"
    shutil.rmtree(folder, ignore_errors=True)
    marks = []

    def mark(entry):
        if device == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    size = recipe.config.batch_size
    tried = tried or max(64, recipe.config.batches_at_once * recipe.config.passes)
    short = replace(recipe, config=replace(recipe.config, epochs=2, mocks_per_epoch=tried * size, n_validation=size,
                                           validations_per_epoch=1, checkpoint_every=10**9,
                                           batches_at_once=min(recipe.config.batches_at_once, tried)))
    fit(build_flow(short.spec), short, folder, device=device, progress=False, report=mark, **WAYS[way])
    return (marks[1] - marks[0]) / tried


def ways_of(name, small):
    """Which ways to try: a minute for compiling pays in long trainings alone."""
    return ("eager",) if small else (*GPU_WAYS.get(name, ()), "replayed", "eager")


def train(name, folder, device, seconds, small, ways):
    """Train a recipe in the given time: to the end of its schedule, of as many steps as fit."""
    recipe = small_recipe(name) if small else RECIPES[name](**GPU_SIZES[name])
    chosen = folder / name / "chosen.json"
    if chosen.exists():  # an earlier run chose, and its checkpoint holds to that
        choice = json.loads(chosen.read_text())
    else:
        start, times = time.perf_counter(), {}
        for way in ways:
            if times and (way == "eager" or time.perf_counter() - start > seconds / 4):
                break
            try:
                times[way] = step_time(recipe, folder / name, device, way, _SMALL_TRIED if small else None)
                print(f"{name}, {way}: {1e3 * times[way]:.2f} ms a step of {recipe.config.batch_size}, after "
                      f"{time.perf_counter() - start:.0f} s")
            except Exception as error:
                print(f"{name}, {way}: {type(error).__name__}: {str(error)[:500]}")
                traceback.print_exc(limit=-3)
        way = min(times, key=times.get)
        left = seconds - (time.perf_counter() - start) - (0 if small else _AFTERWARDS)
        steps = max(1, int(0.9 * left / times[way]))
        epochs = recipe.config.epochs
        choice = {"way": way, "seconds_per_step": times, "schedule_steps": recipe.config.steps, "steps_that_fit": steps,
                  "mocks_per_epoch": min(recipe.config.mocks_per_epoch,
                                         max(1, steps // epochs) * recipe.config.batch_size)}
        chosen.write_text(json.dumps(choice))
    if not small and recipe.config.schedule == "epochs" and choice["steps_that_fit"] < choice["schedule_steps"]:
        return choice | {"trained": False}  # a published schedule is kept to, or not begun
    recipe = replace(recipe, config=replace(recipe.config, mocks_per_epoch=choice["mocks_per_epoch"]))
    card = train_model(recipe, folder / name, device=device, progress=True, **WAYS[choice["way"]],
                       **({"n_test": _SMALL_TEST} if small else {"start": GPU_STARTS.get(name)}))
    return choice | {key: card["training"][key] for key in ("mocks_seen", "hours", "hardware", "validation_nll",
                                                            "test_nll")}


def small_recipe(name):
    """Make the same recipe at the size of a dry run."""
    return RECIPES[name](n_validation=500, **SMALL.get(name, {}))


def speed(device, n_rows, draws):
    """Measure objects per second, of the network alone and of the whole call, and the share of the card's peak."""
    import clusterpost

    found = {}
    for name in ("stochastic", "galaxies", "any_bands", "walter2025"):
        mocks = clusterpost.simulate(n_rows, model=name, seed=1)
        model = clusterpost.load_model(name, device=device)
        for refine in (True, False) if model.family.likelihood else (False,):
            options = {"model": name, "device": device, "refine": refine, "n_samples": 1000, "progress": False}
            clusterpost.infer_table(mocks[:2], **options)
            start = time.perf_counter()
            clusterpost.infer_table(mocks, **options)
            label = f"{name}, {'refined' if refine else 'network alone'}"
            found[label] = {"objects_per_second": round(n_rows / (time.perf_counter() - start), 1)}
            print(label, found[label])
        found[f"{name}, draws"] = draw_rate(model, device, *draws)
        print(name, found[f"{name}, draws"])
    return found


def draw_rate(model, device, n, k):
    """Measure draws per second of a flow, and the products of its weights' matrices that they take."""
    flow = model.flow
    conditions = torch.randn(n, flow.spec.n_conditions, device=device)
    conditions = conditions * flow.standardize.scale + flow.standardize.shift
    unit = torch.rand(n, k, flow.spec.n_parameters, device=device, generator=seeded_generator(0, 0, device))
    unit = unit.clamp(1e-6, 1 - 1e-6)
    with torch.inference_mode():
        for repeats in (2, 5):
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(repeats):
                flow.draw(unit, conditions)
            if device == "cuda":
                torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) / repeats
        multiplied = sum(p.numel() for p in flow.parameters() if p.ndim == 2)
        size = 4096 if device == "cuda" else 512
        square = torch.randn(size, size, device=device)
        start = time.perf_counter()
        for _ in range(5):
            square = (square @ square).tanh()
        if device == "cuda":
            torch.cuda.synchronize()
        peak = 5 * 2 * size**3 / (time.perf_counter() - start)
    rate = n * k / seconds
    return {"draws_per_second": round(rate), "upper_bound_of_flops": 2.0 * multiplied * rate,
            "float32_product_flops": peak, "share_of_that": round(2.0 * multiplied * rate / peak, 3)}


def main():
    """Run every step that time allows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", nargs="+", default=list(SHARES))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), help="how to train; the fastest is taken")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU; try every step with --device cpu --minutes 3")
    small, begin, total = args.device == "cpu", time.perf_counter(), 60 * args.minutes
    work = Path(os.environ["WORK"]) / args.device  # checkpoints, which are too large to bring home
    results = Results(args.out, args.device, args.minutes)
    steps = [step for step in args.steps if step in ("tests", "speed") or step in RECIPES]
    for i, step in enumerate(steps):
        left = total - (time.perf_counter() - begin)
        seconds = left * SHARES[step] / sum(SHARES[other] for other in steps[i:])
        try:
            # TF32 is enough for gradients, and for nothing else.
            torch.set_float32_matmul_precision("high" if step in RECIPES else "highest")
            if step == "tests":
                found = run_tests(args.device, seconds)
            elif step == "speed":
                found = speed(args.device, *((_SMALL_ROWS, _SMALL_DRAWS) if small else (2000, (256, 1000))))
            else:
                (work / step).mkdir(parents=True, exist_ok=True)
                found = train(step, work, args.device, seconds, small, args.ways or ways_of(step, small))
                for path in (work / step).glob(f"{step}.*"):
                    if path.stat().st_size < _LARGEST:
                        shutil.copy(path, args.out / path.name)
        except Exception:
            found = {"error": traceback.format_exc(limit=3)[-800:]}
        results.put(step, found | {"seconds": round(time.perf_counter() - begin - (total - left), 1)})


if __name__ == "__main__":
    main()
