"""Tables from files, within limits: files that are too large or refer to other files are not read."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import re
import warnings
import zlib
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.io.registry import IORegistryError
from astropy.io.votable.exceptions import VOWarning
from astropy.table import Table

from ..config import conf
from ..errors import ColumnError, InputError, InputWarning, UnitError, shown
from .legus import first_fields, read_legus
from .parquet import parquet_table
from .recognition import recognize
from .units import is_number, read_unit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["check_size", "read_table"]

_VOTABLE = (".vot", ".xml", ".votable")
_PARQUET = (".parquet", ".parq")
_BINARY = (".fits", ".fit", ".fts", ".hdf5", ".h5", *_PARQUET)
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
_CHUNK = 1 << 20
_RATIO_FROM = 10_000_000  # bytes; smaller files may expand by any factor


def read_table(path: Path, *, columns: dict[str, tuple[str, str]] | None = None, bands: Sequence[str] | None = None,
               hdu: int | str | None = None) -> Table:
    """Read the table of a file.

    Parameters
    ----------
    path : `~pathlib.Path`
    columns, bands, hdu
        As for `~clusterpost.read_catalog`.

    Returns
    -------
    `~astropy.table.Table`

    Raises
    ------
    InputError
        If the file is missing, too large (`clusterpost.conf`), or not a table, or if
        it refers to other files or addresses.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path (download files on the web first)")
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the path of a catalog file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; download or write it again")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = next((suffix for suffix in reversed(suffixes) if suffix not in (".gz", ".bz2", ".xz")), "")
    check_size(path, text=last not in (*_BINARY, *_VOTABLE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # this module reads these units, or raises with a remedy
        warnings.filterwarnings("ignore", ".*W50", VOWarning)
        tbl = _read(path, last, columns, bands, hdu)
    _settle_units(tbl)
    if hdu is not None and last not in (".fits", ".fit", ".fts", *_VOTABLE):
        raise InputError(f"{path}: option:hdu is for FITS files and VOTables, and this file is neither; leave it out")
    return tbl


def _settle_units(tbl):
    """Set the unit of magnitudes of a known system, which neither FITS nor VOTable can store."""
    for name in tbl.colnames:
        unit = getattr(tbl[name], "unit", None)
        if isinstance(unit, u.UnrecognizedUnit):
            with contextlib.suppress(UnitError):
                system = read_unit(unit).system
                if system in ("AB", "ST"):
                    tbl[name].unit = {"AB": u.ABmag, "ST": u.STmag}[system]


def _read(path, last, columns, bands, hdu):
    if last in _PARQUET:
        return parquet_table(path)
    if last in _VOTABLE or (last not in _BINARY and b"<VOTABLE" in _first_bytes(path, 10_000).replace(b"\0", b"")):
        return _votable(path, columns, hdu)
    if last in (".fits", ".fit", ".fts"):
        return _fits(path, columns, hdu)
    legus = path.name.lower().startswith("hlsp_legus") or (last == ".tab" and _has_no_header(path))
    if legus and last not in (".csv", ".ecsv"):
        return read_legus(path, bands=bands, label=columns is None)
    try:
        tbl = Table.read(path)
    except IORegistryError:
        return _text(path, bands)
    except ImportError as error:
        raise InputError(f"{path}: {error}; install it, or convert the file to FITS or ECSV") from error
    except Exception as error:  # the readers raise many kinds of errors
        if last == ".csv" and _first_bytes(path).startswith(b"# %ECSV"):
            return _as(path, "ascii.ecsv")
        raise _unreadable(path, error) from error
    if last == ".csv" and len(tbl.colnames) == 1:  # another separator
        return _text(path, bands)
    return tbl


def _as(path, form):
    try:
        return Table.read(path, format=form)
    except Exception as error:
        raise _unreadable(path, error) from error


def _text(path, bands):
    """Read a table that no reader identifies: machine-readable (CDS), VizieR or plain text."""
    start = _first_bytes(path)
    if re.search(rb"^Byte-by-byte Description", start, re.MULTILINE):
        return _as(path, "ascii.mrt")
    if start.lstrip().startswith(b"# %ECSV"):
        return _as(path, "ascii.ecsv")
    if re.search(rb"^#Column\t", start, re.MULTILINE) or re.search(rb"^#-?(INFO|RESOURCE)", start, re.MULTILINE):
        return _vizier(path)
    return _as(path, "ascii")


def _vizier(path):
    """Read a tab-separated VizieR table, with comments, and names, units and dashes before the rows."""
    lines = [line for line in _decoded(path).splitlines() if (line.strip() or "\t" in line) and line[:1] != "#"]
    rules = [i for i, line in enumerate(lines) if set(line) <= set("-\t ") and "-" in line]
    if not rules or rules[0] not in (1, 2):
        return _as(path, "ascii")
    names = [name.strip() for name in lines[0].split("\t")]
    units = [unit.strip() for unit in lines[1].split("\t")] if rules[0] == 2 else []
    end = next((i for i in range(rules[0] + 1, len(lines)) if "\t" not in lines[i]), len(lines))
    text = ["\t".join(names), *("\t".join(cell.strip() for cell in line.split("\t"))
                               for line in lines[rules[0] + 1:end])]
    try:
        tbl = Table.read(text, format="ascii.tab", fill_values=[("", "0")])
    except Exception as error:
        raise _unreadable(path, error) from error
    for name, unit in zip(tbl.colnames, units, strict=False):
        tbl[name].unit = unit or None
    return tbl


def _decoded(path):
    for magic, opener in _OPENERS:
        if _raw_bytes(path).startswith(magic):
            with opener(path) as file:
                return file.read().decode("utf-8", "replace")
    return path.read_text(encoding="utf-8", errors="replace")


def _raw_bytes(path, n=8):
    with path.open("rb") as file:
        return file.read(n)


def _first_bytes(path, n=100_000):
    raw = _raw_bytes(path)
    opener = next((opener for magic, opener in _OPENERS if raw.startswith(magic)), open)
    try:
        with opener(path, "rb") as file:
            return file.read(n)
    except (OSError, EOFError, lzma.LZMAError):
        return b""


def _has_no_header(path):
    """Return whether the first line has as many numbers as a LEGUS catalog has columns."""
    fields = first_fields(path)
    return len(fields) >= 34 and all(is_number(field) for field in fields)


# FITS files and VOTables, which can hold several tables


def _fits(path, columns, hdu):
    from astropy.io import fits

    try:
        with fits.open(path) as file:
            places = [(i, h.name) for i, h in enumerate(file) if isinstance(h, fits.BinTableHDU | fits.TableHDU)]
    except Exception as error:
        raise _unreadable(path, error) from error
    if len(places) < 2 and hdu is None:
        return _fits_table(path, None)
    number = _chosen_place(path, hdu, places)
    if number is not None:
        return _fits_table(path, number)
    tables = [(place, _fits_table(path, place[0])) for place in places]
    return _by_content(path, tables, columns)


def _fits_table(path, number):
    try:
        return Table.read(path, format="fits", **({} if number is None else {"hdu": number}))
    except Exception as error:
        raise _unreadable(path, error) from error


def _chosen_place(path, hdu, places):
    """Return the number of the requested table, or None."""
    if hdu is None:
        return None
    for number, name in places:
        if str(hdu) in (str(number), name) or (name and str(hdu).upper() == name.upper()):
            return number
    listed = ", ".join(f"{number} ({name})" if name else str(number) for number, name in places)
    raise InputError(f"{path} has no table {shown(hdu)} for option:hdu; its tables are {listed or 'none'}")


def _by_content(path, tables, columns):
    """Choose the first table with photometry, and warn about the others."""
    good, problem = [], None
    for place, tbl in tables:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)  # repeated when the chosen table is read
                recognize(tbl, columns)
            good.append((place, tbl))
        except ColumnError as error:
            problem = problem or error
    listed = ", ".join(f"{number} ({name}, {len(tbl)} rows)" if name else f"{number} ({len(tbl)} rows)"
                       for (number, name), tbl in tables)
    if not good:
        raise problem.moved(f"{path} has {len(tables)} tables, {listed}, none with recognized photometry; "
                            "choose one with option:hdu. The error for the first: ")
    (number, name), tbl = good[0]
    total = sum(len(t) for _, t in good)
    which = f"table {number}{f' ({name})' if name else ''}"
    more = f": {len(tbl)} of the {total} rows with photometry" if len(good) > 1 else ", which has the photometry"
    warnings.warn(InputWarning(f"{path.name} has {len(tables)} tables, {listed}; {which} is read{more}. option:hdu "
                               "chooses another"), stacklevel=6)
    return tbl


def _votable(path, columns, hdu):
    from astropy.io.votable import parse

    _refuse_streams(path)
    try:
        tables = list(parse(str(path)).iter_tables())
        if not tables:
            raise InputError(f"{path} is a VOTable without a table")
        places = [(i, t.name or t.ID or "") for i, t in enumerate(tables)]
        number = _chosen_place(path, hdu, places)
        if number is not None or len(tables) == 1:
            tables, places = [tables[number or 0]], places[:1]
        made = [_of_votable(table) for table in tables]
        tbl = made[0] if len(made) == 1 else _by_content(path, list(zip(places, made, strict=True)), columns)
    except InputError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    return tbl


def _of_votable(table):
    tbl = table.to_table(use_names_over_ids=True)
    for name in tbl.colnames:  # astropy returns texts as objects
        if tbl[name].dtype.kind == "O" and all(isinstance(v, str) or v is np.ma.masked for v in tbl[name]):
            tbl[name] = tbl[name].astype(str)
    tbl.meta.update(_params(table))
    return tbl


def _params(table):
    """Return the meta that `write_catalog` stored in a VOTable."""
    values = {param.name: param.value for param in table.params}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()
            if np.ndim(value) == 0 and value is not np.ma.masked}


