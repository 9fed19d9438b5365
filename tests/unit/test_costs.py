"""Estimated costs of the stages: between the published runs, and from the budget of tuning."""

from __future__ import annotations

from typing import Any

from llara_core import columns as c
from llara_core.config import load_params
from pipeline.costs import estimate


def test_costs_grow_with_the_log_and_stay_within_their_band() -> None:
    params = load_params()

    def prepare_of(n_rows: int) -> dict[str, Any]:
        examples = {c.TRAIN: n_rows, c.VALIDATION: 10, c.TEST: 10}
        return {cost["stage"]: cost for cost in estimate(params, n_rows, 1000, n_rows, examples)}

    # The published runs of 30 million rows: 55 s and 6.2 GB, 418 s and 5.0 GB for 119 million sets.
    large = prepare_of(30_000_000)
    for stage, seconds, gigabytes in (("prepare", 55, 6.2), ("sample_candidates", 418, 5.0)):
        assert large[stage]["seconds"][0] <= seconds <= large[stage]["seconds"][2]
        assert large[stage]["gigabytes"][0] <= gigabytes <= large[stage]["gigabytes"][2]
    small = prepare_of(100_000)
    assert all(small[stage]["seconds"] <= large[stage]["seconds"] for stage in small)


def test_the_rows_of_tuning_are_those_of_the_budget_over_all_epochs() -> None:
    params = load_params()
    run = params.run.model_copy(update={"systems": ["llara", "llara_compact", "llara_guided", "llara_guided_sdpo"]})
    examples = {c.TRAIN: 100, c.VALIDATION: 10, c.TEST: 10}
    found = estimate(params.model_copy(update={"run": run}), 120, 50, 120, examples)
    rows = {cost["stage"]: cost["because"] for cost in found if cost["stage"].startswith("tune")}
    # llara: 5 epochs of 100 examples, cut at 256; llara_compact: one epoch of chunks of 21 items, below its limit.
    # llara_guided: 5 epochs of 100 examples, below its limit.
    assert rows == {
        "tune llara": "256 prompts",
        "tune llara_compact": "5 chunks",
        "tune llara_guided": "500 prompts",
        "tune_further llara_guided_sdpo": "256 prompts",
    }
