"""A small copy of this repository in which the real ``dvc repro`` runs in about a minute, without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from llara_core.config.params import file_of
from tests.helpers.params import raw_params
from tests.pipeline.warm_python import plain_environment, warm_python

REPOSITORY = Path(__file__).parents[2]
TRACKED = (
    ".gitignore",
    ".dvcignore",
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvc/plots",
    "dvc.yaml",
    "params.yaml",
    "systems.yaml",
    "pipeline",
    "llara_core",
    "benchmarks",
    "results",
    "metrics/curves/README.md",
    "metrics/dvc.yaml",
    "data/own/README.md",
)
SYSTEMS = ("zero_shot", "tallrec", "llara", "llara_guided", "llara_compact", "llara_guided_sdpo")

# One data set, one recommender for LLM systems, both objectives, and one system of every other kind, all as small as possible
# while every stage still has work.
TINY: dict[str, Any] = {
    "run": {
        "datasets": ["tiny"],
        "baselines": ["popularity", "item_knn"],
        "recommenders": ["sasrec"],
        "systems": list(SYSTEMS),
    },
    "candidates": {"draws": {"train": 1, "validation": 2, "test": 2}},
    "recommenders": {"embedding_dim": 16, "max_epochs": 2, "patience": 2, "folds": 2},
    "llm": {"dtype": "float32", "threads": 1},
    "lora": {"rank": 2, "alpha": 4.0},
    "prompt": {"text_dim": 8},
    "tune": {"max_examples": 16, "batch_size": 8, "micro_batch_size": 4, "chunk_len": 6},
    "inference": {"max_draws": 1, "max_new_tokens": 8},
    "evaluation": {"bootstrap_samples": 50, "permutation_samples": 99},
    "systems": {
        "llara_guided": {"tune": {"max_examples": 16}},
        "llara_guided_sdpo": {"tune": {"max_examples": 16}},
        "llara_compact": {"tune": {"max_examples": 32}},
        "zero_shot": {"prompt": {"chat_template": False}},
    },
}


@dataclass(frozen=True)
class World:
    """A Git and DVC repository; its commands run with this interpreter's environment and no network.

    Attributes:
        root: its folder.
        hash_seed: of its stages, None: that of the other worlds; a test that nothing depends on it takes another.
    """

    root: Path
    hash_seed: int | None = None

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the world, with standard error in standard output."""
        environment = plain_environment() | {"DVC_SITE_CACHE_DIR": str(self.root.parent / "site-cache")}
        warm = warm_python(self.hash_seed)
        environment["PATH"] = f"{warm.path}{os.pathsep}{environment['PATH']}"
        if command[0] == sys.executable:
            command = (str(warm.path / "python"), *command[1:])
        # Into a file: the end of a pipe would come only with the end of DVC's queue worker, ten idle seconds later.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            answer = subprocess.run(
                command, cwd=self.root, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False
            )
            output.seek(0)
            return subprocess.CompletedProcess(command, answer.returncode, output.read())

    def succeed(self, *command: str) -> str:
        """Runs a command that must succeed, and returns its output."""
        answer = self.run(*command)
        assert answer.returncode == 0, f"{' '.join(command)}\n{answer.stdout[-6000:]}"
        return answer.stdout

    def dvc(self, *arguments: str) -> str:
        return self.succeed(sys.executable, "-m", "dvc", *arguments)

    def change_params(self, changes: dict[str, Any]) -> None:
        """Overlays params.yaml and systems.yaml with ``changes``."""
        yaml = YAML()
        for file in {file_of(section) for section in changes}:
            content = yaml.load(self.root / file)
            _overlay(content, {section: values for section, values in changes.items() if file_of(section) == file})
            yaml.dump(content, self.root / file)

    def commit(self, message: str) -> None:
        self.succeed("git", "add", "--all")
        self.succeed("git", "commit", "--quiet", "--message", message)


def create(root: Path, llm: Path) -> World:
    """Copies the repository's code to ``root`` and shrinks its parameters, without a run.

    Args:
        llm: folder of the language model (:func:`write_tiny_llama`).
    """
    for name in TRACKED:
        source, target = REPOSITORY / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    world = World(root)
    world.change_params({**TINY, "llm": {**TINY["llm"], "model": str(llm)}, "datasets": {"tiny": tiny_dataset()}})
    _keep_few_systems(root / "systems.yaml")
    world.succeed("git", "init", "--quiet")
    identify(world)
    world.commit("The tiny world")
    return world


def _keep_few_systems(file: Path) -> None:
    """Only those of :data:`SYSTEMS`, and what the report says of them: DVC writes all definitions into dvc.lock, which it reads
    with every command and writes after every stage.
    """
    yaml = YAML()
    content = yaml.load(file)
    systems, report = content["systems"], content["report"]
    for name in [name for name in systems if name not in SYSTEMS]:
        del systems[name]
    for name, table in [*report["ablations"].items()]:
        table["systems"] = [system for system in table["systems"] if system in SYSTEMS]
        if not table["systems"]:
            del report["ablations"][name]
    report["case_studies"] = [case for case in report["case_studies"] if {case["hybrid"], case["text"]} <= {*SYSTEMS}]
    yaml.dump(content, file)


def clone(world: World, root: Path, *, with_cache: bool, hash_seed: int | None = None) -> World:
    """Clones a world; ``with_cache`` shares the DVC cache and checks out all outputs."""
    world.succeed("git", "clone", "--quiet", str(world.root), str(root))
    copy = World(root, hash_seed)
    identify(copy)
    if with_cache:
        (root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {world.root}/.dvc/cache\n", encoding="utf-8")
        copy.dvc("checkout")
    return copy


def identify(world: World) -> None:
    world.succeed("git", "config", "user.name", "Test")
    world.succeed("git", "config", "user.email", "test@example.com")


def stages_run(output: str) -> set[str]:
    """Returns the names of the stages that a ``dvc`` command ran, without their parameters."""
    return set(re.findall(r"Running stage '(\w+)", output))


def runs_of(output: str, stage: str) -> set[str]:
    """Returns the parameters with which a ``dvc`` command ran a stage, such as ``tiny-llara-0``."""
    return set(re.findall(rf"Running stage '{stage}@([^']+)'", output))


def tiny_dataset() -> dict[str, Any]:
    """Returns the repository's MovieLens section with synthetic data."""
    dataset: dict[str, Any] = raw_params()["datasets"]["movielens"]
    return {**dataset, "format": "synthetic", "min_rating": 0.0}


def write_tiny_llama(folder: Path, hidden_size: int = 32) -> None:
    """Saves a random Llama of two layers with its own byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    text = ["This user has watched the following movies in the past.", "Choose the answer from the following movie titles."]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(text, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)


def _overlay(base: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _overlay(base[key], value)
        else:
            base[key] = value
