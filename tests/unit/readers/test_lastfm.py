"""The reader follows the rule of the released data, takes the files' quirks, and names the line of everything else."""

from pathlib import Path

import pytest

from llara_core.config import LastFmConfig
from llara_core.errors import DataError
from llara_core.readers.lastfm import read

CONFIG = LastFmConfig.model_construct(format="lastfm_2k", order="file")
DAY = 86_400
ARTISTS = "id\tname\turl\tpictureURL\n"
TAGGED = "userID\tartistID\ttagID\tday\tmonth\tyear\r\n"
TIMED = "userID\tartistID\ttagID\ttimestamp\r\n"
TWO = f'{ARTISTS}51\tDuran Duran\thttp://x\t\n7\t"Weird Al" Yankovic\thttp://y\thttp://z\n'
TAGS = "tagID\ttagValue\r\n1\tpop\r\n2\tparody\r\n13\t80\u2019s\r\n"
ONE_TAG = f"{TAGGED}2\t51\t13\t2\t1\t1970\r\n"


def put(folder: Path, artists: str = TWO, tagged: str = ONE_TAG, timed: str | None = None) -> Path:
    (folder / "artists.dat").write_bytes(artists.encode("utf-8", "surrogateescape"))
    (folder / "user_taggedartists.dat").write_bytes(tagged.encode())
    (folder / "tags.dat").write_bytes(TAGS.encode("cp1252"))
    if timed is not None:
        (folder / "user_taggedartists-timestamps.dat").write_bytes(timed.encode())
    return folder


def complaint(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, CONFIG)
    return str(caught.value).removeprefix(f"{folder}/")


def test_first_tag_of_each_listed_artist_in_file_order(tmp_path: Path) -> None:
    rows = ["9 51 1 1 2 1970", "9 51 2 1 1 1970", "9 99 1 1 1 1970", "2 7 1 31 12 1969", "2 51 1 1 1 1970"]
    tagged = "".join(row.replace(" ", "\t") + "\r\n" for row in rows)
    log = read(put(tmp_path, tagged=TAGGED + tagged), CONFIG)
    assert log.interactions.to_dict("list") == {
        "user_id": [1, 0, 0],
        "item_id": [1, 0, 1],
        "timestamp": [31 * DAY * 1000, -DAY * 1000, 0],
    }
    assert [str(kind) for kind in log.interactions.dtypes] == ["int32", "int32", "int64"]
    assert log.items[["raw_id", "raw_title"]].to_dict("list") == {
        "raw_id": ["7", "51"],
        "raw_title": ['"Weird Al" Yankovic', "Duran Duran"],
    }
    assert log.n_users == 2
    assert log.steps == {
        "raw": {"users": 2, "items": 3, "interactions": 5},
        "distinct": {"users": 2, "items": 3, "interactions": 5 - 1},
        "known": {"users": 2, "items": 2, "interactions": 5 - 1 - 1},
    }
    assert log.dropped == {}


def test_an_artist_is_described_by_its_most_frequent_tags(tmp_path: Path) -> None:
    tags = [(9, 51, 2), (9, 51, 13), (2, 51, 13), (2, 51, 1), (3, 51, 1), (3, 51, 99)]  # tag 99 has no name
    rows = "".join(f"{user}\t{artist}\t{tag}\t1\t1\t1970\r\n" for user, artist, tag in tags)
    items = read(put(tmp_path, tagged=TAGGED + rows), CONFIG).items
    assert items["attributes"].to_list() == [[""], ["pop, 80\u2019s, parody"]]  # pop and 80's both twice: by tag id


def test_names_are_left_as_they_are_but_for_outer_space(tmp_path: Path) -> None:
    names = ["Sigur Rós", "Earth & Fire &amp; Co", "Royce da 5'9\"", " ", "", "A\u2028B\x85C", " 三船\u3000浩 "]
    artists = ARTISTS.strip() + "\r\n" + "".join(f"{k}\t{name}\tu\tp\r\n" for k, name in enumerate(names, 51))
    log = read(put(tmp_path, artists=artists), CONFIG)
    assert log.items["raw_title"].to_list() == [*names[:3], "", "", "A\u2028B\x85C", "三船\u3000浩"]


