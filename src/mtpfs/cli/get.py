"""`mtpfs get`: files from the phone to this machine.

A file appears when it is whole, with its date. What was broken off is gone on with. What is here already, by size and
date, isn't fetched again.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mtpfs.cli.cat import PIECE, write_out
from mtpfs.cli.files import FileParser, Run, quoted, run_with_phone
from mtpfs.cli.paths import find, is_on_phone
from mtpfs.cli.phones import walk
from mtpfs.cli.transfers import Mover, Progress, Transfer, without_doubles
from mtpfs.errors import UsageError

if TYPE_CHECKING:
    from mtpfs.library import Entry


Owners = dict[tuple[int, int], str]
"""Which file of the phone a file here is, by device and inode: to some disks names are one that differ in case."""


def run(words: list[str]) -> int:
    """Run `mtpfs get`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "get",
        "[-rni] [--json] [--source SOURCE] PATH... [DIRECTORY|FILE|-]",
        "Fetch files from the phone, to this directory if there is one PATH only. - is the standard output.",
    )
    parser.add_paths("paths", "+")
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="directories with all that is in them"
    )
    parser.add_replacing_options()
    chosen = parser.parse(words)
    if len(chosen.paths) > 1 and is_on_phone(chosen.paths[-1]):
        raise UsageError(f"{chosen.paths[-1]} is on the phone: `mtpfs cp` copies there")
    if chosen.json and chosen.paths[-1] == "-":
        raise UsageError("the standard output is either the file or JSON")
    return run_with_phone("get", chosen, _get)


def _get(run: Run) -> None:
    words, last = run.chosen.paths, "."
    if len(words) > 1:
        *words, last = words
    found: list[Entry] = []
    for word in words:
        with run.going_on():
            found += find(run.phone, word)
    if last == "-":
        for entry in found:
            with run.going_on():
                if entry.is_dir:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), entry.path)
                write_out(run, entry.path)
        return
    target = Path(last)
    into = target.is_dir() or last.endswith("/")
    if not into and (len(words) > 1 or len(found) > 1):
        raise NotADirectoryError(errno.ENOTDIR, f"{os.strerror(errno.ENOTDIR)}, and these are several", last)
    Mover(run, without_doubles(run, _planned(run, found, target, into=into))).run()


def _planned(run: Run, found: list[Entry], target: Path, *, into: bool) -> list[Transfer]:
    transfers: list[Transfer] = []
    owners: Owners = {}
    for entry in found:
        with run.going_on():
            _refuse_directory(entry, recursive=run.chosen.recursive)
            where = target / entry.name if into and entry.name else target
            if not entry.is_dir:
                transfers.append(_transfer(run, entry, where, owners))
                continue
            where.mkdir(parents=True, exist_ok=True)
            for inside in walk(run.phone, entry.path, dates=False):
                there = where / inside.path[len(entry.path.rstrip("/")) + 1 :]
                if inside.is_dir:
                    there.mkdir(parents=True, exist_ok=True)
                else:
                    transfers.append(_transfer(run, inside, there, owners))
    return transfers


def _refuse_directory(entry: Entry, *, recursive: bool) -> None:
    if entry.is_dir and not recursive:
        raise IsADirectoryError(errno.EISDIR, f"{os.strerror(errno.EISDIR)}: -r fetches it", entry.path)


def _transfer(run: Run, entry: Entry, target: Path, owners: Owners) -> Transfer:
    def state() -> tuple[int, float | None] | None:
        try:
            status = target.stat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        first = owners.setdefault((status.st_dev, status.st_ino), entry.path)
        if first != entry.path:
            raise OSError(
                errno.EEXIST, f"{quoted(first)} has the same name here, and goes there", str(target)
            )
        return status.st_size, status.st_mtime

    def date() -> float | None:
        # Some phones tell dates file by file: it is asked for only where there is something to be compared.
        return entry.modified if entry.modified is not None else run.phone.stat(entry.path).modified

    def move(progress: Progress) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file() and not target.is_dir():
            _pour(run, entry.path, target)  # a device or a pipe is written to, and never replaced
            return
        run.phone.download(entry.path, target, replace=True, resume=True, progress=progress)
        status = target.stat()
        owners[status.st_dev, status.st_ino] = entry.path

    return Transfer(entry.path, str(target), entry.size, state, date, move)


def _pour(run: Run, path: str, target: Path) -> None:
    with target.open("wb", buffering=0) as output, run.phone.open(path) as file:
        while data := file.read(PIECE):
            view = memoryview(data)
            while view:
                view = view[output.write(view) or 0 :]
