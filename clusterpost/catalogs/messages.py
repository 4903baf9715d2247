"""Warnings that summarize findings in many rows."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import DistanceError, InputError, InputWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Fault", "warn_of_sentinels", "warn_of_unused"]


@dataclass(frozen=True)
class Fault:
    """A fault of some rows, which is an error if all rows have it.

    Attributes
    ----------
    checked : int
        Number of checked rows.
    rows : int
        Number of rows with the fault.
    first : int, optional
        The first of these rows.
    reason : str
        Description of the fault of the first row, with ``{row}`` for its number.
    remedy : str
        Remedy if all rows have the fault.
    outcome : str
        Treatment of such rows if other rows do not have the fault.
    error : type
        Type of the error.
    """

    checked: int
    rows: int = 0
    first: int | None = None
    reason: str = ""
    remedy: str = ""
    outcome: str = "are flagged and not inferred"
    error: type[InputError] = DistanceError

    def __add__(self, other: Fault) -> Fault:
        known = self if self.first is not None else other
        return replace(known, checked=self.checked + other.checked, rows=self.rows + other.rows)

    def moved(self, offset: int, place: str = "") -> Fault:
        """Return the same fault with row numbers of a larger table."""
        return self if self.first is None else replace(self, first=self.first + offset, reason=f"{place}{self.reason}")


def warn_of_sentinels(counted: dict, stacklevel: int = 4) -> None:
    """Warn about values that were taken as missing, with their counts.

    Parameters
    ----------
    counted : dict of str to Counter
        Counts of the values, by band.
    stacklevel : int
        As for `warnings.warn`.

    Warns
    -----
    InputWarning
        If there are such values.
    """
    total = Counter()
    for counts in counted.values():
        total.update(counts)
    if not total:
        return
    listed = ", ".join(f"{value:.10g} ({'once' if count == 1 else f'{count} times'})"
                       for value, count in total.most_common(6))
    more = f" and {len(total) - 6} other values" if len(total) > 6 else ""
    warnings.warn(InputWarning(f"taken as missing in {', '.join(counted)}: {listed}{more}. option:missing adds other "
                               "values"), stacklevel=stacklevel)


def warn_of_unused(unused: Sequence[str], known: Sequence[str], stacklevel: int = 4) -> None:
    """Warn about columns that look like photometry and are not used.

    Parameters
    ----------
    unused : sequence of str
        Names of columns.
    known : sequence of str
        Bands of the model.
    stacklevel : int
        As for `warnings.warn`.

    Warns
    -----
    InputWarning
        If there are such columns.
    """
    if unused:
        listed = ", ".join(unused[:12]) + (", ..." if len(unused) > 12 else "")
        verb = "look like photometry and are" if len(unused) > 1 else "looks like photometry and is"
        text = (f"{listed} {verb} not used: the bands of the model are {', '.join(known)}. If one of these columns is "
                "such a band, name the columns of every band with option:columns")
        warnings.warn(InputWarning(text), stacklevel=stacklevel)