@pytest.mark.parametrize(
    "line",
    [
        "2\t51\t13\t1\t4",
        "2\t51\t13\t1\t4\t2009\t",
        "2,51,13,1,4,2009",
        "two\t51\t13\t1\t4\t2009",
        "2\t-51\t13\t1\t4\t2009",
        "2\t5.0\t13\t1\t4\t2009",
        "2\t\u0665\t13\t1\t4\t2009",
        "2\t" + "9" * 5000 + "\t13\t1\t4\t2009",
        "2\t51\t13\t1\t4\t20",
        "\t\t\t\t\t",
    ],
)
def test_malformed_tag_names_its_line(tmp_path: Path, line: str) -> None:
    message = complaint(put(tmp_path, tagged=f"{ONE_TAG}{line}\r\n"))
    expected = "user_taggedartists.dat:3: expected userID, artistID, tagID, day, month, year separated by tabs"
    assert message.startswith(expected)
    assert len(message) < 300


@pytest.mark.parametrize("day", ["31\t2\t2009", "0\t1\t2009", "1\t13\t2009", "29\t2\t2009", "1\t1\t0000"])
def test_days_that_do_not_exist(tmp_path: Path, day: str) -> None:
    message = complaint(put(tmp_path, tagged=f"{ONE_TAG}2\t51\t13\t{day}\r\n"))
    assert message.startswith("user_taggedartists.dat:3: there is no day ")


@pytest.mark.parametrize(
    ("artists", "expected"),
    [
        (f"{TWO}8\tAir\tu\n", "artists.dat:4: expected id, name, url, pictureURL separated by tabs"),
        (f"{TWO}8\tAir\tFrench\tu\tp\n", "artists.dat:4: expected id, name, url, pictureURL separated by tabs"),
        (f"{TWO}x\tAir\tu\tp\n", "artists.dat:4: expected id"),
        (f"{TWO}51\tAir\tu\tp\n", "artists.dat:4: the id 51 occurs a second time"),
        (f"{TWO}8\tBj\udcf6rk\tu\tp\n", "artists.dat:4: byte 0xf6 is not UTF-8"),
        ("1\tAir\tu\tp\n", "artists.dat:1: expected the header 'id\\tname\\turl\\tpictureURL', got '1\\tAir"),
        ("", "artists.dat:1: expected the header"),
        (f"{ARTISTS}\r\n\n", "artists.dat: holds no rows"),
        (f"{ARTISTS}8\tAir\tu\tp\n", "user_taggedartists.dat: artists.dat lists none of its artists"),
    ],
)
def test_malformed_artists(tmp_path: Path, artists: str, expected: str) -> None:
    assert complaint(put(tmp_path, artists=artists)).startswith(expected)


def test_times_replace_the_dates(tmp_path: Path) -> None:
    tagged = f"{ONE_TAG}\r\n2\t7\t13\t1\t1\t1970\r\n2\t51\t14\t2\t1\t1970\r\n"
    timed = f"{TIMED}2\t51\t13\t{DAY * 1000 - 7_200_000}\n2\t7\t13\t-7200001\n2\t51\t14\t{DAY * 1000}\n"
    log = read(put(tmp_path, tagged=tagged, timed=timed), CONFIG)
    assert log.ticks_per_second == 1000
    assert log.interactions["timestamp"].to_list() == [DAY * 1000 - 7_200_000, -7_200_001]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("2\t51\t14\t86400000", ":2: differs from row 1 of user_taggedartists.dat"),
        ("2\t51\t13\t86400000\n2\t51\t13\t86400000", ":3: differs from row 2"),
        (f"2\t51\t13\t{DAY * 1000 + 2 * DAY * 1000 + 1000}", ":2: over 2 days from the date"),
        ("2\t51\t13\t1.5", ":2: expected userID, artistID, tagID, timestamp"),
        ("", ": holds no rows"),
    ],
)
def test_times_of_other_rows(tmp_path: Path, rows: str, expected: str) -> None:
    message = complaint(put(tmp_path, timed=TIMED + rows))
    assert message.startswith(f"user_taggedartists-timestamps.dat{expected}")


def test_too_few_times(tmp_path: Path) -> None:
    message = complaint(put(tmp_path, tagged=f"{ONE_TAG}2\t7\t13\t1\t1\t1970\n", timed=f"{TIMED}2\t51\t13\t0\n"))
    assert message.startswith("user_taggedartists-timestamps.dat: has 1 rows, user_taggedartists.dat 2; take both files")


@pytest.mark.parametrize("name", ["artists.dat", "user_taggedartists.dat"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    (put(tmp_path) / name).unlink()
    assert complaint(tmp_path).startswith(f"{name}: cannot be read (No such file or directory); run the download stage")
