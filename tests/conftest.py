"""Settings of all tests: no model hub, one tokenizer thread (forks of a parallel tokenizer warn), the order of files, and
garbage collection that leaves the libraries alone.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine must not fail tests
settings.load_profile("untimed")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
gc.disable()  # until all is imported


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the longest file first, so that it does not keep one of two processes busy alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_tiny_world.py")


def pytest_collection_finish() -> None:
    """A collection goes through all objects, of which the libraries have a million: half a second for each tuned system."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama, as the stage ``fetch_llm`` writes it."""
    from llara_core.fetching.llm import fetch_llm
    from tests.pipeline.tiny_world import write_tiny_llama

    root = tmp_path_factory.mktemp("tiny_llama")
    write_tiny_llama(root / "source")
    fetch_llm(str(root / "source"), None, root / "llm")
    return root / "llm"
