"""Parameters of stochastically sampled clusters."""

from __future__ import annotations

import math
from dataclasses import replace

from ...densities import Normal
from ..base import Parameter
from ..clusters import parameters as clusters
from ..covariates import Covariate, Distance

__all__ = ["DISTANCE", "METALLICITY", "PARAMETERS", "SOLAR_Z"]

#: Reference metallicity of [M/H].
SOLAR_Z = 0.02

_AGE, _MASS, _REDDENING = clusters.PARAMETERS
PARAMETERS = (
    replace(_AGE, description="age"),
    replace(_MASS, high=7.0, description="expected birth mass"),
    _REDDENING,
    Parameter(name="metallicity", column="metallicity", ucd="phys.abund.Z", low=math.log10(0.0004 / SOLAR_Z),
              high=math.log10(0.03 / SOLAR_Z), label="[M/H]", word="[M/H]",
              description="metallicity [M/H] = log10 Z/0.02"),
    Parameter(name="rv", column="rv", ucd="phys.absorption", low=2.2, high=5.0, label="$R_V$",
              usual=Normal(3.1, 0.3), word="R_V",
              description="total to selective extinction R_V"),
    Parameter(name="nebular_covering", column="nebular_covering", low=0.0, high=1.0, label=r"$f_\mathrm{cov}$",
              word="nebular covering fraction",
              description="fraction of the ionizing photons absorbed by the cluster's gas"),
)
#: Only the brightness depends on distance, so the training range is that of observable clusters.
DISTANCE = Distance(low=0.01, high=200.0, description="distance of the cluster")
#: Optional [M/H] in a table, that of the galaxy or, with an error, of the cluster.
METALLICITY = Covariate(name="metallicity", low=-2.5, high=1.0, description="[M/H] = log10 Z/0.02")
