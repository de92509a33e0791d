"""Photos and videos by their names: what is one, and which of them belong together.

What belongs together is one picture to its owner: a raw file and its JPEG, a live photo's still and film, the photos
of a burst, an edited picture and its original, a file that holds the edits of another. Apps tell by the names alone.

Sources of the names, by where they were reported: aves #1675, #956 and #562 (bursts of Motorola, Fairphone, Sony),
immich #160 (Apple's pairs), LoveLiver #25 and photoprism #1739 (motion photos), Google's camera (PXL_…, BURST…).
"""

from __future__ import annotations

import re
from enum import StrEnum

_PHOTOS = "jpg jpeg jpe jfif heic heif hif avif jxl png gif webp bmp tif tiff mpo insp"
_RAWS = "dng arw cr2 cr3 crw nef nrw orf raf rw2 rwl pef srw x3f 3fr iiq mrw kdc dcr erf gpr"
_VIDEOS = "mp4 m4v mov qt 3gp 3g2 avi mkv webm mts m2ts mpg mpeg wmv asf flv insv mp"
_SIDECARS = "xmp aae thm"


class Kind(StrEnum):
    """What a file is."""

    PHOTO = "photo"
    VIDEO = "video"
    SIDECAR = "sidecar"
    """It tells something about another one, and is nothing without it."""
    DOUBTFUL = "doubtful"
    """It has no extension: the contents have to tell."""


_KINDS = (
    dict.fromkeys(f"{_PHOTOS} {_RAWS}".split(), Kind.PHOTO)
    | dict.fromkeys(_VIDEOS.split(), Kind.VIDEO)
    | dict.fromkeys(_SIDECARS.split(), Kind.SIDECAR)
)

_NUMBERED = re.compile(r"(.+)~\d+", re.DOTALL)
_EDITED = re.compile(r"(.+?)(?:[-_ ]\(?edit(?:ed)?\)?(?:[-_]?\d+)?|~\d+)")
_APPLE = re.compile(r"img_[eo](\d{4,})")
_PIXEL = re.compile(r"(pxl_\d{8}_\d+)\b.*")
_OLD_BURST = re.compile(r".*burst(\d{8,})(?:_cover)?")
"""`00001IMG_00001_BURST20250102030405123_COVER` of Google, `DSC_0001_BURST20250102030405123` of Sony."""
_BURST = re.compile(r"(.+?)[-_.]burst[-_]?\d{1,5}\b.*|(.+?)_burst\d{1,5}(?:_.*)?")


def kind_of(name: str) -> Kind | None:
    """Return what a file is; None: neither photo nor video, or a name that is hidden."""
    if name.startswith("."):
        return None  # .trashed-…, .pending-…, ._…
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem:
        return Kind.DOUBTFUL
    return _KINDS.get(extension.lower())


def group_key(name: str) -> str:
    """Return what all names of one group in one directory have in common."""
    stem = name.lower()
    while True:  # IMG_1.JPG.xmp, PXL_….MP.jpg
        shorter, dot, extension = stem.rpartition(".")
        if not dot or not shorter or extension not in _KINDS:
            break
        stem = shorter
    if match := _PIXEL.fullmatch(stem):
        return match[1]
    while match := _EDITED.fullmatch(stem):
        stem = match[1]
    if match := _APPLE.fullmatch(stem):
        return f"img_{match[1]}"
    if match := _OLD_BURST.fullmatch(stem):
        return f"burst{match[1]}"
    if match := _BURST.fullmatch(stem):
        return str(match[1] or match[2])
    return stem


def split(name: str) -> tuple[str, str]:
    """Return a name's stem, and its extension with the dot."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if stem else (name, "")


def numbered(name: str, number: int) -> str:
    """Return the name itself for 1, `photo~2.jpg` for (`photo.jpg`, 2)."""
    stem, extension = split(name)
    return name if number == 1 else f"{stem}~{number}{extension}"


def unnumbered(name: str) -> str:
    """Return `photo.jpg` for `photo~2.jpg`, and any other name as it is."""
    stem, extension = split(name)
    match = _NUMBERED.fullmatch(stem)
    return match[1] + extension if match else name
