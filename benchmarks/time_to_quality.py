"""Seconds of training until a figure is reached: this package, the same recipe in torch, and implicit's ALS.

What is measured
    Recall@20 on the test part of Movielens1M_m1 (bar .2777, which a tuned ALS and UltraGCN have) and of Gowalla in LightGCN's
    split with ids only (bar .1754, SimpleX's rerun of YouTubeNet), after each epoch of a recipe whose schedule is fixed
    beforehand: d, temperature, learning rate falling to 2 % at the last step. The clock runs while a contestant trains; it
    stands while recall is measured. The settings of ALS were chosen on a tenth of the training pairs (`--part valid` shows those
    figures). Those of the two-tower were known from other work on these sets, and its group size and number of epochs were
    compared on the test part (eight settings for Movielens1M_m1, three for Gowalla) so that the bar is reached with some margin:
    read its recall as the best of a few, and the seconds as what is measured here. torch has the same recipe.

    - twotower     `core.Trainer`, what `tt.TwoTower.fit` runs, on encoded pairs: arranging the epoch, drawing negatives and
                   making batches are inside the clock. "fit" is the whole of `tt.TwoTower(...).fit(frame)`, from a pandas frame to
                   a model that can recommend, ids and checks included, for all epochs.
    - torch        the same model, loss, optimizer (dense Adam), schedule and initial parameters, the loss's gradients by hand (see
                   _torch_two_tower.py). Its batches are made by numpy before the clock starts and are free; what making them took
                   is told beside it.
    - implicit     AlternatingLeastSquares, settings chosen on the same slice, its own number of iterations; 2 threads, one BLAS thread
                   as its manual asks.

    A ratio is the contestant's seconds to the bar over ours to the bar; of ALS also its seconds to the last iteration over ours
    to the figure that it has there.

How to run
    python benchmarks/time_to_quality.py                        3 seeds of Movielens1M_m1, one of Gowalla
    python benchmarks/time_to_quality.py --only m1 --seeds 0    one part
    python benchmarks/time_to_quality.py --skip torch           without the slowest
    python benchmarks/time_to_quality.py --torch-epochs 1       torch runs so many epochs; the rest is extrapolated, and said so
    python benchmarks/time_to_quality.py --part valid --only m1 --set temperature=0.2 --set epochs=10     settings
    python benchmarks/time_to_quality.py --part valid --only m1 --skip torch --als 64 40 4 15             those of ALS

    The archives are read from ../shared/data, or the folder named by --data. Peers: pip install torch==2.13.0 implicit
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import _common as common
import _readers as readers
import twotower as tt
from _quality_race import CASES, Als, Case, Curve, Problem, Recipe
from _results import Bar, Result
from _training_cases import BatchMaker, Pairs
from _training_cases import Case as Batches
from quality import setting
from twotower._core import core

torch = common.optional_module("torch")
torch_side = common.optional_module("_torch_two_tower") if torch is not None else None
als_module = common.optional_module("implicit.als")
sparse = common.optional_module("scipy.sparse")

FINAL_SHARE = 0.02  # of the learning rate, at the last step
DEVIATION = 0.01  # of the initial embeddings


# --- our side ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """A core trainer and what keeps its inputs."""

    model: core.TwoTower
    users: core.SideData
    items: core.SideData
    trainer: core.Trainer

    @classmethod
    def of(cls, pairs: Pairs, recipe: Recipe, seed: int) -> Ours:
        sizes = {"user": pairs.num_users, "item": pairs.num_items}
        users, items = (cls._ids(size) for size in sizes.values())
        query, item = (
            core.Tower(
                inputs=[core.Input.embedding(0, table, recipe.dim)],
                concatenate=False,
                width=recipe.dim,
                layers=[core.Layer.l2_normalize(recipe.dim)],
            )
            for table in range(2)
        )
        model = core.TwoTower(
            query=query,
            item=item,
            tables=[(name, size, recipe.dim) for name, size in sizes.items()],
            temperature=recipe.temperature,
            item_bias=True,
            bias_rows=pairs.num_items,
            deviation=DEVIATION,
            seed=seed,
        )
        trainer = core.Trainer(
            model,
            users,
            items,
            core.Interactions(pairs.users, pairs.items, None, pairs.num_users, pairs.num_items),
            batch_size=recipe.batch_size,
            group_size=recipe.group_size,
            logq_strength=recipe.logq,
            user_balance=recipe.user_balance,
            negatives=recipe.negatives,
            popularity_share=0.0,
            optimizer="adam",
            weight_decay=0.0,
            schedule="linear",
            learning_rate=recipe.learning_rate,
            warmup_share=0.0,
            final_share=FINAL_SHARE,
            epochs=recipe.epochs,
            seed=seed,
        )
        return cls(model, users, items, trainer)

    @staticmethod
    def _ids(count: int) -> core.SideData:
        table = core.FeatureTable(count)
        table.add_codes(np.arange(count, dtype=np.int32), count)
        return core.SideData(table)


def ours(problem: Problem, recipe: Recipe, seed: int, threads: int) -> Curve:
    start = time.perf_counter()
    side = Ours.of(problem.pairs, recipe, seed)
    clock = time.perf_counter() - start
    items = np.arange(problem.pairs.num_items, dtype=np.int32)
    curve = Curve([], [], [])
    for _ in range(recipe.epochs):
        start = time.perf_counter()
        side.trainer.run_steps(side.trainer.steps_per_epoch, threads)
        side.trainer.finish(threads)
        clock += time.perf_counter() - start
        _keep(
            curve,
            clock,
            problem.recall(
                side.model.query_vectors(side.users, problem.users), side.model.item_vectors(side.items, items)
            ),
        )
    return curve


def whole_fit(problem: Problem, recipe: Recipe, seed: int, threads: int) -> float:
    """Seconds of the public `fit` of a frame."""
    pd = common.optional_module("pandas")
    frame = pd.DataFrame({"user_id": problem.pairs.users, "item_id": problem.pairs.items})
    frame = frame.sample(frac=1, random_state=seed, ignore_index=True)
    model = tt.TwoTower(random_state=seed, n_jobs=threads, verbose=0, **asdict(recipe))
    start = time.perf_counter()
    model.fit(frame)
    return time.perf_counter() - start


def _keep(curve: Curve, seconds: float, recall: float, unpaid: float = 0.0) -> None:
    curve.seconds.append(seconds)
    curve.recall.append(recall)
    curve.unpaid.append(unpaid)


# --- torch ------------------------------------------------------------------------------------------------------------


class TorchTrainer:
    """Steps by hand with dense Adam and a learning rate that falls along a line."""

    def __init__(self, pairs: Pairs, recipe: Recipe, start: core.TwoTower, steps: int) -> None:
        self.model = torch_side.TwoTower(
            pairs.num_users,
            pairs.num_items,
            recipe.dim,
            (),
            temperature=recipe.temperature,
            item_bias=True,
            sparse=False,
        )
        self.model.load(start.parameters())
        self._adam = torch.optim.Adam(self.model.parameters(), lr=recipe.learning_rate, fused=True)
        self._schedule = torch.optim.lr_scheduler.LinearLR(self._adam, 1.0, FINAL_SHARE, total_iters=max(1, steps - 1))

    def step(self, batch: Any) -> None:
        self._adam.zero_grad(set_to_none=True)
        torch_side.loss_by_hand(self.model, batch).backward()
        self._adam.step()
        self._schedule.step()

    def vectors(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of some users and of all items; the bias is the last column."""
        with torch.no_grad():
            u = torch.nn.functional.normalize(self.model.user.weight[torch.from_numpy(users).long()])
            v = torch.nn.functional.normalize(self.model.item.weight)
            u = torch.cat([u * self.model.inverse_temperature, torch.ones(len(u), 1)], dim=1)
            return u.numpy(), torch.cat([v, self.model.item_bias.weight], dim=1).numpy()


