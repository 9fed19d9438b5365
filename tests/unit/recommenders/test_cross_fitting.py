"""Training candidates are scored by recommenders that were not trained on the user, and the scores name their source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from llara_core import columns as c
from llara_core import tables
from llara_core.data.splitting import make_examples
from llara_core.errors import DataError
from llara_core.inference.llm_systems import shown_score_features
from llara_core.llm.score_features import normalise_scores, shuffled_score_features
from llara_core.recommenders import cross_fitting
from llara_core.recommenders.cross_fitting import cross_fit, user_folds

N_USERS, N_ITEMS, N_FOLDS, N_DRAWS = 9, 8, 3, 2


class Fake:
    """Scores an item by ten times a number of its own plus the item's id."""

    def __init__(self, number: float) -> None:
        self.number = number

    def score_catalogue(self, histories: Sequence[Sequence[int]]) -> np.ndarray:
        row = 10 * self.number + np.arange(N_ITEMS)
        return np.tile(row, (len(histories), 1)).astype(np.float32)


def _world() -> tuple[pd.DataFrame, pa.Table, pa.Table]:
    """Users 0 to 8 of the training split and two of each other, three interactions each; two candidate sets an example."""
    splits = [c.TRAIN] * N_USERS + [c.VALIDATION] * 2 + [c.TEST] * 2
    interactions = pd.DataFrame(
        [(user, (user + step) % N_ITEMS, step, step, split) for user, split in enumerate(splits) for step in range(3)],
        columns=[c.USER, c.ITEM, c.TIMESTAMP, c.POSITION, c.SPLIT],
    )
    interactions[c.SPLIT] = pd.Categorical(interactions[c.SPLIT], categories=list(c.SPLITS))
    examples = make_examples(interactions, 10)
    examples = examples.filter(pa.array([split == c.TRAIN for split in examples[c.SPLIT].to_pylist()]))
    rows = [(example, draw) for example in examples[c.EXAMPLE].to_pylist() for draw in range(N_DRAWS)]
    sets = [[(example + draw + place) % N_ITEMS for place in range(4)] for example, draw in rows]
    columns = {c.EXAMPLE: [row[0] for row in rows], c.DRAW: [row[1] for row in rows], c.CANDIDATES: sets}
    return interactions, examples, pa.table(columns, schema=tables.CANDIDATE_SETS)


def test_every_user_is_scored_by_the_recommender_that_lacked_him(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_fitting, "BLOCK_EXAMPLES", 4)  # so that a block holds several folds, and a fold several blocks
    interactions, examples, candidates = _world()
    known: dict[int, set[int]] = {}

    def fit(given: pd.DataFrame, fold: int) -> Fake:
        known[fold] = set(given.loc[given[c.SPLIT] == c.TRAIN, c.USER])
        assert set(given.loc[given[c.SPLIT] != c.TRAIN, c.USER]) == set(range(N_USERS, N_USERS + 4))  # early stopping
        return Fake(1 + fold)

    parts = cross_fit(
        fit, Fake(-1), interactions, examples, candidates, n_items=N_ITEMS, n_folds=N_FOLDS, seed=0, dataset="planted"
    )
    table = pa.concat_tables(parts)
    assert table.select([c.EXAMPLE, c.DRAW]).equals(candidates.select([c.EXAMPLE, c.DRAW]))
    hidden = {fold: set(range(N_USERS)) - users for fold, users in known.items()}
    assert sorted(user for users in hidden.values() for user in users) == list(range(N_USERS))
    user_of = dict(zip(examples[c.EXAMPLE].to_pylist(), examples[c.USER].to_pylist(), strict=True))
    rows = zip(*(table[name].to_pylist() for name in (c.EXAMPLE, c.IN_SAMPLE, c.OUT_OF_FOLD)), strict=True)
    for (example, in_sample, out_of_fold), items in zip(rows, candidates[c.CANDIDATES].to_pylist(), strict=True):
        (fold,) = (fold for fold, users in hidden.items() if user_of[example] in users)
        assert in_sample == [item - 10 for item in items]
        assert out_of_fold == [item + 10 * (1 + fold) for item in items]


def test_scores_that_are_not_finite_are_refused() -> None:
    interactions, examples, candidates = _world()
    with pytest.raises(DataError, match="not finite"):
        list(
            cross_fit(
                lambda *_: Fake(np.nan),
                Fake(1),
                interactions,
                examples,
                candidates,
                n_items=N_ITEMS,
                n_folds=2,
                seed=0,
                dataset="planted",
            )
        )


def test_folds_are_even_random_and_of_the_seed() -> None:
    users = np.arange(10)
    folds = user_folds(users, 3, 0, "planted")
    assert sorted(np.bincount(folds)) == [3, 3, 4]
    assert folds.tolist() == user_folds(users, 3, 0, "planted").tolist()
    assert folds.tolist() != user_folds(users, 3, 1, "planted").tolist()


def test_held_out_prompts_show_the_recommenders_predictions_or_deal_them_out_at_random() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    frame = pd.DataFrame({c.EXAMPLE: range(50), c.DRAW: 0, c.SCORES: list(logits)})
    for source in ("out_of_fold", "in_sample"):
        shown = np.stack(shown_score_features(frame, source, 0, "ordered")[c.SCORES].to_list())  # type: ignore[arg-type]
        np.testing.assert_array_equal(shown, normalise_scores(logits))
    dealt = np.stack(shown_score_features(frame, "shuffled", 0, "ordered")[c.SCORES].to_list())
    assert not np.array_equal(dealt, normalise_scores(logits))
    for before, after in zip(normalise_scores(logits), dealt, strict=True):  # score and share stay together
        assert sorted(map(tuple, before.tolist())) == sorted(map(tuple, after.tolist()))
    np.testing.assert_array_equal(dealt, shuffled_score_features(normalise_scores(logits), 0, "held out, ordered"))
