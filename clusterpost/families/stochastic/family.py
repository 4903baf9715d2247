"""The model family of star clusters whose stars are drawn one by one."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...bands import WFC3_BANDS, band_slots, get_band
from ...errors import InputError
from ..base import Derived, ModelFamily
from ..clusters.table import distance_term
from .expected import ExpectedLight
from .parameters import DISTANCE, METALLICITY, PARAMETERS
from .priors import PRIORS, SurveyPrior, get_stochastic_prior, given_metallicity
from .simulator import StarSimulator
from .table import StarTable, load_stars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..base import Prior

__all__ = ["StochasticClusters"]

_SCREENS = 32  # values of E(B-V) behind which drawn stars are seen


class StochasticClusters(ModelFamily):
    """Star clusters drawn star by star, of any metallicity, with gas and dust.

    Parameters
    ----------
    bands : sequence of str, optional
        Names of the bands; by default all of the table.
    prior : str
        ``survey`` (default), ``flat``, or ``training``; see `clusterpost.families.stochastic.priors`.
    distance : tuple of float
        Range of the distances of mocks, Mpc.
    table : StarTable, optional
        By default the packaged one.

    Attributes
    ----------
    error_floor : float
        Relative error of the model itself: where ages are known from resolved stars, intervals hold as many of them as
        they should with this one.

    Notes
    -----
    The stars and the gas' ionization parameter are integrated over, and there is no likelihood: what is inferred
    follows from simulated clusters alone.

    Examples
    --------
    >>> from clusterpost.families.stochastic import StochasticClusters
    >>> family = StochasticClusters(bands=["F275W", "F336W", "F438W", "F555W", "F814W"])
    >>> family.parameter_names
    ('log_age', 'log_mass', 'ebv', 'metallicity', 'rv', 'nebular_covering')
    >>> family.likelihood is None
    True
    """

    name = "stochastic"
    summary = ("star clusters drawn star by star (Padova 2007 isochrones, Chabrier initial mass function) with "
               "metallicities from Z = 0.0004 to 0.03, nebular emission (Carnall et al. 2018) and a foreground screen "
               "of dust (O'Donnell 1994) of free R_V")
    method = ("walter2025",)
    references = ("girardi2000", "marigo2008", "conroy2010", "villaume2015", "chabrier2003", "castelli2003",
                  "smith2002", "rauch2003", "lancon2002", "bruzual2003", "carnall2018", "odonnell1994")
    version = 1
    parameters = PARAMETERS
    optional_covariates = (METALLICITY,)
    likelihood = None
    error_floor = 0.12
    redrawn = [p.name for p in PARAMETERS].index("ebv")
    named_priors = PRIORS
    default_prior = SurveyPrior()

    def __init__(self, *, bands: Sequence[str] | None = None, prior: str = "survey",
                 distance: Sequence[float] = (DISTANCE.low, DISTANCE.high), table: StarTable | None = None):
        table = load_stars() if table is None else table
        self._prior_name, self.prior = prior, get_stochastic_prior(prior)
        self.covariates = (replace(DISTANCE, low=distance[0], high=distance[1], error=True),)
        names = table.bands if bands is None else [get_band(name).name for name in bands]
        self.bands = tuple(get_band(name) for name in names)
        self.simulator = StarSimulator(table, names)
        expected = self.expected = ExpectedLight(table)
        self.derived = (
            Derived(name="log_stellar_mass", column="stellar_mass", unit="solMass", ucd="phys.mass", log10=True,
                    label=r"$\log_{10}(m_\star/M_\odot)$", description="present-day stellar mass, remnants included",
                    function=lambda theta, _: expected.log_stellar_mass(theta)),
            Derived(name="m_v", column="M_V", unit="mag", ucd="phys.magAbs;em.opt.V", label="$M_V$ [mag]",
                    description="absolute V magnitude (Vega) that stars of this mass and age have in the mean, without "
                                "dust and gas", function=lambda theta, _: expected.absolute_v(theta)),
            Derived(name="log_q", column="ionizing_rate", unit="s-1", log10=True, wide=True,
                    ucd="phys.luminosity;em.UV", label=r"$\log_{10}(Q_\mathrm{H}/\mathrm{s}^{-1})$",
                    description="ionizing photons that stars of this mass and age emit in the mean",
                    function=lambda theta, _: expected.log_ionizing_rate(theta)),
        )

    @property
    def filter_groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of bands that stand in for each other: the ACS/WFC ones for their WFC3/UVIS neighbors."""
        return band_slots(self.band_names)

    def simulate(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor],
                 generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw ln of the fluxes in mJy; see `~clusterpost.families.ModelFamily.simulate`."""
        flux = self.simulator.simulate(theta, generator=generator)
        return torch.log(flux) + distance_term(covariates["distance"]).to(flux).unsqueeze(-1)

    def simulate_redrawn(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor],
                         generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw stars and see them behind many screens; see `~clusterpost.families.ModelFamily.simulate_redrawn`."""
        flux, ebv = self.simulator.simulate_behind(theta, _SCREENS, self.parameters[self.redrawn], generator)
        many = theta[:, None].repeat(1, _SCREENS, 1)
        many[..., self.redrawn] = ebv
        return torch.log(flux) + distance_term(covariates["distance"])[:, None, None].to(flux), many

    def simulate_each(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor], seed: int,
                      bands: torch.Tensor) -> torch.Tensor:
        """Draw ln of the fluxes in mJy; see `~clusterpost.families.ModelFamily.simulate_each`."""
        flux = self.simulator.simulate_each(theta, seed, bands)
        return torch.log(flux) + distance_term(covariates["distance"])[:, None, None].to(flux)

    def prior_given(self, prior: Prior, known: dict[str, torch.Tensor]) -> Prior:
        """Return the prior of objects of which the metallicity may be known; see `given_metallicity`."""
        name = METALLICITY.name
        return given_metallicity(prior, known[name], known[f"{name}_err"]) if name in known else prior

    def draw_covariates(self, n: int, generator: torch.Generator,
                        dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Draw distances of mocks, log-uniform over their range."""
        (distance,) = self.covariates
        low, high = math.log(distance.low), math.log(distance.high)
        return {distance.name: torch.empty(n, dtype=dtype, device=generator.device).uniform_(low, high,
                                                                                                   generator=generator).exp()}

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> ModelFamily:
        """Return the same family with its stars on another device; they stay in single precision."""
        if device is None:
            return self
        other = copy.copy(self)
        other.simulator = self.simulator.to(device)
        return other

    def with_bands(self, names: Sequence[str]) -> ModelFamily:
        """Return the same family for other bands of its table."""
        return type(self).from_dict({**self.to_dict(), "bands": list(names)}, self.simulator.table)

    @property
    def mock_bands(self) -> tuple[str, ...]:
        """Names of the bands of mock catalogs: the five of WFC3/UVIS, where the table has them."""
        return WFC3_BANDS if set(WFC3_BANDS) <= set(self.band_names) else self.band_names

    def to_dict(self) -> dict[str, Any]:
        """Return options as plain values; see `from_dict`."""
        (distance,) = self.covariates
        return {"bands": list(self.band_names), "prior": self._prior_name, "distance": [distance.low, distance.high],
                "stars_sha256": self.simulator.table.sha256}

    @classmethod
    def from_dict(cls, options: Mapping, table: StarTable | None = None) -> StochasticClusters:
        """Make the family from its options.

        Parameters
        ----------
        options : mapping
            What `to_dict` returned.
        table : StarTable, optional
            By default the packaged one.

        Returns
        -------
        StochasticClusters

        Raises
        ------
        InputError
            If the stars' table is another.
        """
        table = load_stars() if table is None else table
        if table.sha256 != options["stars_sha256"]:
            raise InputError("the stars' table is another than the model file's, which has the sha256 "
                             f"{options['stars_sha256'][:12]}; from Python, load yours with "
                             "clusterpost.families.stochastic.table.load_stars and give it to the family")
        return cls(**{name: value for name, value in options.items() if name != "stars_sha256"}, table=table)
