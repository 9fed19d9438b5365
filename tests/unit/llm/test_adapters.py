"""Saving and loading what was trained: exactly, completely, and onto nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llara_core.errors import ConfigError, ModelError
from llara_core.llm import adapters
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.projector import rms
from llara_core.llm.prompts.rendering import NO_SCORES, Prompt
from llara_core.objectives.base import EncodedRow
from llara_core.tuning.rows import collate
from tests.helpers.llm import (
    adapter_metadata,
    folder_hashes,
    item_vectors,
    loss_of,
    make_base,
    make_encoder,
    make_model,
)


@pytest.fixture(scope="module")
def saved(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HybridLM]:
    folder = tmp_path_factory.mktemp("adapter") / "run"
    model = make_model(tiny_llama, with_head=True)
    adapters.save_adapter(folder, model, adapter_metadata(model))
    return folder, model


def _load(tiny_llama: Path, folder: Path, **changes: str) -> HybridLM:
    hashes = {"llm": "llm-hash", "item_embeddings": "vectors-hash"} | changes
    base = make_base(tiny_llama)
    return adapters.load_adapter(folder, base, make_encoder(tiny_llama), item_vectors(), **hashes)


def _copy_without(folder: Path, target: Path, file: str, tensor: str | None) -> Path:
    """A copy of an adapter that lacks one file, or one tensor of it."""
    for path in folder.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    if tensor is None:
        (target / file).unlink()
        return target
    tensors = load_file(target / file)
    del tensors[next(name for name in tensors if tensor in name)]
    save_file(tensors, target / file)
    return target


def test_lora_goes_where_it_is_told(tiny_llama: Path) -> None:
    told = adapters.trained_tensors(make_model(tiny_llama, lora={"targets": ["q_proj", "down_proj"]}))
    layers = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in told if ".lora_" in name}
    assert layers == {"q_proj", "down_proj"}
    every = adapters.trained_tensors(make_model(tiny_llama))
    layers = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in every if ".lora_" in name}
    assert layers == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }  # what the authors' code names
    with pytest.raises(ConfigError, match=r"lora\.targets: the language model has no linear layer 'query', only .*q_proj"):
        make_model(tiny_llama, lora={"targets": ["q_proj", "query"]})


def test_a_plain_projector_scales_nothing_and_is_loaded_as_it_is(tiny_llama: Path, tmp_path: Path) -> None:
    model = make_model(tiny_llama, tune={"projector_init": "plain"}, vectors=10 * item_vectors())
    projector, vectors = model.projector, 10 * item_vectors()
    torch.testing.assert_close(projector(vectors), projector.layers(vectors), rtol=0, atol=0)
    tokens = model.causal_lm.get_input_embeddings().weight
    assert rms(projector(vectors)) > 2 * rms(tokens)
    scaled = make_model(tiny_llama, vectors=10 * item_vectors()).projector
    assert rms(scaled(vectors)).item() == pytest.approx(rms(tokens).item(), rel=1e-3)
    adapters.save_adapter(tmp_path / "run", model, adapter_metadata(model))
    loaded = _load(tiny_llama, tmp_path / "run").projector
    torch.testing.assert_close(loaded(vectors), projector(vectors), rtol=0, atol=0)


def test_loading_restores_every_trained_tensor_and_the_predictions(tiny_llama: Path, saved: tuple[Path, HybridLM]) -> None:
    folder, model = saved
    loaded = _load(tiny_llama, folder)
    before, after = adapters.trained_tensors(model), dict(loaded.named_parameters())
    assert len(before) == 2 * 7 * 2 + 1 + 4 + 6  # LoRA pairs of 7 layers in 2 blocks, placeholder, projector, head
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    encoder = make_encoder(tiny_llama)
    rows = [EncodedRow("next_item", [9, *encoder.slots], Prompt("", (3, 4), (NO_SCORES, NO_SCORES), ()), [-100, 4, 5])]
    torch.testing.assert_close(loss_of(loaded, collate(rows, encoder)), loss_of(model, collate(rows, encoder)), rtol=0, atol=0)


def test_adapter_files_have_the_same_bytes_whatever_the_hash_seed(saved: tuple[Path, HybridLM]) -> None:
    folder, _ = saved
    targets = json.loads((folder / adapters.LORA_FOLDER / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets)
    layers = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {name.rpartition(".")[2] for name in targets} == layers
    assert set(folder_hashes(folder)) == {
        "adapter.json",
        "modules.safetensors",
        "lora/adapter_config.json",
        "lora/adapter_model.safetensors",
    }


@pytest.mark.parametrize(
    ("file", "tensor", "message"),
    [
        (adapters.LORA_FILE, "q_proj.lora_B", "1 tensors are missing or unexpected, e.g. base_model.model.model.layers"),
        (adapters.MODULES_FILE, "projector.layers.2.weight", "e.g. projector.layers.2.weight"),
        (adapters.MODULES_FILE, "placeholder", "e.g. placeholder"),
        (adapters.LORA_FILE, None, "its tensors cannot be read"),
        (adapters.MODULES_FILE, None, "its tensors cannot be read"),
        (f"{adapters.LORA_FOLDER}/adapter_config.json", None, "its LoRA configuration cannot be read"),
        (adapters.METADATA_FILE, None, "holds no tuned adapter"),
    ],
)
def test_an_incomplete_adapter_is_an_error(
    tiny_llama: Path, saved: tuple[Path, HybridLM], tmp_path: Path, file: str, tensor: str | None, message: str
) -> None:
    incomplete = _copy_without(saved[0], tmp_path / "copy", file, tensor)
    with pytest.raises(ModelError, match=message):
        _load(tiny_llama, incomplete)


def test_an_adapter_of_another_model_or_other_embeddings_is_an_error(tiny_llama: Path, saved: tuple[Path, HybridLM]) -> None:
    with pytest.raises(ModelError, match="tuned on language model llm-hash, but data/llm holds other"):
        _load(tiny_llama, saved[0], llm="other")
    with pytest.raises(ModelError, match="embeddings vectors-hash of sasrec, but was given other"):
        _load(tiny_llama, saved[0], item_embeddings="other")


def test_metadata_that_is_none_are_an_error(tmp_path: Path) -> None:
    (tmp_path / adapters.METADATA_FILE).write_text('{"dataset": "tiny"}')
    with pytest.raises(ModelError, match="not the metadata of an adapter"):
        adapters.read_metadata(tmp_path)


def test_a_tensor_that_did_not_survive_saving_is_an_error(
    tiny_llama: Path, saved: tuple[Path, HybridLM], tmp_path: Path
) -> None:
    model = make_model(tiny_llama, with_head=True)
    adapters.save_adapter(tmp_path / "run", model, adapter_metadata(model))
    adapters.assert_round_trip(tmp_path / "run", model)
    with torch.no_grad():
        model.placeholder[0] += 1
    with pytest.raises(ModelError, match="placeholder was not saved"):
        adapters.assert_round_trip(tmp_path / "run", model)


def test_hybrid_prompts_do_depend_on_the_recommender(tiny_llama: Path) -> None:
    encoder = make_encoder(tiny_llama)
    rows = [EncodedRow("generative", [9, encoder.slots.behavior, 8], Prompt("", (3,), (NO_SCORES,), ()), [-100, 7, -100])]
    losses = {loss_of(make_model(tiny_llama, vectors=item_vectors(seed)), collate(rows, encoder)).item() for seed in (0, 1)}
    assert len(losses) == 2
