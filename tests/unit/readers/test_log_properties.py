"""Generated logs, from files to candidate sets: what holds for every log, whatever is in it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from llara_core import columns as c
from llara_core.data.candidates import CandidateSampler
from llara_core.data.preparation import Prepared, prepare
from llara_core.errors import DataError
from llara_core.readers.titles import folded
from tests.helpers.datasets import dataset_config

N_ITEMS = 12
EVENTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, N_ITEMS), st.integers(0, 30), st.integers(1, 5)), min_size=30, max_size=80
)
TITLES = st.lists(
    st.sampled_from(["Heat", "heat", "Heat\u0301", "Heat (1995)", "Fargo", "Clue", "Big", "Up", "Babe", " "]),
    min_size=N_ITEMS,
    max_size=N_ITEMS,
)
CHANGES = st.fixed_dictionaries(
    {
        "min_rating": st.sampled_from([None, 2.0]),
        "min_user_interactions": st.integers(0, 3),
        "min_item_interactions": st.integers(0, 2),
        "min_counts": st.sampled_from(["once", "k_core"]),
        "repeats": st.sampled_from(["keep", "first"]),
        "catalogue": st.sampled_from(["interacted", "full"]),
        "max_history_len": st.integers(1, 4),
        "split": st.fixed_dictionaries(
            {
                "strategy": st.sampled_from(["user_chronological", "global_time"]),
                "train": st.just(0.5),
                "validation": st.just(0.25),
            }
        ),
    }
)


def prepared_log(events: list[tuple[int, int, int, int]], titles: list[str], changes: dict[str, Any]) -> Prepared:
    """The tables of a log; one that is too small for its filter or its split says so, and is no example."""
    columns = {"user": "user", "item": "item", "time": "time", "rating": "rating", "item_id": "item", "title": "title"}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pd.DataFrame(events, columns=["user", "item", "time", "rating"]).to_csv(folder / "interactions.csv", index=False)
        pd.DataFrame({"item": range(N_ITEMS), "title": titles}).to_csv(folder / "items.csv", index=False)
        try:
            return prepare(folder, dataset_config("log", columns=columns, **changes))
        except DataError as error:
            known = ("none of its items is in", "the filter leaves no interaction", "needs at least one")
            if any(words in str(error) for words in known):
                reject()
            raise


@settings(deadline=None, max_examples=60)
@given(EVENTS, TITLES, CHANGES)
def test_tables_keep_their_promises(
    events: list[tuple[int, int, int, int]], titles: list[str], changes: dict[str, Any]
) -> None:
    prepared = prepared_log(events, titles, changes)
    interactions, examples, items = prepared.interactions, prepared.examples.to_pandas(), prepared.items

    assert items["label"].map(folded).is_unique
    assert (items["label"].str.strip() != "").all()
    assert sorted(interactions["user_id"].unique()) == list(range(prepared.statistics["sequences"]))
    for _, sequence in interactions.groupby("user_id"):
        assert sequence["position"].to_list() == list(range(len(sequence)))
        assert sequence["timestamp"].is_monotonic_increasing
        if changes["repeats"] == "first":
            assert sequence["item_id"].is_unique
    if changes["split"]["strategy"] == "user_chronological":
        assert (interactions.groupby("user_id")["split"].nunique() == 1).all()
        assert not examples[examples["split"] != "train"].duplicated("user_id").any()
    else:
        periods = (
            interactions.groupby("split", observed=True)["timestamp"]
            .agg(["min", "max"])
            .reindex(["train", "validation", "test"])
        )
        assert periods["max"]["train"] < periods["min"]["validation"]
        assert periods["max"]["validation"] < periods["min"]["test"]
    if changes["min_counts"] == "k_core":
        touched = items["n_interactions"][items["n_interactions"] > 0]
        assert (touched >= changes["min_item_interactions"]).all()
        assert (interactions.groupby("user_id").size() >= changes["min_user_interactions"]).all()


@settings(deadline=None, max_examples=60)
@given(EVENTS, TITLES, CHANGES)
def test_counts_add_up(events: list[tuple[int, int, int, int]], titles: list[str], changes: dict[str, Any]) -> None:
    prepared = prepared_log(events, titles, changes)
    facts = prepared.statistics
    steps, dropped = facts["left_after"], facts["dropped"]
    sizes = [step["interactions"] for step in steps.values()]
    assert (sizes[0], sizes[-1]) == (len(events), facts["interactions"])
    assert sizes == sorted(sizes, reverse=True)
    lost = dropped["interactions_duplicated"] + dropped["interactions_of_unknown_items"] + dropped["interactions_without_title"]
    unusable = {item for item, title in enumerate(titles) if not title.strip()} | {N_ITEMS}
    usable = [event for event in set(events) if event[1] not in unusable]
    assert len(events) - lost == len(usable)
    if changes["min_rating"] is not None:
        assert steps["rating"]["interactions"] == sum(event[3] >= changes["min_rating"] for event in usable)
    assert sum(facts["interactions_per_split"].values()) == facts["interactions"]
    assert sum(facts["examples_per_split"].values()) == len(prepared.examples)
    assert prepared.items["n_interactions"].sum() == facts["interactions"]


@settings(deadline=None, max_examples=60)
@given(EVENTS, CHANGES, st.integers(2, 4), st.sampled_from(["all_interactions", "last_interactions"]))
def test_a_target_is_once_among_its_candidates(
    events: list[tuple[int, int, int, int]], changes: dict[str, Any], n_candidates: int, exclude: str
) -> None:
    prepared = prepared_log(events, [f"Title {item}" for item in range(N_ITEMS)], changes)
    interactions, n_items = prepared.interactions, len(prepared.items)
    parts: list[pa.Table] = []
    try:
        for split in c.SPLITS:
            sampler = CandidateSampler(interactions, n_items, split, n_candidates=n_candidates, exclude=exclude)
            parts += sampler.sample(prepared.examples.filter(pc.field(c.SPLIT) == split), 2, np.random.default_rng(0))
    except DataError as error:
        if "eligible negatives" in str(error):
            reject()
        raise
    sets = pa.concat_tables(parts).to_pandas()
    assert len(sets) == 2 * len(prepared.examples)
    until = {split: interactions[interactions["split"].isin(c.UNTIL[split])] for split in c.SPLITS}
    seen_by = {split: rows.groupby("user_id")["item_id"].agg(set) for split, rows in until.items()}
    for row in sets.merge(prepared.examples.to_pandas(), on="example_id").itertuples():
        seen = seen_by[row.split][row.user_id] if exclude == "all_interactions" else {*row.history, row.target}
        assert list(row.candidates).count(row.target) == 1
        assert len(set(row.candidates)) == n_candidates
        assert set(row.candidates) & seen == {row.target}
