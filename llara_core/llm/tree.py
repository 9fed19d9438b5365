"""Several continuations of one prompt in one sequence: branches of a tree that share it, each read as if it were alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tree:
    """A prompt and its continuations, laid end to end; three lists of equal length.

    Attributes:
        input_ids: the prompt without its last token, then for every branch that token and the continuation's but the last,
            which is predicted and not read. So each branch predicts its whole continuation, the first token included.
        branches: number of the branch that a token belongs to, from 1; 0: to the prompt, which all share.
        following: the token that each position predicts; None in the prompt.
    """

    input_ids: list[int]
    branches: list[int]
    following: list[int | None]


def lay_out(prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]]) -> Tree:
    """The tree of a prompt and its continuations.

    >>> lay_out([7, 8], [[1, 2, 0], [3, 0]])
    Tree(input_ids=[7, 8, 1, 2, 8, 3], branches=[0, 1, 1, 1, 2, 2], following=[None, 1, 2, 0, 3, 0])
    """
    *shared, last = prompt_ids
    input_ids, branches = list(shared), [0] * len(shared)
    following: list[int | None] = [None] * len(shared)
    for number, tokens in enumerate(continuations, start=1):
        input_ids += [last, *tokens[:-1]]
        branches += [number] * len(tokens)
        following += tokens
    return Tree(input_ids, branches, following)


def visible(attention_mask: torch.Tensor, branches: torch.Tensor) -> torch.Tensor:
    """What each token sees: the prompt and, of its own branch, what came before it, ``(B, L, L)`` bool.

    Args:
        attention_mask: ``(B, L)``, 0 at padding.
        branches: ``(B, L)`` int64, as in :class:`Tree`.
    """
    length = branches.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    shared_or_own = (branches.unsqueeze(1) == 0) | (branches.unsqueeze(1) == branches.unsqueeze(2))
    return earlier & attention_mask.bool().unsqueeze(1) & shared_or_own


def positions(seen: torch.Tensor) -> torch.Tensor:
    """Position of every token in its prompt and branch, ``(B, L)``, from what it sees, itself included."""
    return (seen.sum(dim=-1) - 1).clamp(min=0)


def nearest(seen: torch.Tensor, window: int) -> torch.Tensor:
    """Of what each token sees, the last ``window`` tokens, itself included: what a layer with a sliding window reads."""
    return seen & (seen.flip(-1).cumsum(dim=-1).flip(-1) <= window)


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mask that transformers adds to attention scores, ``(B, 1, L, L)``."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min).unsqueeze(1)
