"""Galaxies: PROVABGS without its burst, in the bands of the Sloan Digital Sky Survey."""

from .family import Galaxies, GalaxiesWithYoungStars

__all__ = ["Galaxies", "GalaxiesWithYoungStars"]
