"""Report sections that compare LLM systems with their recommenders on slices of the test sets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.held_out import Scope
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.means import user_interval
from llara_core.evaluation.paired import Difference
from llara_core.report import at_positions, plots
from llara_core.report.changes import common_sets, with_recommenders
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Figure, ReportSection, Table
from llara_core.report.system_columns import number_column
from llara_core.report.wording import described, difference

MIN_USERS = 10  # users that a slice needs to be named in the verdict

POPULARITY, HISTORY, TITLE, RANK = (
    "Target's popularity",
    "Length of the history",
    "Words in the target's title",
    "Target's rank",
)
_RECOMMENDER_RANK = f"{c.RANK}_recommender"
_POPULARITIES = ["no training interaction", "tail", "middle", "head"]


@dataclass(frozen=True)
class Slice:
    """A subset of the test candidate sets that a system and its recommender both answer, over all seeds."""

    slicing: str  # property by which the sets are divided
    name: str  # value of the property
    n_users: int  # users with a set in the slice
    n_sets: int  # sets in the slice, times seeds
    difference: Difference  # the system's hit ratio@1 minus the recommender's; the interval covers users but not training runs


COLUMNS: list[Column[Slice]] = [
    Column("Slice", "", lambda each: each.name, is_prose=True),
    Column("Users", "", lambda each: f"{each.n_users:,}"),
    Column("Sets", "candidate sets (times seeds)", lambda each: f"{each.n_sets:,}"),
    number_column("Recommender's HR@1", "hit ratio of its recommender on these sets", "difference.reference_hit_ratio"),
    number_column("HR@1", "hit ratio of the system on these sets", "difference.hit_ratio"),
    Column("Difference", "difference with its interval over users", lambda each: difference(each.difference)),
]


def section(comparisons: Comparisons, scope: Scope = "last") -> ReportSection | None:
    """Covers every LLM system that has a recommender in the run; None where none has, or none answers these questions."""
    pairs = with_recommenders(comparisons.primary_rows if scope == "last" else comparisons.primary_rows_at_positions)
    if not pairs:
        return None
    examples = {
        "last": (paths.examples(comparisons.dataset), tables.EXAMPLES),
        "positions": (paths.positions(comparisons.dataset) / paths.QUESTIONS, tables.POSITIONS),
    }
    names = slice_names(comparisons, tables.read_table(*examples[scope]))
    by_system = [(row, _grouped(slices(row, recommender, names, comparisons))) for row, recommender in pairs]
    best, of_best = max(by_system, key=lambda pair: pair[0].selection_value)
    others = [
        Table(COLUMNS, list(groups.items()), described(row), is_wide=True) for row, groups in by_system if row is not best
    ]
    panels = {
        slicing: {row.name: [(each.name, each.difference) for each in groups.get(slicing, [])] for row, groups in by_system}
        for slicing in (POPULARITY, HISTORY, TITLE, RANK)
    }
    differences = "Hit ratio@1 of the systems minus that of their recommenders, by slice, with intervals over users."
    caption = (
        "Each slice holds the test sets with the property that both the system and its recommender answer. Popularity: by "
        "training interactions; head, middle and tail items each receive a third of them. Rank: of the target among the "
        "candidates in the recommender's ranking; where it is first, another system can only lose. Intervals cover users but "
        "neither training runs nor the choice among slices: they suggest where to look and prove nothing."
    )
    heading, notes = at_positions.heading_and_notes("Where they differ", comparisons, scope)
    return ReportSection(
        heading,
        _verdict(best, list(itertools.chain(*of_best.values()))),
        notes=notes,
        tables=[Table(COLUMNS, list(of_best.items()), f"{described(best)}. {caption}")],
        parts=[ReportSection("The other systems", tables=others, is_folded=True)] if others else [],
        figures=[Figure(differences, lambda: plots.slices_figure(panels))],
    )


def slice_names(comparisons: Comparisons, examples: pd.DataFrame) -> pd.DataFrame:
    """Names the slices of ``examples``: an ordered categorical column per slicing, indexed by example id."""
    titles = tables.read_table(paths.items(comparisons.dataset), tables.ITEMS)[c.TITLE]
    popularity = np.array(popularity_slices(comparisons.training_counts))
    longest = comparisons.params.dataset(comparisons.dataset).max_history_len
    examples = examples.set_index(c.EXAMPLE)
    target = examples[c.TARGET]
    n_words = target.map(titles).map(lambda title: len(title.split()))
    return pd.DataFrame(
        {
            POPULARITY: pd.Categorical(popularity[target], _POPULARITIES, ordered=True),
            HISTORY: in_bins(examples[c.HISTORY].map(len), [1, longest // 2 + 1, longest], "item"),
            TITLE: in_bins(n_words, [1, 3, 5], "word"),
        },
        examples.index,
    )


def popularity_slices(counts: np.ndarray) -> list[str]:
    """Assigns each item to a slice: no training interaction, or the tail, middle or head third of the interactions.

    Args:
        counts: ``(n_items,)`` training interactions of each item.

    >>> popularity_slices(np.array([0, 1, 1, 1, 3, 3]))
    ['no training interaction', 'tail', 'tail', 'tail', 'middle', 'head']
    """
    order = np.argsort(counts, kind="stable")
    before = np.concatenate([[0], np.cumsum(counts[order])[:-1]])  # interactions of all items that are less popular
    third = np.minimum(3 * before // max(counts.sum(), 1), 2)
    place = np.empty(len(counts), dtype=int)
    place[order] = np.where(counts[order] == 0, 0, 1 + third)
    return [_POPULARITIES[each] for each in place]


def in_bins(values: pd.Series, starts: Sequence[int], noun: str) -> pd.Series:
    """Returns the name of the bin of each value, such as ``6 to 9 items``, as an ordered categorical.

    Args:
        values: whole numbers, at least ``starts[0]``.
        starts: first values of the bins, ascending; the last bin is open.
        noun: unit in the singular; empty for a plain number.

    >>> in_bins(pd.Series([1, 7, 10]), [1, 6, 10], "item").tolist()
    ['1 to 5 items', '6 to 9 items', '10 or more items']
    """
    unique = sorted(set(starts))
    unit = f" {noun}s" if noun else ""
    names = [
        f"{start}{'' if end == start else f' to {end}'}{unit if end > 1 else unit[:-1] if noun else ''}"
        for start, end in zip(unique, (following - 1 for following in unique[1:]), strict=False)
    ] + [f"{unique[-1]} or more{unit}"]
    return pd.cut(values, [*unique, np.inf], right=False, labels=names)


def slices(row: ComparedSystem, recommender: ComparedSystem, names: pd.DataFrame, comparisons: Comparisons) -> list[Slice]:
    """Compares a system with its recommender on every slice that has a candidate set.

    Args:
        names: result of :func:`slice_names`.
    """
    sets = common_sets(row, recommender).join(names, on=c.EXAMPLE)
    if sets[_RECOMMENDER_RANK].notna().all():
        sets[RANK] = in_bins(sets[_RECOMMENDER_RANK], [1, 2, 4, 11], "")
    interval = user_interval(comparisons.config, comparisons.dataset, c.TEST)
    result = []
    for slicing in (POPULARITY, HISTORY, TITLE, RANK):
        for name, part in sets.groupby(slicing, observed=True) if slicing in sets else ():
            own, other = part[c.HIT].astype(float), part[f"{c.HIT}_recommender"].astype(float)
            low, high = interval(own - other, part[c.USER])
            measured = Difference(float(own.mean()), float(other.mean()), low, high, None, None)
            result.append(Slice(slicing, str(name), int(part[c.USER].nunique()), len(part), measured))
    return result


def _grouped(rows: Sequence[Slice]) -> dict[str, Sequence[Slice]]:
    """Groups slices by slicing, without those slicings that have a single slice, which would repeat the main table."""
    groups: dict[str, list[Slice]] = {}
    for row in rows:
        groups.setdefault(row.slicing, []).append(row)
    return {slicing: group for slicing, group in groups.items() if len(group) > 1}


def _verdict(row: ComparedSystem, rows: Sequence[Slice]) -> str:
    """States the range of the differences over slices that are large enough to be named."""
    named = [each for each in rows if each.n_users >= MIN_USERS]
    if not named:
        return ""
    low, high = min(named, key=lambda each: each.difference.mean), max(named, key=lambda each: each.difference.mean)

    def described_slice(each: Slice) -> str:
        return f"{difference(each.difference)} ({each.slicing.lower()}: {each.name}; {each.n_users:,} users)"

    return (
        f"The difference of {row.name} to {row.system.recommender} in HR@1 ranges from {described_slice(low)} to "
        f"{described_slice(high)} over slices of at least {MIN_USERS} users."
    )
