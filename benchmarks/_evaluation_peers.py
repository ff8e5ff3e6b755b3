"""The peers of evaluation_speed.py: run by the interpreter that has RecTools or LensKit, as `python _evaluation_peers.py NAME FILE`.

FILE is what evaluation_speed.py wrote: train and test pairs, vectors of users and items, lists. Every line that is read, `lists`
or `whole`, is answered by a line of JSON with the seconds that it took and the figures; the first line tells versions. Only
numpy and the peer are needed here, since the peers ask for versions of numpy and pandas that this package does not.
"""

# No annotations from the future: LensKit reads those of a component that is written inside a function.
import importlib.metadata
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Figures = dict[str, float]
Jobs = Mapping[str, Callable[[], Figures]]
CUTOFFS = (10, 100)


def rectools(data: Mapping[str, np.ndarray]) -> Jobs:
    """`calc_metrics` of a table of lists, and `VectorModel.recommend` before it."""
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.metrics import NDCG, Recall, calc_metrics
    from rectools.models.rank import Distance
    from rectools.models.vector import Factors, VectorModel

    class Given(VectorModel):  # type: ignore[type-arg]
        """Scores of given vectors, in the order of the data set's own ids."""

        u2i_dist = Distance.DOT
        recommend_n_threads = int(data["threads"])
        recommend_use_gpu_ranking = False

        def __init__(self) -> None:
            super().__init__()
            self.is_fitted = True

        def _fit(self, dataset: Dataset) -> None:
            raise NotImplementedError

        def _get_users_factors(self, dataset: Dataset) -> Factors:
            return Factors(user_vectors)

        def _get_items_factors(self, dataset: Dataset) -> Factors:
            return Factors(item_vectors)

    train, test = (
        pd.DataFrame({Columns.User: data[f"{part}_users"], Columns.Item: data[f"{part}_items"]})
        for part in ("train", "test")
    )
    dataset = Dataset.construct(train.assign(**{Columns.Weight: 1.0, Columns.Datetime: pd.Timestamp(0)}))
    user_vectors = data["user_vectors"][np.searchsorted(data["users"], dataset.user_id_map.external_ids)]
    item_vectors = data["item_vectors"][np.searchsorted(data["items"], dataset.item_id_map.external_ids)]
    measured = data["measured"]
    depth = data["lists"].shape[1]
    table = pd.DataFrame(
        {
            Columns.User: np.repeat(measured, depth),
            Columns.Item: data["lists"].ravel(),
            Columns.Rank: np.tile(np.arange(1, depth + 1), len(measured)),
        }
    )
    metrics = {f"recall@{k}": Recall(k=k) for k in CUTOFFS}
    metrics |= {f"ndcg@{k}": NDCG(k=k, divide_by_achievable=True) for k in CUTOFFS}

    def whole() -> Figures:
        lists = Given().recommend(users=measured, dataset=dataset, k=depth, filter_viewed=True)
        return dict(calc_metrics(metrics, reco=lists, interactions=test))

    return {"lists": lambda: dict(calc_metrics(metrics, reco=table, interactions=test)), "whole": whole}


def lenskit(data: Mapping[str, np.ndarray]) -> Jobs:
    """`RunAnalysis` of a collection of lists, and `batch.recommend` before it. Its recall divides by min(k, relevant items)."""
    import pandas as pd
    from lenskit import batch
    from lenskit.data import ItemList, ItemListCollection, QueryInput, RecQuery, UserIDKey, from_interactions_df
    from lenskit.metrics import NDCG, Recall, RunAnalysis
    from lenskit.metrics.ranking import LogRankWeight
    from lenskit.pipeline import Component, topn_pipeline

    rows = {int(user): row for row, user in enumerate(data["users"])}

    class Given(Component[ItemList]):
        """Scores of given vectors."""

        config: None

        def __call__(self, query: QueryInput, items: ItemList) -> ItemList:
            user = data["user_vectors"][rows[int(RecQuery.create(query).user_id)]]
            return ItemList(items, scores=data["item_vectors"][np.searchsorted(data["items"], items.ids())] @ user)

    train, test = (
        pd.DataFrame({"user_id": data[f"{part}_users"], "item_id": data[f"{part}_items"]}) for part in ("train", "test")
    )
    depth = data["lists"].shape[1]
    pipeline = topn_pipeline(Given(), n=depth)
    pipeline.train(from_interactions_df(train))
    truth = ItemListCollection.from_df(test, UserIDKey)
    given: Any = ItemListCollection.empty(UserIDKey)
    for user, items in zip(data["measured"], data["lists"], strict=True):
        given.add(ItemList(items, ordered=True), user_id=int(user))
    users = data["measured"].tolist()

    def measure(lists: Any) -> Figures:
        analysis = RunAnalysis()
        for k in CUTOFFS:
            analysis.add_metric(Recall(n=k), label=f"capped_recall@{k}")
            analysis.add_metric(NDCG(n=k, weight=LogRankWeight(offset=1)), label=f"ndcg@{k}")
        means = analysis.measure(lists, truth).list_summary()["mean"]
        return {name: float(value) for name, value in means.items()}

    return {
        "lists": lambda: measure(given),
        "whole": lambda: measure(batch.recommend(pipeline, users, n=depth, n_jobs=int(data["lenskit_jobs"]))),
    }


PEERS = {"rectools": rectools, "lenskit": lenskit}


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    name, path = sys.argv[1:]
    answers = sys.stdout
    sys.stdout = sys.stderr  # what the peer prints is no answer
    with np.load(path) as file:
        jobs = PEERS[name](dict(file))
    versions = [f"{package} {importlib.metadata.version(package)}" for package in (name, "numpy", "pandas")]
    print(json.dumps({"versions": versions}), file=answers, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        figures = jobs[line.strip()]()
        seconds = time.perf_counter() - start
        print(
            json.dumps({"seconds": seconds, "figures": {key: float(value) for key, value in figures.items()}}),
            file=answers,
            flush=True,
        )


if __name__ == "__main__":
    main()
