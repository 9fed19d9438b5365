"""Export of a system of a run into one folder."""

from __future__ import annotations

import logging
from pathlib import Path

from llara_core import paths, tables
from llara_core.config import Params
from llara_core.errors import ConfigError, DataError
from llara_core.llm import adapters
from llara_core.serving import bundle
from llara_core.serving.card import model_card, read_records
from llara_core.serving.parts import SystemParts

logger = logging.getLogger(__name__)


def export(parts: SystemParts, params: Params, out: Path) -> None:
    """Writes one system into the folder ``out``, completely or not at all.

    Args:
        out: new or empty folder, or an earlier export, which is replaced.

    Raises:
        ConfigError: ``out`` holds something else, or the system contains a baseline.
        ModelError: a part is missing or does not match the others.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        try:
            bundle.read_metadata(out)
        except DataError as error:
            raise ConfigError(f"{out}: exists and is not an exported system; name a new folder") from error
    with tables.atomic_path(out) as staged:
        metadata = bundle.write_parts(staged, parts, params.dataset(parts.dataset).format, params.llm, paths.LLM)
        adapter = adapters.read_metadata(staged / bundle.ADAPTER) if metadata.tuned else None
        alone = None if metadata.retriever == metadata.system else metadata.retriever
        measured, measured_alone = (
            [] if name is None else read_records(paths.metrics(metadata.dataset, _evaluated_cell(name, metadata.seed, params)))
            for name in (metadata.system, alone)
        )
        card = model_card(metadata, adapter, measured, measured_alone, params.evaluation.confidence)
        (staged / bundle.CARD).write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    logger.info("%s: %s on %s, %d files, %.1f MB", out, metadata.system, metadata.dataset, len(metadata.files) + 2, size / 1e6)


def _evaluated_cell(name: str, seed: int, params: Params) -> str:
    """Name of the evaluated run; an untuned system has only one, under the first seed."""
    untuned = name in params.systems and not params.systems[name].tuned
    return paths.run_name(name, params.run.seeds[0] if untuned else seed)
