"""Star formation and metallicity histories of PROVABGS, and derived quantities in closed form.

The histories are sums of tabulated components (non-negative matrix factors from the Illustris simulation; Hahn
et al. 2023, ApJ 945, 16).  They are linear in lookback time between their nodes and extrapolated linearly to the
present and to the beginning.  Times are lookback times in Gyr from the epoch of observation.
"""

from __future__ import annotations

import torch

__all__ = ["YOUNG_AGE", "Histories", "component_weights"]

#: Maximum age of stars in birth clouds, Gyr: the last edge of a time bin with a center below 10 Myr.
YOUNG_AGE = 10**-2.05
_BEGINNING = 13.8  # Gyr; the last node
_LOWEST_Z, _HIGHEST_Z = 4.49043431e-5, 4.49043431e-2  # metallicities of the stellar population models
#: Edges of the time bins of metallicity, Gyr; the last bin ends at the age of the universe.
_EDGES = (0.0, *(10 ** (-2.95 + 0.1 * k) for k in range(41)))


def component_weights(sticks: torch.Tensor) -> torch.Tensor:
    """Compute coefficients of the four components of the star formation history from three sticks.

    Parameters
    ----------
    sticks : Tensor (..., 3)
        Fractions of the remaining mass that pass to later components, each from 0 to 1.

    Returns
    -------
    Tensor (..., 4)
        They sum to one.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.galaxies.history import component_weights
    >>> component_weights(torch.tensor([0.5, 0.5, 0.5])).tolist()
    [0.5, 0.25, 0.125, 0.125]
    """
    left = sticks.cumprod(-1)
    return torch.cat([1 - sticks[..., :1], left[..., :-1] * (1 - sticks[..., 1:]), left[..., -1:]], -1)


class Histories:
    """Components of the star formation and metallicity histories.

    Parameters
    ----------
    lookback : Tensor (n,)
        Nodes, Gyr, increasing.
    star_formation : Tensor (4, n)
        Components of the star formation rate at the nodes.
    metallicity : Tensor (2, n)
        Components of the metallicity (mass fraction of metals).
    """

    def __init__(self, lookback: torch.Tensor, star_formation: torch.Tensor, metallicity: torch.Tensor):
        ends = lookback.new_tensor([0.0, _BEGINNING])
        self.nodes = torch.cat([ends[:1], lookback, ends[1:]])
        values = torch.cat([star_formation, metallicity])
        slope = values.diff(dim=-1) / lookback.diff()
        first = values[:, 0] - slope[:, 0] * lookback[0]
        last = values[:, -1] + slope[:, -1] * (_BEGINNING - lookback[-1])
        self.values = torch.cat([first[:, None], values, last[:, None]], -1)
        self.slopes = self.values.diff(dim=-1) / self.nodes.diff()
        area = (self.values[:, 1:] + self.values[:, :-1]) / 2 * self.nodes.diff()
        self.areas = torch.cat([torch.zeros_like(area[:, :1]), area.cumsum(-1)], -1)
        edges = lookback.new_tensor(_EDGES)
        self._middles = (edges[1:] + edges[:-1]) / 2
        self._last_edge = _EDGES[-1]
        self._formed_to_edges = self._formed(edges)
        self._formed_in_bins = self._formed_to_edges.diff(dim=0)
        self._enrichment = self._at(self._middles)[..., 4:]

    def _interval(self, time):
        inside = (torch.searchsorted(self.nodes, time.contiguous(), right=True) - 1).clamp(0, len(self.nodes) - 2)
        return inside, (time - self.nodes[inside])[..., None]

    def _at(self, time):
        """Compute the six components at times (...): Tensor (..., 6)."""
        i, beyond = self._interval(time)
        return self.values.T[i] + self.slopes.T[i] * beyond

    def _formed(self, time):
        """Integrate the four star formation components from now to times (...): Tensor (..., 4)."""
        i, beyond = self._interval(time)
        formed = self.areas.T[i] + beyond * (self.values.T[i] + self.slopes.T[i] * beyond / 2)
        return formed[..., :4]

    def mass_fractions(self, sticks: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        """Compute the fraction of the stellar mass formed by each component.

        Parameters
        ----------
        sticks : Tensor (..., 3)
        age : Tensor (...)
            Age of the universe at the galaxy's redshift, Gyr.

        Returns
        -------
        Tensor (..., 4)
            They sum to one.
        """
        formed = component_weights(sticks) * self._formed(age)
        return formed / formed.sum(-1, keepdim=True)

    def young_share(self, age: torch.Tensor) -> torch.Tensor:
        """Compute the fraction of the mass of the first component in birth clouds.

        Parameters
        ----------
        age : Tensor (...)
            Gyr.

        Returns
        -------
        Tensor (...)
        """
        return self._formed(self.nodes.new_tensor(YOUNG_AGE))[..., 0] / self._formed(age)[..., 0]

    def present_metallicity(self, log_gamma: torch.Tensor) -> torch.Tensor:
        """Compute the metallicity of stars forming now.

        Parameters
        ----------
        log_gamma : Tensor (..., 2)

        Returns
        -------
        Tensor (...)
            Mass fraction of metals.
        """
        return (10**log_gamma @ self._enrichment[0]).clamp(_LOWEST_Z, _HIGHEST_Z)

    def specific_rate(self, sticks: torch.Tensor, age: torch.Tensor, duration: float) -> torch.Tensor:
        """Compute the star formation rate over the last ``duration`` per unit of mass formed.

        Parameters
        ----------
        sticks : Tensor (..., 3)
        age : Tensor (...)
            Gyr.
        duration : float
            Gyr.

        Returns
        -------
        Tensor (...)
            1/yr.
        """
        weights = component_weights(sticks)
        recent = (weights * self._formed(self.nodes.new_tensor(duration))).sum(-1)
        return recent / (weights * self._formed(age)).sum(-1) / (1e9 * duration)

    def mean_age(self, sticks: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        """Compute the mass-weighted mean age of the stars formed, over the time bins of PROVABGS.

        Parameters
        ----------
        sticks : Tensor (..., 3)
        age : Tensor (...)
            Gyr; at least 11.3.

        Returns
        -------
        Tensor (...)
            Gyr.
        """
        shares, oldest = self._shares(sticks, age)
        return shares[..., :-1] @ self._middles + shares[..., -1] * oldest

    def mean_metallicity(self, sticks: torch.Tensor, log_gamma: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        """Compute the mass-weighted mean metallicity of the stars formed.

        Parameters
        ----------
        sticks : Tensor (..., 3)
        log_gamma : Tensor (..., 2)
            log10 of the coefficients of the metallicity history.
        age : Tensor (...)
            Gyr; at least 11.3.

        Returns
        -------
        Tensor (...)
            Mass fraction of metals.
        """
        shares, oldest = self._shares(sticks, age)
        gamma = 10**log_gamma
        early = (gamma * self._at(oldest)[..., 4:]).sum(-1).clamp(_LOWEST_Z, _HIGHEST_Z)
        late = (gamma @ self._enrichment.T).clamp(_LOWEST_Z, _HIGHEST_Z)
        return (shares[..., :-1] * late).sum(-1) + shares[..., -1] * early

    def _shares(self, sticks, age):
        """Compute mass fractions formed in each time bin (..., n_bin), and the center of the last bin (...)."""
        weights = component_weights(sticks)
        late = weights @ self._formed_in_bins.T
        early = (weights * (self._formed(age) - self._formed_to_edges[-1])).sum(-1, keepdim=True)
        shares = torch.cat([late, early], -1)
        return shares / shares.sum(-1, keepdim=True), (age + self._last_edge) / 2
