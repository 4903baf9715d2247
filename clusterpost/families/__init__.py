"""Model families: what is inferred, from which photometry, and how both are related."""

from .base import Covariate, Derived, Likelihood, ModelFamily, Parameter, Prior
from .registry import family_names, family_of_simulator, get_family, register_family

__all__ = ["Covariate", "Derived", "Likelihood", "ModelFamily", "Parameter", "Prior", "family_names",
           "family_of_simulator", "get_family", "register_family"]
