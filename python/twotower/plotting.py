"""Draw what a fit, an evaluation and a table of interactions look like.

Every function draws on the axes that it is given, or on those of a new figure, and returns them. Nothing is shown or saved, and
no global setting of matplotlib is read or changed: `axes.figure.savefig("curve.png")` writes the picture, and in a notebook
`axes.figure` as the last line of a cell shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower import frames
from twotower.errors import DataError, NotFittedError, SchemaError
from twotower.evaluation._metrics import RATING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["feature_crosses", "feature_importance", "learning_curve", "long_tail", "recall_curves"]

# Told apart by people with any color vision, and in gray by their line styles (Okabe and Ito 2008, without the yellow).
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_GRID = "#d9d9d9"
_QUIET = "#595959"


def learning_curve(model: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the loss by epoch and, where `fit` had an `eval_set`, the validation metric.

    Parameters
    ----------
    model : TwoTower, Ranker, RatingModel
        Fitted.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        With the loss on the left. The metric is on the right, on axes of its own, with a dot on its best epoch.

    Raises
    ------
    NotFittedError, TypeError
        `model` is not fitted, or has no learning curve.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import twotower as tt
    >>> from twotower import plotting
    >>> train, valid = tt.split.random(tt.datasets.synthetic(200, 100, 4_000).ratings, test=0.1)
    >>> model = tt.TwoTower(epochs=10, verbose=0).fit(train, eval_set=valid)
    >>> axes = plotting.learning_curve(model)
    >>> axes.get_xlabel(), axes.get_ylabel()
    ('epoch', 'loss')
    """
    curve = _curve("learning_curve", model)
    ax = _axes("learning_curve", ax)
    names = [name for name in curve.columns if name not in ("epoch", "loss")]
    epochs = curve.get_column("epoch").to_numpy()
    _dress(ax)
    _whole_numbers(ax)
    lines = ax.plot(epochs, curve.get_column("loss").to_numpy(), color=_COLORS[0], label="loss", marker=_marker(epochs))
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss", color=_COLORS[0])
    if names:
        right = ax.twinx()
        right.spines[["top", "left", "bottom"]].set_visible(False)
        right.spines["right"].set_color(_GRID)
        right.tick_params(length=0, labelcolor=_QUIET)
        for number, name in enumerate(names, start=1):
            values = curve.get_column(name).to_numpy()
            best = int(np.argmin(values) if name in RATING else np.argmax(values))
            label = f"{name} on the validation set (best: epoch {epochs[best]})"
            style = {"color": _COLORS[number % len(_COLORS)], "linestyle": _DASHES[number % len(_DASHES)]}
            lines += right.plot(epochs, values, label=label, marker=_marker(epochs), **style)
            right.plot(epochs[best], values[best], "o", color=style["color"], markersize=7)
        right.set_ylabel(", ".join(names), color=_COLORS[1] if len(names) == 1 else _QUIET)
        right.set_ylim(bottom=0, top=1.25 * max(right.get_ylim()[1], 1e-9))
        ax.set_ylim(top=ax.get_ylim()[1] + 0.15 * np.ptp(ax.get_ylim()))
        right.legend(handles=lines, frameon=False, loc="upper center")
    ax.set_title("Learning curve", loc="left")
    return ax


