"""Model families: what is inferred, from which photometry, and how both are related."""

from .base import Derived, Likelihood, ModelFamily, Parameter, Prior
from .covariates import Covariate, Distance
from .registry import family_names, family_of_simulator, get_family, register_family

__all__ = ["Covariate", "Derived", "Distance", "Likelihood", "ModelFamily", "Parameter", "Prior", "family_names",
           "family_of_simulator", "get_family", "register_family"]
