"""Recommendations for one history: the titles are found, the history is never recommended, the order is the scores'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from llara_core.config import InferenceConfig
from llara_core.errors import DataError
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.recommend import find_items, recommend
from tests.helpers.llm import LABELS, WORDS, adapter_facts, make_encoder, make_model

ITEMS = pd.DataFrame(
    {
        "item_id": range(len(LABELS)),
        "title": ["Alien", "Alien", *LABELS[2:]],
        "label": ["Alien (1979)", "Alien (2003)", *LABELS[2:]],
    }
)
CONFIG = InferenceConfig(batch_size=2, max_draws=1, max_new_tokens=4, shuffled_histories=False)


class ById:
    """A retriever that likes late item ids."""

    def score_catalogue(self, histories: Sequence[Any]) -> npt.NDArray[np.float32]:
        return np.tile(np.arange(len(LABELS), dtype=np.float32), (len(histories), 1))


def _recommend(folder: Path, objective: str, history: list[int], top: int) -> pd.DataFrame:
    model = make_model(folder, with_head=objective == "next_item")
    facts = adapter_facts(model).model_copy(update={"objective": objective})
    return recommend(model, make_encoder(folder), facts, ById(), history, ITEMS, WORDS, CONFIG, n_candidates=5, top=top)


def test_titles_are_found_by_label_then_by_title_in_any_case() -> None:
    assert find_items(["alien (2003)", " Heat ", "TOY STORY"], ITEMS) == [1, 2, 7]
    decomposed = pd.DataFrame({"item_id": [3], "label": ["Ame\u0301lie"], "title": ["Ame\u0301lie"]})
    assert find_items(["am\u00e9lie"], decomposed) == [3]


def test_a_title_of_two_items_or_of_none_is_an_error_with_the_nearest_labels() -> None:
    with pytest.raises(DataError, match=r"no single item is called 'Alien'; did you mean 'Alien \((1979|2003)\)'"):
        find_items(["Alien"], ITEMS)
    with pytest.raises(DataError, match="did you mean 'Toy Story'"):
        find_items(["Toy Stor"], ITEMS)


def test_a_head_ranks_the_whole_catalogue_but_the_history(tiny_llama: Path) -> None:
    ranked = _recommend(tiny_llama, "next_item", [2, 7], top=50)
    assert sorted([*ranked["item_id"], 2, 7]) == list(range(len(LABELS)))
    model, encoder = make_model(tiny_llama, with_head=True), make_encoder(tiny_llama)
    facts = adapter_facts(model)
    scores = HeadScorer(model, encoder, ITEMS["label"].to_list(), WORDS, facts.prompt, 1).score_catalogue([[2, 7]])[0]
    np.testing.assert_allclose(ranked["score"], scores[ranked["item_id"]], rtol=1e-5)
    assert ranked["score"].is_monotonic_decreasing


def test_a_generative_adapter_ranks_what_its_recommender_retrieves(tiny_llama: Path) -> None:
    ranked = _recommend(tiny_llama, "generative", [11, 3], top=3)
    assert len(ranked) == 3
    assert set(ranked["item_id"]) <= {10, 9, 8, 7, 6}  # the five latest ids that are not in the history
    assert ranked["score"].is_monotonic_decreasing
    assert ranked["label"].to_list() == [LABELS[item] for item in ranked["item_id"]]
