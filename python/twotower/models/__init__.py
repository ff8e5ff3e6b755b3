"""Recommenders: one grammar, `_estimator.py`, and a file a family."""

from __future__ import annotations

from twotower.models._estimator import load
from twotower.models.baselines import Popularity
from twotower.models.ranker import Ranker
from twotower.models.rating_model import RatingModel
from twotower.models.two_tower import TwoTower

__all__ = ["Popularity", "Ranker", "RatingModel", "TwoTower", "load"]
