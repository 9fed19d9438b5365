"""Export of a system of a run into one folder, with a model card generated from its metadata and metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import Params
from llara_core.errors import ConfigError, DataError
from llara_core.llm import adapters
from llara_core.serving import bundle
from llara_core.serving.bundle import BundleMetadata
from llara_core.serving.parts import SystemParts

logger = logging.getLogger(__name__)

MetricsRecord = Mapping[str, Any]

# Short forms of the terms in docs/datasets.md, by format.
NOT_STATED = "not known here; look them up before you pass the folder on"
_GROUPLENS = (
    "(GroupLens, University of Minnesota): for research. Without its permission the data, including the titles in "
    f"`{paths.ITEMS}`, may not be redistributed or used commercially."
)
DATA_TERMS = {
    **{f"movielens_{size.lower()}": f"MovieLens {size} {_GROUPLENS}" for size in ("100K", "1M", "10M", "20M", "25M", "32M")},
    **dict.fromkeys(("amazon_2018", "amazon_2023"), f"Amazon reviews (McAuley lab, UCSD): terms {NOT_STATED}"),
    "lastfm_2k": "HetRec 2011 Last.fm 2K (GroupLens): for non-commercial research.",
    "steam": "Steam reviews and games (McAuley lab, UCSD): for research.",
    "synthetic": "synthetic data; no terms.",
    "log": "data of the exporter, who states the terms.",
    "released_frames": "frames released by the paper's authors: the terms of the data set they were made from.",
}
LLM_TERMS = {"embedded:smollm2-135m-instruct": "Apache-2.0"}
_NO_ABLATION = {"llm_weights": "pretrained", "item_vectors": "recommender", "recommender_scores": "out_of_fold"}


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
            [] if name is None else read_records(paths.metrics(metadata.dataset, _evaluated_run(name, metadata.seed, params)))
            for name in (metadata.system, alone)
        )
        card = model_card(metadata, adapter, measured, measured_alone, params.evaluation.confidence)
        (staged / bundle.CARD).write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    logger.info("%s: %s on %s, %d files, %.1f MB", out, metadata.system, metadata.dataset, len(metadata.files) + 2, size / 1e6)


def _evaluated_run(name: str, seed: int, params: Params) -> str:
    """Returns the name of the evaluated run; an untuned system has only one, under the first seed."""
    untuned = name in params.systems and not params.systems[name].tuned
    return paths.run_name(name, params.run.seeds[0] if untuned else seed)


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Reads the metrics of one run with ordered histories, one record per mode; empty if it was not evaluated."""
    records = [tables.read_json(path) for path in sorted(folder.glob("*.json"))]
    return [record for record in records if record.get("history") == "ordered"]


def model_card(
    metadata: BundleMetadata,
    adapter: adapters.AdapterMetadata | None,
    measured: Sequence[MetricsRecord],
    measured_alone: Sequence[MetricsRecord],
    confidence: float,
) -> str:
    """Generates the text of ``README.md`` from the template ``card.md.jinja``.

    Args:
        adapter: metadata of the adapter; None without tuning.
        measured: contents of the system's metrics files.
        measured_alone: contents of the metrics files of the recommender that retrieves for it.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    template = environment.from_string(files(__package__).joinpath("card.md.jinja").read_text(encoding="utf-8"))
    return template.render(
        metadata=metadata,
        adapter=adapter,
        ablation=[] if adapter is None else sorted(adapter.ablation.model_dump().items() - _NO_ABLATION.items()),
        measured=measured,
        measured_alone=measured_alone,
        splits=(c.TEST, c.VALIDATION),
        confidence=confidence,
        data_terms=DATA_TERMS.get(metadata.dataset_format, NOT_STATED),
        llm_terms=None if metadata.llm is None else LLM_TERMS.get(metadata.llm.model, NOT_STATED),
    )
