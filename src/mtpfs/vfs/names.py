"""File names in two alphabets: MTP's UTF-16 strings and Linux's bytes.

What Linux can store passes unchanged in both directions (lone surrogates as the three bytes UTF-8 would give them).
The few names that Linux can't have, from odd devices, are shown in an escaped form. They are looked up through the
listing, so the escape never has to be undone. Names that two objects share are told apart by `~2`, `~3`… before the
extension.

Android's filesystems don't tell `Song` from `song`, nor one way to write `é` from the other. The kernel's rule says
which names are one name to them. `fold` follows it, so that no file is lost under a name that only looks new.

Invariant: within a directory shown names are unique, and none is empty, `.`, `..`, or contains `/` or NUL.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Container

from mtpfs.device.names import fold
from mtpfs.errors import FsError
from mtpfs.protocol.wire import MAX_STRING_UNITS, utf16_units

__all__ = ["device_name", "fold", "free", "numbered", "shown_name"]

_FAT_FORBIDDEN = frozenset('\\:*?"<>|')
_SPECIAL = {"": "(no name)", ".": "(dot)", "..": "(dot dot)"}


def shown_name(name: str) -> bytes:
    """Return the Linux name of an object that the device calls `name`."""
    name = _SPECIAL.get(name, name).replace("/", "\N{DIVISION SLASH}").replace("\0", "\N{SYMBOL FOR NULL}")
    return name.encode("utf-8", "surrogatepass")


def numbered(name: bytes, number: int) -> bytes:
    """Return `photo~2.jpg` for (`photo.jpg`, 2)."""
    stem, dot, extension = name.rpartition(b".")
    if not stem:
        return b"%s~%d" % (name, number)
    return b"%s~%d%s%s" % (stem, number, dot, extension)


def device_name(name: bytes, *, removable: bool) -> str:
    """Return what the device is to call a new object that Linux calls `name`.

    Raises `FsError`: ENAMETOOLONG beyond 254 UTF-16 units, EILSEQ for what
    isn't UTF-8, EINVAL for what an SD card's FAT can't store.
    """
    try:
        text = name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise FsError(errno.EILSEQ, f"{name!r} is not UTF-8") from error
    if utf16_units(text) > MAX_STRING_UNITS:
        raise FsError(errno.ENAMETOOLONG, f"more than {MAX_STRING_UNITS} UTF-16 units")
    if removable and (_FAT_FORBIDDEN & set(text) or text[-1:] in {" ", "."}):
        raise FsError(errno.EINVAL, f"{text!r} can't be stored on a removable card")
    return text


def free(object_name: str, taken: Container[bytes], numbers: dict[bytes, int]) -> bytes:
    """Return the shown name of an object, numbered if others have it already.

    `numbers` holds the next number by name, so that not each of many objects of one name tries all of them.
    """
    plain = name = shown_name(object_name)
    for number in itertools.count(numbers.get(plain, 2)):
        if name not in taken:
            break
        name = numbered(plain, number)
        numbers[plain] = number + 1
    return name
