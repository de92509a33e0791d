"""When a photo or a video was taken: by what is in it, else by its name, else by the file's date.

What is in it is chosen by the contents, not by the extension: a `.jpg` may be HEIF. A broken file is no error: then the
name tells, or the date.

A moment is local time: a photo's where it was taken, with the zone that it tells; a film's, which is UTC, in this
machine's zone. So is a name's that is UTC (PXL_…). All other names are local.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from mtpfs.pictures import boxes, exif
from mtpfs.pictures.reading import Bytes, Readable, UnreadableError

HEAD = 16
"""Bytes by which a file is known."""
_TIME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_. ]?(\d\d)[-_. ]?(\d\d)(?:[-_. T]{0,2}|[ _-]at[ _-])(\d\d)[-_.:]?(\d\d)[-_.:]?(\d\d)(?:\d{3})?(?!\d)"
)
_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)(?!\d)")
_MILLISECONDS = re.compile(r"(?<!\d)(1\d{12})(?!\d)")
_UTC = re.compile(r"PXL_", re.IGNORECASE)


class Origin(StrEnum):
    """What has told a date."""

    CONTENTS = "contents"
    NAME = "name"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Taken:
    """A moment, and what has told it."""

    moment: datetime
    origin: Origin


def taken(file: Readable, name: str, modified: float | None) -> Taken:
    """Return when it was taken. `modified` is the file's date; None: not known. Raises `OSError` of the file only."""
    if (found := date_in(file)) is not None:
        return Taken(found, Origin.CONTENTS)
    if (found := date_in_name(name)) is not None:
        return Taken(found, Origin.NAME)
    if modified is not None:
        try:
            return Taken(datetime.fromtimestamp(modified), Origin.DATE)  # noqa: DTZ006 - it is to be local
        except (ValueError, OverflowError, OSError):
            pass  # no year that there can be
    return Taken(datetime.now(), Origin.DATE)  # noqa: DTZ005


def date_in(file: Readable) -> datetime | None:
    """Return the date that the contents tell, if they do."""
    data = Bytes(file)
    try:
        head = data.at(0, HEAD)
        if head[4:8] not in boxes.FIRST:
            return exif.date_in(data, head)
        found = boxes.date_in(data)
    except UnreadableError:
        return None
    if found is None or found.tzinfo is not UTC:
        return found
    # A film's. Nothing that exists was taken tomorrow.
    return None if found > datetime.now(UTC) + timedelta(days=2) else found.astimezone()


def date_in_name(name: str) -> datetime | None:
    """Return the date that a name tells, such as `IMG_20250102_030405.jpg`; at midnight if it tells the day only."""
    for match in _TIME.finditer(name):
        found = exif.moment_of(*map(int, match.groups()))
        if found is not None:
            return found.replace(tzinfo=UTC).astimezone() if _UTC.match(name) else found
    if (stamp := _MILLISECONDS.search(name)) is not None:
        return datetime.fromtimestamp(int(stamp[1]) / 1000, UTC).astimezone()
    for match in _DAY.finditer(name):
        found = exif.moment_of(*map(int, match.groups()))
        if found is not None:
            return found
    return None


def is_picture(head: bytes) -> bool:
    """Tell whether a file that begins so is a photo or a video: for names that don't tell."""
    return (
        head.startswith(
            (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"\x1aE\xdf\xa3")
        )
        or (head.startswith(b"RIFF") and head[8:12] in {b"WEBP", b"AVI "})
        or head[4:8] in {b"ftyp", b"moov"}
    )
