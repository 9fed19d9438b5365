from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths
from llara_core.answers.held_out import read_held_out
from llara_core.errors import DataError
from llara_core.evaluation import fusion, results
from llara_core.evaluation.comparison import ComparedResults, ComparedSystem, all_pairs, compare
from llara_core.evaluation.evaluate import evaluate_table, metrics_record
from llara_core.evaluation.results import read_results, write_run
from llara_core.evaluation.significance import crossed_mean
from llara_core.evaluation.systems import systems_of
from llara_core.report.verdict import leader


def put_all(world) -> None:
    noise = np.random.default_rng(0).normal(size=(36, 5))
    world.put("popularity", world.target_is(4) + noise)
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(2), draws=1, objective="generative")
    world.put("fused-llara-0", world.target_is(1), mode="fused", draws=1, llm_weight=0.3)


def rows_of(world, **axes: object) -> dict[str, ComparedSystem]:
    return {row.name: row for row in compare(world.results(world.on_axes(**axes)), world.params.evaluation)}


def measured(file: Path) -> results.RunResults:
    held_out = read_held_out("movielens")
    is_new = results.training_counts("movielens") == 0
    return evaluate_table(held_out, file, held_out.labels, is_new)


def test_the_run_defines_its_systems_and_their_runs(world) -> None:
    axes = {"systems": ["zero_shot", "tallrec", "llara"], "chat_models": ["local"], "seeds": [0, 1]}
    found = systems_of(world.on_axes(**axes))
    assert [(system.kind, system.name, system.recommender, system.run_names) for system in found] == [
        ("baseline", "popularity", None, ("popularity",)),
        ("recommender", "sasrec", None, ("sasrec-0", "sasrec-1")),
        ("untuned", "zero_shot", None, ("zero_shot-0",)),
        ("chat", "local", None, ("local",)),
        ("tuned", "tallrec", None, ("tallrec-0", "tallrec-1")),
        ("tuned", "llara", "sasrec", ("llara-0", "llara-1")),
        ("fused", "llara + sasrec", "sasrec", ("fused-llara-0", "fused-llara-1")),
    ]


def test_each_system_is_compared_with_the_best_recommender_on_validation(world) -> None:
    put_all(world)
    rows = rows_of(world)
    assert list(rows) == ["popularity", "sasrec", "llara", "llara + sasrec"]
    assert [name for name, row in rows.items() if row.is_reference] == ["sasrec"]
    assert rows["sasrec"].difference is None
    llara = rows["llara"].difference
    assert (llara.hit_ratio, llara.reference_hit_ratio, llara.low, llara.high) == (0.0, 1.0, -1.0, -1.0)
    assert (llara.n_runs, llara.p_value) == (1, None)
    assert [(row.versus, row.is_best) for row in rows.values()] == [
        ("sasrec", False),
        (None, True),
        ("sasrec", False),
        ("sasrec", False),
    ]
    assert fusion.weights(rows["llara + sasrec"].results) == [0.3]


def test_a_system_that_reads_a_recommender_or_is_fused_with_it_is_compared_with_it(world) -> None:
    put_all(world)
    world.put("popularity", world.target_is(1))
    world.put("sasrec-0", world.target_is(2))
    rows = rows_of(world)
    assert [name for name, row in rows.items() if row.is_reference] == ["popularity"]
    assert {name: row.versus for name, row in rows.items()} == {
        "popularity": None,
        "sasrec": "popularity",
        "llara": "sasrec",
        "llara + sasrec": "sasrec",
    }
    assert [name for name, row in rows.items() if row.is_versus_recommender] == ["llara", "llara + sasrec"]
    assert (rows["llara + sasrec"].difference.hit_ratio, rows["llara + sasrec"].difference.reference_hit_ratio) == (1.0, 0.0)


