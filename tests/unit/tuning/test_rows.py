"""Rows of the plan as tensors: inputs and targets of each position."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llara_core.llm.encoding import PromptEncoder
from llara_core.objectives.base import IGNORE
from llara_core.tuning.rows import PlanDataset, collate
from tests.helpers.llm import LABELS, make_encoder, plan_of, system_config, training_data

DATA = training_data()


@pytest.fixture(scope="module")
def encoder(tiny_llama: Path) -> PromptEncoder:
    return make_encoder(tiny_llama)


def _dataset(encoder: PromptEncoder, representation: str = "hybrid", **changes: Any) -> PlanDataset:
    plan = plan_of(changes, {**changes, "source": 1, "hybrid": False})
    return PlanDataset(plan, DATA, encoder, system_config(prompt={"representation": representation}).prompt)


@pytest.mark.parametrize("representation", ["hybrid", "text", "behavior", "index"])
def test_generative_rows_predict_the_answer_and_nothing_else(encoder: PromptEncoder, representation: str) -> None:
    for index, example in ((0, 5), (1, 1)):
        row = _dataset(encoder, representation)[index]
        target = DATA.targets[example]
        answer = encoder.answer_ids(str(target) if representation == "index" else LABELS[target])
        n_prompt = len(row.input_ids) - len(answer)
        assert row.input_ids[n_prompt:] == list(answer)
        assert row.labels == [-100] * (n_prompt - 1) + list(answer) + [-100]
        assert answer[-1] == encoder.eos_id


def test_rows_show_the_texts_of_candidates_and_predict_titles(encoder: PromptEncoder) -> None:
    texts = [f"{label} (1999)" for label in LABELS]
    prompt = system_config(prompt={"item_text": "full"}).prompt
    row = PlanDataset(plan_of({}), replace(DATA, texts=texts), encoder, prompt)[0]
    assert row.prompt.text.count("(1999)") == len(DATA.candidates[5, 1])
    assert all(f"{texts[item]}<|behavior|>" in row.prompt.text for item in DATA.candidates[5, 1])
    answer = encoder.answer_ids(LABELS[DATA.targets[5]])
    assert row.input_ids[-len(answer) :] == list(answer)


def test_only_rows_drawn_hybrid_hold_behavior_tokens(encoder: PromptEncoder) -> None:
    hybrid, text = _dataset(encoder)[0], _dataset(encoder)[1]
    assert encoder.slots.placeholder not in hybrid.input_ids
    assert encoder.slots.behavior not in text.input_ids
    assert hybrid.input_ids.count(encoder.slots.behavior) == len(hybrid.prompt.slot_items) == len(DATA.histories[5]) + 4
    assert text.input_ids.count(encoder.slots.placeholder) == len(text.prompt.slot_items) == len(DATA.histories[1]) + 4


def test_ablations_have_no_curriculum(encoder: PromptEncoder) -> None:
    for row in (_dataset(encoder, "behavior")[0], _dataset(encoder, "behavior")[1]):
        assert encoder.slots.behavior in row.input_ids
        assert encoder.slots.placeholder not in row.input_ids


def test_the_row_names_its_candidate_set(encoder: PromptEncoder) -> None:
    for draw in (0, 1):
        row = _dataset(encoder, draw=draw)[0]
        assert list(row.prompt.slot_items) == [*DATA.histories[5], *DATA.candidates[5, draw]]


def test_a_row_has_the_place_of_its_target(encoder: PromptEncoder) -> None:
    rows = _dataset(encoder)
    places = [rows[index].target_place for index in range(2)]
    for example, place in zip((5, 1), places, strict=True):
        assert DATA.candidates[example, 1][place] == DATA.targets[example]
    assert places[0] != 0  # otherwise a constant would pass


def test_next_item_rows_predict_the_following_item_at_every_slot(encoder: PromptEncoder) -> None:
    row = _dataset(encoder, objective="next_item", source=3, start=2, stop=6)[0]
    items = DATA.sequences[3][2:6]
    slots = [place for place, token in enumerate(row.input_ids) if token == encoder.slots.behavior]
    assert list(row.prompt.slot_items) == items[:-1]
    assert [row.labels[place] for place in slots] == items[1:]
    assert sum(target != -100 for target in row.labels) == 3
    assert slots[-1] == len(row.input_ids) - 1


def test_index_chunks_predict_at_a_slot_behind_each_number(encoder: PromptEncoder) -> None:
    row = _dataset(encoder, "index", objective="next_item", source=0, stop=4)[0]
    at_slots = [target for token, target in zip(row.input_ids, row.labels, strict=True) if token == encoder.slots.placeholder]
    assert len(at_slots) == len(row.prompt.slot_items) > 0
    assert IGNORE not in at_slots
    assert encoder.slots.behavior not in row.input_ids


def test_collate_pads_on_the_left_and_keeps_targets_in_place(encoder: PromptEncoder) -> None:
    dataset = _dataset(encoder)
    rows = [dataset[0], dataset[1]]
    batch = collate(rows, encoder)
    for index, row in enumerate(rows):
        padding = batch["input_ids"].shape[1] - len(row.input_ids)
        assert batch["input_ids"][index, padding:].tolist() == row.input_ids
        assert batch["labels"][index].tolist() == [-100] * padding + row.labels
        assert batch["attention_mask"][index].tolist() == [0] * padding + [1] * len(row.input_ids)
    assert batch["slot_items"].tolist() == [*rows[0].prompt.slot_items, *rows[1].prompt.slot_items]
    assert batch["objective"] == "generative"


def test_a_batch_of_two_objectives_is_a_bug(encoder: PromptEncoder) -> None:
    other = _dataset(encoder, objective="next_item", source=3, start=0, stop=3)[0]
    with pytest.raises(ValueError, match="one objective"):
        collate([_dataset(encoder)[0], other], encoder)
