"""A catalog file in chunks of rows, of which only one is in memory."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from astropy.table import Table

from ..catalogs.reader import read_catalog
from ..errors import InputError
from ..utils import require

__all__ = ["Chunk", "ParquetSource", "TableSource", "arrow_to_table", "open_source", "parquet_bytes"]

_SUFFIXES = (".parquet", ".parq")


@dataclass(frozen=True)
class Chunk:
    """Successive rows of a catalog, as they are in its file.

    Attributes
    ----------
    number, start : int
        Number of the chunk, and of its first row.
    rows : pyarrow.Table or `~astropy.table.Table`
    digest : str
        The same only for the same rows.
    """

    number: int
    start: int
    rows: object = field(repr=False)
    digest: str


class ParquetSource:
    """A Parquet file in chunks of ``size`` rows, whatever its row groups."""

    def __init__(self, path, size):
        self.path, self.size = Path(path), size
        pyarrow, parquet = require("pyarrow", "scale"), require("pyarrow.parquet", "scale")
        try:
            # Read page by page: one row group may be the whole file.
            self.file = parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20)
        except FileNotFoundError:
            raise InputError(f"{self.path} does not exist; check the path") from None
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise InputError(f"{self.path} cannot be read as Parquet ({error})") from error
        self.n_rows, self.schema = self.file.metadata.num_rows, self.file.schema_arrow

    def chunks(self, skipped=()):
        """Yield the chunks whose number is not skipped, in order."""
        for number, rows in enumerate(self.arrow()):
            if number not in skipped:
                yield Chunk(number, number * self.size, rows, hashlib.sha256(parquet_bytes(rows)).hexdigest())

    def arrow(self):
        """Yield the rows of each chunk as an arrow table."""
        pyarrow = require("pyarrow", "scale")
        kept, missing = [], self.size
        for batch in self.file.iter_batches(self.size):
            while batch.num_rows >= missing:
                kept.append(batch.slice(0, missing))
                yield pyarrow.Table.from_batches(kept).combine_chunks()
                batch = batch.slice(missing)
                kept, missing = [], self.size
            if batch.num_rows:
                kept.append(batch)
                missing -= batch.num_rows
        if kept:
            yield pyarrow.Table.from_batches(kept).combine_chunks()


class TableSource:
    """A catalog of any other format, which is read whole."""

    def __init__(self, path, size, columns, distance_source):
        self.path, self.size = Path(path), size
        self.table = read_catalog(path, columns=columns, distance_source=distance_source)
        self.n_rows = len(self.table)
        with self.path.open("rb") as file:
            self._digest = hashlib.file_digest(file, "sha256").hexdigest()

    def chunks(self, skipped=()):
        """Yield the chunks whose number is not skipped, in order."""
        for number, start in enumerate(range(0, self.n_rows, self.size)):
            if number not in skipped:
                yield Chunk(number, start, self.table[start : start + self.size], f"{self._digest}-{number}")


def open_source(path, size, columns=None, distance_source=None):
    """Open a catalog file to be taken in chunks of ``size`` rows."""
    if Path(path).suffix.lower() in _SUFFIXES:
        return ParquetSource(path, size)
    return TableSource(path, size, columns, distance_source)


def arrow_to_table(rows, names=None) -> Table:
    """Convert an arrow table, or some of its columns, as ``Table.read`` reads them from a Parquet file."""
    pyarrow, compute = require("pyarrow", "scale"), require("pyarrow.compute", "scale")
    metadata = dict(rows.schema.metadata or {})
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
            if column.null_count:
                raise InputError(f"column {name!r} has rows without a text; fill them, with '' for example")
            longest = compute.max(compute.utf8_length(column)).as_py() or 1
            metadata.setdefault(f"table::len::{name}".encode(), str(max(longest, 1)).encode())
    try:
        buffer = io.BytesIO(parquet_bytes(rows.replace_schema_metadata(metadata)))
        return Table.read(buffer, format="parquet", include_names=names)
    except Exception as error:  # the reader raises many kinds
        raise InputError(f"these columns cannot be read as a table ({type(error).__name__}: {error})") from error


def parquet_bytes(rows):
    """Return an arrow table as a Parquet file, the same for the same rows."""
    buffer = io.BytesIO()
    require("pyarrow.parquet", "scale").write_table(rows, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()