def test_the_best_on_validation_leads_on_the_sets_that_it_and_the_reference_answer(world) -> None:
    """Of three sets the recommender hits the last two; an LLM that answers the first alone, half of the time, leads on it."""
    put_all(world)
    first_draw = world.candidates[c.DRAW].to_numpy()[:, None] == 0
    odd = world.candidates[c.EXAMPLE].to_numpy()[:, None] % 2 == 1
    world.put("sasrec-0", np.where(first_draw, world.target_is(2), world.target_is(1)))
    world.put("llara-0", np.where(odd, world.target_is(1), world.target_is(2)), draws=1)
    world.put("fused-llara-0", world.target_is(2), mode="fused", draws=1, llm_weight=0.3)
    rows = rows_of(world)
    assert rows["sasrec"].is_reference
    assert rows["sasrec"].validation["hit_ratio@1"] == pytest.approx(2 / 3)
    assert rows["llara"].validation["hit_ratio@1"] == pytest.approx(2 / 5)  # examples 1 and 3 of 0 to 4
    assert (rows["llara"].lead, rows["llara"].is_best) == (2 / 5, True)


def test_a_fusion_that_is_not_told_apart_from_its_recommender_is_not_the_best(world) -> None:
    """One of five validation users more, and then all five."""
    put_all(world)
    example = world.candidates[c.EXAMPLE].to_numpy()[:, None]
    world.put("sasrec-0", np.where(example < 2, world.target_is(1), world.target_is(2)))
    world.put("llara-0", world.target_is(2))
    world.put("fused-llara-0", np.where(example < 3, world.target_is(1), world.target_is(2)), mode="fused")
    rows = rows_of(world, baselines=[])
    assert rows["llara + sasrec"].lead == 1 / 5
    assert [name for name, row in rows.items() if row.is_best] == ["sasrec"]
    sentence = "llara + sasrec has a higher value there, but cannot be told apart from its recommender."
    assert leader(list(rows.values())).endswith(sentence)
    world.put("sasrec-0", world.target_is(2))
    world.put("fused-llara-0", world.target_is(1), mode="fused")
    assert [name for name, row in rows_of(world, baselines=[]).items() if row.is_best] == ["llara + sasrec"]


def test_the_reference_is_not_chosen_on_test(world) -> None:
    put_all(world)
    validation = world.candidates[c.EXAMPLE].to_numpy()[:, None] < 5
    world.put("popularity", np.where(validation, world.target_is(1), world.target_is(5)))
    world.put("sasrec-0", np.where(validation, world.target_is(2), world.target_is(1)))
    rows = rows_of(world)
    assert rows["popularity"].is_reference
    assert rows["popularity"].test["hit_ratio@1"] == 0.0
    assert rows["sasrec"].difference.mean == 1.0


def test_a_system_that_writes_is_compared_by_its_free_text(world) -> None:
    put_all(world)
    for mode, place in (("constrained", 1), ("generate", 3)):
        world.put("llara-0", world.target_is(place), mode=mode, draws=1, objective="generative")
    rows = [row for row in compare(world.results(world.params), world.params.evaluation) if row.name == "llara"]
    assert [(row.mode, row.is_primary) for row in rows] == [("generate", True), ("score", False), ("constrained", False)]
    assert [row.difference is None for row in rows] == [False, True, True]


def test_any_two_systems_are_compared_with_one_correction_for_the_pairs_tested(world) -> None:
    put_all(world)
    for name, place in (("random", 1), ("item_knn", 1)):
        world.put(name, world.target_is(place))
    world.put("popularity", world.target_is(4))
    found = world.results(world.on_axes(baselines=["random", "popularity", "item_knn"]))
    pairs = all_pairs(ComparedResults("movielens", world.params.evaluation, found, []).primary_rows, world.params.evaluation)
    assert len(pairs) == 6 * 5 // 2
    tested = {names: found.p_value for names, found in pairs.items() if found.p_value is not None}
    # Of the three pairs of baselines two differ for all 7 users, the most extreme there is.
    assert tested == {
        ("random", "popularity"): 3 * 2 / 2**7,
        ("random", "item_knn"): 1.0,
        ("popularity", "item_knn"): 3 * 2 / 2**7,
    }
    assert pairs["sasrec", "llara"].mean == 1.0


