"""Columns of a catalog's own ages, masses and reddening.

PHANGS-HST publishes up to three sets.  The ``MINCHISQ`` ones are the
single-branch maximum-likelihood fits used by Walter et al. (2025) for comparison;
the others come from a decision tree with branches of low metallicity and of
restricted reddening.  Sets are never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

from astropy.table import Table

from ..errors import InputError
from .columns import find
from .legus import LEGUS_BANDS, raw_positions

__all__ = ["FAMILIES", "Family", "published_columns"]

_UNITS = {"age": "Myr", "mass": "solMass", "ebv": "mag"}


@dataclass(frozen=True)
class Family:
    """One set of published fits.

    Attributes
    ----------
    name : str
        Name for ``published=``.
    pattern : str
        Pattern of column names, with ``{}`` for age, mass or ebv.
    ends : tuple of str
        Suffixes for the symmetric error and the lower and upper end of the interval.
    description : str
    mass : str
        Definition of the catalog's mass.
    units : dict
        Units of columns without a unit.
    """

    name: str
    pattern: str
    ends: tuple[str, str, str]
    description: str
    mass: str
    units: dict


_PRESENT = "present-day stellar mass (inferred for the releases before DR4)"
_ENDS = ("_ERR", "_LIMLO", "_LIMHI")

#: Recognized sets, in order of preference.
FAMILIES = (
    Family("minchisq", "PHANGS_{}_MINCHISQ", _ENDS, "PHANGS-HST, single-branch maximum likelihood (CIGALE)", _PRESENT,
           _UNITS),
    Family("sed", "PHANGS_SED_{}", _ENDS, "PHANGS-HST, decision tree (CR3)", _PRESENT, _UNITS),
    Family("thilker25", "PHANGS_DR5_THILKER25_{}", _ENDS, "PHANGS-HST, decision tree (DR5)", _PRESENT, _UNITS),
    Family("sedfix", "SEDfix_{}", ("_err", "_limlo", "_limhi"), "PHANGS-HST, decision tree (internal)", _PRESENT,
           _UNITS),
    Family("legus", "{}_legus", ("_err", "_min", "_max"), "LEGUS, Yggdrasil models (Padova-AGB, Kroupa IMF)",
           "as published; whether initial or present-day is not stated", _UNITS | {"age": "yr"}),
)


def published_columns(tbl: Table, family: str | None = None) -> tuple:
    """Return the columns of a catalog's own fits.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    family : str, optional
        ``minchisq``, ``sed``, ``thilker25``, ``sedfix`` or ``legus``; by
        default the first of these in the table.

    Returns
    -------
    family : Family or None
        Set of fits, or None if the table has no such columns.
    columns : dict of str to tuple
        For each of ``age``, ``mass`` and ``ebv`` in the table: value column,
        columns of the lower and upper end of the interval, column of the
        symmetric error (None if absent), and the unit.

    Raises
    ------
    InputError
        If the family is unknown, or the table does not have its columns.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.published import published_columns
    >>> family, columns = published_columns(Table({"PHANGS_AGE_MINCHISQ": [5],
    ...                                            "PHANGS_AGE_MINCHISQ_ERR": [1]}))
    >>> family.name, columns["age"]
    ('minchisq', ('PHANGS_AGE_MINCHISQ', None, None, 'PHANGS_AGE_MINCHISQ_ERR', 'Myr'))
    """
    known = {f.name: f for f in FAMILIES}
    if family is not None and family not in known:
        raise InputError(f"option:published={family!r} is not known; use one of {', '.join(map(repr, known))}")
    position = _positions(tbl)
    for candidate in FAMILIES if family is None else (known[family],):
        columns = _columns(tbl, candidate, position)
        if columns:
            return candidate, columns
    if family is not None:
        raise InputError(f"the table has no columns {known[family].pattern.format('...')}, which "
                         f"option:published={family!r} needs")
    return None, {}


def _columns(tbl, family, position):
    out = {}
    for quantity, unit in family.units.items():
        stem = family.pattern.format(quantity.upper() if family.pattern.startswith("PHANGS") else quantity)
        value = position(stem)
        if value:
            error, low, high = (position(stem + end) for end in family.ends)
            own = getattr(tbl[value], "unit", None)
            out[quantity] = (value, low, high, error, str(own) if own is not None and str(own) else unit)
    return out


def _positions(tbl):
    """Return the actual names of columns by their expected names."""
    raw = raw_positions(tbl, LEGUS_BANDS)
    if raw:
        return raw.get
    return lambda name: find(tbl.colnames, name)
