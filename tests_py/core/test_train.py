"""The bindings of model and trainer: parameters in and out, who keeps whom alive, the GIL, and the wording of refusals."""

from __future__ import annotations

import gc
import re
import threading
import time
import weakref

import numpy as np
import pytest

from twotower import errors
from twotower._core import core

USERS, ITEMS, WIDTH = 40, 30, 8
OPTIONS = {
    "batch_size": 64,
    "group_size": 4,
    "logq_strength": 1.0,
    "user_balance": 0.0,
    "negatives": 10,
    "popularity_share": 0.0,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "schedule": "linear",
    "learning_rate": 0.05,
    "warmup_share": 0.0,
    "final_share": 0.02,
    "epochs": 20,
    "seed": 7,
}


def refuses(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


def table_of(rows):
    table = core.FeatureTable(rows)
    table.add_codes(np.arange(rows, dtype=np.int32), rows)
    return table


def identity(rows):
    return core.SideData(table_of(rows))


def lookup(table, width=WIDTH, layers=()):
    inputs = [core.Input.embedding(column=0, table=table, width=width)]
    return core.Tower(inputs=inputs, concatenate=False, width=width, layers=list(layers))


def make_model(users=USERS, items=ITEMS, width=WIDTH, **changes):
    options = {
        "query": lookup(0, width),
        "item": lookup(1, width),
        "tables": [("users", users, width), ("items", items, width)],
        "temperature": 0.5,
        "item_bias": True,
        "bias_rows": items,
        "deviation": 0.1,
        "seed": 3,
    }
    return core.TwoTower(**options | changes)


def planted(users=USERS, items=ITEMS, each=8):
    """Even users met even items, odd users odd ones."""
    random = np.random.default_rng(0)
    user_rows = np.repeat(np.arange(users, dtype=np.int32), each)
    chosen = np.concatenate([random.choice(items // 2, each, replace=False) * 2 + user % 2 for user in range(users)])
    return core.Interactions(user_rows, chosen.astype(np.int32), None, users, items)


def make_trainer(model, users=USERS, items=ITEMS, each=8, **changes):
    return core.Trainer(model, identity(users), identity(items), planted(users, items, each), **OPTIONS | changes)


def all_rows(count):
    return np.arange(count, dtype=np.int32)


def scores(model):
    users = model.query_vectors(identity(USERS), all_rows(USERS), num_threads=1)
    items = model.item_vectors(identity(ITEMS), all_rows(ITEMS), num_threads=1)
    return users @ items.T


def same_parameters(a, b):
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


# --- the model --------------------------------------------------------------------------------------------------------


def test_parameters_come_out_by_name_as_copies():
    model = make_model()
    parameters = model.parameters()
    shapes = {name: (array.dtype, array.shape) for name, array in parameters.items()}
    float32 = np.dtype(np.float32)
    assert shapes == {
        "arena": (float32, (0,)),
        "table.users": (float32, (USERS, WIDTH)),
        "table.items": (float32, (ITEMS, WIDTH)),
        "table.item_bias": (float32, (ITEMS, 1)),
    }
    parameters["table.users"][:] = 0
    assert same_parameters(model.parameters(), make_model().parameters())


def test_parameters_survive_the_way_into_another_model():
    model, other = make_model(seed=3), make_model(seed=4)
    assert not same_parameters(model.parameters(), other.parameters())
    other.set_parameters(model.parameters())
    assert same_parameters(model.parameters(), other.parameters())
    assert scores(model).tobytes() == scores(other).tobytes()


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda p: p.pop("table.items"), ValueError, "set_parameters: 'table.items' is missing"),
        (
            lambda p: p.update(arena=np.zeros(1, np.float32)),
            ValueError,
            "set_parameters: size of arena is 1, but must equal the model's, which is 0",
        ),
        (
            lambda p: p.update({"table.items": np.zeros((2, WIDTH), np.float32)}),
            ValueError,
            "set_parameters: rows of table.items is 2, but must equal the model's, which is 30",
        ),
        (
            lambda p: p.update({"table.item_bias": np.zeros((ITEMS, 2), np.float32)}),
            ValueError,
            "set_parameters: columns of table.item_bias is 2, but must equal the model's, which is 1",
        ),
        (
            lambda p: p.update({"table.users": np.zeros((USERS, WIDTH))}),
            TypeError,
            "set_parameters: table.users is a C-contiguous float64 array of shape (40, 8), "
            "but must be a C-contiguous float32 array of 2 dimensions",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused_and_the_model_stays_as_it_was(change, error, sentence):
    model = make_model()
    parameters = {name: array + 1 for name, array in model.parameters().items()}
    change(parameters)
    with refuses(error, sentence):
        model.set_parameters(parameters)
    assert same_parameters(model.parameters(), make_model().parameters())


def test_vectors_multiply_to_cosine_by_temperature_plus_bias():
    layers = [core.Layer.l2_normalize(WIDTH)]
    model = make_model(query=lookup(0, layers=layers), item=lookup(1, layers=layers))
    parameters = model.parameters()
    parameters["table.item_bias"][:, 0] = np.linspace(-1, 1, ITEMS)
    model.set_parameters(parameters)
    assert model.vector_width == WIDTH + 1
    u, v = (
        parameters[name] / np.linalg.norm(parameters[name], axis=1, keepdims=True)
        for name in ("table.users", "table.items")
    )
    np.testing.assert_allclose(scores(model), u @ v.T / 0.5 + parameters["table.item_bias"].T, atol=1e-5)


def test_vectors_of_any_rows_in_any_order_and_of_none():
    model = make_model()
    rows = np.array([3, 3, 0], np.int32)
    vectors = model.query_vectors(identity(USERS), rows)
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, WIDTH + 1))
    assert vectors.tobytes() == model.query_vectors(identity(USERS), all_rows(USERS))[rows].tobytes()
    assert model.item_vectors(identity(ITEMS), np.empty(0, np.int32)).shape == (0, WIDTH + 1)


def test_every_kind_of_input_and_layer_can_be_named():
    features = table_of(ITEMS)
    features.add_bags(np.arange(ITEMS + 1, dtype=np.int64), np.zeros(ITEMS, np.int32), None, 2)
    features.add_numbers(np.linspace(-1, 1, ITEMS, dtype=np.float32))
    features.add_vectors(np.linspace(-1, 1, 3 * ITEMS, dtype=np.float32).reshape(ITEMS, 3))
    bags = [core.Input.bag(column=1, table=2, width=2, pooling=pooling) for pooling in ("mean", "sum", "sqrt")]
    inputs = [
        core.Input.embedding(column=0, table=1, width=WIDTH, unknown_share=0.1),
        *bags,
        core.Input.numeric(column=2, width=3),
        core.Input.projection(column=3, in_width=3, width=5),
        core.Input.given(column=3, width=3),
    ]
    width = WIDTH + 6 + 3 + 5 + 3
    layers = [
        core.Layer.cross(width=width, depth=2, rank=3),
        core.Layer.residual(width=width, layers=[core.Layer.dense(width, width), core.Layer.relu(width)]),
        core.Layer.parallel(width=width, left=[core.Layer.cross(width, 1, 0)], right=[]),
        core.Layer.dense(in_width=2 * width, out_width=WIDTH),
        core.Layer.relu(width=WIDTH),
        core.Layer.gelu(width=WIDTH),
        core.Layer.dropout(width=WIDTH, keep_probability=0.9, stream=1),
        core.Layer.layer_norm(width=WIDTH),
        core.Layer.l2_normalize(width=WIDTH),
    ]
    item = core.Tower(inputs=inputs, concatenate=True, width=width, layers=layers)
    model = make_model(item=item, tables=[("users", USERS, WIDTH), ("items", ITEMS, WIDTH), ("tags", 2, 2)])
    cross = 2 * (2 * 3 * width + width) + width * width + width
    dense = width * width + width + 2 * width * WIDTH + WIDTH
    assert model.parameters()["arena"].size == 3 * 3 + 5 * 5 + 3 + cross + dense + 2 * WIDTH
    vectors = model.item_vectors(core.SideData(features), all_rows(ITEMS))
    np.testing.assert_allclose(np.linalg.norm(vectors[:, :WIDTH], axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "error", "sentence"),
    [
        (
            lambda: core.Input.bag(column=0, table=0, width=2, pooling="max"),
            ValueError,
            "Input: pooling is 'max', but must be 'mean', 'sum' or 'sqrt'",
        ),
        (
            lambda: lookup(0, layers=[core.Layer.relu(3)]),
            ValueError,
            "Sequential: in_width of layer 0 (Relu) is 3, but must equal width, which is 8",
        ),
        (
            lambda: make_model(temperature=0.0),
            ValueError,
            "TwoTower: temperature is 0, but must be a finite number above 0",
        ),
        (
            lambda: make_model(item=lookup(1, 4)),
            ValueError,
            "TwoTower: out_width of the query tower is 8, but must equal out_width of the item tower, which is 4",
        ),
        (
            lambda: make_model().query_vectors(identity(USERS), np.array([0, USERS], np.int32)),
            IndexError,
            "Tower: rows[1] is 40, but must be in [0, 40)",
        ),
        (
            lambda: make_model().query_vectors(identity(USERS), [0]),
            TypeError,
            "query_vectors: rows is a list, but must be a C-contiguous int32 array of 1 dimension",
        ),
        (
            lambda: make_model().query_vectors(identity(USERS + 1), all_rows(1)),
            ValueError,
            "Tower: rows of table 0 is 40, but must be at least 41",
        ),
        (
            lambda: make_model().query_vectors(identity(USERS), all_rows(1), num_threads=0),
            ValueError,
            "Threads: num_threads is 0, but must be at least 1",
        ),
    ],
)
def test_models_that_make_no_sense_are_refused(build, error, sentence):
    with refuses(error, sentence):
        build()


# --- the trainer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam", "adagrad", "rowwise_adagrad", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_training_recovers_planted_blocks(optimizer, schedule):
    model = make_model()
    rate = {"sgd": 4.0, "adagrad": 0.2, "rowwise_adagrad": 0.2}.get(optimizer, 0.05)
    trainer = make_trainer(model, optimizer=optimizer, schedule=schedule, learning_rate=rate)
    assert trainer.total_steps == 20 * trainer.steps_per_epoch
    _, _, before = trainer.run_steps(trainer.steps_per_epoch)
    trainer.run_steps(trainer.total_steps - 2 * trainer.steps_per_epoch)
    steps, examples, after = trainer.run_steps(trainer.steps_per_epoch)
    trainer.finish()
    assert (steps, examples, trainer.step) == (trainer.steps_per_epoch, USERS * 8, trainer.total_steps)
    assert after < before - 0.3
    own = np.arange(USERS)[:, None] % 2 == np.arange(ITEMS) % 2
    assert scores(model)[own].mean() > scores(model)[~own].mean() + 1
    assert trainer.run_steps(5) == (0, 0, 0.0)


@pytest.mark.parametrize("num_threads", [2, 7, -1])
def test_threads_and_portions_change_no_byte(num_threads):
    whole, parts = make_model(), make_model()
    trainer = make_trainer(whole)
    trainer.run_steps(30, num_threads=1)
    trainer.finish(num_threads=1)
    trainer = make_trainer(parts)
    for _ in range(30):
        trainer.run_steps(1, num_threads=num_threads)
    trainer.finish(num_threads=num_threads)
    assert same_parameters(whole.parameters(), parts.parameters())
    rows = all_rows(USERS)
    one, many = (whole.query_vectors(identity(USERS), rows, num_threads=count) for count in (1, num_threads))
    assert one.tobytes() == many.tobytes()


def test_learning_rate_follows_the_schedule():
    trainer = make_trainer(make_model(), schedule="constant", learning_rate=0.25)
    assert trainer.learning_rate == 0.25
    trainer = make_trainer(make_model(), warmup_share=0.1)
    assert trainer.learning_rate == pytest.approx(0.05 / 10)


def test_loss_that_is_no_number_is_our_numerical_error_and_the_model_stays():
    model = make_model()
    trainer = make_trainer(model, learning_rate=1e30, schedule="constant")
    trainer.run_steps(1)
    trainer.finish()
    before = model.parameters()
    with pytest.raises(errors.NumericalError) as caught:
        trainer.run_steps(10)
    assert type(caught.value) is errors.NumericalError
    assert str(caught.value) == (
        "Trainer: the loss is nan at step 1 (epoch 1, learning rate 1e+30): both towers' vectors are finite, their scores are not; "
        "try a smaller learning rate, a larger temperature or fewer extreme feature values"
    )
    trainer.finish()
    assert trainer.step == 1
    assert same_parameters(model.parameters(), before)


def test_trainer_keeps_its_model_and_data_alive_and_lets_them_go():
    tables = [table_of(USERS), table_of(ITEMS)]
    parts = [make_model(), *(core.SideData(table) for table in tables), planted()]
    watched = [weakref.ref(part) for part in (*parts, *tables)]
    trainer = core.Trainer(*parts, **OPTIONS)
    del parts, tables
    gc.collect()
    assert all(ref() is not None for ref in watched)
    trainer.run_steps(3)
    assert np.isfinite(scores(watched[0]())).all()
    del trainer
    gc.collect()
    assert all(ref() is None for ref in watched)


def test_python_threads_run_while_the_core_trains():
    users, items = 4000, 2000
    trainer = make_trainer(make_model(users, items, 64), users, items, 20, batch_size=4096, negatives=1000, epochs=50)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.perf_counter()
    trainer.run_steps(40, num_threads=1)
    end = time.perf_counter()
    stop.set()
    thread.join()
    # With the GIL held there could be none but at the very borders.
    assert sum(begin < moment < end for moment in ticks) > 5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size": 0}, "BatchPlan: batch_size is 0, but must be at least 1"),
        ({"group_size": 0}, "BatchPlan: group_size is 0, but must be at least 1"),
        ({"logq_strength": 2.0}, "BatchPlan: logq_strength is 2, but must be in [0, 1]"),
        ({"user_balance": -0.5}, "BatchPlan: query_balance is -0.5, but must be in [0, 1]"),
        ({"negatives": -1}, "NegativeSampler: count is -1, but must be at least 0"),
        ({"popularity_share": 1.5}, "NegativeSampler: popularity_share is 1.5, but must be in [0, 1]"),
        (
            {"optimizer": "adamw"},
            "Trainer: optimizer is 'adamw', but must be one of 'adam', 'lazy_adam', 'adagrad', 'rowwise_adagrad', 'sgd'",
        ),
        ({"weight_decay": -1.0}, "Optimizer: weight_decay is -1, but must be in [0, 1e+06]"),
        ({"schedule": "step"}, "Trainer: schedule is 'step', but must be one of 'constant', 'linear', 'cosine'"),
        ({"learning_rate": 0.0}, "Schedule: peak is 0, but must be a finite number above 0"),
        ({"warmup_share": 1.0}, "Schedule: warmup_share is 1, but must be in [0, 0.999]"),
        ({"final_share": -1.0}, "Schedule: final_share is -1, but must be in [0, 1]"),
        ({"epochs": 0}, "Trainer: epochs is 0, but must be at least 1"),
    ],
)
def test_trainers_that_make_no_sense_are_refused(changes, sentence):
    with refuses(ValueError, sentence):
        make_trainer(make_model(), **changes)


