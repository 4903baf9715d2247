"""The cluster catalogs of LEGUS, with 34 to 39 unnamed columns.

The Legacy ExtraGalactic UV Survey (Calzetti et al. 2015; cluster catalogs:
Adamo et al. 2017) publishes its clusters as ``.tab`` files without a header; a
``.readme`` of the same name numbers the columns and is used if it lies beside
the file.  Otherwise the values identify the columns: right ascension and
declination, magnitudes, ages and masses have unmistakable ranges, and mosaics
(NGC 1313) have two additional columns before them.  The columns after the number
of filters differ from field to field (``_TRAILING``).

F275W and F336W are always from WFC3/UVIS.  B, V and I are F438W, F555W and F814W
of WFC3/UVIS, unless archival ACS/WFC images were used for some of them.  Such
fields are listed here because file names do not identify them: ``acs-wfc3`` in a
file name means both cameras, but ``wfc3`` does not exclude ACS (NGC 1313).

Magnitudes are in the Vega system and corrected for Milky Way extinction and
aperture.  In magnitudes and errors, 66.666 means outside the field, 99.999 not
detected and 44.444 an undefined aperture correction.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table
from astropy.utils.data import get_readable_fileobj

from ..bands import BANDS
from ..errors import InputError, InputWarning, shown
from ..typing import PathLike
from .names import band_called
from .sentinels import is_sentinel

__all__ = [
    "LEGUS_BANDS",
    "LEGUS_SENTINELS",
    "N_COLUMNS",
    "first_fields",
    "is_raw_legus",
    "label_legus",
    "legus_bands",
    "legus_columns",
    "raw_positions",
    "read_legus",
]

#: Columns of most of the catalogs.
N_COLUMNS = 35
_FEWEST, _MOST = 34, 45
LEGUS_SENTINELS = (66.666, 99.999, 44.444)

_WFC3 = ("F275W", "F336W", "F438W", "F555W", "F814W")
LEGUS_BANDS = ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS")
_ACS_BVI = LEGUS_BANDS
_ACS_BI = ("F275W", "F336W", "F435W_ACS", "F555W", "F814W_ACS")
_ACS_VI = ("F275W", "F336W", "F438W", "F555W_ACS", "F814W_ACS")
_ACS_F606W = ("F275W", "F336W", "F438W", "F606W_ACS", "F814W_ACS")
# From the source-classification code of LEGUS (StarcNet, Perez et al. 2021, ApJ 907, 100).
_FIELDS = {
    **dict.fromkeys(("ngc628-c", "ngc1313-e", "ngc1313-w", "ngc4449", "ngc5194-ngc5195-mosaic", "ngc5253"), _ACS_BVI),
    "ngc628-e": _ACS_BI,
    **dict.fromkeys(("ngc4395-s", "ngc7793-w", "ugc4305", "ugc4459", "ugc5139"), _ACS_VI),
    **dict.fromkeys(("ic4247", "ngc3738", "ngc5238", "ngc5474", "ngc5477", "ugc1249", "ugc685", "ugc7408", "ugca281"),
                    _ACS_F606W),
}
_CAMERAS = {"wfc3": _WFC3, "uvis": _WFC3, "wfc3-uvis": _WFC3}
_FILE_NAME = re.compile(r"hlsp_legus_hst_(?P<cameras>[a-z0-9-]+)_(?P<target>[a-z0-9-]+?)_", re.IGNORECASE)


def legus_bands(source: PathLike | None = None) -> tuple[str, ...]:
    """Return the five bands of a LEGUS catalog, by the field in its file name.

    Parameters
    ----------
    source : path, optional
        Path or name of the file.

    Returns
    -------
    tuple of str
        Band names in the order of the file.  If the field is unknown, the
        cameras of NGC 628-C are assumed, with a warning.

    Warns
    -----
    InputWarning
        If the cameras are unknown.

    Examples
    --------
    >>> from clusterpost.catalogs.legus import legus_bands
    >>> end = "multiband_v1_padagb-mwext-avgapcor.tab"
    >>> legus_bands(f"hlsp_legus_hst_wfc3_ngc1566_{end}")[2]
    'F438W'
    >>> legus_bands(f"hlsp_legus_hst_acs-wfc3_ngc7793-w_{end}")[2:]
    ('F438W', 'F555W_ACS', 'F814W_ACS')
    """
    match = _FILE_NAME.match(Path(source).name) if source else None
    bands = match and (_FIELDS.get(match["target"].lower()) or _CAMERAS.get(match["cameras"].lower()))
    if not bands:
        where = f"the name {Path(source).name!r}" if source else "this table"
        warnings.warn(
            InputWarning(f"{where} does not tell the cameras of a LEGUS catalog; taking {', '.join(LEGUS_BANDS)} as "
                         "for NGC 628-C. If they are wrong, give the five bands in file order with option:bands"),
            stacklevel=3,
        )
        return LEGUS_BANDS
    return bands


def legus_columns(bands: Sequence[str], *, shift: int = 0,
                  trailing: Sequence[str] = ("class_mode", "class_mean")) -> list[tuple[str, str | None, str]]:
    """List the columns of a LEGUS catalog in the order of the file.

    Parameters
    ----------
    bands : sequence of str
        The five bands in the order of the file.
    shift : int
        Number of columns between y and the right ascension; two for the mosaics.
    trailing : sequence of str
        Columns after the number of filters.

    Returns
    -------
    list of (str, str or None, str)
        Name, unit and description of each.

    Examples
    --------
    >>> from clusterpost.catalogs.legus import legus_bands, legus_columns
    >>> bands = legus_bands("hlsp_legus_hst_wfc3_ngc1566_x.tab")
    >>> name, unit, description = legus_columns(bands)[16]
    >>> name, unit
    ('age_legus', 'yr')
    """
    mosaic = ("x_mosaic", "y_mosaic") if shift == 2 else tuple(f"position_{i + 1}" for i in range(shift))
    names = ["id", "x", "y", *mosaic, "ra", "dec"]
    names += [f"{band}_vega{end}" for band in bands for end in ("", "_err")]
    names += ["ci", *(f"{name}_legus{end}" for name in ("age", "mass", "ebv") for end in ("", "_max", "_min"))]
    names += [*(f"residual_{band}" for band in bands), "chi2_legus", "q_legus", "n_filters", *trailing]
    return [(name, *_meaning(name)) for name in names]


_FIT = "LEGUS fit with Yggdrasil models (Padova-AGB, Kroupa IMF)"
_CLASSES = "1, 2 cluster, 3 association, 4 spurious, 0 not inspected"
_MEANINGS = {
    "id": (None, "Source number"),
    "x": ("pix", "Position along x in the reference frame"),
    "y": ("pix", "Position along y in the reference frame"),
    "x_mosaic": ("pix", "Position along x in the mosaic"),
    "y_mosaic": ("pix", "Position along y in the mosaic"),
    "ra": ("deg", "Right ascension"),
    "dec": ("deg", "Declination"),
    "ci": ("mag", "Concentration index: magnitude in 1 pixel minus that in 3 pixels"),
    "chi2_legus": (None, f"Reduced chi square, {_FIT}"),
    "q_legus": (None, f"Goodness Q of the fit, {_FIT}"),
    "n_filters": (None, "Number of filters used in the fit; 0 = no fit"),
    "class_mode": (None, f"Class, mode of the votes: {_CLASSES}"),
    "class_mean": (None, "Class, mean of the votes"),
    "class_hybrid": (None, f"Recommended class, from humans and machine learning: {_CLASSES}"),
    "class_method": (None, "Source of class_hybrid: 0 machine, 1 verified by a human, 3, 4 humans, 6 revised"),
    "class_ml": (None, f"Class by machine learning: {_CLASSES}"),
    "class_verified": (None, f"Class by one human who checked the machine class: {_CLASSES}"),
    "class_reclassified": (None, "Class of sources inspected again after class 4"),
    "class_whitmore": (None, f"Class by S. Linden and B. Whitmore: {_CLASSES}"),
    "quality_whitmore": (None, "Quality of class_whitmore: 1 certain, 2 likely, 3 possible"),
    "halpha_whitmore": (None, "H-alpha at the source: 1 on top, 2 ring, 3 possibly, 4 none"),
    "selection": (None, "Detection of the source: 0 by the pipeline, otherwise by eye"),
}


def _meaning(name):
    """Return the unit and description of a column."""
    if name in _MEANINGS:
        return _MEANINGS[name]
    if name.endswith("_vega"):
        return "mag", f"Vega magnitude in {name[:-5]}, corrected for Milky Way extinction and aperture"
    if name.endswith("_vega_err"):
        return "mag", f"Error of the magnitude in {name[:-9]}"
    if name.startswith("residual_"):
        return None, f"Signed residual of the fit in {name[9:]}; 200 = not used"
    for stem, unit, what in (("age", "yr", "Age"), ("mass", "solMass", "Mass"), ("ebv", "mag", "E(B-V)")):
        for end, which in (("", "best value"), ("_max", "upper limit of the interval"),
                           ("_min", "lower limit of the interval")):
            if name == f"{stem}_legus{end}":
                return unit, f"{what}: {which}, {_FIT}"
    return None, "Column of unknown meaning; see the .readme of the catalog"


# Identification of columns

# Columns after the number of filters, by their count.
_TRAILING = {1: ("class_mode",), 2: ("class_mode", "class_mean")}
_HYBRID = ("class_hybrid", "class_method", "class_mode", "class_ml", "class_verified", "class_reclassified")
_METHODS = (0, 1, 3, 4, 6)
_BEFORE_TRAILING = N_COLUMNS - 2


def is_raw_legus(tbl: Table) -> bool:
    """Return whether an unnamed table has the columns of a LEGUS catalog, and possibly more.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    bool
        True if the columns are ``col1`` to ``col35``, or 34 to 45 such columns
        with the values of a LEGUS catalog.
    """
    return _shape(tbl) is not None


def _raw_names(tbl):
    """Return the columns ``col1``, ``col2``, ... of a table."""
    names = set(tbl.colnames)
    n = next(i for i in range(1, len(names) + 2) if f"col{i}" not in names)
    return [f"col{i}" for i in range(1, n)]


def _shape(tbl):
    """Return the number of additional columns before the right ascension and the last names, or None if not LEGUS."""
    n = len(_raw_names(tbl))
    if not _FEWEST <= n <= _MOST:
        return None
    shifts = [shift for shift in range(n - _BEFORE_TRAILING) if _fits(tbl, shift)]
    if len(shifts) != 1:
        if n != N_COLUMNS or shifts:
            return None
        shifts = [0]  # independent of the values, because most files have this order
    return shifts[0], _trailing(tbl, n, n - _BEFORE_TRAILING - shifts[0])


def _trailing(tbl, n, count):
    last = [f"col{n - count + i + 1}" for i in range(count)]
    if count == len(_HYBRID) and len(tbl) and np.isin(_values(tbl, last[1]), _METHODS).all():
        return _HYBRID
    known = _TRAILING.get(min(count, 2), ())
    return known + tuple(last[len(known):])


def _values(tbl, name):
    column = tbl[name]
    try:
        return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
    except (TypeError, ValueError):
        return np.full(len(tbl), np.nan)


def _fits(tbl, shift):
    """Return whether the values are those of a LEGUS catalog with this number of additional columns."""
    ra, dec, *photometry = (_values(tbl, f"col{i + shift}") for i in range(4, 17))
    age, mass = (_values(tbl, f"col{i + shift}") for i in (17, 20))
    if not len(ra):
        return False
    *photometry, _ = photometry
    on_sky = _all(ra, 0, 360) and _all(dec, -90, 90) and max(np.ptp(ra), np.ptp(dec)) < 5
    ranges = ((8, 40), (0, 5))  # magnitudes and their errors
    measured = [v[~is_sentinel(v, LEGUS_SENTINELS)] for v in photometry]
    return bool(
        on_sky and all(_all(v, *ranges[i % 2]) for i, v in enumerate(measured)) and any(len(v) for v in measured)
        and _all(age[age > 0], 1e4, 1e11) and _all(mass[mass > 0], 1, 1e10))


def _all(values, low, high):
    return bool(((values >= low) & (values <= high)).all())


def raw_positions(tbl: Table, bands: Sequence[str]) -> dict[str, str]:
    """Find the columns of a LEGUS table without names.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    bands : sequence of str
        The five bands in the order of the file.

    Returns
    -------
    dict of str to str
        Columns by name, such as ``col17`` for ``age_legus``; empty if this is not a LEGUS table.
    """
    shape = _shape(tbl)
    if shape is None:
        return {}
    shift, trailing = shape
    return {name: f"col{i + 1}" for i, (name, _, _) in enumerate(legus_columns(bands, shift=shift, trailing=trailing))}


# Reading


def label_legus(tbl: Table, *, bands: Sequence[str] | None = None) -> Table:
    """Name the columns of a LEGUS table that was read without a header.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table of 34 columns or more, ``col1``, ``col2``, ..., as read by
        ``ascii.no_header``; not changed.
    bands : sequence of str, optional
        The five bands in the order of the file.  By default those of the field
        in the file name ``tbl.meta["source"]``, or otherwise those of NGC 628-C,
        with a warning.

    Returns
    -------
    `~astropy.table.Table`
        A copy with names, units and descriptions (see `read_legus`).

    Raises
    ------
    InputError
        If the columns are not those of a LEGUS catalog, or the bands are not
        five known ones.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs import label_legus
    >>> raw = Table({f"col{i}": [0.0] for i in range(1, 36)})
    >>> bands = ("F275W", "F336W", "F438W", "F555W", "F814W")
    >>> label_legus(raw, bands=bands).colnames[5:8]
    ['F275W_vega', 'F275W_vega_err', 'F336W_vega']
    """
    names, shape = _raw_names(tbl), _shape(tbl)
    if set(tbl.colnames) != set(names) or not names:
        raise InputError(
            f"a LEGUS table has columns named col1, col2, ..., usually {N_COLUMNS}; this one has {len(tbl.colnames)}, "
            f"beginning with {', '.join(map(shown, tbl.colnames[:3]))}. clusterpost.read_catalog reads "
            "the file as it is."
        )
    if shape is None:
        raise InputError(
            f"the {len(names)} columns are not in the order of a known LEGUS catalog: positions, magnitudes "
            "and ages are not in the expected columns. Put the catalog's .readme beside the file, or name the columns "
            "of every band with option:columns (col1 is the first) and the system of magnitudes with option:unit Vega"
        )
    bands = legus_bands(tbl.meta.get("source")) if bands is None else _five_bands(bands)
    return _named(tbl, legus_columns(bands, shift=shape[0], trailing=shape[1]))


def _named(tbl, columns):
    """Return a copy with columns in file order and these names, units and descriptions."""
    names = _raw_names(tbl)
    out = tbl[names]  # a copy, in the order of the file
    for old, (name, unit, description) in zip(names, columns, strict=True):
        column = out[old]
        if name != old:
            out.rename_column(old, name)
        column.info.unit = unit
        column.info.description = description
    return out


_README_LINE = re.compile(r"^\s*(\d{1,3})\s*[.):]\s*(.+?)\s*$")
# Patterns of the column descriptions in a .readme, specific before general.
_README = tuple((re.compile(pattern, re.IGNORECASE), name) for pattern, name in (
    (r"^source id|^id\b", "id"),
    (r"^x coord.*mosaic", "x_mosaic"), (r"^y coord.*mosaic", "y_mosaic"), (r"^x coord", "x"), (r"^y coord", "y"),
    (r"^ra\b", "ra"), (r"^dec\b", "dec"), (r"^ci\b", "ci"),
    *((rf"^{which} {stem}", f"{name}_legus{end}")
      for stem, name in (("age", "age"), ("mass", "mass"), (r"e\(b-v\)", "ebv"))
      for which, end in (("best", ""), ("max", "_max"), ("min", "_min"))),
    (r"^reduced chi", "chi2_legus"), (r"^q prob", "q_legus"), (r"^number of filter", "n_filters"),
    (r"hybrid way|^final morphological flag", "class_hybrid"), (r"^method of visual", "class_method"),
    (r"post-reclassification", "class_reclassified"), (r"verified the ml", "class_verified"),
    (r"machine learning", "class_ml"), (r"applying the mean", "class_mean"),
    (r"applying the mode|\(mode value\)", "class_mode"), (r"^visual classification", "class_whitmore"),
    (r"^quality flag", "quality_whitmore"), (r"^halpha", "halpha_whitmore"),
    (r"source has been (selected|detected)", "selection"),
))
_README_BAND = re.compile(r"^(final total mag|final photometric error|chi2 fit residual) in\s+"
                          r"(?:(\w+)/)?(F\d{3}(?:LP|[WMN]))", re.IGNORECASE)


def _readme_of(path):
    stem = path.with_suffix("") if path.suffix in (".gz", ".bz2", ".xz") else path
    return next((p for p in (stem.with_suffix(".readme"), Path(f"{stem}.readme")) if p.is_file()), None)


def _readme_columns(path, n, bands):
    """Return the columns as numbered in the .readme beside a catalog, or None if there is none.

    Residuals and errors list only the filter; their camera is that of the magnitude.
    """
    readme = _readme_of(path)
    if readme is None:
        return None
    lines = readme.read_text(encoding="utf-8", errors="replace")[:1_000_000].splitlines()
    found = {int(m[1]): m[2] for line in lines if (m := _README_LINE.match(line))}
    if not set(range(1, n + 1)) <= set(found):
        warnings.warn(InputWarning(f"{readme.name} does not number the {n} columns of {path.name}; columns are "
                                   "identified by their values"), stacklevel=4)
        return None
    cameras, names = {}, []
    for description in (found[i] for i in range(1, n + 1)):
        match = _README_BAND.match(description)
        if match and match[1].lower().endswith("mag"):
            cameras[match[3].upper()] = (band_called(f"{match[2] or ''}_{match[3]}") or band_called(match[3])
                                         or f"{match[3]}_{match[2]}".upper())
    own = dict(zip(cameras, bands, strict=False)) if bands else cameras
    for i in range(1, n + 1):
        match = _README_BAND.match(found[i])
        if match:
            band = own.get(match[3].upper(), match[3].upper())
            ends = {"mag": f"{band}_vega", "error": f"{band}_vega_err", "residual": f"residual_{band}"}
            names.append(ends[match[1].lower().split()[-1]])
        else:
            names.append(next((name for pattern, name in _README if pattern.search(found[i])), f"col{i}"))
    names = [name if names.index(name) == i else f"col{i + 1}" for i, name in enumerate(names)]
    if not {"ra", "dec"} <= set(names) or not any(name.endswith("_vega") for name in names):
        return None
    return [(name, _meaning(name)[0], _meaning(name)[1] if not name.startswith("col") else found[i + 1][:200])
            for i, name in enumerate(names)]


def read_legus(path: PathLike, *, bands: Sequence[str] | None = None, label: bool = True) -> Table:
    """Read a LEGUS cluster catalog (``.tab``, no header).

    Parameters
    ----------
    path : path
        The file, compressed or not.  Its name identifies the cameras and the
        galaxy, and a ``.readme`` of the same name beside it the columns.
    bands : sequence of str, optional
        The five canonical bands in the order of the file, if its name does not
        identify them.
    label : bool
        Whether to name the columns; otherwise they are ``col1``, ``col2``, ...

    Returns
    -------
    `~astropy.table.Table`
        ``id x y ra dec``; ``<band>_vega`` and ``<band>_vega_err`` (magnitudes)
        for the five bands; ``ci``; ``age_legus`` [yr], ``mass_legus`` [solMass]
        and ``ebv_legus`` [mag], each with ``_max`` and ``_min``;
        ``residual_<band>``; ``chi2_legus q_legus n_filters class_mode
        class_mean``.  Mosaics also have ``x_mosaic`` and ``y_mosaic``, and
        NGC 1566 ends with ``class_hybrid class_method class_mode class_ml
        class_verified class_reclassified``.  Values are as in the file, including
        66.666, 99.999 and 44.444; `~clusterpost.read_catalog` adds fluxes.
        ``meta`` has ``source`` and ``galaxy``.

    Raises
    ------
    InputError
        If the file cannot be read, or its columns are not known.

    References
    ----------
    Calzetti et al. 2015, AJ 149, 51; Adamo et al. 2017, ApJ 841, 131.

    Examples
    --------
    >>> from clusterpost.catalogs import read_legus
    >>> name = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor"
    >>> tbl = read_legus(f"{name}.tab")  # doctest: +SKIP
    >>> tbl.meta["galaxy"]  # doctest: +SKIP
    'NGC 628'
    """
    path = Path(path)
    n_columns = len(first_fields(path))
    if label and not _FEWEST <= n_columns <= _MOST and _readme_of(path) is None:
        raise InputError(
            f"{path}: a LEGUS catalog has {_FEWEST} columns or more, usually {N_COLUMNS}, and this file has "
            f"{n_columns} in its first line. If it is another kind of table, rename the file, or name the columns of "
            "every band with option:columns; without a header they are col1, col2, ..."
        )
    try:
        raw = Table.read(str(path), format="ascii.no_header", guess=False, delimiter=" ")
    except Exception as error:  # the readers raise many kinds of errors
        raise InputError(f"{path}: not a table of {n_columns} columns throughout: {_first_line(error)}") from error
    raw.meta["source"] = path.name
    match = _FILE_NAME.match(path.name)
    if match:
        raw.meta["galaxy"] = _galaxy(match["target"])
    if not label:
        return raw
    given = None if bands is None else _five_bands(bands)
    columns = _readme_columns(path, len(raw.colnames), given)
    try:
        return label_legus(raw, bands=given) if columns is None else _named(raw, columns)
    except InputError as error:
        raise error.moved(f"{path}: ") from None


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def first_fields(path: PathLike) -> list[str]:
    """Return the whitespace-separated fields of the first line of a text file.

    Parameters
    ----------
    path : path

    Returns
    -------
    list of str
        Empty for an empty file.

    Raises
    ------
    InputError
        If the file is missing or not a text file.
    """
    try:
        with get_readable_fileobj(str(path), encoding="utf-8") as file:
            return next((line.split() for line in file if line.strip()), [])
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}. Check the path, and that it is a text table.") from error


def _five_bands(bands):
    bands = tuple(bands)
    known = dict.fromkeys((*BANDS, *_ACS_F606W))
    named = tuple(band if band in known else band_called(str(band)) for band in bands)
    if len(bands) != 5 or len(set(named)) != 5 or None in named:
        raise InputError(
            f"option:bands names {', '.join(map(str, bands))}, and must be five different bands in the order of the "
            f"file, out of {', '.join(known)}"
        )
    return named


def _galaxy(target):
    """Return the galaxy of a pointing such as ``ngc628-c``; for a mosaic, the first galaxy."""
    match = re.match(r"(eso)(\d+-g\d+)|(ngc|ic|ugca?|pgc|m)-?0*(\d+)(?![a-z\d])", target, re.IGNORECASE)
    return " ".join(part.upper() for part in match.groups() if part) if match else target
