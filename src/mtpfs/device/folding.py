"""Find out whether a storage tells `FOO` from `foo`, where nothing else has shown it.

FAT, and Android's /sdcard, keep one file under both names, and creating the second destroys the first. So an unknown
device counts as folding. But on a device that doesn't fold, that refuses good names. So at the first collision two
objects of ours are made whose names differ only in case, and the device is asked what it has then. The first has one
byte, the second none. AOSP's table tells the names apart while the storage below doesn't, and only the size shows
that there is one file. This is done once per storage. Where it stays unclear nothing is learned.

Invariant: no object but the two is touched, and both are deleted again as long as the device answers.
"""

from __future__ import annotations

import logging
import secrets

import trio

from mtpfs.device import listing, writing
from mtpfs.device.device import Device
from mtpfs.device.objects import Entry
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import Response
from mtpfs.session import DataSource, Handle

log = logging.getLogger(__name__)

_ELSEWHERE = {
    Response.StoreFull,
    Response.StoreReadOnly,
    Response.StoreNotAvailable,
    Response.InvalidStorageID,
    Response.InvalidObjectHandle,
    Response.InvalidParentObject,
    Response.DeviceBusy,
    Response.OperationNotSupported,
}
"""Refusals of the second object that have nothing to do with its name."""


async def find_out_folding(device: Device, storage_id: int, parent: Handle) -> bool:
    """Return whether names that differ only in case are one on this storage; ask the device if need be.

    `parent` is a folder in which objects may be made for a moment. Where it can't be found out, the answer is True.
    Raises what the session raises, `TransportError` for one. Cancellation doesn't interrupt it: what it has made
    has to go again.
    """
    with trio.CancelScope(shield=True):
        async with device.name_trial:
            known = device.folding(storage_id)
            if known is not None:
                return known
            folds = await _probe(device, storage_id, parent)
    if folds is not None:
        device.learned_folding(storage_id, folds)
    return folds is not False


async def _probe(device: Device, storage_id: int, parent: Handle) -> bool | None:
    stem = f".mtpfs-probe-{secrets.token_hex(3)}-"
    made: list[Entry] = []
    try:
        for name, size in ((f"{stem}a", 1), (f"{stem}A", 0)):
            source = DataSource(size, _zeros)
            handle = await writing.upload(device, storage_id, parent, name, source, None)
            made.append(Entry(handle, name, is_folder=False, size=size, modified=None))
        return not await _both_there(device, storage_id, parent, made)
    except ResponseError as error:
        log.debug("whether storage 0x%08X folds: %s", storage_id, error)
        return True if len(made) == 1 and error.code not in _ELSEWHERE else None
    except FsError as error:
        log.debug("whether storage 0x%08X folds: %s", storage_id, error)
        return None
    finally:
        for one in reversed(made):
            try:
                await writing.delete(device, one.handle, one.name)
            except MtpfsError as error:  # it was one file, and is gone
                log.debug("%r: %s", one.name, error)


def _zeros(_offset: int, room: memoryview) -> int:
    room[:] = bytes(len(room))
    return len(room)


async def _both_there(device: Device, storage_id: int, parent: Handle, made: list[Entry]) -> bool:
    """Tell whether two objects are listed, and are called and as large as they were made."""
    if made[0].handle == made[1].handle:
        return False
    listed = await listing.child_handles(device, storage_id, parent)
    for one in made:
        if one.handle not in listed:
            return False
        try:
            described = await listing.entry(device, one.handle)
        except ResponseError as error:
            if error.code == Response.InvalidObjectHandle:
                return False
            raise
        if (described.name, described.size) != (one.name, one.size):
            return False
    return True
