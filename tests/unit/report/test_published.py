"""Generated tables match ``results/``, and runs are compared with the published ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.held_out import read_positions
from llara_core.config import Params
from llara_core.errors import DataError
from llara_core.evaluation import published
from llara_core.evaluation.comparison import ComparedResults
from llara_core.evaluation.evaluate import evaluate
from llara_core.evaluation.results import read_results, write_run
from llara_core.evaluation.significance import further_run
from llara_core.evaluation.systems import systems_of
from llara_core.report import published as pages
from llara_core.report.comparisons import compare_systems
from llara_core.report.reproduction import reproduction_summary
from tests.helpers.positions import ask, put

REPOSITORY = Path(__file__).parents[3]
DIFFERENCE = re.compile(r"[+-]?\d?\.\d{3} \[[+-]?\d?\.\d{3},\s+[+-]?\d?\.\d{3}\]|\bp \.\d{3}")


def block(name: str, page: str) -> str:
    return page.partition(f"<!-- {name}:begin -->")[2].partition(f"<!-- {name}:end -->")[0]


def names(table: str) -> list[str]:
    """The systems of a table, without the mark of the best."""
    return re.findall(r"^\| (?!System|---)\**(.*?)\** \|", table, flags=re.MULTILINE)


def differences(text: str) -> set[str]:
    """Differences with their intervals, and p values."""
    return {" ".join(match.split()) for match in DIFFERENCE.findall(text)}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {page: (REPOSITORY / page).read_text(encoding="utf-8") for page in (pages.README, pages.RESULTS_PAGE)}


def test_the_generated_tables_are_up_to_date(texts: dict[str, str]) -> None:
    """If this fails, run ``python -m pipeline.publish write``."""
    for path, text in pages.updated_pages(REPOSITORY).items():
        assert text == texts[str(path.relative_to(REPOSITORY))]


def test_every_table_and_figure_of_the_pages_is_generated(texts: dict[str, str]) -> None:
    for each in pages.BLOCKS:
        assert all((REPOSITORY / paths.published(dataset)).exists() for dataset in each.datasets)
    figures = {str(path.relative_to(REPOSITORY / "docs")) for path in pages.updated_figures(REPOSITORY)}
    for page, text in texts.items():
        by_hand = re.sub(r"<!-- (\S+):begin -->.*?<!-- \1:end -->", "", text, flags=re.DOTALL)
        answers = {line for line in by_hand.splitlines() if line.startswith("| ") and "? | " in line}  # sentences, tested below
        with_figures = {line for line in by_hand.splitlines() if line.startswith("|") and re.search(r"\.\d{3}\b", line)}
        assert with_figures <= answers
        assert set(re.findall(r"!\[[^]]*\]\(([^)]*)\)", by_hand)) <= figures, page


def test_the_sentences_quote_differences_of_the_tables(texts: dict[str, str]) -> None:
    """A difference or p value that is not in a table comes from older results."""
    in_tables = differences("\n".join(block(each.name, texts[each.page]) for each in pages.BLOCKS))
    assert differences("\n".join(texts.values())) - in_tables == set()


@pytest.fixture
def kept(world, three_runs: Params) -> Params:
    """Three runs whose results on last items and at further positions are published."""
    three_runs = world.on_axes(seeds=[0, 1, 2])
    asked = ask(world.examples, [2] * len(world.examples))
    for seed in three_runs.run.seeds:
        put(
            asked,
            paths.recommender_predictions("movielens", f"sasrec-{seed}"),
            right=[True, False] * 12,
            system="sasrec",
            seed=seed,
        )
    finish(world, three_runs)
    published.collect("movielens", three_runs, "0123456789", "make repro")
    return three_runs


def finish(world, params: Params) -> None:
    """Writes the outputs of the stage ``evaluate``."""
    world.results(params)
    asked = read_positions("movielens")
    assert asked is not None
    for run_name, run in evaluate(asked, params):
        write_run(asked.folder(paths.results("movielens") / run_name), run)


def test_published_results_compare_as_the_run_itself(world, kept: Params) -> None:
    results = published.read_published("movielens")
    assert results is not None
    run = compare_systems("movielens", kept)
    assert run.reproduction.startswith("Your runs (seeds 0, 1, 2) against the spread of the 3 published runs")
    own = {row.name: row for row in run.primary_rows}
    rows = results.primary_rows
    for row in rows:
        assert (row.test, row.validation) == (own[row.name].test, own[row.name].validation)
        assert row.difference == own[row.name].difference
        assert (row.versus, row.is_versus_recommender, row.is_best) == (
            own[row.name].versus,
            own[row.name].is_versus_recommender,
            own[row.name].is_best,
        )
    assert [row.name for row in rows] == list(own)
    assert [row.test["hit_ratio@1"] for row in results.rows_at_positions] == [0.5]
    assert results.provenance.sources[0].hardware == run.hardware
    short, full = pages.results_table(results), pages.all_systems_table(results)
    assert names(short) == ["popularity", "sasrec", "llara (on sasrec)"]
    assert names(full)[:-1] == names(short)
    assert names(full)[-1].startswith("llara + sasrec (LLM weight ")
    assert "3 runs (seeds 0, 1, 2); 95% intervals over users and runs, for untrained systems over users. ±: " in short
    assert "commands, commits and machines: `results/movielens.json`." in short
    assert "Test HR@1 by score instead of text: llara 0.000 †." in short
    assert full.startswith("**movielens.** ")
    assert "| sasrec | 3 | 1.000, 1.000, 1.000 | 1.000 (0.000) |" in pages.runs_table(results)
    assert "| sasrec, on 1 candidate set | 1 | 1.000, 1.000, 1.000 |" in pages.runs_table(results)
    file = paths.published("movielens").with_suffix(".json")
    tables.write_json(file, tables.read_json(file) | {"rows": "0"})
    with pytest.raises(DataError, match="describes another version"):
        published.read_published("movielens")


def test_systems_of_another_run_are_added_where_the_questions_are_the_same(world, kept: Params) -> None:
    other = world.on_axes(recommenders=["caser", "sasrec"], systems=[], baselines=[], seeds=[0])
    world.put("caser-0", world.target_is(2))
    finish(world, other)
    published.collect("movielens", other, "9876543210", "make repro", keep_others=True)
    results = published.read_published("movielens")
    assert results is not None
    assert [each.name for each in results.provenance.systems][:3] == ["popularity", "sasrec", "caser"]
    assert [source.systems for source in results.provenance.sources] == [
        ["popularity", "llara", "llara + sasrec"],
        ["caser", "sasrec"],
    ]
    assert [len(each.runs) for each in results.last if each.system.kind == "recommender"] == [1, 1]
    slower = other.model_copy(update={"recommenders": other.recommenders.model_copy(update={"learning_rate": 0.5})})
    with pytest.raises(DataError, match=r"movielens\.parquet: .*another value of recommenders\.learning_rate"):
        published.collect("movielens", slower, "9876543210", "make repro", keep_others=True)
    rounded = kept.model_copy(update={"llm": kept.llm.model_copy(update={"dtype": "bfloat16"})})
    finish(world, rounded)
    published.collect("movielens", rounded, "9876543210", "make repro", keep_others=True)  # replaces the only LLM system
    results = published.read_published("movielens")
    assert results is not None
    assert results.provenance.settings["llm.dtype"] == "bfloat16"


def test_a_page_needs_the_markers(texts: dict[str, str]) -> None:
    results = published.read_published("movielens_cold", REPOSITORY)
    assert results is not None
    block = pages.Block(
        "docs/results.md", "runs", ("movielens_cold",), lambda results: f"{results.dataset} 0.50 of 10.05, +0.1"
    )
    with pytest.raises(DataError, match=r"docs/results\.md: needs exactly one line <!-- runs:begin -->"):
        block.insert_into("# Results\n", [results])
    page = block.insert_into("above\n<!-- runs:begin -->\nold\n<!-- runs:end -->\nbelow", [results])
    assert page == "above\n<!-- runs:begin -->\n\nmovielens_cold .50 of 10.05, +.1\n\n<!-- runs:end -->\nbelow"


def test_a_run_is_compared_with_the_published_ones(world, kept: Params) -> None:
    for seed in kept.run.seeds:  # always the first of 7 users wrong, and another one in each of two runs
        wrong = world.target_is(1)
        first = world.examples.index[world.examples[c.SPLIT] == c.TEST][0]
        for example in {first, first + seed}:
            wrong[(world.candidates[c.EXAMPLE] == example).to_numpy()] *= -1
        world.put(f"sasrec-{seed}", wrong)
    world.results(kept)
    published.collect("movielens", kept, "0123456789", "make repro")
    runs = np.ones((3, 7))
    runs[[0, 1, 2, 1, 2], [0, 0, 0, 1, 2]] = 0
    low, _ = further_run(runs, 0.95)
    assert low < 6 / 7 - 0.2  # two degrees of freedom
    one = kept.model_copy(update={"run": kept.run.model_copy(update={"seeds": [0]})})
    assert reproduction(one) == (
        "Your run (seed 0) against the spread of the 3 published runs in HR@1 on test, where 95% of further runs are expected: "
        "within it: popularity, sasrec, llara and llara + sasrec."
    )
    world.put("sasrec-0", world.target_is(2))
    world.put("popularity", world.target_is(1))
    world.results(one)
    sentences = reproduction(one)
    assert "within it: llara and llara + sasrec; outside it: " in sentences
    assert f"sasrec (seed 0: 0.000, published {low:.3f} to 1.000)" in sentences
    assert "popularity (seed 0: 1.000, published 0.000)" in sentences


def reproduction(params: Params) -> str:
    results = read_results("movielens", systems_of(params))
    rows = ComparedResults("movielens", params.evaluation, results, []).primary_rows
    return reproduction_summary("movielens", params, rows)


def test_other_parameters_and_other_data_are_not_compared(kept: Params) -> None:
    system = kept.systems["llara"]
    other = system.model_copy(update={"lora": system.lora.model_copy(update={"rank": 3})})
    sentences = reproduction(kept.model_copy(update={"systems": kept.systems | {"llara": other}}))
    assert "within it: popularity and sasrec." in sentences
    assert (
        "Not compared: llara (another systems.llara.lora.rank) and llara + sasrec (another systems.llara.lora.rank)."
        in sentences
    )
    recommenders = kept.recommenders
    deeper = recommenders.model_copy(update={"sasrec": recommenders.sasrec.model_copy(update={"n_layers": 7})})
    assert reproduction(kept.model_copy(update={"recommenders": deeper})) == ""  # llara reads it
    threads = kept.model_copy(update={"recommenders": recommenders.model_copy(update={"threads": 2})})
    assert "Not compared" not in reproduction(threads)
    file = paths.prepared("movielens") / "interactions.parquet"
    tables.write_table(file, tables.read_table(file, tables.INTERACTIONS).iloc[:-1], tables.INTERACTIONS)
    assert reproduction(kept) == ""


def test_no_spread_is_narrower_than_the_noise_of_single_users() -> None:
    """Three runs of equal means in which other users are right: as 4 users of whom each is right by chance."""
    runs = np.array([[1.0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]])
    low, high = further_run(runs, 0.95)
    residual = ((runs - runs.mean(axis=0)) ** 2).sum() / (2 * 3)  # the means of runs are equal
    assert high - low == pytest.approx(2 * 4.3027 * (residual / 4 * 4 / 3) ** 0.5, rel=1e-4)
    assert further_run(np.ones((3, 4)), 0.95) == (1.0, 1.0)
