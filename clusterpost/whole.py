"""What is judged of a table as a whole, where inference sees it part by part."""

from __future__ import annotations

import contextlib
import warnings
from contextvars import ContextVar
from dataclasses import dataclass

from astropy.utils.exceptions import AstropyUserWarning

from .errors import DistanceError, InputError

__all__ = ["Findings", "findings_of_part", "one_part"]

_OF_PART = ContextVar("findings of the part of a table that is being inferred", default=None)


@dataclass
class Findings:
    """What an error or a warning is about if it holds for all rows or for some.

    Attributes
    ----------
    rows : int
    empty : int
        Those of them that are missing in every band.
    placed : int
        Rows whose distance was looked at.
    far : int
        Those of them that are outside what the model knows.
    first_far : str
        The first of them, in words.
    """

    rows: int = 0
    empty: int = 0
    placed: int = 0
    far: int = 0
    first_far: str = ""

    def add(self, other):
        """Take in what was found of other rows.

        Parameters
        ----------
        other : Findings
        """
        self.rows, self.empty = self.rows + other.rows, self.empty + other.empty
        self.placed, self.far = self.placed + other.placed, self.far + other.far
        self.first_far = self.first_far or other.first_far

    def judge(self, stacklevel=2):
        """Warn of what is wrong with some rows, and stop where it is with all.

        Parameters
        ----------
        stacklevel : int
            As of `warnings.warn`.

        Raises
        ------
        InputError
            If no row has a measurement.
        DistanceError
            If every distance is outside the model's range.

        Warns
        -----
        AstropyUserWarning
            If some are.
        """
        if self.rows and self.empty == self.rows:
            raise InputError(f"all {self.rows} rows are missing in every band; are these the right columns? "
                             "columns={...} names others")
        if self.far and self.far == self.placed:
            raise DistanceError(f"{self.first_far}. Check the unit of the distance")
        if self.far:
            warnings.warn(f"{self.first_far}. {self.far} such rows are flagged and not inferred", AstropyUserWarning,
                          stacklevel=stacklevel + 1)


@contextlib.contextmanager
def one_part():
    """Within it, tables that are inferred are parts of a larger one, and nothing is judged.

    Yields
    ------
    Findings
        Of all of them together; whoever knows the whole table judges.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.whole import one_part
    >>> tbl = clusterpost.simulate(2, seed=1)
    >>> with one_part() as findings:
    ...     out = clusterpost.infer_table(tbl, n_samples=50)
    >>> findings.rows, findings.far
    (2, 0)
    """
    findings = Findings()
    token = _OF_PART.set(findings)
    try:
        yield findings
    finally:
        _OF_PART.reset(token)


def findings_of_part():
    """Where findings are to be added.

    Returns
    -------
    Findings or None
        None if a table is inferred as a whole.
    """
    return _OF_PART.get()
