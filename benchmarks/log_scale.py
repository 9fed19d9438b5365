"""Measures reading and preparing of an own log: ``python -m benchmarks.log_scale FOLDER --rows 30000000 --stages``.

Writes a generated log with the shape of MovieLens-32M into FOLDER, then prints wall seconds and peak memory (``ru_maxrss``) of
several engines, of the reader :mod:`llara_core.readers.own_log` and, with ``--stages``, of the stages ``prepare`` and
``sample_candidates``, each in its own process. The engines read a CSV file in order: text ids as int32 numbers in ascending
order of the raw ids, times as int64, ratings as float64. Engines that are not installed are skipped.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from ruamel.yaml import YAML

from llara_core import paths
from llara_core.config.datasets import PLAIN_LOG
from pipeline.stage import run

ROOT = Path(__file__).resolve().parent.parent
DATASET = "scale"
INTERACTIONS, ITEMS = "interactions.csv", "items.csv"
USER, ITEM, RATING, TIME = "userId", "movieId", "rating", "timestamp"

# MovieLens-32M: 87,585 movies and 200,948 users, each with at least 20 ratings, half of them with at most 73.
N_ITEMS = 87_585
USERS_PER_ROW = 200_948 / 30_000_000
MIN_ACTIVITY, MEDIAN_ACTIVITY, MEAN_ACTIVITY = 20, 73, 159
CHUNK_ROWS = 1_000_000
WORDS = ["Night", "River", "Last", "Stone", "Garden", "Winter", "Story", "Silent", "Road", "King", "Moon", "City"]

Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Layout = Literal["movielens", "shop"]


def main(
    folder: Annotated[Path, typer.Argument(help="Scratch folder for the log and the outputs.")],
    rows: Annotated[int, typer.Option(min=1, help="Interactions to generate.")] = 5_000_000,
    layout: Annotated[
        Layout, typer.Option(help="movielens: whole-number ids, by user and item; shop: text ids, by time.")
    ] = "movielens",
    engines: Annotated[str, typer.Option(help="Engines to compare, comma-separated.")] = "pandas,pyarrow,polars,duckdb",
    stages: Annotated[bool, typer.Option("--stages", help="Also run prepare and sample_candidates.")] = False,
) -> None:
    """Generates a log in FOLDER unless it has one, and measures reading it."""
    raw = folder / paths.raw(DATASET)
    if not raw.is_dir():
        report("generate", generate, raw, rows, layout)
    write_params(folder)
    typer.echo(f"{raw / INTERACTIONS}: {(raw / INTERACTIONS).stat().st_size / 1e6:,.0f} MB; {os.cpu_count()} cores")
    results = {}
    for name in engines.split(","):
        if name not in ENGINES:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(ENGINES)}", param_hint="--engines")
        if importlib.util.find_spec(name):
            results[name] = report(name, read_with, name, raw / INTERACTIONS)
        else:
            typer.echo(f"{name:20s} is not installed: skipped")
    if len(set(results.values()) - {None}) > 1:
        raise SystemExit(f"the engines disagree: {results}")
    report("own_log.read", read_log, folder)
    if stages:
        for stage in ("prepare", "sample_candidates"):
            report(stage, run_stage, stage, folder)


def generate(raw: Path, rows: int, layout: Layout) -> None:
    """Writes ``interactions.csv`` and ``items.csv`` into ``raw``, with skewed popularity and activity and distinct pairs."""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import csv

    from llara_core.tables import atomic_path

    rng = np.random.default_rng(0)
    n_users = max(1, round(rows * USERS_PER_ROW))
    typical = MEDIAN_ACTIVITY - MIN_ACTIVITY
    spread = np.sqrt(2 * np.log((MEAN_ACTIVITY - MIN_ACTIVITY) / typical))
    activity = MIN_ACTIVITY + rng.lognormal(np.log(typical), spread, n_users)
    # The most popular item has 0.3 % of all interactions; half of the items share 1 %.
    popularity = rng.permutation((np.arange(N_ITEMS) + 250.0) ** -1.7)
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < rows:
        n_drawn = rows - len(pairs) + rows // 5
        drawn = _draw(rng, activity, n_drawn) * N_ITEMS + _draw(rng, popularity, n_drawn)
        pairs = np.sort(np.concatenate([pairs, drawn]))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # np.unique hashes large integers, which takes 15 times as long
    pairs = np.delete(pairs, rng.choice(len(pairs), len(pairs) - rows, replace=False))
    users, items = pairs // N_ITEMS, pairs % N_ITEMS
    first = rng.integers(820_454_400, 1_697_000_000, n_users)  # January 1996 to October 2023
    seconds = first[users] + rng.exponential(3 * 86_400, rows).astype(np.int64)
    ratings = rng.integers(1, 11, rows) / 2
    if layout == "shop":
        order = np.argsort(seconds, kind="stable")
        users, items, seconds = users[order], items[order], seconds[order]
    user_ids, item_ids = (pa.array(_ids(layout, prefix, n)) for prefix, n in (("u-", n_users), ("B0", N_ITEMS)))

    schema = pa.schema({USER: pa.string(), ITEM: pa.string(), RATING: pa.float64(), TIME: pa.int64()})
    plain = csv.WriteOptions(quoting_style="none", quoting_header="none")
    with atomic_path(raw) as staged:
        staged.mkdir()
        with csv.CSVWriter(staged / INTERACTIONS, schema, write_options=plain) as writer:
            for start in range(0, rows, CHUNK_ROWS):
                part = slice(start, start + CHUNK_ROWS)
                ids = user_ids.take(pa.array(users[part])), item_ids.take(pa.array(items[part]))
                writer.write(pa.table([*ids, ratings[part], seconds[part]], schema=schema))
        years = rng.integers(1920, 2024, N_ITEMS)
        titles = [
            f"{' '.join(words)}, The ({year})" for words, year in zip(rng.choice(WORDS, (N_ITEMS, 4)), years, strict=True)
        ]
        pd.DataFrame({ITEM: item_ids.to_pylist(), "title": titles}).to_csv(staged / ITEMS, index=False)


def _draw(rng: np.random.Generator, weights: np.ndarray, n: int) -> np.ndarray:
    """Draws ``n`` indices of ``weights`` with probabilities proportional to the weights."""
    bounds = np.cumsum(weights)
    places: np.ndarray = np.searchsorted(bounds, rng.random(n) * bounds[-1], side="right")
    return places


def _ids(layout: Layout, prefix: str, n: int) -> list[str]:
    if layout == "movielens":
        return [str(number) for number in range(1, n + 1)]
    # An odd factor permutes the 32-bit numbers, so that the ids are distinct and unordered.
    return [f"{prefix}{number * 0x9E3779B1 % 2**32:08x}" for number in range(1, n + 1)]


def with_pandas(path: Path) -> Columns:
    import pandas as pd

    kinds = {USER: "category", ITEM: "category", RATING: "float64", TIME: "int64"}
    frame = pd.read_csv(path, dtype=kinds)
    users, items = (_ranks(frame[name].cat.categories.to_numpy())[frame[name].cat.codes.to_numpy()] for name in (USER, ITEM))
    return users, items, frame[TIME].to_numpy(), frame[RATING].to_numpy()


def with_pyarrow(path: Path) -> Columns:
    import pyarrow as pa
    from pyarrow import csv

    kinds = {USER: pa.string(), ITEM: pa.string(), RATING: pa.float64(), TIME: pa.int64()}
    batches = []
    with csv.open_csv(
        path,
        csv.ReadOptions(block_size=1 << 24),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(column_types=kinds),
    ) as reader:
        for batch in reader:
            ids = [batch.column(name).dictionary_encode() for name in (USER, ITEM)]
            batches.append(pa.record_batch([*ids, batch.column(TIME), batch.column(RATING)], names=[USER, ITEM, TIME, RATING]))
    table = pa.Table.from_batches(batches).unify_dictionaries()
    users, items = (
        _ranks(table[name].chunk(0).dictionary.to_numpy(zero_copy_only=False))[
            np.concatenate([chunk.indices.to_numpy() for chunk in table[name].chunks])
        ]
        for name in (USER, ITEM)
    )
    return users, items, table[TIME].to_numpy(), table[RATING].to_numpy()


def with_polars(path: Path) -> Columns:
    import polars as pl

    kinds = {USER: pl.Categorical(pl.Categories("user")), ITEM: pl.Categorical(pl.Categories("item"))}
    frame = pl.scan_csv(path, schema_overrides={**kinds, RATING: pl.Float64, TIME: pl.Int64}).collect(engine="streaming")
    codes = []
    for name in (USER, ITEM):
        distinct = frame[name].unique()
        ranks = np.empty(distinct.to_physical().max() + 1, dtype=np.int32)
        ranks[distinct.to_physical().to_numpy()] = _ranks(distinct.cast(pl.String).to_numpy())
        codes.append(ranks[frame[name].to_physical().to_numpy()])
    return *codes, frame[TIME].to_numpy(), frame[RATING].to_numpy()


def with_duckdb(path: Path) -> Columns:
    import duckdb

    log = f"read_csv('{path}', types={{'{USER}': 'VARCHAR', '{ITEM}': 'VARCHAR', '{RATING}': 'DOUBLE', '{TIME}': 'BIGINT'}})"
    connection = duckdb.connect()
    for kind, name in (("users", USER), ("items", ITEM)):
        ids = f"SELECT DISTINCT {name} FROM {log}"
        connection.execute(f"CREATE TYPE {kind} AS ENUM (SELECT * FROM ({ids}) ORDER BY TRY_CAST({name} AS BIGINT), {name})")
    codes = f"enum_code({USER}::users)::INTEGER AS u, enum_code({ITEM}::items)::INTEGER AS i"
    found = connection.execute(f"SELECT {codes}, {TIME} AS t, {RATING} AS r FROM {log}").fetchnumpy()
    return found["u"], found["i"], found["t"], found["r"]


ENGINES: dict[str, Callable[[Path], Columns]] = {
    "pandas": with_pandas,
    "pyarrow": with_pyarrow,
    "polars": with_polars,
    "duckdb": with_duckdb,
}


def read_with(engine: str, path: Path) -> tuple[int, ...]:
    """Returns row count, largest numbers and checksums, which must be equal for all engines."""
    columns = [np.ascontiguousarray(column) for column in ENGINES[engine](path)]
    assert [column.dtype for column in columns] == [np.int32, np.int32, np.int64, np.float64]
    users, items, *_ = columns
    return len(users), int(users.max()), int(items.max()), *(zlib.crc32(column.tobytes()) for column in columns)


def write_params(folder: Path) -> None:
    """Writes the project's ``params.yaml`` with a section for the log, so that stages run in ``folder``."""
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load(ROOT / paths.PARAMS)
    columns = {"user": USER, "item": ITEM, "time": TIME, "rating": RATING, "item_id": ITEM, "title": "title"}
    params["datasets"][DATASET] = {**PLAIN_LOG, "interactions": INTERACTIONS, "items": ITEMS, "columns": columns}
    yaml.dump(params, folder / paths.PARAMS)
    shutil.copy(ROOT / paths.SYSTEMS, folder)


