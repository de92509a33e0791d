"""Thumbnails of the virtual phone: whose they are, and how they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtpfs.protocol.codes import Event, Operation, Property, Response
from mtpfs.virtual.thumbnails import LARGEST, READY_AFTER
from photos import colours, corners, encoded, opened, photo
from virtual.conftest import Connect

THUMBNAIL = encoded(corners(160, 120), quality=70)


@pytest.mark.parametrize("words", ["as=android14", "as=android8", "as=camera", "as=player"])
def test_embedded(connect: Connect, root: Path, words: str) -> None:
    """A photo's own thumbnail is sent as it is, also on its side."""
    (root / "a.jpg").write_bytes(photo(orientation=6, thumbnail=THUMBNAIL))
    phone = connect(words)
    assert phone.get(Operation.GetThumb, phone.listing()["a.jpg"]) == THUMBNAIL


def test_made(connect: Connect, root: Path) -> None:
    """Android makes one of what has none, upright, and announces another size."""
    (root / "a.jpg").write_bytes(photo(800, 600, orientation=6, thumbnail=None))
    (root / "b.png").write_bytes(encoded(corners(1000, 500), "PNG"))
    phone = connect()
    upright = opened(phone.get(Operation.GetThumb, phone.listing()["a.jpg"]))
    assert (upright.size, colours(upright)) == ((384, 512), ("B", "R", "Y", "G"))
    handle = phone.listing()["b.png"]
    assert opened(phone.get(Operation.GetThumb, handle)).size == (512, 256)
    info = phone.info(handle)
    assert (info.thumb_compressed_size, info.thumb_pix_width, info.thumb_pix_height) == (LARGEST, 320, 240)


@pytest.mark.parametrize(
    ("words", "code"),
    [("as=android14", "GeneralError"), ("as=android8", "GeneralError"), ("as=camera", "NoThumbnailPresent")],
)
def test_none(connect: Connect, root: Path, words: str, code: str) -> None:
    """Without one there is a refusal; cameras have their own."""
    (root / "a.jpg").write_bytes(b"no picture at all" if words == "as=android14" else photo(thumbnail=None))
    phone = connect(words)
    assert phone.do(Operation.GetThumb, phone.listing()["a.jpg"]).code == Response[code]


def test_samsung(connect: Connect, root: Path) -> None:
    """Samsung makes its own, 256 pixels wide, though there is one in the photo."""
    (root / "a.jpg").write_bytes(photo(800, 600, thumbnail=THUMBNAIL))
    phone = connect("samsung")
    handle = phone.listing()["a.jpg"]
    assert opened(phone.get(Operation.GetThumb, handle)).size == (256, 192)
    assert phone.info(handle).thumb_pix_width == 256


def test_late(connect: Connect, root: Path) -> None:
    """Sailfish has a property instead of the operation: empty at first, and an event tells when it is there."""
    (root / "a.jpg").write_bytes(photo())
    phone = connect("as=sailfish")
    handle = phone.listing()["a.jpg"]
    assert phone.do(Operation.GetThumb, handle).code == Response.OperationNotSupported

    def sample() -> bytes:
        data = phone.get(Operation.GetObjectPropValue, handle, Property.RepresentativeSampleData)
        assert int.from_bytes(data[:4], "little") == len(data) - 4
        return data[4:]

    assert sample() == b""
    phone.transport.sleep(READY_AFTER)
    assert phone.events() == [(Event.ObjectInfoChanged, handle)]
    assert opened(sample()).size == (128, 96)


@pytest.mark.parametrize("mode", ["empty", "huge", "text", "cut", "bomb"])
def test_faults(connect: Connect, root: Path, mode: str) -> None:
    """Each fault is an OK whose data isn't what it should be."""
    (root / "a.jpg").write_bytes(photo(800, 600))
    phone = connect(f"thumbnails={mode}")
    data = phone.get(Operation.GetThumb, phone.listing()["a.jpg"])
    assert {
        "empty": data == b"",
        "huge": len(data) > 1 << 20,
        "text": data.startswith(b"<html>"),
        "cut": data.startswith(b"\xff\xd8") and not data.endswith(b"\xff\xd9"),
        "bomb": data.startswith(b"\x89PNG") and len(data) < 1 << 20,
    }[mode]


def test_another_one(connect: Connect, root: Path) -> None:
    """A phone may send the thumbnail of another picture."""
    for name, side in (("a.jpg", 100), ("b.jpg", 50)):
        (root / name).write_bytes(photo(thumbnail=encoded(corners(side, side))))
    phone = connect("thumbnails=other")
    assert opened(phone.get(Operation.GetThumb, phone.listing()["b.jpg"])).size == (100, 100)


@pytest.mark.parametrize("words", ["as=tizen", "as=umtp"])
def test_not_at_all(connect: Connect, root: Path, words: str) -> None:
    """Tizen and uMTP-Responder don't know the operation."""
    (root / "a.jpg").write_bytes(photo())
    phone = connect(words)
    assert phone.do(Operation.GetThumb, phone.listing()["a.jpg"]).code == Response.OperationNotSupported
