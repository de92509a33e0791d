"""Changes: uploads, folders, deletion, renaming, moving, and editing in place.

SendObjectInfo and SendObject go in one job on the worker thread, so nothing can come between them. SendObject always
follows, even with zero bytes (without it Android would keep a phantom entry, and QEMU would abort). What a device
would reject only after the data phase has begun is checked here before: AOSP stops serving MTP when it takes the data
of a rejected data phase for a command.

A name that was vacated a moment ago may still be taken (see `recent`). A change that takes such a name and is refused
is tried again for about 3 s. Other devices (Sailfish) free the name at once, hear of the change later, and drop what
has the name by then. Such a device is asked something before, because it hears while it sends data. An OK isn't a
fact: `confirm_size` compares afterwards, `refusal` says whether an error was a full disk. Room isn't counted here: the
caller calls `Room.require` before and `Room.took` after.

Invariant: a failed upload leaves no object behind that this module created, as long as the device answers at all.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from mtpfs.device import listing, reading
from mtpfs.device.device import Device
from mtpfs.device.formats import format_of
from mtpfs.device.recent import PAUSES
from mtpfs.errors import FsError, MtpfsError, RemoteProtocolError, ResponseError, TransportStallError
from mtpfs.protocol.codes import ALL, DataType, Format, Operation, Property, Response
from mtpfs.protocol.datasets import (
    SIZE_UNKNOWN,
    ObjectInfo,
    PropertyElement,
    encode_property_list,
)
from mtpfs.protocol.wire import encode_value
from mtpfs.session import BUSY_PAUSES, DataSource, Engine, Handle, Rank

log = logging.getLogger(__name__)

T = TypeVar("T")

_TAKEN = {Response.GeneralError, Response.AccessDenied}
"""What may mean "that name is taken". MTP has no code for it: Android says GeneralError, and
AccessDenied is what the standard leaves to others. InvalidParameter and InvalidObjectPropValue are
about the name itself, InvalidParentObject about the folder: waiting helps neither."""
_FULL = {Response.GeneralError, Response.StoreFull}
_SLACK = 1 << 20  # bytes: a full disk still has room in odd corners


async def upload(
    device: Device, storage_id: int, parent: Handle, name: str, source: DataSource, modified: float | None
) -> Handle:
    """Create an object with the contents of `source`; return its handle.

    `name` must be free: some devices truncate an existing object, others keep both. `modified`
    (seconds since the epoch) is honoured by Android from 8.1 on. `confirm_size` checks
    the size.

    Raises `ResponseError`, `FsError(EIO)` if the device created nothing, and what the session
    raises; `refusal` tells which of them mean a full disk. It is tried again only after
    SendObjectInfo was refused, when nothing of `source` has been taken. A caller that is cancelled
    stops waiting; what is on the wire is finished, and the object may exist then.
    """
    listed = set(device.info.playback_formats) - device.formats_refused
    object_format = format_of(name, listed)

    async def attempt() -> Handle:
        removed: list[Handle] = []
        left: list[Handle] = []
        job = _upload_job(device, storage_id, parent, name, source, modified, object_format, removed, left)
        try:
            return await _unless_busy(device, parent, job)
        except MtpfsError:
            removed += [fragment for fragment in left if await _was_removed(device, fragment)]
            for fragment in removed:
                device.recent.deleted(fragment, name)
            raise

    try:
        return await _while_vacated(device, name, attempt)
    except ResponseError as error:
        if error.code != Response.InvalidObjectFormatCode or error.operation == Operation.SendObject:
            raise
        if object_format == Format.Undefined:
            raise
        log.info("%s lists format 0x%04X and refuses it", device.name, object_format)
        device.formats_refused.add(object_format)
        object_format = Format.Undefined
        return await _while_vacated(device, name, attempt)


def _upload_job(
    device: Device,
    storage_id: int,
    parent: Handle,
    name: str,
    source: DataSource,
    modified: float | None,
    object_format: int,
    removed: list[Handle],
    left: list[Handle],
) -> Callable[[Engine], Handle]:
    """Return the job that sends one object.

    If the upload fails, `removed` gets the handle if the object was deleted again, and `left` gets it if
    that can be done only when both sides are back in step. If all data was sent and not answered, the
    object may be whole. Then the handle is in neither.
    """
    info = ObjectInfo(
        storage_id=storage_id,
        object_format=object_format,
        object_compressed_size=source.size,
        parent_object=parent.as_parent().number,
        filename=name,
        modification_date="" if modified is None else device.encoded_date(modified),
        wide=device.wide_object_info,
    )
    large = source.size >= SIZE_UNKNOWN and not device.can_edit and not info.wide
    by_list = large and device.supports(Operation.SendObjectPropList)

    def job(engine: Engine) -> Handle:
        if by_list:
            answer = engine.transact(
                Operation.SendObjectPropList,
                storage_id,
                parent.as_parent().number,
                object_format,
                source.size >> 32,
                source.size & 0xFFFFFFFF,
                data=encode_property_list([PropertyElement(0, Property.ObjectFileName, DataType.STR, name)]),
            )
        else:
            answer = engine.transact(
                Operation.SendObjectInfo, storage_id, parent.as_parent().number, data=info.encode()
            )
        handle = answer.handle(2)
        _check_handle(handle)
        try:
            engine.transact(Operation.SendObject, data=source)
        except MtpfsError as error:
            if engine.in_step:
                with contextlib.suppress(ResponseError):  # most devices have removed it themselves
                    engine.transact(Operation.DeleteObject, handle.number, 0)
                removed.append(handle)
            elif isinstance(error, ResponseError) or engine.in_data_phase:
                left.append(handle)
            raise
        return handle

    return job


async def _was_removed(device: Device, fragment: Handle) -> bool:
    try:
        await device.session.transact(Operation.DeleteObject, fragment, 0)
    except ResponseError as error:
        log.debug("fragment %s: %s", fragment, error)  # most devices have removed it themselves
    except MtpfsError as error:
        log.debug("fragment %s stays: %s", fragment, error)
        return False
    return True


async def _unless_busy(device: Device, parent: Handle, job: Callable[[Engine], Handle]) -> Handle:
    """Run an upload, again while the device answers DeviceBusy before it has taken any of the data."""
    for pause in (*BUSY_PAUSES, None):
        try:
            handle = await device.session.run(job, parent, rank=Rank.BULK)
        except ResponseError as error:
            device.note_refusal(error, parent)
            if error.code != Response.DeviceBusy or error.operation == Operation.SendObject or pause is None:
                raise
        else:
            device.operations.note_success(Operation.SendObjectInfo)
            device.recent.created(handle)
            return handle
        await trio.sleep(pause)
    raise AssertionError("the last try returns or raises")


async def _while_vacated(device: Device, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Do a change that takes `name`. If the name became free a moment ago and is refused, try for about 3 s.

    After that the refusal is raised. Nothing is done again after a SendObject has begun.
    """
    vacated = device.recent.was_vacated(name)
    if vacated and device.quirks.notices_late:
        # If it takes notice now, it finds nothing to drop
        await device.call(Operation.GetStorageIDs, limit=4096)
    for pause in (*PAUSES, None):
        try:
            return await attempt()
        except ResponseError as error:
            if error.operation == Operation.SendObject:
                device.recent.vacated(name)  # the fragment is being removed, which takes its time too
                raise
            if pause is None or not vacated or error.code not in _TAKEN:
                raise
            log.debug("%r may still be taken: %s", name, error)
        await trio.sleep(pause)
    raise AssertionError("the last try returns or raises")


