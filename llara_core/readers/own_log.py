"""Reader of users' own logs: every row is used, or counted as dropped, or causes an error that names its line.

Ids are dictionary-encoded batch by batch, so that only distinct ones are trimmed, compared and sorted.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core import columns as c
from llara_core.config import OwnLogConfig
from llara_core.errors import DataError
from llara_core.readers.given_split import FILE_COLUMN, interactions_of, refuse_rows_in_two_splits, split_codes
from llara_core.readers.interaction_log import Counts, RawLog, count, number_ids
from llara_core.readers.item_titles import first_titles
from llara_core.readers.log_columns import (
    ROUNDED,
    ROUNDED_NUMBER,
    BoolArray,
    IntArray,
    LogColumn,
    check_time_format,
    columns,
    doubtful_time,
)
from llara_core.readers.log_files import LogTable
from llara_core.readers.titles import as_seen
from llara_core.readers.values import listed

logger = logging.getLogger(__name__)

WHOLE_NUMBER = r"^(0|[1-9][0-9]{0,17})$"  # fits int64, and no two texts are the same number
EXACT_DIGITS = 15  # that a spreadsheet keeps of a number; the others become zeros
CUT_NUMBER = rf"^[1-9][0-9]{{{EXACT_DIGITS - 1}}}0+$"
DECIMAL_ID = r"^([+-]?[0-9]+)\.0*$"
SHOWN_VALUES = 8  # values of a column that `keep` names, in a message
MIN_CUT_DIGITS = 6  # this many trailing zeros by chance: one in a million
MIN_REPEATED = 0.5  # share of the further rows of users: fewer may repeat a history by chance
SAME_NUMBER = "the same number, as pandas writes it where a column has gaps (`astype('Int64')` writes it whole)"


@dataclass(frozen=True)
class Interactions:
    """The interactions of an own log, no two of them equal.

    Attributes:
        log: as :attr:`RawLog.interactions`, but that items are numbered by ``items``.
        users, items: raw ids in ascending order.
        steps: users, items and interactions after the steps ``raw`` and ``distinct``.
        dropped: rows left out, by reason.
    """

    log: pd.DataFrame
    users: pa.StringArray
    items: pa.StringArray
    ticks_per_second: int
    steps: dict[str, Counts]
    dropped: Counts


def read(folder: Path, config: OwnLogConfig) -> RawLog:
    """Reads the log in ``folder``, whose files and columns ``config`` names.

    Ids are composed text (NFC) without surrounding white space: a CSV file's ``007`` is not ``7``; whole numbers of a
    Parquet file become their digits. Users (and items) ascend by number if all their ids are whole numbers of at most 18
    digits without leading zeros, else by code point. Times keep the resolution of the files; without any, a row's place in
    the files stands for its time. Dropped, and counted by reason, are rows with another value than ``keep`` or
    ``keep_items`` names or without a value in a column that ``config`` names, rows that repeat a CSV file's header,
    interactions that equal an earlier one in user, item, time and rating or whose item the item file lacks, and further
    rows of an item.

    Raises:
        DataError: a file is missing, damaged or empty, lacks a column, differs from ``config`` in separator, encoding or
            quoting, or holds an unreadable value (named with its line); ids were rounded or are written in two ways, or times
            are in doubt; an item has two titles; no interaction is of a known item.
    """
    catalogue, dropped = _read_items(LogTable.of_items(folder, config), config)
    table = interactions_of(folder, config)
    split = None if config.split.strategy != "files" else config.split.column or FILE_COLUMN
    found = read_interactions(table, config, split)
    numbers = numbers_of(found.items, catalogue[c.RAW_ITEM])
    log = found.log.assign(**{c.ITEM: numbers[found.log[c.ITEM].to_numpy()]})
    unknown = log[c.ITEM].to_numpy() < 0
    if unknown.any():
        strangers = found.items.filter(pa.array(numbers < 0))
        refuse_other_spelling(table, config.columns.item, strangers, catalogue[c.RAW_ITEM])
    if unknown.all():
        raise DataError(
            f"{table.path}: no interaction is of an item in {folder / config.items}: ids here look like "
            f"{found.items[0].as_py()!r}, there like {catalogue[c.RAW_ITEM].iloc[0]!r}; check `columns.item` and "
            "`columns.item_id`"
        )
    if unknown.any():
        log = log[~unknown].reset_index(drop=True)
    dropped |= found.dropped
    dropped["interactions_of_unknown_items"] = int(unknown.sum())
    return RawLog(log, catalogue, len(found.users), {**found.steps, "known": count(log)}, dropped, found.ticks_per_second)


def read_interactions(
    table: LogTable, config: OwnLogConfig, split: str | None = None, *, is_whole: bool = True
) -> Interactions:
    """Reads the interactions of a file by the section: the one way for ``prepare``, ``describe`` and files of histories.

    Users and items are numbered in ascending order of their ids. Rows are dropped, and counted, as :func:`read` says.

    Args:
        split: the column that holds the split of each row; None: there is none.
        is_whole: whether a value of ``keep`` that no row holds is an error.

    Raises:
        DataError: as :func:`read` says, but for what concerns the items.
    """
    for time_format, of_day in ((config.time_format, False), (config.time_of_day_format, True)):
        if time_format is not None:
            check_time_format(time_format, of_day=of_day)
    wanted = config.log_columns | ({} if split is None else {"split": split})
    filters = _Filters(config.keep)
    dropped = {f"interactions_without_{kind}": 0 for kind in wanted if kind != "time_of_day"}
    parts, per_second, n_read = dict[str, list[Any]](), list[int](), 0
    for found in columns(table, [*wanted.values(), *config.keep], config.missing):
        batch = filters.only(dict(zip(wanted, found, strict=False)), found[len(wanted) :])
        values: dict[str, tuple[Any, BoolArray]] = {"user": batch["user"].ids(), "item": batch["item"].ids()}
        n_rows = len(values["user"][1])
        ticks, no_time, ticks_per_second = _times(batch, config, n_read, n_rows)
        values["time"] = ticks, no_time
        values |= {"rating": batch["rating"].ratings()} if "rating" in batch else {}
        values |= {"split": split_codes(batch["split"])} if "split" in batch else {}
        kept = _count_missing({f"interactions_without_{kind}": missing for kind, (_, missing) in values.items()}, dropped)
        values |= {"row": (batch["user"].rows, kept)} if config.sequences is not None else {}
        for kind, (of_kind, _) in values.items():
            parts.setdefault(kind, []).append(_only(of_kind, kept))
        per_second.append(ticks_per_second)
        n_read += n_rows
    if is_whole:
        filters.refuse_unseen(table.path, "keep")
    if not any(map(len, parts["user"])):
        raise DataError(f"{table.path}: no row has a value in each of the columns {listed(wanted.values())}")
    (users, user_ids), (items, item_ids) = (number_ids(parts[kind], WHOLE_NUMBER) for kind in ("user", "item"))
    _check_ids(user_ids, table, wanted["user"])
    _check_ids(item_ids, table, wanted["item"])
    ticks, finest = _join(parts["time"], per_second, table), max(per_second)
    if config.time_format is not None and config.time_of_day_format is None:
        _refuse_doubtful_time(ticks, finest, table, wanted["time"], config)
    arrays = {c.USER: users, c.ITEM: items, c.TIMESTAMP: ticks}
    arrays |= {name: np.concatenate(parts[kind]) for kind, name in (("rating", c.RATING), ("split", c.SPLIT)) if kind in parts}
    log = pd.DataFrame(arrays, copy=False)
    refuse_rows_in_two_splits(log, table.path)
    if "row" in parts and config.kept_repeat is None:
        _name_repeated_histories(log, np.concatenate(parts["row"]), table.path)
    steps = {"raw": count(log)}
    repeated = _repeats(log)
    log = log[~repeated].reset_index(drop=True) if repeated.any() else log
    steps["distinct"] = count(log)
    dropped = {f"interactions_with_other_{name}": n for name, n in filters.n_others.items()} | dropped
    dropped["interactions_repeating_the_header"] = table.n_repeated_headers
    dropped["interactions_duplicated"] = int(repeated.sum())
    return Interactions(log, user_ids, item_ids, finest, steps, dropped)


def numbers_of(ids: pa.StringArray, known: pd.Series[str]) -> IntArray:
    """Returns the place of each id among the ``known`` ones; -1: it is none of them."""
    found: IntArray = pc.index_in(ids, pa.array(known, pa.string())).fill_null(-1).to_numpy()
    return found


def refuse_other_spelling(table: LogTable, name: str, unknown: pa.StringArray, known: pd.Series[str]) -> None:
    """Refuses item ids that are written otherwise than known ones which they most likely mean.

    Args:
        name: of their column in ``table``.

    Raises:
        DataError: an unknown id is the same number as a known one, or looks the same.
    """
    for spelling, why in ((_number, SAME_NUMBER), (as_seen, "the same but for invisible characters")):
        spelt = dict(zip(map(spelling, known), known, strict=True))
        for raw_id in unknown.to_pylist():
            if (other := spelt.get(spelling(raw_id))) is not None:
                raise DataError(
                    f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} is {other!r} in the items: {why}; write "
                    "ids alike in all files"
                )


def _number(raw_id: str) -> str:
    """Returns a decimal number whose fraction is zero as a whole one, and any other id as it is.

    >>> _number("10.0"), _number("10"), _number("007")
    ('10', '10', '007')
    """
    return re.sub(DECIMAL_ID, r"\1", raw_id)


class _Filters:
    """The columns of which only some values are kept (``keep`` and ``keep_items``).

    Attributes:
        n_others: by column, rows with another value that no earlier column had refused.
    """

    def __init__(self, keep: dict[str, list[str]]) -> None:
        self.n_others = dict.fromkeys(keep, 0)
        self._values = {name: [unicodedata.normalize("NFC", text.strip()) for text in texts] for name, texts in keep.items()}
        self._found = {name: Counter[str]() for name in keep}

    def only(self, batch: dict[str, LogColumn], filtered: list[LogColumn]) -> dict[str, LogColumn]:
        """Returns the rows that every filter keeps; what stands in the others is not looked at."""
        if not filtered:
            return batch
        kept = np.ones(len(filtered[0].values), dtype=np.bool_)
        for column in filtered:
            texts = pc.utf8_normalize(column.texts(), form="NFC")
            values, counts = pc.value_counts(texts).flatten()
            self._found[column.name].update(dict(zip(values.to_pylist(), counts.to_pylist(), strict=True)))
            fits = pc.is_in(texts, pa.array(self._values[column.name])).to_numpy(zero_copy_only=False)
            self.n_others[column.name] += int((kept & ~fits).sum())
            kept &= fits
        return {kind: column.only(kept) for kind, column in batch.items()}

    def refuse_unseen(self, path: Path, key: str) -> None:
        """Refuses a value that no row holds: more likely misspelt than absent."""
        for name, found in self._found.items():
            if unseen := [value for value in self._values[name] if not found[value]]:
                known = ", ".join(f"{value!r} ({n:,} rows)" for value, n in found.most_common(SHOWN_VALUES))
                raise DataError(f"{path}: {key}: column {name!r} never holds {listed(unseen)}; it holds {known}")


def _times(batch: dict[str, LogColumn], config: OwnLogConfig, n_read: int, n_rows: int) -> tuple[IntArray, BoolArray, int]:
    """Returns ticks, the mask of rows that lack a time, and the ticks per second; without times, the places of the rows."""
    if config.time_format is None:
        return np.arange(n_read, n_read + n_rows), np.zeros(n_rows, dtype=np.bool_), 1
    if config.time_of_day_format is None:
        ticks, per_second, missing = batch["time"].times(config.time_format)
    else:
        ticks, per_second, missing = batch["time"].plus(batch["time_of_day"], config.time_format, config.time_of_day_format)
    return ticks, missing, per_second


def _read_items(table: LogTable, config: OwnLogConfig) -> tuple[pd.DataFrame, Counts]:
    """Returns the columns ``raw_id``, ``raw_title`` and ``attributes``, ascending by id, and what was dropped, by reason.

    Of several rows of one item the first with a title counts; their titles must be the same once cleaned.
    """
    dropped, filters, wanted = {"items_without_id": 0}, _Filters(config.keep_items), config.item_columns
    ids, titles, rows, attributes = list[pa.DictionaryArray](), list[pa.StringArray](), list[IntArray](), list[list[str]]()
    for found in columns(table, [*wanted, *config.keep_items], config.missing):
        batch = filters.only(dict(zip(map(str, range(len(wanted))), found, strict=False)), found[len(wanted) :])
        item, title, *others = batch.values()
        item_ids, missing = item.ids()
        kept = _count_missing({"items_without_id": missing}, dropped)
        ids.append(_only(item_ids, kept))
        titles.append(_only(title.titles(), kept))
        rows.append(_only(item.rows, kept))
        attributes += map(list, zip(*(other.only(kept).attributes() for other in others), strict=True))
    filters.refuse_unseen(table.path, "keep_items")
    if not any(map(len, ids)):
        raise DataError(f"{table.path}: no row has a value in the column {config.columns.item_id!r}")
    numbers, names = number_ids(ids, WHOLE_NUMBER)
    _check_ids(names, table, config.columns.item_id)
    described, places = attributes if config.columns.attributes else None, np.concatenate(rows)
    items, counts = first_titles(
        numbers, pa.chunked_array(titles), described, names, config.titles, lambda row: table.place(places[row])
    )
    dropped |= {f"items_with_other_{name}": n for name, n in filters.n_others.items()} | counts
    dropped["items_repeating_the_header"] = table.n_repeated_headers
    return items, dropped


def _count_missing(missing: dict[str, BoolArray], dropped: Counts) -> BoolArray:
    """Returns which rows lack nothing; each other row is counted once, for the first column that it lacks.

    Args:
        missing: by reason which rows lack a value; a reason that is not in ``dropped`` is of no column.
    """
    kept = np.ones(len(next(iter(missing.values()))), dtype=np.bool_)
    for reason, lost in missing.items():
        if reason in dropped:
            dropped[reason] += int((lost & kept).sum())
        kept &= ~lost
    return kept


def _only(values: Any, kept: BoolArray) -> Any:
    """Returns the kept rows of an array; of ids with no unused ones in their dictionary."""
    if kept.all():
        return values
    if isinstance(values, np.ndarray):
        return values[kept]
    rows = values.filter(pa.array(kept))
    return rows.dictionary_decode().dictionary_encode() if pa.types.is_dictionary(rows.type) else rows


def _join(parts: list[IntArray], per_second: list[int], table: LogTable) -> IntArray:
    """Returns all times in the finest unit of the parts."""
    finest = max(per_second)
    for ticks, n in zip(parts, per_second, strict=True):
        limit = np.iinfo(np.int64).max // (finest // n)
        if n < finest and len(ticks) and max(-int(ticks.min()), int(ticks.max())) > limit:
            raise DataError(
                f"{table.path}: some times have nanoseconds, and some are of years that nanoseconds cannot reach (1678 to 2261)"
                "; store the times as milliseconds"
            )
    return np.concatenate([ticks if n == finest else ticks * (finest // n) for ticks, n in zip(parts, per_second, strict=True)])


def _refuse_doubtful_time(ticks: IntArray, ticks_per_second: int, table: LogTable, name: str, config: OwnLogConfig) -> None:
    time_format = config.time_format or ""
    if (found := doubtful_time(ticks, ticks_per_second, time_format)) is None:
        return
    row, doubt = found
    value = int(ticks[row])

    def is_it(time: LogColumn) -> BoolArray:
        here, per_second, missing = time.times(time_format)
        equal: BoolArray = (here * (ticks_per_second // per_second) == value) & ~missing
        return equal

    place = _find(table, name, config.missing, is_it)
    moment = np.datetime64(value // ticks_per_second, "s")
    raise DataError(f"{place}: column {name!r}: time_format {time_format!r} makes {moment} of it; {doubt}")


def _check_ids(ids: pa.StringArray, table: LogTable, name: str) -> None:
    """Refuses ids that a spreadsheet or a decimal type has rounded, since different ones may have become equal, and such as are
    written in two ways, since equal ones have become different; names those with lost characters.

    Args:
        ids: the distinct ones of a column.
    """
    rounded = ids.filter(pc.match_substring_regex(ids, ROUNDED_NUMBER))
    long = ids.filter(pc.match_substring_regex(ids, rf"^[1-9][0-9]{{{EXACT_DIGITS},}}$"))
    if len(long) and pc.all(pc.match_substring_regex(long, CUT_NUMBER)).as_py():
        n_cut = pc.sum(pc.utf8_length(long)).as_py() - EXACT_DIGITS * len(long)
        rounded = long if not len(rounded) and n_cut >= MIN_CUT_DIGITS else rounded
    if len(rounded):
        raw_id = rounded[0].as_py()
        said = ROUNDED.format("ids", "as text (if they are meant to look like this, put a letter in front)")
        raise DataError(f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} {said}")
    decimal = ids.filter(pc.match_substring_regex(ids, DECIMAL_ID))
    if len(twins := decimal.filter(pc.is_in(pc.replace_substring_regex(decimal, DECIMAL_ID, r"\1"), ids))):
        raw_id, other = twins[0].as_py(), _number(twins[0].as_py())
        raise DataError(
            f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} is {other!r} in {_place_of(other, table, name)}: "
            f"{SAME_NUMBER}; write ids alike"
        )
    if len(damaged := ids.filter(pc.match_substring(ids, "\ufffd"))):
        logger.warning(
            "%s: column %r: %d ids hold U+FFFD in place of lost characters, such as %r: different ones may have become equal",
            table.path,
            name,
            len(damaged),
            damaged[0].as_py(),
        )


def _place_of(raw_id: str, table: LogTable, name: str) -> str:
    def is_it(column: LogColumn) -> BoolArray:
        equal: BoolArray = pc.equal(column.ids()[0].dictionary_decode(), raw_id).fill_null(False).to_numpy(zero_copy_only=False)
        return equal

    return _find(table, name, [], is_it)


def _find(table: LogTable, name: str, missing: list[str], matches: Callable[[LogColumn], BoolArray]) -> str:
    """Returns the place of the first row that matches: a second pass over the file, once an error is certain."""
    for (column,) in columns(table, [name], missing):
        plain = column.only(np.ones(len(column.values), dtype=np.bool_))
        if (found := matches(plain)).any():
            return table.place(column.rows[int(found.argmax())])
    return str(table.path)


def _repeats(log: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Returns which rows agree with an earlier one in all columns."""
    # Only rows that share a 64-bit hash are compared: DataFrame.duplicated alone would add a third to the reader's time.
    hashes = pd.util.hash_pandas_object(log, index=False)
    ordered = np.sort(hashes.to_numpy())
    suspects = hashes.isin(ordered[1:][ordered[1:] == ordered[:-1]]).to_numpy()
    repeated = np.zeros(len(log), dtype=np.bool_)
    repeated[suspects] = log[suspects].duplicated()
    return repeated


def _name_repeated_histories(log: pd.DataFrame, rows: IntArray, path: Path) -> None:
    """Warns of rows that begin with the whole of an earlier row of their user: logs that give the history with each event.

    Args:
        log: an interaction a row.
        rows: for each interaction the row of the file that it comes from.
    """
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    users, items = log[c.USER].to_numpy()[starts], np.split(log[c.ITEM].to_numpy(), starts[1:])
    if len(np.unique(users)) == len(users):
        return
    last, n_further, n_repeats = dict[int, npt.NDArray[np.integer]](), 0, 0
    for user, here in zip(users.tolist(), items, strict=True):
        if (before := last.get(user)) is not None:
            n_further += 1
            n_repeats += len(before) > 1 and np.array_equal(here[: len(before)], before)
        last[user] = here
    if n_repeats > MIN_REPEATED * n_further:
        logger.warning(
            "%s: %d rows begin with the whole of the row before of their user, as in logs that repeat the history with every "
            "event (MIND, RecBole); each counts in full. `repeats: first` counts an item of a user once",
            path,
            n_repeats,
        )
