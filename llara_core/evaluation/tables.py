"""The results of one dataset as text: the columns of the report's tables and of the terminal's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from llara_core.config import EvaluationConfig, Params
from llara_core.evaluation import paper, significance
from llara_core.evaluation.ablations import Ablation
from llara_core.evaluation.cases import KINDS, Count
from llara_core.evaluation.comparison import Pairs, SystemResult
from llara_core.evaluation.order import OrderEffect
from llara_core.evaluation.paired import Difference
from llara_core.evaluation.paper import PaperResult
from llara_core.evaluation.systems import MODES, Kind

Row = TypeVar("Row")
PaperRow = tuple[PaperResult, SystemResult | None]

MISSING = "-"
_MODE_MEANINGS = {
    "generate": "free text, as in the paper",
    "score": "the best-scored candidate",
    "constrained": "text limited to the candidates",
    "fused": "scores of language model and recommender combined",
}
KIND_NAMES: dict[Kind, str] = {
    "baseline": "Baselines",
    "recommender": "Sequential recommenders",
    "untuned": "Language models as they come",
    "chat": "Chat models",
    "tuned": "Tuned language models",
    "fused": "Tuned language models fused with their recommender",
}


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table: heading, what it means, its text for one row, and whether that is prose."""

    heading: str
    meaning: str
    text: Callable[[Row], str]
    is_prose: bool = False


def measure(name: str) -> Callable[[SystemResult], str]:
    """The text of a test metric, or :data:`MISSING` where the system does not have it."""
    return lambda result: number(result.test.get(name))


def number(value: float | None) -> str:
    """Three decimals: what some hundred users can tell apart is far coarser."""
    return MISSING if value is None else f"{value:.3f}"


def name_and_note(result: SystemResult) -> str:
    """The system, with its note in parentheses."""
    return f"{result.name} ({result.note})" if result.note else result.name


def hit_ratio(result: SystemResult) -> str:
    """Test hit ratio@1, its deviation over several seeds, and its interval."""
    deviation = "" if result.seed_deviation is None else f" ± {result.seed_deviation:.3f}"
    return f"{number(result.test['hit_ratio@1'])}{deviation} {interval(result)}"


def interval(result: SystemResult) -> str:
    """The interval of the test hit ratio@1."""
    return f"[{result.test['hit_ratio@1_low']:.3f}, {result.test['hit_ratio@1_high']:.3f}]"


def difference(found: Difference) -> str:
    """A difference with its interval."""
    return f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"


def signed(value: float) -> str:
    """Three decimals with a sign; a zero has a plus."""
    return f"{round(value, 3) + 0.0:+.3f}"


def points(value: float) -> str:
    """Whole percentage points with a sign; a zero has a plus."""
    return f"{round(100 * value):+d}"


