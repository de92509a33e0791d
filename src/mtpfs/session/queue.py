"""The queue of jobs for the device's worker thread: metadata before bulk, and each job gets its turn.

There are three classes in one heap. Metadata overtakes bulk, but only `BULK_SHARE` times in a row. Bulk stands back for
a moment after a metadata job, because an `ls` asks several questions, one after the other. If a window slipped in
between each two of them, the `ls` would wait for all of these windows. Background is what no program waits for. It is
taken when nothing else has been asked for `QUIET` seconds, so not between two windows of a film. Only one that has
waited for `ENDURANCE` seconds has its turn at once, so that it ends in finite time.

The trio thread puts jobs in and waits until there are some. The worker thread takes them out. A condition guards what
both use.

Invariant: a job that was put in is taken exactly once, unless its caller has given it up before.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Generic, TypeVar

import trio

from mtpfs.session.engine import Engine
from mtpfs.session.statistics import Waits

T = TypeVar("T")

ANTICIPATION = 0.008  # seconds that a bulk job stands back after a metadata job, in case there is more to ask
BULK_SHARE = 16  # metadata jobs that may overtake a waiting bulk job before it is its turn
QUIET = 0.25  # seconds without another job after which a background job is taken
ENDURANCE = 5.0  # seconds after which a background job has its turn all the same

_numbers = itertools.count()


class Rank(IntEnum):
    """How urgent a job is: the lower one goes first."""

    METADATA = 0
    BULK = 1
    BACKGROUND = 2


@dataclass(order=True)
class Job(Generic[T]):
    """A function to be run with the wire to itself, and what became of it."""

    rank: Rank
    function: Callable[[Engine], T] = field(compare=False)
    generation: int | None = field(compare=False, default=None)
    """The generation of the object handles that it uses; None: it uses none."""
    number: int = field(default_factory=lambda: next(_numbers))
    done: trio.Event = field(compare=False, default_factory=trio.Event)
    value: T | None = field(compare=False, default=None)
    error: Exception | None = field(compare=False, default=None)
    cancelled: bool = field(compare=False, default=False)
    repeated: bool = field(compare=False, default=False)
    queued_at: float = field(compare=False, default_factory=time.monotonic)


class JobQueue:
    """The jobs that wait for the wire."""

    def __init__(self) -> None:
        self.waits = (Waits(), Waits(), Waits())
        """How long they have waited, by rank."""
        self._jobs: list[Job[Any]] = []
        self._condition = threading.Condition()
        self._arrival = trio.Event()
        self._is_closed = False
        self._overtaken = 0
        self._metadata_done = 0.0
        self._other_done = 0.0
        """When a job that isn't a background job was done last."""

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job[Any]) -> None:
        """Add a job; on the trio thread."""
        self.put_back(job)
        self._arrival.set()

    def put_back(self, job: Job[Any]) -> None:
        """Have a job that was taken run again, in its old place. May be called from any thread."""
        with self._condition:
            heapq.heappush(self._jobs, job)
            self._condition.notify()

    def close(self) -> list[Job[Any]]:
        """Return what still waits: nothing is taken any more, and who waits for a job gets None at once."""
        with self._condition:
            left, self._jobs = self._jobs, []
            self._is_closed = True
            self._condition.notify_all()
        return left

    async def wait(self) -> None:
        """Wait, on the trio thread, until there is a job."""
        while not self._jobs:
            self._arrival = trio.Event()
            await self._arrival.wait()

    def take(self, patience: float) -> Job[Any] | None:
        """Take the next job; None if none comes in `patience` seconds. May be called from any thread."""
        with self._condition:
            while True:
                self._condition.wait_for(lambda: self._jobs or self._is_closed, patience)
                if not self._jobs:
                    return None
                first = self._jobs[0]
                if first.rank is Rank.BACKGROUND and patience:
                    due = min(self._other_done + QUIET, first.queued_at + ENDURANCE)
                    self._condition.wait_for(
                        lambda: not self._jobs or self._jobs[0].rank is not Rank.BACKGROUND,
                        max(0.0, due - time.monotonic()),
                    )
                elif first.rank and first.queued_at < self._metadata_done and self._overtaken < BULK_SHARE:
                    # It competes with a caller that has just had an answer, and is likely to ask more.
                    expected = self._metadata_done + ANTICIPATION - time.monotonic()
                    self._condition.wait_for(
                        lambda: not (self._jobs and self._jobs[0].rank), max(0.0, expected)
                    )
                if not self._jobs:
                    continue  # the session is being closed
                job = self._next()
                if not job.cancelled:
                    self.waits[job.rank].add(time.monotonic() - job.queued_at)
                    return job

    def finished(self, job: Job[Any]) -> None:
        """Note that a job that was taken is done."""
        now = time.monotonic()
        if job.rank is Rank.METADATA:
            self._metadata_done = now
        if job.rank is not Rank.BACKGROUND:
            self._other_done = now

    def _next(self) -> Job[Any]:
        overdue: list[Job[Any]] = []
        if self._overtaken >= BULK_SHARE:
            overdue = [job for job in self._jobs if job.rank is Rank.BULK]
        if not overdue and len(self._jobs) > 1 and self._jobs[0].rank is not Rank.BACKGROUND:
            since = time.monotonic() - ENDURANCE
            overdue = [job for job in self._jobs if job.rank is Rank.BACKGROUND and job.queued_at < since]
        if overdue:
            self._overtaken = 0
            job = min(overdue)
            self._jobs.remove(job)
            heapq.heapify(self._jobs)
            return job
        job = heapq.heappop(self._jobs)
        self._overtaken = 0 if job.rank else self._overtaken + 1
        return job
