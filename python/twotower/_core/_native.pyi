# What every _core_v* module has; tests compare it with the loaded one.
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

isa: str
assertions: bool

def available_threads() -> int: ...

class Interactions:
    def __init__(
        self, user_rows: Int32, item_rows: Int32, weights: Float32 | None, num_users: int, num_items: int
    ) -> None: ...
    @property
    def num_users(self) -> int: ...
    @property
    def num_items(self) -> int: ...
    @property
    def num_positives(self) -> int: ...
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

class Input:
    @staticmethod
    def embedding(column: int, table: int, width: int) -> Input: ...
    @staticmethod
    def bag(column: int, table: int, width: int, pooling: str) -> Input: ...
    @staticmethod
    def numeric(column: int, width: int) -> Input: ...

class Tower:
    def __init__(self, *, inputs: Sequence[Input], concatenate: bool, width: int, layers: Sequence[Layer]) -> None: ...

class TwoTower:
    def __init__(
        self,
        *,
        query: Tower,
        item: Tower,
        tables: Sequence[tuple[str, int, int]],
        temperature: float,
        item_bias: bool,
        num_items: int,
        deviation: float,
        seed: int,
    ) -> None: ...
    @property
    def vector_width(self) -> int: ...
    def parameters(self) -> dict[str, Float32]: ...
    def set_parameters(self, parameters: Mapping[str, Float32]) -> None: ...
    def query_vectors(self, features: FeatureTable, rows: Int32, num_threads: int = -1) -> Float32: ...
    def item_vectors(self, features: FeatureTable, rows: Int32, num_threads: int = -1) -> Float32: ...

class Trainer:
    def __init__(
        self,
        model: TwoTower,
        users: FeatureTable,
        items: FeatureTable,
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

class PackedItems:
    def __init__(self, items: Float32, *, num_threads: int = -1) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def top_k(
        self,
        queries: Float32,
        k: int,
        *,
        seen_of_query: Int32 | None = None,
        seen_offsets: Int64 | None = None,
        seen_items: Int32 | None = None,
        allowed: npt.NDArray[Any] | None = None,
        num_threads: int = -1,
    ) -> tuple[Int32, Float32]: ...

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
