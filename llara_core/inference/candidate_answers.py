"""Three ways to answer a prompt with candidates, from one pass over it.

The prompt is read once. All candidates are then scored side by side as branches of a tree that share it, which gives the
``score`` ranking and, since every allowed token's logit stands in that tree, the ``constrained`` answer. ``generate`` continues
the prompt freely. Left padding with explicit positions keeps every result independent of the batch,
exactly up to rounding: some 1e-5 nats in float32, up to about a nat in bfloat16, where near ties can turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm
from transformers import DynamicCache

from llara_core.inference.prompts import Query, batches
from llara_core.llm import tree
from llara_core.llm.encoding import Batch, PromptEncoder
from llara_core.llm.hybrid import HybridLM, positions
from llara_core.runtime import processes


@dataclass(frozen=True)
class CandidateAnswers:
    """What a model says to ``N`` queries with ``C`` candidates each.

    Attributes:
        scores: ``(N, C)`` float32, log-likelihood of every candidate's answer, end token included.
        constrained: ``(N,)`` index of the candidate that greedy decoding reaches when it may only spell candidates.
        texts: ``N`` freely generated answers.
    """

    scores: npt.NDArray[np.float32]
    constrained: npt.NDArray[np.int64]
    texts: list[str]


@dataclass(frozen=True)
class Prefix:
    """A batch of prompts that has been read."""

    cache: DynamicCache
    mask: torch.Tensor  # [B, L]
    last_logits: torch.Tensor  # [B, V]


@torch.inference_mode()
def answer_queries(
    model: HybridLM, encoder: PromptEncoder, queries: Sequence[Query], *, batch_size: int, max_new_tokens: int
) -> CandidateAnswers:
    """Answer every query in all three ways; processes that work together share the batches, and all of them know all answers.

    Args:
        model: in evaluation mode.
        encoder: of its tokenizer.
        queries: ``N`` of them, all with as many candidates.
        batch_size: queries per pass; changes speed and memory, and the rounding of results.
        max_new_tokens: limit of a generated answer.
    """
    prompt_ids = [encoder.prompt_ids(query.prompt) for query in queries]
    scores = np.empty((len(queries), len(queries[0].answers)), dtype=np.float32)
    constrained = np.empty(len(queries), dtype=np.int64)
    texts = np.full(len(queries), "", dtype=object)
    mine = batches([len(ids) for ids in prompt_ids], batch_size)
    mine = mine if model.is_sharded else processes.share(mine)
    with tqdm(total=sum(map(len, mine)), desc="answer", unit="query", delay=1.0) as progress:
        for rows in mine:
            batch = encoder.pad([prompt_ids[row] for row in rows], [queries[row].prompt for row in rows])
            branches = [[encoder.answer_ids(answer) for answer in queries[row].answers] for row in rows]
            prefix = read_prompts(model, batch)
            logprobs = branch_logprobs(model, prefix, branches)
            for row, tokens, values in zip(rows, branches, logprobs, strict=True):
                scores[row] = [sum(branch) for branch in values]
                constrained[row] = constrained_choice(tokens, values)
            for row, written in zip(rows, generate(model, prefix, encoder.eos_id, max_new_tokens), strict=True):
                texts[row] = encoder.decode(written)
            progress.update(len(rows))
    processes.fill_in(mine, scores, constrained, texts)
    return CandidateAnswers(scores, constrained, texts.tolist())


def constrained_choice(branches: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]]) -> int:
    """Greedy decoding in the trie of the candidates: at every step the likeliest token that some candidate continues with.

    Args:
        branches: token ids of every candidate, each ending in the end token, so that none is a prefix of another.
        logprobs: log-probability of each of these tokens after the ones before it.

    Returns:
        The index of the candidate reached; of two with the same tokens, the first.

    >>> constrained_choice([(5, 6, 0), (5, 7, 0), (8, 0)], [(-1.0, -2.0, 0.0), (-1.0, -0.5, 0.0), (-1.5, 0.0)])
    1
    """
    alive = list(range(len(branches)))
    for depth in range(max(map(len, branches))):
        best = max(alive, key=lambda index: logprobs[index][depth])
        alive = [index for index in alive if branches[index][depth] == branches[best][depth]]
        if len(branches[alive[0]]) == depth + 1:
            break
    return alive[0]


def read_prompts(model: HybridLM, batch: Batch) -> Prefix:
    device = model.device
    ids, mask = batch.input_ids.to(device), batch.attention_mask.to(device)
    cache = DynamicCache(config=model.causal_lm.config)
    output = model.causal_lm.model(
        inputs_embeds=model.embed(ids, batch.slot_items.to(device), batch.slot_scores.to(device)),
        attention_mask=mask,
        position_ids=positions(mask),
        past_key_values=cache,
        use_cache=True,
    )
    return Prefix(cache, mask, model.token_logits(output.last_hidden_state[:, -1]))


def branch_logprobs(model: HybridLM, prefix: Prefix, branches: Sequence[Sequence[Sequence[int]]]) -> list[list[list[float]]]:
    """Log-probability of every token of every branch, all branches of all queries in one pass.

    Args:
        prefix: of ``B`` prompts; its cache is left as it was.
        branches: token ids by query and candidate. The last token of a branch is predicted, but not read.
    """
    device = prefix.mask.device
    ids, numbers = (tensor.to(device) for tensor in _flatten(branches))
    n_read, n_prompt = ids.shape[1], prefix.mask.shape[1]
    seen = tree.visible(
        torch.cat([prefix.mask, numbers.clamp(max=1)], dim=1), torch.cat([torch.zeros_like(prefix.mask), numbers], dim=1)
    )[:, n_prompt:]  # [B, F, L + F]
    output = model.causal_lm.model(
        input_ids=ids,
        attention_mask=tree.additive(seen, model.causal_lm.dtype),
        position_ids=tree.positions(seen),
        past_key_values=prefix.cache,
        cache_position=torch.arange(n_prompt, n_prompt + n_read, device=device),
        use_cache=True,
    )
    prefix.cache.crop(-n_read)
    first = torch.log_softmax(prefix.last_logits, dim=-1)
    result: list[list[list[float]]] = []
    for query, candidates in enumerate(branches):
        # One query at a time, so that the full-vocabulary logits stay small.
        n_used = sum(len(tokens) - 1 for tokens in candidates)
        following = torch.log_softmax(model.token_logits(output.last_hidden_state[query, :n_used]), dim=-1)
        targets = torch.tensor([token for tokens in candidates for token in tokens[1:]], device=device)
        later = following.gather(1, targets.unsqueeze(1)).squeeze(1).tolist()
        start, rows = 0, []
        for tokens in candidates:
            stop = start + len(tokens) - 1
            rows.append([first[query, tokens[0]].item(), *later[start:stop]])
            start = stop
        result.append(rows)
    return result


def _flatten(branches: Sequence[Sequence[Sequence[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and numbers of the branches that they belong to, laid end to end, each ``(B, F)`` int64; 0 at padding."""
    flat = [
        [(token, number) for number, tokens in enumerate(candidates, start=1) for token in tokens[:-1]]
        for candidates in branches
    ]
    length = max(max(map(len, flat)), 1)
    padded = torch.tensor([row + [(0, 0)] * (length - len(row)) for row in flat], dtype=torch.long)
    ids, numbers = padded.unbind(dim=2)
    return ids, numbers


def generate(model: HybridLM, prefix: Prefix, eos_id: int, max_new_tokens: int) -> list[list[int]]:
    """Greedy continuation of every prompt up to its end token; the cache is used up."""
    lengths = prefix.mask.sum(dim=1, keepdim=True)
    mask, logits = prefix.mask, prefix.last_logits
    taken: list[torch.Tensor] = []
    ended = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
    for step in range(max_new_tokens):
        token = logits.argmax(dim=-1)
        taken.append(token.masked_fill(ended, eos_id))
        ended = ended | (token == eos_id)
        if ended.all() or step == max_new_tokens - 1:
            break
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        output: Any = model.causal_lm.model(
            input_ids=taken[-1].unsqueeze(1),
            attention_mask=mask,
            position_ids=lengths + step,
            past_key_values=prefix.cache,
            use_cache=True,
        )
        logits = model.token_logits(output.last_hidden_state[:, -1])
    rows = torch.stack(taken, dim=1).tolist()
    return [row[: row.index(eos_id)] if eos_id in row else row for row in rows]
