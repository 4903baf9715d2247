"""Reading of star-cluster catalogs, recognition of their columns, and distances of galaxies.

:mod:`~clusterpost.catalogs.recognition` recognizes the columns of a table,
:mod:`~clusterpost.catalogs.legus` reads LEGUS files without headers,
:mod:`~clusterpost.catalogs.published` finds a catalog's own fits,
:mod:`~clusterpost.catalogs.levels` compares its fluxes with its magnitudes,
:mod:`~clusterpost.catalogs.distances` lists the galaxies of PHANGS-HST and
LEGUS, :mod:`~clusterpost.catalogs.nsa` reads galaxies of the Sloan Digital Sky
Survey, :mod:`~clusterpost.catalogs.resolved` reads clusters with ages from
resolved stars, and :mod:`~clusterpost.catalogs.reader` reads files of all these
kinds.
"""

import lazy_loader

# The stub, which type checkers also read, lists the public names and their modules.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
