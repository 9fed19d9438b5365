"""The results of one dataset as text: the columns of the report's tables and of the terminal's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from llara_core.config import EvaluationConfig, Params
from llara_core.evaluation import significance
from llara_core.evaluation.comparison import Pairs, SystemResult
from llara_core.evaluation.fusion import weights
from llara_core.evaluation.metrics import METRICS
from llara_core.evaluation.paired import MIN_RUNS, Difference
from llara_core.evaluation.systems import MODES, Kind
from llara_core.report import paper
from llara_core.report.ablations import Ablation
from llara_core.report.cases import KINDS, Count
from llara_core.report.changes import Change
from llara_core.report.order import OrderEffect
from llara_core.report.paper import PaperResult

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


def metric(name: str) -> Column[SystemResult]:
    """The column of a test metric."""
    return Column(METRICS[name].heading, METRICS[name].meaning, measure(name))


def number(value: float | None) -> str:
    """Three decimals: what some hundred users can tell apart is far coarser."""
    return MISSING if value is None else f"{value:.3f}"


def name_and_note(result: SystemResult) -> str:
    """The system, with its note in parentheses, or the weights of a fusion."""
    note = result.note
    if result.answers.system.kind == "fused":
        note = f"LLM weight {chosen_weights(result)}"
    return f"{result.name} ({note})" if note else result.name


def chosen_weights(result: SystemResult) -> str:
    """The weights of the LLM that the runs of a fusion chose."""
    return ", ".join(f"{weight:.2f}" for weight in dict.fromkeys(weights(result.answers)))


def hit_ratio(result: SystemResult, name: str = "hit_ratio@1") -> str:
    """Test hit ratio@1, its deviation over several seeds, and its interval."""
    deviation = "" if result.seed_deviation is None or name != "hit_ratio@1" else f" ± {result.seed_deviation:.3f}"
    return f"{number(result.test[name])}{deviation} {interval(result, name)}"


def interval(result: SystemResult, name: str = "hit_ratio@1") -> str:
    """The interval of the test hit ratio@1."""
    return f"[{result.test[f'{name}_low']:.3f}, {result.test[f'{name}_high']:.3f}]"


def difference(found: Difference) -> str:
    """A difference with its interval."""
    return f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"


def signed(value: float) -> str:
    """Three decimals with a sign; a zero has a plus."""
    return f"{round(value, 3) + 0.0:+.3f}"


def points(value: float) -> str:
    """Whole percentage points with a sign; a zero has a plus."""
    return f"{round(100 * value):+d}"


def probability(found: Difference) -> str:
    """The p-value, or what there is instead of one."""
    if found.p_value is None:
        return runs(found.n_runs or 0)
    return "< 0.001" if found.p_value < 0.001 else f"{found.p_value:.3f}"


def runs(number_of: int) -> str:
    """A number of training runs."""
    return {1: "one run", 2: "two runs"}.get(number_of, f"{number_of} runs")


def versus(result: SystemResult) -> str:
    """The difference to the reference, or that this is the reference; of a fusion, to its recommender."""
    if result.is_reference:
        return "reference"
    if result.difference is None:
        return MISSING
    if result.answers.system.kind != "fused":
        return difference(result.difference)
    both = f"{number(result.difference.system)} against {number(result.difference.reference)}"
    return f"vs {result.versus}: {difference(result.difference)}, {both}"


def p_value(result: SystemResult) -> str:
    """The adjusted p-value of the difference, or what there is instead of one."""
    return MISSING if result.difference is None else probability(result.difference)


def sizes(result: SystemResult) -> str:
    """Test users, candidate sets per example, and seeds where there are several."""
    n_seeds = len(result.answers.seeds)
    return f"{result.test['n_users']} x {result.test['n_draws']}{f' x {n_seeds}' if n_seeds > 1 else ''}"


def sizes_in_words(result: SystemResult) -> str:
    """The same in words."""
    users, sets = (int(result.test[name]) for name in ("n_users", "n_draws"))
    said = f"{users:,} user{'' if users == 1 else 's'} x {sets} set{'' if sets == 1 else 's'}"
    return said if result.n_runs is None else f"{said}, {runs(result.n_runs)}"


_SYSTEM = Column("System", "name, recommender under it, and what else defines it", name_and_note, is_prose=True)
_HIT_RATIO = Column(
    "HR@1", "hit ratio on test and its interval, an invalid answer is a miss; ±: deviation over seeds", hit_ratio
)
_VALIDATION = Column[SystemResult](
    "Validation HR@1",
    "the same on validation, which all choices are made on; a system with fewer sets compares only on those",
    lambda result: number(result.validation["hit_ratio@1"]),
)
_VALID = metric("valid_ratio")
_VALID_CONTAINED = metric("valid_ratio_contained")
_SIZES = Column("Users x sets", "test users times candidate sets of each (times seeds)", sizes)
_P = Column(
    "p",
    "of the test of this difference, adjusted for those tested in this table (Holm); none where a trained system has fewer "
    f"than {MIN_RUNS} runs, since nobody knows what another run would give",
    p_value,
)


def _versus(rows: Sequence[SystemResult]) -> list[Column[SystemResult]]:
    """The columns of the comparison with the reference of ``rows``; none where nothing is compared."""
    reference = next((row.name for row in rows if row.is_reference), None)
    fused = any(row.answers.system.kind == "fused" for row in rows)
    if all(row.difference is None for row in rows):
        return []
    meaning = "difference of HR@1 with its interval, on the sets that both answer, so it need not be that of the two HR@1 shown"
    if fused:
        meaning += "; a fusion is compared with its own recommender, with both HR@1 on these sets"
    return [Column(f"vs {reference}" if reference else "Difference", meaning, versus), _P]


_OBJECTIVE = Column[SystemResult](
    "Objective",
    "what the language model was tuned for; generative: the paper's, next_item: ours",
    lambda result: MISSING if result.objective == "none" else result.objective,
    is_prose=True,
)
_CONTAINED = [_VALID_CONTAINED, metric("hit_ratio@1_contained")]
_SHOWN_APART = {"hit_ratio@1", "valid_ratio_contained", "hit_ratio@1_contained"}
_DETAILS = [
    _VALIDATION,
    _HIT_RATIO,
    *(metric(name) for name, each in METRICS.items() if each.heading and name not in _SHOWN_APART),
]


def _writes(rows: Sequence[SystemResult]) -> bool:
    return any("valid_ratio_contained" in row.test for row in rows)


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
        _VALIDATION,
        _HIT_RATIO,
        *_versus(rows),
        _VALID,
        *([_VALID_CONTAINED] if _writes(rows) else []),
        metric("ndcg@10"),
        _SIZES,
    ]


def detail_columns(rows: Sequence[SystemResult]) -> list[Column[SystemResult]]:
    """Of the table with all modes; without the columns that none of ``rows`` fills."""
    objective = [_OBJECTIVE] if any(row.objective != "none" for row in rows) else []
    return [_SYSTEM, _mode(rows), *objective, *_DETAILS, *(_CONTAINED if _writes(rows) else []), _SIZES]


def summary_columns(rows: Sequence[SystemResult], paper_rows: Sequence[PaperRow]) -> list[Column[SystemResult]]:
    """Of the summary: the main table without prose, and the paper's figure beside ours counted as it is."""
    published = {ours.name: theirs for theirs, ours in paper_rows if ours is not None}

    def beside(row: SystemResult) -> str:
        return f"{published[row.name].hit_ratio:.4f} / {number(counted_as_theirs(row)[1])}" if row.name in published else ""

    columns = [_SYSTEM, _mode(rows), _VALIDATION, _HIT_RATIO, *_versus(rows)[:1], _VALID, _SIZES]
    return [*columns, Column("Paper / counted alike", "", beside)] if published else columns


