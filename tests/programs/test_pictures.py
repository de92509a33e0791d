"""exiftool and ffmpeg: pictures and films that are made or changed on the phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mount.conftest import Mount
from programs.conftest import program, put_on_phone

_FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")
_PICTURE = ("-f", "lavfi", "-i", "testsrc=size=640x480:rate=1:duration=1", "-frames:v", "1")
_FILM = (
    "-f",
    "lavfi",
    "-i",
    "testsrc=size=320x240:rate=25:duration=4",
    "-f",
    "lavfi",
    "-i",
    "sine=duration=4",
)
_ENCODED = (
    "-c:v",
    "mpeg4",
    "-c:a",
    "aac",
    "-shortest",
    "-fflags",
    "+bitexact",
    "-flags",
    "+bitexact",
    "-threads",
    "1",
)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photo on this machine's disk."""
    program(*_FFMPEG, *_PICTURE, tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("way", ["-overwrite_original_in_place", "-overwrite_original"])
def test_tag_is_written(mounted: Mount, picture: Path, way: str) -> None:
    """exiftool writes a tag into a photo, and nothing but the photo is there afterwards."""
    program("cp", picture, mounted.root)
    for artist in ("Ada", "A much longer name than that" * 20, "B"):
        program("exiftool", "-q", way, f"-Artist={artist}", mounted.root / picture.name)
        for place in (mounted.root, mounted.phone):
            assert program("exiftool", "-s3", "-Artist", place / picture.name).stdout.strip() == artist
    program(*_FFMPEG, "-xerror", "-i", mounted.phone / picture.name, "-f", "null", "-")
    assert [path.name for path in mounted.phone.iterdir()] == [picture.name]


def test_tag_is_written_with_a_backup(mounted: Mount, picture: Path) -> None:
    """exiftool's ordinary way keeps the photo as it was beside the new one."""
    program("cp", picture, mounted.root)
    program("exiftool", "-q", "-Artist=Ada", mounted.root / picture.name)
    assert sorted(path.name for path in mounted.phone.iterdir()) == [picture.name, f"{picture.name}_original"]
    program("cmp", picture, mounted.phone / f"{picture.name}_original")
    assert program("exiftool", "-s3", "-Artist", mounted.phone / picture.name).stdout.strip() == "Ada"


def test_tag_and_date(mounted: Mount, picture: Path) -> None:
    """exiftool -P keeps the date that the mount shows."""
    program("touch", "-d", "@1500000000", picture)
    program("cp", "-p", picture, mounted.root)
    program("exiftool", "-q", "-P", "-overwrite_original", "-Artist=Ada", mounted.root / picture.name)
    assert (mounted.root / picture.name).stat().st_mtime == 1_500_000_000


def test_tag_is_read(filled: Mount, picture: Path) -> None:
    """exiftool reads from the mount what it reads on the phone."""
    program("exiftool", "-q", "-overwrite_original", "-Artist=Ada", picture)
    put_on_phone(picture, filled)
    assert program("exiftool", "-s3", "-Artist", filled.root / picture.name).stdout.strip() == "Ada"


@pytest.mark.parametrize("flags", ["+faststart", "+frag_keyframe"])
def test_film_is_written(mounted: Mount, tmp_path: Path, flags: str) -> None:
    """ffmpeg writes a film onto the mount, byte for byte what it writes onto a disk; faststart goes over it twice."""
    words = (*_FFMPEG, *_FILM, *_ENCODED, "-movflags", flags)
    program(*words, tmp_path / "film.mp4")
    program(*words, mounted.root / "film.mp4")
    program("cmp", tmp_path / "film.mp4", mounted.phone / "film.mp4")
    program(*words, mounted.root / "film.mp4")  # over the film that is there
    program("cmp", tmp_path / "film.mp4", mounted.root / "film.mp4")


def test_film_is_read(filled: Mount, tmp_path: Path) -> None:
    """ffmpeg plays a film from the mount, from its start and from its middle, whose index is at its end."""
    program(*_FFMPEG, *_FILM, *_ENCODED, tmp_path / "film.mp4")
    put_on_phone(tmp_path / "film.mp4", filled)
    for start in ("0", "2"):
        program(*_FFMPEG, "-xerror", "-ss", start, "-i", filled.root / "film.mp4", "-f", "null", "-")
