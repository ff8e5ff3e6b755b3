# What every _core_v* module has; tests compare it with the loaded one.
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]

isa: str
assertions: bool

def available_threads() -> int: ...

class Interactions:
    def __init__(
        self,
        user_rows: Int32,
        item_rows: Int32,
        weights: Float32 | None,
        num_users: int,
        num_items: int,
        history_weights: Float32 | None = None,
        sessions: Int32 | None = None,
    ) -> None: ...
    @property
    def num_users(self) -> int: ...
    @property
    def num_items(self) -> int: ...
    @property
    def num_positives(self) -> int: ...
    @property
    def positive_offsets(self) -> Int64: ...
    @property
    def positive_items(self) -> Int32: ...
    @property
    def positive_history_weights(self) -> Float32 | None: ...
    @property
    def seen_offsets(self) -> Int64: ...
    @property
    def seen_items(self) -> Int32: ...
    @property
    def item_counts(self) -> Float64: ...
    @property
    def user_counts(self) -> Int64: ...

class FeatureTable:
    def __init__(self, num_rows: int) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    def add_codes(self, codes: Int32, vocabulary: int) -> int: ...
    def add_bags(self, offsets: Int64, codes: Int32, weights: Float32 | None, vocabulary: int) -> int: ...
    def add_numbers(self, values: Float32) -> int: ...
    def add_vectors(self, values: Float32) -> int: ...

class TextCoder:
    def __init__(
        self,
        *,
        fold_case: bool,
        strip_accents: bool,
        words: tuple[int, int],
        chars: tuple[int, int],
        buckets: int = 0,
        tokens: tuple[UInt8, Int64] | None = None,
    ) -> None: ...
    @property
    def size(self) -> int: ...
    def encode(
        self, buffer: UInt8, offsets: Int64, *, keep_unknown: bool, max_length: int = 0, num_threads: int = -1
    ) -> tuple[Int64, Int32]: ...
    def learn(
        self, buffer: UInt8, offsets: Int64, *, min_count: int, max_tokens: int, num_threads: int = -1
    ) -> tuple[UInt8, Int64, Int64, int, int]: ...
    def split(self, buffer: UInt8, offsets: Int64) -> tuple[Int64, UInt8, Int64]: ...

def document_counts(offsets: Int64, codes: Int32, vocabulary: int) -> Int64: ...
def tf_idf(offsets: Int64, codes: Int32, idf: Float64, *, num_threads: int = -1) -> tuple[Int64, Int32, Float32]: ...

class Layer:
    @staticmethod
    def dense(in_width: int, out_width: int) -> Layer: ...
    @staticmethod
    def relu(width: int) -> Layer: ...
    @staticmethod
    def gelu(width: int) -> Layer: ...
    @staticmethod
    def layer_norm(width: int) -> Layer: ...
    @staticmethod
    def l2_normalize(width: int) -> Layer: ...
    @staticmethod
    def dropout(width: int, keep_probability: float, stream: int) -> Layer: ...
    @staticmethod
    def cross(width: int, depth: int, rank: int) -> Layer: ...
    @staticmethod
    def factorization_machine(fields: int, width: int) -> Layer: ...
    @staticmethod
    def slice(in_width: int, begin: int, width: int) -> Layer: ...
    @staticmethod
    def row_sum(width: int) -> Layer: ...
    @staticmethod
    def residual(width: int, layers: Sequence[Layer]) -> Layer: ...
    @staticmethod
    def parallel(width: int, left: Sequence[Layer], right: Sequence[Layer]) -> Layer: ...

class Input:
    @staticmethod
    def embedding(
        column: int, table: int, width: int, *, unknown_share: float = 0.0, context: bool = False
    ) -> Input: ...
    @staticmethod
    def bag(column: int, table: int, width: int, pooling: str, *, context: bool = False) -> Input: ...
    @staticmethod
    def numeric(column: int, width: int, *, context: bool = False) -> Input: ...
    @staticmethod
    def projection(column: int, in_width: int, width: int, *, context: bool = False) -> Input: ...
    @staticmethod
    def given(column: int, width: int, *, context: bool = False) -> Input: ...

