"""Posteriors of the age, mass, reddening and metallicity of star clusters, and of galaxies, from photometry.

Functions take and return astropy Tables with units; see
``help(clusterpost.infer_table)`` for the main function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from typing import Any

# The stub lists the public names and their modules, also for type checkers.  They are imported at first
# use, so importing the package loads neither torch nor matplotlib.
_lazy, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]


_MODULES = ("catalogs", "families", "plotting", "priors", "report", "scale", "validation")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return import_module(f".{name}", __name__)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(__name__)
        except PackageNotFoundError:  # a source tree that was never installed
            return "0+unknown"
    if name not in _names:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _lazy(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
