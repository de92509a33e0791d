"""What is done about a change that was broken off: by a kill, a pulled cable, or a device that refused.

One mount owns a device. So an object with a temporary name (`mtpfs.vfs.temporaries`) that a listing
shows, and that no change of this mount is using, was left behind. It is settled before the listing is shown.

Settling is a change of its own. It claims what it touches without waiting, and leaves out what another change has
claimed. The next listing tries again.

The first rule: the only whole copy of anything is never deleted. Before a copy goes, the last byte of
the other one is read. When in doubt an object stays, and is shown as what it is.

| found | and NAME is | then |
|---|---|---|
| new, whole | missing | the new one gets NAME, then an old one put aside is deleted |
| new, whole, and an old one | there, of another size | NAME is a fragment: deleted, and the new one gets NAME |
| | there, of its size, with other contents (Sailfish) | as above |
| new | otherwise there | the new one is deleted: no `close` or `fsync` has succeeded, or NAME is it |
| new, not whole | missing | an old one gets NAME back, then it is deleted; without an old one it is shown |
| last, whole | missing or of another size | as above: it was the only whole copy |
| last, whole | there, of its size | it is deleted |
| part | there | it is deleted |
| old | missing | it gets NAME back |
| old | there, of the announced size | the change was complete: it is deleted |
| gone | | it is deleted: a program has asked for that |
| what this mount has replaced, and couldn't delete | | it is deleted, as gone |
| move | | at its destination the new name, elsewhere the old one |
| anything else | | it is shown |

"Gets NAME" means by rename. Where the device refuses, it is fetched, sent under NAME, and then deleted.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

from mtpfs.device import STORAGE_AWAY, Device, Entry, Handle, Rank, Storage, listing, reading, writing
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import Response
from mtpfs.vfs import names
from mtpfs.vfs.claims import Claims
from mtpfs.vfs.node import Node
from mtpfs.vfs.temporaries import Kind, Temporary, end_of_move, parse
from mtpfs.vfs.transfers import WINDOW, send_again

log = logging.getLogger(__name__)

TRIES = 3  # at one that the device refuses to settle


class Settler:
    """Settles what is found in listings."""

    def __init__(self, device: Device, claims: Claims, *, read_only: bool) -> None:
        self._device = device
        self._claims = claims
        self._read_only = read_only
        self._hopeless: dict[str, bool] = {}
        """Names of those that the device doesn't let go, and whether they are shown."""
        self._refusals: Counter[str] = Counter()
        """How often the device has refused to settle them, by name."""
        self._generation = device.session.generation
        self.unshown: set[Handle] = set()
        """Objects that can't be deleted, and aren't shown: they don't keep a directory from being empty."""

    async def settle(
        self, directory: Node, storage: Storage, folder: Handle, entries: list[Entry], touched: set[str]
    ) -> tuple[list[Entry], bool]:
        """Settle what was left among a directory's `entries`; return what is to be shown, and whether that will do.

        It won't do where something is to be tried again. `touched` are the folded names that were claimed
        since the listing began. Raises nothing that one object causes.
        """
        groups: dict[str, list[tuple[Temporary, Entry]]] = {}
        for entry in entries:
            if (temporary := parse(entry.name)) is not None:
                if entry.name in directory.superfluous:
                    temporary = replace(temporary, kind=Kind.GONE)
                # One that was deleted has nothing to do with the others, so it must not keep them from being settled.
                key = entry.name if temporary.kind is Kind.GONE else temporary.subject
                groups.setdefault(key, []).append((temporary, entry))
        if not groups or self._read_only or not (storage.writable and storage.deletable):
            self.unshown.difference_update(entry.handle for entry in entries)
            return entries, True
        if self._generation != self._device.session.generation:
            # A new session has other handles, and an Android that was plugged in anew other opinions.
            self._generation = self._device.session.generation
            self._hopeless.clear()
            self._refusals.clear()
            self.unshown.clear()
        scene = _Scene(self, directory, storage, folder, entries)
        will_do = True
        # What was moved here comes first: the name that it is to have may be an old one's, put aside for it.
        for group in sorted(groups.values(), key=lambda group: group[0][0].kind is not Kind.MOVE):
            will_do &= await self._settle_group(scene, group, touched)
        self.unshown.difference_update(scene.shown)  # what is shown counts again
        return [*scene.shown.values()], will_do

    async def _settle_group(
        self, scene: _Scene, group: list[tuple[Temporary, Entry]], touched: set[str]
    ) -> bool:
        subject = next((left.name for left, _ in group if left.name), "") or next(
            (entry.name for entry in scene.shown.values() if group[0][0].means(entry.name)), ""
        )
        wanted = {entry.name for _, entry in group} | ({subject} if subject else set())
        if group[0][0].kind is Kind.MOVE:
            wanted = {group[0][1].name, end_of_move(group[0][0], scene.directory.device_path)} - {""}
        elif group[0][0].kind is Kind.GONE:
            wanted = {group[0][1].name}
        hopeless = [entry for _, entry in group if entry.name in self._hopeless]
        for entry in hopeless:
            if not self._hopeless[entry.name]:
                scene.hide(entry)
        if len(hopeless) == len(group):
            return True
        folded = {names.fold(name) for name in wanted}
        was_touched = not folded.isdisjoint(touched)
        with self._claims.claim_now(*((scene.directory, name) for name in wanted)) as claim:
            if claim is None or was_touched:
                # A change is at work there, maybe with these very objects.
                for _, entry in group:
                    scene.leave_out(entry)
                return claim is None and all(
                    self._claims.is_claimed(scene.directory, entry.name) for _, entry in group
                )
            touched -= folded  # by this claim alone, and what comes of it is to be merged
            order = list(Kind)
            try:
                await scene.settle(sorted(group, key=lambda item: order.index(item[0].kind)))
            except MtpfsError as error:
                return self._failed(scene, group, error)
        return True

    def give_up(self, scene: _Scene, entry: Entry, why: str) -> None:
        """Leave an object as it is, and show it."""
        log.warning("%s/%s: left by a change that was broken off; %s", scene.directory.path, entry.name, why)
        self._hopeless[entry.name] = True

    def _failed(self, scene: _Scene, group: list[tuple[Temporary, Entry]], error: MtpfsError) -> bool:
        """Have the next listing try again, up to `TRIES` refusals. A silent or locked device doesn't count."""
        counts = isinstance(error, FsError) or (
            isinstance(error, ResponseError) and error.code not in STORAGE_AWAY
        )
        will_do = True
        for left, entry in group:
            if scene.shown.get(entry.handle) is not entry:
                continue  # settled before this happened
            # Android doesn't delete names that it has only reserved. Such a name is of no use, unlike contents.
            is_useless = left.kind is Kind.GONE or entry.name in scene.doomed
            if is_useless:
                scene.hide(entry)
            self._refusals[entry.name] += counts
            path = f"{scene.directory.path}/{entry.name}"
            if self._refusals[entry.name] < TRIES:
                log.info("%s: left by a change that was broken off, can't be settled now: %s", path, error)
                will_do = False
                continue
            log.warning("%s: left by a change that was broken off, can't be settled: %s", path, error)
            self._hopeless[entry.name] = not is_useless
        return will_do


