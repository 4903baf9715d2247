"""Fully sampled star clusters: age, mass, and reddening from a table of band fluxes."""

from .family import FullySampledClusters
from .parameters import PARAMETERS

__all__ = ["PARAMETERS", "FullySampledClusters"]
