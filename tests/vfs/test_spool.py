"""The local copy of a file's contents, while a thread sends from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from mtpfs.errors import StoppedError
from mtpfs.protocol.codes import Operation
from mtpfs.session import DataSource, Engine
from mtpfs.vfs.spool import Spool
from vfs.world import world


def _filled(data: bytes) -> Spool:
    spool = Spool()
    spool.write_now(0, data)
    return spool


def test_closed_while_it_is_sent() -> None:
    """Sending ends when the last user has gone: the descriptor's number may be another file's by then."""
    spool = _filled(b"mine")
    source, room = spool.source(), bytearray(4)
    assert source.fill(0, memoryview(room)) == 4
    assert room == b"mine"
    spool.drop()
    others = [_filled(b"else") for _ in range(10)]  # one of them has the number now
    with pytest.raises(StoppedError):
        source.fill(0, memoryview(room))
    assert room == b"mine"
    for other in others:
        other.drop()


async def test_given_up_by_whom_nobody_waits_for(tmp_path: Path) -> None:
    """A spool that is closed after its sender was cancelled ends the sending, and the session goes on."""
    async with world(tmp_path) as w:
        started = trio.Event()
        token = trio.lowlevel.current_trio_token()
        spool = _filled(bytes(1 << 20))
        source = spool.source()
        dropped = False

        def fill(offset: int, room: memoryview) -> int:
            nonlocal dropped
            if not dropped:
                dropped = True
                token.run_sync_soon(started.set)
                trio.from_thread.run_sync(scope.cancel, trio_token=token)
                trio.from_thread.run_sync(spool.drop, trio_token=token)
            return source.fill(offset, room)

        def send(engine: Engine) -> None:
            engine.transact(Operation.SendObject, data=DataSource(spool.size, fill))

        with trio.CancelScope() as scope:
            await w.fs.device.session.run(send)
        assert scope.cancelled_caught
        await w.put(b"f", b"something else")
        assert (tmp_path / "f").read_bytes() == b"something else"
