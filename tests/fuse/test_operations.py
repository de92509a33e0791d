"""What the kernel is answered, without a kernel: pyfuse3's operations over a filesystem on a virtual phone."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from mtpfs.errors import FsError, ResponseError, TransportGoneError, TransportTimeoutError
from mtpfs.fuse.operations import BLOCK_SIZE, Operations
from mtpfs.protocol.codes import Operation, Response
from mtpfs.settings import STATISTICS_NAME, Settings
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from vfs.world import World, world

CTX: Any = None
"""Who asks: the adapter doesn't look at it."""


@asynccontextmanager
async def adapted(phone: Path, words: str = "", **settings: Any) -> AsyncIterator[tuple[Operations, World]]:
    """Have the operations on a virtual phone."""
    async with world(phone, words) as w:
        yield Operations(w.fs, Settings(**settings), {}), w


def fields(**changed: bool) -> Any:
    """Return what setattr is told to change."""
    names = ("update_size", "update_mtime", "update_mode", "update_uid", "update_gid", "update_atime")
    return SimpleNamespace(**dict.fromkeys(names, False) | changed)


def attributes(**values: int) -> pyfuse3.EntryAttributes:
    found = pyfuse3.EntryAttributes()
    for name, value in values.items():
        setattr(found, name, value)
    return found


async def failure(call: Callable[..., Any], *arguments: Any) -> int:
    """Return the errno that a program gets."""
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await call(*arguments)
    return caught.value.errno


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (FsError(errno.ENOTEMPTY), errno.ENOTEMPTY),
        (ResponseError(Operation.SendObject, Response.StoreFull), errno.ENOSPC),
        (ResponseError(Operation.SendObject, 0x2FFF), errno.EIO),
        (TransportTimeoutError("late"), errno.EIO),
        (TransportGoneError("gone"), errno.ENODEV),
        (OSError(errno.EDQUOT, "full"), errno.EDQUOT),
        (OSError("no number"), errno.EIO),
        (KeyError("a bug"), errno.EIO),
    ],
    ids=repr,
)
async def test_errors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    raised: Exception,
    code: int,
) -> None:
    """Every exception becomes an errno; only a bug is logged with a traceback, and each with the path."""
    caplog.set_level("DEBUG", "mtpfs.fuse.operations")
    async with adapted(tmp_path) as (ops, w):

        async def fail(*_: object) -> None:
            raise raised

        monkeypatch.setattr(w.fs, "rmdir", fail)
        assert await failure(ops.rmdir, w.root.ino, b"d", CTX) == code
    (record,) = [record for record in caplog.records if record.name == "mtpfs.fuse.operations"]
    assert record.getMessage().startswith(f"rmdir {w.root.path}/d")
    assert bool(record.exc_info) == isinstance(raised, KeyError)


async def test_vanished_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its number it is ESTALE, on which the kernel looks for the name again; by its name it isn't there."""
    for name in ("f", "g"):
        (tmp_path / name).touch()
    async with adapted(tmp_path, "no-events") as (ops, w):
        inodes = [(await ops.lookup(w.root.ino, name, CTX)).st_ino for name in (b"f", b"g")]
        for name in ("f", "g"):
            (tmp_path / name).unlink()
        assert await w.fs.tree.look(w.root) == []  # by now the phone has noticed
        (tmp_path / "g").mkdir()
        for ino in inodes:
            w.fs.node(ino).attributes_stale = True  # a change was announced
        assert stat.S_ISDIR((await ops.lookup(w.root.ino, b"g", CTX)).st_mode)
        for ino in inodes:
            assert await failure(ops.open, ino, os.O_RDWR, CTX) == errno.ESTALE
        assert await failure(ops.lookup, w.root.ino, b"f", CTX) == errno.ENOENT

        async def fail(*_: object, **__: object) -> None:
            raise ResponseError(Operation.GetObjectInfo, Response.InvalidObjectHandle)

        monkeypatch.setattr(w.fs, "open", fail)
        monkeypatch.setattr(w.fs, "unlink", fail)
        assert await failure(ops.open, inodes[0], os.O_RDWR, CTX) == errno.ESTALE
        assert await failure(ops.unlink, w.root.ino, b"f", CTX) == errno.ENOENT


