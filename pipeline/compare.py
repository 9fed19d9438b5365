"""Compares two runs of the pipeline in 100 columns; not a stage: ``python -m pipeline.compare HEAD~1``.

A revision is anything that DVC accepts as one: a commit, branch, tag or experiment. Metrics come from Git, intervals from the
results per candidate set, which are in DVC's cache unless it was cleared.
"""

from __future__ import annotations

import json
import re
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from llara_core import paths
from llara_core.config import EvaluationConfig, load_params
from llara_core.config.params import flat
from llara_core.errors import DataError
from llara_core.evaluation.evaluate import MAIN_METRICS, SPLIT_NAMES, MainMetrics, main_metrics, mean_main_metrics
from llara_core.evaluation.paired import MIN_RUNS, Difference, paired_differences
from llara_core.evaluation.results import MODES, RunResults, SystemResults, read_run
from llara_core.evaluation.systems import System
from pipeline.settings import shown
from pipeline.stage import run

WIDTH = 100
WORKSPACE = "workspace"
Records = list[dict[str, Any]]  # contents of the metrics files of one system in one mode, one per run


@dataclass(frozen=True)
class Revision:
    """Outputs of one run of the pipeline."""

    name: str  # revision as given by the user
    params: Mapping[str, Any]  # parameters by dotted key
    # metrics with ordered histories, by data set and system, in the system's primary mode
    records: Mapping[str, Mapping[str, Records]]
    # results per candidate set of the same systems, by data set, system and run; None if they are not available
    results: Mapping[str, Mapping[str, Mapping[str, RunResults]] | None]


def main(
    first: Annotated[str, typer.Argument(help="A commit, branch, tag or experiment.")],
    second: Annotated[str, typer.Argument(help="Another one; default: the workspace.")] = WORKSPACE,
) -> None:
    """Prints the differences of SECOND to FIRST in metrics and parameters, with the interval of each difference in HR@1."""
    config = load_params().evaluation
    before, after = read(first), read(second)
    lines = [f"{first} -> {second}", *_parameters(before, after)]
    for dataset in dict.fromkeys([*before.records, *after.records]):
        lines += ["", *_of_dataset(dataset, before, after, config)]
    typer.echo("\n".join(lines))


