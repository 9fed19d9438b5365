"""The catalogue head at inference: the right position, whatever the batch and the frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from llara_core import columns as c
from llara_core.answers.held_out import HeldOut
from llara_core.answers.predictions import Questions, answer_held_out, read_predictions
from llara_core.answers.prompts import Query, history_prompt, ranking_queries
from llara_core.config import PromptConfig
from llara_core.errors import ModelError
from llara_core.inference.batches import own_batches
from llara_core.inference.catalogue import HeadScorer
from llara_core.llm.hybrid import HybridLM
from tests.helpers.llm import LABELS, N_ITEMS, WORDING, llm_system, make_encoder, make_model, system_config

CHAT = "{% for m in messages %}<turn>{{ m.content }}</turn>{% endfor %}<turn>assistant:"
HISTORIES = [[0], [1, 2, 3], [4, 5], [6, 7, 8, 9, 10], [11, 0], [2], [3, 1], [8, 5, 4]]
PROMPT = system_config().prompt


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> HybridLM:
    return make_model(tiny_llama, with_head=True)


@pytest.mark.parametrize("chat_template", [None, CHAT])
def test_scores_are_read_at_the_last_item(tiny_llama: Path, model: HybridLM, chat_template: str | None) -> None:
    encoder = make_encoder(tiny_llama, chat_template=chat_template)
    scores = HeadScorer(model, encoder, LABELS, WORDING, PROMPT, batch_size=7).score_catalogue(HISTORIES)
    for history, row in zip(HISTORIES, scores, strict=True):
        prompt = history_prompt(history, LABELS, WORDING, PROMPT)
        ids = encoder.prompt_ids(prompt)
        last = max(place for place, token in enumerate(ids) if token == encoder.slots.behavior)
        with torch.inference_mode():
            hidden = model.hidden_states(torch.tensor([ids]), torch.ones(1, len(ids)), torch.tensor(prompt.slot_items))
            expected = model.head(hidden[0, last]).numpy()
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_scores_do_not_depend_on_the_batch_size(tiny_llama: Path, model: HybridLM) -> None:
    encoder = make_encoder(tiny_llama)
    by_size = [
        HeadScorer(model, encoder, LABELS, WORDING, PROMPT, batch_size=size).score_catalogue(HISTORIES) for size in (1, 7)
    ]
    np.testing.assert_allclose(by_size[0], by_size[1], rtol=1e-5, atol=1e-5)


def test_a_model_without_head_is_an_error(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match="this adapter has no catalogue head"):
        HeadScorer(make_model(tiny_llama), make_encoder(tiny_llama), LABELS, WORDING, PROMPT, batch_size=1)


def test_batches_cover_every_row_once_shortest_first() -> None:
    parts = own_batches([5, 1, 4, 1, 3], batch_size=2, is_sharded=False)
    assert [rows.tolist() for rows in parts] == [[1, 3], [4, 2], [0]]


def _held_out() -> HeldOut:
    examples = pd.DataFrame(
        {
            c.EXAMPLE: [4, 7],
            c.USER: [1, 2],
            c.SPLIT: [c.VALIDATION, c.TEST],
            c.HISTORY: [np.array([0, 1], dtype=np.int32), np.array([2], dtype=np.int32)],
            c.TARGET: [3, 4],
        }
    )
    candidates = pd.DataFrame(
        {
            c.EXAMPLE: [7, 4, 7, 4],
            c.DRAW: [0, 0, 1, 1],
            c.CANDIDATES: [np.array(row, dtype=np.int32) for row in ([4, 5, 6], [7, 3, 8], [9, 4, 0], [3, 5, 10])],
        }
    )
    return HeldOut("tiny", examples, candidates, "abc", LABELS)


def test_held_out_wordings_belong_to_the_question_and_not_to_the_row_order() -> None:
    def queries(candidates: pd.DataFrame, prompt: PromptConfig = PROMPT) -> list[Query]:
        return ranking_queries(Questions.of(replace(_held_out(), candidates=candidates)), WORDING, prompt)

    sets = _held_out().candidates
    assert queries(sets[::-1])[::-1] == queries(sets)
    many = pd.concat([sets.assign(**{c.DRAW: draw}) for draw in range(10)])
    assert len({query.prompt.text[:9] for query in queries(many)}) == 4
    first = system_config(prompt={"templates": "first"}).prompt
    assert all(query.prompt.text.startswith("This user") for query in queries(many, first))


def test_next_item_systems_score_all_draws_by_the_head(tiny_llama: Path, model: HybridLM) -> None:
    encoder = make_encoder(tiny_llama)
    candidates = _held_out().candidates
    by_mode = llm_system(model, encoder, "next_item").answer(_held_out()).tables
    assert list(by_mode) == ["score"]
    catalogue = HeadScorer(model, encoder, LABELS, WORDING, PROMPT, batch_size=1).score_catalogue([[2], [0, 1]])
    for number, row in by_mode["score"].iterrows():
        items = candidates[c.CANDIDATES][number]
        of_example = catalogue[0 if candidates[c.EXAMPLE][number] == 7 else 1]
        np.testing.assert_allclose(row[c.SCORES], of_example[items], rtol=1e-5, atol=1e-5)
        assert row[c.PREDICTED] == items[of_example[items].argmax()]
        assert 1 <= row[c.CATALOGUE_RANK] <= N_ITEMS


def test_generative_systems_answer_in_three_ways_the_first_draws(tiny_llama: Path) -> None:
    model, encoder = make_model(tiny_llama), make_encoder(tiny_llama)
    candidates = _held_out().candidates
    by_mode = llm_system(model, encoder).answer(_held_out()).tables
    assert sorted(by_mode) == ["constrained", "generate", "score"]
    for frame in by_mode.values():
        assert frame[c.EXAMPLE].to_list() == [7, 4]
        assert frame[c.DRAW].to_list() == [0, 0]
    assert by_mode["constrained"][c.VALID].all()
    for predicted, items in zip(by_mode["constrained"][c.PREDICTED], candidates[c.CANDIDATES], strict=False):
        assert predicted in items
    # A random model writes no title: invalid, with no prediction, but its text is kept.
    generated = by_mode["generate"]
    assert not generated[c.VALID].any()
    assert generated[c.PREDICTED].isna().all()
    assert generated[c.TEXT].notna().all()
    assert by_mode["score"][c.SCORES].map(len).to_list() == [3, 3]


def test_answers_to_dated_prompts_say_so(tiny_llama: Path) -> None:
    model = make_model(tiny_llama)
    for template, note in ((CHAT, ""), ("{{ strftime_now('%Y') }}" + CHAT, "prompts dated 2024-07-26")):
        assert llm_system(model, make_encoder(tiny_llama, chat_template=template)).answer(_held_out()).note == note


def test_shuffled_histories_ask_the_test_sets_again(tiny_llama: Path, tmp_path: Path) -> None:
    system = llm_system(make_model(tiny_llama), make_encoder(tiny_llama), max_draws=2)
    answer_held_out(system, _held_out(), tmp_path, system="llara", seed=0, shuffled_histories="all", hardware="")
    modes = ("generate", "constrained", "score")
    assert {path.stem for path in tmp_path.iterdir()} == {*modes, *(f"{mode}-shuffled" for mode in modes)}
    ordered, metadata = read_predictions(tmp_path / "score.parquet")
    shuffled, _ = read_predictions(tmp_path / "score-shuffled.parquet")
    assert metadata.objective == "generative"
    assert sorted(ordered[c.EXAMPLE]) == [4, 4, 7, 7]
    # Of the test split alone, whose history has one item here: its order cannot matter.
    assert shuffled[c.EXAMPLE].to_list() == [7, 7]
    of_test = ordered.query(f"{c.EXAMPLE} == 7")
    np.testing.assert_allclose(np.stack(shuffled[c.SCORES]), np.stack(of_test[c.SCORES]), rtol=1e-5)


def test_the_wording_of_a_history_does_not_depend_on_its_order() -> None:
    """So that shuffling a history changes nothing but the order."""
    wordings = set()
    for start in range(9):
        items = [start, start + 1, start + 2]
        forth, back = (history_prompt(order, LABELS, WORDING, PROMPT) for order in (items, items[::-1]))
        assert sorted(forth.slot_items) == sorted(back.slot_items)
        assert forth.text.partition(LABELS[items[0]])[0] == back.text.partition(LABELS[items[2]])[0]
        wordings.add(forth.text.partition(LABELS[items[0]])[0])
    assert len(wordings) > 1
