"""Which columns of a table are its photometry, and by whose conventions.

A table is recognized by its column names alone, as one of:

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
               names them: ``F275W_vega``, ``F275W_vega_err``
============== ================================================ ===============================

In the PHANGS tables of DR4 the errors in V and I are called ``_mJy_TOT_ERR``
where those of the other bands are ``_mJy_ERR``; either name is found in every
band.  Where B is F435W (ngc0628c, ngc0628e, ngc1300, ngc1672, ngc3621) V and I
are of ACS, too; in a table of many galaxies each row has the cameras of its B.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..bands import BANDS, find_band
from ..errors import ColumnError
from ..provenance import recorded_reading
from .columns import (
    PHANGS_SENTINELS,
    BandColumns,
    filter_of,
    find,
    hint,
    no_error,
    phangs_bands,
    phangs_columns,
    phangs_name,
    phangs_unit,
    some,
)
from .legus import LEGUS_SENTINELS, N_COLUMNS, is_raw_legus, legus_bands, legus_columns
from .published import published_columns
from .records import COLUMNS_KEY, LAYOUT_KEY, meta_value

__all__ = ["BandColumns", "Layout", "recognise", "survey_layout"]


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
    cameras : dict of str to str, or None
        For a table whose rows are of two cameras: the B column of each, by
        instrument.
    """

    name: str
    bands: dict[str, BandColumns]
    sentinels: tuple[float, ...] = ()
    negative_error_is_limit: bool = True
    distance: str | None = None
    galaxy: str | None = None
    default_unit: str | None = None
    published: dict[str, tuple] = field(default_factory=dict)
    cameras: dict[str, str] | None = None


