"""Checks of the inference: calibration on mocks, and against published fits.

`clusterpost.validation.sbc` asks whether posteriors of mocks mean what they say;
`clusterpost.validation.compare` sets an inferred catalog beside the catalog's own fits.
"""

from ..utils import lazy_names

_HOMES = {"PosteriorSampler": "samplers", "compare_with_exact": "exactness", "efficiency_by_bands": "exactness",
          "STATISTICS": "sbc", "SBCResult": "sbc", "sbc_ranks": "sbc", "compare_with_catalog": "compare",
          "inlier_table": "compare", "map_shortfall": "maps", "published_fits": "fits", "validate_model": "report"}
__all__ = [*_HOMES]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
