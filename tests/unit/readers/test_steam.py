"""The Steam reader: what the regular expression reads is what ``literal_eval`` reads, and nothing is lost uncounted."""

import ast
import gzip
import warnings
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.steam_reading import game_lines, review_lines
from llara_core.config import SteamConfig
from llara_core.errors import DataError
from llara_core.readers import steam
from llara_core.readers.gzip_blocks import gzip_blocks
from llara_core.readers.interaction_log import RawLog

CONFIG = SteamConfig.model_construct()
GAMES = (b"{u'id': u'10', u'title': u'Ten'}", b"{u'id': u'9', u'title': u'Nine'}", b"{u'id': u'30', u'title': u'Thirty'}")
REFUSALS = (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)
USUAL = (
    b"{u'username': u'%s', u'hours': 0.1, u'products': 41, u'product_id': u'%s', u'page_order': 0, u'date': u'%s', "
    b"u'text': u'It\\'s \\u2665\\n', u'early_access': False, u'page': 1}"
)


def review(user: bytes = b"Zoe", product: bytes = b"10", day: bytes = b"2017-12-17") -> bytes:
    return USUAL % (user, product, day)


def read(folder: Path, reviews: Iterable[bytes], games: Iterable[bytes] = GAMES) -> RawLog:
    for name, lines in ((steam.REVIEWS, reviews), (steam.GAMES, games)):
        (folder / name).write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines), 1))
    return steam.read(folder, CONFIG)


def counted(log: RawLog) -> dict[str, int]:
    return {reason: number for reason, number in log.dropped.items() if number}


def is_fast(line: bytes) -> bool:
    match = steam.REVIEW_LINE.fullmatch(line.decode("latin-1") + "\n")
    return match is not None and match[2] is not None


def by_literal_eval(line: bytes) -> steam.Fields | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(line.decode())
    except REFUSALS:
        return None
    return (value.get("username"), value.get("product_id"), value.get("date")) if isinstance(value, dict) else None


def check_equal(block: bytes) -> None:
    """Representations, as they tell 1 from True and hold NaN equal to itself."""
    assert repr(list(steam.review_fields(block + b"\n"))) == repr([by_literal_eval(line) for line in block.split(b"\n")])


def test_users_and_items_are_numbered_in_the_order_of_their_raw_ids(tmp_path: Path) -> None:
    log = read(tmp_path, [review(b"b", b"9"), review(b"\\U0001f600", b"10"), review(b"\\uff5e", b"9"), review(b"B", b"9")])
    assert log.items[["raw_id", "raw_title"]].to_dict("list") == {
        "raw_id": ["10", "30", "9"],
        "raw_title": ["Ten", "Thirty", "Nine"],
    }
    assert log.interactions["user_id"].to_list() == [1, 3, 2, 0]  # by code point: B, b, U+FF5E, U+1F600
    assert log.interactions["item_id"].to_list() == [2, 0, 2, 2]
    assert log.interactions["timestamp"].to_list() == [1513468800] * 4  # date -d 2017-12-17T00:00Z +%s
    assert log.interactions.dtypes.astype(str).to_list() == ["int32", "int32", "int64"]
    assert log.users.to_pylist() == ["B", "b", "\uff5e", "\U0001f600"]


def test_earliest_of_repeated_reviews_stays_and_the_first_in_the_file_among_equals(tmp_path: Path) -> None:
    lines = [review(day=b"2017-01-03"), review(b"Al"), review(day=b"2017-01-02"), review(product=b"9"), review(b"Al")]
    log = read(tmp_path, lines)
    rows = log.interactions[["user_id", "item_id"]].to_numpy().tolist()
    assert rows == [[0, 0], [1, 0], [1, 2]]
    assert log.interactions["timestamp"].to_list() == [1513468800, 1483315200, 1513468800]
    assert counted(log) == {"reviews_repeated": 2}


def test_order_of_the_file_survives_many_reviews_of_few_days(tmp_path: Path) -> None:
    lines = [review(b"%03d" % user, day=b"2017-12-1%d" % (user % 2)) for user in range(200)]
    log = read(tmp_path, lines + lines[::-1])
    assert log.interactions["user_id"].to_list() == list(range(200))


