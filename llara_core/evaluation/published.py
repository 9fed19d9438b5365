"""Published results per candidate set of the runs behind README.md and docs/results.md, kept in Git.

``results/<dataset>.parquet`` has a row per system, mode, training seed and candidate set; ``results/<dataset>.json`` holds
their provenance. ``pipeline.publish`` collects both from finished runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.held_out import Scope
from llara_core.answers.predictions import PredictionMetadata
from llara_core.config import RECOMMENDERS, EvaluationConfig, Params
from llara_core.config.params import flat
from llara_core.config.resolution import resolved
from llara_core.config.sections import Section
from llara_core.errors import DataError
from llara_core.evaluation.comparison import ComparedResults
from llara_core.evaluation.results import RunResults, SystemResults, read_results
from llara_core.evaluation.systems import Kind, System, systems_of

SYSTEM, SCOPE, MODE, SEED, LLM_WEIGHT = "system", "scope", "mode", "seed", "llm_weight"
_RUN = ("objective", "note")  # further metadata of a run that are columns of the table
_SETS = [field for field in tables.RESULTS if field.name not in (c.PREDICTED, c.TEXT)]
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in (SYSTEM, SCOPE, MODE)),
        pa.field(SEED, pa.int16(), nullable=False),
        pa.field(LLM_WEIGHT, pa.float64()),
        *(pa.field(name, pa.string(), nullable=False) for name in _RUN),
        *_SETS,
    ]
)
# Parameters that do not determine answers, by section.
_NO_SETTINGS = {
    "recommenders": {"threads"},
    "llm": {"threads"},
    "inference": {"batch_size", "shuffled_histories", "max_positions"},
}


class SourceRun(Section):
    """A collected run: commit of its code, command, machines, and names of the systems taken from it."""

    commit: str
    command: str
    hardware: list[str]
    systems: list[str]


class Provenance(Section):
    """Provenance of published results."""

    rows: str  # sha256 of the table
    sources: list[SourceRun]  # runs that its rows come from
    prepared: str  # hash of the prepared tables of the data set
    candidates: str  # hash of the held-out candidate sets
    positions: str | None  # hash of the questions at further positions; None if there are none
    evaluation: EvaluationConfig  # settings of intervals and tests
    settings: dict[str, Any]  # parameters that determine the answers of the systems, by dotted key
    systems: list[System]  # systems in the order of the report, without the names of their runs


@dataclass(frozen=True)
class Published(ComparedResults):
    """Published results of one data set."""

    provenance: Provenance


def collect(dataset: str, params: Params, commit: str, command: str, *, keep_others: bool = False) -> Path:
    """Writes the results of a finished run, in every mode with ordered histories, and returns the path of the table.

    Args:
        keep_others: whether to keep systems of an earlier collection that the run lacks; they must answer the same questions
            under the same parameters.

    Raises:
        DataError: the run is not finished, or the kept systems do not match it.
    """
    systems = systems_of(params)
    last = [each for each in read_results(dataset, systems) if not each.is_shuffled]
    further = read_results(dataset, systems, "positions")
    scopes: list[tuple[Scope, list[SystemResults]]] = [("last", last), ("positions", further)]
    parts = [_rows(scope, run) for scope, results in scopes for each in results for run in each.runs]
    answering = list(dict.fromkeys(each.system for each in last))
    published = [replace(each, run_names=(), llm_run_names=()) for each in answering]
    hardware = sorted({run.metadata.hardware for _, results in scopes for each in results for run in each.runs} - {""})
    names = [each.name for each in answering]
    sources = [SourceRun(commit=commit, command=command, hardware=hardware, systems=names)]
    stated: dict[str, Any] = {
        "prepared": tables.tables_hash(*paths.prepared_tables(dataset)),
        "candidates": last[0].runs[0].metadata.candidates_hash,
        "positions": further[0].runs[0].metadata.candidates_hash if further else None,
        "evaluation": params.evaluation,
        "settings": settings(params, dataset),
    }
    file = paths.published(dataset)
    if keep_others and file.exists():
        earlier, rows = _read_provenance(file), tables.read_arrow(file, SCHEMA)
        kept = [each for each in earlier.systems if each.name not in names]
        _require_match(file, earlier, stated, kept)
        others = [each.name for each in kept]
        parts.append(rows.filter(pc.is_in(rows[SYSTEM], pa.array(others, pa.string()))))
        place = {each.name: number for number, each in enumerate(earlier.systems)}  # keeps the order, which breaks ties
        published = sorted(
            [*published, *kept], key=lambda each: (get_args(Kind).index(each.kind), place.get(each.name, len(place)))
        )
        for source in reversed(earlier.sources):
            left = [name for name in source.systems if name in others]
            sources = [*([source.model_copy(update={"systems": left})] if left else []), *sources]
        stated["settings"] = earlier.settings | stated["settings"]
    with tables.atomic_path(file) as staged:
        pq.write_table(pa.concat_tables(parts).combine_chunks(), staged, compression="zstd", compression_level=19)
    provenance = Provenance(rows=tables.file_sha256(file), sources=sources, systems=published, **stated)
    without_runs = {"systems": {"__all__": {"run_names", "llm_run_names"}}}
    tables.write_json(file.with_suffix(".json"), provenance.model_dump(mode="json", exclude=without_runs))
    return file


def read_published(dataset: str, root: Path = Path()) -> Published | None:
    """Reads the published results of a data set; None if there are none.

    Raises:
        DataError: the two files do not match, or were written by another version.
    """
    file = root / paths.published(dataset)
    if not file.exists():
        return None
    provenance = _read_provenance(file)
    rows = tables.read_arrow(file, SCHEMA)
    # Categorical columns need less memory than a string per row.
    texts = [field.name for field in SCHEMA if field.type == pa.string()]
    frame = rows.to_pandas(categories=texts)
    hashes = {"last": provenance.candidates, "positions": provenance.positions}
    runs_of: dict[tuple[str, str, str], list[RunResults]] = {}
    for (system, scope, mode, seed), sets in frame.groupby([SYSTEM, SCOPE, MODE, SEED], observed=True, sort=False):
        stated = {name: str(sets[name].iloc[0]) for name in _RUN}
        weight = sets[LLM_WEIGHT].iloc[0]
        metadata = PredictionMetadata(
            dataset=dataset,
            system=system,
            mode=mode,
            seed=int(seed),
            candidates_hash=str(hashes[scope]),
            llm_weight=None if np.isnan(weight) else float(weight),
            **stated,
        )
        sets = sets[[field.name for field in _SETS]].reset_index(drop=True).astype({c.SPLIT: "object"})
        runs_of.setdefault((system, scope, mode), []).append(RunResults(metadata, sets))

    def of_scope(scope: Scope) -> list[SystemResults]:
        results = []
        for system in provenance.systems:
            for (name, where, _), runs in runs_of.items():
                if (name, where) == (system.name, scope):
                    run_names = tuple(paths.run_name(system.key, run.metadata.seed) for run in runs)
                    results.append(SystemResults(replace(system, run_names=run_names), tuple(runs)))
        return results

    return Published(dataset, provenance.evaluation, of_scope("last"), of_scope("positions"), provenance)


def settings(params: Params, dataset: str) -> dict[str, Any]:
    """Returns the parameters that determine the answers of a run's systems beyond rounding, by dotted key."""
    unused = {*RECOMMENDERS} - {*params.run.recommenders}
    if not any(params.system(name).prompt.recommender_scores for name in params.run.systems):
        unused |= {"folds"}  # only the scores that prompts show depend on it
    left_out = {**_NO_SETTINGS, "recommenders": _NO_SETTINGS["recommenders"] | unused}
    sections = {name: getattr(params, name).model_dump(exclude=keys) for name, keys in left_out.items()}
    systems = {name: resolved(params.system(name)) for name in params.run.systems}
    words = params.dataset(dataset).model_dump(include={"noun", "verb"})
    chat = {name: {"model": params.chat_model(name).model} for name in params.run.chat_models}
    nested = {**sections, "systems": systems, "datasets": {dataset: words}, "chat_models": chat}
    plain: dict[str, Any] = json.loads(json.dumps(flat(nested)))
    return plain


