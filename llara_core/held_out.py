"""What every system is asked: held-out histories and their candidate sets, the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.runtime import seeding

Order = Literal["ordered", "shuffled"]  # of the items in a history
Scope = Literal["last", "positions"]  # the paper's questions, or those at further positions

_SHUFFLE_SEED = 0


@dataclass(frozen=True)
class HeldOut:
    """The held-out questions of one data set.

    Attributes:
        dataset: key in ``params.yaml``.
        examples: rows of :data:`tables.EXAMPLES`; further ones than the candidates need are ignored.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of validation and test, or, with shuffled histories, of test.
        candidates_hash: of the sets of both splits.
        labels: of all items, by item id.
        order: of the items in each history.
        scope: what is asked for: each user's last item, or further ones. The two have questions, candidate sets and hashes of
            their own, and nothing combines their answers.
    """

    dataset: str
    examples: pd.DataFrame
    candidates: pd.DataFrame
    candidates_hash: str
    labels: Sequence[str]
    order: Order = "ordered"
    scope: Scope = "last"

    def folder(self, cell: Path) -> Path:
        """Where the answers lie in the folder of a cell."""
        return cell if self.scope == "last" else paths.at_positions(cell)

    @property
    def source(self) -> Path:
        """Folder of the candidate sets, for messages."""
        return self.folder(paths.candidates(self.dataset))

    def limited(self, max_positions: int) -> HeldOut:
        """Questions at positions, at most the first so many turns of each user."""
        examples = self.examples[self.examples[c.TURN] < max_positions].reset_index(drop=True)
        candidates = self.candidates[self.candidates[c.EXAMPLE].isin(examples[c.EXAMPLE])].reset_index(drop=True)
        return replace(self, examples=examples, candidates=candidates)

    def shuffled(self) -> HeldOut:
        """The test questions alone, each history in a random order.

        The order belongs to the question, not to a training run: every system and every seed reads the same.
        """
        test = self.examples[self.examples[c.SPLIT] == c.TEST].reset_index(drop=True)
        histories = [
            seeding.numpy_stream(_SHUFFLE_SEED, "shuffled history", int(example)).permutation(history)
            for example, history in zip(test[c.EXAMPLE], test[c.HISTORY], strict=True)
        ]
        return replace(
            self,
            examples=test.assign(**{c.HISTORY: pd.Series(histories, dtype="object")}),
            candidates=self.candidates[self.candidates[c.EXAMPLE].isin(test[c.EXAMPLE])].reset_index(drop=True),
            order="shuffled",
        )

    def first_draws(self, max_draws: int) -> HeldOut:
        """The same questions with the candidate sets of the first ``max_draws`` draws alone."""
        return replace(self, candidates=self.candidates[self.candidates[c.DRAW] < max_draws].reset_index(drop=True))


def read_held_out(dataset: str) -> HeldOut:
    """Read the questions of ``dataset``, with histories in order."""
    examples = tables.read_table(paths.prepared(dataset) / "examples.parquet", tables.EXAMPLES)
    return HeldOut(dataset, examples, *held_out_candidates(dataset), _labels(dataset))


def read_positions(dataset: str, max_positions: int | None = None) -> HeldOut | None:
    """Read the questions of ``dataset`` at further positions; None where none are asked.

    Args:
        max_positions: per user, at most; None for all that there are.
    """
    folder = paths.positions(dataset)
    if not folder.exists() or max_positions == 0:
        return None
    questions, sets = folder / "questions.parquet", folder / "candidates.parquet"
    examples = tables.read_table(questions, tables.POSITIONS)
    if examples.empty:
        return None
    candidates = tables.read_table(sets, tables.CANDIDATE_SETS)
    labels = _labels(dataset)
    asked = HeldOut(dataset, examples, candidates, tables.tables_hash(questions, sets), labels, scope="positions")
    return asked if max_positions is None else asked.limited(max_positions)


def held_out_candidates(dataset: str) -> tuple[pd.DataFrame, str]:
    """Candidate sets of validation and test, in this order, and their hash."""
    files = [paths.candidates(dataset) / f"{split}.parquet" for split in c.HELD_OUT]
    frames = [tables.read_table(file, tables.CANDIDATE_SETS) for file in files]
    return pd.concat(frames, ignore_index=True), tables.tables_hash(*files)


def _labels(dataset: str) -> list[str]:
    labels: list[str] = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    return labels
