"""Models without a network: counts, biases, neighbors, words and factors; what a tower must beat, and good starting points."""

from twotower.models.baselines.bayesian_mf import BayesianMF
from twotower.models.baselines.bias_model import BiasModel
from twotower.models.baselines.content_based import ContentBased
from twotower.models.baselines.ease import EASE
from twotower.models.baselines.implicit_als import ImplicitALS
from twotower.models.baselines.item_knn import ItemKNN
from twotower.models.baselines.popularity import Popularity

__all__ = ["EASE", "BayesianMF", "BiasModel", "ContentBased", "ImplicitALS", "ItemKNN", "Popularity"]
