"""Who asks: the same scenes on a mount, through the kernel, and without one, through a model of it.

The model asks as Linux does for a mount of an ordinary user: a directory in pages, with attributes; a name once; a file
that is read from its start in requests of 128 KiB, two at a time; what is written, in requests of 1 MiB. It exists
because the real kernel's requests come in another order each time, and what they cost us then differs, too.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import pyfuse3
import pytest
import trio

from mtpfs.fuse.connection import KernelNotifier
from mtpfs.fuse.operations import Operations

KIB, MIB = 1 << 10, 1 << 20
PAGE = 4096  # bytes of a directory that are asked for at once
ENTRY = 152  # bytes that an entry takes there, beside its name
DATA = b"x" * MIB  # not zeros, which would have no memory yet: then the kernel splits a write
ANYONE: Any = None
"""The adapter doesn't look at who asks."""


class User(Protocol):
    """What programs do. Paths are relative to the phone's storage."""

    async def look(self, directory: str) -> list[str]:
        """Return the names in a directory, having asked for the attributes of each."""

    async def read(self, path: str, *ranges: tuple[int, int], request: int = 128 * KIB) -> None:
        """Open a file, read ranges (offset, count) of it, each in requests of that size, and close it."""

    async def write(self, path: str, size: int) -> None:
        """Create a file of so many bytes."""

    async def rename(self, old: str, new: str) -> None:
        """Rename a file in its directory."""

    async def make(self, directory: str) -> None:
        """Create a directory."""

    async def remove(self, path: str) -> None:
        """Remove a file."""

    async def remove_folder(self, path: str) -> None:
        """Remove an empty directory."""


