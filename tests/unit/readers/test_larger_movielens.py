"""The larger MovieLens archives in their own layouts: separators, encodings, quotes, titles."""

from pathlib import Path

import pytest

from llara_core.data.preparation import prepare
from llara_core.errors import DataError
from llara_core.readers import delimited_text, movielens
from llara_core.readers.interaction_log import RawLog
from tests.helpers.datasets import dataset_config

MOVIES = {
    1: "Toy Story (1995)",
    2: "American President, The (1995)",
    3: "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
    4: "Babylon 5",
    6: '"Great Performances" Cats (1998)',
    7: "Saturn 3 (1980)",
    8: "Saturn 3 (1980)",
}
RATINGS = [(2, 3, "4.5", 978_300_760), (2, 1, "5.0", 978_300_700), (1, 6, "0.5", 1_112_486_027), (10, 2, "3.0", 978_300_800)]


def dat(folder: Path, encoding: str = "latin-1", ratings: str | None = None, movies: str | None = None) -> Path:
    given = "".join(f"{u}::{i}::{r.removesuffix('.0')}::{t}\n" for u, i, r, t in RATINGS)
    (folder / "ratings.dat").write_bytes((given if ratings is None else ratings).encode())
    listed = "".join(f"{i}::{title}::Drama|Children's\n" for i, title in MOVIES.items())
    (folder / "movies.dat").write_bytes((listed if movies is None else movies).encode(encoding))
    return folder


def comma(folder: Path, ratings: str | None = None, movies: str | None = None) -> Path:
    given = "userId,movieId,rating,timestamp\n" + "".join(",".join(map(str, row)) + "\n" for row in RATINGS)
    (folder / "ratings.csv").write_text(given if ratings is None else ratings)
    quoted = {i: '"' + title.replace('"', '""') + '"' if set(title) & set(',"') else title for i, title in MOVIES.items()}
    listed = "movieId,title,genres\n" + "".join(f"{i},{title},(no genres listed)\r\n" for i, title in quoted.items())
    (folder / "movies.csv").write_bytes((listed if movies is None else movies).encode())
    return folder


def read(folder: Path, size: str) -> RawLog:
    return movielens.read(folder, dataset_config(f"movielens_{size}"))


@pytest.mark.parametrize("size", ["1m", "10m", "20m", "25m", "32m"])
def test_every_rating_comes_out_as_it_went_in(tmp_path: Path, size: str) -> None:
    if size in {"1m", "10m"}:
        dat(tmp_path, "latin-1" if size == "1m" else "utf-8")
    else:
        comma(tmp_path)
    raw = read(tmp_path, size)
    assert raw.items["raw_id"].to_list() == [str(movie) for movie in MOVIES]
    assert raw.items["raw_title"].to_list() == list(MOVIES.values())
    assert raw.users.to_pylist() == ["1", "2", "10"]
    rows = list(raw.interactions[["user_id", "item_id", "rating", "timestamp"]].itertuples(index=False, name=None))
    number = {movie: place for place, movie in enumerate(MOVIES)}
    users = {1: 0, 2: 1, 10: 2}
    assert rows == [(users[user], number[movie], float(rating), time) for user, movie, rating, time in RATINGS]
    assert raw.steps == {"raw": {"users": 3, "items": 4, "interactions": 4}}


def test_titles_follow_the_rules_of_100k(tmp_path: Path) -> None:
    days = [(user, movie, "4.0", 1000 * user + movie) for user in (1, 2, 3) for movie in MOVIES]
    comma(tmp_path, "userId,movieId,rating,timestamp\n" + "".join(",".join(map(str, row)) + "\n" for row in days))
    prepared = prepare(tmp_path, dataset_config("movielens_20m", split={"train": 0.4, "validation": 0.3}))
    assert prepared.items["label"].to_list() == [
        "Toy Story",
        "The American President",
        "The City of Lost Children (La Cité des enfants perdus)",
        "Babylon 5",
        '"Great Performances" Cats',
        "Saturn 3 (1980) [7]",
        "Saturn 3 (1980) [8]",
    ]
    assert prepared.statistics["titles"] == {"html_removed": 0, "cut": 0, "damaged": 0}


