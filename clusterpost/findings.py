"""Input faults evaluated for a whole table, counted chunk by chunk."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from . import flags
from .catalogs.messages import Fault, warn_of_sentinels, warn_of_unused
from .errors import InputError, InputWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table

__all__ = ["Findings", "warn_of_improbable"]

_FEW = 5  # rows, the minimum for a warning
_EDGE = 0.02  # fraction of the range of a parameter


@dataclass(frozen=True)
class Findings:
    """Counts of rows with faults that are errors if all rows have them, and warnings or flags otherwise.

    Use ``+`` to add the findings of successive chunks.

    Attributes
    ----------
    rows : int
        Number of rows read.
    empty : int
        Number of rows without data in any band.
    columns : tuple of str
        Flux columns of the bands.
    faults : dict of str to Fault
        Faults by kind.
    sentinels : tuple of (str, float, int)
        Band, value treated as missing, and number of occurrences.
    unused : tuple of str
        Columns that look like photometry but are not used.
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
        """Return the same findings with row numbers of a larger table.

        Parameters
        ----------
        offset : int
            Number of preceding rows.
        place : str
            Prefix of the reason, such as a file name.

        Returns
        -------
        Findings
        """
        return replace(self, faults={kind: fault.moved(offset, place) for kind, fault in self.faults.items()})

    def raise_or_warn(self, stacklevel: int = 3) -> None:
        """Raise if all rows have a fault, and warn if some have.

        Parameters
        ----------
        stacklevel : int
            As for `warnings.warn`; by default the caller of the calling function.

        Raises
        ------
        InputError
            If no row has a measurement, or all rows have another fault.
        DistanceError
            If no distance is positive, or none is within the model's range.

        Warns
        -----
        InputWarning
            If some rows have such a fault, values were treated as missing, or columns are not used.
        """
        if self.rows and self.empty == self.rows:
            which = "row {row} is" if self.rows == 1 else f"all {self.rows} rows are"
            raise InputError(f"{which} missing in every band (columns {', '.join(self.columns)}); "
                             "check the columns, or give others with option:columns", row=0)
        counted = {}
        for band, value, count in self.sentinels:
            counted.setdefault(band, Counter())[value] += count
        warn_of_sentinels(counted, stacklevel + 1)
        warn_of_unused(self.unused, self.known, stacklevel + 1)
        for fault in self.faults.values():
            if fault.rows and fault.rows == fault.checked:
                raise fault.error(f"{fault.reason}. {fault.remedy}", row=fault.first)
            if fault.rows:
                warnings.warn(InputWarning(f"{fault.reason}. {fault.rows} such rows {fault.outcome}",
                                           row=fault.first), stacklevel=stacklevel)


def warn_of_improbable(out: Table, parameters: Sequence, prefix: str = "", stacklevel: int = 3) -> None:
    """Warn about unit and distance if most results are improbable.

    Parameters
    ----------
    out : `~astropy.table.Table`
        Output of `~clusterpost.infer_table`.
    parameters : sequence of `~clusterpost.families.base.Parameter`
        Parameters of the model.
    prefix : str
        Prefix of the results.
    stacklevel : int
        As for `warnings.warn`.

    Warns
    -----
    InputWarning
        If more than half of at least five rows fit badly or are outside the
        support of the model, or have medians at the edge of the prior in
        a parameter that is proportional to the flux.

    Examples
    --------
    >>> from clusterpost.findings import warn_of_improbable
    >>> import clusterpost
    >>> warn_of_improbable(clusterpost.infer_table(clusterpost.simulate(5, seed=1),
    ...                                            n_samples=50), ())
    """
    flag = np.asarray(out[f"{prefix}flag"])
    inferred = (flag & flags.NOT_INFERRED) == 0
    if inferred.sum() < _FEW:
        return
    found = []
    if ((flag[inferred] & (flags.POOR_FIT | flags.OUTSIDE_SUPPORT)) != 0).mean() > 0.5:
        found.append("fit badly or are outside the support of the model")
    for parameter in parameters:
        name = f"{prefix}{parameter.column}_q50"
        if not parameter.log10 or "mass" not in parameter.name or name not in out.colnames:
            continue  # only masses scale with flux and distance squared
        place = (np.log10(np.asarray(out[name], float)[inferred]) - parameter.low) / (parameter.high - parameter.low)
        if (np.minimum(place, 1 - place) < _EDGE).mean() > 0.5:
            found.append(f"are at the edge of the prior in {parameter.column}")
    if found:
        text = (f"most of {inferred.sum()} rows {' and '.join(found)}. Check the unit (option:unit), the magnitude "
                "system, and the distance (option:distance)")
        warnings.warn(InputWarning(text), stacklevel=stacklevel + 1)
