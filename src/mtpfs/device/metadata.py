"""What a device knows of one object beyond its place in a listing: its thumbnail, and all of its properties.

Neither is needed to serve files, so nothing here is asked for unless a program wants it. Android answers GeneralError
where there is no thumbnail, and others answer OK with nothing: to a program that is one thing. Properties come as one
list where the device has lists. Else they are asked for one by one, and what is refused is left out: devices list
properties that single objects haven't got. A device without properties (a camera) still has an ObjectInfo.

Invariant: nothing is changed, neither on the device nor in `Device`, but what `Device.call` learns of operations.
"""

from __future__ import annotations

import contextlib
import errno
from dataclasses import fields

from mtpfs import exif
from mtpfs.device import listing, reading
from mtpfs.device.device import Device
from mtpfs.errors import FsError, ProtocolError, ResponseError
from mtpfs.protocol.codes import ALL, Operation, Property, Response
from mtpfs.protocol.datasets import PropertyDescription, decode_property_list
from mtpfs.protocol.wire import Value, decode_integers, decode_value
from mtpfs.session import Handle, Rank

THUMBNAIL_LIMIT = 4 << 20  # bytes; phones send less than 205,000
HEAD = 4096
"""Bytes of a JPEG in which its EXIF tells the orientation; thumbnail and maker's notes come behind that."""
PROPERTY_LIMIT = 1 << 20  # bytes of all properties of one object
_NONE_THERE = {
    Response.GeneralError,
    Response.NoThumbnailPresent,
    Response.InvalidObjectPropCode,
    Response.InvalidObjectPropFormat,
    Response.ObjectPropNotSupported,
}


async def thumbnail(device: Device, handle: Handle, rank: Rank = Rank.METADATA) -> bytes:
    """Return an object's thumbnail, a JPEG nearly always.

    `rank`: after what it waits. Raises `FsError(ENODATA)` where there is none, `FsError(EOPNOTSUPP)`, `ResponseError`,
    and what the session raises. A caller that is cancelled stops waiting.
    """
    try:
        if device.supports(Operation.GetThumb) or not device.supports(Operation.GetObjectPropValue):
            found = (await device.call(Operation.GetThumb, handle, limit=THUMBNAIL_LIMIT, rank=rank)).data
        else:
            found = await _sample(device, handle, rank)
    except ResponseError as error:
        if error.code in _NONE_THERE:
            raise FsError(errno.ENODATA, "the device has no thumbnail of it") from error
        raise
    if not found:
        raise FsError(errno.ENODATA, "the device has no thumbnail of it")
    return bytes(found)


async def upright(device: Device, handle: Handle, size: int, data: bytes, rank: Rank) -> bytes:
    """Return a JPEG's thumbnail with the orientation that the picture has, if the one is embedded in the other.

    Such a thumbnail lies as the sensor saw it, and only the picture's EXIF tells how that was held. One that the
    device has made stands upright already, so both aren't told apart by their looks, but by whether the bytes are in
    the EXIF. Costs one small read; one more for pictures that don't lie as they are. Raises what `reading.read`
    raises. A device that can't read ranges isn't asked: then it stays as it is.
    """
    count = min(size, HEAD)
    if not count or exif.read(data).end or not reading.can_read_ranges(device, count):
        return data
    head = bytes(await reading.read(device, handle, 0, count, size, rank=rank))
    found = exif.read(head)
    if found.orientation == exif.UPRIGHT:
        return data
    if found.end > count and size > count:
        rest = min(size, found.end, exif.LARGEST) - count
        head += bytes(await reading.read(device, handle, count, rest, size, rank=rank))
    return exif.with_orientation(data, found.orientation) if data in head else data


async def _sample(device: Device, handle: Handle, rank: Rank) -> memoryview:
    """Return the "representative sample", a property that is a thumbnail: Sailfish has that instead of GetThumb."""
    result = await device.call(
        Operation.GetObjectPropValue,
        handle,
        Property.RepresentativeSampleData,
        limit=THUMBNAIL_LIMIT,
        rank=rank,
    )
    size = int.from_bytes(result.data[:4], "little")
    if size > len(result.data) - 4:
        raise FsError(errno.ENODATA, "the device sends less of a thumbnail than it says")
    return result.data[4 : 4 + size]


async def properties(device: Device, handle: Handle) -> dict[str, Value]:
    """Return an object's properties by the names that the standard gives them, `0xD901` for codes that it doesn't know.

    A device without properties has the fields of its ObjectInfo (`Filename`, `ObjectCompressedSize`…). Dates are
    text, as the device writes them. Raises `ResponseError` for an object that is gone, and what the session raises. A
    caller that is cancelled stops waiting.
    """
    if device.supports(Operation.GetObjectPropList) and (found := await _listed(device, handle)):
        return found
    info = await listing.object_info(device, handle)
    if device.supports(Operation.GetObjectPropsSupported, Operation.GetObjectPropValue):
        found = await _one_by_one(device, handle, info.object_format)
        if found:
            return found
    return {
        field.name.title().replace("_", ""): getattr(info, field.name)
        for field in fields(info)
        if field.name != "wide"
    }


async def _listed(device: Device, handle: Handle) -> dict[str, Value]:
    try:
        result = await device.call(Operation.GetObjectPropList, handle, 0, ALL, 0, 0, limit=PROPERTY_LIMIT)
    except ResponseError as error:
        if error.code == Response.InvalidObjectHandle:
            raise
        return {}  # the other ways may go
    found: dict[str, Value] = {}
    with contextlib.suppress(ProtocolError):  # what came before it is right
        for element in decode_property_list(result.data):
            if element.handle == handle.number and element.value is not None:
                found[_name(element.property_code)] = element.value
    return found


async def _one_by_one(device: Device, handle: Handle, object_format: int) -> dict[str, Value]:
    try:
        answer = await device.call(Operation.GetObjectPropsSupported, object_format)
    except ResponseError:
        return {}  # then there is the ObjectInfo
    found: dict[str, Value] = {}
    for code in decode_integers(answer.data, 2):
        try:
            description = PropertyDescription.decode(
                (await device.call(Operation.GetObjectPropDesc, code, object_format)).data
            )
            value = await device.call(Operation.GetObjectPropValue, handle, code, limit=PROPERTY_LIMIT)
            found[_name(code)] = decode_value(description.data_type, value.data)
        except (ResponseError, ProtocolError):
            continue  # this object hasn't got it, or it is of a type of the maker's own
        except FsError:
            break  # the device hasn't got the operation after all
    return found


def _name(code: int) -> str:
    try:
        return Property(code).name
    except ValueError:
        return f"0x{code:04X}"
