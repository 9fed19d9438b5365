"""Three ways to answer a prompt with candidates, from one pass over it.

The prompt is read once. All candidates are then scored as branches of a tree that share it, which yields both the ``score``
ranking and the ``constrained`` answer, since the tree holds the logit of every allowed token. ``generate`` continues the
prompt freely. Left padding with explicit positions makes every result independent of the batch, up to rounding: some 1e-5
nats in float32, up to about a nat in bfloat16, which can reverse near ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache

from llara_core.answers.prompts import Query
from llara_core.inference.batches import own_batches
from llara_core.llm import tree
from llara_core.llm.encoding import Batch, PromptEncoder
from llara_core.llm.hybrid import HybridLM, positions
from llara_core.runtime import processes, progress


@dataclass(frozen=True)
class CandidateAnswers:
    """A model's answers to ``N`` queries with ``C`` candidates each.

    Attributes:
        scores: ``(N, C)`` float32, log-likelihood of every candidate's answer, end token included.
        constrained: ``(N,)`` index of the candidate that greedy decoding reaches when only candidates may be written.
        texts: ``N`` freely generated answers.
    """

    scores: npt.NDArray[np.float32]
    constrained: npt.NDArray[np.int64]
    texts: list[str]


@dataclass(frozen=True)
class Prefix:
    """A batch of prompts that the model has read: attention cache, mask and logits of the next token."""

    cache: DynamicCache
    mask: torch.Tensor  # (B, L)
    last_logits: torch.Tensor  # (B, V)


@torch.inference_mode()
def answer_queries(
    model: HybridLM,
    encoder: PromptEncoder,
    queries: Sequence[Query],
    *,
    batch_size: int,
    max_new_tokens: int,
    num_beams: int = 1,
) -> CandidateAnswers:
    """Answers every query in all three ways; cooperating processes share the batches, and each returns all answers.

    Args:
        queries: ``N`` queries with equal numbers of candidates.
        batch_size: queries per pass; it changes speed, memory and rounding.
        max_new_tokens: limit of a generated answer.
        num_beams: number of beams in generation; 1 is greedy.
    """
    prompt_ids = [encoder.prompt_ids(query.prompt) for query in queries]
    scores = np.empty((len(queries), len(queries[0].answers)), dtype=np.float32)
    constrained = np.empty(len(queries), dtype=np.int64)
    texts = np.full(len(queries), "", dtype=object)
    own = own_batches([len(ids) for ids in prompt_ids], batch_size, is_sharded=model.is_sharded)
    with progress.bar(sum(map(len, own)), desc="answer", unit="query") as bar:
        for rows in own:
            batch = encoder.pad([prompt_ids[row] for row in rows], [queries[row].prompt for row in rows])
            branches = [[encoder.answer_ids(answer) for answer in queries[row].answers] for row in rows]
            prefix = read_prompts(model, batch)
            logprobs = branch_logprobs(model, prefix, branches)
            for row, tokens, values in zip(rows, branches, logprobs, strict=True):
                scores[row] = [sum(branch) for branch in values]
                constrained[row] = constrained_choice(tokens, values)
            if num_beams == 1:
                written = generate(model, prefix, encoder.eos_id, max_new_tokens)
            else:
                written = beam_search(model, prefix, encoder.eos_id, max_new_tokens, num_beams)
            for row, ids in zip(rows, written, strict=True):
                texts[row] = encoder.decode(ids)
            bar.update(len(rows))
    processes.fill_in(own, scores, constrained, texts)
    return CandidateAnswers(scores, constrained, texts.tolist())


def constrained_choice(branches: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]]) -> int:
    """Returns the candidate that greedy decoding reaches if each step takes the likeliest token that continues some candidate.

    If two candidates have the same tokens, the first is returned.

    Args:
        branches: token ids of every candidate, each ending in the end token, so that none is a prefix of another.
        logprobs: log-probability of each of these tokens given those before it.

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
    """Reads prompts once, so that all three ways of answering continue from the same cache."""
    device = model.device
    ids, mask = batch.input_ids.to(device), batch.attention_mask.to(device)
    cache = DynamicCache()  # given the config, layers with a window would drop tokens that the branches must see
    output = model.causal_lm.model(
        inputs_embeds=model.embed(ids, batch.slot_items.to(device), batch.slot_scores.to(device)),
        attention_mask=mask,
        position_ids=positions(mask),
        past_key_values=cache,
        use_cache=True,
    )
    return Prefix(cache, mask, model.token_logits(output.last_hidden_state[:, -1]))


