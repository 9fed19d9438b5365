"""Writes a Llama of any shape with random weights: ``python -m benchmarks.llama_shape /scratch/llama-7b``.

It serves to measure time and memory without the real weights. The default is the shape of Llama-2-7B. The tokenizer is that of
the language model in ``data/llm``, so the vocabulary has at least its size. Weights are drawn and written shard by shard, so
that memory holds only one of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llara_core import paths, tables
from llara_core.errors import ModelError
from llara_core.runtime import seeding
from pipeline.stage import run

if TYPE_CHECKING:
    import torch


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for the model, which must not exist.")],
    hidden: Annotated[int, typer.Option(min=8, help="Width of the hidden states.")] = 4096,
    layers: Annotated[int, typer.Option(min=1, help="Decoder layers.")] = 32,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads; divides the width.")] = 32,
    kv_heads: Annotated[int, typer.Option(min=1, help="Heads of keys and values; divides the attention heads.")] = 32,
    intermediate: Annotated[int, typer.Option(min=8, help="Width inside the feed-forward blocks.")] = 11008,
    positions: Annotated[int, typer.Option(min=64, help="Maximum number of tokens of a prompt.")] = 4096,
    vocabulary: Annotated[int, typer.Option(min=1, help="Minimum number of tokens.")] = 32000,
    shard_mb: Annotated[int, typer.Option(min=1, help="Megabytes of weights per file, unless one tensor has more.")] = 1024,
    tokenizer: Annotated[Path, typer.Option(help="Folder of a model whose tokenizer is used.")] = paths.LLM,
) -> None:
    """Writes a Llama-shaped model with random bfloat16 weights to FOLDER."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig

    from llara_core.llm.loading import load_tokenizer

    if folder.exists():
        raise ModelError(f"{folder} exists already; name another folder, or delete it")
    tokens = load_tokenizer(tokenizer)
    config = LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=intermediate,
        max_position_embeddings=positions,
        vocab_size=max(vocabulary, len(tokens)),
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
    )
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in AutoModelForCausalLM.from_config(config).state_dict().items()}
    shards = _shards({name: 2 * shape.numel() for name, shape in shapes.items()}, shard_mb * 2**20)
    with tables.atomic_path(folder) as staged:
        staged.mkdir()
        config.save_pretrained(staged)
        for file in tokenizer.glob("*token*"):
            shutil.copy(file, staged)
        index: dict[str, str] = {}
        for number, names in enumerate(shards, 1):
            file_name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            save_file({name: _weights(name, shapes[name]) for name in names}, staged / file_name, {"format": "pt"})
            index |= dict.fromkeys(names, file_name)
        n_weights = sum(shape.numel() for shape in shapes.values())
        tables.write_json(
            staged / "model.safetensors.index.json", {"metadata": {"total_size": 2 * n_weights}, "weight_map": index}
        )
    typer.echo(f"{n_weights:,} weights in {len(shards)} files: {folder}")


def _shards(sizes: dict[str, int], limit: int) -> list[list[str]]:
    """Groups names in order into shards of a maximum size."""
    shards: list[list[str]] = [[]]
    room = limit
    for name, size in sizes.items():
        if shards[-1] and size > room:
            shards.append([])
            room = limit
        shards[-1].append(name)
        room -= size
    return shards


def _weights(name: str, shape: torch.Size) -> torch.Tensor:
    """Initialises like transformers: ones for norms, otherwise a normal distribution with standard deviation .02."""
    import torch

    if name.endswith("norm.weight"):
        return torch.ones(shape, dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(seeding.stream_seed(0, "random weights", name))
    return torch.empty(shape, dtype=torch.bfloat16).normal_(std=0.02, generator=generator)


if __name__ == "__main__":
    run(main)
