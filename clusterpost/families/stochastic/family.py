"""Model family of stochastically sampled star clusters."""

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

_SCREENS = 32  # values of E(B-V) for each set of drawn stars


class StochasticClusters(ModelFamily):
    """Star clusters with individually drawn stars of any metallicity, gas, and dust.

    Parameters
    ----------
    bands : sequence of str, optional
        Names of the bands; by default all bands of the table.
    prior : str
        ``survey`` (default), ``flat``, or ``training``; see `clusterpost.families.stochastic.priors`.
    distance : tuple of float
        Range of distances of mocks, Mpc.
    table : StarTable, optional
        Table of stars; by default the packaged one.

    Attributes
    ----------
    error_floor : float
        Relative error of the model, with which credible intervals have correct coverage for clusters with known ages
        from resolved stars.

    Notes
    -----
    The stars and the ionization parameter of the gas are marginalized over. There is no likelihood, so inference
    relies on simulated clusters.

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
                    description="expected absolute V magnitude (Vega) of stars of this mass and age, without dust "
                                "and gas", function=lambda theta, _: expected.absolute_v(theta)),
            Derived(name="log_q", column="ionizing_rate", unit="s-1", log10=True, wide=True,
                    ucd="phys.luminosity;em.UV", label=r"$\log_{10}(Q_\mathrm{H}/\mathrm{s}^{-1})$",
                    description="expected rate of ionizing photons from stars of this mass and age",
                    function=lambda theta, _: expected.log_ionizing_rate(theta)),
        )

    @property
    def filter_groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of interchangeable bands: ACS/WFC bands and their WFC3/UVIS neighbors."""
        return band_slots(self.band_names)

    def simulate(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor],
                 generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw ln of the fluxes in mJy; see `~clusterpost.families.ModelFamily.simulate`."""
        flux = self.simulator.simulate(theta, generator=generator)
        return torch.log(flux) + distance_term(covariates["distance"]).to(flux).unsqueeze(-1)

    def simulate_redrawn(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor], span: tuple[float, float],
                         generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw stars and place them behind many screens; see `~clusterpost.families.ModelFamily.simulate_redrawn`."""
        flux, ebv = self.simulator.simulate_behind(theta, _SCREENS, span, generator)
        many = theta[:, None].repeat(1, _SCREENS, 1)
        many[..., self.redrawn] = ebv
        return torch.log(flux) + distance_term(covariates["distance"])[:, None, None].to(flux), many

    def simulate_each(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor], seed: int,
                      bands: torch.Tensor) -> torch.Tensor:
        """Draw ln of the fluxes in mJy; see `~clusterpost.families.ModelFamily.simulate_each`."""
        flux = self.simulator.simulate_each(theta, seed, bands)
        return torch.log(flux) + distance_term(covariates["distance"])[:, None, None].to(flux)

    def prior_given(self, prior: Prior, known: dict[str, torch.Tensor]) -> Prior:
        """Return the prior for objects with known metallicities; see `given_metallicity`."""
        name = METALLICITY.name
        return given_metallicity(prior, known[name], known[f"{name}_err"]) if name in known else prior

    def draw_covariates(self, n: int, generator: torch.Generator,
                        dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Draw distances of mocks, log-uniform over the range."""
        (distance,) = self.covariates
        low, high = math.log(distance.low), math.log(distance.high)
        return {distance.name: torch.empty(n, dtype=dtype, device=generator.device).uniform_(low, high,
                                                                                                   generator=generator).exp()}

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> ModelFamily:
        """Return the same family with its stars on another device, in single precision."""
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
        """Names of the default bands of mock catalogs: the five of WFC3/UVIS that are in the table."""
        return WFC3_BANDS if set(WFC3_BANDS) <= set(self.band_names) else self.band_names

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values; see `from_dict`."""
        (distance,) = self.covariates
        return {"bands": list(self.band_names), "prior": self._prior_name, "distance": [distance.low, distance.high],
                "stars_sha256": self.simulator.table.sha256}

    @classmethod
    def from_dict(cls, options: Mapping, table: StarTable | None = None) -> StochasticClusters:
        """Make the family from its options.

        Parameters
        ----------
        options : mapping
            Output of `to_dict`.
        table : StarTable, optional
            Table of stars; by default the packaged one.

        Returns
        -------
        StochasticClusters

        Raises
        ------
        InputError
            If the table of stars does not match.
        """
        table = load_stars() if table is None else table
        if table.sha256 != options["stars_sha256"]:
            raise InputError("the table of stars does not match the model file, which needs the sha256 "
                             f"{options['stars_sha256'][:12]}; in Python, load yours with "
                             "clusterpost.families.stochastic.table.load_stars and pass it to the family")
        return cls(**{name: value for name, value in options.items() if name != "stars_sha256"}, table=table)
