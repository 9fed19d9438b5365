"""Preparation from raw files to tables, on the planted world and on small hand-made files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from llara_core import tables
from llara_core.data import synthetic
from llara_core.data.candidates import CandidateSampler
from llara_core.data.preparation import Prepared, prepare
from llara_core.errors import DataError
from tests.helpers.datasets import dataset_config

REST = "|".join([""] * 3 + ["0"] * 19)


def config(strategy: str = "user_chronological", train: float = 0.8, validation: float = 0.1, **changes: object) -> Any:
    return dataset_config(split={"strategy": strategy, "train": train, "validation": validation}, **changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "synthetic"
    synthetic.write(folder)
    return folder


def raw_files(folder: Path, ratings: list[tuple[int, int, int, int]], items: dict[int, str]) -> Path:
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in ratings))
    (folder / "u.item").write_text("".join(f"{item}|{title}|{REST}\n" for item, title in items.items()))
    return folder


def test_planted_world_is_the_same_each_time(world: Path, tmp_path: Path) -> None:
    synthetic.write(tmp_path / "again")
    for name in ("u.data", "u.item"):
        assert (tmp_path / "again" / name).read_bytes() == (world / name).read_bytes()


def test_planted_world_has_the_promised_shape(world: Path) -> None:
    prepared = prepare(world, config(min_rating=0.0))
    facts = prepared.statistics
    assert (facts["sequences"], facts["items"]) == (120, 60)
    assert facts["users_per_split"] == {"train": 96, "validation": 12, "test": 12}
    assert facts["tied_timestamps_share"] == 0
    lengths = prepared.interactions.groupby("user_id").size()
    assert 12 <= lengths.min() <= lengths.max() <= 30
    assert not prepared.interactions.duplicated(["user_id", "item_id"]).any()
    assert all(len(label.split()) in (2, 3) for label in prepared.items["label"])


def test_planted_structure_can_be_learnt_but_not_by_popularity(world: Path) -> None:
    """HR@1 over 20 candidates of a first-order rule and of popularity, on 120 / 2 held-out users."""
    prepared = prepare(world, config(train=0.5, validation=0.25))
    interactions, n_items = prepared.interactions, len(prepared.items)
    trained = interactions[interactions["split"] == "train"]
    moves = np.zeros((n_items, n_items))
    for _, items in trained.groupby("user_id")["item_id"]:
        np.add.at(moves, (items.to_numpy()[:-1], items.to_numpy()[1:]), 1)
    popularity = np.bincount(trained["item_id"], minlength=n_items)
    held_out = prepared.examples.filter(pc.field("split") != "train")
    sampler = CandidateSampler(interactions, n_items, "test", n_candidates=20, exclude="all_interactions")
    (sets,) = sampler.sample(held_out, 5, np.random.default_rng(0))
    asked = sets.to_pandas().merge(held_out.to_pandas(), on="example_id")
    hits = [
        (moves[row.history[-1]][row.candidates].argmax() == (row.candidates == row.target).argmax(), popularity[row.candidates])
        for row in asked.itertuples()
    ]
    assert np.mean([hit for hit, _ in hits]) > 0.6
    popular = [row.candidates[scores.argmax()] == row.target for row, (_, scores) in zip(asked.itertuples(), hits, strict=True)]
    assert np.mean(popular) < 0.15


@pytest.mark.parametrize("strategy", ["user_chronological", "global_time"])
def test_tables_are_written_in_their_schemas_and_order(world: Path, tmp_path: Path, strategy: str) -> None:
    prepared = prepare(world, config(strategy))
    prepared.write(tmp_path / "prepared")
    interactions = tables.read_table(tmp_path / "prepared/interactions.parquet", tables.INTERACTIONS)
    items = tables.read_table(tmp_path / "prepared/items.parquet", tables.ITEMS)
    examples = tables.read_table(tmp_path / "prepared/examples.parquet", tables.EXAMPLES)
    users = tables.read_table(tmp_path / "prepared/users.parquet", tables.USERS)
    assert users["user_id"].to_list() == interactions["user_id"].unique().tolist()
    order = list(zip(interactions["user_id"], interactions["position"], strict=True))
    assert order == sorted(order)
    assert interactions["user_id"].unique().tolist() == list(range(prepared.statistics["sequences"]))
    assert items["item_id"].to_list() == list(range(len(items)))
    assert items["raw_id"].astype(int).is_monotonic_increasing
    assert items["n_interactions"].to_list() == np.bincount(interactions["item_id"], minlength=len(items)).tolist()
    assert examples["example_id"].to_list() == list(range(len(examples)))
    rank = examples["split"].map({"train": 0, "validation": 1, "test": 2})
    order = list(zip(rank, examples["user_id"], strict=True))
    assert order == sorted(order)


@pytest.mark.parametrize("strategy", ["user_chronological", "global_time"])
def test_counts_add_up(world: Path, strategy: str) -> None:
    prepared = prepare(world, config(strategy))
    facts = prepared.statistics
    assert (
        sum(facts["interactions_per_split"].values())
        == facts["interactions"]
        == facts["left_after"]["sequences"]["interactions"]
    )
    assert sum(facts["examples_per_split"].values()) == len(prepared.examples)
    trained = facts["interactions_per_split"]["train"] - facts["users_per_split"]["train"]
    assert facts["examples_per_split"]["train"] == trained


RATINGS = [(user, item, 5, 10 * user + k) for user in (10, 20, 30) for k, item in enumerate((7, 3, 5))]
TITLES = {3: "Heat (1995)", 5: "Sabrina (1954)", 7: "Sabrina (1995)", 9: "Matrix, The (1999)"}


def thirds(folder: Path, **changes: object) -> Prepared:
    return prepare(folder, config(train=0.4, validation=0.3, **changes))


def test_ids_are_contiguous_in_raw_order(tmp_path: Path) -> None:
    prepared = thirds(raw_files(tmp_path, RATINGS, TITLES))
    assert prepared.items["raw_id"].to_list() == ["3", "5", "7"]
    assert prepared.items["title"].to_list() == ["Heat", "Sabrina", "Sabrina"]
    assert prepared.items["label"].to_list() == ["Heat", "Sabrina (1954)", "Sabrina (1995)"]
    assert prepared.users.to_dict("list") == {"user_id": [0, 1, 2], "raw_id": ["10", "20", "30"]}
    assert prepared.interactions["item_id"].to_list() == [2, 0, 1] * 3
    assert prepared.interactions["split"].to_list() == ["train"] * 3 + ["validation"] * 3 + ["test"] * 3


def test_full_catalogue_keeps_items_without_interactions(tmp_path: Path) -> None:
    items = thirds(raw_files(tmp_path, RATINGS, TITLES), catalogue="full").items
    assert items["label"].to_list()[-1] == "The Matrix"
    assert items["n_interactions"].to_list() == [3, 3, 3, 0]


def test_items_without_title_are_dropped_and_counted(tmp_path: Path) -> None:
    prepared = thirds(raw_files(tmp_path, RATINGS, {**TITLES, 5: "  "}))
    assert prepared.items["raw_id"].to_list() == ["3", "7"]
    assert prepared.statistics["dropped"]["items_without_title"] == 1
    assert prepared.statistics["dropped"]["interactions_without_title"] == 3
    assert prepared.statistics["interactions"] == 9 - 3


def test_cold_targets_and_ties_are_counted(tmp_path: Path) -> None:
    ratings = [*RATINGS[:3], *RATINGS[3:6], (30, 3, 5, 340), (30, 9, 5, 340)]  # only user 30, in test, has item 9
    facts = thirds(raw_files(tmp_path, ratings, TITLES)).statistics
    assert facts["cold_targets"] == {"validation": 0, "test": 1}
    assert facts["tied_timestamps_share"] == 2 / 8
    assert facts["mean_history_len"] == {"train": (1 + 2) / 2, "validation": 2.0, "test": 1.0}


def test_cold_items_are_asked_for_and_counted(world: Path) -> None:
    shares = {"train": 0.5, "validation": 0.25}
    whole = prepare(world, config(min_rating=0.0, **shares))
    split = {"strategy": "user_chronological", **shares, "cold_items": {"share": 0.25, "seed": 0}}
    cold = prepare(world, dataset_config(min_rating=0.0, split=split))
    trained = set(cold.interactions.loc[cold.interactions["split"] == "train", "item_id"])
    assert len(cold.items) == len(whole.items) == 60
    assert len(trained) == 45
    for part in ("validation", "test"):
        targets = cold.examples.filter(pc.field("split") == part)["target"].to_pylist()
        assert targets == whole.examples.filter(pc.field("split") == part)["target"].to_pylist()
        assert cold.statistics["cold_targets"][part] == sum(target not in trained for target in targets) > 0
    n_gone = len(whole.interactions) - len(cold.interactions)
    assert cold.statistics["dropped"]["training_interactions_of_cold_items"] == n_gone > 0
    assert "training_interactions_of_cold_items" not in whole.statistics["dropped"]


def test_fewer_training_users_are_counted_and_change_no_question(world: Path) -> None:
    shares = {"train": 0.5, "validation": 0.25}
    whole = prepare(world, config(min_rating=0.0, **shares))
    split = {"strategy": "user_chronological", **shares, "train_users": 0.5}
    few = prepare(world, dataset_config(min_rating=0.0, split=split))
    n_users = whole.statistics["users_per_split"]["train"]
    assert few.statistics["users_per_split"] == whole.statistics["users_per_split"] | {"train": round(n_users / 2)}
    assert few.statistics["dropped"]["training_users"] == n_users - round(n_users / 2)
    n_gone = len(whole.interactions) - len(few.interactions)
    assert few.statistics["dropped"]["interactions_of_training_users"] == n_gone > 0
    assert "training_users" not in whole.statistics["dropped"]
    pd.testing.assert_frame_equal(few.items, whole.items)
    by_raw_id = [
        each.interactions.merge(each.users, on="user_id").groupby("raw_id")["item_id"].agg(tuple) for each in (few, whole)
    ]
    pd.testing.assert_series_equal(by_raw_id[0], by_raw_id[1][by_raw_id[0].index])
    for part in ("validation", "test"):
        ours, other = (each.examples.filter(pc.field("split") == part).select(["history", "target"]) for each in (few, whole))
        assert ours.to_pylist() == other.to_pylist()


def test_a_rating_of_an_unlisted_item_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3 ratings are of movies that u.item does not list, such as 7"):
        thirds(raw_files(tmp_path, RATINGS, {3: "Heat", 5: "Sabrina"}))


def test_a_filter_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the filter leaves no interaction of 9"):
        thirds(raw_files(tmp_path, RATINGS, TITLES), min_rating=6.0)


def test_only_movies_lose_years_and_regain_articles(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user,item,time\n" + "".join(f"{u},{i},{u}{i}\n" for u in "456" for i in "123"))
    (tmp_path / "items.csv").write_text('item,title\n1,"Vitamin B, A"\n2,Blade Runner (2049)\n3,Ratchet &amp; Clank\n')
    prepared = prepare(tmp_path, dataset_config("log", split={"train": 0.4, "validation": 0.3}, time_format="seconds"))
    assert prepared.items["label"].to_list() == ["Vitamin B, A", "Blade Runner (2049)", "Ratchet & Clank"]


def test_targets_that_stand_in_their_history_are_counted(tmp_path: Path) -> None:
    ratings = [*RATINGS, (30, 7, 5, 399)]  # only user 30, in test, comes back to an item
    facts = thirds(raw_files(tmp_path, ratings, TITLES)).statistics
    assert facts["targets_in_history"] == {"validation": 0, "test": 1}
