"""The bindings of the ranking stage: scores and lists against NumPy, training, who keeps whom alive, the wording of refusals."""

from __future__ import annotations

import gc
import re
import threading

import numpy as np
import pytest

from twotower import errors
from twotower._core import core

USERS, ITEMS, WIDTH = 40, 30, 8
OPTIONS = {
    "batch_size": 64,
    "group_size": 4,
    "loss": "squared",
    "optimizer": "adam",
    "schedule": "linear",
    "learning_rate": 0.05,
    "final_share": 0.02,
    "epochs": 20,
    "seed": 7,
}


def refuses(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def identity(rows):
    table = core.FeatureTable(rows)
    table.add_codes(np.arange(rows, dtype=np.int32), rows)
    return core.SideData(table)


def lookup(table, width=WIDTH):
    inputs = [core.Input.embedding(column=0, table=table, width=width)]
    return core.Tower(inputs=inputs, concatenate=False, width=width, layers=[])


def dot_model(**changes):
    options = {
        "user": lookup(0),
        "item": lookup(1),
        "user_bias": lookup(2, 1),
        "item_bias": lookup(3, 1),
        "dot": True,
        "head": [],
        "tables": [("users", USERS, WIDTH), ("items", ITEMS, WIDTH), ("user bias", USERS, 1), ("item bias", ITEMS, 1)],
        "offset": 0.5,
        "deviation": 0.3,
        "seed": 3,
    }
    return core.PairScorer(**(options | changes))


def deep_model(given=False):
    width = 2 * WIDTH + given
    head = [core.Layer.dense(width, 6), core.Layer.gelu(6), core.Layer.dense(6, 1)]
    return dot_model(dot=False, vectors=True, given=given, head=head, deviation=1.0)


def vectors(model):
    users = model.user_vectors(identity(USERS), np.arange(USERS, dtype=np.int32))
    return users, model.item_vectors(identity(ITEMS), np.arange(ITEMS, dtype=np.int32))


def all_pairs():
    users, items = np.meshgrid(np.arange(USERS, dtype=np.int32), np.arange(ITEMS, dtype=np.int32), indexing="ij")
    return users.ravel(), items.ravel()


def score_matrix(model, given=None):
    users, items = vectors(model)
    return model.score(users, items, *all_pairs(), given=given).reshape(USERS, ITEMS)


def planted():
    """Users and items of two kinds; everybody rated ten items, 5 where both are alike and 1 where not."""
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(USERS, dtype=np.int32), 10)
    items = np.concatenate([rng.choice(ITEMS, 10, replace=False) for _ in range(USERS)]).astype(np.int32)
    return users, items, np.where(users % 2 == items % 2, 5, 1).astype(np.float32)


def make_trainer(model, **changes):
    users, items, ratings = planted()
    interactions = core.Interactions(users, items, None, USERS, ITEMS)
    options = OPTIONS | {"targets": ratings} | changes
    return core.PairTrainer(model, identity(USERS), identity(ITEMS), interactions, **options)


def ragged(lists):
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return offsets, np.array([row for rows in lists for row in rows], np.int32)


def numpy_lists(scores, lists, k):
    rows = np.full((len(lists), k), -1, np.int32)
    best = np.full((len(lists), k), -np.inf, np.float32)
    for user, candidates in enumerate(lists):
        order = sorted(candidates, key=lambda item: (-scores[user, item], item))[:k]
        rows[user, : len(order)] = order
        best[user, : len(order)] = scores[user, order]
    return rows, best


def same(got, wanted):
    np.testing.assert_array_equal(got[0], wanted[0])
    np.testing.assert_array_equal(got[1], wanted[1])


# --- the model ------------------------------------------------------------------------------------------------------------


