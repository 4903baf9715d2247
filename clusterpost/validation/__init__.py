"""Checks of the inference: calibration on mocks, and comparison with published fits.

`clusterpost.validation.sbc` tests whether posteriors of mocks are calibrated;
`clusterpost.validation.compare` compares an inferred catalog with the catalog's own fits.
"""

import lazy_loader

# The stub, which type checkers also read, lists the public names and their modules.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
