"""Training examples per second: this package against the same model in plain torch.

What is measured
    Steps of training on made-up pairs in the shape of MovieLens-20M (138,493 users, 26,744 items, an item of rank r drawn with
    probability ~ 1 / (r + 10)), d = 64: two id towers of unit length, temperature, logQ correction, accidental hits left
    out, the same optimizer on both sides.

    - pairs: 256, 1024 or 4096 pairs a batch, ids only, and 1024 with one hidden layer of 128 (that one with Adam), Adagrad;
    - arranged by user: 4096 positives in groups of up to 16 a user, 2048 uniform items beside the batch's own, item bias, Adam.

    torch runs its loss in up to three forms (see _torch_two_tower.py), on batches that are made ready beforehand and are free
    for it; ours makes its own inside the timing, its share of arranging an epoch included. Before the race both sides
    train twelve steps on the same batches of a small problem: each step's losses must agree to 5e-4 of their size.

How to run
    python benchmarks/training_speed.py                      all cases, about 2 minutes on two cores
    python benchmarks/training_speed.py --quick              small shapes, half a minute
    python benchmarks/training_speed.py --markdown out.md    keep it
    python benchmarks/training_speed.py --adjacency ../shared/data/gowalla-lightgcn.zip gowalla/train.txt    real pairs

    torch is optional: pip install torch==2.13.0

How to read
    Contestants take turns; a figure is the median of the rounds after one round of warm-up, in which a peer that takes more
    than twice as long as the best one has lost: its figure is of that round. "FMA" is the share of the rate of the machine's
    widest FMA loop (same run, same threads) that the arithmetic of the step on distinct candidates needs: 6 rows columns d
    flops for the loss, 6 a weight and row for the layers.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import _common as common
from _roofs import Roofs
from _step_race import INSTALL, Contestant, Rules, our_contestants, race, torch_contestants
from _training_cases import CASES, WIDTH, BatchMaker, Case, Pairs, arithmetic
from twotower._core import core

torch = common.optional_module("torch")
torch_side = common.optional_module("_torch_two_tower") if torch is not None else None

TEMPERATURE = 0.1


# --- our side ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """A core trainer and what keeps its inputs."""

    model: core.TwoTower
    trainer: core.Trainer


def ours(case: Case, pairs: Pairs) -> Ours:
    users, items = core.FeatureTable(pairs.num_users), core.FeatureTable(pairs.num_items)
    users.add_codes(np.arange(pairs.num_users, dtype=np.int32), pairs.num_users)
    items.add_codes(np.arange(pairs.num_items, dtype=np.int32), pairs.num_items)
    model = core.TwoTower(
        query=_tower(0, case.hidden),
        item=_tower(1, case.hidden),
        tables=[("user", pairs.num_users, WIDTH), ("item", pairs.num_items, WIDTH)],
        temperature=TEMPERATURE,
        item_bias=case.item_bias,
        bias_rows=pairs.num_items,
        deviation=0.1,
        seed=0,
    )
    trainer = core.Trainer(
        model,
        core.SideData(users),
        core.SideData(items),
        core.Interactions(pairs.users, pairs.items, None, pairs.num_users, pairs.num_items),
        batch_size=case.batch_size,
        group_size=case.group_size,
        logq_strength=1.0,
        user_balance=0.0,
        negatives=case.negatives,
        popularity_share=0.0,
        optimizer=case.optimizer,
        weight_decay=0.0,
        schedule="constant",
        learning_rate=case.learning_rate,
        warmup_share=0.0,
        final_share=1.0,
        epochs=100_000,
        seed=0,
    )
    return Ours(model, trainer)


def _tower(table: int, hidden: tuple[int, ...]) -> core.Tower:
    layers, width = [], WIDTH
    for wider in (*hidden, WIDTH) if hidden else ():
        layers += [core.Layer.relu(width)] if layers else []
        layers.append(core.Layer.dense(width, wider))
        width = wider
    layers.append(core.Layer.l2_normalize(width))
    return core.Tower(inputs=[core.Input.embedding(0, table, WIDTH)], concatenate=False, width=WIDTH, layers=layers)


# --- torch's side -----------------------------------------------------------------------------------------------------


def torch_trainer(case: Case, form: str, optimizer: str, pairs: Pairs, start: core.TwoTower) -> torch_side.Trainer:
    model = torch_side.TwoTower(
        pairs.num_users,
        pairs.num_items,
        WIDTH,
        case.hidden,
        temperature=TEMPERATURE,
        item_bias=case.item_bias,
        sparse=optimizer != "adam",
    )
    model.load(start.parameters())
    return torch_side.Trainer(model, form, optimizer, case.learning_rate)


# --- do both do the same? ---------------------------------------------------------------------------------------------


def check_agreement(case: Case, *, steps: int = 12, tolerance: float = 5e-4) -> float:
    """Train both sides from the same parameters on the same batches; the largest relative difference of the losses.

    The core does not tell what is in a batch, but the rows that a step changes do: a user has no more positives than one group
    holds, so the changed users are the rows, and the changed items the candidates. There are four batches in an epoch, of
    which every one misses some users and items.

    The learning rate is small, since the first steps of Adagrad and Adam have the size of the rate however small a gradient is:
    one that is zero but for rounding moves its weight either way. Measured over 20 seeds and all forms: sides that are the same
    differ by 9e-5 at most (this seed, hidden layer; the median is 3e-6 or less); a rate or a correction wrong by 5 %, a bias
    that does not learn, or lazy Adam for Adam make 2e-3 at least. At a rate of 0.05 this seed differs by 9e-3, which starts
    in a single weight whose gradient is 6e-8 of the others'; both sides' gradients are equally close to those in float64.
    """
    rng = np.random.default_rng(3)
    num_users, num_items = 240, 499
    sizes = rng.integers(1, case.group_size + 1, num_users)
    users = np.repeat(np.arange(num_users, dtype=np.int32), sizes)
    # Popular and rare items, so that their corrections differ.
    items = (num_items * rng.random(len(users)) ** 3).astype(np.int32)
    small = Pairs(users, items, num_users, num_items)
    case = replace(
        case, batch_size=math.ceil(len(users) / 4), negatives=50 if case.negatives else 0, learning_rate=0.002
    )
    maker = BatchMaker(case, small)
    worst = 0.0
    for form, optimizer in case.torch_forms:
        side = ours(replace(case, optimizer=optimizer), small)
        peer = torch_trainer(case, form, optimizer, small, side.model)
        before = side.model.parameters()
        for step in range(steps):
            _, _, mine = side.trainer.run_steps(1, 1)
            after = side.model.parameters()
            rows, candidates = (_changed(before[f"table.{name}"], after[f"table.{name}"]) for name in ("user", "item"))
            theirs = peer.step(torch_side.make_batch(maker.batch(rows, candidates, as_pairs=form == "pairs")))
            worst, before = max(worst, abs(mine - theirs) / abs(theirs)), after
            if not abs(mine - theirs) <= tolerance * abs(theirs):
                raise SystemExit(
                    f"{case.name}, torch {form}, {optimizer}: at step {step} our loss is {mine:.6f}, torch's {theirs:.6f}; "
                    "not the same model"
                )
    return worst


def _changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.flatnonzero((before != after).any(axis=1))


# --- the race ---------------------------------------------------------------------------------------------------------


def contestants(case: Case, pairs: Pairs, threads_list: list[int], pools: dict[bool, list]) -> list[Contestant]:
    side = ours(case, pairs)
    found = our_contestants(side.trainer, f"twotower, {case.optimizer}", len(pairs.users), threads_list)
    for form, optimizer in case.torch_forms if torch is not None else ():
        pool = pools[form == "pairs"]
        peer = torch_trainer(case, form, optimizer, pairs, side.model)
        examples = sum(len(batch.columns) for batch in pool) / len(pool)
        found += torch_contestants(peer, f"torch {form}, {optimizer}", pool, examples, threads_list)
    return found


def run_case(case: Case, pairs: Pairs, threads_list: list[int], rules: Rules) -> None:
    maker = BatchMaker(case, pairs)
    # As many batches as touch about as many rows as a stretch of a real epoch does.
    count = max(4, 2**18 // case.batch_size)
    forms = {form == "pairs" for form, _ in case.torch_forms} if torch is not None else {False}
    arrays = {as_pairs: maker.make(count, as_pairs=as_pairs) for as_pairs in forms | {False}}
    pools = {}
    if torch is not None:
        pools = {as_pairs: [torch_side.make_batch(a) for a in found] for as_pairs, found in arrays.items()}
    work = float(np.mean([arithmetic(case, batch) for batch in arrays[False]]))
    rows, columns = (
        float(np.mean([len(batch[name]) for batch in arrays[False]])) for name in ("queries", "candidates")
    )
    race(
        f"training, {case.name}",
        f"{rows:.0f} rows, {columns:.0f} distinct candidates a batch",
        contestants(case, pairs, threads_list, pools),
        work,
        case.bar,
        rules,
    )


# --- the program ------------------------------------------------------------------------------------------------------


def read_pairs(options: argparse.Namespace) -> Pairs:
    if options.adjacency:
        archive, member = options.adjacency
        users, items = (
            np.unique(ids, return_inverse=True)[1].astype(np.int32) for ids in common.adjacency(Path(archive), member)
        )
        return Pairs(users, items, int(users.max()) + 1, int(items.max()) + 1)
    num_users, num_items, count = (2_000, 1_000, 100_000) if options.quick else (138_493, 26_744, options.pairs)
    return Pairs(*common.made_up_pairs(num_users, num_items, count), num_users, num_items)


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=5_000_000, help="made-up training pairs (default %(default)s)")
    parser.add_argument(
        "--adjacency", nargs=2, metavar=("ZIP", "MEMBER"), help="real pairs: lines of a user and the user's items"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, core.available_threads()}), metavar="N")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of one repeat of one contestant (default %(default)s)"
    )
    parser.add_argument("--only", default="", help="run the cases whose name has this in it")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.seconds = 2, 0.05

    report = common.Report("Training speed", options.markdown, options.json)
    report.machine(common.machine(["torch"]))
    chosen = [case for case in CASES if options.only in case.name]
    if torch is None:
        report.note(INSTALL)
    else:
        worst = max(check_agreement(case) for case in chosen)
        report.note(f"Losses of twelve steps agree with torch's: largest relative difference {worst:.1e}.")
    pairs = read_pairs(options)
    report.note(f"{len(pairs.users):,} pairs, {pairs.num_users:,} users, {pairs.num_items:,} items, d = {WIDTH}.")
    roofs = Roofs.measure(options.threads, ["sgemm", "fma"], quick=options.quick)
    report.table(roofs.table())
    rules = Rules(report, roofs, options.repeats, options.seconds)
    for case in chosen:
        run_case(case, pairs, options.threads, rules)


if __name__ == "__main__":
    main()
