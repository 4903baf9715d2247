"""Faults that are judged over a whole table, counted chunk by chunk."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field, replace

from .catalogs.messages import Fault, warn_of_sentinels, warn_of_unused
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
    faults : dict of str to Fault
        By kind.
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
    faults: dict[str, Fault] = field(default_factory=dict)
    sentinels: tuple[tuple[str, float, int], ...] = ()
    unused: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        counted = Counter()
        for band, value, count in (*self.sentinels, *other.sentinels):
            counted[band, value] += count
        sentinels = tuple((*found, count) for found, count in counted.items())
        faults = {kind: self.faults.get(kind, Fault(0)) + other.faults.get(kind, Fault(0))
                  for kind in {**self.faults, **other.faults}}
        return Findings(self.rows + other.rows, self.empty + other.empty, self.columns or other.columns, faults,
                        sentinels, tuple(dict.fromkeys((*self.unused, *other.unused))),
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
        return replace(self, faults={kind: fault.moved(offset, place) for kind, fault in self.faults.items()})

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
            If every distance is not positive, or outside the model's range.

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
        for fault in self.faults.values():
            if fault.rows and fault.rows == fault.checked:
                raise DistanceError(f"{fault.reason}. {fault.remedy}", row=fault.first)
            if fault.rows:
                warnings.warn(InputWarning(f"{fault.reason}. {fault.rows} such rows are flagged and not inferred",
                                           row=fault.first), stacklevel=stacklevel)
