"""The training loop: transformers' ``Trainer`` over the rows of the plan, with checkpoints of only the trained tensors."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from peft.helpers import disable_input_dtype_casting
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from llara_core.config import TuneConfig
from llara_core.errors import ConfigError, ModelError
from llara_core.llm.adapters import trained_tensors
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.objectives.base import EncodedRow
from llara_core.runtime import processes, progress, seeding
from llara_core.runtime.curves import HYBRID_SHARE, LEARNING_RATE, OBJECTIVE_LOSS, P_HYBRID
from llara_core.tuning.rows import TrainingStep, collate

logger = logging.getLogger(__name__)

_WEIGHTS = "trained.safetensors"
_STATE = "trainer_state.json"

Curves = dict[str, dict[int, float]]


def learning_rate_factor(step: int, *, n_steps: int, warmup_share: float, final_share: float) -> float:
    """Returns the share of the peak learning rate at ``step``: linear from 1/100 to 1, then a cosine to ``final_share``.

    Source: paper, section 5.1.2, which does not say where the cosine ends; the authors' scripts end at 1/100 of the peak.

    >>> [round(learning_rate_factor(step, n_steps=10, warmup_share=0.2, final_share=0.0), 3) for step in (0, 1, 2, 6, 10)]
    [0.01, 0.505, 1.0, 0.5, 0.0]
    """
    warmup = math.ceil(n_steps * warmup_share)
    if step < warmup:
        return 0.01 + 0.99 * step / warmup
    cosine = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(n_steps - warmup, 1)))
    return final_share + (1 - final_share) * cosine


def micro_batches_per_step(config: TuneConfig) -> int:
    """Returns the number of micro-batches that each process accumulates in a step.

    Step k trains the rows from ``k * batch_size`` on, whatever the number of processes, which take micro-batches in turn.

    Raises:
        ConfigError: the micro-batches of a step cannot be divided equally among the processes.
    """
    n, rest = divmod(config.batch_size, config.micro_batch_size * processes.count())
    if rest:
        raise ConfigError(
            f"tune.batch_size {config.batch_size} is no multiple of tune.micro_batch_size {config.micro_batch_size} times "
            f"{processes.count()} processes; lower tune.micro_batch_size (which changes the result by rounding only), set "
            f"parallel.processes to a divisor of {config.batch_size // config.micro_batch_size}, or change tune.batch_size "
            "(or the system's own values of these keys)"
        )
    return n


def train(
    model: HybridLM,
    plan: pd.DataFrame,
    dataset: Dataset[EncodedRow],
    encoder: PromptEncoder,
    config: TuneConfig,
    *,
    seed: int,
    scratch: Path,
) -> Curves:
    """Trains ``model`` in place along the plan, resuming from the last complete checkpoint in ``scratch``.

    Args:
        model: model with trainable tensors in float32 and the frozen base in its compute dtype.
        plan: table from :func:`llara_core.tuning.plan.make_plan`.
        dataset: encoded rows of the plan.
        encoder: encoder that pads the rows.
        config: batch sizes, learning rate and checkpointing.
        seed: seed of dropout.
        scratch: folder for checkpoints of exactly this configuration and these inputs.

    Returns:
        Values by curve and step over the whole run, including steps before an interruption: loss by objective, learning rate,
        p(hybrid) and the actual share of hybrid rows.
    """
    base_dtype = model.causal_lm.dtype
    on_cuda = model.device.type == "cuda"
    n_steps = len(plan) // config.batch_size
    arguments = TrainingArguments(
        output_dir=str(scratch),
        max_steps=n_steps,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=micro_batches_per_step(config),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm or 0.0,  # 0 disables clipping
        bf16=base_dtype == torch.bfloat16,
        fp16=base_dtype == torch.float16,
        use_cpu=not on_cuda,
        save_strategy="steps",
        save_steps=config.checkpoint_every,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        remove_unused_columns=False,
        label_names=["labels"],
        seed=seed,
        # The plan fixes the data order; accelerate would otherwise reseed and skip through its own sampler.
        accelerator_config={"use_seedable_sampler": False},
        dataloader_pin_memory=on_cuda,
        disable_tqdm=True,
    )
    # With several visible cards, the Trainer would use nn.DataParallel, which splits a batch by row; but the slots of a batch
    # are in tensors without a row dimension. Processes share whole micro-batches instead.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    if config.gradient_checkpointing:
        model.causal_lm.activation_checkpointing_enable({"use_reentrant": False})
        model.causal_lm.enable_input_require_grads()
    step = TrainingStep(model, config)
    # DDP need not broadcast the frozen weights, which every process loads from the same files.
    frozen = [name for name, tensor in step.named_parameters(remove_duplicate=False) if not tensor.requires_grad]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(step, frozen)  # type: ignore[no-untyped-call]
    trainer = _PlanTrainer(
        model=step,
        args=arguments,
        train_dataset=dataset,
        data_collator=functools.partial(collate, encoder=encoder),
    )
    trainer.projector_l2 = config.projector_l2
    trainer.learning_rate_factor = functools.partial(
        learning_rate_factor, n_steps=n_steps, warmup_share=config.warmup_share, final_share=config.final_lr_share
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_ProgressBar(plan["p_hybrid"].to_numpy()[:: config.batch_size]))
    with processes.first_goes_ahead():
        checkpoint = _last_complete_checkpoint(scratch)
    if checkpoint is not None:
        logger.info("resuming from %s", checkpoint.name)
    # Otherwise peft would cast inputs to the float32 of the adapters, only for autocast to undo it in the next product.
    with disable_input_dtype_casting(model, active=base_dtype != torch.float32):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return _curves(trainer.state.log_history, plan, config.batch_size)


class _PlanTrainer(Trainer):  # type: ignore[misc]
    learning_rate_factor: Callable[[int], float]
    projector_l2: float
    _step, _in_step = -1, 0  # optimiser step, and number of this process's micro-batch within it

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = super().create_optimizer(*args, **kwargs)
        projector = self.model.model.projector
        if self.projector_l2 and projector is not None:

            def add_l2(*_: Any) -> None:  # after clipping, like the weight decay of torch.optim.Adam
                for weight in projector.parameters():
                    if weight.grad is not None:
                        weight.grad.add_(weight.detach(), alpha=self.projector_l2)

            optimizer.register_step_pre_hook(add_l2)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, self.learning_rate_factor)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        # Each micro-batch has its own random stream, so that dropout depends neither on the process nor on interruptions.
        step = self.state.global_step
        self._in_step = self._in_step + 1 if step == self._step else 0
        self._step = step
        micro_batch = self._in_step * processes.count() + processes.rank()
        seeding.seed_torch_globally(self.args.seed, "tune", "dropout", step, micro_batch)
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        return loss

    def _save_rng_state(self, output_dir: str) -> None:
        """Saves nothing, since every micro-batch has its own random stream."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Loads nothing, since nothing was saved."""

    def _wrap_model(self, model: Any, training: bool = True, **kwargs: Any) -> Any:
        if not (training and self.model.model.is_sharded):
            return super()._wrap_model(model, training, **kwargs)
        # The trained tensors are small and complete in every process: DDP sums their gradients and ignores the shards.
        model = self.accelerator.prepare_model(model, evaluation_mode=True)
        cards = [model.model.device] if model.model.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=cards, find_unused_parameters=True)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # Every trained tensor is saved, even if the last batches did not use it; the released code loses its projector.
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = trained_tensors(self.accelerator.unwrap_model(self.model).model)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / _WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        saved = load_file(Path(resume_from_checkpoint) / _WEIGHTS)
        tensors = trained_tensors((model or self.model).model)
        if set(saved) != set(tensors):
            raise ModelError(f"{resume_from_checkpoint}: does not have the tensors being trained; delete it and start again")
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(saved[name])


