"""Has programs that watch a directory (inotify) see what the phone itself adds, changes and deletes.

FUSE has no message for that. But the kernel tells the watchers what programs do on the mount. So a child process
(`hand.py`) does on the mount what the phone has done: mknod or mkdir, utime, unlink or rmdir. The kernel asks us for
it, and we answer from the tree: the device isn't asked, and nothing is changed (`EchoOperations`). The child is
known by the process number that the kernel gives with each request. It has to be a process, not a thread of ours: a
thread that waits for our own answer would keep `/dev/fuse` open when we are killed, and hang for ever.

Before anything else the child looks a name up. If that request doesn't come with its number, no number can be relied
on (the mount may be seen from another process namespace), and nothing more is done. A refusal for want of permission
(`uid=`, `umask=`) ends it, too: the next one would be the same.

What comes within `GATHERED` is done together. Of more than `MOST` names in one directory none is told, but that the
directory has changed. Calls are made one at a time. One waits where a program's request has the directory's lock. The
end of the mount waits for none: it kills the child.

Invariant: no request of the child's reaches the device, or changes what the tree knows.
"""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio

from mtpfs.fuse.operations import Operations
from mtpfs.settings import Settings
from mtpfs.vfs import Filesystem, News, Node

log = logging.getLogger(__name__)

GATHERED = 0.5  # seconds; the shorter, the more often an unmount finds the child at work, and the mount busy
MOST = 100  # names in one directory that are told of at once
_PROBE = b".mtpfs-echo"
"""A name that is looked up to see whether the child is known."""
_NO_PROCESS = -1  # 0 is what the kernel says of all processes in other namespaces
_STAND_INS = {False: (1 << 63) + 16, True: (1 << 63) + 17}
"""Inode numbers of what the child finds to delete, by whether it is a folder: above those of nodes, and of reports.

The kernel may have forgotten the real one. If it hasn't, deleting that would mark it as dead. But a storage comes back.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to be told of a name in a directory; of the root itself: of no name."""

    news: News
    directory: Node
    name: bytes
    node: Node

    @property
    def word(self) -> bytes:
        match self.news:
            case News.APPEARED:
                return b"mkdir" if self.node.is_folder else b"mknod"
            case News.VANISHED:
                return b"rmdir" if self.node.is_folder else b"unlink"
            case News.ALTERED:
                return b"utime"

    @property
    def is_due(self) -> bool:
        """Tell whether it is still so."""
        here = self.directory.children.get(self.name)
        if self.directory.unlinked:
            return False
        if self.news is News.VANISHED:
            return here is None
        return here is self.node or self.node is self.directory


def altered(node: Node) -> Step:
    """Return the step that tells of a change of a node."""
    return Step(News.ALTERED, node.parent or node, node.name, node)


