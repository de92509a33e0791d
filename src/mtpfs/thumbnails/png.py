"""PNGs as they are stored: nothing in them but what a reader needs, and what says which file they belong to.

What comes from the decoder's child is a device's in the end, and is read by each file manager's own library. So it is
taken apart here. Only a header, pixels of exactly the length that belongs to them, and an end are let through.

Invariant: `checked` returns bytes in which every length, checksum and filter is right, or raises `ValueError`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""By colour type: grey, RGB, both with alpha. Palettes aren't made."""


def checked(data: bytes, most: int) -> tuple[int, int]:
    """Return width and height of a PNG of at most `most` pixels each way. Raises `ValueError`."""
    names, pixels, header = [], bytearray(), b""
    for name, content in _chunks(data):
        names.append(name)
        if name == b"IHDR":
            header = content
        elif name == b"IDAT":
            pixels += content
    if names[:1] != [b"IHDR"] or names[-1:] != [b"IEND"] or set(names[1:-1]) != {b"IDAT"}:
        raise ValueError("a chunk too many, or one is missing")
    if len(header) != 13:
        raise ValueError("no header of a PNG")
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", header)
    if not 0 < width <= most or not 0 < height <= most:
        raise ValueError(f"{width} x {height} pixels")
    if depth != 8 or colour not in _CHANNELS or rest != [0, 0, 0]:
        raise ValueError("a kind of PNG that isn't expected")
    row = 1 + width * _CHANNELS[colour]
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(pixels, row * height + 1)
    except zlib.error as error:
        raise ValueError("pixels that can't be unpacked") from error
    if len(raw) != row * height or not unpacking.eof or unpacking.unused_data:
        raise ValueError("not as many pixels as it says")
    if any(kind > 4 for kind in raw[::row]):
        raise ValueError("a filter that doesn't exist")
    return width, height


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Return a PNG with texts in front of its pixels, where readers look that don't decode it."""
    end = len(SIGNATURE) + 12 + 13
    added = b"".join(
        _chunk(b"tEXt", key.encode("latin-1") + b"\0" + value.encode("latin-1"))
        for key, value in texts.items()
    )
    return data[:end] + added + data[end:]


def texts(data: bytes) -> dict[str, str]:
    """Return the texts in front of a PNG's pixels; what is broken, or no PNG, has those before that."""
    found: dict[str, str] = {}
    try:
        for name, content in _chunks(data):
            if name == b"IDAT":
                break
            if name == b"tEXt":
                key, _, value = content.partition(b"\0")
                found[key.decode("latin-1")] = value.decode("latin-1")
    except ValueError:
        pass  # a piece of it may be all that was read
    return found


def size(data: bytes) -> tuple[int, int]:
    """Return what the header says; (0, 0) where there is none."""
    if data[: len(SIGNATURE)] != SIGNATURE or len(data) < 24:
        return 0, 0
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if data[: len(SIGNATURE)] != SIGNATURE:
        raise ValueError("no PNG")
    position = len(SIGNATURE)
    while position < len(data):
        if position + 12 > len(data):
            raise ValueError("it ends in the middle")
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        if end > len(data):
            raise ValueError("it ends in the middle")
        name, content = data[position + 4 : position + 8], data[position + 8 : end - 4]
        if struct.unpack_from(">I", data, end - 4)[0] != zlib.crc32(name + content):
            raise ValueError("a checksum is wrong")
        yield name, content
        position = end


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