def feature_importance(table: Any, *, k: int = 20, ax: Axes | None = None) -> Axes:
    """Draw what each feature is worth, the most important on top.

    Parameters
    ----------
    table : DataFrame
        What ``model.feature_importance(test)`` returned.
    k : int, at least 1
        At most so many features, the most important.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        A bar a feature, of the color of its side.

    Raises
    ------
    SchemaError, TypeError
        `table` is something else.
    ValueError
        `k` is below 1.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import twotower as tt
    >>> from twotower import plotting
    >>> train, test = tt.split.random(tt.datasets.synthetic(200, 100, 4_000).ratings)
    >>> model = tt.TwoTower(epochs=2, random_state=0, verbose=0).fit(train)
    >>> axes = plotting.feature_importance(model.feature_importance(test))
    >>> sorted(label.get_text() for label in axes.get_yticklabels())
    ['item_id', 'user_id']
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"feature_importance: k is {k!r}, but must be an integer of at least 1")
    if not frames.is_table(table):
        raise TypeError(
            f"feature_importance: table is a {type(table).__name__}, but must be a table; give what "
            "model.feature_importance(test) returned"
        )
    frame = frames.table(table, "feature_importance: table")
    if "importance" not in frame.columns:
        cure = (
            "draw what method='cross' returns with feature_crosses(model)"
            if "side" in frame.columns
            else ("give what model.feature_importance(test) returned")
        )
        raise SchemaError(f"feature_importance: table has no column 'importance'; {cure}")
    sides, names = (
        [str(name) for name in frames.column(frame, column, "feature_importance: table").to_list()[:k]]
        for column in ("side", "feature")
    )
    values = frame.get_column("importance").to_numpy()[:k]
    labels = [name if names.count(name) == 1 else f"{name} ({side})" for side, name in zip(sides, names, strict=True)]
    ax = _axes("feature_importance", ax)
    _dress(ax)
    ax.grid(visible=False, axis="y")
    for side in sorted(set(sides), key=_place_of_side):
        places = [place for place, other in enumerate(sides) if other == side]
        ax.barh(places, values[places], color=_COLORS[_place_of_side(side)], label=side, height=0.7)
    ax.axvline(0, color=_QUIET, linewidth=0.8)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_xlabel("what the model loses without it")
    ax.set_title("Feature importance", loc="left")
    ax.legend(frameon=False, loc="lower right")
    return ax


def feature_crosses(model: Any, *, ax: Axes | None = None) -> Axes:
    """Draw which features a model's first cross layer multiplies with which: DCN-v2's map of feature interactions.

    Parameters
    ----------
    model : Ranker, TwoTower, TwoStage
        Fitted, with ``interaction="dcn"``, with ``cross_layers``, or with such a ranker. Of a `TwoTower` each tower has its own
        layer: the map has two blocks, and nothing between features of different towers.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        A row and a column a feature; the darker, the larger the norm of their block of the layer's matrix.

    Raises
    ------
    NotFittedError, ValueError
        `model` is not fitted, or has no cross layers.
    TypeError
        `model` has no features to weigh.
    ImportError
        matplotlib is not installed.

    Notes
    -----
    Wang et al. 2021, "DCN V2", figure 7. The numbers are those of ``model.feature_importance(method="cross")``.

    Examples
    --------
    >>> import twotower as tt
    >>> from twotower import plotting
    >>> data = tt.datasets.synthetic(200, 100, 4_000)
    >>> model = tt.Ranker(loss="bpr", epochs=1, verbose=0).fit(data.ratings)
    >>> [label.get_text() for label in plotting.feature_crosses(model).get_xticklabels()]
    ['user_id', 'item_id']
    """
    if not hasattr(model, "feature_importance"):
        raise TypeError(
            f"feature_crosses: model is a {type(model).__name__}, which has no features to weigh; give a Ranker, or a TwoTower "
            "with cross layers"
        )
    table = frames.table(model.feature_importance(method="cross"), "feature_crosses")
    names = [str(name) for name in table.get_column("feature").to_list()]
    norms = np.column_stack([table.get_column(name).to_numpy() for name in names])
    ax = _axes("feature_crosses", ax, height=5.4)  # names stand below too
    image = ax.imshow(norms, cmap="Blues", vmin=0)  # where there is no number, nothing is drawn
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelcolor=_QUIET)
    ax.figure.colorbar(image, ax=ax, label="norm of the block", fraction=0.046).outline.set_visible(False)
    ax.set_title("What the first cross layer multiplies", loc="left")
    return ax


def recall_curves(
    models: Any,
    test: Any,
    *,
    ks: Iterable[int] = range(1, 101),
    metric: str = "recall",
    filter_seen: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw recall, or another metric, over the length of the lists.

    Parameters
    ----------
    models : model, list of models, or dict of name to model
        Fitted; as `evaluate` takes them. A line each, in this order.
    test : DataFrame
        Interactions that the models have not seen.
    ks : ints, each at least 1
        Lengths of the lists.
    metric : str
        A metric of `evaluate`, without its cut-off: ``"recall"``, ``"ndcg"``, ``"hit_rate"``, ...
    filter_seen : bool
        Leave out of the lists what the user has in the interactions of `fit`.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The title says over how many users the mean was taken.

    Raises
    ------
    ValueError
        `ks` is empty, or `metric` is unknown.
    ImportError
        matplotlib is not installed.
    Exception
        Whatever else `evaluate` raises.

    Notes
    -----
    Cost: that of `evaluate` with the largest of `ks`; all lengths are measured in one pass.

    Examples
    --------
    >>> import twotower as tt
    >>> from twotower import plotting
    >>> train, test = tt.split.random(tt.datasets.synthetic(200, 100, 4_000).ratings)
    >>> axes = plotting.recall_curves(tt.Popularity().fit(train), test, ks=range(1, 51))
    >>> [len(line.get_xdata()) for line in axes.lines]
    [50]
    """
    lengths = sorted({int(k) for k in ks})
    if not lengths:
        raise ValueError("recall_curves: ks is empty, but must have at least one length of list, such as 10")
    from twotower.evaluation.evaluate import evaluate

    ax = _axes("recall_curves", ax)
    labels = [f"{metric}@{k}" for k in lengths]
    table = frames.table(evaluate(models, test, labels, filter_seen=filter_seen), "recall_curves: the metrics")
    names = table.get_column("model").to_list()
    values = np.stack([table.get_column(label).to_numpy() for label in labels], axis=1)  # (models, ks)
    _dress(ax)
    _whole_numbers(ax)
    for number, (name, line) in enumerate(zip(names, values, strict=True)):
        style = {"color": _COLORS[number % len(_COLORS)], "linestyle": _DASHES[number % len(_DASHES)]}
        ax.plot(lengths, line, label=name, marker="o" if len(lengths) == 1 else "", **style)
    if len(lengths) > 1:
        ax.set_xlim(0 if lengths[0] == 1 else lengths[0], lengths[-1])
    ax.set_ylim(bottom=0)
    ax.set_xlabel("k, the length of the lists")
    ax.set_ylabel(f"{metric}@k")
    ax.set_title(f"{metric}@k, mean of {table.get_column('users').to_list()[0]:,} test users", loc="left")
    ax.legend(frameon=False, loc="lower right" if len(lengths) > 1 else "best")
    return ax