def test_a_dot_products_scores_are_numpys():
    model = dot_model()
    parameters = {name.removeprefix("table."): values for name, values in model.parameters().items()}
    wanted = 0.5 + parameters["users"] @ parameters["items"].T + parameters["user bias"] + parameters["item bias"].T
    np.testing.assert_allclose(score_matrix(model), wanted, atol=1e-6)
    users, items = vectors(model)
    assert (
        (model.user_vector_width, model.item_vector_width) == (WIDTH + 1, WIDTH + 1) == (users.shape[1], items.shape[1])
    )
    np.testing.assert_array_equal(users, np.hstack([parameters["users"], parameters["user bias"]]))


def test_a_head_reads_vectors_and_the_given_number():
    model = dot_model(dot=False, vectors=True, given=True, head=[core.Layer.dense(2 * WIDTH + 1, 1)])
    arena = model.parameters()["arena"]
    weights, bias = arena[:-1], arena[-1]
    users, items = vectors(model)
    given = np.random.default_rng(2).normal(size=USERS * ITEMS).astype(np.float32)
    left, right = all_pairs()
    joined = np.column_stack([users[left, :-1], items[right, :-1], given])
    wanted = 0.5 + bias + joined @ weights + users[left, -1] + items[right, -1]
    np.testing.assert_allclose(score_matrix(model, given).ravel(), wanted, atol=1e-5)


def test_parameters_survive_the_way_into_another_model():
    model, other = dot_model(), dot_model(seed=4)
    assert not np.array_equal(score_matrix(model), score_matrix(other))
    other.set_parameters(model.parameters())
    np.testing.assert_array_equal(score_matrix(model), score_matrix(other))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dot": False}, "PairScorer: the meeting has no part; ask for vectors, product, dot, given or sum"),
        (
            {"item": lookup(1, 4)},
            f"PairScorer: out_width of the user tower is {WIDTH}, but must equal out_width of the item tower, which is 4",
        ),
        (
            {"head": [core.Layer.dense(1, 2)]},
            "PairScorer: out_width of the head is 2, but must equal the width of a score, which is 1",
        ),
        ({"deviation": -1.0}, "PairScorer: deviation is -1, but must be a finite number of at least 0"),
    ],
)
def test_models_that_make_no_sense_are_refused(changes, sentence):
    with refuses(ValueError, sentence):
        dot_model(**changes)


def test_scores_of_arrays_that_do_not_fit_are_refused():
    model = dot_model()
    users, items = vectors(model)
    zero = np.zeros(1, np.int32)
    with refuses(
        TypeError,
        "score: users is a C-contiguous float64 array of shape (40, 9), "
        "but must be a C-contiguous float32 array of 2 dimensions",
    ):
        model.score(users.astype(np.float64), items, zero, zero)
    with refuses(IndexError, "score: item_rows[0] is 30, but must be in [0, 30)"):
        model.score(users, items, zero, zero + 30)
    with refuses(ValueError, "score: size of given is 1, but must equal none, which is 0"):
        model.score(users, items, zero, zero, given=np.zeros(1, np.float32))


# --- training -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared", "huber", "logistic", "ordinal", "bpr", "lambda", "softmax"])
def test_training_recovers_planted_ratings(loss):
    model, (_, _, ratings) = dot_model(offset=3.0 if loss in ("squared", "huber") else 0.0), planted()
    targets = {"squared": ratings, "huber": ratings, "ordinal": ratings - 1}.get(loss, (ratings > 3).astype(np.float32))
    trainer = make_trainer(model, loss=loss, cuts=[-2.0, -1.0, 1.0, 2.0] if loss == "ordinal" else [], targets=targets)
    _, _, before = trainer.run_steps(trainer.steps_per_epoch)
    steps, pairs, after = trainer.run_steps(trainer.total_steps)
    trainer.finish()
    assert steps == trainer.total_steps - trainer.steps_per_epoch == trainer.step - trainer.steps_per_epoch
    assert (pairs, after < before) == (19 * len(targets), True)
    scores = score_matrix(model)
    alike = np.add.outer(np.arange(USERS), np.arange(ITEMS)) % 2 == 0
    assert scores[alike].mean() > scores[~alike].mean() + 0.5


