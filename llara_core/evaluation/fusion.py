"""Fusion of the scores of an LLM system and its recommender into one ranking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import log_softmax

from llara_core import columns as c
from llara_core import paths
from llara_core.answers import predictions
from llara_core.answers.held_out import HeldOut
from llara_core.answers.predictions import PredictionMetadata
from llara_core.config import Params
from llara_core.errors import DataError
from llara_core.evaluation.results import SCORED, SystemResults, has_answers, short_hash
from llara_core.evaluation.systems import fused_name, systems_of

WEIGHTS = np.arange(21) / 20  # LLM weights to choose from

Scored = tuple[pd.DataFrame, PredictionMetadata]


@dataclass(frozen=True)
class Pair:
    """Predictions tables of an LLM system and of its recommender, and the run name of their fusion."""

    llm: Path
    recommender: Path
    run_name: str

    def at_positions(self) -> Pair | None:
        """Returns the tables at further positions; None unless both exist."""
        llm, recommender = (paths.at_positions(file.parent) / file.name for file in (self.llm, self.recommender))
        return Pair(llm, recommender, self.run_name) if llm.exists() and recommender.exists() else None


def pairs(dataset: str, params: Params) -> list[Pair]:
    """Lists every LLM system of the run that has a recommender and scores candidates, one pair per seed.

    Raises:
        DataError: an LLM system has no predictions.
    """
    return [
        Pair(
            paths.system_predictions(dataset, llm_run_name) / SCORED,
            paths.recommender_predictions(dataset, paths.run_name(str(system.recommender), seed)) / SCORED,
            run_name,
        )
        for system in systems_of(params)
        if system.kind == "fused" and has_answers(system, lambda run_name: paths.system_predictions(dataset, run_name))
        for seed, run_name, llm_run_name in zip(params.run.seeds, system.run_names, system.llm_run_names, strict=True)
    ]


def fuse(llm: Scored, recommender: Scored, held_out: HeldOut, weight: float | None = None) -> Scored:
    """Ranks by ``(1 - w) log_softmax(recommender) + w log_softmax(LLM)``, with ``w`` chosen on validation.

    Returns predictions for the candidate sets that both systems answer, and their metadata, which hold the weight.

    Args:
        llm: scored predictions of the LLM system and their metadata.
        recommender: scored predictions of its recommender and their metadata.
        weight: LLM weight between 0 (only the recommender) and 1 (only the LLM); None chooses it on validation.

    Raises:
        DataError: the two answer different candidate sets, or one of them has no scores.

    Source:
        Ours; the paper does not combine scores.
    """
    metadata = _fused_metadata(llm[1], recommender[1])
    common = _common_rows(llm[0], recommender[0], held_out)
    log_p_llm, log_p_recommender = _log_shares(common, "llm", llm[1]), _log_shares(common, "recommender", recommender[1])
    items = np.stack(common[c.CANDIDATES].to_list())  # (N, C)
    target_index = (items == common[[c.TARGET]].to_numpy()).argmax(axis=1)  # (N,)
    validation = (common[c.SPLIT] == c.VALIDATION).to_numpy()
    if weight is None:
        weight = choose_weight(log_p_llm[validation], log_p_recommender[validation], target_index[validation])
    frame = predictions.from_scores(common, (1 - weight) * log_p_recommender + weight * log_p_llm)
    return frame, metadata.model_copy(update={"llm_weight": weight})


def weights(fused: SystemResults) -> list[float]:
    """Returns the LLM weight of each run of a fusion.

    Raises:
        DataError: the metadata of its predictions lack the weight.
    """
    chosen = [run.metadata.llm_weight for run in fused.runs if run.metadata.llm_weight is not None]
    if len(chosen) < len(fused.runs):
        raise DataError(f"{fused.system.name}: its predictions do not say the LLM weight of each run; run `dvc repro`")
    return chosen


def is_recommender_alone(results: SystemResults) -> bool:
    """Returns whether a system is a fusion with LLM weight 0 in every run, and thus equal to its recommender."""
    return results.system.kind == "fused" and not any(weights(results))


def choose_weight(
    log_p_llm: npt.NDArray[np.floating], log_p_recommender: npt.NDArray[np.floating], target_index: npt.NDArray[np.integer]
) -> float:
    """Chooses the weight of :data:`WEIGHTS` with the highest mean log-likelihood of the targets.

    The hit ratio changes in steps of one user, so the choice among weights that differ in a few hits would be luck. The
    log-likelihood of a log-linear mixture is concave in the weight, so it has a single, stable peak. On a plateau the smallest
    weight wins, which favours the recommender.

    Args:
        log_p_llm: ``(N, C)`` log-probabilities of the LLM over the candidates.
        log_p_recommender: ``(N, C)`` log-probabilities of the recommender.
        target_index: ``(N,)`` index of the target among the candidates.
    """
    likelihoods = []
    for weight in WEIGHTS:
        fused = log_softmax((1 - weight) * log_p_recommender + weight * log_p_llm, axis=1)
        likelihoods.append(np.take_along_axis(fused, target_index[:, None], axis=1).mean())
    return float(WEIGHTS[int(np.argmax(np.round(likelihoods, 9)))])  # rounded, so that rounding errors do not decide a plateau


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
    rows = held_out.candidates.merge(held_out.examples[[c.EXAMPLE, c.SPLIT, c.TARGET]], on=c.EXAMPLE)
    for name, frame in (("llm", llm), ("recommender", recommender)):
        rows = rows.merge(frame[[*c.SET_KEYS, c.SCORES]].rename(columns={c.SCORES: name}), on=c.SET_KEYS)
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
