"""Star clusters with individually drawn stars of any metallicity, gas, and dust."""

from .family import StochasticClusters
from .field import ClustersAmongFieldStars
from .priors import FlatPrior, SurveyPrior

__all__ = ["ClustersAmongFieldStars", "FlatPrior", "StochasticClusters", "SurveyPrior"]
