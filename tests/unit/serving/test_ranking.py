"""Rankings, excluded items, and independence of other histories and the batch size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from llara_core.answers.prompts import Query
from llara_core.errors import ConfigError, DataError, ModelError
from llara_core.inference.candidate_answers import answer_queries
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.llm_systems import LlmSystem
from llara_core.llm.prompts.rendering import render_ranking
from llara_core.llm.score_features import normalise_scores
from llara_core.runtime import seeding
from llara_core.serving.ranking import Ranked, Ranker
from tests.helpers.llm import LABELS, N_ITEMS, WORDING, llm_system, make_encoder, make_model, system_config

OBJECTIVES = ("next_item", "generative", "preference")


class ById:
    """A retriever that likes late item ids."""

    def score_catalogue(self, histories: Sequence[Any]) -> npt.NDArray[np.float32]:
        return np.tile(np.arange(N_ITEMS, dtype=np.float32), (len(histories), 1))


def _system(folder: Path, objective: str, **limits: Any) -> LlmSystem:
    model = make_model(folder, with_head=objective == "next_item")
    return llm_system(model, make_encoder(folder), objective, **limits)


def _ranker(system: LlmSystem | None, max_history_len: int = 10) -> Ranker:
    return Ranker(LABELS, LABELS, max_history_len, 5, ById(), system)


def _rank(system: LlmSystem | None, history: list[int], top: int, max_history_len: int = 10, **options: Any) -> Ranked:
    (ranked,) = _ranker(system, max_history_len).rank([history], top=top, **options)
    return ranked


def test_a_recommender_ranks_what_is_not_in_the_history() -> None:
    ranked = _rank(None, [11, 3], top=3, n_candidates=2)  # retrieves nothing for a language model
    assert ranked.items.tolist() == [10, 9, 8]
    assert ranked.scores.tolist() == [10, 9, 8]


def test_a_head_ranks_the_whole_catalogue_but_the_history(tiny_llama: Path) -> None:
    system = _system(tiny_llama, "next_item")
    ranked = _rank(system, [2, 7], top=50)
    assert sorted([*ranked.items, 2, 7]) == list(range(N_ITEMS))
    scorer = HeadScorer(system.model, system.encoder, LABELS, WORDING, system_config().prompt, 1)
    np.testing.assert_allclose(ranked.scores, scorer.score_catalogue([[2, 7]])[0][ranked.items], rtol=1e-5)
    assert (np.diff(ranked.scores) <= 0).all()


def test_a_generative_system_ranks_what_its_recommender_retrieves_by_the_titles_likelihoods(tiny_llama: Path) -> None:
    system = _system(tiny_llama, "generative")
    ranked = _rank(system, [11, 3], top=50)
    assert set(ranked.items) == {10, 9, 8, 7, 6}  # the five latest ids that are not in the history
    assert (np.diff(ranked.scores) <= 0).all()
    order = seeding.numpy_stream(0, "recommended candidates", 11, 3).permutation(5)
    shown = [(10, 9, 8, 7, 6)[place] for place in order]
    prompt = render_ranking([11, 3], shown, LABELS, WORDING, "hybrid", 0)
    query = Query(prompt, tuple(LABELS[item] for item in shown))
    direct = answer_queries(system.model, system.encoder, [query], batch_size=1, max_new_tokens=1).scores[0]
    by_item = dict(zip(shown, direct, strict=True))
    np.testing.assert_allclose(ranked.scores, [by_item[item] for item in ranked.items], atol=1e-4)


def test_a_prompt_shows_the_recommenders_score_of_each_candidate(tiny_llama: Path) -> None:
    guided = {"slot": "before", "recommender_scores": True}
    prompt = system_config(prompt=guided).prompt
    system = llm_system(make_model(tiny_llama, prompt=guided), make_encoder(tiny_llama), prompt=prompt)
    ranked = _rank(system, [11], top=2, n_candidates=2)
    shown = np.array([10, 9])[seeding.numpy_stream(0, "recommended candidates", 11).permutation(2)]
    score_features = normalise_scores(shown.astype(np.float32))
    rendered = render_ranking([11], shown.tolist(), LABELS, WORDING, "hybrid", 0, slot="before", scores=score_features)
    query = Query(rendered, tuple(LABELS[item] for item in shown))
    direct = answer_queries(system.model, system.encoder, [query], batch_size=1, max_new_tokens=1).scores[0]
    np.testing.assert_allclose(np.sort(ranked.scores), np.sort(direct), atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_number_of_candidates_can_be_chosen(tiny_llama: Path, objective: str) -> None:
    system = _system(tiny_llama, objective)
    assert set(_rank(system, [11], top=50, n_candidates=3).items) == {10, 9, 8}
    assert set(_rank(system, [11], top=50, n_candidates=400).items) == set(range(11))
    assert _rank(system, [11], top=2, n_candidates=3, retrieve_only=True).items.tolist() == [10, 9]
    assert _rank(system, [11], top=3, n_candidates=2, retrieve_only=True).items.tolist() == [10, 9]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_unread_items_of_a_history_are_not_recommended(
    tiny_llama: Path, objective: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="llara_core.serving.ranking")  # which pipeline.serve makes quiet
    system = _system(tiny_llama, objective)
    ranked = _rank(system, [11, 10, 3, 2, 7], top=50, max_history_len=2)
    assert set(ranked.items) == ({0, 1, 4, 5, 6, 8, 9} if objective == "next_item" else {9, 8, 6, 5, 4})
    assert caplog.messages == ["only the last 2 of 5 items are read; no item of the history is recommended"]
    # What is read is what was read of a short history: only the exclusion knows of the rest.
    short = _rank(system, [2, 7], top=50, max_history_len=2)
    if objective == "next_item":
        by_item = dict(zip(short.items.tolist(), short.scores.tolist(), strict=True))
        np.testing.assert_allclose(ranked.scores, [by_item[item] for item in ranked.items.tolist()], rtol=1e-5)
    assert len(caplog.messages) == 1
    list(_ranker(system, 2).rank([[1], [1, 2, 3], [4, 5, 6]], top=1))
    assert caplog.messages[1].startswith("2 of 3 histories are longer than the 2 items that are read")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_other_histories_and_batch_size_change_scores_only_by_rounding(tiny_llama: Path, objective: str) -> None:
    """In float32. Some of the histories leave fewer items than candidates are wanted."""
    rng = np.random.default_rng(0)
    histories = [rng.permutation(N_ITEMS)[:length].tolist() for length in (1, 3, 5, 9, 10, 2, 4, 11)]
    alone = [_rank(_system(tiny_llama, objective, batch_size=1), history, top=50) for history in histories]
    for batch_size in (1, 3, 8):
        together = list(_ranker(_system(tiny_llama, objective, batch_size=batch_size)).rank(histories, top=50))
        for one, same in zip(alone, together, strict=True):
            assert one.items.tolist() == same.items.tolist()
            np.testing.assert_allclose(one.scores, same.scores, atol=1e-4)
    assert [len(one.items) for one in alone] == [
        N_ITEMS - len(history) if objective == "next_item" else min(5, N_ITEMS - len(history)) for history in histories
    ]


@pytest.mark.parametrize("objective", [*OBJECTIVES, None])
def test_a_history_of_the_whole_catalogue_gets_nothing(tiny_llama: Path, objective: str | None) -> None:
    system = None if objective is None else _system(tiny_llama, objective)
    everything, one = _ranker(system).rank([list(range(N_ITEMS)), list(range(N_ITEMS - 1))], top=3)
    assert everything.items.tolist() == []
    assert one.items.tolist() == [N_ITEMS - 1]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_scores_that_are_not_finite_recommend_nothing(
    tiny_llama: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(self: object, histories: Sequence[Any]) -> npt.NDArray[np.float32]:
        return np.full((len(histories), N_ITEMS), np.nan, dtype=np.float32)

    monkeypatch.setattr(HeadScorer, "score_catalogue", nan)
    monkeypatch.setattr(ById, "score_catalogue", nan)
    with pytest.raises(DataError, match="1 of 1 rows of scores are not finite"):
        _rank(_system(tiny_llama, objective), [2, 7], top=3)


def test_an_empty_history_or_missing_retriever_is_an_error(tiny_llama: Path) -> None:
    with pytest.raises(DataError, match="1 of 2 histories are empty"):
        list(_ranker(None).rank([[1], []], top=3))
    with pytest.raises(ConfigError, match="no recommender to retrieve"):
        list(Ranker(LABELS, LABELS, 10, 5, None, _system(tiny_llama, "generative")).rank([[1]], top=3))
    system = _system(tiny_llama, "generative")
    system.model.causal_lm.config.max_position_embeddings = 120
    with pytest.raises(ModelError, match=r"a prompt has \d+ tokens, but the language model reads 120 at most"):
        _rank(system, [1], top=3)
