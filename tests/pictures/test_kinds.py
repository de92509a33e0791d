"""What is a photo or a video, by its name, and what belongs together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.pictures.kinds import Kind, group_key, kind_of, numbered, unnumbered

GROUPS = [
    ("IMG_1234.HEIC", "IMG_1234.MOV", "IMG_E1234.HEIC", "IMG_1234.AAE", "IMG_O1234.AAE"),
    ("DSC00001.JPG", "DSC00001.ARW", "DSC00001.xmp", "DSC00001.ARW.xmp"),
    ("IMG_20250304_030405.jpg", "IMG_20250304_030405.dng", "IMG_20250304_030405~2.jpg"),
    (
        "PXL_20250102_030405123.MP.jpg",
        "PXL_20250102_030405123.MP",
        "PXL_20250102_030405123.RAW-02.ORIGINAL.dng",
        "PXL_20250102_030405123.RAW-01.COVER.jpg",
        "PXL_20250102_030405123~2.jpg",
    ),
    ("IMG_20250102_030405_BURST000_COVER.jpg", "IMG_20250102_030405_BURST001.jpg"),
    ("IMG_20250203_030405_BURST001.jpg", "IMG_20250203_030405_BURST010.jpg"),
    ("00000IMG_00000_BURST20250102030405123_COVER.jpg", "00001IMG_00001_BURST20250102030405123.jpg"),
    ("DSC_0001_BURST20250102030405999.JPG", "DSC_0002_BURST20250102030405999.JPG"),
    (
        "holiday.jpg",
        "holiday-edited.jpg",
        "holiday_edited.jpg",
        "holiday (edited).jpg",
        "holiday_edit_123.jpg",
    ),
    ("20250102_030405.jpg", "20250102_030405.mp4"),
]


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_groups(names: tuple[str, ...]) -> None:
    """What belongs together has one key, and nothing else has it."""
    assert len({group_key(name) for name in names}) == 1
    others = {group_key(name) for group in GROUPS if group is not names for name in group}
    assert group_key(names[0]) not in others


def test_different_photos_stay_apart() -> None:
    names = [
        "IMG_1234.HEIC",
        "IMG_1235.HEIC",
        "IMG_12345.HEIC",
        "DSC_0001.JPG",
        "IMG_20250102_030406.jpg",
        "a.jpg",
    ]
    assert len({group_key(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jpg", Kind.PHOTO),
        ("A.JPEG", Kind.PHOTO),
        ("a.HEIC", Kind.PHOTO),
        ("a.dng", Kind.PHOTO),
        ("a.mp4", Kind.VIDEO),
        ("PXL_20250102_030405123.MP", Kind.VIDEO),
        ("a.xmp", Kind.SIDECAR),
        ("a", Kind.DOUBTFUL),
        ("a.txt", None),
        ("a.mp3", None),
        (".a.jpg", None),
        (".trashed-1700000000-a.jpg", None),
        (".pending-1700000000-a.jpg", None),
        (".jpg", None),
    ],
)
def test_kinds(name: str, kind: Kind | None) -> None:
    assert kind_of(name) == kind


@given(st.text(min_size=1, max_size=30), st.integers(2, 999))
def test_numbers(name: str, number: int) -> None:
    """A number can be taken away again, and keeps the extension."""
    assert numbered(name, 1) == name
    assert unnumbered(numbered(name, number)) == name
    assert kind_of(numbered(name, number)) == kind_of(name)
    group_key(name)
