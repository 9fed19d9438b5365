"""Where users go on in later splits, nothing that is learnt or chosen on a split rests on what comes after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.baselines.fitting import fit_baseline
from llara_core.config import load_params
from llara_core.data import synthetic
from llara_core.data.preparation import Prepared, prepare
from llara_core.data.splitting import make_examples
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.recommenders import training
from llara_core.recommenders.cross_fitting import cross_fit
from llara_core.recommenders.training import training_sequences
from llara_core.tuning.data import load_training_data
from llara_core.tuning.plan import make_plan
from pipeline import sample_candidates, train_recommender
from tests.helpers.llm import system_config
from tests.helpers.params import raw_params, write_params

REPOSITORY = Path(__file__).parents[2]
WORLD: dict[str, Any] = {
    "format": "synthetic",
    "min_rating": None,
    "catalogue": "full",
}
SPLITS: list[dict[str, Any]] = [
    {"strategy": "global_time", "train": 0.6, "validation": 0.2},
    {"strategy": "date", "train_until": "1997-03-15", "validation_until": "1997-04-15"},
    {"strategy": "leave_one_out"},
]
N_DRAWS, N_CANDIDATES = 20, 8


@pytest.fixture(params=SPLITS, ids=lambda split: split["strategy"])
def prepared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """The planted world, in a folder with parameters of its own."""
    params = raw_params()
    params["run"]["datasets"] = ["planted"]
    params["datasets"] = {"planted": params["datasets"]["movielens"] | WORLD | {"split": request.param}}
    params["candidates"] |= {"n_candidates": N_CANDIDATES, "draws": dict.fromkeys(c.SPLITS, N_DRAWS)}
    params["recommenders"] |= {"embedding_dim": 8, "max_epochs": 2}
    write_params(params, tmp_path)
    monkeypatch.chdir(tmp_path)
    synthetic.write(tmp_path / "raw")
    return prepare(tmp_path / "raw", load_params().dataset("planted"))


def with_other_future(prepared: Prepared, splits: tuple[str, ...]) -> Prepared:
    """The same log, but in ``splits`` everybody does something else."""
    interactions = prepared.interactions.copy()
    later = interactions[c.SPLIT].isin(splits)
    interactions.loc[later, c.ITEM] = np.random.default_rng(1).integers(len(prepared.items), size=later.sum(), dtype=np.int32)
    return Prepared(interactions, prepared.items, make_examples(interactions, 10), prepared.users, {})


def candidate_sets(prepared: Prepared, split: str) -> pa.Table:
    prepared.write(paths.prepared("planted"))
    sample_candidates.main("planted")
    return tables.read_arrow(paths.candidates("planted") / f"{split}.parquet", tables.CANDIDATE_SETS)


def test_later_items_are_training_negatives_as_often_as_chance_has_it(prepared: Prepared) -> None:
    sets = candidate_sets(prepared, c.TRAIN).to_pandas().merge(prepared.examples.to_pandas(), on=c.EXAMPLE)
    trained = prepared.interactions[prepared.interactions[c.SPLIT] == c.TRAIN].groupby(c.USER)[c.ITEM].agg(set)
    touched = prepared.interactions.groupby(c.USER)[c.ITEM].agg(set)
    later = touched.loc[trained.index] - trained
    n_leaked = sum(len(later[row.user_id] & set(row.candidates)) for row in sets.itertuples())
    # Of the items outside what the user did in training, each is as likely as any other to be one of the negatives.
    share = later.map(len) / (len(prepared.items) - trained.map(len))
    expected = (N_CANDIDATES - 1) * share[sets[c.USER]].sum()
    assert expected > 3_000
    assert abs(n_leaked - expected) < 4 * np.sqrt(expected)


@pytest.mark.parametrize(("split", "after"), [(c.TRAIN, (c.VALIDATION, c.TEST)), (c.VALIDATION, (c.TEST,))])
def test_candidates_of_a_split_do_not_know_the_splits_after_it(prepared: Prepared, split: str, after: tuple[str, ...]) -> None:
    sets, other_sets = (candidate_sets(world, split) for world in (prepared, with_other_future(prepared, after)))
    assert sets.equals(other_sets)


def test_validation_questions_at_positions_do_not_know_the_test_period(prepared: Prepared) -> None:
    asked = []
    for world in (prepared, with_other_future(prepared, (c.TEST,))):
        candidate_sets(world, c.VALIDATION)
        folder = paths.positions("planted")
        questions = tables.read_table(folder / "questions.parquet", tables.POSITIONS)
        sets = tables.read_table(folder / "candidates.parquet", tables.CANDIDATE_SETS)
        validation = questions[questions[c.SPLIT] == c.VALIDATION].merge(sets, on=c.EXAMPLE)
        asked.append([(row.user_id, list(row.history), row.target, list(row.candidates)) for row in validation.itertuples()])
    assert len(asked[0]) > 100
    assert asked[0] == asked[1]


def test_training_and_selection_do_not_know_the_test_period(prepared: Prepared) -> None:
    learnt = []
    for world in (prepared, with_other_future(prepared, (c.TEST,))):
        world.write(paths.prepared("planted"))
        sample_candidates.main("planted")
        train_recommender.main("planted", "gru4rec", 0)
        run, words = "gru4rec-0", ItemWording("movie", "watched")
        stored, _ = load_training_data("planted", words, None, "out_of_fold", 0)
        config = system_config(tune={"epochs": N_DRAWS, "max_examples": None, "batch_size": 1, "micro_batch_size": 1})
        plan = make_plan(stored.sizes, config.tune, config.curriculum, sample_templates=False, seed=0)
        data = stored.planned(plan)
        curves = sorted(paths.curves("planted", run).rglob("*.tsv"))
        assert curves
        learnt.append(
            (
                replace(data, sequences=list(data.sequences)),
                (paths.checkpoint("planted", run) / "model.safetensors").read_bytes(),
                tables.read_json(paths.checkpoint("planted", run) / "search.json"),
                [file.read_text() for file in curves],
            )
        )
    assert learnt[0] == learnt[1]


def test_baselines_and_validation_questions_do_not_know_the_test_period(prepared: Prepared) -> None:
    worlds = [world.interactions for world in (prepared, with_other_future(prepared, (c.TEST,)))]
    items = prepared.items
    for name in ("popularity", "item_knn"):
        scores = [fit_baseline(name, log[log[c.SPLIT] == c.TRAIN], items).score_catalogue([[0], [5, 9]]) for log in worlds]
        np.testing.assert_array_equal(*scores)
    asked = [training.validation_set(log, 10, N_CANDIDATES, 1000) for log in worlds]
    for field in ("histories", "seen"):
        ours, other = ([items.tolist() for items in getattr(questions, field)] for questions in asked)
        assert ours == other
    assert asked[0].targets.tolist() == asked[1].targets.tolist()


def test_no_held_out_interaction_is_trained_on(prepared: Prepared) -> None:
    log = prepared.interactions
    held_out = set(map(tuple, log.loc[log[c.SPLIT] != c.TRAIN, [c.USER, c.ITEM]].to_numpy().tolist()))
    examples = prepared.examples.to_pandas()
    asked = set(map(tuple, examples.loc[examples[c.SPLIT] != c.TRAIN, [c.USER, c.TARGET]].to_numpy().tolist()))
    assert asked
    assert asked <= held_out
    training = examples[examples[c.SPLIT] == c.TRAIN]
    shown = {(row.user_id, item) for row in training.itertuples() for item in [*row.history, row.target]}
    assert shown
    assert not shown & held_out  # nobody sees an item twice in the planted world
    prepared.write(paths.prepared("planted"))
    sample_candidates.main("planted")
    data, _ = load_training_data("planted", ItemWording("movie", "watched"), None, "in_sample", 0)
    by_user = log[log[c.SPLIT] == c.TRAIN].groupby(c.USER)[c.ITEM].agg(list)
    sequences = list(data.sequences)
    assert sequences == [sequence for sequence in by_user if len(sequence) >= 2]
    assert [items.tolist() for items in training_sequences(log)] == sequences


def test_a_recommender_that_did_not_see_a_user_saw_nothing_that_is_held_out(prepared: Prepared) -> None:
    log = prepared.interactions
    held_out = log.loc[log[c.SPLIT] != c.TRAIN, [c.USER, c.ITEM]]
    fitted: list[set[tuple[int, int]]] = []

    class Constant:
        def score_catalogue(self, histories: Any) -> Any:
            return np.zeros((len(histories), len(prepared.items)), dtype=np.float32)

    def fit(known: Any, fold: int) -> Constant:
        rows = known[known[c.SPLIT] == c.TRAIN]
        fitted.append(set(map(tuple, rows[[c.USER, c.ITEM]].to_numpy().tolist())))
        return Constant()

    sets = candidate_sets(prepared, c.TRAIN)
    examples = prepared.examples.filter(pc.equal(prepared.examples[c.SPLIT], c.TRAIN))
    parts = list(
        cross_fit(fit, Constant(), log, examples, sets, n_items=len(prepared.items), n_folds=3, seed=0, dataset="planted")
    )
    assert sum(map(len, parts)) == len(sets)
    users = log.loc[log[c.SPLIT] == c.TRAIN, c.USER].nunique()
    seen = [{user for user, _ in rows} for rows in fitted]
    assert [len(each) for each in seen] == [users - users // 3 - (fold < users % 3) for fold in range(3)]
    for rows in fitted:
        assert not rows & set(map(tuple, held_out.to_numpy().tolist()))
