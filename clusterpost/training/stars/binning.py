"""Merging of neighbors in initial mass to few kinds of stars, with the least effect on a cluster's scatter."""

from __future__ import annotations

import heapq

import numpy as np

__all__ = ["merge_neighbors"]

_COLOR = 8.0  # cost of a color error relative to a flux error


def merge_neighbors(number: np.ndarray, flux: np.ndarray, n_bins: int) -> np.ndarray:
    """Group neighbors.

    Parameters
    ----------
    number : ndarray (n,)
        Expected number of each kind of star per solar mass.
    flux : ndarray (n, n_flux)
        Bands from blue to red, followed by ionizing photons; columns of zeros do not count.
    n_bins : int

    Returns
    -------
    ndarray of int (n,)
        The bin of each kind, in order.

    Notes
    -----
    Two neighbors of numbers n and n' cost nn'/(n+n') [sum_f e_f^2 + 8 sum_b (e_b - e_b+1)^2], with e_f their difference
    relative to the flux of a cluster just massive enough to hold about one such star:
    e_f = df sqrt(N_f(>f)) / (F_f(<f) + f N_f(>f)), where N_f(>f) counts the brighter stars and F_f(<f) is the light
    of the fainter.
    """
    n, n_flux = flux.shape
    unit = np.zeros_like(flux)
    for f in range(n_flux):
        order = np.argsort(flux[:, f], kind="stable")
        fainter = np.cumsum(number[order] * flux[order, f])
        brighter = np.maximum(number.sum() - np.cumsum(number[order]), 0) + number[order]
        level = fainter + flux[order, f] * brighter
        unit[order, f] = np.sqrt(brighter) / np.where(level > 0, level, np.inf)
    left, right = list(range(-1, n - 1)), list(range(1, n + 1))
    count, mean, scale = number.tolist(), list(flux), list(unit)
    alive, version = [True] * n, [0] * n

    def cost(i: int, j: int) -> float:
        """Return the cost of merging two bins."""
        both = count[i] + count[j]
        e = (mean[i] - mean[j]) * (count[i] * scale[i] + count[j] * scale[j]) / both
        colors = np.diff(e[:-1])
        return count[i] * count[j] / both * float(e @ e + _COLOR * (colors @ colors))

    queue = [(cost(i, i + 1), i, i + 1, 0, 0) for i in range(n - 1)]
    heapq.heapify(queue)
    remaining = n
    owner = np.arange(n)
    while remaining > n_bins:
        _, i, j, version_i, version_j = heapq.heappop(queue)
        if not (alive[i] and alive[j] and version[i] == version_i and version[j] == version_j):
            continue
        both = count[i] + count[j]
        mean[i] = (count[i] * mean[i] + count[j] * mean[j]) / both
        scale[i] = (count[i] * scale[i] + count[j] * scale[j]) / both
        count[i] = both
        alive[j], owner[j] = False, i
        version[i] += 1
        right[i] = right[j]
        if right[j] < n:
            left[right[j]] = i
            heapq.heappush(queue, (cost(i, right[i]), i, right[i], version[i], version[right[i]]))
        if left[i] >= 0:
            heapq.heappush(queue, (cost(left[i], i), left[i], i, version[left[i]], version[i]))
        remaining -= 1
    starts = np.flatnonzero(alive)
    return np.searchsorted(starts, np.arange(n), side="right") - 1
