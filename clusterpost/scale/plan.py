"""Cost estimates for catalogs, from measured rates.

Run ``python -m clusterpost.scale.plan RATES`` with the table ``rates.ecsv`` of the benchmarks.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from ..errors import InputError
from ..schema import output_columns
from ..typing import PathLike
from ..utils import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bytes_per_row", "plan_catalog"]

_MCMC = "emcee"
_HEADINGS = {"ms_per_object": "ms an object", "hours": "hours of a core or GPU", "workers": "workers",
             "emcee_hours_ratio": "core hours of MCMC for one"}
_INTEGERS = ("n_modes", "n_bands", "flag")
_OTHERS = 4  # columns other than photometry: a name, two coordinates, a distance


def bytes_per_row(n_bands: int = 8, quantiles: Sequence[float] = (0.16, 0.5, 0.84),
                  n_modes: int = 3) -> tuple[int, int]:
    """Return the uncompressed size of a row on disk; noise is hardly compressible.

    Parameters
    ----------
    n_bands : int
    quantiles : sequence of float
    n_modes : int

    Returns
    -------
    given, added : int
        Bytes of a canonical catalog, and of the columns added by inference.

    Examples
    --------
    >>> from clusterpost.scale.plan import bytes_per_row
    >>> bytes_per_row(5)
    (112, 308)
    """
    numbers = (((n_modes if column.shape == "modes" else 1), 4 if column.name in _INTEGERS else 8)
               for column in output_columns(quantiles))
    added = sum(count * size for count, size in numbers)
    return 8 * (2 * n_bands + _OTHERS), added


def plan_catalog(rates: PathLike | Table, n_objects: float = 1_000_000_000, *, days: float = 7.0) -> Table:
    """Estimate processors and hours for a catalog.

    Parameters
    ----------
    rates : path or `~astropy.table.Table`
        Table with columns ``method``, ``device`` and ``rows_per_second``, and
        optionally ``cpu_seconds_per_row``, as measured by ``benchmarks/run.py``.
    n_objects : float
    days : float
        Available time.

    Returns
    -------
    `~astropy.table.Table`
        For each method and device, ``hours`` of one core or GPU, the number of
        ``workers`` that finish in time, and ``emcee_hours_ratio``, the core hours
        of Markov chains that one hour replaces (NaN without emcee rates).

    Raises
    ------
    InputError
        If a column is missing.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.scale import plan_catalog
    >>> rates = Table({"method": ["infer_table", "emcee"], "device": ["cpu", "cpu"],
    ...                "rows_per_second": [500.0, 0.1]})
    >>> plan = plan_catalog(rates, 1e6, days=1)
    >>> print(plan["method", "hours", "workers", "emcee_hours_ratio"])
       method    hours   workers emcee_hours_ratio
    ----------- -------- ------- -----------------
    infer_table 0.555556       1             5e+03
          emcee  2777.78     116                 1
    """
    rates = Table.read(rates) if not isinstance(rates, Table) else rates
    absent = [name for name in ("method", "device", "rows_per_second") if name not in rates.colnames]
    if absent:
        raise InputError(f"the table of rates has no column {absent[0]!r}; take rates.ecsv of benchmarks/run.py")
    rates = rates[np.isfinite(np.ma.filled(np.ma.asarray(rates["rows_per_second"], float), np.nan))]
    seconds = 1 / np.asarray(rates["rows_per_second"], float)
    if "cpu_seconds_per_row" in rates.colnames:  # several cores may have been in use
        seconds = np.where(rates["device"] == "cpu", np.asarray(rates["cpu_seconds_per_row"], float), seconds)
    hours = seconds * n_objects / 3600
    chains = hours[(rates["method"] == _MCMC) & (rates["device"] == "cpu")]
    out = Table({"method": rates["method"], "device": rates["device"], "ms_per_object": 1000 * seconds,
                 "hours": hours, "workers": np.ceil(hours / (24 * days)).astype(int),
                 "emcee_hours_ratio": (chains[0] if len(chains) else np.nan) / hours})
    for name, form in (("ms_per_object", ".4g"), ("hours", ".6g"), ("emcee_hours_ratio", ".3g")):
        out[name].info.format = form
    out["hours"].info.description = "of one core, or of one GPU"
    given, added = bytes_per_row()
    out.meta.update({"objects": int(n_objects), "days": days, "bytes_given": given, "bytes_added": added})
    return out


def _page(table):
    """Return the table and its assumptions, as reStructuredText."""
    n, gigabyte = table.meta["objects"], 1e9
    given, added = table.meta["bytes_given"], table.meta["bytes_added"]
    text = (f"{n:.3g} objects within {table.meta['days']:g} days; input {n * given / gigabyte:.4g} GB ({given} bytes a "
            f"row), output {n * (given + added) / gigabyte:.4g} GB ({given + added} bytes a row), before compression.")
    lines = io.StringIO()
    shown = Table(table, copy=True)
    shown.rename_columns(list(_HEADINGS), list(_HEADINGS.values()))
    shown.write(lines, format="ascii.rst")
    return f"{text}\n\n{lines.getvalue()}"


def main(arguments: list[str] | None = None) -> int:
    """Print the plan, or write it.

    Parameters
    ----------
    arguments : list of str, optional

    Returns
    -------
    int
    """
    parser = argparse.ArgumentParser(description="What a catalog costs, from measured rates.")
    parser.add_argument("rates", help="rates.ecsv, as benchmarks/run.py writes it")
    parser.add_argument("-n", "--objects", type=float, default=1e9)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("-o", "--output", help="file for the text (default: standard output)")
    given = parser.parse_args(arguments)
    text = _page(plan_catalog(given.rates, given.objects, days=given.days))
    if given.output is None:
        sys.stdout.write(text)
    else:
        write_whole(Path(given.output), text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
