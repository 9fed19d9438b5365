"""What is in a log once it is read: sizes, times, repeats, ratings, and what a split would ask of it."""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.config import LogSection
from llara_core.config.datasets import TIME_STRATEGIES
from llara_core.data.filtering import filter_interactions, sort_sequences
from llara_core.data.splitting import STRATEGIES, divide, make_examples
from llara_core.errors import DataError
from llara_core.readers.interaction_log import RawLog, count
from llara_core.readers.item_titles import clean_titles
from llara_core.readers.log_columns import USUAL_SECONDS
from llara_core.readers.titles import folded, movie_title, plain_title

QUANTILES = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
BINS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Lower ends of the bins of the histograms."""
RARE = (2, 5, 10, 20)
SCALES = ((0, 1), (1, 5), (0.5, 5), (0, 5), (1, 10), (0, 10), (0, 100))
"""Usual scales of ratings, narrow ones first."""
MIN_ON_SCALE = 0.95  # of the ratings
RESOLUTIONS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
MOJIBAKE = re.compile("\u00c3[\u0080-\u00bf\u0192\u201a-\u203a]|\u00e2\u20ac|\ufffd")  # UTF-8 read as cp1252, or replaced
N_EXAMPLES = 3


def describe_log(raw: RawLog, config: LogSection, now: float) -> dict[str, Any]:
    """The facts of a log by topic, as plain values that JSON can hold; nothing is sampled.

    Args:
        now: seconds since 1970; later times are of the future.

    Raises:
        DataError: no interaction is of an item with a title.
    """
    log = raw.interactions
    titled = np.array([plain_title(title) != "" for title in raw.items[c.RAW_TITLE]])
    usable = log[titled[log[c.ITEM].to_numpy()]]
    if usable.empty:
        raise DataError(
            "no interaction is of an item with a title, which prompts are made of; check the item file and its columns"
        )
    kept, steps = filter_interactions(usable, config)
    facts: dict[str, Any] = {
        "sizes": {
            **count(log),
            "items_listed": len(raw.items),
            "left_after": {**raw.steps, **steps},
            "dropped": dict(raw.dropped),
        },
        **({"times": _times(log, raw.ticks_per_second, now)} if config.has_times else {}),
        "repeats": _repeats(log, raw.dropped),
        "titles": describe_titles(raw.items[c.RAW_TITLE].to_list(), config.titles_are_movies),
        "histories": spread(np.bincount(log[c.USER])),
        "popularity": {**spread(np.bincount(log[c.ITEM])), **_rare(np.bincount(log[c.ITEM]))},
        "splits": _splits(kept, config, raw.ticks_per_second),
    }
    if c.RATING in log:
        facts["ratings"] = describe_ratings(log[c.RATING].to_numpy())
    return facts


def _times(log: pd.DataFrame, ticks_per_second: int, now: float) -> dict[str, Any]:
    ticks = log[c.TIMESTAMP].to_numpy()
    earliest, latest = (second * ticks_per_second for second in USUAL_SECONDS)
    values, counts = np.unique(ticks, return_counts=True)
    most = int(counts.argmax())
    order = np.lexsort((ticks, log[c.USER].to_numpy()))
    users, times = log[c.USER].to_numpy()[order], ticks[order]
    with_next = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    tied = np.append(with_next, False) | np.append(False, with_next)
    return {
        "first": moment(int(values[0]), ticks_per_second),
        "last": moment(int(values[-1]), ticks_per_second),
        "span_days": round(int(values[-1] - values[0]) / ticks_per_second / 86_400, 1),
        "resolution": _resolution(values, ticks_per_second),
        "before_1970": int((ticks < 0).sum()),
        "at_1970": int((ticks == 0).sum()),
        "before_1980": int(((ticks > 0) & (ticks < earliest)).sum()),
        "in_the_future": int((ticks > min(now * ticks_per_second, latest)).sum()),
        "most_common": moment(int(values[most]), ticks_per_second),
        "most_common_share": round(float(counts[most] / len(ticks)), 4),
        "tied_share": round(float(tied.mean()), 4),
        "users_all_tied": _users_all_tied(users, times),
    }


def _users_all_tied(users: npt.NDArray[np.integer], times: npt.NDArray[np.integer]) -> int:
    """Users with several interactions, all at one time: their order is that of the file."""
    grouped = pd.DataFrame({"user": users, "time": times}).groupby("user")["time"].agg(["min", "max", "size"])
    return int(((grouped["min"] == grouped["max"]) & (grouped["size"] > 1)).sum())


def moment(ticks: int, ticks_per_second: int) -> str:
    """A time as text, in UTC."""
    return str(np.datetime64(ticks // ticks_per_second, "s")).replace("T", " ")


def _resolution(values: npt.NDArray[np.integer], ticks_per_second: int) -> str:
    """The coarsest unit of which nearly all times are whole multiples."""
    for name, seconds in RESOLUTIONS.items():
        if (values % (seconds * ticks_per_second) == 0).mean() >= 0.99:
            return name
    return "fractions of a second"


def _repeats(log: pd.DataFrame, dropped: Any) -> dict[str, Any]:
    pairs = log[c.USER].to_numpy().astype(np.int64) * (int(log[c.ITEM].max()) + 1) + log[c.ITEM].to_numpy()
    repeats = len(pairs) - len(np.unique(pairs))
    return {
        "interactions_of_a_known_pair": repeats,
        "share": round(repeats / len(log), 4),
        "exact_duplicates": int(dropped.get("interactions_duplicated", 0)) + int(log.duplicated().sum()),
    }


def spread(counts: npt.NDArray[np.integer]) -> dict[str, Any]:
    """Quantiles and a histogram of how many interactions each user or item has; those without one are left out."""
    counts = counts[counts > 0]
    ends = [*BINS[1:], np.iinfo(np.int64).max]
    bins = {
        f"{low} or more" if low == BINS[-1] else str(low) if end - low == 1 else f"{low} to {end - 1}": int(
            ((counts >= low) & (counts < end)).sum()
        )
        for low, end in zip(BINS, ends, strict=True)
    }
    quantiles = np.quantile(counts, QUANTILES, method="lower")
    return {
        "mean": round(float(counts.mean()), 2),
        "quantiles": {f"{share:g}": int(value) for share, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": bins,
    }


def _rare(counts: npt.NDArray[np.integer]) -> dict[str, Any]:
    """Shares of the items with fewer than k interactions, and of the interactions on them; that of the top 1 % of the items."""
    counts = np.sort(counts[counts > 0])
    top = max(1, len(counts) // 100)
    return {
        "fewer_than": {
            str(k): {
                "items": round(float((counts < k).mean()), 4),
                "interactions": round(float(counts[counts < k].sum() / counts.sum()), 4),
            }
            for k in RARE
        },
        "top_percent_share": round(float(counts[-top:].sum() / counts.sum()), 4),
    }


def _splits(kept: pd.DataFrame, config: LogSection, ticks_per_second: int) -> dict[str, Any]:
    """What each strategy for which the section says enough would train on and ask."""
    found: dict[str, Any] = {}
    sizes = {"sequences": kept[c.USER].nunique(), "items": kept[c.ITEM].nunique(), "interactions": len(kept)}
    if kept.empty:
        nothing = {"error": "the filter leaves no interaction: lower the minima of the section"}
        return {**sizes, "chosen": config.split.strategy, "by_strategy": dict.fromkeys(_possible(config), nothing)}
    sequences = sort_sequences(kept, by_time=config.is_ordered_by_time)
    for name in _possible(config):
        if name in TIME_STRATEGIES and not config.is_ordered_by_time:
            found[name] = {"error": "it cuts sequences by time and needs order: timestamp"}
            continue
        try:
            split = divide(sequences, config.split, ticks_per_second, name)
            # The histories themselves are not needed, and are most of the memory.
            examples = make_examples(split, 1).select([c.SPLIT, c.TARGET]).to_pandas()
        except DataError as error:
            found[name] = {"error": str(error)}
            continue
        trained = split.loc[split[c.SPLIT] == c.TRAIN, c.ITEM].unique()
        is_cold = ~examples[c.TARGET].isin(trained)
        found[name] = {
            "training_interactions": int((split[c.SPLIT] == c.TRAIN).sum()),
            "examples": {part: int((examples[c.SPLIT] == part).sum()) for part in c.SPLITS},
            "cold_targets": {part: int((is_cold & (examples[c.SPLIT] == part)).sum()) for part in c.HELD_OUT},
            "cold_share": {part: round(float(is_cold[examples[c.SPLIT] == part].mean()), 4) for part in c.HELD_OUT},
        }
    return {
        **sizes,
        "chosen": config.split.strategy,
        "by_strategy": found,
    }


def _possible(config: LogSection) -> list[str]:
    """The strategies for which the section says enough."""
    return [name for name in STRATEGIES if not config.split.lacks(name) and (name != "files" or config.split.strategy == name)]


def describe_ratings(ratings: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The scale that nearly all ratings are on, and how many are not."""
    values, counts = np.unique(ratings, return_counts=True)
    low, high = float(values[0]), float(values[-1])
    on_scale = {(a, b): float(counts[(values >= a) & (values <= b)].sum() / len(ratings)) for a, b in SCALES}
    scale = next((scale for scale, share in on_scale.items() if share >= MIN_ON_SCALE), None)
    order = np.argsort(-counts, kind="stable")[:11]
    facts: dict[str, Any] = {
        "lowest": low,
        "highest": high,
        "different": len(values),
        "scale": None if scale is None else list(scale),
        "outside": 0 if scale is None else int(counts[(values < scale[0]) | (values > scale[1])].sum()),
        "most_common": {f"{values[i]:g}": round(float(counts[i] / len(ratings)), 4) for i in sorted(order)},
    }
    others = values[values != 0]
    if 0 in values and len(others) > 2 and others.min() >= 1:
        facts["zeros"] = int(counts[values == 0].sum())
    return facts