def test_steps_count_what_is_left(tmp_path: Path) -> None:
    log = read(tmp_path, [review(), review(), review(b"gone", b"77"), review(b"Al", b"9"), b"?"])
    assert log.steps == {
        "raw": {"users": 3, "items": 3, "interactions": 4},
        "known": {"users": 2, "items": 2, "interactions": 3},
        "distinct": {"users": 2, "items": 2, "interactions": 2},
    }
    assert counted(log) == {"reviews_unreadable": 1, "reviews_of_unknown_products": 1, "reviews_repeated": 1}
    assert log.n_users == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "unreadable"),
        (b"{u'username': u'x'", "unreadable"),
        (b"[u'username']", "unreadable"),
        (b"{[]: 1}", "unreadable"),
        (b"{u'hours': " + b"9" * 400 + b"+1j}", "unreadable"),
        (b"{u'hours': " + b"9" * 5000 + b"}", "unreadable"),
        (b"{u'hours': " + b"[" * 9999 + b"]" * 9999 + b"}", "unreadable"),
        (b"{u'hours': " + b"-" * 99999 + b"1}", "unreadable"),
        (b"{u'hours': " + b"1+" * 99999 + b"1}", "unreadable"),
        (b"__import__('os').abort()", "unreadable"),
        (review(b"\xff"), "unreadable"),
        (review(b"\\x1"), "unreadable"),
        (review(b"\0"), "unreadable"),
        (review(b"a\rb"), "unreadable"),
        (review(b"x" * 3 * steam.BLOCK_BYTES), "unreadable"),
        (review(b""), "without_user"),
        (review().replace(b"u'Zoe'", b"7"), "without_user"),
        (review().replace(b"'username'", b"'name'"), "without_user"),
        (review()[:-1] + b", u'username': None}", "without_user"),
        (review(product=b""), "without_product"),
        (review().replace(b"u'10'", b"10"), "without_product"),
        (review(day=b"2017-02-29"), "without_date"),
        (review(day=b"20171217"), "without_date"),
        (review(day=b"2017-W50-7"), "without_date"),
        (review(day=b"2017-12-17 "), "without_date"),
        (review().replace(b"u'2017-12-17'", b"[]"), "without_date"),
        (review()[:-1] + b", u'dat\\x65': 0}", "without_date"),
    ],
)
def test_unusable_review_is_counted(tmp_path: Path, line: bytes, reason: str) -> None:
    log = read(tmp_path, [review(b"first"), line, review(b"last")])
    assert counted(log) == {f"reviews_{reason}": 1}
    assert len(log.interactions) == 2


@pytest.mark.parametrize(
    "line",
    [
        review(),
        review(b"\\ud83d\\ude00"),
        review(b"Zo\\xeb \\\\ \\' \" \\U0001f600"),
        review().replace(b"u'Zoe'", b'u"Zoe\'s"'),
        review().replace(b"u'hours': 0.1, ", b"") + b"\r",
        review().replace(b"{", b"{u'found_funny': 1, ").replace(b" u'date'", b" u'compensation': u'free', u'date'"),
    ],
)
def test_usual_review_needs_no_literal_eval(line: bytes) -> None:
    assert is_fast(line)
    check_equal(line)


@pytest.mark.parametrize(
    "line",
    [
        review()[:-1] + b", u'username': u'second'}",
        review()[:-1] + b", u'user\\x6eame': u'second'}",
        review()[:-1] + b", 'date': u'2016-01-01'}",
        review().replace(b"u'Zoe'", b"u'Zoe' u'y'"),
        review().replace(b"u'Zoe'", b"u'''Zoe'''"),
        review().replace(b"u'Zoe'", b"b'Zoe'"),
        review().replace(b"41", b"041"),
        review().replace(b"41", b"41 if 1 else 2"),
        review(b"\\N{BULLET}"),
        review(b"\\d"),
        review(b"\\U00110000"),
        review("\u2028\x85".encode()),
        review(b"\x0c\x1c\x7f"),
        review() + b" # and more",
        review() + b"}",
        b" \t" + review(),
        b"\xef\xbb\xbf" + review(),
        b"{'date': '2017-12-17', 'product_id': '10', 'username': 'Zoe', 'tags': [('a', {1: 2})]}",
    ],
)
def test_unusual_line_means_what_literal_eval_says(line: bytes) -> None:
    assert not is_fast(line)
    check_equal(line)


