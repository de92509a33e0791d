"""Pictures for tests: JPEGs as cameras write them, with an orientation and a thumbnail in their EXIF.

Strategy: made by Pillow and by hand, so that no file has to be kept. A picture's corners tell which way it stands.
"""

from __future__ import annotations

import io
import struct

from PIL import Image

RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 180, 30), (30, 30, 200), (220, 220, 30)


def corners(width: int, height: int) -> Image.Image:
    """Return a picture whose quarters are, from the top left, red and green, blue and yellow."""
    picture = Image.new("RGB", (width, height), YELLOW)
    half = (width // 2, height // 2)
    picture.paste(RED, (0, 0, *half))
    picture.paste(GREEN, (half[0], 0, width, half[1]))
    picture.paste(BLUE, (0, half[1], half[0], height))
    return picture


def encoded(picture: Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    output = io.BytesIO()
    picture.save(output, kind, **how)
    return output.getvalue()


def photo(
    width: int = 640,
    height: int = 480,
    *,
    orientation: int = 1,
    thumbnail: bytes | tuple[int, int] | None = (160, 120),
    order: str = "<",
    padding: int = 0,
) -> bytes:
    """Return a JPEG as it comes from a camera: the sensor's view, and EXIF that says how it was held."""
    if isinstance(thumbnail, tuple):
        thumbnail = encoded(corners(*thumbnail), quality=80)
    plain = encoded(corners(width, height), quality=85)
    block = exif_block(orientation, thumbnail or b"", order, padding)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    return plain[:2] + segment + plain[2:]


def exif_block(orientation: int, thumbnail: bytes, order: str = "<", padding: int = 0) -> bytes:
    """Return a TIFF block: a table with the orientation, and one with the thumbnail `padding` bytes behind it."""
    second = 8 + 2 + 12 + 4 + padding
    data = second + 2 + 3 * 12 + 4
    first = struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, second if thumbnail else 0)
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + first
    if not thumbnail:
        return block
    tags = ((0x0103, 3, 6), (0x0201, 4, data), (0x0202, 4, len(thumbnail)))
    table = struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        table += struct.pack(f"{order}HHI", tag, kind, 1)
        table += struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
    return block + bytes(padding) + table + bytes(4) + thumbnail


def opened(data: bytes) -> Image.Image:
    """Return a picture, decoded."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def colours(picture: Image.Image) -> tuple[str, ...]:
    """Return what is in the corners, from the top left on: `RGBY` stands upright."""
    names = {RED: "R", GREEN: "G", BLUE: "B", YELLOW: "Y"}
    width, height = picture.size
    upright = picture.convert("RGB")

    def nearest(x: int, y: int) -> str:
        found = upright.getpixel((x, y))
        assert isinstance(found, tuple)
        return names[min(names, key=lambda each: sum((a - b) ** 2 for a, b in zip(each, found, strict=True)))]

    left, right, top, bottom = width // 5, width - 1 - width // 5, height // 5, height - 1 - height // 5
    return tuple(nearest(x, y) for x, y in ((left, top), (right, top), (left, bottom), (right, bottom)))
