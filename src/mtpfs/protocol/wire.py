"""MTP's primitive types: integers, strings, arrays, property values.

One cursor reads (`Reader`) and one writes (`Writer`). Both are little-endian and packed, as MTP 1.1 section 3.2
demands. Property values carry their `DataType`, so one pair of functions codes them all.

Invariant: `Reader` never reads beyond its buffer and never allocates for a
count that the remaining bytes can't hold.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from mtpfs.errors import LocalProtocolError, RemoteProtocolError
from mtpfs.protocol.codes import DataType

MAX_VALUES = 1 << 20
"""Elements of an array that is a property's value: a byte on the wire takes many in memory."""
MAX_STRING_UNITS = 254
"""UTF-16 code units that a string can hold beside its NUL (the length byte counts both)."""

Value = int | str | tuple[int, ...] | None
"""A property's value: integer, string, array, or None for `UNDEF` (AOSP sends it for unknown properties)."""

_ARRAY = 0x4000
_SIZES = {
    DataType.INT8: 1,
    DataType.UINT8: 1,
    DataType.INT16: 2,
    DataType.UINT16: 2,
    DataType.INT32: 4,
    DataType.UINT32: 4,
    DataType.INT64: 8,
    DataType.UINT64: 8,
    DataType.INT128: 16,
    DataType.UINT128: 16,
}
_STRUCT_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_U8, _U16, _U32, _U64 = (struct.Struct(f"<{letter}") for letter in "BHIQ")
_INTEGERS: dict[int, struct.Struct] = {
    data_type: struct.Struct("<" + (letter.lower() if data_type & 1 else letter))
    for data_type, size in _SIZES.items()
    if (letter := _STRUCT_LETTERS.get(size)) is not None
}
"""What a property's value is most often, besides a string."""


def utf16_units(text: str) -> int:
    """Count the UTF-16 code units of `text` (2 for each character beyond the BMP)."""
    return len(text) + sum(ord(character) > 0xFFFF for character in text)


