"""Compute the table of stars of the stochastic family from public isochrones, atmospheres and nebular grids."""
