"""Several continuations of one prompt in one sequence: a tree whose branches share the prompt and do not see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tree:
    """A prompt and its continuations, concatenated; three lists of equal length.

    Attributes:
        input_ids: the prompt without its last token, then for every branch that token and the continuation without its last
            token, which is predicted and not read. So each branch predicts its whole continuation, the first token included.
        branches: number of each token's branch, from 1; 0 in the prompt, which all branches share.
        following: the token that each position predicts; None in the prompt.
    """

    input_ids: list[int]
    branches: list[int]
    following: list[int | None]


def lay_out(prompt_ids: Sequence[int], continuations: Sequence[Sequence[int]]) -> Tree:
    """Lays out a prompt and its continuations as a tree.

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
    """Returns ``(B, L, L)`` bool: each token sees the prompt and the earlier tokens of its own branch.

    ``attention_mask`` ``(B, L)`` is 0 at padding; ``branches`` ``(B, L)`` int64 holds the branch numbers of :class:`Tree`.
    """
    length = branches.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    shared_or_own = (branches.unsqueeze(1) == 0) | (branches.unsqueeze(1) == branches.unsqueeze(2))
    return earlier & attention_mask.bool().unsqueeze(1) & shared_or_own


def positions(seen: torch.Tensor) -> torch.Tensor:
    """Returns the position ``(B, L)`` of every token in its prompt and branch: the number of other tokens that it sees."""
    return (seen.sum(dim=-1) - 1).clamp(min=0)


def nearest(seen: torch.Tensor, window: int) -> torch.Tensor:
    """Keeps the last ``window`` tokens that each token sees, itself included, for layers with a sliding window."""
    return seen & (seen.flip(-1).cumsum(dim=-1).flip(-1) <= window)


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Returns the mask that transformers adds to attention scores, ``(B, 1, L, L)``."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min).unsqueeze(1)
