"""Format-independent parts of a page: sections with text, tables and figures."""

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
    """One column of a table."""

    heading: str  # text of the header cell
    meaning: str  # explanation of the column; empty where the heading is enough
    text: Callable[[Row], str]  # returns the cell's text for a row
    is_prose: bool = False  # whether the cells hold words and are left-aligned
    mark: Callable[[Row], Mark] = _nothing  # returns how the cell is highlighted for a row
    title: Callable[[Row], str] = _nothing  # returns the cell's tooltip for a row


@dataclass(frozen=True)
class Table(Generic[Row]):
    """A table whose rows are divided into groups."""

    columns: Sequence[Column[Row]]  # columns in order; the first one names the row
    # pairs of a title, which may be empty, and rows; a row whose attribute ``is_best`` is true is emphasised
    groups: Sequence[tuple[str, Sequence[Row]]]
    caption: str = ""  # description of the table
    is_wide: bool = False  # whether the table is too wide for a text page

    @property
    def lines(self) -> list[dict[str, str]]:
        """Cell texts of every row, by column heading."""
        return [{column.heading: column.text(row) for column in self.columns} for _, rows in self.groups for row in rows]


@dataclass(frozen=True)
class Figure:
    """A figure, drawn only for pages that show it."""

    caption: str  # description of the figure
    draw: Callable[[], bytes]  # returns the PNG bytes


@dataclass(frozen=True)
class ReportSection:
    """A section of a page; its parts appear in the order of the attributes."""

    heading: str  # title of the section
    verdict: str = ""  # main result, in sentences generated from the numbers
    notes: Sequence[str] = ()  # paragraphs below the main result
    tables: Sequence[Table[Any]] = ()  # tables, each followed by its caption and the meanings of its columns
    points: Sequence[str] = ()  # items of a bulleted list
    figures: Sequence[Figure] = ()  # pictures, which text pages leave out
    parts: Sequence[ReportSection] = ()  # subsections
    is_folded: bool = False  # whether HTML pages show only the heading until the reader opens the section

    @property
    def is_for_html(self) -> bool:
        """Whether the section holds only figures and wide tables, which a text page cannot show."""
        tables = [table for table in self.tables if not table.is_wide]
        return not (self.verdict or self.notes or tables or self.points or self.parts)
