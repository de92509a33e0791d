"""How new contents become an object, step by step.

After each step the old or the new contents have a name that a listing understands
(`mtpfs.vfs.settling`). So a crash anywhere loses neither. There are four ways. The first one that the device
allows is taken:

1. *New*: room known → sent under NAME → size compared. Where a fragment has the size and the date of the whole
   (Sailfish), it is sent under a temporary name, which means "to be deleted", and gets NAME when it is complete.
2. *Replacing by renames*: sent under a temporary name → size compared → the old one put aside → the new
   one gets NAME → the old one is deleted. If NAME is refused, it is sent once more, under NAME.
3. *The old one can't be put aside*: the new one, whole, is marked as the last copy → the old one is
   deleted → sent under NAME → size compared → the last copy is deleted.
4. *No renames at all*: both contents get a name in the recovery directory → the old one is deleted → sent
   under NAME → size compared → both names go. If the new one is refused, the old one is sent back.

All run under a claim on NAME.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from mtpfs.device import STORAGE_AWAY, Device, Entry, Handle, Storage, dates, listing, writing
from mtpfs.device.spelling import check_spelling, check_stored
from mtpfs.errors import FsError, MtpfsError, ResponseError, StoppedError
from mtpfs.protocol.codes import Response
from mtpfs.vfs import objects, recovery, temporaries
from mtpfs.vfs.claims import Claim
from mtpfs.vfs.node import Node
from mtpfs.vfs.spool import Spool
from mtpfs.vfs.temporaries import Kind, parse, temporary_name
from mtpfs.vfs.transfers import fetched, send_again, send_object

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is to be: a directory as the tree and as the device know it, and a name that is claimed."""

    directory: Node
    storage: Storage
    folder: Handle
    name: str
    claim: Claim

    def temporary(self, kind: Kind, number: int = 0) -> str:
        """Return a fresh temporary name, and claim it."""
        name = temporary_name(kind, self.name, number)
        self.claim.extend(self.directory, name)
        return name

    async def find(self, device: Device, is_it: Callable[[Entry], bool]) -> Handle | None:
        """Return the handle of an object that isn't known here by another name."""
        known = {
            child.handle
            for child in self.directory.children.values()
            if child.handle is not None and child.object_name != self.name
        }
        return await listing.find(device, self.storage.id, self.folder, is_it, known)

    async def find_named(self, device: Device, name: str) -> Handle | None:
        """Return the handle of the object that has `name`, if it is another one than is known here."""
        return await self.find(device, lambda entry: entry.name == name)

    async def describe(self, device: Device, handle: Handle) -> Entry:
        """Describe what has the name, which may have another handle than `handle` by now."""
        try:
            return await listing.entry(device, handle)
        except ResponseError as error:
            if (
                error.code != Response.InvalidObjectHandle
                or (found := await self.find_named(device, self.name)) is None
            ):
                raise
            return await listing.entry(device, found)

    @property
    def path(self) -> str:
        return f"{self.directory.path}/{self.name}"


async def store(
    device: Device, place: Place, spool: Spool, *, old: Entry | None, modified: float | None
) -> Handle:
    """Send all of `spool` as `place.name`, in place of `old`; return the new object's handle.

    Raises ENOSPC or EIO when it isn't there whole afterwards, and what the session raises. Then the old contents
    are there, or the log names the place where the new ones are whole.
    """
    if old is None:
        if _looks_whole_too_soon(device, place, spool):
            return await _send_and_rename(device, place, spool, modified)
        handle = await _send_spool(device, place, place.name, spool, modified)
        await _check_unmixed(device, place, handle, place.name, spool)
        await check_stored(device, place.storage.id, handle, place.name)
        return handle
    # The object may have a name of the phone's own making, which the phone would alter for us.
    await check_spelling(device, place.storage.id, place.folder, place.name)
    if not can_put_aside(device):
        return await _replace_without_renames(device, place, spool, old, modified)
    temporary = place.temporary(Kind.NEW, spool.size)
    handle = await _send_spool(device, place, temporary, spool, modified)
    await _check_unmixed(device, place, handle, temporary, spool)
    return await replace(
        device, place, handle, temporary, spool.size, spool=spool, old=old, modified=modified
    )


def _looks_whole_too_soon(device: Device, place: Place, spool: Spool) -> bool:
    """Tell whether a fragment couldn't be told from the file, and a rename can help."""
    return (
        device.quirks.reserves_size
        and device.can_rename
        and spool.size > 0
        and temporaries.is_plain(place.name)
    )


