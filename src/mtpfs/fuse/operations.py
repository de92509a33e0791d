"""pyfuse3's operations, each a few lines over `mtpfs.vfs`.

It translates numbers to nodes, nodes to attributes, exceptions to errno, and
decides nothing. Every handler is wrapped by `_answers`, the one place where an
exception becomes an errno, because anything but FUSEError that leaves a handler
ends the whole mount.

Invariant: a reply that makes the kernel remember an inode counts one lookup on
its node (lookup, create, mkdir, and each entry that readdir hands over).
"""

from __future__ import annotations

import errno
import functools
import inspect
import logging
import os
import stat
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import pyfuse3
import trio

from mtpfs import redaction
from mtpfs.device import Handle
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.fuse import report
from mtpfs.fuse.connection import KernelNotifier
from mtpfs.protocol.wire import MAX_STRING_UNITS
from mtpfs.settings import Settings
from mtpfs.vfs import Filesystem, Node, Open

if TYPE_CHECKING:
    from mtpfs.thumbnails.visitor import Visitor  # slow to load, and most mounts have none

log = logging.getLogger(__name__)

BLOCK_SIZE = 1 << 20  # bytes; st_blksize: makes cp(1) write in requests of 1 MiB instead of 128 KiB
_RENAME_NOREPLACE = 1
_NS = 1_000_000_000
_NAMED = (
    ("parent_inode", "name"),
    ("parent_inode_old", "name_old"),
    ("parent_inode_new", "name_new"),
    ("new_parent_inode", "new_name"),
)
"""Pairs of parameters that name an entry of a directory."""

P = ParamSpec("P")
R = TypeVar("R")
Handler = Callable[Concatenate["Operations", P], Coroutine[Any, Any, R]]


def _answers(handler: Handler[P, R]) -> Handler[P, R]:
    """Turn every exception of a handler into the errno that the program gets, and log it with the file's path."""
    _, *parameters = inspect.signature(handler).parameters
    is_by_name = any(name in parameters for _, name in _NAMED)

    def asked(self: Operations, args: tuple[object, ...]) -> str:
        return f"{handler.__name__} {self.subject(dict(zip(parameters, args, strict=False)))}".strip()

    @functools.wraps(handler)
    async def wrapper(self: Operations, *args: P.args, **kwargs: P.kwargs) -> R:
        if redaction.is_on():
            asked(self, args)  # before anything is logged on the way, so that redaction knows the names
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except ResponseError as error:
            log.info("%s: %s", asked(self, args), error)
            # The device doesn't know an object of a file that the kernel knows. On ESTALE the kernel looks for its name
            # again; ENOENT would be the end of it.
            is_stale = error.errno == errno.ENOENT and not is_by_name
            raise pyfuse3.FUSEError(errno.ESTALE if is_stale else error.errno) from error
        except MtpfsError as error:
            # A timeout has been recovered from by now; programs know EIO better than ETIMEDOUT.
            code = errno.EIO if error.errno == errno.ETIMEDOUT else error.errno
            log.debug("%s: %s", asked(self, args), error)
            raise pyfuse3.FUSEError(code) from error
        except OSError as error:
            log.warning("%s: %s", asked(self, args), error)
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from error
        except trio.Cancelled:
            raise
        except Exception as error:
            log.exception("%s", asked(self, args))
            raise pyfuse3.FUSEError(errno.EIO) from error

    return cast("Handler[P, R]", wrapper)


