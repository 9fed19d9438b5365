"""Supported and unsupported families of language models.

A family is the ``model_type`` in a model's ``config.json``. ``tests/parity/test_families.py`` compares each supported family
with its own transformers implementation: item slots, answers after a cached prompt and in trees, generated answers, the loss.
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

RECURRENT = "its recurrent layers ignore attention masks, and their state cannot be rolled back"
NESTED = "it combines a language model with image or audio input; use a text-only model"
OTHER_LAYOUT = "its layers, positions or vocabulary head are organised differently from Llama's"

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
_UNTESTED = "no test compares its scores of candidates with those of its own implementation"
_ATTENTION = {"full_attention", "sliding_attention"}


def refusal(config: Mapping[str, Any]) -> str | None:
    """Returns why a model with this ``config.json`` is unsupported, with the remedy; None if it is supported."""
    family = config.get("model_type")
    if family in SUPPORTED:
        reason = _unsupported_option(config)
    else:
        default = NESTED if "text_config" in config else _UNTESTED
        reason = next((reason for reason, families in REFUSED.items() if family in families), default)
    if reason is None:
        return None
    architecture = next(iter(config.get("architectures") or []), "the model")
    return (
        f"{architecture} (model_type {family!r}) cannot be used: {reason}. Use a model of one of these: {', '.join(SUPPORTED)}"
    )


def _unsupported_option(config: Mapping[str, Any]) -> str | None:
    """Returns which option of a supported family is unsupported; None if there is none."""
    if others := sorted(set(config.get("layer_types") or []) - _ATTENTION):
        return f"it has layers of type {others[0]}"
    if config.get("use_bidirectional_attention") or config.get("is_causal") is False:
        return "its attention is bidirectional"
    return None
