"""Faults that are judged over a whole table, counted chunk by chunk."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, replace

from .catalogs.messages import warn_of_sentinels, warn_of_unused
from .errors import DistanceError, InputError, InputWarning

__all__ = ["Findings"]


@dataclass(frozen=True)
class Findings:
    """Counts of rows with a fault that is an error if all rows have it, and a warning or a flag if some have.

    Findings of successive chunks are added up with ``+``.

    Attributes
    ----------
    rows : int
        Rows that were read.
    empty : int
        Rows that are missing in every band.
    columns : tuple of str
        The flux columns of the bands.
    placed : int
        Rows whose distance was compared with the range of the model.
    far : int
        Rows whose distance is outside that range.
    first_far : int, optional
        The first of those rows.
    reason : str
        What is wrong with it, with ``{row}`` for its number.
    sentinels : tuple of (str, float, int)
        Band, value that was taken as missing, and how often.
    unused : tuple of str
        Columns that look like photometry, and are not used.
    known : tuple of str
        Bands of the model.

    Examples
    --------
    >>> from clusterpost.findings import Findings
    >>> both = Findings(rows=3, empty=3) + Findings(rows=2)
    >>> both.rows, both.empty
    (5, 3)
    >>> both.raise_or_warn()
    """

    rows: int = 0
    empty: int = 0
    columns: tuple[str, ...] = ()
    placed: int = 0
    far: int = 0
    first_far: int | None = None
    reason: str = ""
    sentinels: tuple[tuple[str, float, int], ...] = ()
    unused: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        known = self if self.first_far is not None else other
        return Findings(self.rows + other.rows, self.empty + other.empty, self.columns or other.columns,
                        self.placed + other.placed, self.far + other.far, known.first_far, known.reason,
                        self.sentinels + other.sentinels, tuple(dict.fromkeys((*self.unused, *other.unused))),
                        self.known or other.known)

    def moved(self, offset: int, place: str = "") -> Findings:
        """Return the same findings with rows as they are counted in a larger table.

        Parameters
        ----------
        offset : int
            Number of rows before these.
        place : str
            Put before the reason, such as the name of a file.

        Returns
        -------
        Findings
        """
        if self.first_far is None:
            return self
        return replace(self, first_far=self.first_far + offset, reason=f"{place}{self.reason}")

    def raise_or_warn(self, stacklevel=3):
        """Raise if all rows have a fault, and warn if some have.

        Parameters
        ----------
        stacklevel : int
            As of `warnings.warn`; by default the caller of whoever calls this.

        Raises
        ------
        InputError
            If no row has a measurement.
        DistanceError
            If every distance is outside the model's range.

        Warns
        -----
        InputWarning
            If some distances are, values were taken as missing, or columns are not used.
        """
        if self.rows and self.empty == self.rows:
            raise InputError(f"all {self.rows} rows are missing in every band (columns {', '.join(self.columns)}); "
                             "are these the right columns? option:columns names others")
        counted = {}
        for band, value, count in self.sentinels:
            counted.setdefault(band, Counter())[value] += count
        warn_of_sentinels(counted, stacklevel + 1)
        warn_of_unused(self.unused, self.known, stacklevel + 1)
        if self.far and self.far == self.placed:
            raise DistanceError(f"{self.reason}. Check the unit of the distance", row=self.first_far)
        if self.far:
            warnings.warn(InputWarning(f"{self.reason}. {self.far} such rows are flagged and not inferred",
                                       row=self.first_far), stacklevel=stacklevel)
