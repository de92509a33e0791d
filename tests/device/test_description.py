"""What was learned of a device, in words."""

from __future__ import annotations

from datetime import timedelta, timezone
from pathlib import Path

from device.scripted import STORAGE, scripted
from device.world import world
from mtpfs.device.description import describe, learned
from mtpfs.protocol.codes import Operation


async def test_nothing_learned(tmp_path: Path) -> None:
    """Of a phone that was just opened nothing has been learned."""
    async with world(tmp_path) as w:
        description = await describe(w.device)
        assert description.learned == {}
        assert description.quirks == ("folds",)


async def test_all_that_can_be_learned() -> None:
    """Everything that is found out has its line."""
    device, _ = scripted({})
    device.operations.withdraw(Operation.GetPartialObject64, "it answers with nothing")
    device.room.note_caught()
    await device.room.must_confirm(STORAGE, 1)
    await device.room.is_short(STORAGE, 1)
    device.recent.deletions_undone = 2
    device.dates_in_lists = False
    device.keeps_dates = False
    device.dates_writable = False
    device.zone = timezone(timedelta(hours=2))
    device.wide_object_info = True
    device.learned_folding(STORAGE, folds=False)
    device.formats_refused.add(0x3009)
    device.untrusted = True
    assert learned(device) == {
        "GetPartialObject64": "not used: it answers with nothing",
        "sizes": "caught answering OK with less than it was sent, 1 times",
        "deletion": "answered OK and not done, 2 times",
        "dates in lists": "false; ObjectInfo tells them",
        "dates of uploads": "not kept",
        "dates of existing files": "can't be set",
        "time zone": "UTC+02:00",
        "ObjectInfo": "with 64-bit sizes",
        "letter case on 0x00010001": "told apart",
        "object formats": "listed and refused: 0x3009",
        "storages": "one is listed that isn't described",
        "free room of 0x00010001": "not told in a way that can be believed",
    }
