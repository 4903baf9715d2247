"""Every figure, by subject; each function returns a `matplotlib.figure.Figure` and shows nothing."""

from ..utils import lazy_names

_HOMES = {"plot_flux_errors": "photometry", "plot_predictive": "photometry", "plot_chi2": "photometry",
          "plot_seds": "photometry", "plot_support": "support", "plot_densities": "density",
          "plot_with_mcmc": "density", "plot_noise_models": "noise_models",
          "plot_catalog": "catalogs", "plot_comparison": "catalogs", "plot_deviation": "catalogs",
          "plot_posterior": "posterior", "plot_sbc": "validation", "plot_pp": "validation",
          "plot_coverage": "validation", "plot_regions": "validation", "plot_search": "training",
          "plot_training": "training"}
__all__ = [*_HOMES]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
