"""What is remembered for a moment, and for no longer."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from device.scripted import handle
from mtpfs.device.recent import MOST, Recent

Clock = trio.testing.MockClock


async def test_memory_is_bounded(autojump_clock: Clock) -> None:
    """However much is deleted, only the last few thousand are remembered."""
    recent = Recent()
    for number in range(MOST + 10):
        recent.deleted(handle(number), f"f{number}")
    assert not recent.is_ghost(handle(0))
    assert not recent.was_vacated("f0")
    assert recent.is_ghost(handle(MOST + 9))
    assert recent.was_vacated(f"F{MOST + 9}")


async def test_old_deletions_are_not_news(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A handle that turns up a minute later is another object's, and the log says nothing."""
    recent = Recent()
    recent.deleted(handle(1), "f")
    await trio.sleep(61)
    assert recent.without_ghosts([handle(1)]) == [handle(1)]
    assert not caplog.records
