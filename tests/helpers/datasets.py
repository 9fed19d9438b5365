"""Sections of ``datasets`` with default values for tests."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from llara_core.config import DatasetConfig

_ANY: TypeAdapter[Any] = TypeAdapter(DatasetConfig)
_LOG = {
    "min_user_interactions": 0,
    "min_item_interactions": 0,
    "catalogue": "interacted",
    "max_history_len": 10,
    "split": {"strategy": "user_chronological", "train": 0.8, "validation": 0.1},
    "noun": "movie",
    "verb": "watched",
}
_COLUMNS = {"user": "user", "item": "item", "time": "time", "rating": None, "item_id": "item", "title": "title"}
_OF_FORMAT: dict[str, dict[str, Any]] = {
    "movielens_100k": {"min_rating": 3.0},
    "synthetic": {"min_rating": 3.0},
    **{f"movielens_{size}": {"min_rating": None} for size in ("1m", "10m", "20m", "25m", "32m")},
    "amazon_2018": {"category": "Toys", "five_core": False, "min_rating": None, "min_counts": "once", "repeats": "keep"},
    "amazon_2023": {"category": "Toys", "min_rating": None, "min_counts": "once", "repeats": "keep"},
    "lastfm_2k": {"order": "file"},
    "steam": {"subsample": {"users": 1.0, "items": 1.0, "seed": 0}},
    "log": {
        "min_rating": None,
        "interactions": "interactions.csv",
        "items": "items.csv",
        "separator": ",",
        "encoding": "utf-8",
        "columns": _COLUMNS,
        "time_format": "seconds",
        "min_counts": "once",
        "repeats": "keep",
    },
}


def dataset_config(format: str = "synthetic", **changes: Any) -> Any:
    """Returns a section with the given format; ``changes`` replace its keys, and those of ``split`` one by one."""
    split = {**_LOG["split"], **changes.pop("split", {})}  # type: ignore[dict-item]
    return _ANY.validate_python({"format": format, **_LOG, **_OF_FORMAT[format], **changes, "split": split})
