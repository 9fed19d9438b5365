"""Where behaviour decides and where world knowledge does: found among all test sets, not picked (the paper's Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.config import Params
from llara_core.evaluation import metrics
from llara_core.evaluation.comparison import SystemResult
from llara_core.evaluation.results import Ground
from llara_core.report.ablations import find

# Which of (recommender, text, hybrid) are right, and what that is called.
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
_KEYS = [c.EXAMPLE, c.DRAW]
_ANSWER_LENGTH = 80


@dataclass(frozen=True)
class Count:
    """How often one combination of right and wrong answers occurs.

    Attributes:
        right: of recommender, text and hybrid.
        n_sets: candidate sets.
        n_users: users (examples) with at least one such set; one with several sets may count for several combinations.
        expected_sets: candidate sets to expect if the three were right independently of each other, each as often as it is.
    """

    right: Right
    n_sets: int
    n_users: int
    expected_sets: float


@dataclass(frozen=True)
class Case:
    """One candidate set in words.

    Attributes:
        right: of recommender, text and hybrid.
        example: id.
        user: id.
        draw: of the user's candidate sets.
        history: labels, oldest first.
        target: label.
        answers: of recommender, text and hybrid: a label, or what was written instead.
    """

    right: Right
    example: int
    user: int
    draw: int
    history: list[str]
    target: str
    answers: tuple[str, str, str]


@dataclass(frozen=True)
class CaseStudy:
    """Three systems' answers set against each other.

    Attributes:
        names: of recommender, text and hybrid, with their modes.
        n_sets: candidate sets that all three answer.
        counts: one per combination, in the order of :data:`KINDS`.
        cases: the first of each of the two kinds that the paper shows.
    """

    names: tuple[str, str, str]
    n_sets: int
    counts: list[Count]
    cases: list[Case]

    def shown(self, right: Right) -> list[Case]:
        """The cases of one kind."""
        return [case for case in self.cases if case.right == right]


def case_studies(ground: Ground, results: Sequence[SystemResult], params: Params) -> list[CaseStudy]:
    """The studies of ``report.case_studies`` whose systems are all on the axes, one per recommender under the hybrid.

    With several seeds, the first answers. Of each kind the users with the lowest example ids are shown, each with the first
    such candidate set, whatever they look like.

    Args:
        ground: of one dataset.
        results: its headline rows.
        params: of the run.

    Source:
        Paper, section 5.5 and Figure 5, with one selected user of each kind.
    """
    studies = []
    for config in params.report.case_studies:
        for recommender in params.run.llm_recommenders:
            plain = next((row for row in results if row.name == recommender), None)
            three = (plain, find(results, config.text, recommender), find(results, config.hybrid, recommender))
            rows = [row for row in three if row is not None]
            if len(rows) == len(three):
                studies.append(_study(ground, rows, params.report.n_cases))
    return studies


def _study(ground: Ground, rows: Sequence[SystemResult], n_cases: int) -> CaseStudy:
    tables = [row.answers.seeds[0].split(c.TEST).set_index(_KEYS) for row in rows]
    common = tables[0].index.intersection(tables[1].index).intersection(tables[2].index).sort_values()
    answers = [table.loc[common] for table in tables]
    hits = np.stack([table[metrics.HIT].to_numpy(bool) for table in answers], axis=1)  # [n_sets, 3]
    counts, cases = [], []
    for right in KINDS:
        sets = np.flatnonzero((hits == right).all(axis=1))
        # The first set of each user, since the sets are in the order of examples and draws.
        first = np.unique(common[sets].get_level_values(c.EXAMPLE), return_index=True)[1]
        share = np.where(right, hits.mean(axis=0), 1 - hits.mean(axis=0)).prod()
        counts.append(Count(right, len(sets), len(first), float(share * len(hits))))
        if right in (BEHAVIOR_DECIDES, WORLD_KNOWLEDGE_DECIDES):
            shown = [common[row] for row in sets[first[:n_cases]]]
            cases += [_case(ground, right, key, [table.loc[key] for table in answers]) for key in shown]
    names = [f"{row.name} ({row.mode})" for row in rows]
    return CaseStudy((names[0], names[1], names[2]), len(hits), counts, cases)


def _case(ground: Ground, right: Right, key: tuple[int, int], answers: Sequence[pd.Series]) -> Case:
    example, draw = key
    question = ground.examples[ground.examples[c.EXAMPLE] == example].iloc[0]
    said = [_said(answer, ground.labels) for answer in answers]
    history = [ground.labels[item] for item in question[c.HISTORY]]
    target = ground.labels[question[c.TARGET]]
    return Case(right, int(example), int(question[c.USER]), draw, history, target, (said[0], said[1], said[2]))


def _said(answer: pd.Series, labels: Sequence[str]) -> str:
    if answer[c.VALID]:
        return labels[int(answer[c.PREDICTED])]
    text = " ".join(str(answer[c.TEXT]).split())
    return f"no valid answer: “{text[:_ANSWER_LENGTH]}{'…' if len(text) > _ANSWER_LENGTH else ''}”"
