"""Catalogs that do not fit into memory, or not onto one machine.

:func:`~clusterpost.scale.stream.infer_file` streams one Parquet file into another,
:func:`~clusterpost.scale.dataset.infer_dataset` a folder of them on a Dask cluster, and
:mod:`~clusterpost.scale.plan` says what a catalog of some size will cost.
"""

import lazy_loader

# The names and where they are from stand in the stub, which type checkers read, too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
