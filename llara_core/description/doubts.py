"""Lists what to check before trusting a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llara_core import columns as c
from llara_core.config import LogSection

# Shares above which a doubt is listed.
MANY_TIES = 0.1  # interactions that share user and time with another one
ONE_TIME, ONE_USER = 0.05, 0.05  # rows at one time, and of one user
MANY_DROPPED = 0.05  # dropped rows, by reason
MANY_COLD = 0.1  # held-out targets that never occur in training
MANY_RARE = 0.5  # items with fewer than 5 interactions

MIN_ROWS_TO_JUDGE = 1000  # with fewer rows, any single value has a large share
FEW_QUESTIONS = 400  # with this many, a share of one half has a standard error of .025
LONG_TITLE = 100  # characters


def list_doubts(facts: Mapping[str, Any], config: LogSection, n_candidates: int) -> list[str]:
    """Returns a sentence for each doubt, those about reading first."""
    return [
        *(_about_times(facts) if config.has_times else ()),
        *_about_rows(facts, config),
        *_about_values(facts),
        *about_titles(facts["titles"]),
        *_about_splits(facts, n_candidates),
    ]


def _about_times(facts: Mapping[str, Any]) -> Iterator[str]:
    times, n, n_users = facts["times"], facts["sizes"]["interactions"], facts["sizes"]["users"]
    if (time_format := facts.get("time_format")) is not None:
        guess, given, examples = time_format["looks_like"], time_format["section"], ", ".join(time_format["values"])
        if guess is None:
            yield f"the times (such as {examples}) are in no known format"
        elif given not in (guess["value"], *guess["alternatives"]):
            yield (
                f"time_format is {given}, but the times (such as {examples}) look like {guess['value']} "
                f"({guess['confidence']}): {guess['why']}"
            )
        elif guess["alternatives"]:
            others = ", ".join(sorted({guess["value"], *guess["alternatives"]} - {given}))
            yield f"time_format {given} fits, but {others} fits the first {time_format['sampled']:,} values, too"
    if times["before_1980"] + times["at_1970"] > n / 2:
        yield f"the times run from {times['first']} to {times['last']}: do they count positions, or is their unit wrong?"
        times = {**times, "before_1980": 0, "at_1970": 0}
    for key, what in (
        ("before_1970", "are before 1970"),
        ("at_1970", "are exactly the beginning of 1970, which often means a missing time"),
        ("before_1980", "are in the 1970s: is their unit wrong, or do they mean a missing time?"),
        ("in_the_future", "are in the future"),
    ):
        if times[key]:
            yield f"{times[key]:,} of {n:,} times {what}"
    if times["tied_share"] > MANY_TIES:
        coarse = "" if times["resolution"] == "fractions of a second" else f" (all times are whole {times['resolution']})"
        share = f"{times['tied_share']:.0%}"
        yield f"{share} of the interactions share user and time with another one{coarse}: these stay in the order of the file"
    if times["users_all_tied"] > MANY_TIES * n_users:
        yield f"{times['users_all_tied']:,} of {n_users:,} users have all interactions at one time: was this a bulk import?"
    if n >= MIN_ROWS_TO_JUDGE and times["most_common_share"] > ONE_TIME:
        yield f"{times['most_common_share']:.0%} of all interactions are at {times['most_common']}: is this a default value?"


def _about_rows(facts: Mapping[str, Any], config: LogSection) -> Iterator[str]:
    if not config.is_ordered_by_time:
        yield "sequences follow the order of the file, not time: if that order means nothing, there is no sequence to learn"
    dropped, n_read = facts["sizes"]["dropped"], facts["sizes"]["left_after"]["raw"]["interactions"]
    for reason, n in dropped.items():
        if n > MANY_DROPPED * n_read:
            yield f"many rows are dropped: {n:,} as {reason}, while {n_read:,} interactions were read"
    repeats = facts["repeats"]
    if repeats["interactions_of_a_known_pair"] and config.kept_repeat is None:
        repeated = f"{repeats['interactions_of_a_known_pair']:,} interactions ({repeats['share']:.1%})"
        yield (
            f"{repeated} repeat a pair of user and item, so a target may occur in its own history, where no negative does, "
            "which gives it away (`repeats: first` or `last` keeps one)"
        )
    if repeats["exact_duplicates"]:
        yield f"{repeats['exact_duplicates']:,} interactions equal an earlier one in all columns that are read"


def _about_values(facts: Mapping[str, Any]) -> Iterator[str]:
    if (ratings := facts.get("ratings")) is not None:
        if ratings["scale"] is None:
            yield f"the ratings, {ratings['lowest']:g} to {ratings['highest']:g}, are on no usual scale"
        if ratings["outside"]:
            low, high = ratings["scale"]
            yield f"{ratings['outside']:,} ratings are outside the scale of {low:g} to {high:g} that nearly all are on"
        if ratings.get("zeros"):
            yield f"{ratings['zeros']:,} ratings are 0, while all others are at least 1: does 0 mean no rating?"
    for purpose, column in facts.get("columns", {}).items():
        if column["doubtful"]:
            texts = ", ".join(f"{text!r} ({n:,} rows)" for text, n in list(column["doubtful"].items())[:5])
            yield f"{purpose} (column {column['column']!r}) holds {texts}: if this means a missing value, add it to `missing`"
        most = column.get("most_frequent")
        if purpose == "user" and most and column["rows"] >= MIN_ROWS_TO_JUDGE and most["rows"] > ONE_USER * column["rows"]:
            yield f"user {most['id']!r} has {most['rows'] / column['rows']:.0%} of all rows: is it a placeholder, or a robot?"


def about_titles(titles: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each doubt about the titles."""
    if titles["empty"]:
        yield f"{titles['empty']:,} items have no title; they are dropped with their interactions"
    if titles["shared"]:
        first = titles["shared_most"][0]
        yield (
            f"{titles['items_sharing']:,} items share {titles['shared']:,} titles after cleaning, such as {first['title']!r} "
            f"({first['items']} items): are these duplicates, or different items? Prompts distinguish them by year or id"
        )
    for key, what in (
        ("with_html_tags", "contain HTML tags (`strip_html` removes them)"),
        ("with_wrong_encoding", "look as if they were read in a wrong encoding"),
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
                yield f"{share} of the {part} targets never occur in training, so no recommender knows them"
        n_test = chosen["examples"][c.TEST]
        if n_test < FEW_QUESTIONS:
            error = 0.5 / n_test**0.5
            sizes = {name: each["examples"][c.TEST] for name, each in splits["by_strategy"].items() if "error" not in each}
            most = max(sizes, key=lambda name: sizes[name])
            larger = f"; with the split {most} it has {sizes[most]:,}" if sizes[most] > n_test else ""
            yield (
                f"the test has {n_test:,} example{'s' * (n_test > 1)}: HR@1 near one half has a standard error of {error:.3f}"
                f"{larger}"
            )
    rare = facts["popularity"]["fewer_than"]["5"]
    if rare["items_share"] > MANY_RARE:
        yield (
            f"{rare['items_share']:.0%} of the items have fewer than 5 interactions ({rare['interactions_share']:.0%} of all): "
            "consider min_item_interactions"
        )
    if 0 < splits["items"] < 2 * n_candidates:
        yield (
            f"{splits['items']} items are few for candidate sets of {n_candidates}, whose negatives must be new to the user: "
            "lower candidates.n_candidates"
        )