def other_settings(system: System, published: Provenance, own: dict[str, Any]) -> list[str]:
    """Returns the keys of parameters that affect a system and differ between a run and the published one.

    A key that only one of the two has was added or removed since, and the published results do not depend on it.
    """
    return [key for key, value in published.settings.items() if key in own and own[key] != value and _concerns(key, system)]


def _rows(scope: Scope, run: RunResults) -> pa.Table:
    stated = run.metadata.model_dump(include={SYSTEM, MODE, SEED, LLM_WEIGHT, *_RUN}) | {SCOPE: scope}
    sets = run.sets.copy()
    for name, value in stated.items():
        sets[name] = value
    if scope == "positions":  # these ranks are not needed there, and would be a third of the file
        sets[c.CATALOGUE_RANK] = pd.NA
    return pa.Table.from_pandas(sets[SCHEMA.names], SCHEMA, preserve_index=False)


def _read_provenance(file: Path) -> Provenance:
    path = file.with_suffix(".json")
    remedy = "collect them again with `python -m pipeline.publish collect`"
    try:
        provenance = Provenance.model_validate(tables.read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: does not fit the format of this version ({error}); {remedy}") from error
    if provenance.rows != tables.file_sha256(file):
        raise DataError(f"{path}: describes another version of {file}; {remedy}")
    return provenance


def _require_match(file: Path, earlier: Provenance, stated: dict[str, Any], kept: Sequence[System]) -> None:
    different = [
        name for name in ("prepared", "candidates", "positions", "evaluation") if getattr(earlier, name) != stated[name]
    ]
    different += [key for system in kept for key in other_settings(system, earlier, stated["settings"])]
    if different:
        raise DataError(
            f"{file}: was collected from a run with another value of {different[0]}, so its systems cannot be combined with "
            "those of this run; collect all of them from one run, without --add"
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