def test_generated_reviews_mean_what_literal_eval_says() -> None:
    lines = list(review_lines(2_000, seed=1))
    check_equal(b"\n".join(lines))
    assert sum(map(is_fast, lines)) > 0.99 * len(lines)


TEXTS = st.text(st.characters(codec=None) | st.sampled_from("'\"\\\n\u2665"), max_size=8)
VALUES = TEXTS | st.integers() | st.floats(-1e6, 1e6) | st.floats() | st.none() | st.booleans() | st.lists(TEXTS, max_size=2)
PLAIN = st.text("0123456789-", min_size=1, max_size=10)
DAMAGE = st.sampled_from([b"\\", b"'", b'"', b"\\x", b", ", b"\n", b"\r", b"#", b"\0"])
KEYS = st.sampled_from(["username", "product_id", "date", "hours", "text", "page", "early_access", "odd key'"])


@st.composite
def literals(draw: st.DrawFn) -> bytes:
    """A dictionary as Python 2 or 3 prints it, mostly with the needed keys, and perhaps damaged."""
    usual = [("username", draw(TEXTS)), ("product_id", draw(PLAIN)), ("date", draw(PLAIN))]
    pairs = draw(st.just(usual) | st.permutations(usual)) + draw(st.lists(st.tuples(KEYS, VALUES), max_size=3))
    u = draw(st.sampled_from(["u", "u", "u", "U", ""]))
    line = ", ".join(f"{u}{key!r}: {u * isinstance(value, str)}{value!a}" for key, value in pairs)
    damaged = bytearray(f"{{{line}}}".encode())
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        start = draw(st.integers(0, len(damaged)))
        end = start + draw(st.integers(0, 3))
        damaged[start:end] = draw(st.binary(max_size=1) | DAMAGE)
    return bytes(damaged)


@settings(max_examples=300, deadline=None)
@given(st.lists(literals(), min_size=1, max_size=5))
def test_any_lines_mean_what_literal_eval_says(lines: list[bytes]) -> None:
    check_equal(b"\n".join(lines))


def test_unknown_escapes_raise_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(steam.review_fields(rb"{'username': '\d'}" + b"\n")) == [("\\d", None, None)]


def test_blocks_and_members_of_the_gzip_file_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(review_lines(300, seed=2))
    whole = read(tmp_path, lines, islice(game_lines(2), 500))
    members = [gzip.compress(b"\n".join(lines[:100]) + b"\n"), gzip.compress(b"\n".join(lines[100:]))]
    (tmp_path / steam.REVIEWS).write_bytes(b"".join(members))  # and no line feed at its end
    monkeypatch.setattr(steam, "BLOCK_BYTES", 20_000)
    pieces = steam.read(tmp_path, CONFIG)
    assert pieces.interactions.equals(whole.interactions)
    assert (pieces.steps, pieces.dropped) == (whole.steps, whole.dropped)
    unusable = ("unreadable", "without_user", "without_product", "without_date")
    assert pieces.steps["raw"]["interactions"] + sum(pieces.dropped[f"reviews_{reason}"] for reason in unusable) == 300


def test_overlong_line_takes_no_memory_and_no_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steam, "BLOCK_BYTES", 300)
    read(tmp_path, [review(), b" " * 5_000 + review(b"not read"), review(b"Al")])
    blocks = list(gzip_blocks(tmp_path / steam.REVIEWS, 300))
    assert max(map(len, blocks)) < 1_000
    fields = [found for block in blocks for found in steam.review_fields(block)]
    assert [found and found[0] for found in fields] == ["Zoe", None, "Al"]


