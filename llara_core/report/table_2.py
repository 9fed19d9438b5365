"""Report section with the paper's Table 2 beside the systems of this run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.ranking import expected_hit_ratio
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report import paper, system_columns
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, ReportSection, Table
from llara_core.report.paper import PaperResult
from llara_core.report.wording import described, hit_ratio, joined, number

MIN_BUDGET_SHARE = 0.1  # share of the paper's prompts; systems tuned on less are not shown beside the paper's


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's Table 2 and a system of ours that reproduces it."""

    paper: PaperResult  # the paper's row
    ours: ComparedSystem | None = None  # our system; None if no system reproduces the row on a similar budget
    reason: str = "not run"  # why no system of ours is shown
    expected_hit_ratio: float | None = None  # hit ratio@1 of a recommender expected with negatives drawn as in the paper's code


def paper_rows(comparisons: Comparisons) -> list[PaperRow]:
    """Pairs every row of the paper's Table 2 with each system of ours that reproduces it; empty if no system does."""
    rows: list[PaperRow] = []
    reproduced = False
    names = [(row, paper.name_in_table_2(row, comparisons.params)) for row in comparisons.primary_rows]
    for result in paper.table_2(comparisons.params, comparisons.dataset):
        systems = [row for row, name in names if name == result.system]
        reproduced |= bool(systems)
        rows += [_paper_row(result, ours, comparisons) for ours in systems] or [PaperRow(result)]
    return rows if reproduced else []


def _paper_row(result: PaperResult, ours: ComparedSystem, comparisons: Comparisons) -> PaperRow:
    share = comparisons.budget_shares.get(ours.system.key, 1.0)
    if share < MIN_BUDGET_SHARE:
        return PaperRow(result, reason=f"{described(ours)}: not shown, tuned on {share:.1%} of the paper's prompts")
    expected = expected_paper_hit_ratio(ours, comparisons) if ours.system.kind == "recommender" else None
    return PaperRow(result, ours, expected_hit_ratio=expected)


def expected_paper_hit_ratio(row: ComparedSystem, comparisons: Comparisons) -> float | None:
    """Computes the expected test hit ratio@1 over all candidate sets that the paper's code could draw; None without ranks.

    That code only excludes the last items from the negatives, so a negative may be an earlier item of the user. Catalogue ranks
    exclude the same items, so the rank of a target determines its probability of being ranked first.
    """
    examples = tables.read_table(paths.examples(comparisons.dataset), tables.EXAMPLES)
    n_items = tables.n_rows(paths.items(comparisons.dataset))
    sets = pd.concat(run.split(c.TEST) for run in row.results.runs)[[c.EXAMPLE, c.CATALOGUE_RANK]]
    if sets[c.CATALOGUE_RANK].isna().any():
        return None
    questions = sets.merge(examples[[c.EXAMPLE, c.HISTORY, c.TARGET]], on=c.EXAMPLE)
    excluded = [len({*history, target}) for history, target in zip(questions[c.HISTORY], questions[c.TARGET], strict=True)]
    ranks, n_eligible = questions[c.CATALOGUE_RANK].to_numpy(np.int64), n_items - np.array(excluded)
    return float(expected_hit_ratio(ranks, n_eligible, comparisons.params.candidates.n_candidates - 1).mean())


def by_paper_rule(metric: str, row: ComparedSystem) -> str:
    """Returns the name of a metric of a system under the validity rule of the paper's code.

    A system that writes no text answers with a candidate, which is valid under both rules.
    """
    contained = f"{metric}_contained"
    return contained if contained in row.test else metric


COLUMNS: list[Column[PaperRow]] = [
    Column("System (paper)", "", lambda row: row.paper.system, is_prose=True),
    Column("HR@1 (paper)", "", lambda row: f"{row.paper.hit_ratio:.4f}"),
    Column("Valid (paper)", "", lambda row: f"{row.paper.valid_ratio:.4f}"),
    Column("Ours", "", lambda row: row.reason if row.ours is None else described(row.ours), is_prose=True),
    Column(
        "HR@1 (ours, paper's negatives)",
        "",
        lambda row: "" if row.expected_hit_ratio is None else number(row.expected_hit_ratio),
    ),
]
ON_OWN_SETS: list[Column[PaperRow]] = [
    Column(
        "HR@1 (ours, paper's rule)",
        "",
        lambda row: hit_ratio(row.ours, by_paper_rule("hit_ratio@1", row.ours)) if row.ours else "",
    ),
    Column(
        "Valid (ours, paper's rule)",
        "",
        lambda row: number(row.ours.test[by_paper_rule("valid_ratio", row.ours)]) if row.ours else "",
    ),
    Column("HR@1 (ours, exact title)", "", lambda row: hit_ratio(row.ours) if row.ours else ""),
    Column("Valid (ours, exact title)", "", lambda row: number(row.ours.test["valid_ratio"]) if row.ours else ""),
]


def section(comparisons: Comparisons) -> ReportSection | None:
    """Compares the paper's Table 2 with this run; None where no system reproduces a row of it."""
    rows, params = paper_rows(comparisons), comparisons.params
    if not rows:
        return None
    caption = joined(
        "Paper's negatives: expected HR@1 of a recommender with negatives drawn as in the paper's code, which excludes only "
        "the last items, so that earlier items of the user may be among them; all other columns rest on this run's sets. "
        "Paper's rule: an answer is valid if exactly one candidate's title occurs in its first line; exact title: if it "
        "equals that title. An invalid answer is a miss under both. A system that scores the candidates always gives a valid "
        f"answer. Paper: {paper.SOURCE}, Table 2, measured on other candidate sets (one per user, not published).",
        f"Its language model is Llama-2-7B (ours: {params.llm.model})." if params.run.systems else "",
        f"Its MoRec encodes items with BERT (ours: {params.recommenders.morec.encoder})."
        if "morec" in params.run.recommenders
        else "",
        "The paper's results indicate the range to expect. They cannot be tested against ours, and do not compare with "
        f"systems tuned on less than {MIN_BUDGET_SHARE:.0%} of its prompts.",
        system_columns.mark_in_words([row.ours for row in rows if row.ours is not None]),
    )
    columns = [*COLUMNS, *system_columns.marked_of(lambda row: row.ours, rows, *ON_OWN_SETS)]
    return ReportSection("Table 2, the paper's and ours", _verdict(rows), tables=[Table(columns, [("", rows)], caption)])


def _verdict(rows: Sequence[PaperRow]) -> str:
    published = {row.paper.system for row in rows}
    reproduced = {row.paper.system for row in rows if row.ours is not None}
    return (
        f"{len(reproduced)} of the paper's {len(published)} rows have a counterpart on a similar budget in this run. The "
        "columns 'paper's rule' judge answers as the paper's code does; the paper's results rest on other candidate sets and "
        "cannot be tested against ours."
    )
