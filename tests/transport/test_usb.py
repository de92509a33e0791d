"""The USB transport and everything above it, on a responder that others wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from mtpfs.device import Device
from mtpfs.errors import SetupError
from mtpfs.session import open_session
from mtpfs.transport import Transport
from mtpfs.transport.holders import describe_holders, find_holders
from mtpfs.transport.phones import UsbPhone, choose
from mtpfs.transport.source import parse_source
from mtpfs.vfs import Filesystem, News, Node
from mtpfs.vfs.remembered import RememberedDates
from transport.usbip_backend import usbip_transport


class Silence:
    """A kernel that needn't be told anything."""

    def entry_gone(self, parent_ino: int, name: bytes) -> None:
        pass

    def inode_changed(self, ino: int) -> None:
        pass

    def heard(self, news: News, node: Node) -> None:
        """Say nothing."""

    def attributes_changed(self, ino: int) -> None:
        pass


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """What the phone has when it is plugged in: this responder doesn't notice what comes later."""
    (tmp_path / "large").write_bytes(os.urandom(1_500_000))
    (tmp_path / "folder").mkdir()
    for number in range(30):
        (tmp_path / f"folder/file{number}").write_bytes(b"x" * number)
    return tmp_path


async def test_filesystem_on_the_others_responder(filled: Path) -> None:
    """Listing, reading, writing, editing, renaming and deleting work with a responder that isn't ours."""
    with usbip_transport(filled) as transport:
        await exercise(transport, filled)


async def exercise(transport: Transport, tmp_path: Path) -> None:
    data = (tmp_path / "large").read_bytes()
    async with open_session(transport) as session, trio.open_nursery() as nursery:
        fs = Filesystem(Device(session), nursery, Silence(), RememberedDates())
        (storage,) = await fs.entries(fs.tree.root)
        folder = await fs.lookup(storage, b"folder")
        sizes = {node.name: node.size for node in await fs.entries(folder)}
        assert sizes == {b"file%d" % number: number for number in range(30)}

        large = await fs.lookup(storage, b"large")
        opened = await fs.open(large, write=False)
        pieces = [await fs.read(opened, at, 131072) for at in range(0, len(data), 131072)]
        assert b"".join(bytes(piece) for piece in pieces) == data
        await fs.release(opened)

        for size in (0, 1, 500, 1012, 100_000):
            opened = await fs.create(storage, b"new%d" % size)
            if size:
                await fs.write(opened, 0, data[:size])
            await fs.flush(opened)
            await fs.release(opened)
            assert (tmp_path / f"new{size}").read_bytes() == data[:size]

        opened = await fs.open(await fs.lookup(storage, b"new500"), write=True)
        await fs.write(opened, 100, b"changed")
        await fs.flush(opened)
        await fs.release(opened)
        assert (tmp_path / "new500").read_bytes() == data[:100] + b"changed" + data[107:500]

        await fs.rename(storage, b"new500", storage, b"renamed")
        await fs.rename(storage, b"renamed", folder, b"moved")
        assert (tmp_path / "folder/moved").exists()
        await fs.mkdir(storage, b"made")
        await fs.rmdir(storage, b"made")
        await fs.unlink(storage, b"new1")
        assert sorted(os.listdir(tmp_path)) == ["folder", "large", "new0", "new100000", "new1012"]
        nursery.cancel_scope.cancel()


def test_holders_are_named(tmp_path: Path) -> None:
    """The process that has the node open is found, by name and pid."""
    node = tmp_path / "node"
    node.touch()
    code = f"import sys; f = open({str(node)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        (found,) = find_holders(str(node))
        assert found.pid == holder.pid
        assert f"(pid {holder.pid})" in describe_holders(str(node))
        assert holder.stdin is not None
        holder.stdin.close()
    assert find_holders(str(node)) == []
    assert "usual suspects" in describe_holders(str(node))


def phone(serial: str, address: int) -> UsbPhone:
    return UsbPhone(1, address, 0x18D1, 0x4EE1, "Google", "Pixel", serial, 0, 0x81, 1, 0x82, 512)


@pytest.mark.parametrize("text", ["any", "serial:A", "bus:001,005"])
def test_choosing(text: str) -> None:
    """Each kind of source finds its phone."""
    assert choose([phone("A", 5)], parse_source(text)).serial == "A"
    if text != "any":
        assert choose([phone("A", 5), phone("B", 6)], parse_source(text)).serial == "A"


def test_choosing_is_never_a_guess() -> None:
    """Two that fit, or none, are an error that lists what there is."""
    for text in ("any", "usb:18d1:4ee1"):
        with pytest.raises(SetupError, match=r"serial:A.*serial:B"):
            choose([phone("A", 5), phone("B", 6)], parse_source(text))
    with pytest.raises(SetupError, match=r"no device fits serial:C.*serial:A"):
        choose([phone("A", 5)], parse_source("serial:C"))
    with pytest.raises(SetupError, match="File transfer"):
        choose([], parse_source("any"))


@pytest.mark.parametrize(
    "text", ["serial:", "usb:18d1", "usb:18d1:4ee", "bus:1", "bus:a,b", "virtual:", "/dev/x", "x"]
)
def test_bad_sources(text: str) -> None:
    """A source that is none is named."""
    with pytest.raises(SetupError, match="no such source"):
        parse_source(text)
