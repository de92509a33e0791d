"""Small files with dates in them, made byte by byte: what the readers are to find."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

EPOCH = datetime(1904, 1, 1, tzinfo=UTC)
ORIGINAL, ORIGINAL_OFFSET, DIGITIZED, OTHER_OFFSET = 0x9003, 0x9011, 0x9004, 0x9010
DATE = "2025:01:31 23:30:00"


def tiff(tags: dict[int, str], order: str = "<", magic: int = 42, *, in_first: bool = False) -> bytes:
    """A TIFF whose EXIF directory has some texts; `in_first`: whose first directory has them."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", magic, 8)
    start = 8
    first = b""
    if not in_first:
        first = struct.pack(f"{order}H", 1) + struct.pack(f"{order}HHII", 0x8769, 4, 1, 26) + bytes(4)
        start = 26
    place = start + 2 + 12 * len(tags) + 4
    entries, texts = b"", b""
    for tag, text in tags.items():
        data = text.encode() + b"\0"
        value = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", place + len(texts))
        entries += struct.pack(f"{order}HHI", tag, 2, len(data)) + value
        texts += data if len(data) > 4 else b""
    return head + first + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + texts


def exif(date: str = DATE, offset: str = "") -> bytes:
    return tiff({ORIGINAL: date} | ({ORIGINAL_OFFSET: offset} if offset else {}))


def jpeg(date: str = DATE, offset: str = "", more: bytes = b"pixels") -> bytes:
    """A photo; with `date` "" one without EXIF."""
    data = b"\xff\xd8" + segment(0xE0, b"JFIF\0")
    if date:
        data += segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0") + segment(
            0xE1, b"Exif\0\0" + exif(date, offset)
        )
    return data + segment(0xDA, b"scan") + more + b"\xff\xd9"


def segment(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data


def png(date: str = DATE) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + b"crc!"

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", bytes(13))
        + chunk(b"IDAT", bytes(99))
        + chunk(b"eXIf", exif(date))
        + chunk(b"IEND", b"")
    )


def webp(date: str = DATE, head: bytes = b"Exif\0\0") -> bytes:
    data = head + exif(date)
    return (
        b"RIFF\0\0\0\0WEBP"
        b"VP8 " + struct.pack("<I", 3) + b"abc\0" + b"EXIF" + struct.pack("<I", len(data)) + data
    )


def raf(date: str = DATE) -> bytes:
    return b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">I", 160) + bytes(72) + jpeg(date)


def box(kind: bytes, data: bytes, *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(data) + 16) + data
    return struct.pack(">I4s", len(data) + 8, kind) + data


def film(
    made: datetime | int = datetime(2025, 1, 31, 23, 30, tzinfo=UTC),
    version: int = 0,
    *,
    brand: bytes = b"isom",
    more: bytes = b"frames",
) -> bytes:
    """A film with its header at the end, as phones write it."""
    seconds = made if isinstance(made, int) else int((made - EPOCH).total_seconds())
    header = bytes([version, 0, 0, 0]) + struct.pack(">Q" if version else ">I", seconds) + bytes(80)
    return (
        box(b"ftyp", brand + bytes(4))
        + box(b"mdat", more, wide=True)
        + box(b"moov", box(b"udta", b"") + box(b"mvhd", header))
    )


def heic(date: str = DATE, *, version: int = 1, method: int = 0) -> bytes:
    """A picture as phones make it: the EXIF is one of the items."""
    items = box(b"infe", b"\x02\0\0\0" + struct.pack(">HH4s", 1, 0, b"hvc1") + b"\0")
    items += box(b"infe", b"\x02\0\0\0" + struct.pack(">HH4s", 2, 0, b"Exif") + b"\0")
    data = struct.pack(">I", 6) + b"Exif\0\0" + exif(date)

    def location(place: int) -> bytes:
        rows = b""
        for item, offset in ((1, 0), (2, place)):
            rows += struct.pack(">H", item) + (struct.pack(">H", method) if version else b"")
            rows += struct.pack(">HHII", 0, 1, offset, len(data))
        return box(b"iloc", bytes([version, 0, 0, 0, 0x44, 0]) + struct.pack(">H", 2) + rows)

    def whole(place: int) -> bytes:
        tables = box(b"iinf", bytes(4) + struct.pack(">H", 2) + items) + location(place)
        return box(b"ftyp", b"heic" + bytes(4)) + box(b"meta", bytes(4) + box(b"hdlr", bytes(8)) + tables)

    return whole(len(whole(0)) + 8) + box(b"mdat", data)


def cr3(date: str = DATE) -> bytes:
    inner = box(b"CNCV", b"x") + box(b"CMT2", tiff({ORIGINAL: date}, in_first=True))
    canon = box(b"uuid", bytes.fromhex("85c0b687820f11e08111f4ce462b6a48") + inner)
    return box(b"ftyp", b"crx " + bytes(4)) + box(b"moov", canon + box(b"mvhd", bytes(100)))


EVERY = {
    "a.jpg": jpeg(),
    "a.tif": tiff({ORIGINAL: DATE}, ">"),
    "a.dng": tiff({ORIGINAL: DATE}, in_first=True),
    "a.orf": tiff({ORIGINAL: DATE}, magic=0x4F52),
    "a.rw2": tiff({ORIGINAL: DATE}, magic=0x55),
    "a.png": png(),
    "a.webp": webp(),
    "b.webp": webp(head=b""),
    "a.raf": raf(),
    "a.heic": heic(),
    "b.heic": heic(version=0),
    "a.cr3": cr3(),
}
"""One of each kind of picture, all of one date."""
