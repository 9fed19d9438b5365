"""dvc.yaml, params.yaml, systems.yaml and the packages fit together."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from imports import REPOSITORY, direct, imported_names, modules, transitive
from pydantic import BaseModel
from ruamel.yaml import YAML

from llara_core import paths
from llara_core.config import Params, SystemConfig
from llara_core.config.params import file_of

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

# In no stage's deps: declarations and input/output contracts. If a change of these alters an artifact, dvc.yaml (paths), the
# tables (columns, tables) or the params of the stage (config) change, too. As deps, they would cause new tuning for a reworded
# error message or a new key.
DECLARATIONS = {"llara_core.errors", "llara_core.columns", "llara_core.paths", "llara_core.tables", "llara_core.config"}
DECLARATIONS |= {"pipeline.stage"}  # command line and logging

PARTS = {"pipeline.settings", "pipeline.dry_run", "pipeline.jobs", "pipeline.costs"}
WITH_PARTS = {"pipeline.repro", "pipeline.compare", "pipeline.describe", "pipeline.preset", "pipeline.demo", *PARTS}
NO_SCRIPTS = {"pipeline.stage", *PARTS}

# Sections that do not affect the output of a stage that reads them, and so are not in its params.
NOT_AN_INPUT = {"download"}  # the source of files, whose content is checked by sha256 if it is known
NOT_AN_INPUT |= {"parallel"}  # the number of processes

LAYERS = (
    {"errors", "columns", "paths", "tables", "config", "runtime"},
    {"fetching", "readers", "data", "answers", "recommenders", "baselines", "llm"},
    {"objectives"},
    {"tuning"},
    {"inference", "chat", "evaluation", "description"},
    {"serving"},
    {"report"},
)


def is_declaration(module: str) -> bool:
    return any(f"{module}.".startswith(f"{name}.") for name in DECLARATIONS)


def script(stage: str) -> str:
    """Returns the module of a stage's script."""
    match = re.match(r"python -m (pipeline\.\w+)", STAGES[stage]["cmd"])
    assert match, f"{stage}: its cmd is not `python -m pipeline.<script>`, which a queued experiment's copy needs"
    return match[1]


def run_by(stage: str) -> set[str]:
    """Modules that a stage runs, without those that only its command line runs, which is a declaration."""
    return {script(stage), *transitive(script(stage), without="pipeline.stage")}


def unit(module: str) -> str:
    """Returns the sub-package or single module of the core: ``llara_core.readers.titles`` -> ``readers``."""
    return module.split(".")[1]


def core_modules() -> list[str]:
    return [name for name in modules() if name.startswith("llara_core.")]


def paths_in(entries: list[Any]) -> list[str]:
    """Returns the paths in a list of deps, outs or metrics, without options."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_all_code_that_a_stage_runs(stage: str) -> None:
    deps = [Path(path) for path in paths_in(STAGES[stage]["deps"])]
    needed = {name for name in run_by(stage) if not is_declaration(name)}
    files = [modules()[name] for name in needed if modules()[name].name != "__init__.py"]
    missing = sorted(str(file) for file in files if not any(file.is_relative_to(dep) for dep in deps))
    assert not missing, f"add to the deps of stage {stage} in dvc.yaml: {missing}"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_no_code_that_a_stage_does_not_run(stage: str) -> None:
    files = [modules()[name] for name in run_by(stage)]
    code = [path for path in paths_in(STAGES[stage]["deps"]) if path.startswith(("llara_core", "pipeline"))]
    unused = [path for path in code if not any(file.is_relative_to(path) for file in files)]
    assert not unused, f"take from the deps of stage {stage} in dvc.yaml: {unused}"


def test_resolve_depends_on_the_resolution_of_systems() -> None:
    assert "llara_core/config/resolution.py" in STAGES["resolve"]["deps"]


def test_few_modules_are_loose_and_few_deps_are_code() -> None:
    loose = {path.name for path in modules().values() if path.parent == Path("llara_core")} - {"__init__.py"}
    assert loose == {"columns.py", "errors.py", "paths.py", "tables.py"}
    deps = [path for stage in STAGES.values() for path in paths_in(stage["deps"])]
    assert len([path for path in deps if path.startswith(("llara_core", "pipeline"))]) <= 90


def test_dvc_yaml_can_be_read() -> None:
    assert len(STAGES) <= 20
    assert len((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8").splitlines()) < 520


def test_package_markers_are_empty() -> None:
    """They have no code, except those of ``config``, of packages that no stage runs, and of those that stages name whole.

    That of ``pipeline`` only looks whether the environment is active.
    """
    run_by_stages = {unit(name) for stage in STAGES for name in transitive(script(stage)) if name.startswith("llara_core.")}
    markers = [
        path
        for module, path in modules().items()
        if path.name == "__init__.py"
        and module != "pipeline"
        and not is_declaration(module)
        and (module.count(".") == 0 or unit(module) in run_by_stages)
    ]
    assert len(markers) > 10
    filled = [path for path in markers if (REPOSITORY / path).read_text()]
    assert [str(path) for path in filled if not is_named_by_all_that_run_it(path)] == []


def is_named_by_all_that_run_it(marker: Path) -> bool:
    """Whether a change of a package's marker re-runs all stages that import from the package."""
    package = ".".join(marker.parent.parts)
    using = [stage for stage in STAGES if any(name.startswith(f"{package}.") for name in transitive(script(stage)))]
    return all(any(marker.is_relative_to(dep) for dep in paths_in(STAGES[stage]["deps"])) for stage in using)


