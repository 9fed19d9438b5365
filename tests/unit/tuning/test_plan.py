"""The plan of a run: complete, within budget, and drawn from independent streams."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llara_core.errors import ConfigError
from llara_core.llm.prompts.templates import HISTORY_TEMPLATES, RANKING_TEMPLATES
from llara_core.objectives.base import DataSizes
from llara_core.tuning.plan import make_plan
from tests.helpers.llm import system_config

SIZES = DataSizes(history_lens=[number % 5 + 1 for number in range(300)], n_draws=3, sequence_lens=[2, 3, 21, 22, 40, 100])


def _plan(
    sizes: DataSizes = SIZES,
    *,
    seed: int = 0,
    schedule: str = "linear",
    sample_templates: bool = True,
    first_epoch: int = 0,
    **tune: Any,
) -> pd.DataFrame:
    config = system_config(tune={"epochs": 2, "max_examples": None, "batch_size": 4} | tune, curriculum={"schedule": schedule})
    return make_plan(
        sizes, config.tune, config.curriculum, sample_templates=sample_templates, seed=seed, first_epoch=first_epoch
    )


def test_same_seed_same_plan_and_another_seed_another() -> None:
    pd.testing.assert_frame_equal(_plan(seed=1), _plan(seed=1))
    for column in ("source", "template", "hybrid"):
        assert (_plan(seed=1)[column] != _plan(seed=2)[column]).any()


@pytest.mark.parametrize("objective", ["generative", "next_item"])
def test_choices_come_from_independent_streams(objective: str) -> None:
    plan = _plan(objective=objective)
    for changed in (_plan(objective=objective, schedule="direct"), _plan(objective=objective, sample_templates=False)):
        assert plan[["source", "start", "stop", "draw"]].equals(changed[["source", "start", "stop", "draw"]])
    assert plan["hybrid"].equals(_plan(objective=objective, sample_templates=False)["hybrid"])
    short = _plan(objective=objective, max_examples=8)
    assert plan.loc[:7, ["source", "start", "stop", "draw", "template"]].equals(
        short[["source", "start", "stop", "draw", "template"]]
    )


def test_every_epoch_shows_every_example_once_with_its_own_candidates() -> None:
    plan = _plan(epochs=4)
    assert len(plan) == 4 * 300
    for epoch in range(4):
        rows = plan.iloc[300 * epoch : 300 * (epoch + 1)]
        assert sorted(rows["source"]) == list(range(300))
        assert set(rows["draw"]) == {epoch % 3}
    assert plan["source"][:300].tolist() != plan["source"][300:600].tolist()


@pytest.mark.parametrize("objective", ["generative", "next_item"])
def test_a_continued_run_has_the_following_epochs(objective: str) -> None:
    tune, columns = {"objective": objective, "batch_size": 1, "micro_batch_size": 1}, ["source", "start", "draw"]
    longer, later = _plan(epochs=4, **tune)[columns], _plan(first_epoch=2, **tune)[columns]
    assert later.equals(longer.tail(len(later)).reset_index(drop=True))
    assert not later.equals(longer.head(len(later)))


def test_the_released_curriculum_trains_on_a_tenth_of_hybrid_prompts_in_five_epochs() -> None:
    plan = _plan(schedule="released", epochs=5)
    for epoch in range(5):
        p = plan["p_hybrid"][300 * epoch : 300 * (epoch + 1)].to_numpy()
        assert (p[0], p[-1]) == (pytest.approx(0, abs=1e-9), pytest.approx(299 / 300 / 5))
    assert plan["hybrid"].mean() == pytest.approx(0.1, abs=0.03)  # of 1,500 rows


def test_short_histories_are_omitted_and_the_others_keep_their_order() -> None:
    every, long = _plan(epochs=2), _plan(epochs=2, min_history_len=3)
    assert len(long) == 2 * 300 * 3 // 5  # of 1 to 5 items, three lengths of five are enough
    assert all(source % 5 + 1 >= 3 for source in long["source"])
    assert long["source"].tolist() == [source for source in every["source"] if source % 5 + 1 >= 3]
    chunks = _plan(objective="next_item")
    assert chunks.equals(_plan(objective="next_item", min_history_len=5))  # chunks have no histories
    with pytest.raises(ConfigError, match=r"tuning has 0 rows.*tune\.min_history_len"):
        _plan(min_history_len=6)


@settings(deadline=None, max_examples=40)
@given(
    chunk_len=st.integers(2, 25),
    lens=st.lists(st.integers(2, 60), min_size=1, max_size=6),
    seed=st.integers(0, 5),
)
def test_every_position_is_a_target_once_an_epoch(chunk_len: int, lens: list[int], seed: int) -> None:
    sizes = DataSizes([], 1, lens)
    plan = _plan(sizes, objective="next_item", epochs=1, chunk_len=chunk_len, batch_size=1, micro_batch_size=1, seed=seed)
    assert (plan["stop"] - plan["start"]).between(2, chunk_len).all()
    targets = Counter((row.source, place) for row in plan.itertuples() for place in range(row.start + 1, row.stop))
    assert targets == Counter((source, place) for source, length in enumerate(lens) for place in range(1, length))


def test_chunk_boundaries_differ_between_epochs() -> None:
    plan = _plan(DataSizes([], 1, [100] * 8), objective="next_item", chunk_len=21, epochs=2)
    half = len(plan) // 2
    cuts = [set(rows[["source", "start"]].itertuples(index=False, name=None)) for rows in (plan[:half], plan[half:])]
    assert cuts[0] != cuts[1]


@pytest.mark.parametrize("objective", ["generative", "next_item"])
@pytest.mark.parametrize("warm_start_rows", [0, 10, 16])
@pytest.mark.parametrize("mixture", [0.0, 0.5])
def test_every_batch_serves_one_objective_within_the_budget(objective: str, warm_start_rows: int, mixture: float) -> None:
    plan = _plan(objective=objective, warm_start_rows=warm_start_rows, mixture=mixture, max_examples=43)
    per_batch = plan["objective"].to_numpy().reshape(-1, 4)
    assert (per_batch == per_batch[:, :1]).all()
    n_warm = warm_start_rows // 4  # incomplete batches are omitted
    assert len(per_batch) == n_warm + 43 // 4
    assert (per_batch[:n_warm, 0] != objective).all()
    rest = per_batch[n_warm:, 0] == objective
    assert rest.all() if mixture == 0 else 0 < rest.sum() < len(rest)


def test_the_mixture_has_about_its_share() -> None:
    plan = _plan(mixture=0.3, epochs=10)
    batches = len(plan) / 4
    assert (plan["objective"] == "next_item").mean() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / batches) ** 0.5)


@pytest.mark.parametrize("schedule", ["linear", "sqrt", "quadratic", "cosine", "sigmoid"])
def test_realised_hybrid_share_follows_p(schedule: str) -> None:
    plan = _plan(schedule=schedule, epochs=10)
    for rows in np.array_split(plan.index, 5):
        part = plan.loc[rows]
        p = part["p_hybrid"].to_numpy()
        assert part["hybrid"].mean() == pytest.approx(p.mean(), abs=4 * (p * (1 - p)).sum() ** 0.5 / len(part) + 1e-9)
    assert plan["p_hybrid"].is_monotonic_increasing
    assert plan["p_hybrid"][0] == pytest.approx(0)
    assert plan["p_hybrid"].iloc[-1] > 0.99


def test_direct_is_always_hybrid_and_two_stage_after_two_of_five_epochs() -> None:
    assert _plan(schedule="direct")["hybrid"].all()
    plan = _plan(schedule="two_stage", epochs=5)
    assert plan["hybrid"].tolist() == [False] * (2 * 300) + [True] * (3 * 300)


def test_templates_are_within_their_objective() -> None:
    plan = _plan(mixture=0.5)
    for name, templates in (("generative", RANKING_TEMPLATES), ("next_item", HISTORY_TEMPLATES)):
        assert set(plan.loc[plan["objective"] == name, "template"]) == set(range(len(templates)))
    assert set(_plan(sample_templates=False)["template"]) == {0}


def test_a_budget_below_one_batch_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"tuning has 3 rows, which do not fill one batch of tune\.batch_size 4"):
        _plan(max_examples=3)
    with pytest.raises(ConfigError, match="tuning has 3 rows"):  # the warm start fills no batch of the main objective
        _plan(max_examples=3, warm_start_rows=8)


def test_nothing_to_mix_in_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"no rows for tune.warm_start_rows or tune.mixture"):
        _plan(DataSizes([5] * 8, 1, []), warm_start_rows=4)
