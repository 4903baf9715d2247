"""Checks of the inference: calibration on mocks, and against published fits.

`clusterpost.validation.sbc` asks whether posteriors of mocks mean what they say;
`clusterpost.validation.compare` sets an inferred catalog beside the catalog's own fits.
"""

from ..utils import lazy_names

_HOMES = {"STATISTICS": "sbc", "SBCResult": "sbc", "sbc_ranks": "sbc", "compare_with_catalog": "compare",
          "published_fits": "compare", "validate_model": "report"}
__all__ = [*_HOMES]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
