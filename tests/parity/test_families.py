"""Every family of language models is scored as by its own code, or refused by name before anything is trained.

A tiny random model of each, with LoRA and item slots, is compared with the logits of its ``*ForCausalLM`` for one answer at a
time, read in full without cache, masks or padding.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from llara_core import tables
from llara_core.answers.prompts import Query
from llara_core.config.families import NESTED, OTHER_LAYOUT, RECURRENT, REFUSED, SUPPORTED
from llara_core.errors import ModelError
from llara_core.fetching.llm import fetch_llm
from llara_core.inference.candidate_answers import answer_queries
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_texts import encode_texts
from llara_core.llm.loading import load_base_model
from llara_core.llm.projector import rms
from llara_core.llm.prompts.rendering import Prompt, answer_text
from llara_core.objectives.base import IGNORE
from llara_core.objectives.preference import Preference
from llara_core.tuning.rows import PlanDataset, collate
from tests.helpers.llm import (
    LABELS,
    LLM,
    item_vectors,
    loss_of,
    make_encoder,
    make_model,
    plan_of,
    system_config,
    training_data,
)

N_NEW = 3
SHORT, LONG = 8, 4096  # windows, beside prompts of 60 tokens and more
SHAPE = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "max_position_embeddings": 2048,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"]}
SWITCHED_ON = {"use_sliding_window": True}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 32}
LONGROPE = {"rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0, 2.0, 3.0, 4.0], "long_factor": [5.0] * 4}

# Scales and soft caps large enough to show.
OPTIONS: dict[str, dict[str, Any]] = {
    "cohere": {"logit_scale": 0.0625},
    "cohere2": {"logit_scale": 0.25},
    "exaone4": {"sliding_window_pattern": 2},
    "gemma2": {"final_logit_softcapping": 1.0},
    "gemma3_text": {"final_logit_softcapping": 2.0},
    "granite": {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "attention_multiplier": 0.25, "residual_multiplier": 0.3},
}
WINDOWS: dict[str, dict[str, Any]] = {
    **{family: {} for family in ("ministral3", "mistral", "mixtral", "phi3", "starcoder2")},
    **dict.fromkeys(("cohere2", "exaone4", "gemma2", "gemma3_text", "ministral", "olmo3"), ALTERNATING),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "smollm3"), SWITCHED_ON | ALTERNATING),
    "qwen3_moe": SWITCHED_ON,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    family: (family, OPTIONS.get(family, {}) | ({"sliding_window": LONG} | WINDOWS[family] if family in WINDOWS else {}))
    for family in SUPPORTED
}
CASES |= {f"{family}, short window": (family, CASES[family][1] | {"sliding_window": SHORT}) for family in WINDOWS}
CASES |= {
    "llama, yarn": ("llama", {"rope_parameters": YARN}),
    "phi3, longrope": ("phi3", {"rope_parameters": LONGROPE}),
    "mistral, no window": ("mistral", {"sliding_window": None}),
    "qwen2, padded vocabulary": ("qwen2", {"vocab_size": 512, "tie_word_embeddings": False}),
    "stablelm, parallel": ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
}


def write_model(folder: Path, tokenizer: Path, family: str, options: dict[str, Any]) -> None:
    """A random model of the family, saved as transformers saves any, beside the tokenizer."""
    shutil.copytree(tokenizer, folder, ignore=shutil.ignore_patterns("*.safetensors", "*config.json", "source.json"))
    shutil.copyfile(tokenizer / "tokenizer_config.json", folder / "tokenizer_config.json")
    kind = CONFIG_MAPPING[family]
    known = kind()
    config = kind(**{key: value for key, value in SHAPE.items() if hasattr(known, key)} | options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).save_pretrained(folder)


@pytest.fixture(scope="module")
def plan_rows() -> Any:
    return plan_of(*({"source": source, "hybrid": hybrid, "stop": 3} for source, hybrid in ((3, True), (14, False))))


@torch.no_grad()
def own_logits(model: HybridLM, ids: Sequence[int], prompt: Prompt, answer: Sequence[int] = ()) -> torch.Tensor:
    """What the family's own code makes of one sequence, ``(L, V)``."""
    embedded = model.embed(torch.tensor([ids]), torch.tensor(prompt.slot_items, dtype=torch.long))
    answered = model.causal_lm.get_input_embeddings()(torch.tensor([answer], dtype=torch.long))
    logits: torch.Tensor = model.causal_lm(inputs_embeds=torch.cat([embedded, answered], dim=1), use_cache=False).logits
    return logits[0].float()


