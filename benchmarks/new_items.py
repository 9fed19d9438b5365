"""The published results on new items: what was answered, kept as a file, and the table that docs/results.md shows of it.

- ``python -m benchmarks.new_items collect CELL ...`` reads the answers at every position of ``movielens_cold`` from a finished
  run (``sasrec-0 sasrec-1 ...``) and writes :data:`ANSWERS`.
- ``python -m benchmarks.new_items table`` writes the table of :data:`ANSWERS` into :data:`PAGE`; a test compares the two.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.errors import DataError
from llara_core.evaluation.paired import MIN_RUNS
from llara_core.evaluation.significance import crossed_mean, holm
from llara_core.held_out import read_positions
from llara_core.predictions import file_name, read_predictions
from pipeline.stage import run

DATASET = "movielens_cold"
ANSWERS = Path("results/new_items.parquet")
PAGE = Path("docs/results.md")
MARKS = "<!-- new-items:begin -->", "<!-- new-items:end -->"
REFERENCE = "sasrec"
ON_TEXT = {"sasrec_text", "compact_on_text", "compact_on_text_random_llm"}  # runs of one seed share the recommender
PAIRS = (("compact_on_text", "sasrec_text"), ("compact_on_text", "compact_on_text_random_llm"))
SYSTEM, SEED = "system", "seed"
IS_NEW, HIT, PICKED_NEW = "target_is_new", "hit", "picked_new"
RANK_AMONG_NEW, N_NEW = "rank_among_new", "n_new"
SCHEMA = pa.schema(
    [
        pa.field(SYSTEM, pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field(SEED, pa.int8(), nullable=False),
        pa.field(c.SPLIT, pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field(c.USER, pa.int16(), nullable=False),
        pa.field(c.EXAMPLE, pa.int16(), nullable=False),
        pa.field(IS_NEW, pa.bool_(), nullable=False),  # the target has no training interaction
        pa.field(HIT, pa.bool_(), nullable=False),
        pa.field(PICKED_NEW, pa.bool_(), nullable=False),  # the answer has none
        pa.field(RANK_AMONG_NEW, pa.int8()),  # 1-based, of a new target among the new candidates
        pa.field(N_NEW, pa.int8(), nullable=False),  # new candidates of the set
    ]
)
Floats = npt.NDArray[np.float64]


def answers(cells: list[str]) -> pa.Table:
    """The answers of some cells at every position, as :data:`SCHEMA` has them."""
    held_out = read_positions(DATASET)
    if held_out is None:
        raise DataError(f"{paths.positions(DATASET)}: no questions at positions; run `dvc repro` with {DATASET}")
    interactions = tables.read_table(paths.prepared(DATASET) / "interactions.parquet", tables.INTERACTIONS)
    trained = set(interactions.loc[interactions[c.SPLIT] == c.TRAIN, c.ITEM])
    is_new = np.array([item not in trained for item in range(len(held_out.labels))])
    asked = held_out.candidates.merge(held_out.examples[[c.EXAMPLE, c.USER, c.SPLIT, c.TARGET]], on=c.EXAMPLE)
    frames = []
    for cell in cells:
        name, _, seed = cell.rpartition("-") if "-" in cell else (cell, "", "0")
        folders = (
            paths.recommender_predictions(DATASET, cell),
            paths.system_predictions(DATASET, cell),
            paths.baseline_predictions(DATASET, cell),
        )
        folder = next((each for each in folders if each.exists()), folders[0])
        predictions, metadata = read_predictions(held_out.folder(folder) / file_name("score", "ordered"))
        if metadata.candidates_hash != held_out.candidates_hash:
            raise DataError(f"{folder}: answers other candidate sets than {held_out.source} holds; run `dvc repro`")
        rows = asked.merge(predictions[[c.EXAMPLE, c.DRAW, c.SCORES]], on=[c.EXAMPLE, c.DRAW])
        candidates, scores = np.stack(rows[c.CANDIDATES].to_list()), np.stack(rows[c.SCORES].to_list())
        own = scores[candidates == rows[c.TARGET].to_numpy()[:, None]][:, None]
        new = is_new[candidates]
        target_is_new = is_new[rows[c.TARGET].to_numpy()]
        # Ties count against the target.
        among_new = pd.array(((scores >= own) & new).sum(axis=1), dtype="Int8")
        among_new[~target_is_new] = pd.NA
        columns = {
            SYSTEM: name,
            SEED: int(seed),
            c.SPLIT: rows[c.SPLIT],
            c.USER: rows[c.USER],
            c.EXAMPLE: rows[c.EXAMPLE],
            IS_NEW: target_is_new,
            HIT: (scores >= own).sum(axis=1) == 1,
            PICKED_NEW: new[np.arange(len(rows)), scores.argmax(axis=1)],
            RANK_AMONG_NEW: among_new,
            N_NEW: new.sum(axis=1),
        }
        frames.append(pa.Table.from_pandas(pd.DataFrame(columns), SCHEMA, preserve_index=False))
    return pa.concat_tables(frames).unify_dictionaries()


def by_user(rows: pd.DataFrame, value: str, system: str, split: str, *, new: bool | None = None) -> pd.DataFrame:
    """Mean of ``value`` per run (row) and user (column): a user counts once, however many items were asked of them."""
    kept = rows[(rows[SYSTEM] == system) & (rows[c.SPLIT] == split)]
    kept = kept if new is None else kept[kept[IS_NEW] == new]
    means: pd.DataFrame = kept.groupby([SEED, c.USER], observed=True)[value].mean().unstack()
    return means


Difference = tuple[float, float, float, float]


def difference(rows: pd.DataFrame, first: str, second: str, kind: bool | None) -> Difference:
    """Mean, ends of the 95 % interval and p of the difference of two systems on the test questions that both answered.

    Args:
        kind: of the targets: True for new ones, False for known ones, None for all.
    """
    test = rows[rows[c.SPLIT] == c.TEST]
    shared = set.intersection(*(set(test.loc[test[SYSTEM] == system, c.EXAMPLE]) for system in (first, second)))
    test = test[test[c.EXAMPLE].isin(shared)]
    one, other = (by_user(test, HIT, system, c.TEST, new=kind) for system in (first, second))
    runs, users = one.index.intersection(other.index), one.columns.intersection(other.columns)
    values = [each.loc[runs, users].to_numpy() for each in (one, other)]
    # Both read the same recommender run by run, so that they have one source of training variance; others have two.
    sources = [values[0] - values[1]] if {first, second} <= ON_TEXT else values
    found = crossed_mean(values[0].mean(axis=0) - values[1].mean(axis=0), sources)
    return found.mean, *found.interval(0.95), found.p_value()


def table(rows: pd.DataFrame) -> str:
    """Two tables in Markdown: HR@1 by kind of target and how often new items are picked, and differences."""
    rows = rows.assign(
        first=(rows[RANK_AMONG_NEW] == 1).where(rows[IS_NEW]).astype(float),
        auc=((rows[N_NEW] - rows[RANK_AMONG_NEW]) / (rows[N_NEW] - 1)).where(rows[N_NEW] > 1).astype(float),
    )
    lines = [
        "| System | Runs | Validation: known / new / all | Test: known / new / all | New picked (asked) | "
        "Among new: HR@1, AUC |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    for system in dict.fromkeys(rows[SYSTEM]):
        by_split = [
            " / ".join(number(by_user(rows, HIT, system, split, new=kind).to_numpy().mean()) for kind in (False, True, None))
            for split in c.HELD_OUT
        ]
        picked, asked, first, auc = (
            float(np.nanmean(by_user(rows, value, system, c.TEST, new=kind).to_numpy()))
            for value, kind in ((PICKED_NEW, None), (IS_NEW, None), ("first", True), ("auc", True))
        )
        runs = rows.loc[rows[SYSTEM] == system, SEED].nunique()
        cells = [system, str(runs), *by_split, f"{number(picked)} ({number(asked)})", f"{number(first)}, {number(auc)}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *differences(rows)])


def differences(rows: pd.DataFrame) -> list[str]:
    """The lines of the table of differences between systems of three runs or more; p after Holm's correction, by column."""
    runs = rows.groupby(SYSTEM, observed=True)[SEED].nunique()
    trained = [system for system in dict.fromkeys(rows[SYSTEM]) if runs[system] >= MIN_RUNS]
    pairs = [(system, REFERENCE) for system in trained if system != REFERENCE]
    pairs += [pair for pair in PAIRS if set(pair) <= set(trained)]
    found = {kind: [difference(rows, *pair, kind) for pair in pairs] for kind in (None, False, True)}
    adjusted = {kind: holm([each[3] for each in of_kind]) for kind, of_kind in found.items()}
    lines = ["| Difference on test | All targets | Known targets | New targets |", "| --- | --- | --- | --- |"]
    for number_of_pair, (first, second) in enumerate(pairs):
        cells = [signed(found[kind][number_of_pair], adjusted[kind][number_of_pair]) for kind in (None, False, True)]
        lines.append(f"| {first} - {second} | {' | '.join(cells)} |")
    return lines