def test_data_and_steps_that_do_not_fit_are_refused():
    with refuses(
        ValueError,
        "Trainer: rows of the query features is 30, but must equal num_queries of the interactions, which is 40",
    ):
        core.Trainer(make_model(), identity(ITEMS), identity(ITEMS), planted(), **OPTIONS)
    with refuses(ValueError, "Trainer: rows of the item bias is 29, but must be at least 30"):
        make_trainer(make_model(bias_rows=29))
    with refuses(ValueError, "Trainer: number of steps is 0, but must be at least 1"):
        make_trainer(make_model()).run_steps(0)
    with refuses(ValueError, "Threads: num_threads is -5, but must be at least 1"):
        make_trainer(make_model()).run_steps(1, num_threads=-5)
    seen_only = core.Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1, np.float32), USERS, ITEMS)
    with refuses(ValueError, "BatchPlan: number of positives is 0, but must be at least 1"):
        core.Trainer(make_model(), identity(USERS), identity(ITEMS), seen_only, **OPTIONS)


# --- histories, growth, explanation -----------------------------------------------------------------------------------


ENCODERS = {
    "mean": lambda: core.SequenceEncoder.mean(width=WIDTH, decay=0.9, length="unit"),
    "attention": lambda: core.SequenceEncoder.attention(width=WIDTH, max_length=5),
    "gru": lambda: core.SequenceEncoder.gru(width=WIDTH),
    "transformer": lambda: core.SequenceEncoder.transformer(
        width=WIDTH, heads=2, blocks=1, max_length=5, keep_probability=0.9, stream=1
    ),
}


