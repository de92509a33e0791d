"""A phone that takes the end of an upload's data and doesn't look at it before more comes (Sailfish)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio.testing

from mtpfs.protocol.codes import Operation
from mtpfs.virtual.faults import Fault, Kind
from vfs.world import world

Clock = trio.testing.MockClock


@pytest.mark.parametrize("size", [10, 18_008, 5_000_000])
async def test_an_upload(tmp_path: Path, autojump_clock: Clock, size: int) -> None:
    """It is reminded after two seconds; the file arrives, and nothing is sent again."""
    async with world(tmp_path, "as=sailfish") as w:
        w.transport.faults.add(Fault(Kind.UNNOTICED, Operation.SendObject))
        before, began = w.operations, w.transport.monotonic()
        await w.put(b"file", b"x" * size)
        assert 1.9 < w.transport.monotonic() - began < 5
        assert w.spent(before)["SendObject"] == 1
        assert (tmp_path / "file").read_bytes() == b"x" * size


@pytest.mark.parametrize("operation", [Operation.SendPartialObject, Operation.SetObjectPropValue])
async def test_other_data(tmp_path: Path, autojump_clock: Clock, operation: Operation) -> None:
    """Pieces of an edit, and names, don't wait for long, either."""
    async with world(tmp_path, "as=sailfish") as w:
        await w.put(b"file", b"x" * 100)
        w.transport.faults.add(Fault(Kind.UNNOTICED, operation))
        began = w.transport.monotonic()
        opened = await w.open(b"file")
        await w.fs.write(opened, 50, b"y" * 1000)
        await w.close(opened)
        await w.fs.rename(w.root, b"file", w.root, b"other", replace=False)
        assert 1.9 < w.transport.monotonic() - began < 5
        assert (tmp_path / "other").read_bytes() == b"x" * 50 + b"y" * 1000


async def test_a_slow_answer(tmp_path: Path, autojump_clock: Clock) -> None:
    """A reminder that wasn't needed does no harm."""
    async with world(tmp_path, "as=sailfish") as w:
        w.transport.faults.add(Fault(Kind.LATE, Operation.SendObject, amount=30_000))
        await w.put(b"file", b"contents")
        await w.put(b"another", b"contents")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "file"]
