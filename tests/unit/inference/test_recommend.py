"""Recommendations for one history: the titles are found, the history is never recommended, the order is the scores'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from llara_core.errors import DataError
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.recommend import find_items, recommend
from tests.helpers.llm import LABELS, WORDING, llm_system, make_encoder, make_model, system_config

ITEMS = pd.DataFrame(
    {
        "item_id": range(len(LABELS)),
        "title": ["Alien", "Alien", *LABELS[2:]],
        "label": ["Alien (1979)", "Alien (2003)", *LABELS[2:]],
    }
)


class ById:
    """A retriever that likes late item ids."""

    def score_catalogue(self, histories: Sequence[Any]) -> npt.NDArray[np.float32]:
        return np.tile(np.arange(len(LABELS), dtype=np.float32), (len(histories), 1))


def _recommend(folder: Path, objective: str, history: list[int], top: int, max_history_len: int = 10) -> pd.DataFrame:
    model = make_model(folder, with_head=objective == "next_item")
    system = llm_system(model, make_encoder(folder), objective)
    options = {"max_history_len": max_history_len, "n_candidates": 5, "top": top}
    return recommend(system, ById(), history, ITEMS, **options)


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
    scores = HeadScorer(model, encoder, ITEMS["label"].to_list(), WORDING, system_config().prompt, 1).score_catalogue([[2, 7]])[
        0
    ]
    np.testing.assert_allclose(ranked["score"], scores[ranked["item_id"]], rtol=1e-5)
    assert ranked["score"].is_monotonic_decreasing


def test_a_generative_adapter_ranks_what_its_recommender_retrieves(tiny_llama: Path) -> None:
    ranked = _recommend(tiny_llama, "generative", [11, 3], top=3)
    assert len(ranked) == 3
    assert set(ranked["item_id"]) <= {10, 9, 8, 7, 6}  # the five latest ids that are not in the history
    assert ranked["score"].is_monotonic_decreasing
    assert ranked["label"].to_list() == [LABELS[item] for item in ranked["item_id"]]


@pytest.mark.parametrize("objective", ["next_item", "generative"])
def test_what_the_model_no_longer_reads_is_not_recommended_again(
    tiny_llama: Path, objective: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="llara_core.inference.recommend")
    ranked = _recommend(tiny_llama, objective, [11, 10, 3, 2, 7], top=50, max_history_len=2)
    eligible = {0, 1, 4, 5, 6, 8, 9} if objective == "next_item" else {9, 8, 6, 5, 4}
    assert set(ranked["item_id"]) == eligible
    assert caplog.messages == ["the model reads the last 2 of 5 items; none of all is recommended"]
    # What is read is what was read of a short history: only the exclusion knows of the rest.
    short = _recommend(tiny_llama, objective, [2, 7], top=50, max_history_len=2)
    if objective == "next_item":
        both = ranked.merge(short, on="item_id")
        assert len(both) == len(ranked)
        np.testing.assert_allclose(both["score_x"], both["score_y"], rtol=1e-5)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("history", "message"), [([], "name at least one title"), (list(range(len(LABELS))), "holds all 12 items of the catalogue")]
)
def test_a_history_that_leaves_nothing_is_an_error(tiny_llama: Path, history: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _recommend(tiny_llama, "generative", history, top=3)


@pytest.mark.parametrize("objective", ["next_item", "generative"])
def test_scores_that_are_not_finite_recommend_nothing(
    tiny_llama: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(self: object, histories: Sequence[Any]) -> npt.NDArray[np.float32]:
        return np.full((len(histories), len(LABELS)), np.nan, dtype=np.float32)

    monkeypatch.setattr(HeadScorer, "score_catalogue", nan)
    monkeypatch.setattr(ById, "score_catalogue", nan)
    with pytest.raises(DataError, match="1 of 1 rows of scores are not finite"):
        _recommend(tiny_llama, objective, [2, 7], top=3)
