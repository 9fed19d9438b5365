"""Reader of users' own logs: every row is used, or counted as dropped, or causes an error that names its line.

Ids are dictionary-encoded batch by batch, so that only distinct ones are trimmed, compared and sorted.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

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
    LogColumn,
    IntArray,
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
SHOWN_VALUES = 8  # of a column that `keep` names, in a message
MIN_CUT_DIGITS = 6  # this many trailing zeros by chance: one in a million
MIN_REPEATED = 0.5  # of the further rows of users: fewer may repeat a history by chance

Parts = list[pa.DictionaryArray]
Key = TypeVar("Key")


@dataclass(frozen=True)
class Interactions:
    """The interactions of an own log, no two of them equal.

    Attributes:
        log: as :attr:`RawLog.interactions`, but that items are numbered by ``items``.
        users, items: their ids in ascending order.
        steps: as of :class:`RawLog`: ``raw`` and ``distinct``.
        dropped: rows left out, by reason.
    """

    log: pd.DataFrame
    users: pa.StringArray
    items: pa.StringArray
    ticks_per_second: int
    steps: dict[str, Counts]
    dropped: Counts


def read(folder: Path, config: OwnLogConfig) -> RawLog:
    """The log in ``folder``, whose files and columns ``config`` names.

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


def read_interactions(table: LogTable, config: OwnLogConfig, split: str | None = None, *, is_whole: bool = True) -> Interactions:
    """The interactions of a file, read by the section: the one way for ``prepare``, ``describe`` and files of histories.

    Users and items are numbered in ascending order of their ids. Rows are dropped, and counted, as :func:`read` says.

    Args:
        split: a column that holds the split of each row; None: there is none.
        is_whole: a value of ``keep`` that no row holds is an error.

    Raises:
        DataError: as of :func:`read`, but for what concerns the items.
    """
    if config.time_format is not None:
        check_time_format(config.time_format)
    if config.time_of_day_format is not None:
        check_time_format(config.time_of_day_format, of_day=True)
    wanted = config.log_columns | ({} if split is None else {"split": split})
    filters = [_Filter(name, values) for name, values in config.keep.items()]
    dropped = {f"interactions_without_{kind}": 0 for kind in wanted if kind != "time_of_day"}
    n_read = 0
    users, items, times, others = Parts(), Parts(), list[tuple[IntArray, int]](), list[list[npt.NDArray[Any]]]()
    sequences = list[IntArray]()
    for found in columns(table, [*wanted.values(), *config.keep], config.missing):
        batch = _only_kept(dict(zip(wanted, found, strict=False)), filters, found[len(wanted) :])
        user_ids, no_user = batch["user"].ids()
        item_ids, no_item = batch["item"].ids()
        missing, values = [no_user, no_item], [user_ids, item_ids]
        if "time" in batch:
            ticks, per_second, no_time = _times(batch, config)
            missing.append(no_time)
        else:
            ticks, per_second = np.arange(n_read, n_read + len(user_ids)), 1
        values.append(ticks)
        if "rating" in batch:
            stars, no_rating = batch["rating"].ratings()
            missing, values = [*missing, no_rating], [*values, stars]
        if "split" in batch:
            codes, no_split = split_codes(batch["split"])
            missing, values = [*missing, no_split], [*values, codes]
        if config.sequences is not None:
            values.append(np.asarray(batch["user"].rows))
        n_read += len(user_ids)
        if (kept := _count_missing(missing, dropped)) is not None:
            values = [value[kept] if isinstance(value, np.ndarray) else _kept_ids(value, kept) for value in values]
        users.append(values[0])
        items.append(values[1])
        times.append((values[2], per_second))
        if config.sequences is not None:
            sequences.append(values.pop())
        others.append(values[3:])
    if is_whole:
        for each in filters:
            each.refuse_unseen(table.path)
    if not any(map(len, users)):
        raise DataError(f"{table.path}: no row has a value in each of the columns {listed(wanted.values())}")
    user_numbers, user_ids = number_ids(users, WHOLE_NUMBER)
    item_numbers, item_ids = number_ids(items, WHOLE_NUMBER)
    _check_ids(user_ids, table, wanted["user"])
    _check_ids(item_ids, table, wanted["item"])
    ticks, ticks_per_second = _join(times, table)
    if config.time_format is not None and config.time_of_day_format is None:
        _refuse_doubtful_time(ticks, ticks_per_second, table, wanted["time"], config.time_format, config.missing)
    arrays = {c.USER: user_numbers, c.ITEM: item_numbers, c.TIMESTAMP: ticks}
    kinds = [name for kind, name in {"rating": c.RATING, "split": c.SPLIT}.items() if kind in wanted]
    arrays |= {name: np.concatenate(parts) for name, parts in zip(kinds, zip(*others, strict=True), strict=True)}
    log = pd.DataFrame(arrays, copy=False)
    refuse_rows_in_two_splits(log, table.path)
    if sequences and config.kept_repeat is None:
        _name_repeated_histories(log, np.concatenate(sequences), table.path)
    steps = {"raw": count(log)}
    repeated = _repeats(log)
    if repeated.any():
        log = log[~repeated].reset_index(drop=True)
    steps["distinct"] = count(log)
    dropped = {f"interactions_with_other_{each.name}": each.n_others for each in filters} | dropped
    dropped["interactions_repeating_the_header"] = table.n_repeated_headers
    dropped["interactions_duplicated"] = int(repeated.sum())
    return Interactions(log, user_ids, item_ids, ticks_per_second, steps, dropped)


