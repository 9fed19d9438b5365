"""Formats numbers, systems and differences for all pages and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.fusion import weights
from llara_core.evaluation.paired import Difference
from llara_core.evaluation.systems import Kind
from llara_core.report.layout import MISSING

KIND_NAMES: dict[Kind, str] = {
    "baseline": "Baselines",
    "recommender": "Sequential recommenders",
    "untuned": "Untuned language models",
    "chat": "Chat models",
    "tuned": "Tuned language models",
    "fused": "Language models fused with their recommender",
}
AFTER_HOLM = "after Holm's correction"


def number(value: float | None) -> str:
    """Formats with three decimals, far finer than some hundred users can resolve."""
    return MISSING if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """Formats with three decimals and a sign; zero gets a plus."""
    return f"{round(value, 3) + 0.0:+.3f}"


def points(value: float) -> str:
    """Formats a share as whole percentage points with a sign; zero gets a plus."""
    return f"{round(100 * value):+d}"


def measure(name: str) -> Callable[[ComparedSystem], str]:
    """Returns a function that formats a test metric, or :data:`MISSING` if the system lacks it."""
    return lambda row: number(row.test.get(name))


def hit_ratio(row: ComparedSystem, name: str = "hit_ratio@1") -> str:
    """Formats test hit ratio@1 with its standard deviation over several seeds and its interval."""
    deviation = "" if row.seed_deviation is None or name != "hit_ratio@1" else f" ± {row.seed_deviation:.3f}"
    return f"{number(row.test[name])}{deviation} {interval(row, name)}"


def interval(row: ComparedSystem, name: str = "hit_ratio@1") -> str:
    """Formats the interval of the test hit ratio@1."""
    return f"[{row.test[f'{name}_low']:.3f}, {row.test[f'{name}_high']:.3f}]"


def described(row: ComparedSystem) -> str:
    """Names the system, with its recommender or fusion weight and its note in parentheses."""
    details = [f"on {row.system.recommender}"] if row.system.recommender and row.system.kind != "fused" else []
    details += [f"LLM weight {chosen_weights(row)}"] if row.system.kind == "fused" else [row.note] if row.note else []
    return f"{row.name} ({'; '.join(details)})" if details else row.name


def chosen_weights(row: ComparedSystem) -> str:
    """Lists the different LLM weights chosen by the runs of a fusion."""
    return ", ".join(f"{weight:.2f}" for weight in dict.fromkeys(weights(row.results)))


def difference(paired: Difference) -> str:
    """Formats a difference with its interval."""
    return f"{signed(paired.mean)} [{signed(paired.low)}, {signed(paired.high)}]"


def both_sides(paired: Difference) -> str:
    """Formats the two hit ratios of a difference."""
    return f"{number(paired.hit_ratio)} against {number(paired.reference_hit_ratio)}"


def probability(paired: Difference) -> str:
    """Formats the p-value, or the number of runs if it is too small for a test."""
    if paired.p_value is None:
        return runs(paired.n_runs or 0)
    return "< 0.001" if paired.p_value < 0.001 else f"{paired.p_value:.3f}"


def p_value(row: ComparedSystem) -> str:
    """Formats the adjusted p-value of the row's difference, as :func:`probability` does."""
    return MISSING if row.difference is None else probability(row.difference)


def sizes(row: ComparedSystem, n_sets: float | None = None) -> str:
    """Formats test users x candidate sets per user (``n_sets`` if given), x runs where there are several."""
    sets, n_runs = row.test["n_draws"] if n_sets is None else n_sets, len(row.results.runs)
    return f"{row.test['n_users']} x {sets}{f' x {n_runs}' if n_runs > 1 else ''}"


def sizes_in_words(row: ComparedSystem) -> str:
    """Spells out test users, candidate sets per user and training runs."""
    users, sets = (int(row.test[name]) for name in ("n_users", "n_draws"))
    spelt_out = f"{count(users, 'user')} x {count(sets, 'set')}"
    return spelt_out if row.n_runs is None else f"{spelt_out}, {runs(row.n_runs)}"


def runs(number_of: int) -> str:
    """Spells out a number of training runs."""
    return {1: "one run", 2: "two runs"}.get(number_of, f"{number_of} runs")


def listed(names: Sequence[str]) -> str:
    """Joins names into an enumeration."""
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def count(number_of: int, noun: str) -> str:
    """Formats a number with its noun in the singular or plural."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def joined(*sentences: str) -> str:
    """Joins the sentences that are not empty into a paragraph."""
    return " ".join(sentence for sentence in sentences if sentence)
