"""Comparison at further positions, with users as units and separate from the paper's questions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.held_out import HeldOut, read_positions
from llara_core.errors import DataError
from llara_core.evaluation.comparison import ComparedSystem, compare
from llara_core.evaluation.evaluate import evaluate
from llara_core.evaluation.means import user_interval, user_means
from llara_core.evaluation.results import read_results, write_run
from llara_core.evaluation.significance import bootstrap_interval
from llara_core.evaluation.systems import systems_of
from pipeline import evaluate as evaluate_stage
from pipeline import fuse
from tests.helpers.params import raw_params, write_params
from tests.helpers.positions import ask, put

REPOSITORY = Path(__file__).parents[3]
N_POSITIONS = [1, 2, 3, 1, 1, 4, 1, 2, 1, 1, 1, 2]  # of 5 validation and 7 test users
SASREC = Path("data/recommenders/movielens/sasrec-0/predictions")
POPULARITY = Path("data/recommenders/movielens/baselines/popularity")
LLARA = Path("data/systems/movielens/predictions/llara-0")


@pytest.fixture
def asked(world) -> HeldOut:
    """Questions at positions, and the paper's answered by every system."""
    world.put("popularity", world.target_is(4))
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(2), objective="generative")
    world.put("fused-llara-0", world.target_is(1), mode="fused", llm_weight=0.3)
    return ask(world.examples, N_POSITIONS)


def compared(world, asked: HeldOut) -> dict[str, ComparedSystem]:
    world.results(world.params)
    for run_name, run in evaluate(asked, world.params):
        write_run(asked.folder(paths.results("movielens") / run_name), run)
    results = read_results("movielens", systems_of(world.params), "positions")
    return {row.name: row for row in compare(results, world.params.evaluation, user_means)}


def test_users_count_alike_however_many_positions_they_have() -> None:
    results = pd.DataFrame(
        {c.USER: [1, 1, 1, 2], c.EXAMPLE: range(4), c.HIT: [1.0, 0.0, 0.0, 1.0], c.RANK: [1.0, 2.0, 11.0, 1.0]}
    )
    means = user_means([results], lambda values, users: (float(min(values)), float(max(values))))  # type: ignore[arg-type,type-var]
    assert means == pytest.approx(
        {
            "hit_ratio@1": 1 / 2 * (1 / 3 + 1),
            "hit_ratio@1_low": 1 / 3,
            "hit_ratio@1_high": 1.0,
            "ndcg@10": 1 / 2 * (1 / 3 * (1 + 1 / np.log2(3) + 0) + 1),
            "n_users": 2,
            "n_questions": 4,
        }
    )


def test_runs_are_averaged_and_the_questions_counted_once() -> None:
    runs = [pd.DataFrame({c.USER: [1, 2], c.EXAMPLE: [0, 1], c.HIT: hits, c.RANK: [np.nan] * 2}) for hits in ([1, 1], [0, 1])]
    means = user_means(runs, lambda values, users: (0.0, 1.0))
    assert (means["hit_ratio@1"], means["n_users"], means["n_questions"]) == (3 / 4, 2, 2)
    assert "ndcg@10" not in means


def test_the_interval_resamples_users_and_not_questions(world) -> None:
    """Half of 40 users are always right at their 50 positions, the others never: 2,000 questions say no more than 40 users.

    The standard error over users is sqrt(1/4 / 40) = .079, that over questions, were they independent, sqrt(1/4 / 2000) = .011.
    """
    users = np.repeat(np.arange(40), 50)
    results = pd.DataFrame({c.USER: users, c.EXAMPLE: range(2000), c.HIT: (users % 2).astype(float), c.RANK: 1.0})
    config = world.params.evaluation.model_copy(update={"bootstrap_samples": 4000})
    means = user_means([results], user_interval(config, "movielens", c.TEST))
    clustered = means["hit_ratio@1_high"] - means["hit_ratio@1_low"]
    naive = np.diff(bootstrap_interval(results[c.HIT], range(2000), 4000, 0.95, np.random.default_rng(0)))[0]
    assert clustered == pytest.approx(2 * 1.96 * 0.079, rel=0.1)
    assert naive == pytest.approx(2 * 1.96 * 0.0112, rel=0.1)


def test_where_positions_of_a_user_are_independent_more_of_them_narrow_the_interval(world) -> None:
    """Every user is right half of the time: with 1 and with 25 positions the standard error is 1/2 over the root of all."""
    config, widths = world.params.evaluation.model_copy(update={"bootstrap_samples": 4000}), []
    for number in (1, 25):
        hits = np.random.default_rng(0).integers(2, size=100 * number).astype(float)
        results = pd.DataFrame(
            {c.USER: np.repeat(np.arange(100), number), c.EXAMPLE: range(len(hits)), c.HIT: hits, c.RANK: 1.0}
        )
        means = user_means([results], user_interval(config, "movielens", c.TEST))
        widths.append(means["hit_ratio@1_high"] - means["hit_ratio@1_low"])
    assert widths[0] / widths[1] == pytest.approx(5, rel=0.2)


