"""Selection of the inferred rows and columns that are written."""

from __future__ import annotations

from dataclasses import dataclass

from astropy.table import Table

from ..catalogs.writer import flattened
from ..selection import column_names, select_rows

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """Rows for which an expression of columns holds, as `~clusterpost.selection.select_rows` takes it.

    Attributes
    ----------
    where : str or None
        None for all rows.
    flat : bool
        A column for each element of a column of arrays.
    """

    where: str | None = None
    flat: bool = False

    def __post_init__(self) -> None:
        if self.where is not None:
            column_names(self.where)  # raises where it is no expression

    @property
    def identity(self) -> dict:
        """Entry in a record of the job: nothing where all is written as it is."""
        return {name: value for name, value in {"where": self.where, "flat": self.flat or None}.items()
                if value is not None}

    def of_input(self, tbl: Table) -> None:
        """Tell which rows to infer at all, where the expression is one of the input's columns alone; else None."""
        if self.where is None or not column_names(self.where) <= set(tbl.colnames):
            return None
        return select_rows(tbl, self.where)

    def __call__(self, out: Table, prefix: str) -> Table:
        """Return what is to be written of inferred rows.

        Raises
        ------
        InputError
            If the expression names a column that they have not.
        """
        chosen = out if self.where is None else out[select_rows(out, self.where, prefix=prefix)]
        return self.flat_or_not(chosen)

    def flat_or_not(self, out: Table) -> Table:
        """Return the columns to write."""
        return flattened(out) if self.flat else out
