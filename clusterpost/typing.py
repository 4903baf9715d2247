"""Names for the types of what users give."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import os

    import pandas
    from astropy.table import Row, Table

    from .flow.model import Model

__all__ = ["ModelLike", "PathLike", "TableLike"]

#: Path of a file or folder.
PathLike: TypeAlias = "str | os.PathLike"
#: A table, a row, a data frame, or the path of a file that `~clusterpost.read_catalog` reads.
TableLike: TypeAlias = "Table | Row | pandas.DataFrame | str | os.PathLike"
#: Name of a bundled model, path of a model file, or a loaded model.
ModelLike: TypeAlias = "str | os.PathLike | Model"