def describe_titles(raw: list[str], are_movies: bool) -> dict[str, Any]:
    """What cleaning makes of the titles, and which of them would look alike or odd in a prompt."""
    cleaned = [movie_title(title)[0] if are_movies else plain_title(title) for title in raw]
    times = Counter(folded(title) for title in cleaned if title)
    shared = {title: n for title, n in times.items() if n > 1}
    spelled = {folded(title): title for title in reversed(cleaned)}
    longest = max(cleaned, key=len, default="")
    known = [title for title in cleaned if title]
    return {
        "titles": len(known),
        "empty": len(raw) - len(known),
        "shared": len(shared),
        "items_sharing": sum(shared.values()),
        "shared_most": [{"title": spelled[title], "items": n} for title, n in Counter(shared).most_common(N_EXAMPLES)],
        "longest": longest,
        "longest_characters": len(longest),
        "mean_characters": round(float(np.mean([len(title) for title in known] or [0])), 1),
        "with_html_entities": sum(html.unescape(title) != title for title in raw),
        "with_html_tags": _some(raw, TAG),
        "beyond_ascii": _some(known, BEYOND_ASCII),
        "with_wrong_encoding": _some(raw, MOJIBAKE),
    }


def _some(titles: list[str], pattern: re.Pattern[str]) -> dict[str, Any]:
    found = [title for title in titles if pattern.search(title)]
    return {"count": len(found), "examples": found[:N_EXAMPLES]}


def kept_titles(raw: RawLog, config: LogSection) -> list[str]:
    """The distinct titles as prompts show them, without what tells two of a name apart."""
    cleaned = clean_titles(raw.items[c.RAW_TITLE], config.titles, config.titles_are_movies)
    return list(dict.fromkeys(title for title in cleaned.titles if title))