CHANGE_COLUMNS: list[Column[Change]] = [
    Column("System", "", lambda change: name_and_note(change.result), is_prose=True),
    Column("Answers by", "", lambda change: change.result.mode, is_prose=True),
    Column("Recommender", "the one in the system", lambda change: str(change.result.answers.system.recommender), is_prose=True),
    Column("Its HR@1", "hit ratio of the recommender on these sets", lambda change: number(change.recommender)),
    Column("HR@1", "of the system on these sets: the former, plus right, less wrong", lambda change: number(change.system)),
    Column("Departs", "share of sets with another answer than the recommender's first choice, or with no valid one",
           lambda change: number(change.departs)),
    Column("Right", "share of sets where the system is right and the recommender wrong", lambda change: number(change.right)),
    Column("Wrong", "share of sets where the recommender is right and the system wrong", lambda change: number(change.wrong)),
    Column("Users x sets", "test users times candidate sets of each that both answer (times seeds)",
           lambda change: change_sizes(change)),
]  # fmt: skip


def change_sizes(change: Change) -> str:
    """As :func:`sizes`, of the sets that a system and its recommender both answer."""
    return sizes(replace(change.result, test={**change.result.test, "n_draws": change.n_draws}))


ORDER_COLUMNS: list[Column[OrderEffect]] = [
    Column("System", "", lambda effect: effect.answers.system.name, is_prose=True),
    Column("Answers by", "", lambda effect: effect.answers.mode, is_prose=True),
    Column("HR@1", "", lambda effect: number(effect.change.reference)),
    Column("HR@1, shuffled", "", lambda effect: number(effect.change.system)),
    Column("Change", "", lambda effect: difference(effect.change)),
    Column("p", "", lambda effect: probability(effect.change)),
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


def counted_as_theirs(result: SystemResult) -> tuple[str, float, float]:
    """Name of the hit ratio, hit ratio and valid ratio of a system, counted as in the paper's code.

    A system that writes no text answers with a candidate, which is valid by either rule.
    """
    name, valid = "hit_ratio@1_contained", "valid_ratio_contained"
    if valid not in result.test:
        name, valid = "hit_ratio@1", "valid_ratio"
    return name, result.test[name], result.test[valid]


PAPER_COLUMNS: list[Column[PaperRow]] = [
    Column("System (paper)", "", lambda row: row[0].system, is_prose=True),
    Column("HR@1 (paper)", "", lambda row: f"{row[0].hit_ratio:.4f}"),
    Column("Valid (paper)", "", lambda row: f"{row[0].valid_ratio:.4f}"),
    Column("Ours", "", lambda row: "not run" if row[1] is None else name_and_note(row[1]), is_prose=True),
    Column("HR@1 (ours, counted as theirs)", "", lambda row: hit_ratio(row[1], counted_as_theirs(row[1])[0]) if row[1] else ""),
    Column("Valid (ours, counted as theirs)", "", lambda row: number(counted_as_theirs(row[1])[2]) if row[1] else ""),
    Column("HR@1 (ours, exact title)", "", lambda row: hit_ratio(row[1]) if row[1] else ""),
    Column("Valid (ours, exact title)", "", lambda row: number(row[1].test["valid_ratio"]) if row[1] else ""),
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
        _VALIDATION,
        _HIT_RATIO,
        *_versus(rows),
        _VALID,
        _SIZES,
    ]
    if sum(value is not None for value in published.values()) > 1:
        text = {name: "" if value is None else f"{value:.4f}" for name, value in published.items()}
        columns.insert(4, Column("HR@1 (paper, Table 3)", "", lambda row: text[row.name]))
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
    return Difference(other.reference, other.system, -other.high, -other.low, other.n_runs, other.p_value)


def significantly_below(pairs: Pairs, name: str, names: Sequence[str], level: float) -> list[str]:
    """Those of ``names`` that ``name`` is better than, with an adjusted p-value below ``level``."""
    found = [(other, pair(pairs, name, other)) for other in names]
    return [other for other, each in found if each is not None and each.mean > 0 and each.is_below(level)]


def significance_level(config: EvaluationConfig) -> float:
    """What a p-value has to stay below; rounded, since 1 - 0.95 is a little more than 0.05."""
    return round(1 - config.confidence, 12)


def resolution(pairs: Pairs, config: EvaluationConfig) -> str:
    """A warning where the drawn sign patterns are too few for any tested pair to become significant; else nothing."""
    needed = math.ceil(sum(found.p_value is not None for found in pairs.values()) / significance_level(config))
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


def shown(results: Sequence[SystemResult], limit: int) -> list[SystemResult]:
    """The ``limit`` systems with the highest hit ratio@1 on validation, the reference among them, in their order."""
    kept = sorted(results, key=lambda row: (row.is_best or row.is_reference, row.validation["hit_ratio@1"]), reverse=True)
    return [row for row in results if any(row is other for other in kept[:limit])]
