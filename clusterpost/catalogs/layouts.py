"""Which columns of a table are its photometry, and by whose conventions.

A table is recognized by its column names alone (and, for LEGUS, by the unit of
its magnitudes), as one of:

============== ================================================ ===============================
layout         photometry                                       missing values
============== ================================================ ===============================
canonical      ``F275W``, ``F275W_err``, ``F275W_limit`` ...    NaN or masked, and those below
PHANGS DR4     ``PHANGS_F275W_mJy``, ``..._mJy_ERR``, or        -9999, -999
               ``PHANGS_F275W_VEGA``, ``..._VEGA_ERR``
PHANGS CR3     the same, with ``PHANGS_SED_AGE``, ...           -9999, -999
PHANGS DR5     the same, with ``PHANGS_DR5_...``                -9999, -999
PHANGS         ``PHANGS_F275W_mJy_TOT``, ``..._TOT_ERR``, or    -9999, -999
internal       ``PHANGS_F275W_VEGA_TOT``, ..., in any case
LEGUS          35 columns without names, or as `read_legus`     66.666, 99.999, 44.444
               names them
============== ================================================ ===============================

In the PHANGS tables of DR4 the errors in V and I are called ``_mJy_TOT_ERR``
where those of the other bands are ``_mJy_ERR``; either name is found in every
band.  Where B is F435W (ngc0628c, ngc0628e, ngc1300, ngc1672, ngc3621) V and I
are of ACS, too.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from ..bands import BANDS
from ..errors import ColumnError
from .legus import LEGUS_BANDS, LEGUS_SENTINELS, N_COLUMNS, legus_bands, legus_columns

__all__ = ["BandColumns", "Layout", "recognise"]

PHANGS_SENTINELS = (-9999.0, -999.0)

_PHANGS_BAND = re.compile(r"PHANGS_(F\d{3}W)_(MJY|VEGA)(_TOT)?(_ERR)?", re.IGNORECASE)
_FILTERS = tuple(dict.fromkeys(band.removesuffix("_ACS") for band in BANDS))
_QUANTITIES = {"age": "Myr", "mass": "solMass", "ebv": "mag"}


@dataclass(frozen=True)
class BandColumns:
    """The columns of one band.

    Attributes
    ----------
    flux, error : str
        Column names of the flux or magnitude and of its error.
    limit : str, optional
        Boolean column that is True where ``flux`` is an upper limit.
    magnitude_system : str, optional
        ``AB``, ``ST`` or ``Vega`` where the catalog is known to hold
        magnitudes of that system; None where the unit (or the meta) tells.
    """

    flux: str
    error: str
    limit: str | None = None
    magnitude_system: str | None = None


@dataclass(frozen=True)
class Layout:
    """What the columns of a table mean.

    Attributes
    ----------
    name : str
        ``canonical``, ``PHANGS DR4``, ``PHANGS internal``, ``PHANGS CR3``,
        ``PHANGS DR5``, ``LEGUS`` or ``columns argument``.
    bands : dict of str to BandColumns
        By canonical band name, in the order of `clusterpost.bands.BANDS`.
    sentinels : tuple of float
        Values that stand for missing, in fluxes, magnitudes and errors.
    negative_error_is_limit : bool
        Whether a negative error marks the flux as an upper limit.
    distance : str or None
        Column with the distance (in Mpc where it has no unit).
    galaxy : str or None
        Column with the name of the galaxy.
    default_unit : str or None
        Unit of flux, magnitude and error columns that carry none.
    published : dict of str to tuple
        For those of ``age``, ``mass`` and ``ebv`` that the catalog has: value
        column, column of the lower and of the upper end of the interval,
        column of the symmetric error (None where absent), and the unit.
    """

    name: str
    bands: dict[str, BandColumns]
    sentinels: tuple[float, ...] = ()
    negative_error_is_limit: bool = True
    distance: str | None = None
    galaxy: str | None = None
    default_unit: str | None = None
    published: dict[str, tuple] = field(default_factory=dict)


def recognise(tbl, columns=None) -> Layout:
    """Find the photometry, distance and published fits of a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Not changed.
    columns : dict, optional
        ``{"F275W": ("my_flux", "my_error")}``, or with a third name for the
        boolean column of upper limits, for every band to use.  Nothing else
        is then taken for photometry.

    Returns
    -------
    Layout

    Raises
    ------
    ColumnError
        If there is no photometry, if a band lacks its error, if two columns
        could be the flux of one band, or if ``columns`` names what is not
        there.  The message names the columns and the remedy.

    Warns
    -----
    AstropyUserWarning
        If a LEGUS table without column names does not tell its cameras.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs import recognise
    >>> tbl = Table({"PHANGS_F555W_mJy": [1e-3], "PHANGS_F555W_mJy_TOT_ERR": [1e-4]})
    >>> layout = recognise(tbl)
    >>> layout.name, layout.bands["F555W"].error
    ('PHANGS DR4', 'PHANGS_F555W_mJy_TOT_ERR')
    """
    if columns is not None:
        return _from_argument(tbl, columns)
    names = tbl.colnames
    if _is_raw_legus(tbl):
        return _raw_legus(tbl)
    canonical, lacking = _canonical(names)
    fluxes, errors = _phangs_columns(names)
    common = {"distance": _find(names, "distance", "PHANGS_DMPC"), "galaxy": _find(names, "galaxy", "PHANGS_GALAXY")}
    common["published"] = _published(tbl)
    if canonical or lacking:
        _settle(canonical, lacking, fluxes)
        if lacking:
            raise _no_error(lacking[0], f"{lacking[0]}_err", names)
        _check_near_misses(names, canonical)
        if _is_labelled_legus(tbl, canonical):
            bands = {b: BandColumns(c.flux, c.error, c.limit, "Vega") for b, c in canonical.items()}
            return Layout("LEGUS", bands, LEGUS_SENTINELS, negative_error_is_limit=False, default_unit="mag", **common)
        return Layout("canonical", canonical, _sentinels(tbl, canonical), **common)
    phangs = _phangs(tbl, fluxes, errors)
    if phangs:
        units = {"mag" if c.magnitude_system else "mJy" for c in phangs.values()}
        # One unit cannot stand for both kinds: without a default, a column that has no unit is refused.
        default_unit = units.pop() if len(units) == 1 else None
        return Layout(_phangs_name(names, phangs), phangs, PHANGS_SENTINELS, default_unit=default_unit, **common)
    raise _no_photometry(names, sorted({f for f, _ in fluxes}))


def _find(names, *wanted):
    """The first of the wanted columns that is there, in any case where that is unambiguous."""
    for name in wanted:
        if name in names:
            return name
        alike = [n for n in names if n.lower() == name.lower()]
        if len(alike) == 1:
            return alike[0]
    return None


def _unit_of(tbl, name):
    return getattr(tbl[name], "unit", None)


def _filter(band):
    return band.removesuffix("_ACS")


# Canonical columns and the argument


def _canonical(names):
    """Bands with their columns, and the bands whose error column is absent."""
    present = set(names)
    bands, lacking = {}, []
    for band in BANDS:
        if band in present and f"{band}_err" in present:
            limit = f"{band}_limit"
            bands[band] = BandColumns(band, f"{band}_err", limit if limit in present else None)
        elif band in present:
            lacking.append(band)
    return bands, lacking


def _check_near_misses(names, bands):
    """A band that is called almost right would be lost in silence."""
    for name in names:
        meant = _meant_band(name)
        if meant and meant not in bands and _find(names, f"{name}_err"):
            raise ColumnError(
                f"column {name!r} is not read, as its name is not exactly that of a band; if it is {meant}, rename it "
                f"to {meant!r} (and its error to '{meant}_err'), or name every band with columns={{...}}"
            )


def _meant_band(name):
    upper = name.upper()
    if upper == "F435W":
        return "F435W_ACS"
    return upper if upper in BANDS and name not in BANDS else None


def _from_argument(tbl, columns):
    names = tbl.colnames
    if not columns:
        raise ColumnError('columns= is empty; give {"F275W": ("flux column", "error column"), ...} or leave it out')
    given, owner = {}, {}
    for key, value in columns.items():
        band = str(key).upper()
        if band not in BANDS:
            raise ColumnError(f"columns= names an unknown band {key!r}{_hint(band, BANDS)}; bands: {', '.join(BANDS)}")
        if isinstance(value, str) or not 2 <= len(value) <= 3:
            raise ColumnError(
                f"columns[{key!r}] is {value!r}; give (flux column, error column) or (flux column, error column, "
                "upper-limit column)"
            )
        for column in value:
            if column is not None and column not in names:
                raise ColumnError(
                    f"columns[{key!r}] names a column {column!r} that the table has not{_hint(column, names)}; "
                    f"it has {_some(names)}"
                )
        if owner.setdefault(value[0], band) != band:
            raise ColumnError(f"columns= gives column {value[0]!r} to two bands, {owner[value[0]]} and {band}")
        given[band] = tuple(value)
    bands = {}
    for band in (b for b in BANDS if b in given):
        flux, error, *limit = given[band]
        system = "Vega" if _survey_unit(tbl, flux) == "mag" else None
        bands[band] = BandColumns(flux, error, limit[0] if limit else None, system)
    # Columns that a survey named keep its unit, whoever points at them.
    units = {_survey_unit(tbl, c.flux) for c in bands.values()}
    default_unit = units.pop() if len(units) == 1 else None
    return Layout(
        "columns argument",
        bands,
        LEGUS_SENTINELS if _is_raw_legus(tbl) else _sentinels(tbl, bands),
        distance=_find(names, "distance", "PHANGS_DMPC"),
        galaxy=_find(names, "galaxy", "PHANGS_GALAXY"),
        default_unit=default_unit,
        published=_published_legus(tbl, _raw_positions(tbl)) if _is_raw_legus(tbl) else _published(tbl),
    )


def _survey_unit(tbl, flux):
    match = _PHANGS_BAND.fullmatch(flux)
    if match:
        return "mag" if match[2].upper() == "VEGA" else "mJy"
    return "mag" if _is_raw_legus(tbl) else None


def _sentinels(tbl, bands):
    """Of tables whose origin is not known: what no flux, or no magnitude, can be by chance."""
    magnitudes = all(str(_unit_of(tbl, c.flux)).startswith("mag") for c in bands.values())
    return PHANGS_SENTINELS + LEGUS_SENTINELS if magnitudes else PHANGS_SENTINELS


# PHANGS


def _phangs_columns(names):
    """Flux and error columns by filter and kind, such as ("F275W", "MJY")."""
    fluxes, errors = defaultdict(list), defaultdict(list)
    for name in names:
        match = _PHANGS_BAND.fullmatch(name)
        if match:
            (errors if match[4] else fluxes)[match[1].upper(), match[2].upper()].append(name)
    return fluxes, errors


def _phangs(tbl, fluxes, errors):
    """Bands of a PHANGS table with their columns."""
    acs = _b_is_acs(tbl, fluxes)
    bands = {}
    for band, record in BANDS.items():
        name = _filter(band)
        if record.wfc3 in ("F438W", "F555W", "F814W") and (record.instrument == "ACS/WFC") is not acs:
            continue
        system = next((s for s in ("MJY", "VEGA") if (name, s) in fluxes), None)
        if system is None:
            continue
        candidates = fluxes[name, system]
        if len(candidates) > 1:
            raise _ambiguous(band, "flux", candidates)
        flux = candidates[0]
        error = _error_of(band, flux, errors[name, system], tbl.colnames)
        bands[band] = BandColumns(flux, error, magnitude_system="Vega" if system == "VEGA" else None)
    return bands


def _error_of(band, flux, candidates, names):
    if not candidates:
        raise _no_error(flux, f"{flux}_ERR", names)
    own = [c for c in candidates if c.lower() == f"{flux}_ERR".lower()]
    candidates = own or candidates
    if len(candidates) > 1:
        raise _ambiguous(band, "error", candidates)
    return candidates[0]


def _b_is_acs(tbl, fluxes):
    """Whether B is F435W, and with it V and I of ACS."""
    filters = {f for f, _ in fluxes}
    if not {"F435W", "F438W"} <= filters:
        return "F435W" in filters
    # Tables of several galaxies have both; a part of one keeps both columns, one of them without values.
    used = {}
    for name in ("F435W", "F438W"):
        columns = fluxes.get((name, "MJY")) or fluxes.get((name, "VEGA"))
        used[name] = any(_has_values(tbl[c]) for c in columns)
    if all(used.values()):
        raise ColumnError(
            "the table has B in F435W (ACS) for some rows and in F438W (WFC3) for others, and F555W and F814W then "
            "are of two cameras each; split it into the rows with and without F435W (by galaxy) and treat each alone, "
            "or name the bands with columns={...}"
        )
    return used["F435W"]


def _has_values(column):
    values = np.asarray(getattr(column, "unmasked", column))
    if values.dtype.kind not in "fiu":
        return True
    mask = np.asarray(getattr(column, "mask", False))
    return bool((np.isfinite(values) & ~np.isin(values, PHANGS_SENTINELS) & ~mask).any())


def _phangs_name(names, bands):
    upper = [n.upper() for n in names]
    if any(n.startswith("PHANGS_DR5_") for n in upper):
        return "PHANGS DR5"
    if any(n in ("PHANGS_SED_AGE", "PHANGS_SED_MASS", "PHANGS_SED_EBV") for n in upper):
        return "PHANGS CR3"
    # DR4 has _TOT in the names of some errors, but never of a flux.
    if any(_PHANGS_BAND.fullmatch(c.flux)[3] for c in bands.values()):
        return "PHANGS internal"
    return "PHANGS DR4"


def _settle(canonical, lacking, fluxes):
    """Canonical columns beside those of PHANGS are the ones to use, if they are all there."""
    phangs = defaultdict(list)
    for (name, _), columns in fluxes.items():
        if name in _FILTERS:
            phangs[name] += columns
    if not phangs or not (lacking or phangs.keys() - {_filter(band) for band in canonical}):
        return
    candidates = {name: [b for b in (*canonical, *lacking) if _filter(b) == name] + phangs[name] for name in _FILTERS}
    listed = "; ".join(f"{name}: {' or '.join(found)}" for name, found in candidates.items() if found)
    raise ColumnError(
        f"the table has canonical and PHANGS photometry, and the canonical one is not complete ({listed}); complete it "
        "(each band with its <band>_err), drop one set, or choose with columns={...}"
    )


# LEGUS


def _is_raw_legus(tbl):
    return tbl.colnames == [f"col{i + 1}" for i in range(N_COLUMNS)]


def _is_labelled_legus(tbl, bands):
    """As `read_legus` names them, and still in magnitudes: in flux units the sentinels have no meaning."""
    return any(n in tbl.colnames for n in ("age_legus", "mass_legus", "ebv_legus", "chi2_legus", "q_legus")) and all(
        str(_unit_of(tbl, c.flux)) == "mag" for c in bands.values()
    )


def _raw_legus(tbl):
    legus = legus_bands(tbl.meta.get("source"))
    position = _raw_positions(tbl, legus)
    bands = {b: BandColumns(position[b], position[f"{b}_err"], None, "Vega") for b in BANDS if b in position}
    return Layout(
        "LEGUS",
        bands,
        LEGUS_SENTINELS,
        negative_error_is_limit=False,
        default_unit="mag",
        published=_published_legus(tbl, position),
    )


def _raw_positions(tbl, bands=LEGUS_BANDS):
    """Names of `read_legus` to the names the columns have."""
    return dict(zip((name for name, _, _ in legus_columns(bands)), tbl.colnames, strict=True))


# Published fits


def _published(tbl):
    """The catalog's own ages, masses and reddening: of one family of columns, the single-branch fits first."""
    names = tbl.colnames
    for pattern, error in (
        ("PHANGS_{}_MINCHISQ", "_ERR"),
        ("PHANGS_SED_{}", None),
        ("PHANGS_DR5_THILKER25_{}", None),
    ):
        out = {}
        for quantity, unit in _QUANTITIES.items():
            value = _find(names, pattern.format(quantity.upper()))
            if value:
                low, high = (None, None) if error else (_find(names, f"{value}{e}") for e in ("_LIMLO", "_LIMHI"))
                symmetric = _find(names, f"{value}{error}") if error else None
                out[quantity] = (value, low, high, symmetric, _unit_string(tbl, value, unit))
        if out:
            return out
    return _published_legus(tbl, {n: n for n in names})


