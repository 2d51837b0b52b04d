"""Seeded example data: the streams that tutorials use, as DataFrames.

The same name, number of rows and seed give the same frame, on every machine; a longer frame is not a longer
version of a shorter one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: The column of event times. (`at` would be a reserved word of ksqlDB.)
TIME = "event_time"
#: First event time, UTC.
START = "2024-01-01T00:00:00"
_REGIONS = ("Region_1", "Region_2", "Region_3", "Region_4", "Region_5")
_ITEMS = ("tea", "milk", "coffee", "bread", "honey", "rice", "salt", "soap")
_SENSORS = 8
_USERS = 50
_PAGES = 40
_MEAN_GAP_MS = 500

Columns = dict[str, Any]


def _orders(random: np.random.Generator, rows: int) -> Columns:
    quantity = random.integers(1, 6, rows)
    price = np.round(random.lognormal(1.2, 0.5, rows), 2)
    return {
        "order_id": np.arange(1, rows + 1),
        "customer": _named("User_", random.integers(1, _USERS + 1, rows)),
        "item": random.choice(_ITEMS, rows),
        "quantity": quantity,
        "price": price,
        "region": random.choice(_REGIONS, rows),
    }


def _pageviews(random: np.random.Generator, rows: int) -> Columns:
    # A few pages get most of the views, as on a real site.
    page = np.minimum(random.zipf(1.6, rows), _PAGES)
    return {
        "user_id": _named("User_", random.integers(1, _USERS + 1, rows)),
        "page_id": _named("Page_", page),
        "duration": np.round(random.exponential(20.0, rows), 1),
    }


def _users(random: np.random.Generator, rows: int) -> Columns:
    return {
        "user_id": _named("User_", random.integers(1, _USERS + 1, rows)),
        "region": random.choice(_REGIONS, rows),
        "gender": random.choice(("FEMALE", "MALE", "OTHER"), rows, p=(0.48, 0.48, 0.04)),
    }


def _sensors(random: np.random.Generator, rows: int) -> Columns:
    sensor = random.integers(1, _SENSORS + 1, rows)
    daily = 4.0 * np.sin(np.arange(rows) * _MEAN_GAP_MS * 2 * np.pi / 86_400_000)
    return {
        "sensor_id": _named("Sensor_", sensor),
        "temperature": np.round(18.0 + 0.5 * sensor + daily + random.normal(0, 0.4, rows), 2),
        "humidity": np.round(np.clip(random.normal(50, 8, rows), 0, 100), 1),
    }


def _ratings(random: np.random.Generator, rows: int) -> Columns:
    return {
        "user_id": _named("User_", random.integers(1, _USERS + 1, rows)),
        "movie_id": random.integers(1, 101, rows),
        "stars": random.choice(np.arange(1, 6), rows, p=(0.06, 0.1, 0.22, 0.36, 0.26)),
    }


def _named(prefix: str, numbers: Any) -> list[str]:
    return [f"{prefix}{n}" for n in numbers]


#: Name to (columns, the column that is the natural key of a stream).
GENERATORS: dict[str, tuple[Callable[[np.random.Generator, int], Columns], str]] = {
    "orders": (_orders, "order_id"),
    "pageviews": (_pageviews, "user_id"),
    "users": (_users, "user_id"),
    "sensors": (_sensors, "sensor_id"),
    "ratings": (_ratings, "user_id"),
}


def make_frame(name: str, rows: int = 1_000, seed: int = 0) -> pd.DataFrame:
    """Return seeded example rows; the last column, ``event_time``, is their event time (UTC, ascending).

    Parameters
    ----------
    name : {"orders", "pageviews", "users", "sensors", "ratings"}
    rows : int
    seed : int

    Raises
    ------
    ValueError
        For an unknown name or a negative number of rows.
    """
    import pandas as pd

    if name not in GENERATORS:
        raise ValueError(f"there is no generator '{name}'; there are {', '.join(GENERATORS)}")
    if rows < 0:
        raise ValueError(f"rows must not be negative, not {rows}")
    random = np.random.default_rng([seed, list(GENERATORS).index(name)])
    columns = GENERATORS[name][0](random, rows)
    gaps = np.ceil(random.exponential(_MEAN_GAP_MS, rows)).astype("int64")
    columns[TIME] = np.datetime64(START, "ms") + np.cumsum(gaps).astype("timedelta64[ms]")
    return pd.DataFrame(columns)