async def make_folder(device: Device, storage_id: int, parent: Handle, name: str) -> Handle:
    """Create a folder; return its handle.

    Raises `ResponseError`, `FsError(EIO)` if the device created nothing, `FsError(EOPNOTSUPP)`, and
    what the session raises. A caller that is cancelled stops waiting; the folder may exist then.
    """
    info = ObjectInfo(
        storage_id=storage_id,
        object_format=Format.Association,
        association_type=1,
        parent_object=parent.as_parent().number,
        filename=name,
        wide=device.wide_object_info,
    )

    async def attempt() -> Handle:
        answer = await device.call(
            Operation.SendObjectInfo, storage_id, parent.as_parent(), data=info.encode()
        )
        return answer.handle(2)

    handle = await _while_vacated(device, name, attempt)
    _check_handle(handle)
    device.recent.created(handle)
    return handle


async def delete(device: Device, handle: Handle, name: str) -> None:
    """Delete an object that is called `name`; a folder goes with everything in it.

    For 3 s it is left out of listings, and a refusal of its name is doubted. OK is no proof: cameras
    give it for protected objects, which show again after that time. Raises `ResponseError`,
    `FsError(EOPNOTSUPP)`, and what the session raises.
    """
    await device.call(Operation.DeleteObject, handle, 0)
    device.recent.deleted(handle, name)


async def rename(device: Device, handle: Handle, old: str, new: str) -> None:
    """Call an object `new` instead of `old`, in its folder; `new` must be free there.

    The name that the device stores may differ from `new` where it has odd characters. Raises
    `ResponseError`, `FsError(EOPNOTSUPP)`, and what the session raises.
    """

    async def attempt() -> None:
        await device.call(
            Operation.SetObjectPropValue,
            handle,
            Property.ObjectFileName,
            data=encode_value(DataType.STR, new),
        )

    await _while_vacated(device, new, attempt)
    device.recent.renamed(handle, old)


async def move(device: Device, handle: Handle, storage_id: int, parent: Handle, name: str) -> None:
    """Move an object to another folder under its own `name` (root is parent 0 here, unlike in uploads).

    Between storages the device copies, which takes minutes. Raises `ResponseError`,
    `FsError(EOPNOTSUPP)`, and what the session raises.
    """

    async def attempt() -> None:
        await device.call(Operation.MoveObject, handle, storage_id, parent)

    await _while_vacated(device, name, attempt)
    device.recent.moved(handle, parent, name)


