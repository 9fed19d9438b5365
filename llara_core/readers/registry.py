"""Readers of raw files, by the ``format`` of a data set in params.yaml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llara_core.readers import amazon, lastfm, movielens, own_log, released_frames, steam

# A reader takes the folder of the raw files and the data set's section; it returns a `RawLog`, or `ReleasedFrames`.
READERS: dict[str, Callable[..., Any]] = {
    "movielens_100k": movielens.read,
    "movielens_1m": movielens.read,
    "movielens_10m": movielens.read,
    "movielens_20m": movielens.read,
    "movielens_25m": movielens.read,
    "movielens_32m": movielens.read,
    "synthetic": movielens.read,
    "lastfm_2k": lastfm.read,
    "steam": steam.read,
    "amazon_2018": amazon.read,
    "amazon_2023": amazon.read,
    "log": own_log.read,
    "released_frames": released_frames.read,
}