@pytest.mark.parametrize("loss", ["logistic", "bpr", "softmax"])
def test_negatives_come_from_the_pools_and_nothing_seen(loss):
    model = dot_model()
    before = model.parameters()["table.items"].copy()
    users, items, _ = planted()
    unseen = next(item for item in range(ITEMS) if item not in items[:3])
    pool = ragged([[unseen]] * USERS)
    interactions = core.Interactions(users[:3], items[:3], None, USERS, ITEMS)
    options = OPTIONS | {"loss": loss, "negatives": 2, "pools": (*pool, None)}
    trainer = core.PairTrainer(model, identity(USERS), identity(ITEMS), interactions, **options)
    trainer.run_steps(3)
    trainer.finish()
    moved = (model.parameters()["table.items"] != before).any(axis=1)
    assert set(np.flatnonzero(moved)) == {*items[:3].tolist(), unseen}


@pytest.mark.parametrize("num_threads", [1, 2, 7])
def test_threads_and_portions_change_no_byte(num_threads):
    at_once, in_parts = deep_model(), deep_model()
    trainer = make_trainer(at_once, negatives=2)
    trainer.run_steps(12, 1)
    trainer.finish()
    parts = make_trainer(in_parts, negatives=2)
    for count in (1, 5, 6):
        parts.run_steps(count, num_threads)
    parts.finish(num_threads)
    for name, values in at_once.parameters().items():
        np.testing.assert_array_equal(in_parts.parameters()[name], values)


def test_a_given_number_is_the_product_of_its_vectors():
    rng = np.random.default_rng(5)
    given_users, given_items = (rng.normal(size=(n, 4)).astype(np.float32) for n in (USERS, ITEMS))
    users, items, _ = planted()
    targets = 2 * np.einsum("ij,ij->i", given_users[users], given_items[items]).astype(np.float32) + 1
    model = dot_model(dot=False, given=True, head=[core.Layer.dense(1, 1)], offset=0.0, deviation=0.0)
    trainer = make_trainer(model, targets=targets, given_users=given_users, given_items=given_items, learning_rate=0.2)
    trainer.run_steps(trainer.total_steps)
    trainer.finish()
    given = (given_users @ given_items.T).ravel()
    np.testing.assert_allclose(score_matrix(model, given).ravel(), 2 * given + 1, atol=0.5)


def test_the_trainer_keeps_what_it_looks_at():
    trainer = make_trainer(dot_model())
    gc.collect()
    assert np.isfinite(trainer.run_steps(5)[2])


def test_python_threads_run_while_the_core_trains():
    trainer, ticks, stop = make_trainer(dot_model(), epochs=200), [], threading.Event()

    def tick():
        while not stop.wait(0.0005):
            ticks.append(0)

    thread = threading.Thread(target=tick)
    thread.start()
    trainer.run_steps(trainer.total_steps)
    stop.set()
    thread.join()
    assert ticks