async def _send_and_rename(device: Device, place: Place, spool: Spool, modified: float | None) -> Handle:
    """Send a new file under the name of something that is to be deleted, and give it its own when it is complete."""
    temporary = place.temporary(Kind.GONE)
    handle = await _send_spool(device, place, temporary, spool, modified)
    await _check_unmixed(device, place, handle, temporary, spool)
    try:
        return await objects.changed(
            handle,
            lambda h: writing.rename(device, h, temporary, place.name),
            lambda: place.find_named(device, temporary),
        )
    except (ResponseError, FsError):
        with contextlib.suppress(MtpfsError):  # else the next listing does it
            await writing.delete(device, handle, temporary)
        raise


async def _check_unmixed(device: Device, place: Place, handle: Handle, name: str, spool: Spool) -> None:
    """Delete what was sent and raise EIO if its source has changed meanwhile. Nothing is replaced by a mixture."""
    if spool.has_changed():
        await remove(device, place, handle, name)
        raise FsError(errno.EIO, "it changed while it was sent")


def can_put_aside(device: Device) -> bool:
    """Tell whether an object may be replaced by another one under a temporary name."""
    return device.can_rename and not device.quirks.overwrite_corrupts


async def replace(
    device: Device,
    place: Place,
    handle: Handle,
    temporary: str,
    size: int,
    *,
    spool: Spool | None,
    old: Entry,
    modified: float | None,
) -> Handle:
    """Give the complete object `temporary` the name of `old`, and delete that; return its handle.

    `spool`: the same contents, for the case that the name is refused. Without it they are fetched from the device then.
    """
    aside = place.temporary(Kind.OLD, size)
    put_aside: Handle | None = None
    try:
        put_aside = await objects.changed(
            old.handle,
            lambda h: writing.rename(device, h, old.name, aside),
            # not what has been put there on the device since
            lambda: place.find(
                device,
                lambda entry: (
                    (entry.name, entry.is_folder) == (old.name, False) and dates.looks_like(entry, old)
                ),
            ),
        )
    except (ResponseError, FsError) as error:
        code = error.code if isinstance(error, ResponseError) else None
        is_gone = code == Response.InvalidObjectHandle  # already, as it should be
        if code in STORAGE_AWAY and not is_gone:
            raise  # the phone is being locked: no reason to choose a way that deletes the old contents first
        if not is_gone:
            log.info("%s: can't be put aside: %s", place.path, error)
            return await _replace_by_last_copy(device, place, handle, temporary, size, spool, old, modified)
    try:
        handle = await objects.changed(
            handle,
            lambda h: writing.rename(device, h, temporary, place.name),
            lambda: place.find_named(device, temporary),
        )
    except ResponseError as error:
        log.info("%s: the name is refused, sent once more: %s", place.path, error)
        try:
            final = await _send_whole(device, place, handle, size, spool, modified)
        except MtpfsError:
            if put_aside is not None:
                with contextlib.suppress(MtpfsError):  # then the next listing restores it
                    await writing.rename(device, put_aside, aside, old.name)
            raise
        await remove(device, place, handle, temporary)
        handle = final
    if put_aside is not None:
        await remove(device, place, put_aside, aside)
        device.room.took(place.storage.id, -old.size)
    return handle


async def tidy(device: Device, place: Place, entries: list[Entry]) -> tuple[Entry | None, list[Entry], bool]:
    """Undo what is left of an earlier attempt at saving the same file, whose whole new contents are here.

    Returns the object that has the name now, what can be deleted when the new one is there, and whether the
    first is certainly the old file or a fragment of ours. Raises what the device says.
    """
    named = next((entry for entry in entries if entry.name == place.name), None)
    left = [(found, entry) for entry in entries if (found := parse(entry.name)) is not None]
    mine = {kind: [e for found, e in left if found.kind is kind and found.means(place.name)] for kind in Kind}
    superfluous = mine[Kind.LAST][:]
    is_ours = bool(superfluous) and named is not None
    announced = {entry.handle: found.number for found, entry in left}
    # The youngest of several is what the file was last.
    for aside in sorted(mine[Kind.OLD], key=lambda entry: -entry.handle.number)[:1]:
        # What has the name is ours, for the name was free for it: whole, or a fragment.
        if named is not None and (
            named.size == announced[aside.handle] or not await _could_delete(device, place, named)
        ):
            is_ours = True
            superfluous.append(aside)
            continue
        try:
            await writing.rename(device, aside.handle, aside.name, place.name)
        except (ResponseError, FsError) as error:
            log.info("%s: can't get its name back: %s", place.path, error)
            named = None
            superfluous.append(aside)
        else:
            named, is_ours = dataclasses.replace(aside, name=place.name), True
    for entry in (*mine[Kind.NEW], *mine[Kind.PART]):
        await _could_delete(device, place, entry)
    return named, superfluous, is_ours


