"""Speed of the second stage: training examples a second of NeuMF and of a DCN-v2 ranker against torch, and one user's ranking.

What is measured
    - training    pairs a second of whole steps: drawing of negatives, forward, logistic loss, backward, Adam. 6,040 users x 3,706
                  items, made-up pairs, 4 drawn items a positive, 4,096 positives a step; ids alone. torch gets the same shapes and
                  batches that were drawn beforehand, by autograd, with --compile by `torch.compile` too where that works; it is
                  timed with one thread and with all, and ours is held against its best.
    - ranking     milliseconds to score 500 candidates of one user with a head of 3 layers over all parts of the meeting, by the
                  vectors that serving keeps.

    Contestants take turns; medians.

How to run
    python benchmarks/ranking_speed.py           about a minute
    python benchmarks/ranking_speed.py --quick   seconds
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import _common as common
from _results import Bar, Result
from twotower._core import core

torch = common.optional_module("torch")

USERS, ITEMS, NEGATIVES, BATCH, GROUP = 6_040, 3_706, 4, 4_096, 16
FACTORS, WIDTH, HIDDEN = 32, 32, (64, 32, 16)
DCN_WIDTH, CROSSES, DCN_HIDDEN = 32, 2, (64, 32)
RATE = 0.003
Maker = Callable[[], Any]


# --- ours -------------------------------------------------------------------------------------------------------------


def _side(rows: int) -> Any:
    table = core.FeatureTable(rows)
    table.add_codes(np.arange(rows, dtype=np.int32), rows)
    return core.SideData(table)


def _lookup(table: int, width: int, layers: list[Any] | None = None) -> Any:
    return core.Tower(
        inputs=[core.Input.embedding(0, table, width)], concatenate=True, width=width, layers=layers or []
    )


def _tables(width: int) -> list[tuple[str, int, int]]:
    return [("user", USERS, width), ("item", ITEMS, width), ("user_bias", USERS, 1), ("item_bias", ITEMS, 1)]


def _deep(width: int, hidden: tuple[int, ...]) -> list[Any]:
    layers = []
    for out in hidden:
        layers += [core.Layer.dense(width, out), core.Layer.relu(out)]
        width = out
    return layers


def neumf() -> Any:
    """As `tt.NeuMF`: the network's first layer is computed by halves, once a user and once an item."""
    layer, first, width, met = core.Layer, HIDDEN[0], FACTORS + WIDTH, 1 + HIDDEN[0]
    halves = layer.parallel(
        width, [layer.slice(width, 0, FACTORS)], [layer.slice(width, FACTORS, WIDTH), layer.dense(WIDTH, first)]
    )
    network = [layer.slice(met, 1, first), layer.relu(first), *_deep(first, HIDDEN[1:]), layer.dense(HIDDEN[-1], 1)]
    return core.PairScorer(
        user=_lookup(0, width, [halves]),
        item=_lookup(1, width, [halves]),
        user_bias=_lookup(2, 1),
        item_bias=_lookup(3, 1),
        dot=True,
        sum=True,
        split=FACTORS,
        head=[layer.parallel(met, [layer.slice(met, 0, 1)], network), layer.row_sum(2)],
        tables=_tables(width),
    )


def dcn() -> Any:
    layer = core.Layer
    head = [layer.cross(2 * DCN_WIDTH, CROSSES, 0), *_deep(2 * DCN_WIDTH, DCN_HIDDEN), layer.dense(DCN_HIDDEN[-1], 1)]
    return core.PairScorer(
        user=_lookup(0, DCN_WIDTH),
        item=_lookup(1, DCN_WIDTH),
        user_bias=_lookup(2, 1),
        item_bias=_lookup(3, 1),
        vectors=True,
        head=head,
        tables=_tables(DCN_WIDTH),
    )


def our_trainer(model: Any, users: np.ndarray, items: np.ndarray) -> Any:
    pairs = core.Interactions(users, items, None, USERS, ITEMS)
    return core.PairTrainer(
        model, _side(USERS), _side(ITEMS), pairs, batch_size=BATCH, group_size=GROUP, negatives=NEGATIVES, loss="logistic",
        optimizer="adam", schedule="constant", learning_rate=RATE, final_share=1.0, epochs=10_000, seed=0,
    )  # fmt: skip


# --- torch ------------------------------------------------------------------------------------------------------------


def torch_batches(users: np.ndarray, items: np.ndarray, count: int) -> list[Any]:
    random, found = np.random.default_rng(0), []
    for _ in range(count):
        chosen = random.integers(0, len(users), BATCH)
        of_user = np.concatenate([users[chosen], np.repeat(users[chosen], NEGATIVES)])
        of_item = np.concatenate([items[chosen], random.integers(0, ITEMS, BATCH * NEGATIVES).astype(items.dtype)])
        targets = (np.arange(len(of_user)) < BATCH).astype(np.float32)
        found.append(tuple(torch.from_numpy(values) for values in (of_user, of_item, targets)))
    return found


