"""One open file: what of it the device hasn't got, and how it gets there.

It has contents (`mtpfs.vfs.contents`) and a condition. Close, fsync, rename, unmount and the return of
a device all drive the same `save`.

    condition   what it means                                   left by
    CLEAN       the device has everything                       opening with O_TRUNC, writing
    EMPTIED     empty by create or O_TRUNC, untouched since     writing; fsync, last close: saving
    DIRTY       the device lacks something                      close, fsync: saving
    HELD        closed, waits for its final name                rename, patience: saving
    SAVING      on its way                                      success, or one of the next two
    REFUSED     the device has it not, and has said why         close, fsync: saving again
    WAITING     the device wasn't there, or didn't answer       its return: saving again

Locks: `OpenFile.lock` guards `contents`, `condition`, `failure` and the dates. It is taken inside a claim, never
around one. A task that holds the lock and needs a claim releases the lock, claims, and looks anew. Under the lock
the device is waited for, and directories may be listed.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

import trio

from mtpfs.device import UNKNOWN_HANDLE, Entry, Storage, dates, writing
from mtpfs.device.reading import can_read_ranges
from mtpfs.errors import FsError, MtpfsError, ResponseError, StoppedError, TransportError
from mtpfs.protocol.codes import Operation
from mtpfs.vfs import recovery, saving
from mtpfs.vfs.claims import Claim
from mtpfs.vfs.contents import Contents, Edited, OnDevice, Shared, Spooled
from mtpfs.vfs.dating import show_date
from mtpfs.vfs.edit import ConflictError, Edit
from mtpfs.vfs.node import Node
from mtpfs.vfs.part import Part, send_part
from mtpfs.vfs.saving import Place
from mtpfs.vfs.spool import Spool
from mtpfs.vfs.stale import with_current_handles
from mtpfs.vfs.transfers import new_spool

log = logging.getLogger(__name__)

SPOOL_LIMIT = 256 << 20  # bytes of new contents that are kept back on a device that can edit


class Condition(Enum):
    """What the device knows of a file. See the module's table."""

    CLEAN = auto()
    EMPTIED = auto()
    DIRTY = auto()
    HELD = auto()
    SAVING = auto()
    REFUSED = auto()
    WAITING = auto()


_CHANGED = {Condition.EMPTIED, Condition.DIRTY, Condition.CLEAN}
_NEXT: dict[Condition, set[Condition]] = {
    Condition.CLEAN: {Condition.EMPTIED, Condition.DIRTY},
    Condition.EMPTIED: _CHANGED | {Condition.SAVING, Condition.HELD},
    Condition.DIRTY: _CHANGED | {Condition.SAVING, Condition.HELD},
    Condition.HELD: _CHANGED | {Condition.SAVING},
    Condition.SAVING: {Condition.CLEAN, Condition.DIRTY, Condition.REFUSED, Condition.WAITING},
    Condition.REFUSED: _CHANGED | {Condition.SAVING},
    Condition.WAITING: _CHANGED | {Condition.SAVING},
}
"""From each condition, where a file may go. CLEAN from most of them: what was there is given up."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a file that the device hasn't got yet is to be sent instead of its own place."""

    directory: Node
    name: str
    """The device's name for it."""
    target: Entry | None
    """The object that it takes the place of."""


class Keeper(Protocol):
    """What an open file needs of `Files`, which keeps all of them."""

    is_stopping: bool

    def changed(self, node: Node) -> None:
        """Tell the kernel that size, date or contents are others than it may know."""

    async def claim_and_send_early(self, file: OpenFile) -> bool:
        """Claim the file's name, and have it send what it has."""

    def send_to_recovery(self, file: OpenFile, reason: Exception) -> None:
        """Put what the device hasn't got into the recovery directory."""


