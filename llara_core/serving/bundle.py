"""Folder of an exported system, which is independent of the run: parts, hashes of their files and a model card.

adapter/lora/                LoRA in peft's own format
adapter/modules.safetensors  projector, placeholder, catalogue head
adapter/adapter.json         metadata of the adapter
recommender/                 checkpoint of the recommender that retrieves
item_embeddings.parquet      item vectors that the projector reads
items.parquet                raw ids, titles and labels
metadata.json                everything else that ranking needs, and the sha256 of every file above
README.md                    model card
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from llara_core import paths, tables
from llara_core.config import RECOMMENDERS, LlmConfig, PromptConfig
from llara_core.config.sections import Section, unknown
from llara_core.errors import ConfigError, DataError, ModelError
from llara_core.llm import adapters, loading
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.recommenders import checkpoints
from llara_core.serving.new_items import ItemReading
from llara_core.serving.parts import Retriever, SystemParts

METADATA, CARD = "metadata.json", "README.md"
ITEMS, ITEM_EMBEDDINGS, ADAPTER, RECOMMENDER = paths.ITEMS, paths.ITEM_EMBEDDINGS, "adapter", "recommender"
_FORMAT = 1
_LIBRARIES = ("llara-dvc", "torch", "transformers", "peft", "pandas", "pyarrow")


class RequiredLlm(Section):
    """Language model that an exported system requires."""

    # keys of ``llm`` in ``params.yaml``; ``model`` is the name of a folder without its path
    model: str
    revision: str | None
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    quantization: Literal["none", "8bit", "4bit"]
    fingerprint: str  # fingerprint of its files

    @property
    def call_to_fetch(self) -> str:
        """Code that fetches this language model into a folder."""
        return f'`llara_core.fetching.llm.fetch_llm({self.model!r}, {self.revision!r}, Path("path/to/llm"))`'

    def check(self, folder: Path, llm_folder: Path) -> None:
        """Checks that a folder holds this language model.

        Args:
            llm_folder: folder of the language model to use with it.

        Raises:
            ModelError: it holds another one.
        """
        if (given := loading.fingerprint(llm_folder)) != self.fingerprint:
            raise ModelError(
                f"{folder}: requires the language model {self.model} (fingerprint {self.fingerprint[:12]}), but {llm_folder} "
                f"holds another one ({given[:12]}); {self.call_to_fetch} creates the right folder"
            )


class BundleMetadata(Section):
    """Content of ``metadata.json``."""

    format: Literal[1]  # version of the folder's format; changes when older code can no longer read it
    # origin of the system
    dataset: str
    dataset_format: str
    system: str
    seed: int
    # wording of the data set for its items
    noun: str
    verb: str
    max_history_len: int  # most recent items that are read
    n_candidates: int  # items that are retrieved for prompts with candidates
    n_items: int  # size of the catalogue
    item_reading: ItemReading  # how items, including new ones, are read
    prompt: PromptConfig | None  # prompt of the language model; None without one
    tuned: bool  # whether there is an adapter
    llm: RequiredLlm | None  # language model; None without one
    retriever: str | None  # name of the recommender under ``recommender/``; None without one
    data_hash: str | None  # hash of the prepared data that the recommender was trained on
    versions: dict[str, str]  # versions of the libraries at export
    files: dict[str, str]  # sha256 of each file, by path inside the folder


def write_parts(folder: Path, parts: SystemParts, dataset_format: str, llm: LlmConfig, llm_folder: Path) -> BundleMetadata:
    """Creates ``folder`` with copies of the parts of a system and their metadata.

    Raises:
        ConfigError: a part is a baseline, which is fitted on users' interactions that an export does not contain.
        ModelError: a part is missing, or the adapter was tuned on another language model than ``llm_folder`` holds.
    """
    retriever = parts.retriever
    if parts.seed is None or (retriever is not None and retriever.checkpoint is None):
        name = parts.system if retriever is None else retriever.name
        raise ConfigError(
            f"{name} is a baseline, fitted on users' interactions, which an export does not contain; export a recommender, or "
            "name one as the retriever"
        )
    folder.mkdir()
    shutil.copyfile(parts.items, folder / ITEMS)
    prompt, fingerprint, data_hash, required_llm = None, "", None, None
    if isinstance(parts.llm, Path):
        adapter = adapters.read_metadata(parts.llm)
        prompt, fingerprint = adapter.prompt, adapter.llm
        shutil.copytree(parts.llm, folder / ADAPTER)
        # peft would warn about this machine's path on every other machine; `fingerprint` identifies the model.
        lora = folder / ADAPTER / adapters.LORA_FOLDER / "adapter_config.json"
        tables.write_json(lora, {**tables.read_json(lora), "base_model_name_or_path": None})
    elif parts.llm is not None:
        prompt, fingerprint = parts.llm, loading.fingerprint(llm_folder)
    if parts.item_embeddings is not None:
        shutil.copyfile(parts.item_embeddings, folder / ITEM_EMBEDDINGS)
    if retriever is not None and retriever.checkpoint is not None:
        shutil.copytree(retriever.checkpoint, folder / RECOMMENDER)
        data_hash = checkpoints.read_metadata(retriever.checkpoint).data_hash
    if prompt is not None:
        if loading.fingerprint(llm_folder) != fingerprint:
            raise ModelError(f"{parts.llm}: tuned on another language model than {llm_folder} holds; run `dvc repro`")
        source = tables.read_json(llm_folder / paths.LLM_SOURCE)
        required_llm = RequiredLlm(
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
        llm=required_llm,
        retriever=None if retriever is None else retriever.name,
        data_hash=data_hash,
        versions={name: _version(name) for name in _LIBRARIES},
        files={
            path.relative_to(folder).as_posix(): tables.file_sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    )
    tables.write_json(folder / METADATA, metadata.model_dump())
    return metadata


def llm_config(required: RequiredLlm, dtype: str | None) -> LlmConfig:
    """Returns the settings for loading the language model: those of the export, with ``dtype`` if it is given.

    Raises:
        ConfigError: the dtype is unknown.
    """
    settings = required.model_dump(exclude={"fingerprint"}) | {"threads": 1} | ({} if dtype is None else {"dtype": dtype})
    try:
        return LlmConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"dtype {dtype!r}: {error.errors()[0]['msg']}") from error


def read_metadata(folder: Path) -> BundleMetadata:
    """Reads the metadata of an exported folder.

    Raises:
        DataError: it is not an exported folder, or was written by a later version.
    """
    if not (folder / METADATA).is_file():
        raise DataError(f"{folder}: no exported system here ({METADATA} is missing); make one with `python -m pipeline.export`")
    try:
        return BundleMetadata.model_validate(tables.read_json(folder / METADATA))
    except ValidationError as error:
        raise DataError(f"{folder / METADATA}: written by another version; export the system again ({error})") from error


def open_bundle(folder: Path) -> tuple[BundleMetadata, SystemParts]:
    """Reads the metadata and the parts of an exported folder, after checking all its files against their hashes.

    Raises:
        DataError: it is not an exported folder, is incomplete or damaged, or was written by a later version.
        ModelError: this version does not know its recommender.
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
    return metadata, SystemParts(
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


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # the code is not installed as a package
        return "not installed"
