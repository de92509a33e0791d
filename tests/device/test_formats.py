"""The format that an upload is said to have."""

from __future__ import annotations

import pytest

from mtpfs.device.formats import format_of
from mtpfs.protocol.codes import Format

ANDROID = {Format.Undefined, Format.MP3, Format.EXIF_JPEG, Format.JFIF, Format.MP4}
PLAYER = {Format.MP3, Format.WMA, Format.JFIF}


@pytest.mark.parametrize(
    ("name", "listed", "expected"),
    [
        ("song.mp3", ANDROID, Format.MP3),
        ("SONG.MP3", PLAYER, Format.MP3),
        ("a.b.jpg", ANDROID, Format.EXIF_JPEG),
        ("photo.jpeg", PLAYER, Format.JFIF),
        ("voice.m4a", ANDROID, Format.MP4),
        ("song.flac", PLAYER, Format.Undefined),
        ("song.mp3", set(), Format.Undefined),
        ("mp3", ANDROID, Format.Undefined),
        (".mp3", ANDROID, Format.Undefined),
        ("notes", ANDROID, Format.Undefined),
        ("notes.", ANDROID, Format.Undefined),
        ("backup.xyz", ANDROID, Format.Undefined),
    ],
)
def test_formats(name: str, listed: set[int], expected: int) -> None:
    """It is what the extension says if the device lists that, else Undefined."""
    assert format_of(name, listed) == expected
