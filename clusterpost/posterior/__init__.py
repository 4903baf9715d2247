"""From a network's draws to the numbers of a row: draws, modes, summaries."""
