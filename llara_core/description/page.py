"""Renders facts about a data set as text of at most 100 characters a line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llara_core import columns as c

WIDTH = 100
BAR = 30  # characters of the longest bar
COUNTED = ("users", "items", "interactions")

Facts = Mapping[str, Any]


def render(facts: Facts) -> str:
    """Returns a page for the terminal; a section to paste is at the end, not wrapped."""
    lines = _paragraph(f"{facts['name']}: {facts['folder']}, format {facts['format']}")
    lines += _guess(facts["guess"]) if "guess" in facts else []
    if "refused" in facts:
        lines += ["", *_paragraph(f"The section below does not read these files: {facts['refused']}")]
    else:
        lines += [*_heading("Look at this first"), *_listed(facts["doubts"] or ["nothing is in doubt"])]
        lines += [*_log(facts), *_titles(facts["titles"]), *_spreads(facts), *_splits(facts["splits"])]
        lines += _costs(facts["costs"]) if facts.get("costs") else []
    if "guess" in facts:
        lines += _heading("Section to paste under `datasets:` in params.yaml")
        lines += ["", *facts["guess"]["section"].splitlines()]
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


def _table(rows: Sequence[Sequence[object]], last_is_text: bool = True) -> list[str]:
    """Returns lines of aligned columns, the first left-aligned, the others right-aligned; a last column of text is wrapped."""
    texts = [[str(cell) for cell in row] + ([] if last_is_text else [""]) for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]) - 1)] if texts else []
    lines = []
    for row in texts:
        cells = [f"{cell:{'>' if i else '<'}{width}}  " for i, (cell, width) in enumerate(zip(row, widths, strict=False))]
        lead = f"  {''.join(cells)}"
        lines += _paragraph(row[-1], lead, " " * len(lead)) if row[-1] else [lead.rstrip()]
    return lines


def _guess(guess: Facts) -> list[str]:
    lines = _heading("Files and columns")
    lines += _paragraph(
        "params.yaml has no section for this folder. These choices are based on names and on at most the first "
        f"{guess['sample_rows']:,} rows of each file (the encoding: on the whole file). The counts below are of all rows."
    )
    files = []
    for file in guess["files"]:
        layout = ""
        for key in ("separator", "encoding") if file["separator"] else ():
            value = repr(file[key]["value"]) if key == "separator" else file[key]["value"]
            layout += f", {key} {value} ({file[key]['confidence']}: {file[key]['why']})"
        layout += "" if file["header"] else ", without a header, so its columns have numbers"
        layout += "" if file["sequences"] is None else ", one row per user with the items in order"
        files.append(f"{file['name']}: {file['kind']}, {_bytes(file['bytes'])}{layout}; columns {', '.join(file['columns'])}")
    files += [f"not used: {', '.join(guess['others'])}"] if guess["others"] else []
    files += [f"{name} cannot be read: {reason}" for name, reason in guess["unusable"].items()]
    lines += ["", *_listed(files), ""]
    for key, choice in guess["choices"].items():
        value, why = "none" if choice["value"] is None else choice["value"], choice["why"]
        others = f" Alternatives: {', '.join(choice['alternatives'])}." if choice["alternatives"] else ""
        lines += _paragraph(f"{key}: {value} ({choice['confidence']}). {why[:1].upper()}{why[1:]}.{others}", "  ", "      ")
    return lines + (["", "Columns that the section does not use:", *_listed(guess["unused"])] if guess["unused"] else [])


def _bytes(n: int) -> str:
    return f"{n:,} bytes" if n < 10_000 else f"{n / 1e6:,.2f} MB" if n < 1e9 else f"{n / 1e9:,.2f} GB"


def _log(facts: Facts) -> list[str]:
    sizes = facts["sizes"]
    rows = [[key, f"{sizes[key]:,}"] for key in COUNTED] + [["items listed", f"{sizes['items_listed']:,}"]]
    lines = [*_heading("The log"), *_table(rows, last_is_text=False)]
    if sizes["left_after"]:
        lines += ["", "Left after each step of the reader and of the section's filter:"]
        steps = [[name, *(f"{step[key]:,}" for key in COUNTED)] for name, step in sizes["left_after"].items()]
        lines += _table([["", *COUNTED], *steps], last_is_text=False)
    dropped = [[reason, f"{n:,}"] for reason, n in sizes["dropped"].items() if n]
    lines += ["", f"Dropped by the reader:{'' if dropped else ' nothing'}", *_table(dropped, last_is_text=False)]
    lines += _times(facts["times"], facts.get("time_format")) if "times" in facts else []
    lines += _missing(facts["columns"]) if "columns" in facts else []
    if repeats := facts.get("repeats"):
        lines += _paragraph(
            f"Repeats: in {repeats['interactions_of_a_known_pair']:,} interactions ({repeats['share']:.1%}) the user had the "
            f"item before; {repeats['exact_duplicates']:,} equal an earlier one in all columns that are read."
        )
    if ratings := facts.get("ratings"):
        scale = "on a scale of {:g} to {:g}".format(*ratings["scale"]) if ratings["scale"] else "no usual scale"
        common = ", ".join(f"{value}: {share:.1%}" for value, share in ratings["most_common"].items())
        lines += _paragraph(
            f"Ratings: {ratings['lowest']:g} to {ratings['highest']:g}, {ratings['different']:,} different values, {scale}, "
            f"{ratings['outside']:,} outside it; {common}"
        )
    return lines


def _times(times: Facts, time_format: Facts | None) -> list[str]:
    rows = [["resolution", times["resolution"]]]
    if time_format is not None:
        guess = time_format["looks_like"]
        what = f"{guess['value']} ({guess['confidence']}): {guess['why']}" if guess else "no known format"
        rows.append(["time_format", f"{time_format['section']}; {time_format['sampled']:,} sampled values look like {what}"])
    rows += [
        ["ties", f"{times['tied_share']:.1%} of the interactions share user and time with another one"],
        ["", f"{times['users_all_tied']:,} users have all their interactions (two or more) at one time"],
        ["most common", f"{times['most_common']}, {times['most_common_share']:.1%} of the interactions"],
        [
            "doubtful",
            f"{times['before_1970']:,} before 1970, {times['at_1970']:,} exactly 1970-01-01, {times['before_1980']:,} later in "
            f"the 1970s, {times['in_the_future']:,} in the future",
        ],
    ]
    span = f"Times: {times['first']} to {times['last']} (UTC), {times['span_days']:,} days"
    return ["", span, *_table(rows), ""]


def _missing(columns: Facts) -> list[str]:
    rows = []
    for purpose, column in columns.items():
        missing = ", ".join(f"{n:,} {text if text == '(empty)' else repr(text)}" for text, n in column["missing"].items())
        parts = [missing or "none missing", *(f"{n:,} {text!r} (doubtful)" for text, n in column["doubtful"].items())]
        if most := column.get("most_frequent"):
            parts.append(f"most frequent {most['id']!r}, {most['rows']:,} rows")
        rows.append([purpose, column["column"], "; ".join(parts)])
    return ["Missing and doubtful values, by column:", *_table(rows), ""]


def _titles(titles: Facts) -> list[str]:
    def examples(key: str) -> list[list[str]]:
        return [["", example[:80]] for example in titles[key]["examples"]]

    length = f"{titles['longest_characters']} characters (mean: {titles['mean_characters']:g})"
    tags, beyond = titles["with_html_tags"]["count"], titles["beyond_ascii"]["count"]
    rows = [
        ["titles", f"{titles['titles']:,}; {titles['empty']:,} items have none"],
        ["longest", f"{length}: {titles['longest'][:200]}"],
        ["shared", f"{titles['items_sharing']:,} items share {titles['shared']:,} titles after cleaning"],
        *(["", f"{row['items']} items: {row['title'][:80]}"] for row in titles["shared_most"]),
        ["HTML", f"{titles['with_html_entities']:,} with entities (decoded), {tags:,} with tags"],
        *examples("with_html_tags"),
        ["encoding", f"{beyond:,} with characters beyond ASCII{', such as' if beyond else ''}"],
        *examples("beyond_ascii"),
        ["", f"{titles['with_wrong_encoding']['count']:,} look as if they were read in a wrong encoding"],
        *examples("with_wrong_encoding"),
    ]
    if tokens := titles.get("tokens"):
        rows += [
            ["tokens", f"{tokens['mean']:g} on average, at most {tokens['longest']}: {tokens['longest_title'][:80]}"],
            [
                "",
                f"the {tokens['titles_in_prompt']} titles of a prompt (history, candidates) have on average "
                f"{tokens['prompt_mean']:,} tokens, at most {tokens['prompt_most']:,}",
            ],
        ]
    elif "tokens" in titles:
        rows.append(["tokens", "not counted: there is no data/llm yet (python -m pipeline.fetch_llm)"])
    return [*_heading("Titles"), *_table(rows)]


def _spreads(facts: Facts) -> list[str]:
    spreads = {"user": facts["histories"], "item": facts["popularity"]}
    usual = {"0": "least", "0.5": "median", "1": "most"}
    names = [usual.get(share, f"{float(share):.0%}") for share in facts["histories"]["quantiles"]]
    rows = [
        [per, *(f"{n:,}" for n in counts["quantiles"].values()), f"{counts['mean']:,.1f}"] for per, counts in spreads.items()
    ]
    lines = _heading("Interactions per user and per item, before the filter")
    lines += _table([["per", *names, "mean"], *rows], last_is_text=False)
    for per, counts in spreads.items():
        bars = {label: n for label, n in counts["histogram"].items() if n}
        lines += ["", f"{per}s by their number of interactions"]
        lines += _table([[label, f"{n:,}", "#" * max(1, round(BAR * n / max(bars.values())))] for label, n in bars.items()])
    if rare := facts["popularity"].get("fewer_than"):
        shares = [
            [f"k = {k}", f"{row['items']:.1%} of the items", f"{row['interactions']:.1%} of the interactions"]
            for k, row in rare.items()
        ]
        top = f"{facts['popularity']['top_percent_share']:.1%} of the interactions"
        lines += ["", "Items with fewer than k interactions:", *_table(shares)]
        lines.append(f"The most popular 1 % of the items have {top}.")
    return lines


def _splits(splits: Facts) -> list[str]:
    rows, errors = [["", "training", "validation", "test", "cold validation", "cold test"]], []
    for name, split in splits["by_strategy"].items():
        if "error" in split:
            errors.append(f"{name}: {split['error']}")
            continue
        counts = [f"{split['examples'][part]:,}" for part in c.SPLITS]
        cold = [f"{split['cold_targets'][part]:,} ({split['cold_share'][part]:.1%})" for part in c.HELD_OUT]
        rows.append([name + (" *" if name == splits["chosen"] else ""), *counts, *cold])
    lines = _heading("Examples under each split, after the filter")
    lines += [*(_table(rows, last_is_text=False) if len(rows) > 1 else []), *_listed(errors)]
    return [*lines, "cold: held-out targets that never occur in training; *: the section's strategy"]


def _costs(costs: Sequence[Facts]) -> list[str]:
    lines = _heading("Time and memory of the stages, with the present params.yaml")
    lines += _paragraph(
        "Per run of a stage, estimated from a few runs on two busy cores without a GPU (the language model: SmolLM2-135M). "
        "Expect anything from lowest to highest; on another machine all times shift together."
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
