"""The predictions table and how it is made: one schema and one walk over the questions for every system."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from llara_core import columns as c
from llara_core import ranking, tables
from llara_core.config import ShuffledHistories
from llara_core.errors import DataError
from llara_core.held_out import HeldOut, Order
from llara_core.ranking import History
from llara_core.runtime import memory, processes, progress

logger = logging.getLogger(__name__)

NOT_TUNED = "none"  # in the place of a tuning objective
PREDICT_BLOCK = 4096  # examples scored at a time, fewer for a large catalogue


class CatalogueScorer(Protocol):
    """Whatever ranks all items for a user's history."""

    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Scores ``(B, n_items)`` of every item as the next one; higher is better."""


@dataclass(frozen=True)
class Questions:
    """Histories, and the sets of candidates for the item after each.

    Attributes:
        histories: ``H`` lists of item ids, oldest first.
        candidates: ``(N, C)`` item ids.
        of_history: ``(N,)`` number of the history that a set belongs to.
        labels: display name of each item, indexed by item id.
        targets: ``(H,)`` item ids, to be ranked among all items; None where nobody knows them.
        opinions: ``N`` arrays ``(C, 2)`` of :func:`llara_core.ranking.opinion`, for prompts that show them.
        ids: ``N`` examples and draws, by which the wording of a prompt is drawn; None: all have the first wording.
    """

    histories: Sequence[History]
    candidates: npt.NDArray[np.integer]
    of_history: npt.NDArray[np.integer]
    labels: Sequence[str]
    targets: npt.NDArray[np.integer] | None = None
    opinions: Sequence[npt.NDArray[np.float32]] | None = None
    ids: Sequence[tuple[int, int]] | None = None

    @classmethod
    def of(cls, held_out: HeldOut) -> Questions:
        """The held-out questions, in the order of their candidate sets.

        Raises:
            DataError: a candidate set belongs to no example.
        """
        examples, candidates = held_out.examples, held_out.candidates
        asked = examples[examples[c.EXAMPLE].isin(candidates[c.EXAMPLE])].reset_index(drop=True)
        rows = pd.Index(asked[c.EXAMPLE]).get_indexer(candidates[c.EXAMPLE])
        if (rows < 0).any():
            orphan = candidates[c.EXAMPLE].iloc[int((rows < 0).argmax())]
            raise DataError(f"candidate sets ask for {c.EXAMPLE} {orphan}, which the examples lack; run `dvc repro` again")
        return cls(
            asked[c.HISTORY].to_list(),
            np.stack(candidates[c.CANDIDATES].to_list()),
            rows,
            held_out.labels,
            targets=asked[c.TARGET].to_numpy(),
            ids=list(zip(candidates[c.EXAMPLE].tolist(), candidates[c.DRAW].tolist(), strict=True)),
        )


@dataclass(frozen=True)
class Answers:
    """What a system answers.

    Attributes:
        tables: rows of :data:`tables.PREDICTIONS` by mode, the way of answering.
        note: what a reader of the report should know besides.
    """

    tables: Mapping[str, pd.DataFrame]
    note: str = ""


class Answerer(Protocol):
    """Whatever answers held-out questions: a baseline, a recommender, a language model, tuned or not, a chat model."""

    @property
    def objective(self) -> str:
        """What it was tuned for, :data:`NOT_TUNED` where it was not."""

    @property
    def scores_catalogue(self) -> bool:
        """Whether it scores all items, so that a further question costs little."""

    def answer(self, held_out: HeldOut) -> Answers:
        """Answer every question in every way that it can."""


@dataclass(frozen=True)
class CatalogueAnswerer:
    """A baseline or a recommender, which answers by its scores."""

    scorer: CatalogueScorer
    objective: str = NOT_TUNED
    scores_catalogue: bool = True

    def answer(self, held_out: HeldOut) -> Answers:
        return Answers({"score": from_scores(held_out.candidates, *score_candidates(self.scorer, Questions.of(held_out)))})


class PredictionMetadata(BaseModel):
    """What a predictions table answers, stored in the file itself.

    Attributes:
        dataset: key in ``params.yaml``.
        system: its name in the report, e.g. ``sasrec``, ``llara`` or ``llara + sasrec``.
        mode: the way of answering: ``score``, ``generate``, ``constrained`` or ``fused``.
        history: ``ordered``, or ``shuffled``: the test sets alone, answered with each history in a random order.
        objective: tuning objective of an LLM system, ``none`` for the others.
        seed: training seed.
        candidates_hash: of the held-out candidate sets; two systems are comparable only where it is equal.
        note: what a reader of the report should know besides, e.g. the weight of a fusion.
        hardware: of the machine that computed the answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    system: str
    mode: str
    history: Order = "ordered"
    objective: str
    seed: int
    candidates_hash: str
    note: str = ""
    hardware: str = ""

    @property
    def file_name(self) -> str:
        """Of the table inside the cell's folder."""
        return file_name(self.mode, self.history)

    @property
    def as_strings(self) -> dict[str, str]:
        """As it is stored in a table, which :func:`read_metadata` reads."""
        return {key: str(value) for key, value in self.model_dump().items()}


def file_name(mode: str, history: Order) -> str:
    """Of a predictions table inside its cell's folder."""
    return f"{mode}.parquet" if history == "ordered" else f"{mode}-{history}.parquet"


