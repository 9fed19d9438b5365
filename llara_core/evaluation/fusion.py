"""An LLM system and the recommender under it as one ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import log_softmax

from llara_core import columns as c
from llara_core import predictions
from llara_core.errors import DataError
from llara_core.evaluation.results import Ground, short_hash
from llara_core.evaluation.systems import Answers
from llara_core.predictions import PredictionMetadata

WEIGHTS = np.linspace(0, 1, 21)
_NOTE = "LLM weight "

Scored = tuple[pd.DataFrame, PredictionMetadata]


@dataclass(frozen=True)
class Fusion:
    """Fused predictions, their facts, and the weight of the LLM, between 0 (recommender alone) and 1 (LLM alone)."""

    frame: pd.DataFrame
    facts: PredictionMetadata
    weight: float


def fuse(llm: Scored, recommender: Scored, ground: Ground) -> Fusion:
    """Rank by ``(1 - w) log_softmax(recommender) + w log_softmax(LLM)``, with ``w`` chosen on validation.

    Answers the candidate sets that both answer.

    Args:
        llm: predictions with scores and their facts.
        recommender: the same of the recommender whose item embeddings the LLM reads.
        ground: examples and candidate sets of the dataset.

    Raises:
        DataError: the two answer different candidate sets, or one of them has no scores.

    Source:
        Ours; the paper does not combine scores.
    """
    facts = _fused_facts(llm[1], recommender[1])
    common = _common_rows(llm[0], recommender[0], ground)
    log_p_llm, log_p_recommender = _log_shares(common, "llm", llm[1]), _log_shares(common, "recommender", recommender[1])
    items = np.stack(common[c.CANDIDATES].to_list())  # [N, C]
    target_index = (items == common[[c.TARGET]].to_numpy()).argmax(axis=1)  # [N]
    validation = (common[c.SPLIT] == c.VALIDATION).to_numpy()
    weight = choose_weight(log_p_llm[validation], log_p_recommender[validation], target_index[validation])
    frame = predictions.from_scores(common, (1 - weight) * log_p_recommender + weight * log_p_llm)
    return Fusion(frame, facts.model_copy(update={"note": f"{_NOTE}{weight:.2f}"}), weight)


def weights(answers: Answers) -> list[float]:
    """The weight of the LLM in each run of a fused system.

    Raises:
        DataError: its predictions do not say it.
    """
    try:
        return [float(run.facts.note.removeprefix(_NOTE)) for run in answers.seeds]
    except ValueError as error:
        notes = [run.facts.note for run in answers.seeds]
        raise DataError(
            f"{answers.system.name}: its predictions should note '{_NOTE}' and a number, but note {notes}; run `dvc repro`"
        ) from error


def is_recommender_alone(answers: Answers) -> bool:
    """Whether a system is a fusion that leaves the LLM out in every run, and so is its recommender under another name."""
    return answers.system.kind == "fused" and not any(weights(answers))


def choose_weight(
    log_p_llm: npt.NDArray[np.floating], log_p_recommender: npt.NDArray[np.floating], target_index: npt.NDArray[np.integer]
) -> float:
    """The weight of :data:`WEIGHTS` under which the fused scores give the targets the highest mean log-likelihood.

    The hit ratio moves in steps of one user and would choose by luck among weights that differ in a few hits. The
    log-likelihood of a log-linear mixture is concave in the weight, so it has one peak and is stable. On a plateau the
    smallest weight wins, that is the recommender.

    Args:
        log_p_llm: ``(N, C)`` log-probabilities over the candidates.
        log_p_recommender: ``(N, C)``, the same of the recommender.
        target_index: ``(N,)``, the target's place among the candidates.
    """
    likelihoods = []
    for weight in WEIGHTS:
        fused = log_softmax((1 - weight) * log_p_recommender + weight * log_p_llm, axis=1)
        likelihoods.append(np.take_along_axis(fused, target_index[:, None], axis=1).mean())
    return float(WEIGHTS[int(np.argmax(np.round(likelihoods, 9)))])  # rounded: a plateau has no winner by rounding error


def _fused_facts(llm: PredictionMetadata, recommender: PredictionMetadata) -> PredictionMetadata:
    if llm.candidates_hash != recommender.candidates_hash:
        raise DataError(
            f"{llm.system} answers the candidate sets {short_hash(llm.candidates_hash)}, {recommender.system} those of "
            f"{short_hash(recommender.candidates_hash)}; scores of different candidates cannot be fused: run `dvc repro`"
        )
    return llm.model_copy(update={"system": f"fused-{llm.system}", "mode": "fused"})


def _common_rows(llm: pd.DataFrame, recommender: pd.DataFrame, ground: Ground) -> pd.DataFrame:
    keys = [c.EXAMPLE, c.DRAW]
    rows = ground.candidates.merge(ground.examples[[c.EXAMPLE, c.SPLIT, c.TARGET]], on=c.EXAMPLE)
    for name, frame in (("llm", llm), ("recommender", recommender)):
        rows = rows.merge(frame[[*keys, c.SCORES]].rename(columns={c.SCORES: name}), on=keys)
    if not (rows[c.SPLIT] == c.VALIDATION).any():
        raise DataError("LLM and recommender have no validation candidate set in common to choose a weight on: run `dvc repro`")
    return rows


def _log_shares(rows: pd.DataFrame, column: str, facts: PredictionMetadata) -> npt.NDArray[np.float64]:
    if rows[column].isna().any():
        raise DataError(f"{facts.system} ({facts.mode}) has candidate sets without scores; only scored modes can be fused")
    shares: npt.NDArray[np.float64] = log_softmax(np.stack(rows[column].to_list()).astype(float), axis=1)
    return shares
