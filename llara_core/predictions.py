"""The predictions table: one schema for every system, so that one evaluator serves all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from llara_core import columns as c
from llara_core import paths, ranking, tables
from llara_core.errors import DataError
from llara_core.ranking import History

PREDICT_BLOCK = 4096  # examples scored at a time: the scores of all items for all of them would fill the memory


class CatalogueScorer(Protocol):
    """Whatever ranks all items for a user's history."""

    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Scores ``(B, n_items)`` of every item as the next one; higher is better."""


class PredictionFacts(BaseModel):
    """What a predictions table answers, stored in the file itself.

    Attributes:
        dataset: key in ``params.yaml``.
        system: the cell without its seed, e.g. ``sasrec`` or ``llara-sasrec``.
        mode: how the answer was had: ``score``, ``generate``, ``constrained`` or ``fused``.
        objective: tuning objective of an LLM system, ``none`` for the others.
        seed: training seed.
        candidates_hash: of the held-out candidate sets; two systems are comparable only where it is equal.
        note: what a reader of the report should know besides, e.g. the weight of a fusion.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    system: str
    mode: str
    objective: str
    seed: int
    candidates_hash: str
    note: str = ""


def held_out_candidates(dataset: str) -> tuple[pd.DataFrame, str]:
    """Candidate sets of validation and test, in this order, and their hash."""
    files = [paths.candidates(dataset) / f"{split}.parquet" for split in c.HELD_OUT]
    frames = [tables.read_table(file, tables.CANDIDATE_SETS) for file in files]
    return pd.concat(frames, ignore_index=True), tables.tables_hash(*files)


def predict(scorer: CatalogueScorer, examples: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Predictions over candidate sets, with the target's rank among the whole catalogue.

    Args:
        scorer: scores each example's history once, however many candidate sets the example has.
        examples: rows of :data:`tables.EXAMPLES`; further ones than the candidates need are ignored.
        candidates: ``N`` rows of :data:`tables.CANDIDATE_SETS`.

    Returns:
        ``N`` rows of :data:`tables.PREDICTIONS`, in the order of ``candidates``.

    Raises:
        DataError: a candidate set belongs to no example.
    """
    asked = examples[examples[c.EXAMPLE].isin(candidates[c.EXAMPLE])].reset_index(drop=True)
    rows = pd.Index(asked[c.EXAMPLE]).get_indexer(candidates[c.EXAMPLE])
    if (rows < 0).any():
        orphan = candidates[c.EXAMPLE].iloc[int((rows < 0).argmax())]
        raise DataError(f"candidate sets ask for {c.EXAMPLE} {orphan}, which the examples lack; run `dvc repro` again")
    histories, targets = asked[c.HISTORY].to_list(), asked[c.TARGET].to_numpy()
    items = np.stack(candidates[c.CANDIDATES].to_list())
    scores, ranks = np.empty(items.shape, dtype=np.float32), np.empty(len(items), dtype=np.int32)
    for start in range(0, len(asked), PREDICT_BLOCK):
        part = slice(start, start + PREDICT_BLOCK)
        catalogue = scorer.score_catalogue(histories[part])
        of_part = np.flatnonzero((rows >= start) & (rows < start + PREDICT_BLOCK))
        local = rows[of_part] - start
        scores[of_part] = catalogue[local[:, None], items[of_part]]
        ranks[of_part] = ranking.catalogue_rank(catalogue, targets[part], histories[part])[local]
    return from_scores(candidates, scores, ranks)


def from_scores(
    candidates: pd.DataFrame,
    scores: npt.NDArray[np.floating],
    catalogue_rank: npt.NDArray[np.integer] | None = None,
) -> pd.DataFrame:
    """Predictions of a system that scores every candidate; the best-scored one is the answer, ties go to the first.

    Args:
        candidates: rows of :data:`tables.CANDIDATE_SETS`, ``N`` of them with ``C`` candidates each.
        scores: ``(N, C)``, aligned with the candidates; higher is better.
        catalogue_rank: ``(N,)`` 1-based rank of the target among all items, or None.

    Raises:
        DataError: a score is not finite, which would make the ranking arbitrary.
    """
    # In the precision that is stored, so that the answer is always the item ranked first.
    scores = scores.astype(np.float32)
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        first = candidates.loc[bad.argmax(), c.EXAMPLE]
        raise DataError(f"{bad.sum()} candidate sets have scores that are not finite (first: {c.EXAMPLE} {first})")
    items = np.stack(candidates[c.CANDIDATES].to_list())
    ranks = pd.Series(pd.NA if catalogue_rank is None else catalogue_rank, index=range(len(items)))
    return pd.DataFrame(
        {
            c.EXAMPLE: candidates[c.EXAMPLE].to_numpy(),
            c.DRAW: candidates[c.DRAW].to_numpy(),
            c.SCORES: list(scores),
            c.TEXT: pd.Series(None, index=range(len(items)), dtype="object"),
            c.PREDICTED: pd.array(items[np.arange(len(items)), scores.argmax(axis=1)], dtype="Int32"),
            c.VALID: True,
            c.CATALOGUE_RANK: ranks.astype("Int32"),
        }
    )


def write_predictions(path: Path, frame: pd.DataFrame, facts: PredictionFacts) -> None:
    """Write a predictions table with its facts."""
    metadata = {key: str(value) for key, value in facts.model_dump().items()}
    tables.write_table(path, frame, tables.PREDICTIONS, metadata)


def read_predictions(path: Path) -> tuple[pd.DataFrame, PredictionFacts]:
    """Read a predictions table and its facts.

    Raises:
        DataError: the file is missing, has other columns, or does not say what it answers.
    """
    frame = tables.read_table(path, tables.PREDICTIONS)
    try:
        facts = PredictionFacts.model_validate(tables.table_metadata(path))
    except ValidationError as error:
        raise DataError(f"{path}: its metadata does not say what it answers; delete it and run `dvc repro` again") from error
    return frame, facts