def read(name: str) -> Revision:
    """Reads the metrics of one revision and, if available, its results per candidate set.

    Raises:
        DataError: the revision does not exist or has no metrics.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import RevError, SCMError

    try:
        files = DVCFileSystem(".", rev=None if name == WORKSPACE else name)
        texts = [files.read_text(str(paths.PARAMS))]
        if files.exists(str(paths.SYSTEMS)):  # earlier commits have all sections in one file
            texts.append(files.read_text(str(paths.SYSTEMS)))
        params = {key: value for text in texts for key, value in flat(YAML(typ="safe", pure=True).load(text)).items()}
    except (DvcException, SCMError, RevError, FileNotFoundError) as error:
        raise DataError(f"{name}: {error}; `git log --oneline` and `dvc exp list` name revisions") from error
    records: dict[str, dict[str, Records]] = {}
    by_mode: dict[tuple[str, str, str], Records] = {}
    for file in sorted(files.glob(f"{paths.metrics('*', '*')}/*.json")):
        record = json.loads(files.read_text(file))
        if record.get("history", "ordered") == "ordered":
            *_, dataset, _, run_name, _ = file.split("/")
            by_mode.setdefault((dataset, record["system"], record["mode"]), []).append({**record, "run_name": run_name})
    for (dataset, system, _), of_mode in sorted(by_mode.items(), key=lambda entry: MODES.index(entry[0][2])):
        records.setdefault(dataset, {}).setdefault(system, of_mode)
    if not records:
        raise DataError(f"{name}: has no {paths.metrics('<dataset>', '')}; no finished run was committed there")
    return Revision(name, params, records, {dataset: _results(files, dataset, of) for dataset, of in records.items()})


def _results(files: Any, dataset: str, records: Mapping[str, Records]) -> dict[str, dict[str, RunResults]] | None:
    """Reads results by system and run; None if a table is neither in the workspace nor in the cache."""
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / dataset
        try:
            files.get(str(paths.results(dataset)), str(target), recursive=True)
            return {
                system: {
                    each["run_name"]: next(run for run in read_run(target / each["run_name"]) if _is_of(run, each))
                    for each in of_system
                }
                for system, of_system in records.items()
            }
        except (OSError, DvcException, DataIndexDirError, DataError, StopIteration):
            return None


def _is_of(results: RunResults, record: Mapping[str, Any]) -> bool:
    return (results.metadata.mode, results.metadata.history) == (record["mode"], record["history"])


def _parameters(before: Revision, after: Revision) -> list[str]:
    """Lists the differing parameters that affect one of the two runs."""
    old, new = before.params, after.params
    lines = []
    for key in {**old, **new}:
        if key in old and key in new:
            line = f"{key}: {shown(old[key])} -> {shown(new[key])}" if old[key] != new[key] else ""
        else:
            line = f"{key}: {shown(new[key])}, new" if key in new else f"{key}: {shown(old[key])}, gone"
        if line and (_concerns(key, old) or _concerns(key, new)):
            lines.append(textwrap.shorten(line, WIDTH, placeholder=" ..."))
    return lines


def _concerns(key: str, params: Mapping[str, Any]) -> bool:
    """Returns whether a parameter affects the run of ``params``: other data sets and systems and the report do not count."""
    section, name, *_ = [*key.split("."), ""]
    ran = set(params.get(f"run.{section}", []))
    if section == "systems":
        for system in list(ran):
            while (system := params.get(f"systems.{system}.extends")) and system not in ran:
                ran.add(system)
    return section != "report" and (section not in ("datasets", "systems", "chat_models") or name in ran)


def _of_dataset(dataset: str, before: Revision, after: Revision, config: EvaluationConfig) -> list[str]:
    """Lists the systems whose metrics differ, are equal, or exist in only one revision."""
    old, new = before.records.get(dataset, {}), after.records.get(dataset, {})
    both = [system for system in new if system in old]
    changed = [system for system in both if _figures(old[system]) != _figures(new[system])]
    differences = _differences(dataset, changed, before, after, config)
    rows = [["system", "test HR@1", f"difference [{config.confidence:.0%}]", "val", "valid", "top10"]]
    for system in changed:
        was, now = _exact_figures(before, dataset, system), _exact_figures(after, dataset, system)
        paired = differences.get(system)
        interval = f" [{paired.low:+.3f}, {paired.high:+.3f}]" if paired else ""
        rows.append(
            [
                system,
                f"{was['test']['HR@1']:.3f} -> {now['test']['HR@1']:.3f}",
                f"{_change(was, now, 'test', 'HR@1')}{interval}",
                _change(was, now, "val", "HR@1"),
                *(_change(was, now, "test", name) for name in ("valid", "top10")),
            ]
        )
    lines = [dataset, *(_aligned(rows) if changed else ["No metric differs."])]
    for label, names in (
        ("Unchanged", [system for system in both if system not in changed]),
        (f"Only in {before.name}", [system for system in old if system not in new]),
        (f"Only in {after.name}", [system for system in new if system not in old]),
    ):
        lines += textwrap.wrap(f"{label}: {', '.join(names)}.", WIDTH) if names else []
    for note in _notes(dataset, changed, differences, before, after):
        lines += textwrap.wrap(note, WIDTH)
    return lines


def _figures(records: Records) -> MainMetrics:
    """Averages the main metrics of the runs as they are recorded, to four decimals."""
    recorded = [
        {
            short: {name: record[split][metric] for name, metric in MAIN_METRICS.items() if metric in record[split]}
            for short, split in SPLIT_NAMES.items()
        }
        for record in records
    ]
    return mean_main_metrics(recorded)


def _exact_figures(revision: Revision, dataset: str, system: str) -> MainMetrics:
    """Averages as :func:`_figures`, from the results where available."""
    results = revision.results.get(dataset)
    if results is None:
        return _figures(revision.records[dataset][system])
    return mean_main_metrics([main_metrics(run) for run in results[system].values()])


def _change(was: MainMetrics, now: MainMetrics, split: str, name: str) -> str:
    return f"{now[split][name] - was[split][name]:+.3f}" if name in was[split] and name in now[split] else "-"


def _differences(
    dataset: str, systems: Sequence[str], before: Revision, after: Revision, config: EvaluationConfig
) -> dict[str, Difference]:
    """Compares the systems whose results exist in both revisions on the same candidate sets, over their common runs."""
    old, new = before.results.get(dataset), after.results.get(dataset)
    if old is None or new is None:
        return {}
    pairs = {}
    for system in systems:
        run_names = [run_name for run_name in new[system] if run_name in old[system]]
        hashes = {each[system][run_name].metadata.candidates_hash for each in (old, new) for run_name in run_names}
        if len(hashes) == 1:
            described = _system(system, run_names, new[system][run_names[0]])
            pairs[system] = tuple(
                SystemResults(described, tuple(each[system][run_name] for run_name in run_names)) for each in (new, old)
            )
    return dict(zip(pairs, paired_differences([(pair[0], pair[1]) for pair in pairs.values()], config), strict=True))


def _system(name: str, run_names: Sequence[str], results: RunResults) -> System:
    """Reconstructs from its results whether a system is trained: a baseline has no seed in the name of its run, and an untuned
    language model no tuning objective."""
    metadata = results.metadata
    has_seed = run_names[0] != name
    trained = metadata.mode == "fused" or metadata.objective != "none" or (metadata.mode == "score" and has_seed)
    return System("recommender" if trained else "baseline", name, name, None, tuple(run_names))


def _notes(
    dataset: str, changed: Sequence[str], differences: Mapping[str, Difference], before: Revision, after: Revision
) -> list[str]:
    """Explains the intervals, or why there are none."""
    notes = []
    gone = [each.name for each in (before, after) if each.results.get(dataset) is None]
    if changed and gone:
        notes.append(
            f"No intervals: the results per candidate set of {' and '.join(gone)} are not in DVC's cache. Run `dvc fetch` if "
            "a remote has them; otherwise that revision has to be run again."
        )
    without = [system for system in changed if system not in differences]
    if without and not gone:
        notes.append(f"No interval for {', '.join(without)}: different candidate sets, or no common seed.")
    if differences:
        notes.append(
            "Intervals are for the difference in test HR@1 on the same users and candidate sets; with fewer than "
            f"{MIN_RUNS} seeds, they hold for these training runs only."
        )
    return notes


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligns columns, without zeros before the point; the first column is cut if a line would be too long."""
    short = [[row[0], *(re.sub(r"\b0\.", ".", text) for text in row[1:])] for row in rows]
    widths = [max(len(row[column]) for row in short) for column in range(len(short[0]))]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1))
    return ["  ".join(f"{text[:width]:{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in short]


if __name__ == "__main__":
    run(main)
