"""The sections on where an LLM and its recommender differ: the hits of both, by what is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.intervals import user_interval
from llara_core.evaluation.paired import Difference
from llara_core.evaluation.results import training_counts
from llara_core.report import at_positions, plots
from llara_core.report.changes import beside_recommenders, common_sets, validation_rank
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Figure, Section, Table
from llara_core.report.wording import described, difference, number

MIN_USERS = 10  # of a slice that a sentence speaks of

POPULARITY, HISTORY, TITLE, RANK = (
    "Target's popularity",
    "Length of the history",
    "Words in the target's title",
    "Target's rank",
)
_RECOMMENDER_RANK = f"{c.RANK}_recommender"


@dataclass(frozen=True)
class Slice:
    """A part of the test candidate sets that a system and its recommender both answer, over all seeds.

    Attributes:
        slicing: by what the sets are divided.
        name: of the part.
        n_users: in it.
        n_sets: in it, times seeds.
        difference: of the system's hit ratio@1 to the recommender's; its interval covers users and no training runs.
    """

    slicing: str
    name: str
    n_users: int
    n_sets: int
    difference: Difference


COLUMNS: list[Column[Slice]] = [
    Column("Slice", "", lambda each: each.name, is_prose=True),
    Column("Users", "", lambda each: f"{each.n_users:,}"),
    Column("Sets", "candidate sets (times seeds)", lambda each: f"{each.n_sets:,}"),
    Column("Recommender's HR@1", "hit ratio of its recommender on these sets", lambda each: number(each.difference.reference)),
    Column("HR@1", "of the system on these sets", lambda each: number(each.difference.system)),
    Column("Difference", "with its interval over users", lambda each: difference(each.difference)),
]


def section(found: Comparisons) -> Section | None:
    """Slices of every LLM system that has a recommender in the run; None where none has."""
    examples = paths.prepared(found.dataset) / "examples.parquet"
    return _section(found, "Where they differ", found.headlines, examples, tables.EXAMPLES, [])


def section_at_positions(found: Comparisons) -> Section | None:
    """The same at further positions; None where no LLM system was asked there."""
    rows = [row for row in found.at_positions if row.is_headline]
    if not rows:
        return None
    questions = paths.positions(found.dataset) / "questions.parquet"
    heading = f"Where they differ: {at_positions.heading(found).lower()}"
    return _section(found, heading, rows, questions, tables.POSITIONS, [at_positions.WARNING])


def _section(
    found: Comparisons, heading: str, rows: Sequence[ComparedSystem], examples: Path, schema: pa.Schema, notes: Sequence[str]
) -> Section | None:
    pairs = beside_recommenders(rows)
    if not pairs:
        return None
    names = slice_names(found, tables.read_table(examples, schema))
    by_system = [(row, _divided(slices(row, recommender, names, found))) for row, recommender in pairs]
    best, of_best = max(by_system, key=lambda pair: validation_rank(pair[0]))
    others = [Table(COLUMNS, _grouped(rows), described(row), is_wide=True) for row, rows in by_system if row is not best]
    caption = (
        "Each slice holds the test sets that both the system and its recommender answer and that have the property. "
        "Popularity: by training interactions; head, middle and tail items have a third of all interactions each. Rank: of the "
        "target among the candidates, as the recommender orders them; where it is first, another system can only lose. "
        "Intervals cover users, but no training runs and no choice among slices: they say where to look, and prove nothing."
    )
    return Section(
        heading,
        _verdict(best, of_best),
        notes=notes,
        tables=[Table(COLUMNS, _grouped(of_best), f"{described(best)}. {caption}")],
        parts=[Section("The other systems", tables=others, is_folded=True)] if others else [],
        figures=[
            Figure(
                "Hit ratio@1 of the systems minus that of their recommenders, by slice, with intervals over users.",
                lambda: plots.slices_figure(
                    {
                        slicing: {
                            row.name: [(each.name, each.difference) for each in rows if each.slicing == slicing]
                            for row, rows in by_system
                        }
                        for slicing in (POPULARITY, HISTORY, TITLE, RANK)
                    }
                ),
            )
        ],
    )


def slice_names(found: Comparisons, examples: pd.DataFrame) -> Mapping[str, Callable[[pd.DataFrame], pd.Series]]:
    """By slicing, a function from candidate sets (of :func:`changes.common_sets`) to the name of the slice that each is in.

    Args:
        found: of the data set.
        examples: rows of :data:`tables.EXAMPLES`, which the sets are of.
    """
    examples = examples.set_index(c.EXAMPLE)
    titles = tables.read_table(paths.prepared(found.dataset) / "items.parquet", tables.ITEMS)[c.TITLE]
    popularity = popularity_slices(training_counts(found.dataset))
    longest = found.params.dataset(found.dataset).max_history_len
    bins = {
        HISTORY: [1, longest // 2 + 1, longest],
        TITLE: [1, 3, 5],
        RANK: [1, 2, 4, 11],
    }
    target = examples[c.TARGET]
    return {
        POPULARITY: lambda sets: target.loc[sets[c.EXAMPLE]].map(popularity.__getitem__),
        HISTORY: lambda sets: in_bins(examples.loc[sets[c.EXAMPLE], c.HISTORY].map(len), bins[HISTORY], "item"),
        TITLE: lambda sets: in_bins(titles.loc[target.loc[sets[c.EXAMPLE]]].str.split().str.len(), bins[TITLE], "word"),
        RANK: lambda sets: in_bins(sets[_RECOMMENDER_RANK], bins[RANK], ""),
    }


def popularity_slices(counts: np.ndarray) -> list[str]:
    """The slice of every item: those without training interactions, and thirds of the interactions of the others.

    Args:
        counts: ``(n_items,)`` training interactions.

    >>> popularity_slices(np.array([0, 1, 1, 1, 3, 3]))
    ['no training interaction', 'tail', 'tail', 'tail', 'middle', 'head']
    """
    order = np.argsort(counts, kind="stable")
    before = np.concatenate([[0], np.cumsum(counts[order])[:-1]])  # interactions of all items that are less popular
    third = np.minimum(3 * before // max(counts.sum(), 1), 2)
    names = np.array(["tail", "middle", "head"], dtype=object)[third]
    names[counts[order] == 0] = "no training interaction"
    by_item = np.empty(len(counts), dtype=object)
    by_item[order] = names
    return by_item.tolist()


def in_bins(values: pd.Series, starts: Sequence[int], noun: str) -> pd.Series:
    """The name of the bin that each value is in, such as ``6 to 9 items``.

    Args:
        values: whole numbers, at least ``starts[0]``.
        starts: of the bins, ascending; the last one is open.
        noun: what is counted, in the singular; empty for a plain number.

    >>> in_bins(pd.Series([1, 7, 10]), [1, 6, 10], "item").tolist()
    ['1 to 5 items', '6 to 9 items', '10 or more items']
    """
    unique = sorted(set(starts))
    unit = f" {noun}s" if noun else ""
    names = [
        f"{start}{'' if end == start else f' to {end}'}{unit if end > 1 else unit[:-1] if noun else ''}"
        for start, end in zip(unique, (following - 1 for following in unique[1:]), strict=False)
    ] + [f"{unique[-1]} or more{unit}"]
    return pd.Series(np.array(names, dtype=object)[np.searchsorted(unique, values.to_numpy(), side="right") - 1])


def slices(
    row: ComparedSystem,
    recommender: ComparedSystem,
    names: Mapping[str, Callable[[pd.DataFrame], pd.Series]],
    found: Comparisons,
) -> list[Slice]:
    """A system beside its recommender in every slice that has a candidate set.

    Args:
        row: the system.
        recommender: its recommender.
        names: of :func:`slice_names`.
        found: of the data set.
    """
    sets = common_sets(row, recommender)
    interval = user_interval(found.params.evaluation, found.dataset, c.TEST)
    result = []
    for slicing, name_of in names.items():
        if slicing == RANK and sets[_RECOMMENDER_RANK].isna().any():
            continue
        by_slice = sets.assign(name=name_of(sets).to_numpy()).groupby("name", sort=False)
        for name, part in sorted(by_slice, key=lambda each: _place(str(each[0]))):
            own, other = part[c.HIT].astype(float), part[f"{c.HIT}_recommender"].astype(float)
            low, high = interval(own - other, part[c.USER])
            found_here = Difference(float(own.mean()), float(other.mean()), low, high, None, None)
            result.append(Slice(slicing, str(name), int(part[c.USER].nunique()), len(part), found_here))
    return result


def _place(name: str) -> tuple[int, str]:
    """The order of slices: the rarest or smallest first."""
    words = ["no training interaction", "tail", "middle", "head"]
    return (words.index(name), name) if name in words else (int(name.split()[0]), name)


def _divided(rows: Sequence[Slice]) -> list[Slice]:
    """Without what does not divide the sets: a slicing with one slice repeats the main table."""
    several = {row.slicing for row in rows if sum(other.slicing == row.slicing for other in rows) > 1}
    return [row for row in rows if row.slicing in several]


def _grouped(rows: Sequence[Slice]) -> list[tuple[str, Sequence[Slice]]]:
    return [
        (slicing, [row for row in rows if row.slicing == slicing]) for slicing in dict.fromkeys(row.slicing for row in rows)
    ]


def _verdict(row: ComparedSystem, rows: Sequence[Slice]) -> str:
    """The ends of the differences in the slices that are large enough to be named."""
    named = [each for each in rows if each.n_users >= MIN_USERS]
    if not named:
        return ""
    low, high = min(named, key=lambda each: each.difference.mean), max(named, key=lambda each: each.difference.mean)

    def said(each: Slice) -> str:
        return f"{difference(each.difference)} ({each.slicing.lower()}: {each.name}; {each.n_users:,} users)"

    return (
        f"The difference of {row.name} to {row.system.recommender} in HR@1 lies between {said(low)} and {said(high)} in the "
        f"slices of at least {MIN_USERS} users."
    )