def test_a_loss_that_is_no_number_is_our_numerical_error():
    trainer = make_trainer(dot_model(), optimizer="sgd", schedule="constant", learning_rate=1e30)
    trainer.run_steps(1)
    with pytest.raises(
        errors.NumericalError, match=r"^PairTrainer: the loss is (nan|inf) at step 1 \(epoch 1, learning rate 1e\+30\)"
    ):
        trainer.run_steps(5)
    assert trainer.step == 1


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"loss": "hinge"},
            ValueError,
            "PairTrainer: loss is 'hinge', but must be one of 'squared', 'huber', 'logistic', 'ordinal', 'bpr', 'lambda', 'softmax'",
        ),
        ({"loss": "huber", "delta": 0.0}, ValueError, "ListLoss: delta is 0, but must be a finite number above 0"),
        ({"loss": "ordinal"}, ValueError, "ListLoss: number of cuts is 0, but must be at least 1"),
        ({"loss": "lambda", "cutoff": 0}, ValueError, "ListLoss: cutoff is 0, but must be at least 1"),
        (
            {"loss": "logistic"},
            ValueError,
            "PairTrainer: targets[2] is 5, but must be in [0, 1] with the logistic loss",
        ),
        (
            {"loss": "ordinal", "cuts": [0.0, 1.0]},
            ValueError,
            "PairTrainer: targets[2] is 5, but must be a level, a whole number in [0, 2]",
        ),
        ({"negatives": -1}, ValueError, "PairPlan: negatives is -1, but must be at least 0"),
        ({"targets": np.ones(3, np.float32)}, ValueError, "PairPlan: size of targets is 3, but must be at least 400"),
        ({"shrink": -1.0}, ValueError, "PairTrainer: shrink is -1, but must be in [0, 1e+06]"),
        (
            {"targets": None, "loss": "bpr"},
            ValueError,
            "PairTrainer: the loss compares the pairs of a list, but there are neither targets nor negatives to compare with",
        ),
        (
            {"given_users": np.ones((USERS, 2), np.float32), "given_items": np.ones((ITEMS, 2), np.float32)},
            ValueError,
            "PairTrainer: the model reads a number that comes with each pair, and given_users and given_items make it; "
            "give both or none",
        ),
        (
            {"pools": (np.zeros(3, np.int64), np.zeros(0, np.int32), None)},
            ValueError,
            "PairPlan: size of pool offsets is 3, but must equal num_queries of the interactions + 1, which is 41",
        ),
    ],
)
def test_trainers_that_make_no_sense_are_refused(changes, error, sentence):
    with refuses(error, sentence):
        make_trainer(dot_model(), **changes)


# --- lists ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_threads", [1, 2, 7])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_rank_gives_the_best_candidates(k, num_threads):
    model = deep_model()
    rng = np.random.default_rng(6)
    lists = [rng.permutation(ITEMS)[: rng.integers(0, ITEMS + 1)].tolist() for _ in range(USERS)]
    got = core.rank(model, *vectors(model), *ragged(lists), k, num_threads=num_threads)
    assert (got[0].dtype, got[1].dtype) == (np.int32, np.float32)
    same(got, numpy_lists(score_matrix(model), lists, k))


def test_rank_reads_the_number_that_comes_with_each_candidate():
    model = deep_model(given=True)
    given = np.random.default_rng(7).normal(size=USERS * ITEMS).astype(np.float32)
    lists = [list(range(ITEMS))] * USERS
    got = core.rank(model, *vectors(model), *ragged(lists), 4, given)
    same(got, numpy_lists(score_matrix(model, given), lists, 4))


def test_rank_all_leaves_out_what_filters_say():
    model = deep_model()
    scores, (users, items) = score_matrix(model), vectors(model)
    same(core.rank_all(model, users, items, 5), numpy_lists(scores, [range(ITEMS)] * USERS, 5))
    rng = np.random.default_rng(8)
    seen, listed = ([sorted(rng.choice(ITEMS, n, replace=False).tolist()) for _ in range(USERS)] for n in (10, 12))
    allowed = rng.random(ITEMS) < 0.7
    of_query = np.arange(USERS, dtype=np.int32)
    seen_offsets, seen_items = ragged(seen)
    offsets, listed_items = ragged(listed)
    got = core.rank_all(
        model, users, items, 5,
        seen_of_query=of_query, seen_offsets=seen_offsets, seen_items=seen_items, allowed=allowed,
        allowed_of_query=np.where(of_query % 2, of_query, -1).astype(np.int32), allowed_offsets=offsets,
        allowed_items=listed_items, num_threads=2,
    )  # fmt: skip
    wanted = [
        [i for i in (listed[user] if user % 2 else range(ITEMS)) if allowed[i] and i not in seen[user]]
        for user in range(USERS)
    ]
    same(got, numpy_lists(scores, wanted, 5))


