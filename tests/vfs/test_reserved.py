"""A phone that makes a file at its full size and with its date before it has any of its data (Sailfish)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtpfs.errors import MtpfsError
from mtpfs.protocol.codes import Operation
from mtpfs.virtual.faults import Fault, Kind
from vfs.world import world

KIND = "as=sailfish"


async def test_upload_that_ends_before_its_data(tmp_path: Path) -> None:
    """What stays behind has no name that means something, and the next mount deletes it."""
    async with world(tmp_path, KIND) as w:
        w.transport.faults.add(Fault(Kind.GONE, Operation.SendObject))
        with pytest.raises(MtpfsError):
            await w.put(b"photo", b"picture")
        left = [path.name for path in tmp_path.iterdir()]
    assert "photo" not in left
    async with world(tmp_path, KIND) as w:
        assert await w.fs.entries(w.root) == []
        await w.put(b"photo", b"picture")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"photo": b"picture"}


async def test_name_that_it_refuses_in_renames(tmp_path: Path) -> None:
    """It is sent under that name at once."""
    async with world(tmp_path, KIND) as w:
        await w.put(b"a:b", b"contents")
    assert (tmp_path / "a:b").read_bytes() == b"contents"


@pytest.mark.parametrize("old", [b"old", b"as long as it"])
async def test_replacing_what_it_refuses_in_renames(tmp_path: Path, old: bytes) -> None:
    """The new contents are sent twice. If the second time ends before its data, the first ones are still there."""
    new = b"new contents!"
    (tmp_path / "a:b").write_bytes(old)
    async with world(tmp_path, KIND) as w:
        w.transport.faults.add(Fault(Kind.GONE, Operation.SendObject, skip=1))
        with pytest.raises(MtpfsError):
            await w.put(b"a:b", new)
    assert (tmp_path / "a:b").read_bytes() == bytes(len(new))
    async with world(tmp_path, KIND) as w:
        shown = {node.name: await w.get(node) for node in await w.fs.entries(w.root)}
    assert shown == {b"a:b": new}