def test_title_is_the_title_else_the_name(tmp_path: Path) -> None:
    games = [
        b"{u'id': u'1', u'app_name': u'R&D', u'title': u' R&amp;D :: II '}",
        b"{u'id': u'2', u'app_name': u'Name'}",
        b"{u'id': u'3', u'app_name': u'Name', u'title': u' '}",
        b"{u'id': u'4', u'app_name': u'Name', u'title': 5}",
        b"{u'id': u'5', u'title': u'\\ud800 \\u2665'}",
    ]
    titles = read(tmp_path, [review(product=b"1")], games).items["raw_title"].to_list()
    assert titles == ["R&amp;D :: II", "Name", "Name", "Name", "\ufffd \u2665"]  # entities are decoded where titles are cleaned


def test_a_game_is_described_by_genres_tags_and_developer(tmp_path: Path) -> None:
    games = [
        b"{u'id': u'1', u'title': u'Hades', u'genres': [u'Action', u'Indie'], u'tags': [u'Roguelite'], u'developer': u'SG'}"
    ]
    assert read(tmp_path, [review(product=b"1")], games).items["attributes"].to_list() == [["Action, Indie", "Roguelite", "SG"]]


def test_unusable_games_are_counted_and_their_reviews_too(tmp_path: Path) -> None:
    games = [
        b"{u'id': u'10'}",
        b"{u'title': u'No id'}",
        b"{u'id': 12, u'title': u'No text'}",
        b"{u'id': u'',",
        *GAMES,
        b"{u'id': u'10', u'title': u'Again'}",
    ]
    log = read(tmp_path, [review(), review(product=b"12")], games)
    assert log.items["raw_title"].to_list() == ["Ten", "Thirty", "Nine"]
    games_left_out = {"games_unreadable": 1, "games_without_id": 2, "games_without_title": 1, "games_repeated": 1}
    assert counted(log) == {**games_left_out, "reviews_of_unknown_products": 1}


@pytest.mark.parametrize("name", [steam.REVIEWS, steam.GAMES])
@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: b"{}\n", "not a gzip file, or truncated or corrupt after line 0 \\(Not a gzipped file"),
        (lambda data: data[: len(data) // 2], "not a gzip file, or truncated or corrupt after line"),
        (lambda data: data[:-8] + b"\0" * 8, "not a gzip file, or truncated or corrupt after line"),
        (lambda data: data[:20] + b"\xff" * 9 + data[29:], "not a gzip file, or truncated or corrupt after line"),
        (lambda data: data + b"more", "not a gzip file, or truncated or corrupt after line"),
        (lambda data: b"", "(holds no review|lists no game) with"),
        (lambda data: gzip.compress(b"{}\n" * 20), "(holds no review|lists no game) with"),
        (lambda data: gzip.compress(b"id,title\n" * 9), "(holds no review|lists no game) with"),
        (lambda data: gzip.compress(b"{}\n" * 4 + b"id,title\n" * 6), ":5: not a Python dictionary, like 6 of 10 lines"),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, name: str, damage, complaint: str) -> None:  # type: ignore[no-untyped-def]
    read(tmp_path, [review()])
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=complaint) as caught:
        steam.read(tmp_path, CONFIG)
    assert str(caught.value).startswith(str(path))
    assert "run the download stage" in str(caught.value)


def test_truncated_file_says_how_far_it_could_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path, [review()] * 7)
    (tmp_path / steam.REVIEWS).write_bytes((tmp_path / steam.REVIEWS).read_bytes()[:-8])
    monkeypatch.setattr(steam, "BLOCK_BYTES", 300)
    with pytest.raises(DataError, match="corrupt after line 6 "):
        steam.read(tmp_path, CONFIG)


@pytest.mark.parametrize("name", [steam.REVIEWS, steam.GAMES])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    read(tmp_path, [review()])
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name}: cannot be read \\(No such file or directory\\); run the download stage"):
        steam.read(tmp_path, CONFIG)


def test_half_of_the_lines_may_be_unreadable(tmp_path: Path) -> None:
    assert counted(read(tmp_path, [review(), b"?"] * 5)) == {"reviews_unreadable": 5, "reviews_repeated": 4}


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of its reviews is of a game in steam_games"):
        read(tmp_path, [review(product=b"77")])
