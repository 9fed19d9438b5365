"""Renders facts about a data set as text of at most 100 characters a line.

The choices for a folder without a section, and the costs, have their own form. All other facts are rendered by their keys and
types, so that a new fact needs no code here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 100
NARROW = 4  # numbers that are shown side by side; more of them are shown one per line
HEADINGS = {
    "sizes": "Users, items and interactions",
    "times": "Times (UTC)",
    "columns": "Values of the columns",
    "repeats": "Repeats of a pair of user and item",
    "ratings": "Ratings",
    "titles": "Titles",
    "histories": "Interactions per user, before the filter, by share of the users",
    "popularity": "Interactions per item, before the filter, by share of the items",
    "splits": "After the filter, and under each split (cold: targets that never occur in training)",
}
COSTS = (
    "Per run of a stage, estimated from a few runs on two busy cores without a GPU (the language model: SmolLM2-135M). Expect "
    "anything from lowest to highest; on another machine all times shift together."
)
GUESSED = (
    "params.yaml has no section for this folder. These choices are based on names and on at most the first {:,} rows of each "
    "file (the encoding: on the whole file). The counts below cover all rows."
)

Facts = Mapping[str, Any]


def render(facts: Facts) -> str:
    """Returns a page for the terminal; a section to paste is at the end, not wrapped."""
    guess = facts.get("guess")
    lines = _paragraph(f"{facts['name']}: {facts['folder']}, format {facts['format']}")
    lines += _guess(guess) if guess else []
    if "refused" in facts:
        lines += ["", *_paragraph(f"The section below does not read these files: {facts['refused']}")]
    else:
        lines += [*_heading("Look at this first"), *_listed(facts["doubts"] or ["nothing is in doubt"])]
        lines += [line for key, heading in HEADINGS.items() if key in facts for line in _topic(heading, facts[key])]
        lines += _costs(facts["costs"]) if facts.get("costs") else []
    if guess:
        lines += [*_heading("Section to paste under `datasets:` in params.yaml"), "", *guess["section"].splitlines()]
    return "\n".join(lines) + "\n"


def _heading(text: str) -> list[str]:
    return ["", text, "-" * len(text)]


def _paragraph(text: str, first: str = "", rest: str = "") -> list[str]:
    lines = []
    for number, part in enumerate(text.splitlines()):
        indent = (rest if number else first) + part[: len(part) - len(part.lstrip())]
        lines += textwrap.wrap(part.strip(), WIDTH, initial_indent=indent, subsequent_indent=rest or indent) or [""]
    return lines


def _listed(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in _paragraph(text, "- ", "  ")]


def _table(rows: Sequence[Sequence[str]], last_is_text: bool = False) -> list[str]:
    """Returns lines of aligned columns, the first left-aligned, the others right-aligned; a last column of text is wrapped."""
    rows = [[*row, *([] if last_is_text else [""])] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=False)
        lead = "  " + "".join(f"{cell:{'>' if column else '<'}{width}}  " for column, (cell, width) in enumerate(cells))
        lines += _paragraph(row[-1], lead, " " * len(lead)) if row[-1] else [lead.rstrip()]
    return lines


def _topic(heading: str, facts: Facts) -> list[str]:
    """Returns the facts of a topic: first those with numbers of several things, as tables, then all others, one per line."""
    lines, others = _heading(heading), []
    for key, value in facts.items():
        if (numbers := _numbers(value)) is None:
            others.append([_words(key), _text(key, value)])
            continue
        names = list(next(iter(numbers.values())))
        if len(names) > NARROW:
            numbers = {name: {row: counts[name] for row, counts in numbers.items()} for name in names}
        head = [_words(key), *map(_words, next(iter(numbers.values())))]
        lines += [*_table([head, *([_words(name), *counts.values()] for name, counts in numbers.items())]), ""]
    return lines + (_table(others, last_is_text=True) if others else [])


def _numbers(value: Any) -> dict[str, dict[str, str]] | None:
    """Returns a fact as numbers by name and part; None if it has another form, or the parts of its names differ."""
    if not isinstance(value, Mapping) or not value or not all(isinstance(part, Mapping) for part in value.values()):
        return None
    flat: dict[str, dict[str, str]] = {}
    for name, parts in value.items():
        flat[name] = {}
        for part, number in parts.items():
            inner = number if isinstance(number, Mapping) else {"": number}
            flat[name] |= {f"{part} {key}".strip(): _text(part, one) for key, one in inner.items()}
            if any(isinstance(one, str | list | Mapping) for one in inner.values()):
                return None
    return flat if len({tuple(parts) for parts in flat.values()}) == 1 else None


def _text(key: str, value: Any) -> str:
    """Returns a fact in words, in percent if its key says that it is a share."""
    if isinstance(value, Mapping):
        kind = {name: key if key.endswith("share") else name for name in value}
        parts = [f"{_words(name)} {_text(kind[name], part)}" for name, part in value.items() if part not in (0, {}, [])]
        return "; ".join(parts) or "none"
    if isinstance(value, list):
        return ", ".join(_text(key, part) for part in value) or "none"
    if isinstance(value, float):
        return f"{value:.1%}" if key.endswith("share") else f"{value:g}"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _guess(guess: Facts) -> list[str]:
    lines = [*_heading("Files and columns"), *_paragraph(GUESSED.format(guess["sample_rows"])), ""]
    lines += _listed(
        [
            *(
                f"{file['name']}: {', '.join([file['kind'], *file['layout']])}; columns {', '.join(file['columns'])}"
                for file in guess["files"]
            ),
            *([f"not used: {', '.join(guess['others'])}"] if guess["others"] else []),
            *(f"{name} cannot be read: {reason}" for name, reason in guess["unusable"].items()),
        ]
    )
    lines.append("")
    for key, choice in guess["choices"].items():
        value, why = "none" if choice["value"] is None else choice["value"], choice["why"]
        others = f" Alternatives: {', '.join(choice['alternatives'])}." if choice["alternatives"] else ""
        lines += _paragraph(f"{key}: {value} ({choice['confidence']}). {why[:1].upper()}{why[1:]}.{others}", "  ", "      ")
    return lines + (["", "Columns that the section does not use:", *_listed(guess["unused"])] if guess["unused"] else [])


def _costs(costs: Sequence[Facts]) -> list[str]:
    rows = [["", "runs", "time", "lowest to highest", "GB", ""]]
    for cost in costs:
        low, likely, high = (_duration(seconds) for seconds in cost["seconds"])
        gigabytes = f"{cost['gigabytes'][0]:.1f} to {cost['gigabytes'][2]:.1f}"
        rows.append([cost["stage"], str(cost["runs"]), likely, f"{low} to {high}", gigabytes, cost["because"]])
    heading = _heading("Time and memory of the stages, with the present params.yaml")
    return [*heading, *_paragraph(COSTS), *_table(rows, last_is_text=True)]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86_400:.0f} days"
