"""What every system is asked: held-out histories and their candidate sets, the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.runtime import seeding

Order = Literal["ordered", "shuffled"]  # of the items in a history

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
    """

    dataset: str
    examples: pd.DataFrame
    candidates: pd.DataFrame
    candidates_hash: str
    labels: Sequence[str]
    order: Order = "ordered"

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

    def questions(self, max_draws: int) -> pd.DataFrame:
        """The candidate sets of the first ``max_draws`` draws, each with its example's history, in the order of the sets."""
        asked = self.candidates[self.candidates[c.DRAW] < max_draws]
        histories = self.examples[[c.EXAMPLE, c.HISTORY]]
        return asked.merge(histories, on=c.EXAMPLE, how="left", validate="many_to_one")


def read_held_out(dataset: str) -> HeldOut:
    """Read the questions of ``dataset``, with histories in order."""
    prepared = paths.prepared(dataset)
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    labels = tables.read_table(prepared / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    return HeldOut(dataset, examples, *held_out_candidates(dataset), labels)


def held_out_candidates(dataset: str) -> tuple[pd.DataFrame, str]:
    """Candidate sets of validation and test, in this order, and their hash."""
    files = [paths.candidates(dataset) / f"{split}.parquet" for split in c.HELD_OUT]
    frames = [tables.read_table(file, tables.CANDIDATE_SETS) for file in files]
    return pd.concat(frames, ignore_index=True), tables.tables_hash(*files)
