"""Reading a catalog from any file that astropy reads, and LEGUS ones besides."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from astropy.io.registry import IORegistryError
from astropy.table import Table

from ..errors import ColumnError, InputError
from .layouts import recognise
from .legus import N_COLUMNS, first_fields, read_legus

__all__ = ["LAYOUT_KEY", "read_catalog"]

#: Key of ``meta`` that holds the name of the layout.
LAYOUT_KEY = "CPLAYOUT"
_VOTABLE = (".vot", ".xml")


def read_catalog(path_or_table, *, columns=None) -> Table:
    """Read a catalog and recognize its photometry.

    Parameters
    ----------
    path_or_table : path or `~astropy.table.Table`
        A FITS, ECSV, VOTable, CSV, Parquet or plain text table, or a LEGUS
        ``.tab`` file.  A table is copied.
    columns : dict, optional
        ``{"F275W": ("my_flux", "my_error")}`` for columns of other names; see
        `clusterpost.catalogs.layouts.recognise`.

    Returns
    -------
    `~astropy.table.Table`
        Rows, columns and meta as they are, with the name of the layout in
        ``meta["CPLAYOUT"]``.

    Raises
    ------
    InputError
        If the file is absent or cannot be read.
    ColumnError
        If no photometry is found, or it is ambiguous.

    Examples
    --------
    >>> from astropy.table import Table
    >>> import clusterpost
    >>> tbl = clusterpost.read_catalog(Table({"F275W": [1.0], "F275W_err": [0.1]}))
    >>> tbl.meta["CPLAYOUT"]
    'canonical'
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
        layout = recognise(tbl, columns)
    except ColumnError as error:
        raise ColumnError(f"{where}{error}") from None
    tbl.meta[LAYOUT_KEY] = layout.name
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
