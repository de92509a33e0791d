"""The directory here: where a file goes, under which name, and what is there already.

The pattern of `--into` has fields in braces: the date, the directory on the phone, the phone. A file keeps its name.
If that is another file's, it becomes `name~2`, and all that belongs to it gets the same number.

Whether a file is there is told by name, size and date, before it is fetched. Where its place depends on the date taken,
this is read from the file that is here, which is the same one. When it was fetched, the contents tell.

Invariant: nothing is ever replaced.
"""

from __future__ import annotations

import hashlib
import os
import stat
import string
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath

from mtpfs.cli.importing.finding import Item
from mtpfs.cli.transfers import is_there
from mtpfs.errors import UsageError
from mtpfs.pictures.kinds import Kind, split, unnumbered
from mtpfs.pictures.taken import Origin, Taken, taken

DEFAULT = "{folder}"
_FIELDS = ("taken", "folder", "phone")
_DAY = "%Y-%m-%d"
_SAMPLE = datetime(2025, 12, 31, 23, 59, 59)  # noqa: DTZ001 - any will do
_PIECE = 1 << 20  # bytes
HIDDEN = ".mtpfs-import-"
"""What the name of a directory begins with in which files arrive; see `bringing`."""


class Pattern:
    """The directories that files go to, below the one that is given."""

    def __init__(self, text: str) -> None:
        """Raises `UsageError` for what is no pattern, or leads out of the directory."""
        self._text = text
        try:
            fields = [
                (name, form, conversion)
                for _, name, form, conversion in string.Formatter().parse(text)
                if name is not None
            ]
        except ValueError as error:
            raise UsageError(f"--into {text}: {error}") from error
        for name, form, conversion in fields:
            if name not in _FIELDS or conversion or (form and name != "taken"):
                raise UsageError(f"--into {text}: the fields are {{taken:%Y/%m}}, {{folder}} and {{phone}}")
        self.needs_date = any(name == "taken" for name, _, _ in fields)
        """Whether the place of a file is known only when its date is."""
        try:
            sample = self._expanded(_SAMPLE, "folder", "phone")
        except ValueError as error:
            raise UsageError(f"--into {text}: {error}") from error
        if sample.is_absolute() or ".." in sample.parts or "\0" in str(sample):
            raise UsageError(f"--into {text}: it must lead to directories below the one that is given")

    def _expanded(self, moment: datetime, folder: str, phone: str) -> PurePosixPath:
        result = ""
        for literal, name, form, _ in string.Formatter().parse(self._text):
            result += literal
            if name == "taken":
                result += moment.strftime(form or _DAY)
            elif name is not None:
                result += folder if name == "folder" else phone
        return PurePosixPath(result)

    def directory(self, moment: datetime, item: Item, phone: str) -> PurePosixPath:
        """Return where a file goes."""
        folder = "/".join(part for part in item.folder.split("/") if part not in {"", ".", ".."})
        name = phone.replace("/", "-").strip(". ") or "phone"
        return PurePosixPath(str(self._expanded(moment, folder, name)).lstrip("/") or ".")


class Shelf:
    """The directory, and what is in it."""

    def __init__(self, directory: Path, pattern: Pattern, phone: str) -> None:
        self.directory = directory
        self.pattern = pattern
        self._phone = phone
        self._looked_into: dict[Path | None, dict[str, list[Path]]] = {}
        """By directory, or None for all: files by the name that they would have without a number."""

    def place(self, moment: datetime, item: Item) -> Path:
        """Return the directory that a file of some date goes to."""
        return self.directory / self.pattern.directory(moment, item, self._phone)

    def place_of(self, dates: dict[Item, Taken]) -> Path:
        """Return the directory of a group: that of its first photo that tells its date, else of what does."""

        def rank(item: Item) -> tuple[bool, bool, bool, str]:
            tells = dates[item].origin is Origin.CONTENTS
            return item.kind is Kind.SIDECAR, not tells, item.kind is not Kind.PHOTO, item.name

        chief = min(dates, key=rank)
        return self.place(dates[chief].moment, chief)

    def home(self, group: Iterable[tuple[str, Path]]) -> tuple[Path, int] | None:
        """Return where some of a group is already, and with which number; None: nowhere in this directory.

        The names are those on the phone.
        """
        for name, path in group:
            if not path.is_relative_to(self.directory) or not path.exists():
                continue
            if path.name == name:
                return path.parent, 1
            if unnumbered(path.name) == name:
                return path.parent, int(split(path.name)[0].rpartition("~")[2])
        return None

    def find(self, group: list[Item], is_free: Callable[[Item, Path], bool]) -> dict[Item, Path]:
        """Return which files of a group are where they would go, by name, size and date, if they are nothing else."""
        candidates = {
            item: [path for path in self._candidates(item) if is_free(item, path)] for item in group
        }
        # What tells no date of its own (a sidecar) lies where one lies that does.
        places = {
            path.parent
            for item, paths in candidates.items()
            for path in paths
            if not self.pattern.needs_date or self._is_its_place(path, item)
        }
        return {
            item: path
            for item, paths in candidates.items()
            for path in reversed(paths)
            if path.parent in places
        }

    def _candidates(self, item: Item) -> list[Path]:
        if item.modified is None:
            return []  # without a date nothing is recognised
        where = None if self.pattern.needs_date else self.place(_SAMPLE, item)
        if where not in self._looked_into:
            self._looked_into[where] = self._look_into(where)
        names = {item.name, unnumbered(item.name)}
        return [
            path
            for name in names
            for path in self._looked_into[where].get(name, ())
            if item.name in {path.name, unnumbered(path.name)} and self._is_it(path, item)
        ]

    def _look_into(self, where: Path | None) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        paths: Iterable[tuple[str, list[str]]]
        if where is not None:
            try:
                paths = [(str(where), os.listdir(where))]
            except (FileNotFoundError, NotADirectoryError):
                paths = []
        else:
            paths = ((directory, names) for directory, _, names in self._walk())
        for directory, names in paths:
            for name in sorted(names):
                found.setdefault(unnumbered(name), []).append(Path(directory, name))
        return found

    def _walk(self) -> Iterable[tuple[str, list[str], list[str]]]:
        def raised(error: OSError) -> None:
            # What isn't there (any more, or before the first import), and what we may not look into (lost+found), has
            # nothing of ours.
            if not isinstance(error, FileNotFoundError | PermissionError):
                raise error

        for directory, folders, names in os.walk(self.directory, onerror=raised):
            folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
            yield directory, folders, names

    @staticmethod
    def _is_it(path: Path, item: Item) -> bool:
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(status.st_mode) and is_there(
            item.size, item.modified, (status.st_size, status.st_mtime)
        )

    def _is_its_place(self, path: Path, item: Item) -> bool:
        return self.place(read_date(path, item).moment, item) == path.parent


def read_date(path: Path, item: Item) -> Taken:
    """Return when a file that is here was taken."""
    with path.open("rb") as file:
        return taken(file, item.name, item.modified)


def hash_of(path: Path, *, from_disk: bool = False) -> str:
    """Return the SHA-256 of a file, in hexadecimal; `from_disk`: not of what is still in memory. Raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        if from_disk:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while data := file.read(_PIECE):
            digest.update(data)
    return digest.hexdigest()