async def test_attributes(tmp_path: Path) -> None:
    """Mode, owner and times are the settings' and the phone's; blocks are of 512 bytes."""
    (tmp_path / "f").write_bytes(b"x" * 513)
    os.utime(tmp_path / "f", (1_600_000_000,) * 2)
    async with adapted(tmp_path, uid=5, gid=6, fmask=0o137, dmask=0o027, ttl=3.0) as (ops, w):
        file = await ops.lookup(w.root.ino, b"f", CTX)
        assert file.st_mode == stat.S_IFREG | 0o640
        assert (file.st_uid, file.st_gid, file.st_nlink) == (5, 6, 1)
        assert (file.st_size, file.st_blocks, file.st_blksize) == (513, 2, BLOCK_SIZE)
        assert file.st_mtime_ns == file.st_atime_ns == file.st_ctime_ns == 1_600_000_000 * 10**9
        assert (file.attr_timeout, file.entry_timeout) == (3.0, 3.0)
        folder = await ops.getattr(w.root.ino, CTX)
        assert folder.st_mode == stat.S_IFDIR | 0o750
        assert folder.st_nlink == 2


async def test_lookups_are_counted(tmp_path: Path) -> None:
    """Replies that make the kernel remember an inode count, others don't; what it has forgotten all of is stale."""
    (tmp_path / "f").touch()
    async with adapted(tmp_path) as (ops, w):
        ino = (await ops.lookup(w.root.ino, b"f", CTX)).st_ino
        node = w.fs.node(ino)
        before = node.lookups
        await ops.getattr(ino, CTX)
        assert node.lookups == before
        await ops.lookup(w.root.ino, b"f", CTX)
        assert node.lookups == before + 1
        await ops.forget([(ino, 1)])
        assert node.lookups == before
        made = await ops.mkdir(w.root.ino, b"d", 0o755, CTX)
        assert w.fs.node(made.st_ino).lookups == 1
        assert await failure(ops.getattr, 999_999, CTX) == errno.ESTALE


async def test_readdir_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that doesn't fit isn't counted, and comes first the next time; a new start lists anew."""
    for name in "abcd":
        (tmp_path / name).touch()
    room = 0
    told: list[tuple[bytes, int]] = []

    def reply(_: object, name: bytes, entry: pyfuse3.EntryAttributes, position: int) -> bool:
        nonlocal room
        if not room:
            return False
        room -= 1
        told.append((name, position))
        assert entry.st_ino
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    token: Any = None
    async with adapted(tmp_path) as (ops, w):
        handle = await ops.opendir(w.root.ino, CTX)
        room = 3
        await ops.readdir(handle, 0, token)
        assert [name for name, _ in told] == [b"a", b"b", b"c"]
        assert w.root.children[b"c"].lookups == 1
        assert w.root.children[b"d"].lookups == 0
        await ops.unlink(w.root.ino, b"b", CTX)
        room = 9
        await ops.readdir(handle, told[0][1], token)  # the kernel may go back
        assert [name for name, _ in told[3:]] == [b"c", b"d"]
        await ops.readdir(handle, 0, token)
        assert [name for name, _ in told[5:]] == [b"a", b"c", b"d"]
        await ops.releasedir(handle)
        file = w.root.children[b"a"].ino
        assert await failure(ops.opendir, file, CTX) == errno.ENOTDIR


async def test_readdir_leaves_out_what_has_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was moved to another directory since the listing began isn't told as an entry of this one."""
    for name in ("a", "b", "c"):
        (tmp_path / "from" / name).mkdir(parents=True)
    (tmp_path / "to").mkdir()
    told: list[bytes] = []

    def reply(_: object, name: bytes, entry: pyfuse3.EntryAttributes, position: int) -> bool:
        if len(told) == room:
            return False
        told.append(name)
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    token: Any = None
    async with adapted(tmp_path) as (ops, w):
        source = (await ops.lookup(w.root.ino, b"from", CTX)).st_ino
        target = (await ops.lookup(w.root.ino, b"to", CTX)).st_ino
        handle = await ops.opendir(source, CTX)
        room = 1
        await ops.readdir(handle, 0, token)
        await ops.rename(source, b"b", target, b"moved", 0, CTX)
        await ops.rename(source, b"c", source, b"renamed", 0, CTX)
        room = 9
        await ops.readdir(handle, 1, token)
        assert told == [b"a", b"renamed"]
        await ops.releasedir(handle)


