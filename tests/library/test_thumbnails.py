"""Thumbnails of every kind of phone, as the library hands them over: with what tells which way they stand."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from library.world import STORAGE, world
from mtpfs import exif
from mtpfs.virtual.capabilities import PERSONALITIES, parse_options
from photos import corners, encoded, opened, photo

THUMBNAIL = encoded(corners(160, 120), quality=70)


@pytest.mark.parametrize("padding", [0, 20_000])
async def test_an_embedded_one_is_told_how_it_lies(tmp_path: Path, padding: int) -> None:
    """It gets the photo's orientation, wherever in the EXIF it is; that costs one small read, or two."""
    (tmp_path / "a.jpg").write_bytes(photo(orientation=6, thumbnail=THUMBNAIL, padding=padding))
    (tmp_path / "b.JPG").write_bytes(photo(orientation=1, thumbnail=THUMBNAIL, padding=padding))
    async with world(tmp_path) as w:
        await w.phone.scandir(STORAGE)
        before = w.operations.get("GetPartialObject64", 0)
        assert await w.phone.thumbnail(f"{STORAGE}/b.JPG") == THUMBNAIL
        assert w.operations["GetPartialObject64"] == before + 1
        found = await w.phone.thumbnail(f"{STORAGE}/a.jpg")
        assert w.operations["GetPartialObject64"] == before + 2 + (padding > 0)
    assert exif.read(found).orientation == 6
    assert found == exif.with_orientation(THUMBNAIL, 6)
    assert opened(found).size == (160, 120)


async def test_one_that_the_phone_has_made_stands_already(tmp_path: Path) -> None:
    """Its bytes aren't in the photo, so the photo's orientation isn't its own."""
    (tmp_path / "a.jpg").write_bytes(photo(800, 600, orientation=6, thumbnail=None))
    (tmp_path / "b.jpg").write_bytes(photo(800, 600, orientation=6, thumbnail=THUMBNAIL))
    for words, name in (("", "a.jpg"), ("samsung", "b.jpg")):
        async with world(tmp_path, words) as w:
            found = await w.phone.thumbnail(f"{STORAGE}/{name}")
        assert exif.read(found).orientation == 1
        assert opened(found).size[0] < opened(found).size[1]


async def test_where_ranges_cannot_be_read(tmp_path: Path) -> None:
    """A photo isn't fetched whole for that: the thumbnail stays as it is."""
    (tmp_path / "a.jpg").write_bytes(photo(orientation=6, thumbnail=THUMBNAIL))
    async with world(tmp_path, "as=camera") as w:
        assert await w.phone.thumbnail(f"{STORAGE}/a.jpg") == THUMBNAIL
        assert "GetObject" not in w.operations


@pytest.mark.parametrize("name", PERSONALITIES)
async def test_every_personality(tmp_path: Path, name: str) -> None:
    """It is a picture, or the errno that says that there is none."""
    (tmp_path / "a.jpg").write_bytes(photo(thumbnail=THUMBNAIL))
    (tmp_path / "b.txt").write_bytes(b"no picture")
    capabilities = parse_options(f"as={name}")
    async with world(tmp_path, f"as={name}") as w:
        for path in ("a.jpg", "b.txt"):
            code = 0
            try:
                assert await w.phone.thumbnail(f"{STORAGE}/{path}") == THUMBNAIL
            except OSError as error:
                code = error.errno or errno.EIO
            has_one = path == "a.jpg" and capabilities.thumbnails not in {"none", "late"}
            assert code in ({0} if has_one else {errno.ENODATA, errno.EOPNOTSUPP})