def number(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def signed(found: Difference, p: float) -> str:
    mean, low, high = (f"{value:+.3f}".replace("0.", ".", 1) for value in found[:3])
    return f"{mean} [{low}, {high}], p {'< .001' if p < 0.001 else number(p)}"


def page_with(text: str, page: str) -> str:
    """The page with ``text`` between its marks.

    Raises:
        DataError: it lacks them.
    """
    begin, end = MARKS
    if page.count(begin) != 1 or page.count(end) != 1:
        raise DataError(f"{PAGE}: needs one line {begin} and one line {end} around the table")
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL)


def main(
    action: Annotated[str, typer.Argument(help="collect or table.")],
    cells: Annotated[list[str] | None, typer.Argument(help="Of collect: cells such as sasrec-0.")] = None,
) -> None:
    """Collect the answers of CELLS, or write the table of those that were collected into the page of results."""
    if action == "collect":
        collected = answers(cells or [])
        ANSWERS.parent.mkdir(exist_ok=True)
        with tables.atomic_path(ANSWERS) as staged:
            pq.write_table(collected, staged, compression="zstd", compression_level=19)
        typer.echo(f"{ANSWERS}: {len(collected)} answers")
    elif action == "table":
        found = table(pq.read_table(ANSWERS).to_pandas())
        PAGE.write_text(page_with(found, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        raise DataError(f"unknown action {action!r}; choose collect or table")


if __name__ == "__main__":
    run(main)
