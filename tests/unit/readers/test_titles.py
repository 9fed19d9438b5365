"""Titles come out as a reader knows them, and nothing but articles, years and entities changes."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llara_core.answers.parsing import parse_answer
from llara_core.readers.titles import movie_title, plain_title, unique_labels


@pytest.mark.parametrize(
    ("raw", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("City of Lost Children, The (1995)", "The City of Lost Children", 1995),
        ("Affair to Remember, An (1957)", "An Affair to Remember", 1957),
        ("Fish Called Wanda, A (1988)", "A Fish Called Wanda", 1988),
        ("Good, The Bad and The Ugly, The (1966)", "The Good, The Bad and The Ugly", 1966),
        ("Godfather: Part II, The (1974)", "The Godfather: Part II", 1974),
        ("Boot, Das (1981)", "Das Boot", 1981),
        ("Enfer, L' (1994)", "L'Enfer", 1994),
        ("Convent, The (Convento, O) (1995)", "The Convent (O Convento)", 1995),
        ("Star Maker, The (Uomo delle stelle, L') (1995)", "The Star Maker (L'Uomo delle stelle)", 1995),
        ("Hate (Haine, La) (1995)", "Hate (La Haine)", 1995),
        ("Adventure (Part 1), The (1995)", "The Adventure (Part 1)", 1995),
        ("Shanghai Triad (Yao a yao yao dao waipo qiao) (1995)", "Shanghai Triad (Yao a yao yao dao waipo qiao)", 1995),
        ("Nosferatu (Nosferatu, eine Symphonie des Grauens) (1922)", "Nosferatu (Nosferatu, eine Symphonie des Grauens)", 1922),
        ("I, Worst of All (Yo, la peor de todas) (1990)", "I, Worst of All (Yo, la peor de todas)", 1990),
        ("Fast, Cheap & Out of Control (1997)", "Fast, Cheap & Out of Control", 1997),
        ("Fast, Cheap &amp; Out of Control (1997)", "Fast, Cheap & Out of Control", 1997),
        ("Paris, Texas (1984)", "Paris, Texas", 1984),
        ("Cry, the Beloved Country (1995)", "Cry, the Beloved Country", 1995),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("  Two   Friends (1986) ", "Two Friends", 1986),
        ("Great Giving (1995) (V)", "Great Giving", 1995),
        ("unknown", "unknown", None),
        ("(1995)", "(1995)", None),
        ("", "", None),
    ],
)
def test_movie_title(raw: str, title: str, year: int | None) -> None:
    assert movie_title(raw) == (title, year)


@given(st.text(alphabet="abcAThe, ()'&1995\t", max_size=40))
def test_cleaning_keeps_every_word(raw: str) -> None:
    title, year = movie_title(raw)
    rest = re.sub(r"\s+", " ", raw).strip()
    if year is not None:
        rest = rest.removesuffix(f"({year})")
    assert sorted(re.findall(r"\w", title)) == sorted(re.findall(r"\w", rest))
    assert bool(title) == bool(raw.strip())


def test_labels_name_year_then_id_only_where_needed() -> None:
    labels = unique_labels(
        ["Heat", "Sabrina", "Sabrina", "Chasing Amy", "Chasing Amy", "unknown", "unknown"],
        [1995, 1954, 1995, 1997, 1997, None, None],
        ["1", "2", "3", "246", "268", "7", "8"],
    )
    assert labels == [
        "Heat",
        "Sabrina (1954)",
        "Sabrina (1995)",
        "Chasing Amy (1997) [246]",
        "Chasing Amy (1997) [268]",
        "unknown [7]",
        "unknown [8]",
    ]


TWINS = ["A", "a", "A (1)", "A [1]", "A (1) [0]", "B", "\u00c9", "E\u0301", "e\u0301", "\u00df", "SS"]


@given(st.lists(st.tuples(st.sampled_from(TWINS), st.sampled_from([None, 1, 2]))))
def test_answers_in_other_case_or_composition_still_name_one_item(rows: list[tuple[str, int | None]]) -> None:
    labels = unique_labels([title for title, _ in rows], [year for _, year in rows], [str(k) for k in range(len(rows))])
    assert all(label.startswith(title) for label, (title, _) in zip(labels, rows, strict=True))
    for form in ("NFC", "NFD"):
        for row, label in enumerate(labels):
            assert parse_answer(unicodedata.normalize(form, label.upper()), labels) == row
            assert parse_answer(unicodedata.normalize(form, label), labels) == row


def test_titles_that_differ_in_composition_alone_get_their_ids() -> None:
    composed, decomposed = "Am\u00e9lie", "Ame\u0301lie"
    assert unique_labels([composed, decomposed, "Heat"], [None] * 3, ["1", "2", "3"]) == [
        f"{composed} [1]",
        f"{decomposed} [2]",
        "Heat",
    ]


@pytest.mark.parametrize("raw", ["Q &amp; A", "Q &amp;amp; A", "Q &amp;amp;amp; A", "Q &#38;#38; A", "Q & A"])
def test_entities_are_decoded_as_often_as_they_were_escaped(raw: str) -> None:
    assert plain_title(raw) == "Q & A"


def test_labels_whose_ids_differ_in_case_alone_get_a_number() -> None:
    assert unique_labels(["Heat", "Heat", "HEAT"], [None] * 3, ["a", "A", "b"]) == ["Heat [a]", "Heat [A] #2", "HEAT [b]"]


def test_titles_in_any_script_stay_as_they_are() -> None:
    for title in ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469", "\U0001fae8", "a&copyb"):
        assert plain_title(title) == title
    assert plain_title("\x85 Up\x00 \u2028 &#39;n&amp;") == "Up 'n&"
