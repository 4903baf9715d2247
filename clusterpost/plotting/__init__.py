"""Every figure, by subject; each function returns a `matplotlib.figure.Figure` and shows nothing."""

from ..utils import lazy_names

_HOMES = {"plot_catalog": "catalogs", "plot_comparison": "catalogs", "plot_deviation": "catalogs",
          "plot_posterior": "posterior", "plot_sbc": "validation", "plot_search": "training",
          "plot_training": "training"}
__all__ = [*_HOMES]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