def history_model(encoder="mean", users=USERS, items=ITEMS, **changes):
    """A model whose users are made of their histories and a constant, and the data of both sides."""
    elements = [core.Input.embedding(column=0, table=1, width=WIDTH)]
    query = core.Tower(
        inputs=[core.Input.embedding(column=0, table=0, width=WIDTH, unknown_share=1.0)],
        sequences=[core.SequenceInput(None, elements, ENCODERS[encoder]())],
        concatenate=False,
        width=WIDTH,
        layers=[core.Layer.l2_normalize(WIDTH)],
    )
    item = lookup(1, layers=[core.Layer.l2_normalize(WIDTH)])
    catalogue = table_of(items)
    side = core.SideData(table_of(users), elements=[catalogue])
    return make_model(users, items, query=query, item=item, **changes), side, core.SideData(catalogue)


def histories(pairs):
    return pairs.positive_offsets, pairs.positive_items, pairs.positive_history_weights


@pytest.mark.parametrize("mode", ["others", "before", "windows"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_histories_recover_planted_blocks_without_user_ids(encoder, mode):
    model, users, items = history_model(encoder)
    pairs = planted()
    options = {"group_size": 1 if mode == "windows" else 4, "history": mode, "max_length": 5}
    trainer = core.Trainer(model, users, items, pairs, **OPTIONS | options)
    trainer.run_steps(trainer.total_steps)
    trainer.finish()
    offsets, past, _ = histories(pairs)
    newest = np.concatenate([past[end - 5 : end] for end in offsets[1:]])  # as long as a transformer can read
    vectors = model.query_vectors(
        users, all_rows(USERS), history=(np.arange(0, 5 * USERS + 1, 5, dtype=np.int64), newest, None)
    )
    found = vectors @ model.item_vectors(items, all_rows(ITEMS)).T
    own = np.arange(USERS)[:, None] % 2 == np.arange(ITEMS) % 2
    assert found[own].mean() > found[~own].mean() + 0.5


def test_histories_have_weights_and_nobody_sees_another_ones():
    model, users, _ = history_model()
    past = (np.array([0, 2, 2, 3], np.int64), np.array([4, 5, 6], np.int32), np.array([1, 0, 2], np.float32))
    together = model.query_vectors(users, all_rows(3), history=past)
    alone = (np.array([0, 1], np.int64), np.array([4], np.int32), None)  # an item of weight 0 adds nothing
    assert together[0].tobytes() == model.query_vectors(users, all_rows(1), history=alone)[0].tobytes()


@pytest.mark.parametrize(
    ("history", "error", "sentence"),
    [
        (None, ValueError, "Tower: number of histories is 0, but must equal number of rows, which is 2"),
        (
            (np.array([0, 1, 2], np.int64), np.array([1, ITEMS], np.int32), None),
            IndexError,
            "query_vectors: history items[1] is 30, but must be in [0, 30)",
        ),
        (
            (np.array([0, 2], np.int64), np.array([1, 2], np.int32), None),
            ValueError,
            "query_vectors: size of history offsets is 2, but must equal number of lists + 1, which is 3",
        ),
        ([1], TypeError, "query_vectors: history is a list, but must be a tuple of offsets, items and weights or None"),
    ],
)
def test_histories_that_do_not_fit_are_refused(history, error, sentence):
    model, users, _ = history_model()
    with refuses(error, sentence):
        model.query_vectors(users, all_rows(2), history=history)


def test_a_history_longer_than_a_transformer_can_read_is_refused():
    model, users, _ = history_model("transformer")
    with pytest.raises(ValueError, match=r"^CausalTransformer: .*6.*5"):
        model.query_vectors(users, all_rows(1), history=(np.array([0, 6], np.int64), all_rows(6), None))


def test_contexts_are_rows_of_their_own_table():
    query = core.Tower(
        inputs=[core.Input.embedding(0, 0, WIDTH), core.Input.embedding(0, 2, WIDTH, context=True)],
        concatenate=False,
        width=WIDTH,
        layers=[],
    )
    model = make_model(query=query, tables=[("users", USERS, WIDTH), ("items", ITEMS, WIDTH), ("hours", 24, WIDTH)])
    side = core.SideData(table_of(USERS), contexts=table_of(24))
    parameters = model.parameters()
    vectors = model.query_vectors(side, np.array([1, 1], np.int32), contexts=np.array([0, 23], np.int32))
    wanted = (parameters["table.users"][[1, 1]] + parameters["table.hours"][[0, 23]]) / 0.5
    np.testing.assert_allclose(vectors[:, :WIDTH], wanted, rtol=1e-6)
    with refuses(ValueError, "Tower: number of context rows is 0, but must equal number of rows, which is 2"):
        model.query_vectors(side, all_rows(2))


def test_a_grown_model_keeps_its_rows_and_begins_new_ones_at_the_unknown():
    small, large = make_model(), make_model(USERS + 3, ITEMS + 2)
    first = large.parameters()
    small_parameters = small.parameters()
    small_parameters["table.users"] += 1
    small_parameters["table.item_bias"] += 1
    large.set_parameters(small_parameters, grow=True)
    grown = large.parameters()
    assert grown["table.users"][:USERS].tobytes() == small_parameters["table.users"].tobytes()
    np.testing.assert_array_equal(
        grown["table.users"][USERS:], first["table.users"][USERS:] + small_parameters["table.users"][0]
    )
    assert grown["table.item_bias"][ITEMS:].tolist() == [[1.0], [1.0]]
    with refuses(ValueError, "set_parameters: rows of table.users in the model is 40, but must be at least 43"):
        small.set_parameters(grown, grow=True)


def test_the_optimizers_state_goes_on_in_a_grown_model():
    model = make_model()
    trainer = make_trainer(model)
    trainer.run_steps(7)
    trainer.finish()
    state = trainer.optimizer_state()
    assert state["steps"].tolist() == [7]
    assert state["table.users.first"].shape == state["table.users.second"].shape == (USERS, WIDTH)
    large = make_trainer(make_model(USERS + 3), USERS + 3, optimizer="lazy_adam")
    large.set_optimizer_state(state)
    grown = large.optimizer_state()
    assert grown["table.users.first"][:USERS].tobytes() == state["table.users.first"].tobytes()
    assert not grown["table.users.first"][USERS:].any()
    with refuses(ValueError, "set_optimizer_state: 'steps' is missing"):
        large.set_optimizer_state({})


def test_items_that_may_not_learn_stay():
    model, users, items = history_model()
    trainable = np.zeros(ITEMS, np.uint8)
    trainable[[3, 4]] = 1
    before = model.parameters()
    trainer = core.Trainer(model, users, items, planted(), **OPTIONS | {"history": "others"}, trainable_items=trainable)
    trainer.run_steps(10)
    trainer.finish()
    after = model.parameters()
    moved = (before["table.items"] != after["table.items"]).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [3, 4]
    assert np.flatnonzero((before["table.item_bias"] != after["table.item_bias"])[:, 0]).tolist() == [3, 4]


def test_an_explanation_adds_up_to_the_score():
    model, users, items = history_model()
    parameters = model.parameters()
    parameters["table.item_bias"][:] = 0.5
    model.set_parameters(parameters)
    past = np.array([4, 5], np.int32)
    user_parts, item_parts, bias, exact = core.explain(model, users, 3, items, 7, history=(past, None))
    assert (len(user_parts), len(item_parts), bias, exact) == (2, 1, 0.5, True)
    vector = model.query_vectors(users, np.array([3], np.int32), history=(np.array([0, 2], np.int64), past, None))
    score = (vector @ model.item_vectors(items, np.array([7], np.int32)).T).item()
    assert user_parts.sum() + bias == pytest.approx(score, abs=1e-5)
    assert item_parts.sum() + bias == pytest.approx(score, abs=1e-5)


def test_history_modes_and_lists_that_make_no_sense_are_refused():
    model, users, items = history_model()
    with refuses(
        ValueError, "Trainer: history is 'after', but must be one of 'none', 'others', 'before', 'sessions', 'windows'"
    ):
        core.Trainer(model, users, items, planted(), **OPTIONS, history="after")
    lists = (np.zeros(USERS + 1, np.int64), np.empty(0, np.int32), None)
    with refuses(ValueError, "BatchPlan: lists are given, but histories are not those of mode Others"):
        core.Trainer(model, users, items, planted(), **OPTIONS, history="before", lists=lists)
