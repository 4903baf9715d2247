"""Parameters and redshift of galaxies."""

from __future__ import annotations

import math

from ..base import Parameter
from ..covariates import Covariate

__all__ = ["PARAMETERS", "REDSHIFT", "YOUNG"]

_GAMMA = {"low": math.log10(4.5e-5), "high": math.log10(1.5e-2)}
_DEPTH = {"low": 0.0, "high": 3.0, "ucd": "phys.absorption.opticalDepth"}

#: Parameters of a galaxy, with the bounds of Hahn & Melchior (2022), their Table 1 and code.
PARAMETERS = (
    Parameter(name="log_mstar", column="log_mstar_formed", ucd="phys.mass", low=7.0, high=12.5,
              label=r"$\log_{10}(M_\mathrm{formed}/M_\odot)$",
              word="log stellar mass formed in Msun",
              description="log10 of the stellar mass formed in solar masses"),
    *(Parameter(name=f"stick{k}", column=f"sfh_stick{k}", low=0.0, high=1.0, label=f"$s_{k}$",
                word=f"SFH stick {k}",
                description=f"stick {k} of the star formation history") for k in (1, 2, 3)),
    *(Parameter(name=f"log_gamma{k}", column=f"log_gamma{k}", ucd="phys.abund.Z", **_GAMMA,
                label=rf"$\log_{{10}}\gamma_{k}$",
                word=f"log metallicity coefficient {k}",
                description=f"log10 of coefficient {k} of the metallicity history") for k in (1, 2)),
    Parameter(name="tau_bc", column="tau_bc", **_DEPTH, label=r"$\tau_\mathrm{BC}$",
              word="birth cloud optical depth",
              description="optical depth at 5500 Angstrom of the birth clouds around stars younger than 10 Myr"),
    Parameter(name="tau_ism", column="tau_ism", **_DEPTH, label=r"$\tau_\mathrm{ISM}$",
              word="diffuse optical depth",
              description="optical depth at 5500 Angstrom of the diffuse dust"),
    Parameter(name="dust_index", column="dust_index", low=-2.0, high=1.0, label=r"$n_\mathrm{dust}$",
              word="attenuation slope",
              description="slope of the attenuation curve of the diffuse dust, relative to Calzetti et al. (2000)"),
)
#: Mass in stars formed at a constant rate in the last 8.9 Myr, which are inside birth clouds.
YOUNG = Parameter(name="log_f_young", column="log_f_young", low=-6.0, high=-1.0,
                  label=r"$\log_{10}f_\mathrm{young}$",
                  word="log burst fraction",
                  description="log10 of the fraction of the mass formed in a burst in the last 9 Myr")
#: Below 0.001, a redshift does not determine the distance.
REDSHIFT = Covariate(name="redshift", low=0.001, high=0.2, description="redshift of the galaxy, known exactly")