class Operations(pyfuse3.Operations):
    """What the kernel calls."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, fs: Filesystem, settings: Settings, process: dict[str, int | str]) -> None:
        """`process` is what other programs may know of our process: see `mtpfs.unmount.UnmountReport`."""
        super().__init__()
        self.report = report.Report(fs, process)
        self.begun = trio.Event()
        """The kernel's first request has come."""
        self._fs = fs
        self._settings = settings
        self._directories: dict[int, list[Node]] = {}
        self._open: dict[int, Open] = {}
        """Descriptors by file handle: one for each open."""
        self._next_handle = 1
        self._open_stamp: dict[int, tuple[int, float, Handle | None]] = {}
        self.visitor: Visitor | None = None
        """Who makes thumbnails, if the mount has them: told of what programs list, open and remove."""

    def init(self) -> None:
        """Note that the kernel begins."""
        self.begun.set()

    def subject(self, given: dict[str, Any]) -> str:
        """Return the paths that a request is about, by its parameters as pyfuse3 calls them; "" if there are none."""
        paths = [
            self._path(given[parent], given[name])
            for parent, name in _NAMED
            if parent in given and name in given
        ]
        if not paths and "inode" in given:
            paths = [self._path(given["inode"])]
        if not paths and (fh := given.get("fh")) is not None:
            opened = self._open.get(fh)
            node = opened.file.node if opened else self._directories.get(fh, [None])[0]
            paths = [node.path] if node else []
        return " -> ".join(paths)

    def _path(self, ino: int, name: bytes = b"") -> str:
        node = self._fs.tree.nodes.get(ino)
        path = node.path if node else f"inode {ino}"
        if not name:
            return path
        redaction.hide_name(name)
        return f"{path.rstrip('/')}/{name.decode('utf-8', 'replace')}"

    # --- attributes --------------------------------------------------------------------

    def _attributes(self, node: Node, ino: int = 0) -> pyfuse3.EntryAttributes:
        settings = self._settings
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = ino or node.ino
        attributes.generation = 0
        attributes.entry_timeout = settings.ttl
        # 0: the kernel asks when a program wants to know, and only then is the device asked
        attributes.attr_timeout = 0 if node.date_elsewhere else settings.ttl
        if node.is_folder:
            attributes.st_mode = stat.S_IFDIR | (0o777 & ~settings.dmask)
            attributes.st_nlink = 2
        else:
            attributes.st_mode = stat.S_IFREG | (0o777 & ~settings.fmask)
            attributes.st_nlink = 0 if node.unlinked else 1
        attributes.st_uid = settings.uid
        attributes.st_gid = settings.gid
        attributes.st_rdev = 0
        attributes.st_size = node.shown_size = node.size
        attributes.st_blksize = BLOCK_SIZE
        attributes.st_blocks = -(-node.size // 512)
        nanoseconds = int(node.modified * _NS)
        attributes.st_atime_ns = attributes.st_mtime_ns = attributes.st_ctime_ns = nanoseconds
        return attributes

    def _entry(self, node: Node) -> pyfuse3.EntryAttributes:
        """Attributes in a reply that makes the kernel remember the inode."""
        node.lookups += 1
        return self._attributes(node)

    def _report_attributes(self, ino: int) -> pyfuse3.EntryAttributes:
        attributes = self._attributes(self._fs.tree.root)
        attributes.st_ino = ino
        attributes.st_mode = stat.S_IFREG | (0o444 & ~self._settings.fmask)
        attributes.st_nlink = 1
        attributes.st_ctime_ns = attributes.st_mtime_ns = time.time_ns()
        return attributes

    @_answers
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if parent_inode == pyfuse3.ROOT_INODE and name in report.INODES:
            return self._report_attributes(report.INODES[name])
        return self._entry(await self._fs.lookup(self._fs.node(parent_inode), name))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for ino, count in inode_list:
            self._fs.tree.forget(ino, count)
            if ino not in self._fs.tree.nodes:
                self._open_stamp.pop(ino, None)

    @_answers
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        if inode in report.INODES.values():
            return self._report_attributes(inode)
        node = self._fs.node(inode).latest()
        await self._fs.refresh(node)
        return self._attributes(node, inode)

    @_answers
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = self._fs.node(inode).latest()
        if fields.update_size:
            await self._fs.truncate(node, attr.st_size, None if fh is None else self._open.get(fh))
        if fields.update_mtime:
            await self._fs.set_modified(node, attr.st_mtime_ns / _NS)
        # Mode and owner don't exist on the device. Saying so would break cp -p, tar and git
        # for no gain, so the request is accepted and, as the attributes show, has no effect.
        return self._attributes(node, inode)

    @_answers
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        space = await self._fs.space(self._fs.tree.root)
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = space.capacity // 4096
        data.f_bfree = data.f_bavail = space.free // 4096
        data.f_files = data.f_ffree = data.f_favail = 0  # devices tell a constant for the number of objects
        data.f_namemax = MAX_STRING_UNITS
        return data

    # --- directories ---------------------------------------------------------------------

    @_answers
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        node = self._fs.node(inode)
        if not node.is_folder:
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        node.check_not_lost()  # then the kernel looks it up again
        number = self._next_handle
        self._next_handle += 1
        self._directories[number] = [node]
        return number

    @_answers
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        snapshot = self._directories[fh]
        if start_id == 0:
            snapshot[1:] = await self._fs.entries(snapshot[0])
            if self.visitor is not None:
                self.visitor.listed(snapshot[0])
        for position in range(start_id + 1, len(snapshot)):
            node = snapshot[position]
            if node.unlinked or node.parent is not snapshot[0]:
                continue  # gone since the listing began, or moved to another directory
            # An entry that is accepted counts as a lookup: the kernel is told all attributes.
            if not pyfuse3.readdir_reply(token, node.name, self._attributes(node), position):
                return
            node.lookups += 1

    @_answers
    async def releasedir(self, fh: int) -> None:
        del self._directories[fh]

    @_answers
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Do nothing: changes of directories are on the device when they are answered."""

    @_answers
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return self._entry(await self._fs.mkdir(self._fs.node(parent_inode), name))

    @_answers
    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._fs.rmdir(self._fs.node(parent_inode), name)

    @_answers
    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._fs.unlink(self._fs.node(parent_inode), name)
        if self.visitor is not None:
            self.visitor.removed(self._fs.node(parent_inode), name)

    @_answers
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        if flags & ~_RENAME_NOREPLACE:
            raise pyfuse3.FUSEError(errno.EINVAL)
        fs = self._fs
        await fs.rename(
            fs.node(parent_inode_old),
            name_old,
            fs.node(parent_inode_new),
            name_new,
            replace=not flags & _RENAME_NOREPLACE,
        )
        if self.visitor is not None:
            self.visitor.removed(fs.node(parent_inode_old), name_old)

    # --- files -----------------------------------------------------------------------------

    @_answers
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        write = flags & os.O_ACCMODE != os.O_RDONLY
        if inode in report.INODES.values():
            if write:
                raise pyfuse3.FUSEError(errno.EACCES)
            return pyfuse3.FileInfo(fh=await self.report.open(inode), direct_io=True)
        node = self._fs.node(inode)
        await self._fs.refresh(node)
        opened = await self._fs.open(node, write=write, truncate=bool(flags & os.O_TRUNC))
        number = self._number(opened)
        if self.visitor is not None:
            self.visitor.read(node)
        if opened.is_forwarded or not opened.file.node.size_known:
            # The kernel knows another size, or the size isn't known: it is read until the device says that it ends.
            # What it has of the file isn't kept either: a private mapping would show it.
            return pyfuse3.FileInfo(fh=number, direct_io=True, keep_cache=False)
        if node.shown_size != node.size:
            # It would read up to the size that it knows, and take that for the end. This doesn't block.
            KernelNotifier.forget_attributes(node.ino)
        # The kernel's pages stay valid as long as the object wasn't changed outside of the mount.
        stamp = node.size, node.modified, node.handle
        keep = self._open_stamp.get(node.ino) == stamp
        self._open_stamp[node.ino] = stamp
        return pyfuse3.FileInfo(fh=number, keep_cache=keep)

    def _number(self, opened: Open) -> int:
        number = self._next_handle
        self._next_handle += 1
        self._open[number] = opened
        return number

    @_answers
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        parent, exclusive = self._fs.node(parent_inode), bool(flags & os.O_EXCL)
        try:
            opened = await self._fs.create(parent, name, exclusive=exclusive, mode=mode)
        except FsError as error:
            node = parent.children.get(name)
            if error.errno != errno.EEXIST or exclusive or node is None:
                raise
            # The phone has made it since the kernel looked.
            write, truncate = flags & os.O_ACCMODE != os.O_RDONLY, bool(flags & os.O_TRUNC)
            opened = await self._fs.open(node, write=write, truncate=truncate)
            direct_io = not opened.file.node.size_known
            info = pyfuse3.FileInfo(fh=self._number(opened), direct_io=direct_io, keep_cache=False)
        else:
            info = pyfuse3.FileInfo(fh=self._number(opened), keep_cache=True)
        return info, self._entry(opened.file.node)

    @_answers
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if not stat.S_ISREG(mode):
            raise pyfuse3.FUSEError(errno.EPERM)
        opened = await self._fs.create(self._fs.node(parent_inode), name)
        try:
            await self._fs.sync(opened)
        finally:
            await self._fs.release(opened)
        return self._entry(opened.file.node)

    @_answers
    async def read(self, fh: int, off: int, size: int) -> bytes:
        if fh in self.report:
            return self.report.read(fh, off, size)
        # a memoryview is as good for libfuse, and saves a copy
        return cast("bytes", await self._fs.read(self._open[fh], off, size))

    @_answers
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._fs.write(self._open[fh], off, buf)

    @_answers
    async def flush(self, fh: int) -> None:
        if fh in self.report:
            return
        await self._fs.flush(self._open[fh])

    @_answers
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._fs.sync(self._open[fh])

    @_answers
    async def release(self, fh: int) -> None:
        if fh in self.report:
            self.report.release(fh)
            return
        await self._fs.release(self._open.pop(fh))

    # --- what MTP doesn't have -----------------------------------------------------------------

    @_answers
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        raise pyfuse3.FUSEError(errno.EPERM)

    @_answers
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        raise pyfuse3.FUSEError(errno.EPERM)
