"""Write tables to files atomically."""

from __future__ import annotations

import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Column, Table
from astropy.table.serialize import represent_mixins_as_columns

from ..errors import InputError
from ..typing import PathLike
from ..utils import check_target, require, whole_file
from .carried import carried

__all__ = ["FORMATS", "HDF5_PATH", "check_writable", "columns_for", "flattened", "write_catalog"]

#: astropy's format by suffix.
FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".xml": "votable",
    ".parquet": "parquet",
    ".hdf5": "hdf5",
    ".h5": "hdf5",
    ".csv": "ascii.csv",
}
#: Name of the table in an HDF5 file.
HDF5_PATH = "clusterpost"
_NEEDS = {"parquet": ("pyarrow", "scale"), "hdf5": ("h5py", "hdf5")}
_MOST_NUMBERS = 64  # of an array, written as columns of a CSV file
_DATATYPES = {str: "unicodeChar", bool: "boolean", int: "long", float: "double"}


def write_catalog(tbl: Table, path: PathLike, *, overwrite: bool = False, flat: bool = False) -> None:
    """Write a table in the format of the file's suffix.

    .. versionchanged:: 0.2
       Added the option ``flat``.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    path : path
        Path ending in ``.fits``, ``.ecsv``, ``.vot``, ``.parquet``, ``.hdf5`` or ``.csv``.
    overwrite : bool
        Whether to replace an existing file, once the new one is complete.
    flat : bool
        Whether to write one column for each element of a column of arrays: ``age_mode1``, ``age_mode2``, ... instead of
        ``age_modes``.

    Notes
    -----
    CSV files are always flat, and have neither units nor ``meta``.  HDF5 files have the table under
    ``clusterpost``.  VOTables keep numbers, texts and booleans of ``meta`` as PARAMs, which
    `~clusterpost.read_catalog` reads.

    Raises
    ------
    InputError
        If the suffix is unknown, the file exists, or a CSV file would need one column for each of many draws.
    ImportError
        If the package for the format is not installed.

    Examples
    --------
    >>> import tempfile, clusterpost
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clusterpost.write_catalog(clusterpost.simulate(3), f"{folder}/mocks.fits")
    """
    check_writable(path, overwrite=overwrite)
    path = Path(path)
    form = FORMATS[path.suffix.lower()]
    if flat or form == "ascii.csv":
        tbl = flattened(tbl, path if form == "ascii.csv" else None)
    tbl = carried(tbl, form)
    with whole_file(path) as temporary:
        if form == "votable":
            _write_votable(tbl, temporary)
        elif form == "fits":
            _write_fits(tbl, temporary)
        elif form == "hdf5":
            tbl.write(temporary, format=form, path=HDF5_PATH, serialize_meta=True)
        elif form == "ascii.csv":
            represent_mixins_as_columns(tbl).write(temporary, format=form)
        else:
            tbl.write(temporary, format=form)


def _write_fits(tbl, path):
    """Write FITS with units beyond the standard: magnitude systems and nanomaggies."""
    units = {name: tbl[name].unit for name in tbl.colnames if isinstance(tbl[name], Column | u.Quantity)}
    strange = {name: str(unit) for name, unit in units.items() if unit is not None and not _in_fits(unit)}
    bare = tbl.copy(copy_data=False) if strange else tbl
    for name in strange:
        if isinstance(tbl[name], u.Quantity):
            bare.replace_column(name, Column(tbl[name].value, description=tbl[name].info.description))
        else:
            bare[name].unit = None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The unit .* could not be saved in native FITS format")  # saved below
        bare.write(path, format="fits")
    if strange:
        with fits.open(path, mode="update") as file:
            for i, name in enumerate(file[1].columns.names):
                if name in strange:
                    file[1].header[f"TUNIT{i + 1}"] = strange[name]


def _in_fits(unit):
    """Return whether FITS can express a unit."""
    try:
        unit.to_string("fits")
    except ValueError:
        return False
    return not isinstance(unit, u.MagUnit)


def columns_for(tbl: Table, path: PathLike) -> Table:
    """Return a table with only the columns that `write_catalog` can write to a path, before a long computation.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    path : path

    Returns
    -------
    `~astropy.table.Table`
        See `~clusterpost.catalogs.carried.carried`.
    """
    return carried(tbl, FORMATS[Path(path).suffix.lower()])


def _write_votable(tbl, path):
    from astropy.io.votable.exceptions import W50

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", W50)  # for mag(AB), which is read back
        _votable(tbl).to_xml(str(path))


def flattened(tbl: Table, path: PathLike | None = None) -> Table:
    """Return a table with one column for each element of a column of arrays.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table, not changed.
    path : path, optional
        Path of the CSV file, which limits the number of columns.

    Returns
    -------
    `~astropy.table.Table`
        Flat table: ``age_modes`` becomes ``age_mode1``, ``age_mode2``, ...; ``mode_weight`` becomes ``mode_weight1``,
        ..., and any other column such as ``draws`` becomes ``draws_1``, ...

    Raises
    ------
    InputError
        If a CSV file would have too many columns.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.writer import flattened
    >>> flattened(Table({"id": [1], "age_modes": [[3.0, 4.0]]})).colnames
    ['id', 'age_mode1', 'age_mode2']
    """
    out = tbl.copy(copy_data=False)
    for name in tbl.colnames:
        column = tbl[name]
        shape = getattr(column, "shape", (0,))[1:]
        if not shape:
            continue
        many = int(np.prod(shape))
        if path is not None and many > _MOST_NUMBERS:
            raise InputError(f"{path}: column {name!r} holds {many} numbers in each row, too many for a CSV "
                             "file; write FITS, ECSV, VOTable, Parquet or HDF5")
        place = out.index_column(name)
        out.remove_column(name)
        stem = name[:-1] if name.endswith("_modes") else name if name.endswith("mode_weight") else f"{name}_"
        elements = column.reshape(len(tbl), many)
        for k in range(many):
            element = elements[:, k]
            element.info.description = column.info.description
            out.add_column(element, name=f"{stem}{k + 1}", index=place + k)
    return out


def _votable(tbl):
    """Return the table with the scalars of its meta as PARAMs, which astropy omits."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Param

    file = from_table(tbl)
    table = next(file.iter_tables())
    for key, value in tbl.meta.items():
        value = value.item() if isinstance(value, np.generic) else value
        if type(value) in _DATATYPES:
            options = {"arraysize": "*"} if isinstance(value, str) else {}
            table.params.append(Param(file, name=str(key), value=value, datatype=_DATATYPES[type(value)], **options))
    return file


def check_writable(path: PathLike, *, overwrite: bool = False) -> None:
    """Check before a long computation that `write_catalog` can write to a path.

    Parameters
    ----------
    path : path
    overwrite : bool

    Raises
    ------
    InputError
        If the suffix is unknown, or no file can be written to the path.
    ImportError
        If the package for the format is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: no format is known for the suffix {path.suffix!r}; use one of {', '.join(FORMATS)}")
    check_target(path, overwrite=overwrite)
    if needed := _NEEDS.get(FORMATS[path.suffix.lower()]):
        require(*needed)
