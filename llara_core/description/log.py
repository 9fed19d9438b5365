"""Describes a log: sizes, times, repeats, ratings, titles, and the examples under each split."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core import columns as c
from llara_core import paths
from llara_core.config import LogSection, OwnLogConfig
from llara_core.config.datasets import TIME_STRATEGIES
from llara_core.data.filtering import filter_interactions, sort_sequences
from llara_core.data.splitting import STRATEGIES, divide, make_examples
from llara_core.errors import DataError
from llara_core.readers.interaction_log import RawLog, count
from llara_core.readers.item_titles import clean_titles
from llara_core.readers.log_columns import USUAL_SECONDS
from llara_core.readers.log_files import LogTable
from llara_core.readers.titles import folded, movie_title, plain_title

QUANTILES = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
RARE = (2, 5, 10, 20)  # limits below which an item has few interactions
SCALES = ((0, 1), (1, 5), (0.5, 5), (0, 5), (1, 10), (0, 10), (0, 100))  # usual ratings, narrow ones first
MIN_ON_SCALE = 0.95  # share of the ratings that must be on a scale
RESOLUTIONS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
MOJIBAKE = re.compile("\u00c3[\u0080-\u00bf\u0192\u201a-\u203a]|\u00e2\u20ac|\ufffd")  # UTF-8 read as cp1252, and U+FFFD
N_EXAMPLES = 3
PLACEHOLDERS = {"-", "--", "?", "unknown", "undefined", "anonymous", "guest", "none", "nil", "null", "(null)", "missing", "na"}
PLACEHOLDERS |= {"n.a.", "n/d", "#n/a", "-1", "00000000-0000-0000-0000-000000000000"}
"""Texts, in lower case, that may have to be listed in a section's ``missing``."""


def describe_log(raw: RawLog, config: LogSection, now: float) -> dict[str, Any]:
    """Returns facts about all rows of a log, by topic, as values that JSON can hold.

    Args:
        now: present time in seconds since 1970; later times are in the future.

    Raises:
        DataError: no item with an interaction has a title.
    """
    log = raw.interactions
    titled = np.array([plain_title(title) != "" for title in raw.items[c.RAW_TITLE]])
    usable = log[titled[log[c.ITEM].to_numpy()]]
    if usable.empty:
        raise DataError("no item with an interaction has a title, which prompts need; check the item file and its columns")
    kept, steps = filter_interactions(usable, config)
    left_after, popularity = {**raw.steps, **steps}, np.bincount(log[c.ITEM])
    facts: dict[str, Any] = {
        "sizes": {**count(log), "items_listed": len(raw.items), "left_after": left_after, "dropped": dict(raw.dropped)},
        **({"times": _times(log, raw.ticks_per_second, now)} if config.has_times else {}),
        "repeats": _repeats(log, raw.dropped),
        "titles": describe_titles(raw.items[c.RAW_TITLE].to_list(), config.titles_are_movies),
        "histories": spread(np.bincount(log[c.USER])),
        "popularity": {**spread(popularity), **_rare(popularity)},
        "splits": _splits(kept, config, raw.ticks_per_second),
    }
    return facts | ({"ratings": describe_ratings(log[c.RATING].to_numpy())} if c.RATING in log else {})


