"""Selection of the inferred rows and columns that are written."""

from __future__ import annotations

from dataclasses import dataclass

from astropy.table import Table

from ..catalogs.writer import flattened
from ..selection import column_names, select_rows

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """Selection of rows by an expression of columns, as in `~clusterpost.selection.select_rows`.

    Attributes
    ----------
    where : str or None
        Expression, or None for all rows.
    flat : bool
        Whether to write one column for each element of a column of arrays.
    """

    where: str | None = None
    flat: bool = False

    def __post_init__(self) -> None:
        if self.where is not None:
            column_names(self.where)  # raises if it is not an expression

    @property
    def identity(self) -> dict:
        """Return the entry in the record of a job, empty if everything is written unchanged."""
        return {name: value for name, value in {"where": self.where, "flat": self.flat or None}.items()
                if value is not None}

    def of_input(self, tbl: Table) -> None:
        """Return the rows to infer if the expression only uses columns of the input, otherwise None."""
        if self.where is None or not column_names(self.where) <= set(tbl.colnames):
            return None
        return select_rows(tbl, self.where)

    def __call__(self, out: Table, prefix: str) -> Table:
        """Return the rows and columns of inferred rows to write.

        Raises
        ------
        InputError
            If the expression names a missing column.
        """
        chosen = out if self.where is None else out[select_rows(out, self.where, prefix=prefix)]
        return self.flat_or_not(chosen)

    def flat_or_not(self, out: Table) -> Table:
        """Return the columns to write."""
        return flattened(out) if self.flat else out
