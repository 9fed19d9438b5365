"""The tables of README.md and docs/results.md that rest on published results."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths
from llara_core.errors import DataError
from llara_core.evaluation.comparison import ComparedSystem, headlines
from llara_core.evaluation.intervals import user_interval
from llara_core.evaluation.paired import MIN_RUNS, Difference, paired_differences
from llara_core.evaluation.published import Facts, Published, read_published
from llara_core.evaluation.results import SystemResults
from llara_core.evaluation.significance import holm
from llara_core.report import at_positions, main_table, system_columns
from llara_core.report.layout import MISSING, Column
from llara_core.report.new_items import new_items
from llara_core.report.wording import both_sides, count, described, difference, joined, level, measure, number

README, RESULTS_PAGE = "README.md", "docs/results.md"
NOTHING_ABLATED = {
    "ablation.llm_weights": "pretrained",
    "ablation.item_vectors": "recommender",
    "ablation.recommender_scores": "out_of_fold",
}

OWN = Column[ComparedSystem]("Minus its recommender, on the same sets", "", lambda row: _minus_own(row))
CATALOGUE = Column("HR@10 of all items", "", measure("hit_ratio@10_catalogue"))


@dataclass(frozen=True)
class Block:
    """A part of a page between ``<!-- name:begin -->`` and ``<!-- name:end -->``, written from published results."""

    page: str
    name: str
    dataset: str
    text: Callable[[Published], str]

    def put_into(self, page: str, published: Published) -> str:
        """The text of the page with this part written anew.

        Raises:
            DataError: the page lacks the marks.
        """
        begin, end = (f"<!-- {self.name}:{mark} -->" for mark in ("begin", "end"))
        if page.count(begin) != 1 or page.count(end) != 1:
            raise DataError(f"{self.page}: needs one line {begin} and one line {end} around what is written between them")
        text = re.sub(r"(?<![\d.])0\.(?=\d)", ".", self.text(published))  # hit ratios without their zero, as in the terminal
        return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL)


def main(published: Published) -> str:
    """The best baseline, the recommenders and the tuned LLM systems in the mode in which they are compared."""
    compared = headlines(published.rows)
    baselines = (row for row in compared if row.system.kind == "baseline")
    baseline = max(baselines, key=lambda row: row.validation["hit_ratio@1"], default=None)
    rows = [row for row in compared if row is baseline or row.system.kind in ("recommender", "tuned")]
    columns = [*_hit_ratios(rows), OWN, CATALOGUE]
    return "\n\n".join([_markdown(columns, rows), _caption(published, rows)])


def all_systems(published: Published) -> str:
    """The verdict, and every system in the mode in which it is compared."""
    rows = headlines(published.rows)
    columns = [
        *_hit_ratios(rows),
        *system_columns.by_score(published.rows, rows),
        OWN,
        *system_columns.marked(rows, system_columns.VALID),
        CATALOGUE,
    ]
    verdict = main_table.verdict_of(rows, published.idle, level(published.facts.evaluation))
    model = f"Language model: {published.facts.settings['llm.model']}." if any(row.system.is_llm for row in rows) else ""
    caption = joined(model, _caption(published, rows))
    return "\n\n".join([f"**{published.dataset}.** {verdict}", _markdown(columns, rows), caption])


def by_seed(published: Published) -> str:
    """Hit ratios of every run of the trained systems, and the differences of LLM systems to their recommenders."""
    rows = [row for row in headlines(published.rows) if row.system.is_trained]
    shown = {described(row): row.results for row in rows}
    fewer = system_columns.answer_fewer(rows)
    for row in rows:
        other = next((each for each in rows if row.is_own and each.name == row.versus), None)
        if other is not None and row.name in fewer:
            restricted = _restricted(other.results, _shared([row.results, other.results]))
            shown.setdefault(f"{other.name}, on {_sets(row)}", restricted)
    lines = [
        "| System | Sets | Validation by seed | mean (sd) | Test by seed | mean (sd) | Valid, lowest |",
        "| --- | --- | --- | ---: | --- | ---: | ---: |",
    ]
    for name, results in shown.items():
        cells = [name, str(results.runs[0].split(c.TEST)[c.DRAW].nunique())]
        for split in c.HELD_OUT:
            hits = results.hits(split).groupby(level=c.USER).mean().mean()
            deviation = f" ({hits.std():.3f})" if len(hits) > 1 else ""
            cells += [", ".join(map(number, hits)), f"{number(hits.mean())}{deviation}"]
        cells.append(number(min(run.split(split)[c.VALID].mean() for run in results.runs for split in c.HELD_OUT)))
        lines.append(_line(cells))
    further = {row.name: row for row in headlines(published.rows_at_positions)}
    lines += ["", "| Difference on test | Last items | At positions |", "| --- | --- | --- |"]
    for row in rows:
        if row.is_own and row.difference is not None:
            there = further.get(row.name)
            cells = [f"{row.name} - {row.versus}", _with_p(row.difference), _with_p(there.difference) if there else ""]
            lines.append(_line(cells))
    return "\n".join([*lines, "", f"p after Holm's correction over all systems. {origin(published)}"])


def positions(published: Published) -> str:
    """Every system at further positions of users."""
    rows = headlines(published.rows_at_positions)
    columns = [
        system_columns.SYSTEM,
        *system_columns.marked(
            rows, _renamed(system_columns.VALIDATION, "Validation"), _renamed(system_columns.HIT_RATIO, "Test [95 %]")
        ),
        *system_columns.differences(rows),
        Column("Users x positions (x runs)", "", at_positions.sizes),
    ]
    fewer = (
        f"{system_columns.FEWER}: on fewer questions, comparable by the differences alone."
        if system_columns.answer_fewer(rows)
        else ""
    )
    return f"{_markdown(columns, rows)}\n\n{joined(fewer, origin(published))}"


def of_new_items(published: Published) -> str:
    """Hit ratios at further positions by kind of target, how often new items are picked, and differences by kind."""
    found = [each for each in published.at_positions if each.system.kind != "fused"]
    config = published.facts.evaluation
    lines = [
        "| System | Runs | Validation: known / new / all | Test: known / new / all | New picked (asked) | "
        "Among new: HR@1, AUC |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    for results in found:
        of_split = {split: new_items(results, split, user_interval(config, published.dataset, split)) for split in c.HELD_OUT}
        test = of_split[c.TEST]
        cells = [
            results.system.name,
            str(len(results.runs)),
            *(" / ".join(map(number, (each.known, each.new, each.all))) for each in of_split.values()),
            f"{number(test.picked)} ({number(test.asked)})",
            f"{number(test.among_new)}, {number(test.auc)}",
        ]
        lines.append(_line(cells))
    lines += ["", "| Difference on test | All targets | Known targets | New targets |", "| --- | --- | --- | --- |"]
    tested = {each.system.name: each for each in found if each.system.is_trained and len(each.runs) >= MIN_RUNS}
    first = next(name for name, each in tested.items() if each.system.kind == "recommender")
    ablated = {name: intact for name in tested if (intact := _ablated(name, published.facts)) in tested}
    pairs = [(name, first) for name in tested if name != first and name not in ablated]
    pairs += [
        (name, own)
        for name, each in tested.items()
        if name not in ablated and (own := each.system.recommender) in tested and own != first
    ]
    pairs += [(intact, name) for name, intact in ablated.items()]
    kinds = (None, False, True)
    by_kind = {kind: _family([(tested[one], tested[other]) for one, other in pairs], kind, published) for kind in kinds}
    for place, (one, other) in enumerate(pairs):
        lines.append(_line([f"{one} - {other}", *(_with_p(by_kind[kind][place]) for kind in kinds)]))
    return "\n".join([*lines, "", f"p after Holm's correction within a column. {origin(published)}"])


def _ablated(name: str, facts: Facts) -> str | None:
    """The LLM system from which one differs in its ablation alone; None where there is none."""

    def of(system: str) -> tuple[dict[str, Any], dict[str, Any]]:
        prefix = f"systems.{system}."
        found = {key.removeprefix(prefix): value for key, value in facts.settings.items() if key.startswith(prefix)}
        ablation = {key: found.pop(key) for key in list(found) if key.startswith("ablation.")}
        return found, ablation

    rest, ablation = of(name)
    if not rest or ablation == NOTHING_ABLATED:
        return None
    return next((each.name for each in facts.systems if of(each.key) == (rest, NOTHING_ABLATED)), None)


BLOCKS = (
    Block(README, "results", "movielens", main),
    Block(RESULTS_PAGE, "all-systems", "movielens", all_systems),
    Block(RESULTS_PAGE, "runs", "movielens", by_seed),
    Block(RESULTS_PAGE, "positions", "movielens", positions),
    Block(RESULTS_PAGE, "new-items", "movielens_cold", of_new_items),
)


def written(root: Path = Path()) -> dict[Path, str]:
    """The pages as the published results have them, without those whose results are not there; nothing is written.

    Args:
        root: of the repository.

    Raises:
        DataError: a page lacks marks, or results cannot be read.
    """
    pages: dict[Path, str] = {}
    known = {dataset: read_published(dataset, root) for dataset in dict.fromkeys(block.dataset for block in BLOCKS)}
    for block in BLOCKS:
        published = known[block.dataset]
        if published is not None:
            path = root / block.page
            page = pages.get(path) or path.read_text(encoding="utf-8")
            pages[path] = block.put_into(page, published)
    return pages


def origin(published: Published) -> str:
    """Where the published results come from."""
    file = paths.published(published.dataset)
    return f"Answers: `{file}`; commands, commits and machines: `{file.with_suffix('.json')}`."


def _shared(sides: Sequence[SystemResults], kind: bool | None = None) -> npt.NDArray[np.int64]:
    """Candidate sets that all answer, of known or of new targets where ``kind`` says so."""
    answered = []
    for side in sides:
        sets = side.runs[0].sets
        answered.append(_keys(sets if kind is None else sets[sets[c.TARGET_IS_NEW] == kind]))
    return functools.reduce(np.intersect1d, answered)


def _restricted(results: SystemResults, kept: npt.NDArray[np.int64]) -> SystemResults:
    runs = (replace(run, sets=run.sets[np.isin(_keys(run.sets), kept)]) for run in results.runs)
    return replace(results, runs=tuple(runs))


def _keys(sets: pd.DataFrame) -> npt.NDArray[np.int64]:
    """A number per candidate set."""
    keys: npt.NDArray[np.int64] = sets[c.EXAMPLE].to_numpy(np.int64) << 16 | sets[c.DRAW].to_numpy(np.int64)
    return keys


def _family(pairs: Sequence[tuple[SystemResults, SystemResults]], kind: bool | None, published: Published) -> list[Difference]:
    """Differences on the shared questions of one kind, tested as one family; every pair has users of its own."""
    found = []
    for pair in pairs:
        kept = _shared(pair, kind)
        first, second = (_restricted(side, kept) for side in pair)
        found += paired_differences([(first, second)], published.facts.evaluation)
    adjusted = holm([each.p_value for each in found if each.p_value is not None])
    return [replace(each, p_value=float(p)) for each, p in zip(found, adjusted, strict=True)]


def _hit_ratios(rows: Sequence[ComparedSystem]) -> list[Column[ComparedSystem]]:
    return [
        system_columns.SYSTEM,
        *system_columns.marked(
            rows, _renamed(system_columns.VALIDATION, "HR@1 validation"), _renamed(system_columns.HIT_RATIO, "HR@1 test [95 %]")
        ),
    ]


def _caption(published: Published, rows: Sequence[ComparedSystem]) -> str:
    """Runs, intervals and origin of the figures of ``rows``, and the meaning of their marks."""
    seeds = sorted({run.metadata.seed for row in rows if row.system.is_trained for run in row.results.runs})
    over = "users and runs, of what is not trained over users" if len(seeds) >= MIN_RUNS else "users"
    fewer = system_columns.answer_fewer(rows)
    sets = {row.name in fewer: _sets(row) for row in rows}
    return joined(
        f"{count(len(seeds), 'run')} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}); intervals cover "
        f"{published.facts.evaluation.confidence:.0%} over {over}.",
        "±: standard deviation over runs." if len(seeds) > 1 else "",
        "Bold: best on validation." if any(row.is_best for row in rows) else "",
        f"{system_columns.FEWER}: on {sets[True]} per user instead of {sets[False]}; compare by the difference alone."
        if fewer
        else "",
        origin(published),
    )


def _minus_own(row: ComparedSystem) -> str:
    if row.difference is None or not row.is_own:
        return ""
    return f"{difference(row.difference)}, {both_sides(row.difference)}"


def _with_p(found: Difference | None) -> str:
    if found is None:
        return MISSING
    if found.p_value is None:
        return difference(found)
    return f"{difference(found)}, p {'< 0.001' if found.p_value < 0.001 else number(found.p_value)}"


def _markdown(columns: Sequence[Column[ComparedSystem]], rows: Sequence[ComparedSystem]) -> str:
    lines = [_line([column.heading for column in columns]), f"|{' --- |' * len(columns)}"]
    for row in rows:
        name, *figures = (column.text(row) for column in columns)
        lines.append(_line([f"**{name}**" if row.is_best else name, *figures]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _renamed(column: Column[ComparedSystem], heading: str) -> Column[ComparedSystem]:
    return replace(column, heading=heading)


def _sets(row: ComparedSystem) -> str:
    return count(int(row.test["n_draws"]), "candidate set")
