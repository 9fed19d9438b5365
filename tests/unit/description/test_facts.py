"""What is counted in a log, on logs so small that each figure can be counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.data import synthetic
from llara_core.description.doubts import list_doubts
from llara_core.description.log import describe_log, describe_ratings, describe_titles
from llara_core.description.page import WIDTH, render
from llara_core.errors import DataError
from llara_core.llm.loading import load_tokenizer
from llara_core.readers.interaction_log import RawLog
from tests.helpers.datasets import dataset_config

from .conftest import LENGTH, N_ITEMS, N_USERS, NOW, START, Room, as_csv, interactions, items_csv, log_csv

DAY = 86_400


def raw_log(rows: list[tuple[int, int, int]], n_items: int, **options: Any) -> RawLog:
    """A log of (user, item, time); its items are called ``Title 0`` and so on."""
    log = pd.DataFrame(rows, columns=[c.USER, c.ITEM, c.TIMESTAMP])
    items = pd.DataFrame({c.ITEM: range(n_items), c.RAW_TITLE: [f"Title {item}" for item in range(n_items)]})
    return RawLog.number(log, items, **options)


def facts(rows: list[tuple[int, int, int]], n_items: int = 5, **changes: Any) -> dict[str, Any]:
    return describe_log(raw_log(rows, n_items), dataset_config("log", **changes), NOW)


def two_items_each(n_users: int) -> list[tuple[int, int, int]]:
    return [(user, item, START + 10 * user + item) for user in range(n_users) for item in (0, 1)]


def test_times() -> None:
    rows = [
        (0, 0, START),
        (0, 1, START),  # tied
        (1, 0, START),  # at the same time as another user, which is no tie
        (1, 1, START + DAY),
        (2, 0, -5),
        (2, 1, 0),
        (3, 0, 100),
        (3, 1, int(NOW) + 1),
    ]
    times = facts(rows)["times"]
    assert (times["first"], times["last"]) == ("1969-12-31 23:59:55", "2027-01-15 08:00:01")
    assert (times["before_1970"], times["at_1970"], times["before_1980"], times["in_the_future"]) == (1, 1, 1, 1)
    assert times["tied_share"] == 2 / 8
    assert times["users_all_tied"] == 1
    assert (times["most_common"], times["most_common_share"]) == ("2020-09-13 12:26:40", round(3 / 8, 4))
    assert times["resolution"] == "seconds"


@pytest.mark.parametrize(("step", "resolution"), [(DAY, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")])
def test_the_resolution_is_the_coarsest_unit_of_all_times(step: int, resolution: str) -> None:
    rows = [(user, item, (START // DAY + 1) * DAY + step * (2 * user + item)) for user in range(12) for item in (0, 1)]
    assert facts(rows)["times"]["resolution"] == resolution


def test_repeats_and_duplicates() -> None:
    rows = [*two_items_each(12), (0, 0, START + 500), (0, 0, START + 500)]
    repeats = facts(rows)["repeats"]
    assert repeats == {"interactions_of_a_known_pair": 2, "share": round(2 / 26, 4), "exact_duplicates": 1}


def test_lengths_of_histories_and_popularity() -> None:
    rows = [(0, 0, START), *[(1, item, START + item) for item in range(3)], *[(2, item, START + item) for item in range(5)]]
    found = facts(rows)
    assert found["histories"]["quantiles"] == {"0": 1, "0.1": 1, "0.25": 1, "0.5": 3, "0.75": 3, "0.9": 3, "0.99": 3, "1": 5}
    assert found["histories"]["mean"] == 3.0
    # Items 0 to 4 have 3, 2, 2, 1 and 1 of the nine interactions.
    assert found["popularity"]["fewer_than"]["2"] == {"items_share": 2 / 5, "interactions_share": round(2 / 9, 4)}
    assert found["popularity"]["fewer_than"]["5"] == {"items_share": 1.0, "interactions_share": 1.0}
    assert found["popularity"]["top_percent_share"] == round(3 / 9, 4)


def test_cold_targets_under_two_strategies() -> None:
    """Ten users by time: eight train, one validates, one tests; the last user's last item is seen by nobody before."""
    rows = [(user, item, START + 100 * user + item) for user in range(10) for item in (0, 1)]
    rows[-1] = (9, 4, START + 901)
    splits = facts(rows)["splits"]
    by_user = splits["by_strategy"]["user_chronological"]
    assert by_user["examples"] == {"train": 8, "validation": 1, "test": 1}
    assert by_user["cold_targets"] == {"validation": 0, "test": 1}
    assert by_user["cold_share"] == {"validation": 0.0, "test": 1.0}
    # Cut by time, the interactions of users 0 to 7 are the first 80 %.
    assert splits["by_strategy"]["global_time"] == by_user


