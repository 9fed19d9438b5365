"""Many questions that arrive one by one, answered together: a bounded queue before one thread that runs the model."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

Question = TypeVar("Question")
Result = TypeVar("Result")
Answer = TypeVar("Answer")


class QueueFullError(Exception):
    """No place is left in the queue.

    Attributes:
        retry_after: whole seconds after which one should be free.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Answered(Generic[Answer]):
    """One answer, and what it took.

    Attributes:
        answer: to the question.
        waited_s: from the question to the start of the model's pass.
        took_s: time of that pass.
        batch: questions that it answered.
    """

    answer: Answer
    waited_s: float
    took_s: float
    batch: int


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Question, Answer]):
    question: Question
    since: float
    answered: asyncio.Future[Answered[Answer]]


class Batcher(Generic[Question, Answer]):
    """Answers questions in batches while it is entered; leaving it answers what still waits.

    While the thread is busy, questions gather, and the next pass takes as many as fit, oldest first. One that nobody waits for
    any longer leaves its place at once.

    Args:
        answer: gives as many answers as it is given questions; runs in a thread of its own.
        batch_size: most questions per pass.
        queue_size: most questions that wait.
        max_wait_s: how long a pass that could hold more questions waits for them.
        prepare: runs once in that thread, first.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Sequence[Answer]],
        *,
        batch_size: int,
        queue_size: int,
        max_wait_s: float,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._answer, self._batch_size, self._queue_size, self._max_wait_s = answer, batch_size, queue_size, max_wait_s
        self._queue: deque[_Waiting[Question, Answer]] = deque()
        self._changed = asyncio.Event()  # a question has come, or no more will
        self._is_closing, self._is_in_pass = False, False
        self._thread = ThreadPoolExecutor(1, "model", prepare)
        self._worker: asyncio.Task[None] | None = None
        self._last_pass_s = 0.0
        self._n_works = 0
        self.n_waiting = 0  # questions without an answer yet

    async def __aenter__(self) -> Batcher[Question, Answer]:
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._worker is not None:
            self._is_closing = True
            self._changed.set()
            await self._worker
            self._worker = None
        self._thread.shutdown()

    @property
    def is_running(self) -> bool:
        return self._worker is not None and not self._worker.done()

    async def ask(self, question: Question) -> Answered[Answer]:
        """The answer to one question; a caller that stops waiting for it takes the question back.

        Raises:
            QueueFullError: as many questions wait as may.
            Exception: whatever ``answer`` raised at this question.
        """
        n_next = 0 if self._is_in_pass else self._batch_size  # those of a pass that is about to start take up no place
        if len(self._queue) >= self._queue_size + n_next:
            passes = math.ceil(len(self._queue) / self._batch_size)
            raise QueueFullError(max(1, math.ceil(passes * self._last_pass_s)))
        waiting = _Waiting[Question, Answer](question, time.perf_counter(), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._changed.set()
        self.n_waiting += 1
        try:
            return await waiting.answered
        finally:
            self.n_waiting -= 1
            with contextlib.suppress(ValueError):  # a pass has taken it
                self._queue.remove(waiting)

    async def run(self, work: Callable[[], Result]) -> Result:
        """What ``work`` gives, which the thread does between two passes, so that it may change what answers.

        Once begun, it is finished, whether anyone waits for it or not.

        Raises:
            QueueFullError: as much work waits as questions may.
            Exception: whatever ``work`` raised.
        """
        if self._n_works >= self._queue_size:
            raise QueueFullError(max(1, math.ceil(self._last_pass_s)))
        self._n_works += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._n_works -= 1

    async def _work(self) -> None:
        while self._queue or not self._is_closing:
            await self._until_queued(1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._max_wait_s):
                    await self._until_queued(self._batch_size)
            batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
            if batch:
                self._is_in_pass = True
                await self._answer_batch(batch)
                self._is_in_pass = False

    async def _until_queued(self, n: int) -> None:
        """Until as many questions wait, or no more will come."""
        while len(self._queue) < n and not self._is_closing:
            self._changed.clear()
            await self._changed.wait()

    async def _answer_batch(self, batch: Sequence[_Waiting[Question, Answer]]) -> None:
        start = time.perf_counter()
        questions = [one.question for one in batch]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, questions)
            answered = list(zip(batch, answers, strict=True))
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0].answered, error)
                return
            for one in batch:  # only those at which it fails may feel it
                if not one.answered.done():
                    await self._answer_batch([one])
            return
        self._last_pass_s = time.perf_counter() - start
        for one, answer in answered:
            _settle(one.answered, Answered(answer, start - one.since, self._last_pass_s, len(batch)))


def _settle(future: asyncio.Future[Answered[Answer]], outcome: Answered[Answer] | Exception) -> None:
    """Unless whoever asked is gone meanwhile."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
