"""Differences of LLM systems to their recommenders on slices of the test sets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.evaluation.paired import Difference
from llara_core.report import plots, slices
from llara_core.report.slices import HISTORY, POPULARITY, RANK, TITLE, Slice


def slices_of(world, **axes: object) -> dict[tuple[str, str], Slice]:
    comparisons = world.compared(world.on_axes(baselines=[], **axes))
    rows = {row.name: row for row in comparisons.primary_rows}
    of_llara = slices.slices(rows["llara"], rows["sasrec"], slices.slice_names(comparisons, world.examples), comparisons)
    return {(each.slicing, each.name): each for each in of_llara}


def target_of_test_users(world, targets: list[int]) -> None:
    """Let the seven test users' targets be these items; the candidate sets stay as they are."""
    examples = world.examples.copy()
    examples.loc[examples[c.SPLIT] == c.TEST, c.TARGET] = targets
    tables.write_table(paths.prepared("movielens") / "examples.parquet", examples, tables.EXAMPLES)


def test_items_are_thirds_of_the_interactions_and_those_without_any() -> None:
    # 12 interactions: items that come after 4 or more of them are middle, after 8 or more head.
    assert slices.popularity_slices(np.array([0, 4, 1, 1, 2, 4])) == [
        "no training interaction",
        "middle",
        "tail",
        "tail",
        "tail",
        "head",
    ]


def test_bins_are_named_by_what_they_hold() -> None:
    values = pd.Series([1, 2, 3, 4, 9])
    assert slices.in_bins(values, [1, 2, 4], "word").tolist() == [
        "1 word",
        "2 to 3 words",
        "2 to 3 words",
        "4 or more words",
        "4 or more words",
    ]
    assert slices.in_bins(values, [1, 1, 1], "item").tolist() == ["1 or more items"] * 5


def test_a_slice_holds_the_sets_of_its_users_and_compares_on_them_alone(world) -> None:
    tests = world.examples.loc[world.examples[c.SPLIT] == c.TEST]
    popular = tests[c.TARGET] < 10
    right = world.candidates[c.EXAMPLE].isin(tests.loc[popular, c.EXAMPLE]).to_numpy()[:, None]
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", np.where(right, world.target_is(1), world.target_is(2)), draws=2)
    world.put("fused-llara-0", world.target_is(1), mode="fused", llm_weight=0.3)
    found = slices_of(world)
    # Ten items with 4 of the 60 interactions each, ten with 2: the thirds end within the popular ones.
    of_popular = [each for (slicing, name), each in found.items() if slicing == POPULARITY and name in ("middle", "head")]
    unpopular = [each for (slicing, name), each in found.items() if slicing == POPULARITY and name not in ("middle", "head")]
    assert sum(each.n_users for each in of_popular) == popular.sum() > 0
    assert sum(each.n_sets for each in of_popular + unpopular) == 2 * 7
    assert {each.difference.mean for each in of_popular} == {0.0}
    assert {each.difference.mean for each in unpopular} == {-1.0}
    # Every history has two of ten items, every title two words, every target the first rank by sasrec.
    assert [(name, found[slicing, name].n_sets) for slicing, name in found if slicing in (HISTORY, TITLE, RANK)] == [
        ("1 to 5 items", 14),
        ("1 to 2 words", 14),
        ("1", 14),
    ]


def test_runs_of_the_same_seed_are_compared_and_users_counted_once(world) -> None:
    for seed in (0, 1):
        world.put(f"sasrec-{seed}", world.target_is(1 + seed))
        world.put(f"llara-{seed}", world.target_is(1 + seed))
        world.put(f"fused-llara-{seed}", world.target_is(1), mode="fused", llm_weight=0.3)
    found = slices_of(world, seeds=[0, 1])
    every = found[HISTORY, "1 to 5 items"]
    assert (every.n_users, every.n_sets) == (7, 7 * 3 * 2)
    assert (every.difference.hit_ratio, every.difference.reference_hit_ratio) == (0.5, 0.5)
    assert (every.difference.low, every.difference.high) == (0.0, 0.0)


def test_the_section_shows_the_best_llm_in_text_and_all_on_the_wide_page(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(2))
    world.put("fused-llara-0", world.target_is(1), mode="fused", llm_weight=0.3)
    section = slices.section(world.compared(world.on_axes(baselines=[])))
    assert section is not None
    (table,), (part,) = section.tables, section.parts
    assert table.caption.startswith("llara + sasrec")
    (other,) = part.tables
    assert (part.is_for_html, other.is_wide, other.caption) == (True, True, "llara (on sasrec)")
    assert [title for title, _ in other.groups] == [POPULARITY]  # the others have one slice
    assert section.verdict == ""  # seven users are too few for a sentence
    assert section.figures[0].draw().startswith(b"\x89PNG")


def test_the_sentence_names_the_ends_of_all_slices_that_are_large_enough(world) -> None:
    def each(slicing: str, name: str, n_users: int, mean: float) -> Slice:
        return Slice(slicing, name, n_users, n_users, Difference(0.5 + mean, 0.5, mean - 0.1, mean + 0.1, None, None))

    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(2))
    world.put("fused-llara-0", world.target_is(1), mode="fused", llm_weight=0.3)
    row = {row.name: row for row in world.compared(world.on_axes(baselines=[])).primary_rows}["llara"]
    rows = [
        each(TITLE, "1 word", 9, -0.4),
        each(TITLE, "2 words", 40, -0.2),
        each(RANK, "1", 53, -0.3),
        each(RANK, "2", 10, 0.1),
    ]
    assert slices._verdict(row, rows) == (
        "The difference of llara to sasrec in HR@1 ranges from -0.300 [-0.400, -0.200] (target's rank: 1; 53 users) to "
        "+0.100 [+0.000, +0.200] (target's rank: 2; 10 users) over slices of at least 10 users."
    )


def test_a_mean_that_rounding_puts_outside_its_interval_is_drawn() -> None:
    above = Difference(0.5, 0.5, 1e-17, 1e-17, None, None)
    assert plots.slices_figure({TITLE: {"llara": [("1 word", above)]}}).startswith(b"\x89PNG")


def test_without_an_llm_on_a_recommender_there_is_no_section(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    assert slices.section(world.compared(world.on_axes(baselines=[], systems=[]))) is None


@pytest.mark.parametrize("targets", [[25] * 7])
def test_targets_that_nobody_had_in_training_are_a_slice_of_their_own(world, targets: list[int]) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(1))
    world.put("fused-llara-0", world.target_is(1), mode="fused", llm_weight=0.3)
    comparisons = world.compared(world.on_axes(baselines=[]))
    target_of_test_users(world, targets)
    rows = {row.name: row for row in comparisons.primary_rows}
    names = {
        each.name
        for each in slices.slices(
            rows["llara"],
            rows["sasrec"],
            slices.slice_names(
                comparisons, tables.read_table(paths.prepared("movielens") / "examples.parquet", tables.EXAMPLES)
            ),
            comparisons,
        )
    }
    assert "no training interaction" in names
    assert not names & {"tail", "middle", "head"}