@pytest.mark.parametrize("more", [0, os.O_TRUNC, os.O_EXCL], ids=["plain", "trunc", "excl"])
async def test_create_of_what_the_phone_has_just_made(tmp_path: Path, more: int) -> None:
    """The kernel has looked before it asks to create: what has come since is opened, unless that was ruled out."""
    async with adapted(tmp_path) as (ops, w):
        assert await failure(ops.lookup, w.root.ino, b"f", CTX) == errno.ENOENT
        (tmp_path / "f").write_bytes(b"the phone's")
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        flags = os.O_CREAT | os.O_WRONLY | more
        if more & os.O_EXCL:
            assert await failure(ops.create, w.root.ino, b"f", 0o644, flags, CTX) == errno.EEXIST
            return
        info, entry = await ops.create(w.root.ino, b"f", 0o644, flags, CTX)
        assert entry.st_size == (0 if more else 11)
        await ops.write(info.fh, 0, b"THE")
        await ops.flush(info.fh)
        await ops.release(info.fh)
    assert (tmp_path / "f").read_bytes() == (b"THE" if more else b"THE phone's")


async def test_setattr(tmp_path: Path) -> None:
    """Size and date are set, each only when it is asked for; mode and owner are accepted, and stay."""
    (tmp_path / "f").write_bytes(b"contents")
    async with adapted(tmp_path) as (ops, w):
        ino = (await ops.lookup(w.root.ino, b"f", CTX)).st_ino
        wanted = attributes(st_size=3, st_mtime_ns=10**18, st_mode=0o777, st_uid=77)
        kept = await ops.setattr(ino, wanted, fields(update_mode=True, update_uid=True), None, CTX)
        assert (tmp_path / "f").read_bytes() == b"contents"
        assert stat.S_IMODE(kept.st_mode) != 0o777
        assert kept.st_uid != 77
        cut = await ops.setattr(ino, wanted, fields(update_size=True), None, CTX)
        assert cut.st_size == 3
        assert cut.st_mtime_ns != 10**18
        assert (tmp_path / "f").read_bytes() == b"con"
        dated = await ops.setattr(ino, wanted, fields(update_mtime=True), None, CTX)
        assert dated.st_mtime_ns == 10**18


async def test_rename_flags(tmp_path: Path) -> None:
    """RENAME_NOREPLACE keeps what is there, no flag replaces it, RENAME_EXCHANGE isn't possible."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    async with adapted(tmp_path) as (ops, w):
        names = (w.root.ino, b"a", w.root.ino, b"b")
        assert await failure(ops.rename, *names, 1, CTX) == errno.EEXIST
        assert await failure(ops.rename, *names, 2, CTX) == errno.EINVAL
        assert (tmp_path / "b").read_bytes() == b"b"
        await ops.rename(*names, 0, CTX)
        assert (tmp_path / "b").read_bytes() == b"a"
        assert not (tmp_path / "a").exists()


async def test_statfs(tmp_path: Path) -> None:
    """Sizes are in blocks of 4 KiB."""
    async with adapted(tmp_path, "capacity=40960") as (ops, _):
        space = await ops.statfs(CTX)
        assert (space.f_frsize, space.f_blocks, space.f_bfree, space.f_bavail) == (4096, 10, 10, 10)


async def test_pages_are_kept_while_nothing_changed(tmp_path: Path) -> None:
    """The second open keeps the kernel's pages; the one after a change does not."""
    (tmp_path / "f").write_bytes(b"contents")
    async with adapted(tmp_path) as (ops, w):
        ino = (await ops.lookup(w.root.ino, b"f", CTX)).st_ino
        kept = []
        for size in (8, 8, 5, 5):
            await ops.setattr(
                ino, attributes(st_size=size), fields(update_size=size != w.fs.node(ino).size), None, CTX
            )
            info = await ops.open(ino, os.O_RDONLY, CTX)
            assert not info.direct_io
            kept.append(info.keep_cache)
            await ops.release(info.fh)
        assert kept == [False, True, False, True]


