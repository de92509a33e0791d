"""A filesystem on a virtual phone, without FUSE."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from mtpfs.device import Device
from mtpfs.errors import FsError
from mtpfs.session import Session, open_session
from mtpfs.vfs import Filesystem, News, Node, Open
from mtpfs.vfs.claims import Claims
from mtpfs.vfs.openfile import OpenFile
from mtpfs.vfs.remembered import RememberedDates
from mtpfs.virtual.transport import VirtualTransport, open_virtual


@dataclass
class Kernel:
    """Remembers what the kernel would have been told."""

    gone: list[bytes] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    news: list[tuple[News, bytes]] = field(default_factory=list)
    listeners: list[Callable[[News, Node], None]] = field(default_factory=list)
    """Who else hears what has become of a name."""

    def entry_gone(self, parent_ino: int, name: bytes) -> None:
        del parent_ino
        self.gone.append(name)

    def inode_changed(self, ino: int) -> None:
        self.changed.append(ino)

    def attributes_changed(self, ino: int) -> None:
        self.changed.append(ino)

    def heard(self, news: News, node: Node) -> None:
        self.news.append((news, node.name))
        for listener in self.listeners:
            listener(news, node)


@dataclass
class World:
    """An open filesystem, its only storage, and the directory that the phone serves."""

    fs: Filesystem
    root: Node
    phone: Path
    transport: VirtualTransport
    kernel: Kernel

    @property
    def transactions(self) -> int:
        return self.fs.device.session.statistics().transactions

    @property
    def operations(self) -> dict[str, int]:
        return self.fs.device.session.statistics().operations

    def spent(self, before: dict[str, int]) -> dict[str, int]:
        """Return how many transactions of each kind there were since `before`, a copy of `operations`."""
        counted = {name: count - before.get(name, 0) for name, count in self.operations.items()}
        return {name: count for name, count in counted.items() if count}

    async def open(self, name: bytes, directory: Node | None = None, *, write: bool = True) -> Open:
        """Look a file up and open it."""
        return await self.fs.open(await self.fs.lookup(directory or self.root, name), write=write)

    async def close(self, opened: Open) -> None:
        """Close a descriptor, as a program does: what its flush raises comes out, and it is closed all the same."""
        try:
            await self.fs.flush(opened)
        finally:
            await self.fs.release(opened)

    async def put(
        self, name: bytes, data: bytes, directory: Node | None = None, *, by_mkstemp: bool = False
    ) -> Node:
        """Write a file as a program does: open or create (as mkstemp(3) does if so told), write, close."""
        directory = directory or self.root
        try:
            node = await self.fs.lookup(directory, name)
        except FsError:
            opened = await self.fs.create(
                directory, name, exclusive=by_mkstemp, mode=0o600 if by_mkstemp else 0o644
            )
        else:
            opened = await self.fs.open(node, write=True, truncate=True)
        try:
            if data:
                await self.fs.write(opened, 0, data)
            await self.fs.flush(opened)
        finally:
            await self.fs.release(opened)
        return opened.file.node

    async def get(self, node: Node) -> bytes:
        """Read a file from start to end, as the kernel does."""
        opened = await self.fs.open(node, write=False)
        try:
            pieces = [bytes(await self.fs.read(opened, at, 131072)) for at in range(0, node.size, 131072)]
        finally:
            await self.fs.release(opened)
        return b"".join(pieces)

    @property
    def claims(self) -> Claims:
        """The locks of the namespace. Who claims a directory as a subtree keeps all changes in it waiting."""
        return self.fs._names._claims

    def file(self, node: Node) -> OpenFile | None:
        """Return what is held of a file's contents: while it is open, or not saved yet."""
        return self.fs._files.of(node)

    async def names(self, directory: Node | None = None) -> list[bytes]:
        return [node.name for node in await self.fs.entries(directory or self.root)]


def phone_with_file(place: Path, monkeypatch: pytest.MonkeyPatch, contents: bytes) -> Path:
    """Return a phone's directory in `place`, with the file `f`; spools and the recovery directory lie beside it."""
    for name in ("phone", "spool"):
        (place / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(place / "spool"))
    (place / "phone/f").write_bytes(contents)
    return place / "phone"


@asynccontextmanager
async def filesystem(
    session: Session,
    kernel: Kernel | None = None,
    *,
    ttl: float = 5.0,
    storage: str = "",
    read_only: bool = False,
    dates: RememberedDates | None = None,
) -> AsyncIterator[Filesystem]:
    """Open a filesystem in a session; everything is saved at the end. `dates` may be those of an earlier one."""
    async with trio.open_nursery() as nursery:
        dates = RememberedDates() if dates is None else dates
        fs = Filesystem(
            Device(session), nursery, kernel or Kernel(), dates, ttl=ttl, storage=storage, read_only=read_only
        )
        nursery.start_soon(fs.events.follow)
        yield fs
        await fs.finish()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def world(
    phone: Path,
    words: str = "",
    *,
    ttl: float = 5.0,
    storage: str = "",
    read_only: bool = False,
    dates: RememberedDates | None = None,
) -> AsyncIterator[World]:
    """Open a filesystem on a virtual phone. Names that stay taken for a moment have tests of their own."""
    transport = open_virtual(f"{phone}?{words}{'&' if words else ''}ghost=0")
    kernel = Kernel()
    async with (
        open_session(transport) as session,
        filesystem(session, kernel, ttl=ttl, storage=storage, read_only=read_only, dates=dates) as fs,
    ):
        entries = await fs.entries(fs.tree.root)
        yield World(fs, entries[0] if entries else fs.tree.root, phone, transport, kernel)
