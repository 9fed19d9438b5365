"""Candidate sets: target once, negatives from where they may come, uniform, and the same every time."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llara_core import tables
from llara_core.data import candidates as module
from llara_core.data.candidates import CandidateSampler
from llara_core.errors import DataError
from llara_core.runtime.seeding import numpy_stream


def world(sequences: dict[int, list[int]], max_len: int = 2) -> tuple[pa.Table, pd.DataFrame]:
    """Interactions, and one example per user: the last item of the sequence, given up to ``max_len`` before it."""
    interactions = pd.DataFrame(
        [(user, item) for user, items in sequences.items() for item in items], columns=["user_id", "item_id"], dtype=int
    ).assign(split="test")
    columns = {
        "example_id": range(100, 100 + len(sequences)),
        "user_id": list(sequences),
        "split": ["test"] * len(sequences),
        "history": [items[-1 - max_len : -1] for items in sequences.values()],
        "target": [items[-1] for items in sequences.values()],
    }
    return pa.table(columns, schema=tables.EXAMPLES), interactions


def draw(examples, interactions, n_items, n_candidates=3, n_draws=2, exclude="all_interactions", seed=0):  # type: ignore[no-untyped-def]
    sampler = CandidateSampler(interactions, n_items, "test", n_candidates=n_candidates, exclude=exclude)
    return pa.concat_tables(sampler.sample(examples, n_draws, numpy_stream(seed, "candidates"))).to_pandas()


WALKS = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 11), min_size=2, max_size=8), min_size=1).map(
    lambda sequences: dict(sorted(sequences.items()))
)


@given(WALKS, st.sampled_from(["all_interactions", "last_interactions"]), st.integers(2, 5), st.integers(0, 3))
def test_sets_keep_their_promises(sequences: dict[int, list[int]], exclude: str, n_candidates: int, seed: int) -> None:
    examples, interactions = world(sequences)
    sets = draw(examples, interactions, 12, n_candidates, n_draws=3, exclude=exclude, seed=seed)
    assert sets["example_id"].to_list() == [example for example in examples["example_id"].to_pylist() for _ in range(3)]
    assert sets["draw"].to_list() == [0, 1, 2] * len(examples)
    asked = sets.merge(examples.to_pandas(), on="example_id")
    for row in asked.itertuples():
        candidates = list(row.candidates)
        assert candidates.count(row.target) == 1
        assert len(set(candidates)) == len(candidates) == n_candidates
        assert all(0 <= item < 12 for item in candidates)
        seen = set(sequences[row.user_id]) if exclude == "all_interactions" else {*row.history, row.target}
        assert seen & set(candidates) == {row.target}
    again = draw(examples, interactions, 12, n_candidates, n_draws=3, exclude=exclude, seed=seed)
    pd.testing.assert_frame_equal(sets, again)


def test_last_interactions_may_draw_an_earlier_one() -> None:
    examples, interactions = world({0: [0, 1, 2, 3]})  # history 1, 2; target 3; items 0 and 4 are eligible
    (candidates,) = draw(examples, interactions, 5, n_candidates=3, n_draws=1, exclude="last_interactions")["candidates"]
    assert sorted(candidates) == [0, 3, 4]


def test_negatives_and_places_are_uniform() -> None:
    examples, interactions = world({0: [1, 2], 1: [0, 5, 3]})
    n_draws = 6000
    sets = np.stack(draw(examples, interactions, 8, n_candidates=4, n_draws=n_draws)["candidates"].to_list())
    for user, (target, eligible) in enumerate([(2, [0, 3, 4, 5, 6, 7]), (3, [1, 2, 4, 6, 7])]):
        own = sets[user * n_draws : (user + 1) * n_draws]
        expected = n_draws * 3 / len(eligible)
        counts = np.bincount(own.ravel(), minlength=8)
        np.testing.assert_allclose(counts[eligible], expected, atol=5 * np.sqrt(expected))
        places = np.bincount(np.argmax(own == target, axis=1), minlength=4)
        np.testing.assert_allclose(places, n_draws / 4, atol=5 * np.sqrt(n_draws / 4))


def test_exactly_enough_negatives() -> None:
    examples, interactions = world({0: [0, 1, 2]})
    sets = draw(examples, interactions, 5, n_candidates=3)
    assert all(sorted(candidates) == [2, 3, 4] for candidates in sets["candidates"])


def test_too_few_negatives_names_the_example_and_the_remedy() -> None:
    examples, interactions = world({0: [0, 1], 7: [0, 1, 2, 3]})
    with pytest.raises(DataError) as caught:
        draw(examples, interactions, 5, n_candidates=4)
    assert str(caught.value) == (
        "at least 1 test examples have fewer than 3 eligible negatives; example 101 of user 7 has 1: lower "
        "candidates.n_candidates to at most 2, or use a larger catalogue (`catalogue: full`) or `exclude: last_interactions`"
    )


def test_more_draws_keep_the_catalogue_ids_of_users_without_examples_out_of_play() -> None:
    """Users of other splits are in the interactions, before and after the asked ones."""
    examples, interactions = world({0: [0, 1], 3: [2, 3], 9: [4, 5, 6, 7]})
    sets = draw(examples.slice(1, 1), interactions, 8, n_candidates=7, n_draws=4)
    assert all(sorted(candidates) == [0, 1, 3, 4, 5, 6, 7] for candidates in sets["candidates"])


@pytest.mark.parametrize("exclude", ["all_interactions", "last_interactions"])
def test_blocks_bound_the_memory_and_keep_the_promises(exclude: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examples, interactions = world({user: [user, (user + 1) % 8, (user + 3) % 8] for user in range(8)})
    whole = draw(examples, interactions, 8, n_draws=2, exclude=exclude)
    monkeypatch.setattr(module, "BLOCK_SETS", 5)  # two examples of two draws at a time
    blocks = list(
        CandidateSampler(interactions, 8, "test", n_candidates=3, exclude=exclude).sample(
            examples, 2, numpy_stream(0, "candidates")
        )
    )
    assert [len(block) for block in blocks] == [4, 4, 4, 4]
    sets = pa.concat_tables(blocks).to_pandas()
    assert sets[["example_id", "draw"]].equals(whole[["example_id", "draw"]])
    for row in sets.merge(examples.to_pandas(), on="example_id").itertuples():
        seen = {row.user_id, (row.user_id + 1) % 8, row.target}
        assert set(row.candidates) & seen == {row.target}


@pytest.mark.parametrize("exclude", ["all_interactions", "last_interactions"])
def test_training_sets_hold_no_item_that_nothing_is_trained_on(exclude: str) -> None:
    """Items 0 to 5 are trained on, 6 to 9 occur later or never."""
    examples, interactions = world({0: [0, 1, 2], 1: [3, 4, 5]})
    later = pd.DataFrame({"user_id": 2, "item_id": [6, 7], "split": "test"})
    interactions = pd.concat([interactions.assign(split="train"), later], ignore_index=True)
    sampler = CandidateSampler(interactions, 10, "train", n_candidates=4, exclude=exclude)
    drawn = pa.concat_tables(sampler.sample(examples, 50, numpy_stream(0, "candidates"))).to_pandas()["candidates"]
    assert set(np.concatenate(drawn[:50].to_list())) == {2, 3, 4, 5}
    assert set(np.concatenate(drawn[50:].to_list())) == {5, 0, 1, 2}
