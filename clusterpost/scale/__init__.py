"""Catalogs that do not fit into memory, or not onto one machine.

:func:`~clusterpost.scale.stream.infer_file` streams one Parquet file into another,
:func:`~clusterpost.scale.dataset.infer_dataset` a folder of them on a Dask cluster, and
:mod:`~clusterpost.scale.plan` says what a catalog of some size will cost.
"""

from ..utils import lazy_names

_HOMES = {"infer_dataset": "dataset", "infer_file": "stream", "plan_catalog": "plan", "read_column": "dataset"}
__all__ = [*_HOMES]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
