"""Every figure, by subject; each function returns a `matplotlib.figure.Figure` and shows nothing."""

import lazy_loader

# The names and where they are from stand in the stub, which type checkers read, too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
