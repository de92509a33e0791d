"""The record of waits."""

from __future__ import annotations

from mtpfs.session.statistics import RECENT, Waits


def test_no_waits() -> None:
    """Without any wait everything is zero."""
    assert Waits().snapshot().longest == 0.0


def test_percentile_and_maximum() -> None:
    """The 99th percentile leaves one wait in a hundred out; the longest is never forgotten."""
    waits = Waits()
    waits.add(50.0)
    for _ in range(RECENT * 99 // 100 + RECENT):
        waits.add(1.0)
    for _ in range(RECENT // 200):
        waits.add(9.0)
    found = waits.snapshot()
    assert (found.p99, found.longest) == (1.0, 50.0)
    for _ in range(RECENT // 50):
        waits.add(9.0)
    assert waits.snapshot().p99 == 9.0
