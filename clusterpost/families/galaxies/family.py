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

_PRIOR_DECIDES = "dominated by the prior for red galaxies, because five bands barely separate dust and age"


class Galaxies(ModelFamily):
    """PROVABGS galaxies without its burst, in ugriz, at a known redshift.

    Parameters
    ----------
    noise : str
        Noise model of the likelihood.
    sticks : {"uniform", "dirichlet"}
        Prior of the star formation history; see `clusterpost.families.galaxies.priors`.
    redshift : tuple of float
        Training range.
    model : GalaxyModel, optional
        Forward model; by default the packaged one.

    Raises
    ------
    InputError
        If an option is unknown, or the redshift is outside the range of the forward model.

    Examples
    --------
    >>> from clusterpost.families.galaxies import Galaxies
    >>> [quantity.column for quantity in Galaxies().derived]
    ['stellar_mass', 'sfr_100myr', 'sfr_1gyr', 'age_mw', 'metallicity_mw']
    """

    name = "galaxies"
    summary = ("galaxies with PROVABGS spectra (Hahn et al. 2023) without its burst, with metallicity history and "
               "dust, at known redshift")
    method = ("hahn2022",)
    references = ("hahn2023", "conroy2009", "conroy2010", "choi2016", "chabrier2003", "calzetti2000")
    version = 1
    parameters = PARAMETERS
    min_bands = 5
    error_floor = 0.0  # the errors of the catalogs already include a floor

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
                          "surviving stellar mass, remnants included", self.model.log_surviving_mass, log10=True),
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
                          "mass-weighted mean metal mass fraction", self.model.log_mean_metallicity, log10=True),
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
            If a redshift is not positive, or outside the range of the forward model.
        """
        redshift, highest = covariates["redshift"], self.model.components.max_redshift
        beyond = ~((redshift > 0) & (redshift <= highest))
        if beyond.any():
            row = int(beyond.nonzero()[0])
            raise InputError(f"the redshift is {redshift[row].item():g} in row {{row}}; the forward model covers 0 "
                             f"to {highest:g}", row=row)
        return self._predict(theta, covariates)

    def draw_errors(self, theta: torch.Tensor, covariates: dict[str, torch.Tensor],
                    generator: torch.Generator) -> torch.Tensor:
        """Draw relative errors like those of the NASA-Sloan Atlas, at r magnitudes of 11.5 to 20.5."""
        errors = replace(nsa_errors(), magnitude=MAGNITUDES)
        return errors.draw(torch.roll(self.simulate(theta, covariates), 1, dims=0), generator)

    def read_encoder(self, values: dict[str, Any]) -> ColorConditions:
        """Make the encoder described in a model file; see `~clusterpost.families.ModelFamily.read_encoder`."""
        if isinstance(values, Mapping) and values.get("name") == ColorConditions.name:
            return ColorConditions(values["n_bands"], values["redshift"])
        return super().read_encoder(values)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> ModelFamily:
        """Return the same family on another device or in another precision."""
        return type(self)(**self._options(), model=self.model.to(device, dtype))

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values; see `from_dict`."""
        return {**self._options(), "components": self.model.components.identity}

    @classmethod
    def from_dict(cls, options: Mapping, model: GalaxyModel | None = None) -> Galaxies:
        """Make the family from its options.

        Parameters
        ----------
        options : mapping
            Output of `to_dict`.
        model : GalaxyModel, optional
            Forward model; by default the packaged one.

        Returns
        -------
        Galaxies

        Raises
        ------
        InputError
            If the components of the forward model do not match the options.
        """
        family = cls(noise=options["noise"], sticks=options["sticks"], redshift=tuple(options["redshift"]), model=model)
        if family.model.components.identity != options["components"]:
            raise InputError(f"the model was trained with the components {options['components'][:12]} of galaxies, but "
                             f"this version has {family.model.components.identity[:12]}; install the version of "
                             "clusterpost with which it was trained")
        return family

    def _options(self):
        (redshift,) = self.covariates
        return {"noise": self.likelihood.noise.name, "sticks": self.sticks,
                "redshift": [redshift.low, redshift.high]}


class GalaxiesWithYoungStars(Galaxies):
    """Galaxies with additional stars formed in the last 9 Myr.

    Their mass fraction is a tenth parameter; their light, including birth clouds and metallicity, is that of the
    youngest stars of the first component.  They replace the burst of PROVABGS where it matters most.

    Parameters
    ----------
    noise, sticks, redshift, model
        As for `Galaxies`.

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
