"""Star clusters drawn star by star, of any metallicity, with gas and dust."""

from .family import StochasticClusters
from .field import ClustersAmongFieldStars
from .priors import FlatPrior, SurveyPrior

__all__ = ["ClustersAmongFieldStars", "FlatPrior", "StochasticClusters", "SurveyPrior"]
