"""Published results: what became of every candidate set in the runs behind README.md and docs/results.md, kept in Git.

``results/<dataset>.parquet`` has a row per system, mode, training seed and candidate set, ``results/<dataset>.json`` says what
they come from. ``pipeline.publish`` collects both from finished runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import RECOMMENDERS, EvaluationConfig, Params
from llara_core.config.params import flat
from llara_core.errors import DataError
from llara_core.evaluation.comparison import ComparedSystem, compare
from llara_core.evaluation.fusion import is_recommender_alone
from llara_core.evaluation.positions import compare_positions, read_position_results
from llara_core.evaluation.results import RunResults, SystemResults, read_results
from llara_core.evaluation.significance import further_run
from llara_core.evaluation.systems import Kind, System, systems_of
from llara_core.held_out import Scope
from llara_core.llm.inputs import resolved
from llara_core.predictions import PredictionMetadata

SYSTEM, SCOPE, MODE, SEED = "system", "scope", "mode", "seed"
_RUN = ("objective", "note")  # of the metadata of a run, beside its coordinates
_SETS = [field for field in tables.RESULTS if field.name not in (c.PREDICTED, c.TEXT)]
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in (SYSTEM, SCOPE, MODE)),
        pa.field(SEED, pa.int16(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in _RUN),
        *_SETS,
    ]
)
_NO_SETTINGS = {"recommenders": {"threads"}, "llm": {"threads"}, "inference": {"batch_size", "shuffled_histories"}}


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedSystem(_Facts):
    """As :class:`systems.System`, without its cells."""

    kind: Kind
    name: str
    key: str
    recommender: str | None
    start: str | None


class Source(_Facts):
    """One collected run: the commit of its code, the command, the machines, and the names of the systems taken from it."""

    commit: str
    command: str
    hardware: list[str]
    systems: list[str]


class Facts(_Facts):
    """What published results come from.

    Attributes:
        rows: sha256 of the table.
        sources: of its rows.
        prepared: hash of the prepared tables of the data set.
        candidates: of the held-out candidate sets.
        positions: of the questions at further positions; None where none were asked.
        evaluation: how intervals and tests are made.
        settings: parameters that decide what the systems answer, by their dotted keys.
        systems: in the order of the report.
    """

    rows: str
    sources: list[Source]
    prepared: str
    candidates: str
    positions: str | None
    evaluation: EvaluationConfig
    settings: dict[str, Any]
    systems: list[PublishedSystem]


@dataclass(frozen=True)
class Published:
    """The published results of one data set: on users' last items, and at further positions."""

    dataset: str
    facts: Facts
    last: list[SystemResults]
    at_positions: list[SystemResults]

    @cached_property
    def rows(self) -> list[ComparedSystem]:
        """One per system and mode, on users' last items, without :attr:`idle`."""
        return compare([each for each in self.last if not is_recommender_alone(each)], self.facts.evaluation)

    @cached_property
    def rows_at_positions(self) -> list[ComparedSystem]:
        """The same at further positions."""
        return compare_positions([each for each in self.at_positions if not is_recommender_alone(each)], self.facts.evaluation)

    @property
    def idle(self) -> list[SystemResults]:
        """Fusions that are their recommenders."""
        return [each for each in self.last if is_recommender_alone(each)]