def _published_legus(tbl, position):
    out = {}
    for quantity, unit in (_QUANTITIES | {"age": "yr"}).items():
        value = position.get(f"{quantity}_legus")
        if value:
            low, high = (position.get(f"{quantity}_legus_{end}") for end in ("min", "max"))
            out[quantity] = (value, low, high, None, _unit_string(tbl, value, unit))
    return out


def _unit_string(tbl, name, default):
    unit = _unit_of(tbl, name)
    return default if unit is None or not str(unit) else str(unit)


# Messages


def _hint(name, choices):
    close = {c.lower(): c for c in choices}
    begins = [c for c in close if c.startswith(name.lower())]
    found = list(dict.fromkeys(begins + difflib.get_close_matches(name.lower(), list(close), n=3)))[:3]
    return f" (did you mean {' or '.join(repr(close[f]) for f in found)}?)" if found else ""


def _some(names, n=12):
    listed = ", ".join(repr(name) for name in names[:n])
    return f"{listed}, ... ({len(names)} columns)" if len(names) > n else listed or "no columns"


def _no_error(flux, error, names):
    hint = _hint(error, [name for name in names if name != flux])
    return ColumnError(
        f"column {flux!r} has no column with its errors: {error!r} is absent{hint}; add it, or name the columns with "
        f"columns={{...}}"
    )


def _ambiguous(band, what, candidates):
    return ColumnError(
        f"{len(candidates)} columns could be the {what} of {band}: {', '.join(map(repr, candidates))}; drop all but "
        f"one, or choose with columns={{{band!r}: (flux column, error column), ...}}"
    )


def _no_photometry(names, found):
    alike = [f"{name!r} for {band!r}" for name in names if (band := _meant_band(name))]
    other = f" It has PHANGS columns in filters that are not known: {', '.join(found)}." if found else ""
    return ColumnError(
        f"no photometry found. Looked for canonical columns ({', '.join(BANDS)}, each with <band>_err), for those of "
        "PHANGS-HST (PHANGS_F275W_mJy or PHANGS_F275W_VEGA with _ERR, or with _TOT and _TOT_ERR) and of LEGUS "
        f"({N_COLUMNS} columns without names); the table has {_some(names)}.{other}"
        + (f" Perhaps rename {', '.join(alike)}." if alike else "")
        + ' Name the columns with columns={"F275W": ("flux column", "error column"), ...}.'
    )
