"""What the pages mention exists: links, files and names in them, parameters, and the commands of experiments."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from ruamel.yaml import YAML

from llara_core.config import Params, Schedule, load_params
from llara_core.config.resolution import overlay
from tests.helpers.params import raw_params, write_params

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(REPOSITORY) for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
NOTEBOOK = Path("docs/notebook")
HISTORY = {page for page in PAGES if page == Path("CHANGELOG.md") or NOTEBOOK in page.parents}  # of earlier versions, too
# tests/pipeline/test_datasets_page.py runs the commands of docs/datasets.md themselves.
WITH_COMMANDS = [page for page in PAGES if page not in HISTORY | {Path("docs/datasets.md")}]
ROOMS = ("llara_core", "pipeline", "tests", "benchmarks", "presets", "docs")


def text(page: Path) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    """The blocks of code in one of ``languages``, "" for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text(page), flags=re.MULTILINE | re.DOTALL)
    return [block for language, block in found if language in languages]


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names under which GitHub links to the page's headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_has_at_most_900_words() -> None:
    assert len(text(Path("README.md")).split()) <= 900


def test_the_index_names_every_month_of_the_notebook() -> None:
    months = sorted(page.name for page in PAGES if NOTEBOOK in page.parents and page.name != "README.md")
    assert re.findall(r"\((\d{4}-\d\d\.md)\)", text(NOTEBOOK / "README.md")) == months


def test_pages_for_users_name_no_commits() -> None:
    """Those with results say which code gave them."""
    of_results = HISTORY | {Path("docs/results.md")}
    found = [
        (str(page), word)
        for page in PAGES
        if page not in of_results
        for word in re.findall(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{7,40}\b", prose(page))
    ]
    assert found == []


def test_the_tree_of_the_library_is_complete() -> None:
    tree = blocks(Path("CONTRIBUTING.md"), "")[1].partition("\nllara_core/")[2].partition("\ntests/")[0]
    entries = re.findall(r"^  ((?:\w+(?:\.py|/) +)+)", tree, flags=re.MULTILINE)
    named = sorted(name.rstrip("/") for entry in entries for name in entry.split())
    children = (REPOSITORY / "llara_core").iterdir()
    assert named == sorted(path.name for path in children if not path.name.startswith("_") and path.name != "py.typed")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        file = (REPOSITORY / page.parent / path).resolve() if path else REPOSITORY / page
        if not file.exists() or (anchor and anchor not in anchors(file.relative_to(REPOSITORY))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY], ids=str)
def test_files_and_the_names_in_them_exist(page: Path) -> None:
    missing = []
    for code, name in re.findall(r"`([\w./]+\.(?:py|yaml))`(?: `([\w.]+)`)?", prose(page)):
        places = [REPOSITORY / code, REPOSITORY / "llara_core" / code, REPOSITORY / "pipeline" / code]
        file = next((place for place in places if place.exists()), None)
        last = name.rpartition(".")[2]
        if file is None:
            missing.append(code)
        elif name and not re.search(rf"(def|class) {last}\b", file.read_text(encoding="utf-8")):
            missing.append(f"{code} {name}")
    assert missing == []


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY], ids=str)
def test_scripts_that_are_run_exist(page: Path) -> None:
    scripts = re.findall(r"python -m ((?:pipeline|benchmarks)\.\w+)", text(page))
    assert [name for name in scripts if not (REPOSITORY / f"{name.replace('.', '/')}.py").exists()] == []


def commands_of_scripts(page: Path) -> Iterator[list[str]]:
    """The words after ``python -m pipeline.`` of each complete command on the page."""
    shell = [line for block in blocks(page, "", "sh") for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(python -m pipeline\.[^`]+ [^`]+)`", prose(page).replace("\n", " "))
    for line in [*shell, *inline]:
        if found := re.match(r"python -m pipeline\.([^&|]+)", line):
            words = shlex.split(found[1], comments=True)
            if not any(word.isupper() for word in words):  # a place for the reader's own word
                yield words


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, id=f"{page}-{' '.join(words)[:60]}")
        for page in PAGES
        if page not in HISTORY
        for words in commands_of_scripts(page)
    ],
)
def test_commands_of_scripts_are_understood(words: list[str]) -> None:
    app = typer.Typer()
    app.command()(importlib.import_module(f"pipeline.{words[0]}").main)
    typer.main.get_command(app).make_context(words[0], words[1:])


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY], ids=str)
def test_parameters_exist(page: Path) -> None:
    params = raw_params()
    sections = "|".join(Params.model_fields)
    named = re.findall(rf"`((?:{sections})\.[\w.]+)(?:: [^`]*|=[^`]*)?`", prose(page))
    files = (".py", ".yaml", ".md")
    assert [key for key in named if not key.endswith(files) and not _is_key(params, key.split("."))] == []


def _is_key(section: Any, key: list[str]) -> bool:
    return not key or (isinstance(section, dict) and key[0] in section and _is_key(section[key[0]], key[1:]))


def experiments(page: Path) -> Iterator[list[str]]:
    """The settings of each command, or part of one, on the page that has some."""
    shell = [line for block in blocks(page, "", "sh") for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`((?:dvc exp run|-S) [^`]+)`", prose(page).replace("\n", " "))
    for command in [*(line for line in shell if "dvc exp run" in line or "pipeline.repro" in line), *inline]:
        words = shlex.split(command, comments=True)
        if found := [value for flag, value in pairwise(words) if flag == "-S"]:
            yield found


@pytest.fixture(scope="module")
def params_of_the_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository's parameters and the sections that the pages tell their readers to add."""
    yaml = YAML(typ="safe", pure=True)
    params = raw_params()
    for page in PAGES:
        for block in blocks(page, "yaml"):
            params = overlay(params, {key: value for key, value in yaml.load(block).items() if key in Params.model_fields})
    return write_params(params, tmp_path_factory.mktemp("pages")).parent


def test_every_schedule_is_listed() -> None:
    (row,) = (line for line in text(Path("docs/use.md")).splitlines() if line.startswith("| `curriculum.schedule` |"))
    assert set(re.findall(r"`(\w+)`", row)) == {*get_args(Schedule)}


@pytest.mark.parametrize(
    "values", [pytest.param(values, id=f"{page}-{values[0]}") for page in WITH_COMMANDS for values in experiments(page)]
)
def test_experiments_are_valid(values: list[str], params_of_the_pages: Path, tmp_path: Path) -> None:
    for number, sweep in enumerate(get_hydra_sweeps(to_path_overrides(values))):
        folder = shutil.copytree(params_of_the_pages, tmp_path / str(number))
        for file, overrides in sweep.items():
            assert {file} <= {"params.yaml", "systems.yaml"}
            apply_overrides(folder / file, overrides)
        load_params(folder / "params.yaml")


def test_the_pages_have_experiments() -> None:
    expected = {
        Path("README.md"),
        *(Path(f"docs/{name}.md") for name in ("use", "scale", "systems", "protocol")),
    }
    assert expected <= {page for page in WITH_COMMANDS if list(experiments(page))}