def branch_logprobs(model: HybridLM, prefix: Prefix, branches: Sequence[Sequence[Sequence[int]]]) -> list[list[list[float]]]:
    """Returns the log-probability of every token of every branch, from one pass over all queries.

    Args:
        prefix: ``B`` prompts; the cache is restored.
        branches: token ids by query and candidate. The last token of a branch is predicted, but not read.
    """
    device = prefix.mask.device
    ids, numbers = (tensor.to(device) for tensor in _flatten(branches))
    n_read, n_prompt = ids.shape[1], prefix.mask.shape[1]
    seen = tree.visible(
        torch.cat([prefix.mask, numbers.clamp(max=1)], dim=1), torch.cat([torch.zeros_like(prefix.mask), numbers], dim=1)
    )[:, n_prompt:]  # (B, F, L + F)
    position_ids = tree.positions(seen)
    model.check_length(int(position_ids.max()) + 1)
    output = model.causal_lm.model(
        input_ids=ids,
        attention_mask=model.masks(seen),
        position_ids=position_ids,
        past_key_values=prefix.cache,
        cache_position=torch.arange(n_prompt, n_prompt + n_read, device=device),
        use_cache=True,
    )
    prefix.cache.crop(-n_read)
    first = torch.log_softmax(prefix.last_logits, dim=-1)
    result: list[list[list[float]]] = []
    for query, candidates in enumerate(branches):
        # One query at a time keeps the full-vocabulary logits small.
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
    """Concatenates the branches of each query: token ids and branch numbers, each ``(B, F)`` int64; 0 at padding."""
    flat = [
        [(token, number) for number, tokens in enumerate(candidates, start=1) for token in tokens[:-1]]
        for candidates in branches
    ]
    length = max(max(map(len, flat)), 1)
    padded = torch.tensor([row + [(0, 0)] * (length - len(row)) for row in flat], dtype=torch.long)
    ids, numbers = padded.unbind(dim=2)
    return ids, numbers


def generate(model: HybridLM, prefix: Prefix, eos_id: int, max_new_tokens: int) -> list[list[int]]:
    """Continues every prompt greedily up to its end token; the cache cannot be used afterwards."""
    lengths = prefix.mask.sum(dim=1, keepdim=True)
    longest, mask, logits = int(lengths.max()), prefix.mask, prefix.last_logits
    generated: list[torch.Tensor] = []
    ended = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
    for step in range(max_new_tokens):
        token = logits.argmax(dim=-1)
        generated.append(token.masked_fill(ended, eos_id))
        ended = ended | (token == eos_id)
        if ended.all() or step == max_new_tokens - 1:
            break
        model.check_length(longest + step + 1)
        mask, logits = _decode_step(model, prefix, mask, generated[-1].unsqueeze(1), lengths + step)
    return _until_end(torch.stack(generated, dim=1), eos_id)


def beam_search(model: HybridLM, prefix: Prefix, eos_id: int, max_new_tokens: int, num_beams: int) -> list[list[int]]:
    """Continues every prompt by beam search up to its end token; the cache cannot be used afterwards.

    Each step keeps the ``num_beams`` likeliest continuations, finished ones included; the likeliest of all is the answer.
    Log-probabilities are summed and not divided by the length, like those of the candidates.
    """
    n, vocabulary = prefix.last_logits.shape
    num_beams = min(num_beams, vocabulary)
    totals, tokens = torch.log_softmax(prefix.last_logits.float(), dim=-1).topk(num_beams)  # both (B, beams)
    generated, ended = tokens.unsqueeze(2), tokens == eos_id
    prefix.cache.batch_repeat_interleave(num_beams)
    mask = prefix.mask.repeat_interleave(num_beams, dim=0)
    lengths = mask.sum(dim=1, keepdim=True)
    first_beams = num_beams * torch.arange(n, device=mask.device).unsqueeze(1)
    for step in range(max_new_tokens - 1):
        if ended.gather(1, totals.argmax(dim=1, keepdim=True)).all():  # a beam never gets likelier
            break
        mask, logits = _decode_step(model, prefix, mask, generated[:, :, -1].reshape(-1, 1), lengths + step)
        following = torch.log_softmax(logits.float(), dim=-1)
        following = following.view(n, num_beams, vocabulary).masked_fill(ended.unsqueeze(2), -torch.inf)
        following[..., eos_id] = following[..., eos_id].masked_fill(ended, 0.0)  # an ended beam stays as it is
        totals, places = (totals.unsqueeze(2) + following).flatten(1).topk(num_beams)
        beams, tokens = places // vocabulary, places % vocabulary
        generated = torch.cat([generated.gather(1, beams.unsqueeze(2).expand_as(generated)), tokens.unsqueeze(2)], dim=2)
        ended = ended.gather(1, beams) | (tokens == eos_id)
        prefix.cache.reorder_cache((first_beams + beams).flatten())
    return _until_end(generated[torch.arange(n, device=mask.device), totals.argmax(dim=1)], eos_id)


def _decode_step(
    model: HybridLM, prefix: Prefix, mask: torch.Tensor, tokens: torch.Tensor, position_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reads one more token per row, ``(B, 1)``; returns the longer mask and the next token's logits ``(B, V)``."""
    mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    output: Any = model.causal_lm.model(
        input_ids=tokens, attention_mask=mask, position_ids=position_ids, past_key_values=prefix.cache, use_cache=True
    )
    return mask, model.token_logits(output.last_hidden_state[:, -1])


def _until_end(tokens: torch.Tensor, eos_id: int) -> list[list[int]]:
    """Cuts each row of token ids before its first end token."""
    return [row[: row.index(eos_id)] if eos_id in row else row for row in tokens.tolist()]
