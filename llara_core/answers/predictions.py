"""Asks a system held-out questions, and writes its answers as predictions tables of one schema."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError

from llara_core import columns as c
from llara_core import tables
from llara_core.answers import ranking
from llara_core.answers.held_out import HeldOut, Order
from llara_core.answers.ranking import CatalogueScorer, History
from llara_core.config import ShuffledHistories
from llara_core.config.sections import Section
from llara_core.errors import DataError
from llara_core.runtime import memory, processes, progress

logger = logging.getLogger(__name__)

NOT_TUNED = "none"  # tuning objective of systems that are not tuned
PREDICT_BLOCK = 4096  # histories scored at a time; a large catalogue takes fewer


@dataclass(frozen=True)
class Questions:
    """Histories, and candidate sets for the item after each.

    Attributes:
        histories: ``H`` lists of item ids, oldest first.
        candidates: ``(N, C)`` item ids.
        of_history: ``(N,)`` index of each set's history.
        labels: display name of each item, indexed by item id.
        texts: title and attributes of each item, for prompts that show them.
        targets: ``(H,)`` item ids, whose ranks among all items are computed; None if unknown.
        score_features: ``N`` arrays ``(C, 2)`` of :func:`llara_core.llm.score_features.normalise_scores`, for prompts.
        ids: ``N`` pairs of example and draw, which determine the wording of prompts; with None, all have the first wording.
    """

    histories: Sequence[History]
    candidates: npt.NDArray[np.integer]
    of_history: npt.NDArray[np.integer]
    labels: Sequence[str]
    texts: Sequence[str] = ()
    targets: npt.NDArray[np.integer] | None = None
    score_features: Sequence[npt.NDArray[np.float32]] | None = None
    ids: Sequence[tuple[int, int]] | None = None

    @classmethod
    def of(cls, held_out: HeldOut) -> Questions:
        """Returns the held-out questions, in the order of their candidate sets.

        Raises:
            DataError: a candidate set belongs to no example.
        """
        examples, candidates = held_out.examples, held_out.candidates
        asked = examples[examples[c.EXAMPLE].isin(candidates[c.EXAMPLE])].reset_index(drop=True)
        rows = pd.Index(asked[c.EXAMPLE]).get_indexer(candidates[c.EXAMPLE])
        if (rows < 0).any():
            orphan = candidates[c.EXAMPLE].iloc[int((rows < 0).argmax())]
            raise DataError(f"candidate sets name {c.EXAMPLE} {orphan}, which the examples lack; run `dvc repro` again")
        return cls(
            asked[c.HISTORY].to_list(),
            np.stack(candidates[c.CANDIDATES].to_list()),
            rows,
            held_out.labels,
            held_out.texts,
            targets=asked[c.TARGET].to_numpy(),
            ids=list(zip(candidates[c.EXAMPLE].tolist(), candidates[c.DRAW].tolist(), strict=True)),
        )


@dataclass(frozen=True)
class Answers:
    """A system's answers: rows of :data:`tables.PREDICTIONS` by mode, and a remark for the report."""

    tables: Mapping[str, pd.DataFrame]
    note: str = ""


class Answerer(Protocol):
    """Interface of systems that answer held-out questions: baselines, recommenders, language models and chat models."""

    @property
    def objective(self) -> str:
        """Tuning objective; :data:`NOT_TUNED` if it was not tuned."""

    @property
    def scores_catalogue(self) -> bool:
        """Whether the system scores all items, so that further questions cost little."""

    def answer(self, held_out: HeldOut) -> Answers:
        """Answers every question in every mode."""


@dataclass(frozen=True)
class CatalogueAnswerer:
    """Answers with the highest-scored candidate of a baseline or a recommender."""

    scorer: CatalogueScorer
    objective: str = NOT_TUNED
    scores_catalogue: bool = True

    def answer(self, held_out: HeldOut) -> Answers:
        return Answers({"score": from_scores(held_out.candidates, *score_candidates(self.scorer, Questions.of(held_out)))})