def test_a_pair_is_compared_on_common_draws_with_seeds_and_draws_averaged_within_users(world) -> None:
    world.put("popularity", world.target_is(1))
    first_draw = world.candidates[c.DRAW].to_numpy()[:, None] == 0
    world.put("sasrec-0", np.where(first_draw, world.target_is(2), world.target_is(1)))
    world.put("sasrec-1", world.target_is(1))
    axes = {"systems": [], "seeds": [0, 1]}
    pairs = all_pairs(list(rows_of(world, **axes).values()), world.params.evaluation)
    # Of three draws of two seeds, one of six is missed.
    assert pairs["popularity", "sasrec"].mean == pytest.approx(1 / 6)
    world.put("popularity", world.target_is(1), draws=1)
    pairs = all_pairs(list(rows_of(world, **axes).values()), world.params.evaluation)
    assert pairs["popularity", "sasrec"].mean == pytest.approx(1 / 2)  # on draw 0, which one of two seeds misses


def test_several_seeds_are_one_row_with_their_deviation(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("sasrec-1", world.target_is(2))
    row = rows_of(world, seeds=[0, 1], systems=[], baselines=[])["sasrec"]
    assert len(row.results.runs) == 2
    assert row.test["hit_ratio@1"] == 0.5
    assert row.seed_deviation == pytest.approx(np.std([0.0, 1.0], ddof=1))


def test_with_three_runs_the_interval_covers_the_runs_too(world) -> None:
    for seed, place in enumerate([1, 1, 2]):
        world.put(f"sasrec-{seed}", world.target_is(place))
    rows = {n: rows_of(world, seeds=list(range(n)), systems=[], baselines=[])["sasrec"].test for n in (2, 3)}
    assert (rows[2]["hit_ratio@1_low"], rows[2]["hit_ratio@1_high"]) == (1.0, 1.0)  # over users, who all agree
    runs = np.array([1.0, 1.0, 0.0])[:, None] * np.ones(7)
    low, high = crossed_mean(runs.mean(axis=0), [runs]).interval(0.95)
    assert low < 0 < 1 < high  # with two degrees of freedom
    assert (rows[3]["hit_ratio@1"], rows[3]["hit_ratio@1_low"], rows[3]["hit_ratio@1_high"]) == (pytest.approx(2 / 3), 0.0, 1.0)


def test_seeds_that_answer_different_numbers_of_sets_are_refused(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("sasrec-1", world.target_is(1), draws=2)
    with pytest.raises(
        DataError, match=r"sasrec-1/score.parquet answers 24 candidate sets, but sasrec-0/score.parquet answers 36"
    ):
        rows_of(world, seeds=[0, 1], systems=[], baselines=[])


def test_seeds_that_answer_by_different_modes_are_refused(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("sasrec-1", world.target_is(2), mode="fused")
    with pytest.raises(DataError, match=r"sasrec-1 has \['fused.parquet'\], but sasrec-0 has \['score.parquet'\]"):
        rows_of(world, seeds=[0, 1], systems=[], baselines=[])


def test_without_recommenders_nothing_is_tested_against_them(world) -> None:
    put_all(world)
    rows = rows_of(world, recommenders=[], baselines=[])
    assert [row.difference for row in rows.values()] == [None, None]
    assert [row.is_best for row in rows.values()] == [False, True]


def test_runs_outside_the_run_section_are_ignored(world) -> None:
    put_all(world)
    world.put("gru4rec-0", world.target_is(1), candidates_hash="f" * 64)
    assert "gru4rec" not in rows_of(world)


def test_other_candidate_sets_are_refused_by_file(world) -> None:
    put_all(world)
    world.put("sasrec-0", world.target_is(1), candidates_hash="f" * 64)
    with pytest.raises(DataError, match=f"sasrec-0/predictions/score.parquet.*ffffffffffff.*{world.candidates_hash[:12]}"):
        rows_of(world)


def test_two_systems_on_different_sets_are_refused_by_name(world) -> None:
    params = world.on_axes(systems=[])
    world.put("popularity", world.target_is(1))
    world.put("sasrec-0", world.target_is(1))
    _, (second,) = [system.runs for system in world.results(params)]
    other = results.RunResults(second.metadata.model_copy(update={"candidates_hash": "e" * 64}), second.sets)
    write_run(paths.results("movielens") / "sasrec-0", other)
    with pytest.raises(DataError, match=r"popularity \(score\).*sasrec \(score\) answers eeeeeeeeeeee"):
        read_results("movielens", systems_of(params))


def test_a_run_without_predictions_is_an_error(world) -> None:
    put_all(world)
    (paths.baseline_predictions("movielens", "popularity") / "score.parquet").unlink()
    with pytest.raises(DataError, match="popularity: holds no tables"):
        rows_of(world)


def test_a_table_with_the_metadata_of_another_is_an_error(world) -> None:
    put_all(world)
    folder = paths.baseline_predictions("movielens", "popularity")
    (folder / "score.parquet").rename(folder / "generate.parquet")
    with pytest.raises(DataError, match=r"generate\.parquet: its metadata describes score\.parquet of popularity"):
        rows_of(world)


def test_the_metrics_record_is_flat_and_rounded(world) -> None:
    world.put("sasrec-0", world.target_is(2), note="of two")
    run = measured(paths.recommender_predictions("movielens", "sasrec-0") / "score.parquet")
    record = metrics_record(run, world.params.evaluation)
    assert list(record) == ["test", "validation", "system", "mode", "history", "objective", "seed", "note", "candidates"]
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


def test_results_are_read_as_they_were_measured(world) -> None:
    texts = ["Film *1*!" for _ in range(36)]
    world.put("zero_shot-0", world.target_is(1), mode="generate", texts=texts)
    file = paths.system_predictions("movielens", "zero_shot-0") / "generate.parquet"
    frame = pd.read_parquet(file)
    ((run,),) = [system.runs for system in world.results(world.on_axes(systems=["zero_shot"], recommenders=[], baselines=[]))]
    expected = measured(file)
    assert run.metadata == expected.metadata
    numbers = expected.sets.columns.drop([c.SPLIT, c.TEXT])
    np.testing.assert_array_equal(run.sets[numbers].to_numpy(float), expected.sets[numbers].to_numpy(float))
    assert frame[c.VALID].all()
    assert run.sets[c.TEXT].isna().all()  # a valid answer is its candidate


def test_a_fusion_whose_llm_scores_nothing_does_not_exist(world) -> None:
    put_all(world)
    (paths.system_predictions("movielens", "llara-0") / "score.parquet").unlink()
    world.put("llara-0", world.target_is(2), mode="generate", draws=1, objective="generative")
    assert list(rows_of(world)) == ["popularity", "sasrec", "llara"]


def test_a_fusion_that_is_missing_is_an_error(world) -> None:
    put_all(world)
    (paths.fused_predictions("movielens", "fused-llara-0") / "fused.parquet").unlink()
    with pytest.raises(DataError, match="fused-llara-0: holds no tables"):
        rows_of(world)


def test_an_untuned_system_is_fused_with_every_run_of_its_recommender(world) -> None:
    params = world.on_axes(systems=["zero_shot"], seeds=[0, 1])
    zero_shot = params.system("zero_shot").model_copy(update={"recommender": "sasrec"})
    params = params.model_copy(update={"systems": {**params.systems, "zero_shot": zero_shot}})
    untuned, fused = systems_of(params)[-2:]
    assert (untuned.kind, untuned.recommender, untuned.run_names) == ("untuned", None, ("zero_shot-0",))
    assert (fused.name, fused.run_names) == ("zero_shot + sasrec", ("fused-zero_shot-0", "fused-zero_shot-1"))
    assert fused.llm_run_names == ("zero_shot-0", "zero_shot-0")