def collect(dataset: str, params: Params, commit: str, command: str, *, keep_others: bool = False) -> Path:
    """Write the results of a finished run, in every mode, with histories in order, and return the table.

    Args:
        dataset: key in ``params.yaml``.
        params: of the run.
        commit: of its code.
        command: that made it.
        keep_others: keep the systems of an earlier collection that the run lacks; they must answer the same questions under the
            same parameters.

    Raises:
        DataError: the run is not finished, or what is kept does not fit it.
    """
    systems = systems_of(params)
    last = [each for each in read_results(dataset, systems) if not each.is_shuffled]
    further = read_position_results(dataset, systems)
    scopes: list[tuple[Scope, list[SystemResults]]] = [("last", last), ("positions", further)]
    parts = [_rows(scope, run) for scope, found in scopes for each in found for run in each.runs]
    answering = list(dict.fromkeys(each.system for each in last))
    published = [PublishedSystem(**{name: getattr(each, name) for name in PublishedSystem.model_fields}) for each in answering]
    hardware = sorted({run.metadata.hardware for _, found in scopes for each in found for run in each.runs} - {""})
    names = [each.name for each in answering]
    sources = [Source(commit=commit, command=command, hardware=hardware, systems=names)]
    of_run: dict[str, Any] = {
        "prepared": prepared_hash(dataset),
        "candidates": last[0].runs[0].metadata.candidates_hash,
        "positions": further[0].runs[0].metadata.candidates_hash if further else None,
        "evaluation": params.evaluation,
        "settings": settings(params, dataset),
    }
    file = paths.published(dataset)
    if keep_others and file.exists():
        earlier, rows = _read_facts(file), tables.read_arrow(file, SCHEMA)
        _require_fit(file, earlier, of_run)
        kept = [each for each in earlier.systems if each.name not in names]
        others = [each.name for each in kept]
        parts.append(rows.filter(pc.is_in(rows[SYSTEM], pa.array(others, pa.string()))))
        place = {each.name: number for number, each in enumerate(earlier.systems)}  # the first one of a kind may be a reference
        published = sorted(
            [*published, *kept], key=lambda each: (get_args(Kind).index(each.kind), place.get(each.name, len(place)))
        )
        for source in reversed(earlier.sources):
            left = [name for name in source.systems if name in others]
            sources = [*([source.model_copy(update={"systems": left})] if left else []), *sources]
        of_run["settings"] = earlier.settings | of_run["settings"]
    with tables.atomic_path(file) as staged:
        pq.write_table(pa.concat_tables(parts).combine_chunks(), staged, compression="zstd", compression_level=19)
    facts = Facts(rows=tables.file_sha256(file), sources=sources, systems=published, **of_run)
    tables.write_json(file.with_suffix(".json"), facts.model_dump(mode="json"))
    return file


def read_published(dataset: str, root: Path = Path()) -> Published | None:
    """The published results of a data set; None where there are none.

    Args:
        dataset: key in ``params.yaml``.
        root: of the repository.

    Raises:
        DataError: the two files do not belong together, or were written by another version.
    """
    file = root / paths.published(dataset)
    if not file.exists():
        return None
    facts = _read_facts(file)
    rows = tables.read_arrow(file, SCHEMA)
    # Categories in place of a text per row.
    texts = [field.name for field in SCHEMA if field.type == pa.string()]
    frame = rows.to_pandas(categories=texts)
    hashes = {"last": facts.candidates, "positions": facts.positions}
    found: dict[tuple[str, str, str], list[RunResults]] = {}
    for (system, scope, mode, seed), sets in frame.groupby([SYSTEM, SCOPE, MODE, SEED], observed=True, sort=False):
        stated = {name: str(sets[name].iloc[0]) for name in _RUN}
        metadata = PredictionMetadata(
            dataset=dataset, system=system, mode=mode, seed=int(seed), candidates_hash=str(hashes[scope]), **stated
        )
        sets = sets[[field.name for field in _SETS]].reset_index(drop=True).astype({c.SPLIT: "object"})
        found.setdefault((system, scope, mode), []).append(RunResults(metadata, sets))

    def of_scope(scope: str) -> list[SystemResults]:
        return [
            SystemResults(_system(each, runs), tuple(runs))
            for each in facts.systems
            for (name, where, _), runs in found.items()
            if name == each.name and where == scope
        ]

    return Published(dataset, facts, of_scope("last"), of_scope("positions"))


def prepared_hash(dataset: str) -> str:
    """Hash of the prepared tables of a data set."""
    folder = paths.prepared(dataset)
    return tables.tables_hash(*(folder / f"{name}.parquet" for name in ("interactions", "items", "examples")))


def settings(params: Params, dataset: str) -> dict[str, Any]:
    """The parameters that decide what the systems of a run answer, by dotted key; threads and the like move last bits alone."""
    left_out = {**_NO_SETTINGS, "recommenders": _NO_SETTINGS["recommenders"] | {*RECOMMENDERS} - {*params.run.recommenders}}
    sections = {name: getattr(params, name).model_dump(exclude=keys) for name, keys in left_out.items()}
    systems = {name: resolved(params.system(name)) for name in params.run.systems}
    words = params.dataset(dataset).model_dump(include={"noun", "verb"})
    chat = {name: {"model": params.chat_model(name).model} for name in params.run.chat_models}
    found: dict[str, Any] = json.loads(
        json.dumps(flat({**sections, "systems": systems, "datasets": {dataset: words}, "chat_models": chat}))
    )
    return found


