"""Numbers, systems and differences as text, the same on every page and in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llara_core.config import EvaluationConfig
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
    """Three decimals: what some hundred users can tell apart is far coarser."""
    return MISSING if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """Three decimals with a sign; a zero has a plus."""
    return f"{round(value, 3) + 0.0:+.3f}"


def points(value: float) -> str:
    """Whole percentage points with a sign; a zero has a plus."""
    return f"{round(100 * value):+d}"


def measure(name: str) -> Callable[[ComparedSystem], str]:
    """The text of a test metric, or :data:`MISSING` where the system does not have it."""
    return lambda row: number(row.test.get(name))


def hit_ratio(row: ComparedSystem, name: str = "hit_ratio@1") -> str:
    """Test hit ratio@1, its deviation over several seeds, and its interval."""
    deviation = "" if row.seed_deviation is None or name != "hit_ratio@1" else f" ± {row.seed_deviation:.3f}"
    return f"{number(row.test[name])}{deviation} {interval(row, name)}"


def interval(row: ComparedSystem, name: str = "hit_ratio@1") -> str:
    """The interval of the test hit ratio@1."""
    return f"[{row.test[f'{name}_low']:.3f}, {row.test[f'{name}_high']:.3f}]"


def described(row: ComparedSystem) -> str:
    """The system, with its recommender or the weights of a fusion, and its note, in parentheses."""
    details = [f"on {row.system.recommender}"] if row.system.recommender and row.system.kind != "fused" else []
    details += [f"LLM weight {chosen_weights(row)}"] if row.system.kind == "fused" else [row.note] if row.note else []
    return f"{row.name} ({'; '.join(details)})" if details else row.name


def chosen_weights(row: ComparedSystem) -> str:
    """The weights of the LLM that the runs of a fusion chose."""
    return ", ".join(f"{weight:.2f}" for weight in dict.fromkeys(weights(row.results)))


def difference(found: Difference) -> str:
    """A difference with its interval."""
    return f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"


def both_sides(found: Difference) -> str:
    """The two hit ratios whose difference it is."""
    return f"{number(found.system)} against {number(found.reference)}"


def probability(found: Difference) -> str:
    """The p-value, or the number of runs where that is too small for one."""
    if found.p_value is None:
        return runs(found.n_runs or 0)
    return "< 0.001" if found.p_value < 0.001 else f"{found.p_value:.3f}"


def p_value(row: ComparedSystem) -> str:
    """The adjusted p-value of the row's difference, as :func:`probability`."""
    return MISSING if row.difference is None else probability(row.difference)


def level(config: EvaluationConfig) -> float:
    """What a p-value has to stay below; rounded, since 1 - 0.95 is a little more than 0.05."""
    return round(1 - config.confidence, 12)


def sizes(row: ComparedSystem, n_draws: float | None = None) -> str:
    """Test users, candidate sets per user (``n_draws`` instead of all), and seeds where there are several."""
    sets, n_runs = row.test["n_draws"] if n_draws is None else n_draws, len(row.results.runs)
    return f"{row.test['n_users']} x {sets}{f' x {n_runs}' if n_runs > 1 else ''}"


def sizes_in_words(row: ComparedSystem) -> str:
    """Test users, candidate sets per user, and training runs."""
    users, sets = (int(row.test[name]) for name in ("n_users", "n_draws"))
    said = f"{users:,} user{'' if users == 1 else 's'} x {sets} set{'' if sets == 1 else 's'}"
    return said if row.n_runs is None else f"{said}, {runs(row.n_runs)}"


def runs(number_of: int) -> str:
    """A number of training runs."""
    return {1: "one run", 2: "two runs"}.get(number_of, f"{number_of} runs")


def listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def count(number_of: int, noun: str) -> str:
    """A number of things."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def joined(*sentences: str) -> str:
    """Sentences as one paragraph; empty ones are left out."""
    return " ".join(sentence for sentence in sentences if sentence)
