"""`mtpfs thumbs`: the phone's own thumbnails, into the cache where file managers look, or as files.

For the cache the phone has to be mounted, because an entry belongs to a path on this machine. The mount's process has
the phone, so it is asked by its socket; what it sends is decoded here, in a process that can reach nothing. The
newest come first: a folder of pictures is mostly looked at from that end.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mtpfs.cli import mounts
from mtpfs.cli.bar import Bar, time_of
from mtpfs.cli.files import FileParser, Run, described, quoted, run_with_phone
from mtpfs.cli.mounted import MountedPhone
from mtpfs.cli.paths import find
from mtpfs.errors import MtpfsError, SetupError, UsageError
from mtpfs.thumbnails.decoder import Decoder, UnreadableError
from mtpfs.thumbnails.entries import SIZES, Cache, cache_of
from mtpfs.thumbnails.kinds import may_have_one

if TYPE_CHECKING:
    from mtpfs.library import Entry

LARGEST = 1024
"""Pixels of a thumbnail that becomes a file."""
_NOT_AT_ALL = errno.EOPNOTSUPP


def run(words: list[str]) -> int:
    """Run `mtpfs thumbs`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "thumbs",
        "[--json] DIRECTORY...\n       mtpfs thumbs --to DIRECTORY [--json] [--source SOURCE] PATH...",
        "Fetch the phone's own thumbnails of pictures and films, with all that is below: into the cache of file managers, for "
        "directories of a mount; or as PNG files, for any PATH on the phone.",
    )
    parser.add_argument("--to", metavar="DIRECTORY", default="", help="write files there, NAME.png")
    parser.add_paths("paths", "+")
    chosen = parser.parse(words)
    if chosen.to:
        with Decoder() as decoder:
            return run_with_phone("thumbs", chosen, lambda run: _as_files(run, decoder))
    if chosen.source:
        raise UsageError(
            "without --to it is directories of a mount that are meant, and these say which phone"
        )
    return _into_cache(chosen)


# --- into the cache ------------------------------------------------------------------


def _into_cache(chosen: argparse.Namespace) -> int:
    cache = cache_of(os.geteuid())
    if cache is None:
        raise SetupError(
            "there is no thumbnail cache for root: call it as the user who looks at the pictures"
        )
    places: dict[str, list[str]] = {}
    for word in chosen.paths:
        mountpoint, inside = _mounted(word)
        places.setdefault(mountpoint, []).append(inside)
    with Decoder() as decoder:
        return max(_on_a_mount(chosen, decoder, cache, *each) for each in places.items())


def _on_a_mount(
    chosen: argparse.Namespace, decoder: Decoder, cache: Cache, mountpoint: str, inside: list[str]
) -> int:
    with contextlib.closing(MountedPhone(mountpoint)) as phone:
        paths = [phone.path_of(place) for place in inside]
        return run_with_phone(
            "thumbs",
            chosen,
            lambda run: _Caching(run, decoder, cache, phone).run(paths),
            opened=lambda: contextlib.nullcontext(phone),
        )


def _mounted(word: str) -> tuple[str, str]:
    """Return the mount that a directory is on, and where it is there. Raises `UsageError`."""
    place = mounts.real_path(word)
    found = [
        target
        for target, kind, _ in mounts.mounts()
        if kind == mounts.KIND and f"{place}/".startswith(f"{target.rstrip('/')}/")
    ]
    if not found:
        raise UsageError(f"{word}: no phone is mounted there; with --to it may be any path on the phone")
    mountpoint = max(found, key=len)
    return mountpoint, place[len(mountpoint) :].strip("/")


