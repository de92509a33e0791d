"""Paths on the phone, as people type them: `phone:/STORAGE/PATH`, and `phone:PATH` on whichever storage it is.

An absolute path says which storage is meant. A relative one is looked for on all of them. For reading, the first
storage that has it will do, and a pattern is matched on all. For changing, two that have it are one too many.
Something new goes where its directory is, else to the first storage that can be written. `phone:` may be left out
where only a path on the phone makes sense; where both make sense it tells which is meant.

A pattern is matched here, on the phone's names, so it has to be quoted for the shell. `*`, `?` and `[…]` match within
one name, and no dot that a name begins with; `**` is any number of directories. What exists under exactly this name
is taken first, brackets or not.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtpfs.cli.phones import Phone
from mtpfs.errors import MtpfsError

if TYPE_CHECKING:
    from mtpfs.library import Entry

PREFIX = "phone:"
_MAGIC = frozenset("*?[")
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


class AmbiguousError(MtpfsError):
    """Several storages have what is to be changed."""


@dataclass(frozen=True, slots=True)
class PhonePath:
    """A path as it was typed, without the prefix."""

    text: str
    is_absolute: bool
    parts: tuple[str, ...]
    is_directory: bool
    """It ends in a slash, or is the top: only a directory is meant."""

    @property
    def is_pattern(self) -> bool:
        """Tell whether it may stand for several."""
        return any(_MAGIC & set(part) for part in self.parts)

    def on(self, storage: str) -> str:
        """Return it as an absolute path, on a storage if it is relative."""
        return "/" + "/".join(self.parts if self.is_absolute else (storage, *self.parts))


def is_on_phone(word: str) -> bool:
    """Tell whether a word says that it is on the phone."""
    return word.startswith(PREFIX)


def parse(word: str) -> PhonePath:
    """Take a path apart."""
    text = word.removeprefix(PREFIX)
    is_absolute = text.startswith("/")
    normal = posixpath.normpath(text) if text else ""
    parts = tuple(part for part in normal.split("/") if part not in {"", ".", ".."})
    return PhonePath(text, is_absolute, parts, not parts or text.endswith("/"))


def find(phone: Phone, word: str) -> list[Entry]:
    """Return what a path or pattern means, for reading. Raises ENOENT if there is nothing, ENODEV without storages."""
    path = parse(word)
    if not path.parts:
        return [phone.stat("/")]
    for place in _places(phone, path):
        if (entry := _existing(phone, place, path)) is not None:
            return [entry]
    found = [entry for each in _matches_by_storage(phone, path) for entry in each]
    if not found:
        raise _nothing(word, path)
    return found


def find_to_change(phone: Phone, word: str) -> list[Entry]:
    """Return what a path or pattern means, for changing.

    Raises as `find`, and `AmbiguousError` if it is on several storages.
    """
    path = parse(word)
    if not path.parts:
        return [phone.stat("/")]
    there = [[entry] for place in _places(phone, path) if (entry := _existing(phone, place, path))]
    found = there or [entries for entries in _matches_by_storage(phone, path) if entries]
    if len(found) > 1:
        raise _ambiguous(word, [entries[0] for entries in found])
    if not found:
        raise _nothing(word, path)
    return found[0]


def place_for(phone: Phone, word: str) -> tuple[str, Entry | None]:
    """Return where something is to go, as an absolute path, and what is there.

    Raises ENODEV without storages, EROFS if none can be written, `AmbiguousError`.
    """
    path = parse(word)
    places = _places(phone, path)
    there = [entry for place in places if (entry := _existing(phone, place, path))]
    if not path.is_absolute and not path.parts:
        there = []  # the top of a storage, whichever
    if len(there) > 1:
        raise _ambiguous(word, there)
    if there:
        return there[0].path, there[0]
    if path.is_absolute:
        return places[0], None
    if len(path.parts) > 1:
        above = [
            place
            for place in places
            if (entry := _existing(phone, posixpath.dirname(place), path)) and entry.is_dir
        ]
        if len(above) > 1:
            raise _ambiguous(word, [phone.stat(posixpath.dirname(place)) for place in above])
        if above:
            return above[0], None
    writable = [storage for storage in phone.storages() if storage.writable]
    if not writable:
        raise OSError(errno.EROFS, "no storage of the phone can be written", path.text)
    if not path.parts:
        return writable[0].path, phone.stat(writable[0].path)
    return path.on(writable[0].name), None


def _places(phone: Phone, path: PhonePath) -> list[str]:
    """Return where a path may be. Raises ENODEV without storages."""
    if path.is_absolute:
        return [path.on("")]
    storages = phone.scandir("/", dates=False)
    if not storages:
        raise OSError(errno.ENODEV, "the phone shows no storages: unlock it, and allow file transfer")
    return [path.on(storage.name) for storage in storages]


def _existing(phone: Phone, place: str, path: PhonePath) -> Entry | None:
    try:
        entry = phone.stat(place)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return None
    return entry if entry.is_dir or not path.text.endswith("/") else None


def _matches_by_storage(phone: Phone, path: PhonePath) -> Iterator[list[Entry]]:
    if not path.is_pattern:
        return
    if path.is_absolute:
        tops, parts = ["/"], path.parts
    else:
        tops, parts = [entry.path for entry in phone.scandir("/", dates=False)], path.parts
    for top in tops:
        found = {entry.path: entry for entry in _matches(phone, top, parts)}
        yield [entry for entry in found.values() if entry.is_dir or not path.is_directory]


def _matches(phone: Phone, directory: str, parts: tuple[str, ...]) -> Iterator[Entry]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        if rest:
            yield from _matches(phone, directory, rest)
        for entry in _listed(phone, directory):
            if not entry.name.startswith("."):
                if not rest:
                    yield entry
                if entry.is_dir:
                    yield from _matches(phone, entry.path, parts)
        return
    if not _MAGIC & set(part):
        found = [entry for entry in _listed(phone, directory) if entry.name == part]
    else:
        found = [entry for entry in _listed(phone, directory) if _fits(entry.name, part)]
    for entry in found:
        if not rest:
            yield entry
        elif entry.is_dir:
            yield from _matches(phone, entry.path, rest)


def _listed(phone: Phone, directory: str) -> list[Entry]:
    try:
        return phone.scandir(directory, dates=False)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return []  # it has gone meanwhile


def _fits(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def _nothing(word: str, path: PhonePath) -> OSError:
    text = "nothing matches" if path.is_pattern else os.strerror(errno.ENOENT)
    return FileNotFoundError(errno.ENOENT, text, word)


def _ambiguous(word: str, there: list[Entry]) -> AmbiguousError:
    choices = " and ".join(f"'{PREFIX}{entry.path}'" for entry in there)
    return AmbiguousError(f"'{word}' is on several storages: say which, {choices}")
