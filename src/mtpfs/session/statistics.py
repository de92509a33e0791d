"""What a session has done so far, counted as it goes.

These are plain counters where the work happens. Waits keep their count, sum and maximum for ever, and the last
`RECENT` ones for the percentile. So the record of a mount that lives for weeks stays small.

Invariant: a snapshot is a value; it never changes afterwards.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

RECENT = 1024  # waits of which the 99th percentile is taken


@dataclass(frozen=True, slots=True)
class WaitStatistics:
    """How long jobs of one class have waited for the wire, in seconds."""

    count: int
    mean: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot of what the session has done since it was opened."""

    transactions: int
    operations: dict[str, int]
    """Transactions by the operation's name."""
    bytes_in: int
    bytes_out: int
    queued: int
    """Jobs that wait for the wire now."""
    metadata_waits: WaitStatistics
    bulk_waits: WaitStatistics
    recoveries: int
    returns: int
    """How often the device was unplugged and came back."""


class Waits:
    """Collects the waits of one class of jobs."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._longest = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, seconds: float) -> None:
        """Count one wait, in seconds."""
        self._count += 1
        self._sum += seconds
        self._longest = max(self._longest, seconds)
        self._recent.append(seconds)

    def snapshot(self) -> WaitStatistics:
        """Return what the waits have been so far; zeros if there were none."""
        if not self._count:
            return WaitStatistics(0, 0.0, 0.0, 0.0)
        recent = sorted(self._recent)
        p99 = recent[-(-99 * len(recent) // 100) - 1]
        return WaitStatistics(self._count, self._sum / self._count, p99, self._longest)