class OpenFile:
    """One file while it is open or unsaved. Made by `mtpfs.vfs.files.Files`."""

    def __init__(self, keeper: Keeper, shared: Shared, node: Node) -> None:
        self.node = node
        self.opens = 0
        """Descriptors, and those of them that can write. Written by `Files`."""
        self.writers = 0
        self.condition = Condition.CLEAN
        self.failure: MtpfsError | None = None
        """Why something is lost already: a spool without room, an edit that was refused. Close and fsync raise it."""
        self.lock = trio.Lock()
        self.shape_is_held = False
        """The name, and how it was created, are those of a temporary file that gets another name."""
        self._keeper = keeper
        self._shared = shared
        self.contents: Contents = OnDevice(shared, node)
        self._attempted = False
        """The device may have more of it than it has confirmed."""
        self._explicit_date: float | None = None
        """The date that a program has set for what isn't saved yet."""
        self._changes = 0
        """How many calls of write and truncate are at work or waiting."""

    # --- for the tree ----------------------------------------------------------------

    @property
    def is_ahead(self) -> bool:
        return self.condition is not Condition.CLEAN

    def changed_outside(self) -> None:
        if isinstance(self.contents, OnDevice):
            self.contents.forget()

    # --- what others may ask ---------------------------------------------------------

    @property
    def is_doubtful(self) -> bool:
        """Tell whether the device may have an object of it that it hasn't confirmed."""
        return self._attempted and self.node.handle is None and not self.node.unlinked

    @property
    def is_being_sent(self) -> bool:
        """Tell whether a close that no program waits for brings it to the device, now or in a moment."""
        return self.condition in {Condition.EMPTIED, Condition.DIRTY, Condition.SAVING}

    @property
    def is_unsaved(self) -> bool:
        """Tell whether the device lacks something of it that it should get."""
        return (self.is_ahead or self.failure is not None) and not self.node.deleted

    @property
    def must_be_kept(self) -> bool:
        """Tell whether it holds contents that still have to reach the device."""
        return (
            self.condition in {Condition.HELD, Condition.WAITING, Condition.SAVING} and not self.node.deleted
        )

    # --- reading ---------------------------------------------------------------------

    async def read(self, offset: int, count: int) -> bytes | memoryview:
        """Return `count` bytes from `offset`, fewer only at the end of the file."""
        if self._changes:
            # The kernel may keep what it gets for long, so it must not be older than an earlier write.
            async with self.lock:
                pass
        while True:
            contents = self.contents
            if isinstance(contents, Edited):
                async with self.lock:
                    if self.contents is contents:
                        return await contents.read(offset, count)
                continue
            try:
                return await contents.read(offset, count)
            except MtpfsError as error:
                if self.contents is contents:
                    raise
                # The contents have another place meanwhile: the object was replaced by another, say.
                log.debug("%s: %s; read from where it is now", self.node.path, error)

    # --- changing --------------------------------------------------------------------

    async def write(self, offset: int, data: bytes) -> None:
        """Write all of `data`. Raises what keeps it from being stored."""
        while True:
            full: OSError | None = None
            async with self._changing():
                contents = await self._changeable()
                try:
                    size = await contents.write(offset, data)
                except OSError as error:
                    full = error
                except MtpfsError as error:
                    await self._edit_failed(error)
                    raise
                else:
                    self._note_change(max(self.node.size, size))
                    if size < SPOOL_LIMIT or self.shape_is_held or not self._can_send_early():
                        return
            # The lock is free here, because sending needs a claim.
            sent_early = await self._keeper.claim_and_send_early(self)
            if full is None:
                return
            if not sent_early:
                self.failure = FsError(full.errno or errno.EIO, f"no room for the local copy: {full}")
                raise self.failure from full

    async def truncate(self, size: int) -> None:
        """Set the size, as a change. Raises ENOSPC at once for what is known not to fit."""
        while True:
            async with self._changing():
                if size == 0:
                    await self._empty(Condition.DIRTY)
                    return
                storage = self.node.storage
                if storage is not None:
                    await self._shared.device.room.require(storage.id, size - self.node.size)
                contents = await self._changeable()
                if not isinstance(contents, Spooled) or size < SPOOL_LIMIT or not self._can_send_early():
                    await self._truncate(contents, size)
                    return
            if not await self._keeper.claim_and_send_early(self):
                async with self._changing():
                    await self._truncate(await self._changeable(), size)
                return

    async def _truncate(self, contents: Spooled | Edited, size: int) -> None:
        try:
            if isinstance(contents, Spooled):
                contents.truncate(size)
            else:
                await contents.truncate(size)
        except OSError as error:
            raise FsError(error.errno or errno.EIO, str(error)) from error
        except MtpfsError as error:
            await self._edit_failed(error)
            raise
        self._note_change(size)

    async def start_empty(self) -> None:
        """Open with O_TRUNC: empty, but nothing is sent for that alone."""
        async with self._changing():
            await self._empty(Condition.EMPTIED)

    def start_new(self) -> None:
        """Begin as a new file, which the device hasn't got. Raises FsError without room for a spool."""
        self.contents = Spooled(new_spool(), None)
        self._become(Condition.EMPTIED)

    async def take_contents(self, spool: Spool) -> None:
        """Have the contents of `spool`, all of them, as a change. It is taken over. Raises FsError without room."""
        async with self._changing():
            await self._empty(Condition.DIRTY)
            assert isinstance(self.contents, Spooled)
            self.contents.spool.drop()
            self.contents.spool = spool
            self._note_change(spool.size)

    async def set_modified(self, modified: float) -> bool:
        """Give the file a date; True: it goes along with contents that aren't saved yet."""
        async with self.lock:
            if self.condition is Condition.CLEAN:
                return False
            self._explicit_date = self.node.modified = float(int(modified))
            return True

    async def _empty(self, condition: Condition) -> None:
        """Give it no contents. The old ones aren't needed here, and stay on the device until they are replaced."""
        contents = self.contents
        if isinstance(contents, Spooled):
            try:
                contents.truncate(0)
            except OSError as error:
                raise FsError(error.errno or errno.EIO, str(error)) from error
        else:
            spool, before = new_spool(), self._object()
            if isinstance(contents, Edited):
                before = await self._leave_edit(contents)
            contents.close()
            self.contents = Spooled(spool, before)
        self.failure = None
        self._note_change(0, condition)

    async def _leave_edit(self, contents: Edited) -> Entry | None:
        """End an edit whose contents aren't needed any more; return the object that they were in."""
        contents.edit.drop()
        if contents.part is not None:
            await contents.part.delete()
            return contents.part.replaces
        with suppress(ResponseError):
            await contents.edit.end_edit()
        before = self._object()
        return replace(before, size=contents.edit.size, modified=None) if before is not None else None

    async def _changeable(self) -> Spooled | Edited:
        """Return contents that can be written to."""
        if self.failure is not None:
            raise self.failure
        contents, device = self.contents, self._shared.device
        if not isinstance(contents, OnDevice):
            return contents
        before = self._object()
        if before is not None and device.can_edit and self.node.size_known and not self.node.unlinked:
            edit = self._new_edit(before)
            try:
                await edit.begin()
            except ResponseError as error:
                log.info("%s: can't be edited in place: %s", self.node.path, error)
            else:
                contents.forget()
                self.contents = Edited(self._shared, self.node, edit)
                return self.contents
        self.contents = Spooled(await contents.whole(), before)
        return self.contents

    def _new_edit(self, entry: Entry) -> Edit:
        storage = self.node.storage
        if storage is None:
            raise FsError(errno.ENODEV, f"the storage of {self.node.path} isn't there")
        tree, node = self._shared.tree, self.node
        return Edit(
            self._shared.device,
            self._shared.nursery,
            storage.id,
            lambda: tree.handle(node),
            entry.size,
            entry.modified,
            lambda: self._keeper.is_stopping,
        )

    def _object(self) -> Entry | None:
        """Return what the device has of this file, as far as we know; None: nothing yet."""
        node = self.node
        return None if node.handle is None else node.entry(node.handle)

    def _note_change(self, size: int, condition: Condition = Condition.DIRTY) -> None:
        self.node.size, self.node.size_known = size, True
        self.node.modified = time.time() // 1  # whole seconds, as the device will have it
        self.node.date_elsewhere = False
        self._explicit_date = None
        if self.condition is Condition.CLEAN:
            self._shared.tree.forget_date(self.node)
        if condition is not self.condition:
            self._become(condition)

    def _become(self, condition: Condition) -> None:
        assert condition is self.condition or condition in _NEXT[self.condition], (self.condition, condition)
        self.condition = condition

    async def _edit_failed(self, error: MtpfsError) -> None:
        """Drop what is buffered, and note the error; if only the device is away, keep all."""
        contents = self.contents
        if not isinstance(contents, Edited) or is_away(error):
            return
        await self._abandon_edit(contents)
        self.failure = error
        self.give_up()

    async def _abandon_edit(self, contents: Edited) -> None:
        """End an edit that is of no use any more, and delete its part. Raises nothing: what led here is told."""
        contents.edit.drop()
        with suppress(MtpfsError):  # the device may be away; then it ends the edit itself
            await contents.edit.end_edit()
        part = contents.part
        if part is not None and (self.node.deleted or not part.is_complete):
            await part.delete()

    def give_up(self) -> None:
        """Drop what the device hasn't got; what it has is asked for again."""
        self.contents.close()
        self.contents = OnDevice(self._shared, self.node)
        if self.condition is not Condition.CLEAN:
            self.condition = Condition.CLEAN
        self._attempted = False
        self.node.attributes_stale = self.node.handle is not None
        self._keeper.changed(self.node)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        self._changes += 1
        try:
            async with self.lock:
                yield
        finally:
            self._changes -= 1

    # --- saving ----------------------------------------------------------------------

    def hold(self) -> bool:
        """Have a file that is being closed wait for its final name; tell whether it does."""
        device = self._shared.device
        if (
            self.shape_is_held
            and self.condition in {Condition.EMPTIED, Condition.DIRTY}
            and isinstance(self.contents, Spooled)
            and self.node.handle is None
            and device.keeps_dates is not False
            and self.failure is None
        ):
            self._become(Condition.HELD)
        return self.condition is Condition.HELD

    async def save(self, claim: Claim, destination: Destination | None = None) -> None:
        """Bring everything to the device, at `destination` or where the file is; `claim` has that name.

        Raises what keeps it from arriving. It may be called again then.
        """
        async with self.lock:
            node = self.node
            if self.failure is not None:
                raise self.failure
            if node.deleted or self.condition is Condition.CLEAN:
                return
            node.check_not_lost()
            self._become(Condition.SAVING)
            try:
                await self._save_contents(claim, destination)
            except MtpfsError as error:
                await self._save_failed(error, destination)
            except BaseException:
                self._attempted = True
                self._become(Condition.DIRTY)
                raise
            else:
                self._attempted = False
                self._become(Condition.CLEAN)

    @asynccontextmanager
    async def at_rest(self, claim: Claim) -> AsyncIterator[None]:
        """Have the device hold everything, and keep changes waiting: the object is about to be copied and deleted.

        `claim` has the file's name. Raises what keeps it from being saved.
        """
        while True:
            if self.is_ahead:
                await self.save(claim)
            async with self.lock:
                if not self.is_ahead:
                    yield
                    return

    async def _save_failed(self, error: MtpfsError, destination: Destination | None) -> None:
        node = self.node
        directory = destination.directory if destination is not None else node.parent
        self._attempted = True
        if directory is not None:
            directory.distrust()  # only the device knows how far it came
        reason = error
        if not isinstance(error, StoppedError):
            reason = await self._shared.tree.reason(node, error)
        if isinstance(reason, StoppedError):
            # The deletion may still fail. Then the next close sends it, or `WriteBack`.
            self._become(Condition.DIRTY if self.opens else Condition.WAITING)
        else:
            self._become(Condition.WAITING if is_away(reason) else Condition.REFUSED)
        if isinstance(reason, ConflictError):
            self._keeper.send_to_recovery(self, reason)
        elif isinstance(self.contents, Edited) and self.condition is Condition.REFUSED:
            await self._edit_failed(reason)
        if reason is error:
            raise error
        raise reason from error

    async def _save_contents(self, claim: Claim, destination: Destination | None) -> None:
        async def once() -> None:
            try:
                if isinstance(self.contents, Spooled):
                    await self._save_spooled(claim, destination, self.contents)
                elif isinstance(self.contents, Edited):
                    await self._finish_edit(claim, self.contents)
            except MtpfsError:
                self._attempted = True
                raise

        await with_current_handles(
            self._shared.device.session,
            once,
            # The parent's handle. Nothing of the contents has been sent yet.
            is_stale=lambda error: (
                error.operation == Operation.SendObjectInfo and error.code in UNKNOWN_HANDLE
            ),
            subject=lambda: self.node.path,
        )

    async def _save_spooled(self, claim: Claim, destination: Destination | None, contents: Spooled) -> None:
        node, device, tree = self.node, self._shared.device, self._shared.tree
        directory = destination.directory if destination is not None else node.parent
        name = destination.name if destination is not None else node.object_name
        assert directory is not None
        storage, folder = await tree.place(directory)
        place = Place(directory, storage, folder, name, claim)
        old = destination.target if destination is not None else _named(contents.replaces, name)
        superfluous: list[Entry] = []
        if self._is_uncertain(old):
            old, superfluous = await self._look_again(place, contents, old)
        spool = contents.spool
        handle = await saving.store(device, place, spool, old=old, modified=node.modified)
        for entry in superfluous:
            await saving.remove(device, place, entry.handle, entry.name)
        entry = Entry(handle, name, is_folder=False, size=spool.size, modified=node.modified)
        tree.describe(node, entry)
        if spool.is_lent:  # whose file it is may change it
            spool.drop()
            self.contents = OnDevice(self._shared, node)
        else:
            self.contents = OnDevice(self._shared, node, spool)
        await self._learn_date(entry, place)

    def _is_uncertain(self, old: Entry | None) -> bool:
        """Tell whether the device has to be asked what is to be replaced."""
        generation = self._shared.device.session.generation
        appeared = old is None and self.node.handle is not None
        return self._attempted or appeared or (old is not None and old.handle.generation != generation)

    async def _look_again(
        self, place: Place, contents: Spooled, old: Entry | None
    ) -> tuple[Entry | None, list[Entry]]:
        """Ask the device what has the name now; return what is to be replaced, and what can go afterwards.

        A spool replaces only the object that it was opened on, or our own fragment of it. Raises `ConflictError`.
        """
        entries = await self._shared.tree.look(place.directory)
        if self._attempted:
            named, superfluous, is_ours = await saving.tidy(self._shared.device, place, entries)
        else:
            named = next((entry for entry in entries if entry.name == place.name), None)
            superfluous, is_ours = [], False
        if named is None or is_ours:
            return named, superfluous
        is_the_old = old is not None and dates.looks_like(named, old)
        is_fragment = self._attempted and not named.is_folder and named.size <= contents.spool.size
        if is_the_old or is_fragment:
            return named, superfluous
        raise ConflictError(f"{place.path}: there is another file of that name on the device now")

    async def _finish_edit(self, claim: Claim, contents: Edited) -> None:
        node, device, tree = self.node, self._shared.device, self._shared.tree
        edit, part = contents.edit, contents.part
        await edit.finish()
        assert node.parent is not None
        storage, folder = await tree.place(node.parent)
        place = Place(node.parent, storage, folder, node.object_name, claim)
        if part is None:
            handle = await tree.handle(node)
        else:
            handle = await part.take_place(place, edit.size, node.modified)
        # Only the device knows the date that it gave the file.
        entry = await place.describe(device, handle)
        if entry.size != edit.size:
            await writing.confirm_size(device, storage.id, entry.handle, edit.size)
            entry = replace(entry, size=edit.size)
        contents.close()
        self.contents = OnDevice(self._shared, node)
        tree.describe(node, entry)
        node.size = entry.size
        tree.note_date(node, entry.modified)
        self._show_explicit_date()

    async def _learn_date(self, entry: Entry, place: Place) -> None:
        """Show the date that the object has on the device now."""
        explicit = self._explicit_date
        if explicit is None:
            is_sent = not self._shared.device.keeps_dates
            self._shared.tree.note_date(self.node, entry.modified, is_sent=is_sent)
        else:
            await show_date(self._shared.tree, self.node, place, entry.handle, explicit)
            self._explicit_date = None

    def _show_explicit_date(self) -> None:
        explicit, self._explicit_date = self._explicit_date, None
        if explicit is not None:
            self._shared.tree.remember_date(self.node, explicit)

    def _can_send_early(self) -> bool:
        contents, device = self.contents, self._shared.device
        return (
            isinstance(contents, Spooled)
            and device.can_edit
            and not self.node.unlinked
            and not self._attempted
            and (
                contents.replaces is None
                or (saving.can_put_aside(device) and can_read_ranges(device, SPOOL_LIMIT))
            )
        )

    async def send_early(self, claim: Claim) -> bool:
        """Send new contents before they are complete, and go on in place; False where that can't be."""
        async with self.lock:
            contents, node, device = self.contents, self.node, self._shared.device
            if not isinstance(contents, Spooled):
                return True
            if not self._can_send_early():
                return False
            assert node.parent is not None
            storage, folder = await self._shared.tree.place(node.parent)
            old = contents.replaces
            if self._is_uncertain(old):
                return False
            place = Place(node.parent, storage, folder, node.object_name, claim)
            spool = contents.spool
            if old is None:
                handle = await saving.store(device, place, spool, old=None, modified=node.modified)
                entry = Entry(handle, node.object_name, is_folder=False, size=spool.size, modified=None)
                self._shared.tree.describe(node, entry)
                self.contents = Edited(self._shared, node, self._new_edit(entry))
            else:
                part = await send_part(self._shared.tree, place, spool, old, node.modified)
                self.contents = Edited(self._shared, node, self._part_edit(part, storage, spool.size), part)
            contents.close()
            return True

    def _part_edit(self, part: Part, storage: Storage, size: int) -> Edit:
        shared, keeper = self._shared, self._keeper
        return Edit(
            shared.device, shared.nursery, storage.id, part.find, size, None, lambda: keeper.is_stopping
        )

    # --- giving up -------------------------------------------------------------------

    def stop_sending(self) -> None:
        """Have an upload end inside its data phase: the file is about to be deleted."""
        if isinstance(self.contents, Spooled):
            self.contents.spool.unwanted = True

    def may_send(self) -> None:
        """Take `stop_sending` back."""
        if isinstance(self.contents, Spooled):
            self.contents.spool.unwanted = False

    async def drop_unsaved(self) -> None:
        """Drop what the device hasn't got, and an object of ours that was to replace another. Raises nothing."""
        async with self.lock:
            if isinstance(self.contents, Edited):
                await self._abandon_edit(self.contents)
            self.give_up()
            self.failure = None

    async def bring_here(self, claim: Claim) -> None:
        """Bring all contents here: the object is about to be deleted while the file is open."""
        async with self.lock:
            if isinstance(self.contents, Edited):
                await self._finish_edit(claim, self.contents)
            if isinstance(self.contents, OnDevice):
                self.contents = Spooled(await self.contents.whole(), None)

    @property
    def needs_object(self) -> bool:
        """Tell whether the open file needs the device's object to go on."""
        return not isinstance(self.contents, Spooled)

    def store_in_recovery(self, device: str) -> list[Path]:
        """Put what the device hasn't got into the recovery directory; return the files. Raises `OSError`."""
        path, found = self.node.path, []
        if isinstance(self.contents, Spooled) and self.is_ahead and self.failure is None:
            found.append(recovery.keep(self.contents.spool, device, path))
        for offset, data in self.contents.edit.unsent if isinstance(self.contents, Edited) else []:
            piece = Spool()
            piece.write_now(0, data)
            found.append(recovery.keep(piece, device, f"{path}.at-{offset}"))
            piece.drop()
        return found

    async def close(self) -> None:
        """End: the last descriptor is closed, and nothing is to be kept."""
        async with self.lock:
            if isinstance(self.contents, Edited):
                # What isn't saved by now was refused, or belongs to a deleted file.
                await self._abandon_edit(self.contents)
            if not self.opens:
                self.contents.close()
                self.condition = Condition.CLEAN


def _named(entry: Entry | None, name: str) -> Entry | None:
    """Return an object with the name that it has now: the file may have been renamed since it was opened."""
    return entry if entry is None else replace(entry, name=name)


def is_away(error: MtpfsError) -> bool:
    """Tell whether the device, or its storage, wasn't there or didn't answer. That is no refusal."""
    return isinstance(error, TransportError) or error.errno == errno.ENODEV
