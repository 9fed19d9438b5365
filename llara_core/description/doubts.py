"""Names what a reader of the facts should look at before trusting the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llara_core import columns as c
from llara_core.config import LogSection

MANY_TIES = 0.1  # of the interactions
ONE_MOMENT, ONE_USER = 0.05, 0.05  # of the rows
MIN_ROWS_TO_JUDGE = 1000  # in a small log single values have large shares anyway
MANY_DROPPED = 0.05
MANY_COLD = 0.1
FEW_QUESTIONS = 400  # a share of one half has a standard error of .025 there
LONG_TITLE = 100
MANY_RARE = 0.5


FILE_ORDER = "a user's sequence follows the order of the file, not time: if that is no order, nothing here is sequential"


def doubts(facts: Mapping[str, Any], config: LogSection, n_candidates: int) -> list[str]:
    """Returns one sentence per doubt, the ones about reading first."""
    return [
        *(_about_times(facts) if config.has_times else ()),
        *(() if config.is_ordered_by_time else (FILE_ORDER,)),
        *_about_rows(facts, config),
        *_about_values(facts),
        *about_titles(facts["titles"]),
        *_about_splits(facts, n_candidates),
    ]


def _about_times(facts: Mapping[str, Any]) -> Iterator[str]:
    times, n = facts["times"], facts["sizes"]["interactions"]
    if (of_format := facts.get("time_format")) is not None:
        found = of_format["looks_like"]
        if found is None:
            yield f"the times (such as {', '.join(of_format['values'])}) look like no format that is known here"
        elif found["time_format"] != of_format["section"] and of_format["section"] not in found["others"]:
            yield (
                f"time_format is {of_format['section']}, but the times (such as {', '.join(of_format['values'])}) look like "
                f"{found['time_format']} ({found['confidence']}): {found['why']}"
            )
        elif found["others"]:
            others = ", ".join(sorted({found["time_format"], *found["others"]} - {of_format["section"]}))
            yield f"time_format {of_format['section']} fits, but {others} fits the first {of_format['sampled']:,} values, too"
    if times["before_1980"] + times["at_1970"] > n / 2:
        yield f"the times, {times['first']} to {times['last']}, are no dates of a log: positions, or another unit?"
        times = {**times, "before_1980": 0, "at_1970": 0}
    for key, what in (
        ("before_1970", "are before 1970"),
        ("at_1970", "are exactly the beginning of 1970, as a missing time often is"),
        ("before_1980", "are of the 1970s, which another unit or a missing mark may explain"),
        ("in_the_future", "are in the future"),
    ):
        if times[key]:
            yield f"{times[key]:,} of {n:,} times {what}"
    if times["tied_share"] > MANY_TIES:
        coarse = "" if times["resolution"] == "fractions of a second" else f" (all times are whole {times['resolution']})"
        share = f"{times['tied_share']:.0%}"
        yield f"{share} of the interactions share user and time with another one{coarse}: among these the file's order counts"
    if times["users_all_tied"] > MANY_TIES * facts["sizes"]["users"]:
        yield f"{times['users_all_tied']:,} of {facts['sizes']['users']:,} users did everything at one time: a bulk import?"
    if n >= MIN_ROWS_TO_JUDGE and times["most_common_share"] > ONE_MOMENT:
        yield f"{times['most_common_share']:.0%} of all interactions are of {times['most_common']}: a default value?"


def _about_rows(facts: Mapping[str, Any], config: LogSection) -> Iterator[str]:
    dropped, n_raw = facts["sizes"]["dropped"], facts["sizes"]["left_after"]["raw"]["interactions"]
    for reason, n in dropped.items():
        if n > MANY_DROPPED * n_raw:
            yield f"the reader drops many rows: {reason} {n:,}, beside {n_raw:,} interactions"
    repeats = facts["repeats"]
    if repeats["interactions_of_a_known_pair"] and config.kept_repeat is None:
        repeated = f"{repeats['interactions_of_a_known_pair']:,} interactions ({repeats['share']:.1%})"
        yield (
            f"{repeated} repeat a pair of user and item: they put targets into their own histories, where no negative is "
            "(repeats: first or last keeps one)"
        )
    if repeats["exact_duplicates"]:
        yield f"{repeats['exact_duplicates']:,} interactions equal an earlier one in everything that is read"


def _about_values(facts: Mapping[str, Any]) -> Iterator[str]:
    if (ratings := facts.get("ratings")) is not None:
        if ratings["scale"] is None:
            yield f"the ratings, {ratings['lowest']:g} to {ratings['highest']:g}, are on no usual scale"
        if ratings["outside"]:
            low, high = ratings["scale"]
            yield f"{ratings['outside']:,} ratings are outside the scale of {low:g} to {high:g} that nearly all are on"
        if ratings.get("zeros"):
            yield f"{ratings['zeros']:,} ratings are 0 on a scale that else begins at 1 or more: no rating?"
    for purpose, column in facts.get("columns", {}).items():
        if column["doubtful"]:
            texts = ", ".join(f"{text!r} ({n:,} rows)" for text, n in list(column["doubtful"].items())[:5])
            yield f"{purpose} (column {column['column']!r}) holds {texts}: if that stands for no value, name it in `missing`"
        most = column.get("most_frequent")
        if purpose == "user" and most and column["rows"] >= MIN_ROWS_TO_JUDGE and most["rows"] > ONE_USER * column["rows"]:
            yield f"user {most['id']!r} has {most['rows'] / column['rows']:.0%} of all rows: a placeholder, or a robot?"


def about_titles(titles: Mapping[str, Any]) -> Iterator[str]:
    if titles["empty"]:
        yield f"{titles['empty']:,} items have no title; they are dropped with their interactions"
    if titles["shared"]:
        first = titles["shared_most"][0]
        yield (
            f"{titles['items_sharing']:,} items share {titles['shared']:,} titles once cleaned, such as {first['title']!r} "
            f"({first['items']} items): twice the same, or several things? Prompts tell them apart by year or id"
        )
    for key, what in (
        ("with_html_tags", "hold HTML tags, which stay in the prompts"),
        ("with_wrong_encoding", "look as if read in a wrong encoding"),
    ):
        if titles[key]["count"]:
            yield f"{titles[key]['count']:,} titles {what}, such as {titles[key]['examples'][0][:60]!r}"
    if titles["longest_characters"] > LONG_TITLE:
        yield f"the longest title has {titles['longest_characters']} characters: {titles['longest'][:60]!r} ..."


def _about_splits(facts: Mapping[str, Any], n_candidates: int) -> Iterator[str]:
    splits = facts["splits"]
    chosen = splits["by_strategy"][splits["chosen"]]
    if "error" in chosen:
        yield f"split {splits['chosen']}: {chosen['error']}"
    else:
        for part in c.HELD_OUT:
            if chosen["cold_share"][part] > MANY_COLD:
                share = f"{chosen['cold_share'][part]:.0%}"
                yield f"{share} of the {part} targets never occur in training: no recommender knows them"
        n_test = chosen["examples"][c.TEST]
        if n_test < FEW_QUESTIONS:
            error = 0.5 / n_test**0.5
            yield f"the test has {n_test:,} example{'s' * (n_test > 1)}: HR@1 near one half has a standard error of {error:.3f}"
    rare = facts["popularity"]["fewer_than"]["5"]
    if rare["items"] > MANY_RARE:
        yield (
            f"{rare['items']:.0%} of the items have fewer than 5 interactions (with {rare['interactions']:.0%} of all): "
            "consider min_item_interactions"
        )
    if 0 < splits["items"] < 2 * n_candidates:
        yield (
            f"{splits['items']} items are few for candidate sets of {n_candidates}, whose negatives are new to the user: "
            "lower candidates.n_candidates"
        )