class SequenceEncoder:
    @staticmethod
    def mean(width: int, decay: float, length: str) -> SequenceEncoder: ...
    @staticmethod
    def attention(width: int, max_length: int) -> SequenceEncoder: ...
    @staticmethod
    def gru(width: int) -> SequenceEncoder: ...
    @staticmethod
    def transformer(
        width: int, heads: int, blocks: int, max_length: int, keep_probability: float, stream: int
    ) -> SequenceEncoder: ...

class SequenceInput:
    def __init__(self, column: int | None, elements: Sequence[Input], encoder: SequenceEncoder) -> None: ...

class Tower:
    def __init__(
        self,
        *,
        inputs: Sequence[Input],
        sequences: Sequence[SequenceInput] = ...,
        concatenate: bool,
        width: int,
        layers: Sequence[Layer],
    ) -> None: ...

class SideData:
    def __init__(
        self,
        entities: FeatureTable,
        *,
        contexts: FeatureTable | None = None,
        elements: Sequence[FeatureTable] = ...,
    ) -> None: ...

class TwoTower:
    def __init__(
        self,
        *,
        query: Tower,
        item: Tower,
        tables: Sequence[tuple[str, int, int]],
        temperature: float,
        item_bias: bool,
        bias_rows: int,
        deviation: float,
        seed: int,
    ) -> None: ...
    @property
    def vector_width(self) -> int: ...
    def parameters(self) -> dict[str, Float32]: ...
    def set_parameters(self, parameters: Mapping[str, Float32], *, grow: bool = False) -> None: ...
    def query_vectors(
        self,
        data: SideData,
        rows: Int32,
        *,
        contexts: Int32 | None = None,
        history: tuple[Int64, Int32, Float32 | None] | None = None,
        num_threads: int = -1,
    ) -> Float32: ...
    def item_vectors(self, data: SideData, rows: Int32, *, num_threads: int = -1) -> Float32: ...

