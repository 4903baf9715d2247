"""Registry of model families by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from ..bands import include_bands
from ..errors import ModelError
from .base import ModelFamily

__all__ = ["family_names", "family_of_simulator", "get_family", "register_family"]

ENTRY_POINTS = "clusterpost.families"
# Families of this package, imported at first use.
_BUILT_IN = {
    "clusters": "clusterpost.families.clusters:FullySampledClusters",
    "galaxies": "clusterpost.families.galaxies:Galaxies",
    "galaxies_young": "clusterpost.families.galaxies:GalaxiesWithYoungStars",
    "stochastic": "clusterpost.families.stochastic:StochasticClusters",
    "stochastic_field": "clusterpost.families.stochastic:ClustersAmongFieldStars",
}
_registered: dict[str, type[ModelFamily]] = {}


def register_family(family: type[ModelFamily]) -> type[ModelFamily]:
    """Register a family for loading its model files.

    Parameters
    ----------
    family : type
        Subclass of `~clusterpost.families.ModelFamily` with a ``name``.

    Returns
    -------
    type
        The same class, for use as a decorator.

    Examples
    --------
    >>> from clusterpost.families import get_family, register_family
    >>> clusters = get_family("clusters")
    >>> register_family(clusters) is clusters
    True
    """
    _registered[family.name] = family
    return family


def family_names() -> list[str]:
    """Return the names of all families: built-in, registered, or provided by entry points of other packages.

    Examples
    --------
    >>> from clusterpost.families import family_names
    >>> {"clusters", "galaxies", "stochastic"} <= set(family_names())
    True
    """
    return sorted({*_BUILT_IN, *_registered, *_provided()})


def get_family(name: str) -> type[ModelFamily]:
    """Return a family by name.

    Parameters
    ----------
    name : str

    Returns
    -------
    type
        Subclass of `~clusterpost.families.ModelFamily`.

    Raises
    ------
    ModelError
        If no family has the name.

    Examples
    --------
    >>> from clusterpost.families import get_family
    >>> get_family("clusters").name
    'clusters'
    """
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)
    if name in _provided():
        return _provided()[name].load()
    raise ModelError(f"unknown model family {name!r}; known families: {', '.join(family_names())}. If it belongs "
                     "to another package, install or import that package first")


def family_of_simulator(values: Mapping) -> ModelFamily:
    """Make the family of a model file's simulator.

    Parameters
    ----------
    values : mapping
        Simulator of the model file.  Without ``family``, it is for fully sampled clusters.

    Returns
    -------
    ModelFamily

    Raises
    ------
    ModelError
        If the family is unknown or has a later version.

    Examples
    --------
    >>> from clusterpost.families import family_of_simulator, get_family
    >>> family = get_family("clusters")()
    >>> described = {"name": family.name, "version": family.version,
    ...              "options": family.to_dict()}
    >>> family_of_simulator({"family": described}).name
    'clusters'
    """
    described = values.get("family")
    if described is None:
        return _included(get_family("clusters").from_dict(values))
    family = get_family(described["name"])
    if described["version"] > family.version:
        raise ModelError(f"the model needs version {described['version']} of the family {family.name!r}, but version "
                         f"{family.version} is installed; upgrade clusterpost or the package of the family")
    return _included(family.from_dict(described["options"]))


@cache  # the search through all installed packages takes tens of milliseconds
def _provided():
    """Find the entry points of other packages, by name."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _included(family):
    """Register the bands of a family, which are needed to read tables, and return it."""
    include_bands(family.bands)
    return family