def read_log(folder: Path) -> dict[str, Any]:
    from llara_core.config import OwnLogConfig, load_params
    from llara_core.readers import own_log

    config = load_params(folder / paths.PARAMS).dataset(DATASET)
    assert isinstance(config, OwnLogConfig)
    log = own_log.read(folder / paths.raw(DATASET), config)
    return {"steps": log.steps, "dropped": log.dropped}


def run_stage(stage: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", f"pipeline.{stage}", DATASET], cwd=folder, env=environment, check=True)


def report(what: str, job: Callable[..., Any], *arguments: object) -> Any:
    """Runs ``job`` in a new process, prints its time and memory, and returns its result; None if it failed."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            result, seconds, peak = pool.submit(_measured, job, *arguments).result()
        except (BrokenProcessPool, subprocess.CalledProcessError) as error:
            typer.echo(f"{what:20s} failed: {error}")
            return None
    typer.echo(f"{what:20s} {seconds:8.1f} s {peak / 1e9:8.2f} GB  {'' if result is None else result}")
    return result


def _measured(job: Callable[..., Any], *arguments: object) -> tuple[Any, float, int]:
    start = time.perf_counter()
    result = job(*arguments)
    seconds = time.perf_counter() - start
    peaks = (resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return result, seconds, max(peaks)


def _ranks(ids: np.ndarray) -> np.ndarray:
    """Returns the rank of each id in ascending order: numeric if all are integers, otherwise by code point."""
    ids = ids.astype(str)
    keys = ids.astype(np.int64) if np.char.isdigit(ids).all() else ids
    ranks = np.empty(len(ids), dtype=np.int32)
    ranks[np.argsort(keys)] = np.arange(len(ids), dtype=np.int32)
    return ranks


if __name__ == "__main__":
    run(main)
