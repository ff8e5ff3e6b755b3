"""Columns as arrays, and small helpers that clean columns before a model sees them.

A `FeatureEncoder` learns vocabularies and statistics from the table of one side, once per user or item, and turns any
table with these columns into what `core.FeatureTable` takes.
"""

from twotower.features._cleaning import age_bucket, clean_text, split_list, title_without_year, year_from_title
from twotower.features._encoded import (
    Encoded,
    EncodedBags,
    EncodedCodes,
    EncodedNumbers,
    EncodedVectors,
    Part,
    default_width,
    stacked,
)
from twotower.features._encoder import FeatureEncoder, grown_shared, shared_vocabularies
from twotower.features._tags import with_tags
from twotower.features._times import seconds_of
from twotower.vocabulary import Vocabulary

__all__ = [
    "Encoded",
    "EncodedBags",
    "EncodedCodes",
    "EncodedNumbers",
    "EncodedVectors",
    "FeatureEncoder",
    "Part",
    "Vocabulary",
    "age_bucket",
    "clean_text",
    "default_width",
    "grown_shared",
    "seconds_of",
    "shared_vocabularies",
    "split_list",
    "stacked",
    "title_without_year",
    "with_tags",
    "year_from_title",
]
