"""Time of one training step, and the share of it that drawing the mocks takes.

Run ``python benchmarks/training_step.py [RECIPE [DEVICE]]``.
"""

import sys
import time

import torch

from clusterpost.flow.network import build_flow
from clusterpost.training.recipes import RECIPES
from clusterpost.training.simulation import seeded_generator

REPEATS = 50


def seconds_each(call, device, repeats=REPEATS):
    """Mean wall time of a call after a few to warm up."""
    for _ in range(-(-repeats // 10)):
        call()
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def main(name="any_bands", device="cpu"):
    """Measure and print."""
    recipe = RECIPES[name]()
    flow = build_flow(recipe.spec).to(device)
    simulator = recipe.simulator.to(device)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-4, fused=True)
    generator = seeded_generator(0, 0, device)

    def draw(batches):
        mocks = recipe.learned_part(simulator.draw(batches * recipe.config.batch_size, generator))
        return mocks, recipe.encoder(mocks)

    def step():
        loss = recipe.objective(flow, mocks, conditions, simulator, generator, 1.0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    at_once = recipe.config.batches_at_once
    drawing = seconds_each(lambda: draw(at_once), device, -(-REPEATS // at_once)) / at_once
    mocks, conditions = draw(1)
    whole = drawing + seconds_each(step, device)
    print(f"{name} on {device}, {torch.get_num_threads()} thread(s), batch of {recipe.config.batch_size}: "
          f"step {1e3 * whole:.1f} ms, of which drawing {1e3 * drawing:.2f} ms ({100 * drawing / whole:.1f} %)")


if __name__ == "__main__":
    main(*sys.argv[1:])
