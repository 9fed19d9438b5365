"""Titles as a section asks for them."""

import pytest

from llara_core.config import TitlesConfig
from llara_core.readers.item_titles import clean_titles, cut, without_tags
from llara_core.readers.titles import movie_title, plain_title


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Heat", "Heat"),
        ("<b>Heat</b>", "Heat"),
        ("<p>Heat</p><p>2</p>", "Heat 2"),
        ("He<i>at</i>", "Heat"),
        ("Heat<br/>2", "Heat 2"),
        ('<a href="x?a=1&b=2" title="5 > 4">Heat</a>', "Heat"),
        ("Heat<!-- note -->", "Heat"),
        ("<script>var a = '<b>';</script>Heat<style>b {}</style>", "Heat"),
        ("I <3 you", "I <3 you"),
        ("1 < 2 > 0", "1 < 2 > 0"),
        ("Unfinished <b", "Unfinished <b"),
        ("<b>Bold</b> and <unfinished", "Bold and <unfinished"),
        ("<Untitled>", "<Untitled>"),
        ("AT&T <b>&copy &foo;</b>", "AT&T &copy &foo;"),
        ("A <B>C</B> D", "A C D"),
    ],
)
def test_tags_go_and_what_only_looks_like_one_stays(raw: str, clean: str) -> None:
    assert without_tags(raw) == clean


def test_entities_are_decoded_before_tags_are_sought() -> None:
    found = clean_titles(["&lt;b&gt;R&amp;amp;D&lt;/b&gt;", "Plain"], TitlesConfig(strip_html=True), are_movies=False)
    assert found.titles == ["R&D", "Plain"]
    assert found.counts == {"html_removed": 1, "cut": 0, "damaged": 0}


@pytest.mark.parametrize(
    ("title", "length", "expected"),
    [
        ("The Lord of the Rings", 21, "The Lord of the Rings"),
        ("The Lord of the Rings", 20, "The Lord of the"),
        ("The Lord of the Rings", 15, "The Lord of the"),
        ("The Lord of the Rings", 14, "The Lord of"),
        ("Supercalifragilistic", 5, "Super"),
        ("A Supercalifragilistic", 9, "A Superca"),  # the only whole word is less than half
        ("Heat", 1, "H"),
    ],
)
def test_titles_are_cut_at_the_end_of_a_word(title: str, length: int, expected: str) -> None:
    assert cut(title, length) == expected
    assert len(cut(title, length)) <= length


def test_a_movie_is_cut_after_its_year_and_article_have_moved() -> None:
    found = clean_titles(["City of Lost Children, The (1995)", "Heat (1995)"], TitlesConfig(max_chars=12), are_movies=True)
    assert (found.titles, found.years) == (["The City of", "Heat"], [1995, 1995])
    assert found.counts == {"html_removed": 0, "cut": 1, "damaged": 0}


def test_without_options_titles_are_what_they_were() -> None:
    raw = ["<b>Shawshank</b> Redemption, The (1994)", " R&amp;D ", "unknown", "x" * 5000]
    plain, movies = (clean_titles(raw, TitlesConfig(), are_movies=are) for are in (False, True))
    assert plain.titles == [plain_title(title) for title in raw]
    assert list(zip(movies.titles, movies.years, strict=True)) == [movie_title(title) for title in raw]
    assert plain.counts == movies.counts == {"html_removed": 0, "cut": 0, "damaged": 0}