def _times(log: pd.DataFrame, ticks_per_second: int, now: float) -> dict[str, Any]:
    ticks = log[c.TIMESTAMP]
    earliest, latest = (second * ticks_per_second for second in USUAL_SECONDS)
    values, counts = np.unique(ticks, return_counts=True)
    per_user = ticks.groupby(log[c.USER]).agg(["min", "max", "size"])
    first, last, most_common = (
        str(np.datetime64(int(values[place]) // ticks_per_second, "s")).replace("T", " ") for place in (0, -1, counts.argmax())
    )
    whole = {name: (values % (seconds * ticks_per_second) == 0).mean() for name, seconds in RESOLUTIONS.items()}
    return {
        "first": first,
        "last": last,
        "span_days": round(int(values[-1] - values[0]) / ticks_per_second / 86_400, 1),
        "resolution": next((name for name, share in whole.items() if share >= 0.99), "fractions of a second"),
        "before_1970": int((ticks < 0).sum()),
        "at_1970": int((ticks == 0).sum()),
        "before_1980": int(((ticks > 0) & (ticks < earliest)).sum()),
        "in_the_future": int((ticks > min(now * ticks_per_second, latest)).sum()),
        "most_common": most_common,
        "most_common_share": round(float(counts.max() / len(ticks)), 4),
        "tied_share": round(float(log.duplicated([c.USER, c.TIMESTAMP], keep=False).mean()), 4),
        "users_all_tied": int(((per_user["min"] == per_user["max"]) & (per_user["size"] > 1)).sum()),
    }


def _repeats(log: pd.DataFrame, dropped: Mapping[str, int]) -> dict[str, Any]:
    repeats = int(log.duplicated([c.USER, c.ITEM]).sum())
    return {
        "interactions_of_a_known_pair": repeats,
        "share": round(repeats / len(log), 4),
        "exact_duplicates": dropped.get("interactions_duplicated", 0) + int(log.duplicated().sum()),
    }


def spread(counts: npt.NDArray[np.integer]) -> dict[str, Any]:
    """Returns mean and quantiles of the numbers of interactions of users or of items; zeros are left out."""
    counts = counts[counts > 0]
    quantiles = np.quantile(counts, QUANTILES, method="lower")
    return {
        "mean": round(float(counts.mean()), 2),
        "quantiles": {f"{share:g}": int(value) for share, value in zip(QUANTILES, quantiles, strict=True)},
    }


def _rare(counts: npt.NDArray[np.integer]) -> dict[str, Any]:
    """Returns the shares of rare items and of their interactions, and the share of the most popular 1 % of the items."""
    counts = np.sort(counts[counts > 0])[::-1]
    n, total = len(counts), int(counts.sum())
    rare = {str(k): counts[counts < k] for k in RARE}
    return {
        "fewer_than": {
            k: {"items_share": round(len(few) / n, 4), "interactions_share": round(int(few.sum()) / total, 4)}
            for k, few in rare.items()
        },
        "top_percent_share": round(int(counts[: max(1, n // 100)].sum()) / total, 4),
    }


def _splits(kept: pd.DataFrame, config: LogSection, ticks_per_second: int) -> dict[str, Any]:
    """Returns the sizes after the filter, and the examples under each strategy whose keys the section has."""
    chosen = config.split.strategy
    names = [name for name in STRATEGIES if not config.split.lacks(name) and (name != "files" or chosen == name)]
    sequences = None if kept.empty else sort_sequences(kept, by_time=config.is_ordered_by_time)
    return {
        "sequences": kept[c.USER].nunique(),
        "items": kept[c.ITEM].nunique(),
        "interactions": len(kept),
        "chosen": chosen,
        "by_strategy": {name: _split(sequences, name, config, ticks_per_second) for name in names},
    }


def _split(sequences: pd.DataFrame | None, name: str, config: LogSection, ticks_per_second: int) -> dict[str, Any]:
    if sequences is None:
        return {"error": "the filter leaves no interaction: lower the minima of the section"}
    if name in TIME_STRATEGIES and not config.is_ordered_by_time:
        return {"error": f"it divides the log by time, which needs {'`order: timestamp`' if config.has_times else 'times'}"}
    try:
        split = divide(sequences, config.split, ticks_per_second, name)
        # Short histories save most of the memory.
        examples = make_examples(split, 1).select([c.SPLIT, c.TARGET]).to_pandas()
    except DataError as error:
        return {"error": str(error)}
    trained = split.loc[split[c.SPLIT] == c.TRAIN, c.ITEM]
    return {"training_interactions": len(trained), **describe_examples(examples, trained)}


def describe_examples(examples: pd.DataFrame, trained: pd.Series[int]) -> dict[str, Any]:
    """Returns the number of examples by split, and the number and share of held-out targets that never occur in training.

    Args:
        trained: items of the training interactions.
    """
    is_cold = {part: ~examples.loc[examples[c.SPLIT] == part, c.TARGET].isin(trained) for part in c.SPLITS}
    return {
        "examples": {part: len(cold) for part, cold in is_cold.items()},
        "cold_targets": {part: int(is_cold[part].sum()) for part in c.HELD_OUT},
        "cold_share": {part: round(float(is_cold[part].mean()), 4) for part in c.HELD_OUT},
    }


def describe_ratings(ratings: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Returns range, most common values and usual scale of ratings, and the number of ratings outside it."""
    values, counts = np.unique(ratings, return_counts=True)
    inside = {scale: int(counts[(values >= scale[0]) & (values <= scale[1])].sum()) for scale in SCALES}
    scale = next((scale for scale, n in inside.items() if n >= MIN_ON_SCALE * len(ratings)), None)
    most_common = np.argsort(-counts, kind="stable")[:11]
    facts: dict[str, Any] = {
        "lowest": float(values[0]),
        "highest": float(values[-1]),
        "different": len(values),
        "scale": None if scale is None else list(scale),
        "outside": 0 if scale is None else len(ratings) - inside[scale],
        "most_common_share": {f"{values[i]:g}": round(float(counts[i] / len(ratings)), 4) for i in sorted(most_common)},
    }
    others = values[values != 0]
    if 0 in values and len(others) > 2 and others.min() >= 1:
        facts["zeros"] = int(counts[values == 0].sum())
    return facts


def describe_titles(raw: list[str], are_movies: bool) -> dict[str, Any]:
    """Returns facts about titles after cleaning: equal and long ones, and those that look odd in a prompt."""
    cleaned = (movie_title(title)[0] if are_movies else plain_title(title) for title in raw)
    titles = [title for title in cleaned if title]
    shared = {title: n for title, n in Counter(map(folded, titles)).items() if n > 1}
    spelled = {folded(title): title for title in reversed(titles)}
    longest = max(titles, key=len, default="")
    return {
        "titles": len(titles),
        "empty": len(raw) - len(titles),
        "shared": len(shared),
        "items_sharing": sum(shared.values()),
        "shared_most": [{"title": spelled[title], "items": n} for title, n in Counter(shared).most_common(N_EXAMPLES)],
        "longest": longest,
        "longest_characters": len(longest),
        "mean_characters": round(float(np.mean([*map(len, titles)] or [0])), 1),
        "with_html_entities": sum(html.unescape(title) != title for title in raw),
        "with_html_tags": _some(raw, TAG),
        "beyond_ascii": _some(titles, BEYOND_ASCII),
        "with_wrong_encoding": _some(raw, MOJIBAKE),
    }


def _some(titles: list[str], pattern: re.Pattern[str]) -> dict[str, Any]:
    matches = [title for title in titles if pattern.search(title)]
    return {"count": len(matches), "examples": matches[:N_EXAMPLES]}


def count_tokens(raw: RawLog, config: LogSection, n_in_prompt: int) -> dict[str, Any]:
    """Returns the lengths of the distinct cleaned titles in tokens of the tokenizer in ``data/llm``, if there is one."""
    if not paths.LLM.is_dir():
        return {"tokens": None}
    from llara_core.llm.loading import load_tokenizer

    cleaned = clean_titles(raw.items[c.RAW_TITLE], config.titles, config.titles_are_movies).titles
    titles = list(dict.fromkeys(title for title in cleaned if title))
    tokenizer, lengths = load_tokenizer(paths.LLM), list[int]()
    for start in range(0, len(titles), 10_000):
        lengths += map(len, tokenizer(titles[start : start + 10_000], add_special_tokens=False)["input_ids"])
    n_in_prompt = min(n_in_prompt, len(titles))  # a small catalogue cannot fill a prompt
    mean = sum(lengths) / len(lengths)
    return {
        "tokens": {
            "longest": max(lengths),
            "longest_title": titles[lengths.index(max(lengths))],
            "mean": round(mean, 1),
            "titles_in_prompt": n_in_prompt,
            "prompt_mean": round(mean * n_in_prompt),
            "prompt_most": sum(sorted(lengths)[-n_in_prompt:]),
        }
    }


def describe_missing(folder: Path, config: OwnLogConfig) -> dict[str, Any]:
    """Returns the numbers of missing values and of placeholders by text, for each column of the section.

    For users and items, the most frequent id is added.
    """
    log = _describe_table(LogTable.of_interactions(folder, config), config.log_columns, config.missing)
    items = {"item_id": config.columns.item_id, "title": config.columns.title}
    return log | _describe_table(LogTable.of_items(folder, config), items, config.missing)


def _describe_table(table: LogTable, purposes: dict[str, str], missing: list[str]) -> dict[str, Any]:
    counts = {purpose: Counter[str]() for purpose in purposes}
    marks, n_rows = pa.array(["", *{mark.lower() for mark in missing} | PLACEHOLDERS]), 0
    for columns, rows in table.read(list(purposes.values())):
        n_rows += len(rows)
        for purpose, column in zip(purposes, columns, strict=True):
            text = _text(column)
            if purpose not in ("user", "item"):
                text = text.filter(pc.is_in(pc.utf8_lower(text), marks))
            values, numbers = pc.value_counts(text).flatten()
            counts[purpose].update(dict(zip(values.to_pylist(), numbers.to_pylist(), strict=True)))
    facts: dict[str, dict[str, Any]] = {}
    for purpose, name in purposes.items():
        by_text = counts[purpose].most_common()
        empty = {text or "(empty)": n for text, n in by_text if text in ("", *missing)}
        known = [(text, n) for text, n in by_text if text not in ("", *missing)]
        doubtful = {text: n for text, n in known if text.lower() in PLACEHOLDERS}
        facts[purpose] = {"column": name, "rows": n_rows, "missing": empty, "doubtful": doubtful}
        if purpose in ("user", "item"):
            facts[purpose]["most_frequent"] = {"id": known[0][0], "rows": known[0][1]} if known else None
    return facts


def _text(column: pa.Array) -> pa.StringArray:
    """Returns trimmed text, empty for null and for NaN, which pandas writes for a missing number."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null("")
