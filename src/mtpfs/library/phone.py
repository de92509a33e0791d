"""A phone: every operation by path.

Each path is looked up anew in the tree, from its root. That costs nothing while the listings on the way are known. So
no node is held between two calls, and what vanishes in the middle (ESTALE) is looked up once more, as the kernel does.
Everything that changes something goes through the vfs, with its claims and its saving.

Nothing replaces anything unless it is told to: `replace` is False everywhere.
"""

from __future__ import annotations

import errno
import math
import os
import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from mtpfs.errors import FsError, MtpfsError
from mtpfs.library import local
from mtpfs.library.errors import about, os_error
from mtpfs.library.file import PIECE, File
from mtpfs.library.values import Entry, Event, EventKind, Storage, checked_copy, entry_of, path_of
from mtpfs.protocol.wire import Value
from mtpfs.vfs import Filesystem, News, Node, Open
from mtpfs.vfs.spool import Spool

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all): called now and then, on trio's thread."""
FIRST_PIECE = 4 << 20  # bytes: a file up to this comes in one transaction
HOP = 64 << 10  # bytes from which a write to the disk gets a thread
BACKLOG = 1024  # events that wait for a slow listener
MODES = {"rb", "wb", "xb", "r+b"}
_KINDS = {
    News.APPEARED: EventKind.ADDED,
    News.VANISHED: EventKind.REMOVED,
    News.ALTERED: EventKind.CHANGED,
}