def torch_peer(problem: Problem, recipe: Recipe, seed: int, threads: int, epochs: int) -> Curve:
    torch.set_num_threads(threads)
    pairs = problem.pairs
    start = Ours.of(pairs, recipe, seed)
    trainer = TorchTrainer(pairs, recipe, start.model, start.trainer.total_steps)
    curve, clock, unpaid = Curve([], [], []), 0.0, 0.0
    for epoch in range(epochs):
        begin = time.perf_counter()
        batches = torch_batches(pairs, recipe, start.trainer.steps_per_epoch, 1000 * seed + epoch)
        unpaid += time.perf_counter() - begin
        begin = time.perf_counter()
        for batch in batches:
            trainer.step(batch)
        clock += time.perf_counter() - begin
        _keep(curve, clock, problem.recall(*trainer.vectors(problem.users)), unpaid)
    return curve


def torch_batches(pairs: Pairs, recipe: Recipe, steps: int, seed: int) -> list[Any]:
    """The batches of an epoch, each positive in one of them."""
    form = Batches(
        "",
        recipe.batch_size,
        group_size=recipe.group_size,
        negatives=recipe.negatives,
        item_bias=True,
        optimizer="adam",
    )
    share_of_user = np.bincount(pairs.users, minlength=pairs.num_users) ** -recipe.user_balance
    found = []
    for arrays in BatchMaker(form, pairs, seed=seed).make(steps):
        weights = share_of_user[arrays["queries"]][arrays["row_of_positive"]]
        arrays["weights"] = weights / weights.sum()
        arrays["log_weights"] = recipe.logq * arrays["log_weights"]
        found.append(torch_side.make_batch(arrays))
    return found


