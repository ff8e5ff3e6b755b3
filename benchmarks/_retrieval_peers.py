"""Who takes part in retrieval_speed.py: this package's index in its modes, and the peers, each a function of a case."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

import _common as common
from twotower._core import core

torch = common.optional_module("torch")
faiss = common.optional_module("faiss")
implicit_topk = common.optional_module("implicit.cpu.topk")
sparse = common.optional_module("scipy.sparse")
usearch = common.optional_module("usearch.index")

SEEN = 100
SCORES_AT_ONCE = 2**27  # of torch and numpy: half a gigabyte
USEARCH_AT_ONCE = 2**28  # pairs: it holds 16 bytes for each
USEARCH_ITEMS = 100_000  # more of them take minutes

Lists = tuple[np.ndarray, np.ndarray]  # items (queries, K), scores (queries, K)


@dataclass(frozen=True)
class Case:
    """Queries of a catalogue, and what each has seen: SEEN ascending items a query, or nothing."""

    items: np.ndarray  # float32 (n, d)
    queries: np.ndarray  # float32 (q, d)
    k: int
    seen: np.ndarray | None = None  # int32 (q, SEEN)
    one_at_a_time: bool = False

    @property
    def flops(self) -> float:
        return 2.0 * len(self.items) * self.queries.size

    @functools.cached_property
    def seen_matrix(self) -> sparse.csr_matrix | None:
        if self.seen is None:
            return None
        ones, offsets = np.ones(self.seen.size, dtype=np.float32), np.arange(len(self.seen) + 1) * SEEN
        return sparse.csr_matrix((ones, self.seen.ravel(), offsets), shape=(len(self.seen), len(self.items)))

    def blocks(self, scores_at_once: int) -> list[slice]:
        step = max(1, scores_at_once // len(self.items))
        return [slice(begin, min(begin + step, len(self.queries))) for begin in range(0, len(self.queries), step)]


Search = Callable[[Case], Lists]


# --- ours -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    """Our index in one mode, and what it took to make."""

    index: core.ItemIndex
    seconds: float
    peak_bytes: int  # of memory while it was made, less what there was before


def our_modes() -> dict[str, Callable[[np.ndarray, int], Index]]:
    """A maker for every mode that this build has; on a CPU that lacks a mode's instructions it raises."""
    if "screen" not in (core.ItemIndex.__init__.__doc__ or ""):
        return {"fp32": functools.partial(_made, {})}
    return {name: functools.partial(_made, {"screen": screen}) for name, screen in (("fp32", False), ("int8", True))}


def our_indexes(items: np.ndarray, threads: int) -> tuple[dict[str, Index], str, list[str]]:
    """Every mode that this build and CPU have, which one a user gets, and what is missing."""
    makers = our_modes()
    missing = [] if "int8" in makers else ["twotower int8: this build's ItemIndex has no screened mode"]
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make(items, threads)
        except (ValueError, RuntimeError) as error:
            missing.append(f"twotower {name}: {error}")
    screened = "int8" in found and core.ItemIndex(items, num_threads=threads).screened
    return found, "int8" if screened else "fp32", missing


def _made(mode: Mapping[str, bool], items: np.ndarray, threads: int) -> Index:
    before = common.reset_peak()
    start = time.perf_counter()
    index = core.ItemIndex(items, num_threads=threads, **mode)
    return Index(index, time.perf_counter() - start, common.resident("VmHWM") - before)


def ours(index: core.ItemIndex, threads: int) -> Search:
    def search(case: Case) -> Lists:
        filters = {}
        if case.seen is not None:
            count = len(case.queries)
            filters = {
                "seen_of_query": np.arange(count, dtype=np.int32),
                "seen_offsets": np.arange(count + 1, dtype=np.int64) * SEEN,
                "seen_items": case.seen.ravel(),
            }
        return index.top_k(case.queries, case.k, **filters, num_threads=threads)

    return search


# --- the others -------------------------------------------------------------------------------------------------------


def peers(items: np.ndarray, threads: int) -> dict[str, Search]:
    """Those that are installed."""
    found: dict[str, Search] = {}
    if faiss is not None:
        flat = faiss.IndexFlatIP(items.shape[1])
        flat.add(items)
        found["faiss IndexFlatIP"] = faiss_search(flat, threads, None)
        found["faiss, blas_threshold 0"] = faiss_search(flat, threads, 0)
        if hasattr(faiss, "IndexFlatIPPanorama"):
            panorama = faiss.IndexFlatIPPanorama(items.shape[1], 8)  # levels: 8 dimensions each, or 16
            panorama.add(items)
            found["faiss IndexFlatIPPanorama"] = faiss_search(panorama, threads, None)
    if implicit_topk is not None:
        found["implicit topk"] = functools.partial(implicit_search, threads=threads)
    if torch is not None:
        found["torch mm + topk"] = functools.partial(torch_search, threads=threads)
    if usearch is not None and len(items) <= USEARCH_ITEMS:
        found["usearch exact"] = functools.partial(usearch_search, threads=threads)
    found["numpy argpartition"] = functools.partial(numpy_search, threads=threads)
    return found


def not_installed() -> list[str]:
    modules = {"faiss-cpu": faiss, "implicit": implicit_topk, "torch": torch, "usearch": usearch}
    return [name for name, module in modules.items() if module is None]