def own_score(model: HybridLM, encoder: PromptEncoder, query: Query, answer: str) -> float:
    prompt, tokens = encoder.prompt_ids(query.prompt), encoder.answer_ids(answer)
    logits = own_logits(model, prompt, query.prompt, tokens)[len(prompt) - 1 : -1]
    return float(torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(tokens)[:, None]).sum())


def own_text(model: HybridLM, encoder: PromptEncoder, query: Query) -> str:
    prompt, tokens = encoder.prompt_ids(query.prompt), []
    while len(tokens) < N_NEW and encoder.eos_id not in tokens:
        tokens.append(int(own_logits(model, prompt, query.prompt, tokens)[-1].argmax()))
    return encoder.decode(tokens)


@pytest.mark.parametrize("case", CASES)
def test_a_supported_family_is_read_as_by_its_own_code(tiny_llama: Path, tmp_path: Path, plan_rows: Any, case: str) -> None:
    write_model(tmp_path / "source", tiny_llama, *CASES[case])
    fetch_llm(str(tmp_path / "source"), None, tmp_path / "llm")
    encoder, model = make_encoder(tmp_path / "llm"), make_model(tmp_path / "llm")
    _compare(model, encoder, plan_rows)

    encoded = encode_texts(model.causal_lm, encoder, LABELS, 4).vectors
    assert encoded.shape == (len(LABELS), 4)
    assert encoded.isfinite().all()


@pytest.mark.parametrize("case", ["llama", "gemma3_text, short window", "mistral, short window"])
def test_so_with_the_fused_attention_of_a_gpu(tiny_llama: Path, tmp_path: Path, plan_rows: Any, case: str) -> None:
    write_model(tmp_path / "source", tiny_llama, *CASES[case])
    fetch_llm(str(tmp_path / "source"), None, tmp_path / "llm")
    model = make_model(tmp_path / "llm")
    model.causal_lm.set_attn_implementation("sdpa")
    _compare(model, make_encoder(tmp_path / "llm"), plan_rows)