def numbers_of(ids: pa.StringArray, known: pd.Series[str]) -> IntArray:
    """The place of each id among the ``known`` ones; -1: it is none of them."""
    found: IntArray = pc.index_in(ids, pa.array(known, pa.string())).fill_null(-1).to_numpy()
    return found


def refuse_other_spelling(table: LogTable, name: str, unknown: pa.StringArray, known: pd.Series[str]) -> None:
    """Refuse item ids that are written otherwise than known ones which they most likely mean.

    Args:
        name: of their column in ``table``.

    Raises:
        DataError: an unknown id is the same number as a known one, or looks the same.
    """
    for spelling, why in _SPELLINGS:
        spelt = dict(zip(map(spelling, known), known, strict=True))
        for raw_id in unknown.to_pylist():
            if (other := spelt.get(spelling(raw_id))) is not None:
                raise DataError(
                    f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} is {other!r} in the items: {why}; write "
                    "ids alike in all files"
                )


def _number(raw_id: str) -> str:
    """
    >>> _number("10.0"), _number("10"), _number("007")
    ('10', '10', '007')
    """
    match = re.match(DECIMAL_ID, raw_id)
    return match[1] if match else raw_id


_SPELLINGS: tuple[tuple[Callable[[str], str], str], ...] = (
    (_number, "the same number, as pandas writes it where a column has gaps (`astype('Int64')` writes it whole)"),
    (as_seen, "the same but for invisible characters"),
)


class _Filter:
    """A column of which only some values are kept (``keep`` and ``keep_items``).

    Attributes:
        n_others: rows with another value so far that no other filter had refused.
    """

    def __init__(self, name: str, values: list[str]) -> None:
        self.name, self._found = name, Counter[str]()
        self._values = [unicodedata.normalize("NFC", value.strip()) for value in values]
        self.n_others = 0

    def fits(self, column: LogColumn, before: BoolArray) -> BoolArray:
        """Which rows hold one of the values, and are among those ``before``."""
        texts = pc.utf8_normalize(column.texts(), form="NFC")
        values, counts = pc.value_counts(texts).flatten()
        self._found.update(dict(zip(values.to_pylist(), counts.to_pylist(), strict=True)))
        kept: BoolArray = before & pc.is_in(texts, pa.array(self._values)).to_numpy(zero_copy_only=False)
        self.n_others += int(before.sum() - kept.sum())
        return kept

    def refuse_unseen(self, path: Path, key: str = "keep") -> None:
        """Refuse a value that no row holds: more likely misspelt than absent."""
        if unseen := [value for value in self._values if not self._found[value]]:
            known = ", ".join(f"{value!r} ({n:,} rows)" for value, n in self._found.most_common(SHOWN_VALUES))
            raise DataError(f"{path}: {key}: column {self.name!r} never holds {listed(unseen)}; it holds {known}")