async def _could_delete(device: Device, place: Place, entry: Entry) -> bool:
    """Delete a fragment; tell whether the device did. Android refuses for a name that it has only reserved."""
    try:
        await writing.delete(device, entry.handle, entry.name)
    except ResponseError as error:
        log.info("%s: %s stays for now: %s", place.path, entry.name, error)
        return False
    return True


async def _replace_by_last_copy(
    device: Device,
    place: Place,
    handle: Handle,
    temporary: str,
    size: int,
    spool: Spool | None,
    old: Entry,
    modified: float | None,
) -> Handle:
    last = place.temporary(Kind.LAST, size)
    try:
        await writing.rename(device, handle, temporary, last)
    except (ResponseError, FsError):  # FsError: by now it counts as a device that can't rename
        if spool is None:
            raise
        await remove(device, place, handle, temporary)
        return await _replace_without_renames(device, place, spool, old, modified)
    await _delete_old(device, old)
    try:
        final = await _send_whole(device, place, handle, size, spool, modified)
    except MtpfsError as error:
        log.error("%s: its new contents are in %s, because it can't be sent: %s", place.path, last, error)
        raise
    await remove(device, place, handle, last)
    return final


async def _replace_without_renames(
    device: Device, place: Place, spool: Spool, old: Entry, modified: float | None
) -> Handle:
    device.room.forget(place.storage.id)  # the old contents go first: no old answer will do for that
    await device.room.require(place.storage.id, spool.size - old.size)
    async with fetched(device, old) as before:
        kept: list[Path] = []
        try:
            kept.append(await _keep_in_recovery(spool, device, place.path))
            if old.size:
                kept.append(await _keep_in_recovery(before, device, f"{place.path}.old"))
        except BaseException:
            await _discard(kept)
            raise
        try:
            await _delete_old(device, old)
        except MtpfsError:
            await _discard(kept)
            raise
        device.room.took(place.storage.id, -old.size)
        try:
            handle = await _send_spool(device, place, place.name, spool, modified)
        except StoppedError:
            await _discard(kept)  # it is being deleted
            raise
        except MtpfsError as error:
            if await _was_restored(device, place, before, old.modified):
                await _discard(kept)  # the caller has the new ones, and gets the error
            else:
                log.error(
                    "%s could not be replaced (%s); see %s", place.path, error, ", ".join(map(str, kept))
                )
            raise
        await _discard(kept)
        return handle


async def _was_restored(device: Device, place: Place, before: Spool, modified: float | None) -> bool:
    """Send the old contents back, because the device doesn't take the new ones; tell whether it takes these."""
    try:
        await _send_spool(device, place, place.name, before, modified)
    except MtpfsError as error:
        log.info("%s: nor can its old contents be sent: %s", place.path, error)
        return False
    return True


async def _keep_in_recovery(spool: Spool, device: Device, path: str) -> Path:
    try:
        return await trio.to_thread.run_sync(recovery.keep, spool, device.name, path)
    except OSError as error:
        raise FsError(error.errno or errno.EIO, f"the recovery directory can't be used: {error}") from error


async def _discard(kept: list[Path]) -> None:
    for path in kept:
        try:
            await trio.to_thread.run_sync(recovery.discard, path)
        except OSError as error:
            log.warning("%s is not needed any more, but stays: %s", path, error)


async def _send_spool(
    device: Device, place: Place, name: str, spool: Spool, modified: float | None
) -> Handle:
    return await send_object(device, place.storage.id, place.folder, name, spool.source(), modified)


async def _send_whole(
    device: Device, place: Place, handle: Handle, size: int, spool: Spool | None, modified: float | None
) -> Handle:
    """Send under its own name what stands complete in the object `handle`."""
    if spool is not None:
        return await _send_spool(device, place, place.name, spool, modified)
    entry = Entry(handle, "", is_folder=False, size=size, modified=modified)
    return await send_again(device, place.storage.id, place.folder, entry, place.name, modified)


async def remove(device: Device, place: Place, handle: Handle, name: str) -> None:
    """Delete what isn't needed any more. If that fails the next listing does it: the contents are elsewhere.

    Even if NAME is free by then. What was under NAME, or was to be, mustn't come back.
    """
    try:
        await objects.changed(
            handle, lambda h: writing.delete(device, h, name), lambda: place.find_named(device, name)
        )
    except MtpfsError as error:
        log.warning("%s: %s isn't needed, but stays on the device for now: %s", place.path, name, error)
        place.directory.delete_later(name)


async def _delete_old(device: Device, old: Entry) -> None:
    try:
        await writing.delete(device, old.handle, old.name)
    except ResponseError as error:
        if error.code != Response.InvalidObjectHandle:  # gone already: as it should be
            raise
