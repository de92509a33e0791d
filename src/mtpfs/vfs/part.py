"""A part: an object with a temporary name that takes a file's place when it is complete.

A large file that replaces another one is sent before it is complete, as a part. The old contents keep their name until
then. While the file is being written no directory shows the part, and settling leaves it alone. Its name says what
it is, so that a later mount understands it.

Once it is complete it may be the only whole copy. What becomes of it is then for `mtpfs.vfs.saving` and, after a
failure, for `mtpfs.vfs.settling`.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from mtpfs.device import Entry, Handle, dates, writing
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.vfs import saving
from mtpfs.vfs.edit import ConflictError
from mtpfs.vfs.node import Node
from mtpfs.vfs.saving import Place
from mtpfs.vfs.spool import Spool
from mtpfs.vfs.temporaries import Kind
from mtpfs.vfs.transfers import send_object
from mtpfs.vfs.tree import Tree

log = logging.getLogger(__name__)


class Part:
    """Made by `send_part`; given up or completed by the open file that writes it."""

    def __init__(self, tree: Tree, directory: Node, name: str, handle: Handle, replaces: Entry) -> None:
        self.replaces = replaces
        self.is_complete = False
        """It may be the only whole copy: only a program may delete it now."""
        self._tree = tree
        self._directory = directory
        self._name = name
        self._handle = handle
        tree.hidden.add_part(name)

    async def find(self) -> Handle:
        """Return its handle in the current session. Raises `ConflictError` if it is gone."""
        if self._handle.generation != self._tree.device.session.generation:
            entry = await self._tree.find(self._directory, self._name)
            if entry is None:
                raise ConflictError(f"{self._name} is gone")
            self._handle = entry.handle
        return self._handle

    async def take_place(self, place: Place, size: int, modified: float | None) -> Handle:
        """Have it replace the old object, as a whole of `size` bytes; return the handle of what has the name then.

        Raises ENOSPC or EIO when it isn't whole, and what `saving.replace` raises.
        """
        device = self._tree.device
        handle = await self.find()
        await writing.confirm_size(device, place.storage.id, handle, size)
        self.is_complete = True
        complete = place.temporary(Kind.NEW, size)
        try:
            await writing.rename(device, handle, self._name, complete)
        except (ResponseError, FsError) as error:
            log.debug("%s: %s keeps its name: %s", place.path, self._name, error)
        else:
            self.leave()
            self._name = complete
            self._tree.hidden.add_part(complete)
        old = await self._old(place)
        return await saving.replace(
            device, place, handle, self._name, size, spool=None, old=old, modified=modified
        )

    async def _old(self, place: Place) -> Entry:
        """Return the old object, with its name and handle of now. Raises `ConflictError` if it is another one."""
        old = replace(self.replaces, name=place.name)
        if old.handle.generation == self._tree.device.session.generation:
            return old
        found = await self._tree.find(place.directory, place.name)
        if found is None or not dates.looks_like(found, old):
            raise ConflictError(
                f"{place.path}: there is another file of that name on the device now, or none"
            )
        return found

    async def delete(self) -> None:
        """Delete it, because its contents aren't wanted any more. The next listing does it if that fails."""
        try:
            await writing.delete(self._tree.device, self._handle, self._name)
        except MtpfsError as error:
            log.info("%s stays for now: %s", self._name, error)
            self._directory.delete_later(self._name)

    def leave(self) -> None:
        """Have the next listing decide what becomes of it."""
        self._tree.hidden.remove_part(self._name)


async def send_part(tree: Tree, place: Place, spool: Spool, old: Entry, modified: float | None) -> Part:
    """Send the beginning of what is to replace `old`. Raises what `transfers.send_object` raises."""
    name = place.temporary(Kind.PART)
    handle = await send_object(tree.device, place.storage.id, place.folder, name, spool.source(), modified)
    return Part(tree, place.directory, name, handle, old)
