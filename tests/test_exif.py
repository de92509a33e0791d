"""EXIF: orientation and thumbnail, as cameras write them and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs import exif
from photos import corners, encoded, exif_block, photo

THUMBNAIL = encoded(corners(160, 120))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_cameras_write(order: str, orientation: int) -> None:
    """Orientation and thumbnail are found, in both byte orders."""
    found = exif.read(photo(orientation=orientation, thumbnail=THUMBNAIL, order=order))
    assert (found.orientation, found.thumbnail) == (orientation, THUMBNAIL)


def test_a_short_head_tells_how_much_is_missing() -> None:
    """The orientation is in the first bytes, and the end is told with them; the thumbnail needs all of it."""
    data = photo(orientation=6, thumbnail=THUMBNAIL, padding=5000)
    found = exif.read(data[:512])
    assert (found.orientation, found.thumbnail) == (6, b"")
    assert len(THUMBNAIL) < found.end < len(data)
    assert exif.read(data[: found.end]).thumbnail == THUMBNAIL
    assert exif.read(data[: found.end - 1]).thumbnail == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe1\0\x01",
        encoded(corners(8, 8)),
        photo(thumbnail=None),
    ],
)
def test_without(data: bytes) -> None:
    """What has no EXIF is upright and has no thumbnail."""
    assert exif.read(data).orientation == 1
    assert exif.read(data).thumbnail == b""


def test_nonsense_is_absence() -> None:
    """An orientation that doesn't exist, and a thumbnail that ends behind the block, aren't there."""
    assert exif.read(photo(orientation=77)).orientation == 1
    block = exif_block(3, THUMBNAIL)[:-10]
    head = b"\xff\xd8\xff\xe1" + (len(block) + 8).to_bytes(2, "big") + b"Exif\0\0" + block
    assert (exif.read(head).orientation, exif.read(head).thumbnail) == (3, b"")


@given(
    st.binary(max_size=400),
    st.sampled_from(
        [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\x01\x00Exif\0\0II*\0", b"\xff\xd8\xff\xe1\x01\x00Exif\0\0MM\0*"]
    ),
)
def test_any_bytes(data: bytes, start: bytes) -> None:
    """Whatever a device sends, it is an answer."""
    found = exif.read(start + data)
    assert 1 <= found.orientation <= 8
    assert len(found.thumbnail) <= len(data)


@given(st.integers(0, 200), st.integers(0, 255))
def test_one_byte_wrong(position: int, value: int) -> None:
    """So it is with a camera's, one byte of which is another one."""
    data = bytearray(photo(orientation=8, thumbnail=THUMBNAIL))
    data[position] = value
    assert 1 <= exif.read(bytes(data)).orientation <= 8
