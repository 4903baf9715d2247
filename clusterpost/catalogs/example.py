"""The bundled example catalog of simulated clusters, in the layout of PHANGS-HST DR4."""

from __future__ import annotations

from pathlib import Path

from astropy.table import Table

__all__ = ["EXAMPLE_PATH", "example_catalog"]

#: The packaged file, written by :mod:`clusterpost.training.example`.
EXAMPLE_PATH = Path(__file__).parent.parent / "data" / "example_catalog.fits"


def example_catalog() -> Table:
    """Read the bundled example catalog of 200 simulated clusters, with their true parameters.

    It has the column names of PHANGS-HST DR4, with upper limits (negative
    errors), bands without coverage (-9999) and unclassified rows.

    Returns
    -------
    `~astropy.table.Table`

    Examples
    --------
    >>> import clusterpost
    >>> len(clusterpost.example_catalog())
    200
    """
    return Table.read(EXAMPLE_PATH)
