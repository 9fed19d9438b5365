"""Loads the frozen base model and its tokenizer from the folder of the stage ``fetch_llm``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from llara_core import paths, tables
from llara_core.config import LlmConfig, Weights
from llara_core.config.families import refusal
from llara_core.errors import ModelError
from llara_core.llm import packing
from llara_core.runtime import compute, processes, progress, seeding

logger = logging.getLogger(__name__)


def device() -> torch.device:
    """Returns this process's GPU if there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if compute.device() == "cuda" else torch.device("cpu")


def compute_dtype(dtype: str) -> torch.dtype:
    """Resolves ``llm.dtype`` on this machine.

    Raises:
        ModelError: float16 is set without a GPU; CPUs neither compute nor train in it.
    """
    if dtype == "float16" and not torch.cuda.is_available():
        raise ModelError("llm.dtype: float16 needs a GPU; use auto, bfloat16 or float32 on this machine")
    if dtype != "auto":
        resolved: torch.dtype = getattr(torch, dtype)
        return resolved
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if compute.computes_bfloat16() else torch.float32


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Loads the base model's tokenizer.

    Raises:
        ModelError: ``folder`` holds no model, or no tokenizer.
    """
    _check_fetched(folder)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: its tokenizer cannot be loaded: {error}") from error
    return tokenizer


def load_base_model(folder: Path, config: LlmConfig, *, random_seed: int | None = None, weights: Weights = "replicated") -> Any:
    """Loads the frozen causal LM, onto this process's GPU if there is one.

    Args:
        folder: folder of the stage ``fetch_llm``.
        random_seed: seed of a randomly initialised model of the same shape, for the ablation; None loads the weights.
        weights: ``sharded`` keeps only this process's part of each decoder layer.

    Raises:
        ModelError: the folder holds no complete model of a supported family, bitsandbytes is missing for quantisation, or
            quantised weights are to be sharded.
    """
    _check_fetched(folder)
    if reason := refusal(tables.read_json(folder / "config.json")):
        raise ModelError(f"{folder}: {reason}")
    dtype = compute_dtype(config.dtype)
    # On a CPU, torch's fused attention is slower than attention by row.
    options: dict[str, Any] = {"attn_implementation": packing.BY_ROW} if device().type == "cpu" else {}
    quantized, sharded = config.quantization != "none", weights == "sharded" and processes.count() > 1
    if quantized and sharded:
        raise ModelError(
            f"llm.quantization: {config.quantization} weights cannot be sharded; set parallel.weights to replicated, or "
            "llm.quantization to none"
        )
    if quantized:
        options["quantization_config"] = _quantization(config.quantization, dtype)
    if quantized or (device().type != "cpu" and not sharded):
        options["device_map"] = {"": device()}  # loads straight from the files to this process's GPU
    if random_seed is not None and quantized:
        raise ModelError("ablation.llm_weights: random weights cannot be quantised; set llm.quantization to none")
    try:
        if random_seed is None:
            with progress.without_loading_bar():
                model, report = AutoModelForCausalLM.from_pretrained(
                    folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
                )
        else:
            model, report = _random_model(folder, dtype, random_seed, options), {"missing_keys": []}
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: cannot be loaded as a causal language model: {error}") from error
    if report["missing_keys"]:
        raise ModelError(f"{folder}: the weights are incomplete, e.g. {sorted(report['missing_keys'])[:3]} are missing")
    model.requires_grad_(False)
    if sharded:
        _shard(model)
    if not quantized:
        model.to(device())
    model.config.use_cache = False
    logger.info("%s parameters in %s on %s", f"{model.num_parameters():,}", dtype, model.device)
    return model


def fingerprint(folder: Path) -> str:
    """Returns the hash of the base model that ``fetch_llm`` wrote."""
    _check_fetched(folder)
    return str(tables.read_json(folder / paths.LLM_SOURCE)["sha256"])


def _random_model(folder: Path, dtype: torch.dtype, seed: int, options: dict[str, Any]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.stream_seed(seed, "random language model"))
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        options = {name: value for name, value in options.items() if name != "device_map"}
        return AutoModelForCausalLM.from_config(config, dtype=dtype, **options)


def _shard(model: Any) -> None:
    """Keeps this process's part of every decoder layer; the processes gather a layer while it computes.

    Embeddings, vocabulary head and last norm are small and are read outside the model's ``forward``, so they are not sharded.
    Trained modules are added later and are whole in every process.
    """
    mesh = init_device_mesh(device().type, (processes.count(),))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)


def _check_fetched(folder: Path) -> None:
    if not (folder / paths.LLM_SOURCE).is_file():
        raise ModelError(f"{folder}: holds no language model; run `dvc repro fetch_llm`")


def _quantization(kind: str, dtype: torch.dtype) -> Any:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"llm.quantization: {kind} needs the extra `quantization` (pip install -e '.[quantization]'); or set it to none"
        ) from error
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
