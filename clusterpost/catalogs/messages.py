"""Warnings that sum up what was found in many rows."""

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
        Rows that could have it.
    rows : int
        Rows that have it.
    first : int, optional
        The first of those.
    reason : str
        What is wrong with that one, with ``{row}`` for its number.
    remedy : str
        What to do if all rows have it.
    outcome : str
        What is done with such rows where others do not have it.
    error : type
        Of the error.
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
        """Return the same fault with rows as they are counted in a larger table."""
        return self if self.first is None else replace(self, first=self.first + offset, reason=f"{place}{self.reason}")


def warn_of_sentinels(counted: dict, stacklevel: int = 4) -> None:
    """Say which values were taken as missing, and how often.

    Parameters
    ----------
    counted : dict of str to Counter
        How often which value, by band.
    stacklevel : int
        As of `warnings.warn`.

    Warns
    -----
    InputWarning
        If there were any.
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
    """Say which columns look like photometry and are not used.

    Parameters
    ----------
    unused : sequence of str
        Names of columns.
    known : sequence of str
        Bands of the model.
    stacklevel : int
        As of `warnings.warn`.

    Warns
    -----
    InputWarning
        If there are any.
    """
    if unused:
        listed = ", ".join(unused[:12]) + (", ..." if len(unused) > 12 else "")
        verb = "look like photometry and are" if len(unused) > 1 else "looks like photometry and is"
        text = (f"{listed} {verb} not used: the model knows {', '.join(known)}. If one of them is a band of the model, "
                "name the columns of every band with option:columns")
        warnings.warn(InputWarning(text), stacklevel=stacklevel)
