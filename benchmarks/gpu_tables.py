"""Tables for the documentation from what ``benchmarks/gpu.sh`` found.

python benchmarks/gpu_tables.py docs/results/gpu/results.json -o docs/results/gpu
"""

import argparse
import json
from pathlib import Path

from astropy.table import Table
from gpu import GPU_SIZES
from machine import write

from clusterpost.training.recipes import RECIPES


def step_table(results):
    """Training steps: what they take in each way that was tried, and what the schedule of the recipe would."""
    rows = []
    for name in (name for name in results if name in RECIPES):
        config = RECIPES[name](**GPU_SIZES[name]).config
        usual = RECIPES[name]().config
        for way, seconds in results[name]["seconds_per_step"].items():
            rows.append((name, way, config.batch_size, 1e3 * seconds, config.batch_size / seconds,
                         usual.epochs * usual.mocks_per_epoch / config.batch_size * seconds / 60))
    table = Table(rows=rows, names=["model", "way", "batch", "step", "mocks_per_second", "whole_schedule"])
    table["step"].unit, table["whole_schedule"].unit = "ms", "min"
    return table


def rate_table(results):
    """Objects and draws a second."""
    rows = []
    for label, found in results["speed"].items():
        if "objects_per_second" in found:
            name, way = label.split(", ")
            draws = results["speed"][f"{name}, draws"]
            rows.append((name, way, found["objects_per_second"], float(draws["draws_per_second"]),
                         draws["share_of_that"]))
    return Table(rows=rows, names=["model", "way", "objects_per_second", "draws_per_second_alone",
                                   "most_of_the_product_rate"])


def main():
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    results = json.loads(args.results.read_text())
    write({"steps": step_table(results), "rates": rate_table(results)}, args.output, results["machine"])


if __name__ == "__main__":
    main()
