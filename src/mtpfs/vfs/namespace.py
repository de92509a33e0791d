"""Creating, removing, renaming and moving, in POSIX's terms on a device that knows few of them.

Each change claims the names that it vacates and takes, looks once more whether everything is as it
seemed, does it on the device, and has the tree follow. Rules that MTP doesn't know (ENOTEMPTY,
EEXIST, replacing by a rename, deleting an open file) are made here.

After a failure only the device knows what it has done: the directory is listed anew, which completes or
undoes what is halfway (`mtpfs.vfs.settling`).

Invariant: the tree follows the device only after the device has confirmed, and no contents are deleted
before others have their name.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from mtpfs.device import STORAGE_AWAY, UNKNOWN_HANDLE, Entry, Handle, Storage, listing, writing
from mtpfs.device.recent import MOMENT
from mtpfs.device.spelling import check_stored
from mtpfs.errors import FsError, MtpfsError, ResponseError, StoppedError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.vfs import objects, saving
from mtpfs.vfs.claims import Claim, Claims
from mtpfs.vfs.dating import show_date
from mtpfs.vfs.files import Files, Open
from mtpfs.vfs.node import Node
from mtpfs.vfs.openfile import Destination, OpenFile
from mtpfs.vfs.rules import Rules, is_inside
from mtpfs.vfs.saving import Place
from mtpfs.vfs.stale import with_current_handles
from mtpfs.vfs.temporaries import Kind, moving_name, temporary_name
from mtpfs.vfs.transfers import fetched, send_object
from mtpfs.vfs.tree import Tree

log = logging.getLogger(__name__)

COPIED_FILE = 64 << 20  # bytes of a file that is sent anew where it can't be renamed
COPIED_FOLDER = 1 << 20  # bytes in a folder that is made anew
COPIED_OBJECTS = 16  # files and folders in one


class Namespace:
    """The names of one mount, and what changes them."""

    def __init__(self, tree: Tree, claims: Claims, files: Files, rules: Rules) -> None:
        self._tree = tree
        self._claims = claims
        self._files = files
        self._rules = rules
        self._device = tree.device

    # --- creating --------------------------------------------------------------------

    async def create(self, parent: Node, name: bytes, *, exclusive: bool, mode: int) -> Open:
        """Create an empty file and open it. The device gets it when it is saved."""
        await self._tree.ensure_listed(parent)
        text = self._rules.new_name(parent, name)
        await self._tree.place(parent)
        async with self._changing(parent), self._claims.claim((parent, text)):
            await self._rules.check_free(parent, name, text)
            node = self._tree.adopt(parent, name, text, is_folder=False)
            try:
                return self._files.created(node, exclusive=exclusive, mode=mode)
            except FsError:
                self._tree.detach(node)
                raise

    async def mkdir(self, parent: Node, name: bytes) -> Node:
        """Create a directory."""
        await self._tree.ensure_listed(parent)
        text = self._rules.new_name(parent, name)
        async with self._changing(parent), self._claims.claim((parent, text)):
            await self._rules.check_free(parent, name, text)
            handle = await self._make_folder(parent, text)
            node = self._tree.adopt(parent, name, text, is_folder=True)
            self._tree.describe(node, Entry(handle, text, is_folder=True, size=0, modified=time.time() // 1))
            self._tree.listed_empty(node)
            return node

    async def _make_folder(self, parent: Node, text: str) -> Handle:
        async def once() -> tuple[int, Handle]:
            storage, folder = await self._tree.place(parent)
            return storage.id, await writing.make_folder(self._device, storage.id, folder, text)

        storage_id, handle = await with_current_handles(
            self._device.session,
            once,
            is_stale=lambda error: error.code in UNKNOWN_HANDLE,
            subject=lambda: parent.path,
        )
        await check_stored(self._device, storage_id, handle, text)
        return handle

    # --- copying ---------------------------------------------------------------------

    async def copy(self, node: Node, new_parent: Node, new_name: bytes) -> Node:
        """Have the device copy a file, or a folder with all that is in it; return the copy. `new_name` must be free.

        Raises EOPNOTSUPP where the device can't, or not under this name: then the contents can be read and sent. What
        isn't saved yet is saved before. A caller that is cancelled stops waiting; a copy may appear then.
        """
        if node.is_folder and is_inside(new_parent, node):
            raise FsError(errno.EINVAL, "a directory can't be copied into itself")
        while True:
            await self._tree.ensure_listed(new_parent)
            text = self._rules.new_name(new_parent, new_name)
            parent, own = node.parent, node.object_name
            if parent is None or node.is_storage:
                raise FsError(errno.EBUSY, "storages can't be copied")
            for member in node.subtree():
                if (file := self._files.of(member)) is not None:
                    await self._files.claim_and_save(file)
            async with (
                self._changing(new_parent),
                self._claims.claim(
                    (parent, own),
                    (new_parent, text),
                    (new_parent, own),
                    subtrees=[node] if node.is_folder else [],
                ),
            ):
                if (node.parent, node.object_name) != (parent, own):
                    continue
                await self._rules.check_free(new_parent, new_name, text)
                return await self._copy(node, new_parent, new_name, text)

    async def _copy(self, node: Node, new_parent: Node, new_name: bytes, text: str) -> Node:
        device, own = self._device, node.object_name
        if text != own and (not device.can_rename or new_parent.namesakes(own)):
            raise FsError(errno.EOPNOTSUPP, "the device copies under the same name only")

        async def once() -> tuple[Storage, Handle, Handle]:
            storage, folder = await self._tree.place(new_parent)
            await device.room.require(storage.id, node.size)
            source = await self._tree.handle(node)
            return storage, folder, await writing.copy(device, source, storage.id, folder, own)

        storage, folder, made = await with_current_handles(
            device.session,
            once,
            is_stale=lambda error: error.code in UNKNOWN_HANDLE,
            subject=lambda: node.path,
        )
        device.room.forget(storage.id)
        made = await self._copy_of(node, own, storage, folder, made)
        device.recent.created(made)
        try:
            if not node.is_folder:
                await writing.confirm_size(device, storage.id, made, node.size)
            if text != own:
                await writing.rename(device, made, own, text)
        except (FsError, ResponseError):
            with contextlib.suppress(MtpfsError):  # the error that matters is the first one
                await writing.delete(device, made, own)
            raise
        entry = await listing.entry(device, made)
        copy = self._tree.adopt(new_parent, new_name, text, is_folder=node.is_folder)
        self._tree.describe(copy, replace(entry, name=text))
        return copy

    async def _copy_of(self, node: Node, own: str, storage: Storage, folder: Handle, told: Handle) -> Handle:
        """Return the handle of the copy that was made in `folder`; the device has said it is `told`.

        Android cuts that to 16 bits, so it may be another object's. And it says that nothing has the handle 0xFFFF
        where it took the name for taken, though it has copied. Nothing may be done to what isn't the copy.
        """
        device, known = self._device, self._tree.by_handle.keys()

        def is_it(entry: Entry) -> bool:
            return (entry.name, entry.is_folder) == (own, node.is_folder)

        for pause in (0, 0.1, 0.5, 2):  # until Android has heard of it
            await trio.sleep(pause)
            if not told.is_root and told not in known and await listing.is_in(device, folder, told, is_it):
                return told
            found = await listing.find(device, storage.id, folder, is_it, known)
            if found is not None:
                return found
        raise FsError(errno.EIO, f"{node.path} was copied, says the device, but there is no copy")

    # --- removing --------------------------------------------------------------------

    async def rmdir(self, parent: Node, name: bytes) -> None:
        """Remove an empty directory. Whether it is empty is asked of the device, which deletes recursively."""
        while True:
            node = await self._tree.child(parent, name)
            if not node.is_folder:
                raise FsError(errno.ENOTDIR)
            self._rules.check_deletable(node)
            claimed = node.object_name
            async with self._changing(parent), self._claims.claim((parent, claimed), subtrees=[node]):
                if not _is_still(node, parent, name, claimed):
                    continue
                await self._check_empty(node)
                await objects.delete(self._tree, parent, node)
                self._tree.detach(node)
                return

    async def _check_empty(self, node: Node) -> None:
        """Raise ENOTEMPTY unless the device itself says that a folder is empty."""

        async def once() -> bool:
            storage, handle = await self._tree.place(node)
            return await listing.is_empty(self._device, storage.id, handle, self._tree.unshown)

        is_empty = await with_current_handles(
            self._device.session,
            once,
            is_stale=lambda error: error.code in UNKNOWN_HANDLE,
            subject=lambda: node.path,
        )
        if not is_empty or any(child.handle is None or child.is_ahead for child in node.children.values()):
            node.distrust()
            raise FsError(errno.ENOTEMPTY)

    async def unlink(self, parent: Node, name: bytes) -> OpenFile | None:
        """Remove a file. Programs that have it open keep its contents. Returns what is left of it, for `Files.end`.

        A new file that is being sent isn't sent to its end.
        """
        while True:
            node = await self._tree.child(parent, name)
            if node.is_folder:
                raise FsError(errno.EISDIR)
            self._rules.check_deletable(node)
            file = self._files.of(node)
            if file is not None and node.handle is None:
                file.stop_sending()
            claimed = node.object_name
            try:
                async with self._changing(parent), self._claims.claim((parent, claimed)) as claim:
                    if not _is_still(node, parent, name, claimed):
                        continue
                    await self._unlink(claim, parent, node)
                    return self._files.of(node)
            finally:
                # It wasn't deleted: this failed, or the file has got another name meanwhile.
                if file is not None and not node.unlinked:
                    file.may_send()

    async def withdraw(self, parent: Node, node: Node) -> None:
        """Take back a new file of which the device has refused to make an object.

        If something has its name there all the same, it is a file that no listing has shown: it stays. Some devices
        make an empty object before they refuse: that goes. Raises what the device says.
        """
        async with self._changing(parent), self._claims.claim((parent, node.object_name)):
            if node.unlinked or node.handle is not None:
                return
            found = await self._tree.find(parent, node.object_name)
            if found is not None and not found.is_folder and not found.size:
                await writing.delete(self._device, found.handle, found.name)
            self._tree.detach(node)
            parent.distrust()

    async def _unlink(self, claim: Claim, parent: Node, node: Node) -> None:
        file = self._files.of(node)
        if node.handle is None:
            if file is not None and file.is_doubtful:
                fragment = await self._tree.find(parent, node.object_name)
                if fragment is not None:
                    await writing.delete(self._device, fragment.handle, fragment.name)
            self._tree.detach(node)
            return
        await self._remove_object(claim, parent, node)
        self._tree.detach(node)

    async def _remove_object(self, claim: Claim, parent: Node, node: Node) -> None:
        """Delete a file's object, or hide it if the file is open and still needs the object."""
        # Asked for anew after each wait: meanwhile it may have been closed, and opened again.
        file = self._files.of(node)
        if (
            file is not None
            and file.opens
            and file.needs_object
            and self._device.can_rename
            and await self._hide(claim, parent, node)
            and (file := self._files.of(node)) is not None
            and file.opens
        ):
            return
        hidden = self._tree.hidden.holds(node)
        try:
            while (file := self._files.of(node)) is not None and file.opens and file.needs_object:
                await file.bring_here(claim)
            with self._files.leaving(node):
                await objects.delete(self._tree, parent, node)
        except MtpfsError:
            if hidden and self._files.of(node) is None:
                # Closed while it was put aside, so no close comes that would delete it: the next listing does.
                self._tree.hidden.let_go(node)
                parent.distrust()
            raise
        if hidden:
            self._tree.hidden.let_go(node)
        if node.protected:
            parent.distrust_for(MOMENT)  # cameras answer OK, and keep what is protected
        if node.storage is not None:
            self._device.room.took(node.storage.id, -node.size)

    async def _hide(self, claim: Claim, parent: Node, node: Node) -> bool:
        """Take an open file's name away; its object stays until the last descriptor is closed."""
        hidden = temporary_name(Kind.GONE, node.object_name)
        claim.extend(parent, hidden)
        try:
            await objects.rename(self._tree, parent, node, hidden)
        except ResponseError as error:
            log.info("%s can't be put aside while it is open: %s", node.path, error)
            return False
        self._tree.hidden.hide(node, hidden)
        return True

    # --- renaming --------------------------------------------------------------------

    async def rename(
        self, old_parent: Node, old_name: bytes, new_parent: Node, new_name: bytes, *, replace: bool
    ) -> list[OpenFile]:
        """Rename or move, in place of an existing file or empty directory if `replace`.

        Returns the files that may have ended by it, for `Files.end`.
        """
        while True:
            node = await self._tree.child(old_parent, old_name)
            await self._tree.ensure_listed(new_parent)
            self._rules.check_entry_change(node)
            text = self._rules.new_name(new_parent, new_name)
            if node.is_folder and is_inside(new_parent, node):
                raise FsError(errno.EINVAL, "a directory can't be moved into itself")
            target = new_parent.children.get(new_name)
            subtrees = [folder for folder in (node, target) if folder is not None and folder.is_folder]
            claimed = node.object_name
            async with (
                self._changing(old_parent, new_parent),
                self._claims.claim((old_parent, claimed), (new_parent, text), subtrees=subtrees) as claim,
            ):
                if (
                    not _is_still(node, old_parent, old_name, claimed)
                    or new_parent.children.get(new_name) is not target
                ):
                    continue
                if target is node:
                    return []
                try:
                    await self._rename(
                        claim, node, old_parent, new_parent, new_name, text, target, replace=replace
                    )
                except StoppedError:
                    continue  # an unlink was waiting for this claim: then it is ENOENT
            ended = [self._files.of(each) for each in (node, target) if each is not None]
            return [file for file in ended if file is not None]

    async def _rename(
        self,
        claim: Claim,
        node: Node,
        old_parent: Node,
        new_parent: Node,
        new_name: bytes,
        text: str,
        target: Node | None,
        *,
        replace: bool,
    ) -> None:
        if target is not None:
            await self._check_target(node, target, replace=replace)
        else:
            await self._rules.check_stored_as(new_parent, text, node)
        file = self._files.of(node)
        with contextlib.ExitStack() as stack:
            if target is not None and not target.is_folder:
                # Its object may go at any time. An open from here on waits, and gets the new one.
                stack.enter_context(self._files.leaving(target))
            if (
                file is None
                or node.handle is not None
                or not await self._send_renamed(claim, file, new_parent, text, target)
            ):
                storage, folder = await self._tree.place(new_parent)
                self._check_place(old_parent, new_parent)
                if file is not None and file.is_ahead and (target is not None or file.needs_object):
                    await file.save(claim)  # no file ever gives way to one that is still being written
                place = Place(new_parent, storage, folder, text, claim)
                await self._rename_object(claim, node, old_parent, place, target)
            if target is not None:
                self._tree.detach(target, successor=None if node.is_folder else node)
        self._tree.relocate(node, new_parent, new_name, text)

    async def _send_renamed(
        self, claim: Claim, file: OpenFile, new_parent: Node, text: str, target: Node | None
    ) -> bool:
        """Send a file that the device hasn't got yet under its new name; False where it has to have its old one first.

        It needs nothing of the device but to be sent, so it works also where nothing can be renamed.
        """
        if file.is_doubtful or (
            target is not None and (target.is_folder or self._files.of(target) is not None)
        ):
            # There may be an object of it. Or the target is open, and its contents stay only if it is put aside.
            await file.save(claim)
            return False
        entry = None
        if target is not None and target.handle is not None:
            entry = target.entry(await self._tree.handle(target))
        await file.save(claim, Destination(new_parent, text, entry))
        return True

    def _check_place(self, old_parent: Node, new_parent: Node) -> None:
        if old_parent is new_parent:
            return
        if not self._device.supports(Operation.MoveObject):
            raise FsError(errno.EXDEV, "the device can't move")
        if old_parent.storage != new_parent.storage:
            # The device would copy in one long transaction that blocks everything else.
            raise FsError(errno.EXDEV)

    async def _check_target(self, node: Node, target: Node, *, replace: bool) -> None:
        if not replace:
            raise FsError(errno.EEXIST)
        self._rules.check_entry_change(target)
        if target.is_folder:
            if not node.is_folder:
                raise FsError(errno.EISDIR)
            await self._check_empty(target)
        elif node.is_folder:
            raise FsError(errno.ENOTDIR)

    async def _rename_object(
        self, claim: Claim, node: Node, old_parent: Node, place: Place, target: Node | None
    ) -> None:
        """Give an object its new name and place; what had the name before is put aside first, and deleted last."""
        device, new_parent = self._device, place.directory
        if not device.can_rename and (
            old_parent is new_parent or place.name != node.object_name or target is not None
        ):
            await self._copy_renamed(claim, node, old_parent, place, target)
            return
        aside = before = ""
        if target is not None and target.handle is not None:
            aside = place.temporary(Kind.OLD, 0 if node.is_folder else node.size)
            before = target.object_name
            try:
                await objects.rename(self._tree, new_parent, target, aside)
            except ResponseError as error:
                if error.code in STORAGE_AWAY:
                    raise  # the phone is being locked: no reason to copy
                log.info("%s can't be put aside: %s", target.path, error)
                await self._copy_renamed(claim, node, old_parent, place, target)
                return
            target.object_name = aside  # by which it is found, should its handle be looked up meanwhile
        try:
            if old_parent is new_parent:
                await objects.rename(self._tree, old_parent, node, place.name)
            else:
                await self._move(claim, node, old_parent, place)
        except MtpfsError as error:
            if aside and target is not None:
                if isinstance(error, ResponseError):
                    with contextlib.suppress(MtpfsError):  # then the next listing restores it
                        await objects.rename(self._tree, new_parent, target, before)
                target.object_name = before
            if not isinstance(error, ResponseError):
                raise
            if old_parent is new_parent and error.code not in STORAGE_AWAY:
                log.info("%s can't be renamed to %r: %s", node.path, place.name, error)
                await self._copy_renamed(claim, node, old_parent, place, target if aside else None)
                return
            if error.code == Response.OperationNotSupported:
                raise FsError(errno.EXDEV, "the device can't after all") from error
            raise
        if target is not None and aside:
            await self._remove_replaced(claim, new_parent, target)

    async def _remove_replaced(self, claim: Claim, parent: Node, target: Node) -> None:
        """Delete a file or folder that was put aside, or have it deleted when its last descriptor is closed."""
        try:
            if target.is_folder:
                await objects.delete(self._tree, parent, target)
            else:
                await self._remove_object(claim, parent, target)
        except MtpfsError as error:
            log.warning("%s is replaced, but what it was stays on the device: %s", target.path, error)
            parent.delete_later(target.object_name)

    async def _move(self, claim: Claim, node: Node, old_parent: Node, place: Place) -> None:
        device, handle = self._device, await self._tree.handle(node)
        old_text = node.object_name
        if place.name == old_text:
            await writing.move(device, handle, place.storage.id, place.folder, old_text)
            return
        _, back = await self._tree.place(old_parent)
        on_its_way = moving_name(old_text, place.name, place.directory.device_path)
        claim.extend(old_parent, on_its_way)
        claim.extend(place.directory, on_its_way)
        await writing.rename(device, handle, old_text, on_its_way)
        try:
            await writing.move(device, handle, place.storage.id, place.folder, on_its_way)
            await writing.rename(device, handle, on_its_way, place.name)
        except ResponseError:
            # Perhaps the device doesn't take the name: no listing could complete that. Perhaps it has moved
            # the object, and says that it hasn't; what had the name is about to get it back.
            with contextlib.suppress(ResponseError):  # then it stays, and is shown
                if (await listing.object_info(device, handle)).parent_object == place.folder.number:
                    await writing.move(device, handle, place.storage.id, back, on_its_way)
                await writing.rename(device, handle, on_its_way, old_text)
            raise

    # --- where the device can't rename -----------------------------------------------

    async def _copy_renamed(
        self, claim: Claim, node: Node, old_parent: Node, place: Place, target: Node | None
    ) -> None:
        """Make a small file or folder anew under its new name, and delete the old one. EXDEV for larger ones."""
        if old_parent is not place.directory:
            raise FsError(errno.EXDEV, "the device can't rename")
        while (file := self._files.of(node)) is not None:
            async with file.at_rest(claim):
                # Else it was closed while this was waiting, and may have been opened anew.
                if self._files.of(node) is file:
                    await self._copy_at_rest(claim, node, place, target)
                    return
        with self._files.leaving(node):  # what is opened now would have an object that goes
            self._check_unused(node)
            await self._copy_at_rest(claim, node, place, target)

    async def _copy_at_rest(self, claim: Claim, node: Node, place: Place, target: Node | None) -> None:
        device = self._device
        handle = await self._tree.handle(node)
        if node.is_folder:
            objects, size = await self._measure(place.storage, handle)
            if objects > COPIED_OBJECTS or size > COPIED_FOLDER:
                raise FsError(errno.EXDEV, "the device can't rename, and this is much to copy")
            if target is not None:
                await writing.delete(device, await self._tree.handle(target), target.object_name)
            new = await writing.make_folder(device, place.storage.id, place.folder, place.name)
            try:
                await self._copy_children(place.storage, handle, new)
            except MtpfsError:
                with contextlib.suppress(MtpfsError):  # the first error is the one that matters
                    await writing.delete(device, new, place.name)
                raise
        else:
            if not node.size_known or node.size > COPIED_FILE:
                raise FsError(errno.EXDEV, "the device can't rename, and this is much to copy")
            entry = node.entry(handle)
            old = None
            if target is not None and target.handle is not None:
                file = self._files.of(target)
                if file is None:
                    old = target.entry(await self._tree.handle(target))
                else:
                    await file.bring_here(claim)
                    # Its size here may be that of contents which aren't sent.
                    old = await listing.entry(device, await self._tree.handle(target))
            async with fetched(device, entry) as spool:
                new = await saving.store(device, place, spool, old=old, modified=node.modified)
        old_name, told, shown = node.object_name, node.told, node.modified
        has_date = not node.is_folder and shown > 0
        if has_date:
            self._tree.forget_date(node)
        # Open descriptors go on reading: from the new object before the old one is gone.
        self._become_object(node, new, place.name, node.modified)
        try:
            await writing.delete(device, handle, old_name)
        except MtpfsError:
            self._become_object(node, handle, old_name, told)
            if has_date:
                self._tree.remember_date(node, shown)
            raise
        if has_date:
            await show_date(self._tree, node, place, new, shown)

    @staticmethod
    def _check_unused(folder: Node) -> None:
        """Raise EXDEV if a file in a folder is open or unsaved: its object would go, and what is written with it."""
        if any(member.holder is not None for member in folder.subtree()):
            raise FsError(errno.EXDEV, "the device can't rename, and a file in it is open")

    def _become_object(self, node: Node, handle: Handle, name: str, told: float | None) -> None:
        """Have another object with the same contents be what a node is on the device."""
        self._tree.forget_handles(node)
        self._tree.describe(
            node, Entry(handle, name, is_folder=node.is_folder, size=node.size, modified=told)
        )

    async def _measure(self, storage: Storage, folder: Handle, depth: int = 0) -> tuple[int, int]:
        objects, size = 0, 0
        for entry in await listing.children(self._device, storage.id, folder):
            objects, size = objects + 1, size + entry.size
            if entry.is_folder and depth < COPIED_OBJECTS and objects <= COPIED_OBJECTS:
                below = await self._measure(storage, entry.handle, depth + 1)
                objects, size = objects + below[0], size + below[1]
            if objects > COPIED_OBJECTS:
                break
        return objects, size

    async def _copy_children(self, storage: Storage, source: Handle, destination: Handle) -> None:
        device = self._device
        for entry in await listing.children(device, storage.id, source):
            if entry.is_folder:
                made = await writing.make_folder(device, storage.id, destination, entry.name)
                await self._copy_children(storage, entry.handle, made)
                continue
            async with fetched(device, entry) as spool:
                await send_object(device, storage.id, destination, entry.name, spool.source(), entry.modified)

    # --- failures --------------------------------------------------------------------

    @asynccontextmanager
    async def _changing(self, *directories: Node) -> AsyncIterator[None]:
        """After a failure on the device, believe no listing; look anew, which settles what is halfway.

        Outside of the claim, because settling leaves out what is claimed.
        """
        try:
            yield
        except FsError:
            raise
        except MtpfsError as error:
            for directory in directories:
                directory.distrust()
            reason = await self._tree.reason(directories[0], error)
            if reason is error and not self._device.session.gone:
                for directory in dict.fromkeys(directories):
                    with contextlib.suppress(MtpfsError):  # then the next look does it
                        await self._tree.ensure_listed(directory)
            if reason is error:
                raise
            raise reason from error


def _is_still(node: Node, directory: Node, name: bytes, claimed: str) -> bool:
    """Tell whether it is what a claim was made for: the claim had to wait, maybe for a change of this very node."""
    return directory.children.get(name) is node and node.object_name == claimed
