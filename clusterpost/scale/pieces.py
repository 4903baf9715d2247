"""A catalog in pieces, each read as it would be within the whole table."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from ..catalogs.reader import read_catalog
from ..catalogs.records import LEVELS_KEY
from ..errors import InputError
from ..utils import require

__all__ = ["ParquetSource", "Piece", "Reading", "TableSource", "as_table", "is_parquet", "open_source"]

_SUFFIXES = (".parquet", ".parq")


@dataclass(frozen=True)
class Reading:
    """How rows are read so that it makes no difference with how many others.

    Attributes
    ----------
    columns, distance_source
        As for `~clusterpost.read_catalog`.
    witnesses : pyarrow.Table, optional
        Rows from all over the table, read along with each piece: whatever one
        row of a galaxy, or of the table, says of the others is known in every piece.
    places : tuple of str
        Where the witnesses are, for messages.
    levels : str, optional
        What the comparison of mJy with Vega columns found in the whole table,
        which no piece repeats; empty for nothing.
    """

    columns: dict | None = None
    distance_source: str | None = None
    witnesses: object = None
    places: tuple = ()
    levels: str | None = None

    def __call__(self, piece) -> Table:
        """Read a piece of a Parquet file.

        Parameters
        ----------
        piece : Piece

        Returns
        -------
        `~astropy.table.Table`
        """
        rows, n = piece.rows, len(self.places)
        if n:
            rows = require("pyarrow", "scale").concat_tables([self.witnesses, rows], promote_options="permissive")
        with _messages(piece, self.places), warnings.catch_warnings():
            if self.levels is not None:  # the user was told
                warnings.filterwarnings("ignore", "mJy and Vega columns disagree", AstropyUserWarning)
            tbl = read_catalog(as_table(rows), columns=self.columns, distance_source=self.distance_source)
        if self.levels is not None:
            tbl.meta.pop(LEVELS_KEY, None)
            tbl.meta.update({LEVELS_KEY: self.levels} if self.levels else {})
        return tbl[n:]

    @property
    def digest(self):
        """Of all that this adds to the rows themselves."""
        said = repr((self.columns, self.distance_source, self.places, self.levels))
        return hashlib.sha256(said.encode() + (_bytes(self.witnesses) if self.places else b"")).hexdigest()


@dataclass(frozen=True)
class Piece:
    """Successive rows of a catalog.

    Attributes
    ----------
    number : int
    start : int
        Its first row.
    path : `~pathlib.Path`
    rows : pyarrow.Table or `~astropy.table.Table`
    digest : str
        Of the rows.
    """

    number: int
    start: int
    path: Path
    rows: object = field(repr=False)
    digest: str

    def read(self, reading) -> Table:
        """As `~clusterpost.read_catalog` gives these rows of the whole table.

        Parameters
        ----------
        reading : Reading

        Returns
        -------
        `~astropy.table.Table`
        """
        return self.rows if isinstance(self.rows, Table) else reading(self)

    def messages(self):
        """Within it, errors name the file, and rows as they are counted in it."""
        return _messages(self)

    def renumbered(self, text):
        """A message about rows of this piece, counting those of the catalog."""
        return _renumbered(text, self)


class ParquetSource:
    """A Parquet file, of which no more is in memory than a piece.

    Parameters
    ----------
    path : path
    size : int
        Rows of a piece; the file's row groups do not matter.
    """

    def __init__(self, path, size):
        self.path, self.size = Path(path), size
        pyarrow, parquet = require("pyarrow", "scale"), require("pyarrow.parquet", "scale")
        try:
            self.file = parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20)
        except FileNotFoundError:
            raise InputError(f"{self.path} does not exist; check the path") from None
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise InputError(f"{self.path} cannot be read as Parquet ({error})") from error
        self.n_rows = self.file.metadata.num_rows
        self.schema = self.file.schema_arrow

    @property
    def n_pieces(self):
        """How many pieces there are."""
        return -(-self.n_rows // self.size)

    def pieces(self, wanted=None):
        """Pieces, one at a time.

        Parameters
        ----------
        wanted : collection of int, optional
            Their numbers; by default all.

        Yields
        ------
        Piece
        """
        wanted = range(self.n_pieces) if wanted is None else wanted
        for number, rows in self._rows(wanted):
            yield Piece(number, number * self.size, self.path, rows, hashlib.sha256(_bytes(rows)).hexdigest())

    def columns(self, names):
        """All rows of a few columns, a piece at a time.

        Parameters
        ----------
        names : sequence of str

        Yields
        ------
        start : int
        tbl : `~astropy.table.Table`
        """
        for number, rows in self._rows(range(self.n_pieces)):
            yield number * self.size, as_table(rows, names)

    def _rows(self, wanted):
        pyarrow = require("pyarrow", "scale")
        kept, at = [], 0
        for group in range(self.file.num_row_groups):
            n = self.file.metadata.row_group(group).num_rows
            if not any(number in wanted for number in range(at // self.size, -(-(at + n) // self.size))):
                at += n
                continue
            for batch in self.file.iter_batches(self.size, row_groups=[group]):
                while batch.num_rows:
                    number = at // self.size
                    end = min((number + 1) * self.size, self.n_rows)
                    here = batch.slice(0, end - at)
                    at, batch = at + here.num_rows, batch.slice(here.num_rows)
                    if number not in wanted:
                        continue
                    kept.append(here)
                    if at == end:
                        yield number, pyarrow.Table.from_batches(kept).combine_chunks()
                        kept = []


class TableSource:
    """A catalog of any other format, read whole.

    Parameters
    ----------
    path : path
    size : int
        Rows of a piece.
    reading : Reading
    """

    def __init__(self, path, size, reading):
        self.path, self.size = Path(path), size
        self.table = read_catalog(path, columns=reading.columns, distance_source=reading.distance_source)
        self.n_rows = len(self.table)
        with self.path.open("rb") as file:
            self._digest = hashlib.file_digest(file, "sha256").hexdigest()

    n_pieces = ParquetSource.n_pieces

    def pieces(self, wanted=None):
        """Pieces; see `ParquetSource.pieces`."""
        for number in range(self.n_pieces) if wanted is None else sorted(wanted):
            start = number * self.size
            yield Piece(number, start, self.path, self.table[start : start + self.size], f"{self._digest}-{number}")


def is_parquet(path):
    """Whether a file is called as Parquet files are.

    Parameters
    ----------
    path : path

    Returns
    -------
    bool
    """
    return Path(path).suffix.lower() in _SUFFIXES


def open_source(path, size, reading):
    """A catalog to be taken in pieces.

    Parameters
    ----------
    path : path
    size : int
    reading : Reading

    Returns
    -------
    ParquetSource or TableSource
    """
    return ParquetSource(path, size) if is_parquet(path) else TableSource(path, size, reading)


def as_table(rows, names=None) -> Table:
    """As `Table.read` gives what a Parquet file holds.

    Parameters
    ----------
    rows : pyarrow.Table
    names : sequence of str, optional
        Columns; by default all.

    Returns
    -------
    `~astropy.table.Table`
    """
    pyarrow, compute = require("pyarrow", "scale"), require("pyarrow.compute", "scale")
    metadata = dict(rows.schema.metadata or {})
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        key = f"table::len::{name}".encode()
        if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
            if column.null_count:
                raise InputError(f"column {name!r} has rows without a text; fill them, with '' for example")
            metadata.setdefault(key, str(max(compute.max(compute.utf8_length(column)).as_py() or 1, 1)).encode())
    try:
        buffer = io.BytesIO(_bytes(rows.replace_schema_metadata(metadata)))
        return Table.read(buffer, format="parquet", include_names=names)
    except Exception as error:  # the reader raises many kinds
        raise InputError(f"these columns cannot be read as a table ({type(error).__name__}: {error})") from error


def _bytes(rows):
    """An arrow table as a Parquet file, the same for the same rows."""
    buffer = io.BytesIO()
    require("pyarrow.parquet", "scale").write_table(rows, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


def _renumbered(text, piece, places=()):
    """A message that counts the rows of witnesses and piece, counting those of the catalog."""
    n = len(places)

    def name(match):
        row = int(match[1])
        return f"row {places[row] if row < n else row - n + piece.start}"

    return re.sub(r"\brow (\d+)\b", name, text)


@contextlib.contextmanager
def _messages(piece, places=()):
    """Let errors name the file, and rows as they are counted in it."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{piece.path}: {_renumbered(str(error), piece, places)}") from None
