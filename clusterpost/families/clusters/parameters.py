"""Parameters and covariates of star clusters."""

from __future__ import annotations

import math
from types import MappingProxyType

from ..base import Parameter
from ..covariates import Distance

__all__ = ["DISTANCE", "PARAMETERS", "STATISTICS"]

#: Parameters of a cluster, with the bounds of Walter et al. (2025), Sect. 2.2.
PARAMETERS = (
    Parameter(name="log_age", column="age", unit="Myr", ucd="time.age", log10=True, low=0.0, high=math.log10(13750.0),
              label=r"$\log_{10}(t/\mathrm{Myr})$", symbol=r"$\log\,t$", description="age of the instantaneous burst"),
    Parameter(name="log_mass", column="mass", unit="solMass", ucd="phys.mass", log10=True, low=2.0, high=8.0,
              label=r"$\log_{10}(m/M_\odot)$", symbol=r"$\log\,m$", description="initial (formed) stellar mass"),
    Parameter(name="ebv", column="ebv", unit="mag", ucd="phot.color.excess", low=0.0, high=1.5,
              label=r"$E(B-V)$ [mag]", symbol=r"$E(B-V)$", word="E(B-V)",
              description="color excess E(B-V) of a foreground screen"),
)
#: T1 to T6 of Walter et al. (2025), Sect. 3.1, as functions of theta (..., 3), an array or tensor.
#: T1 and T2 are log10 t and log10 m instead of t and m; a monotone map does not change ranks.
STATISTICS = MappingProxyType({
    "T1": lambda theta: theta[..., 0],
    "T2": lambda theta: theta[..., 1],
    "T3": lambda theta: theta[..., 2],
    "T4": lambda theta: theta[..., 0] * theta[..., 1],
    "T5": lambda theta: theta[..., 1] * theta[..., 2],
    "T6": lambda theta: theta[..., 0] * theta[..., 2],
})
#: Distance, with the training range of Walter et al. (2025).
DISTANCE = Distance(low=1.0, high=30.0, description="distance of the cluster")
