"""Saves and loads what tuning trains: LoRA in peft's format, the other modules as safetensors, metadata as JSON."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from llara_core import tables
from llara_core.config import AblationConfig, ObjectiveName, PromptConfig, SystemConfig
from llara_core.config.sections import Section
from llara_core.errors import ConfigError, ModelError
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM, NextItemHead, seed_part
from llara_core.llm.new_items import NewItems

LORA_FOLDER = "lora"
LORA_FILE = f"{LORA_FOLDER}/adapter_model.safetensors"
MODULES_FILE = "modules.safetensors"
METADATA_FILE = "adapter.json"


class StartAdapter(Section):
    """The system from whose adapter tuning continued, on the same data set and seed, and the hash of that adapter's tensors."""

    system: str
    sha256: str


class AdapterMetadata(Section):
    """Provenance of an adapter: training run, settings, libraries and machine of the tuning.

    Attributes:
        recommender: None if the system has none.
        llm: fingerprint of the base model.
        item_embeddings: hash of the recommender's embedding table; None if none was read.
        rows: number of trained plan rows.
        dtype: dtype of the frozen weights.
        start: the adapter from which tuning continued; None if it began with the base model.
    """

    dataset: str
    system: str
    recommender: str | None
    seed: int
    objective: ObjectiveName
    prompt: PromptConfig
    ablation: AblationConfig
    has_head: bool
    llm: str
    item_embeddings: str | None
    rows: int
    dtype: str
    hardware: str
    versions: dict[str, str]
    start: StartAdapter | None = None  # absent from exported adapters of earlier versions


def build_model(
    base: Any,
    encoder: PromptEncoder,
    config: SystemConfig,
    item_vectors: torch.Tensor | None,
    *,
    head_vectors: torch.Tensor | None,
    item_texts: torch.Tensor | None = None,
    new_items: NewItems | None = None,
    seed: int = 0,
) -> HybridLM:
    """Builds a trainable model around a frozen base model; the other arguments are those of :class:`HybridLM`.

    Args:
        base: the ``*ForCausalLM``, to whose layers LoRA is added.
        encoder: prompt encoder that defines the slot tokens.
        head_vectors: ``(n_items, D_rec)`` initial item table of the catalogue head; None for no head.

    Raises:
        ConfigError: the base model has no layer that ``lora.targets`` names.
        ModelError: peft cannot add LoRA to ``base``.
    """
    lora = config.lora
    if lora.targets != "all-linear":
        linear = {name.rpartition(".")[2] for name, part in base.named_modules() if isinstance(part, torch.nn.Linear)}
        if unknown := sorted(set(lora.targets) - linear):
            raise ConfigError(f"lora.targets: the language model has no linear layer {unknown[0]!r}, only {sorted(linear)}")
    seed_part(seed, "lora")
    peft_model = _with_lora(
        base,
        LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.targets, task_type="CAUSAL_LM"
        ),
    )
    return _assemble(
        peft_model,
        base,
        encoder,
        item_vectors,
        shows_scores=config.prompt.recommender_scores,
        head_vectors=head_vectors,
        item_texts=item_texts,
        new_items=new_items,
        with_readout=config.tune.ranking_weight > 0,
        dropout=config.tune.feature_dropout if config.prompt.representation == "compact" else 0.0,
        plain_projector=config.tune.projector_init == "plain",
        seed=seed,
    )


def untuned_model(base: Any, encoder: PromptEncoder) -> HybridLM:
    """Wraps the base model unchanged, for prompts without slots, in evaluation mode."""
    return _assemble(base, base, encoder, None).eval()


def trained_tensors(model: HybridLM) -> dict[str, torch.Tensor]:
    """Returns every tensor that tuning changes, by name."""
    return {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}


def module_tensors(model: HybridLM) -> dict[str, torch.Tensor]:
    """Returns all tensors outside the language model by name: projector, placeholder, score directions, head, encoded texts."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("llm.")}


def save_adapter(folder: Path, model: HybridLM, metadata: AdapterMetadata) -> None:
    """Writes an adapter folder atomically."""
    with tables.atomic_path(folder) as staged:
        model.llm.save_pretrained(staged / LORA_FOLDER, save_embedding_layers=False)
        # peft's model card is an empty template.
        (staged / LORA_FOLDER / "README.md").unlink(missing_ok=True)
        # peft writes the set of target modules in hash order, which differs from run to run.
        config = staged / LORA_FOLDER / "adapter_config.json"
        content = tables.read_json(config)
        tables.write_json(config, {**content, "target_modules": sorted(content["target_modules"])})
        save_file({name: tensor.contiguous() for name, tensor in module_tensors(model).items()}, staged / MODULES_FILE)
        tables.write_json(staged / METADATA_FILE, metadata.model_dump())


def read_metadata(folder: Path) -> AdapterMetadata:
    """Reads the metadata of an adapter folder.

    Raises:
        ModelError: the folder holds no adapter of this project.
    """
    if not (folder / METADATA_FILE).is_file():
        raise ModelError(f"{folder}: holds no tuned adapter ({METADATA_FILE} is missing); run `dvc repro`")
    try:
        return AdapterMetadata.model_validate(tables.read_json(folder / METADATA_FILE))
    except ValidationError as error:
        raise ModelError(f"{folder / METADATA_FILE}: not the metadata of an adapter: {error}") from error


def adapter_sha256(folder: Path) -> str:
    """Returns the hex sha256 over an adapter's tensors, without its metadata."""
    return hashlib.sha256("".join(tables.file_sha256(folder / name) for name in (LORA_FILE, MODULES_FILE)).encode()).hexdigest()


