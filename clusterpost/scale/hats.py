"""HATS catalogs: Parquet files by HEALPix pixel, with metadata files."""

from __future__ import annotations

from pathlib import Path

from ..utils import require, write_whole

__all__ = ["catalog_of", "complete", "data_folder", "is_hats"]

_PROPERTIES = ("hats.properties", "properties")
_COLLECTION = "collection.properties"


def is_hats(folder: Path) -> bool:
    """Return whether a folder is a HATS catalog."""
    folder = Path(folder)
    return (folder / "dataset").is_dir() and any((folder / name).is_file() for name in _PROPERTIES)


def catalog_of(source: str) -> Path:
    """Return the catalog of a HATS collection, or any other folder unchanged."""
    source = Path(source)
    if not (source / _COLLECTION).is_file():
        return source
    collection = require("hats.catalog.dataset.collection_properties", "hats").CollectionProperties
    return source / collection.read_from_dir(source).hats_primary_table_url


def data_folder(source: str) -> Path:
    """Return the folder with the data files of a source; a HATS catalog needs LSDB."""
    source = Path(source)
    if not is_hats(source):
        return source
    require("lsdb", "hats")
    return source / "dataset"


def complete(source: str, target: Path) -> None:
    """Write the metadata files of a HATS catalog for the complete results."""
    if not is_hats(source):
        return
    parquet_metadata, paths = require("hats.io.parquet_metadata", "hats"), require("hats.io.paths", "hats")
    properties = require("hats.catalog.dataset.table_properties", "hats").TableProperties
    parquet_metadata.write_parquet_metadata(target)
    partitions = Path(paths.get_partition_info_pointer(source))
    if partitions.exists():
        write_whole(target / partitions.name, partitions.read_bytes())
    # The default columns are all columns, old and new.
    properties.read_from_dir(source).copy_and_update(default_columns=None).to_properties_file(target)
