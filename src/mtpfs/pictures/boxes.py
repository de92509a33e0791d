"""The date in files that are made of boxes: films (QuickTime, MP4, 3GP), HEIF and AVIF pictures, Canon's CR3.

A picture has its EXIF as an item, whose place is told by two tables. A film has the date of its making in its movie
header, in UTC, as seconds since 1904. Some cameras write local time there. Nothing tells, so UTC is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mtpfs.pictures.exif import date_in_tiff
from mtpfs.pictures.reading import Bytes, UnreadableError

FIRST = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
"""What the first box of such a file may be."""
_MOST = 4096  # boxes in a box, items of a picture
_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)
_OLDEST = datetime(1990, 1, 1, tzinfo=UTC)
_END = 1 << 61
_CANON = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    """Where its contents begin; `end`: where they end."""
    end: int


def date_in(data: Bytes) -> datetime | None:
    """Return when a picture was taken or a film made. A film's is in UTC. Raises `UnreadableError`."""
    for box in _boxes(data, 0, _END):
        if box.kind == b"meta" and (found := _in_picture(data, box)) is not None:
            return found
        if box.kind == b"moov":
            return _in_film(data, box)
    return None


def _boxes(data: Bytes, start: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two places. The end of a file ends them, too."""
    for _ in range(_MOST):
        if start + 8 > end:
            return
        try:
            (size,) = data.unpack(">I", start)
        except UnreadableError:
            if end == _END:
                return
            raise
        kind, head = data.at(start + 4, 4), 8
        if size == 1:
            (size,) = data.unpack(">Q", start + 8)
            head = 16
        elif size == 0:  # up to the end
            size = end - start
        if size < head or start + size > end:
            raise UnreadableError
        yield _Box(kind, start + head, start + size)
        start += size
    raise UnreadableError


def _in_film(data: Bytes, movie: _Box) -> datetime | None:
    made: datetime | None = None
    for box in _boxes(data, movie.start, movie.end):
        if box.kind == b"uuid" and data.at(box.start, 16) == _CANON:
            for inner in _boxes(data, box.start + 16, box.end):
                if inner.kind == b"CMT2":  # its first directory is EXIF's
                    return date_in_tiff(data, inner.start)
        if box.kind == b"mvhd":
            made = _made(data, box)
    return made


def _made(data: Bytes, header: _Box) -> datetime | None:
    (version,) = data.unpack("B", header.start)
    (seconds,) = data.unpack(">Q" if version == 1 else ">I", header.start + 4)
    if seconds >= 1 << 33:
        return None
    found = _EPOCH + timedelta(seconds=seconds)
    # Nobody had a digital film before: 1904, and 1970, are what a device writes without a clock.
    return found if found >= _OLDEST else None


def _in_picture(data: Bytes, meta: _Box) -> datetime | None:
    tables = {box.kind: box for box in _boxes(data, meta.start + 4, meta.end)}
    if b"iinf" not in tables or b"iloc" not in tables:
        return None
    item = _exif_item(data, tables[b"iinf"])
    if item is None:
        return None
    place = _place_of(data, tables[b"iloc"], item)
    (skipped,) = data.unpack(">I", place)
    return date_in_tiff(data, place + 4 + skipped)


def _exif_item(data: Bytes, table: _Box) -> int | None:
    (version,) = data.unpack("B", table.start)
    for box in _boxes(data, table.start + (6 if version == 0 else 8), table.end):
        (kind,) = data.unpack("B", box.start)
        if box.kind != b"infe" or kind not in {2, 3}:
            continue
        (item,) = data.unpack(">H" if kind == 2 else ">I", box.start + 4)
        if data.at(box.start + (8 if kind == 2 else 10), 4) == b"Exif":
            return item
    return None


def _place_of(data: Bytes, table: _Box, wanted: int) -> int:
    """Return where an item is in the file."""
    version, sizes, more = data.unpack(">B3xBB", table.start)
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    index_size = more & 15 if version in {1, 2} else 0
    cursor = table.start + 6

    def number(size: int) -> int:
        nonlocal cursor
        if size > 8:
            raise UnreadableError
        cursor += size
        return int.from_bytes(data.at(cursor - size, size), "big")

    wide = 4 if version == 2 else 2
    for _ in range(min(number(wide), _MOST)):
        item = number(wide)
        method = number(2) & 15 if version in {1, 2} else 0
        number(2)
        base = number(base_size)
        extents = number(2)
        if item == wanted and extents:
            if method:
                raise UnreadableError  # it isn't in the file, but in another box: nobody does that
            number(index_size)
            return base + number(offset_size)  # of its pieces the first has the date
        cursor += extents * (index_size + offset_size + length_size)
    raise UnreadableError
