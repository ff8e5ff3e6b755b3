"""The options of `TwoTower`: what is checked, and what is chosen where one is None."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower._core import core
from twotower.evaluation._metrics import PER_USER, parse
from twotower.models._options import check_choice, check_count, check_flag, check_number
from twotower.models._sides import Sides
from twotower.models._towers import Architecture

if TYPE_CHECKING:
    from twotower.models.two_tower import TwoTower

OPTIMIZERS = ("adam", "lazy_adam", "adagrad", "rowwise_adagrad", "sgd")
_SCHEDULES = ("linear", "cosine", "constant")
_DEFAULT_GROUP = 16


def check_options(model: TwoTower) -> None:
    """Refuse options out of range, by name."""
    model._check_columns("fit")
    check_count("fit", "dim", model.dim)
    for option in ("epochs", "batch_size", "group_size", "patience", "cross_rank"):
        if getattr(model, option) is not None:
            check_count("fit", option, getattr(model, option))
    for option in ("negatives", "random_state"):
        if getattr(model, option) is not None:
            check_count("fit", option, getattr(model, option), minimum=0)
    check_choice("fit", "similarity", model.similarity, ("cosine", "dot"))
    check_choice("fit", "optimizer", model.optimizer, OPTIMIZERS)
    check_choice("fit", "schedule", model.schedule, _SCHEDULES)
    check_flag("fit", "item_bias", model.item_bias)
    for option in ("dropout", "warmup"):
        check_number("fit", option, getattr(model, option), minimum=0, maximum=0.99)
    check_number("fit", "weight_decay", model.weight_decay, minimum=0)
    for option in ("popular_negatives", "logq", "user_balance"):
        check_number("fit", option, getattr(model, option), minimum=0, maximum=1)
    for option in ("temperature", "learning_rate"):
        if getattr(model, option) is not None:
            check_number("fit", option, getattr(model, option), above=0)
    check_count("fit", "verbose", model.verbose, minimum=0)
    metric = parse(model.eval_metric)[0]
    if metric.name not in PER_USER:
        raise ValueError(
            f"fit: eval_metric is {model.eval_metric!r}, but must be a metric of single users, such as 'ndcg@10'"
        )
    _check_layers(model)


def _check_layers(model: TwoTower) -> None:
    if isinstance(model.hidden, (str, bytes)) or not isinstance(model.hidden, Sequence):
        raise TypeError(f"fit: hidden is {model.hidden!r}, but must be a tuple of widths, such as (128,), or ()")
    for number, width in enumerate(model.hidden):
        check_count("fit", f"hidden[{number}]", width)
    check_choice("fit", "activation", model.activation, ("relu", "gelu"))
    check_choice("fit", "cross", model.cross, ("stacked", "parallel"))
    check_count("fit", "cross_layers", model.cross_layers, minimum=0)
    for option in ("layer_norm", "residual"):
        check_flag("fit", option, getattr(model, option))
    if model.cross_rank is not None and not model.cross_layers:
        raise ValueError(
            f"fit: cross_rank is {model.cross_rank}, but cross_layers is 0; pass cross_layers= too, or leave cross_rank out"
        )
    if model.cross == "parallel" and not (model.cross_layers and model.hidden):
        raise ValueError(
            f"fit: cross is 'parallel', but cross_layers is {model.cross_layers} and hidden is {model.hidden!r}; "
            "pass both, or leave cross out"
        )
    widths = list(model.hidden)
    if model.residual and not any(one == other for one, other in pairwise(widths)):
        raise ValueError(
            f"fit: residual is True, but hidden is {model.hidden!r}, where no layer has the width of the one before it; "
            "pass hidden=(128, 128), or leave residual out"
        )


def choose(model: TwoTower, pairs: core.Interactions, sides: Sides) -> dict[str, Any]:
    """Settle the options that are None from the size of the data and the kinds of the columns.

    Rules of thumb from runs on ml-100k, Movielens1M_m1 and Gowalla; that of the temperature is a curve through the best
    values found there, so a validation over {0.1, 0.15, 0.2, 0.3} can do better.
    """
    positives, items = pairs.num_positives, pairs.num_items
    active_users = int(np.count_nonzero(pairs.user_counts))
    batch = model.batch_size or usual_batch(positives)
    sharpness = 1.35 * math.log(max(items * active_users / positives, 1.0))
    temperature = 1.0 if model.similarity == "dot" else min(max(1 / max(sharpness, 1e-9), 0.1), 0.3)
    return {
        "temperature": float(model.temperature or temperature),
        "epochs": model.epochs or (15 if positives < 200_000 else 20 if positives < 5_000_000 else 10),
        "batch_size": batch,
        "group_size": group_size(model, sides),
        "negatives": min(2048, items // 2) if model.negatives is None else model.negatives,
        "learning_rate": float(model.learning_rate or usual_rate(batch)),
        "random_state": secrets.randbits(48) if model.random_state is None else int(model.random_state),
    }


def usual_batch(positives: int) -> int:
    if positives >= 200_000:
        return 4096
    if positives >= 16_384:
        return 1024
    # Very small data would be a handful of steps at the usual batch.
    return int(max(32, 2 ** math.floor(math.log2(max(positives / 16, 32)))))


def usual_rate(batch: int) -> float:
    return 0.01 if batch >= 4096 else 0.003


def group_size(model: Any, sides: Sides) -> int:
    """How many rows of a user share a place in the batch."""
    history = sides.history
    in_order = history is not None and history.in_order
    single = "context_features" if sides.contexts is not None else f'encoder="{history.encoder}"' if in_order else None  # type: ignore[union-attr]
    if single is None:
        return model.group_size or _DEFAULT_GROUP
    if model.group_size not in (None, 1):
        raise ValueError(
            f"fit: group_size is {model.group_size}, but must be 1 with {single}, where every positive has a row of its own; "
            "leave group_size out"
        )
    return 1


def architecture(model: TwoTower, chosen: Mapping[str, Any]) -> Architecture:
    """What the towers are made of."""
    return Architecture(
        dim=model.dim,
        hidden=tuple(model.hidden),
        activation=model.activation,
        layer_norm=model.layer_norm,
        dropout=model.dropout,
        normalize=model.similarity == "cosine",
        item_bias=model.item_bias,
        temperature=chosen["temperature"],
        seed=chosen["random_state"],
        cross_layers=model.cross_layers,
        cross_rank=model.cross_rank,
        cross=model.cross,
        residual=model.residual,
    )
