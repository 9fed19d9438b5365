"""Held-out questions: histories and their candidate sets, the same for all systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.runtime import seeding

Order = Literal["ordered", "shuffled"]  # order of the items in a history
Scope = Literal["last", "positions"]  # the paper's questions about last items, or those at further positions

_SHUFFLE_SEED = 0


@dataclass(frozen=True)
class HeldOut:
    """The held-out questions of one data set.

    Attributes:
        examples: rows of :data:`tables.EXAMPLES`; those without candidates are ignored.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of validation and test, or, with shuffled histories, of test.
        candidates_hash: hash of the candidate sets of both splits.
        labels: display name of each item, indexed by item id.
        texts: title and attributes of each item, for prompts that show them.
        scope: each user's last item, or further positions. The two have their own questions, candidate sets and hashes, and
            nothing combines their answers.
    """

    dataset: str
    examples: pd.DataFrame
    candidates: pd.DataFrame
    candidates_hash: str
    labels: Sequence[str]
    texts: Sequence[str] = ()
    order: Order = "ordered"
    scope: Scope = "last"

    def folder(self, run: Path) -> Path:
        """Returns the folder of the answers inside a training run's folder."""
        return run if self.scope == "last" else paths.at_positions(run)

    @property
    def source(self) -> Path:
        """Folder of the candidate sets, for messages."""
        return self.folder(paths.candidates(self.dataset))

    def limited(self, max_positions: int) -> HeldOut:
        """Returns the questions at the first ``max_positions`` positions of each user, in their random order."""
        examples = self.examples[self.examples[c.TURN] < max_positions].reset_index(drop=True)
        candidates = self.candidates[self.candidates[c.EXAMPLE].isin(examples[c.EXAMPLE])].reset_index(drop=True)
        return replace(self, examples=examples, candidates=candidates)

    def shuffled(self) -> HeldOut:
        """Returns the test questions alone, each history in a random order.

        The order does not depend on the training seed, so every training run reads the same questions.
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
        """Returns the questions with the candidate sets of the first ``max_draws`` draws."""
        return replace(self, candidates=self.candidates[self.candidates[c.DRAW] < max_draws].reset_index(drop=True))


def read_held_out(dataset: str) -> HeldOut:
    """Reads the questions of ``dataset``, with histories in order."""
    examples = tables.read_table(paths.examples(dataset), tables.EXAMPLES)
    return HeldOut(dataset, examples, *held_out_candidates(dataset), *_labels_and_texts(dataset))


def read_positions(dataset: str, max_positions: int | None = None) -> HeldOut | None:
    """Reads the questions of ``dataset`` at further positions, at most ``max_positions`` per user; None if there are none."""
    folder = paths.positions(dataset)
    if not folder.exists() or max_positions == 0:
        return None
    questions, sets = folder / paths.QUESTIONS, folder / paths.CANDIDATE_SETS
    examples = tables.read_table(questions, tables.POSITIONS)
    if examples.empty:
        return None
    candidates = tables.read_table(sets, tables.CANDIDATE_SETS)
    sets_hash = tables.tables_hash(questions, sets)
    held_out = HeldOut(dataset, examples, candidates, sets_hash, *_labels_and_texts(dataset), scope="positions")
    return held_out if max_positions is None else held_out.limited(max_positions)


def held_out_candidates(dataset: str) -> tuple[pd.DataFrame, str]:
    """Reads the candidate sets of validation and test, in this order, and their hash."""
    files = [paths.candidate_sets(dataset, split) for split in c.HELD_OUT]
    frames = [tables.read_table(file, tables.CANDIDATE_SETS) for file in files]
    return pd.concat(frames, ignore_index=True), tables.tables_hash(*files)


def _labels_and_texts(dataset: str) -> tuple[list[str], list[str]]:
    items = tables.read_table(paths.items(dataset), tables.ITEMS)
    return items[c.LABEL].to_list(), items[c.TEXT].to_list()