class _ProgressBar(TrainerCallback):  # type: ignore[misc]
    """One bar with the latest loss; the Trainer's own bar prints a line per step."""

    def __init__(self, p_hybrid: npt.NDArray[np.float64]) -> None:
        self._p_hybrid = p_hybrid  # value of each step
        self._open_bar = contextlib.ExitStack()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        bar = progress.bar(state.max_steps, desc="tune", unit="step", initial=state.global_step)
        self._bar = self._open_bar.enter_context(bar)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        if "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise ModelError(
                    f"step {state.global_step} of {state.max_steps}: the tuning loss is {logs['loss']}; lower "
                    "tune.learning_rate or tune.max_grad_norm, or set another llm.dtype"
                )
            p_hybrid = self._p_hybrid[state.global_step - 1]
            self._bar.set_postfix_str(f"loss {logs['loss']:.3f}, lr {logs['learning_rate']:.1e}, p(hybrid) {p_hybrid:.2f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._open_bar.close()


def _curves(log_history: list[dict[str, float]], plan: pd.DataFrame, batch_size: int) -> Curves:
    """Returns loss and learning rate from the Trainer's log, which checkpoints contain, and the curriculum from the plan."""
    steps = plan.index // batch_size
    by_step = plan.groupby(steps)
    p_hybrid = by_step["p_hybrid"].mean()
    curves: Curves = {
        LEARNING_RATE: {},
        P_HYBRID: _by_step(p_hybrid),
        # Averaged over a tenth of the run, because a single step has too few rows to compare their share with p.
        HYBRID_SHARE: _by_step(
            by_step["hybrid"].mean().rolling(max(len(p_hybrid) // 10, 1), center=True, min_periods=1).mean()
        ),
    }
    objectives = by_step["objective"].first()
    for entry in log_history:
        if "loss" in entry:  # the last entry is a summary without it
            step = int(entry["step"]) - 1
            curves[LEARNING_RATE][step] = entry["learning_rate"]
            curves.setdefault(OBJECTIVE_LOSS[objectives[step]], {})[step] = entry["loss"]
    return curves


def _by_step(values: pd.Series[float]) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


def _last_complete_checkpoint(scratch: Path) -> Path | None:
    """Returns the newest complete checkpoint, recognised by its last file, and deletes newer incomplete ones."""
    checkpoints = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for folder in checkpoints:
        try:
            json.loads((folder / _STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(folder)
            continue
        return folder
    return None