def test_splits_are_told_for_which_the_section_says_enough() -> None:
    assert list(facts(two_items_each(12))["splits"]["by_strategy"]) == ["user_chronological", "global_time", "leave_one_out"]


def test_a_filter_that_leaves_nothing_and_a_split_without_examples_are_told() -> None:
    nothing = facts(two_items_each(12), min_user_interactions=5)["splits"]
    assert nothing["interactions"] == 0
    assert nothing["by_strategy"]["global_time"]["error"].startswith("the filter leaves no interaction")
    few = facts(two_items_each(2))["splits"]["by_strategy"]["user_chronological"]
    assert "each of train, validation, test needs at least one" in few["error"]


@pytest.mark.parametrize(
    ("ratings", "scale", "outside"),
    [
        ([1.0, 5.0, 3.0], [1, 5], 0),
        ([0.5, 5.0, 3.5], [0.5, 5], 0),
        ([7.0, 10.0, 1.0], [1, 10], 0),
        ([1.0, 0.0], [0, 1], 0),
        ([*[float(stars) for stars in range(1, 11)] * 10, -1.0], [1, 10], 1),
        ([-50.0, 7000.0], None, 0),
    ],
)
def test_the_scale_of_ratings(ratings: list[float], scale: list[float] | None, outside: int) -> None:
    found = describe_ratings(pd.Series(ratings).to_numpy())
    assert (found["scale"], found["outside"]) == (scale, outside)


def test_zeros_apart_from_the_scale_are_told() -> None:
    assert describe_ratings(pd.Series([0.0, 0.0, 5.0, 7.0, 8.0, 10.0]).to_numpy())["zeros"] == 2


def test_titles() -> None:
    found = describe_titles(["Q &amp; A", "q & a", "<b>Heat</b>", "CafÃ©", "Café", "", "A long title"], are_movies=False)
    assert (found["titles"], found["empty"], found["shared"], found["items_sharing"]) == (6, 1, 1, 2)
    assert found["shared_most"] == [{"title": "Q & A", "items": 2}]
    assert (found["longest"], found["longest_characters"]) == ("A long title", len("A long title"))
    assert found["with_html_entities"] == 1
    assert found["with_html_tags"] == {"count": 1, "examples": ["<b>Heat</b>"]}
    assert found["with_wrong_encoding"] == {"count": 1, "examples": ["CafÃ©"]}
    assert found["beyond_ascii"]["count"] == 2


def test_missing_marks_and_placeholders_are_counted_on_every_row(room: Room) -> None:
    rows: list[tuple[Any, ...]] = [*interactions(), ("NULL", "i1", START), ("", "i1", START), ("unknown", "i1", START)]
    room.put(log_csv=as_csv(["user", "item", "time"], rows), items_csv=items_csv())
    found = room.describe()
    assert found["columns"]["user"] == {
        "column": "user",
        "rows": N_USERS * LENGTH + 3,
        "missing": {"NULL": 1, "(empty)": 1},
        "doubtful": {"unknown": 1},
        "most_frequent": {"id": "u00", "rows": LENGTH},
    }
    assert found["sizes"]["dropped"]["interactions_without_user"] == 2
    assert any("holds 'unknown' (1 rows)" in doubt for doubt in found["doubts"])


def test_a_section_with_another_unit_than_the_values_is_doubted(room: Room) -> None:
    room.put(log_csv=log_csv(time=lambda second: 1000 + second - START), items_csv=items_csv())
    room.paste(room.describe()["guess"]["section"].replace("time_format: seconds", "time_format: milliseconds"))
    (doubt,) = [doubt for doubt in room.describe()["doubts"] if doubt.startswith("time_format")]
    assert doubt.startswith("time_format is milliseconds, but the times (such as 1000, 2000, 3000) look like seconds (guess)")


def test_a_section_reads_the_own_files_and_says_the_same_as_the_guess(room: Room) -> None:
    room.put(log_csv=log_csv(), items_csv=items_csv())
    guessed = room.describe()
    room.paste(guessed.pop("guess")["section"])
    assert room.describe() == guessed


