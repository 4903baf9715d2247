"""Reading a catalog from any file that astropy reads, and LEGUS ones besides."""

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
    """Read a catalog, recognize its photometry, and write it one way.

    Parameters
    ----------
    path_or_table : path or `~astropy.table.Table`
        A FITS, ECSV, VOTable, CSV, Parquet, machine-readable or plain text
        table, or a LEGUS ``.tab`` file.  A table is copied.
    columns : dict or Layout, optional
        ``{"F275W": ("my_flux", "my_error")}`` for columns of other names, or to
        choose where several could be meant; see
        `clusterpost.catalogs.recognition.recognize`.  A layout is that of the
        table of which these are some rows.
    unit : str or Unit, optional
        Of all fluxes or magnitudes, for files that do not tell it: ``"mJy"``,
        ``"uJy"``, ``"Jy"``, ``"nmgy"``, ``"erg/s/cm2/Angstrom"``, ``"AB"``,
        ``"ST"``, ``"Vega"``.
    missing : sequence of float
        Values that stand for missing, besides the customary ones.
    bands : sequence of str, optional
        The five bands of a LEGUS file, in its order, where its name does not
        tell its cameras.
    hdu : int or str, optional
        Number or name of the table in a file of several (FITS, VOTable); by
        default the first that holds photometry.
    distance_source : {"lee2022", "legus", "literature", "table"}, optional
        Whose distance the galaxies have: of PHANGS-HST (Lee et al. 2022), of
        LEGUS (Calzetti et al. 2015), of the literature (other galaxies), or the
        table's own and no other.  A distance of the table's own wins; by
        default, where there is none, the first of these that has the galaxy.

    Returns
    -------
    `~astropy.table.Table`
        The rows, columns and meta of the catalog, and beside them for each band
        ``<band>`` (mJy, if the catalog's own are not canonical), ``<band>_err``
        and ``<band>_limit``: NaN where missing; True in ``<band>_limit`` for an
        upper limit, with the limit as flux and a positive error.  A flux that
        is zero or negative with a positive error is a measurement and stays.
        ``distance`` (Mpc) is added where the galaxy is known.  ``meta`` says
        what was recognized: ``CPLAYOUT`` the layout, ``CPCOLS`` the columns of
        each band (JSON), ``CPDSRC`` the source of the distance, ``CPLEVELS``
        how mJy and Vega columns disagree, if they do.  Reading it again changes
        nothing.

    Raises
    ------
    InputError
        If the file is absent or cannot be read.
    ColumnError
        If no photometry is found, or it is ambiguous or contradicts itself; the
        message lists the candidates.
    UnitError
        If ``unit`` is none of photometry.
    DistanceError
        If a distance was asked for that there is not, or the table's own
        contradict each other.

    Warns
    -----
    InputWarning
        If values are taken as missing that no survey documents, mJy and Vega
        columns of one table disagree, or an option is not followed.

    Notes
    -----
    Fluxes of PHANGS-HST and LEGUS are corrected for Milky Way extinction and
    for the aperture already, and are not corrected again.

    Missing in magnitudes is what is beyond 40, and in fluxes 1e20 and above,
    -999 and -9999; 99, 999, 66.666 and their like are missing in fluxes where
    their error is no plausible one either
    (`clusterpost.catalogs.sentinels.no_measurement`).

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
            raise InputError("option:hdu is for files; this is a table already")
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
    """Facts that only a whole table tells of its rows; a plain value that can be sent to other processes.

    Attributes
    ----------
    layout : Layout
    told : bool
        Whether the user named the columns.
    survey : bool
        Whether the columns may be called as a survey calls them.
    distances : Distances
    levels : str or None
        How mJy and Vega columns disagree.
    """

    layout: Layout
    told: bool
    survey: bool
    distances: Distances
    levels: str | None = None


def understand(tbl: Table, *, columns: dict[str, tuple[str, str]] | None = None, unit: str | u.UnitBase | None = None,
               missing: Sequence[float] = (), distance_source: str | None = None) -> Understanding:
    """Find what only a whole table tells of its rows, but for `~clusterpost.catalogs.check_levels`.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        All rows, or of every galaxy one for each combination of cameras, and
        those whose distance is not that of the galaxy.
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
    """Write some rows of a table one way, as `read_catalog` does.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        It stays as it is.
    understood : Understanding
        Of the whole table.

    Returns
    -------
    tbl : `~astropy.table.Table`
    sentinels : dict of str to Counter
        How often which value was taken as missing, by band.
    """
    tbl, layout = label_sloan(tbl).copy() if understood.survey else tbl.copy(), understood.layout
    if understood.survey:
        check_agreement(tbl, layout)
    sentinels = add_canonical(tbl, layout, told=understood.told)
    if understood.levels:
        tbl.meta[LEVELS_KEY] = understood.levels
    add_distance(tbl, layout, understood.distances)
    return tbl, sentinels
