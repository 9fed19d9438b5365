"""Export of a system of a run into one folder, with a model card generated from its metadata and metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    """Generates the text of ``README.md``.

    Args:
        adapter: metadata of the adapter; None without tuning.
        measured: contents of the system's metrics files.
        measured_alone: contents of the metrics files of the recommender that retrieves for it.
    """
    parts = [
        f"# {metadata.system} on {metadata.dataset}",
        _what_it_is(metadata, adapter),
        "## Use",
        _use(metadata),
        "## Measured",
        _measured(metadata, measured, measured_alone, confidence),
        "## Limits",
        _limits(metadata),
        "## Terms",
        _terms(metadata),
        "## Provenance",
        _provenance(metadata, adapter),
    ]
    return "\n\n".join(parts) + "\n"


def _what_it_is(metadata: BundleMetadata, adapter: adapters.AdapterMetadata | None) -> str:
    if metadata.prompt is None:
        return f"A sequential recommender, exported from a run with training seed {metadata.seed}."
    kind = "tuned with LoRA" if metadata.tuned else "not tuned"
    retrieval = ""
    if metadata.retriever and adapter is not None and adapter.has_head:
        retrieval = f" It scores the whole catalogue; with `candidates`, the recommender {metadata.retriever} retrieves first."
    elif metadata.retriever:
        retrieval = f" The recommender {metadata.retriever} retrieves the items that it ranks."
    return (
        f"A language model ({kind}) that recommends items, exported from a run with training seed {metadata.seed}. Its "
        f"prompts show items as `{metadata.prompt.representation}`.{retrieval}"
    )


def _use(metadata: BundleMetadata) -> str:
    llm = metadata.llm
    arguments = '"path/to/this/folder"' if llm is None else '"path/to/this/folder", llm="path/to/llm"'
    code = (
        "```python\nfrom llara_core.serving import load\n\n"
        f'model = load({arguments})\nmodel.recommend(["a title", "another title"], top=10)\n```'
    )
    if llm is None:
        return code
    peft = " `adapter/lora` also loads with `peft.PeftModel.from_pretrained`." if metadata.tuned else ""
    return (
        f"{code}\n\n`path/to/llm` is a folder with the language model `{llm.model}`, created by {llm.call_to_fetch}, with the "
        f"fingerprint `{llm.fingerprint}`; other models are refused.{peft}"
    )


def _measured(
    metadata: BundleMetadata, measured: Sequence[MetricsRecord], measured_alone: Sequence[MetricsRecord], confidence: float
) -> str:
    nothing = "" if measured else f"{metadata.system} has no metrics in the run that it was exported from."
    records = [*measured, *measured_alone]
    if not records:
        return nothing
    rows = [
        "| System | Answers by | Split | HR@1 | Valid | Users x sets | Seed |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for record in records:
        for split in ("test", "validation"):
            if (of := record.get(split)) is None:
                continue
            hits = f"{of['hit_ratio@1']:.3f} [{of['hit_ratio@1_low']:.3f}, {of['hit_ratio@1_high']:.3f}]"
            sets = f"{of['n_users']} x {of['n_draws']}"
            cells = [record["system"], record["mode"], split, hits, f"{of['valid_ratio']:.3f}", sets, record["seed"]]
            rows.append(f"| {' | '.join(map(str, cells))} |")
    introduction = f"{nothing} The metrics of its recommender:\n\n" if nothing else ""
    return (
        introduction
        + "\n".join(rows)
        + f"\n\nHit ratio@1 on randomly drawn candidate sets, with {confidence:.0%} intervals over users; one training "
        "seed does not show the spread between seeds. Models were chosen on validation, so only test results are unbiased. "
        "Recommendations are ranked by `score`."
    )


def _limits(metadata: BundleMetadata) -> str:
    limits = [
        f"- It recommends the {metadata.n_items:,} items of `{paths.ITEMS}`, and new items that are added if it reads texts.",
        f"- It reads the last {metadata.max_history_len} items of a history, and never recommends an item of the history.",
        "- It was measured on randomly drawn candidate sets. The best items of the catalogue, or those that a recommender "
        "retrieves, are harder to distinguish, which was not measured.",
        "- Scores are not probabilities, and are not comparable between histories or systems.",
        f"- It was trained on the users of `{metadata.dataset}`, and reproduces their preferences, above all popular items.",
    ]
    if metadata.llm is not None:
        limits.append(
            '- In bfloat16 the batch size can reorder near ties; `dtype="float32"` keeps scores equal up to rounding.'
        )
    return "\n".join(limits)


def _terms(metadata: BundleMetadata) -> str:
    lines = [f"- Data: {DATA_TERMS.get(metadata.dataset_format, NOT_STATED)}"]
    if metadata.llm is not None:
        lines.append(f"- Language model `{metadata.llm.model}`: {LLM_TERMS.get(metadata.llm.model, NOT_STATED)}")
    return "\n".join([*lines, "- Code of LLaRA-DVC: Apache-2.0"])


def _provenance(metadata: BundleMetadata, adapter: adapters.AdapterMetadata | None) -> str:
    lines = []
    if adapter is not None:
        versions = ", ".join(f"{library} {version}" for library, version in adapter.versions.items())
        lines.append(
            f"- tuned: objective `{adapter.objective}`, {adapter.rows} rows, {adapter.dtype}, on {adapter.hardware}; {versions}"
        )
        if adapter.start is not None:
            lines.append(f"- tuning continued from the adapter of `{adapter.start.system}`, sha256 `{adapter.start.sha256}`")
        changed = adapter.ablation.model_dump().items() - _NO_ABLATION.items()
        lines += [f"- **ablation**, not for use: `{key}: {value}`" for key, value in sorted(changed)]
    exported = ", ".join(f"{library} {version}" for library, version in metadata.versions.items())
    lines.append(f"- exported: {exported}")
    if metadata.data_hash is not None:
        lines.append(f"- prepared data: `{metadata.data_hash}`")
    return "\n".join([*lines, "- `metadata.json` lists the sha256 of every file."])