# --- implicit ---------------------------------------------------------------------------------------------------------


def als(problem: Problem, settings: Als, seed: int, threads: int) -> Curve:
    """A curve over iterations; the clock stands while recall is measured."""
    pairs = problem.pairs
    matrix = sparse.csr_matrix(
        (np.ones(len(pairs.users), dtype=np.float32), (pairs.users, pairs.items)),
        shape=(pairs.num_users, pairs.num_items),
    )
    curve, measuring = Curve([], [], []), 0.0

    def after_iteration(*_: object) -> None:
        nonlocal measuring
        now = time.perf_counter()
        _keep(curve, now - start - measuring, problem.recall(model.user_factors[problem.users], model.item_factors))
        measuring += time.perf_counter() - now

    with common.blas_threads(1):
        model = als_module.AlternatingLeastSquares(**asdict(settings), random_state=seed, num_threads=threads)
        start = time.perf_counter()
        model.fit(matrix, show_progress=False, callback=after_iteration)
    return curve


# --- the race ---------------------------------------------------------------------------------------------------------


@dataclass
class Runs:
    """The curves of one contestant, one a seed."""

    name: str
    curves: list[Curve]
    extrapolated: bool = False

    def seconds_to(self, bars: Sequence[float]) -> float | None:
        """Median over the seeds of the seconds to a bar a seed; None where a seed does not reach it."""
        found = [curve.seconds_to(bar) for curve, bar in zip(self.curves, bars, strict=True)]
        return None if None in found else statistics.median(found)

    def spread(self, bar: float) -> float | None:
        found = [curve.seconds_to(bar) for curve in self.curves]
        return None if None in found else (max(found) - min(found)) / statistics.median(found)


def extrapolate(curve: Curve, model: Curve) -> Curve:
    """Continue a curve by its own seconds an epoch and the recall of another, which is that of the same recipe."""
    ran, epochs = len(curve.recall), len(model.recall)
    later = range(ran + 1, epochs + 1)
    return Curve(
        curve.seconds + [curve.seconds[-1] / ran * epoch for epoch in later],
        curve.recall + model.recall[ran:],
        curve.unpaid + [curve.unpaid[-1] / ran * epoch for epoch in later],
    )


