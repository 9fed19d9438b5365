"""What is other in one run than in another, in 100 columns; no stage, but for users: ``python -m pipeline.compare HEAD~1``.

A revision is whatever DVC knows as one: a commit, a branch, a tag, an experiment. Figures come from its metrics, which are in
Git; intervals from its results per candidate set, which are in DVC's cache as long as nothing cleared it.
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

from llara_core import columns as c
from llara_core import paths
from llara_core.config import EvaluationConfig, load_params
from llara_core.config.params import flat
from llara_core.errors import DataError
from llara_core.evaluation.evaluate import DECIDING
from llara_core.evaluation.paired import MIN_RUNS, Difference, paired_differences
from llara_core.evaluation.results import MODES, RunResults, SystemResults, read_cell
from llara_core.evaluation.systems import Kind, System
from pipeline.settings import shown
from pipeline.stage import run

WIDTH = 100
WORKSPACE = "workspace"
Records = list[dict[str, Any]]  # of the runs of one system in one mode


@dataclass(frozen=True)
class Revision:
    """What one run of the pipeline left.

    Attributes:
        name: as it was asked for.
        params: by dotted key.
        records: metrics with ordered histories, by data set and system, in the mode in which the system is compared.
        results: of the same systems per candidate set, by data set, system and cell; None where they are gone.
    """

    name: str
    params: Mapping[str, Any]
    records: Mapping[str, Mapping[str, Records]]
    results: Mapping[str, Mapping[str, Mapping[str, RunResults]] | None]


def main(
    first: Annotated[str, typer.Argument(help="A commit, branch, tag or experiment.")],
    second: Annotated[str, typer.Argument(help="Another one; default: what is there now.")] = WORKSPACE,
) -> None:
    """Print what SECOND has in other figures and parameters than FIRST, with the interval of each difference in HR@1."""
    config = load_params().evaluation
    before, after = read(first), read(second)
    lines = [f"{first} -> {second}", *_parameters(before, after)]
    for dataset in dict.fromkeys([*before.records, *after.records]):
        lines += ["", *_of_dataset(dataset, before, after, config)]
    typer.echo("\n".join(lines))


def read(name: str) -> Revision:
    """Metrics and, where they are still there, results per candidate set of one revision.

    Raises:
        DataError: there is no such revision, or no metrics in it.
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
    found: dict[tuple[str, str, str], Records] = {}
    for file in sorted(files.glob(f"{paths.metrics('*', '*')}/*.json")):
        record = json.loads(files.read_text(file))
        if record.get("history", "ordered") == "ordered":
            *_, dataset, _, cell, _ = file.split("/")
            found.setdefault((dataset, record["system"], record["mode"]), []).append({**record, "cell": cell})
    for (dataset, system, _), of_mode in sorted(found.items(), key=lambda entry: MODES.index(entry[0][2])):
        records.setdefault(dataset, {}).setdefault(system, of_mode)
    if not records:
        raise DataError(f"{name}: has no {paths.metrics('<dataset>', '')}, so no run was committed there")
    return Revision(name, params, records, {dataset: _results(files, dataset, of) for dataset, of in records.items()})


def _results(files: Any, dataset: str, records: Mapping[str, Records]) -> dict[str, dict[str, RunResults]] | None:
    """By system and cell; None where a table is neither in the workspace nor in the cache."""
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / dataset
        try:
            files.get(str(paths.results(dataset)), str(target), recursive=True)
            return {
                system: {
                    each["cell"]: next(run for run in read_cell(target / each["cell"]) if _is_of(run, each))
                    for each in of_system
                }
                for system, of_system in records.items()
            }
        except (OSError, DvcException, DataIndexDirError, DataError, StopIteration):
            return None


def _is_of(results: RunResults, record: Mapping[str, Any]) -> bool:
    return (results.metadata.mode, results.metadata.history) == (record["mode"], record["history"])


def _parameters(before: Revision, after: Revision) -> list[str]:
    """Those that differ and concern what one of the two ran, a line each."""
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
    """Whether a parameter is of something that the run of ``params`` has: of no other data set or system, nor of the page."""
    section, name, *_ = [*key.split("."), ""]
    ran = set(params.get(f"run.{section}", []))
    if section == "systems":
        for system in list(ran):
            while (system := params.get(f"systems.{system}.extends")) and system not in ran:
                ran.add(system)
    return section != "report" and (section not in ("datasets", "systems", "chat_models") or name in ran)