def read_sections(module: str) -> set[str]:
    """Returns the sections that a script reads: ``params.llm``, ``load_params().candidates``, ``params.dataset(name)``."""
    tree = ast.parse((REPOSITORY / modules()[module]).read_text(encoding="utf-8"))
    only_checked = {
        id(node.value.func) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    }
    by_accessor = {
        "dataset": {"datasets"},
        "system": {"systems", *SystemConfig.model_fields} & set(Params.model_fields),
        "chat_model": {"chat_models"},
    }
    sections: set[str] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) in {"params", "load_params()"}
            and id(node) not in only_checked
        ):
            sections |= by_accessor.get(node.attr, {node.attr} & set(Params.model_fields))
    return sections


@pytest.mark.parametrize("stage", STAGES)
def test_params_name_all_sections_that_a_script_reads(stage: str) -> None:
    entries = [entry if isinstance(entry, dict) else {"params.yaml": [entry]} for entry in STAGES[stage].get("params", [])]
    declared = {key.split(".")[0] for entry in entries for keys in entry.values() for key in keys}
    wrong = [key for entry in entries for file, keys in entry.items() for key in keys if str(file_of(key)) != file]
    assert not wrong, f"{stage}: these params belong in the other file: {wrong}"
    missing = read_sections(script(stage)) - declared - NOT_AN_INPUT
    assert not missing, f"add to the params of stage {stage} in dvc.yaml: {sorted(missing)}"


def test_every_script_is_a_stage_or_for_users() -> None:
    scripts = {name for name in modules() if name.startswith("pipeline.")} - NO_SCRIPTS
    for_users = {
        "pipeline.compare",
        "pipeline.demo",
        "pipeline.describe",
        "pipeline.export",
        "pipeline.preset",
        "pipeline.repro",
    }
    for_users |= {"pipeline.serve", "pipeline.publish"}
    assert scripts - {script(stage) for stage in STAGES} == for_users


def test_dvc_yaml_and_paths_agree() -> None:
    coordinates = {"dataset": "d", "recommender": "r", "system": "s", "seed": "0", "model": "m"}
    written = set()
    for stage in STAGES.values():
        for path in paths_in(stage.get("outs", []) + stage.get("metrics", []) + stage.get("plots", [])):
            written.add(Path(re.sub(r"\$\{item\.(\w+)\}", lambda match: coordinates[match[1]], path)))
    recommender, system = paths.run_name("r", 0), paths.run_name("s", 0)
    expected = {paths.raw("d"), paths.prepared("d"), paths.statistics("d"), paths.candidates("d"), paths.RESOLVED, paths.LLM}
    expected |= {paths.checkpoint("d", recommender), paths.item_embeddings("d", recommender)}
    expected |= {paths.training_scores("d", recommender), paths.recommender_predictions("d", recommender)}
    expected |= {paths.baseline_predictions("d", "b").parent, paths.fused_predictions("d", system).parent}
    expected |= {paths.all_inputs("d"), paths.adapter("d", system), paths.starts("d"), paths.further("d", system)}
    expected |= {paths.start_of_each("d")}
    expected |= {paths.system_predictions("d", run_name) for run_name in (system, "m")}
    expected |= {
        paths.results("d"),
        paths.metrics("d", system).parent,
        paths.main_metrics("d", system).parent,
        paths.recommendations("d", system),
    }
    expected |= {paths.curves("d", run_name) for run_name in (recommender, system)}
    assert expected == {path for path in written if path.parent != paths.REPORT}


def test_the_core_knows_neither_the_command_line_nor_dvc() -> None:
    for module in core_modules():
        roots = {name.split(".")[0] for name in imported_names(module)}
        assert not roots & {"typer", "click", "dvc", "pipeline"}, module


