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
from llara_core.evaluation.significance import crossed_mean, holm
from llara_core.held_out import read_positions
from llara_core.predictions import file_name, read_predictions
from pipeline.stage import run

DATASET = "movielens_cold"
ANSWERS = Path("results/new_items.parquet")
PAGE = Path("docs/results.md")
MARKS = "<!-- new-items:begin -->", "<!-- new-items:end -->"
REFERENCE = "sasrec"
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
        name, _, seed = cell.rpartition("-")
        folders = (paths.recommender_predictions(DATASET, cell), paths.system_predictions(DATASET, cell))
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


def difference(first: pd.DataFrame, second: pd.DataFrame, *, is_shared: bool) -> tuple[float, float, float, float]:
    """Mean, ends of the 95 % interval and p of the difference of two systems, over users and runs.

    Args:
        is_shared: one is trained on the other, run by run, so that their difference is a single source of training variance.
    """
    users = first.columns.intersection(second.columns)
    one, other = first[users].to_numpy(), second[users].to_numpy()
    found = crossed_mean((one.mean(axis=0) - other.mean(axis=0)), [one - other] if is_shared else [one, other])
    return found.mean, *found.interval(0.95), found.p_value()


def table(rows: pd.DataFrame) -> str:
    """The table in Markdown: HR@1 by kind of target, how often new items are picked, and the difference to the reference."""
    rows = rows.assign(
        first=(rows[RANK_AMONG_NEW] == 1).where(rows[IS_NEW]).astype(float),
        auc=((rows[N_NEW] - rows[RANK_AMONG_NEW]) / (rows[N_NEW] - 1)).where(rows[N_NEW] > 1).astype(float),
    )
    systems = list(dict.fromkeys(rows[SYSTEM]))
    others = [system for system in systems if system != REFERENCE and rows.loc[rows[SYSTEM] == system, SEED].nunique() >= 3]
    found = {
        kind: {
            system: difference(
                _on_shared(rows, system, kind), _on_shared(rows, REFERENCE, kind, system), is_shared=system.startswith("llara")
            )
            for system in others
        }
        for kind in (None, False)
    }
    adjusted = dict(zip(others, holm([found[None][system][3] for system in others]), strict=True))
    lines = [
        "| System | Validation: known / new / all | Test: known / new / all | New picked (target) | Among new: HR@1, AUC | "
        "All - SASRec | Known - SASRec | p |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for system in systems:
        by_split = [
            " / ".join(number(by_user(rows, HIT, system, split, new=kind).to_numpy().mean()) for kind in (False, True, None))
            for split in c.HELD_OUT
        ]
        picked, target, first, auc = (
            float(np.nanmean(by_user(rows, value, system, c.TEST, new=kind).to_numpy()))
            for value, kind in ((PICKED_NEW, None), (IS_NEW, None), ("first", True), ("auc", True))
        )
        cells = [system, *by_split, f"{number(picked)} ({number(target)})", f"{number(first)}, {number(auc)}"]
        if system in others:
            cells += [signed(found[kind][system]) for kind in (None, False)]
            cells.append("< .001" if adjusted[system] < 0.001 else number(adjusted[system]))
        else:
            cells += ["reference" if system == REFERENCE else "", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _on_shared(rows: pd.DataFrame, system: str, kind: bool | None, other: str | None = None) -> pd.DataFrame:
    """HR@1 by run and user on the test questions that ``system`` and ``other`` both answered."""
    if other is not None:
        asked = rows.loc[(rows[SYSTEM] == other) & (rows[c.SPLIT] == c.TEST), c.EXAMPLE].unique()
        rows = rows[rows[c.EXAMPLE].isin(asked)]
    return by_user(rows, HIT, system, c.TEST, new=kind)


def number(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def signed(found: tuple[float, float, float, float]) -> str:
    mean, low, high = (f"{value:+.3f}".replace("0.", ".", 1) for value in found[:3])
    return f"{mean} [{low}, {high}]"


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
