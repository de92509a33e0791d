"""`mtpfs put`: files of this machine onto the phone.

An old file stays until the new one is complete. What the phone has already, by size and date, isn't sent again. Phones
can't go on with a file that was broken off, so that is begun anew.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from mtpfs.cli.files import FileParser, Run, run_with_phone
from mtpfs.cli.paths import parse, place_for
from mtpfs.cli.transfers import Mover, Progress, Transfer, without_doubles
from mtpfs.errors import UsageError

PIECE = 1 << 20  # bytes


def run(words: list[str]) -> int:
    """Run `mtpfs put`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "put",
        "[-rni] [--json] [--source SOURCE] FILE... PATH",
        "Send files to the phone. FILE is on this machine; - is the standard input.",
    )
    parser.add_paths("paths", "+")
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="directories with all that is in them"
    )
    parser.add_replacing_options()
    chosen = parser.parse(words)
    if len(chosen.paths) < 2:
        raise UsageError("where to put it is missing: a path on the phone comes last; see `mtpfs put --help`")
    if "-" in chosen.paths[:-1] and len(chosen.paths) > 2:
        raise UsageError("the standard input can't be one of several files")
    return run_with_phone("put", chosen, _put)


def _put(run: Run) -> None:
    *words, last = run.chosen.paths
    target, there = place_for(run.phone, last)
    into = there is not None and there.is_dir
    if words == ["-"]:
        if into:
            raise IsADirectoryError(errno.EISDIR, "the standard input needs a file's name", target)
        _put_input(run, target, exists=there is not None)
        return
    if not into and parse(last).text.endswith("/"):
        run.phone.mkdir(target, exist_ok=True)
        into = True
    if not into and len(words) > 1:
        raise NotADirectoryError(
            errno.ENOTDIR, f"{os.strerror(errno.ENOTDIR)}, and these are several", target
        )
    Mover(run, without_doubles(run, _planned(run, [Path(word) for word in words], target, into=into))).run()


def _put_input(run: Run, target: str, *, exists: bool) -> None:
    if exists and run.chosen.no_clobber:
        return
    if exists and run.chosen.interactive:
        raise UsageError("the standard input can't be both the file and the answer")
    size = 0
    with run.phone.open(target, "wb" if exists else "xb") as file:
        while data := sys.stdin.buffer.read(PIECE):
            file.write(data)
            size += len(data)
    if run.chosen.json:
        run.say_json({"source": "-", "target": target, "size": size, "status": "done"})


def _planned(run: Run, sources: list[Path], target: str, *, into: bool) -> list[Transfer]:
    transfers: list[Transfer] = []
    for source in sources:
        with run.going_on():
            name = source.name or source.resolve().name
            where = f"{target.rstrip('/')}/{name}" if into and name else target
            if not source.is_dir():
                transfers.append(_transfer(run, source, where))
                continue
            if not run.chosen.recursive:
                raise IsADirectoryError(
                    errno.EISDIR, f"{os.strerror(errno.EISDIR)}: -r sends it", str(source)
                )
            transfers += _below(run, source, where)
    return transfers


def _below(run: Run, top: Path, target: str) -> list[Transfer]:
    """Make the directories, and return what is to be sent into them."""
    transfers: list[Transfer] = []

    def told(error: OSError) -> None:
        run.fail(error)

    for directory, folders, files in os.walk(top, onerror=told):
        folders.sort()
        inside = os.path.relpath(directory, top)
        where = target if inside == "." else f"{target}/{inside}"
        is_made = False
        with run.going_on():
            run.phone.mkdir(where, exist_ok=True)
            is_made = True
        if not is_made:
            folders.clear()  # then nothing goes into it
            continue
        for name in sorted(files):
            with run.going_on():
                transfers.append(_transfer(run, Path(directory, name), f"{where}/{name}"))
        for name in folders:
            if Path(directory, name).is_symlink():
                run.fail(OSError(errno.ELOOP, "a link to a directory isn't followed", f"{directory}/{name}"))
    return transfers


def _transfer(run: Run, source: Path, target: str) -> Transfer:
    status = source.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it isn't a file", str(source))

    def state() -> tuple[int, float | None] | None:
        try:
            entry = run.phone.stat(target)
        except FileNotFoundError:
            return None
        if entry.is_dir:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
        return entry.size, entry.modified

    def move(progress: Progress) -> None:
        run.phone.upload(source, target, replace=True, progress=progress)

    return Transfer(str(source), target, status.st_size, state, lambda: status.st_mtime // 1, move)
