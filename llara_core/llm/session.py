"""Everything that inference needs, loaded and checked against each other."""

from __future__ import annotations

from pathlib import Path

from llara_core.config import LlmConfig
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_vectors import load_item_vectors


def load_tuned(
    adapter_folder: Path, llm_folder: Path, config: LlmConfig, embeddings: Path, n_items: int
) -> tuple[HybridLM, PromptEncoder, adapters.AdapterFacts]:
    """A tuned model, the encoder of its prompts, and its facts.

    Raises:
        ModelError: the adapter, the base model and the item embeddings do not belong together.
    """
    facts = adapters.read_facts(adapter_folder)
    encoder = PromptEncoder(loading.load_tokenizer(llm_folder), chat_template=facts.prompt.chat_template)
    item_vectors, embeddings_hash = load_item_vectors(embeddings, n_items)
    base = loading.load_base_model(llm_folder, config)
    model, facts = adapters.load_adapter(
        adapter_folder,
        base,
        encoder,
        item_vectors,
        llm=loading.fingerprint(llm_folder),
        item_embeddings=embeddings_hash,
    )
    return model, encoder, facts
