"""Galaxies in the bands of the Sloan Digital Sky Survey, as a model family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from ...bands import get_band
from ...errors import InputError
from ...noise import get_noise
from ..base import Derived, ModelFamily
from .amplitude import GalaxyLikelihood
from .encoder import ColorConditions
from .errors import MAGNITUDES, nsa_errors
from .forward import GalaxyModel
from .parameters import PARAMETERS, REDSHIFT, YOUNG
from .priors import galaxy_prior

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["Galaxies", "GalaxiesWithYoungStars"]

_PRIOR_DECIDES = "of red galaxies the prior decides it, as five bands hardly tell dust from age"


class Galaxies(ModelFamily):
    """PROVABGS without its burst, in ugriz, at a known redshift.

    Parameters
    ----------
    noise : str
        Noise model of the likelihood.
    sticks : {"uniform", "dirichlet"}
        Prior of the star formation history; see `clusterpost.families.galaxies.priors`.
    redshift : tuple of float
        Range of training.
    model : GalaxyModel, optional
        Forward model; by default the packaged one.

    Raises
    ------
    InputError
        If an option is unknown, or the redshift goes beyond the forward model's.

    Examples
    --------
    >>> from clusterpost.families.galaxies import Galaxies
    >>> [quantity.column for quantity in Galaxies().derived]
    ['stellar_mass', 'sfr_100myr', 'sfr_1gyr', 'age_mw', 'metallicity_mw']
    """

    name = "galaxies"
    summary = ("galaxies of PROVABGS (Hahn et al. 2023) without its burst, with metallicity history and dust, at known "
               "redshift")
    method = ("hahn2022",)
    references = ("hahn2023", "conroy2009", "conroy2010", "choi2016", "chabrier2003", "calzetti2000")
    version = 1
    parameters = PARAMETERS
    min_bands = 5
    error_floor = 0.0  # the errors of the catalogs hold theirs

    def __init__(self, *, noise: str = "lognormal", sticks: str = "uniform",
                 redshift: Sequence[float] = (REDSHIFT.low, REDSHIFT.high), model: GalaxyModel | None = None):
        self.model = GalaxyModel() if model is None else model
        low, high = redshift
        if not 0 < low < high <= self.model.components.max_redshift:
            raise InputError(f"option:redshift={redshift!r} must be an increasing pair within 0 and "
                             f"{self.model.components.max_redshift:g}")
        self.covariates = (replace(REDSHIFT, low=float(low), high=float(high)),)
        self.bands = tuple(get_band(name) for name in self.model.bands)
        self.sticks, self.prior = sticks, galaxy_prior(sticks, self)
        self.likelihood = GalaxyLikelihood(self._predict, get_noise(noise), self.band_names)
        self.derived = (
            self._derived("log_stellar_mass", "stellar_mass", "solMass", "phys.mass", r"\log_{10}(M_\star/M_\odot)",
                          "stellar mass that is left, remnants included", self.model.log_surviving_mass, log10=True),
            self._derived("log_sfr_100myr", "sfr_100myr", "solMass / yr", "phys.SFR",
                          r"\log_{10}(\mathrm{SFR}_{100\,\mathrm{Myr}})",
                          f"mean star formation rate over the last 100 Myr; {_PRIOR_DECIDES}",
                          partial(self.model.log_star_formation_rate, duration=0.1), log10=True),
            self._derived("log_sfr_1gyr", "sfr_1gyr", "solMass / yr", "phys.SFR",
                          r"\log_{10}(\mathrm{SFR}_{1\,\mathrm{Gyr}})",
                          f"mean star formation rate over the last Gyr; {_PRIOR_DECIDES}",
                          partial(self.model.log_star_formation_rate, duration=1.0), log10=True),
            self._derived("age_mw", "age_mw", "Gyr", "time.age", r"\langle t\rangle_M",
                          "mass-weighted mean age of the stars", self.model.mean_age),
            self._derived("log_metallicity_mw", "metallicity_mw", "", "phys.abund.Z", r"\log_{10}\langle Z\rangle_M",
                          "mass-weighted mean mass fraction of metals", self.model.log_mean_metallicity, log10=True),
        )

    def _derived(self, name, column, unit, ucd, label, description, function, log10=False):
        return Derived(name=name, column=column, unit=unit, ucd=ucd, label=f"${label}$", description=description,
                       log10=log10, function=lambda theta, known: self._apply(function, theta, known))

    def _apply(self, function, theta, covariates):
        """Call a function of the forward model."""
        return function(theta, covariates["redshift"])

    def _predict(self, theta, covariates):
        return self._apply(self.model.ln_flux, theta, covariates)

    def simulate(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor],
                 generator: torch.Generator | None = None) -> torch.Tensor:
        """Compute ln of the fluxes in mJy; see `~clusterpost.families.ModelFamily.simulate`.

        Raises
        ------
        InputError
            If a redshift is not positive, or beyond what the forward model knows.
        """
        redshift, highest = covariates["redshift"], self.model.components.max_redshift
        beyond = ~((redshift > 0) & (redshift <= highest))
        if beyond.any():
            row = int(beyond.nonzero()[0])
            raise InputError(f"the redshift is {redshift[row].item():g} in row {{row}}; the forward model goes from 0 "
                             f"to {highest:g}", row=row)
        return self._predict(theta, covariates)

    def draw_errors(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor],
                    generator: torch.Generator) -> torch.Tensor:
        """Draw relative errors as those of the NASA-Sloan Atlas, at magnitudes of 11.5 to 20.5 in r."""
        errors = replace(nsa_errors(), magnitude=MAGNITUDES)
        return errors.draw(torch.roll(self.simulate(theta, covariates), 1, dims=0), generator)

    def read_encoder(self, values: dict[str, Any]) -> ColorConditions:
        """Make the encoder that a model file describes; see `~clusterpost.families.ModelFamily.read_encoder`."""
        if isinstance(values, Mapping) and values.get("name") == ColorConditions.name:
            return ColorConditions(values["n_bands"], values["redshift"])
        return super().read_encoder(values)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> ModelFamily:
        """Return the same family on another device or in another precision."""
        return type(self)(**self._options(), model=self.model.to(device, dtype))

    def to_dict(self) -> dict[str, Any]:
        """Return options as plain values; see `from_dict`."""
        return {**self._options(), "components": self.model.components.identity}

    @classmethod
    def from_dict(cls, options: Mapping, model: GalaxyModel | None = None) -> Galaxies:
        """Make the family from its options.

        Parameters
        ----------
        options : mapping
            What `to_dict` returned.
        model : GalaxyModel, optional
            By default the packaged one.

        Returns
        -------
        Galaxies

        Raises
        ------
        InputError
            If the components of the forward model are others than the options name.
        """
        family = cls(noise=options["noise"], sticks=options["sticks"], redshift=tuple(options["redshift"]), model=model)
        if family.model.components.identity != options["components"]:
            raise InputError(f"the model was trained with the components {options['components'][:12]} of galaxies, and "
                             f"those here are {family.model.components.identity[:12]}; install the version of "
                             "clusterpost that it was trained with")
        return family

    def _options(self):
        (redshift,) = self.covariates
        return {"noise": self.likelihood.noise.name, "sticks": self.sticks,
                "redshift": [redshift.low, redshift.high]}


class GalaxiesWithYoungStars(Galaxies):
    """Galaxies that may have formed more stars in the last 9 Myr than their history has it.

    The share of the mass in them is a tenth parameter; their light is that of the youngest stars of the first
    component, birth clouds and metallicity as well.  It takes the place of the burst of PROVABGS where it matters most.

    Parameters
    ----------
    noise, sticks, redshift, model
        As of `Galaxies`.

    Examples
    --------
    >>> from clusterpost.families.galaxies import GalaxiesWithYoungStars
    >>> GalaxiesWithYoungStars().parameter_names[-1]
    'log_f_young'
    """

    name = "galaxies_young"
    parameters = (*PARAMETERS, YOUNG)

    def _apply(self, function, theta, covariates):
        return function(theta[..., :-1], covariates["redshift"], log_f_young=theta[..., -1])
