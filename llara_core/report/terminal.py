"""The results of one dataset on one screen of a terminal: 40 lines of 100 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence

from llara_core.evaluation.comparison import SystemResult
from llara_core.report.tables import MISSING, chosen_weights, interval, measure, number, p_value, shown, signed, sizes

WIDTH, HEIGHT = 100, 40
_MIN_ROWS = 8  # however much there is to say before
_LEGEND = (
    "*: best on validation. by: t text, s scores, f fused with its recommender (weight of the LLM), which it is "
    "compared with. val, test: HR@1. valid: exact titles. n: users x sets (x seeds)."
)


def screen(title: str, verdict: str, results: Sequence[SystemResult]) -> str:
    """Title, verdict, table and legend.

    Args:
        title: one line.
        verdict: of the table.
        results: one row per system; those that do not fit are counted.
    """
    before = [title, "", *textwrap.wrap(verdict, WIDTH), ""]
    after = textwrap.wrap(_LEGEND, WIDTH)
    rows = shown(results, max(_MIN_ROWS, HEIGHT - len(before) - len(after) - 4))
    if len(rows) < len(results):
        after.append(f"{len(results) - len(rows)} systems lower on validation are in metrics/report.md.")
    return "\n".join([*before, *_lines(rows), "", *after])


def _lines(rows: Sequence[SystemResult]) -> list[str]:
    """A line per system; a name that takes too many columns stands on a line of its own."""
    columns: dict[str, Callable[[SystemResult], str]] = {
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
    return [lines[0], "-" * (width + 2 + sum(widths) + 2 * len(widths) - 2), *lines[1:]]


def _name(row: SystemResult) -> str:
    chosen = f" ({chosen_weights(row)})" if row.answers.system.kind == "fused" else ""
    return f"{'*' if row.is_best else ' '} {row.name}{chosen}"


def _mode(row: SystemResult) -> str:
    return {"generate": "t", "constrained": "t"}.get(row.mode, row.mode[0])


def _difference(row: SystemResult) -> str:
    if row.is_reference:
        return "ref."
    return MISSING if row.difference is None else signed(row.difference.mean)


def _without_zero(text: str) -> str:
    return re.sub(r"\b0\.", ".", text)
