"""All benchmarks, by one command: tables with the machine in their heads, and figures.

    python benchmarks/run.py -o docs/results/benchmarks

``--only NAME ...`` runs some of them, ``--scale small`` shows in a minute that all work.  They take one core, but
for the benchmark of several; nothing else should run meanwhile.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import figures
from accuracy import accuracy
from astropy.utils.exceptions import AstropyUserWarning
from cores import cores
from dimensions import dimensions
from growth import growth
from machine import describe, machine, timed, write
from prices import prices
from speed import speed
from stages import stages
from streams import streams

import clusterpost
from clusterpost.utils import write_whole

BENCHMARKS = {"speed": speed, "accuracy": accuracy, "stages": stages, "rows": growth, "dimensions": dimensions,
              "cores": cores, "prices": prices, "streams": streams}


def main(arguments=None):
    """Run them and write what they find."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", default="benchmarks_out", help="folder of the results")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME",
                        help=", ".join(BENCHMARKS))
    parser.add_argument("--scale", choices=("small", "full"), default="full")
    options = parser.parse_args(arguments)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    command = "python benchmarks/run.py" + (" --scale small" if options.scale == "small" else "")
    about = {**machine(), "command": command}
    for name in options.only:
        # All but the benchmark of cores are of one.
        with warnings.catch_warnings(), clusterpost.conf.set_temp("workers", 1):
            warnings.simplefilter("ignore", AstropyUserWarning)  # certificates are not what this is about
            tables, seconds, _ = timed(lambda name=name: BENCHMARKS[name](options.scale))
        write(tables, folder, about)
        print(f"{name}: {', '.join(f'{table}.ecsv' for table in tables)} in {seconds:.0f} s", flush=True)
    write_whole(folder / "machine.txt", describe(about).encode())
    print(", ".join(figures.draw(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
