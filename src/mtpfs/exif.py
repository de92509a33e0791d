"""What is wanted of a JPEG's EXIF: which way the picture stands, and its embedded thumbnail.

It reads the two tables of tags and nothing else. The bytes are a device's, so every offset is checked, each table is
looked at once, and what makes no sense is as good as absent. Nothing is decoded here.

Invariant: no input raises, and none takes longer than its first 64 KiB and two tables of tags.

Source: Exif 2.3, TIFF 6.0; JFIF 1.02 for the markers in front.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

LARGEST = 65_536
"""Bytes in front of which a camera's EXIF ends: it is the first segment, or the second one."""
UPRIGHT = 1
_ORIENTATION, _THUMBNAIL_AT, _THUMBNAIL_SIZE = 0x0112, 0x0201, 0x0202
_MARKER, _EXIF = 0xFF, b"Exif\0\0"
_APPLICATION = range(0xE0, 0xF0)
_MOST_TAGS = 512
_SHORT, _LONG = 3, 4


@dataclass(frozen=True, slots=True)
class Exif:
    """`orientation` is EXIF's, 1 to 8; `thumbnail` is b"" where there is none, or where it isn't in the bytes given."""

    orientation: int = UPRIGHT
    thumbnail: bytes = b""
    end: int = 0
    """How many bytes of the file it takes: with fewer, something may be missing. 0: there is no EXIF."""


def read(head: bytes) -> Exif:
    """Return what the first bytes of a JPEG tell."""
    place = _segment(head)
    if place is None:
        return Exif()
    start, end = place
    block = head[start:end]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return Exif(end=end)
    tables = _tables(block, order)
    first, second = next(tables, {}), next(tables, {})
    orientation = first.get(_ORIENTATION, UPRIGHT)
    at, size = second.get(_THUMBNAIL_AT, 0), second.get(_THUMBNAIL_SIZE, 0)
    thumbnail = block[at : at + size] if at and size else b""
    return Exif(
        orientation if 1 <= orientation <= 8 else UPRIGHT,
        thumbnail if len(thumbnail) == size else b"",
        end,
    )


def with_orientation(picture: bytes, orientation: int) -> bytes:
    """Return a JPEG that says which way it stands.

    One that has an EXIF of its own stays as it is, and so does no JPEG.
    """
    if orientation == UPRIGHT or picture[:2] != b"\xff\xd8" or _segment(picture) is not None:
        return picture
    block = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, _ORIENTATION, _SHORT, 1, orientation, 0, 0)
    segment = struct.pack(">HH", 0xFFE1, 2 + len(_EXIF) + len(block)) + _EXIF + block
    return picture[:2] + segment + picture[2:]


def _segment(head: bytes) -> tuple[int, int] | None:
    """Return where the EXIF block begins and ends; it may end behind the bytes given."""
    if head[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 4 <= min(len(head), LARGEST):
        marker, kind, length = struct.unpack_from(">BBH", head, position)
        if marker != _MARKER or kind not in _APPLICATION or length < 2:
            return None
        start, end = position + 4, position + 2 + length
        if kind == 0xE1 and head[start : start + 6] == _EXIF:
            return start + 6, end
        position = end
    return None


def _tables(block: bytes, order: str) -> Iterator[dict[int, int]]:
    """Yield the tags of the picture, then those of the thumbnail: numbers only."""
    place = 4
    for _ in range(2):
        if place + 4 > len(block):
            return
        (at,) = struct.unpack_from(f"{order}I", block, place)
        if not 8 <= at <= len(block) - 2:
            return
        (count,) = struct.unpack_from(f"{order}H", block, at)
        tags: dict[int, int] = {}
        for number in range(min(count, _MOST_TAGS)):
            entry = at + 2 + 12 * number
            if entry + 12 > len(block):
                break
            tag, kind, values = struct.unpack_from(f"{order}HHI", block, entry)
            if values == 1 and kind in {_SHORT, _LONG}:
                (tags[tag],) = struct.unpack_from(
                    f"{order}{'H' if kind == _SHORT else 'I'}", block, entry + 8
                )
        yield tags
        place = at + 2 + 12 * count
