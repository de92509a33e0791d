"""Directories: GetObjectHandles for what is there, property lists for what it looks like.

Four GetObjectPropList transactions (depth 1, one property each: name, format, size, date) describe a whole directory
on Android. All properties in one request would cost its media database one query per object. The handles are the
truth: what the lists don't cover is asked for one by one with GetObjectInfo. A device whose lists keep missing
objects isn't asked for lists again (uMTP-Responder never reports children, libmtp #126).

What was deleted a moment ago may still be listed (Android); it is left out as long as that can be so. Dates: Android
up to 8 tells 1970 or nothing in lists and the truth in ObjectInfo. Whether that is so is found out once per device,
by one object. After that `date_elsewhere` says where to ask, because one GetObjectInfo per file of a listing would be
slow. A size of 4 GiB or more that the device can't tell is no error: `size_known` is False.

Invariant: one bad object never hides a directory; it is skipped and logged. Only a directory in which every object
fails is an error, never "empty"; but if there is only one, and what is said of it makes no sense, the directory is
empty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container, Iterator
from dataclasses import replace
from itertools import islice

import trio

from mtpfs.device.device import Device
from mtpfs.device.objects import Entry, is_folder
from mtpfs.device.recent import PAUSES
from mtpfs.errors import ProtocolError, RemoteProtocolError, ResponseError
from mtpfs.protocol.codes import ALL, DataType, Operation, Property, Response
from mtpfs.protocol.datasets import SIZE_UNKNOWN, ObjectInfo, decode_property_list
from mtpfs.protocol.dates import decode_date
from mtpfs.protocol.wire import Value, decode_integers
from mtpfs.redaction import hide_name
from mtpfs.session import Handle, Result

log = logging.getLogger(__name__)

MAX_HANDLES = 1 << 18  # objects in one directory; more than that is a lie
MAX_SIZE = (1 << 63) - 1  # bytes of a file; the kernel can't say more
LIST_LIMIT = 64 << 20  # bytes of a property list
ATTEMPTS = 3  # at a directory whose objects get other handles, or hide, while they are asked for
FEW = 4  # up to here asking one by one costs no more transactions than lists
LIST_FAILURES = 3  # incomplete property lists after which they are given up
FIRST_POSSIBLE = 365 * 86400.0  # seconds: before 1971 there is no date, only clocks that were never set
DATES_COMPARED = 3  # objects that have no date anywhere, after which lists are believed
_READ_ONLY = {0x0001, 0x8002}  # ProtectionStatus: read-only, read-only data
_PROPERTIES = (Property.ObjectFileName, Property.ObjectFormat, Property.ObjectSize, Property.DateModified)


async def children(device: Device, storage_id: int, parent: Handle) -> list[Entry]:
    """Return the objects in a folder (`parent` 0: the storage's root), in the device's order.

    What was deleted less than 3 s ago is left out. Raises `ResponseError` if folder or storage are gone,
    `RemoteProtocolError` if handles don't last, and what the session raises. A single object that can't be
    described is left out, and raises only if that is so for all of them.
    """
    handles = await child_handles(device, storage_id, parent)
    found: dict[Handle, Entry] = {}
    failures: dict[Handle, ResponseError | ProtocolError] = {}
    for _ in range(ATTEMPTS):
        asked = [handle for handle in handles if handle not in found and handle not in failures]
        await _describe(device, parent, asked, found, failures)
        if all(handle in found or handle in failures for handle in asked):
            break
        # Some have gone, it seems. Which are still there: the phone may have been locked for a moment.
        again = await child_handles(device, storage_id, parent)
        before, now = set(handles), set(again)
        renumbered = bool(before - now) and bool(now - before)
        if renumbered:
            log.debug("the objects of folder %s have got other handles meanwhile", parent)
            found, failures = {}, {}
        handles = again
    else:
        if renumbered:
            raise RemoteProtocolError(f"the objects of folder {parent} get other handles again and again")
        # One that stays listed though it is gone (Tizen) mustn't cost the others, nor what has been added meanwhile.
        missing = [handle for handle in handles if handle not in found and handle not in failures]
        await _describe(device, parent, missing, found, failures)
    if failures:
        device.undescribed[storage_id, parent] = len(failures)
    else:
        device.undescribed.pop((storage_id, parent), None)
    for handle, failure in failures.items():
        log.warning("object %s in folder %s is skipped: %s", handle, parent, failure)
    makes_no_sense = [failure for failure in failures.values() if isinstance(failure, ProtocolError)]
    # One alone may be an object that is none: uMTP-Responder lists a nameless one for what was renamed too soon.
    if failures and not found and len(failures) > len(makes_no_sense[:1]):
        raise next(iter(failures.values()))
    return [found[handle] for handle in handles if handle in found]


async def _describe(
    device: Device,
    parent: Handle,
    handles: list[Handle],
    found: dict[Handle, Entry],
    failures: dict[Handle, ResponseError | ProtocolError],
) -> None:
    """Describe objects into `found`, and those that can't be into `failures`; into neither if the device knows none."""
    if len(handles) > FEW and device.supports(Operation.GetObjectPropList):
        found |= await _from_lists(
            device, parent, [handle for handle in handles if not device.recent.was_renamed(handle)]
        )
    missing = [handle for handle in handles if handle not in found]
    for handle, result in zip(missing, await _object_infos(device, missing), strict=True):
        try:
            found[handle] = await entry_of(device, handle, _decoded(device, result))
        except (ResponseError, ProtocolError) as error:
            if not isinstance(error, ResponseError) or error.code != Response.InvalidObjectHandle:
                failures[handle] = error


async def child_handles(device: Device, storage_id: int, parent: Handle) -> list[Handle]:
    """Return the handles in a folder, each once, without the two values that name no object.

    Those that were deleted, or moved to another folder, less than 3 s ago are left out. Raises `ResponseError` if
    folder or storage are gone, and what the session raises.
    """
    return [
        handle
        for handle in device.recent.without_ghosts(await _listed(device, storage_id, parent))
        if not device.recent.is_elsewhere(handle, parent)
    ]


async def find(
    device: Device, storage_id: int, parent: Handle, is_it: Callable[[Entry], bool], known: Collection[Handle]
) -> Handle | None:
    """Return the handle of the object in a folder that fits, if it isn't in `known`; None: there is none.

    For an object that has got another handle. Only what isn't known is described, the youngest first. Raises
    `ResponseError` (folder or storage gone) and what the session raises.
    """
    for _ in range(ATTEMPTS):
        has_gone = False
        unknown = set(await child_handles(device, storage_id, parent)).difference(known)
        for handle in sorted(unknown, key=lambda handle: -handle.number):
            try:
                described = await entry(device, handle)
            except (ResponseError, ProtocolError) as error:
                if isinstance(error, ResponseError) and error.code != Response.InvalidObjectHandle:
                    raise
                log.debug("object %s can't be the one: %s", handle, error)
                has_gone = True
                continue
            if is_it(described):
                return handle
        if not has_gone:  # else it may have got yet another one
            break
    return None


async def is_in(device: Device, parent: Handle, handle: Handle, is_it: Callable[[Entry], bool]) -> bool:
    """Tell whether an object fits, and certainly is in the folder `parent`. Raises what the session raises."""
    try:
        info = await object_info(device, handle)
        fits = is_it(await entry_of(device, handle, info))
    except (ResponseError, ProtocolError) as error:
        log.debug("object %s can't be the one: %s", handle, error)
        return False
    return fits and info.parent_object in {parent.number, parent.as_parent().number}


async def is_empty(device: Device, storage_id: int, parent: Handle, ignore: Container[Handle]) -> bool:
    """Ask the device whether a folder has nothing in it but what `ignore` holds.

    What was deleted, or moved away, a moment ago and is still listed is waited for, up to 3 s, and never trusted
    gone: a camera that answers OK and deletes nothing would lose it with the folder. Anything else is
    False at once. Raises what `child_handles` raises; a caller that is cancelled has changed nothing.
    """
    for pause in (*PAUSES, None):
        there = [handle for handle in await _listed(device, storage_id, parent) if handle not in ignore]
        if not there:
            return True
        if pause is None or not all(
            device.recent.is_ghost(handle) or device.recent.is_elsewhere(handle, parent) for handle in there
        ):
            break
        await trio.sleep(pause)
    return False


async def _listed(device: Device, storage_id: int, parent: Handle) -> list[Handle]:
    result = await device.call(
        Operation.GetObjectHandles, storage_id, 0, parent.as_parent(), limit=4 * MAX_HANDLES + 4
    )
    numbers = dict.fromkeys(decode_integers(result.data))
    return [Handle(number, result.generation) for number in numbers if number not in {0, ALL}]


async def entry(device: Device, handle: Handle) -> Entry:
    """Describe one object by GetObjectInfo (and ObjectSize from 4 GiB on).

    Raises `ResponseError` InvalidObjectHandle when it is gone, `ProtocolError` when the answer
    makes no sense, and what the session raises. What it says of the date is final.
    """
    return await entry_of(device, handle, await object_info(device, handle))


async def object_info(device: Device, handle: Handle) -> ObjectInfo:
    """Return an object's ObjectInfo.

    Raises `ResponseError` InvalidObjectHandle when it is gone, `ProtocolError` when the answer makes no sense,
    and what the session raises.
    """
    return _decoded(device, await device.call(Operation.GetObjectInfo, handle))


async def _object_infos(device: Device, handles: list[Handle]) -> list[Result | ResponseError]:
    results = await device.session.transact_each(Operation.GetObjectInfo, handles)
    for index, result in enumerate(results):
        if isinstance(result, ResponseError) and result.code == Response.DeviceBusy:
            try:
                results[index] = await device.call(Operation.GetObjectInfo, handles[index])
            except ResponseError as error:
                results[index] = error
    return results


def _decoded(device: Device, result: Result | ResponseError) -> ObjectInfo:
    if isinstance(result, ResponseError):
        raise result
    if not result.data:
        # uMTP-Responder answers OK with nothing for an object that was deleted meanwhile
        raise ResponseError(Operation.GetObjectInfo, Response.InvalidObjectHandle)
    info = ObjectInfo.decode(result.data)
    hide_name(info.filename)
    device.wide_object_info |= info.wide
    return info


async def entry_of(device: Device, handle: Handle, info: ObjectInfo) -> Entry:
    """Turn an ObjectInfo into an entry; asks for ObjectSize where 32 bits don't hold the size.

    Raises what `object_size` raises.
    """
    folder = is_folder(info.object_format)
    size: int | None = 0 if folder else info.object_compressed_size
    if size == SIZE_UNKNOWN and not info.wide:
        size = await object_size(device, handle)
    modified = decode_date(info.modification_date or info.capture_date, device.zone)
    return Entry(
        handle,
        info.filename,
        folder,
        SIZE_UNKNOWN if size is None else min(size, MAX_SIZE),
        modified,
        size_known=size is not None,
        protected=info.protection_status in _READ_ONLY,
    )


async def object_size(device: Device, handle: Handle) -> int | None:
    """Return the property ObjectSize, bytes in 64 bits; None: the device has none, or none that says more.

    Raises `ResponseError` InvalidObjectHandle when the object is gone, and what the session raises.
    """
    if not device.supports(Operation.GetObjectPropValue):
        return None
    try:
        result = await device.call(Operation.GetObjectPropValue, handle, Property.ObjectSize)
    except ResponseError as error:
        if error.code == Response.InvalidObjectHandle:
            raise
        log.debug("object %s has no ObjectSize: %s", handle, error)
        return None
    if len(result.data) == 8:
        return int.from_bytes(result.data, "little")
    if len(result.data) == 4:  # a few old players
        size = int.from_bytes(result.data, "little")
        return size if size != SIZE_UNKNOWN else None
    log.debug("ObjectSize of %d bytes", len(result.data))
    return None


async def _from_lists(device: Device, parent: Handle, handles: list[Handle]) -> dict[Handle, Entry]:
    values: dict[int, dict[int, Value]] = {handle.number: {} for handle in handles}
    for code in _PROPERTIES:
        try:
            result = await device.call(Operation.GetObjectPropList, parent, 0, code, 0, 1, limit=LIST_LIMIT)
        except ResponseError as error:
            log.debug("no property list of folder %s: %s", parent, error)
            break
        # Some devices tell of more than the folder; but what can't be meant is not read to its end.
        for number, value in islice(_values(result.data, parent, code), 4 * MAX_HANDLES):
            if number in values:
                values[number][code] = value
        if code == _PROPERTIES[0] and not any(values.values()):
            break  # nothing about the children at all: the other lists won't know more
    found = {
        handle: described
        for handle in handles
        if (described := _described(device, handle, values[handle.number])) is not None
    }
    if len(found) < len(handles):
        device.property_lists_fail += 1
        if not found or device.property_lists_fail >= LIST_FAILURES:
            device.operations.withdraw(Operation.GetObjectPropList, "its lists lack objects")
    return await _with_dates(device, found)


async def _with_dates(device: Device, found: dict[Handle, Entry]) -> dict[Handle, Entry]:
    """Say of dates that a list can't have meant where the truth is; find that out at the first ones."""
    impossible = [described for described in found.values() if not _is_possible(described.modified)]
    if impossible and device.dates_in_lists is None:
        # A file rather than a folder, whose date may be missing for reasons of its own.
        sample = min(impossible, key=lambda described: described.is_folder)
        try:
            truth = await entry(device, sample.handle)
        except (ResponseError, ProtocolError) as error:
            log.debug("object %s says nothing of its date: %s", sample.handle, error)
        else:
            if _is_possible(truth.modified):
                log.info("%s tells dates in ObjectInfo only", device.name)
                device.dates_in_lists = False
            else:
                device.dates_compared += 1
                if device.dates_compared >= DATES_COMPARED:
                    device.dates_in_lists = True
    if device.dates_in_lists is False:
        for described in impossible:
            found[described.handle] = replace(described, modified=None, date_elsewhere=True)
    return found


def _is_possible(modified: float | None) -> bool:
    return modified is not None and modified >= FIRST_POSSIBLE


def _values(data: memoryview, parent: Handle, code: int) -> Iterator[tuple[int, Value]]:
    """Yield (handle's number, value) of one property; what can't be decoded ends the list."""
    try:
        for element in decode_property_list(data):
            if element.property_code == code and element.data_type != DataType.UNDEF:
                yield element.handle, element.value
    except ProtocolError as error:
        log.debug("property list of folder %s broken off: %s", parent, error)


def _described(device: Device, handle: Handle, properties: dict[int, Value]) -> Entry | None:
    name = properties.get(Property.ObjectFileName)
    object_format = properties.get(Property.ObjectFormat)
    size = properties.get(Property.ObjectSize)
    date = properties.get(Property.DateModified)
    if not isinstance(name, str) or not isinstance(object_format, int):
        return None
    hide_name(name)
    folder = is_folder(object_format)
    if not folder and not isinstance(size, int):
        return None
    modified = decode_date(date, device.zone) if isinstance(date, str) else None
    size = 0 if folder or not isinstance(size, int) else min(max(size, 0), MAX_SIZE)
    return Entry(handle, name, folder, size, modified or None)
