"""The section with the paper's Table 2 beside the systems of this run."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report import paper
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Section, Table
from llara_core.report.paper import PaperResult
from llara_core.report.wording import described, hit_ratio, joined, number

PaperRow = tuple[PaperResult, ComparedSystem | None]


def beside_ours(found: Comparisons) -> list[PaperRow]:
    """Every row of the paper's Table 2 with each system of ours that repeats it, or with None; no row where none has one."""
    rows: list[PaperRow] = []
    for row in paper.table_2(found.params, found.dataset):
        rows += [(row, ours) for ours in paper.counterparts(row, found.headlines, found.params)] or [(row, None)]
    return rows if any(ours for _, ours in rows) else []


def counted_as_theirs(row: ComparedSystem) -> tuple[str, float, float]:
    """Name of the hit ratio, hit ratio and valid ratio of a system, counted as in the paper's code.

    A system that writes no text answers with a candidate, which is valid under either rule.
    """
    name, valid = "hit_ratio@1_contained", "valid_ratio_contained"
    if valid not in row.test:
        name, valid = "hit_ratio@1", "valid_ratio"
    return name, row.test[name], row.test[valid]


COLUMNS: list[Column[PaperRow]] = [
    Column("System (paper)", "", lambda row: row[0].system, is_prose=True),
    Column("HR@1 (paper)", "", lambda row: f"{row[0].hit_ratio:.4f}"),
    Column("Valid (paper)", "", lambda row: f"{row[0].valid_ratio:.4f}"),
    Column("Ours", "", lambda row: "not run" if row[1] is None else described(row[1]), is_prose=True),
    Column("HR@1 (ours, counted as theirs)", "", lambda row: hit_ratio(row[1], counted_as_theirs(row[1])[0]) if row[1] else ""),
    Column("Valid (ours, counted as theirs)", "", lambda row: number(counted_as_theirs(row[1])[2]) if row[1] else ""),
    Column("HR@1 (ours, exact title)", "", lambda row: hit_ratio(row[1]) if row[1] else ""),
    Column("Valid (ours, exact title)", "", lambda row: number(row[1].test["valid_ratio"]) if row[1] else ""),
]


def section(found: Comparisons) -> Section | None:
    """The paper's Table 2 beside ours; None where no system repeats a row of it."""
    rows, params = beside_ours(found), found.params
    if not rows:
        return None
    caption = joined(
        "Counted as theirs: an answer is valid if exactly one candidate's title occurs in its first line; exact title: if it "
        "is that title. An invalid answer is a miss under both. A system that scores the candidates writes no text and always "
        f"answers with one of them. Paper: {paper.SOURCE}, Table 2, measured on other candidate sets (one per user, not "
        "published).",
        f"Its language model is Llama-2-7B (ours: {params.llm.model})." if params.run.systems else "",
        f"Its MoRec encodes with BERT (ours: {params.recommenders.morec.encoder})."
        if "morec" in params.run.recommenders
        else "",
        "The paper's figures show what range to expect and cannot be tested against ours.",
    )
    return Section("Table 2, the paper's and ours", _verdict(rows), tables=[Table(COLUMNS, [("", rows)], caption)])


def _verdict(rows: Sequence[PaperRow]) -> str:
    published = {row.system for row, _ in rows}
    repeated = {row.system for row, ours in rows if ours is not None}
    return (
        f"{len(repeated)} of the paper's {len(published)} rows have a counterpart in this run. The columns headed 'counted as "
        "theirs' count answers as the paper's code does; the paper's figures rest on other candidate sets and cannot be tested "
        "against ours."
    )
