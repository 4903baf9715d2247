"""Posterior draws, modes, and summaries."""
