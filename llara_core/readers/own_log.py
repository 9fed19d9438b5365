"""Reader of users' own logs: every row is used, counted as dropped, or reported as an error with its line.

Ids are dictionary-encoded batch by batch, so that only distinct ids are trimmed, compared and sorted.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from llara_core.readers.interaction_log import Counts, RawLog, count, number_ids, numbers_of
from llara_core.readers.item_titles import first_titles
from llara_core.readers.log_columns import ROUNDED, ROUNDED_NUMBER, LogColumn, check_time_format, columns, doubtful_time
from llara_core.readers.log_files import FILE_COLUMN, LogTable
from llara_core.readers.titles import as_seen
from llara_core.readers.values import BoolArray, IntArray, decoded, listed

logger = logging.getLogger(__name__)

WHOLE_NUMBER = r"^(0|[1-9][0-9]{0,17})$"  # fits int64, and different texts are different numbers
EXACT_DIGITS = 15  # digits of a number that spreadsheets keep; they replace the others by zeros
CUT_NUMBER = rf"^[1-9][0-9]{{{EXACT_DIGITS - 1}}}0+$"
DECIMAL_ID = r"^([+-]?[0-9]+)\.0*$"
SHOWN_VALUES = 8  # values of a filtered column in a message
MIN_CUT_DIGITS = 6  # trailing zeros, which occur by chance once in a million
MIN_REPEATED = 0.5  # share of the users' later rows that repeat a history; fewer may do so by chance
SAME_NUMBER, AS_PANDAS = "is the same number as", " (pandas writes 1 as 1.0 in columns with gaps; `astype('Int64')` avoids it)"


@dataclass(frozen=True)
class Interactions:
    """The distinct interactions of an own log.

    Attributes:
        log: :attr:`RawLog.interactions`, with item ids that are positions in ``items``.
        users: raw user ids in ascending order.
        items: raw item ids in ascending order.
        steps: users, items and interactions after the steps ``raw`` and ``distinct``.
        dropped: number of dropped rows, by reason.
    """

    log: pd.DataFrame
    users: pa.StringArray
    items: pa.StringArray
    ticks_per_second: int
    steps: dict[str, Counts]
    dropped: Counts


def read(folder: Path, config: OwnLogConfig) -> RawLog:
    """Reads the log in ``folder``, whose files and columns ``config`` names.

    Ids are text in composed form (NFC) without surrounding white space: ``007`` in a CSV file is not ``7``; whole numbers in a
    Parquet file become their digits. Users (and items) are ordered by number if all ids are whole numbers of at most 18 digits
    without leading zeros, otherwise by code point. Times have the resolution of the files; in a log without times, the
    position of a row is its time.

    Dropped, and counted by reason, are rows that ``keep`` or ``keep_items`` excludes, rows without a value in a column that
    ``config`` names, rows that repeat the header of a CSV file, interactions that equal an earlier one in user, item, time and
    rating, interactions with items that the item file lacks, and repeated rows of an item.

    Raises:
        DataError: a file is missing, damaged or empty, lacks a column, has another separator, encoding or quoting than
            configured, or contains an unreadable value (the message gives its line); ids were rounded or are written in two
            ways; times are in doubt; an item has two titles; or no interaction has a known item.
    """
    catalogue, dropped = _read_items(LogTable.of_items(folder, config), config)
    table = LogTable.of_interactions(folder, config)
    split = None if config.split.strategy != "files" else config.split.column or FILE_COLUMN
    raw = read_interactions(table, config, split)
    numbers = numbers_of(raw.items, catalogue[c.RAW_ITEM])
    log = raw.log.assign(**{c.ITEM: numbers[raw.log[c.ITEM].to_numpy()]})
    is_known = log[c.ITEM].to_numpy() >= 0
    refuse_other_spelling(table, config.columns.item, raw.items.filter(pa.array(numbers < 0)), catalogue[c.RAW_ITEM])
    if not is_known.any():
        raise DataError(
            f"{table.path}: none of its items is in {folder / config.items}: their ids look like {raw.items[0].as_py()!r} here "
            f"and like {catalogue[c.RAW_ITEM].iloc[0]!r} there; check `columns.item` and `columns.item_id`"
        )
    log = log if is_known.all() else log[is_known].reset_index(drop=True)
    dropped |= {**raw.dropped, "interactions_of_unknown_items": int((~is_known).sum())}
    return RawLog(log, catalogue, raw.users, {**raw.steps, "known": count(log)}, dropped, raw.ticks_per_second)


def read_interactions(
    table: LogTable, config: OwnLogConfig, split: str | None = None, *, is_whole: bool = True
) -> Interactions:
    """Reads the interactions of a table by the rules of a section; see :func:`read`.

    Args:
        table: files of the interactions.
        config: section of the data set.
        split: column with the split of each row; None if there is none.
        is_whole: whether the table is a whole log, in which each value of ``keep`` must occur.

    Raises:
        DataError: see :func:`read`, except for errors about items.
    """
    if config.time_format is not None:
        check_time_format(config.time_format)
    if config.time_of_day_format is not None:
        check_time_format(config.time_of_day_format, is_time_of_day=True)
    wanted = config.log_columns | ({} if split is None else {"split": split})
    filters = _Filters(config.keep)
    dropped = {f"interactions_without_{kind}": 0 for kind in wanted if kind != "time_of_day"}
    parts, per_second, n_read = dict[str, list[Any]](), list[int](), 0
    for all_columns in columns(table, [*wanted.values(), *config.keep], config.missing):
        batch = dict(zip(wanted, filters.apply(all_columns), strict=True))
        values: dict[str, tuple[Any, BoolArray]] = {"user": batch["user"].ids(), "item": batch["item"].ids()}
        ticks, ticks_per_second, no_time = _times(batch, config, n_read)
        values["time"] = ticks, no_time
        values |= {"rating": batch["rating"].ratings()} if "rating" in batch else {}
        values |= {"split": batch["split"].splits()} if "split" in batch else {}
        kept = _count_missing({f"interactions_without_{kind}": missing for kind, (_, missing) in values.items()}, dropped)
        values |= {"row": (batch["user"].rows, kept)} if config.sequences is not None else {}
        for kind, (array, _) in values.items():
            parts.setdefault(kind, []).append(_filtered(array, kept))
        per_second.append(ticks_per_second)
        n_read += len(kept)
    if is_whole:
        filters.check_all_occur(table.path, "keep")
    if not any(map(len, parts["user"])):
        raise DataError(f"{table.path}: no row has a value in each of the columns {listed(wanted.values())}")
    (users, user_ids), (items, item_ids) = (number_ids(parts[kind], WHOLE_NUMBER) for kind in ("user", "item"))
    _check_ids(user_ids, table, wanted["user"])
    _check_ids(item_ids, table, wanted["item"])
    ticks, finest = _concatenated(parts["time"], per_second, table), max(per_second)
    if config.time_format is not None and config.time_of_day_format is None:
        _check_times(ticks, finest, table, wanted["time"], config.time_format, config.missing)
    arrays = {c.USER: users, c.ITEM: items, c.TIMESTAMP: ticks}
    arrays |= {name: np.concatenate(parts[kind]) for kind, name in (("rating", c.RATING), ("split", c.SPLIT)) if kind in parts}
    log = pd.DataFrame(arrays, copy=False)
    if c.SPLIT in log:
        _refuse_rows_in_two_splits(log, table.path)
    if "row" in parts and config.kept_repeat is None:
        _warn_of_repeated_histories(log, np.concatenate(parts["row"]), table.path)
    steps = {"raw": count(log)}
    repeated = _repeats(log)
    log = log[~repeated].reset_index(drop=True) if repeated.any() else log
    steps["distinct"] = count(log)
    dropped = {f"interactions_with_other_{name}": n for name, n in filters.n_excluded.items()} | dropped
    dropped["interactions_repeating_the_header"] = table.n_repeated_headers
    dropped["interactions_duplicated"] = int(repeated.sum())
    return Interactions(log, user_ids, item_ids, finest, steps, dropped)


def refuse_other_spelling(table: LogTable, name: str, unknown: pa.StringArray, known: pd.Series[str]) -> None:
    """Raises an error for an unknown item id that is probably a known one, written differently.

    Args:
        table: table that contains the unknown ids.
        name: name of the column of item ids in ``table``.
        unknown: distinct ids of items that are not known.
        known: ids of the known items.

    Raises:
        DataError: an unknown id is the same number as a known one, or differs only in invisible characters.
    """
    if not len(unknown):
        return
    same_look = "differs only in invisible characters from"
    for normalize, relation, why in ((_number, SAME_NUMBER, AS_PANDAS), (as_seen, same_look, "")):
        spellings = dict(zip(map(normalize, known), known, strict=True))
        for raw_id in unknown.to_pylist():
            if (other := spellings.get(normalize(raw_id))) is not None:
                raise DataError(
                    f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} {relation} {other!r} in the items{why}; "
                    "write ids the same way in all files"
                )


def _number(raw_id: str) -> str:
    """Returns a decimal number without a fraction as a whole number, and any other id unchanged.

    >>> _number("10.0"), _number("10"), _number("007")
    ('10', '10', '007')
    """
    return re.sub(DECIMAL_ID, r"\1", raw_id)


class _Filters:
    """Filters that keep rows with certain values in certain columns (``keep`` and ``keep_items``).

    Attributes:
        n_excluded: number of rows that the filter of each column excludes and no earlier filter did.
    """

    def __init__(self, keep: dict[str, list[str]]) -> None:
        self.n_excluded = dict.fromkeys(keep, 0)
        self._values = {name: [unicodedata.normalize("NFC", text.strip()) for text in texts] for name, texts in keep.items()}
        self._counts = {name: Counter[str]() for name in keep}

    def apply(self, batch: list[LogColumn]) -> list[LogColumn]:
        """Filters the rows of a batch by its last columns, which are not returned."""
        others, filtered = batch[: len(batch) - len(self._values)], batch[len(batch) - len(self._values) :]
        if not filtered:
            return others
        kept = np.ones(len(filtered[0].values), dtype=np.bool_)
        for column in filtered:
            texts = pc.utf8_normalize(column.texts(), form="NFC")
            values, counts = pc.value_counts(texts).flatten()
            self._counts[column.name].update(dict(zip(values.to_pylist(), counts.to_pylist(), strict=True)))
            fits = pc.is_in(texts, pa.array(self._values[column.name])).to_numpy(zero_copy_only=False)
            self.n_excluded[column.name] += int((kept & ~fits).sum())
            kept &= fits
        return [column.filtered(kept) for column in others]

    def check_all_occur(self, path: Path, key: str) -> None:
        """Raises an error for a value that no row has, which is probably misspelt."""
        for name, counts in self._counts.items():
            if unseen := [value for value in self._values[name] if not counts[value]]:
                known = ", ".join(f"{value!r} ({n:,} rows)" for value, n in counts.most_common(SHOWN_VALUES))
                raise DataError(f"{path}: {key}: column {name!r} never holds {listed(unseen)}; it holds {known}")


def _times(batch: dict[str, LogColumn], config: OwnLogConfig, n_read: int) -> tuple[IntArray, int, BoolArray]:
    """Returns ticks, ticks per second and the mask of missing times; without times, ticks are the positions of the rows."""
    if config.time_format is None:
        n_rows = len(batch["user"].rows)
        return np.arange(n_read, n_read + n_rows), 1, np.zeros(n_rows, dtype=np.bool_)
    if config.time_of_day_format is None:
        return batch["time"].times(config.time_format)
    return batch["time"].times_from_dates(batch["time_of_day"], config.time_format, config.time_of_day_format)


def _read_items(table: LogTable, config: OwnLogConfig) -> tuple[pd.DataFrame, Counts]:
    """Returns the columns ``raw_id``, ``raw_title`` and ``attributes``, sorted by id, and the numbers of dropped rows."""
    dropped, filters, wanted = {"items_without_id": 0}, _Filters(config.keep_items), config.item_columns
    ids, titles, rows, attributes = list[pa.DictionaryArray](), list[pa.StringArray](), list[IntArray](), list[list[str]]()
    for batch in columns(table, [*wanted, *config.keep_items], config.missing):
        item, title, *others = filters.apply(batch)
        item_ids, missing = item.ids()
        kept = _count_missing({"items_without_id": missing}, dropped)
        ids.append(_filtered(item_ids, kept))
        titles.append(_filtered(title.titles(), kept))
        rows.append(_filtered(item.rows, kept))
        attributes += map(list, zip(*(other.filtered(kept).attributes() for other in others), strict=True))
    filters.check_all_occur(table.path, "keep_items")
    if not any(map(len, ids)):
        raise DataError(f"{table.path}: no row has a value in the column {config.columns.item_id!r}")
    numbers, raw_ids = number_ids(ids, WHOLE_NUMBER)
    _check_ids(raw_ids, table, config.columns.item_id)
    row_numbers = np.concatenate(rows)
    items, counts = first_titles(
        numbers,
        pa.chunked_array(titles),
        attributes if config.columns.attributes else None,
        raw_ids,
        config.titles,
        lambda row: table.place(row_numbers[row]),
    )
    dropped |= {f"items_with_other_{name}": n for name, n in filters.n_excluded.items()} | counts
    dropped["items_repeating_the_header"] = table.n_repeated_headers
    return items, dropped


def _count_missing(missing: dict[str, BoolArray], dropped: Counts) -> BoolArray:
    """Returns the mask of complete rows; counts each other row once in ``dropped``, for the first value that it lacks."""
    kept = np.ones(len(next(iter(missing.values()))), dtype=np.bool_)
    for reason, mask in missing.items():
        if reason in dropped:
            dropped[reason] += int((mask & kept).sum())
        kept &= ~mask
    return kept


def _filtered(values: Any, kept: BoolArray) -> Any:
    """Returns the kept rows of an array, without unused entries in a dictionary."""
    if kept.all():
        return values
    if isinstance(values, np.ndarray):
        return values[kept]
    rows = values.filter(pa.array(kept))
    return rows.dictionary_decode().dictionary_encode() if pa.types.is_dictionary(rows.type) else rows


def _concatenated(parts: list[IntArray], per_second: list[int], table: LogTable) -> IntArray:
    """Returns the times of all parts in the finest of their units."""
    finest = max(per_second)
    for ticks, n in zip(parts, per_second, strict=True):
        limit = np.iinfo(np.int64).max // (finest // n)
        if n < finest and len(ticks) and max(-int(ticks.min()), int(ticks.max())) > limit:
            raise DataError(
                f"{table.path}: some times have nanoseconds, and others are outside the years that nanoseconds can express "
                "(1678 to 2261); store the times as milliseconds"
            )
    return np.concatenate([ticks if n == finest else ticks * (finest // n) for ticks, n in zip(parts, per_second, strict=True)])


def _check_times(
    ticks: IntArray, ticks_per_second: int, table: LogTable, name: str, time_format: str, null_values: list[str]
) -> None:
    if (doubtful := doubtful_time(ticks, ticks_per_second, time_format)) is None:
        return
    row, question = doubtful
    value = int(ticks[row])

    def is_doubtful(column: LogColumn) -> BoolArray:
        times, per_second, missing = column.times(time_format)
        equal: BoolArray = (times * (ticks_per_second // per_second) == value) & ~missing
        return equal

    moment = np.datetime64(value // ticks_per_second, "s")
    place = _find(table, name, null_values, is_doubtful)
    raise DataError(f"{place}: column {name!r}: time_format {time_format!r} reads it as {moment}; {question}")


def _check_ids(ids: pa.StringArray, table: LogTable, name: str) -> None:
    """Checks the distinct ids of a column, and warns of lost characters.

    Raises:
        DataError: a spreadsheet or a decimal type rounded ids, so that different ones may have become equal, or an id is
            written in two ways, so that equal ids differ.
    """
    rounded = ids.filter(pc.match_substring_regex(ids, ROUNDED_NUMBER))
    long = ids.filter(pc.match_substring_regex(ids, rf"^[1-9][0-9]{{{EXACT_DIGITS},}}$"))
    if not len(rounded) and len(long) and pc.all(pc.match_substring_regex(long, CUT_NUMBER)).as_py():
        n_cut = pc.sum(pc.utf8_length(long)).as_py() - EXACT_DIGITS * len(long)
        rounded = long if n_cut >= MIN_CUT_DIGITS else rounded
    if len(rounded):
        raw_id = rounded[0].as_py()
        complaint = ROUNDED.format("ids", "as text (if they are meant to look like this, put a letter in front)")
        raise DataError(f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} {complaint}")
    decimal = ids.filter(pc.match_substring_regex(ids, DECIMAL_ID))
    if len(twins := decimal.filter(pc.is_in(pc.replace_substring_regex(decimal, DECIMAL_ID, r"\1"), ids))):
        raw_id, other = twins[0].as_py(), _number(twins[0].as_py())
        raise DataError(
            f"{_place_of(raw_id, table, name)}: column {name!r}: {raw_id!r} {SAME_NUMBER} {other!r} in "
            f"{_place_of(other, table, name)}{AS_PANDAS}; write ids the same way in all rows"
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
    return _find(table, name, [], lambda column: pc.equal(decoded(column.ids()[0]), raw_id).fill_null(False).to_numpy(False))


def _find(table: LogTable, name: str, null_values: list[str], matches: Callable[[LogColumn], BoolArray]) -> str:
    """Returns the place of the first matching row, for an error message; reads the column again."""
    for (column,) in columns(table, [name], null_values):
        is_match = matches(replace(column, values=decoded(column.values)))
        if is_match.any():
            return table.place(column.rows[int(is_match.argmax())])
    return str(table.path)


def _refuse_rows_in_two_splits(log: pd.DataFrame, path: Path) -> None:
    key = [c.USER, c.ITEM, c.TIMESTAMP]
    distinct = log[[*key, c.SPLIT]].drop_duplicates()
    shared = distinct[distinct.duplicated(key, keep=False)]
    if len(shared):
        splits = shared.groupby(key, sort=False)[c.SPLIT].agg(list)
        raise DataError(
            f"{path}: {len(splits)} interactions are in more than one split, with the same user, item and time, the first in "
            f"{' and '.join(c.SPLITS[code] for code in splits.iloc[0])}; keep each in one split only"
        )


def _repeats(log: pd.DataFrame) -> BoolArray:
    """Returns the mask of rows that equal an earlier one."""
    # Compares only rows with equal 64-bit hashes: DataFrame.duplicated alone would add a third to the time of the reader.
    hashes = pd.util.hash_pandas_object(log, index=False)
    ordered = np.sort(hashes.to_numpy())
    suspects = hashes.isin(ordered[1:][ordered[1:] == ordered[:-1]]).to_numpy()
    repeated = np.zeros(len(log), dtype=np.bool_)
    repeated[suspects] = log[suspects].duplicated()
    return repeated


def _warn_of_repeated_histories(log: pd.DataFrame, rows: IntArray, path: Path) -> None:
    """Warns if rows begin with all items of the user's previous row; ``rows`` has the row number of each interaction."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    users, sequences = log[c.USER].to_numpy()[starts], np.split(log[c.ITEM].to_numpy(), starts[1:])
    if len(np.unique(users)) == len(users):
        return
    previous, n_further, n_repeats = dict[int, npt.NDArray[np.integer]](), 0, 0
    for user, items in zip(users.tolist(), sequences, strict=True):
        if (before := previous.get(user)) is not None:
            n_further += 1
            n_repeats += len(before) > 1 and np.array_equal(items[: len(before)], before)
        previous[user] = items
    if n_repeats > MIN_REPEATED * n_further:
        logger.warning(
            "%s: %d rows begin with all items of the user's previous row, as in logs that repeat the history with every event "
            "(MIND, RecBole), so these items count several times; `repeats: first` counts each item of a user once",
            path,
            n_repeats,
        )
