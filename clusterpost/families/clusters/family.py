"""Star clusters with a fully sampled initial mass function."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...bands import WFC3_BANDS, band_slots, get_band
from ...errors import InputError
from ...flags import PERHAPS_OLD
from ...noise import get_noise
from ...priors import BoxPrior
from ..base import Derived, ModelFamily
from .ages import WholeMyrPrior, at_whole_myr
from .likelihood import ClusterLikelihood
from .parameters import DISTANCE, PARAMETERS, STATISTICS
from .table import EXTINCTION, BandFluxTable, find_table, load_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ...observations import Observed
    from ..base import Prior

__all__ = ["FullySampledClusters"]


class FullySampledClusters(ModelFamily):
    """Simple stellar populations behind a dust screen, one metallicity per table.

    Parameters
    ----------
    bands : sequence of str, optional
        Names of the bands; WFC3/UVIS by default.
    noise : str
        Noise model of the likelihood.
    prior : BoxPrior, optional
        Prior; by default that of Walter et al. (2025), Sect. 2.2.
    distance : tuple of float
        Training range in Mpc.
    whole_myr : bool
        Whether to compute the photometry at whole Myr and spread the true age uniformly over that Myr, the age grid
        of Walter et al. (2025), Sect. 2.2.
    table : BandFluxTable, optional
        Band fluxes; by default for solar metallicity.

    Notes
    -----
    f_b(theta, d) = m F_b(t, E) (10 pc / d)^2, with F_b from the table.

    Examples
    --------
    >>> from clusterpost.families.clusters import FullySampledClusters
    >>> FullySampledClusters().parameter_names
    ('log_age', 'log_mass', 'ebv')
    """

    name = "clusters"
    method = ("walter2025",)
    references = ("bruzual2003", "bressan1993", "fagotto1994", "chabrier2003", "odonnell1994")
    version = 1
    parameters = PARAMETERS

    def __init__(self, *, bands: str | Sequence[str] = WFC3_BANDS, noise: list[int] | str = "lognormal",
                 prior: Prior | None = None, distance: tuple[float, ...] = (DISTANCE.low, DISTANCE.high),
                 whole_myr: bool = False, table: BandFluxTable | None = None):
        self.covariates = (replace(DISTANCE, low=distance[0], high=distance[1], error=True),)
        self.whole_myr = whole_myr
        self.bands = tuple(get_band(name) for name in bands)
        self.table = (table or load_table()).select(self.band_names)
        if prior is None:
            prior = BoxPrior.of(self.parameters)
        else:  # columns, figures, and other priors have the same bounds
            bounds = zip(self.parameters, prior.low.tolist(), prior.high.tolist(), strict=True)
            self.parameters = tuple(replace(p, low=low, high=high) for p, low, high in bounds)
        self.prior = WholeMyrPrior(prior.low, prior.high, prior.names) if whole_myr else prior
        self.likelihood = ClusterLikelihood(self.table, get_noise(noise))
        self.derived = (
            Derived(name="log_stellar_mass", column="stellar_mass", unit="solMass", ucd="phys.mass", log10=True,
                    label=r"$\log_{10}(m_\star/M_\odot)$",
                    description="present-day stellar mass, remnants included", function=self._log_stellar_mass),
        )

    def simulate(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor],
                 generator: torch.Generator | None = None) -> torch.Tensor:
        """Compute ln of the fluxes in mJy; see `~clusterpost.families.ModelFamily.simulate`."""
        if self.whole_myr:
            theta = at_whole_myr(theta)
        return self.table.predict(theta, covariates["distance"])

    @property
    def summary(self) -> str:
        """Noun phrase for the clusters in a methods section."""
        return (f"fully sampled simple stellar populations ({self.table.header['ssp']}) behind a foreground screen of "
                "dust (O'Donnell 1994, R_V = 3.1), without nebular emission")

    @property
    def domain(self) -> tuple[tuple[float, float], ...]:
        """Range of each parameter: that of the table, and any mass."""
        log_age, ebv = self.table.log_age, self.table.ebv
        return ((log_age[0].item(), log_age[-1].item()), (-math.inf, math.inf), (ebv[0].item(), ebv[-1].item()))

    @property
    def mock_bands(self) -> tuple[str, ...]:
        """Names of the default bands of mock catalogs, those of WFC3/UVIS."""
        return WFC3_BANDS

    def with_bands(self, names: Sequence[str]) -> ModelFamily:
        """Return the same family for other bands of the packaged tables."""
        return self._with(bands=tuple(names), table=find_table(**_origin(self.table)))

    @property
    def further_bands(self) -> tuple[str, ...]:
        """Names of additional bands in the packaged tables."""
        return tuple(band for band in self.table.further_bands if band not in self.band_names)

    @property
    def filter_groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of interchangeable bands: ACS/WFC bands and their WFC3/UVIS neighbors."""
        return band_slots(self.band_names)

    @property
    def statistics(self) -> dict[str, Callable]:
        """Functions of theta whose ranks are tested: T1 to T6 of Walter et al. (2025), Sect. 3.1."""
        return dict(STATISTICS)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> ModelFamily:
        """Return the same family with its table on another device or in another precision."""
        table = self.table.to(device, dtype)
        return self if table is self.table else self._with(table=table)

    def doubts(self, observed: Observed) -> np.ndarray:
        """Flag objects that old metal-poor clusters also fit; see `~clusterpost.families.ModelFamily.doubts`."""
        from .old import explained_by_old  # loads the stars of another family only if needed

        return np.where(explained_by_old(observed, self.band_names), PERHAPS_OLD, 0).astype(np.int32)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values; see `from_dict`."""
        return {"bands": list(self.band_names), "noise": self.likelihood.noise.name, "prior": self.prior.to_dict(),
                "distance": list(self._distance), "whole_myr": self.whole_myr, **_origin(self.table)}

    @classmethod
    def from_dict(cls, options: Mapping, table: BandFluxTable | None = None) -> FullySampledClusters:
        """Make the family from its options.

        Parameters
        ----------
        options : mapping
            Output of `to_dict`, or the simulator of an older model file, which has the same content.
        table : BandFluxTable, optional
            Band fluxes; by default `~clusterpost.families.clusters.table.find_table` finds them.

        Returns
        -------
        FullySampledClusters

        Raises
        ------
        InputError
            If the band-flux table was not loaded, or the given table does not match.
        """
        origin = {key: options[key] for key in ("sed_sha256", "extinction") if key in options}
        table = table or find_table(**origin)
        if _origin(table) != origin:
            raise InputError("the given band-flux table has other spectra or another extinction curve than the "
                             f"model file, {origin}")
        return cls(bands=options["bands"], noise=options["noise"], prior=BoxPrior.from_dict(options["prior"]),
                   distance=tuple(options["distance"]), whole_myr=options["whole_myr"], table=table)

    def _with(self, **changed):
        """Make the same family with some options changed."""
        options = {"bands": self.band_names, "noise": self.likelihood.noise.name, "prior": self.prior,
                   "distance": self._distance, "whole_myr": self.whole_myr, "table": self.table}
        return FullySampledClusters(**options | changed)

    @property
    def _distance(self):
        (distance,) = self.covariates
        return distance.low, distance.high

    def _log_stellar_mass(self, theta, covariates):
        return theta[..., 1] + torch.log10(self.table.surviving_mass(theta[..., 0]))


def _origin(table):
    """Identify a band-flux table; include the extinction only if it differs from the packaged tables."""
    header = table.header
    other = {} if header["extinction"] == EXTINCTION else {"extinction": header["extinction"]}
    return {"sed_sha256": header["sed_sha256"], **other}