def _only_kept(batch: dict[Key, LogColumn], filters: list[_Filter], filtered: list[LogColumn]) -> dict[Key, LogColumn]:
    """The rows that every filter keeps; what stands in the others is not looked at."""
    if not filters:
        return batch
    kept = np.ones(len(filtered[0].values), dtype=np.bool_)
    for each, column in zip(filters, filtered, strict=True):
        kept = each.fits(column, kept)
    return {purpose: column.only(kept) for purpose, column in batch.items()}


def _times(batch: dict[str, LogColumn], config: OwnLogConfig) -> tuple[IntArray, int, BoolArray | None]:
    """Ticks, ticks per second, and which rows lack a time (None: no row)."""
    assert config.time_format is not None
    if config.time_of_day_format is None:
        return batch["time"].times(config.time_format)
    return batch["time"].plus(batch["time_of_day"], config.time_format, config.time_of_day_format)


def _read_items(table: LogTable, config: OwnLogConfig) -> tuple[pd.DataFrame, Counts]:
    """The columns ``raw_id``, ``raw_title`` and ``attributes``, ascending by id, and what was dropped, by reason.

    Of several rows of one item the first with a title counts; their titles must be the same once cleaned.
    """
    dropped = {"items_without_id": 0}
    ids, titles, rows = Parts(), list[pa.StringArray](), list[npt.NDArray[np.int64]]()
    attributes: list[list[str]] = []
    filters = [_Filter(name, values) for name, values in config.keep_items.items()]
    wanted = config.item_columns
    for found in columns(table, [*wanted, *config.keep_items], config.missing):
        batch = _only_kept(dict(enumerate(found[: len(wanted)])), filters, found[len(wanted) :])
        item, title, *others = batch.values()
        item_ids, no_id = item.ids()
        item_titles, item_rows = title.titles(), np.asarray(item.rows)
        if (kept := _count_missing([no_id], dropped)) is not None:
            others = [other.only(kept) for other in others]
            item_ids, item_titles = _kept_ids(item_ids, kept), item_titles.filter(pa.array(kept))
            item_rows = item_rows[kept]
        ids.append(item_ids)
        titles.append(item_titles)
        rows.append(item_rows)
        attributes += map(list, zip(*(other.attributes() for other in others), strict=True))
    for each in filters:
        each.refuse_unseen(table.path, "keep_items")
    if not any(map(len, ids)):
        raise DataError(f"{table.path}: no row has a value in the column {config.columns.item_id!r}")
    numbers, names = number_ids(ids, WHOLE_NUMBER)
    _check_ids(names, table, config.columns.item_id)
    table_rows = np.concatenate(rows)
    items, counts = first_titles(
        numbers,
        pa.chunked_array(titles),
        attributes if config.columns.attributes else None,
        names,
        config.titles,
        lambda row: table.place(table_rows[row]),
    )
    dropped |= {f"items_with_other_{each.name}": each.n_others for each in filters} | counts
    dropped["items_repeating_the_header"] = table.n_repeated_headers
    return items, dropped


def _count_missing(missing: list[BoolArray | None], dropped: Counts) -> BoolArray | None:
    """Which rows lack nothing (None: no row lacks anything); each other row is counted once, for the first column it lacks.

    Args:
        missing: for each column, in the order of the first keys of ``dropped``, which rows lack it.
    """
    kept: BoolArray | None = None
    for reason, lost in zip(list(dropped), missing, strict=True):
        if lost is not None:
            kept = np.ones(len(lost), dtype=np.bool_) if kept is None else kept
            dropped[reason] += int((lost & kept).sum())
            kept = kept & ~lost
    return kept


def _kept_ids(ids: pa.DictionaryArray, kept: BoolArray) -> pa.DictionaryArray:
    """The ids of the kept rows, with no unused ones in their dictionary."""
    return ids.filter(pa.array(kept)).dictionary_decode().dictionary_encode()


