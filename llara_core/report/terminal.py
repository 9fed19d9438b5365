"""The results of one data set on one screen of a terminal: at most 40 lines of 100 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence

from llara_core.evaluation.comparison import ComparedSystem, headlines
from llara_core.report.layout import MISSING
from llara_core.report.system_columns import FEWER, answer_fewer, by_score, leading
from llara_core.report.wording import chosen_weights, count, interval, measure, number, p_value, signed, sizes

WIDTH, HEIGHT = 100, 40
_MAX_VERDICT, _MAX_BESIDE = 16, 6  # lines; what is cut is on the page
_LEGEND = (
    "*: best on validation. by: t text, s scores, f fused with its recommender (weight of the LLM). val, test: HR@1; score: "
    "HR@1 by scores in place of text. own: difference to its own recommender, on the same sets. "
    f"{FEWER}: on fewer sets, not comparable with the others. valid: exact titles. n: users x sets (x seeds)."
)


def screen(title: str, verdict: str, found: Sequence[ComparedSystem], beside: str = "") -> str:
    """Title, verdict, table, legend, and the run beside the published ones.

    Args:
        title: one line.
        verdict: of the table.
        found: one per system and mode; a line per system, of which those that do not fit are counted.
        beside: a paragraph; may be empty.
    """
    rows = headlines(found)
    placeholder = " ... (in full in metrics/report.md)"
    wrapped = textwrap.wrap(verdict, WIDTH, max_lines=_MAX_VERDICT, placeholder=placeholder)
    before, after = [title, "", *wrapped, ""], textwrap.wrap(_LEGEND, WIDTH)
    if beside:
        after += ["", *textwrap.wrap(beside, WIDTH, max_lines=_MAX_BESIDE, placeholder=placeholder)]
    for n_shown in range(len(rows), 0, -1):
        shown = leading(rows, n_shown)
        n_left_out = len(rows) - n_shown
        left_out = [f"{count(n_left_out, 'system')} lower on validation: see metrics/report.md."] if n_left_out else []
        lines = [*before, *_lines(shown, found), "", *after, *left_out]
        if len(lines) <= HEIGHT:
            break
    return "\n".join(lines)


def _lines(rows: Sequence[ComparedSystem], found: Sequence[ComparedSystem]) -> list[str]:
    """A heading, and a line per system; a name that takes too many columns stands on a line of its own."""
    fewer = answer_fewer(headlines(found))

    def mark(row: ComparedSystem) -> str:
        return FEWER if row.name in fewer else ""

    columns: dict[str, Callable[[ComparedSystem], str]] = {
        "by": _mode,
        "val": lambda row: f"{number(row.validation['hit_ratio@1'])}{mark(row)}",
        "test [interval]": lambda row: f"{number(row.test['hit_ratio@1'])}{mark(row)} {interval(row)}",
    }
    for column in by_score(found, rows):  # one or none
        columns["score"] = column.text
    reference = next((row.name for row in rows if row.is_reference), None)
    if reference is not None:
        columns |= {f"vs {reference}": lambda row: "ref." if row.is_reference else _difference(row, own=False)}
    if any(row.is_own for row in rows):
        columns |= {"own": lambda row: _difference(row, own=True)}
    if any(row.difference is not None and row.difference.p_value is not None for row in rows):
        columns |= {"p": lambda row: p_value(row).replace("< ", "<")}
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


def _difference(row: ComparedSystem, *, own: bool) -> str:
    return MISSING if row.difference is None or row.is_own != own else signed(row.difference.mean)


def _without_zero(text: str) -> str:
    return re.sub(r"\b0\.", ".", text)
