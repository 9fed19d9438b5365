"""Systems that are asked: untuned ones as they are, tuned ones with the recommender's scores of these candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core.answers.held_out import HeldOut
from llara_core.answers.predictions import PredictionMetadata, Questions, from_scores, write_predictions
from llara_core.answers.prompts import ranking_queries
from llara_core.errors import DataError
from llara_core.inference.llm_systems import AnswerLimits, held_out_score_features, load_system
from llara_core.llm.score_features import normalise_scores
from tests.helpers.llm import LABELS, LLM, N_ITEMS, WORDING, llm_system, make_encoder, make_model, system_config

LOGITS = np.array([[0.0, 2.0, 1.0]], dtype=np.float32)
GUIDED = {"slot": "before", "recommender_scores": True}


def _held_out() -> HeldOut:
    examples = pd.DataFrame({c.EXAMPLE: [4], c.USER: [1], c.SPLIT: [c.TEST], c.HISTORY: [[0, 1]], c.TARGET: [3]})
    return HeldOut("tiny", examples, pd.DataFrame({c.EXAMPLE: [4], c.DRAW: [0], c.CANDIDATES: [[3, 5, 7]]}), "abc", LABELS)


def _recommender(folder: Path, candidates_hash: str) -> Path:
    metadata = PredictionMetadata(
        dataset="tiny", system="sasrec", mode="score", objective="none", seed=0, candidates_hash=candidates_hash
    )
    write_predictions(folder, from_scores(_held_out().candidates, LOGITS), metadata)
    return folder


def test_an_untuned_system_answers_in_the_ways_of_a_generative_one(tiny_llama: Path) -> None:
    prompt = system_config(prompt={"representation": "title"}).prompt
    system = load_system(prompt, tiny_llama, LLM, AnswerLimits(batch_size=1, max_new_tokens=4), WORDING, N_ITEMS)
    assert (system.objective, system.scores_catalogue) == ("none", False)
    assert sorted(system.answer(_held_out()).tables) == ["constrained", "generate", "score"]


def test_candidates_are_shown_with_their_texts_and_answered_by_their_titles(tiny_llama: Path) -> None:
    prompt = system_config(prompt={"representation": "title", "item_text": "full"}).prompt
    system = load_system(prompt, tiny_llama, LLM, AnswerLimits(batch_size=1, max_new_tokens=4), WORDING, N_ITEMS)

    def scores(texts: Sequence[str]) -> list[float]:
        return list(system.answer(replace(_held_out(), texts=texts)).tables["score"][c.SCORES][0])

    assert scores(LABELS) != scores([f"{label} (1999): drama" for label in LABELS])
    of_history = [f"{label} (1999): drama" if item in (0, 1) else label for item, label in enumerate(LABELS)]
    assert scores(LABELS) == scores(of_history)
    (query,) = ranking_queries(Questions.of(replace(_held_out(), texts=LABELS[::-1])), WORDING, prompt)
    shown = [*(LABELS[item] for item in (0, 1)), *(LABELS[::-1][item] for item in (3, 5, 7))]
    assert sorted(shown, key=query.prompt.text.index) == shown
    assert query.answers == tuple(LABELS[item] for item in (3, 5, 7))
    assert len(scores([f"{label}: <|behavior|>" for label in LABELS])) == 3  # a slot too many unless it is broken up
    with pytest.raises(DataError, match="texts of items, but none are given; run `dvc repro prepare`"):
        system.answer(_held_out())


def test_score_features_are_those_of_the_recommenders_scores(tmp_path: Path) -> None:
    shown = held_out_score_features(_recommender(tmp_path, "abc"), "out_of_fold", 0, _held_out())
    assert shown[[c.EXAMPLE, c.DRAW]].to_numpy().tolist() == [[4, 0]]
    np.testing.assert_array_equal(shown[c.SCORES][0], normalise_scores(LOGITS)[0])


def test_score_features_of_other_candidates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"score\.parquet: scores other candidate sets than .*tiny holds"):
        held_out_score_features(_recommender(tmp_path, "of other sets"), "out_of_fold", 0, _held_out())


def test_score_features_change_what_a_system_that_shows_them_answers(tiny_llama: Path) -> None:
    """And without any it does not answer."""
    model, encoder = make_model(tiny_llama, prompt=GUIDED), make_encoder(tiny_llama)
    prompt = system_config(prompt=GUIDED).prompt

    def scores(*shown: float) -> list[float]:
        score_features = pd.DataFrame({c.EXAMPLE: [4], c.DRAW: [0], c.SCORES: [normalise_scores(np.array(shown))]})
        system = llm_system(model, encoder, prompt=prompt, score_features_of=lambda _: score_features)
        return list(system.answer(_held_out()).tables["score"][c.SCORES][0])

    assert scores(0, 2, 1) == scores(0, 2, 1)
    assert scores(0, 2, 1) != scores(2, 0, 1)
    with pytest.raises(DataError, match="none are given; name the recommender"):
        llm_system(model, encoder, prompt=prompt).answer(_held_out())
    of_others = pd.DataFrame({c.EXAMPLE: [5], c.DRAW: [0], c.SCORES: [normalise_scores(LOGITS[0])]})
    with pytest.raises(DataError, match="did not score the candidate set of example 4, draw 0"):
        llm_system(model, encoder, prompt=prompt, score_features_of=lambda _: of_others).answer(_held_out())
