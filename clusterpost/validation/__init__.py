"""Checks of the inference: calibration on mocks, and against published fits.

`clusterpost.validation.sbc` asks whether posteriors of mocks mean what they say;
`clusterpost.validation.compare` sets an inferred catalog beside the catalog's own fits.
"""

import lazy_loader

# The names and where they are from stand in the stub, which type checkers read, too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
