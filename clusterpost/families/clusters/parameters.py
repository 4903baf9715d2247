"""Parameters and covariates of star clusters."""

from __future__ import annotations

import math

from ..base import Covariate, Parameter

__all__ = ["DISTANCE", "PARAMETERS"]

#: Parameters of a cluster, with the bounds of Walter et al. (2025), Sect. 2.2.
PARAMETERS = (
    Parameter(name="log_age", column="age", unit="Myr", ucd="time.age", log10=True, low=0.0, high=math.log10(13750.0),
              label=r"$\log_{10}(t/\mathrm{Myr})$", description="age of the instantaneous burst"),
    Parameter(name="log_mass", column="mass", unit="solMass", ucd="phys.mass", log10=True, low=2.0, high=8.0,
              label=r"$\log_{10}(m/M_\odot)$", description="initial (formed) stellar mass"),
    Parameter(name="ebv", column="ebv", unit="mag", ucd="phot.color.excess", low=0.0, high=1.5,
              label=r"$E(B-V)$ [mag]", description="color excess E(B-V) of a foreground screen"),
)
#: Distance, with the range of training of Walter et al. (2025).
DISTANCE = Covariate(name="distance", unit="Mpc", low=1.0, high=30.0, log=True, description="distance of the cluster")
