"""The table of objectives: each line has its module, and rules ask what an objective declares, not what it is called."""

from __future__ import annotations

from typing import Any

import pytest

from llara_core.config import OBJECTIVES
from llara_core.config.objectives import ObjectiveTraits
from llara_core.objectives import registry
from tests.helpers.llm import system_config


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_line_has_its_module_and_a_partner_that_the_table_names(name: str) -> None:
    assert registry.OBJECTIVES[name].n_templates > 0
    assert OBJECTIVES[name].partner in {*OBJECTIVES, None}


def test_an_unknown_objective_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown objective 'ranking'; choose from \['generative', 'next_item', 'preference'\]"
    ):
        system_config(tune={"objective": "ranking"})


GUIDED = {"prompt": {"recommender_scores": True}}
BEFORE = {"prompt": {"slot": "before"}}
COMPACT = {"prompt": {"representation": "compact"}}


@pytest.mark.parametrize(
    ("declared", "changes", "message"),
    [
        ({"shows_candidates": True}, GUIDED, None),
        ({}, GUIDED, r"recommender_scores needs candidates .* objective generative or preference \["),
        ({"writes_title": True}, COMPACT, "compact shows no titles .* tune.objective to next_item, "),
        ({}, COMPACT, None),
        (
            {"reads_slot_after_title": True},
            BEFORE,
            "objective next_item or probe reads: .* to objective generative or preference with",
        ),
        ({}, BEFORE, None),
        ({"shows_candidates": True}, {"tune": {"ranking_weight": 1.0}}, None),
        ({}, {"tune": {"ranking_weight": 1.0}}, "ranking_weight needs a slot at every candidate"),
    ],
)
def test_levers_are_checked_against_what_an_objective_declares(
    monkeypatch: pytest.MonkeyPatch, declared: dict[str, Any], changes: dict[str, dict[str, Any]], message: str | None
) -> None:
    monkeypatch.setitem(OBJECTIVES, "probe", ObjectiveTraits(partner="probe", unit="rows", **declared))
    changes = {**changes, "tune": {"objective": "probe", **changes.get("tune", {})}}
    if message is None:
        assert system_config(**changes).tune.objective == "probe"
    else:
        with pytest.raises(ValueError, match=message):
            system_config(**changes)


def test_what_a_mixture_adds_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "probe", ObjectiveTraits(partner="generative", unit="rows"))
    system_config(**COMPACT, tune={"objective": "probe"})
    with pytest.raises(ValueError, match="compact shows no title"):
        system_config(**COMPACT, tune={"objective": "probe", "mixture": 0.5})
