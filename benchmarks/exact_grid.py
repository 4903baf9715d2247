"""Speed of the exact grid against the accuracy of its quantiles, for several sizes.

Run ``python benchmarks/exact_grid.py [N_OBJECTS]``; one thread, unless OMP_NUM_THREADS says otherwise.
The reference is a grid four times finer along each axis than the default.  ``divided`` are objects that the grid is
too coarse for, whose cells are divided instead; ``products`` is the share of the time that matrix products take.
"""

import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from clusterpost.bands import WFC3_BANDS
from clusterpost.forward import load_table
from clusterpost.noise import get_noise
from clusterpost.posterior.grid import ExactGrid
from clusterpost.posterior.target import Observed
from clusterpost.priors import Exponential, PowerLaw, ProductPrior, cluster_prior

SIZES = ((172, 38), (345, 75), (460, 100), (690, 150), (1380, 300))
DEFAULT, REFERENCE = (690, 150), (2760, 600)
LEVELS = (0.16, 0.5, 0.84)


def machine():
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def mocks(kind, n, seed=1):
    """Mocks from the prior, or bright young clusters with small errors, largest in the ultraviolet."""
    generator = torch.Generator().manual_seed(seed)
    table, n_band = load_table().select(WFC3_BANDS), len(WFC3_BANDS)
    if kind == "prior":
        theta = cluster_prior().sample(n, generator)
        relative = torch.empty(n, n_band).uniform_(0.05, 0.5, generator=generator)
    else:
        theta = ProductPrior(log_mass=PowerLaw(-2, 3, 7), ebv=Exponential(0.25)).sample(n, generator)
        statistical = torch.exp(torch.empty(n, n_band).normal_(-3.5, 0.8, generator=generator))
        relative = torch.hypot(statistical * torch.tensor([3.0, 1, 1, 1, 1]), torch.tensor(0.05)).clamp(max=0.6)
    distance = torch.empty(n).uniform_(3, 20, generator=generator)
    flux, error = get_noise("lognormal").sample(table.predict(theta, distance), relative, generator)
    seen = torch.ones(n, n_band, dtype=torch.bool)
    return table, Observed(flux, error, seen, ~seen, distance)


def share_of_products(grid, observed):
    """The part of the computing time that matrix products take."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        grid.summarise(observed, LEVELS)
    times = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
    return times["aten::mm"] / sum(times.values())


def main(n):
    print(f"{machine()}, {torch.get_num_threads()} thread(s), load {os.getloadavg()[0]:.1f}; torch {torch.__version__}")
    for kind in ("prior", "survey-like"):
        table, observed = mocks(kind, n)
        exact = ExactGrid(table, n_age=REFERENCE[0], n_ebv=REFERENCE[1]).summarise(observed, LEVELS)
        half = (exact.quantiles[..., 2:] - exact.quantiles[..., :1]) / 2
        print(f"\n{n} {kind} mocks; |difference of quantiles| / half-width, the worst of age, mass and E(B-V) at "
              f"{', '.join(f'{100 * q:g}' for q in LEVELS)} %")
        print(f"{'grid':>10} {'per CPU s':>10} {'per s':>7} {'median':>8} {'95 %':>8} {'99 %':>8} {'divided':>8} "
              f"{'products':>9}")
        for size in SIZES:
            grid = ExactGrid(table, n_age=size[0], n_ebv=size[1])
            grid.summarise(observed[:32], LEVELS)
            wall, cpu = time.perf_counter(), time.process_time()
            found = grid.summarise(observed, LEVELS)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            each = ((found.quantiles - exact.quantiles).abs() / half)[:, :3].reshape(n, -1)
            median, most, nearly_all = (each.quantile(q, 0).max().item() for q in (0.5, 0.95, 0.99))
            products = 100 * share_of_products(grid, observed[:64])
            print(f"{size[0]:>6}x{size[1]:<3} {n / cpu:>10.0f} {n / wall:>7.0f} {median:>8.4f} {most:>8.4f} "
                  f"{nearly_all:>8.4f} {found.divided.sum().item():>8} {products:>7.0f} %"
                  + ("  (default)" if size == DEFAULT else ""), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
