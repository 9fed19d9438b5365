import itertools
from dataclasses import replace

import pytest

from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report import pages, terminal


@pytest.fixture
def rows(params: Params, world) -> list[ComparedSystem]:
    return world.compared(params).primary_rows


def renamed(row: ComparedSystem, name: str) -> ComparedSystem:
    return replace(row, results=replace(row.results, system=replace(row.system, name=name)))


def test_the_verdict_a_line_per_system_and_the_weights(params: Params, world) -> None:
    lines = pages.terminal_text([pages.dataset_report(world.compared(params))]).splitlines()
    assert lines[2].startswith("sasrec is best on validation (HR@1 1.000) and reaches 1.000 [1.000, 1.000] on test")
    start = lines.index(next(line for line in lines if line.startswith("  system"))) + 2
    assert [line.split("  ")[0 if line[0] == "*" else 1] for line in lines[start : start + 5]] == [
        "popularity",
        "* sasrec",
        "tallrec",
        "llara",
        "llara + sasrec (0.30)",
    ]


def test_the_legend_explains_what_the_table_has(rows: list[ComparedSystem]) -> None:
    popularity, sasrec, *_, fused = rows
    legend = terminal.summary("title", "verdict", [popularity, sasrec]).rpartition("\n\n")[2].replace("\n", " ")
    assert legend == (
        "*: best on validation. by: s scores. val, test: HR@1. vs sasrec: difference to the reference, the best baseline or "
        "recommender on validation. valid: exact titles. n: users x sets (x seeds)."
    )
    with_fusion = terminal.summary("title", "verdict", [sasrec, fused]).replace("\n", " ")
    assert "by: s scores, f fused with its recommender (LLM weight)." in with_fusion
    assert "own: difference to its own recommender on the same sets." in with_fusion


def test_it_fits_a_screen(rows: list[ComparedSystem]) -> None:
    _, best, *_, fused = rows
    for length, n_words, n_rows in itertools.product([3, 60, 120], [20, 2000], [1, 60]):
        many = [renamed(fused, f"{number}{length * 'x'} + sasrec") for number in range(n_rows)]
        lines = terminal.summary("title", n_words * "verdict ", [*many, best]).splitlines()
        assert len(lines) <= 40
        assert max(map(len, lines)) <= 100
        assert any(line.startswith("* sasrec") for line in lines)
        n_shown = sum(line.startswith("  ") and "xxx" in line for line in lines)
        assert n_shown >= min(n_rows, 5)
        if n_shown < n_rows:
            assert f"{n_rows - n_shown} systems lower on validation: see metrics/report.md." in lines
