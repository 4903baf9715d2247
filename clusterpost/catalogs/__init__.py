"""Reading star-cluster catalogs: which columns mean what, and how far the galaxies are.

:mod:`~clusterpost.catalogs.recognition` recognizes the columns of a table,
:mod:`~clusterpost.catalogs.legus` reads the header-less LEGUS files,
:mod:`~clusterpost.catalogs.published` the fits that a catalog brings along,
:mod:`~clusterpost.catalogs.levels` compares its fluxes with its magnitudes,
:mod:`~clusterpost.catalogs.distances` knows the galaxies of PHANGS-HST and
LEGUS, :mod:`~clusterpost.catalogs.nsa` reads galaxies of the Sloan Digital Sky
Survey, :mod:`~clusterpost.catalogs.resolved` clusters whose ages are known from
resolved stars, and :mod:`~clusterpost.catalogs.reader` reads a file of any of
these kinds.
"""

import lazy_loader

# The names and where they are from stand in the stub, which type checkers read, too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
