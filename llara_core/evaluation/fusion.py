"""An LLM system and its recommender combined into one ranking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import log_softmax

from llara_core import columns as c
from llara_core import paths, predictions
from llara_core.config import Params
from llara_core.errors import DataError
from llara_core.evaluation.results import SCORED, SystemResults, is_made, short_hash
from llara_core.evaluation.systems import fused_name, systems_of
from llara_core.held_out import HeldOut
from llara_core.predictions import PredictionMetadata

WEIGHTS = np.linspace(0, 1, 21)
_NOTE = "LLM weight "

Scored = tuple[pd.DataFrame, PredictionMetadata]


@dataclass(frozen=True)
class Fusion:
    """Fused predictions, their metadata, and the weight of the LLM, between 0 (recommender alone) and 1 (LLM alone)."""

    frame: pd.DataFrame
    metadata: PredictionMetadata
    weight: float


@dataclass(frozen=True)
class Pair:
    """What is fused: the scores of an LLM cell and of its recommender, and the cell that the fusion is."""

    llm: Path
    recommender: Path
    cell: str

    def at_positions(self) -> Pair | None:
        """The same at positions; None where not both were asked there."""
        llm, recommender = (paths.at_positions(file.parent) / file.name for file in (self.llm, self.recommender))
        return Pair(llm, recommender, self.cell) if llm.exists() and recommender.exists() else None


def pairs(dataset: str, params: Params) -> list[Pair]:
    """Every LLM system of the axes that has a recommender and scores candidates, one pair per seed.

    Raises:
        DataError: an LLM system has no predictions.
    """
    return [
        Pair(
            paths.system_predictions(dataset, llm_cell) / SCORED,
            paths.recommender_predictions(dataset, paths.cell(str(system.recommender), seed)) / SCORED,
            cell,
        )
        for system in systems_of(params)
        if system.kind == "fused" and is_made(system, lambda cell: paths.system_predictions(dataset, cell))
        for seed, cell, llm_cell in zip(params.run.seeds, system.cells, system.llm_cells, strict=True)
    ]


def fuse(llm: Scored, recommender: Scored, held_out: HeldOut, weight: float | None = None) -> Fusion:
    """Rank by ``(1 - w) log_softmax(recommender) + w log_softmax(LLM)``, with ``w`` chosen on validation.

    The fusion answers the candidate sets that both answer.

    Args:
        llm: predictions with scores, and their metadata.
        recommender: those of the LLM system's recommender.
        held_out: examples and candidate sets of the data set.
        weight: that was chosen already; None to choose it.

    Raises:
        DataError: the two answer different candidate sets, or one of them has no scores.

    Source:
        Ours; the paper does not combine scores.
    """
    metadata = _fused_metadata(llm[1], recommender[1])
    common = _common_rows(llm[0], recommender[0], held_out)
    log_p_llm, log_p_recommender = _log_shares(common, "llm", llm[1]), _log_shares(common, "recommender", recommender[1])
    items = np.stack(common[c.CANDIDATES].to_list())  # [N, C]
    target_index = (items == common[[c.TARGET]].to_numpy()).argmax(axis=1)  # [N]
    validation = (common[c.SPLIT] == c.VALIDATION).to_numpy()
    if weight is None:
        weight = choose_weight(log_p_llm[validation], log_p_recommender[validation], target_index[validation])
    frame = predictions.from_scores(common, (1 - weight) * log_p_recommender + weight * log_p_llm)
    return Fusion(frame, metadata.model_copy(update={"note": f"{_NOTE}{weight:.2f}"}), weight)


def weights(fused: SystemResults) -> list[float]:
    """The weight of the LLM in each run of a fusion.

    Raises:
        DataError: its predictions do not say it.
    """
    notes = [run.metadata.note for run in fused.runs]
    try:
        return [float(note.removeprefix(_NOTE)) for note in notes]
    except ValueError as error:
        raise DataError(
            f"{fused.system.name}: each of its runs should note '{_NOTE}' and a number, but they note {notes}; run `dvc repro`"
        ) from error


def is_recommender_alone(results: SystemResults) -> bool:
    """Whether a system is a fusion that leaves the LLM out in every run, so that it is its recommender under another name."""
    return results.system.kind == "fused" and not any(weights(results))


def choose_weight(
    log_p_llm: npt.NDArray[np.floating], log_p_recommender: npt.NDArray[np.floating], target_index: npt.NDArray[np.integer]
) -> float:
    """The weight of :data:`WEIGHTS` under which the fused scores give the targets the highest mean log-likelihood.

    The hit ratio moves in steps of one user and would choose by luck among weights that differ in a few hits. The
    log-likelihood of a log-linear mixture is concave in the weight, so it has one peak and is stable. On a plateau the
    smallest weight wins, that is the recommender.

    Args:
        log_p_llm: ``(N, C)`` log-probabilities over the candidates.
        log_p_recommender: ``(N, C)``, those of the recommender.
        target_index: ``(N,)``, the target's place among the candidates.
    """
    likelihoods = []
    for weight in WEIGHTS:
        fused = log_softmax((1 - weight) * log_p_recommender + weight * log_p_llm, axis=1)
        likelihoods.append(np.take_along_axis(fused, target_index[:, None], axis=1).mean())
    return float(WEIGHTS[int(np.argmax(np.round(likelihoods, 9)))])  # rounded: a plateau has no winner by rounding error


def _fused_metadata(llm: PredictionMetadata, recommender: PredictionMetadata) -> PredictionMetadata:
    if llm.candidates_hash != recommender.candidates_hash:
        raise DataError(
            f"{llm.system} answers the candidate sets {short_hash(llm.candidates_hash)}, but {recommender.system} answers "
            f"{short_hash(recommender.candidates_hash)}; scores of different candidates cannot be fused: run `dvc repro`"
        )
    return llm.model_copy(
        update={"system": fused_name(llm.system, recommender.system), "mode": "fused", "seed": recommender.seed}
    )


def _common_rows(llm: pd.DataFrame, recommender: pd.DataFrame, held_out: HeldOut) -> pd.DataFrame:
    keys = [c.EXAMPLE, c.DRAW]
    rows = held_out.candidates.merge(held_out.examples[[c.EXAMPLE, c.SPLIT, c.TARGET]], on=c.EXAMPLE)
    for name, frame in (("llm", llm), ("recommender", recommender)):
        rows = rows.merge(frame[[*keys, c.SCORES]].rename(columns={c.SCORES: name}), on=keys)
    if not (rows[c.SPLIT] == c.VALIDATION).any():
        raise DataError("LLM and recommender share no validation candidate set to choose a weight on; run `dvc repro`")
    return rows


def _log_shares(rows: pd.DataFrame, column: str, metadata: PredictionMetadata) -> npt.NDArray[np.float64]:
    if rows[column].isna().any():
        raise DataError(
            f"{metadata.system} ({metadata.mode}) has candidate sets without scores; only scored modes can be fused"
        )
    shares: npt.NDArray[np.float64] = log_softmax(np.stack(rows[column].to_list()).astype(float), axis=1)
    return shares