@pytest.mark.parametrize("name", ["shop", "movielens"])
def test_the_page_fits_and_the_facts_are_json(room: Room, name: str) -> None:
    synthetic.write(paths.raw("movielens"))
    titles = [(f"i{item}", f"A rather long title {item} " * 9) for item in range(N_ITEMS)]
    room.put(log_csv=log_csv(), items_csv=as_csv(["item", "title"], titles))
    found = room.describe(name)
    page, _, section = render(found).partition("Section to paste")
    assert max(map(len, page.splitlines())) <= WIDTH
    assert bool(section) == (name == "shop")
    tables.write_json(paths.raw("facts.json"), found)
    assert json.loads(paths.raw("facts.json").read_text()) == json.loads(json.dumps(found))


def test_the_synthetic_world(room: Room) -> None:
    """The counts of docs/datasets.md."""
    synthetic.write(paths.raw("movielens"))
    found = room.describe("movielens")
    assert (found["sizes"]["users"], found["sizes"]["items"]) == (120, 60)
    assert found["splits"]["by_strategy"]["user_chronological"]["examples"][c.TEST] == 12
    assert found["ratings"]["scale"] == [1, 5]


def test_released_frames(room: Room) -> None:
    """Three sequences of three items; item 3 is a test target that nobody trained on."""
    folder = paths.own("frames")
    folder.mkdir(parents=True)
    for file, rows in (
        ("train.df", [([4, 4], 0, 0), ([0, 4], 1, 1), ([0, 1], 2, 2)]),
        ("val.df", [([1, 2], 2, 0)]),
        ("test.df", [([2, 0], 2, 3)]),
    ):
        pd.DataFrame(rows, columns=["seq", "len_seq", "next"]).to_pickle(folder / file)
    (folder / "names.txt").write_text("".join(f"{item}::Item {item}\n" for item in range(4)))
    names = {"train": "train.df", "validation": "val.df", "test": "test.df", "names": "names.txt"}
    section = {"format": "released_frames", **names, "max_history_len": 10, "noun": "item", "verb": "used"}
    room.paste("  frames:\n" + "".join(f"    {key}: {value}\n" for key, value in section.items()))
    found = room.describe("frames")
    assert (found["sizes"]["users"], found["sizes"]["interactions"]) == (3, 9)
    assert found["sizes"]["dropped"] == {"rows_without_history": 1}
    (split,) = found["splits"]["by_strategy"].values()
    assert split["examples"] == {"train": 2, "validation": 1, "test": 1}
    assert split["cold_targets"] == {"validation": 0, "test": 1}
    assert "frames have no times" in render(found)


def test_tokens_of_titles_where_there_is_a_tokenizer(room: Room, tiny_llama: Path) -> None:
    room.put(log_csv=log_csv(), items_csv=items_csv())
    assert room.describe()["titles"]["tokens"] is None
    paths.LLM.symlink_to(tiny_llama)
    tokens = room.describe()["titles"]["tokens"]
    tokenizer = load_tokenizer(tiny_llama)
    lengths = [len(tokenizer(f"Title {item}", add_special_tokens=False)["input_ids"]) for item in range(N_ITEMS)]
    assert (tokens["longest"], tokens["mean"]) == (max(lengths), round(sum(lengths) / N_ITEMS, 1))
    # A prompt has 30 places for titles, but there are only eight.
    assert (tokens["titles_in_prompt"], tokens["prompt_most"]) == (N_ITEMS, sum(lengths))


def test_missing_raw_files_name_the_command(room: Room) -> None:
    with pytest.raises(DataError, match=r"run `python -m pipeline.download movielens` first"):
        room.describe("movielens")


def test_few_test_examples_name_the_split_with_more() -> None:
    rows = [(user, item, START + 100 * user + item) for user in range(20) for item in range(4)]
    found = facts(rows)
    sizes = {name: each["examples"]["test"] for name, each in found["splits"]["by_strategy"].items()}
    assert sizes == {"user_chronological": 2, "global_time": 2, "leave_one_out": 20}
    few = [doubt for doubt in list_doubts(found, dataset_config("log"), 20) if doubt.startswith("the test has")]
    assert few == [
        "the test has 2 examples: HR@1 near one half has a standard error of 0.354; with the split leave_one_out it has 20"
    ]