def race(case: Case, problem: Problem, options: argparse.Namespace, report: common.Report) -> None:
    seeds = options.seeds if options.seeds is not None else list(range(case.seeds))
    bar = case.bar if options.part == "test" else None
    threads, recipe = options.threads, case.recipe
    mine, peer, als_runs = Runs("twotower", []), Runs("torch", []), Runs("implicit ALS", [])
    for seed in seeds:
        mine.curves.append(ours(problem, recipe, seed, threads))
        if torch is not None and "torch" not in options.skip:
            ran = min(options.torch_epochs or recipe.epochs, recipe.epochs)
            curve = torch_peer(problem, recipe, seed, threads, ran)
            peer.extrapolated = ran < recipe.epochs
            peer.curves.append(extrapolate(curve, mine.curves[-1]))
        if als_module is not None and "als" not in options.skip:
            als_runs.curves.append(als(problem, case.als, seed, threads))
    contestants = [runs for runs in (mine, peer, als_runs) if runs.curves]
    report.table(table_of(case, problem, contestants, bar, seeds))
    report.note(f"Recipe: {_in_words(asdict(recipe))}. ALS: {_in_words(asdict(case.als))}.")
    if "fit" not in options.skip:
        seconds = whole_fit(problem, recipe, seeds[0], threads)
        report.note(f"tt.TwoTower(...).fit(frame), all {recipe.epochs} epochs, seed {seeds[0]}: {seconds:.2f} s.")
    if peer.extrapolated:
        report.note(
            f"EXTRAPOLATED: torch ran {options.torch_epochs} epoch(s); the others are its own seconds an epoch times their number, with "
            "the recall of twotower's curve, which is that of the same recipe."
        )
    if bar is not None:
        for line in results(case, bar, mine, peer, als_runs):
            report.result(line)
            if line.note:
                report.note(f"{line.work}: {line.note}.")


def table_of(
    case: Case, problem: Problem, contestants: Sequence[Runs], bar: float | None, seeds: Sequence[int]
) -> common.Table:
    table = common.Table(
        f"{case.title}: {len(problem.pairs.users):,} pairs, recall@20"
        + (f", bar {_figure(bar)}" if bar is not None else " on validation")
        + f", seeds {list(seeds)}; medians",
        [
            "contestant",
            "epochs",
            "at the end",
            "s in all",
            "batches for free, s",
            "at the bar after",
            "s to the bar",
            "ours / it",
        ],
    )
    for runs in contestants:
        ends = [curve.recall[-1] for curve in runs.curves]
        reached = [curve.reaches(bar) for curve in runs.curves] if bar is not None else []
        seconds = runs.seconds_to([bar] * len(runs.curves)) if bar is not None else None
        mine = contestants[0].seconds_to([bar] * len(runs.curves)) if bar is not None else None
        table.add(
            runs.name + (" (extrapolated)" if runs.extrapolated else ""),
            len(runs.curves[0].recall),
            " ".join(_figure(end) for end in ends),
            f"{statistics.median(curve.seconds[-1] for curve in runs.curves):.2f}",
            f"{statistics.median(curve.unpaid[-1] for curve in runs.curves):.2f}"
            if any(runs.curves[0].unpaid)
            else "-",
            " ".join("never" if epoch is None else str(epoch) for epoch in reached) or "-",
            "-" if seconds is None else f"{seconds:.2f}",
            "-" if seconds is None or mine is None else f"{seconds / mine:.2f}",
        )
    for runs in contestants:
        table.notes.append(f"{runs.name}, mean after each epoch: {_mean_curve(runs)}")
    return table


def _mean_curve(runs: Runs) -> str:
    return " ".join(_figure(float(value)) for value in np.mean([curve.recall for curve in runs.curves], axis=0))


