"""Reading of catalogs from any file that astropy reads, and from LEGUS files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy.table import Table

from ..errors import InputError
from ..typing import PathLike
from .canonical import add_canonical, check_agreement
from .files import read_table
from .layouts import Layout
from .legus import is_raw_legus, label_legus
from .levels import check_levels
from .messages import warn_of_sentinels
from .metadata import LAYOUT_KEY, LEVELS_KEY
from .nsa import label_sloan
from .recognition import recognize
from .table_distances import Distances, add_distance, find_distances

if TYPE_CHECKING:
    import astropy.units as u

__all__ = ["LAYOUT_KEY", "Understanding", "read_catalog", "read_rows", "understand"]


def read_catalog(path_or_table: PathLike | Table, *, columns: Mapping | None = None, unit: Any = None,
                 missing: Sequence[float] = (), bands: Sequence[str] | None = None, hdu: int | str | None = None,
                 distance_source: str | None = None) -> Table:
    """Read a catalog, recognize its photometry, and add canonical columns.

    .. versionchanged:: 0.2
       Added the options ``unit``, ``missing``, ``bands`` and ``hdu``.

    Parameters
    ----------
    path_or_table : path or `~astropy.table.Table`
        A FITS, ECSV, VOTable, CSV, Parquet, machine-readable or plain text
        table, or a LEGUS ``.tab`` file.  A table is copied.
    columns : dict or Layout, optional
        ``{"F275W": ("my_flux", "my_error")}`` for columns with other names, or to
        choose among several candidates; see
        `clusterpost.catalogs.recognition.recognize`.  A layout describes the whole
        table of which these are some rows.
    unit : str or Unit, optional
        Unit of all fluxes or magnitudes, for files without units: ``"mJy"``,
        ``"uJy"``, ``"Jy"``, ``"nmgy"``, ``"erg/s/cm2/Angstrom"``, ``"AB"``,
        ``"ST"``, ``"Vega"``.
    missing : sequence of float
        Values that mean missing, in addition to the customary ones.
    bands : sequence of str, optional
        The five bands of a LEGUS file, in file order, if its name does not
        identify the cameras.
    hdu : int or str, optional
        Number or name of the table in a file of several (FITS, VOTable); by
        default the first table with photometry.
    distance_source : {"lee2022", "legus", "literature", "table"}, optional
        Source of the distances: PHANGS-HST (Lee et al. 2022), LEGUS (Calzetti et
        al. 2015), the literature (other galaxies), or only the table itself.  The
        table's own distance always has priority; by default, tables without one
        get the distance of the first source with the galaxy.

    Returns
    -------
    `~astropy.table.Table`
        The rows, columns and meta of the catalog, and for each band ``<band>``
        (mJy, unless the catalog's own columns are canonical), ``<band>_err`` and
        ``<band>_limit``.  Missing values are NaN.  Upper limits have True in
        ``<band>_limit``, the limit as flux and a positive error.  A flux of zero
        or below with a positive error is a measurement and is kept.  ``distance``
        (Mpc) is added for known galaxies.  ``meta`` records the layout
        (``CPLAYOUT``), the columns of each band (``CPCOLS``, JSON), the source of
        the distance (``CPDSRC``), and disagreements of mJy and Vega columns
        (``CPLEVELS``).  Reading the output again changes nothing.

    Raises
    ------
    InputError
        If the file is missing or cannot be read.
    ColumnError
        If photometry is not found, ambiguous or contradictory; the message lists
        the candidates.
    UnitError
        If ``unit`` is not a unit of photometry.
    DistanceError
        If a requested distance does not exist, or distances in the table
        contradict each other.

    Warns
    -----
    InputWarning
        If values are taken as missing that no survey documents, mJy and Vega
        columns disagree, or an option is not followed.

    Notes
    -----
    Catalogs of PHANGS-HST and LEGUS are already corrected for Milky Way extinction
    and aperture, and are not corrected again.

    Magnitudes beyond 40 are missing, as are fluxes of 1e20 and above, -999 and
    -9999.  Fluxes of 99, 999, 66.666 and similar values are missing if their error
    is not plausible either (`clusterpost.catalogs.sentinels.no_measurement`).

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.read_catalog(clusterpost.example_catalog())
    >>> tbl.meta["CPLAYOUT"], tbl["F275W"].unit, int(tbl["F275W_limit"].sum())
    ('PHANGS DR4', Unit("mJy"), 16)
    """
    if isinstance(path_or_table, Table):
        tbl, where = path_or_table, ""
        if hdu is not None:
            raise InputError("option:hdu is for files, and this is a table; leave it out")
    elif isinstance(path_or_table, str | os.PathLike):
        path = Path(path_or_table).expanduser()
        tbl, where = read_table(path, columns=columns, bands=bands, hdu=hdu), f"{path}: "
    else:
        raise InputError(
            f"a catalog is a path or an astropy Table, not {type(path_or_table).__name__}; "
            "Table and Table.from_pandas make one"
        )
    try:
        if columns is None and is_raw_legus(tbl) and all(name.startswith("col") for name in tbl.colnames):
            tbl = label_legus(tbl, bands=bands)
        understood = understand(tbl, columns=columns, unit=unit, missing=missing, distance_source=distance_source)
        tbl, sentinels = read_rows(tbl, replace(understood, levels=check_levels(tbl)))
        warn_of_sentinels(sentinels)
        return tbl
    except InputError as error:
        raise error.moved(where) from None


@dataclass(frozen=True)
class Understanding:
    """Properties of the rows that need the whole table, as plain values that can be pickled for other processes.

    Attributes
    ----------
    layout : Layout
    told : bool
        Whether the user named the columns.
    survey : bool
        Whether the columns may have survey names.
    distances : Distances
    levels : str or None
        Disagreements of mJy and Vega columns.
    """

    layout: Layout
    told: bool
    survey: bool
    distances: Distances
    levels: str | None = None


def understand(tbl: Table, *, columns: dict[str, tuple[str, str]] | None = None, unit: str | u.UnitBase | None = None,
               missing: Sequence[float] = (), distance_source: str | None = None) -> Understanding:
    """Find properties of the rows that need the whole table, except `~clusterpost.catalogs.check_levels`.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        All rows, or for every galaxy one row per combination of cameras, and
        the rows with a distance that differs from the galaxy's.
    columns, unit, missing, distance_source
        As for `read_catalog`.

    Returns
    -------
    Understanding

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.catalogs.reader import read_rows, understand
    >>> tbl = clusterpost.example_catalog()
    >>> understood = understand(tbl)
    >>> [len(read_rows(tbl[start : start + 100], understood)[0]) for start in (0, 100)]
    [100, 100]
    """
    survey = columns is None
    tbl = label_sloan(tbl) if survey else tbl
    layout = recognize(tbl, columns, unit=unit, missing=missing).informed(tbl)
    told = not survey and layout.name == "columns argument"
    return Understanding(layout, told, survey, find_distances(tbl, layout, distance_source))


def read_rows(tbl: Table, understood: Understanding) -> tuple[Table, dict]:
    """Return some rows of a table with canonical columns, as `read_catalog` does.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table, not changed.
    understood : Understanding
        Properties of the whole table.

    Returns
    -------
    tbl : `~astropy.table.Table`
    sentinels : dict of str to Counter
        Counts of the values that were taken as missing, by band.
    """
    tbl, layout = label_sloan(tbl).copy() if understood.survey else tbl.copy(), understood.layout
    if understood.survey:
        check_agreement(tbl, layout)
    sentinels = add_canonical(tbl, layout, told=understood.told)
    if understood.levels:
        tbl.meta[LEVELS_KEY] = understood.levels
    add_distance(tbl, layout, understood.distances)
    return tbl, sentinels
