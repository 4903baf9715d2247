"""Model families: inferred parameters, photometric bands, and forward models."""

from .base import Derived, Likelihood, ModelFamily, Parameter, Prior
from .covariates import Covariate, Distance
from .registry import family_names, family_of_simulator, get_family, register_family

__all__ = ["Covariate", "Derived", "Distance", "Likelihood", "ModelFamily", "Parameter", "Prior", "family_names",
           "family_of_simulator", "get_family", "register_family"]