def test_systems_are_compared_on_the_questions_that_both_answer(world, asked: HeldOut) -> None:
    n_questions = len(asked.examples)
    first = asked.limited(1)
    put(asked, POPULARITY, np.zeros(n_questions))
    put(asked, SASREC, asked.examples[c.TURN] == 0)  # right only at the first position of each user
    put(first, LLARA, np.zeros(len(first.examples)))
    found = compared(world, asked)
    assert set(found) == {"popularity", "sasrec", "llara"}
    test_users = [4, 1, 2, 1, 1, 1, 2]
    assert found["sasrec"].test["hit_ratio@1"] == pytest.approx(np.mean([1 / number for number in test_users]))
    assert (found["sasrec"].test["n_questions"], found["llara"].test["n_questions"]) == (12, 7)
    assert found["sasrec"].is_reference
    difference = found["llara"].difference
    assert difference is not None
    assert (difference.hit_ratio, difference.reference_hit_ratio) == (0.0, 1.0)  # at first positions sasrec is always right
    assert found["popularity"].difference is not None
    assert found["popularity"].difference.reference_hit_ratio == pytest.approx(found["sasrec"].test["hit_ratio@1"])


def test_the_lead_on_validation_counts_users_alike(world, asked: HeldOut) -> None:
    put(asked, POPULARITY, np.zeros(len(asked.examples)))
    put(asked, SASREC, asked.examples[c.TURN] == 0)
    found = compared(world, asked)
    assert found["popularity"].lead == pytest.approx(-np.mean([1, 1 / 2, 1 / 3, 1, 1]))


def test_an_answer_that_is_missing_is_an_error(world, asked: HeldOut) -> None:
    put(asked, POPULARITY, np.zeros(len(asked.examples)))
    file = put(asked, SASREC, np.zeros(len(asked.examples)))
    frame = tables.read_table(file, tables.PREDICTIONS).drop(index=7)  # a test question at a first position
    tables.write_table(file, frame, tables.PREDICTIONS, tables.table_metadata(file))
    with pytest.raises(
        DataError, match=r"sasrec-0/predictions/positions/score\.parquet: 1 of \d+ \w+ examples are not answered"
    ):
        list(evaluate(asked, world.params))


def test_answers_to_the_papers_questions_are_refused_at_positions(world, asked: HeldOut) -> None:
    asked.folder(SASREC).mkdir()
    shutil.copy(SASREC / "score.parquet", asked.folder(SASREC) / "score.parquet")
    with pytest.raises(DataError, match=r"but those in data/candidates/movielens/positions are"):
        list(evaluate(asked, world.params))


@pytest.fixture
def stages(world, asked: HeldOut) -> HeldOut:
    """A folder in which the stages run, with answers of a recommender and an LLM at positions."""
    write_params({**raw_params(), "run": world.params.run.model_dump()}, Path())
    n_questions = len(asked.examples)
    put(asked, POPULARITY, np.zeros(n_questions))
    put(asked, SASREC, np.ones(n_questions))
    put(asked, LLARA, np.arange(n_questions) % 2 == 0, objective="next_item", system="llara")
    shutil.rmtree(paths.fused_predictions("movielens", ""))
    return asked


def test_a_fusion_keeps_its_weight_at_positions(world, stages: HeldOut) -> None:
    """On the paper's validation sets the LLM alone is right, at positions the recommender alone: it is one system in both."""
    world.put("llara-0", world.target_is(1))
    world.put("sasrec-0", world.target_is(5))
    put(stages, LLARA, np.zeros(len(stages.examples)), system="llara")
    fuse.main("movielens")
    evaluate_stage.main("movielens")
    last, further = (
        tables.read_json(paths.metrics("movielens", "fused-llara-0") / file) for file in ("fused.json", "positions/fused.json")
    )
    assert last["llm_weight"] == further["llm_weight"] == 1.0
    assert (last["test"]["hit_ratio@1"], further["test"]["hit_ratio@1"]) == (1.0, 0.0)


def test_the_papers_results_are_the_same_bytes_with_and_without_positions(stages: HeldOut) -> None:
    def written() -> dict[str, bytes]:
        fuse.main("movielens")
        evaluate_stage.main("movielens")
        folders = [Path("metrics"), Path("data/results"), Path("data/fused")]
        files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
        return {str(file): file.read_bytes() for file in files}

    both = written()
    shutil.rmtree(paths.positions("movielens"))
    assert read_positions("movielens") is None
    last = written()
    assert {name: content for name, content in both.items() if "/positions/" not in name} == last
    assert len([name for name in both if "/positions/" in name]) == 2 * 4 + 1  # results and metrics of four systems, a fusion
