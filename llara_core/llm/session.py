"""Everything that inference needs, loaded and checked against each other."""

from __future__ import annotations

from pathlib import Path

from llara_core.config import LlmConfig, PromptConfig
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_vectors import item_vectors_for


def load_tuned(
    adapter_folder: Path, llm_folder: Path, config: LlmConfig, embeddings: Path | None, n_items: int
) -> tuple[HybridLM, PromptEncoder, adapters.AdapterFacts]:
    """A tuned model, the encoder of its prompts, and its facts.

    Args:
        adapter_folder: written by ``tune``.
        llm_folder: made by ``fetch_llm``.
        config: how the base model is loaded.
        embeddings: item embeddings of the recommender that it was tuned on; None where it has none.
        n_items: of the prepared data.

    Raises:
        ModelError: the adapter, the base model and the item embeddings do not belong together.
    """
    facts = adapters.read_facts(adapter_folder)
    encoder = PromptEncoder(loading.load_tokenizer(llm_folder), chat_template=facts.prompt.chat_template)
    item_vectors, embeddings_hash = item_vectors_for(
        facts.prompt.representation, facts.ablation, embeddings, n_items, facts.seed
    )
    random_seed = facts.seed if facts.ablation.llm_weights == "random" else None
    base = loading.load_base_model(llm_folder, config, random_seed=random_seed)
    model, facts = adapters.load_adapter(
        adapter_folder,
        base,
        encoder,
        item_vectors,
        llm=loading.fingerprint(llm_folder),
        item_embeddings=embeddings_hash,
    )
    return model, encoder, facts


def load_untuned(llm_folder: Path, config: LlmConfig, prompt: PromptConfig) -> tuple[HybridLM, PromptEncoder]:
    """The base model as it is, and the encoder of its prompts."""
    encoder = PromptEncoder(loading.load_tokenizer(llm_folder), chat_template=prompt.chat_template)
    return adapters.untuned_model(loading.load_base_model(llm_folder, config), encoder), encoder
