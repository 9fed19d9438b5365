"""The section with the paper's Table 2 beside the systems of this run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.ranking import expected_hit_ratio
from llara_core.report import paper
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Section, Table
from llara_core.report.paper import PaperResult
from llara_core.report.wording import described, hit_ratio, joined, number

MIN_BUDGET_SHARE = 0.1  # of the paper's prompts, below which a tuned system's figures are not set beside the paper's


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's Table 2, beside a system of ours that repeats it.

    Attributes:
        theirs: the row.
        ours: the system; None where no system repeats the row on a budget like theirs.
        why: why there is none.
        by_their_negatives: hit ratio@1 of a recommender with negatives as their code draws them (:func:`their_hit_ratio`).
    """

    theirs: PaperResult
    ours: ComparedSystem | None = None
    why: str = "not run"
    by_their_negatives: float | None = None


def beside_ours(found: Comparisons) -> list[PaperRow]:
    """Every row of the paper's Table 2 with each system of ours that repeats it; no row where none has one."""
    rows: list[PaperRow] = []
    repeated = False
    for theirs in paper.table_2(found.params, found.dataset):
        systems = paper.counterparts(theirs, found.headlines, found.params)
        repeated |= bool(systems)
        rows += [_beside(theirs, ours, found) for ours in systems] or [PaperRow(theirs)]
    return rows if repeated else []


def _beside(theirs: PaperResult, ours: ComparedSystem, found: Comparisons) -> PaperRow:
    share = found.budget_shares.get(ours.system.key, 1.0)
    if share < MIN_BUDGET_SHARE:
        return PaperRow(theirs, why=f"{described(ours)}: not shown, tuned on {share:.1%} of their prompts")
    expected = their_hit_ratio(ours, found) if ours.system.kind == "recommender" else None
    return PaperRow(theirs, ours, by_their_negatives=expected)


def their_hit_ratio(row: ComparedSystem, found: Comparisons) -> float | None:
    """Expected test hit ratio@1 of a recommender over all candidate sets that the paper's code could draw; None without ranks.

    That code draws the negatives outside the last items alone, so that a negative may be what the user did before. A target's
    rank among the catalogue leaves out the same items, so it decides the chance to come first.
    """
    prepared = paths.prepared(found.dataset)
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    n_items = tables.n_rows(prepared / "items.parquet")
    sets = pd.concat(run.split(c.TEST) for run in row.results.runs)[[c.EXAMPLE, c.CATALOGUE_RANK]]
    if sets[c.CATALOGUE_RANK].isna().any():
        return None
    asked = sets.merge(examples[[c.EXAMPLE, c.HISTORY, c.TARGET]], on=c.EXAMPLE)
    left_out = [len({*history, target}) for history, target in zip(asked[c.HISTORY], asked[c.TARGET], strict=True)]
    ranks, n_eligible = asked[c.CATALOGUE_RANK].to_numpy(np.int64), n_items - np.array(left_out)
    return float(expected_hit_ratio(ranks, n_eligible, found.params.candidates.n_candidates - 1).mean())


def counted_as_theirs(row: ComparedSystem) -> tuple[str, float, float]:
    """Name of the hit ratio, hit ratio and valid ratio of a system, counted as in the paper's code.

    A system that writes no text answers with a candidate, which is valid under either rule.
    """
    name, valid = "hit_ratio@1_contained", "valid_ratio_contained"
    if valid not in row.test:
        name, valid = "hit_ratio@1", "valid_ratio"
    return name, row.test[name], row.test[valid]


COLUMNS: list[Column[PaperRow]] = [
    Column("System (paper)", "", lambda row: row.theirs.system, is_prose=True),
    Column("HR@1 (paper)", "", lambda row: f"{row.theirs.hit_ratio:.4f}"),
    Column("Valid (paper)", "", lambda row: f"{row.theirs.valid_ratio:.4f}"),
    Column("Ours", "", lambda row: row.why if row.ours is None else described(row.ours), is_prose=True),
    Column(
        "HR@1 (ours, their negatives)",
        "",
        lambda row: "" if row.by_their_negatives is None else number(row.by_their_negatives),
    ),
    Column(
        "HR@1 (ours, counted as theirs)",
        "",
        lambda row: hit_ratio(row.ours, counted_as_theirs(row.ours)[0]) if row.ours else "",
    ),
    Column("Valid (ours, counted as theirs)", "", lambda row: number(counted_as_theirs(row.ours)[2]) if row.ours else ""),
    Column("HR@1 (ours, exact title)", "", lambda row: hit_ratio(row.ours) if row.ours else ""),
    Column("Valid (ours, exact title)", "", lambda row: number(row.ours.test["valid_ratio"]) if row.ours else ""),
]


def section(found: Comparisons) -> Section | None:
    """The paper's Table 2 beside ours; None where no system repeats a row of it."""
    rows, params = beside_ours(found), found.params
    if not rows:
        return None
    caption = joined(
        "Their negatives: drawn as in the paper's code, outside the last items alone, so that what a user did before is among "
        "them; the expected HR@1 of recommenders over all such sets. The other columns are of this run's sets. Counted as "
        "theirs: an answer is valid if exactly one candidate's title occurs in its first line; exact title: if it is that "
        "title. An invalid answer is a miss under both. A system that scores the candidates writes no text and always answers "
        f"with one of them. Paper: {paper.SOURCE}, Table 2, measured on other candidate sets (one per user, not published).",
        f"Its language model is Llama-2-7B (ours: {params.llm.model})." if params.run.systems else "",
        f"Its MoRec encodes with BERT (ours: {params.recommenders.morec.encoder})."
        if "morec" in params.run.recommenders
        else "",
        "The paper's figures show what range to expect and cannot be tested against ours; they say nothing beside systems "
        f"tuned on less than {MIN_BUDGET_SHARE:.0%} of its prompts.",
    )
    return Section("Table 2, the paper's and ours", _verdict(rows), tables=[Table(COLUMNS, [("", rows)], caption)])


def _verdict(rows: Sequence[PaperRow]) -> str:
    published = {row.theirs.system for row in rows}
    repeated = {row.theirs.system for row in rows if row.ours is not None}
    return (
        f"{len(repeated)} of the paper's {len(published)} rows have a counterpart on a like budget in this run. The columns "
        "headed 'counted as theirs' count answers as the paper's code does; the paper's figures rest on other candidate sets "
        "and cannot be tested against ours."
    )
