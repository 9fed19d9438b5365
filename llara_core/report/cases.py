"""Report section on sets where behaviour decides the answer and where world knowledge does (the paper's Figure 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.answers.held_out import HeldOut, read_held_out
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, ReportSection, Table

# Whether recommender, text and hybrid are right.
Right = tuple[bool, bool, bool]
BEHAVIOR_DECIDES: Right = (True, False, True)
WORLD_KNOWLEDGE_DECIDES: Right = (False, True, True)
KINDS: dict[Right, str] = {
    BEHAVIOR_DECIDES: "behaviour decides",
    WORLD_KNOWLEDGE_DECIDES: "world knowledge decides",
    (True, True, True): "all are right",
    (True, True, False): "only the hybrid is wrong",
    (True, False, False): "only the recommender is right",
    (False, True, False): "only the text is right",
    (False, False, True): "only the hybrid is right",
    (False, False, False): "all are wrong",
}
_ANSWER_LENGTH = 80


@dataclass(frozen=True)
class Count:
    """Frequency of one combination of right and wrong answers."""

    right: Right  # whether recommender, text and hybrid are right
    n_sets: int  # candidate sets with this combination
    n_users: int  # users (examples) with at least one such set; a user with several sets may count in several combinations
    expected_sets: float  # sets expected if the three were right independently, each with its own hit ratio


@dataclass(frozen=True)
class Case:
    """One candidate set, shown with labels."""

    right: Right  # whether recommender, text and hybrid are right
    example: int  # id of the example
    user: int  # id of the user
    draw: int  # number of the candidate set among the user's sets
    history: list[str]  # labels of the history, oldest first
    target: str  # label of the target
    answers: Sequence[str]  # answers of recommender, text and hybrid: a label, or the invalid text


@dataclass(frozen=True)
class CaseStudy:
    """Comparison of the answers of three systems."""

    names: Sequence[str]  # names of recommender, text and hybrid, with their modes
    n_sets: int  # candidate sets that all three answer
    counts: list[Count]  # one count per combination, in the order of :data:`KINDS`
    cases: dict[Right, list[Case]]  # first cases of each of the two combinations that the paper shows


def section(comparisons: Comparisons) -> ReportSection | None:
    """Shows the case studies; None where no study has all its systems in this run."""
    studies = case_studies(comparisons)
    if not studies:
        return None
    explained = (
        "Behaviour decides where recommender and hybrid are right and text is wrong; world knowledge decides where text and "
        "hybrid are right and the recommender is wrong. Both are counted over all test sets. The users with the lowest "
        "example ids are shown, each with the first such set."
    )
    return ReportSection(
        "Cases", notes=[explained], parts=[_part(study, comparisons.params.report.n_cases) for study in studies]
    )


def case_studies(comparisons: Comparisons) -> list[CaseStudy]:
    """Returns the studies of ``report.case_studies`` whose systems, including the hybrid's recommender, are all in the run.

    With several seeds, the first one is used. For each combination, the users with the lowest example ids are shown, each with
    the first such candidate set.

    Source:
        Paper, section 5.5 and Figure 5, with one selected user of each kind.
    """
    llms = {row.system.key: row for row in comparisons.primary_rows if row.system.kind in ("tuned", "untuned")}
    recommenders = {row.name: row for row in comparisons.primary_rows if row.system.kind == "recommender"}
    studies = []
    for config in comparisons.params.report.case_studies:
        recommender = recommenders.get(str(comparisons.params.system(config.hybrid).recommender))
        rows = [row for row in (recommender, llms.get(config.text), llms.get(config.hybrid)) if row is not None]
        if len(rows) == 3:
            studies.append(_study(read_held_out(comparisons.dataset), rows, comparisons.params.report.n_cases))
    return studies


def _study(held_out: HeldOut, rows: Sequence[ComparedSystem], n_cases: int) -> CaseStudy:
    tables = [row.results.runs[0].split(c.TEST).set_index(c.SET_KEYS) for row in rows]
    common = tables[0].index.intersection(tables[1].index).intersection(tables[2].index).sort_values()
    answers = [table.loc[common] for table in tables]
    hits = np.stack([table[c.HIT].to_numpy(bool) for table in answers], axis=1)  # (n_sets, 3)
    counts, cases = [], dict[Right, list[Case]]()
    for right in KINDS:
        sets = np.flatnonzero((hits == right).all(axis=1))
        # Sets are ordered by example and draw, so this is the first set of each user.
        first = np.unique(common[sets].get_level_values(c.EXAMPLE), return_index=True)[1]
        share = np.where(right, hits.mean(axis=0), 1 - hits.mean(axis=0)).prod()
        counts.append(Count(right, len(sets), len(first), float(share * len(hits))))
        if right in (BEHAVIOR_DECIDES, WORLD_KNOWLEDGE_DECIDES):
            shown = [common[row] for row in sets[first[:n_cases]]]
            cases[right] = [_case(held_out, right, key, [table.loc[key] for table in answers]) for key in shown]
    return CaseStudy([f"{row.name} ({row.mode})" for row in rows], len(hits), counts, cases)


def _case(held_out: HeldOut, right: Right, key: tuple[int, int], answers: Sequence[pd.Series]) -> Case:
    example, draw = key
    question = held_out.examples[held_out.examples[c.EXAMPLE] == example].iloc[0]
    labels = held_out.labels
    history, texts = [labels[item] for item in question[c.HISTORY]], [_answer_text(answer, labels) for answer in answers]
    return Case(right, int(example), int(question[c.USER]), draw, history, labels[question[c.TARGET]], texts)


def _part(study: CaseStudy, n_cases: int) -> ReportSection:
    behavior, knowledge, *_ = study.counts
    verdict = (
        f"On the {study.n_sets} candidate sets that all three answer (first seed), behaviour decides on {behavior.n_sets} "
        f"({behavior.expected_sets:.1f} if the three were right independently of each other) and world knowledge on "
        f"{knowledge.n_sets} ({knowledge.expected_sets:.1f})."
    )
    caption = (
        "Expected: sets if the three were right independently of each other. Targets differ in difficulty, so a deviating "
        "count proves nothing. Users: users with at least one such set; a user with several sets may count in several rows."
    )
    tables: list[Table[Any]] = [Table(COUNT_COLUMNS, [("", study.counts)], caption)]
    points = []
    for right, cases in study.cases.items():
        kind = KINDS[right].capitalize()
        if cases:
            caption = f"{kind}: the first users by example id. ✓ marks answers that are the target."
            tables.append(Table(_case_columns(study.names), [("", cases)], caption))
        else:
            points.append(f"{kind}: {'no such set' if n_cases else 'none is shown (report.n_cases is 0)'}.")
    return ReportSection(", ".join(study.names), verdict, tables=tables, points=points)


def _right(place: int) -> Callable[[Count], str]:
    return lambda count: "right" if count.right[place] else "wrong"


COUNT_COLUMNS: list[Column[Count]] = [
    Column("Kind", "", lambda count: KINDS[count.right], is_prose=True),
    *(Column(name, "", _right(place), is_prose=True) for place, name in enumerate(("Recommender", "Text", "Hybrid"))),
    Column("Sets", "", lambda count: str(count.n_sets)),
    Column("Expected", "", lambda count: f"{count.expected_sets:.1f}"),
    Column("Users", "", lambda count: str(count.n_users)),
]


def _case_columns(names: Sequence[str]) -> list[Column[Case]]:
    def answer(place: int) -> Callable[[Case], str]:
        return lambda case: f"{'✓ ' if case.right[place] else ''}{case.answers[place]}"

    return [
        Column("User (example), set", "", lambda case: f"{case.user} ({case.example}), {case.draw}", is_prose=True),
        Column("History, oldest first", "", lambda case: "; ".join(case.history), is_prose=True),
        Column("Target", "", lambda case: case.target, is_prose=True),
        *(Column(name, "", answer(place), is_prose=True) for place, name in enumerate(names)),
    ]


def _answer_text(answer: pd.Series, labels: Sequence[str]) -> str:
    if answer[c.VALID]:
        return labels[int(answer[c.PREDICTED])]
    text = " ".join(str(answer[c.TEXT]).split())
    return f"no valid answer: “{text[:_ANSWER_LENGTH]}{'…' if len(text) > _ANSWER_LENGTH else ''}”"
