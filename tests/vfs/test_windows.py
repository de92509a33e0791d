"""Read-ahead: what is fetched for each way of reading, and that the bytes are right."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.vfs.windows import EARNEST, LARGEST, Pool, Windows

KIB, MIB = 1 << 10, 1 << 20
PHOTO = 3_340_000  # bytes, as cameras make them
CONTENTS = random.Random(1).randbytes(4 * PHOTO)
REQUESTS = [128 * KIB, MIB]  # what the kernel asks for at once, without the udev rule and with it


class Phone:
    """Some files of the same size, which are read one after the other; counts what is fetched."""

    def __init__(self, nursery: trio.Nursery, size: int) -> None:
        self.size = size
        self.fetches: list[int] = []
        self.asked = 0
        self._pool = Pool(nursery)

    async def read(self, requests: Iterable[tuple[int, int]]) -> None:
        """Open a file, make requests of (offset, count), and close it."""
        windows = Windows(self._pool, self._fetch, lambda: "f")
        for offset, wanted in requests:
            count = min(wanted, self.size - offset)
            assert bytes(await windows.read(offset, count, self.size)) == CONTENTS[offset : offset + count]
            self.asked += count
        await trio.testing.wait_all_tasks_blocked()
        windows.clear()

    async def _fetch(self, offset: int, count: int) -> memoryview:
        self.fetches.append(count)
        await trio.lowlevel.checkpoint()
        return memoryview(CONTENTS)[offset : offset + count]

    @property
    def fetched(self) -> int:
        return sum(self.fetches)


@asynccontextmanager
async def phone(size: int) -> AsyncIterator[Phone]:
    async with trio.open_nursery() as nursery:
        yield Phone(nursery, size)


def run(request: int, end: int, start: int = 0) -> list[tuple[int, int]]:
    """Return requests that read from `start` to `end`."""
    return [(offset, min(request, end - offset)) for offset in range(start, end, request)]


@pytest.mark.parametrize("request_size", REQUESTS)
@pytest.mark.parametrize("head", [256 * KIB, MIB, 2 * MIB])
async def test_heads(request_size: int, head: int) -> None:
    """Of programs that read the head of each file, the first one tells: then little is fetched for nothing."""
    async with phone(PHOTO) as p:
        await p.read(run(request_size, head))
        p.fetches.clear()
        p.asked = 0
        for _ in range(20):
            await p.read(run(request_size, head))
        assert p.fetched <= 1.5 * p.asked


@pytest.mark.parametrize("request_size", REQUESTS)
async def test_heads_and_tails(request_size: int) -> None:
    async with phone(PHOTO) as p:
        await p.read(run(request_size, 384 * KIB))
        p.fetches.clear()
        p.asked = 0
        for _ in range(20):
            await p.read([*run(request_size, 384 * KIB), *run(request_size, PHOTO, PHOTO - 128 * KIB)])
        assert p.fetched <= 1.5 * p.asked


@pytest.mark.parametrize("request_size", REQUESTS)
async def test_every_tenth_mebibyte(request_size: int) -> None:
    """What is skipped isn't fetched."""
    async with phone(4 * PHOTO) as p:
        for _ in range(5):
            await p.read([*run(request_size, MIB), *run(request_size, 11 * MIB, 10 * MIB)])
        assert p.fetched <= 1.5 * p.asked + 2 * LARGEST  # the first run is trusted


@pytest.mark.parametrize("request_size", REQUESTS)
async def test_whole_files_again(request_size: int) -> None:
    """After one file that is read to its end, the next are fetched as if there had been no heads."""
    async with phone(PHOTO) as p:
        await p.read(run(request_size, PHOTO))
        before = p.fetches[:]
        for _ in range(3):
            await p.read(run(request_size, 256 * KIB))
        await p.read(run(request_size, PHOTO))
        p.fetches.clear()
        await p.read(run(request_size, PHOTO))
        assert p.fetches == before


@pytest.mark.parametrize("request_size", REQUESTS)
async def test_earnest_reader(request_size: int) -> None:
    """A reader that comes far enough gets the largest windows, whatever others have read before."""
    async with phone(4 * PHOTO) as p:
        await p.read(run(request_size, 512 * KIB))
        p.fetches.clear()
        await p.read(run(request_size, 4 * PHOTO))
        assert p.fetched == 4 * PHOTO
        small = [count for count in p.fetches[:-1] if count < LARGEST]
        assert sum(small) <= EARNEST + 2 * MIB
        assert LARGEST in p.fetches


async def test_small_files_tell_nothing() -> None:
    """Small files are read to their end by everyone: after them a program that looks at heads is still one."""
    async with phone(PHOTO) as p:
        await p.read(run(128 * KIB, 256 * KIB))
        p.size = 300_000
        await p.read(run(128 * KIB, p.size))
        p.size = PHOTO
        p.fetches.clear()
        p.asked = 0
        await p.read(run(128 * KIB, 256 * KIB))
        assert p.fetched <= 1.5 * p.asked


async def test_random_reads() -> None:
    """What is read here and there is fetched, and nothing else."""
    async with phone(4 * PHOTO) as p:
        places = [(offset * 17 * KIB, 4 * KIB) for offset in random.Random(2).sample(range(700), 50)]
        await p.read(places)
        assert p.fetched == p.asked


requests = st.lists(
    st.tuples(st.integers(0, 4 * PHOTO - 1), st.integers(1, 2 * MIB)) | st.integers(1, MIB), max_size=30
)


@given(requests)
def test_bytes_are_right(steps: list[tuple[int, int] | int]) -> None:
    """A number continues where the last request has ended."""

    async def main() -> None:
        async with phone(4 * PHOTO) as p:
            places, position = [], 0
            for step in steps:
                offset, count = (position % p.size, step) if isinstance(step, int) else step
                places.append((offset, count))
                position = min(offset + count, p.size)
            await p.read(places)

    trio.run(main)
