"""What every system of a data set is evaluated on: the held-out examples and their candidate sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from llara_core import columns as c
from llara_core import paths, predictions, tables
from llara_core.config import Representation
from llara_core.prompts.rendering import answer_text


@dataclass(frozen=True)
class HeldOut:
    """The held-out candidate sets of a data set, and what is needed to read an answer to them.

    Attributes:
        dataset: key in ``params.yaml``.
        examples: rows of :data:`tables.EXAMPLES`, of all splits.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of both held-out splits.
        candidates_hash: of these candidate sets.
        labels: of the items, by id.
    """

    dataset: str
    examples: pd.DataFrame
    candidates: pd.DataFrame
    candidates_hash: str
    labels: Sequence[str]

    def names(self, representation: Representation) -> list[str]:
        """What a system prompted with ``representation`` has to write for each item, by id.

        A label that holds a special token of the LLM was shown with a space in it, and is not found in an answer.
        """
        return [answer_text(item, self.labels, representation) for item in range(len(self.labels))]


def read_held_out(dataset: str) -> HeldOut:
    """Read the examples, held-out candidate sets and labels of ``dataset``."""
    labels = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    examples = tables.read_table(paths.prepared(dataset) / "examples.parquet", tables.EXAMPLES)
    candidates, candidates_hash = predictions.held_out_candidates(dataset)
    return HeldOut(dataset, examples, candidates, candidates_hash, labels)
