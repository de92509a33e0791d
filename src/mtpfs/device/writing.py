"""Changes: uploads, folders, deletion, renaming, moving, and editing in place.

Strategy: SendObjectInfo and SendObject go in one job on the worker thread, so
nothing can come between them, and SendObject always follows, be it with zero
bytes (Android would keep a phantom entry, QEMU would abort). What a device
would reject only after the data phase has begun is checked here before, for
AOSP stops serving MTP when a rejected data phase hits it as a command.

Invariant: a failed upload leaves no object behind that this module created,
as long as the device answers at all.
"""

from __future__ import annotations

import contextlib
import errno
import logging

import trio

from mtpfs.device.device import Device
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import ALL, DataType, Format, Operation, Property, Response
from mtpfs.protocol.datasets import (
    SIZE_UNKNOWN,
    ObjectInfo,
    PropertyDescription,
    PropertyElement,
    encode_property_list,
)
from mtpfs.protocol.dates import encode_date
from mtpfs.protocol.wire import encode_value
from mtpfs.session import BUSY_PAUSES, DataSource, Engine, Handle

log = logging.getLogger(__name__)


async def upload(
    device: Device, storage_id: int, parent: Handle, name: str, source: DataSource, modified: float | None
) -> Handle:
    """Create an object with the contents of `source`; return its handle.

    `name` must be free: some devices truncate an existing object, others keep
    both. `modified` (seconds since the epoch) is honoured by Android from 8.1 on.
    """
    info = ObjectInfo(
        storage_id=storage_id,
        object_format=Format.Undefined,
        object_compressed_size=source.size,
        parent_object=parent.as_parent().number,
        filename=name,
        modification_date="" if modified is None else encode_date(modified),
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
                Format.Undefined,
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
        except MtpfsError:
            if engine.in_step:
                with contextlib.suppress(ResponseError):  # most devices have removed it themselves
                    engine.transact(Operation.DeleteObject, handle.number, 0)
            raise
        return handle

    for pause in BUSY_PAUSES:
        try:
            return await device.session.run(job, parent, bulk=True)
        except ResponseError as error:
            device.note_unknown(error, parent)
            if error.code != Response.DeviceBusy or error.operation == Operation.SendObject:
                raise  # nothing of `source` has been taken in the case that goes on
        await trio.sleep(pause)
    return await device.session.run(job, parent, bulk=True)


async def make_folder(device: Device, storage_id: int, parent: Handle, name: str) -> Handle:
    """Create a folder; return its handle."""
    info = ObjectInfo(
        storage_id=storage_id,
        object_format=Format.Association,
        association_type=1,
        parent_object=parent.as_parent().number,
        filename=name,
        wide=device.wide_object_info,
    )
    answer = await device.call(
        Operation.SendObjectInfo, storage_id, parent.as_parent(), data=info.encode()
    )
    handle = answer.handle(2)
    _check_handle(handle)
    return handle


async def delete(device: Device, handle: Handle) -> None:
    """Delete an object; a folder goes with everything in it."""
    await device.call(Operation.DeleteObject, handle, 0)


async def rename(device: Device, handle: Handle, name: str) -> None:
    """Give an object another name in its folder; the name must be free."""
    await device.call(
        Operation.SetObjectPropValue,
        handle,
        Property.ObjectFileName,
        data=encode_value(DataType.STR, name),
    )


async def move(device: Device, handle: Handle, storage_id: int, parent: Handle) -> None:
    """Move an object to another folder under its own name (root is parent 0 here, unlike in uploads)."""
    await device.call(Operation.MoveObject, handle, storage_id, parent)


async def set_modified(device: Device, handle: Handle, modified: float) -> bool:
    """Set an existing object's date; tell whether the device did (Android never does)."""
    if not await can_set_dates(device):
        return False
    try:
        await device.call(
            Operation.SetObjectPropValue,
            handle,
            Property.DateModified,
            data=encode_value(DataType.STR, encode_date(modified)),
        )
    except ResponseError as error:
        log.info("DateModified can't be set after all: %s", error)
        device.dates_writable = False
        return False
    return True


async def can_set_dates(device: Device) -> bool:
    """Tell whether the device says that dates of existing objects can be set; asks it once."""
    if device.dates_writable is None:
        device.dates_writable = await _dates_writable(device)
    return device.dates_writable


async def _dates_writable(device: Device) -> bool:
    if not device.supports(Operation.SetObjectPropValue, Operation.GetObjectPropDesc):
        return False
    try:
        answer = await device.call(Operation.GetObjectPropDesc, Property.DateModified, Format.Undefined)
        return PropertyDescription.decode(answer.data).writable
    except MtpfsError as error:
        log.debug("no description of DateModified: %s", error)
        return False


# --- editing in place (Android's extension) -----------------------------------------------


async def begin_edit(device: Device, handle: Handle) -> None:
    """Open an object for editing; an edit left open by a crashed host is ended first."""
    try:
        await device.call(Operation.BeginEditObject, handle)
    except ResponseError as error:
        if error.code != Response.GeneralError:
            raise
        await device.call(Operation.EndEditObject, handle)
        await device.call(Operation.BeginEditObject, handle)


async def write(device: Device, handle: Handle, offset: int, data: bytes) -> None:
    """Write inside an open edit; `offset` must not lie beyond the current size.

    The count in Android's response leaves out the bytes that came with the
    header, so it isn't looked at: the device either took all or failed.
    """
    await device.call(
        Operation.SendPartialObject,
        handle,
        offset & 0xFFFFFFFF,
        offset >> 32,
        len(data),
        data=data,
        bulk=True,
    )


async def truncate(device: Device, handle: Handle, size: int) -> None:
    """Set the size inside an open edit; growth reads as zeros."""
    await device.call(Operation.TruncateObject, handle, size & 0xFFFFFFFF, size >> 32)


async def end_edit(device: Device, handle: Handle) -> None:
    """Close an edit: the device publishes the new size and date."""
    await device.call(Operation.EndEditObject, handle)


def _check_handle(handle: Handle) -> None:
    # uMTP-Responder answers OK with handle 0xFFFFFFFF when the parent is no folder.
    if handle.number in {0, ALL}:
        raise FsError(errno.EIO, f"the device created object {handle}, which is none")
