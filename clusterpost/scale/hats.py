"""HATS catalogs: Parquet files by HEALPix pixel, with files that describe them."""

from __future__ import annotations

from pathlib import Path

from ..utils import require, write_whole

__all__ = ["catalog_of", "complete", "data_folder", "is_hats"]

_PROPERTIES = ("hats.properties", "properties")
_COLLECTION = "collection.properties"


def is_hats(folder: Path) -> bool:
    """Tell whether a folder is a HATS catalog."""
    folder = Path(folder)
    return (folder / "dataset").is_dir() and any((folder / name).is_file() for name in _PROPERTIES)


def catalog_of(source: str) -> Path:
    """Return the catalog of a HATS collection; any other folder itself."""
    source = Path(source)
    if not (source / _COLLECTION).is_file():
        return source
    collection = require("hats.catalog.dataset.collection_properties", "hats").CollectionProperties
    return source / collection.read_from_dir(source).hats_primary_table_url


def data_folder(source: str) -> Path:
    """Return where the data files of a source are; a HATS catalog needs LSDB to be installed."""
    source = Path(source)
    if not is_hats(source):
        return source
    require("lsdb", "hats")
    return source / "dataset"


def complete(source: str, target: Path) -> None:
    """Describe the results for a HATS catalog as one, now that all its pixels are there."""
    if not is_hats(source):
        return
    parquet_metadata, paths = require("hats.io.parquet_metadata", "hats"), require("hats.io.paths", "hats")
    properties = require("hats.catalog.dataset.table_properties", "hats").TableProperties
    parquet_metadata.write_parquet_metadata(target)
    partitions = Path(paths.get_partition_info_pointer(source))
    if partitions.exists():
        write_whole(target / partitions.name, partitions.read_bytes())
    # Columns are as they were and more, of which none is left out by default.
    properties.read_from_dir(source).copy_and_update(default_columns=None).to_properties_file(target)
