"""Conversion of other columns to a form that a file format can store."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, Table
from astropy.time import Time

from ..errors import InputWarning
from .columns import some

__all__ = ["carried"]

_PLAIN = "biufcSU"
# Types that a format cannot store, or does not read back unchanged.
_UNKNOWN = {"fits": ("i1", "f2"), "votable": ("i1", "u2", "u4", "u8", "f2"), "parquet": ("c8", "c16"),
            "ascii.csv": ("c8", "c16"), "ascii.ecsv": ("c8", "c16")}
_OPTIONS = {"hdf5": {"path": "few", "serialize_meta": True}}



def carried(tbl: Table, form: str) -> Table:
    """Return a table whose columns a file format can store.

    Times, dates, lists and other objects that it cannot store become text (ISO
    8601, JSON), and positions two columns in degrees.  A column that cannot be
    converted is left out, with a warning.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table, not changed.
    form : str
        Name of the format in astropy, such as ``fits`` or ``votable``.

    Returns
    -------
    `~astropy.table.Table`
        The input table if no column needs a conversion.

    Warns
    -----
    InputWarning
        If columns are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.carried import carried
    >>> tbl = Table({"seen": np.array(["2026-01-01", "2026-01-02"], "datetime64[D]")})
    >>> carried(tbl, "fits")["seen"][0]
    np.str_('2026-01-01')
    """
    doubtful = [name for name in tbl.colnames if not _is_plain(tbl[name], form)]
    if not doubtful:
        return tbl
    out, lost = tbl.copy(copy_data=False), []
    for name in doubtful:
        for made in (_as_values, _as_mixin, _as_wider, _as_degrees, _as_text):
            columns = made(name, tbl[name])
            if columns and _can_write(columns, form):
                _put(out, name, columns)
                break
        else:
            out.remove_column(name)
            lost.append(name)
    if lost:
        text = f"columns left out because the format {form} cannot store them: {some(lost)}"
        warnings.warn(InputWarning(text), stacklevel=4)
    return out


def _is_plain(column, form):
    """Return whether a format can store such a column unchanged."""
    dtype = getattr(column, "dtype", None)
    if dtype is None or dtype.kind not in _PLAIN or isinstance(column, Time | SkyCoord):
        return False
    if form == "fits" and dtype.kind == "b":  # FITS has no masked booleans
        return not np.any(getattr(column, "mask", False))
    if form == "fits" and dtype.kind == "U":
        return all(text.isascii() for text in np.asarray(column).ravel().tolist())
    return dtype.str[1:] not in _UNKNOWN.get(form, ())


def _can_write(columns, form):
    few = Table({name: column[:2] for name, column in columns.items()})
    if any(not (_is_plain(few[name], form) or isinstance(few[name], Time | SkyCoord)) for name in few.colnames):
        return False
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            few.write(Path(folder) / "few", format=form, **_OPTIONS.get(form, {}))
        except Exception:  # the writers raise many kinds of errors, and warn if they change a column
            return False
    return True


def _put(out, name, columns):
    place = out.index_column(name)
    description = getattr(out[name].info, "description", None)
    out.remove_column(name)
    for i, (new, column) in enumerate(columns.items()):
        while new in out.colnames:
            new += "_"
        out.add_column(column, name=new, index=place + i)
        if description and not out[new].info.description:
            out[new].info.description = description


def _as_values(name, column):
    """Return objects that are numbers, texts or booleans as columns of that type, masked for None."""
    if getattr(getattr(column, "dtype", None), "kind", "") != "O":
        return None
    mask = np.array([value is None for value in column]) | np.asarray(getattr(column, "mask", False))
    values = [value for value, m in zip(column, mask, strict=True) if not m]
    for kind, fill in ((bool, False), (int, 0), (float, np.nan), (str, "")):
        if values and all(type(value) is kind for value in values):
            filled = np.array([fill if m else value for value, m in zip(column, mask, strict=True)])
            return {name: MaskedColumn(filled, mask=mask) if mask.any() and kind is not float else Column(filled)}
    return None


def _as_mixin(name, column):
    """Return times and positions unchanged, in formats that support them."""
    return {name: column} if isinstance(column, Time | SkyCoord) else None


def _as_wider(name, column):
    """Return numbers of unsupported types as larger types, and complex numbers as two columns."""
    dtype = getattr(column, "dtype", None)
    if dtype is None or isinstance(column, Time | SkyCoord) or dtype.kind not in "iufc":
        return None
    if dtype.kind == "c":
        return {f"{name}_real": Column(np.real(column)), f"{name}_imag": Column(np.imag(column))}
    if dtype.kind == "f":
        return {name: column.astype(np.float32)}
    fits = dtype.itemsize < 8 or int(np.max(np.ma.filled(column, 0), initial=0)) < 2**63
    return {name: column.astype(np.int16 if dtype.itemsize == 1 else np.int64 if fits else float)}


def _as_degrees(name, column):
    """Return a position as two columns."""
    if not isinstance(column, SkyCoord):
        return None
    position = column.icrs
    return {f"{name}_ra": Column(position.ra.deg, unit="deg"), f"{name}_dec": Column(position.dec.deg, unit="deg")}


def _as_text(name, column):
    """Return any column as text: times in ISO 8601, structures in JSON, other characters escaped to ASCII."""
    if isinstance(column, Time):
        return {name: Column(np.array(column.isot, str))}
    if getattr(getattr(column, "dtype", None), "kind", "U") == "V":
        return None
    masked = np.broadcast_to(np.asarray(getattr(column, "mask", False)), (len(column),))
    texts = ["" if m else _written(value) for value, m in zip(column, masked, strict=True)]
    return {name: Column(np.array([t.encode("ascii", "backslashreplace").decode() for t in texts], str))}


def _written(value):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool | np.bool_ | np.datetime64 | np.timedelta64):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value, default=str)
