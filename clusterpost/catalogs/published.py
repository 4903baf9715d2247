"""Columns of a table that hold the catalog's own ages, masses and reddening.

PHANGS-HST publishes up to three sets.  The ``MINCHISQ`` ones are the
single-branch maximum-likelihood fits that Walter et al. (2025) compare with;
the others come from a decision tree with branches of low metallicity and of
restricted reddening.  The sets are never mixed.
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
        What ``published=`` calls it.
    pattern : str
        Of its column names; ``{}`` stands for age, mass or ebv.
    ends : tuple of str
        What follows for the symmetric error, the lower and the upper end of the interval.
    description : str
    mass : str
        Which mass the catalog gives.
    units : dict
        Of columns that carry none.
    """

    name: str
    pattern: str
    ends: tuple[str, str, str]
    description: str
    mass: str
    units: dict


_PRESENT = "present-day stellar mass (inferred for the releases before DR4)"
_ENDS = ("_ERR", "_LIMLO", "_LIMHI")

#: Every set that is recognized, the preferred one first.
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
        default the first of these that the table has.

    Returns
    -------
    family : Family or None
        None where the table has no such columns.
    columns : dict of str to tuple
        For those of ``age``, ``mass`` and ``ebv`` that are there: value column,
        column of the lower and of the upper end of the interval, column of the
        symmetric error (None where absent), and the unit.

    Raises
    ------
    InputError
        If the family is not known, or the table has not its columns.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.published import published_columns
    >>> family, columns = published_columns(Table({"PHANGS_AGE_MINCHISQ": [5], "PHANGS_AGE_MINCHISQ_ERR": [1]}))
    >>> family.name, columns["age"]
    ('minchisq', ('PHANGS_AGE_MINCHISQ', None, None, 'PHANGS_AGE_MINCHISQ_ERR', 'Myr'))
    """
    known = {f.name: f for f in FAMILIES}
    if family is not None and family not in known:
        raise InputError(f"option:published={family!r} is not known; there are {', '.join(map(repr, known))}")
    position = _positions(tbl)
    for candidate in FAMILIES if family is None else (known[family],):
        columns = _columns(tbl, candidate, position)
        if columns:
            return candidate, columns
    if family is not None:
        raise InputError(f"the table has no columns {known[family].pattern.format('...')}, which "
                         f"option:published={family!r} stands for")
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
    """From the names that columns should have to those they have."""
    raw = raw_positions(tbl, LEGUS_BANDS)
    if raw:
        return raw.get
    return lambda name: find(tbl.colnames, name)