def _join(parts: list[tuple[IntArray, int]], table: LogTable) -> tuple[IntArray, int]:
    """All times in the finest unit of the parts, and its ticks per second."""
    finest = max(per_second for _, per_second in parts)
    for ticks, per_second in parts:
        limit = np.iinfo(np.int64).max // (finest // per_second)
        if per_second < finest and len(ticks) and max(-int(ticks.min()), int(ticks.max())) > limit:
            raise DataError(
                f"{table.path}: some times have nanoseconds, and some are of years that nanoseconds cannot reach (1678 to 2261)"
                "; store the times as milliseconds"
            )
    return np.concatenate([ticks if n == finest else ticks * (finest // n) for ticks, n in parts]), finest


def _refuse_doubtful_time(
    ticks: IntArray, ticks_per_second: int, table: LogTable, name: str, time_format: str, missing: list[str]
) -> None:
    found = doubtful_time(ticks, ticks_per_second, time_format)
    if found is None:
        return
    row, doubt = found
    value = int(ticks[row])

    def is_it(time: LogColumn) -> BoolArray:
        here, per_second, no_time = time.times(time_format)
        equal: BoolArray = here * (ticks_per_second // per_second) == value
        return equal if no_time is None else equal & ~no_time

    place = _find(table, name, missing, is_it)
    moment = np.datetime64(value // ticks_per_second, "s")
    raise DataError(f"{place}: column {name!r}: time_format {time_format!r} makes {moment} of it; {doubt}")


def _check_ids(ids: pa.StringArray, table: LogTable, name: str) -> None:
    """Refuse ids that a spreadsheet or a decimal type has rounded, since different ones may have become equal, and such as are
    written in two ways, since equal ones have become different; name those with lost characters.

    Args:
        ids: the different ones of a column.
    """
    rounded = ids.filter(pc.match_substring_regex(ids, ROUNDED_NUMBER))
    if not len(rounded):
        long = ids.filter(pc.match_substring_regex(ids, rf"^[1-9][0-9]{{{EXACT_DIGITS},}}$"))
        n_cut = pc.sum(pc.utf8_length(long)).as_py() - EXACT_DIGITS * len(long) if len(long) else 0
        if n_cut >= MIN_CUT_DIGITS and pc.all(pc.match_substring_regex(long, CUT_NUMBER)).as_py():
            rounded = long
    if len(rounded):
        raw_id = rounded[0].as_py()
        said = ROUNDED.format("ids", "as text (if they are meant to look like this, put a letter in front)")
        raise DataError(f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} {said}")
    decimal = ids.filter(pc.match_substring_regex(ids, DECIMAL_ID))
    whole = pc.replace_substring_regex(decimal, DECIMAL_ID, r"\1")
    if len(twins := decimal.filter(pc.is_in(whole, ids))):
        raw_id, other = twins[0].as_py(), _number(twins[0].as_py())
        raise DataError(
            f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} is {other!r} in {_place_of(other, table, name)}: "
            f"{_SPELLINGS[0][1]}; write ids alike"
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
    return _find(table, name, [], lambda column: column.has_id(raw_id))


def _find(table: LogTable, name: str, missing: list[str], matches: Callable[[LogColumn], BoolArray]) -> str:
    """Place of the first row that matches: a second pass over the file, once an error is certain."""
    for (column,) in columns(table, [name], missing):
        if pa.types.is_dictionary(column.values.type):
            column = replace(column, values=column.values.dictionary_decode())
        if (found := matches(column)).any():
            return table.place(column.rows[int(found.argmax())])
    return str(table.path)


def _repeats(log: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows agree with an earlier one in all columns."""
    # Only rows that share a 64-bit hash are compared: DataFrame.duplicated alone would add a third to the reader's time.
    hashes = pd.util.hash_pandas_object(log, index=False)
    ordered = np.sort(hashes.to_numpy())
    suspects = hashes.isin(ordered[1:][ordered[1:] == ordered[:-1]]).to_numpy()
    repeated = np.zeros(len(log), dtype=np.bool_)
    repeated[suspects] = log[suspects].duplicated()
    return repeated


def _name_repeated_histories(log: pd.DataFrame, rows: IntArray, path: Path) -> None:
    """Warn of rows that begin with the whole of an earlier row of their user: logs that give the history with each event.

    Args:
        log: an interaction a row.
        rows: the row of the file that each is of.
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
