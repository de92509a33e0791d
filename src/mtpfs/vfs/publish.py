"""How the contents in a spool become an object on the device.

Strategy: a new file is sent under its own name. A file that replaces another
one is sent under a temporary name first; only when the device has confirmed
the whole of it is the old object deleted and the new one renamed. A crash in
between is healed by the next listing (`leftovers`). Where renaming is impossible
the old object has to go before the new one is sent; then the spool is what
survives a failure, and room is checked for beforehand.

Invariant: at every moment the whole old contents or the whole new contents
exist, on the device or in the spool.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from datetime import datetime, timedelta, timezone

from mtpfs.device import Device, Entry, Storage, listing, writing
from mtpfs.errors import FsError, ProtocolError, ResponseError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.session import DataSource
from mtpfs.vfs import names
from mtpfs.vfs.leftovers import Kind, temporary_name

log = logging.getLogger(__name__)

_ZONE_STEP = 15 * 60  # seconds: time zones differ by quarters of an hour
_ZONE_LIMIT = 14 * 3600


async def publish(
    device: Device,
    storage: Storage,
    parent: int,
    name: str,
    source: DataSource,
    *,
    old: Entry | None,
    modified: float | None,
) -> int:
    """Send `source` as `name` into a folder, in place of `old`; return the new handle.

    Raises ENOSPC before anything is sent when the device is known to be full.
    """
    if old is None:
        handle = await _upload(device, storage, parent, name, source, modified)
        await _check_name(device, handle, name)
        return handle
    if not device.can_rename or device.quirks.overwrite_corrupts:
        await _check_room(device, storage, source.size - old.size)
        await _remove_old(device, old)
        return await _upload(device, storage, parent, name, source, modified)
    temporary = temporary_name(Kind.NEW, name, source.size)
    handle = await _upload(device, storage, parent, temporary, source, modified)
    # When this fails, the old contents may be gone nevertheless: only a listing can tell which copy is to go.
    await _remove_old(device, old)
    try:
        await writing.rename(device, handle, name)
    except ResponseError:
        if not device.supports(Operation.SetObjectPropValue):
            # It was only advertised. The copy stays until the contents have their name.
            final = await _upload(device, storage, parent, name, source, modified)
            await writing.delete(device, handle)
            return final
        raise
    return handle


async def _upload(
    device: Device, storage: Storage, parent: int, name: str, source: DataSource, modified: float | None
) -> int:
    """As `writing.upload`; ENOSPC also where the device runs full on the way, which Android calls GeneralError."""
    try:
        return await writing.upload(device, storage.id, parent, name, source, modified)
    except ResponseError as error:
        if error.code != Response.GeneralError:
            raise
        with contextlib.suppress(ResponseError, ProtocolError):
            if (await device.storage(storage.id)).free < source.size:
                raise FsError(errno.ENOSPC) from error
        raise


async def learn_dates(device: Device, handle: int, modified: float) -> float | None:
    """Find out what the device made of the date that an upload carried; return the object's real one.

    The first time this calibrates the device's zone too: a date that comes back
    shifted by whole quarters of an hour was kept, and is only told in another zone.
    """
    described = await listing.entry(device, handle)
    if described.modified is None:
        return None
    shift = described.modified - int(modified)
    if shift and abs(shift) <= _ZONE_LIMIT and shift % _ZONE_STEP == 0 and not device.keeps_dates:
        offset = _local_offset(modified) + timedelta(seconds=shift)
        device.zone = timezone(offset)
        log.info("%s reckons in the zone UTC%+g h", device.name, offset.total_seconds() / 3600)
        shift = 0
        described = await listing.entry(device, handle)
    device.keeps_dates = abs(shift) <= 2  # FAT keeps even seconds only
    return described.modified


def _local_offset(seconds: float) -> timedelta:
    return datetime.fromtimestamp(seconds).astimezone().utcoffset() or timedelta()


async def _remove_old(device: Device, old: Entry) -> None:
    try:
        await writing.delete(device, old.handle)
    except ResponseError as error:
        if error.code != Response.InvalidObjectHandle:  # gone already: as it should be
            raise


async def _check_name(device: Device, handle: int, name: str) -> None:
    """Refuse a name that the device silently stored as another one."""
    if not names.may_be_altered(name):
        return
    described = await listing.entry(device, handle)
    if described.name != name:
        with contextlib.suppress(ResponseError):
            await writing.delete(device, handle)
        raise FsError(errno.EINVAL, f"the device stores {name!r} as {described.name!r}")


async def _check_room(device: Device, storage: Storage, growth: int) -> None:
    if growth > 0 and (await device.storage(storage.id)).free < growth:
        raise FsError(errno.ENOSPC)
