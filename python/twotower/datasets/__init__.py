"""Data sets to learn from: MovieLens as published, and synthetic ratings whose best answer is known."""

from twotower.datasets.movielens import MovieLens, movielens
from twotower.datasets.synthetic import Synthetic, Truth, synthetic

__all__ = ["MovieLens", "Synthetic", "Truth", "movielens", "synthetic"]