class Listeners:
    """Who wants to hear of changes on the phone: the vfs tells it what it would tell the kernel."""

    def __init__(self) -> None:
        self._channels: list[trio.MemorySendChannel[Event]] = []

    def listen(self) -> trio.MemoryReceiveChannel[Event]:
        """Return a new channel with all events from now on."""
        send, receive = trio.open_memory_channel[Event](BACKLOG)
        self._channels.append(send)
        return receive

    def tell(self, event: Event) -> None:
        """Tell all of them. One that is too slow loses what doesn't fit, and finds the rest."""
        for channel in self._channels[:]:
            try:
                channel.send_nowait(event)
            except trio.WouldBlock:
                pass
            except trio.BrokenResourceError:  # it doesn't listen any more
                self._channels.remove(channel)

    def close(self) -> None:
        """Tell all that nothing comes any more."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()

    def heard(self, news: News, node: Node) -> None:
        kind = EventKind.STORAGE if node.is_storage else _KINDS[news]
        self.tell(Event(kind, path_of(node)))

    # What the kernel would have to forget is nothing that the library keeps.

    def entry_gone(self, parent_ino: int, name: bytes) -> None:
        pass

    def inode_changed(self, ino: int) -> None:
        pass

    def attributes_changed(self, ino: int) -> None:
        pass


class Phone:
    """An open phone. Made by `connect`, and good inside of its block. For any number of tasks.

    Paths are absolute, with the storage as their first part: `/Internal shared storage/DCIM`. All methods raise
    `OSError` with errno and path: ENODEV while the phone is unplugged or locked (it can be asked again when it is
    back), EROFS, ENOSPC, EACCES and so on as on the mount. A caller that is cancelled stops waiting. What was on the
    wire is finished, and everything can go on. A change that is cancelled may have been made.
    """

    def __init__(self, fs: Filesystem, listeners: Listeners) -> None:
        self._fs = fs
        self._listeners = listeners
        self._files: set[File] = set()
        self._parts = local.Parts()

    @property
    def name(self) -> str:
        """What the phone is called, such as `Google Pixel 7`."""
        return self._fs.device.name

    @property
    def serial(self) -> str:
        """Its serial number, as MTP tells it; "" if it tells none."""
        return self._fs.device.info.serial_number.strip()

    @property
    def unseen(self) -> int:
        """How many objects the phone has listed so far and couldn't describe: no listing shows them.

        Who deletes elsewhere what isn't here has to look at it.
        """
        return self._fs.device.unseen

    # --- looking ---------------------------------------------------------------------

    async def storages(self) -> list[Storage]:
        """Return the storages that are present, with their room: none while the phone is locked."""

        async def ask() -> list[Storage]:
            found = []
            for node in await self._fs.entries(self._fs.tree.root):
                space, storage = await self._fs.space(node), node.storage
                if storage is None:
                    continue  # it has gone meanwhile
                found.append(
                    Storage(
                        path_of(node),
                        os.fsdecode(node.name),
                        space.capacity,
                        space.free,
                        storage.removable,
                        storage.writable,
                    )
                )
            return found

        return await self._answer(ask, "/")

    async def stat(self, path: str, *, fresh: bool = False) -> Entry:
        """Return what is known of a file or directory. Raises ENOENT, ENOTDIR.

        `fresh`: the phone is asked about a file even if nothing has told of a change.
        """

        async def ask() -> Entry:
            return entry_of(await self._node(path, fresh=fresh))

        return await self._answer(ask, path)

    async def scandir(self, path: str = "/", *, dates: bool = True) -> list[Entry]:
        """Return what is in a directory, in the order of names. Raises ENOENT, ENOTDIR.

        `dates` False: where lists don't tell dates (Android up to version 8) `modified` is None, instead of a question
        for each file.
        """

        async def ask() -> list[Entry]:
            nodes = await self._fs.entries(await self._node(path))
            for node in nodes if dates else ():
                if node.date_elsewhere:
                    await self._fs.refresh(node)
            return [entry_of(node) for node in nodes if not node.unlinked]

        return await self._answer(ask, path)

    async def walk(
        self, path: str = "/", *, dates: bool = True, onerror: Callable[[OSError], None] | None = None
    ) -> AsyncIterator[Entry]:
        """Yield everything below a directory, each directory before what is in it.

        A directory that can't be listed raises, or is handed to `onerror` and left out. So are those that vanish
        meanwhile.
        """
        pending = [path]
        while pending:
            try:
                found = await self.scandir(pending.pop(), dates=dates)
            except OSError as error:
                if onerror is None:
                    raise
                onerror(error)
                continue
            for entry in found:
                yield entry
            pending += [entry.path for entry in reversed(found) if entry.is_dir]

    async def thumbnail(self, path: str) -> bytes:
        """Return the phone's own thumbnail of a picture or film, a JPEG nearly always.

        Raises ENODATA where it has none, EOPNOTSUPP where it knows no thumbnails.
        """

        async def ask() -> bytes:
            node = await self._node(path)
            if node.is_folder:
                raise FsError(errno.EISDIR)
            return await self._fs.thumbnail(node)

        return await self._answer(ask, path)

    async def properties(self, path: str) -> dict[str, Value]:
        """Return all that the phone tells of an object, by the standard's names: `ObjectFileName`, `DateModified`…

        A camera without properties tells `Filename`, `ObjectCompressedSize`… Values are numbers, text (dates are), or
        tuples of numbers. Codes that the standard doesn't know are `0xD901`.
        """

        async def ask() -> dict[str, Value]:
            node = await self._node(path)
            if node.parent is None or node.is_storage:
                raise FsError(errno.EINVAL, "only files and folders have properties")
            return await self._fs.properties(node)

        return await self._answer(ask, path)

    def events(self) -> trio.MemoryReceiveChannel[Event]:
        """Return a channel with the changes that the phone announces from now on, for `async for`.

        They are hints. A phone may announce none. Of directories that this connection has never listed nothing is
        told. A listener that falls behind by more than `1024` events loses some. Leaving the channel's block, or the
        phone's, ends it.
        """
        return self._listeners.listen()

    # --- contents --------------------------------------------------------------------

    async def open(self, path: str, mode: str = "rb") -> File:
        """Open a file: `rb`, `wb` (new or empty), `xb` (only new), `r+b` (changed in place where the phone can do
        that).

        Nothing is sent before the file is closed, but for large ones. Raises ENOENT, EEXIST (`xb`), EISDIR, EROFS,
        and `ValueError` for another mode.
        """
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} isn't one of {', '.join(sorted(MODES))}")

        async def ask() -> tuple[Open, bool]:
            if mode in {"rb", "r+b"}:
                node = await self._node(path)
                return await self._fs.open(node, write=mode == "r+b"), False
            return await self._open_to_write(path, replace=mode == "wb")

        opened, is_new = await self._answer(ask, path)
        file = File(self._fs, opened, path, mode, is_new=is_new, ended=self._files.discard)
        self._files.add(file)
        return file

    async def download(
        self,
        path: str,
        local_path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        replace: bool = False,
        resume: bool = False,
        received: Callable[[local.Data], object] | None = None,
    ) -> None:
        """Fetch a file, with its date. The local file appears when it is whole.

        `resume`: what is broken off stays beside it, as `.NAME.mtpfs-….part`, and the next call goes on there,
        provided that the file on the phone is the same by path, size and date. `received` is called with the bytes
        that come, in order and in any thread, such as the `update` of a hash; not with those that were here before.
        Raises EEXIST without `replace`, ENOSPC of this machine's disk, EINVAL for a device or a pipe in its place,
        EBUSY if another program is fetching the same, EIO if it changed or didn't come whole.
        """

        async def ask() -> Open:
            return await self._fs.open(await self._node(path), write=False)

        opened = await self._answer(ask, path)
        try:
            node = opened.file.node
            size = node.size if node.size_known else None
            date = entry_of(node).modified
            key = local.key(self.serial, path_of(node), size, date)
            part = await trio.to_thread.run_sync(
                lambda: self._parts.begin(
                    local_path,
                    key=key,
                    resume=resume and size is not None,
                    replace=replace,
                    received=received,
                )
            )
            try:
                await self._fetch(opened, part, path, size, progress)
                with about(path):
                    await self._fs.refresh(node)
                if (node.size, entry_of(node).modified) != (node.size if size is None else size, date):
                    part.empty()
                    raise OSError(errno.EIO, "it changed while it was fetched", path)
                await trio.to_thread.run_sync(lambda: part.finish(size, date, replace=replace))
            finally:
                self._parts.end(part)
        finally:
            with trio.CancelScope(shield=True):
                await self._fs.conclude(opened, is_new=False)

    async def _fetch(
        self, opened: Open, part: local.Part, path: str, size: int | None, progress: Progress | None
    ) -> None:
        if size is not None and part.size > size:
            part.empty()
        done, count = part.size, FIRST_PIECE
        while size is None or done < size:
            with about(path):
                data = await self._fs.read(opened, done, count if size is None else min(count, size - done))
            if not data:
                break
            if len(data) < HOP:
                part.append(data)
            else:
                await trio.to_thread.run_sync(part.append, data)
            done, count = done + len(data), PIECE
            del data  # so that its buffer can be used again
            if progress is not None:
                progress(done, done if size is None else size)

    async def upload(
        self,
        local_path: str | os.PathLike[str],
        path: str,
        *,
        progress: Progress | None = None,
        replace: bool = False,
    ) -> None:
        """Send a file, with its date. An old file of that name stays until the new one is complete.

        It is read where it lies; EIO if it changes meanwhile, and the phone doesn't get a mixture. If it fails or is
        cancelled, nothing of it stays on the phone. Raises EEXIST without `replace`, EISDIR, ENOSPC, EROFS.
        """
        sent = await trio.to_thread.run_sync(lambda: local.Sent(Path(local_path)))
        try:
            opened, is_new = await self._answer(lambda: self._open_to_write(path, replace=replace), path)
            with about(path):
                async with self._concluded(opened, is_new=is_new) as conclude:
                    spool = Spool(sent.descriptor, sent.has_changed)
                    await self._fs.take_contents(opened, spool)
                    await self._fs.set_modified(opened.file.node, math.floor(sent.modified))
                    async with _told(spool, sent.size, progress):
                        await conclude()
            if sent.has_changed():
                raise OSError(errno.EIO, "it changed while it was sent", os.fspath(local_path))
        finally:
            sent.close()

    @asynccontextmanager
    async def _concluded(self, opened: Open, *, is_new: bool) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Close a descriptor. The block calls what it gets, to save; what isn't saved then is dropped."""
        is_open = True

        async def conclude(*, keep: bool = True) -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                await self._fs.conclude(opened, is_new=is_new, keep=keep)

        try:
            yield conclude
        finally:
            await conclude(keep=False)

    async def _open_to_write(self, path: str, *, replace: bool) -> tuple[Open, bool]:
        """Open a file without contents; tell whether it is a new one."""
        parent, name = await self._place(path)
        node = parent.children.get(name)
        if node is None:
            # No program's temporary file has mode 0: it is sent under this name, and when it is closed.
            return await self._fs.create(parent, name, exclusive=not replace, mode=0), True
        if node.is_folder:
            raise FsError(errno.EISDIR)
        if not replace:
            raise FsError(errno.EEXIST)
        return await self._fs.open(node, write=True, truncate=True), False

    # --- changing --------------------------------------------------------------------

    async def mkdir(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Create a directory; `parents`: also those above it.

        Raises EEXIST, unless it is a directory and `exist_ok`.
        """

        async def ask() -> None:
            names = _names(path)
            node = self._fs.tree.root
            for position, name in enumerate(names, 1):
                last = position == len(names)
                await self._fs.tree.ensure_listed(node)
                child = node.children.get(name)
                if child is None and (last or parents):
                    child = await self._fs.mkdir(node, name)
                elif child is None:
                    raise FsError(errno.ENOENT)
                elif last and not (exist_ok and child.is_folder):
                    raise FsError(errno.EEXIST)
                node = child
            if not names and not exist_ok:
                raise FsError(errno.EEXIST)

        await self._answer(ask, path)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or an empty directory; `recursive`: a directory with all that is in it.

        Raises ENOENT, ENOTEMPTY, EROFS, EBUSY for a storage. If it is broken off, some of it is gone.
        """

        async def ask() -> None:
            parent, name = await self._place(path)
            await self._remove(parent, name, recursive=recursive)

        await self._answer(ask, path)

    async def _remove(self, parent: Node, name: bytes, *, recursive: bool) -> None:
        pending = [(parent, name)]
        while pending:
            directory, last = pending[-1]
            node = await self._fs.tree.child(directory, last)
            if not node.is_folder:
                await self._fs.unlink(directory, last)
            else:
                inside = await self._fs.entries(node) if recursive and not node.is_storage else []
                if inside:
                    pending += [(node, child.name) for child in inside]
                    continue
                await self._fs.rmdir(directory, last)
            pending.pop()

    async def rename(self, source: str, target: str, *, replace: bool = False) -> None:
        """Give another name, or another directory, as the system call does; `replace`: in place of an existing file
        or empty directory.

        Raises EXDEV where the phone can't (between storages, above all): `move` copies then. EEXIST without `replace`.
        """

        async def ask() -> None:
            old_parent, old_name = await self._place(source)
            new_parent, new_name = await self._place(target)
            await self._fs.rename(old_parent, old_name, new_parent, new_name, replace=replace)

        await self._answer(ask, source, target)

    async def move(self, source: str, target: str, *, replace: bool = False) -> None:
        """Move to another path; where the phone can't, copy and remove.

        If that is broken off, the source is still there, whole or, of a directory, in part. Raises EEXIST without
        `replace`.
        """
        try:
            await self.rename(source, target, replace=replace)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            await self.copy(source, target, replace=replace)
            await self._check_whole(source, target)
            await self.remove(source, recursive=True)

    async def _check_whole(self, source: str, target: str) -> None:
        """Raise EIO unless a copy has all of it, by names and sizes."""
        pending: list[tuple[Entry, Entry | None]] = [(await self.stat(source), await self.stat(target))]
        while pending:
            entry, copy = pending.pop()
            copy = checked_copy(entry, copy, target)
            if entry.is_dir:
                there = {each.name: each for each in await self.scandir(copy.path, dates=False)}
                pending += [
                    (each, there.get(each.name)) for each in await self.scandir(entry.path, dates=False)
                ]

    async def copy(self, source: str, target: str, *, replace: bool = False) -> None:
        """Copy a file, or a directory with all that is in it, to another path.

        The phone does it by itself where it can: then nothing goes over the cable, and the copy has the date that the
        phone gives it. Else the contents are read and sent, with their date. Raises EEXIST without `replace`, EISDIR,
        ENOTDIR, ENOSPC, EINVAL for a copy into itself. If it fails, a copy of a directory may be there in part.
        """

        async def ask() -> None:
            node = await self._node(source)
            parent, name = await self._place(target)
            await self._copy(node, parent, name, replace=replace)

        await self._answer(ask, source, target)

    async def _copy(self, node: Node, parent: Node, name: bytes, *, replace: bool) -> None:
        there = parent.children.get(name)
        if there is node:
            raise FsError(errno.EINVAL, "it is the same file")
        if there is None:
            try:
                await self._fs.copy(node, parent, name)
            except MtpfsError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            else:
                return
        elif not replace:
            raise FsError(errno.EEXIST)
        elif there.is_folder or node.is_folder:
            raise FsError(errno.EISDIR if there.is_folder else errno.ENOTDIR)
        if node.is_folder:
            inside = await self._fs.entries(node)
            made = await self._fs.mkdir(parent, name)
            for child in inside:
                await self._copy(child, made, child.name, replace=False)
        else:
            await self._copy_contents(node, parent, name, replace=replace)

    async def _copy_contents(self, node: Node, parent: Node, name: bytes, *, replace: bool) -> None:
        fs = self._fs
        source = await fs.open(node, write=False)
        try:
            opened, is_new = await self._open_to_write(_joined(parent, name), replace=replace)
            async with self._concluded(opened, is_new=is_new) as conclude:
                offset = 0
                while data := await fs.read(source, offset, PIECE):
                    await fs.write(opened, offset, bytes(data))
                    offset += len(data)
                await fs.set_modified(opened.file.node, node.modified)
                await conclude()
        finally:
            with trio.CancelScope(shield=True):
                await fs.conclude(source, is_new=False)

    # --- paths -----------------------------------------------------------------------

    async def _node(self, path: str, *, fresh: bool = False) -> Node:
        node = self._fs.tree.root
        for name in _names(path):
            node = await self._fs.tree.child(node, name)
        node.attributes_stale |= fresh and not node.is_folder
        await self._fs.refresh(node)
        return node

    async def _place(self, path: str) -> tuple[Node, bytes]:
        """Return the directory that a path is in, listed, and the name there."""
        *above, name = _names(path) or [b""]
        if not name:
            raise FsError(errno.EBUSY, "the top directory can't be changed")
        node = self._fs.tree.root
        for each in above:
            node = await self._fs.tree.child(node, each)
        await self._fs.tree.ensure_listed(node)
        return node, name

    @staticmethod
    async def _answer(ask: Callable[[], Awaitable[T]], *paths: str) -> T:
        """Return what `ask` returns; once more if something was another one by then. Raises `OSError`."""
        for last in (False, True):
            try:
                return await ask()
            except MtpfsError as error:
                if last or error.errno != errno.ESTALE:
                    raise os_error(error, *paths) from error
        raise AssertionError("the last try returns or raises")

    async def _close(self) -> None:
        """Drop what was never closed: the phone's block has ended."""
        for file in list(self._files):
            await file._end(keep=False)  # noqa: SLF001 - the two are one unit
        self._listeners.close()


@asynccontextmanager
async def _told(spool: Spool, size: int, progress: Progress | None) -> AsyncIterator[None]:
    """Have `progress` called while a spool is sent. What it raises stops the sending, and comes out."""
    if progress is None:
        yield
        return
    token, failures = trio.lowlevel.current_trio_token(), list[BaseException]()
    with trio.CancelScope() as scope:

        def tell(done: int) -> None:
            if failures or scope.cancel_called or is_over:
                return
            try:
                progress(done, size)
            except BaseException as error:  # noqa: BLE001 - raised below, where its caller is
                failures.append(error)
                scope.cancel()

        is_over = False
        spool.on_read = lambda done: token.run_sync_soon(tell, done)
        try:
            yield
        finally:
            is_over = True
    if failures:
        raise failures[0]


def _names(path: str) -> list[bytes]:
    """Return the parts of an absolute path. Raises EINVAL for another one."""
    if not path.startswith("/") or "\0" in path:
        raise FsError(errno.EINVAL, "a path on the phone begins with a slash")
    return [os.fsencode(name) for name in posixpath.normpath(path).split("/") if name]


def _joined(parent: Node, name: bytes) -> str:
    return f"{path_of(parent).rstrip('/')}/{os.fsdecode(name)}"
