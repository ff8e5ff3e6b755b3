"""Training examples per second where the query is a history: this package against the same model in plain torch.

What is measured
    Steps of training on made-up lists (4,000 people of 250 items each out of 26,744, an item of rank r drawn with probability
    ~ 1 / (r + 10)), d = 64, items' own table on both sides, vectors of length 1, temperature, logQ correction, Adam. The query is
    what the encoder makes of the history plus a vector that all people share. An example is an item to predict.

    - mean: 1024 examples a batch, each with the mean of its own 50 items before;
    - transformer: 128 windows of 50 items a batch, each item predicted from those before it in the window, 512 uniform items
      beside the batch's own; 2 blocks, 1 head, feed-forward d; without dropout, and with 0.2 if asked for.

    torch runs encoder and loss in several forms (see _torch_history.py, _torch_two_tower.py), on batches that are made ready
    beforehand, free for it, and all windows and histories full; ours makes its own inside the timing, its share of arranging an
    epoch included, and meets the shorter ones that a person's list begins and ends with. Before the race both sides train twelve
    steps on the same histories of a small problem: each step's losses must agree to 5e-4 of their size.

How to run
    python benchmarks/history_speed.py                      all cases, about 2 minutes on two cores
    python benchmarks/history_speed.py --all                with dropout too
    python benchmarks/history_speed.py --quick              small shapes, half a minute
    python benchmarks/history_speed.py --markdown out.md    keep it

    torch is optional: pip install torch==2.13.0; its form `compiled` needs a C++ compiler and is left out where that fails

How to read
    Contestants take turns; a figure is the median of the rounds after one round of warm-up, in which a peer that takes more
    than twice as long as the best one has lost: its figure is of that round. "FMA" is the share of the rate of the machine's
    widest FMA loop (same run, same threads) that the arithmetic of a step needs: 6 rows columns d flops for the loss, and for
    the transformer 3 (12 d^2 + 2 d length) a position and block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

import _common as common
from _history_cases import CASES, WIDTH, Case, Lists, full_batches, made_up_lists, whole_batch
from _results import NO_BAR
from _roofs import Roofs
from _step_race import INSTALL, Contestant, Rules, our_contestants, race, torch_contestants
from twotower._core import core

torch = common.optional_module("torch")
torch_side = common.optional_module("_torch_history") if torch is not None else None

TEMPERATURE = 0.1


# --- our side ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """A core trainer and what keeps its inputs."""

    model: core.TwoTower
    trainer: core.Trainer


def ours(case: Case, lists: Lists, *, history: str) -> Ours:
    people, items = core.FeatureTable(lists.people), core.FeatureTable(lists.num_items)
    people.add_codes(
        np.zeros(lists.people, dtype=np.int32), 1
    )  # a tower has one input at least: a vector that all share
    items.add_codes(np.arange(lists.num_items, dtype=np.int32), lists.num_items)
    encoder = (
        core.SequenceEncoder.mean(WIDTH, 1.0, "mean")
        if case.kind == "mean"
        else core.SequenceEncoder.transformer(WIDTH, 1, case.blocks, case.length, 1 - case.dropout, 0)
    )
    embedding = core.Input.embedding(0, 0, WIDTH)
    unit = [core.Layer.l2_normalize(WIDTH)]
    model = core.TwoTower(
        query=core.Tower(
            inputs=[core.Input.embedding(0, 1, WIDTH)],
            sequences=[core.SequenceInput(None, [embedding], encoder)],
            concatenate=False,
            width=WIDTH,
            layers=unit,
        ),
        item=core.Tower(inputs=[embedding], concatenate=False, width=WIDTH, layers=unit),
        tables=[("item", lists.num_items, WIDTH), ("shared", 1, WIDTH)],
        temperature=TEMPERATURE,
        item_bias=False,
        bias_rows=0,
        deviation=0.1,
        seed=0,
    )
    trainer = core.Trainer(
        model,
        core.SideData(people, elements=[items]),
        core.SideData(items),
        core.Interactions(lists.owners, lists.items, None, lists.people, lists.num_items),
        batch_size=case.batch_size,
        group_size=1,
        logq_strength=1.0,
        user_balance=0.0,
        negatives=case.negatives,
        popularity_share=0.0,
        optimizer="adam",
        weight_decay=0.0,
        schedule="constant",
        learning_rate=case.learning_rate,
        warmup_share=0.0,
        final_share=1.0,
        epochs=100_000,
        seed=0,
        history=history,
        max_length=case.length,
    )
    return Ours(model, trainer)


# --- torch's side -----------------------------------------------------------------------------------------------------


def torch_trainer(case: Case, forms: tuple[str, str, str], num_items: int, start: core.TwoTower) -> torch_side.Trainer:
    form, loss, optimizer = forms
    encoder: dict[str, object] = {"kind": case.kind, "form": form}
    if case.kind != "mean":
        encoder |= {"heads": 1, "blocks": case.blocks, "max_length": case.length, "dropout": case.dropout}
    model = torch_side.TwoTower(num_items, WIDTH, encoder, temperature=TEMPERATURE, sparse=optimizer != "adam")
    model.load(start.parameters())
    return torch_side.Trainer(model, loss, optimizer, case.learning_rate)


def compiles() -> bool:
    try:
        return bool(torch.compile(lambda x: x.exp() + 1)(torch.ones(3)).sum() > 0)
    except Exception:  # whatever a compiler may raise
        return False


# --- do both do the same? ---------------------------------------------------------------------------------------------


def check_agreement(case: Case, *, steps: int = 12, tolerance: float = 5e-4) -> float:
    """Train both sides from the same parameters on the same batches; the largest relative difference of the losses.

    The core does not tell what is in a batch, so there is one an epoch, which holds every item of every list with all that lies
    before it, from nothing at all to eleven items. The learning rate is small for the reason given in training_speed.py.
    """
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 13, 40)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    # Popular and rare items.
    items = (60 * rng.random(offsets[-1]) ** 3).astype(np.int32)
    lists = Lists(offsets, items, 60)
    case = replace(case, batch_size=len(items), length=12, negatives=0, learning_rate=0.002, dropout=0.0)
    batch = torch_side.make_batch(whole_batch(case, lists))
    worst = 0.0
    for forms in case.torch_forms:
        if forms[2] != "adam" or forms[0] == "compiled":
            continue  # lazy Adam moves other rows than ours does; compiled is the code of "sdpa", and takes long to make
        side = ours(case, lists, history="before")
        peer = torch_trainer(case, forms, lists.num_items, side.model)
        for step in range(steps):
            _, examples, mine = side.trainer.run_steps(1, 1)
            theirs = peer.step(batch)
            if examples != len(items):
                raise SystemExit(f"{case.name}: a step had {examples} examples, but the lists have {len(items)} items")
            worst = max(worst, abs(mine - theirs) / abs(theirs))
            if not abs(mine - theirs) <= tolerance * abs(theirs):
                raise SystemExit(
                    f"{case.name}, torch {', '.join(forms)}: at step {step} our loss is {mine:.6f}, torch's {theirs:.6f}; "
                    "not the same model"
                )
    return worst


# --- the race ---------------------------------------------------------------------------------------------------------


def contestants(case: Case, lists: Lists, threads_list: list[int], pool: list) -> list[Contestant]:
    side = ours(case, lists, history="before" if case.kind == "mean" else "windows")
    found = our_contestants(side.trainer, "twotower, adam", len(lists.items), threads_list)
    for forms in case.torch_forms if torch is not None else ():
        peer = torch_trainer(case, forms, lists.num_items, side.model)
        # Another number of threads would compile all anew.
        chosen = threads_list[-1:] if forms[0] == "compiled" else threads_list
        found += torch_contestants(peer, f"torch {', '.join(forms)}", pool, case.batch_size, chosen)
    return found


def run_case(case: Case, lists: Lists, threads_list: list[int], rules: Rules) -> None:
    arrays = full_batches(case, lists, max(4, 2**16 // case.batch_size))
    pool = [torch_side.make_batch(a) for a in arrays] if torch is not None else []
    columns = float(np.mean([len(batch["candidates"]) for batch in arrays]))
    race(
        f"training, {case.name}",
        f"{case.batch_size} examples, {columns:.0f} distinct candidates a batch",
        contestants(case, lists, threads_list, pool),
        case.arithmetic(columns),
        case.bar,
        rules,
    )


# --- the program ------------------------------------------------------------------------------------------------------


def chosen_cases(only: str, *, everything: bool, quick: bool) -> list[Case]:
    chosen = [replace(case, batch_size=case.batch_size // 4) if quick else case for case in CASES]
    if torch is not None and (quick or not compiles()):
        chosen = [replace(c, torch_forms=tuple(f for f in c.torch_forms if f[0] != "compiled")) for c in chosen]
    return [case for case in chosen if only in case.name and (everything or case.bar != NO_BAR)]


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, core.available_threads()}), metavar="N")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of one repeat of one contestant (default %(default)s)"
    )
    parser.add_argument("--only", default="", help="run the cases whose name has this in it")
    parser.add_argument("--all", action="store_true", help="cases that have no bar too")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.seconds = 2, 0.05

    report = common.Report("Training speed with histories", options.markdown, options.json)
    report.machine(common.machine(["torch"]))
    chosen = chosen_cases(options.only, everything=options.all, quick=options.quick)
    if torch is None:
        report.note(INSTALL)
    else:
        worst = max(check_agreement(case) for case in chosen)
        report.note(f"Losses of twelve steps agree with torch's: largest relative difference {worst:.1e}.")
    lists = made_up_lists(400, 100, 2_000) if options.quick else made_up_lists(4_000, 250, 26_744)
    report.note(f"{lists.people:,} people, {len(lists.items):,} examples, {lists.num_items:,} items, d = {WIDTH}.")
    roofs = Roofs.measure(options.threads, ["sgemm", "fma"], quick=options.quick)
    report.table(roofs.table())
    rules = Rules(report, roofs, options.repeats, options.seconds)
    for case in chosen:
        run_case(case, lists, options.threads, rules)


if __name__ == "__main__":
    main()
