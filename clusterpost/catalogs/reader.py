"""Reading a catalog from any file that astropy reads, and LEGUS ones besides."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from astropy.io.registry import IORegistryError
from astropy.table import Table

from ..errors import InputError
from .canonical import add_canonical, check_agreement
from .distances import add_distance
from .layouts import recognise
from .legus import N_COLUMNS, first_fields, is_raw_legus, label_legus, read_legus
from .levels import check_levels
from .records import LAYOUT_KEY, LEVELS_KEY

__all__ = ["LAYOUT_KEY", "read_catalog"]

_VOTABLE = (".vot", ".xml")


def read_catalog(path_or_table, *, columns=None, distance_source=None) -> Table:
    """Read a catalog, recognize its photometry, and write it one way.

    Parameters
    ----------
    path_or_table : path or `~astropy.table.Table`
        A FITS, ECSV, VOTable, CSV, Parquet or plain text table, or a LEGUS
        ``.tab`` file.  A table is copied.
    columns : dict, optional
        ``{"F275W": ("my_flux", "my_error")}`` for columns of other names, or to
        choose where several could be meant; see
        `clusterpost.catalogs.layouts.recognise`.
    distance_source : {"lee2022", "legus", "table"}, optional
        Whose distance the galaxies have: of PHANGS-HST (Lee et al. 2022), of
        LEGUS (Calzetti et al. 2015), or the table's own and no other.  A
        distance of the table's own wins; by default, where there is none, that
        of Lee et al. 2022, and of LEGUS for galaxies of LEGUS alone.

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
        each band, ``CPDSRC`` the source of the distance, ``CPLEVELS`` how mJy
        and Vega columns disagree, if they do.  Reading it again changes nothing.

    Raises
    ------
    InputError
        If the file is absent or cannot be read.
    ColumnError
        If no photometry is found, or it is ambiguous or contradicts itself; the
        message lists the candidates.
    DistanceError
        If a distance was asked for that there is not, or the table's own
        contradict each other.

    Warns
    -----
    AstropyUserWarning
        If mJy and Vega columns of one table disagree, or the distance that was
        asked for is not the one that is taken.

    Notes
    -----
    Fluxes of PHANGS-HST and LEGUS are corrected for Milky Way extinction and
    for the aperture already, and are not corrected again.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.read_catalog(clusterpost.example_catalog())
    >>> tbl.meta["CPLAYOUT"], tbl["F275W"].unit, int(tbl["F275W_limit"].sum())
    ('PHANGS DR4', Unit("mJy"), 16)
    """
    if isinstance(path_or_table, Table):
        tbl, where = path_or_table.copy(), ""
    elif isinstance(path_or_table, (str, os.PathLike)):
        path = Path(path_or_table).expanduser()
        tbl, where = _read(path), f"{path}: "
    else:
        raise InputError(
            f"a catalog is a path or an astropy Table, not {type(path_or_table).__name__}; "
            "Table.from_pandas and Table(...) make one"
        )
    try:
        return _understood(tbl, columns, distance_source)
    except InputError as error:
        raise error.moved(where) from None


def _understood(tbl, columns, distance_source):
    if columns is None and is_raw_legus(tbl) and len(tbl.colnames) == N_COLUMNS:
        tbl = label_legus(tbl)
    layout = recognise(tbl, columns)
    if columns is None:
        check_agreement(tbl, layout)
    levels = check_levels(tbl)
    add_canonical(tbl, layout, told=columns is not None)
    if levels:
        tbl.meta[LEVELS_KEY] = levels
    add_distance(tbl, layout, distance_source)
    return tbl


def _read(path):
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path (files on the web are to be downloaded first)")
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the file of the catalog in it")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; download or write it again")
    if ".tab" in path.suffixes and _looks_like_legus(path):
        return read_legus(path)
    try:
        tbl = Table.read(path)
        if path.suffix.lower() in _VOTABLE:
            tbl.meta.update(_params(path))
        return tbl
    except IORegistryError:
        pass  # no reader knows the name or the first bytes: plain text is left
    except ImportError as error:
        raise InputError(f"{path}: {error}; install it, or convert the file to FITS or ECSV") from error
    except Exception as error:  # the readers raise many kinds
        raise _unreadable(path, error) from error
    try:
        return Table.read(path, format="ascii")
    except Exception as error:
        raise _unreadable(path, error) from error


def _params(path):
    """What `write_catalog` keeps of a table's meta in a VOTable."""
    from astropy.io.votable import parse

    table = next(parse(path).iter_tables())
    values = {param.name: param.value for param in table.params}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()
            if np.ndim(value) == 0 and value is not np.ma.masked}


def _looks_like_legus(path):
    """By the name, or by 35 numbers where a header could be."""
    if path.name.lower().startswith("hlsp_legus"):
        return True
    fields = first_fields(path)
    return len(fields) == N_COLUMNS and all(_is_number(field) for field in fields)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unreadable(path, error):
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(
        f"{path} cannot be read as a table ({type(error).__name__}: {reason}). Read it with astropy.table.Table.read "
        "and the right format=, and give the table instead of the path."
    )