class OnMount:
    """Programs on a mount: `root` is the storage's directory there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def look(self, directory: str) -> list[str]:
        with os.scandir(self._root / directory) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        return sorted(name for name, _ in found)

    async def read(self, path: str, *ranges: tuple[int, int], request: int = 128 * KIB) -> None:
        file = os.open(self._root / path, os.O_RDONLY)
        try:
            for offset, count in ranges:
                for at in range(offset, offset + count, request):
                    os.pread(file, min(request, offset + count - at), at)
        finally:
            os.close(file)

    async def write(self, path: str, size: int) -> None:
        file = os.open(self._root / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            for at in range(0, size, MIB):
                os.write(file, memoryview(DATA)[: size - at])
        finally:
            os.close(file)

    async def rename(self, old: str, new: str) -> None:
        (self._root / old).rename(self._root / new)

    async def make(self, directory: str) -> None:
        (self._root / directory).mkdir()

    async def remove(self, path: str) -> None:
        (self._root / path).unlink()

    async def remove_folder(self, path: str) -> None:
        (self._root / path).rmdir()


class Modelled:
    """Programs above a model of the kernel, which asks the operations. `root` is the storage's inode number."""

    def __init__(self, operations: Operations, root: int, patch: pytest.MonkeyPatch) -> None:
        self._operations = operations
        self._root = root
        self._names: dict[tuple[int, str], int] = {}
        self._sizes: dict[int, int] = {}
        self._lookups: Counter[int] = Counter()
        patch.setattr(pyfuse3, "readdir_reply", self._reply)
        patch.setattr(KernelNotifier, "forget_attributes", lambda _ino: None)

    def _reply(self, token: Any, name: bytes, entry: pyfuse3.EntryAttributes, position: int) -> bool:
        """Take one entry of a directory, if there is room for it in the page."""
        page: dict[str, Any] = token
        size = ENTRY + -(-len(name) // 8) * 8
        if page["room"] < size:
            return False
        page["room"] -= size
        page["found"].append((name.decode(), position))
        self._know(page["ino"], name.decode(), entry)
        return True

    def _know(self, parent: int, name: str, entry: pyfuse3.EntryAttributes) -> int:
        self._names[parent, name] = entry.st_ino
        self._sizes[entry.st_ino] = entry.st_size
        self._lookups[entry.st_ino] += 1
        return int(entry.st_ino)

    async def _find(self, path: str) -> int:
        ino = self._root
        for name in filter(None, path.split("/")):
            known = self._names.get((ino, name))
            if known is None:
                entry = await self._operations.lookup(ino, name.encode(), ANYONE)
                known = self._know(ino, name, entry)
            ino = known
        return ino

    async def _place(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        return await self._find(parent), name

    async def _look_in_vain(self, parent: int, name: str) -> None:
        with pytest.raises(pyfuse3.FUSEError):
            await self._operations.lookup(parent, name.encode(), ANYONE)

    async def look(self, directory: str) -> list[str]:
        ino = await self._find(directory)
        handle = await self._operations.opendir(ino, ANYONE)
        names: list[str] = []
        position = 0
        while True:
            page: dict[str, Any] = {"room": PAGE, "found": [], "ino": ino}
            token: Any = page
            await self._operations.readdir(handle, position, token)
            if not page["found"]:
                break
            names += (name for name, _ in page["found"])
            position = page["found"][-1][1]
        await self._operations.releasedir(handle)
        return names

    async def read(self, path: str, *ranges: tuple[int, int], request: int = 128 * KIB) -> None:
        ino = await self._find(path)
        opened = await self._operations.open(ino, os.O_RDONLY, ANYONE)
        for offset, count in ranges:
            await self._read_range(opened.fh, offset, min(count, self._sizes[ino] - offset), request)
        await self._operations.flush(opened.fh)
        await self._operations.release(opened.fh)

    async def _read_range(self, handle: int, offset: int, count: int, request: int) -> None:
        """Read in requests of that size, two at a time."""
        requests = [(at, min(request, offset + count - at)) for at in range(offset, offset + count, request)]
        for pair in _pairs(requests):
            async with trio.open_nursery() as nursery:
                for at, size in pair:
                    nursery.start_soon(self._read_once, handle, at, size)

    async def _read_once(self, handle: int, offset: int, count: int) -> None:
        data = await self._operations.read(handle, offset, count)
        assert len(data) == count

    async def write(self, path: str, size: int) -> None:
        parent, name = await self._place(path)
        await self._look_in_vain(parent, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        opened, entry = await self._operations.create(parent, name.encode(), 0o644, flags, ANYONE)
        self._know(parent, name, entry)
        for at in range(0, size, MIB):
            data = DATA if size - at >= MIB else DATA[: size - at]
            assert await self._operations.write(opened.fh, at, data) == len(data)
        await self._operations.flush(opened.fh)
        await self._operations.release(opened.fh)

    async def rename(self, old: str, new: str) -> None:
        (parent, before), (_, after) = await self._place(old), await self._place(new)
        await self._find(old)
        await self._look_in_vain(parent, after)
        await self._operations.rename(parent, before.encode(), parent, after.encode(), 0, ANYONE)
        self._names[parent, after] = self._names.pop((parent, before))

    async def make(self, directory: str) -> None:
        parent, name = await self._place(directory)
        await self._look_in_vain(parent, name)
        self._know(parent, name, await self._operations.mkdir(parent, name.encode(), 0o755, ANYONE))

    async def remove(self, path: str) -> None:
        parent, name = await self._place(path)
        await self._find(path)
        await self._operations.unlink(parent, name.encode(), ANYONE)
        await self._forget(parent, name)

    async def remove_folder(self, path: str) -> None:
        parent, name = await self._place(path)
        await self._find(path)
        await self._operations.rmdir(parent, name.encode(), ANYONE)
        await self._forget(parent, name)

    async def _forget(self, parent: int, name: str) -> None:
        ino = self._names.pop((parent, name))
        await self._operations.forget([(ino, self._lookups.pop(ino))])


def _pairs(requests: list[tuple[int, int]]) -> Iterable[list[tuple[int, int]]]:
    return (requests[at : at + 2] for at in range(0, len(requests), 2))
