"""Rows per CPU second of the whole calls, network and grid, on the same mocks.

Run ``python benchmarks/rows_per_second.py [ROWS]``.
"""

import platform
import sys
import time

import torch

import clusterpost


def main(n_rows):
    """Time both and print a line each."""
    torch.set_num_threads(1)
    tbl = clusterpost.simulate(n_rows, seed=9)
    print(f"{n_rows} mocks in five bands, one thread, {platform.processor() or platform.machine()}, "
          f"torch {torch.__version__}")
    for call in (clusterpost.infer_table, clusterpost.exact_posterior):
        call(tbl[:5], progress=False)  # load what is loaded once
        start = time.process_time()
        call(tbl, progress=False)
        print(f"{call.__name__:16s} {n_rows / (time.process_time() - start):6.0f} rows per CPU second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