_STREAM = re.compile(rb"<(?:\w+:)?STREAM\b[^>]*?\bhref\s*=", re.IGNORECASE | re.DOTALL)
_ENTITY = re.compile(rb"<!(?:ENTITY|DOCTYPE)[^>]*\b(?:SYSTEM|PUBLIC|ENTITY)\b", re.IGNORECASE)


def _refuse_streams(path):
    """Raise if a VOTable refers to rows elsewhere, because reading a catalog must not fetch anything."""
    raw = _raw_bytes(path)
    opener = next((opener for magic, opener in _OPENERS if raw.startswith(magic)), open)
    last = b""
    with opener(path, "rb") as file:
        while block := file.read(_CHUNK):
            data = (last + block).replace(b"\0", b"")  # UTF-16 is searched without its zero bytes
            if _STREAM.search(data) or _ENTITY.search(data):
                raise InputError(f"{path} takes its rows from another file or address (a STREAM with href, or an "
                                 "external entity), which is not followed; save the table with its data inside")
            last = block[-100_000:]


# Limits


def check_size(path: Path, *, text: bool) -> None:
    """Raise if a file exceeds the limits in `clusterpost.conf`.

    Parameters
    ----------
    path : `~pathlib.Path`
    text : bool
        Whether it is a text file.

    Raises
    ------
    InputError
    """
    size, limit = path.stat().st_size, int(conf.max_file_size)
    if size > limit:
        raise _too_large(path, f"{size / 1e9:.3g} GB", limit)
    raw = _raw_bytes(path)
    opener = next((opener for magic, opener in _OPENERS if raw.startswith(magic)), None)
    if opener is None and not text:
        return
    held = line = 0
    try:
        with (opener or open)(path, "rb") as file:
            while block := file.read(_CHUNK):
                held += len(block)
                if held > limit:
                    raise _too_large(path, f"more than {limit / 1e9:.3g} GB, unpacked", limit)
                if opener is not None and held > max(_RATIO_FROM, conf.max_expansion * size):
                    raise InputError(
                        f"{path} unpacks to more than {conf.max_expansion} times its size, which is suspicious; unpack "
                        "it by hand if you trust it, or raise setting:max_expansion")
                if text:
                    line = _longest_line(path, block, line)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path} cannot be unpacked ({shown(str(error))}); download it again") from error


def _longest_line(path, block, before):
    """Return the length of the unfinished last line of a block, after checking the other lines."""
    pieces = re.split(rb"[\r\n]", block)
    longest = max(before + len(pieces[0]), *(len(piece) for piece in pieces[1:]), 0)
    if longest > conf.max_line_length:
        raise InputError(f"{path} has a line of more than {conf.max_line_length} characters, too long for a table of "
                         "clusters; check the file, or raise setting:max_line_length")
    return len(pieces[-1]) if len(pieces) > 1 else before + len(pieces[0])


def _too_large(path, size, limit):
    return InputError(f"{path} is too large to be read at once ({size}; the limit is {limit / 1e9:.3g} GB); convert it "
                      "to Parquet, which is read in parts, or raise setting:max_file_size")


def _unreadable(path, error):
    reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
    if isinstance(error, UnicodeError):
        reason = "it is not text"
    return InputError(
        f"{path} cannot be read as a table ({reason}). Check that it is a table, and that its "
        "suffix matches its format (.fits, .ecsv, .csv, .vot, .parquet, .txt)"
    )