class PredictionMetadata(Section):
    """Provenance of a predictions table, stored in its file.

    Attributes:
        system: name in the report, e.g. ``sasrec``, ``llara`` or ``llara + sasrec``.
        mode: ``score``, ``generate``, ``constrained`` or ``fused``.
        history: ``ordered``, or ``shuffled``: the test sets alone, answered with each history in a random order.
        objective: tuning objective of an LLM system, ``none`` for the others.
        candidates_hash: hash of the held-out candidate sets; only systems with equal hashes are comparable.
        llm_weight: weight of the LLM in a fusion, between 0 and 1; None for other systems.
        note: remark for the report, empty for none.
        hardware: machine that computed the answers.
    """

    dataset: str
    system: str
    mode: str
    history: Order = "ordered"
    objective: str
    seed: int
    candidates_hash: str
    llm_weight: float | None = None
    note: str = ""
    hardware: str = ""

    @property
    def file_name(self) -> str:
        """File name of the table inside the training run's folder."""
        return file_name(self.mode, self.history)

    @property
    def as_strings(self) -> dict[str, str]:
        """The metadata as stored in a table, for :func:`read_metadata`."""
        return {key: str(value) for key, value in self.model_dump(exclude_none=True).items()}


def file_name(mode: str, history: Order) -> str:
    """Returns the file name of a predictions table."""
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
    """Asks a system all held-out questions and writes its answers into ``folder``, one table per mode and order.

    If configured, the test sets are asked again with shuffled histories, and further positions too. Tables that other
    parameters left in ``folder`` are deleted. ``system`` is a name without a seed, e.g. ``sasrec`` or ``llara``.
    """
    shuffled = shuffled_histories == "all" or (shuffled_histories == "catalogue" and answerer.scores_catalogue)
    written = set()
    scopes = [held_out, *([held_out.shuffled()] if shuffled else []), *([] if positions is None else [positions])]
    done, n_questions = 0, max(1, sum(asked.candidates[c.EXAMPLE].nunique() for asked in scopes))
    for asked in scopes:
        before, done = done, done + asked.candidates[c.EXAMPLE].nunique()
        name = "further positions" if asked.scope == "positions" else f"{asked.order} histories"
        with progress.phase(f"answering, {name}", before / n_questions, done / n_questions):
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
        # DVC empties the folder before a stage, but a stage that is run by hand may find tables of other parameters.
        for other in set(folder.rglob("*.parquet")) - written:
            other.unlink()
            if not any(other.parent.iterdir()):
                other.parent.rmdir()


def score_candidates(
    scorer: CatalogueScorer, questions: Questions
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32] | None]:
    """Returns the candidates' scores ``(N, C)`` and, if targets are known, their ranks ``(N,)`` among the whole catalogue.

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
    """Returns the predictions of a system that scores every candidate and answers with the first of the highest-scored ones.

    Args:
        candidates: ``N`` rows of :data:`tables.CANDIDATE_SETS` with ``C`` candidates each.
        scores: ``(N, C)``, aligned with the candidates; higher is better.
        catalogue_rank: ``(N,)`` 1-based rank of the target among all items, or None.

    Raises:
        DataError: a score is not finite.
    """
    # The answer is chosen in the precision of the table, so that it is always the item ranked first there.
    scores = scores.astype(np.float32)
    ranking.check_finite(scores, candidates[c.EXAMPLE].to_numpy())
    frame = from_choices(candidates, scores.argmax(axis=1).tolist())
    ranks = frame[c.CATALOGUE_RANK] if catalogue_rank is None else pd.array(catalogue_rank, dtype="Int32")
    return frame.assign(**{c.SCORES: pd.Series(list(scores), dtype="object"), c.CATALOGUE_RANK: ranks})


def from_choices(candidates: pd.DataFrame, chosen: Sequence[int | None], texts: Sequence[str] | None = None) -> pd.DataFrame:
    """Returns the predictions of a system that names one candidate and ranks nothing.

    Args:
        candidates: ``N`` rows of :data:`tables.CANDIDATE_SETS`.
        chosen: ``N`` places among the candidates; None for an invalid answer.
        texts: ``N`` written answers, or None.
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
    """Writes a predictions table with its metadata into the folder of its training run, and returns the file."""
    path = folder / metadata.file_name
    tables.write_table(path, frame, tables.PREDICTIONS, metadata.as_strings)
    return path


def read_predictions(path: Path) -> tuple[pd.DataFrame, PredictionMetadata]:
    """Reads a predictions table and its metadata.

    Raises:
        DataError: the file is missing, or has other columns or metadata.
    """
    return tables.read_table(path, tables.PREDICTIONS), read_metadata(path)


def read_metadata(path: Path) -> PredictionMetadata:
    """Reads the metadata of a predictions table.

    Raises:
        DataError: the file is missing, or has other metadata.
    """
    try:
        return PredictionMetadata.model_validate(tables.table_metadata(path))
    except ValidationError as error:
        raise DataError(f"{path}: holds no metadata of predictions; delete it and run `dvc repro` again") from error