def test_a_title_may_hold_the_separator_and_the_last_line_need_no_end(tmp_path: Path) -> None:
    dat(tmp_path, movies="1::Alien :: Nation::Drama\r\n\r\n2::Up (2009)::Comedy", ratings="1::1::5::3\r\n\r\n1::2::4::5")
    raw = read(tmp_path, "1m")
    assert raw.items["raw_title"].to_list() == ["Alien :: Nation", "Up (2009)"]
    assert raw.interactions["timestamp"].to_list() == [3, 5]


@pytest.mark.parametrize("block", [64, 1 << 24])
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1::x::3::5", "column '2': 'x' is not a whole number"),
        ("1::2::3", "3 fields separated by '::', but the first line has 4"),
        ("1:2::2::3::5", "column '1': '1:2' is not a whole number"),
        ("1_0::2::3::5", "column '1': '1_0' is not a whole number"),
        ("1::2::3::99999999999999999999", "column '4': '99999999999999999999' is not a whole number, or too large"),
        ("::2::3::5", "column '1': '' is not a whole number"),
        ("1::2::nan::5", "column '3': 'nan' is not a finite number"),
    ],
)
def test_a_malformed_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, complaint: str, block: int
) -> None:
    monkeypatch.setattr(delimited_text, "BATCH_BYTES", block)
    dat(tmp_path, ratings="1::2::3::5\n" * 5 + "\n" + "1::2::3::5\n" * 5 + line + "\n1::2::3::5\n")
    with pytest.raises(DataError, match=rf"ratings\.dat:12: {complaint}"):
        read(tmp_path, "1m")


@pytest.mark.parametrize("block", [64, 1 << 24])
def test_a_malformed_line_of_a_csv_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(delimited_text, "BATCH_BYTES", block)
    head = "userId,movieId,rating,timestamp\n" + "1,2,3.5,5\n" * 20
    for line in ('1,"2",3.5,5', "1,2,3.5", "1,2,inf,5", "1,2,,5"):
        comma(tmp_path, ratings=f"{head}{line}\n")
        with pytest.raises(DataError, match=r"ratings\.csv:22: "):
            read(tmp_path, "32m")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"ratings": ""}, r"ratings\.csv: is empty"),
        (
            {"ratings": "user,movie,rating,time\n1,2,3,4\n"},
            r"no column 'userId', 'movieId', 'timestamp'; the columns are ",
        ),
        ({"ratings": "userId,movieId,rating,timestamp\n"}, r"ratings\.csv: holds a header but no rows"),
        (
            {"movies": "movieId,title,genres\n"},
            r"movies\.csv: holds no rows; .* run the download stage again",
        ),
        ({"movies": "movieId,title,genres\n1,Up\n"}, r"movies\.csv:2: expected movieId, title, genres as CSV, got '1,Up'"),
        ({"movies": 'movieId,title,genres\n1,"Up" x,Drama\n'}, r"movies\.csv:2: expected movieId, title, genres as CSV, got "),
        (
            {"movies": "movieId,title,genres\nx,Up,Drama\n"},
            r"movies\.csv:2: expected movieId, title, genres as CSV, got 'x",
        ),
        ({"movies": "movieId,title,genres\n1,Up,\n1,Up,\n"}, r"movies\.csv:3: the id 1 occurs a second time"),
        (
            {"movies": "movieId,title,genres\n1,Up,\n2,It,\n3,Us,\n"},
            r"1 ratings are of movies that movies\.csv does not list, such as 6",
        ),
    ],
)
def test_other_damage_is_named(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read(comma(tmp_path, **files), "25m")


def test_a_missing_file_and_a_wrong_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ratings\.dat: not found; .* run the download stage"):
        read(tmp_path, "10m")
    with pytest.raises(DataError, match=r"movies\.dat:3: byte 0xe9 is not UTF-8"):
        read(dat(tmp_path, "latin-1"), "10m")
    with pytest.raises(DataError, match=r"movies\.dat:1: expected id, title and genres separated by '::', got '1::Up'"):
        read(dat(tmp_path, movies="1::Up\n"), "1m")
