"""A system in one folder, which travels without the run that made it: parts, hashes of their files, and a card to read.

adapter/lora/                LoRA in peft's own format
adapter/modules.safetensors  projector, placeholder, catalogue head
adapter/adapter.json         what the adapter belongs to
recommender/                 the recommender's checkpoint, which retrieves
item_embeddings.parquet      the item vectors that the projector reads
items.parquet                raw ids, titles and labels
metadata.json                all else that ranking needs, and the sha256 of every file above
README.md                    the model card
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from llara_core import paths, tables
from llara_core.config import RECOMMENDERS, LlmConfig, PromptConfig
from llara_core.config.recommenders import unknown
from llara_core.config.sections import Section
from llara_core.errors import ConfigError, DataError, ModelError
from llara_core.llm import adapters, loading
from llara_core.prompts.rendering import ItemWording
from llara_core.recommenders import checkpoints
from llara_core.serving.new_items import ItemReading
from llara_core.serving.parts import Parts, Retriever

METADATA, CARD = "metadata.json", "README.md"
ITEMS, ITEM_EMBEDDINGS, ADAPTER, RECOMMENDER = "items.parquet", "item_embeddings.parquet", "adapter", "recommender"
_FORMAT = 1
_LIBRARIES = ("llara-dvc", "torch", "transformers", "peft", "pandas", "pyarrow")


class LlmFacts(Section):
    """The language model that a system was made for.

    Attributes:
        model, revision, dtype, quantization: as in ``params.yaml``; the model by name, where it was a folder.
        fingerprint: of its files.
    """

    model: str
    revision: str | None
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    quantization: Literal["none", "8bit", "4bit"]
    fingerprint: str

    @property
    def call_to_fetch(self) -> str:
        """What makes a folder of this language model."""
        return f'`llara_core.fetching.llm.fetch_llm({self.model!r}, {self.revision!r}, Path("path/to/llm"))`'

    def check(self, folder: Path, llm_folder: Path) -> None:
        """Refuse another language model.

        Args:
            folder: of the exported system.
            llm_folder: of the language model that is to be used with it.

        Raises:
            ModelError: it is another one.
        """
        if (given := loading.fingerprint(llm_folder)) != self.fingerprint:
            raise ModelError(
                f"{folder}: made for the language model {self.model} (fingerprint {self.fingerprint[:12]}), but {llm_folder} "
                f"holds another one ({given[:12]}); {self.call_to_fetch} makes the right folder"
            )


class BundleMetadata(Section):
    """What an exported folder holds, in its ``metadata.json``.

    Attributes:
        format: of the folder; changes when older code could no longer read it.
        dataset, dataset_format, system, seed: where it comes from.
        noun, verb: the data set's words for items.
        max_history_len: most recent items that are read.
        n_candidates: items that are retrieved for prompts with candidates.
        n_items: of the catalogue.
        item_reading: how items were read, and new ones are.
        prompt: how the language model is prompted; None without one.
        tuned: whether there is an adapter.
        llm: the language model; None without one.
        retriever: name of the recommender under ``recommender/``; None without one.
        data_hash: of the prepared data that the recommender was trained on.
        versions: of the libraries at export.
        files: sha256 by path inside the folder.
    """

    format: Literal[1]
    dataset: str
    dataset_format: str
    system: str
    seed: int
    noun: str
    verb: str
    max_history_len: int
    n_candidates: int
    n_items: int
    item_reading: ItemReading
    prompt: PromptConfig | None
    tuned: bool
    llm: LlmFacts | None
    retriever: str | None
    data_hash: str | None
    versions: dict[str, str]
    files: dict[str, str]


def write_parts(folder: Path, parts: Parts, dataset_format: str, llm: LlmConfig, llm_folder: Path) -> BundleMetadata:
    """Copy the parts of a system into ``folder``, which is made, with their metadata.

    Raises:
        ConfigError: a baseline is among them; it is fitted on the users' interactions, which an export does not carry.
        ModelError: a part is missing, or the adapter was tuned on another language model than ``llm_folder`` holds.
    """
    retriever = parts.retriever
    if parts.seed is None or (retriever is not None and retriever.checkpoint is None):
        name = parts.system if retriever is None else retriever.name
        raise ConfigError(
            f"{name} is a baseline, fitted on the users' interactions, which an export does not carry; export a recommender, "
            "or name one as the retriever"
        )
    folder.mkdir()
    shutil.copyfile(parts.items, folder / ITEMS)
    prompt, fingerprint, data_hash, facts = None, "", None, None
    if isinstance(parts.llm, Path):
        adapter = adapters.read_metadata(parts.llm)
        prompt, fingerprint = adapter.prompt, adapter.llm
        shutil.copytree(parts.llm, folder / ADAPTER)
        # A path on this machine, of which peft would warn on every other; `fingerprint` says which model it is.
        lora = folder / ADAPTER / adapters.LORA_FOLDER / "adapter_config.json"
        tables.write_json(lora, {**tables.read_json(lora), "base_model_name_or_path": None})
    elif parts.llm is not None:
        prompt, fingerprint = parts.llm, loading.fingerprint(llm_folder)
    if parts.item_embeddings is not None:
        shutil.copyfile(parts.item_embeddings, folder / ITEM_EMBEDDINGS)
    if retriever is not None and retriever.checkpoint is not None:
        shutil.copytree(retriever.checkpoint, folder / RECOMMENDER)
        data_hash = checkpoints.read_facts(retriever.checkpoint).data_hash
    if prompt is not None:
        if loading.fingerprint(llm_folder) != fingerprint:
            raise ModelError(f"{parts.llm}: tuned on another language model than {llm_folder} holds; run `dvc repro`")
        source = tables.read_json(llm_folder / paths.LLM_SOURCE)
        facts = LlmFacts(
            model=source["model"],
            revision=source["revision"],
            dtype=llm.dtype,
            quantization=llm.quantization,
            fingerprint=fingerprint,
        )
    metadata = BundleMetadata(
        format=_FORMAT,
        dataset=parts.dataset,
        dataset_format=dataset_format,
        system=parts.system,
        seed=parts.seed,
        noun=parts.wording.noun,
        verb=parts.wording.verb,
        max_history_len=parts.max_history_len,
        n_candidates=parts.n_candidates,
        n_items=len(parts.read_items()),
        item_reading=parts.item_reading,
        prompt=prompt,
        tuned=isinstance(parts.llm, Path),
        llm=facts,
        retriever=None if retriever is None else retriever.name,
        data_hash=data_hash,
        versions={name: _version(name) for name in _LIBRARIES},
        files={path.relative_to(folder).as_posix(): tables.file_sha256(path) for path in _files(folder)},
    )
    tables.write_json(folder / METADATA, metadata.model_dump())
    return metadata


def llm_config(facts: LlmFacts, dtype: str | None) -> LlmConfig:
    """How the language model is loaded: as at export, but for ``dtype``, where it is given.

    Raises:
        ConfigError: no dtype is called so.
    """
    settings = facts.model_dump(exclude={"fingerprint"}) | {"threads": 1} | ({} if dtype is None else {"dtype": dtype})
    try:
        return LlmConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"dtype {dtype!r}: {error.errors()[0]['msg']}") from error


def read_metadata(folder: Path) -> BundleMetadata:
    """The metadata of an exported folder.

    Raises:
        DataError: it is no exported folder, or of a later version.
    """
    if not (folder / METADATA).is_file():
        raise DataError(f"{folder}: no exported system here ({METADATA} is missing); make one with `python -m pipeline.export`")
    try:
        return BundleMetadata.model_validate(tables.read_json(folder / METADATA))
    except ValidationError as error:
        raise DataError(f"{folder / METADATA}: not what this version reads; export the system again ({error})") from error


def open_bundle(folder: Path) -> tuple[BundleMetadata, Parts]:
    """The metadata and the parts of an exported folder, once all its files are found to be those that were exported.

    Raises:
        DataError: it is no exported folder, of a later version, incomplete or damaged.
        ModelError: its recommender is unknown here.
    """
    metadata = read_metadata(folder)
    if metadata.retriever is not None and metadata.retriever not in RECOMMENDERS:
        raise ModelError(
            f"{folder}: {unknown(metadata.retriever, 'recommender', RECOMMENDERS)}, or install the code that has it"
        )
    for name, sha256 in metadata.files.items():
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: missing; copy the whole folder again")
        if tables.file_sha256(folder / name) != sha256:
            raise DataError(f"{folder / name}: not the file that was exported (its sha256 differs); copy the folder again")
    retriever = None
    if metadata.retriever is not None:
        retriever = Retriever.trained(metadata.retriever, folder / RECOMMENDER, str(metadata.data_hash))
    return metadata, Parts(
        dataset=metadata.dataset,
        system=metadata.system,
        seed=metadata.seed,
        wording=ItemWording(metadata.noun, metadata.verb),
        max_history_len=metadata.max_history_len,
        n_candidates=metadata.n_candidates,
        items=folder / ITEMS,
        item_reading=metadata.item_reading,
        llm=folder / ADAPTER if metadata.tuned else metadata.prompt,
        item_embeddings=folder / ITEM_EMBEDDINGS if ITEM_EMBEDDINGS in metadata.files else None,
        retriever=retriever,
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # run from a copy that is not installed
        return "not installed"
