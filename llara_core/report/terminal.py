"""Results of one data set on one terminal screen of at most 40 lines of 100 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report.layout import MISSING
from llara_core.report.system_columns import FEWER, answer_fewer, by_score, leading
from llara_core.report.wording import chosen_weights, count, interval, number, p_value, signed, sizes

WIDTH, HEIGHT = 100, 40
_MAX_VERDICT, _MAX_REPRODUCTION = 16, 6  # lines; longer texts are cut, and the report has them in full
_MODES = {"t": "text", "s": "scores", "f": "fused with its recommender (LLM weight)"}


def summary(title: str, verdict: str, all_rows: Sequence[ComparedSystem], reproduction: str = "") -> str:
    """Formats the title, verdict, table, legend and comparison with the published runs.

    Args:
        all_rows: one row per system and mode; each system gets a line, and systems that do not fit are counted.
        reproduction: paragraph on the published runs; may be empty.
    """
    rows = [row for row in all_rows if row.is_primary]
    placeholder = " ... (in full in metrics/report.md)"
    wrapped = textwrap.wrap(verdict, WIDTH, max_lines=_MAX_VERDICT, placeholder=placeholder)
    before = [title, "", *wrapped, ""]
    after = (
        ["", *textwrap.wrap(reproduction, WIDTH, max_lines=_MAX_REPRODUCTION, placeholder=placeholder)] if reproduction else []
    )
    for n_shown in range(len(rows), 0, -1):
        shown = leading(rows, n_shown)
        n_left_out = len(rows) - n_shown
        left_out = [f"{count(n_left_out, 'system')} lower on validation: see metrics/report.md."] if n_left_out else []
        table = _lines(shown, all_rows)
        lines = [*before, *table, "", *textwrap.wrap(_legend(shown, "\n".join(table)), WIDTH), *after, *left_out]
        if len(lines) <= HEIGHT:
            break
    return "\n".join(lines)


def _legend(rows: Sequence[ComparedSystem], table: str) -> str:
    """Explains the marks and abbreviations that occur in a table."""
    modes = ", ".join(f"{short} {name}" for short, name in _MODES.items() if short in map(_mode, rows))
    header = table.partition("\n")[0]
    reference = re.search(r"vs (\S+)", header)
    entries = [
        ("*: best on validation.", any(row.is_best for row in rows)),
        (f"by: {modes}. val, test: HR@1.", True),
        ("score: HR@1 by scores instead of text.", "score" in header.split()),
        (
            f"vs {reference and reference[1]}: difference to the reference, the best baseline or recommender on validation.",
            reference is not None,
        ),
        ("own: difference to its own recommender on the same sets.", "own" in header.split()),
        (f"{FEWER}: on fewer sets, not comparable with the others.", FEWER in table),
        ("valid: exact titles. n: users x sets (x seeds).", True),
    ]
    return " ".join(text for text, occurs in entries if occurs)


def _lines(rows: Sequence[ComparedSystem], all_rows: Sequence[ComparedSystem]) -> list[str]:
    """Formats a header and a line per system; a name that is too wide gets a line of its own."""
    fewer = answer_fewer([row for row in all_rows if row.is_primary])

    def mark(row: ComparedSystem) -> str:
        return FEWER if row.name in fewer else ""

    columns: dict[str, Callable[[ComparedSystem], str]] = {
        "by": _mode,
        "val": lambda row: f"{number(row.validation['hit_ratio@1'])}{mark(row)}",
        "test [interval]": lambda row: f"{number(row.test['hit_ratio@1'])}{mark(row)} {interval(row)}",
    }
    for column in by_score(all_rows, rows):  # there is at most one column
        columns["score"] = column.text
    reference = next((row.name for row in rows if row.is_reference), None)
    if reference is not None:
        columns |= {f"vs {reference}": lambda row: "ref." if row.is_reference else _difference(row, own=False)}
    if any(row.is_versus_recommender for row in rows):
        columns |= {"own": lambda row: _difference(row, own=True)}
    if any(row.difference is not None and row.difference.p_value is not None for row in rows):
        columns |= {"p": lambda row: p_value(row).replace("< ", "<")}
    columns |= {
        "valid": lambda row: f"{number(row.test['valid_ratio'])}{mark(row)}",
        "n": lambda row: sizes(row).replace(" ", ""),
    }
    table = [list(columns), *([re.sub(r"\b0\.", ".", text(row)) for text in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    figures = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in table]
    names = ["  system", *map(_name, rows)]
    width = min(max(map(len, names)), WIDTH - sum(widths) - 2 * len(widths))
    lines = []
    for name, line in zip(names, figures, strict=True):
        lines += [f"{name:{width}}  {line}"] if len(name) <= width else [name, f"{'':{width}}  {line}"]
    return [lines[0], "-" * (width + sum(widths) + 2 * len(widths)), *lines[1:]]


def _name(row: ComparedSystem) -> str:
    chosen = f" ({chosen_weights(row)})" if row.system.kind == "fused" else ""
    name = f"{'*' if row.is_best else ' '} {row.name}{chosen}"
    return name if len(name) <= WIDTH else f"{name[: WIDTH - 3]}..."


def _mode(row: ComparedSystem) -> str:
    return {"generate": "t", "constrained": "t"}.get(row.mode, row.mode[0])


def _difference(row: ComparedSystem, *, own: bool) -> str:
    return MISSING if row.difference is None or row.is_versus_recommender != own else signed(row.difference.mean)