def faiss_search(index: faiss.Index, threads: int, blas_threshold: int | None) -> Search:
    default = faiss.cvar.distance_compute_blas_threshold

    def search(case: Case) -> Lists:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = default if blas_threshold is None else blas_threshold
        scores, rows = index.search(case.queries, case.k + (0 if case.seen is None else SEEN))
        faiss.cvar.distance_compute_blas_threshold = default
        return (rows, scores) if case.seen is None else _without_seen(rows, scores, case)

    return search


def _without_seen(rows: np.ndarray, scores: np.ndarray, case: Case) -> Lists:
    """The first K of each list that the query has not seen."""
    count = len(rows)
    query = np.arange(count, dtype=np.int64)[:, None] * len(case.items)
    keys = (query + case.seen).ravel()  # ascending, since each query's items are
    found = query + rows
    places = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    is_new = keys[places] != found
    kept = is_new & (np.cumsum(is_new, axis=1) <= case.k)
    return rows[kept].reshape(count, case.k), scores[kept].reshape(count, case.k)


def implicit_search(case: Case, threads: int) -> Lists:
    with common.blas_threads(1):  # it has threads of its own; its manual asks for this
        return implicit_topk.topk(
            case.items, case.queries, case.k, num_threads=threads, filter_query_items=case.seen_matrix
        )


def torch_search(case: Case, threads: int) -> Lists:
    torch.set_num_threads(threads)
    items, queries = torch.from_numpy(case.items), torch.from_numpy(case.queries)
    seen = None if case.seen is None else torch.from_numpy(case.seen.astype(np.int64))
    parts = []
    for block in case.blocks(SCORES_AT_ONCE):
        scores = queries[block] @ items.T
        if seen is not None:
            scores.scatter_(1, seen[block], -torch.inf)
        parts.append(torch.topk(scores, case.k))
    return torch.cat([part.indices for part in parts]).numpy(), torch.cat([part.values for part in parts]).numpy()


def usearch_search(case: Case, threads: int) -> Lists:
    """Its distance is 1 less the product; what has been seen is dropped as for faiss."""
    parts = []
    for block in case.blocks(USEARCH_AT_ONCE):
        part = case if case.seen is None else replace(case, queries=case.queries[block], seen=case.seen[block])
        asked = case.k + (0 if case.seen is None else SEEN)
        matches = usearch.search(
            case.items, case.queries[block], asked, usearch.MetricKind.IP, exact=True, threads=threads
        )
        rows, scores = (
            np.atleast_2d(matches.keys).astype(np.int64),
            np.float32(1) - np.atleast_2d(matches.distances),
        )
        parts.append((rows, scores) if case.seen is None else _without_seen(rows, scores, part))
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([scores for _, scores in parts])


def numpy_search(case: Case, threads: int) -> Lists:
    parts = []
    with common.blas_threads(threads):
        for block in case.blocks(SCORES_AT_ONCE):
            scores = case.queries[block] @ case.items.T
            if case.seen is not None:
                np.put_along_axis(scores, case.seen[block], -np.inf, axis=1)
            rows = np.argpartition(scores, -case.k, axis=1)[:, -case.k :]
            values = np.take_along_axis(scores, rows, axis=1)
            order = np.argsort(-values, axis=1)
            parts.append((np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)))
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([values for _, values in parts])


def one_by_one(search: Search) -> Search:
    """The same, a call a query."""

    def searches(case: Case) -> Lists:
        parts = [search(replace(case, queries=query[None])) for query in case.queries]
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([scores for _, scores in parts])

    return searches


# --- do all give the same? --------------------------------------------------------------------------------------------


def differences(lists: Lists, reference: Lists, case: Case, name: str) -> int:
    """Places where another item stands because scores tie to rounding; a wrong list ends the program."""
    (rows, scores), (right_rows, right_scores) = lists, reference
    # The bound of a dot product's rounding error, for both sides: sum of |products| at most |u| |v|. usearch adds 1.
    lengths = np.linalg.norm(case.queries, axis=1, keepdims=True) * np.linalg.norm(case.items, axis=1).max()
    slack = 2 * case.items.shape[1] * np.finfo(np.float32).eps * (lengths + 1)
    if rows.shape != right_rows.shape or not (np.abs(scores - right_scores) <= slack).all():
        raise SystemExit(f"{name}: scores differ by more than rounding")
    own = np.einsum("qd,qkd->qk", case.queries[:64], case.items[rows[:64]])
    if not (np.abs(own - scores[:64]) <= slack[:64]).all():
        raise SystemExit(f"{name}: scores do not belong to the items beside them")
    if case.seen is not None:
        keys = np.arange(len(rows), dtype=np.int64)[:, None] * len(case.items)
        if np.isin(keys + rows, keys + case.seen).any():
            raise SystemExit(f"{name}: a seen item came back")
    return int(np.count_nonzero(rows != right_rows))


def check_same_bits(lists: Lists, reference: Lists, name: str) -> None:
    """Our modes give the same items and the same bits of scores."""
    (rows, scores), (right_rows, right_scores) = lists, reference
    if not (np.array_equal(rows, right_rows) and np.array_equal(scores.view(np.int32), right_scores.view(np.int32))):
        raise SystemExit(f"{name}: not the ids and bits of the fp32 path")