def answer_held_out(
    answerer: Answerer,
    held_out: HeldOut,
    folder: Path,
    *,
    system: str,
    seed: int,
    shuffled_histories: ShuffledHistories,
    hardware: str,
    positions: HeldOut | None = None,
) -> None:
    """Ask a system all held-out questions, the test sets again with shuffled histories where they are wanted, those at further
    positions, and write what it answers; tables of earlier questions, which it is not asked now, are deleted.

    Args:
        answerer: the system.
        held_out: with histories in order.
        folder: of its cell, for one table per mode and order.
        system: the cell without its seed, e.g. ``sasrec`` or ``llara``.
        seed: training seed.
        shuffled_histories: who is also asked with shuffled histories.
        hardware: that computes the answers.
        positions: further questions, answered into a folder inside the cell's; None for none.
    """
    shuffled = shuffled_histories == "all" or (shuffled_histories == "catalogue" and answerer.scores_catalogue)
    further = [] if positions is None else [positions]
    written = set()
    scopes = [held_out, *([held_out.shuffled()] if shuffled else []), *further]
    done, n_questions = 0, sum(asked.candidates[c.EXAMPLE].nunique() for asked in scopes)
    for asked in scopes:
        before, done = done, done + asked.candidates[c.EXAMPLE].nunique()
        name = "further positions" if asked.scope == "positions" else f"{asked.order} histories"
        with progress.phase(f"answering, {name}", before / max(n_questions, 1), done / max(n_questions, 1)):
            answers = answerer.answer(asked)
        for mode, frame in answers.tables.items():
            metadata = PredictionMetadata(
                dataset=held_out.dataset,
                system=system,
                mode=mode,
                history=asked.order,
                objective=answerer.objective,
                seed=seed,
                candidates_hash=asked.candidates_hash,
                note=answers.note,
                hardware=hardware,
            )
            if processes.is_first():
                written.add(write_predictions(asked.folder(folder), frame, metadata))
            logger.info(
                "%s, %s: %d candidate sets answered, %d validly%s",
                mode,
                asked.order if asked.scope == "last" else "at positions",
                len(frame),
                frame[c.VALID].sum(),
                f" ({answers.note})" if answers.note else "",
            )
    if processes.is_first():
        # DVC empties the folder before a stage; a stage that is run by hand finds what other parameters have left.
        for other in set(folder.rglob("*.parquet")) - written:
            other.unlink()
            if not any(other.parent.iterdir()):
                other.parent.rmdir()


def score_candidates(
    scorer: CatalogueScorer, questions: Questions
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32] | None]:
    """Scores of the candidates ``(N, C)`` and, where the targets are known, their ranks among the whole catalogue ``(N,)``.

    Args:
        scorer: scores each history once.
        questions: ``N`` candidate sets.

    Raises:
        DataError: a score by which a target is to be ranked is not finite.
    """
    histories, targets, items, rows = questions.histories, questions.targets, questions.candidates, questions.of_history
    scores, ranks = np.empty(items.shape, dtype=np.float32), np.empty(len(items), dtype=np.int32)
    block = memory.histories_at_a_time(len(questions.labels), PREDICT_BLOCK)
    for start in range(0, len(histories), block):
        part = slice(start, start + block)
        with progress.phase("", start / len(histories), min(start + block, len(histories)) / len(histories)):
            catalogue = scorer.score_catalogue(histories[part])
        of_part = np.flatnonzero((rows >= start) & (rows < start + block))
        local = rows[of_part] - start
        scores[of_part] = catalogue[local[:, None], items[of_part]]
        if targets is not None:
            ranks[of_part] = ranking.catalogue_rank(catalogue, targets[part], histories[part])[local]
    return scores, None if targets is None else ranks


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
        raise DataError(
            f"{bad.sum()} candidate sets have scores that are not finite (first: {c.EXAMPLE} {first}): the model has diverged; "
            "train it again with a lower learning rate"
        )
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


def from_choices(candidates: pd.DataFrame, chosen: Sequence[int | None], texts: Sequence[str] | None = None) -> pd.DataFrame:
    """Predictions of a system that names one candidate and ranks nothing.

    Args:
        candidates: rows of :data:`tables.CANDIDATE_SETS`, ``N`` of them.
        chosen: ``N`` places among the candidates; None for an invalid answer.
        texts: ``N`` answers as they were written, or None.
    """
    predicted = [None if place is None else row[place] for row, place in zip(candidates[c.CANDIDATES], chosen, strict=True)]
    return pd.DataFrame(
        {
            c.EXAMPLE: candidates[c.EXAMPLE].to_numpy(),
            c.DRAW: candidates[c.DRAW].to_numpy(),
            c.SCORES: None,
            c.TEXT: texts,
            c.PREDICTED: pd.array(predicted, dtype="Int32"),
            c.VALID: [place is not None for place in chosen],
            c.CATALOGUE_RANK: pd.array([pd.NA] * len(chosen), dtype="Int32"),
        }
    )


def write_predictions(folder: Path, frame: pd.DataFrame, metadata: PredictionMetadata) -> Path:
    """Write a predictions table with its metadata into the folder of its cell, and return the file."""
    path = folder / metadata.file_name
    tables.write_table(path, frame, tables.PREDICTIONS, metadata.as_strings)
    return path


def read_predictions(path: Path) -> tuple[pd.DataFrame, PredictionMetadata]:
    """Read a predictions table and its metadata.

    Raises:
        DataError: the file is missing, has other columns, or does not say what it answers.
    """
    return tables.read_table(path, tables.PREDICTIONS), read_metadata(path)


def read_metadata(path: Path) -> PredictionMetadata:
    """Read what a table answers.

    Raises:
        DataError: the file is missing, or does not say it.
    """
    try:
        return PredictionMetadata.model_validate(tables.table_metadata(path))
    except ValidationError as error:
        raise DataError(f"{path}: its metadata does not say what it answers; delete it and run `dvc repro` again") from error
