import math

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core.errors import DataError
from llara_core.evaluation import metrics

NAMES = [f"Film {item}" for item in range(30)]


def no_interval(values: object, users: object) -> tuple[float, float]:
    return 0.0, 1.0


def results(world, frame: pd.DataFrame) -> pd.DataFrame:
    return metrics.per_set_results(frame, world.candidates, world.examples, NAMES, "these predictions")


def test_rank_counts_better_scores_and_equal_ones_before() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.0, 1.0, 2.0]])
    assert metrics.rank_of_target(scores, np.array([0, 0, 0, 2, 2])).tolist() == [1, 3, 1, 3, 2]


def test_rank_1_is_the_argmax_and_constant_scores_are_chance() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(3, size=(500, 4)).astype(float)  # many ties
    target = rng.integers(4, size=500)
    np.testing.assert_array_equal(metrics.rank_of_target(scores, target) == 1, scores.argmax(axis=1) == target)
    constant = metrics.rank_of_target(np.zeros((4, 4)), np.arange(4))
    assert metrics.hit_ratio(constant, 1) == 1 / 4


def test_measures_of_known_ranks() -> None:
    ranks = [1, 2, 4, 11]
    assert metrics.hit_ratio(ranks, 3) == 2 / 4
    assert metrics.hit_ratio(ranks, 10) == 3 / 4
    assert metrics.ndcg(ranks, 3) == pytest.approx((1 + 1 / math.log2(3)) / 4)
    assert metrics.ndcg(ranks, 10) == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(5)) / 4)
    assert metrics.mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 11) / 4)


@pytest.mark.parametrize("place", [1, 2, 4])
def test_rows_carry_the_rank_and_the_hit(world, place: int) -> None:
    rows = results(world, world.put("sasrec-0", world.target_is(place)))
    assert rows[c.RANK].eq(place).all()
    assert rows[c.HIT].eq(float(place == 1)).all()
    assert rows[c.SPLIT].tolist() == ["validation"] * 5 * 3 + ["test"] * 7 * 3
    assert (rows[c.USER] - rows[c.EXAMPLE]).eq(100).all()


def test_row_order_of_the_predictions_does_not_matter(world) -> None:
    frame = world.put("sasrec-0", np.random.default_rng(0).normal(size=(36, 5)))
    pd.testing.assert_frame_equal(results(world, frame), results(world, frame.sample(frac=1, random_state=0)))


def test_an_invalid_answer_is_a_miss_even_where_it_names_the_target(world) -> None:
    frame = world.put("sasrec-0", world.target_is(1))
    frame.loc[[15, 16, 17], c.VALID] = False  # one of the seven test users; still names the target
    frame.loc[[18], [c.VALID, c.PREDICTED]] = [False, pd.NA]
    means = metrics.aggregate(results(world, frame).query("split == 'test'"), no_interval)
    assert means["hit_ratio@1"] == pytest.approx(17 / 21)
    assert means["valid_ratio"] == pytest.approx(17 / 21)
    assert means["hit_ratio@1_among_valid"] == 1.0
    assert (means["n_examples"], means["n_users"], means["n_draws"]) == (7, 7, 3)


def test_a_system_that_writes_and_ranks_everything_has_all_metrics_in_their_order(world) -> None:
    frame = world.put("sasrec-0", world.target_is(2)).assign(**{c.TEXT: "Film 3", c.CATALOGUE_RANK: 1})
    names = list(metrics.aggregate(results(world, frame), no_interval))
    assert [name for name in names if name in metrics.METRICS] == list(metrics.METRICS)
    ends = [f"{name}_{end}" for name in ("hit_ratio@1", "hit_ratio@1_contained") for end in ("low", "high")]
    assert set(names) - set(metrics.METRICS) == {*ends, "n_examples", "n_users", "n_draws"}


def test_without_scores_there_is_no_ranking_measure_and_without_valid_answers_no_share_among_them(world) -> None:
    frame = world.put("sasrec-0", world.target_is(1)).assign(**{c.SCORES: None, c.VALID: False})
    means = metrics.aggregate(results(world, frame), no_interval)
    assert means["hit_ratio@1"] == 0.0
    assert not {"hit_ratio@3", "ndcg@10", "mrr", "mrr_catalogue", "hit_ratio@1_among_valid"} & means.keys()