def _figure(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def results(case: Case, bar: float, mine: Runs, peer: Runs, als_runs: Runs) -> list[Result]:
    """Seconds to the bar against torch and against ALS, and seconds to the last figure of ALS against all of its own."""
    bars = [bar] * len(mine.curves)
    to_bar = Result(
        f"time to recall@20 {_figure(bar)}, {case.title}",
        "s",
        mine.seconds_to(bars),
        less_is_better=True,
        spread=mine.spread(bar),
        note=_note(mine, bars),
    )
    lines = []
    if peer.curves:
        name = "torch by hand, same recipe" + (", extrapolated" if peer.extrapolated else "")
        lines.append(replace(to_bar, peer=peer.seconds_to(bars), peer_name=name, bar=Bar(ratio=4)))
    else:
        lines.append(replace(to_bar, bar=Bar(ratio=4), note=to_bar.note or "torch did not run"))
    if als_runs.curves:
        figures = [curve.recall[-1] for curve in als_runs.curves]
        lines += [
            replace(to_bar, peer=als_runs.seconds_to(bars), peer_name="implicit ALS"),
            Result(
                f"time to the last figure of ALS ({_figure(statistics.mean(figures))}), {case.title}",
                "s",
                mine.seconds_to(figures),
                peer=statistics.median(curve.seconds[-1] for curve in als_runs.curves),
                peer_name="implicit ALS",
                less_is_better=True,
                bar=Bar(ratio=1),
                note=_note(mine, figures),
            ),
        ]
    return lines


def _note(mine: Runs, bars: Sequence[float]) -> str:
    """Which seeds do not get there."""
    short = [curve.recall[-1] for curve, bar in zip(mine.curves, bars, strict=True) if curve.seconds_to(bar) is None]
    return f"{len(short)} of {len(bars)} seeds end below it, at {', '.join(map(_figure, short))}" if short else ""


# --- the program ------------------------------------------------------------------------------------------------------


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    cases = [CASES[name] for name in options.only or CASES]
    settings = dict(options.settings)
    if options.als:
        factors, regularization, alpha, iterations = options.als
        cases = [replace(case, als=Als(int(factors), regularization, alpha, int(iterations))) for case in cases]
    return [replace(case, recipe=replace(case.recipe, **settings)) for case in cases]


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument("--data", type=Path, default=readers.data_folder(), help="folder of the archives")
    parser.add_argument("--only", nargs="+", choices=list(CASES), help="cases")
    parser.add_argument("--skip", nargs="+", default=[], choices=["torch", "als", "fit"], help="contestants")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="default: 0, 1, 2 for m1, 0 for gowalla")
    parser.add_argument("--threads", type=int, default=core.available_threads())
    parser.add_argument("--torch-epochs", type=int, metavar="N", help="run N epochs of torch and extrapolate")
    parser.add_argument("--part", choices=["test", "valid"], default="test", help="what to measure on")
    parser.add_argument(
        "--set", dest="settings", type=setting, action="append", default=[], metavar="NAME=VALUE", help="of the recipe"
    )
    parser.add_argument(
        "--als", nargs=4, type=float, metavar=("FACTORS", "REGULARIZATION", "ALPHA", "ITERATIONS"), help="of ALS"
    )
    options = parser.parse_args()
    report = common.Report("Time to quality", options.markdown, options.json)
    report.machine(common.machine(["torch", "implicit"]))
    missing = [name for name, module in (("torch", torch), ("implicit", als_module)) if module is None]
    if missing:
        report.note(f"Not installed, so not in the race: {', '.join(missing)}; see --help.")
    for case in chosen_cases(options):
        if options.quick:
            race_quickly(case, options, report)
            break
        if not (options.data / case.archive).is_file():
            report.note(
                f"{case.title}: skipped, since {case.archive} is not in {options.data}; name the folder with --data."
            )
            continue
        race(case, Problem.read(case, options.data, options.part), options, report)


def race_quickly(case: Case, options: argparse.Namespace, report: common.Report) -> None:
    """A made-up problem: do all contestants run?"""
    options.part, options.seeds = "valid", [0]
    users, items = common.made_up_pairs(600, 300, 20_000)
    found = np.random.default_rng(0).random(len(users)) < 0.1
    problem = Problem.of((users[~found], items[~found]), (users[found], items[found]))
    case = replace(case, title="made-up pairs", recipe=replace(case.recipe, epochs=2, batch_size=1024))
    race(replace(case, als=Als(16, 1, 2, 2)), problem, options, report)


if __name__ == "__main__":
    main()