class Echo:
    """The child, and what it is to do. `mountpoint` has no symbolic links."""

    def __init__(self, mountpoint: str) -> None:
        self.process_id = _NO_PROCESS
        self.is_known = False
        """A request of the child's has been seen."""
        self.step: Step | None = None
        """What the child is at."""
        self.has_stand_in = False
        """The child has found something to delete in this step."""
        self._mountpoint = mountpoint
        self._process: trio.Process | None = None
        self._is_on = False
        self._waiting: dict[Node, dict[Step, None]] = {}
        """By directory, in their order."""
        self._arrival = trio.Event()

    def heard(self, news: News, node: Node) -> None:
        """Note something to tell. If the kernel doesn't know the directory, no program watches it."""
        directory = node.parent or node
        if not self._is_on or not (directory.lookups or directory.parent is None):
            return
        steps = self._waiting.setdefault(directory, {})
        if len(steps) <= MOST:
            steps[Step(news, directory, node.name, node)] = None
        self._arrival.set()

    async def run(self) -> None:
        """Tell what is heard from now on, until cancelled, or until it proves to be impossible."""
        device = device_of(self._mountpoint)
        if device is None:
            log.info(
                "%s isn't found among the mounts: open windows won't be told of changes", self._mountpoint
            )
            return
        self._is_on = True
        try:
            await self._arrival.wait()
            if reason := await self._start(device) or await self._tell():
                log.info("open windows aren't told of changes on the phone: %s", reason)
        finally:
            self._is_on = False
            self._waiting.clear()
            if self._process is not None:
                self._process.kill()

    async def ended(self, patience: float) -> None:
        """Wait for the child's end. While it was there, no other process could get its number."""
        if self._process is not None:
            with trio.move_on_after(patience) as scope:
                await self._process.wait()
            if scope.cancelled_caught:
                log.warning("process %d doesn't end, and is left behind", self._process.pid)

    async def _start(self, device: int) -> str:
        """Start the child. Return why that is no use, or nothing."""
        hand = Path(__file__).with_name("hand.py")
        try:
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-I", "-S", str(hand), self._mountpoint, str(device)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C is for us
            )
        except OSError as error:
            return str(error)
        self.process_id = self._process.pid
        code = await self._call(b"look", b"", _PROBE)
        return "" if self.is_known else f"the kernel doesn't say who asks ({os.strerror(code)})"

    async def _tell(self) -> str:
        """Tell what there is to tell. Return why that ends."""
        while True:
            await self._arrival.wait()
            await trio.sleep(GATHERED)
            self._arrival = trio.Event()
            gathered, self._waiting = self._waiting, {}
            for directory, steps in gathered.items():
                for step in steps if len(steps) <= MOST else (altered(directory),):
                    code = await self._do(step)
                    if code in {errno.EACCES, errno.EPERM, errno.EROFS, errno.EPIPE}:
                        return f"{step.word.decode()}: {os.strerror(code)}"

    async def _do(self, step: Step) -> int:
        if not step.is_due:
            return 0
        self.step, self.has_stand_in = step, False
        try:
            code = await self._call(step.word, step.directory.path_bytes.lstrip(b"/"), step.name)
        finally:
            self.step = None
        if (
            code == errno.EEXIST
        ):  # a program has found the name, and the kernel took it for valid: some ask us again
            code = await self._do(altered(step.node))
        if code:
            log.debug("%s of %s: %s", step.word.decode(), step.node.path, os.strerror(code))
        return code

    async def _call(self, *words: bytes) -> int:
        """Return the errno of what the child does; EPIPE if it is no more."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            await process.stdin.send_all(b"".join(word + b"\0" for word in words))
            answer = bytearray()
            while not answer.endswith(b"\n"):
                arrived = await process.stdout.receive_some()
                if not arrived:
                    return errno.EPIPE
                answer += arrived
        except trio.BrokenResourceError:
            return errno.EPIPE
        return int(answer)


class EchoOperations(Operations):
    """The operations, but the child's requests are answered from the tree."""

    def __init__(self, fs: Filesystem, settings: Settings, process: dict[str, int | str], echo: Echo) -> None:
        super().__init__(fs, settings, process)
        self._echo = echo

    def _is_echo(self, ctx: pyfuse3.RequestContext) -> bool:
        return ctx.pid == self._echo.process_id

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if not self._is_echo(ctx):
            return await super().lookup(parent_inode, name, ctx)
        self._echo.is_known = True
        step = self._echo.step
        is_target = step is not None and (step.directory.ino, step.name) == (parent_inode, name)
        node = self._known(parent_inode).children.get(name)
        if step is not None and is_target and step.news is News.VANISHED and node is None:
            self._echo.has_stand_in = True
            found = self._attributes(step.node, _STAND_INS[step.node.is_folder])
            found.attr_timeout = found.entry_timeout = 0
            return found
        if node is None or (step is not None and is_target and step.news is News.APPEARED):
            raise pyfuse3.FUSEError(errno.ENOENT)
        node.lookups += 1
        return self._believed(node)

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        if not self._is_echo(ctx):
            return await super().getattr(inode, ctx)
        return self._believed(self._known(inode), inode)

    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        if not self._is_echo(ctx):
            return await super().setattr(inode, attr, fields, fh, ctx)
        return self._believed(self._known(inode), inode)

    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if not self._is_echo(ctx):
            return await super().mknod(parent_inode, name, mode, rdev, ctx)
        return self._make(parent_inode, name)

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if not self._is_echo(ctx):
            return await super().mkdir(parent_inode, name, mode, ctx)
        return self._make(parent_inode, name)

    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        if not self._is_echo(ctx):
            await super().unlink(parent_inode, name, ctx)
            return
        self._delete(parent_inode, name)

    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        if not self._is_echo(ctx):
            await super().rmdir(parent_inode, name, ctx)
            return
        self._delete(parent_inode, name)

    def _make(self, parent_ino: int, name: bytes) -> pyfuse3.EntryAttributes:
        node = self._due(News.APPEARED, parent_ino, name)
        node.lookups += 1
        return self._believed(node)

    def _delete(self, parent_ino: int, name: bytes) -> None:
        self._due(News.VANISHED, parent_ino, name)
        if not self._echo.has_stand_in:
            raise pyfuse3.FUSEError(errno.ESTALE)  # this has the kernel look the name up, and try again

    def _check_present(self) -> None:
        """While the device is away, every program that comes has to hear of it: the kernel may keep no answer."""
        if self._fs.device.session.gone:
            raise pyfuse3.FUSEError(errno.ENODEV)

    def _known(self, ino: int) -> Node:
        self._check_present()
        node = self._fs.tree.nodes.get(ino)
        if node is None:
            raise pyfuse3.FUSEError(errno.ESTALE)
        return node.latest()

    def _due(self, news: News, parent_ino: int, name: bytes) -> Node:
        """Return the node that the child's request is about, if it is what it is to do, and still so."""
        self._check_present()
        step = self._echo.step
        if (
            step is None
            or not step.is_due
            or (step.news, step.directory.ino, step.name) != (news, parent_ino, name)
        ):
            raise pyfuse3.FUSEError(errno.ESTALE)
        return step.node

    def _believed(self, node: Node, ino: int = 0) -> pyfuse3.EntryAttributes:
        """Return what the tree has.

        Where that is known to be old, the kernel is to ask when a program wants to know.
        """
        attributes = self._attributes(node, ino)
        if node.attributes_stale:
            attributes.attr_timeout = 0
        return attributes


def device_of(mountpoint: str) -> int | None:
    """Return the number of the device that is mounted there. To look at the directory itself would ask us."""
    found = None
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        _, _, device, _, path, *_ = line.split(b" ")
        if os.fsdecode(path.decode("unicode_escape").encode("latin-1")) == mountpoint:
            major, minor = device.split(b":")
            found = os.makedev(int(major), int(minor))
    return found
