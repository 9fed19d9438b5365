"""The results of one dataset as text: the columns of the report and of the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llara_core.evaluation import paper
from llara_core.evaluation.comparison import SystemResult
from llara_core.evaluation.paper import PaperResult

MISSING = "-"
OBJECTIVES = {"generative": "generative (paper)", "next_item": "next item (ours)", "none": MISSING}
TERMINAL_WIDTH = 120


@dataclass(frozen=True)
class Column:
    """A column of the report: heading, what it means, and its text for one system."""

    heading: str
    meaning: str
    text: Callable[[SystemResult], str]


def measure(name: str) -> Callable[[SystemResult], str]:
    """The text of a test metric, or :data:`MISSING` where the system does not have it."""
    return lambda result: number(result.test.get(name))


def number(value: float | None) -> str:
    """Three decimals: what 95 users can tell apart is far coarser."""
    return MISSING if value is None else f"{value:.3f}"


def name_and_note(result: SystemResult) -> str:
    """The system, with its note in parentheses."""
    return f"{result.system} ({result.note})" if result.note else result.system


def hit_ratio(result: SystemResult) -> str:
    """Test hit ratio@1, its deviation over several seeds, and its interval."""
    deviation = "" if result.seed_deviation is None else f" ± {result.seed_deviation:.3f}"
    return f"{number(result.test['hit_ratio@1'])}{deviation} {interval(result)}"


def interval(result: SystemResult) -> str:
    """The interval of the test hit ratio@1."""
    return f"[{result.test['hit_ratio@1_low']:.3f}, {result.test['hit_ratio@1_high']:.3f}]"


def difference(result: SystemResult) -> str:
    """The difference to the reference with its interval, or that this is the reference."""
    if result.is_reference:
        return "reference"
    if result.difference is None:
        return MISSING
    return f"{result.difference.mean:+.3f} [{result.difference.low:+.3f}, {result.difference.high:+.3f}]"


def p_value(result: SystemResult) -> str:
    """The adjusted p-value of the difference."""
    if result.difference is None:
        return MISSING
    return "< 0.001" if result.difference.p_value < 0.001 else f"{result.difference.p_value:.3f}"


def sizes(result: SystemResult) -> str:
    """Test users, candidate sets per example, and seeds where there are several."""
    seeds = f" x {result.n_seeds}" if result.n_seeds > 1 else ""
    return f"{result.test['n_users']} x {result.test['n_draws']}{seeds}"


COLUMNS = (
    Column("System", "name, recommender under it, and what else defines it", name_and_note),
    Column("Answers by", "score: the best-scored candidate; generate: free text; constrained: text limited to the candidates; "
           "fused: scores of LLM and recommender combined", lambda result: result.mode),
    Column("Objective", "what the LLM was tuned for", lambda result: OBJECTIVES.get(result.objective, result.objective)),
    Column("HR@1", "hit ratio on test and its interval, an invalid answer is a miss; ±: deviation over seeds", hit_ratio),
    Column("Difference", "of HR@1 to the best recommender on the sets that both answer, and its interval", difference),
    Column("p", "of the paired test of this difference, adjusted for the number of systems (Holm)", p_value),
    Column("Valid", "share of answers that name a candidate", measure("valid_ratio")),
    Column("HR@1 of valid", "hit ratio among valid answers alone", measure("hit_ratio@1_among_valid")),
    Column("HR@3", "target among the first 3 candidates", measure("hit_ratio@3")),
    Column("HR@5", "target among the first 5 candidates", measure("hit_ratio@5")),
    Column("HR@10", "target among the first 10 candidates", measure("hit_ratio@10")),
    Column("NDCG@10", "over the candidates", measure("ndcg@10")),
    Column("MRR", "mean reciprocal rank over the candidates", measure("mrr")),
    Column("Catalogue HR@10", "target among the first 10 of all items", measure("hit_ratio@10_catalogue")),
    Column("Validation HR@1", "the same as HR@1 on validation, which all choices were made on",
           lambda result: number(result.validation["hit_ratio@1"])),
    Column("Users x draws", "test users times candidate sets per example (times seeds)", sizes),
)  # fmt: skip

TERMINAL_COLUMNS = (
    Column("system", "", lambda result: result.system),
    Column("answers by", "", lambda result: result.mode),
    Column("HR@1", "", lambda result: f"{number(result.test['hit_ratio@1'])} {interval(result)}"),
    Column("vs best", "", lambda result: "ref." if result.is_reference else difference(result).split()[0]),
    Column("p", "", lambda result: p_value(result).replace("< ", "<")),
    Column("valid", "", measure("valid_ratio")),
    Column("HR@5", "", measure("hit_ratio@5")),
    Column("NDCG@10", "", measure("ndcg@10")),
    Column("val HR@1", "", lambda result: number(result.validation["hit_ratio@1"])),
    Column("n", "", lambda result: sizes(result).replace(" ", "")),
)


def report_columns(published: Sequence[PaperResult]) -> list[Column]:
    """:data:`COLUMNS`, with the paper's hit ratio@1 beside ours where the paper has the dataset."""
    meaning = "of the same system in the paper, measured on other candidate sets: no test against ours; valid: where not 1"
    return _with_paper(COLUMNS, published, Column("HR@1 in the paper", meaning, lambda result: _published(result, published)))


def plain_text(results: Sequence[SystemResult], published: Sequence[PaperResult]) -> str:
    """The results for a terminal of :data:`TERMINAL_WIDTH` columns; the paper's are left out where they do not fit.

    Args:
        results: a line each.
        published: the paper's rows for this dataset; may be empty.
    """
    beside = Column("paper*", "", lambda result: _published(result, published).partition(" ")[0])
    text = _aligned(results, _with_paper(TERMINAL_COLUMNS, published, beside))
    if not published or len(max(text.splitlines(), key=len)) > TERMINAL_WIDTH:
        return _aligned(results, TERMINAL_COLUMNS)
    return f"{text}\n\n* HR@1 of the same system in the paper, measured on other candidate sets"


def _published(result: SystemResult, published: Sequence[PaperResult]) -> str:
    row = paper.counterpart(result, published)
    if row is None:
        return ""
    return f"{row.hit_ratio:.4f}" if row.valid_ratio == 1 else f"{row.hit_ratio:.4f} (valid {row.valid_ratio:.4f})"


def _with_paper(columns: Sequence[Column], published: Sequence[PaperResult], beside: Column) -> list[Column]:
    """``columns`` with ``beside`` after the hit ratio@1, if anything is published."""
    place = [column.heading for column in columns].index("HR@1") + 1
    return [*columns[:place], *([beside] if published else []), *columns[place:]]


def _aligned(results: Sequence[SystemResult], columns: Sequence[Column]) -> str:
    cells = [[column.heading for column in columns]]
    cells += [[column.text(result) for column in columns] for result in results]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    gap = "  " if sum(widths) + 2 * len(widths) <= TERMINAL_WIDTH else " "
    lines = [gap.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], gap.join("-" * width for width in widths), *lines[1:]])
