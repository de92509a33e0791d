"""All open files of a mount: descriptors, and saving under a claim on the place where a file is now.

What one file holds, and how the device gets it, is in `mtpfs.vfs.openfile`. This module counts the descriptors of
each file, decides what a close(2) means, and drops files that no program has open any more.

`_files` and `_leaving` are written here only, between two awaits.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import trio

from mtpfs.device import Device, dates
from mtpfs.errors import FsError, MtpfsError, StoppedError
from mtpfs.vfs import objects, saving
from mtpfs.vfs.claims import Claim, Claims
from mtpfs.vfs.contents import Shared
from mtpfs.vfs.held import holds
from mtpfs.vfs.node import Node
from mtpfs.vfs.openfile import Condition, OpenFile
from mtpfs.vfs.outcome import Outcome, Unsent

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Open:
    """One descriptor."""

    file: OpenFile
    writes: bool
    is_forwarded: bool = False
    """It was opened by the inode number of another file, which this one has replaced."""


class Files:
    """All open files of a mount. On the trio thread.

    `changed(node)` is called when size, date or contents are others than the kernel may know,
    `redated(node)` when it is only what `stat` tells.
    """

    def __init__(
        self,
        shared: Shared,
        claims: Claims,
        *,
        changed: Callable[[Node], None],
        redated: Callable[[Node], None],
    ) -> None:
        self.shared = shared
        self._changed = changed
        self._redated = redated
        self.outcome = Outcome()
        self.is_stopping = False
        """The mount is ending, so work that saves nothing ends, too."""
        self._claims = claims
        self._files: dict[Node, OpenFile] = {}
        self._leaving: dict[Node, trio.Event] = {}

    def changed(self, node: Node) -> None:
        """Tell the kernel that size, date or contents are others than it may know."""
        self._changed(node)

    @property
    def device(self) -> Device:
        """The device that the files are on."""
        return self.shared.device

    def of(self, node: Node) -> OpenFile | None:
        """Return the open file of a node, if it has one."""
        return self._files.get(node)

    def all(self) -> list[OpenFile]:
        """Return all files that are open, or not saved yet."""
        return list(self._files.values())

    def unsaved(self) -> list[OpenFile]:
        """Return the files of which the device lacks something that it should get."""
        return [file for file in self._files.values() if file.is_unsaved]

    def stop(self) -> None:
        """Have what saves nothing (filling with zeros, fetching) end soon."""
        self.is_stopping = True

    # --- descriptors -----------------------------------------------------------------

    async def open(self, node: Node, *, write: bool, truncate: bool = False) -> Open:
        """Open a file, or the one that has taken its place. Raises ESTALE for one that is gone; the kernel looks again.

        Waits for a deletion that has begun. Opening with `truncate` sends nothing.
        """
        asked = node
        while True:
            if (event := self._leaving_above(node)) is not None:
                await event.wait()
            elif (latest := node.latest()) is not node:
                node = latest
            else:
                break
        if node.lost or (node.unlinked and node.holder is None):
            raise FsError(errno.ESTALE, f"{node.path} is gone")
        opened = self._opened(self._file(node), write=write)
        opened.is_forwarded = node is not asked
        if truncate:
            try:
                await opened.file.start_empty()
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self.release(opened)
                raise
        return opened

    def created(self, node: Node, *, exclusive: bool, mode: int) -> Open:
        """Open a node that was just created here. Raises FsError without room for a spool."""
        file = OpenFile(self, self.shared, node)
        file.start_new()
        file.shape_is_held = holds(node.name, exclusive=exclusive, mode=mode)
        node.holder = file
        self._files[node] = file
        return self._opened(file, write=True)

    def _file(self, node: Node) -> OpenFile:
        file = self._files.get(node)
        if file is None:
            file = OpenFile(self, self.shared, node)
            node.holder = file
            self._files[node] = file
        return file

    @staticmethod
    def _opened(file: OpenFile, *, write: bool) -> Open:
        file.opens += 1
        file.writers += write
        return Open(file, write)

    async def flush(self, opened: Open) -> None:
        """Answer a close(2): bring what was written to the device, unless it waits for its name.

        Sends nothing for a read-only descriptor, and nothing while the contents are untouched empty ones.
        """
        file = opened.file
        if not opened.writes:
            return
        if file.failure is not None:
            raise file.failure
        if file.condition in {Condition.CLEAN, Condition.EMPTIED} or await self._holds(file):
            return
        await self.claim_and_save(file)

    async def _holds(self, file: OpenFile) -> bool:
        """Tell whether a file that is being closed is sent later, under its final name."""
        if file.shape_is_held and not await dates.can_set_dates(self.device):
            return file.hold()
        return False

    async def sync(self, file: OpenFile) -> None:
        """Answer an fsync(2): bring everything to the device; raises what keeps it from arriving."""
        await self.claim_and_save(file)

    async def release(self, opened: Open) -> None:
        """Close a descriptor. The last one that can write sends what is unsaved. Errors are only logged."""
        file = opened.file
        file.opens -= 1
        file.writers -= opened.writes
        if (
            not file.writers
            and file.condition in {Condition.EMPTIED, Condition.DIRTY}
            and not file.node.deleted
        ):
            # Mapped pages may be written after the last close(2), and are not followed by another flush.
            try:
                if file.failure is None and not await self._holds(file):
                    await self.claim_and_save(file)
            except MtpfsError as error:
                log.error("%s: %s", file.node.path, error)

    async def end(self, file: OpenFile) -> None:
        """Drop a file that no program has open, unless something has to be kept."""
        node = file.node
        while node.handle is None and not node.unlinked and self._has_ended(file):
            # The device hasn't got it, so its node goes, too. A rename may be at work on that.
            async with self._claimed_in_place(node) as claim:
                if claim is not None and self._has_ended(file):
                    await self._drop(file)
        if not self._has_ended(file):
            return
        if self.shared.tree.hidden.holds(node):
            await self._end_hidden(file)
        else:
            await self._drop(file)

    def _has_ended(self, file: OpenFile) -> bool:
        return not file.opens and not file.must_be_kept and self._files.get(file.node) is file

    async def _drop(self, file: OpenFile) -> None:
        node = file.node
        if file.is_ahead and not node.deleted and file.failure is None:
            log.error("%s: %d bytes could not be saved", node.path, node.size)
        stale = file.is_ahead or file.failure is not None
        await file.close()
        if file.opens or self._files.get(node) is not file:
            return  # opened again while this was waiting
        del self._files[node]
        node.holder = None
        if node.handle is None and not node.unlinked:
            self.shared.tree.vanish(node)
        elif stale and not node.unlinked:
            node.attributes_stale = True
            self.changed(node)  # what was written isn't there, and the size is another one
        self.shared.tree.reap(node)

    async def _end_hidden(self, file: OpenFile) -> None:
        """Delete the object of a file that was deleted while it was open."""
        node, tree = file.node, self.shared.tree
        assert node.parent is not None
        name = node.object_name
        async with self._claims.claim((node.parent, name)):
            if file.opens or not tree.hidden.holds(node):
                return
            with self.leaving(node):  # from here on it can't be opened
                await file.close()
                try:
                    await objects.delete(tree, node.parent, node)
                except MtpfsError as error:
                    log.warning("%s, which was deleted, stays as %s: %s", node.path, name, error)
                    node.parent.distrust()
                finally:
                    tree.hidden.let_go(node)
                    self._files.pop(node, None)
                    node.holder = None
                    tree.reap(node)

    def _leaving_above(self, node: Node) -> trio.Event | None:
        if not self._leaving:
            return None
        return next((self._leaving[each] for each in node.ancestry() if each in self._leaving), None)

    @contextmanager
    def leaving(self, node: Node) -> Iterator[None]:
        """Make opens of the node, or of what is in it, wait: its object is being deleted, or replaced."""
        if node in self._leaving:
            yield
            return
        event = self._leaving[node] = trio.Event()
        try:
            yield
        finally:
            del self._leaving[node]
            event.set()

    # --- saving ----------------------------------------------------------------------

    @asynccontextmanager
    async def _claimed_in_place(self, node: Node) -> AsyncIterator[Claim | None]:
        """Claim where a node is now; None: it was renamed or moved while this was waiting."""
        parent, name = node.parent, node.object_name
        assert parent is not None
        async with self._claims.claim((parent, name)) as claim:
            yield claim if (node.parent, node.object_name) == (parent, name) else None

    async def claim_and_save(self, file: OpenFile) -> None:
        """Bring everything to the device, under a claim on where the file is now."""
        node = file.node
        before = node.size, node.modified
        while not node.deleted:
            node.check_not_lost()
            async with self._claimed_in_place(node) as claim:
                if claim is not None:
                    with suppress(StoppedError):  # only a deletion stops it, and that waits for this claim
                        await file.save(claim)
                    break
        if (node.size, node.modified) != before and not node.unlinked:
            self._redated(node)  # the date may be the device's own by now; the contents are as they were

    async def claim_and_send_early(self, file: OpenFile) -> bool:
        """Send new contents before they are complete; False where that can't be."""
        node = file.node
        while not node.unlinked:
            async with self._claimed_in_place(node) as claim:
                if claim is not None:
                    return await file.send_early(claim)
        return False

    async def discard(self, file: OpenFile) -> None:
        """Drop what the device hasn't got of a file: the old contents stay. Raises nothing."""
        if not (file.is_ahead or file.failure is not None):
            return
        await file.drop_unsaved()
        parent = file.node.parent
        if parent is not None:
            parent.distrust()
            with suppress(MtpfsError):  # then the next look settles what is halfway
                await self.shared.tree.ensure_listed(parent)

    def can_stop(self, file: OpenFile) -> bool:
        """Tell whether a save may be broken off: the old contents have a name on the device at each step."""
        return file.node.handle is None or saving.can_put_aside(self.device)

    def send_to_recovery(self, file: OpenFile, reason: Exception) -> None:
        """Put what the device hasn't got of a file into the recovery directory, and say so."""
        node = file.node
        if node.deleted:
            return
        try:
            for path in file.store_in_recovery(self.device.name):
                log.error("%s could not be saved (%s); its contents are in %s", node.path, reason, path)
                self.outcome.unsent.append(Unsent(node.path, str(path), str(reason)))
        except OSError as error:
            log.error("%s could not be saved (%s), nor put aside: %s", node.path, reason, error)
            self.outcome.unsent.append(Unsent(node.path, "", f"{reason}; nor put aside: {error}"))
        file.give_up()
