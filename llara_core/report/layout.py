"""What a page consists of: sections with sentences, tables and figures, in whatever format it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

Row = TypeVar("Row")

MISSING = "-"
Mark = Literal["", "better", "worse"]


def _nothing(row: object) -> Literal[""]:
    return ""


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table.

    Attributes:
        heading: short.
        meaning: what it shows; empty where the heading says it.
        text: from a row to its text.
        is_prose: words, not figures.
        mark: from a row to how its figure is marked.
        title: from a row to what is shown of its figure on request.
    """

    heading: str
    meaning: str
    text: Callable[[Row], str]
    is_prose: bool = False
    mark: Callable[[Row], Mark] = _nothing
    title: Callable[[Row], str] = _nothing


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Rows in groups.

    Attributes:
        columns: the first one names the row.
        groups: title, which may be empty, and rows; a row with the attribute ``is_best`` set is emphasised.
        caption: what the table shows.
        is_wide: too wide for a text page.
    """

    columns: Sequence[Column[Row]]
    groups: Sequence[tuple[str, Sequence[Row]]]
    caption: str = ""
    is_wide: bool = False

    @property
    def lines(self) -> list[dict[str, str]]:
        """The texts of all rows, by heading."""
        return [{column.heading: column.text(row) for column in self.columns} for _, rows in self.groups for row in rows]


@dataclass(frozen=True)
class Figure:
    """A picture that is drawn only for pages that show it.

    Attributes:
        caption: what it shows.
        draw: returns a PNG.
    """

    caption: str
    draw: Callable[[], bytes]


@dataclass(frozen=True)
class Section:
    """A part of a page, in the order of the attributes.

    Attributes:
        heading: title.
        verdict: what the section shows, in sentences made from its numbers.
        notes: paragraphs.
        tables: each with its caption and the meanings of its columns.
        points: items of a list.
        figures: pictures.
        parts: sections inside this one.
        is_folded: whether a page that can fold shows the heading alone, until it is asked for more.
    """

    heading: str
    verdict: str = ""
    notes: Sequence[str] = ()
    tables: Sequence[Table[Any]] = ()
    points: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    parts: Sequence[Section] = ()
    is_folded: bool = False

    @property
    def is_for_html(self) -> bool:
        """Whether a text page has nothing to show of it: figures and wide tables alone."""
        tables = [table for table in self.tables if not table.is_wide]
        return not (self.verdict or self.notes or tables or self.points or self.parts)