def test_no_pickle() -> None:
    """Except in the importer of released frames, which are pickles; it allows only the classes of a frame."""
    for module, path in modules().items():
        if module == "llara_core.readers.frame_pickles":
            continue
        assert not {name.split(".")[0] for name in imported_names(module)} & {"pickle", "dill", "cloudpickle", "joblib"}, module
        assert "torch.load(" not in (REPOSITORY / path).read_text(encoding="utf-8"), module


def test_imports_point_one_way() -> None:
    level = {name: number for number, names in enumerate(LAYERS) for name in names}
    assert {unit(module) for module in core_modules()} <= set(level), "give the new sub-package a layer"
    for module in core_modules():
        for other in direct(module) - {"llara_core"}:
            assert level[unit(other)] <= level[unit(module)], f"{module} imports {other} of a higher layer"


def test_tuning_does_not_depend_on_inference() -> None:
    """Changes there therefore cause no new tuning."""
    scripts = ("pipeline.tune", "pipeline.tune_further")
    run = {unit(module) for script in scripts for module in transitive(script) if module.startswith("llara_core.")}
    assert not run & {"inference", "chat", "evaluation", "answers"}


def test_sub_packages_do_not_import_each_other_in_a_circle() -> None:
    edges = {(unit(a), unit(b)) for a in core_modules() for b in direct(a) - {"llara_core"} if unit(a) != unit(b)}
    names = {name for edge in edges for name in edge}
    while names:
        leaves = {name for name in names if not any(a == name and b in names for a, b in edges)}
        assert leaves, f"a circle among {sorted(names)}"
        names -= leaves


def test_stage_scripts_share_only_the_wrapper() -> None:
    for module in modules():
        if module.startswith("pipeline."):
            others = {name for name in direct(module) if name.startswith("pipeline")}
            assert others <= {"pipeline.stage", "pipeline", *(PARTS if module in WITH_PARTS else ())}, module


def python(code: str) -> str:
    """Returns the output of a new interpreter in the repository root."""
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_help_answers_without_torch() -> None:
    scripts = [name for name in modules() if name.startswith("pipeline.") and name not in NO_SCRIPTS]
    code = f"""
import contextlib, io, runpy, sys
for module in {scripts}:
    sys.argv = [module, "--help"]
    help_text = io.StringIO()
    with contextlib.redirect_stdout(help_text):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as answer:
            assert answer.code == 0, module
    assert "Usage:" in help_text.getvalue(), module
    loaded = {{"torch", "transformers"}} & set(sys.modules)
    assert not loaded, f"{{module}} imports {{loaded}}"
print("done")
"""
    assert python(code) == "done\n"


def test_prompts_and_evaluation_load_no_torch() -> None:
    names = [name for name in core_modules() if unit(name) in {"answers", "evaluation", "report"} | LAYERS[0]]
    names += [name for name in core_modules() if name.startswith("llara_core.llm.prompts")]
    assert python(f"import {', '.join(names)}; import sys; print('torch' in sys.modules)") == "False\n"


@pytest.mark.parametrize("name", ["params.yaml", "systems.yaml"])
def test_both_yaml_versions_read_the_same_params(name: str) -> None:
    """DVC reads them as YAML 1.1, in which 1e-4 (without a dot) is a string; the code as YAML 1.2."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert yaml.safe_load(text) == YAML(typ="safe", pure=True).load(text)


def test_params_are_short() -> None:
    assert len((REPOSITORY / "params.yaml").read_text(encoding="utf-8").splitlines()) <= 280


@pytest.mark.parametrize("name", ["params.yaml", "systems.yaml"])
def test_params_are_in_block_style(name: str) -> None:
    """`dvc exp run -S` would reformat anything else."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    events = list(yaml.parse(text))
    for event, following in pairwise(events):
        if isinstance(event, yaml.CollectionStartEvent) and event.flow_style:
            assert isinstance(following, yaml.CollectionEndEvent), f"{name}, line {event.start_mark.line + 1}"


# Common terms, which need no description.
SELF_EXPLAINING = {"batch_size", "dropout", "embedding_dim", "epochs", "hidden_dim", "learning_rate", "max_epochs", "n_heads"}
SELF_EXPLAINING |= {"max_grad_norm", "n_layers", "rank", "alpha", "seed", "weight_decay", "bootstrap_samples", "confidence"}
SELF_EXPLAINING |= {"n_vertical_filters", "validation", "test", "format"}


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yields the sections in an annotation, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yields ``model`` and every section below it."""
    yield model
    for field in model.model_fields.values():
        for section in models_in(field.annotation):
            yield from sections(section)


def test_every_key_of_params_is_described() -> None:
    for section in sections(Params):
        for name, field in section.model_fields.items():
            described = field.description or name in SELF_EXPLAINING or any(models_in(field.annotation))
            assert described, f"{section.__name__}.{name}"