def recognise(tbl, columns=None) -> Layout:
    """Find the photometry, distance and published fits of a table.

    Canonical columns are taken before those of a survey beside them.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Not changed.
    columns : dict, optional
        ``{"F275W": ("my_flux", "my_error")}``, or with a third name for the
        boolean column of upper limits, for every band to use.  Nothing else
        is then taken for photometry.  By default, where the table's own names say
        nothing, what `~clusterpost.infer_table` was given for the results in it.

    Returns
    -------
    Layout
        Of a table that `~clusterpost.read_catalog` made, with the name that it
        gave, and the canonical columns.

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
    try:
        return _recognized(tbl)
    except ColumnError:
        recorded = recorded_reading(tbl).get("columns")
        if recorded is None:
            raise
        return _from_argument(tbl, recorded)


def _recognized(tbl):
    names = tbl.colnames
    canonical, lacking = _canonical(names)
    if canonical or lacking:
        read = meta_value(tbl, COLUMNS_KEY) is not None
        if lacking or not read:
            _settle(tbl, canonical, lacking)
        if lacking:
            raise no_error(lacking[0], f"{lacking[0]}_err", names)
        _check_near_misses(names, canonical)
        name = meta_value(tbl, LAYOUT_KEY) if read else None
        return Layout(name or "canonical", canonical, _sentinels(tbl, canonical), **_common(tbl))
    layout = survey_layout(tbl)
    if layout is None:
        raise _no_photometry(names, sorted({f for f, _ in phangs_columns(names)[0]}))
    return layout


def survey_layout(tbl) -> Layout | None:
    """The layout of a survey's own columns, whatever canonical ones are beside them.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    Layout or None

    Raises
    ------
    ColumnError
        As `recognise`.
    """
    if is_raw_legus(tbl):
        bands = _raw_legus_bands(tbl, legus_bands(tbl.meta.get("source")))
        return _legus(tbl, bands)
    labelled = _labelled_legus_bands(tbl)
    if labelled:
        for columns in labelled.values():
            if columns.error not in tbl.colnames:
                raise no_error(columns.flux, columns.error, tbl.colnames)
        return _legus(tbl, labelled)
    bands, cameras = phangs_bands(tbl)
    if not bands:
        return None
    units = {phangs_unit(c.flux) for c in bands.values()}
    # One unit cannot stand for both kinds: without a default, a column that has no unit is refused.
    default_unit = units.pop() if len(units) == 1 else None
    return Layout(phangs_name(tbl.colnames, bands), bands, PHANGS_SENTINELS, default_unit=default_unit,
                  cameras=cameras, **_common(tbl))


def _common(tbl):
    names = tbl.colnames
    return {"distance": find(names, "distance", "PHANGS_DMPC"), "galaxy": find(names, "galaxy", "PHANGS_GALAXY"),
            "published": published_columns(tbl)[1]}


def _legus(tbl, bands):
    return Layout("LEGUS", bands, LEGUS_SENTINELS, negative_error_is_limit=False, default_unit="mag", **_common(tbl))


def _raw_legus_bands(tbl, bands):
    position = {name: f"col{i + 1}" for i, (name, _, _) in enumerate(legus_columns(bands))}
    return {b: BandColumns(position[f"{b}_vega"], position[f"{b}_vega_err"], None, "Vega") for b in BANDS
            if f"{b}_vega" in position}


def _labelled_legus_bands(tbl):
    """As `read_legus` names them."""
    if not {"age_legus", "mass_legus", "ebv_legus", "chi2_legus", "q_legus"} & set(tbl.colnames):
        return {}
    return {band: BandColumns(f"{band}_vega", f"{band}_vega_err", None, "Vega") for band in BANDS
            if f"{band}_vega" in tbl.colnames}


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


def _settle(tbl, canonical, lacking):
    """Canonical columns beside those of a survey are the ones to use, if they are all there."""
    survey = {}
    for (name, _), columns in phangs_columns(tbl.colnames)[0].items():
        survey.setdefault(name, []).extend(columns)
    for band, columns in _labelled_legus_bands(tbl).items():
        survey.setdefault(filter_of(band), []).append(columns.flux)
    survey = {name: columns for name, columns in survey.items() if name in {filter_of(band) for band in BANDS}}
    if not survey or not (lacking or survey.keys() - {filter_of(band) for band in canonical}):
        return
    candidates = {name: [b for b in (*canonical, *lacking) if filter_of(b) == name] + survey.get(name, [])
                  for name in dict.fromkeys(map(filter_of, BANDS))}
    listed = "; ".join(f"{name}: {' or '.join(found)}" for name, found in candidates.items() if found)
    raise ColumnError(
        f"the table has canonical and survey photometry, and the canonical one is not complete ({listed}); complete it "
        "(each band with its <band>_err), drop one set, or choose with columns={...}"
    )


def _check_near_misses(names, bands):
    """A band that is called almost right would be lost in silence."""
    for name in names:
        meant = _meant_band(name)
        if meant and meant not in bands and find(names, f"{name}_err"):
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
    bands = _argument_bands(tbl, columns)
    # Columns that a survey named keep its unit, whoever points at them.
    units = {_survey_unit(tbl, c.flux) for c in bands.values()}
    default_unit = units.pop() if len(units) == 1 else None
    sentinels = LEGUS_SENTINELS if is_raw_legus(tbl) else _sentinels(tbl, bands)
    return Layout("columns argument", bands, sentinels, default_unit=default_unit, **_common(tbl))


def _argument_bands(tbl, columns):
    names = tbl.colnames
    if not columns:
        raise ColumnError('columns= is empty; give {"F275W": ("flux column", "error column"), ...} or leave it out')
    given, owner = {}, {}
    for key, value in columns.items():
        known = find_band(key)
        if known is None:
            raise ColumnError(f"columns= names an unknown band {key!r}{hint(str(key).upper(), BANDS)}; bands: "
                              f"{', '.join(BANDS)}")
        band = known.name
        if isinstance(value, str) or not 2 <= len(value) <= 3:
            raise ColumnError(
                f"columns[{key!r}] is {value!r}; give (flux column, error column) or (flux column, error column, "
                "upper-limit column)"
            )
        for column in value:
            if column is not None and column not in names:
                raise ColumnError(
                    f"columns[{key!r}] names a column {column!r} that the table has not{hint(column, names)}; "
                    f"it has {some(names)}"
                )
        if owner.setdefault(value[0], band) != band:
            raise ColumnError(f"columns= gives column {value[0]!r} to two bands, {owner[value[0]]} and {band}")
        given[band] = tuple(value)
    bands = {}
    for band in (b for b in BANDS if b in given):
        flux, error, *limit = given[band]
        if not limit and flux == band and f"{band}_limit" in names:
            limit = [f"{band}_limit"]  # a canonical column is not one without its limits
        system = "Vega" if _survey_unit(tbl, flux) == "mag" else None
        bands[band] = BandColumns(flux, error, limit[0] if limit else None, system)
    return bands


def _survey_unit(tbl, flux):
    legus = is_raw_legus(tbl) or any(columns.flux == flux for columns in _labelled_legus_bands(tbl).values())
    return "mag" if legus else phangs_unit(flux)


def _sentinels(tbl, bands):
    """Of tables whose origin is not known: what no flux, or no magnitude, can be by chance."""
    magnitudes = all(str(getattr(tbl[c.flux], "unit", None)).startswith("mag") for c in bands.values())
    return PHANGS_SENTINELS + LEGUS_SENTINELS if magnitudes else PHANGS_SENTINELS


def _no_photometry(names, found):
    alike = [f"{name!r} for {band!r}" for name in names if (band := _meant_band(name))]
    other = f" It has PHANGS columns in filters that are not known: {', '.join(found)}." if found else ""
    return ColumnError(
        f"no photometry found. Looked for canonical columns ({', '.join(BANDS)}, each with <band>_err), for those of "
        "PHANGS-HST (PHANGS_F275W_mJy or PHANGS_F275W_VEGA with _ERR, or with _TOT and _TOT_ERR) and of LEGUS "
        f"({N_COLUMNS} columns without names); the table has {some(names)}.{other}"
        + (f" Perhaps rename {', '.join(alike)}." if alike else "")
        + ' Name the columns with columns={"F275W": ("flux column", "error column"), ...}.'
    )