def test_answers_are_counted_by_exact_title_and_by_the_only_title_that_they_contain(world) -> None:
    items = np.stack(world.candidates[c.CANDIDATES].to_list())
    target = world.candidates[[c.EXAMPLE]].merge(world.examples, on=c.EXAMPLE)[c.TARGET].to_numpy()
    other = np.where(items[:, 0] == target, items[:, 1], items[:, 0])
    names = [f"<{item}>" for item in range(30)]  # none inside another
    texts = [f"<{item}>" for item in target]
    test = np.flatnonzero(world.candidates[c.EXAMPLE] >= 5)  # 21 sets
    texts[test[0]] = f"I think {texts[test[0]]}"  # contains the target
    texts[test[1]] = f"I think <{other[test[1]]}>"  # contains another candidate
    texts[test[2]] = f"{texts[test[2]]} or <{other[test[2]]}>"  # contains two
    texts[test[3]] = "No idea"
    frame = world.put("zero_shot", world.target_is(1), mode="generate", texts=texts)
    frame.loc[test[:4], [c.VALID]] = False
    rows = metrics.per_set_results(frame, world.candidates, world.examples, names, "these")
    means = metrics.aggregate(rows[rows[c.SPLIT] == c.TEST], no_interval)
    assert means["valid_ratio"] == means["hit_ratio@1"] == pytest.approx(17 / 21)
    assert means["valid_ratio_contained"] == pytest.approx(19 / 21)
    assert means["hit_ratio@1_contained"] == pytest.approx(18 / 21)


def test_a_system_without_text_has_one_validity_rule(world) -> None:
    rows = results(world, world.put("sasrec-0", world.target_is(1)))
    assert not any("contained" in name for name in metrics.aggregate(rows, no_interval))


def test_catalogue_ranks_are_measured_under_their_own_names(world) -> None:
    frame = world.put("sasrec-0", world.target_is(2))
    frame[c.CATALOGUE_RANK] = pd.array([10, 11, 20] * 12, dtype="Int32")
    means = metrics.aggregate(results(world, frame), no_interval)
    assert means["hit_ratio@10_catalogue"] == pytest.approx(1 / 3)
    assert means["mrr_catalogue"] == pytest.approx((1 / 10 + 1 / 11 + 1 / 20) / 3)
    assert means["mrr"] == pytest.approx(1 / 2)


def test_only_the_splits_asked_for_have_to_be_answered(world) -> None:
    test = world.put("sasrec-0", world.target_is(1)).query("example_id >= 5")
    rows = metrics.per_set_results(test, world.candidates, world.examples, NAMES, "these", (c.TEST,))
    assert len(rows) == 7 * 3
    with pytest.raises(DataError, match="5 of 5 validation examples are not answered"):
        results(world, test)


def test_the_first_draws_of_every_example_are_enough(world) -> None:
    assert len(results(world, world.put("llara-0", world.target_is(1), draws=2))) == 12 * 2


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (lambda frame: frame[frame[c.EXAMPLE] != 3], "1 of 5 validation examples are not answered \\(first: 3\\)"),
        (lambda frame: frame[(frame[c.EXAMPLE] != 7) | (frame[c.DRAW] != 1)], "test example 7 answers 2 of the draws"),
        (lambda frame: frame[frame[c.DRAW] != 0], "answers 2 of the draws \\[1, 2\\]"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "answers a candidate set twice"),
        (lambda frame: frame.assign(**{c.DRAW: frame[c.DRAW] + 1}), "12 candidate sets that do not exist .*draw 3"),
        (lambda frame: frame.assign(**{c.PREDICTED: 29_000}), "36 valid answers are not among their candidates"),
        (lambda frame: frame.assign(**{c.SCORES: [None, *frame[c.SCORES][1:]]}), "1 of 36 candidate sets have no scores"),
        (lambda frame: frame.assign(**{c.SCORES: [[1.0] * 4] * 36}), "does not have the 5 entries"),
        (lambda frame: frame.assign(**{c.SCORES: [[float("nan")] * 5] * 36}), "36 of 36 rows of scores are not finite"),
    ],
)
def test_predictions_that_do_not_answer_the_sets_are_refused(world, kept, message: str) -> None:
    frame = world.put("sasrec-0", world.target_is(1))
    with pytest.raises(DataError, match=f"these predictions: .*{message}"):
        results(world, kept(frame))
