"""The date in a picture: EXIF, in JPEG, PNG, WebP, and in TIFF with the raw formats that are made of it.

DateTimeOriginal is local time where the picture was taken. Its zone is OffsetTimeOriginal, if that is there;
OffsetTime is that of another date. Without an original date it is the one of digitizing. The plain DateTime is that
of the last change, and is of no use.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from mtpfs.pictures.reading import Bytes, UnreadableError

_EXIF_IFD = 0x8769
_DATES = ((0x9003, 0x9011), (0x9004, 0x9012))
"""Tags of a date and of its offset: when it was taken, and when it was digitized."""
_ASCII = 2
_MOST = 512  # entries of a directory, segments or chunks of a file
_LONGEST = 64  # bytes of a date
_DATE = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d{1,2}):?(\d\d)")
_ORDERS = {b"II": "<", b"MM": ">"}
_MAGIC = {42, 0x4F52, 0x5352, 0x55}
"""TIFF; Olympus' raw files have letters there, Panasonic's another number."""

_START_OF_SCAN, _END = 0xDA, 0xD9
_APP1 = 0xE1
_HEAD = b"Exif\0\0"
_PNG = b"\x89PNG\r\n\x1a\n"


def date_in(data: Bytes, head: bytes) -> datetime | None:
    """Return when a picture was taken, by its first 16 bytes and EXIF. Aware if EXIF has a zone.

    Raises `UnreadableError`.
    """
    if head.startswith(b"\xff\xd8"):
        return _in_jpeg(data, 0)
    if head[:2] in _ORDERS:
        return date_in_tiff(data, 0)
    if head.startswith(_PNG):
        return _in_png(data)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _in_webp(data)
    if head.startswith(b"FUJIFILMCCD-RAW"):
        (offset,) = data.unpack(">I", 84)
        return _in_jpeg(data, offset)
    return None


def date_in_tiff(data: Bytes, start: int) -> datetime | None:
    """Return the date in what is a TIFF file from `start` on, as EXIF is. Raises `UnreadableError`."""
    order = _ORDERS.get(data.at(start, 2))
    if order is None:
        raise UnreadableError
    magic, first = data.unpack(f"{order}HI", start + 2)
    if magic not in _MAGIC:
        raise UnreadableError
    tags = _directory(data, start, first, order)
    if _EXIF_IFD in tags:
        (offset,) = data.unpack(f"{order}I", tags[_EXIF_IFD] + 8)
        tags |= _directory(data, start, offset, order)
    for date, offset in _DATES:
        found = _moment(_text(data, start, tags.get(date), order))
        if found is not None:
            return _with_offset(found, _text(data, start, tags.get(offset), order))
    return None


def _directory(data: Bytes, start: int, offset: int, order: str) -> dict[int, int]:
    """Return where the entry of each tag is."""
    place = start + offset
    (count,) = data.unpack(f"{order}H", place)
    if count > _MOST:
        raise UnreadableError
    tags = data.unpack(f"{order}" + "H10x" * count, place + 2)
    return {tag: place + 2 + 12 * number for number, tag in enumerate(tags)}


def _text(data: Bytes, start: int, entry: int | None, order: str) -> str:
    if entry is None:
        return ""
    kind, count = data.unpack(f"{order}HI", entry + 2)
    if kind != _ASCII or count > _LONGEST:
        return ""
    place = entry + 8
    if count > 4:
        (offset,) = data.unpack(f"{order}I", place)
        place = start + offset
    try:
        return data.at(place, count).decode("latin-1").strip("\0 ")
    except UnreadableError:
        return ""  # the other date may be whole


def _moment(text: str) -> datetime | None:
    match = _DATE.match(text)
    return None if match is None else moment_of(*map(int, match.groups()))


def moment_of(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0
) -> datetime | None:
    """Return a local time that is one, and that a camera may have had; else None."""
    try:
        found = datetime(year, month, day, hour, minute, min(second, 59))  # noqa: DTZ001 - it is local
    except ValueError:
        return None
    return found if 1900 <= year <= 2100 else None


def _with_offset(moment: datetime, text: str) -> datetime:
    if text == "Z":
        return moment.replace(tzinfo=timezone(timedelta()))
    match = _OFFSET.fullmatch(text)
    if match is None:
        return moment
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    if offset > timedelta(hours=15):
        return moment
    return moment.replace(tzinfo=timezone(-offset if match[1] == "-" else offset))


def _in_jpeg(data: Bytes, start: int) -> datetime | None:
    place = start + 2
    for _ in range(_MOST):
        mark, kind = data.unpack("BB", place)
        if mark != 0xFF:
            raise UnreadableError
        if kind == 0xFF:  # filling
            place += 1
            continue
        if kind in {_START_OF_SCAN, _END}:
            return None
        (size,) = data.unpack(">H", place + 2)
        if kind == _APP1 and size >= 2 + len(_HEAD) and data.at(place + 4, len(_HEAD)) == _HEAD:
            return date_in_tiff(data, place + 4 + len(_HEAD))
        place += 2 + max(2, size)
    raise UnreadableError


def _in_png(data: Bytes) -> datetime | None:
    place = len(_PNG)
    for _ in range(_MOST):
        (size,) = data.unpack(">I", place)
        kind = data.at(place + 4, 4)
        if kind == b"eXIf":
            return date_in_tiff(data, place + 8)
        if kind == b"IEND":
            return None
        place += 12 + size
    raise UnreadableError


def _in_webp(data: Bytes) -> datetime | None:
    place = 12
    for _ in range(_MOST):
        kind = data.at(place, 4)
        (size,) = data.unpack("<I", place + 4)
        if kind == b"EXIF":
            has_head = data.at(place + 8, len(_HEAD)) == _HEAD
            return date_in_tiff(data, place + 8 + (len(_HEAD) if has_head else 0))
        place += 8 + size + size % 2
    raise UnreadableError