@pytest.mark.parametrize("given", [False, True])
def test_retrieve_and_rank_is_both_stages(given):
    model = deep_model(given)
    users, items = vectors(model)
    rng = np.random.default_rng(9)
    queries, offered = rng.normal(size=(USERS, 6)).astype(np.float32), rng.normal(size=(ITEMS, 6)).astype(np.float32)
    index = core.ItemIndex(offered)
    allowed = rng.random(ITEMS) < 0.8
    found, first = index.top_k(queries, 12, allowed=allowed)
    offsets = np.arange(USERS + 1, dtype=np.int64) * 12
    for mean, deviation in ((0.0, 1.0), (-0.37, 2.6)):
        numbers = (first.ravel() - np.float32(mean)) / np.float32(deviation)
        wanted = core.rank(model, users, items, offsets, found.ravel(), 5, numbers if given else None)
        arguments = {"mean": mean, "deviation": deviation, "allowed": allowed, "num_threads": 2}
        same(core.retrieve_and_rank(index, queries, 12, model, users, items, 5, **arguments), wanted)


def test_lists_of_arguments_that_do_not_fit_are_refused():
    model = deep_model()
    users, items = vectors(model)
    offsets = np.zeros(USERS + 1, np.int64)
    none = np.zeros(0, np.int32)
    with refuses(ValueError, "rank: k is 0, but must be at least 1"):
        core.rank(model, users, items, offsets, none, 0)
    with refuses(ValueError, "rank: size of offsets is 40, but must equal the number of queries + 1, which is 41"):
        core.rank(model, users, items, offsets[1:], none, 3)
    with refuses(IndexError, "rank: candidates[0] is 30, but must be in [0, 30)"):
        core.rank(model, users, items, np.minimum(np.arange(USERS + 1), 1), np.array([ITEMS], np.int32), 3)
    with refuses(ValueError, "rank: width of the items is 8, but must equal width of an item's vector, which is 9"):
        core.rank(model, users, items[:, :-1].copy(), offsets, none, 3)
    with refuses(
        ValueError,
        "rank_all: seen_of_query, seen_offsets and seen_items belong together; give all three or none",
    ):
        core.rank_all(model, users, items, 3, seen_offsets=offsets)
    with refuses(ValueError, "rank_all: the size of allowed is 3, but must equal the number of items, which is 30"):
        core.rank_all(model, users, items, 3, allowed=np.ones(3, bool))
    reads = deep_model(given=True)
    with refuses(
        ValueError,
        "rank_all: the model reads a number that comes with each pair; rank candidates that bring theirs",
    ):
        core.rank_all(reads, users, items, 3)
    index = core.ItemIndex(items[:, :4].copy())
    queries = users[:, :4].copy()
    with refuses(ValueError, "retrieve_and_rank: candidates is 2, but must be at least 3"):
        core.retrieve_and_rank(index, queries, 2, model, users, items, 3)
    with refuses(
        ValueError, "retrieve_and_rank: the number of queries is 39, but must equal the number of users, which is 40"
    ):
        core.retrieve_and_rank(index, queries[1:].copy(), 5, model, users, items, 3)
    with refuses(ValueError, "retrieve_and_rank: deviation is 0, but must be a finite number above 0"):
        core.retrieve_and_rank(index, queries, 5, model, users, items, 3, deviation=0)
    broken = items.copy()
    broken[4, 0] = np.nan
    with refuses(
        errors.NumericalError,
        "rank: the score of user 0 and item 4 is nan, but must be a finite number; "
        "vectors, given numbers and parameters must be finite",
    ):
        core.rank(model, users, broken, np.minimum(np.arange(USERS + 1), 1), np.array([4], np.int32), 3)