class Reader:
    """A cursor over received bytes. Raises `RemoteProtocolError` at the first impossible thing."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data)
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes that are still to be read."""
        return len(self._data) - self.position

    def take(self, size: int) -> memoryview:
        """Return the next `size` bytes without copying them. Raises `RemoteProtocolError` if there are fewer."""
        if size > self.remaining:
            raise RemoteProtocolError(f"dataset ends {size - self.remaining} bytes too early")
        start = self.position
        self.position = start + size
        return self._data[start : start + size]

    def fields(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Return the integers of a little-endian `layout`, all at once.

        Raises `RemoteProtocolError` if some are missing.
        """
        start = self.position
        if start + layout.size > len(self._data):
            raise RemoteProtocolError(f"dataset ends {layout.size - self.remaining} bytes too early")
        self.position = start + layout.size
        return layout.unpack_from(self._data, start)

    def u8(self) -> int:
        """Read an unsigned integer of 8 bits."""
        return int(self.fields(_U8)[0])

    def u16(self) -> int:
        """Read an unsigned integer of 16 bits."""
        return int(self.fields(_U16)[0])

    def u32(self) -> int:
        """Read an unsigned integer of 32 bits."""
        return int(self.fields(_U32)[0])

    def u64(self) -> int:
        """Read an unsigned integer of 64 bits."""
        return int(self.fields(_U64)[0])

    def integers(self, size: int, *, signed: bool = False, limit: int | None = None) -> tuple[int, ...]:
        """Read an array: a u32 count, then as many integers of `size` bytes.

        Raises `RemoteProtocolError` for more than `limit` elements, or for more than there are bytes for, before
        anything is made of them.
        """
        count = self.u32()
        if limit is not None and count > limit:
            raise RemoteProtocolError(f"array claims {count} elements, {limit} are allowed")
        if count * size > self.remaining:
            raise RemoteProtocolError(
                f"array claims {count} elements, bytes for {self.remaining // size} follow"
            )
        data = self.take(count * size)
        letter = _STRUCT_LETTERS.get(size)
        if letter is None:
            return tuple(
                int.from_bytes(data[i : i + size], "little", signed=signed) for i in range(0, len(data), size)
            )
        return struct.unpack(f"<{count}{letter.lower() if signed else letter}", data)

    def string(self) -> str:
        """Read a string: a u8 count of UTF-16LE units, the NUL included, then the units.

        It is cut at the first NUL: some devices leave junk behind it, others send
        no NUL at all. Lone surrogates are kept as they are.
        """
        units = self.take(2 * self.u8())
        return bytes(units).decode("utf-16-le", "surrogatepass").partition("\0")[0]

    def value(self, data_type: int) -> Value:
        """Read a property's value of `data_type`; None for UNDEF, which has no bytes.

        Raises `RemoteProtocolError` for a type that the standard doesn't have, and for an array of more than
        `MAX_VALUES` elements.
        """
        if (layout := _INTEGERS.get(data_type)) is not None:
            return int(self.fields(layout)[0])
        if data_type == DataType.UNDEF:
            return None
        if data_type == DataType.STR:
            return self.string()
        size = _SIZES.get(DataType(data_type & ~_ARRAY)) if is_known_type(data_type) else None
        if size is None:
            raise RemoteProtocolError(f"unknown data type 0x{data_type:04X}")
        signed = bool(data_type & 1)
        if data_type & _ARRAY:
            return self.integers(size, signed=signed, limit=MAX_VALUES)
        return int.from_bytes(self.take(size), "little", signed=signed)


class Writer:
    """Collects the bytes of a dataset. Raises `LocalProtocolError` for what doesn't fit its type."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = bytearray()

    def to_bytes(self) -> bytes:
        """Return what was written so far."""
        return bytes(self._parts)

    def integer(self, value: int, size: int, *, signed: bool = False) -> None:
        """Write an integer of `size` bytes. Raises `LocalProtocolError` if it doesn't fit."""
        try:
            self._parts += value.to_bytes(size, "little", signed=signed)
        except OverflowError as error:
            raise LocalProtocolError(f"{value} doesn't fit {size} bytes") from error

    def u8(self, value: int) -> None:
        """Write an unsigned integer of 8 bits."""
        self.integer(value, 1)

    def u16(self, value: int) -> None:
        """Write an unsigned integer of 16 bits."""
        self.integer(value, 2)

    def u32(self, value: int) -> None:
        """Write an unsigned integer of 32 bits."""
        self.integer(value, 4)

    def u64(self, value: int) -> None:
        """Write an unsigned integer of 64 bits."""
        self.integer(value, 8)

    def raw(self, data: bytes) -> None:
        """Write bytes that are encoded already."""
        self._parts += data

    def integers(self, values: Sequence[int], size: int, *, signed: bool = False) -> None:
        """Write an array: a u32 count, then the integers, `size` bytes each."""
        self.u32(len(values))
        for value in values:
            self.integer(value, size, signed=signed)

    def string(self, text: str) -> None:
        """Write a string, as `Reader.string` reads it; an empty one is the count 0 and nothing else.

        Raises `LocalProtocolError` for more than `MAX_STRING_UNITS` units, and for a NUL inside.
        """
        if not text:
            self.u8(0)
            return
        encoded = text.encode("utf-16-le", "surrogatepass")
        if len(encoded) // 2 > MAX_STRING_UNITS:
            raise LocalProtocolError(
                f"string of {len(encoded) // 2} UTF-16 units, {MAX_STRING_UNITS} are possible"
            )
        if "\0" in text:
            raise LocalProtocolError("string with a NUL inside")
        self.u8(len(encoded) // 2 + 1)
        self._parts += encoded + b"\0\0"

    def value(self, data_type: int, value: Value) -> None:
        """Write a property's value. Raises `LocalProtocolError` if it isn't of `data_type`; None is of UNDEF."""
        if value is None:
            if data_type != DataType.UNDEF:
                raise LocalProtocolError(f"no value for data type 0x{data_type:04X}")
        elif isinstance(value, str):
            if data_type != DataType.STR:
                raise LocalProtocolError(f"a string is not of data type 0x{data_type:04X}")
            self.string(value)
        elif not is_known_type(data_type) or data_type in {DataType.UNDEF, DataType.STR}:
            raise LocalProtocolError(f"a number is not of data type 0x{data_type:04X}")
        elif isinstance(value, tuple):
            if not data_type & _ARRAY:
                raise LocalProtocolError(f"an array is not of data type 0x{data_type:04X}")
            self.integers(value, _SIZES[DataType(data_type & ~_ARRAY)], signed=bool(data_type & 1))
        elif data_type & _ARRAY:
            raise LocalProtocolError(f"one integer is not of data type 0x{data_type:04X}")
        else:
            self.integer(value, _SIZES[DataType(data_type)], signed=bool(data_type & 1))


_KNOWN_TYPES = frozenset(int(data_type) for data_type in DataType)


def is_known_type(data_type: int) -> bool:
    """Tell whether `data_type` is one of the standard's (MTP 1.1 section 3.2.1)."""
    return data_type in _KNOWN_TYPES


def encode_integers(values: Sequence[int], size: int = 4) -> bytes:
    """Encode a bare array dataset, `size` bytes an element.

    GetObjectHandles returns one of u32, GetObjectPropsSupported one of u16.
    """
    writer = Writer()
    writer.integers(values, size)
    return writer.to_bytes()


def decode_integers(data: bytes | bytearray | memoryview, size: int = 4) -> tuple[int, ...]:
    """Decode a bare array dataset. Raises `RemoteProtocolError` if it ends too early."""
    return Reader(data).integers(size)


def encode_value(data_type: int, value: Value) -> bytes:
    """Encode a bare property value, as SetObjectPropValue sends it.

    Raises `LocalProtocolError` if it isn't of `data_type`.
    """
    writer = Writer()
    writer.value(data_type, value)
    return writer.to_bytes()


def decode_value(data_type: int, data: bytes | bytearray | memoryview) -> Value:
    """Decode a bare property value, as GetObjectPropValue returns it.

    Raises `RemoteProtocolError` if there are too few bytes, or the type is unknown.
    """
    return Reader(data).value(data_type)