def _compare(model: HybridLM, encoder: PromptEncoder, plan: Any) -> None:
    data, rows = training_data(), PlanDataset(plan, training_data(), encoder, system_config().prompt)
    queries = []
    for number, row in enumerate(plan.itertuples(index=False)):
        target = data.targets[row.source]
        items = [target, *(item for item in data.candidates[row.source, row.draw] if item != target)]
        queries.append(Query(rows[number].prompt, tuple(answer_text(item, LABELS, "hybrid") for item in items)))
    expected = torch.tensor([[own_score(model, encoder, query, answer) for answer in query.answers] for query in queries])
    assert (expected.std(dim=1) > 0.1).all()
    assert min(len(encoder.prompt_ids(query.prompt)) for query in queries) > 4 * SHORT

    answers = answer_queries(model, encoder, queries, batch_size=len(queries), max_new_tokens=N_NEW)
    np.testing.assert_allclose(answers.scores, expected.numpy(), rtol=1e-5, atol=1e-3)
    assert answers.texts == [own_text(model, encoder, query) for query in queries]

    trees = PlanDataset(plan.assign(objective="preference"), data, encoder, system_config().prompt)
    batch = collate([trees[row] for row in range(len(plan))], encoder)
    with torch.no_grad():
        hidden = model.hidden_states(
            batch["input_ids"], batch["attention_mask"], batch["slot_items"], batch["slot_scores"], batch["branches"]
        )
        in_trees = Preference().log_likelihoods(model, hidden, batch)
    torch.testing.assert_close(in_trees, expected, rtol=1e-5, atol=1e-3)

    losses = []
    for row in (rows[number] for number in range(len(plan))):
        logits = own_logits(model, row.input_ids, row.prompt)
        labels = torch.tensor(row.labels)
        losses.append(F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")[labels != IGNORE])
    with torch.no_grad():
        loss = loss_of(model, collate([rows[number] for number in range(len(plan))], encoder))
    torch.testing.assert_close(loss, torch.cat(losses).mean(), rtol=1e-5, atol=1e-4)

    words = model.llm.get_input_embeddings()(torch.arange(model.causal_lm.config.vocab_size))
    with torch.no_grad():
        torch.testing.assert_close(rms(model.projector(item_vectors())), rms(words), rtol=1e-4, atol=0)
    assert 0.6 < rms(model.placeholder) / rms(words) < 1.4  # 32 draws of unit variance


@pytest.mark.parametrize(
    ("reason", "family"),
    [pytest.param(reason, family, id=family) for reason, families in REFUSED.items() for family in families],
)
def test_another_family_is_refused_by_name_when_it_is_fetched_and_when_it_is_loaded(
    tiny_llama: Path, tmp_path: Path, reason: str, family: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    CONFIG_MAPPING[family]().save_pretrained(folder)
    reason_given = rf"\(model_type '{family}'\) cannot be used: {reason}. Use a model of one of these: .*llama, "
    with pytest.raises(ModelError, match=rf"^llm\.model: {folder}: the model {reason_given}"):
        fetch_llm(str(folder), None, tmp_path / "llm")
    with pytest.raises(ModelError, match=rf"^{folder}: the model {reason_given}"):
        load_base_model(folder, LLM)
    assert not (tmp_path / "llm").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "own"}, "LlamaForCausalLM .*'own'.* no test compares its scores of candidates"),
        ({"model_type": "own", "text_config": {}}, f"'own'.* {NESTED}"),
        ({"model_type": None}, "None.* no test compares"),
        ({"layer_types": ["full_attention", "chunked_attention"]}, "'llama'.* has layers of type chunked_attention"),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, "'gemma3_text'.* attention is bidirectional"),
        ({"is_causal": False}, "'llama'.* attention is bidirectional"),
    ],
)
def test_a_family_without_a_test_and_other_kinds_of_layers_are_refused(
    tiny_llama: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    tables.write_json(folder / "config.json", tables.read_json(folder / "config.json") | changes)
    with pytest.raises(ModelError, match=message):
        fetch_llm(str(folder), None, tmp_path / "llm")


def test_experts_take_no_dropout(tiny_llama: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "source", tiny_llama, *CASES["mixtral"])
    fetch_llm(str(tmp_path / "source"), None, tmp_path / "llm")
    with pytest.raises(ModelError, match=r"LoRA cannot be put on MixtralForCausalLM .*set lora\.dropout to 0"):
        make_model(tmp_path / "llm", lora={"dropout": 0.1})


def test_longrope_is_read_as_far_as_its_frequencies_stay(tiny_llama: Path, tmp_path: Path) -> None:
    options = {"rope_parameters": LONGROPE, "original_max_position_embeddings": 64}
    write_model(tmp_path / "source", tiny_llama, "phi3", options)
    fetch_llm(str(tmp_path / "source"), None, tmp_path / "llm")
    encoder, model = make_encoder(tmp_path / "llm"), make_model(tmp_path / "llm")
    none = torch.empty(0, dtype=torch.long)
    assert model.embed(torch.full((1, 64), 5), none).shape[1] == 64
    with pytest.raises(ModelError, match="a prompt has 65 tokens, but the language model reads 64 at most"):
        model.embed(torch.full((1, 65), 5), none)
    prompt = Prompt("This user " * 20, (), (), ())
    n_tokens = len(encoder.prompt_ids(prompt))
    assert n_tokens <= 64 < n_tokens + 10
    with pytest.raises(ModelError, match="language model reads 64 at most"):
        answer_queries(model, encoder, [Query(prompt, ("a movie of ten or more tokens",))], batch_size=1, max_new_tokens=1)
    with pytest.raises(ModelError, match="language model reads 64 at most"):
        answer_queries(model, encoder, [Query(prompt, ("a",))], batch_size=1, max_new_tokens=40)


def test_the_page_lists_the_families_that_the_code_names() -> None:
    page = (Path(__file__).parents[2] / "docs" / "systems.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w[^|]*) \| (`[^|]*) \|$", page.partition("## The language model")[2], flags=re.MULTILINE)
    listed = {what: re.findall(r"`(\w+)`", families) for what, families in rows}
    assert listed == {
        "supported": list(SUPPORTED),
        "refused: recurrent layers": list(REFUSED[RECURRENT]),
        "refused: text with images or sound": list(REFUSED[NESTED]),
        "refused: another layout than Llama": list(REFUSED[OTHER_LAYOUT]),
    }
