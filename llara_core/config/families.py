"""The families of language models that are read as their own code reads them, and those that cannot be.

A family is the ``model_type`` in a model's ``config.json``. ``tests/parity/test_families.py`` compares each supported one with
its own code: item slots, answers behind a prompt in the cache and in trees, free answers, the loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SUPPORTED = (
    "apertus",
    "arcee",
    "cohere",
    "cohere2",
    "ernie4_5",
    "exaone4",
    "gemma",
    "gemma2",
    "gemma3_text",
    "glm",
    "glm4",
    "granite",
    "helium",
    "llama",
    "ministral",
    "ministral3",
    "mistral",
    "mixtral",
    "nemotron",
    "olmo",
    "olmo2",
    "olmo3",
    "phi",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "seed_oss",
    "smollm3",
    "stablelm",
    "starcoder2",
)

RECURRENT = "its layers carry a state from token to token, past the masks of trees, and a cache cannot take it back"
NESTED = "it wraps a language model together with images or sound; take one of text alone"
OTHER_LAYOUT = "its layers, positions or vocabulary head lie elsewhere than in Llama's family"

REFUSED = {
    RECURRENT: (
        "bamba",
        "falcon_h1",
        "falcon_mamba",
        "granitemoehybrid",
        "jamba",
        "kimi_linear",
        "lfm2",
        "lfm2_moe",
        "mamba",
        "mamba2",
        "minimax",
        "nemotron_h",
        "olmo_hybrid",
        "qwen3_5_text",
        "qwen3_next",
        "recurrent_gemma",
        "rwkv",
        "xlstm",
        "zamba",
        "zamba2",
    ),
    NESTED: ("gemma3", "gemma3n", "gemma4", "llama4", "mistral3", "mllama", "qwen2_5_vl", "qwen2_vl", "qwen3_5", "qwen3_vl"),
    OTHER_LAYOUT: ("bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "mpt", "opt"),
}
_UNTESTED = "nothing has tested that its candidates are scored as its own code scores them"
_ATTENTION = {"full_attention", "sliding_attention"}


def refusal(config: Mapping[str, Any]) -> str | None:
    """Why a model with this ``config.json`` is not read, with the remedy; None: it is."""
    family = config.get("model_type")
    if family in SUPPORTED:
        reason = _of_layers(config)
    else:
        reason = next((reason for reason, families in REFUSED.items() if family in families), None)
        reason = reason or (NESTED if "text_config" in config else _UNTESTED)
    if reason is None:
        return None
    architecture = next(iter(config.get("architectures") or []), "the model")
    return (
        f"{architecture} (model_type {family!r}) cannot be used: {reason}. Use a model of one of these: {', '.join(SUPPORTED)}"
    )


def _of_layers(config: Mapping[str, Any]) -> str | None:
    """What of a supported family's options is not supported."""
    if others := sorted(set(config.get("layer_types") or []) - _ATTENTION):
        return f"it has layers of the kind {others[0]}"
    if config.get("use_bidirectional_attention") or config.get("is_causal") is False:
        return "it reads in both directions"
    return None
