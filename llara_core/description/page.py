"""The facts as plain text of at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llara_core import columns as c

WIDTH = 100
BAR = 30


def render(facts: Mapping[str, Any]) -> str:
    """A page for the terminal; the section to paste, where there is one, stands last and is not wrapped."""
    lines = [*_headline(facts)]
    if "guess" in facts:
        lines += _guess(facts["guess"])
    if "refused" in facts:
        lines += ["", *_paragraph(f"The reader refuses these files as they were understood: {facts['refused']}")]
    else:
        lines += [
            *_doubts(facts["doubts"]),
            *_log(facts),
            *_titles(facts["titles"]),
            *_spreads(facts),
            *_splits(facts["splits"]),
        ]
        lines += _costs(facts.get("costs", []))
    if "guess" in facts:
        lines += _heading("Section to paste under `datasets:` in params.yaml")
        lines += ["", *facts["guess"]["section"].splitlines()]
    return "\n".join(lines) + "\n"


def _headline(facts: Mapping[str, Any]) -> Iterator[str]:
    yield from _paragraph(f"{facts['name']}: {facts['folder']}, format {facts['format']}")


def _heading(text: str) -> list[str]:
    return ["", text, "-" * len(text)]


def _paragraph(text: str, first: str = "", rest: str = "") -> list[str]:
    lines = []
    for number, part in enumerate(text.splitlines() or [""]):
        indent = first if number == 0 else rest
        own = indent + part[: len(part) - len(part.lstrip())]
        lines += textwrap.wrap(part.strip(), WIDTH, initial_indent=own, subsequent_indent=rest + own[len(indent) :]) or [""]
    return lines


def _listed(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in _paragraph(text, "- ", "  ")]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned, the first to the left; the last takes what is left of the line."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lead = "  ".join(cells) + "  "
        lines += _paragraph(row[-1], "  " + lead, "  " + " " * len(lead)) if row[-1] else ["  " + lead.rstrip()]
    return lines


def _guess(guess: Mapping[str, Any]) -> list[str]:
    lines = _heading("Files and columns, as understood")
    lines += _paragraph(
        "There is no section for this folder. What follows is told from names and from at most the first "
        f"{guess['sample_rows']:,} rows of each file, an encoding from the whole. Further down all rows are counted."
    )
    lines.append("")
    for file in guess["files"]:
        how = ""
        if file["separator"] is not None:
            separator, encoding = file["separator"], file["encoding"]
            how = (
                f", separator {separator['value']!r} ({separator['confidence']}: {separator['why']}), encoding "
                f"{encoding['value']} ({encoding['confidence']}: {encoding['why']})"
                f"{'' if file['header'] else ', without a header, so its columns have numbers'}"
            )
        how += "" if file["sequences"] is None else ", a row per user with items in their order"
        lines += _listed(
            [f"{file['name']}: {file['kind']}, {_bytes(file['bytes'])}{how}; columns {', '.join(file['columns'])}"]
        )
    if guess["others"]:
        lines += _listed([f"not used: {', '.join(guess['others'])}"])
    lines += _listed(f"{file['name']} cannot be read: {file['reason']}" for file in guess["unusable"])
    lines.append("")
    for key, choice in guess["choices"].items():
        value = "none" if choice["value"] is None else choice["value"]
        rivals = f" In doubt: {', '.join(choice['rivals'])} would do as well." if choice["rivals"] else ""
        lines += _paragraph(f"{key}: {value} ({choice['confidence']}). {_sentence(choice['why'])}{rivals}", "  ", "      ")
    if guess["unused"]:
        lines += ["", "Columns that the section makes no use of:", *_listed(guess["unused"])]
    return lines


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _bytes(n: int) -> str:
    return f"{n:,} bytes" if n < 10_000 else f"{n / 1e6:,.2f} MB" if n < 1e9 else f"{n / 1e9:,.2f} GB"


def _doubts(found: Sequence[str]) -> list[str]:
    return [*_heading("Look at this first"), *(_listed(found) if found else ["Nothing is in doubt."])]


def _log(facts: Mapping[str, Any]) -> list[str]:
    sizes = facts["sizes"]
    lines = [*_heading("The log"), *_table([[key, f"{sizes[key]:,}", ""] for key in ("users", "items", "interactions")])]
    lines += _table([["items listed", f"{sizes['items_listed']:,}", ""]])
    if sizes["left_after"]:
        lines += ["", "Left after each step of the reader and of the section's filter:"]
        steps = [
            [name, *(f"{step[key]:,}" for key in ("users", "items", "interactions")), ""]
            for name, step in sizes["left_after"].items()
        ]
        lines += _table([["", "users", "items", "interactions", ""], *steps])
    dropped = {reason: n for reason, n in sizes["dropped"].items() if n}
    lines += ["", f"Dropped by the reader: {'' if dropped else 'nothing'}".rstrip()]
    lines += _table([[reason, f"{n:,}", ""] for reason, n in dropped.items()]) if dropped else []
    lines += _times(facts) if "times" in facts else []
    lines += _cells(facts["columns"]) if "columns" in facts else []
    if "repeats" in facts:
        repeats = facts["repeats"]
        lines += _paragraph(
            f"Repeats: {repeats['interactions_of_a_known_pair']:,} interactions ({repeats['share']:.1%}) are of a user with an "
            f"item that the user had before; {repeats['exact_duplicates']:,} equal an earlier one in everything."
        )
    if "ratings" in facts:
        lines += _ratings(facts["ratings"])
    return lines


def _times(facts: Mapping[str, Any]) -> list[str]:
    times = facts["times"]
    lines = ["", f"Times: {times['first']} to {times['last']} (UTC), {times['span_days']:,} days"]
    rows = [["resolution", times["resolution"]]]
    if (of_format := facts.get("time_format")) is not None:
        found = of_format["looks_like"]
        what = f"{found['time_format']} ({found['confidence']}): {found['why']}" if found else "no known format"
        rows.append(["time_format", f"{of_format['section']}; {of_format['sampled']:,} sampled values look like {what}"])
    rows += [
        ["ties", f"{times['tied_share']:.1%} of the interactions share user and time with another one"],
        ["", f"{times['users_all_tied']:,} users did everything (twice or more) at one time"],
        ["most common", f"{times['most_common']}, {times['most_common_share']:.1%} of the interactions"],
        [
            "doubtful",
            f"{times['before_1970']:,} before 1970, {times['at_1970']:,} exactly 1970-01-01, {times['before_1980']:,} later in "
            f"the 1970s, {times['in_the_future']:,} in the future",
        ],
    ]
    return [*lines, *_table(rows), ""]


def _cells(columns: Mapping[str, Any]) -> list[str]:
    rows = []
    for purpose, column in columns.items():
        marks = [f"{n:,} {text if text == '(empty)' else repr(text)}" for text, n in column["missing"].items()]
        doubtful = [f"{n:,} {text!r}, doubtful" for text, n in column["doubtful"].items()]
        most = column.get("most_frequent")
        said = [f"most frequent {most['id']!r}, {most['rows']:,} rows"] if most else []
        rows.append([purpose, column["column"], "; ".join([", ".join(marks) or "none missing", *doubtful, *said])])
    return ["Missing and doubtful values, by column:", *_table([[row[0], row[1].ljust(1), row[2]] for row in rows]), ""]


def _ratings(ratings: Mapping[str, Any]) -> list[str]:
    scale = (
        "no usual scale" if ratings["scale"] is None else f"on a scale of {ratings['scale'][0]:g} to {ratings['scale'][1]:g}"
    )
    common = ", ".join(f"{value}: {share:.1%}" for value, share in ratings["most_common"].items())
    return _paragraph(
        f"Ratings: {ratings['lowest']:g} to {ratings['highest']:g}, {ratings['different']:,} different, {scale}, "
        f"{ratings['outside']:,} outside it; {common}"
    )


def _titles(titles: Mapping[str, Any]) -> list[str]:
    rows = [
        ["titles", f"{titles['titles']:,}; {titles['empty']:,} items without"],
        [
            "longest",
            f"{titles['longest_characters']} characters ({titles['mean_characters']:g} on average): {titles['longest'][:200]}",
        ],
        ["shared", f"{titles['items_sharing']:,} items share {titles['shared']:,} titles once cleaned"],
        *(["", f"{row['items']} items: {row['title'][:80]}"] for row in titles["shared_most"]),
        [
            "HTML",
            f"{titles['with_html_entities']:,} with entities (decoded), {titles['with_html_tags']['count']:,} with tags (kept)",
        ],
    ]
    rows += [["", example[:80]] for example in titles["with_html_tags"]["examples"]]
    beyond = titles["beyond_ascii"]
    rows.append(["encoding", f"{beyond['count']:,} with characters beyond ASCII{', such as' if beyond['examples'] else ''}"])
    rows += [["", example[:80]] for example in beyond["examples"]]
    rows.append(["", f"{titles['with_wrong_encoding']['count']:,} look as if read in a wrong encoding"])
    rows += [["", example[:80]] for example in titles["with_wrong_encoding"]["examples"]]
    if (tokens := titles.get("tokens")) is not None:
        rows.append(["tokens", f"{tokens['mean']:g} on average, at most {tokens['longest']}: {tokens['longest_title'][:80]}"])
        rows.append(
            [
                "",
                f"the {tokens['titles_in_prompt']} titles of a prompt (history, candidates) have {tokens['prompt_mean']:,} on "
                f"average, at most {tokens['prompt_most']:,}",
            ]
        )
    elif "tokens" in titles:
        rows.append(["tokens", "not counted: there is no data/llm yet (python -m pipeline.fetch_llm)"])
    return [*_heading("Titles"), *_table(rows)]


def _spreads(facts: Mapping[str, Any]) -> list[str]:
    lines = _heading("Interactions per user and per item, before the filter")
    spreads = {"user": facts["histories"], "item": facts["popularity"]}
    shares = list(facts["histories"]["quantiles"])
    names = ["least" if s == "0" else "most" if s == "1" else "median" if s == "0.5" else f"{float(s):.0%}" for s in shares]
    rows = [["per", *names, "mean"]]
    rows += [
        [what, *(f"{spread['quantiles'][s]:,}" for s in shares), f"{spread['mean']:,.1f}"] for what, spread in spreads.items()
    ]
    lines += _table([[*row, ""] for row in rows])
    for what, spread in spreads.items():
        lines += ["", f"{what}s by their number of interactions"]
        histogram = {label: n for label, n in spread["histogram"].items() if n}
        most = max(histogram.values())
        lines += _table([[label, f"{n:,}", "#" * max(1, round(BAR * n / most))] for label, n in histogram.items()])
    if "fewer_than" in facts["popularity"]:
        lines += ["", "Items with fewer than k interactions:"]
        rare = facts["popularity"]["fewer_than"]
        lines += _table(
            [
                [f"k = {k}", f"{row['items']:.1%} of the items", f"{row['interactions']:.1%} of the interactions"]
                for k, row in rare.items()
            ]
        )
        lines.append(
            f"The most popular 1 % of the items have {facts['popularity']['top_percent_share']:.1%} of the interactions."
        )
    return lines


def _splits(splits: Mapping[str, Any]) -> list[str]:
    lines = _heading("What the splits would ask, after the filter")
    rows = [["", "training", "validation", "test", "cold validation", "cold test", ""]]
    notes = []
    for name, found in splits["by_strategy"].items():
        if "error" in found:
            notes.append(f"{name}: {found['error']}")
            continue
        counts = [f"{found['examples'][part]:,}" for part in c.SPLITS]
        cold = [f"{found['cold_targets'][part]:,} ({found['cold_share'][part]:.1%})" for part in c.HELD_OUT]
        rows.append([name + (" *" if name == splits["chosen"] else ""), *counts, *cold, ""])
    lines += _table(rows) if len(rows) > 1 else []
    lines += _listed(notes)
    return [*lines, "Examples; cold: held-out targets without a training interaction; *: the section's strategy."]


def _costs(costs: Sequence[Mapping[str, Any]]) -> list[str]:
    if not costs:
        return []
    lines = _heading("What the stages may take, with the present params.yaml")
    lines += _paragraph(
        "Per run of a stage, from straight lines through a few measured runs on two busy cores without a GPU (the language "
        "model: SmolLM2-135M). Lowest to highest is the honest range; on another machine all times shift together."
    )
    rows = [["", "runs", "time", "lowest to highest", "GB", ""]]
    for cost in costs:
        low, likely, high = (_duration(seconds) for seconds in cost["seconds"])
        gigabytes = f"{cost['gigabytes'][0]:.1f} to {cost['gigabytes'][2]:.1f}"
        rows.append([cost["stage"], str(cost["runs"]), likely, f"{low} to {high}", gigabytes, cost["because"]])
    return [*lines, *_table(rows)]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86_400:.0f} days"
