"""Names of items lead to the item, or to labels with similar names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from llara_core.errors import DataError
from llara_core.serving.item_finder import ItemFinder

TITLES = ["The Godfather: Part II", "The Godfather", "Sabrina", "Sabrina", "Toy Story", "187", "A Bug's Life", "Paris, Texas"]
TITLES.append("Mother")  # which shares four letters with "godfather", in their order
LABELS = [*TITLES[:2], "Sabrina (1954)", "Sabrina (1995)", *TITLES[4:]]
ITEMS = pd.DataFrame(
    {
        "item_id": range(9),
        "raw_id": ["187", "127", "7", "8", "1", "315", "422", "007", "5"],
        "title": TITLES,
        "label": LABELS,
        "n_interactions": 1,
    }
)
FINDER = ItemFinder(ITEMS)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Sabrina (1995)", "Sabrina (1995)"),
        (" toy STORY ", "Toy Story"),
        ("Toy Story (1995)", "Toy Story"),
        ("Godfather, The", "The Godfather"),
        ("Godfather, The (1972)", "The Godfather"),
        ("Bug's Life, A (1998)", "A Bug's Life"),
        ("Paris, Texas (1984)", "Paris, Texas"),
        ("127", "The Godfather"),
        ("007", "Paris, Texas"),
        ("id:187", "The Godfather: Part II"),
        ("id: 7", "Sabrina (1954)"),
        ("title:187", "187"),
    ],
)
def test_an_item_is_found(name: str, label: str) -> None:
    assert LABELS[FINDER.find(name)] == label


def test_unicode_composition_does_not_count() -> None:
    decomposed = "Ame\u0301lie"
    items = pd.DataFrame({"raw_id": ["1"], "title": [decomposed], "label": [decomposed]})
    assert ItemFinder(items).find("am\u00e9lie") == 0


def test_invisible_characters_do_not_count() -> None:
    items = pd.DataFrame({"raw_id": ["caf\u00e9", "b\u200c", "b"], "title": ["Heat", "Up", "Alien"]}).assign(
        label=["Heat", "Up", "Alien"]
    )
    finder = ItemFinder(items)
    assert [finder.find(name) for name in ("He\u00adat\u200b", "\ufeffalien", "cafe\u0301", "b", "b\u200c")] == [0, 2, 0, 2, 1]
    assert finder.by_raw_id("caf\u200be\u0301") == 0
    with pytest.raises(DataError, match="no item has the id"):
        finder.by_raw_id("b\u200b\u200c")  # both are called so


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("id:5", "Alien"),
        ("title:id:5", "id:5"),
        ("id:6", "id:6"),  # no item has the id 6
        ("id:7", "id:7"),  # the title of the item with this id
        ("id:id:8", "Fargo"),
        ("title:Heat", "title:Heat"),
        (5, "Alien"),
        (np.int64(5), "Alien"),
    ],
)
def test_a_title_that_looks_like_an_id_hides_no_other_item(name: str | int, label: str) -> None:
    labels = ["Alien", "id:5", "id:6", "id:7", "Fargo", "title:Heat"]
    raw_ids = ["5", "1", "2", "7", "id:8", "3"]
    finder = ItemFinder(pd.DataFrame({"raw_id": raw_ids, "title": labels, "label": labels}))
    assert labels[finder.find(name)] == label


def test_a_name_that_is_no_text_or_integer_is_an_error() -> None:
    with pytest.raises(DataError, match=r"given by a text or a whole number, not by 5.0"):
        FINDER.find(5.0)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no item has the id '9'"):
        FINDER.find(9)


def test_a_title_may_contain_the_separator() -> None:
    labels = ["Heat", "Goodbye; Lenin", "Steins;Gate", "Frost", "Nixon", "Frost; Nixon"]
    finder = ItemFinder(pd.DataFrame({"raw_id": ["1", "2", "3", "a;b", "5", "6"], "title": labels, "label": labels}))
    line = " heat;goodbye; lenin ; Steins;Gate;;title:Steins;Gate; id:a;b ; Unknown; Nixon;"
    names = ["heat", "goodbye; lenin", "Steins;Gate", "title:Steins;Gate", "id:a;b", "Unknown", "Nixon"]
    assert finder.split(line) == names
    assert finder.split(" ; ") == []
    with pytest.raises(DataError, match=r"'Frost; Nixon' is one item, and its parts are 2 other items; give the ids"):
        finder.split("Heat; Frost; Nixon")


def test_a_loose_match_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The item table has no years, so nobody can check the one that is given."""
    caplog.set_level("INFO", logger="llara_core.serving.item_finder")  # which pipeline.serve makes quiet
    FINDER.find("Toy Story")
    assert caplog.messages == []
    FINDER.find("Toy Story (1996)")
    assert caplog.messages == ["'Toy Story (1996)' is read as 'Toy Story'"]


@pytest.mark.parametrize(
    ("name", "suggestions"),
    [
        ("godfather", ["The Godfather", "The Godfather: Part II"]),
        ("the godfathr", ["The Godfather", "The Godfather: Part II"]),
        ("", []),
        ("Sabrina", ["Sabrina (1954)", "Sabrina (1995)"]),
        ("sabrina (1996)", ["Sabrina (1954)", "Sabrina (1995)"]),
        ("bugs life", ["A Bug's Life"]),
        ("toystory", ["Toy Story"]),
        ("zzzz", []),
    ],
)
def test_suggestions_go_by_the_title_without_its_article(name: str, suggestions: list[str]) -> None:
    assert FINDER.suggestions(name) == suggestions


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Sabrina", r"no single item is called 'Sabrina'; did you mean 'Sabrina \(1954\)', 'Sabrina \(1995\)'\?"),
        ("zzzz", r"no single item is called 'zzzz'; items.parquet lists all titles and ids"),
        ("187", r"'187' is the title of '187' and the id of 'The Godfather: Part II'; write 'title:187' or 'id:187'"),
        ("id:9", r"no item has the id '9'; ids look like '187'"),
        ("title:127", r"no single item is called '127'"),
        ("", r"no single item is called ''"),
    ],
)
def test_a_name_of_no_item_or_of_several_is_an_error(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FINDER.find(name)


def test_a_history_needs_items_and_must_leave_some() -> None:
    assert FINDER.history(["Toy Story", "7", "Toy Story"]) == [4, 2, 4]
    with pytest.raises(DataError, match="the history is empty"):
        FINDER.history([])
    with pytest.raises(DataError, match=r"the history is a single text, 'Toy Story'; give a list"):
        FINDER.history("Toy Story")
    with pytest.raises(DataError, match="holds all 9 items of the catalogue"):
        FINDER.history([f"id:{raw}" for raw in ITEMS["raw_id"]])


def test_an_id_is_not_compared_with_all_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search takes long in a large catalogue, and the web page sends ids."""

    def searched(*_: object) -> None:
        raise AssertionError("titles spelt alike were looked for")

    monkeypatch.setattr(ItemFinder, "nearest", searched)
    assert [FINDER.find(f"id:{raw}") for raw in ITEMS["raw_id"]] == [*range(9)]