class _Scene:
    """One directory while it is settled."""

    def __init__(
        self, settler: Settler, directory: Node, storage: Storage, folder: Handle, entries: list[Entry]
    ) -> None:
        self.directory = directory
        self.shown = {entry.handle: entry for entry in entries}
        self.doomed: set[str] = set()
        """Names of objects that were found to be superfluous."""
        self._settler = settler
        self._device = settler._device  # noqa: SLF001 - the two are one unit
        self._storage = storage
        self._folder = folder

    def leave_out(self, entry: Entry) -> None:
        """Don't show an object now."""
        self.shown.pop(entry.handle, None)

    def hide(self, entry: Entry) -> None:
        """Don't show an object that isn't needed and can't be deleted. Its directory counts as empty without it."""
        self.leave_out(entry)
        self._settler.unshown.add(entry.handle)

    async def settle(self, group: list[tuple[Temporary, Entry]]) -> None:
        """Settle all that is about one name. Raises what the device does."""
        rest = {kind: [entry for left, entry in group if left.kind is kind] for kind in Kind}
        rest[Kind.OLD].sort(key=lambda entry: -entry.handle.number)  # the youngest is what the file was last
        for left, entry in group:
            if left.kind is Kind.MOVE:
                await self._give_name(entry, end_of_move(left, self.directory.device_path))
            elif left.kind is Kind.GONE:
                await self._delete(entry)
        sizes = {entry.handle: left.number for left, entry in group}
        for entry in (*rest[Kind.LAST], *rest[Kind.NEW]):
            await self._settle_new(group[0][0], entry, sizes[entry.handle], rest)
        for entry in rest[Kind.PART]:
            if self._named(group[0][0]) is not None:
                await self._delete(entry)
            else:
                self._settler.give_up(self, entry, "it is not complete, and there is no other")
        for entry in rest[Kind.OLD]:
            await self._settle_old(group[0][0], entry, sizes[entry.handle])

    async def _settle_new(
        self, subject: Temporary, entry: Entry, size: int, rest: dict[Kind, list[Entry]]
    ) -> None:
        named = self._named(subject)
        is_whole = entry.size == size and await self._can_be_read(entry)
        beside_old = bool(rest[Kind.OLD])
        is_last = entry in rest[Kind.LAST]
        if not is_whole:
            if named is None and not beside_old:
                self._settler.give_up(self, entry, "it is not complete, and there is no other")
            elif named is not None or await self._restore_old(subject, rest):
                await self._delete(entry)
        elif named is None:
            await self._give_name(entry, subject.name)
        elif (
            (beside_old or is_last)
            and not named.is_folder
            and (named.size != size or await self._is_hollow(named, entry))
        ):
            log.warning("%s/%s: not complete, replaced by %s", self.directory.path, named.name, entry.name)
            await writing.delete(self._device, named.handle, named.name)
            del self.shown[named.handle]
            await self._give_name(entry, named.name)
        elif is_last and named.is_folder:
            self._settler.give_up(self, entry, "a folder has its name")
        elif await self._can_be_read(named):
            await self._delete(entry)
        else:
            self._settler.give_up(self, entry, "what has its name can't be read to its end")

    async def _restore_old(self, subject: Temporary, rest: dict[Kind, list[Entry]]) -> bool:
        """Give the old contents their name back; tell whether they have it."""
        await self._give_name(rest[Kind.OLD][0], subject.name)
        return self._named(subject) is not None

    async def _settle_old(self, subject: Temporary, entry: Entry, size: int) -> None:
        if entry.handle not in self.shown or self.shown[entry.handle].name != entry.name:
            return  # it has its name back
        named = self._named(subject)
        if named is None:
            await self._give_name(entry, subject.name)
        elif (named.size, named.is_folder) == (size, entry.is_folder) and await self._can_be_read(named):
            await self._delete(entry)
        else:
            self._settler.give_up(self, entry, "it isn't certain what has its name")

    def _named(self, subject: Temporary) -> Entry | None:
        return next(
            (
                other
                for other in self.shown.values()
                if parse(other.name) is None and subject.means(other.name)
            ),
            None,
        )

    async def _can_be_read(self, entry: Entry) -> bool:
        """Tell whether the last byte is there: a device may tell the size that it was promised."""
        if entry.is_folder or not entry.size or not reading.can_read_ranges(self._device, entry.size):
            return True
        try:
            return bool(
                await reading.read(
                    self._device, entry.handle, entry.size - 1, 1, entry.size, rank=Rank.METADATA
                )
            )
        except (ResponseError, FsError):
            return False

    async def _is_hollow(self, named: Entry, whole: Entry) -> bool:
        """Tell whether what was to become a copy of `whole` has only its size (Sailfish reserves that at once)."""
        size = whole.size
        if not self._device.quirks.reserves_size or not reading.can_read_ranges(self._device, size):
            return False
        for offset in range(0, size, WINDOW):
            count = min(WINDOW, size - offset)
            one, other = [
                await reading.read(self._device, entry.handle, offset, count, size, rank=Rank.BULK)
                for entry in (named, whole)
            ]
            if one != other:
                return True
        return False

    async def _give_name(self, entry: Entry, name: str) -> None:
        folds = self._device.folds(self._storage.id)
        taken = {names.fold(other.name) if folds else other.name for other in self.shown.values()}
        if not name or (names.fold(name) if folds else name) in taken:
            self._settler.give_up(self, entry, "its name is taken or lost")
            return
        try:
            await writing.rename(self._device, entry.handle, entry.name, name)
            handle = await self._handle_of(entry.handle, name)
        except (ResponseError, FsError) as error:
            if entry.is_folder or (isinstance(error, ResponseError) and error.code in STORAGE_AWAY):
                raise
            handle = await send_again(
                self._device, self._storage.id, self._folder, entry, name, entry.modified
            )
            await writing.delete(self._device, entry.handle, entry.name)
        log.warning("%s/%s: restored, from %s", self.directory.path, name, entry.name)
        del self.shown[entry.handle]
        self.shown[handle] = replace(entry, handle=handle, name=name)

    async def _handle_of(self, handle: Handle, name: str) -> Handle:
        """Return the handle of what was renamed to `name`: it may have got another one by that."""
        try:
            await listing.object_info(self._device, handle)
        except ResponseError as error:
            if error.code != Response.InvalidObjectHandle:
                raise
            found = await listing.find(
                self._device, self._storage.id, self._folder, lambda one: one.name == name, self.shown
            )
            if found is None:
                raise
            return found
        return handle

    async def _delete(self, entry: Entry) -> None:
        """Delete an object that isn't needed, unless it is a folder with something in it: MTP deletes recursively."""
        if entry.is_folder and await listing.child_handles(self._device, self._storage.id, entry.handle):
            self._settler.give_up(self, entry, "there is something in it")
            return
        self.doomed.add(entry.name)
        await writing.delete(self._device, entry.handle, entry.name)
        self.leave_out(entry)
        log.warning("%s/%s: left by a change that was broken off, deleted", self.directory.path, entry.name)
