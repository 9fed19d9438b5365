"""The section on further positions is independent of all others."""

from __future__ import annotations

import numpy as np
import pytest

from llara_core import columns as c
from llara_core import paths
from llara_core.config import Params
from llara_core.evaluation.evaluate import evaluate
from llara_core.evaluation.results import write_run
from llara_core.report import at_positions, pages, slices
from llara_core.report.comparisons import Comparisons, compare_systems
from tests.helpers.positions import ask, put

N_POSITIONS = [2] * 5 + [4, 2, 2, 2, 1, 1, 2]


def compared(world, params: Params, *, with_positions: bool = True) -> Comparisons:
    world.results(params)
    if with_positions:
        asked = ask(world.examples, N_POSITIONS)
        n_questions = len(asked.examples)
        put(asked, paths.baseline_predictions("movielens", "popularity"), np.zeros(n_questions))
        for seed in params.run.seeds:
            put(asked, paths.recommender_predictions("movielens", f"sasrec-{seed}"), asked.examples[c.TURN] == 0, seed=seed)
        for run_name, run in evaluate(asked, params):
            write_run(asked.folder(paths.results("movielens") / run_name), run)
    return compare_systems("movielens", params)


def test_a_row_per_system_that_was_asked(world, params: Params) -> None:
    section = at_positions.section(compared(world, params))
    assert section is not None
    assert section.heading == "At every position"
    popularity, sasrec = section.tables[0].lines
    assert popularity["System"] == "popularity"
    # 1 of 4, four times 1 of 2, twice 1 of 1; popularity never.
    expected = np.mean([1 / 4, *[1 / 2] * 4, 1, 1])
    assert sasrec["HR@1"].startswith(f"{expected:.3f} [")
    assert sasrec["NDCG@10"] == f"{expected + (1 - expected) / np.log2(3):.3f}"
    assert popularity["vs sasrec"].startswith(f"-{expected:.3f} [")
    assert (sasrec["vs sasrec"], sasrec["Users x positions"]) == ("reference", "7 x 2.0")
    assert section.verdict.startswith("sasrec is best on the validation questions here")


def test_the_section_warns_against_comparisons_with_other_tables(world, params: Params) -> None:
    section = at_positions.section(compared(world, params))
    assert section is not None
    assert section.notes[0].startswith(at_positions.WARNING)


@pytest.mark.parametrize("positions", ["all", "last"])
def test_without_answers_no_section_mentions_positions(world, params: Params, positions: str) -> None:
    evaluation = params.evaluation.model_copy(update={"positions": positions})
    comparisons = compared(world, params.model_copy(update={"evaluation": evaluation}), with_positions=False)
    assert not [each for each in pages.dataset_report(comparisons).sections if "position" in each.heading]


def test_no_other_part_of_the_page_changes(world, params: Params) -> None:
    both = [compared(world, params, with_positions=wanted) for wanted in (False, True)]
    without, with_positions = (
        [(each.heading, each.verdict, [table.lines for table in each.tables]) for each in pages.dataset_report(one).sections]
        for one in both
    )
    assert [each for each in with_positions if each[0] != "At every position"] == without
    assert len(with_positions) == len(without) + 1
    assert without[0] == with_positions[0]


def test_slices_are_of_the_questions_there(world, params: Params) -> None:
    asked = ask(world.examples, N_POSITIONS)
    turns = asked.examples[c.TURN]
    put(asked, paths.system_predictions("movielens", "llara-0"), turns == 1, objective="generative")
    section = slices.section(compared(world, params), "positions")
    assert section is not None
    assert section.heading == "Where they differ: at every position"
    assert section.notes == [at_positions.WARNING]
    ((slicing, first, second),) = [(title, *rows) for title, rows in section.tables[0].groups if title == slices.RANK]
    # sasrec is right at each user's first position, llara at the second, which 5 of the seven test users have; two are later.
    assert (slicing, first.name, first.n_sets, second.n_sets) == (slices.RANK, "1", 7, 5 + 2)
    assert (first.difference.hit_ratio, first.difference.reference_hit_ratio) == (0.0, 1.0)
    assert (second.difference.hit_ratio, second.difference.reference_hit_ratio) == (5 / 7, 0.0)
    assert slices.section(compared(world, params, with_positions=False), "positions") is None


def test_both_pages_have_it_and_name_its_questions(world, params: Params) -> None:
    report = pages.dataset_report(compared(world, params))
    for page in ("report.md", "report.html"):
        text = pages.render([report], params, page)
        assert "At every position" in text
        assert "at further positions: questions and sets sha256" in text


def test_with_three_runs_the_interval_covers_runs_too(world, three_runs: Params) -> None:
    section = at_positions.section(compared(world, three_runs))
    assert section is not None
    assert section.tables[0].lines[1]["Users x positions"] == "7 x 2.0 x 3"
    assert section.tables[0].lines[0]["p"] not in ("", "-", "one run")


def test_the_heading_names_the_number_of_positions(world, params: Params) -> None:
    evaluation = params.evaluation.model_copy(update={"positions": 3})
    section = at_positions.section(compared(world, params.model_copy(update={"evaluation": evaluation})))
    assert section is not None
    assert section.heading == "At 3 positions per user"
