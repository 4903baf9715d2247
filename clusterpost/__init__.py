"""Posteriors of star-cluster age, mass and reddening from HST photometry.

Functions take and return astropy Tables with units; see
``help(clusterpost.infer_table)`` for the headline call.
"""

from .utils import lazy_names

# Public names and the module each is imported from when first used, so that
# importing the package loads neither torch nor matplotlib.
_PUBLIC = {
    "add_band": "bands",
    "apply_error_floor": "photometry",
    "compare_with_catalog": "validation.compare",
    "conf": "config",
    "decode_flags": "flags",
    "exact_posterior": "infer",
    "example_catalog": "catalogs.example",
    "fetch_phangs": "catalogs.phangs",
    "infer_table": "infer",
    "list_bands": "bands",
    "is_good": "flags",
    "list_models": "flow.modelfile",
    "list_phangs": "catalogs.phangs",
    "load_model": "flow.modelfile",
    "log_prob": "infer",
    "plot_posterior": "plotting.posterior",
    "read_catalog": "catalogs.reader",
    "sample_posterior": "infer",
    "simulate": "training.mocks",
    "write_catalog": "catalogs.writer",
}

__all__ = ["__version__", *_PUBLIC]

_lazy, __dir__ = lazy_names(__name__, _PUBLIC)


def __getattr__(name):
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(__name__)
        except PackageNotFoundError:  # a source tree that was never installed
            return "0+unknown"
    return _lazy(name)
