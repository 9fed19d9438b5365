"""Tables of README.md and docs/results.md that are generated from published results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llara_core import columns as c
from llara_core import paths
from llara_core.config import OBJECTIVES, EvaluationConfig
from llara_core.errors import DataError
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.means import user_interval
from llara_core.evaluation.paired import MIN_RUNS, Difference, paired_differences
from llara_core.evaluation.published import Provenance, Published, read_published
from llara_core.evaluation.results import SystemResults
from llara_core.evaluation.significance import POWER, holm
from llara_core.report import at_positions, few_users, main_table, system_columns
from llara_core.report.layout import MISSING, Column
from llara_core.report.new_items import new_items
from llara_core.report.wording import (
    both_sides,
    count,
    described,
    difference,
    joined,
    listed,
    measure,
    number,
    probability,
)

README, RESULTS_PAGE, FEW_USERS_FIGURE = "README.md", "docs/results.md", "docs/figures/few_users.png"
NOTHING_ABLATED = {
    "ablation.llm_weights": "pretrained",
    "ablation.item_vectors": "recommender",
    "ablation.recommender_scores": "out_of_fold",
}

# Published data set whose systems read titles alone, where those of movielens_cold read titles and attributes.
TITLES_ALONE = "movielens_cold_titles"
# Systems that represent new items in another way than the system that they are compared with.
OTHER_NEW_ITEMS = {"compact_from_regression": "compact_on_text"}

FEWER_QUESTIONS = f"{system_columns.FEWER}: on fewer questions, comparable only by the differences."
DETECTABLE = f"Detectable: smallest true difference found in {POWER:.0%} of cases, before correction."
VERSUS_RECOMMENDER = Column[ComparedSystem]("Minus its recommender, on the same sets", "", lambda row: _minus_own(row))
CATALOGUE = Column("HR@10 of all items", "", measure("hit_ratio@10_catalogue"))
HIT_RATIO = Column("HR@1", "", measure("hit_ratio@1"))


@dataclass(frozen=True)
class Block:
    """A generated part of a page, between ``<!-- name:begin -->`` and ``<!-- name:end -->``."""

    page: str
    name: str
    datasets: tuple[str, ...]
    text: Callable[..., str]  # builds the part from the published results of each data set

    def insert_into(self, page: str, published: Sequence[Published]) -> str:
        """Returns the text of the page with this part regenerated.

        Raises:
            DataError: the page lacks the markers.
        """
        begin, end = (f"<!-- {self.name}:{mark} -->" for mark in ("begin", "end"))
        if page.count(begin) != 1 or page.count(end) != 1:
            raise DataError(f"{self.page}: needs exactly one line {begin} and one line {end} around the generated part")
        text = re.sub(r"(?<![\d.])0\.(?=\d)", ".", self.text(*published))  # no zero before the point, as in the terminal
        return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL)


def results_table(published: Published) -> str:
    """Builds the table of README.md: the best baseline, the recommenders and the tuned LLM systems in their primary modes.

    Hit ratios by score of systems that write text follow in a sentence.
    """
    primary = published.primary_rows
    baselines = (row for row in primary if row.system.kind == "baseline")
    baseline = max(baselines, key=lambda row: row.validation["hit_ratio@1"], default=None)
    rows = [row for row in primary if row is baseline or row.system.kind in ("recommender", "tuned")]
    columns = [system_columns.SYSTEM, *_hit_ratios(rows, "HR@1 validation", "HR@1 test [95 %]"), VERSUS_RECOMMENDER, CATALOGUE]
    return f"{_system_table(columns, rows)}\n\n{joined(_by_score(published.rows, rows), _caption(published, rows))}"


def all_systems_table(published: Published) -> str:
    """Builds the table of every system in its primary mode, below the verdict."""
    rows = published.primary_rows
    columns = [
        system_columns.SYSTEM,
        *_hit_ratios(rows, "HR@1 validation", "HR@1 test [95 %]"),
        *system_columns.by_score(published.rows, rows),
        VERSUS_RECOMMENDER,
        *system_columns.marked(rows, system_columns.VALID),
        CATALOGUE,
    ]
    verdict = main_table.summary(rows, published.zero_weight_fusions, published.level)
    model = f"Language model: {published.provenance.settings['llm.model']}." if any(row.system.is_llm for row in rows) else ""
    caption = joined(model, _caption(published, rows))
    return "\n\n".join([f"**{published.dataset}.** {verdict}", _system_table(columns, rows), caption])


def runs_table(published: Published) -> str:
    """Builds the tables of hit ratios of every run of the trained systems, and of differences to recommenders."""
    rows = [row for row in published.primary_rows if row.system.is_trained]
    shown = {described(row): (row.results, row.results) for row in rows}  # results, and those whose candidate sets count
    fewer = system_columns.answer_fewer(rows)
    for row in rows:
        other = next((each for each in rows if row.is_versus_recommender and each.name == row.versus), None)
        if other is not None and row.name in fewer:
            shown.setdefault(f"{other.name}, on {_sets(row)}", (other.results, row.results))
    lines = []
    for name, (results, counted) in shown.items():
        cells = [name, str(counted.runs[0].split(c.TEST)[c.DRAW].nunique())]
        for split in c.HELD_OUT:
            hits = results.hits(split)
            by_seed = hits[hits.index.isin(counted.hits(split).index)].groupby(level=c.USER).mean().mean()
            deviation = f" ({by_seed.std():.3f})" if len(by_seed) > 1 else ""
            cells += [", ".join(map(number, by_seed)), f"{number(by_seed.mean())}{deviation}"]
        valid = min(run.split(split)[c.VALID].mean() for run in results.runs for split in c.HELD_OUT)
        lines.append([*cells, number(valid)])
    runs = _table("System | Sets | Validation by seed | mean (sd) | Test by seed | mean (sd) | Valid, lowest", lines)
    further = {row.name: row.difference for row in published.primary_rows_at_positions}
    alpha = published.level
    lines = [
        [
            f"{row.name} - {row.versus}",
            _with_p(row.difference, alpha),
            _with_p(further[row.name], alpha) if row.name in further else "",
        ]
        for row in rows
        if row.is_versus_recommender and row.difference is not None
    ]
    differences = _table("Difference on test | Last items | At positions", lines)
    return f"{runs}\n\n{differences}\n\np after Holm's correction over all systems. {DETECTABLE} {origin(published)}"


def budgets_table(default: Published, larger: Published) -> str:
    """Builds the table of the systems that were also tuned on larger budgets.

    Args:
        default: results of the default run.
        larger: results of some of its systems on larger budgets.
    """

    lines: dict[str, list[list[str]]] = {}  # by system, on the smaller budget first
    for published in (default, larger):
        rows = [row for row in published.primary_rows if row.system.kind == "tuned"]
        columns = [
            *_hit_ratios(rows, "HR@1 validation", "HR@1 test [95 %]"),
            *system_columns.by_score(published.rows, rows),
            VERSUS_RECOMMENDER,
        ]
        for row in rows:
            limit = published.provenance.settings[f"systems.{row.system.key}.tune.max_examples"]
            budget = "one epoch" if limit is None else f"{limit:,} {OBJECTIVES[row.objective].unit}"
            lines.setdefault(row.name, []).append([described(row), budget, *(column.text(row) for column in columns)])
    header = " | ".join(["System", "Tuned on", *(column.heading for column in columns)])
    in_both = [line for row in rows for line in lines[row.name]]
    return f"{_table(header, in_both)}\n\n{_caption(larger, rows)}"


def positions_table(published: Published) -> str:
    """Builds the table of all systems at further positions of users."""
    rows = published.primary_rows_at_positions
    columns = [
        system_columns.SYSTEM,
        *_hit_ratios(rows, "Validation", "Test [95 %]"),
        *system_columns.differences(rows),
        Column("Users x positions (x runs)", "", at_positions.sizes),
    ]
    notes = joined(FEWER_QUESTIONS if system_columns.answer_fewer(rows) else "", origin(published))
    return f"{_system_table(columns, rows)}\n\n{notes}"


def new_items_table(published: Published, *on_titles: Published) -> str:
    """Builds the tables of hit ratios at further positions on known and new targets, and of differences on each.

    Args:
        published: results of all systems.
        on_titles: results of some of them that read titles alone, on the same questions.

    Raises:
        DataError: the two answer other questions.
    """
    systems = _answering_new_items(published, on_titles)
    n_questions = {each.system.name: len(each.runs[0].split(c.TEST)) for each in systems}
    fewer = {name for name, n in n_questions.items() if n < max(n_questions.values())}
    lines = []
    for results in systems:
        mark = f" {system_columns.FEWER}" if results.system.name in fewer else ""
        of_split = {
            split: new_items(results, split, user_interval(published.config, published.dataset, split)) for split in c.HELD_OUT
        }
        test = of_split[c.TEST]
        lines.append(
            [
                results.system.name,
                str(len(results.runs)),
                *(f"{' / '.join(map(number, (each.known, each.new, each.all)))}{mark}" for each in of_split.values()),
                f"{number(test.picked)} ({number(test.asked)}){mark}",
                f"{number(test.among_new)}, {number(test.auc)}{mark}",
            ]
        )
    hit_ratios = _table(
        "System | Runs | Validation: known / new / all | Test: known / new / all | New picked (asked) | Among new: HR@1, AUC",
        lines,
    )
    notes = joined(
        FEWER_QUESTIONS if fewer else "",
        f"p after Holm's correction within a column. {DETECTABLE}",
        *map(origin, (published, *on_titles)),
    )
    return f"{hit_ratios}\n\n{_differences_by_target(systems, published)}\n\n{notes}"


def _answering_new_items(published: Published, on_titles: Sequence[Published]) -> list[SystemResults]:
    """Returns the systems that rank candidates at further positions, without fusions of tuned models; names tell which of them
    read titles alone.

    Raises:
        DataError: the published results answer other questions.
    """
    results = list(published.at_positions)
    for other in on_titles:
        if other.provenance.positions != published.provenance.positions:
            raise DataError(f"results: {published.dataset} and {other.dataset} answer other questions; collect them again")
        for each in other.at_positions:
            own = each.system
            # Renamed, since it shares no training with the system of the same name that also reads attributes.
            recommender = None if own.recommender is None else _on_titles(own.recommender)
            renamed = replace(own, name=_on_titles(own.name), key=_on_titles(own.key), recommender=recommender)
            results.append(replace(each, system=renamed))
    untuned = {each.system.key for each in published.at_positions if each.system.kind == "untuned"}
    return [each for each in results if each.mode == "score" or (each.mode == "fused" and each.system.key in untuned)]


def _differences_by_target(systems: Sequence[SystemResults], published: Published) -> str:
    """Builds the table of differences on all, known and new targets: of trained systems to the first recommender and to their
    own, and of systems to those that differ from them in one respect."""
    tested = {each.system.name: each for each in systems if each.system.is_trained and len(each.runs) >= MIN_RUNS}
    first = next(name for name, each in tested.items() if each.system.kind == "recommender")
    changed = {name: intact for name in tested if (intact := _ablated(name, published.provenance)) in tested}
    changed |= {name: whole for name, whole in OTHER_NEW_ITEMS.items() if name in tested and whole in tested}
    changed |= {_on_titles(name): name for name in tested if _on_titles(name) in tested}
    own_of = {name: each.system.recommender for name, each in tested.items() if name not in changed}
    pairs = [(name, first) for name in own_of if name != first]
    pairs += [(name, own) for name, own in own_of.items() if own in tested and own != first]
    pairs += [(whole, name) for name, whole in changed.items()]
    results = [(tested[one], tested[other]) for one, other in pairs]
    families = [_family(results, is_new, published.config) for is_new in (None, False, True)]
    lines = [
        [f"{one} - {other}", *(_with_p(each, published.level) for each in row)]
        for (one, other), *row in zip(pairs, *families, strict=True)
    ]
    return _table("Difference on test | All targets | Known targets | New targets", lines)


def _on_titles(name: str) -> str:
    """Names the counterpart of a system that reads titles alone."""
    return f"{name}, titles"


def _ablated(name: str, provenance: Provenance) -> str | None:
    """Returns the LLM system that differs from ``name`` only in the ablation; None if there is none."""

    def of(system: str) -> tuple[dict[str, Any], dict[str, Any]]:
        prefix = f"systems.{system}."
        settings = {key.removeprefix(prefix): value for key, value in provenance.settings.items() if key.startswith(prefix)}
        ablation = {key: settings.pop(key) for key in list(settings) if key.startswith("ablation.")}
        return settings, ablation

    rest, ablation = of(name)
    if not rest or ablation == NOTHING_ABLATED:
        return None
    return next((each.name for each in provenance.systems if of(each.key) == (rest, NOTHING_ABLATED)), None)


def few_users_table(*published: Published) -> str:
    """Builds the table of hit ratios at further positions by share of training users, and of differences to ids alone and, for
    LLM systems, to their recommenders."""
    systems = few_users.curves(published)
    pairs = [(few_users.TEXT, few_users.IDS)]
    pairs += [(name, str(rows[0].versus)) for name, rows in systems.items() if rows[0].is_versus_recommender]
    lines = []
    for place, (share, results) in enumerate(zip(few_users.SHARES.values(), published, strict=True)):
        columns = system_columns.marked([rows[place] for rows in systems.values()], HIT_RATIO)
        figures = [columns[0].text(rows[place]) for rows in systems.values()]
        by_name = {each.system.name: each for each in results.at_positions}
        paired = _family([(by_name[one], by_name[other]) for one, other in pairs], None, results.config)
        lines.append([f"{share:.0%}", *figures, *(_with_p(each, results.level) for each in paired)])
    header = " | ".join(["Training users", *systems, *(f"{one} - {other}" for one, other in pairs)])
    datasets = ", ".join(f"`{each.dataset}`" for each in published)
    notes = joined(
        FEWER_QUESTIONS if system_columns.answer_fewer([rows[0] for rows in systems.values()]) else "",
        f"p after Holm's correction within a row. {DETECTABLE}" if len(pairs) > 1 else "p is not adjusted.",
        f"Answers, commands, commits and machines: `results/`, data sets {datasets}.",
    )
    return f"{_table(header, lines)}\n\n{notes}"


BLOCKS = (
    Block(README, "results", ("movielens",), results_table),
    Block(RESULTS_PAGE, "all-systems", ("movielens",), all_systems_table),
    Block(RESULTS_PAGE, "runs", ("movielens",), runs_table),
    Block(RESULTS_PAGE, "larger-budgets", ("movielens", "movielens_larger_budgets"), budgets_table),
    Block(RESULTS_PAGE, "positions", ("movielens",), positions_table),
    Block(RESULTS_PAGE, "new-items", ("movielens_cold", TITLES_ALONE), new_items_table),
    Block(RESULTS_PAGE, "few-users", tuple(few_users.SHARES), few_users_table),
)


def updated_pages(root: Path = Path()) -> dict[Path, str]:
    """Returns the text of each page that has published results, with its generated parts; writes nothing.

    Raises:
        DataError: a page lacks markers, or results cannot be read.
    """
    pages: dict[Path, str] = {}
    names = dict.fromkeys(dataset for block in BLOCKS for dataset in block.datasets)
    results = {dataset: each for dataset in names if (each := read_published(dataset, root)) is not None}
    for block in BLOCKS:
        published = [results[dataset] for dataset in block.datasets if dataset in results]
        if len(published) == len(block.datasets):
            path = root / block.page
            pages[path] = block.insert_into(pages.get(path) or path.read_text(encoding="utf-8"), published)
    return pages


def updated_figures(root: Path = Path()) -> dict[Path, bytes]:
    """Returns the figures of docs/results.md, as PNG files, whose published results are there; writes nothing.

    Raises:
        DataError: results cannot be read.
    """
    published = [each for dataset in few_users.SHARES if (each := read_published(dataset, root)) is not None]
    if len(published) < len(few_users.SHARES):
        return {}
    return {root / FEW_USERS_FIGURE: few_users.figure(few_users.curves(published))}


def origin(published: Published) -> str:
    """Names the files that hold the published results and their provenance."""
    file = paths.published(published.dataset)
    return f"Answers: `{file}`; commands, commits and machines: `{file.with_suffix('.json')}`."


def _family(
    pairs: Sequence[tuple[SystemResults, SystemResults]], is_new: bool | None, config: EvaluationConfig
) -> list[Difference]:
    """Compares each pair on its common users and adjusts the p-values as one family.

    Args:
        is_new: whether only new or only known targets count; None counts all.
    """

    def restricted(results: SystemResults) -> SystemResults:
        if is_new is None:
            return results
        runs = (replace(run, sets=run.sets[run.sets[c.TARGET_IS_NEW] == is_new]) for run in results.runs)
        return replace(results, runs=tuple(runs))

    differences = [paired_differences([(restricted(one), restricted(other))], config)[0] for one, other in pairs]
    adjusted = holm([each.p_value for each in differences if each.p_value is not None])
    return [replace(each, p_value=float(p)) for each, p in zip(differences, adjusted, strict=True)]


def _caption(published: Published, rows: Sequence[ComparedSystem]) -> str:
    """Describes runs, intervals and origin of the figures of ``rows``, and the meaning of their marks."""
    seeds = sorted({run.metadata.seed for row in rows if row.system.is_trained for run in row.results.runs})
    over = "users and runs, for untrained systems over users" if len(seeds) >= MIN_RUNS else "users"
    fewer = system_columns.answer_fewer(rows)
    sets = {row.name in fewer: _sets(row) for row in rows}
    return joined(
        f"{count(len(seeds), 'run')} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}); "
        f"{published.config.confidence:.0%} intervals over {over}.",
        "±: standard deviation over runs." if len(seeds) > 1 else "",
        "Bold: best on validation." if any(row.is_best for row in rows) else "",
        f"{system_columns.FEWER}: on {sets[True]} per user instead of {sets[False]}; only the differences are comparable."
        if fewer
        else "",
        origin(published),
    )


def _minus_own(row: ComparedSystem) -> str:
    if row.difference is None or not row.is_versus_recommender:
        return ""
    return f"{difference(row.difference)}, {both_sides(row.difference)}"


def _with_p(paired: Difference | None, alpha: float) -> str:
    if paired is None:
        return MISSING
    if paired.p_value is None:
        return difference(paired)
    seen = "" if paired.is_below(alpha) or not paired.detectable else f", detectable {number(paired.detectable)}"
    return f"{difference(paired)}, p {probability(paired)}{seen}"


def _by_score(all_rows: Sequence[ComparedSystem], rows: Sequence[ComparedSystem]) -> str:
    """States the hit ratios by score of the systems of ``rows`` that write text; empty if there are none."""
    figures = [
        f"{row.name} {figure}"
        for column in system_columns.by_score(all_rows, rows)  # there is at most one column
        for row in rows
        if (figure := column.text(row)) != MISSING
    ]
    return f"Test HR@1 by score instead of text: {listed(figures)}." if figures else ""


def _hit_ratios(rows: Sequence[ComparedSystem], validation: str, test: str) -> list[Column[ComparedSystem]]:
    columns = (replace(system_columns.VALIDATION, heading=validation), replace(system_columns.HIT_RATIO, heading=test))
    return system_columns.marked(rows, *columns)


def _system_table(columns: Sequence[Column[ComparedSystem]], rows: Sequence[ComparedSystem]) -> str:
    lines = []
    for row in rows:
        name, *figures = (column.text(row) for column in columns)
        lines.append([f"**{name}**" if row.is_best else name, *figures])
    return _table(" | ".join(column.heading for column in columns), lines)


def _table(header: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [header, " | ".join(["---"] * (header.count(" | ") + 1)), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _sets(row: ComparedSystem) -> str:
    return count(int(row.test["n_draws"]), "candidate set")
