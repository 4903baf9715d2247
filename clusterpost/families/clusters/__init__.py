"""Fully sampled star clusters: age, mass and reddening from a table of band fluxes."""

from .family import PARAMETERS, FullySampledClusters

__all__ = ["PARAMETERS", "FullySampledClusters"]
