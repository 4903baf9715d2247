"""Computation of the stochastic family's table of stars from public isochrones, atmospheres and nebular grids."""