def other_settings(system: System, published: Facts, own: dict[str, Any]) -> list[str]:
    """The keys that decide what a system answers and have other values in a run than in the published one.

    A key that only one of the two knows is newer or older than the published results, which it left as they were.
    """
    return [key for key, value in published.settings.items() if key in own and own[key] != value and _concerns(key, system)]


@dataclass(frozen=True)
class Beside:
    """The test hit ratio@1 of one run beside those of the published runs.

    Attributes:
        system: name.
        seed: of the run.
        own: its hit ratio, mean over users.
        low, high: between these a further run is expected (:func:`significance.further_run`); where there is one published run,
            its hit ratio.
    """

    system: str
    seed: int
    own: float
    low: float
    high: float

    @property
    def is_inside(self) -> bool:
        return self.low - 1e-9 <= self.own <= self.high + 1e-9


def beside(own: SystemResults, published: Sequence[SystemResults], confidence: float) -> list[Beside]:
    """Every run of a system beside the published ones; none where these answer other sets, or are fewer than two of a trained
    system, whose spread nobody knows then."""
    same = [each for each in published if (each.system.name, each.mode) == (own.system.name, own.mode)]
    if not same or (own.system.is_trained and len(same[0].runs) < 2):
        return []
    theirs, mine = same[0].hits(c.TEST), own.hits(c.TEST)
    if set(theirs.index) != set(mine.index):
        return []
    runs = theirs.groupby(level=c.USER).mean().to_numpy().T  # [S, U]
    ends = further_run(runs, confidence) if len(runs) > 1 else (float(runs.mean()),) * 2
    low, high = (min(max(end, 0.0), 1.0) for end in ends)
    means = mine.groupby(level=c.USER).mean().mean()
    seeds = [run.metadata.seed for run in own.runs]
    return [Beside(own.system.name, seed, float(mean), low, high) for seed, mean in zip(seeds, means, strict=True)]


def _rows(scope: Scope, run: RunResults) -> pa.Table:
    stated = run.metadata.model_dump(include={SYSTEM, MODE, SEED, *_RUN}) | {SCOPE: scope}
    sets = run.sets.copy()
    for name, value in stated.items():
        sets[name] = value
    if scope == "positions":  # where no figure rests on it, and it would take a third of the file
        sets[c.CATALOGUE_RANK] = pd.NA
    return pa.Table.from_pandas(sets[SCHEMA.names], SCHEMA, preserve_index=False)


def _read_facts(file: Path) -> Facts:
    path = file.with_suffix(".json")
    remedy = "collect them again with `python -m pipeline.publish collect`"
    try:
        facts = Facts.model_validate(tables.read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: not what this version writes of published results ({error}); {remedy}") from error
    if facts.rows != tables.file_sha256(file):
        raise DataError(f"{path}: describes another table than {file}; {remedy}")
    return facts


def _require_fit(file: Path, earlier: Facts, of_run: dict[str, Any]) -> None:
    different = [
        name for name in ("prepared", "candidates", "positions", "evaluation") if getattr(earlier, name) != of_run[name]
    ]
    own = of_run["settings"]
    different += [key for key, value in earlier.settings.items() if key in own and own[key] != value]
    if different:
        raise DataError(
            f"{file}: was collected from a run with another value of {different[0]}, so its systems cannot stand beside those "
            "of this run; collect all of them from one run, without --add"
        )


def _concerns(key: str, system: System) -> bool:
    section, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    if section == "recommenders":
        reads = system.key if system.kind == "recommender" else system.recommender
        return reads is not None and (name == reads or name not in RECOMMENDERS)
    if section == "chat_models":
        return system.kind == "chat" and name == system.key
    if not system.is_llm:
        return False
    return name in (system.key, system.start) if section == "systems" else True


def _system(published: PublishedSystem, runs: Iterable[RunResults]) -> System:
    seeds = [run.metadata.seed for run in runs]
    return System(**published.model_dump(), cells=tuple(paths.cell(published.key, seed) for seed in seeds))