def probability(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def to_reference(result: SystemResult) -> str:
    """The difference to the reference, or that this is the reference."""
    if result.is_reference:
        return "reference"
    return MISSING if result.difference is None else difference(result.difference)


def p_value(result: SystemResult) -> str:
    """The adjusted p-value of the difference to the reference."""
    return MISSING if result.difference is None else probability(result.difference.p_value)


def sizes(result: SystemResult) -> str:
    """Test users, candidate sets per example, and seeds where there are several."""
    n_seeds = len(result.answers.seeds)
    return f"{result.test['n_users']} x {result.test['n_draws']}{f' x {n_seeds}' if n_seeds > 1 else ''}"


_SYSTEM = Column("System", "name, recommender under it, and what else defines it", name_and_note, is_prose=True)
_HIT_RATIO = Column(
    "HR@1", "hit ratio on test and its interval over users, an invalid answer is a miss; ±: deviation over seeds", hit_ratio
)
_VALID = Column("Valid", "share of answers that name a candidate", measure("valid_ratio"))
_SIZES = Column("Users x sets", "test users times candidate sets of each (times seeds)", sizes)


_TO_REFERENCE = [
    Column("Difference", "of HR@1 to the reference, and its interval; on the sets that both answer, so it need not be the "
           "difference of the two HR@1 shown", to_reference),
    Column("p", "of the paired test of this difference, adjusted for the systems of this table (Holm)", p_value),
]  # fmt: skip
_OBJECTIVE = Column[SystemResult](
    "Objective",
    "what the language model was tuned for; generative: the paper's, next_item: ours",
    lambda result: MISSING if result.objective == "none" else result.objective,
    is_prose=True,
)
_DETAILS = [
    _HIT_RATIO,
    _VALID,
    Column("HR@1 of valid", "hit ratio among valid answers alone", measure("hit_ratio@1_among_valid")),
    Column("HR@3", "target among the first 3 candidates", measure("hit_ratio@3")),
    Column("HR@5", "target among the first 5 candidates", measure("hit_ratio@5")),
    Column("HR@10", "target among the first 10 candidates", measure("hit_ratio@10")),
    Column("NDCG@10", "over the candidates", measure("ndcg@10")),
    Column("MRR", "mean reciprocal rank over the candidates", measure("mrr")),
    Column("Catalogue HR@10", "target among the first 10 of all items", measure("hit_ratio@10_catalogue")),
    Column("Validation HR@1", "the same as HR@1 on validation, which all choices were made on",
           lambda result: number(result.validation["hit_ratio@1"])),
    _SIZES,
]  # fmt: skip


def _mode(rows: Sequence[SystemResult]) -> Column[SystemResult]:
    """The column that explains the modes of ``rows``."""
    used = {row.mode for row in rows}
    meaning = "; ".join(f"{mode}: {_MODE_MEANINGS[mode]}" for mode in MODES if mode in used)
    return Column("Answers by", meaning, lambda row: row.mode, is_prose=True)


def _tuned_on(tuned_on: Mapping[str, str]) -> Column[SystemResult]:
    text = "prompts, or chunks of training sequences"
    return Column("Tuned on", text, lambda row: tuned_on.get(row.answers.system.key, MISSING), is_prose=True)


def main_columns(rows: Sequence[SystemResult], tuned_on: Mapping[str, str]) -> list[Column[SystemResult]]:
    """Of the table with one row per system; without the columns that none of ``rows`` fills."""
    return [
        _SYSTEM,
        _mode(rows),
        *([_tuned_on(tuned_on)] if tuned_on else []),
        _HIT_RATIO,
        *(_TO_REFERENCE if any(row.is_reference for row in rows) else []),
        _VALID,
        Column("NDCG@10", "over the candidates", measure("ndcg@10")),
        _SIZES,
    ]


def detail_columns(rows: Sequence[SystemResult]) -> list[Column[SystemResult]]:
    """Of the table with all modes; without the objective where none of ``rows`` has one."""
    objective = [_OBJECTIVE] if any(row.objective != "none" for row in rows) else []
    return [_SYSTEM, _mode(rows), *objective, *_DETAILS]


ORDER_COLUMNS: list[Column[OrderEffect]] = [
    Column("System", "", lambda effect: effect.answers.system.name, is_prose=True),
    Column("Answers by", "", lambda effect: effect.answers.mode, is_prose=True),
    Column("HR@1", "", lambda effect: number(effect.change.reference)),
    Column("HR@1, shuffled", "", lambda effect: number(effect.change.system)),
    Column("Change", "", lambda effect: difference(effect.change)),
    Column("p", "", lambda effect: probability(effect.change.p_value)),
]


def _right(place: int) -> Callable[[Count], str]:
    return lambda count: "right" if count.right[place] else "wrong"


COUNT_COLUMNS: list[Column[Count]] = [
    Column("Kind", "", lambda count: KINDS[count.right], is_prose=True),
    *(Column(name, "", _right(place), is_prose=True) for place, name in enumerate(("Recommender", "Text", "Hybrid"))),
    Column("Sets", "", lambda count: str(count.n_sets)),
    Column("Expected", "", lambda count: f"{count.expected_sets:.1f}"),
    Column("Users", "", lambda count: str(count.n_users)),
]  # fmt: skip

PAPER_COLUMNS: list[Column[PaperRow]] = [
    Column("System (paper)", "", lambda row: row[0].system, is_prose=True),
    Column("HR@1 (paper)", "", lambda row: f"{row[0].hit_ratio:.4f}"),
    Column("Valid (paper)", "", lambda row: f"{row[0].valid_ratio:.4f}"),
    Column("Ours", "", lambda row: "not run" if row[1] is None else name_and_note(row[1]), is_prose=True),
    Column("HR@1 (ours)", "", lambda row: "" if row[1] is None else hit_ratio(row[1])),
    Column("Valid (ours)", "", lambda row: "" if row[1] is None else number(row[1].test["valid_ratio"])),
]

TERMINAL_COLUMNS: list[Column[SystemResult]] = [
    Column("system", "", lambda result: result.name),
    Column("answers by", "", lambda result: result.mode),
    Column("HR@1", "", lambda result: f"{number(result.test['hit_ratio@1'])} {interval(result)}"),
    Column("vs best", "", lambda result: "ref." if result.is_reference else to_reference(result).split()[0]),
    Column("p", "", lambda result: p_value(result).replace("< ", "<")),
    Column("valid", "", measure("valid_ratio")),
    Column("NDCG@10", "", measure("ndcg@10")),
    Column("val HR@1", "", lambda result: number(result.validation["hit_ratio@1"])),
    Column("n", "", lambda result: sizes(result).replace(" ", "")),
]


def paper_rows(published: Sequence[PaperResult], results: Sequence[SystemResult], params: Params) -> list[PaperRow]:
    """Every row of the paper's Table 2 with each system of ours that repeats it, or with None; no row where none has one."""
    rows: list[PaperRow] = []
    for row in published:
        rows += [(row, ours) for ours in paper.counterparts(row, results, params)] or [(row, None)]
    return rows if any(ours for _, ours in rows) else []


def ablation_columns(
    rows: Sequence[SystemResult], params: Params, dataset: str, tuned_on: Mapping[str, str]
) -> list[Column[SystemResult]]:
    """Of one ablation; with the paper's Table 3 where two rows or more have a counterpart there, and with the budgets where
    they differ.
    """
    published = {row.name: paper.curriculum_hit_ratio(row, params, dataset) for row in rows}
    columns = [
        _SYSTEM,
        _mode(rows),
        _HIT_RATIO,
        *_TO_REFERENCE,
        _VALID,
        _SIZES,
    ]
    if sum(value is not None for value in published.values()) > 1:
        text = {name: "" if value is None else f"{value:.4f}" for name, value in published.items()}
        columns.insert(3, Column("HR@1 (paper, Table 3)", "", lambda row: text[row.name]))
    budgets = _tuned_on(tuned_on)
    if len({budgets.text(row) for row in rows}) > 1:
        columns.insert(2, budgets)
    return columns


def grouped(results: Sequence[SystemResult]) -> list[tuple[str, list[SystemResult]]]:
    """Consecutive rows of one kind under its name."""
    groups = itertools.groupby(results, lambda result: result.answers.system.kind)
    return [(KIND_NAMES[kind], list(rows)) for kind, rows in groups]


def pair(pairs: Pairs, row: str, column: str) -> Difference | None:
    """``row`` minus ``column``, whichever way round it was computed; None on the diagonal."""
    if (row, column) in pairs:
        return pairs[row, column]
    if (column, row) not in pairs:
        return None
    other = pairs[column, row]
    return Difference(other.reference, other.system, -other.high, -other.low, other.p_value)


def significantly_below(pairs: Pairs, name: str, names: Sequence[str], level: float) -> list[str]:
    """Those of ``names`` that ``name`` is better than, with an adjusted p-value below ``level``."""
    found = [(other, pair(pairs, name, other)) for other in names]
    return [other for other, each in found if each is not None and each.mean > 0 and each.p_value < level]


def significance_level(config: EvaluationConfig) -> float:
    """What a p-value has to stay below; rounded, since 1 - 0.95 is a little more than 0.05."""
    return round(1 - config.confidence, 12)


def resolution(n_pairs: int, config: EvaluationConfig) -> str:
    """A warning where the drawn sign patterns are too few for any pair to become significant; else nothing."""
    needed = math.ceil(n_pairs / significance_level(config))
    if config.permutation_samples >= needed:
        return ""
    return (
        f"With {config.permutation_samples:,} sign patterns no p-value of a pair with more than "
        f"{significance.MAX_ENUMERATED} differing users can fall below that level: raise evaluation.permutation_samples to "
        f"{needed:,} or more."
    )


def without_table(shown: Sequence[Ablation], params: Params) -> list[str]:
    """Titles of the ablations that ``params`` names and that are not among those shown."""
    titles = {ablation.title for ablation in shown}
    return [config.title for config in params.report.ablations.values() if config.title not in titles]


def plain_text(results: Sequence[SystemResult]) -> str:
    """The results for a terminal, a line each."""
    cells = [[column.heading for column in TERMINAL_COLUMNS]]
    cells += [[column.text(result) for column in TERMINAL_COLUMNS] for result in results]
    widths = [max(len(row[place]) for row in cells) for place in range(len(TERMINAL_COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
