"""Recommenders: one grammar, `_estimator.py`, and a file a family."""

from __future__ import annotations

from twotower.models._diversity import diversify
from twotower.models._estimator import load
from twotower.models.baselines import EASE, BayesianMF, BiasModel, ContentBased, ImplicitALS, ItemKNN, Popularity
from twotower.models.hybrid import Hybrid
from twotower.models.matrix_factorization import MatrixFactorization
from twotower.models.multi_task import MultiTask
from twotower.models.neural import CFNN, DeepNCF, NeuMF
from twotower.models.ranker import Ranker
from twotower.models.rating_model import RatingModel
from twotower.models.transformer_recommender import TransformerRecommender
from twotower.models.two_stage import TwoStage
from twotower.models.two_tower import TwoTower

__all__ = [
    "CFNN",
    "EASE",
    "BayesianMF",
    "BiasModel",
    "ContentBased",
    "DeepNCF",
    "Hybrid",
    "ImplicitALS",
    "ItemKNN",
    "MatrixFactorization",
    "MultiTask",
    "NeuMF",
    "Popularity",
    "Ranker",
    "RatingModel",
    "TransformerRecommender",
    "TwoStage",
    "TwoTower",
    "diversify",
    "load",
]