def _of_dataset(dataset: str, before: Revision, after: Revision, config: EvaluationConfig) -> list[str]:
    """A line per system whose figures differ, and who is equal or alone."""
    old, new = before.records.get(dataset, {}), after.records.get(dataset, {})
    both = [system for system in new if system in old]
    changed = [system for system in both if _figures(old[system]) != _figures(new[system])]
    differences = _differences(dataset, changed, before, after, config)
    rows = [["system", "test HR@1", f"difference [{config.confidence:.0%}]", "val", "valid", "top10"]]
    for system in changed:
        was, now = _figures(old[system]), _figures(new[system])
        hit_ratio, split = DECIDING["HR@1"], c.TEST
        found = differences.get(system)
        means = was[split, hit_ratio], now[split, hit_ratio]
        rows.append(
            [
                system,
                f"{means[0]:.3f} -> {means[1]:.3f}",
                f"{means[1] - means[0]:+.3f}" + (f" [{found.low:+.3f}, {found.high:+.3f}]" if found else ""),
                _change(was, now, c.VALIDATION, hit_ratio),
                _change(was, now, split, DECIDING["valid"]),
                _change(was, now, split, DECIDING["top10"]),
            ]
        )
    lines = [dataset, *(_aligned(rows) if changed else ["No figure differs."])]
    for said, names in (
        ("Unchanged", [system for system in both if system not in changed]),
        (f"Only in {before.name}", [system for system in old if system not in new]),
        (f"Only in {after.name}", [system for system in new if system not in old]),
    ):
        lines += textwrap.wrap(f"{said}: {', '.join(names)}.", WIDTH) if names else []
    for note in _notes(dataset, changed, differences, before, after):
        lines += textwrap.wrap(note, WIDTH)
    return lines


def _figures(records: Records) -> dict[tuple[str, str], float]:
    """Means over the runs, by split and metric."""
    return {
        (split, metric): sum(record[split][metric] for record in records) / len(records)
        for split in (c.TEST, c.VALIDATION)
        for metric in DECIDING.values()
        if all(metric in record.get(split, {}) for record in records)
    }


def _change(was: Mapping[tuple[str, str], float], now: Mapping[tuple[str, str], float], *key: str) -> str:
    split, metric = key
    if (split, metric) not in was or (split, metric) not in now:
        return "-"
    return f"{now[split, metric] - was[split, metric]:+.3f}"


def _differences(
    dataset: str, systems: Sequence[str], before: Revision, after: Revision, config: EvaluationConfig
) -> dict[str, Difference]:
    """Of the systems whose results are there in both revisions, on the same candidate sets, for the runs that both have."""
    old, new = before.results.get(dataset), after.results.get(dataset)
    if old is None or new is None:
        return {}
    pairs = {}
    for system in systems:
        cells = [cell for cell in new[system] if cell in old[system]]
        hashes = {each[system][cell].metadata.candidates_hash for each in (old, new) for cell in cells}
        if len(hashes) == 1:
            described = _system(system, cells, new[system][cells[0]])
            pairs[system] = tuple(SystemResults(described, tuple(each[system][cell] for cell in cells)) for each in (new, old))
    return dict(zip(pairs, paired_differences([(pair[0], pair[1]) for pair in pairs.values()], config), strict=True))


def _system(name: str, cells: Sequence[str], results: RunResults) -> System:
    """As far as it follows from its results."""
    kind: Kind = "recommender"
    if results.metadata.mode == "fused":
        kind = "fused"
    elif results.metadata.objective != "none":
        kind = "tuned"
    elif cells[0] == name:
        kind = "baseline"
    elif results.metadata.mode != "score":
        kind = "untuned"
    return System(kind, name, name, None, tuple(cells))


def _notes(
    dataset: str, changed: Sequence[str], differences: Mapping[str, Difference], before: Revision, after: Revision
) -> list[str]:
    """What a reader has to know of the differences."""
    notes = []
    gone = [each.name for each in (before, after) if each.results.get(dataset) is None]
    if changed and gone:
        notes.append(
            f"No intervals: the results per candidate set of {' and '.join(gone)} are not in DVC's cache. `dvc fetch` gets "
            "them from a remote that has them; else that revision has to be run again."
        )
    without = [system for system in changed if system not in differences]
    if without and not gone:
        notes.append(f"No interval for {', '.join(without)}: other candidate sets, or no run of the same seed.")
    if differences:
        notes.append(
            "Intervals are for the difference in test HR@1 of the same users and candidate sets; with fewer than "
            f"{MIN_RUNS} seeds they hold for these training runs."
        )
    return notes


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they have to be, without the zero before a point; the first is cut where a line would be too long."""
    short = [[row[0], *(re.sub(r"\b0\.", ".", text) for text in row[1:])] for row in rows]
    widths = [max(len(row[column]) for row in short) for column in range(len(short[0]))]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1))
    return ["  ".join(f"{text[:width]:{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in short]


if __name__ == "__main__":
    run(main)
