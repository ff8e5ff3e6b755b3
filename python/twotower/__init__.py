"""Two-tower recommenders with a C++ core: `fit` and `recommend` on data frames.

>>> import twotower as tt
>>> data = tt.datasets.synthetic(num_users=200, num_items=80, num_interactions=4000)
>>> model = tt.TwoTower(epochs=2, random_state=0, verbose=0).fit(data.ratings)
>>> list(model.recommend([1], k=2).columns)
['user_id', 'item_id', 'score', 'rank']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Public name -> the module that has it; imported when it is first asked for, so that `import twotower` stays quick.
_HOME = {
    "BayesianMF": "models",
    "BiasModel": "models",
    "CFNN": "models",
    "Categories": "schema",
    "Category": "schema",
    "ContentBased": "models",
    "DeepNCF": "models",
    "EASE": "models",
    "History": "schema",
    "Hybrid": "models",
    "Id": "schema",
    "ImplicitALS": "models",
    "ItemIndex": "item_index",
    "ItemKNN": "models",
    "MatrixFactorization": "models",
    "MultiTask": "models",
    "NeuMF": "models",
    "Numeric": "schema",
    "Popularity": "models",
    "Ranker": "models",
    "RatingModel": "models",
    "Text": "schema",
    "Timestamp": "schema",
    "TransformerRecommender": "models",
    "TwoStage": "models",
    "TwoTower": "models",
    "Vector": "schema",
    "cpu_info": "cpu",
    "datasets": "datasets",
    "diversify": "models",
    "errors": "errors",
    "evaluate": "evaluation.evaluate",
    "features": "features",
    "load": "models",
    "plotting": "plotting",
    "split": "evaluation.split",
}
_MODULES = frozenset({"datasets", "errors", "features", "plotting", "split"})

__all__ = [
    "CFNN",
    "EASE",
    "BayesianMF",
    "BiasModel",
    "Categories",
    "Category",
    "ContentBased",
    "DeepNCF",
    "History",
    "Hybrid",
    "Id",
    "ImplicitALS",
    "ItemIndex",
    "ItemKNN",
    "MatrixFactorization",
    "MultiTask",
    "NeuMF",
    "Numeric",
    "Popularity",
    "Ranker",
    "RatingModel",
    "Text",
    "Timestamp",
    "TransformerRecommender",
    "TwoStage",
    "TwoTower",
    "Vector",
    "__version__",
    "cpu_info",
    "datasets",
    "diversify",
    "errors",
    "evaluate",
    "features",
    "load",
    "plotting",
    "split",
]

if TYPE_CHECKING:
    __version__: str
    from twotower import datasets, errors, features, plotting
    from twotower.cpu import cpu_info
    from twotower.evaluation import split
    from twotower.evaluation.evaluate import evaluate
    from twotower.item_index import ItemIndex
    from twotower.models import (
        CFNN,
        EASE,
        BayesianMF,
        BiasModel,
        ContentBased,
        DeepNCF,
        Hybrid,
        ImplicitALS,
        ItemKNN,
        MatrixFactorization,
        MultiTask,
        NeuMF,
        Popularity,
        Ranker,
        RatingModel,
        TransformerRecommender,
        TwoStage,
        TwoTower,
        diversify,
        load,
    )
    from twotower.schema import Categories, Category, History, Id, Numeric, Text, Timestamp, Vector


def _version() -> str:
    # Nine tenths of the time of an import would go into importlib.metadata.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("twotower")
    except PackageNotFoundError:  # a source tree on the path
        return "0+unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        globals()[name] = _version()
        return globals()[name]
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'twotower' has no attribute {name!r}; the public names are {', '.join(_HOME)}")
    module = importlib.import_module(f"twotower.{home}")
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
