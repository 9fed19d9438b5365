"""Batching of concurrent requests: a bounded queue before a single thread that runs the model."""

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
    """The queue is full.

    Attributes:
        retry_after: whole seconds after which a place is expected to be free.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class TimedAnswer(Generic[Answer]):
    """An answer with its timing."""

    answer: Answer
    waited_s: float  # seconds from the request to the start of the model's pass
    took_s: float  # duration of the pass in seconds
    batch: int  # number of requests in the pass


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Question, Answer]):
    question: Question
    since: float
    answered: asyncio.Future[TimedAnswer[Answer]]


class Batcher(Generic[Question, Answer]):
    """Answers requests in batches inside ``async with``; leaving it answers those still queued.

    While the thread is busy, requests queue up, and the next pass takes as many as fit, oldest first. A cancelled request
    leaves the queue at once.

    Args:
        answer: answers a sequence of requests in order; runs in a thread of its own.
        batch_size: maximum number of requests per pass.
        queue_size: maximum number of queued requests.
        max_wait_s: seconds that an incomplete batch waits for further requests.
        prepare: runs once in that thread before the first pass.
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
        self._changed = asyncio.Event()  # set by a new request or by closing
        self._is_closing, self._is_in_pass = False, False
        self._thread = ThreadPoolExecutor(1, "model", prepare)
        self._worker: asyncio.Task[None] | None = None
        self._last_pass_s = 0.0
        self._n_jobs = 0  # calls of :meth:`run` that have not returned
        self.n_waiting = 0  # requests without an answer

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

    async def ask(self, question: Question) -> TimedAnswer[Answer]:
        """Returns the answer to one request; cancelling the call withdraws the request.

        Raises:
            QueueFullError: the queue is full.
            Exception: raised by ``answer`` for this request.
        """
        n_next = 0 if self._is_in_pass else self._batch_size  # the next batch does not count as queued
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
            with contextlib.suppress(ValueError):  # it is already in a pass
                self._queue.remove(waiting)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Runs ``work`` in the thread between two passes, so that it may change the model.

        Work that has begun is finished even if the caller is cancelled.

        Raises:
            QueueFullError: as many jobs wait as the queue may hold.
            Exception: raised by ``work``.
        """
        if self._n_jobs >= self._queue_size:
            raise QueueFullError(max(1, math.ceil(self._last_pass_s)))
        self._n_jobs += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._n_jobs -= 1

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
        """Waits until ``n`` requests are queued or the batcher is closing."""
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
            for one in batch:  # isolates the request that fails
                if not one.answered.done():
                    await self._answer_batch([one])
            return
        self._last_pass_s = time.perf_counter() - start
        for one, answer in answered:
            _settle(one.answered, TimedAnswer(answer, start - one.since, self._last_pass_s, len(batch)))


def _settle(future: asyncio.Future[TimedAnswer[Answer]], outcome: TimedAnswer[Answer] | Exception) -> None:
    """Sets the outcome, unless the caller was cancelled."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
