"""Reading star-cluster catalogs: which columns mean what, and how far the galaxies are.

:mod:`~clusterpost.catalogs.layouts` recognizes the columns of a table,
:mod:`~clusterpost.catalogs.legus` reads the header-less LEGUS files,
:mod:`~clusterpost.catalogs.published` the fits that a catalog brings along,
:mod:`~clusterpost.catalogs.levels` compares its fluxes with its magnitudes,
:mod:`~clusterpost.catalogs.distances` knows the galaxies of PHANGS-HST and
LEGUS, :mod:`~clusterpost.catalogs.nsa` reads galaxies of the Sloan Digital Sky
Survey, and :mod:`~clusterpost.catalogs.reader` reads a file of any of these kinds.
"""

from ..utils import lazy_names

_HOMES = {
    "BandColumns": "columns",
    "Layout": "layouts",
    "check_levels": "levels",
    "correct_aperture": "levels",
    "distance_table": "distances",
    "galaxy_distance": "distances",
    "label_legus": "legus",
    "published_columns": "published",
    "read_catalog": "reader",
    "read_legus": "legus",
    "read_nsa": "nsa",
    "read_sdss": "nsa",
    "recognize": "layouts",
    "resolve_galaxy": "distances",
}
__all__ = [*_HOMES]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
