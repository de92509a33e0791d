"""PNGs that are let through: a header, its pixels, an end, and nothing else."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mtpfs.thumbnails import png
from photos import corners, encoded, opened

GOOD = encoded(corners(60, 40), "PNG")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def made(header: bytes, *chunks: bytes) -> bytes:
    return png.SIGNATURE + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


HEADER = struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0)
ROW = zlib.compress(b"\0" + bytes(6))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_good(mode: str) -> None:
    """What Pillow writes is let through, whatever its colours."""
    picture = Image.new(mode, (60, 40))
    assert png.checked(encoded(picture, "PNG"), 60) == (60, 40)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        GOOD[:-1],
        GOOD[:-12],
        GOOD + b"\0",
        GOOD + GOOD,
        GOOD.replace(b"IDAT", b"IDAX", 1),
        png.with_texts(GOOD, {"Comment": "x"}),
        made(HEADER),
        made(HEADER[:4] + struct.pack(">I", 5000) + HEADER[8:], chunk(b"IDAT", ROW)),
        made(struct.pack(">IIBBBBB", 0, 1, 8, 2, 0, 0, 0), chunk(b"IDAT", ROW)),
        made(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), chunk(b"IDAT", ROW)),
        made(struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0), chunk(b"IDAT", ROW)),
        made(struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 1), chunk(b"IDAT", ROW)),
        made(HEADER, chunk(b"IDAT", ROW[:-2])),
        made(HEADER, chunk(b"IDAT", ROW + b"more")),
        made(HEADER, chunk(b"IDAT", zlib.compress(b"\0" + bytes(7)))),
        made(HEADER, chunk(b"IDAT", zlib.compress(bytes(1 << 20)))),
        made(HEADER, chunk(b"IDAT", zlib.compress(b"\5" + bytes(6)))),
        made(HEADER, chunk(b"IDAT", b"no zlib")),
        made(HEADER, chunk(b"IDAT", ROW), chunk(b"iCCP", b"profile")),
        made(HEADER[:-1], chunk(b"IDAT", ROW)),
    ],
)
def test_bad(data: bytes) -> None:
    """What is broken, too large or more than a picture isn't."""
    with pytest.raises(ValueError):
        png.checked(data, 128)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_byte_can_be_another(position: int, change: int) -> None:
    """Each byte is under a checksum, or decides what it is."""
    data = bytearray(GOOD)
    data[position] ^= change
    with pytest.raises(ValueError):
        png.checked(bytes(data), 128)


def test_texts() -> None:
    """Texts are in front of the pixels, found in a head that ends early, and Pillow reads them, too."""
    data = png.with_texts(GOOD, {"Thumb::URI": "file:///a", "Thumb::MTime": "1"})
    assert png.texts(data) == png.texts(data[:200]) == {"Thumb::URI": "file:///a", "Thumb::MTime": "1"}
    assert data.index(b"tEXt") < data.index(b"IDAT")
    assert opened(data).info["Thumb::URI"] == "file:///a"
    assert png.size(data) == (60, 40)
    assert png.size(b"no") == (0, 0)
