"""MTP's datasets: DeviceInfo, StorageInfo, ObjectInfo, property lists and descriptions.

Each is a frozen dataclass with `encode` and `decode`, or a tuple where a listing has very many. Its fields have the
names and the order of MTP 1.1 chapter 5. Decoding accepts what real devices do: a missing tail, a count that is too
large, a 64-bit size in ObjectInfo. It rejects what can't be understood.

Invariant: `X.decode(x.encode()) == x`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mtpfs.errors import RemoteProtocolError
from mtpfs.protocol.codes import DataType, Format
from mtpfs.protocol.wire import Reader, Value, Writer

SIZE_UNKNOWN = 0xFFFFFFFF
"""ObjectCompressedSize that stands for "4 GiB - 1 or more": ask for the property ObjectSize."""

_ELEMENT = struct.Struct("<IHH")  # how an element of a property list begins: handle, property, data type

Data = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What the device is and can do (MTP 1.1 section 5.1.1)."""

    standard_version: int = 100
    vendor_extension_id: int = 6
    vendor_extension_version: int = 100
    vendor_extension_desc: str = ""
    functional_mode: int = 0
    operations_supported: tuple[int, ...] = ()
    events_supported: tuple[int, ...] = ()
    device_properties_supported: tuple[int, ...] = ()
    capture_formats: tuple[int, ...] = ()
    playback_formats: tuple[int, ...] = ()
    manufacturer: str = ""
    model: str = ""
    device_version: str = ""
    serial_number: str = ""

    @classmethod
    def decode(cls, data: Data) -> DeviceInfo:
        """Decode. Of the last four strings those that are missing are empty (some players cut them off).

        Raises `RemoteProtocolError` where it ends in the middle of a field, or before these four.
        """
        reader = Reader(data)
        return cls(
            reader.u16(),
            reader.u32(),
            reader.u16(),
            reader.string(),
            reader.u16(),
            *(reader.integers(2) for _ in range(5)),  # type: ignore[arg-type] # mypy can't count what a star brings
            *(reader.string() if reader.remaining else "" for _ in range(4)),
        )

    def encode(self) -> bytes:
        """Return the bytes. Raises `LocalProtocolError` for what doesn't fit."""
        writer = Writer()
        writer.u16(self.standard_version)
        writer.u32(self.vendor_extension_id)
        writer.u16(self.vendor_extension_version)
        writer.string(self.vendor_extension_desc)
        writer.u16(self.functional_mode)
        for codes in (
            self.operations_supported,
            self.events_supported,
            self.device_properties_supported,
            self.capture_formats,
            self.playback_formats,
        ):
            writer.integers(codes, 2)
        for text in (self.manufacturer, self.model, self.device_version, self.serial_number):
            writer.string(text)
        return writer.to_bytes()


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """One storage (MTP 1.1 section 5.2.2); capacities in bytes."""

    storage_type: int = 3
    filesystem_type: int = 2
    access_capability: int = 0
    max_capacity: int = 0
    free_space_in_bytes: int = 0
    free_space_in_objects: int = 0x40000000
    storage_description: str = ""
    volume_identifier: str = ""

    @classmethod
    def decode(cls, data: Data) -> StorageInfo:
        """Decode. A missing string is empty; raises `RemoteProtocolError` where a number is missing."""
        reader = Reader(data)
        return cls(
            reader.u16(),
            reader.u16(),
            reader.u16(),
            reader.u64(),
            reader.u64(),
            reader.u32(),
            reader.string() if reader.remaining else "",
            reader.string() if reader.remaining else "",
        )

    def encode(self) -> bytes:
        """Return the bytes. Raises `LocalProtocolError` for what doesn't fit."""
        writer = Writer()
        writer.u16(self.storage_type)
        writer.u16(self.filesystem_type)
        writer.u16(self.access_capability)
        writer.u64(self.max_capacity)
        writer.u64(self.free_space_in_bytes)
        writer.u32(self.free_space_in_objects)
        writer.string(self.storage_description)
        writer.string(self.volume_identifier)
        return writer.to_bytes()


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object (MTP 1.1 section 5.3.1).

    `wide` tells the variant of older Samsung phones, whose size field has 64
    bits; a device that sends it wants it back in SendObjectInfo.
    """

    storage_id: int = 0
    object_format: int = Format.Undefined
    protection_status: int = 0
    object_compressed_size: int = 0
    thumb_format: int = 0
    thumb_compressed_size: int = 0
    thumb_pix_width: int = 0
    thumb_pix_height: int = 0
    image_pix_width: int = 0
    image_pix_height: int = 0
    image_bit_depth: int = 0
    parent_object: int = 0
    association_type: int = 0
    association_desc: int = 0
    sequence_number: int = 0
    filename: str = ""
    capture_date: str = ""
    modification_date: str = ""
    keywords: str = ""
    wide: bool = False

    @classmethod
    def decode(cls, data: Data) -> ObjectInfo:
        """Decode; finds out by itself whether the size has 64 bits (`wide`).

        Missing strings are empty. Raises `RemoteProtocolError` where a number is missing.
        """
        view = memoryview(data)
        # With a 64-bit size everything after it stands 4 bytes later: the file name's
        # length byte at 56 instead of 52 (libmtp's test).
        wide = len(view) > 56 and view[52] == 0 and view[56] != 0
        reader = Reader(view)
        return cls(
            storage_id=reader.u32(),
            object_format=reader.u16(),
            protection_status=reader.u16(),
            object_compressed_size=reader.u64() if wide else reader.u32(),
            thumb_format=reader.u16(),
            thumb_compressed_size=reader.u32(),
            thumb_pix_width=reader.u32(),
            thumb_pix_height=reader.u32(),
            image_pix_width=reader.u32(),
            image_pix_height=reader.u32(),
            image_bit_depth=reader.u32(),
            parent_object=reader.u32(),
            association_type=reader.u16(),
            association_desc=reader.u32(),
            sequence_number=reader.u32(),
            filename=reader.string() if reader.remaining else "",
            capture_date=reader.string() if reader.remaining else "",
            modification_date=reader.string() if reader.remaining else "",
            keywords=reader.string() if reader.remaining else "",
            wide=wide,
        )

    def encode(self) -> bytes:
        """Return the bytes, with a size of 64 bits if it is `wide`.

        Else a size of 4 GiB - 1 or more is written as `SIZE_UNKNOWN`. Raises `LocalProtocolError` for what doesn't fit.
        """
        writer = Writer()
        writer.u32(self.storage_id)
        writer.u16(self.object_format)
        writer.u16(self.protection_status)
        if self.wide:
            writer.u64(self.object_compressed_size)
        else:
            writer.u32(min(self.object_compressed_size, SIZE_UNKNOWN))
        writer.u16(self.thumb_format)
        for number in (
            self.thumb_compressed_size,
            self.thumb_pix_width,
            self.thumb_pix_height,
            self.image_pix_width,
            self.image_pix_height,
            self.image_bit_depth,
            self.parent_object,
        ):
            writer.u32(number)
        writer.u16(self.association_type)
        writer.u32(self.association_desc)
        writer.u32(self.sequence_number)
        for text in (self.filename, self.capture_date, self.modification_date, self.keywords):
            writer.string(text)
        return writer.to_bytes()


class PropertyElement(NamedTuple):
    """One element of an ObjectPropList: a property of an object, with its type and value.

    A tuple, because a listing makes one for each property of each object.
    """

    handle: int
    property_code: int
    data_type: int
    value: Value


def encode_property_list(elements: Iterable[PropertyElement]) -> bytes:
    """Encode an ObjectPropList (MTP 1.1 annex E.2.1).

    Raises `LocalProtocolError` for a value that isn't of its element's type.
    """
    writer, count = Writer(), 0
    for count, element in enumerate(elements, 1):  # noqa: B007 - the last count is the number of elements
        writer.u32(element.handle)
        writer.u16(element.property_code)
        writer.u16(element.data_type)
        writer.value(element.data_type, element.value)
    return count.to_bytes(4, "little") + writer.to_bytes()


def decode_property_list(data: Data) -> Iterator[PropertyElement]:
    """Yield the elements of an ObjectPropList (MTP 1.1 annex E.2.1), as they are read.

    The count may be larger than what follows (Creative players): the end of the data ends the list.
    Raises `RemoteProtocolError` at an element that is cut in the middle, or is of an unknown type. All
    elements before it were yielded then.
    """
    reader = Reader(data)
    count = reader.u32()
    while count and reader.remaining:
        handle, code, data_type = reader.fields(_ELEMENT)
        yield PropertyElement(handle, code, data_type, reader.value(data_type))
        count -= 1


@dataclass(frozen=True, slots=True)
class PropertyDescription:
    """ObjectPropDesc (MTP 1.1 section 5.3.2.1): type, access and allowed values of a property.

    `form` holds what belongs to `form_flag`: range (minimum, maximum, step),
    enumeration (the values), length for 4, 6 and 0xFF, a regular expression
    for 5, nothing for 0 and 3.
    """

    property_code: int
    data_type: int
    writable: bool
    default: Value
    group_code: int = 0
    form_flag: int = 0
    form: tuple[Value, ...] = ()

    @classmethod
    def decode(cls, data: Data) -> PropertyDescription:
        """Decode. What is missing behind the default value counts as 0.

        Raises `RemoteProtocolError` for an unknown form or type, and where values are missing.
        """
        reader = Reader(data)
        code, data_type, access = reader.u16(), reader.u16(), reader.u8()
        default = reader.value(data_type)
        group = reader.u32() if reader.remaining >= 4 else 0
        flag = reader.u8() if reader.remaining else 0
        form: tuple[Value, ...] = ()
        if flag == 1:
            form = tuple(reader.value(data_type) for _ in range(3))
        elif flag == 2:
            form = tuple(reader.value(data_type) for _ in range(reader.u16()))
        elif flag == 4:
            form = (reader.u16(),)
        elif flag == 5:
            form = (reader.string(),)
        elif flag in {6, 0xFF}:
            form = (reader.u32(),)
        elif flag not in {0, 3}:
            raise RemoteProtocolError(f"property form 0x{flag:02X}")
        return cls(code, data_type, bool(access), default, group, flag, form)

    def encode(self) -> bytes:
        """Return the bytes. Raises `LocalProtocolError` for a value that isn't of its type."""
        writer = Writer()
        writer.u16(self.property_code)
        writer.u16(self.data_type)
        writer.u8(self.writable)
        writer.value(self.data_type, self.default)
        writer.u32(self.group_code)
        writer.u8(self.form_flag)
        if self.form_flag == 2:
            writer.u16(len(self.form))
        form_type = {4: DataType.UINT16, 5: DataType.STR, 6: DataType.UINT32, 0xFF: DataType.UINT32}
        for value in self.form:
            writer.value(form_type.get(self.form_flag, self.data_type), value)
        return writer.to_bytes()