def torch_racers(
    make: Maker, batches: list[Any], steps: int, threads: list[int], *, compile_too: bool
) -> dict[str, Callable[[], None]]:
    from _torch_rankers import Trainer

    racers: dict[str, Callable[[], None]] = {}
    for compiled in (False, True) if compile_too else (False,):
        trainer = Trainer(make(), learning_rate=RATE, compiled=compiled)
        try:
            trainer.step(batches[0])
        except Exception as error:  # no compiler, or a Python that it does not know
            print(f"torch.compile does not work here and is left out: {type(error).__name__}")
            continue

        def run(count: int, trainer: Any = trainer) -> None:
            torch.set_num_threads(count)
            for step in range(steps):
                trainer.step(batches[step % len(batches)])

        name = "torch, compiled" if compiled else "torch"
        for count in threads:
            racers[f"{name}, {count} threads"] = lambda count=count, run=run: run(count)  # type: ignore[misc]
    return racers


# --- the races --------------------------------------------------------------------------------------------------------


def race(
    title: str, ours: Any, peer: Maker | None, steps: int, repeats: int, report: common.Report, *, compile_too: bool
) -> None:
    users, items = common.made_up_pairs(USERS, ITEMS, 400_000)
    users, items = users.astype(np.int32), items.astype(np.int32)
    most = len(os.sched_getaffinity(0))
    trainer = our_trainer(ours, users, items)
    _, examples, _ = trainer.run_steps(1, most)
    mine = f"twotower, {most} threads"
    racers: dict[str, Callable[[], Any]] = {mine: lambda: trainer.run_steps(steps, most)}
    if most > 1:
        racers["twotower, 1 threads"] = lambda: trainer.run_steps(steps, 1)
    if peer is not None:
        racers |= torch_racers(peer, torch_batches(users, items, 8), steps, sorted({1, most}), compile_too=compile_too)
    timings = common.interleave(racers, repeats=repeats)
    rates = {name: steps * examples / timing.median for name, timing in timings.items()}
    table = common.Table(title, ["contestant", "examples/s median", "spread", "ours / it"])
    for name, rate in rates.items():
        table.add(name, common.thousands(rate), f"{timings[name].spread:.0%}", f"{rates[mine] / rate:.2f}")
    report.table(table)
    peers = {name: rate for name, rate in rates.items() if name.startswith("torch")}
    best = max(peers, key=lambda name: peers[name], default=None)
    alone = rates.get("twotower, 1 threads")
    report.result(
        Result(
            title,
            "examples/s",
            rates[mine],
            peer=peers[best] if best else None,
            peer_name=best or "",
            spread=timings[mine].spread,
            scaling=rates[mine] / alone if alone else None,
            bar=Bar(ratio=3),
            note="" if best else "torch is not installed",
        )
    )


def rank_one(repeats: int, report: common.Report) -> None:
    layer, width = core.Layer, 64
    hidden = (128, 64, 32)
    model = core.PairScorer(
        user=_lookup(0, width),
        item=_lookup(1, width),
        vectors=True,
        product=True,
        head=[*_deep(3 * width, hidden), layer.dense(hidden[-1], 1)],
        tables=[("user", USERS, width), ("item", ITEMS, width)],
    )
    users = model.user_vectors(_side(USERS), np.arange(USERS, dtype=np.int32))
    items = model.item_vectors(_side(ITEMS), np.arange(ITEMS, dtype=np.int32))
    random, seconds = np.random.default_rng(0), []
    for _ in range(repeats):
        candidates = random.choice(ITEMS, 500, replace=False).astype(np.int32)
        user = np.full(500, random.integers(USERS), dtype=np.int32)
        started = time.perf_counter()
        scores = model.score(users, items, user, candidates)
        np.argsort(-scores, kind="stable")
        seconds.append(time.perf_counter() - started)
    milliseconds = 1e3 * float(np.median(seconds))
    title = "rank 500 candidates of one user, head 128-64-32"
    table = common.Table(title, ["", "median, ms", "worst of 100, ms"])
    table.add("twotower", f"{milliseconds:.3f}", f"{1e3 * float(np.quantile(seconds, 0.99)):.3f}")
    report.table(table)
    report.result(Result(title, "ms", milliseconds, less_is_better=True, bar=Bar(value=5)))


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--compile", action="store_true", help="race torch.compile too, which takes minutes to compile")
    options = parser.parse_args()
    report = common.Report("Speed of the second stage", options.markdown, options.json)
    report.machine(common.machine(["torch"]))
    if torch is None:
        report.note("torch is not installed, so ours runs alone; install it with: pip install torch==2.13.0")
    peers: tuple[Maker | None, Maker | None] = (None, None)
    if torch is not None:
        from _torch_rankers import Dcn, NeuMF

        peers = (
            lambda: NeuMF(USERS, ITEMS, FACTORS, WIDTH, HIDDEN),
            lambda: Dcn(USERS, ITEMS, DCN_WIDTH, CROSSES, DCN_HIDDEN),
        )
    steps, repeats = (2, 2) if options.quick else (8, 5)
    race("train NeuMF, 32 + 32, 64-32-16", neumf(), peers[0], steps, repeats, report, compile_too=options.compile)
    race("train DCN-v2, 32, 2 crosses, 64-32", dcn(), peers[1], steps, repeats, report, compile_too=options.compile)
    rank_one(20 if options.quick else 200, report)


if __name__ == "__main__":
    main()
