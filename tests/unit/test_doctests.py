"""The examples in docstrings run and show what they say."""

import doctest
import importlib
import pkgutil

import llara_core

MODULES = [module.name for module in pkgutil.walk_packages(llara_core.__path__, "llara_core.")]


def test_examples_in_docstrings_hold() -> None:
    results = {name: doctest.testmod(importlib.import_module(name)) for name in MODULES}
    assert [name for name, result in results.items() if result.failed] == []
    assert sum(result.attempted for result in results.values()) > 0