class Trainer:
    def __init__(
        self,
        model: TwoTower,
        users: SideData,
        items: SideData,
        interactions: Interactions,
        *,
        batch_size: int,
        group_size: int,
        logq_strength: float,
        user_balance: float,
        negatives: int,
        popularity_share: float,
        optimizer: str,
        weight_decay: float,
        schedule: str,
        learning_rate: float,
        warmup_share: float,
        final_share: float,
        epochs: int,
        seed: int,
        history: str = "none",
        max_length: int = 50,
        first_session_weight: float = 1.0,
        lists: tuple[Int64, Int32, Float32 | None] | None = None,
        trainable_items: npt.NDArray[Any] | None = None,
    ) -> None: ...
    @property
    def steps_per_epoch(self) -> int: ...
    @property
    def total_steps(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    def run_steps(self, count: int, num_threads: int = -1) -> tuple[int, int, float]: ...
    def finish(self, num_threads: int = -1) -> None: ...
    def optimizer_state(self) -> dict[str, npt.NDArray[Any]]: ...
    def set_optimizer_state(self, state: Mapping[str, npt.NDArray[Any]]) -> None: ...

class PairScorer:
    def __init__(
        self,
        *,
        user: Tower,
        item: Tower,
        user_bias: Tower | None = None,
        item_bias: Tower | None = None,
        vectors: bool = False,
        product: bool = False,
        dot: bool = False,
        given: bool = False,
        sum: bool = False,  # noqa: A002
        split: int = 0,
        head: Sequence[Layer],
        tables: Sequence[tuple[str, int, int]],
        offset: float = 0.0,
        deviation: float = 0.01,
        seed: int = 0,
    ) -> None: ...
    @property
    def user_vector_width(self) -> int: ...
    @property
    def item_vector_width(self) -> int: ...
    def parameters(self) -> dict[str, Float32]: ...
    def set_parameters(self, parameters: Mapping[str, Float32], *, grow: bool = False) -> None: ...
    def user_vectors(
        self,
        data: SideData,
        rows: Int32,
        *,
        contexts: Int32 | None = None,
        history: tuple[Int64, Int32, Float32 | None] | None = None,
        num_threads: int = -1,
    ) -> Float32: ...
    def item_vectors(self, data: SideData, rows: Int32, *, num_threads: int = -1) -> Float32: ...
    def score(
        self,
        users: Float32,
        items: Float32,
        user_rows: Int32,
        item_rows: Int32,
        *,
        given: Float32 | None = None,
        num_threads: int = -1,
    ) -> Float32: ...

class PairTrainer:
    def __init__(
        self,
        model: PairScorer,
        users: SideData,
        items: SideData,
        interactions: Interactions,
        *,
        batch_size: int,
        group_size: int,
        user_balance: float = 0.0,
        negatives: int = 0,
        loss: str,
        delta: float = 1.0,
        cutoff: int = 10,
        cuts: Sequence[float] = ...,
        optimizer: str,
        weight_decay: float = 0.0,
        schedule: str,
        learning_rate: float,
        warmup_share: float = 0.0,
        final_share: float,
        epochs: int,
        shrink: float = 0.0,
        bias_shrink: float = 0.0,
        seed: int,
        history: str = "none",
        max_length: int = 50,
        first_session_weight: float = 1.0,
        targets: Float32 | None = None,
        pools: tuple[Int64, Int32, Float32 | None] | None = None,
        lists: tuple[Int64, Int32, Float32 | None] | None = None,
        given_users: Float32 | None = None,
        given_items: Float32 | None = None,
    ) -> None: ...
    @property
    def steps_per_epoch(self) -> int: ...
    @property
    def total_steps(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    def run_steps(self, count: int, num_threads: int = -1) -> tuple[int, int, float]: ...
    def finish(self, num_threads: int = -1) -> None: ...

class MultiTaskTrainer:
    def __init__(
        self,
        model: PairScorer,
        users: SideData,
        items: SideData,
        interactions: Interactions,
        *,
        targets: Float32,
        retrieval_weight: float,
        rating_weight: float,
        temperature: float,
        bias_table: int = -1,
        batch_size: int,
        group_size: int,
        logq_strength: float = 1.0,
        user_balance: float = 0.0,
        negatives: int = 0,
        popularity_share: float = 0.0,
        loss: str = "squared",
        delta: float = 1.0,
        optimizer: str,
        weight_decay: float = 0.0,
        schedule: str,
        learning_rate: float,
        warmup_share: float = 0.0,
        final_share: float,
        epochs: int,
        shrink: float = 0.0,
        bias_shrink: float = 0.0,
        seed: int,
        history: str = "none",
        max_length: int = 50,
        first_session_weight: float = 1.0,
        lists: tuple[Int64, Int32, Float32 | None] | None = None,
    ) -> None: ...
    @property
    def steps_per_epoch(self) -> int: ...
    @property
    def total_steps(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    def run_steps(self, count: int, num_threads: int = -1) -> tuple[int, int, float]: ...
    def finish(self, num_threads: int = -1) -> None: ...

class ItemIndex:
    def __init__(self, items: Float32, num_threads: int = -1, screen: bool | None = None) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def screened(self) -> bool: ...
    def append(self, items: Float32, *, num_threads: int = -1) -> None: ...
    def replace(self, rows: Int32, items: Float32, *, num_threads: int = -1) -> None: ...
    def top_k(
        self,
        queries: Float32,
        k: int,
        *,
        seen_of_query: Int32 | None = None,
        seen_offsets: Int64 | None = None,
        seen_items: Int32 | None = None,
        denied_of_query: Int32 | None = None,
        denied_offsets: Int64 | None = None,
        denied_items: Int32 | None = None,
        allowed: npt.NDArray[Any] | None = None,
        allowed_of_query: Int32 | None = None,
        allowed_offsets: Int64 | None = None,
        allowed_items: Int32 | None = None,
        num_threads: int = -1,
    ) -> tuple[Int32, Float32]: ...

def rank(
    scorer: PairScorer,
    users: Float32,
    items: Float32,
    offsets: Int64,
    candidates: Int32,
    k: int,
    given: Float32 | None = None,
    num_threads: int = -1,
) -> tuple[Int32, Float32]: ...
def rank_all(
    scorer: PairScorer,
    users: Float32,
    items: Float32,
    k: int,
    *,
    seen_of_query: Int32 | None = None,
    seen_offsets: Int64 | None = None,
    seen_items: Int32 | None = None,
    denied_of_query: Int32 | None = None,
    denied_offsets: Int64 | None = None,
    denied_items: Int32 | None = None,
    allowed: npt.NDArray[Any] | None = None,
    allowed_of_query: Int32 | None = None,
    allowed_offsets: Int64 | None = None,
    allowed_items: Int32 | None = None,
    num_threads: int = -1,
) -> tuple[Int32, Float32]: ...
def retrieve_and_rank(
    index: ItemIndex,
    queries: Float32,
    candidates: int,
    scorer: PairScorer,
    users: Float32,
    items: Float32,
    k: int,
    mean: float = 0.0,
    deviation: float = 1.0,
    *,
    seen_of_query: Int32 | None = None,
    seen_offsets: Int64 | None = None,
    seen_items: Int32 | None = None,
    denied_of_query: Int32 | None = None,
    denied_offsets: Int64 | None = None,
    denied_items: Int32 | None = None,
    allowed: npt.NDArray[Any] | None = None,
    allowed_of_query: Int32 | None = None,
    allowed_offsets: Int64 | None = None,
    allowed_items: Int32 | None = None,
    num_threads: int = -1,
) -> tuple[Int32, Float32]: ...
def explain(
    model: TwoTower,
    users: SideData,
    user_row: int,
    items: SideData,
    item_row: int,
    *,
    context: int | None = None,
    history: tuple[Int32, Float32 | None] | None = None,
) -> tuple[Float64, Float64, float, bool]: ...
def score_pairs(
    queries: Float32, items: Float32, query_rows: Int32, item_rows: Int32, *, num_threads: int = -1
) -> Float32: ...
def ranking_metrics(
    ranked: Int32,
    relevant_offsets: Int64,
    relevant_items: Int32,
    relevant_counts: Int64,
    metrics: Sequence[str],
    cutoffs: Sequence[int],
    *,
    num_threads: int = -1,
) -> Float64: ...
def catalogue_metrics(
    ranked: Int32, item_counts: Float64, metrics: Sequence[str], cutoffs: Sequence[int]
) -> Float64: ...

class SparseRows:
    def __init__(self, offsets: Int64, columns: Int32, values: Float32, num_columns: int) -> None: ...
    @staticmethod
    def of_pairs(
        rows: Int32, columns: Int32, values: Float32 | None, num_rows: int, num_columns: int
    ) -> SparseRows: ...
    @property
    def rows(self) -> int: ...
    @property
    def num_columns(self) -> int: ...
    @property
    def offsets(self) -> Int64: ...
    @property
    def columns(self) -> Int32: ...
    @property
    def values(self) -> Float32: ...
    def transposed(self) -> SparseRows: ...
    def times(self, other: SparseRows, *, num_threads: int = -1) -> SparseRows: ...
    def unit_rows(self) -> SparseRows: ...

class ImplicitAls:
    def __init__(
        self,
        positives: SparseRows,
        *,
        dim: int,
        deviation: float,
        regularization: float,
        unobserved_weight: float,
        frequency_exponent: float,
        seed: int,
    ) -> None: ...
    def sweep(self, *, num_threads: int = -1) -> None: ...
    @property
    def users(self) -> Float32: ...
    @property
    def items(self) -> Float32: ...

class GibbsSampler:
    def __init__(self, ratings: SparseRows, *, dim: int, seed: int) -> None: ...
    def sweep(self, *, num_threads: int = -1) -> None: ...
    @property
    def mean(self) -> float: ...
    @property
    def noise_precision(self) -> float: ...
    @property
    def users(self) -> Float32: ...
    @property
    def items(self) -> Float32: ...

def top_k_of_profiles(
    profiles: SparseRows,
    postings: SparseRows | Float32,
    queries: Int32,
    k: int,
    *,
    num_threads: int = -1,
    **filters: npt.NDArray[Any] | None,
) -> tuple[Int32, Float32]: ...
def score_profile_pairs(
    profiles: SparseRows, postings: SparseRows | Float32, queries: Int32, items: Int32, *, num_threads: int = -1
) -> Float32: ...
def item_neighbors(
    met: SparseRows, *, neighbors: int, likeness: str, shrink: float, num_threads: int = -1
) -> SparseRows: ...
def ease(met: SparseRows, *, regularization: float, num_threads: int = -1) -> Float32: ...
def fit_biases(
    ratings: SparseRows, *, user_shrink: float, item_shrink: float, num_threads: int = -1
) -> tuple[float, Float32, Float32]: ...
def diversify(
    offsets: Int64,
    items: Int32,
    scores: Float32,
    vectors: Float32,
    caps: Sequence[tuple[Int64, Int32, int, int]],
    *,
    k: int,
    trade_off: float,
    num_threads: int = -1,
) -> Int32: ...
