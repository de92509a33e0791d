"""A replacement that breaks off, of a file whose name can't stand in a temporary name as it is."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from mtpfs.errors import FsError, MtpfsError
from mtpfs.protocol.codes import Operation
from mtpfs.virtual.faults import Fault, Kind
from phones import WRITABLE_PERSONALITIES, name
from vfs.world import world

OLD, NEW = b"old", b"new contents"


@pytest.mark.parametrize("words", WRITABLE_PERSONALITIES, ids=name)
@pytest.mark.parametrize(
    "operation", [Operation.SendObject, Operation.SetObjectPropValue, Operation.DeleteObject]
)
@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("file", ["100% sure.mp3", "a;b.mp3"])
async def test_replacing(tmp_path: Path, words: str, operation: Operation, skip: int, file: str) -> None:
    """The next mount shows it under its own name, whole, and nothing beside it (uMTP-Responder alters `;`)."""
    (tmp_path / file).write_bytes(OLD)
    async with world(tmp_path, words) as w:
        w.transport.faults.add(Fault(Kind.GONE, operation, skip=skip))
        with suppress(MtpfsError):
            await w.put(file.encode(), NEW)
    async with world(tmp_path, words) as w:
        # The trial of an odd name may have been broken off, too: it leaves an empty folder.
        files = [node for node in await w.fs.entries(w.root) if not node.is_folder]
        shown = {node.name: await w.get(node) for node in files}
    assert shown in ({file.encode(): OLD}, {file.encode(): NEW})


async def test_replacing_what_has_a_name_that_the_phone_would_alter(tmp_path: Path) -> None:
    """It is refused. Neither that file is lost, nor the one that has the altered name."""
    (tmp_path / "a;b.mp3").write_bytes(OLD)
    (tmp_path / "a_b.mp3").write_bytes(b"another")
    async with world(tmp_path, "as=umtp") as w:
        with pytest.raises(FsError) as caught:
            await w.put(b"a;b.mp3", NEW)
        assert caught.value.errno == errno.EINVAL
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert contents == {"a;b.mp3": OLD, "a_b.mp3": b"another"}
