"""Made-up ratings with a known best answer: long tail, features that matter, taste that they do not tell, drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twotower.datasets import _tables
from twotower.datasets._draws import Catalogue, draw_items
from twotower.datasets._titles import GENRE_WEIGHTS, GENRES, make_titles

_START_S = 1_577_836_800  # 2020-01-01 UTC
_PERIODS = 64
_PERIOD_S = 14 * 86_400
_HIDDEN = 6  # dimensions of taste that no feature tells
_OCCUPATIONS = (
    "artist chef doctor engineer farmer lawyer librarian mechanic musician nurse retired scientist student teacher "
    "writer"
)
# Purposes of the random streams: drawing more interactions leaves users and items as they are.
_USERS, _ITEMS, _TITLES, _YEARS, _SESSIONS, _CHOICES, _RATINGS = range(7)


@dataclass(frozen=True, eq=False, repr=False)
class Truth:
    """How the interactions were drawn, and so the best that any model can do.

    At time t the next item of user u is i with a probability proportional to ``exp(scores[u, i])`` where ::

        scores[u, i] = dot(user_factors[u], item_factors[i]) + log_popularity[period(t), i]

    among the items that are out at t and that u has not had. So no ranking has a larger expected number of hits at any
    cut-off than the one by falling score.

    Attributes
    ----------
    user_ids : int64 (num_users,)
    item_ids : int64 (num_items,)
    user_factors : float64 (num_users, width)
        Taste. The first 18 columns are the genres: what gender, age and occupation give, and a personal part; the rest
        is personal.
    item_factors : float64 (num_items, width)
        The genres, and a style that no column of the items shows.
    log_popularity : float64 (num_periods, num_items)
        By period of 14 days; minus infinity before an item is out.
    start_s, period_s : int
        Time of the first period, and the length of each, in seconds.
    """

    user_ids: NDArray[np.int64]
    item_ids: NDArray[np.int64]
    user_factors: NDArray[np.float64]
    item_factors: NDArray[np.float64]
    log_popularity: NDArray[np.float64]
    start_s: int = _START_S
    period_s: int = _PERIOD_S

    def __repr__(self) -> str:
        return (
            f"Truth({len(self.user_ids)} users, {len(self.item_ids)} items, "
            f"{self.user_factors.shape[1]} factors, {len(self.log_popularity)} periods)"
        )

    def scores(self, users: ArrayLike | None = None, *, timestamp: int | None = None) -> NDArray[np.float64]:
        """Return the true scores.

        Parameters
        ----------
        users : ids (n,), optional
            Default: every user, in the order of `user_ids`.
        timestamp : int, optional
            Seconds since 1970 UTC. Default: the last period.

        Returns
        -------
        float64 (n, num_items)
            Minus infinity for items that are not out at `timestamp`.

        Raises
        ------
        ValueError
            A user is unknown.
        """
        rows = np.arange(len(self.user_ids)) if users is None else self._rows(users)
        affinity = self.user_factors[rows] @ self.item_factors.T
        return np.asarray(affinity + self.log_popularity[self._period(timestamp)])

    def best_lists(
        self, k: int = 10, *, users: ArrayLike | None = None, timestamp: int | None = None, seen: Any = None
    ) -> NDArray[np.int64]:
        """Return the exact best `k` items of each user, best first.

        Parameters
        ----------
        k : int, at least 1
        users : ids (n,), optional
            Default: every user, in the order of `user_ids`.
        timestamp : int, optional
            As in `scores`.
        seen : DataFrame, optional
            Interactions to leave out, with columns ``user_id`` and ``item_id``.

        Returns
        -------
        int64 (n, k)
            Item ids; ties by the smaller one. Where fewer than `k` items are left: -1.
        """
        if k < 1:
            raise ValueError(f"best_lists: k is {k}, but must be at least 1")
        rows = np.arange(len(self.user_ids)) if users is None else self._rows(users)
        seen_users = np.empty(0, np.int64) if seen is None else np.asarray(seen["user_id"]) - 1
        seen_items = np.empty(0, np.int64) if seen is None else np.asarray(seen["item_id"]) - 1
        order = np.argsort(seen_users, kind="stable")
        seen_users, seen_items = seen_users[order], seen_items[order]
        lists = np.full((len(rows), k), -1, np.int64)
        block = max(1, (1 << 22) // len(self.item_ids))
        for first in range(0, len(rows), block):
            some = rows[first : first + block]
            scores = self.scores(self.user_ids[some], timestamp=timestamp)
            lows, highs = np.searchsorted(seen_users, some), np.searchsorted(seen_users, some, side="right")
            for row, (low, high) in enumerate(zip(lows, highs, strict=True)):
                scores[row, seen_items[low:high]] = -np.inf
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            left = np.isfinite(np.take_along_axis(scores, best, axis=1))
            lists[first : first + block, : best.shape[1]] = np.where(left, self.item_ids[best], -1)
        return lists

    def _rows(self, users: ArrayLike) -> NDArray[np.int64]:
        rows = np.asarray(users) - 1
        unknown = (rows < 0) | (rows >= len(self.user_ids))
        if unknown.any():
            raise ValueError(
                f"synthetic: user {rows[unknown][0] + 1} is unknown, but users must be from 1 to {len(self.user_ids)}"
            )
        return rows

    def _period(self, timestamp: int | None) -> int:
        last = len(self.log_popularity) - 1
        return last if timestamp is None else min(max((timestamp - self.start_s) // self.period_s, 0), last)


@dataclass(frozen=True, eq=False, repr=False)
class Synthetic:
    """Made-up ratings, the tables that go with them, and the truth behind them.

    Attributes
    ----------
    kind : str
        Frame library of the tables: ``"pandas"``, ``"polars"`` or ``"pyarrow"``.
    ratings : DataFrame
        user_id (int64), item_id (int64), rating (float64, 1 to 5), timestamp (int64, seconds since 1970 UTC); by user,
        and by time within each. No pair comes twice.
    users : DataFrame
        user_id (int64, from 1), gender (``"F"`` or ``"M"``), age (int64, years), occupation (text).
    items : DataFrame
        item_id (int64, from 1), title (text), year (integer), genres (list of text).
    truth : Truth
        How they were drawn.
    """

    kind: str
    ratings: Any
    users: Any
    items: Any
    truth: Truth

    def __repr__(self) -> str:
        tables = {"ratings": self.ratings, "users": self.users, "items": self.items}
        return _tables.describe("Synthetic", self.kind, tables)


def synthetic(
    num_users: int = 2_000,
    num_items: int = 1_000,
    num_interactions: int = 60_000,
    *,
    random_state: int = 0,
    kind: str | None = None,
) -> Synthetic:
    """Draw ratings from a model of choice that is known in every part.

    Parameters
    ----------
    num_users, num_items : int, at least 1
    num_interactions : int, at least 0
        Rows of the ratings, at most half of all pairs. Users differ in how many they have (log-normal), and have five
        at least where there are so many.
    random_state : int, at least 0
        Seed. The same seed and sizes give the same tables.
    kind : {"pandas", "polars", "pyarrow"}, optional
        Library of the tables. Default: the first of these three that is installed.

    Returns
    -------
    Synthetic
        With the tables `ratings`, `users`, `items` and the `truth`.

    Raises
    ------
    ValueError
        A size or the seed is out of its range, or `kind` is unknown.

    Notes
    -----
    Items fall into kinds of equal genres and style. Popularity follows Zipf's law, with new items in fashion for a
    while and old ones rising or falling. Taste has a part that gender, age and occupation tell and a larger personal
    one. A user comes in one or several sessions; the items are drawn one after the other, each from the softmax of
    taste and popularity among those not had yet (Plackett 1975, Luce 1959), which `Truth` has in full. Ratings rise
    with taste and with the quality of the item. Cost: half a million interactions a second and more; memory in
    proportion to the result and to 64 periods x items.

    Examples
    --------
    >>> data = synthetic(50, 40, 500, kind="pandas")
    >>> data
    Synthetic (pandas)
      ratings        500 rows  user_id, item_id, rating, timestamp
      users           50 rows  user_id, gender, age, occupation
      items           40 rows  item_id, title, year, genres
    >>> data.truth.best_lists(3, users=[1], seen=data.ratings).shape
    (1, 3)
    """
    _check(num_users, num_items, num_interactions, random_state)
    kind = _tables.resolve_kind("synthetic", kind)

    def stream(purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([random_state, purpose])))

    users, user_factors = _make_users(num_users, stream(_USERS))
    catalogue, kind_genres = _make_catalogue(num_items, stream(_ITEMS))
    genres = [kind_genres[row] for row in catalogue.kind_of_item.tolist()]
    items: dict[str, _tables.Column] = {
        "item_id": np.arange(1, num_items + 1),
        "title": make_titles([each[0] for each in genres], stream(_TITLES)),
        "year": _make_years(catalogue.births, stream(_YEARS)),
        "genres": _tables.Lists(list(each) for each in genres),
    }
    user_rows, periods, timestamps = _make_sessions(num_users, num_items, num_interactions, stream(_SESSIONS))
    item_rows = draw_items(catalogue, user_factors, user_rows, periods, stream(_CHOICES))
    ratings: dict[str, _tables.Column] = {
        "user_id": user_rows + 1,
        "item_id": item_rows + 1,
        "rating": _make_ratings(catalogue, user_factors, user_rows, item_rows, stream(_RATINGS)),
        "timestamp": timestamps,
    }
    truth = Truth(
        np.arange(1, num_users + 1),
        np.arange(1, num_items + 1),
        user_factors,
        catalogue.kind_factors[catalogue.kind_of_item],
        catalogue.log_popularity,
    )
    built = [_tables.build(kind, table) for table in (ratings, users, items)]
    return Synthetic(kind, built[0], built[1], built[2], truth)


def _check(num_users: int, num_items: int, num_interactions: int, random_state: int) -> None:
    sizes = {"num_users": (num_users, 1), "num_items": (num_items, 1), "num_interactions": (num_interactions, 0)}
    for name, (value, least) in {**sizes, "random_state": (random_state, 0)}.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"synthetic: {name} is {value!r}, but must be a whole number of at least {least}")
    most = num_users * _most_of_user(num_items)
    if num_interactions > most:
        raise ValueError(
            f"synthetic: num_interactions is {num_interactions}, but must be at most {most}, half of all pairs; "
            "ask for fewer, or for more users or items"
        )


def _most_of_user(num_items: int) -> int:
    return (num_items + 1) // 2


def _make_users(num_users: int, random: np.random.Generator) -> tuple[dict[str, _tables.Column], NDArray[np.float64]]:
    """Return the table of users and their factors (num_users, 18 + hidden)."""
    is_male = random.random(num_users) < 0.6
    age = np.clip(15 + -14 * np.log1p(-random.random(num_users)) * (0.5 + random.random(num_users)), 15, 80)
    names = _OCCUPATIONS.split()
    occupation = (random.random(num_users) * len(names)).astype(np.int64)
    of_gender, of_age, of_occupation = (random.standard_normal((rows, len(GENRES))) for rows in (2, 2, len(names)))
    youth = np.exp(-(age - 15) / 20)[:, None]
    told = of_gender[is_male.astype(np.int64)] + of_age[0] * youth + of_age[1] * (1 - youth) + of_occupation[occupation]
    personal = random.standard_normal((num_users, len(GENRES) + _HIDDEN))
    factors = personal
    factors[:, : len(GENRES)] += 0.6 * told
    table: dict[str, _tables.Column] = {
        "user_id": np.arange(1, num_users + 1),
        "gender": ["M" if male else "F" for male in is_male.tolist()],
        "age": age.astype(np.int64),
        "occupation": [names[row] for row in occupation.tolist()],
    }
    return table, factors


def _make_catalogue(num_items: int, random: np.random.Generator) -> tuple[Catalogue, list[list[str]]]:
    """Return the items, and the genres of each kind of item."""
    num_kinds = min(max(num_items // 8, 1), 200)
    # The first few of a weighted random order (exponential races) are the genres of a kind.
    races = -np.log1p(-random.random((num_kinds, len(GENRES)))) / np.array(GENRE_WEIGHTS)
    how_many = 1 + (random.random(num_kinds)[:, None] > [0.35, 0.75]).sum(axis=1)
    chosen = np.argsort(races, axis=1, kind="stable")
    genres = [
        [GENRES[genre] for genre in row[:count]] for row, count in zip(chosen.tolist(), how_many.tolist(), strict=True)
    ]
    factors = np.zeros((num_kinds, len(GENRES) + _HIDDEN))
    for row, count in enumerate(how_many):
        factors[row, chosen[row, :count]] = 1 / np.sqrt(count)
    factors[:, len(GENRES) :] = random.standard_normal((num_kinds, _HIDDEN)) / np.sqrt(_HIDDEN)

    shares = np.cumsum(-np.log1p(-random.random(num_kinds)))
    others = np.searchsorted(shares, random.random(num_items - num_kinds) * shares[-1], side="right")
    kind_of_item = random.permutation(np.concatenate([np.arange(num_kinds), np.minimum(others, num_kinds - 1)]))
    # One item of each kind, and two thirds of all, are out from the start.
    births = np.zeros(num_items, np.int64)
    late = np.setdiff1d(np.arange(num_items), np.unique(kind_of_item, return_index=True)[1])
    late = random.permutation(late)[: num_items // 3]
    births[late] = 1 + (random.random(len(late)) * (_PERIODS - 1)).astype(np.int64)

    time = np.arange(_PERIODS)[:, None]
    base = -np.log(random.permutation(num_items) + 15.0)
    trend = random.standard_normal(num_items) * (time / _PERIODS - 0.5)
    fashion = 1.5 * np.exp(-np.maximum(time - births, 0) / 8)
    log_popularity = base + np.where(births > 0, fashion, trend)
    log_popularity[time < births] = -np.inf
    return Catalogue(factors, kind_of_item, births, log_popularity), genres


def _make_years(births: NDArray[np.int64], random: np.random.Generator) -> NDArray[Any]:
    """Return the year in which each item came out: before 2020 for those that are there from the start."""
    age = (-12 * np.log1p(-random.random(len(births)))).astype(np.int64)
    year = np.where(births > 0, 2020 + births * _PERIOD_S // (365 * 86_400), np.maximum(2019 - age, 1925))
    return np.ma.MaskedArray(year, np.zeros(len(births), bool))


def _make_sessions(
    num_users: int, num_items: int, num_interactions: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return user row, period and timestamp of each interaction, by user and time."""
    least = min(5, num_interactions // num_users, _most_of_user(num_items))
    counts = np.full(num_users, least)
    shares = np.exp(random.standard_normal(num_users))
    counts += np.minimum(_apportion(num_interactions - counts.sum(), shares), _most_of_user(num_items) - least)
    counts += _apportion(num_interactions - counts.sum(), _most_of_user(num_items) - counts)
    users = np.repeat(np.arange(num_users), counts)

    sessions = 1 + np.minimum(-2 * np.log1p(-random.random(num_users)), 9).astype(np.int64)
    first = random.random(num_users) * 0.95
    # The first sessions have the most interactions, as users of a new service enter what they know already.
    number = (sessions[users] * random.random(num_interactions) ** 1.5).astype(np.int64)
    number = number[np.lexsort((number, users))]
    later = np.sort(np.where(np.arange(1, 11) < sessions[:, None], random.random((num_users, 10)), 2), axis=1)
    begins = np.concatenate([first[:, None], first[:, None] + (1 - first[:, None]) * later], axis=1)
    begin_s = (begins[users, number] * _PERIODS * _PERIOD_S).astype(np.int64)
    periods = begin_s // _PERIOD_S

    fresh = np.ones(num_interactions, bool)
    fresh[1:] = (users[1:] != users[:-1]) | (number[1:] != number[:-1])
    pause_s = 15 + (random.random(num_interactions) * 90).astype(np.int64)
    elapsed_s = np.cumsum(pause_s)
    elapsed_s -= (elapsed_s - pause_s)[fresh][np.cumsum(fresh) - 1]
    time_s = np.minimum(begin_s + elapsed_s, (periods + 1) * _PERIOD_S - 1)
    # A session that begins within the one before goes on from its end.
    span = _PERIODS * _PERIOD_S
    time_s = np.maximum.accumulate(time_s + users * span) - users * span
    return users, periods, _START_S + time_s


def _apportion(total: int, shares: NDArray[Any]) -> NDArray[np.int64]:
    """Cut `total` into whole numbers in proportion to `shares`, by the largest remainders."""
    if total == 0:
        return np.zeros(len(shares), np.int64)
    exact = total * (shares / shares.sum())
    counts: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts


def _make_ratings(
    catalogue: Catalogue,
    user_factors: NDArray[np.float64],
    user_rows: NDArray[np.int64],
    item_rows: NDArray[np.int64],
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Return 1 to 5: what a user gives on average, the quality of the item, taste, and chance."""
    level = 0.35 * random.standard_normal(len(user_factors))
    quality = 0.4 * random.standard_normal(len(catalogue.kind_of_item))
    kinds = catalogue.kind_of_item[item_rows]
    taste = np.empty(len(user_rows))
    for first in range(0, len(user_rows), 1 << 18):
        rows = slice(first, first + (1 << 18))
        taste[rows] = np.einsum("ij,ij->i", user_factors[user_rows[rows]], catalogue.kind_factors[kinds[rows]])
    noise = 0.8 * random.standard_normal(len(user_rows))
    return np.clip(np.rint(3.1 + level[user_rows] + quality[item_rows] + 0.35 * taste + noise), 1, 5)
