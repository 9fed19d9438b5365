"""Diversity, popularity and agreement of the systems' choices."""

from __future__ import annotations

import numpy as np
import pytest

from llara_core import columns as c
from llara_core.report import beyond_accuracy
from llara_core.report.beyond_accuracy import Choices


def choices_of(world, **axes: object) -> dict[str, Choices]:
    comparisons = world.compared(world.on_axes(baselines=[], **axes))
    return {each.row.name: each for each in beyond_accuracy.choices(comparisons)}


def test_an_equally_popular_item_counts_half() -> None:
    # Of the three others, the first item has all below it; the middle two have one below and one equally popular.
    assert beyond_accuracy.popularity_percentiles(np.array([9, 4, 4, 1])).tolist() == pytest.approx([1.0, 0.5, 0.5, 0.0])


def test_choices_are_those_of_the_first_candidate_sets(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    first = world.candidates[c.DRAW].to_numpy()[:, None] == 0
    world.put("llara-0", np.where(first, world.target_is(1), world.target_is(2)))  # differs where nothing is counted
    world.put("fused-llara-0", world.target_is(2), mode="fused", llm_weight=0.3)
    found = choices_of(world)
    tests = world.examples.loc[world.examples[c.SPLIT] == c.TEST]
    assert found["llara"].distinct == pytest.approx(tests[c.TARGET].nunique() / 7)
    # Ten items with 4 interactions, ten with 2, ten with none: of the 29 others 20, 10 or 0 are less popular, 9 equally
    # popular.
    percentile = {0: 24.5 / 29, 1: 14.5 / 29, 2: 4.5 / 29}
    assert found["llara"].popularity == pytest.approx(np.mean([percentile[target // 10] for target in tests[c.TARGET]]))
    assert (found["sasrec"].agreement, found["llara"].agreement, found["llara + sasrec"].agreement) == (None, 1.0, 0.0)


def test_an_invalid_answer_chooses_nothing_and_agrees_with_nobody(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    last = int(world.examples[c.EXAMPLE].max())
    world.put("llara-0", world.target_is(1), mode="generate", draws=1, invalid=last)
    world.put("fused-llara-0", world.target_is(1), mode="fused", llm_weight=0.3)
    assert choices_of(world)["llara"].agreement == pytest.approx(6 / 7)


def test_runs_are_averaged_and_not_pooled(world) -> None:
    for seed in (0, 1):
        world.put(f"sasrec-{seed}", world.target_is(1))
        world.put(f"llara-{seed}", world.target_is(1 + seed))
        world.put(f"fused-llara-{seed}", world.target_is(1), mode="fused", llm_weight=0.3)
    found = choices_of(world, seeds=[0, 1])
    one = choices_of(world, seeds=[0])
    assert found["sasrec"].distinct == one["sasrec"].distinct
    assert found["llara"].agreement == 0.5


def test_the_caption_states_the_popularity_of_the_targets(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    section = beyond_accuracy.section(world.compared(world.on_axes(baselines=[], systems=[])))
    (line,) = section.tables[0].lines
    assert line["Agreement"] == "-"
    assert line["Popularity"] in section.tables[0].caption  # a system that is always right chooses what the targets are
