"""The cluster catalogs of LEGUS: 35 columns, and nobody says which.

The Legacy ExtraGalactic UV Survey (Calzetti et al. 2015; cluster catalogs:
Adamo et al. 2017) publishes its clusters as ``.tab`` files without a header.
The order of the columns is the same in all of them; the cameras are not.
F275W and F336W are always of WFC3/UVIS.  B, V and I are F438W, F555W and F814W
of WFC3/UVIS, unless archival ACS/WFC images were taken for some of them: these
fields are listed here, as no file tells.  ``acs-wfc3`` in a file name says that
both cameras were used, ``wfc3`` does not exclude it (NGC 1313).

In nine fields V is F606W (ACS), which the models of eight bands do not know.

Magnitudes are in the Vega system, corrected for Milky Way extinction and for
the aperture.  66.666 stands for outside the field, 99.999 for not detected and
44.444 for an undefined aperture correction, in magnitude and error alike.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from astropy.table import Table
from astropy.utils.data import get_readable_fileobj
from astropy.utils.exceptions import AstropyUserWarning

from ..bands import BANDS
from ..errors import InputError

__all__ = [
    "LEGUS_BANDS",
    "LEGUS_SENTINELS",
    "N_COLUMNS",
    "first_fields",
    "is_raw_legus",
    "label_legus",
    "legus_bands",
    "legus_columns",
    "read_legus",
]

N_COLUMNS = 35
LEGUS_SENTINELS = (66.666, 99.999, 44.444)

_WFC3 = ("F275W", "F336W", "F438W", "F555W", "F814W")
LEGUS_BANDS = ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS")
_ACS_BVI = LEGUS_BANDS
_ACS_BI = ("F275W", "F336W", "F435W_ACS", "F555W", "F814W_ACS")
_ACS_VI = ("F275W", "F336W", "F438W", "F555W_ACS", "F814W_ACS")
_ACS_F606W = ("F275W", "F336W", "F438W", "F606W_ACS", "F814W_ACS")
# As the source-classification code of LEGUS (StarcNet, Perez et al. 2021, ApJ 907, 100) reads these fields.
_FIELDS = {
    **dict.fromkeys(("ngc628-c", "ngc1313-e", "ngc1313-w", "ngc4449", "ngc5194-ngc5195-mosaic", "ngc5253"), _ACS_BVI),
    "ngc628-e": _ACS_BI,
    **dict.fromkeys(("ngc4395-s", "ngc7793-w", "ugc4305", "ugc4459", "ugc5139"), _ACS_VI),
    **dict.fromkeys(("ic4247", "ngc3738", "ngc5238", "ngc5474", "ngc5477", "ugc1249", "ugc685", "ugc7408", "ugca281"),
                    _ACS_F606W),
}
_CAMERAS = {"wfc3": _WFC3, "uvis": _WFC3, "wfc3-uvis": _WFC3}
_FILE_NAME = re.compile(r"hlsp_legus_hst_(?P<cameras>[a-z0-9-]+)_(?P<target>[a-z0-9-]+?)_", re.IGNORECASE)


def legus_bands(source=None) -> tuple[str, ...]:
    """The five bands of a LEGUS catalog, by the field in its file name.

    Parameters
    ----------
    source : path, optional
        The file, or its name.

    Returns
    -------
    tuple of str
        Band names in the order of the file.  Where the name does not tell, the
        cameras of NGC 628-C are taken, with a warning.

    Warns
    -----
    AstropyUserWarning
        If the cameras are not known, or V is F606W, which the models of eight bands do not know.

    Examples
    --------
    >>> from clusterpost.catalogs.legus import legus_bands
    >>> legus_bands("hlsp_legus_hst_wfc3_ngc1566_multiband_v1_padagb-mwext-avgapcor.tab")[2]
    'F438W'
    >>> legus_bands("hlsp_legus_hst_acs-wfc3_ngc7793-w_multiband_v1_padagb-mwext-avgapcor.tab")[2:]
    ('F438W', 'F555W_ACS', 'F814W_ACS')
    """
    match = _FILE_NAME.match(Path(source).name) if source else None
    bands = match and (_FIELDS.get(match["target"].lower()) or _CAMERAS.get(match["cameras"].lower()))
    if not bands:
        where = f"the name {Path(source).name!r}" if source else "this table"
        warnings.warn(
            f"{where} does not tell the cameras of a LEGUS catalog; taking {', '.join(LEGUS_BANDS)} as for NGC 628-C. "
            "Give read_legus or label_legus the five bands with bands=(...) where that is wrong.",
            AstropyUserWarning,
            stacklevel=3,
        )
        return LEGUS_BANDS
    if bands is _ACS_F606W:
        warnings.warn(
            f"V of {Path(source).name} is F606W (ACS/WFC), which the models of eight bands do not know; to "
            "them its four other bands are the photometry",
            AstropyUserWarning,
            stacklevel=3,
        )
    return bands


def legus_columns(bands) -> list[tuple[str, str | None, str]]:
    """The 35 columns of a LEGUS catalog in the order of the file.

    Parameters
    ----------
    bands : sequence of str
        The five bands in the order of the file.

    Returns
    -------
    list of (str, str or None, str)
        Name, unit and description of each.

    Examples
    --------
    >>> from clusterpost.catalogs.legus import legus_bands, legus_columns
    >>> name, unit, description = legus_columns(legus_bands("hlsp_legus_hst_wfc3_ngc1566_x.tab"))[16]
    >>> name, unit
    ('age_legus', 'yr')
    """
    fit = "LEGUS fit with Yggdrasil models (Padova-AGB, Kroupa IMF)"
    columns = [
        ("id", None, "Source number"),
        ("x", "pix", "Position along x in the reference frame"),
        ("y", "pix", "Position along y in the reference frame"),
        ("ra", "deg", "Right ascension"),
        ("dec", "deg", "Declination"),
    ]
    for band in bands:
        columns.append((f"{band}_vega", "mag",
                        f"Vega magnitude in {band}, corrected for Milky Way extinction and aperture"))
        columns.append((f"{band}_vega_err", "mag", f"Error of the magnitude in {band}"))
    columns.append(("ci", "mag", "Concentration index: magnitude in 1 pixel minus that in 3 pixels"))
    for name, unit, what in (("age", "yr", "Age"), ("mass", "solMass", "Mass"), ("ebv", "mag", "E(B-V)")):
        columns.append((f"{name}_legus", unit, f"{what}: best value, {fit}"))
        columns.append((f"{name}_legus_max", unit, f"{what}: upper limit of the interval, {fit}"))
        columns.append((f"{name}_legus_min", unit, f"{what}: lower limit of the interval, {fit}"))
    columns += [(f"residual_{band}", None, f"Signed residual of the fit in {band}; 200 = not used") for band in bands]
    columns += [
        ("chi2_legus", None, f"Reduced chi square, {fit}"),
        ("q_legus", None, f"Goodness Q of the fit, {fit}"),
        ("n_filters", None, "Number of filters used in the fit; 0 = no fit"),
        ("class_mode", None, "Class, mode of the votes: 1, 2 cluster, 3 association, 4 spurious, 0 not inspected"),
        ("class_mean", None, "Class, mean of the votes"),
    ]
    return columns


def is_raw_legus(tbl) -> bool:
    """Whether these are the columns of a LEGUS catalog, read without names (and perhaps more).

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    bool
        True where there are ``col1`` to ``col35``, and no ``col36``.
    """
    return set(_raw_names()) <= set(tbl.colnames) and f"col{N_COLUMNS + 1}" not in tbl.colnames


def _raw_names():
    return [f"col{i + 1}" for i in range(N_COLUMNS)]


def label_legus(tbl, *, bands=None) -> Table:
    """Name the columns of a LEGUS table that was read without a header.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        35 columns, ``col1`` to ``col35``, as ``ascii.no_header`` gives them.
        It stays as it is.
    bands : sequence of str, optional
        The five bands in the order of the file.  By default those of the field
        that the file name in ``tbl.meta["source"]`` tells; without one those
        of NGC 628-C, with a warning.

    Returns
    -------
    `~astropy.table.Table`
        A copy with names, units and descriptions (see `read_legus`).

    Raises
    ------
    InputError
        If there are not 35 such columns, or the bands are not five known ones.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs import label_legus
    >>> raw = Table({f"col{i}": [0.0] for i in range(1, 36)})
    >>> label_legus(raw, bands=("F275W", "F336W", "F438W", "F555W", "F814W")).colnames[5:8]
    ['F275W_vega', 'F275W_vega_err', 'F336W_vega']
    """
    names = _raw_names()
    if set(tbl.colnames) != set(names):
        raise InputError(
            f"a LEGUS table has {N_COLUMNS} columns named col1 to col{N_COLUMNS}; this one has {len(tbl.colnames)}, "
            f"beginning with {', '.join(tbl.colnames[:3])}. Read the file with format='ascii.no_header', or with "
            "clusterpost.read_catalog."
        )
    bands = legus_bands(tbl.meta.get("source")) if bands is None else _five_bands(bands)
    out = tbl[names]  # a copy, in the order of the file
    for old, (name, unit, description) in zip(names, legus_columns(bands), strict=True):
        column = out[old]
        out.rename_column(old, name)
        column.info.unit = unit
        column.info.description = description
    return out


def read_legus(path, *, bands=None) -> Table:
    """Read a LEGUS cluster catalog (``.tab``, 35 columns, no header).

    Parameters
    ----------
    path : path
        The file, compressed or not.  Its name tells the cameras and the galaxy.
    bands : sequence of str, optional
        The five canonical bands in the order of the file, where its name does
        not tell them.

    Returns
    -------
    `~astropy.table.Table`
        ``id x y ra dec``; ``<band>_vega`` and ``<band>_vega_err`` (magnitudes)
        for the five bands; ``ci``; ``age_legus`` [yr], ``mass_legus`` [solMass]
        and ``ebv_legus`` [mag], each with ``_max`` and ``_min``;
        ``residual_<band>``; ``chi2_legus q_legus n_filters class_mode
        class_mean``.  Values stay as in the file, 66.666, 99.999 and 44.444
        too; `~clusterpost.read_catalog` adds fluxes.  ``meta`` has ``source``
        and ``galaxy``.

    Raises
    ------
    InputError
        If the file cannot be read or has not 35 columns.

    References
    ----------
    Calzetti et al. 2015, AJ 149, 51; Adamo et al. 2017, ApJ 841, 131.

    Examples
    --------
    >>> from clusterpost.catalogs import read_legus
    >>> tbl = read_legus("hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab")  # doctest: +SKIP
    >>> tbl.meta["galaxy"]  # doctest: +SKIP
    'NGC 628'
    """
    path = Path(path)
    n_columns = len(first_fields(path))
    if n_columns != N_COLUMNS:
        raise InputError(
            f"{path}: a LEGUS catalog has {N_COLUMNS} columns, this file has {n_columns} in its first line. "
            "Read another table with clusterpost.read_catalog and name its columns with columns=."
        )
    try:
        raw = Table.read(str(path), format="ascii.no_header", guess=False, delimiter=" ")
    except Exception as error:  # the readers raise many kinds
        raise InputError(f"{path}: not a LEGUS catalog of {N_COLUMNS} columns throughout: {error}") from error
    raw.meta["source"] = path.name
    match = _FILE_NAME.match(path.name)
    if match:
        raw.meta["galaxy"] = _galaxy(match["target"])
    return label_legus(raw, bands=bands)


def first_fields(path) -> list[str]:
    """The white-space separated fields of the first line of a text file.

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
        If the file is absent or no text.
    """
    try:
        with get_readable_fileobj(str(path), encoding="utf-8") as file:
            return next((line.split() for line in file if line.strip()), [])
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}. Check the path, and that it is a text table.") from error


def _five_bands(bands):
    bands = tuple(bands)
    if len(bands) != 5 or len(set(bands)) != 5 or not set(bands) <= set(BANDS):
        raise InputError(
            f"bands={bands!r} must be five different bands in the order of the file, out of {', '.join(BANDS)}"
        )
    return bands


def _galaxy(target):
    """``ngc628-c`` is a pointing at NGC 628; of a mosaic the first galaxy counts."""
    match = re.match(r"(eso)(\d+-g\d+)|(ngc|ic|ugca?|pgc|m)-?0*(\d+)(?![a-z\d])", target, re.IGNORECASE)
    return " ".join(part.upper() for part in match.groups() if part) if match else target
