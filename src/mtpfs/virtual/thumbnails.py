"""Thumbnails: each kind of phone's own way to have them, and to be wrong about them.

They are made of the pictures in the phone's directory: the one that a camera has put into the EXIF, or one that Pillow
makes, where it is installed. A mode (`capabilities.THUMBNAILS`) is what a product does, or one fault that was seen.
What is announced in ObjectInfo is a thing of its own, because phones say the same of all pictures.

Invariant: no thumbnail is kept, and no file but the object's own is read (in mode `other`, its first neighbour's).

Sources: AOSP, MtpServer and MtpDatabase (its C++ and its Java); Samsung's by its answers; buteo-mtp, thumbnailer and
fsstorageplugin; libgphoto2, library.c.
"""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

from mtpfs import exif
from mtpfs.protocol.codes import Format, Response
from mtpfs.virtual.phone import Phone
from mtpfs.virtual.store import Node, Refusal

LARGEST = 204_800
"""Bytes that Android and Samsung hold a thumbnail to, and that they announce."""
READY_AFTER = 3.0
"""Seconds that buteo-mtp's thumbnailer waits before it begins."""
_PICTURES = {Format.EXIF_JPEG, Format.JFIF, Format.PNG, Format.GIF, Format.BMP, Format.HEIF}
_LATE_ENDINGS = (".bmp", ".gif", ".jpg", ".jpeg", ".png")
_ANNOUNCED = {
    "android": (LARGEST, 320, 240),
    "samsung": (LARGEST, 256, 256),
    "late": (0, 100, 100),
    "empty": (LARGEST, 320, 240),
    "huge": (4_000, 160, 120),
    "text": (4_000, 160, 120),
    "cut": (4_000, 160, 120),
    "bomb": (4_000, 160, 120),
    "other": (4_000, 160, 120),
}


def announced(phone: Phone, node: Node, object_format: int) -> tuple[int, int, int]:
    """Return what ObjectInfo says of an object's thumbnail: bytes, width, height. It need not be true."""
    mode = phone.capabilities.thumbnails
    if object_format not in _PICTURES:
        return 0, 0, 0
    if mode == "embedded":
        size = len(_embedded(phone, node))
        return (size, 160, 120) if size else (0, 0, 0)
    return _ANNOUNCED.get(mode, (0, 0, 0))


def thumbnail(phone: Phone, node: Node, object_format: int) -> bytes:
    """Return what GetThumb answers. Raises `Refusal`, and `OSError` for a file that has vanished."""
    mode = phone.capabilities.thumbnails
    if node.folder or object_format not in _PICTURES or mode == "none":
        raise Refusal(Response.GeneralError)
    match mode:
        case "empty":
            return b""
        case "text":
            return b"<html>404 Not Found</html>"
        case "bomb":
            return bomb()
        case "late":
            return _when_ready(phone, node)
        case "other":
            neighbours = (
                sorted(node.parent.children.values(), key=lambda each: each.name) if node.parent else []
            )
            node = next((each for each in neighbours if not each.folder), node)
    found = _made(phone, node, 256, quality=85) if mode == "samsung" else _embedded(phone, node)
    if not found and mode not in {"samsung", "embedded"}:
        found = _made(phone, node, 512, quality=100)
    if mode == "huge":
        found = _made(phone, node, 4000, quality=100) + bytes(1 << 20)
    elif not found or len(found) > LARGEST:
        raise Refusal(Response.GeneralError if phone.capabilities.mtp else Response.NoThumbnailPresent)
    return found[: len(found) // 3] if mode == "cut" else found


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """Return a PNG of some hundred kilobytes that says it has so many pixels, and has the first of them."""
    rows = zlib.compress(bytes(1 + 3 * width) * 64, 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _when_ready(phone: Phone, node: Node) -> bytes:
    if not node.name.endswith(_LATE_ENDINGS):
        return b""
    if not phone.is_ready(node, READY_AFTER):
        return b""
    return _made(phone, node, 128, quality=85)


def _embedded(phone: Phone, node: Node) -> bytes:
    with Path(phone.store.path_of(node)).open("rb") as file:
        return exif.read(file.read(exif.LARGEST)).thumbnail


def _made(phone: Phone, node: Node, side: int, *, quality: int) -> bytes:
    """Return a JPEG no larger than a square, turned upright; b"" where Pillow isn't there, or can't."""
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 - an extra, and slow to load
    except ImportError:
        return b""
    with suppress(Image.DecompressionBombError), Image.open(phone.store.path_of(node)) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        upright.thumbnail((side, side))
        for attempt in range(quality, 0, -10):
            output = io.BytesIO()
            upright.save(output, "JPEG", quality=attempt)
            if output.tell() <= LARGEST or quality == 100:
                break
        return output.getvalue()
    return b""
