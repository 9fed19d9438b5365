import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths
from llara_core.errors import ConfigError, DataError
from llara_core.evaluation import comparison, metrics, results
from llara_core.evaluation.comparison import compare


def put_all(world) -> None:
    noise = np.random.default_rng(0).normal(size=(36, 5))
    world.put("popularity", "popularity", world.target_is(4) + noise)
    world.put("sasrec-0", "sasrec", world.target_is(1))
    world.put("llara-sasrec-0", "llara-sasrec", world.target_is(2), draws=1, objective="generative")
    world.put("fused-llara-sasrec-0", "fused-llara-sasrec", world.target_is(1), mode="fused", draws=1, note="LLM weight 0.30")


def rows_of(world) -> dict[str, comparison.SystemResult]:
    return {row.system: row for row in compare(results.read_ground("movielens"), world.params.run, world.params.evaluation)}


def test_each_system_is_compared_with_the_best_recommender_on_validation(world) -> None:
    put_all(world)
    rows = rows_of(world)
    assert list(rows) == ["popularity", "sasrec", "llara-sasrec", "fused-llara-sasrec"]
    assert [name for name, row in rows.items() if row.is_reference] == ["sasrec"]
    assert rows["sasrec"].difference is None
    llara = rows["llara-sasrec"].difference
    assert (llara.mean, llara.low, llara.high) == (-1.0, -1.0, -1.0)
    # 7 test users all differ by one: 2 of 2**7 sign patterns are as extreme. Holm: times the 3 or 2 hypotheses left.
    assert llara.p_value == pytest.approx(2 / 2**7 * 3) or llara.p_value == pytest.approx(2 / 2**7 * 2)
    assert rows["fused-llara-sasrec"].difference.p_value == 1.0
    assert rows["fused-llara-sasrec"].note == "LLM weight 0.30"


def test_the_reference_is_not_chosen_on_test(world) -> None:
    put_all(world)
    validation = world.candidates[c.EXAMPLE].to_numpy()[:, None] < 5
    world.put("popularity", "popularity", np.where(validation, world.target_is(1), world.target_is(5)))
    world.put("sasrec-0", "sasrec", np.where(validation, world.target_is(2), world.target_is(1)))
    rows = rows_of(world)
    assert rows["popularity"].is_reference
    assert rows["popularity"].test["hit_ratio@1"] == 0.0
    assert rows["sasrec"].difference.mean == 1.0


def test_nothing_to_compare_is_an_error(world) -> None:
    run = world.params.run.model_copy(update={"baselines": [], "recommenders": [], "llm_recommenders": [], "systems": []})
    with pytest.raises(ConfigError, match=r"params\.yaml: run\.baselines, run\.recommenders and run\.systems are all empty"):
        comparison.compare(results.read_ground("movielens"), run, world.params.evaluation)


def test_user_differences_use_common_draws_and_average_seeds() -> None:
    def frame(rows: list[tuple[int, int, float]]) -> pd.DataFrame:
        table = pd.DataFrame(rows, columns=[c.USER, c.DRAW, metrics.HIT])
        return table.assign(**{c.EXAMPLE: table[c.USER]})

    system = frame([(1, 0, 1.0), (1, 0, 0.0), (2, 0, 1.0), (2, 0, 1.0)])  # two seeds, one draw
    reference = frame([(1, 0, 0.0), (1, 1, 1.0), (2, 0, 1.0), (2, 1, 0.0)])  # one seed, two draws
    assert comparison.user_differences(system, reference).to_dict() == {1: 0.5, 2: 0.0}


def test_several_seeds_are_one_row_with_their_deviation(world) -> None:
    run = world.params.run.model_copy(update={"seeds": [0, 1], "systems": [], "baselines": []})
    world.put("sasrec-0", "sasrec", world.target_is(1))
    world.put("sasrec-1", "sasrec", world.target_is(2), seed=1)
    (row,) = compare(results.read_ground("movielens"), run, world.params.evaluation)
    assert row.n_seeds == 2
    assert row.test["hit_ratio@1"] == 0.5
    assert row.seed_deviation == pytest.approx(np.std([0.0, 1.0], ddof=1))


def test_without_recommenders_nothing_is_tested(world) -> None:
    put_all(world)
    run = world.params.run.model_copy(update={"recommenders": [], "baselines": []})
    rows = compare(results.read_ground("movielens"), run, world.params.evaluation)
    assert [row.difference for row in rows] == [None, None]


def test_cells_off_the_axes_are_ignored(world) -> None:
    put_all(world)
    world.put("gru4rec-0", "gru4rec", world.target_is(1), candidates_hash="f" * 64)
    assert "gru4rec" not in rows_of(world)


def test_other_candidate_sets_are_refused_by_file(world) -> None:
    put_all(world)
    world.put("sasrec-0", "sasrec", world.target_is(1), candidates_hash="f" * 64)
    with pytest.raises(DataError, match=f"sasrec-0/score.parquet.*ffffffffffff.*{world.candidates_hash[:12]}"):
        rows_of(world)


def test_two_systems_on_different_sets_are_refused_by_name(world) -> None:
    put_all(world)
    ground = results.read_ground("movielens")
    (first,), (second,) = results.read_cell(ground, "popularity"), results.read_cell(ground, "sasrec-0")
    other = results.CellResults(second.facts.model_copy(update={"candidates_hash": "e" * 64}), second.rows)
    with pytest.raises(DataError, match=r"popularity \(score\).*sasrec \(score\) those of eeeeeeeeeeee"):
        comparison.require_same_candidates([first, other])


def test_a_cell_without_predictions_is_an_error(world) -> None:
    put_all(world)
    (paths.predictions("movielens", "popularity") / "score.parquet").unlink()
    with pytest.raises(DataError, match="popularity: holds no predictions"):
        rows_of(world)


def test_the_metrics_record_is_flat_and_rounded(world) -> None:
    world.put("sasrec-0", "sasrec", world.target_is(2), note="of two")
    (cell,) = results.read_cell(results.read_ground("movielens"), "sasrec-0")
    record = results.metrics_record(cell, world.params.evaluation)
    assert list(record) == ["test", "validation", "system", "mode", "objective", "seed", "note", "candidates"]
    assert record["test"] == {
        "hit_ratio@1": 0.0,
        "hit_ratio@1_low": 0.0,
        "hit_ratio@1_high": 0.0,
        "valid_ratio": 1.0,
        "hit_ratio@1_among_valid": 0.0,
        "hit_ratio@3": 1.0,
        "hit_ratio@5": 1.0,
        "hit_ratio@10": 1.0,
        "ndcg@3": 0.6309,  # 1 / log2(3)
        "ndcg@5": 0.6309,
        "ndcg@10": 0.6309,
        "mrr": 0.5,
        "n_examples": 7,
        "n_users": 7,
        "n_draws": 3,
    }
    assert record["validation"]["n_users"] == 5
    assert record["candidates"] == world.candidates_hash[:12]
