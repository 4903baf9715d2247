"""Galaxies: PROVABGS without its burst, in the bands of the Sloan Digital Sky Survey."""

from .family import Galaxies

__all__ = ["Galaxies"]
