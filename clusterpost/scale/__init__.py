"""Inference of catalogs that do not fit into memory or on one machine.

:func:`~clusterpost.scale.stream.infer_file` streams one Parquet file into another,
:func:`~clusterpost.scale.dataset.infer_dataset` a folder of them on a Dask cluster, and
:mod:`~clusterpost.scale.plan` estimates the cost of a catalog.
"""

import lazy_loader

# The stub, which type checkers also read, lists the public names and their modules.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
