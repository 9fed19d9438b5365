"""Training data read from the stage's input tables, limited to the rows that the plan of a run needs.

A large log has a hundred million candidate sets, of which a plan needs a hundred thousand. The tables are therefore read row
group by row group: once for the sizes from which the plan is built and for the hash, and once for the rows of the plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import OBJECTIVES, ScoreSource
from llara_core.errors import DataError
from llara_core.llm.prompts.rendering import ItemWording, ScoreFeatures
from llara_core.llm.score_features import normalise_scores, shuffled_score_features
from llara_core.objectives.base import DataSizes, TrainingData

Numbers = npt.NDArray[np.int64]
Key = TypeVar("Key")
Value = TypeVar("Value")


class Lists(Sequence[list[int]]):
    """Lists of integers stored in one array, with 4 bytes per number instead of about 40.

    Args:
        values: concatenated lists.
        lengths: ``(N,)`` length of each list.
    """

    def __init__(self, values: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer]) -> None:
        self._values, self.lengths = values, lengths
        self._ends = np.cumsum(lengths, dtype=np.int64)

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self:
        return cls(pc.list_flatten(column).to_numpy(), pc.list_value_length(column).to_numpy())

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Any:
        end = int(self._ends[index])
        return self._values[end - int(self.lengths[index]) : end].tolist()


class RowValues(Mapping[Key, Value], Generic[Key, Value]):
    """Values of some rows of a table, by a key that identifies the row.

    Args:
        rows: ``(N,)`` row numbers, ascending.
        values: ``N`` values.
        row_of: returns the row number of a key.
        key_of: returns the key of a row number.
    """

    def __init__(
        self, rows: Numbers, values: Sequence[Value], row_of: Callable[[Key], int], key_of: Callable[[int], Key]
    ) -> None:
        self._rows, self._values, self._row_of, self._key_of = rows, values, row_of, key_of

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Key]:
        return map(self._key_of, self._rows.tolist())

    def __getitem__(self, key: Key) -> Value:
        row = self._row_of(key)
        place = int(np.searchsorted(self._rows, row))
        if place == len(self._rows) or self._rows[place] != row:
            raise KeyError(key)
        return self._values[place]


@dataclass(frozen=True)
class StoredTrainingData:
    """Training data whose examples and candidate sets are still in their tables.

    Attributes:
        dataset: key in ``params.yaml``.
        example_rows: ``(E,)`` row number of each training example in the table of examples.
        example_ids: ``(E,)`` ids of the training examples.
        sizes: sizes from which a plan is built.
        sequences: whole training sequences, by sequence number.
        labels: display name of each item, indexed by item id.
        texts: title and attributes of each item, indexed by item id.
        wording: words for items and interactions.
        scores_file: table of the recommender's scores of the candidates; None if prompts show no scores.
        source: kind of scores that prompts show.
        seed: training seed, used for shuffled scores.
    """

    dataset: str
    example_rows: Numbers = field(repr=False)
    example_ids: npt.NDArray[np.int32] = field(repr=False)
    sizes: DataSizes
    sequences: Lists
    labels: Sequence[str]
    texts: Sequence[str]
    wording: ItemWording
    scores_file: Path | None
    source: ScoreSource
    seed: int

    def planned(self, plan: pd.DataFrame) -> TrainingData:
        """Reads the data that the rows of a plan need: examples and candidate sets of objectives that show candidates.

        Raises:
            DataError: the tables are not sorted by example and draw.
        """
        showing = [name for name, traits in OBJECTIVES.items() if traits.shows_candidates]
        asked = plan[plan["objective"].isin(showing)]
        n_draws, of_example = self.sizes.n_draws, asked["source"].to_numpy(dtype=np.int64)
        numbers, sets = np.unique(of_example), np.unique(of_example * n_draws + asked["draw"].to_numpy(dtype=np.int64))
        examples = tables.take_rows(
            paths.examples(self.dataset), tables.EXAMPLES, self.example_rows[numbers], [c.EXAMPLE, c.HISTORY, c.TARGET]
        )
        candidates = self._take_sets(paths.candidate_sets(self.dataset, c.TRAIN), tables.CANDIDATE_SETS, sets, c.CANDIDATES)

        def by_example(values: Sequence[Value]) -> RowValues[int, Value]:
            return RowValues(numbers, values, lambda number: number, lambda number: number)

        def by_set(values: Sequence[Value]) -> RowValues[tuple[int, int], Value]:
            return RowValues(sets, values, lambda key: key[0] * n_draws + key[1], lambda row: divmod(row, n_draws))

        return TrainingData(
            histories=by_example(Lists.of(examples[c.HISTORY])),
            targets=by_example(examples[c.TARGET].to_pylist()),
            candidates=by_set(Lists.of(candidates)),
            scores=None if self.scores_file is None else by_set(self._take_score_features(self.scores_file, sets)),
            sequences=self.sequences,
            labels=self.labels,
            wording=self.wording,
            texts=self.texts,
        )

    def _take_score_features(self, file: Path, sets: Numbers) -> Sequence[Sequence[ScoreFeatures]]:
        column = c.IN_SAMPLE if self.source == "in_sample" else c.OUT_OF_FOLD
        logits = self._take_sets(file, tables.TRAINING_SCORES, sets, column)
        if not len(sets):
            return []
        shown = normalise_scores(pc.list_flatten(logits).to_numpy().reshape(len(sets), -1))
        if self.source == "shuffled":
            shown = shuffled_score_features(shown, self.seed, "train", sets)
        return shown  # type: ignore[return-value]  # an array is read like a sequence of its rows

    def _take_sets(self, file: Path, schema: pa.Schema, sets: Numbers, column: str) -> pa.ChunkedArray:
        """Reads a column of some rows of a table that is sorted by example and draw."""
        rows = tables.take_rows(file, schema, sets, [c.EXAMPLE, c.DRAW, column])
        examples, draws = np.divmod(sets, self.sizes.n_draws)
        wrong = (rows[c.EXAMPLE].to_numpy() != self.example_ids[examples]) | (rows[c.DRAW].to_numpy() != draws)
        if wrong.any():
            first = wrong.argmax()
            raise DataError(
                f"{file}: row {sets[first]} is not that of example {self.example_ids[examples[first]]}, draw {draws[first]}: "
                "rows must be sorted by example and draw; run `dvc repro`"
            )
        return rows[column]


def load_training_data(
    dataset: str, wording: ItemWording, scores_file: Path | None, source: ScoreSource, seed: int
) -> tuple[StoredTrainingData, str]:
    """Opens the training data of a data set; returns it and a hash of all its tables.

    Args:
        dataset, wording, scores_file, source, seed: attributes of :class:`StoredTrainingData`.

    Raises:
        DataError: a table is missing, the scores belong to other candidates, or examples differ in their number of sets.
    """
    candidates_file = paths.candidate_sets(dataset, c.TRAIN)
    hashes = [tables.tables_hash(file) for file in paths.prepared_tables(dataset)]
    hashes.append(tables.tables_hash(candidates_file))
    if scores_file is not None:
        if tables.table_metadata(scores_file).get("candidates_hash") != hashes[-1]:
            raise DataError(f"{scores_file}: scores other candidate sets than {candidates_file}; run `dvc repro`")
        hashes.append(tables.tables_hash(scores_file))
    rows, ids, history_lens = _read_examples(dataset)
    n_draws, rest = divmod(tables.n_rows(candidates_file), max(len(ids), 1))
    if rest or not n_draws:
        raise DataError(f"{candidates_file}: the {len(ids)} training examples have unequal numbers of sets; run `dvc repro`")
    sequences = _read_sequences(dataset)
    items = tables.read_table(paths.items(dataset), tables.ITEMS)
    data = StoredTrainingData(
        dataset=dataset,
        example_rows=rows,
        example_ids=ids,
        sizes=DataSizes(history_lens, n_draws, sequences.lengths),
        sequences=sequences,
        labels=items[c.LABEL].to_list(),
        texts=items[c.TEXT].to_list(),
        wording=wording,
        scores_file=scores_file,
        source=source,
        seed=seed,
    )
    return data, hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _read_examples(dataset: str) -> tuple[Numbers, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Reads row numbers, ids and history lengths of the training examples."""
    rows, ids, lengths = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int32)]
    start = 0
    for group in tables.row_groups(paths.examples(dataset), tables.EXAMPLES, [c.EXAMPLE, c.SPLIT, c.HISTORY]):
        training = pc.equal(group[c.SPLIT], c.TRAIN)
        kept = group.filter(training)
        rows.append(start + np.flatnonzero(training.to_numpy()))
        ids.append(kept[c.EXAMPLE].to_numpy())
        lengths.append(pc.list_value_length(kept[c.HISTORY]).to_numpy())
        start += len(group)
    return np.concatenate(rows), np.concatenate(ids), np.concatenate(lengths)


def _read_sequences(dataset: str) -> Lists:
    """Reads the training interactions of each user who has at least two, in order."""
    users, items = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int32)]
    file = paths.interactions(dataset)
    for group in tables.row_groups(file, tables.INTERACTIONS, [c.USER, c.ITEM, c.SPLIT]):
        kept = group.filter(pc.equal(group[c.SPLIT], c.TRAIN))
        users.append(kept[c.USER].to_numpy())
        items.append(kept[c.ITEM].to_numpy())
    of_user = np.concatenate(users)
    order = np.argsort(of_user, kind="stable")
    of_user, ordered = of_user[order], np.concatenate(items)[order]
    counts = np.diff(np.flatnonzero(np.diff(of_user, prepend=-1)), append=len(of_user))
    return Lists(ordered[np.repeat(counts >= 2, counts)], counts[counts >= 2])
