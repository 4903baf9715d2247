"""Catalog files read in chunks of rows, with one chunk in memory."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..catalogs.columns import some
from ..catalogs.reader import read_catalog
from ..errors import ColumnError, InputError
from ..typing import PathLike
from ..utils import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    import pyarrow

__all__ = ["Chunk", "ParquetSource", "TableSource", "data_files", "open_source", "read_column"]

_SUFFIXES = (".parquet", ".parq")


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a catalog, as in its file.

    Attributes
    ----------
    number, start : int
        Numbers of the chunk and of its first row.
    rows : pyarrow.Table or `~astropy.table.Table`
    digest : str
        Digest that identifies the rows.
    """

    number: int
    start: int
    rows: object = field(repr=False)
    digest: str


class ParquetSource:
    """A Parquet file in chunks of ``size`` rows, independent of its row groups."""

    def __init__(self, path: PathLike, size: int):
        self.path, self.size = Path(path), size
        pyarrow, parquet = require("pyarrow", "scale"), require("pyarrow.parquet", "scale")
        try:
            # Read page by page, because one row group can be the whole file.
            self.file = parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20)
        except FileNotFoundError:
            raise InputError(f"{self.path} does not exist; check the path") from None
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise InputError(f"{self.path} cannot be read as Parquet ({error})") from error
        self.n_rows, self.schema = self.file.metadata.num_rows, self.file.schema_arrow

    def chunks(self, skipped: set | tuple = ()) -> Iterator[Chunk]:
        """Yield the chunks whose number is not skipped, in order."""
        for number, rows in enumerate(self.arrow()):
            if number not in skipped:
                yield Chunk(number, number * self.size, rows, hashlib.sha256(_parquet_bytes(rows)).hexdigest())

    def arrow(self) -> Iterator[pyarrow.Table]:
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

    def __init__(self, path: PathLike, size: int, options: Mapping[str, Any]):
        self.path, self.size = Path(path), size
        self.table = read_catalog(path, **options)
        self.n_rows = len(self.table)
        with self.path.open("rb") as file:
            self._digest = hashlib.file_digest(file, "sha256").hexdigest()

    def chunks(self, skipped: tuple = ()) -> None:
        """Yield the chunks whose number is not skipped, in order."""
        for number, start in enumerate(range(0, self.n_rows, self.size)):
            if number not in skipped:
                yield Chunk(number, start, self.table[start : start + self.size], f"{self._digest}-{number}")


def open_source(path: PathLike, size: int, options: dict[str, Any]) -> ParquetSource:
    """Open a catalog file in chunks of ``size`` rows, with options of `~clusterpost.read_catalog`."""
    if Path(path).suffix.lower() in _SUFFIXES:
        return ParquetSource(path, size)
    return TableSource(path, size, options)


def read_column(path: PathLike, name: str) -> np.ndarray:
    """Read one column of a file or dataset of any size.

    Parameters
    ----------
    path : path
        Path of a Parquet file, or of a folder of Parquet files.
    name : str

    Returns
    -------
    ndarray

    Raises
    ------
    ColumnError
        If the column does not exist.

    Examples
    --------
    >>> from clusterpost.scale import read_column
    >>> flag = read_column("posteriors/", "flag")  # doctest: +SKIP
    """
    parquet, path = require("pyarrow.parquet", "scale"), Path(path)
    files = data_files(path) if path.is_dir() else [path]
    names = parquet.read_schema(files[0]).names
    if name not in names:
        raise ColumnError(f"{path} has no column {name!r}; it has {some(names)}")
    return np.concatenate([parquet.read_table(file, columns=[name], partitioning=None)[name].to_numpy()
                           for file in files])


def data_files(root: Path) -> list[Path]:
    """Return the data files of a folder, without metadata files, whose names begin with a dot or an underscore."""
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give a folder of Parquet files, or option:one-file")
    inside = [file for file in sorted(root.rglob("*.parquet"))
              if not any(part.startswith((".", "_")) or part.endswith(".parts") for part in
                         file.relative_to(root).parts)]
    if not inside:
        raise InputError(f"{root} holds no Parquet files")
    return inside


def _parquet_bytes(rows):
    """Return the bytes of an arrow table as a Parquet file, identical for identical rows."""
    buffer = io.BytesIO()
    require("pyarrow.parquet", "scale").write_table(rows, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()