class _Thumbs:
    """What both ways have in common: what is looked for, and what is told of it."""

    def __init__(self, run: Run, decoder: Decoder) -> None:
        self._run = run
        self._decoder = decoder
        self._done = self._there = self._none = 0

    def work_off(self, found: list[Entry]) -> None:
        """Fetch a thumbnail of each, the newest first. Raises nothing that is about one file."""
        run, started = self._run, time.monotonic()
        found.sort(key=lambda entry: -(entry.modified or 0))
        bar = Bar(len(found), len(found), rate=lambda rate: f"{rate:5.1f}/s")
        run.before_line = bar.clear
        try:
            for entry in found:
                bar.start(entry.name, 1)
                before = self._done
                try:
                    with run.going_on():
                        self._one(entry)
                except OSError as error:
                    run.fail(error)
                    break
                finally:
                    bar.end(moved=self._done > before)
        finally:
            bar.clear()
        summary = (
            f"{self._done} thumbnail{'' if self._done == 1 else 's'} in {time_of(time.monotonic() - started)}"
        )
        summary += f", {self._there} there already" if self._there else ""
        run.conclude(summary + (f", {self._none} files have none" if self._none else ""))

    def _one(self, entry: Entry) -> None:
        if self.is_there(entry):
            self._there += 1
            self._tell(entry, "there")
            return
        try:
            data = self._run.phone.thumbnail(entry.path)
            sizes = self.keep(entry, data)
        except UnreadableError as error:
            self._none += 1
            self._tell(entry, "none", reason=str(error))
        except (OSError, MtpfsError) as error:
            if error.errno == errno.ENODATA:
                self._none += 1
                self._tell(entry, "none")
                return
            if self._run.chosen.json:
                self._run.say_json({"path": entry.path, "status": "failed", "error": described(error)})
            if error.errno == _NOT_AT_ALL:  # of no other file either
                raise OSError(errno.ENODEV, described(error)) from error
            raise
        else:
            self._done += 1
            self._tell(entry, "done", sizes=sizes)

    def _tell(self, entry: Entry, status: str, **more: object) -> None:
        if self._run.chosen.json:
            self._run.say_json({"path": entry.path, "status": status, **more})

    def is_there(self, entry: Entry) -> bool:
        raise NotImplementedError

    def keep(self, entry: Entry, data: bytes) -> list[int]:
        raise NotImplementedError


class _Caching(_Thumbs):
    def __init__(self, run: Run, decoder: Decoder, cache: Cache, phone: MountedPhone) -> None:
        super().__init__(run, decoder)
        self._cache = cache
        self._phone = phone

    def run(self, paths: list[str]) -> None:
        found = {entry.path: entry for path in paths for entry in _pictures(self._run, path)}
        self.work_off(list(found.values()))

    def is_there(self, entry: Entry) -> bool:
        return self._cache.is_settled(self._place(entry), entry.modified or 0, entry.size)

    def keep(self, entry: Entry, data: bytes) -> list[int]:
        picture = self._decoder.decode(data, tuple(SIZES.values()))
        now = self._phone.stat(entry.path)
        if (now.modified, now.size) != (entry.modified, entry.size):
            raise OSError(errno.EAGAIN, "it has changed meanwhile", entry.path)
        self._cache.store(self._place(entry), entry.modified or 0, entry.size, picture)
        return sorted(picture.pngs)

    def _place(self, entry: Entry) -> bytes:
        return os.fsencode(self._phone.place_of(entry.path))


# --- as files ------------------------------------------------------------------------


def _as_files(run: Run, decoder: Decoder) -> None:
    targets: dict[str, Path] = {}
    found: list[Entry] = []
    taken: dict[Path, str] = {}
    for word in run.chosen.paths:
        with run.going_on():
            for top in find(run.phone, word):
                above = len(top.path.rstrip("/")) if top.is_dir else len(top.path) - len(top.name) - 1
                for entry in _pictures(run, top.path):
                    target = Path(run.chosen.to) / f"{entry.path[above + 1 :]}.png"
                    if taken.setdefault(target, entry.path) != entry.path:
                        run.fail(
                            f"{quoted(entry.path)}: {quoted(taken[target])} has the same name, and goes there"
                        )
                    elif entry.path not in targets:
                        targets[entry.path] = target
                        found.append(entry)
    _Writing(run, decoder, targets).work_off(found)


class _Writing(_Thumbs):
    def __init__(self, run: Run, decoder: Decoder, targets: dict[str, Path]) -> None:
        super().__init__(run, decoder)
        self._targets = targets

    def is_there(self, entry: Entry) -> bool:
        try:
            status = self._targets[entry.path].stat()
        except FileNotFoundError:
            return False
        return entry.modified is not None and int(status.st_mtime) == int(entry.modified)

    def keep(self, entry: Entry, data: bytes) -> list[int]:
        picture = self._decoder.decode(data, (LARGEST,))
        target = self._targets[entry.path]
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".mtpfs-{secrets.token_hex(8)}.png")
        try:
            with temporary.open("xb") as file:
                file.write(picture.pngs[LARGEST])
            if entry.modified is not None:
                os.utime(temporary, (entry.modified, entry.modified))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return [max(picture.width, picture.height)]


def _pictures(run: Run, path: str) -> Iterator[Entry]:
    """Yield the files that may have a thumbnail: a file itself, or all below a directory, but for hidden ones."""
    top = run.phone.stat(path)
    pending = [top.path] if top.is_dir else []
    if not top.is_dir and may_have_one(os.fsencode(top.name)):
        yield top
    while pending:
        with run.going_on():
            for entry in run.phone.scandir(pending.pop()):
                if entry.is_dir and not entry.name.startswith("."):
                    pending.append(entry.path)
                elif not entry.is_dir and may_have_one(os.fsencode(entry.name)):
                    yield entry
