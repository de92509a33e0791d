"""The names of objects in the middle of a change.

MTP can't replace a file in one step, so for a moment an object has a temporary name. Nothing
else survives both a kill -9 and a pulled cable, so the name says all that a later mount has to
know: what the object is, which name it is about, and how large the complete new contents are.

    mtpfs-new-4f2a91-1c8-song.mp3

- It ends as NAME does, because some devices refuse a rename that changes the extension
  (Tizen). It doesn't begin with a dot, because some don't list what does (Tizen again): what a
  crash leaves would never be found. With a dot, as earlier versions wrote it, it is still read.
- Characters that some device refuses in renames, or spells wrongly, are written as `%HEX%`; earlier versions wrote
  `%HEX;`, of which uMTP-Responder makes `%HEX_`.
- Where NAME is too long, a digest stands for it. It recognises NAME, but can't give it back.
"""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass
from enum import StrEnum

from mtpfs.errors import FsError
from mtpfs.protocol.wire import MAX_STRING_UNITS, utf16_units
from mtpfs.redaction import hide_name

LONGEST = MAX_STRING_UNITS
"""UTF-16 units, and also bytes: Android's filesystems end there."""
_LONGEST_EXTENSION = 16  # characters that are kept beside a digest
_UNSAFE = re.compile(r'[^ -~\u00a0-\ud7ff\ue000-\ufffd]|[%;:?*"|<>\\/]')
"""Refused in renames (Sailfish), or spelled wrongly on the disk (uMTP-Responder: `;`, and outside the BMP)."""


class Kind(StrEnum):
    """What an object with a temporary name is. In the order in which they are settled."""

    MOVE = "move"
    """On its way to another directory, under another name."""
    NEW = "new"
    """Contents that are to replace a file; the number is their size. The old ones have a name still."""
    LAST = "last"
    """Contents that replace a file which had to be deleted before; the number is their size."""
    PART = "part"
    """Contents that are to replace a file and aren't complete."""
    OLD = "old"
    """Put aside for another object that gets its name; the number is the other's size."""
    GONE = "gone"
    """Deleted while it was open."""


_PATTERN = re.compile(
    r"\.?mtpfs-(move|new|last|part|old|gone)-[0-9a-f]{6}-([0-9a-f]+)(?:-(.+)|=([0-9a-f]{16})(?:\..*)?)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"%([0-9a-f]{1,6})[%;]")


@dataclass(frozen=True, slots=True)
class Temporary:
    """A temporary name, read. `name` is empty where it was too long to be kept; then `digest` stands for it."""

    kind: Kind
    number: int
    name: str
    digest: str = ""

    def means(self, name: str) -> bool:
        """Tell whether this is about `name`."""
        return _digest(name) == self.digest if self.digest else name == self.name

    @property
    def subject(self) -> str:
        """What it is about, as a key: equal for all that are about one name."""
        return self.digest or _digest(self.name)


def temporary_name(kind: Kind, name: str, number: int = 0) -> str:
    """Return a fresh name for an object in the middle of a change of `name`."""
    start = f"mtpfs-{kind}-{secrets.token_hex(3)}-{number:x}"
    full = f"{start}-{_escaped(name)}"
    if max(utf16_units(full), len(full.encode())) > LONGEST:
        _, dot, extension = name.rpartition(".")
        kept = f".{_escaped(extension)}" if dot and len(extension) <= _LONGEST_EXTENSION else ""
        full = f"{start}={_digest(name)}{kept}"
    hide_name(full)
    return full


def moving_name(old: str, new: str, destination: str) -> str:
    """Return a fresh name for an object that is moved into the directory `destination` and renamed."""
    return temporary_name(Kind.MOVE, f"{len(old)}-{old}{new}", _place(destination))


def end_of_move(temporary: Temporary, directory: str) -> str:
    """Return the name that a moving object has at the end of its way, or at its start if it is still there.

    Empty where both together were too long to be kept.
    """
    length, _, both = temporary.name.partition("-")
    if not length.isdecimal():
        return ""
    middle = int(length)
    return both[middle:] if _place(directory) == temporary.number else both[:middle]


def parse(name: str) -> Temporary | None:
    """Read a temporary name; None: it is an ordinary one."""
    match = _PATTERN.fullmatch(name) if "mtpfs-" in name[:7] else None
    if match is None:
        return None
    kind, number, subject, digest = match.groups()
    plain = _ESCAPE.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), subject or "")
    return Temporary(Kind(kind), int(number, 16), plain, digest or "")


def check_not_reserved(name: str) -> None:
    """Refuse a name that would be taken for a temporary one. Raises EINVAL."""
    if parse(name) is not None:
        raise FsError(errno.EINVAL, f"{name!r} is a name for mtpfs's own use")


def is_plain(name: str) -> bool:
    """Tell whether every device takes all characters of `name` in a rename."""
    return _UNSAFE.search(name) is None


def _escaped(name: str) -> str:
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):x}%", name)


def _place(directory: str) -> int:
    return zlib.crc32(directory.encode("utf-8", "surrogatepass"))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
