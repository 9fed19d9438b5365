"""Amazon reviews of both releases: what goes in comes out, or is counted, or is an error."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from llara_core.data.preparation import prepare
from llara_core.errors import DataError
from llara_core.readers import amazon
from llara_core.readers.interaction_log import RawLog
from tests.helpers.datasets import dataset_config

FIRST = {"strip_html": True, "max_chars": None, "several": "first"}


def review_2018(user: str = "A1", item: str = "B1", rating: float = 5.0, time: int = 1_252_800_000) -> dict[str, Any]:
    return {
        "overall": rating,
        "verified": True,
        "reviewTime": "09 13, 2009",
        "reviewerID": user,
        "asin": item,
        "style": {"Platform:": " Windows"},
        "reviewerName": "Ann",
        "reviewText": 'Says "hi"\nand é \u2665',
        "unixReviewTime": time,
    }


def review_2023(user: str = "AE2", item: str = "B1", rating: float = 5.0, time: int = 1_588_687_728_923) -> dict[str, Any]:
    images = [{"small_image_url": "https://x", "attachment_type": "IMAGE"}]
    return {
        "rating": rating,
        "title": "Such a lovely scent",
        "text": "<br />",
        "images": images,
        "asin": f"{item}-variant",
        "parent_asin": item,
        "user_id": user,
        "timestamp": time,
        "helpful_vote": 0,
        "verified_purchase": True,
    }


def meta(item: str, title: object, key: str) -> dict[str, Any]:
    nested = {"category": ["Toys", ["Puzzles"]], "description": [], "details": {"Brand": None}, "also_buy": ["B9"]}
    return {key: item, "title": title, **nested}


def write(path: Path, lines: list[Any]) -> None:
    packed = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in packed)))


def read(folder: Path, release: str, reviews: list[Any], metas: list[Any], **changes: Any) -> RawLog:
    config = dataset_config(f"amazon_{release}", **({"titles": FIRST} | changes))
    write(folder / config.reviews_file, reviews)
    write(folder / config.meta_file, metas)
    return amazon.read(folder, config)


def rows(raw: RawLog) -> list[tuple[Any, ...]]:
    return list(raw.interactions[["user_id", "item_id", "timestamp", "rating"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("release", ["2018", "2023"])
def test_every_review_comes_out_as_it_went_in(tmp_path: Path, release: str) -> None:
    review, key = (review_2018, "asin") if release == "2018" else (review_2023, "parent_asin")
    given = [review("Ub", "B2", 4.0, 30), review("Ua", "B1", 1.0, 20), review("Ub", "B1", 5.0, 10)]
    raw = read(tmp_path, release, given, [meta("B2", "Two", key), meta("B1", "One", key), meta("B3", "Three", key)])
    assert rows(raw) == [(1, 1, 30, 4.0), (0, 0, 20, 1.0), (1, 0, 10, 5.0)]
    assert raw.items["raw_id"].to_list() == ["B1", "B2", "B3"]
    assert raw.items["raw_title"].to_list() == ["One", "Two", "Three"]
    assert raw.users.to_pylist() == ["Ua", "Ub"]
    assert raw.ticks_per_second == (1 if release == "2018" else 1000)
    assert set(raw.dropped.values()) == {0}
    assert [step["interactions"] for step in raw.steps.values()] == [3, 3, 3]


def test_whatever_is_left_out_is_counted(tmp_path: Path) -> None:
    whole = review_2023()
    reviews = [
        whole,
        whole,  # an exact duplicate
        {**whole, "rating": 4.0},  # the same but for the rating
        review_2023(item="B404"),
        review_2023(user=" "),
        {key: value for key, value in whole.items() if key != "parent_asin"},
        {**whole, "timestamp": None},
        {**whole, "timestamp": "yesterday"},
        {**whole, "rating": None},
        {**whole, "rating": "five"},
        {**whole, "user_id": 5},
        b'{"rating": 5.0, "user_id": "A',
        b"[1]",
        b'{"user_id": "\xff"}',
        b"",
        b'{"rating": NaN, "parent_asin": "B1", "user_id": "A", "timestamp": 5}',
        {**whole, "timestamp": 1_600_000_000_000.0, "user_id": "\ud800"},
    ]
    metas = [meta("B1", "One", "parent_asin"), meta("B1", "One again", "parent_asin"), meta("", "No id", "parent_asin"), b"x"]
    raw = read(tmp_path, "2023", reviews, metas)
    assert raw.dropped == {
        "items_unreadable": 1,
        "items_without_id": 1,
        "titles_that_are_scripts": 0,
        "items_duplicated": 1,
        "items_with_several_titles": 1,
        "reviews_unreadable": 4,  # cut, no object, not UTF-8, and a blank line
        "reviews_without_user": 2,
        "reviews_without_item": 1,
        "reviews_without_time": 2,
        "reviews_without_rating": 3,
        "interactions_duplicated": 1,
        "interactions_of_unknown_items": 1,
    }
    assert len(raw.interactions) == 3
    counted = sum(n for reason, n in raw.dropped.items() if reason.startswith(("reviews", "interactions")))
    assert len(raw.interactions) + counted == len(reviews)


def test_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews = [review_2018(f"A{number % 7}", f"B{number % 5}", 5.0, number) for number in range(60)]
    reviews[31] = b"damaged"  # type: ignore[call-overload]
    metas = [meta(f"B{number}", f"Title {number}", "asin") for number in range(5)]
    whole = read(tmp_path, "2018", reviews, metas)
    monkeypatch.setattr(amazon, "BLOCK_BYTES", 1000)
    pieces = read(tmp_path, "2018", reviews, metas)
    assert rows(whole) == rows(pieces)
    assert len(rows(whole)) == 59
    assert (whole.dropped, whole.steps) == (pieces.dropped, pieces.steps)
    assert whole.items.equals(pieces.items)


def test_titles_missing_html_scripts_nested_and_several(tmp_path: Path) -> None:
    metas = [
        {"asin": "B1"},
        meta("B2", None, "asin"),
        meta("B3", ["List"], "asin"),
        meta("B4", "<span class='a'>Chess &amp;amp; Go</span>", "asin"),
        meta("B5", "var aPageStart = (new Date()).getTime();", "asin"),
        meta("B6", "", "asin"),
        meta("B6", "Late", "asin"),
        meta("B6", "Later", "asin"),
    ]
    reviews = [review_2018(f"A{user}", f"B{item}", 5.0, 100 * user + item) for user in range(4) for item in range(1, 7)]
    read(tmp_path, "2018", reviews, metas)
    config = dataset_config("amazon_2018", titles=FIRST, split={"train": 0.5, "validation": 0.25})
    prepared = prepare(tmp_path, config)
    assert prepared.items[["raw_id", "label"]].to_numpy().tolist() == [["B4", "Chess & Go"], ["B6", "Late"]]
    facts = prepared.statistics
    assert facts["titles"] == {"html_removed": 1, "cut": 0, "damaged": 0}
    assert {name: facts["dropped"][name] for name in ("items_without_title", "interactions_without_title")} == {
        "items_without_title": 4,
        "interactions_without_title": 4 * 4,
    }
    assert facts["dropped"]["titles_that_are_scripts"] == 1
    assert facts["dropped"]["items_duplicated"] == 2
    assert facts["dropped"]["items_with_several_titles"] == 1
    assert facts["interactions"] == 8


def test_several_titles_are_an_error_unless_the_first_counts(tmp_path: Path) -> None:
    metas = [meta("B1", "One", "asin"), meta("B1", " One ", "asin"), meta("B1", "Uno", "asin")]
    with pytest.raises(
        DataError, match=r"meta_Toys\.json\.gz: item 'B1' is 'Uno' here and 'One' in .*gz; .* `titles\.several: first`"
    ):
        read(tmp_path, "2018", [review_2018()], metas, titles={**FIRST, "several": "error"})


def test_the_five_core_and_the_core_of_our_own(tmp_path: Path) -> None:
    assert dataset_config("amazon_2018", five_core=True).reviews_file == "Toys_5.json.gz"
    reviews = [review_2018(f"A{user}", f"B{item}", 5.0, 100 * user + item) for user in range(3) for item in (1, 2)]
    reviews += [review_2018("A9", "B1", 5.0, 999), review_2018("A9", "B3", 5.0, 1000)]
    read(tmp_path, "2018", reviews, [meta(f"B{item}", f"Title {item}", "asin") for item in (1, 2, 3)])
    config = dataset_config(
        "amazon_2018",
        titles=FIRST,
        min_counts="k_core",
        min_item_interactions=2,
        min_user_interactions=2,
        split={"train": 0.4, "validation": 0.3},
    )
    assert prepare(tmp_path, config).statistics["left_after"]["k_core"] == {"users": 3, "items": 2, "interactions": 6}


def test_milliseconds_decide_the_order_and_tables_hold_seconds(tmp_path: Path) -> None:
    reviews = [
        review_2023(f"A{user}", f"B{item}", 5.0, 1_600_000_000_000 + 5 - item) for user in range(3) for item in (1, 2, 3)
    ]
    read(tmp_path, "2023", reviews, [meta(f"B{item}", f"Title {item}", "parent_asin") for item in (1, 2, 3)])
    config = dataset_config("amazon_2023", titles=FIRST, split={"train": 0.4, "validation": 0.3})
    interactions = prepare(tmp_path, config).interactions
    assert interactions["item_id"].to_list() == [2, 1, 0] * 3
    assert set(interactions["timestamp"]) == {1_600_000_000}


@pytest.mark.parametrize(
    ("reviews", "metas", "complaint"),
    [
        ([review_2018()], [meta("B1", "One", "parent_asin")], r"Toys\.jsonl\.gz: holds no review with .*other release"),
        ([review_2023()], [{"asin": "B1", "title": "x"}], r"meta_Toys\.jsonl\.gz: no line has a product's 'parent_asin'"),
        ([review_2023(item="B7")], [meta("B1", "One", "parent_asin")], "none of its reviews is of a product"),
        ([review_2023()] * 5 + [b"?"] * 6, [meta("B1", "One", "parent_asin")], r"gz:6: not a JSON object, like 6 of 11 lines"),
    ],
)
def test_files_that_cannot_be_right(tmp_path: Path, reviews: list[Any], metas: list[Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read(tmp_path, "2023", reviews, metas)


def test_missing_and_truncated_files(tmp_path: Path) -> None:
    config = dataset_config("amazon_2018")
    with pytest.raises(DataError, match=r"meta_Toys\.json\.gz: cannot be read .*; run the download stage first"):
        amazon.read(tmp_path, config)
    read(tmp_path, "2018", [review_2018()], [meta("B1", "One", "asin")])
    path = tmp_path / config.reviews_file
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"Toys\.json\.gz: not a gzip file, or truncated"):
        amazon.read(tmp_path, config)


def test_products_are_described_by_store_categories_and_price(tmp_path: Path) -> None:
    metas = [
        {"parent_asin": "B1", "title": "Pad", "store": "Acme", "categories": ["Video Games", "PC"], "price": 12.5},
        {"parent_asin": "B2", "title": "Cup", "store": None, "categories": [], "price": "from 4.99"},  # read line by line
    ]
    items = read(tmp_path, "2023", [review_2023()], metas).items
    assert items["attributes"].to_list() == [["Acme", "Video Games, PC", "price 12.5"], ["", "", ""]]
    old = {"asin": "B1", "title": "Pad", "brand": "Acme", "category": ["Toys", ["nested"]], "price": "$3.99"}
    assert read(tmp_path, "2018", [review_2018(item="B1")], [old]).items["attributes"].to_list() == [
        ["Acme", "Toys", "price $3.99"]
    ]
