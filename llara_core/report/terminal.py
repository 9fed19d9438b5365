"""The results of one data set on one screen of a terminal: at most 40 lines of 100 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report.layout import MISSING
from llara_core.report.system_columns import leading
from llara_core.report.wording import chosen_weights, count, interval, measure, number, p_value, signed, sizes

WIDTH, HEIGHT = 100, 40
_MAX_VERDICT = 16  # lines; what is cut is on the page
_LEGEND = (
    "*: best on validation. by: t text, s scores, f fused with its recommender (weight of the LLM) and compared with it. "
    "val, test: HR@1. valid: exact titles. n: users x sets (x seeds)."
)


def screen(title: str, verdict: str, rows: Sequence[ComparedSystem]) -> str:
    """Title, verdict, table and legend.

    Args:
        title: one line.
        verdict: of the table.
        rows: one per system; those that do not fit are counted.
    """
    placeholder = " ... (in full in metrics/report.md)"
    wrapped = textwrap.wrap(verdict, WIDTH, max_lines=_MAX_VERDICT, placeholder=placeholder)
    before, after = [title, "", *wrapped, ""], textwrap.wrap(_LEGEND, WIDTH)
    for n_shown in range(len(rows), 0, -1):
        shown = leading(rows, n_shown)
        n_left_out = len(rows) - n_shown
        left_out = [f"{count(n_left_out, 'system')} lower on validation: see metrics/report.md."] if n_left_out else []
        lines = [*before, *_lines(shown), "", *after, *left_out]
        if len(lines) <= HEIGHT:
            break
    return "\n".join(lines)


def _lines(rows: Sequence[ComparedSystem]) -> list[str]:
    """A heading, and a line per system; a name that takes too many columns stands on a line of its own."""
    columns: dict[str, Callable[[ComparedSystem], str]] = {
        "by": _mode,
        "val": lambda row: number(row.validation["hit_ratio@1"]),
        "test [interval]": lambda row: f"{number(row.test['hit_ratio@1'])} {interval(row)}",
    }
    reference = next((row.name for row in rows if row.is_reference), None)
    if reference is not None:
        columns |= {f"vs {reference}": _difference, "p": lambda row: p_value(row).replace("< ", "<")}
    columns |= {"valid": measure("valid_ratio"), "n": lambda row: sizes(row).replace(" ", "")}
    table = [list(columns), *([_without_zero(text(row)) for text in columns.values()] for row in rows)]
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


def _difference(row: ComparedSystem) -> str:
    if row.is_reference:
        return "ref."
    return MISSING if row.difference is None else signed(row.difference.mean)


def _without_zero(text: str) -> str:
    return re.sub(r"\b0\.", ".", text)