async def test_unknown_size(tmp_path: Path) -> None:
    """A file of 4 GiB or more, on a device that can't say how much, is read until the device says that it ends.

    The kernel would stop at the size that it knows, so its pages aren't used. They are where the size is known.
    """
    end = (4 << 30) + 5  # bytes
    with (tmp_path / "f").open("wb") as file:
        file.seek(end - 5)
        file.write(b"last.")
    async with adapted(tmp_path, "no-proplist") as (ops, w):
        fault = Fault(Kind.REFUSE, Operation.GetObjectPropValue, code=Response.ObjectPropNotSupported)
        w.transport.faults.add(replace(fault, times=FOREVER))
        found = await ops.lookup(w.root.ino, b"f", CTX)
        assert found.st_size == 0xFFFFFFFF
        for _ in range(2):
            info = await ops.open(found.st_ino, os.O_RDONLY, CTX)
            assert info.direct_io
            assert not info.keep_cache
            assert bytes(await ops.read(info.fh, end - 8, 4096)) == b"\0\0\0last."
            assert bytes(await ops.read(info.fh, end - 2, 2)) == b"t."
            assert bytes(await ops.read(info.fh, end, 4096)) == b""
            await ops.release(info.fh)
        (tmp_path / "f").write_bytes(b"short")
        w.fs.tree.expire()
        await ops.lookup(w.root.ino, b"f", CTX)
        info = await ops.open(found.st_ino, os.O_RDONLY, CTX)
        assert not info.direct_io
        await ops.release(info.fh)


async def test_statistics(tmp_path: Path) -> None:
    """A file that no listing has, read around the kernel's pages, and never written."""
    async with adapted(tmp_path) as (ops, w):
        ino = (await ops.lookup(pyfuse3.ROOT_INODE, STATISTICS_NAME.encode(), CTX)).st_ino
        assert await failure(ops.open, ino, os.O_WRONLY, CTX) == errno.EACCES
        before = w.transactions
        info = await ops.open(ino, os.O_RDONLY, CTX)
        assert info.direct_io
        text = await ops.read(info.fh, 0, 1 << 20)
        assert json.loads(text)["session"]["transactions"] == before == w.transactions
        assert await ops.read(info.fh, 2, 5) == text[2:7]
        await ops.flush(info.fh)
        await ops.release(info.fh)
        assert info.fh not in ops.report


async def test_what_mtp_lacks(tmp_path: Path) -> None:
    """Links and devices are EPERM; extended attributes are ENOSYS, after which the kernel doesn't ask again."""
    (tmp_path / "f").touch()
    async with adapted(tmp_path) as (ops, w):
        root, ino = w.root.ino, (await ops.lookup(w.root.ino, b"f", CTX)).st_ino
        assert await failure(ops.symlink, root, b"s", b"f", CTX) == errno.EPERM
        assert await failure(ops.link, ino, root, b"l", CTX) == errno.EPERM
        assert await failure(ops.mknod, root, b"p", stat.S_IFIFO | 0o600, 0, CTX) == errno.EPERM
        assert await failure(ops.getxattr, ino, b"user.x", CTX) == errno.ENOSYS
        assert await failure(ops.listxattr, ino, CTX) == errno.ENOSYS
        made = await ops.mknod(root, b"m", stat.S_IFREG | 0o600, 0, CTX)
        assert made.st_size == 0
        assert (tmp_path / "m").read_bytes() == b""