async def copy(device: Device, handle: Handle, storage_id: int, parent: Handle, name: str) -> Handle:
    """Copy an object, and all that is in a folder, to another folder under its own `name`; return the copy's handle.

    `name` must be free there. The handle is a hint: its number is 0 where the device doesn't tell it, and Android
    cuts it to 16 bits. Raises `ResponseError`, `FsError(EOPNOTSUPP)`, and what the session raises. A caller that is
    cancelled stops waiting; the copy may exist then.
    """

    async def attempt() -> Handle:
        answer = await device.call(Operation.CopyObject, handle, storage_id, parent)
        return answer.handle(0)

    made = await _while_vacated(device, name, attempt)
    return Handle(0, made.generation) if made.number == ALL else made


# --- what came of it ----------------------------------------------------------------------


async def confirm_size(device: Device, storage_id: int, handle: Handle, size: int) -> None:
    """Return if the object has `size` bytes on the device now.

    ObjectInfo is asked; where it differs, it may be stale (Tizen's is after a file has grown), so the
    last byte is read. If that isn't there, or there is more, the device was caught: from now on
    `Room.must_confirm` is True. Raises `FsError` then, ENOSPC if the room is short now, else EIO;
    `ResponseError` when the object is gone, and what the session raises.
    """
    described = await listing.entry(device, handle)
    if described.size == size or (not described.size_known and size >= SIZE_UNKNOWN):
        return
    told = described.size
    if await _ends_at(device, handle, size, told):
        if not device.stale_sizes:
            log.info("%s tells old sizes of changed files", device.name)
        device.stale_sizes = True
        return
    device.room.note_caught()
    missing = max(size - told, _SLACK)
    message = f"{size} bytes of {described.name!r} were answered OK, the device has {told}"
    log.warning("%s: %s", device.name, message)
    raise FsError(errno.ENOSPC if await device.room.is_short(storage_id, missing) else errno.EIO, message)


async def _ends_at(device: Device, handle: Handle, size: int, told: int) -> bool:
    """Tell whether an object ends after `size` bytes, by reading; never beyond what it is told to have."""
    try:
        if size and not await reading.read(device, handle, size - 1, 1, None, rank=Rank.METADATA):
            return False
        return told <= size or not await reading.read(device, handle, size, 1, None, rank=Rank.METADATA)
    except (ResponseError, FsError) as error:
        log.debug("the end of object %s can't be read: %s", handle, error)
        return False


async def refusal(device: Device, storage_id: int, error: MtpfsError, count: int) -> MtpfsError:
    """Return what `error`, of a change that needed `count` bytes of room, means: ENOSPC, or the error itself.

    Devices that are full say GeneralError, stall, or answer something that isn't MTP (Android does
    each of these). So the room is asked for. Raises nothing but cancellation.
    """
    full = isinstance(error, TransportStallError | RemoteProtocolError) or (
        isinstance(error, ResponseError) and error.code in _FULL
    )
    if not full:
        return error
    try:
        short = await device.room.is_short(storage_id, count)
    except MtpfsError as failure:
        log.debug("nor does the device tell its room: %s", failure)
        return error
    return FsError(errno.ENOSPC, f"{count} bytes don't fit ({error})") if short else error


# --- editing in place (Android's extension) -----------------------------------------------


async def begin_edit(device: Device, handle: Handle) -> None:
    """Open an object for editing; an edit left open by a crashed host is ended first.

    Raises `ResponseError`, `FsError(EOPNOTSUPP)`, and what the session raises. A caller that is cancelled stops
    waiting; the edit may be open then.
    """
    try:
        await device.call(Operation.BeginEditObject, handle)
    except ResponseError as error:
        if error.code != Response.GeneralError:
            raise
        await device.call(Operation.EndEditObject, handle)
        await device.call(Operation.BeginEditObject, handle)


async def write(device: Device, handle: Handle, offset: int, source: DataSource) -> None:
    """Write inside an open edit; `offset` (bytes) must not lie beyond the current size.

    The count in Android's response leaves out the bytes that came with the header, so it isn't looked at: the device
    either took all or failed. Raises `ResponseError`, and what the session raises. A caller that is cancelled stops
    waiting; what is on the wire is finished.
    """
    await device.call(
        Operation.SendPartialObject,
        handle,
        offset & 0xFFFFFFFF,
        offset >> 32,
        source.size,
        data=source,
        rank=Rank.BULK,
    )


async def truncate(device: Device, handle: Handle, size: int) -> None:
    """Set the size in bytes inside an open edit; growth reads as zeros. Raises what `begin_edit` raises."""
    await device.call(Operation.TruncateObject, handle, size & 0xFFFFFFFF, size >> 32)


async def end_edit(device: Device, handle: Handle) -> None:
    """Close an edit: the device publishes the new size and date. Raises what `begin_edit` raises."""
    device.recent.written(handle)  # before, because it may be announced before it is answered
    await device.call(Operation.EndEditObject, handle)


def _check_handle(handle: Handle) -> None:
    # uMTP-Responder answers OK with handle 0xFFFFFFFF when the parent is no folder.
    if handle.number in {0, ALL}:
        raise FsError(errno.EIO, f"the device created object {handle}, which is none")