def load_adapter(
    folder: Path,
    base: Any,
    encoder: PromptEncoder,
    item_vectors: torch.Tensor | None,
    *,
    llm: str,
    item_embeddings: str | None,
    trainable: bool = False,
) -> HybridLM:
    """Loads an adapter onto a frozen base model, in evaluation mode.

    Args:
        folder: adapter folder written by :func:`save_adapter`.
        item_vectors: ``(n_items, D_rec)`` float32, the table on which the adapter was tuned, or None.
        llm: fingerprint of ``base``, which must be the tuned model's.
        item_embeddings: hash of the recommender's table, or None.
        trainable: whether its LoRA weights are trained further.

    Raises:
        ModelError: the adapter was tuned on another base model or on other embeddings, or lacks a tensor.
    """
    metadata = read_metadata(folder)
    if metadata.llm != llm:
        raise ModelError(f"{folder}: tuned on language model {metadata.llm[:12]}, but data/llm holds {llm[:12]}; tune again")
    if metadata.item_embeddings != item_embeddings:
        raise ModelError(
            f"{folder}: tuned on the item embeddings {_short(metadata.item_embeddings)} of {metadata.recommender}, but was "
            f"given {_short(item_embeddings)}; use the recommender it was tuned on, or tune again"
        )
    # PeftModel.from_pretrained would only warn of missing tensors, and would move a CPU model to an accelerator.
    lora_config = _lora_config(folder / LORA_FOLDER)
    lora_config.inference_mode = not trainable
    peft_model = _with_lora(base, lora_config)
    lora = _read_tensors(folder / LORA_FILE)
    _check_names(folder / LORA_FILE, lora, get_peft_model_state_dict(peft_model, save_embedding_layers=False))
    set_peft_model_state_dict(peft_model, lora)
    modules = _read_tensors(folder / MODULES_FILE)
    head_items = modules.get("head.items") if metadata.has_head else None
    # The listwise read-out is needed in training alone.
    modules = {name: tensor for name, tensor in modules.items() if not name.startswith("readout.")}
    model = _assemble(
        peft_model,
        base,
        encoder,
        item_vectors,
        shows_scores=metadata.prompt.recommender_scores,
        head_vectors=None if head_items is None else torch.ones_like(head_items),
        item_texts=modules.get("item_texts"),
        new_items=_new_items(modules),
    )
    _check_names(folder / MODULES_FILE, modules, module_tensors(model))
    model.load_state_dict(modules, strict=False)
    return model.eval()


def assert_round_trip(folder: Path, model: HybridLM) -> None:
    """Checks that every trained tensor is in the saved files with its value.

    Raises:
        ModelError: a tensor is missing or differs, so that the adapter would not reproduce the trained model.
    """
    saved = _read_tensors(folder / MODULES_FILE) | _read_tensors(folder / LORA_FILE)
    for name, tensor in trained_tensors(model).items():
        key = name.removeprefix("llm.").replace(".default.", ".")
        if key not in saved or not torch.equal(saved[key], tensor.detach().cpu()):
            raise ModelError(f"{folder}: the trained tensor {name} was not saved with its value")


def _assemble(
    llm: Any,
    base: Any,
    encoder: PromptEncoder,
    item_vectors: torch.Tensor | None,
    *,
    head_vectors: torch.Tensor | None = None,
    item_texts: torch.Tensor | None = None,
    dropout: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> HybridLM:
    """Builds the head, if there is one, and the model; ``options`` are further arguments of :class:`HybridLM`."""
    head = None
    if head_vectors is not None:
        seed_part(seed, "head")
        d_text = 0 if item_texts is None else item_texts.shape[1]
        head = NextItemHead(head_vectors, base.config.hidden_size, d_text=d_text, dropout=dropout)
    options |= {"item_texts": item_texts, "head": head, "feature_dropout": dropout, "seed": seed}
    return HybridLM(llm, item_vectors, slots=encoder.slots, **options).to(base.device)


def _new_items(modules: dict[str, torch.Tensor]) -> NewItems | None:
    """Returns a module with the shapes of the saved tensors, to be filled with them; None if there are none."""
    if "new_items.vectors" not in modules:
        return None
    (n_items, d_rec), d_text = modules["new_items.vectors"].shape, len(modules["new_items.bias_coefficients"])
    return NewItems(n_items, d_rec, len(modules["new_items.token"]), d_text)


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _with_lora(base: Any, config: LoraConfig) -> Any:
    with warnings.catch_warnings():
        # peft reads an attribute that transformers has renamed.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        # peft warns of patterns that it adds itself for mixtures of experts.
        warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys did not match", RuntimeWarning)
        try:
            return get_peft_model(base, config)
        except ValueError as error:
            raise ModelError(
                f"LoRA cannot be put on {type(base).__name__} ({error}); with experts, set lora.dropout to 0"
            ) from error


def _lora_config(folder: Path) -> LoraConfig:
    try:
        return LoraConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{folder}: its LoRA configuration cannot be read ({error}); tune again") from error


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: its tensors cannot be read ({error}); tune again") from error
    return tensors


def _check_names(path: Path, names: Iterable[str], expected: Iterable[str]) -> None:
    if wrong := set(names) ^ set(expected):
        raise ModelError(f"{path}: {len(wrong)} tensors are missing or unexpected, e.g. {min(wrong)}; tune again")
