"""Figures, by subject.  Every function returns a `matplotlib.figure.Figure` and does not display it."""

import lazy_loader

# The stub, which type checkers also read, lists the public names and their modules.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
