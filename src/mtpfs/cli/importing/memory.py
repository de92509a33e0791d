"""What earlier imports brought over from a phone: so that nothing comes twice, nor what was deleted here on purpose.

It is one file for each phone, below the state directory. Its lines are JSON and are only added, so a kill leaves all
but the last one whole, and the next import begins a new line. A line that can't be read is left out. The worst that a
broken file does is to have something fetched once more; then it is recognised by what is in the directory here.

A file is remembered when it is safe on the disk here, and not before. Nothing is synced here: what a loss of power
takes from the memory is recognised likewise.

The file is locked for as long as the import lasts. It is never replaced, so the lock is always that of all.

Invariant: nothing that is in the file, and no error of it, ends an import.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mtpfs import state
from mtpfs.cli.importing.finding import Key
from mtpfs.cli.phones import Phone
from mtpfs.pictures.kinds import group_key

_TOGETHER = 3600  # seconds
_LONGEST = 1 << 16  # bytes of a line that can be one of ours: a path of Linux' longest, escaped, twice


@dataclass(frozen=True, slots=True)
class Record:
    """What became of a file of the phone."""

    file: str
    """Where it was put; "": nowhere, as it is no picture."""
    digest: str = ""
    """The SHA-256 of its bytes as they came, in hexadecimal; "": not all of them came at once."""


def identity(phone: Phone) -> str:
    """Return what tells a phone from all others, as far as something does: a hash, which tells nothing of its owner."""
    text = f"{phone.name}\0{phone.serial}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Memory:
    """What was imported from one phone. Made by `remembered`."""

    def __init__(self, descriptor: int, trouble: str = "") -> None:
        self.trouble = trouble
        """Why nothing can be remembered; "": all is well."""
        self._descriptor = descriptor
        self._records: dict[Key, Record] = {}
        self._owners: dict[str, Key] = {}
        self._groups: dict[tuple[str, str], list[Key]] = {}
        self._ungrouped: list[Key] = []
        """What isn't sorted into groups yet: most imports don't ask for that."""
        self._is_torn = False
        """The file may end in the middle of a line."""
        if descriptor >= 0:
            self._read()

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: Key) -> Record | None:
        """Return what became of a file; None: it wasn't imported, or has changed since."""
        return self._records.get(key)

    def siblings(self, key: Key) -> Iterator[tuple[str, str]]:
        """Yield what belonged to a file, and was taken within the hour: names on the phone, and files here.

        Nearly: cameras begin to count anew, and then a name stands for another photo.
        """
        path, _, date = key
        while self._ungrouped:
            known = self._ungrouped.pop()
            directory, _, name = known[0].rpartition("/")
            self._groups.setdefault((directory, group_key(name)), []).append(known)
        directory, _, name = path.rpartition("/")
        for other in self._groups.get((directory, group_key(name)), ()):
            if date is not None and other[2] is not None and abs(other[2] - date) <= _TOGETHER:
                yield other[0].rpartition("/")[2], self._records[other].file

    def owner(self, file: str) -> Key | None:
        """Return which file of the phone a file here is, as far as that is remembered."""
        return self._owners.get(file)

    def add(self, key: Key, record: Record) -> None:
        """Remember a file that is here.

        If that can't be written, `trouble` tells it, and this import still knows it.
        """
        self._note(key, record)
        if self._descriptor < 0:
            return
        path, size, date = key
        facts = {"path": path, "size": size, "date": date, "file": record.file, "sha256": record.digest}
        line = ("\n" if self._is_torn else "") + json.dumps(facts) + "\n"
        try:
            view = memoryview(line.encode())
            while view:
                view = view[os.write(self._descriptor, view) :]
            self._is_torn = False
        except OSError as error:
            self._is_torn = True
            self.trouble = error.strerror or str(error)

    def _note(self, key: Key, record: Record) -> None:
        if record.file and key not in self._records:
            self._ungrouped.append(key)
        self._records[key] = record
        self._owners[record.file] = key

    def _read(self) -> None:
        with open(os.dup(self._descriptor), "rb") as file:  # noqa: PTH123 - a descriptor isn't a path
            while line := file.readline(_LONGEST):
                self._apply(line)
                self._is_torn = not line.endswith(b"\n")

    def _apply(self, line: bytes) -> None:
        try:
            match json.loads(line):
                case {
                    "path": str(path),
                    "size": int(size),
                    "date": int() | None as date,
                    "file": str(file),
                    "sha256": str(digest),
                }:
                    self._note((path, size, date), Record(file, digest))
        except (ValueError, RecursionError):  # JSON's and Unicode's are such
            return


@contextmanager
def remembered(phone: Phone, *, to_write: bool) -> Iterator[Memory]:
    """Have the memory of a phone, locked if it is to be written. Raises EBUSY if another import has it."""
    descriptor, trouble = _opened(f"imported-{identity(phone)}.jsonl")
    try:
        if descriptor >= 0 and to_write:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(errno.EBUSY, "another import of this phone is running") from None
        try:
            memory = Memory(descriptor)
        except OSError as error:
            memory = Memory(-1, error.strerror or str(error))
        memory.trouble = memory.trouble or trouble
        yield memory
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _opened(name: str) -> tuple[int, str]:
    """Return the file's descriptor, or -1 and why there is none.

    Only the best place counts. If that can't be used for once, a second memory elsewhere would know half of it.
    """
    place = next(state.directories(), None)
    if place is None:
        return -1, "there is no home directory"
    try:
        directory = state.open_directory(place)
        try:
            # O_NONBLOCK: a named pipe in its place is an error, and not an endless wait.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=directory)
            return state.private(descriptor, stat.S_ISREG, 0o600, "it isn't a file of ours"), ""
        finally:
            os.close(directory)
    except OSError as error:
        return -1, f"{place}/mtpfs: {error.strerror or error}"
