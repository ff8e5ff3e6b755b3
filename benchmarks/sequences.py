"""Encoders of histories on Amazon Beauty, leave-one-out: does the order of what somebody took help to say what comes next?

What is measured
    Each user's last item is the test, the one before it validation, all before them training. The whole catalogue of 12,101 items is
    ranked, less what the user has had; recall@10 and ndcg@10 over 22,363 users. A model is fitted on the training items alone; for
    the test, a user's history is given with the validation item at its end, as is usual in this protocol. A figure is the
    mean over seeds 0, 1, 2, largest less smallest in brackets.

    The user tower is the history alone (`Id("user_id", dropout=1.0)`: nobody has a vector of one's own), the item tower the id
    alone, and the history reads the vectors of the item tower. Contestants differ in the encoder: mean, recency-decayed mean,
    attention with a learned query, GRU, causal transformer. Settings stand in ENCODERS, each chosen with --part valid.

    Published figures of others on the same file, for orientation (several chose their settings on test): SASRec .0605 / .0318, S3-Rec
    .0647 / .0327, HSTU .0788 / .0439, SASRec with sampled softmax .0921 / .0531, eSASRec .0928 / .0523.

How to run
    python benchmarks/sequences.py
    python benchmarks/sequences.py --part valid --seeds 0         choose settings here
    python benchmarks/sequences.py --only GRU --set epochs=10
    python benchmarks/sequences.py --quick                        2,000 users, one epoch
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import _common as common
import _lists as lists
import _readers as readers
import twotower as tt
from _lists import Results, Truth, timed, wanted

METRICS = ("recall@10", "ndcg@10")
QUICK_USERS = 2000


@dataclass(frozen=True)
class Encoder:
    """A contestant: the history column and the settings of the model around it."""

    name: str
    history: Any
    settings: Mapping[str, Any]


# Chosen on validation with one seed: temperature .1 for all; learning rates .001 to .003; group_size 1 or 16 for the pooled ones;
# 8 to 25 epochs; dropout .3 or .4. The times of this file only number a user's items, so there are no sessions.
SHARED = {"temperature": 0.1, "batch_size": 1024, "negatives": 512, "item_bias": False}
POOLED = {"max_length": 50, "session_gap": None}
ENCODERS = [
    Encoder("mean", tt.History(encoder="mean", **POOLED), {"learning_rate": 0.002, "epochs": 12, "group_size": 1}),
    Encoder(
        "decayed mean",
        tt.History(encoder="decay", half_life=2.0, **POOLED),
        {"learning_rate": 0.002, "epochs": 15, "group_size": 1},
    ),
    Encoder(
        "attention", tt.History(encoder="attention", **POOLED), {"learning_rate": 0.001, "epochs": 12, "group_size": 1}
    ),
    Encoder("GRU", tt.History(encoder="gru", max_length=50), {"learning_rate": 0.001, "epochs": 12}),
    Encoder(
        "causal transformer",
        tt.History(encoder="transformer", max_length=50, dropout=0.3),
        {"learning_rate": 0.001, "epochs": 25, "negatives": 1024},
    ),
]


@dataclass(frozen=True)
class Sequences:
    """Training rows; for the measured users their history so far and the item that came next."""

    train: Any
    before: Any
    asked: Any
    truth: Truth

    @classmethod
    def read(cls, options: Any) -> Sequences:
        rows = readers.beauty(options.data).interactions
        if options.quick:
            rows = rows[rows["user_id"] <= QUICK_USERS]
        train, valid, test = tt.split.leave_last(rows, 1, valid=1)
        before = train if options.part == "valid" else readers.pd.concat([train, valid])
        before = before.sort_values(["user_id", "timestamp"], kind="stable")
        truth = Truth.of(valid if options.part == "valid" else test, np.unique(rows["item_id"]))
        asked = before.groupby("user_id")["item_id"].agg(list).rename("history").loc[truth.users].reset_index()
        return cls(train, before, asked, truth)


def main() -> None:
    parser = lists.argument_parser(__doc__)
    options = parser.parse_args()
    if options.quick:
        options.seeds = [0]
        options.settings["epochs"] = 1

    report = common.Report("Encoders of histories", options.markdown)
    report.machine(common.machine(["pandas"]))
    data = Sequences.read(options)
    catalogue = readers.pd.DataFrame({"item_id": data.truth.items})
    results = Results(METRICS)
    if wanted("popularity", options):
        popular = tt.Popularity().fit(data.before, items=catalogue)
        results.add("popularity", data.truth.figures(data.truth.lists(popular), METRICS))
    for encoder in ENCODERS:
        for seed in options.seeds if wanted(encoder.name, options) else []:
            model = tt.TwoTower(
                user_features=[tt.Id("user_id", dropout=1.0), encoder.history],
                item_features=[],
                time_col="timestamp",
                random_state=seed,
                verbose=0,
                **{**SHARED, **encoder.settings, **options.settings},
            )
            _, seconds = timed(lambda model=model: model.fit(data.train, items=catalogue))
            results.add(encoder.name, data.truth.figures(data.truth.lists(model, data.asked), METRICS), seconds)
    table = results.table(
        f"Beauty, leave-one-out: {len(data.truth.users):,} users, {options.part} part, seeds {options.seeds}"
    )
    for encoder in ENCODERS:
        table.notes.append(
            f"{encoder.name}: {encoder.history!r}, {lists.settings_text({**SHARED, **encoder.settings, **options.settings})}"
        )
    report.table(table)


if __name__ == "__main__":
    main()
