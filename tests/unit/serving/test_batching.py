"""Concurrent requests share passes of the model; none is lost, and failures stay separate."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from llara_core.errors import DataError
from llara_core.serving.batching import Batcher, QueueFullError


class Tenfold:
    """Answers a number with its tenfold; its first pass lasts until it is released."""

    def __init__(self, *, held: bool = False, fails_at: int | None = None) -> None:
        self.passes: list[list[int]] = []
        self.released = threading.Event()
        self.fails_at = fails_at
        if not held:
            self.released.set()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.passes.append(list(numbers))
        assert self.released.wait(10)
        if self.fails_at in numbers:
            raise DataError(f"{self.fails_at} has no tenfold")
        return [10 * number for number in numbers]

    def batcher(self, batch_size: int = 4, queue_size: int = 20, max_wait_s: float = 0.0) -> Batcher[int, int]:
        return Batcher(self, batch_size=batch_size, queue_size=queue_size, max_wait_s=max_wait_s)


async def until(passes: list[list[int]], n: int) -> None:
    while len(passes) < n:
        await asyncio.sleep(0.001)


def test_requests_during_a_pass_share_the_next_one() -> None:
    tenfold = Tenfold(held=True)

    async def ask_ten() -> list[tuple[int, int]]:
        async with tenfold.batcher(batch_size=4) as batcher:
            first = asyncio.create_task(batcher.ask(0))
            await until(tenfold.passes, 1)
            others = [asyncio.create_task(batcher.ask(number)) for number in range(1, 10)]
            await asyncio.sleep(0)
            assert batcher.n_waiting == 10
            tenfold.released.set()
            answered = await asyncio.gather(first, *others)
        return [(one.answer, one.batch) for one in answered]

    batches = [1, 4, 4, 4, 4, 4, 4, 4, 4, 1]
    assert asyncio.run(ask_ten()) == [(10 * number, batch) for number, batch in enumerate(batches)]
    assert tenfold.passes == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_a_pass_waits_for_others_no_longer_than_it_may() -> None:
    tenfold = Tenfold()

    async def ask_two_and_one() -> float:
        async with tenfold.batcher(max_wait_s=0.05) as batcher:
            await asyncio.gather(batcher.ask(0), batcher.ask(1))
            start = time.perf_counter()
            await batcher.ask(2)
            return time.perf_counter() - start

    took = asyncio.run(ask_two_and_one())
    assert tenfold.passes == [[0, 1], [2]]
    assert took >= 0.05


def test_a_full_queue_refuses_with_a_time_to_retry() -> None:
    tenfold = Tenfold(held=True)

    async def ask_too_much() -> list[int]:
        async with tenfold.batcher(batch_size=1, queue_size=2) as batcher:
            first = asyncio.create_task(batcher.ask(0))
            await until(tenfold.passes, 1)
            waiting = [asyncio.create_task(batcher.ask(number)) for number in (1, 2)]
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError, match="try again in 1 s") as refused:
                await batcher.ask(3)
            assert (refused.value.retry_after, batcher.n_waiting) == (1, 3)
            tenfold.released.set()
            return [(await one).answer for one in (first, *waiting)]

    assert asyncio.run(ask_too_much()) == [0, 10, 20]
    assert tenfold.passes == [[0], [1], [2]]


def test_a_failure_reaches_only_the_question_that_causes_it() -> None:
    tenfold = Tenfold(fails_at=2)

    async def ask_four() -> list[object]:
        async with tenfold.batcher(max_wait_s=0.01) as batcher:
            answered = await asyncio.gather(*map(batcher.ask, range(4)), return_exceptions=True)
            assert batcher.is_running
        return [str(one) if isinstance(one, BaseException) else one.answer for one in answered]

    assert asyncio.run(ask_four()) == [0, 10, "2 has no tenfold", 30]
    assert tenfold.passes == [[0, 1, 2, 3], [0], [1], [2], [3]]


def test_a_cancelled_request_is_withdrawn() -> None:
    tenfold = Tenfold(held=True)

    async def give_up() -> int:
        async with tenfold.batcher(batch_size=1) as batcher:
            first = asyncio.create_task(batcher.ask(0))
            await until(tenfold.passes, 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await batcher.ask(1)
            last = asyncio.create_task(batcher.ask(2))
            await asyncio.sleep(0)
            tenfold.released.set()
            await first
            return (await last).answer

    assert asyncio.run(give_up()) == 20
    assert tenfold.passes == [[0], [2]]


def test_a_cancelled_request_frees_its_place() -> None:
    """Both in the queue, which would else be full, and in the pass, which has room for two."""
    tenfold = Tenfold(held=True)

    async def give_up() -> list[int]:
        async with tenfold.batcher(batch_size=2, queue_size=3) as batcher:
            first = asyncio.create_task(batcher.ask(0))
            await until(tenfold.passes, 1)
            gone = [asyncio.create_task(batcher.ask(number)) for number in (1, 2, 3)]
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError):
                await batcher.ask(4)
            for one in gone:
                one.cancel()
            await asyncio.wait(gone)
            assert batcher.n_waiting == 1
            others = [asyncio.create_task(batcher.ask(number)) for number in (5, 6)]
            await asyncio.sleep(0)
            tenfold.released.set()
            return [(await one).answer for one in (first, *others)]

    assert asyncio.run(give_up()) == [0, 50, 60]
    assert tenfold.passes == [[0], [5, 6]]


def test_an_incomplete_batch_does_not_count_as_queued() -> None:
    tenfold = Tenfold()

    async def ask_three() -> list[int]:
        async with tenfold.batcher(batch_size=3, queue_size=1, max_wait_s=5) as batcher:
            return [one.answer for one in await asyncio.gather(*map(batcher.ask, range(3)))]

    assert asyncio.run(ask_three()) == [0, 10, 20]
    assert tenfold.passes == [[0, 1, 2]]


def test_leaving_answers_queued_requests() -> None:
    tenfold = Tenfold(held=True)

    async def leave() -> list[int]:
        async with tenfold.batcher() as batcher:
            asked = [asyncio.create_task(batcher.ask(number)) for number in range(6)]
            await until(tenfold.passes, 1)
            threading.Timer(0.05, tenfold.released.set).start()
        assert not batcher.is_running
        assert all(one.done() for one in asked)
        return [one.result().answer for one in asked]

    assert asyncio.run(leave()) == [0, 10, 20, 30, 40, 50]


def test_a_missing_answer_fails_without_stopping_the_service() -> None:
    async def ask() -> int:
        async with Batcher[int, int](lambda n: [1] if n != [0] else [], batch_size=1, queue_size=9, max_wait_s=0) as batcher:
            with pytest.raises(ValueError, match="shorter"):
                await batcher.ask(0)
            return (await batcher.ask(1)).answer

    assert asyncio.run(ask()) == 1
