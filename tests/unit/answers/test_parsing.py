import pytest

from llara_core.answers.parsing import parse_answer
from llara_core.evaluation.metrics import contained_candidate

LABELS = ["Alien", "Aliens", "Monsters, Inc.", '"Weird Al" Yankovic', "E.T.", "Am\u00e9lie", "Heat"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Alien", 0),
        ("Aliens", 1),  # "Alien" occurs in it, and must neither win nor make it ambiguous
        ("  Aliens \n", 1),
        ("aLIENS", 1),
        ("Aliens.", 1),
        ('"Aliens"', 1),
        ('"Aliens."', 1),
        ('"Aliens".', 1),
        ("\u201cAliens\u201d", 1),
        ("Monsters, Inc.", 2),  # a full stop of its own
        ("monsters,  inc", 2),
        ('"Weird Al" Yankovic', 3),  # quotes of its own that are no pair around the whole
        ('""Weird Al" Yankovic"', 3),
        ("E.T", 4),
        ("Ame\u0301lie", 5),  # decomposed
        ("Heat\nAlien", 6),  # the first line answers
        ("\n\nHeat", 6),
        ("<think>\nAlien? No.\n</think>\n\nHeat", 6),
        ("\n<think></think>Heat.", 6),
        ("Alien\nor not.\n</think>\nHeat", 6),  # the opening mark stood in the prompt
    ],
)
def test_names_a_candidate(text: str, expected: int) -> None:
    assert parse_answer(text, LABELS) == expected


@pytest.mark.parametrize(
    "text",
    ["", " \n ", ".", '""', "Alie", "Alien Aliens", "Alien, Aliens", "The answer is Heat", "Heat..", "Gravity"],
)
def test_anything_else_is_invalid(text: str) -> None:
    assert parse_answer(text, LABELS) is None


@pytest.mark.parametrize(
    "text", ["<think>\nHeat", "<think>Heat</think>", "<think>a</think><think>b</think>Heat", "Heat<think>"]
)
def test_thoughts_are_no_answer(text: str) -> None:
    """Cut while thinking, nothing after it, a second block, a block that does not lead."""
    assert parse_answer(text, LABELS) is None


def test_labels_that_only_case_tells_apart_need_the_exact_form() -> None:
    assert parse_answer("Heat", ["Heat", "HEAT"]) == 0
    assert parse_answer("HEAT", ["Heat", "HEAT"]) == 1
    assert parse_answer("heat", ["Heat", "HEAT"]) is None


def test_one_label_twice_is_ambiguous() -> None:
    assert parse_answer("Heat", ["Heat", "Alien", "Heat"]) is None


def test_index_answers_are_numbers_as_wholes() -> None:
    labels = ["1", "12", "120"]
    assert [parse_answer(text, labels) for text in ("1", "12.", "120", "2")] == [0, 1, 2, None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I would say heat!", 6),  # anywhere, without regard to case
        ("Alien", 0),
        ("Aliens", None),  # holds "Alien" as well
        ("Alien or Heat", None),
        ("Gravity", None),
        ("", None),
        ("  Heat\nor Alien", 6),  # what follows the first line is cut off
    ],
)
def test_the_papers_code_takes_the_only_title_that_occurs(text: str, expected: int | None) -> None:
    assert contained_candidate(text, LABELS) == expected
