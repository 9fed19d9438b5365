"""Files, columns and formats of a folder without a section; the section that comes out is pasted, and read."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llara_core import paths
from llara_core.config import OwnLogConfig, load_params
from llara_core.description.page import render
from llara_core.errors import ConfigError, DataError
from llara_core.readers.interaction_log import RawLog
from llara_core.readers.own_log import read
from tests.helpers.own_logs import write

from .conftest import LENGTH, N_ITEMS, N_USERS, Room, as_csv, interactions, items_csv, log_csv

DAY = 86_400


def pasted(room: Room, facts: dict[str, Any]) -> tuple[OwnLogConfig, RawLog]:
    """The section and what the reader makes of the files with it."""
    room.paste(facts["guess"]["section"])
    config = load_params().dataset(facts["name"])
    assert isinstance(config, OwnLogConfig)
    return config, read(paths.own(facts["name"]), config)


def moments(log: RawLog) -> list[int]:
    return (log.interactions["timestamp"] // log.ticks_per_second).to_list()


def choice(facts: dict[str, Any], key: str) -> tuple[str, str]:
    found = facts["guess"]["choices"][key]
    return found["value"], found["confidence"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "^", "~", "\x01"])
def test_every_separator(room: Room, separator: str) -> None:
    room.put(log_csv=log_csv(separator), items_csv=items_csv(separator))
    config, log = pasted(room, room.describe())
    assert config.separator == separator
    assert (log.n_users, len(log.items), len(log.interactions)) == (N_USERS, N_ITEMS, N_USERS * LENGTH)
    assert moments(log) == [second for *_, second in interactions()]


def strftime(pattern: str) -> Callable[[int], str]:
    return lambda second: datetime.fromtimestamp(second, UTC).strftime(pattern)


@pytest.mark.parametrize(
    ("time_format", "time", "step"),
    [
        ("seconds", lambda second: second, 1),
        ("milliseconds", lambda second: second * 10**3, 1),
        ("microseconds", lambda second: second * 10**6, 1),
        ("nanoseconds", lambda second: second * 10**9, 1),
        ("iso8601", strftime("%Y-%m-%dT%H:%M:%SZ"), 1),
        ("iso8601", strftime("%Y-%m-%d"), DAY),
        ("%d/%m/%Y %H:%M", strftime("%d/%m/%Y %H:%M"), 60),
        ("%m/%d/%Y %I:%M %p", strftime("%m/%d/%Y %I:%M %p"), 60),
        ("%Y%m%d", strftime("%Y%m%d"), DAY),
    ],
)
def test_every_time_format(room: Room, time_format: str, time: Callable[[int], object], step: int) -> None:
    room.put(log_csv=log_csv(time=time), items_csv=items_csv())
    config, log = pasted(room, room.describe())
    assert config.time_format == time_format
    assert moments(log) == [second // step * step for *_, second in interactions()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
def test_every_encoding(room: Room, encoding: str) -> None:
    titles = as_csv(["item", "title"], [(f"i{item}", f"Café {item}") for item in range(N_ITEMS)])
    room.put(log_csv=log_csv().encode(encoding), items_csv=titles.encode(encoding))
    config, log = pasted(room, room.describe())
    assert config.encoding == encoding.removesuffix("-sig")
    assert log.items["raw_title"].to_list() == [f"Café {item}" for item in range(N_ITEMS)]


def test_a_letter_at_the_end_of_a_long_file_decides_its_encoding(room: Room) -> None:
    rows = [(f"i{item}", "Plain " * 10) for item in range(100_000)] + [("i100000", "Café")]
    room.put(log_csv=log_csv(), items_csv=as_csv(["item", "title"], rows).encode("cp1252"))
    assert "encoding: cp1252\n" in room.describe()["guess"]["section"]


def test_gzip_and_parquet_are_known_by_content(room: Room) -> None:
    columns = list(zip(*interactions(), strict=True))
    log = dict(zip(["user", "item", "time"], map(list, columns), strict=True))
    room.put(log_dat=log, items_csv=gzip.compress(items_csv().encode()))
    facts = room.describe()
    assert [file["kind"] for file in facts["guess"]["files"]] == ["Parquet", "CSV packed with gzip"]
    assert len(pasted(room, facts)[1].interactions) == N_USERS * LENGTH


def test_a_folder_of_parquet_parts_is_one_table(room: Room) -> None:
    parts = [
        {"user": [row[0] for row in rows], "item": [row[1] for row in rows], "time": [row[2] for row in rows]}
        for rows in (interactions()[:20], interactions()[20:])
    ]
    room.put(log_parts=parts, items_csv=items_csv())
    facts = room.describe()
    assert choice(facts, "interactions") == ("log.parts", "sure")
    assert len(pasted(room, facts)[1].interactions) == N_USERS * LENGTH


def test_columns_are_found_by_name_and_by_values_whatever_stands_beside_them(room: Room) -> None:
    rows = [(user, item, 1 + number % 5, number, second) for number, (user, item, second) in enumerate(interactions())]
    room.put(
        ratings_csv=as_csv(["reviewerID", "asin", "overall", "helpful", "unixReviewTime"], rows),
        meta_csv=as_csv(["asin", "title", "brand"], [(f"i{item}", f"Title {item}", "ACME") for item in range(N_ITEMS)]),
    )
    facts = room.describe()
    config, _ = pasted(room, facts)
    names = config.columns
    assert (names.user, names.item, names.time, names.rating) == ("reviewerID", "asin", "unixReviewTime", "overall")
    assert (names.item_id, names.title) == ("asin", "title")
    assert {found["confidence"] for found in facts["guess"]["choices"].values()} == {"sure"}


def test_columns_whose_names_say_nothing_are_told_by_values_and_less_sure(room: Room) -> None:
    rows = [(second, item, user) for user, item, second in interactions()]
    room.put(a_csv=as_csv(["x", "y", "z"], rows), b_csv=items_csv().replace("item,title", "p,q"))
    facts = room.describe()
    names = pasted(room, facts)[0].columns
    assert (names.user, names.item, names.time, names.item_id, names.title) == ("z", "y", "x", "p", "q")
    assert choice(facts, "columns.user") == ("z", "guess")
    assert choice(facts, "columns.item")[1] != "guess"  # all its values are in the other file


def test_users_and_items_with_the_same_numbers_are_told_apart_by_name(room: Room) -> None:
    rows = [(user[1:], int(item[1:]) + 1, second) for user, item, second in interactions()]
    titles = [(item, f"Title {item}") for item in range(1, 20)]
    room.put(log_csv=as_csv(["userId", "movieId", "timestamp"], rows), movies_csv=as_csv(["movieId", "title"], titles))
    config, log = pasted(room, room.describe())
    assert (config.columns.user, config.columns.item) == ("userId", "movieId")
    assert (config.noun, config.verb) == ("movie", "watched")
    assert log.n_users == N_USERS


def test_of_two_times_one_is_taken_and_the_other_named(room: Room) -> None:
    rows = [(user, item, second, second + 5) for user, item, second in interactions()]
    room.put(log_csv=as_csv(["user", "item", "created_at", "updated_at"], rows), items_csv=items_csv())
    found = room.describe()["guess"]["choices"]["columns.time"]
    assert found["confidence"] == "guess"
    assert {found["value"], *found["alternatives"]} == {"created_at", "updated_at"}


def test_of_two_logs_the_larger_is_taken_and_the_other_named(room: Room) -> None:
    few = as_csv(["user", "item", "time"], interactions()[:8])
    room.put(test_csv=few, train_csv=log_csv(), items_csv=items_csv())
    found = room.describe()["guess"]["choices"]["interactions"]
    assert (found["value"], found["confidence"], found["alternatives"]) == ("train.csv", "guess", ("test.csv",))


def test_items_with_dates_and_genres_are_no_second_log(room: Room) -> None:
    rows = [(f"i{item}", f"Title {item}", f"19{90 + item}-05-01", ("Drama", "Comedy")[item % 2]) for item in range(N_ITEMS)]
    room.put(log_csv=log_csv(), items_csv=as_csv(["item", "title", "release_date", "genre"], rows))
    assert choice(room.describe(), "interactions") == ("log.csv", "sure")


def test_ratings_with_gaps_are_left_out_since_they_would_cost_rows(room: Room) -> None:
    rows = [(*row, "" if number % 2 else 4) for number, row in enumerate(interactions())]
    room.put(log_csv=as_csv(["user", "item", "time", "rating"], rows), items_csv=items_csv())
    facts = room.describe()
    config, log = pasted(room, facts)
    assert (config.columns.rating, len(log.interactions)) == (None, N_USERS * LENGTH)
    assert "rating lacks 50.0% of its values" in facts["guess"]["choices"]["columns.rating"]["why"]


def test_columns_without_a_use_are_said_what_they_could_be(room: Room) -> None:
    log = as_csv(
        ["user", "item", "time", "status", "basket"],
        [(*row, "returned" if number % 4 == 0 else "paid", 7 * number) for number, row in enumerate(interactions())],
    )
    items = as_csv(
        ["item", "title", "category", "price", "shop"],
        [(f"i{item}", f"Title {item}", "tools" if item % 2 else "toys", 1.5 + item, "main") for item in range(N_ITEMS)],
    )
    room.put(interactions_csv=log, items_csv=items)
    facts = room.describe()
    assert facts["guess"]["unused"] == [
        "status ('paid', 'returned'): to use only some rows, add for example `keep: {status: [paid]}`",
        "category, price: to use them as attributes of the items, set `columns.attributes: [category, price]`",
        "basket, shop: no use found",
    ]
    assert "- status ('paid', 'returned'): to use only some rows" in render(facts)
    room.put("plain", interactions_csv=log_csv(), items_csv=items_csv())
    assert "does not use" not in render(room.describe("plain"))


def test_titles_may_stand_in_the_log(room: Room) -> None:
    rows = [(user, item, f"Title {item[1:]}", second) for user, item, second in interactions()]
    room.put(plays_csv=as_csv(["user", "track_id", "track_name", "time"], rows))
    config, log = pasted(room, room.describe())
    assert (config.interactions, config.items) == ("plays.csv", "plays.csv")
    assert (config.columns.item_id, config.columns.title) == ("track_id", "track_name")
    assert (len(log.items), config.verb) == (N_ITEMS, "listened to")


def test_quotes_that_backslashes_escape(room: Room) -> None:
    titles = "item,title\n" + "".join(f'i{item},"The \\"{item}\\" of"\n' for item in range(N_ITEMS))
    room.put(log_csv=log_csv(), items_csv=titles)
    facts = room.describe()
    config, log = pasted(room, facts)
    assert (config.quoting, config.escape) == ("checked", "\\")
    assert log.items["raw_title"][0] == 'The "0" of'
    assert "is ambiguous" in facts["guess"]["choices"]["quoting"]["why"]


def test_quotes_that_are_ordinary_characters(room: Room) -> None:
    rows = [[*row, "ok"] for row in interactions()]
    rows[5][3], rows[12][3] = '"so', 'so"'
    room.put(log_tsv=as_csv(["user", "item", "time", "note"], [tuple(row) for row in rows], "\t"), items_tsv=items_csv("\t"))
    config, log = pasted(room, room.describe())
    assert config.quoting == "none"
    assert len(log.interactions) == N_USERS * LENGTH


def test_the_whole_file_decides_between_days_and_months_that_the_sample_leaves_open(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llara_core.description.files.SAMPLE_ROWS", 8)
    days = [f"{1 + number % 8:02d}/02/2020" for number in range(8)] + ["12/25/2020"] * 40
    rows = [(user, item, day) for (user, item, _), day in zip(interactions(), days, strict=True)]
    room.put(log_csv=as_csv(["user", "item", "day"], rows), items_csv=items_csv())
    facts = room.describe()
    assert pasted(room, facts)[0].time_format == "%m/%d/%Y"
    assert choice(facts, "time_format") == ("%m/%d/%Y", "likely")
    monkeypatch.setattr("llara_core.description.describe.SAMPLE_ROWS", 8)
    (doubt,) = [doubt for doubt in room.describe()["doubts"] if doubt.startswith("time_format")]
    assert doubt == "time_format %m/%d/%Y fits, but %d/%m/%Y fits the first 8 values, too"


def test_names_that_yaml_reads_as_something_else_are_quoted(room: Room) -> None:
    header = ["user", "no", "time"]
    room.put(log_csv=log_csv().replace("user,item,time", ",".join(header)), items_csv=items_csv().replace("item,", "y,"))
    config, _ = pasted(room, room.describe())
    assert (config.columns.item, config.columns.item_id) == ("no", "y")


def complaint(room: Room, name: str = "shop") -> str:
    with pytest.raises((ConfigError, DataError)) as caught:
        room.describe(name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"log_csv": b"PK\x03\x04zip", "items_csv": items_csv()}, "log.csv: cannot be read: is a zip archive"),
        ({"log_csv": "", "items_csv": items_csv()}, "log.csv: cannot be read: is empty"),
        ({"log_csv": "user,item,time\n", "items_csv": items_csv()}, "log.csv: cannot be read: has only one line"),
        ({"log_json": '{"user": 1}\n{"user": 2}\n', "items_csv": items_csv()}, "fewer than two columns with unique names"),
        (
            {"log_json": '[{"user": 1}]', "items_csv": items_csv()},
            "log.json: cannot be read: is one JSON array; write one object",
        ),
        ({"log_csv": log_csv()}, "log.csv may be the log, but no file lists at least 50%"),
        ({"items_csv": items_csv()}, "No file has a column of times"),
        ({"log_csv": log_csv(), "items_csv": items_csv().replace("i", "x")}, "are its ids written differently?"),
        (
            {"log_csv": "user,item,day,month,year\na,1,2,3,2009\na,2,3,4,2009\n", "items_csv": items_csv()},
            "log.csv has day, month and year in separate columns: join them",
        ),
    ],
)
def test_what_cannot_be_a_log_is_named_with_its_remedy(room: Room, files: dict[str, Any], said: str) -> None:
    room.put(**files)
    assert said in complaint(room)


def test_links_and_names_that_cannot_be_followed(room: Room) -> None:
    room.put(log_csv=log_csv(), items_csv=items_csv())
    folder = room.root / "data/own/shop"
    (folder / "above").symlink_to("..")
    (folder / "moved.csv").symlink_to("nowhere.csv")
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.csv")).write_text(items_csv())
    facts = room.describe()
    assert facts["sizes"]["interactions"] == 48
    assert facts["guess"]["others"] == []
    assert facts["guess"]["unusable"] == {
        "caf\ufffd.csv": "its name is not UTF-8; rename it",
        "moved.csv": "cannot be read (No such file or directory)",
    }


def test_a_name_without_section_and_folder(room: Room) -> None:
    assert complaint(room, "shap").startswith("'shap' is neither a data set of params.yaml (amazon_games, lastfm, movielens,")


def test_a_folder_whose_name_cannot_be_a_key(room: Room) -> None:
    room.put("My-Shop", log_csv=log_csv(), items_csv=items_csv())
    assert complaint(room, "My-Shop").endswith(
        "rename it: a data set's name consists of lower-case letters, digits and underscores"
    )


def test_an_empty_folder(room: Room) -> None:
    paths.own("shop").mkdir(parents=True)
    assert complaint(room).endswith("holds no file that can be a log or its items: it is empty")


EVERYTHING = sorted((user, item, time) for user, item, time in interactions())


def everything(log: RawLog, users: list[str]) -> list[tuple[str, str, int]]:
    """The rows with their raw ids, sorted."""
    items = log.items["raw_id"].to_list()
    columns = (log.interactions["user_id"], log.interactions["item_id"], moments(log))
    return sorted((users[user], items[item], time) for user, item, time in zip(*columns, strict=True))


USERS = sorted({user for user, _, _ in interactions()})


def headless(text: str) -> str:
    return text.partition("\n")[2]


def as_json(text: str) -> str:
    header, *rows = [line.split(",") for line in text.splitlines()]
    return "".join(json.dumps({**dict(zip(header, row, strict=True)), "more": {"a": 1}, "tags": [1, 2]}) + "\n" for row in rows)


def in_parts(text: str) -> dict[str, str]:
    header, *rows = text.splitlines(keepends=True)
    return {f"log/part-{k}.csv": header + "".join(rows[k::3]) for k in range(3)}


def partitioned(text: str) -> dict[str, str]:
    _, *rows = text.splitlines()
    return {
        f"log/user={user}/0.csv": "item,time\n" + "".join(f"{row.partition(',')[2]}\n" for row in rows if row.startswith(user))
        for user in USERS
    }


def typed(text: str) -> str:
    header, rest = text.partition("\n")[::2]
    return "\t".join(f"{name}:token" for name in header.split(",")) + "\n" + rest.replace(",", "\t")


@pytest.mark.parametrize(
    "files",
    [
        {"log.csv": headless(log_csv()), "items.csv": headless(items_csv())},
        {"log.dat": headless(log_csv("::")), "items.dat": headless(items_csv("::"))},
        {"log.dat": headless(log_csv("::")), "items.csv": items_csv()},
        {"log.csv": log_csv(), "items.csv": headless(items_csv(";"))},
        {"log.csv": log_csv(";"), "items.csv": items_csv()},
        {"log.json": as_json(log_csv()), "items.json": as_json(items_csv())},
        {"log.json.gz": gzip.compress(as_json(log_csv()).encode()), "items.csv": headless(items_csv(";"))},
        {"log.csv": headless(log_csv()), "items.json": as_json(items_csv())},
        {"log.inter": typed(log_csv()), "log.item": typed(items_csv())},
        {**in_parts(log_csv()), "items.csv": items_csv()},
        {**partitioned(log_csv()), "items.csv": items_csv()},
    ],
    ids=lambda files: "+".join(sorted({name.split("/")[0] for name in files})),
)
def test_every_form_of_a_log_is_found_and_its_section_reads_all_of_it(room: Room, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = paths.own("shop") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)
    facts = room.describe()
    assert "refused" not in facts
    render(facts)
    _, log = pasted(room, facts)
    assert set(log.dropped.values()) == {0}
    assert everything(log, USERS) == EVERYTHING
    assert log.items["raw_title"].str.endswith(tuple("01234567")).all()


def test_two_encodings(room: Room) -> None:
    titles = items_csv().replace("Title", "Café")
    room.put(log_csv=log_csv().replace("u00", "ü00"), items_csv=titles.encode("cp1252"))
    config, log = pasted(room, room.describe())
    assert (config.log_layout.encoding, config.item_layout.encoding) == ("utf-8", "cp1252")
    assert log.items["raw_title"].to_list() == [f"Café {item}" for item in range(N_ITEMS)]


@pytest.mark.parametrize("sequences", [" ", ",", "list", "json lines"])
def test_sequences_are_found(room: Room, sequences: str) -> None:
    """User u has u + 1 of the items u, u + 1, ...; a file of ids alone has no times."""
    lists = {f"u{user:02d}": [f"i{(user + k) % N_ITEMS}" for k in range(user % LENGTH + 1)] for user in range(N_USERS)}
    text = {
        "list": "user|items\n" + "".join(f"{user}|{items}\n" for user, items in lists.items()),
        "json lines": "".join(json.dumps({"user": user, "items": items}) + "\n" for user, items in lists.items()),
    }
    ragged = "".join(sequences.join([user, *items]) + "\n" for user, items in lists.items())
    room.put(log_txt=text.get(sequences, ragged), items_csv=items_csv())
    facts = room.describe()
    assert choice(facts, "columns.time") == (None, "guess")
    assert any("the order of the file" in doubt for doubt in facts["doubts"])
    assert "times" not in facts
    render(facts)
    config, log = pasted(room, facts)
    assert config.sequences == {"json lines": "list"}.get(sequences, sequences)
    items = log.items["raw_id"].to_list()
    found = [
        (USERS[user], items[item]) for user, item in zip(log.interactions["user_id"], log.interactions["item_id"], strict=True)
    ]
    assert found == [(user, item) for user, chosen in lists.items() for item in chosen]


def test_a_log_without_times_is_a_guess(room: Room) -> None:
    text = "".join(f"{user} {item}\n" for user, item, _ in interactions())
    room.put(log_txt=text, items_csv=items_csv())
    facts = room.describe()
    config, log = pasted(room, facts)
    assert (config.header, config.columns.time, config.items_layout is not None) == (False, None, True)
    assert len(log.interactions) == N_USERS * LENGTH


def test_a_date_in_parts_elsewhere_is_named_where_no_column_holds_times(room: Room) -> None:
    pairs = as_csv(["user", "item"], [(user, item) for user, item, _ in interactions()])
    tags = as_csv(["user", "item", "day", "month", "year"], [(user, item, 1, 2, 2009) for user, item, _ in interactions()])
    room.put(log_csv=pairs, items_csv=items_csv(), tags_csv=tags)
    found = room.describe()["guess"]["choices"]["columns.time"]
    assert (found["value"], found["confidence"]) == (None, "guess")
    assert "tags.csv has day, month and year in separate columns" in found["why"]


def test_a_date_and_a_time_of_day_are_found(room: Room) -> None:
    def two(second: int) -> str:
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d,%H:%M:%S")

    room.put(log_csv=log_csv(time=two).replace("item,time", "item,day,clock"), items_csv=items_csv())
    facts = room.describe()
    assert choice(facts, "columns.time_of_day") == ("clock", "likely")
    _, log = pasted(room, facts)
    assert everything(log, USERS) == EVERYTHING


def test_what_the_reader_refuses_is_shown_with_what_was_understood(room: Room) -> None:
    room.put(log_csv=log_csv() + "u99,i1,soon\n", items_csv=items_csv())
    facts = room.describe()
    assert "log.csv:50: column 'time': 'soon' does not fit time_format 'seconds'" in facts["refused"]
    assert "time_format: seconds" in facts["guess"]["section"]
