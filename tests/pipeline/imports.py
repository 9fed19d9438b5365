"""Modules of this repository that a module imports, determined from the source, including imports in functions."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("llara_core", "pipeline")


@cache
def modules() -> dict[str, Path]:
    """Returns every module of the repository with its file, relative to the root."""
    found = {}
    for package in PACKAGES:
        for file in sorted((REPOSITORY / package).rglob("*.py")):
            path = file.relative_to(REPOSITORY)
            parts = path.with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported_names(module: str) -> frozenset[str]:
    """Returns the dotted names that ``module`` imports at run time, of this repository or not."""
    tree = ast.parse((REPOSITORY / modules()[module]).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in _run_time_nodes(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} uses a relative import"
            names.update(_submodule_or_parent(str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            assert name not in {"import_module", "resolve_name", "__import__"}, f"{module} imports by a name, which hides what"
    return frozenset(names)


@cache
def direct(module: str) -> frozenset[str]:
    """Returns the modules of this repository that ``module`` imports directly."""
    return frozenset(name for name in imported_names(module) if name in modules())


@cache
def transitive(module: str, without: str = "") -> frozenset[str]:
    """Returns the modules of this repository that ``module`` imports, directly or through others but ``without``."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        new = direct(waiting.pop()) - seen
        seen |= new
        waiting.extend(new - {without})
    return frozenset(seen - {module})


def _submodule_or_parent(parent: str, name: str) -> str:
    return f"{parent}.{name}" if f"{parent}.{name}" in modules() else parent


def _run_time_nodes(tree: ast.AST) -> list[ast.AST]:
    """Returns all nodes except those under ``if TYPE_CHECKING:``."""
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        nodes += [child, *_run_time_nodes(child)]
    return nodes