def long_tail(interactions: Any, *, item_col: str = "item_id", ax: Axes | None = None) -> Axes:
    """Draw how many interactions the items have, from the most popular one down, on logarithmic axes.

    Parameters
    ----------
    interactions : DataFrame
        One row an interaction; pandas, polars or pyarrow.
    item_col : str
        Column of item ids; rows without one are passed over.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The title says what share of the interactions the most popular tenth of the items has.

    Raises
    ------
    SchemaError, DataError
        The column is missing; there is no interaction.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import twotower as tt
    >>> from twotower import plotting
    >>> axes = plotting.long_tail(tt.datasets.synthetic(200, 100, 4_000).ratings)
    >>> axes.get_xscale(), axes.get_yscale()
    ('log', 'log')
    """
    from twotower.vocabulary import Vocabulary

    column = frames.column(frames.table(interactions, "long_tail: interactions"), item_col, "long_tail: interactions")
    vocabulary = Vocabulary.fit(column, f"long_tail: {item_col!r}", missing="skip")
    if not vocabulary.size:
        raise DataError("long_tail: interactions has no row with an item, but must have at least one")
    rows = vocabulary.encode(column)
    counts = np.sort(np.bincount(rows[rows >= 0], minlength=vocabulary.size))[::-1]
    top = -(-len(counts) // 10)
    share = counts[:top].sum() / counts.sum()

    ax = _axes("long_tail", ax)
    _dress(ax)
    ranks = np.arange(1, len(counts) + 1)
    ax.loglog(ranks, counts, color=_COLORS[0], marker="o" if len(counts) == 1 else "")
    ax.fill_between(ranks[:top], counts[:top], 0.5, color=_COLORS[0], alpha=0.15, linewidth=0)
    ax.set_xlim(1, max(2, len(counts)))
    ax.set_ylim(bottom=0.8)
    ax.set_xlabel("item, by falling popularity")
    ax.set_ylabel("interactions")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:,.0f}")
    ax.set_title(
        f"Long tail: the top {top:,} of {len(counts):,} items have {share:.0%} of the interactions", loc="left"
    )
    return ax


def _axes(function: str, ax: Axes | None, height: float = 4.0) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{function}: matplotlib is not installed; run pip install 'twotower[plot]'") from error
    # A figure of its own: pyplot would keep it, and would pick a window system.
    return Figure(figsize=(6.4, height), layout="constrained").subplots()


def _place_of_side(side: str) -> int:
    """A side has the same color in every picture."""
    known = ("user", "item", "context", "retriever")
    return known.index(side) if side in known else len(known)


def _curve(function: str, model: Any) -> frames.Frame:
    try:
        curve = model.learning_curve_
    except NotFittedError:
        raise
    except AttributeError:
        name = type(model).__name__
        raise TypeError(f"{function}: model is a {name}, which has no learning curve; give a fitted TwoTower") from None
    return frames.table(curve, f"{function}: learning_curve_")


def _dress(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_GRID)
    ax.grid(color=_GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", length=0, labelcolor=_QUIET)


def _whole_numbers(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _marker(epochs: np.ndarray) -> str:
    # A line of one point would not be seen.
    return "o" if len(epochs) == 1 else ""
