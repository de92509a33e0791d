"""What mv and cp share: several sources and one target, all on the phone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from mtpfs.cli.files import FileParser, Run, agreed, quoted
from mtpfs.cli.paths import find, find_to_change, parse, place_for
from mtpfs.errors import UsageError

if TYPE_CHECKING:
    from mtpfs.library import Entry

Do = Callable[["Entry", str, "Entry | None"], None]
"""(source, path of the target, what is there)."""


def add_words(parser: FileParser) -> None:
    """Take the paths, and what is to become of what is in the way."""
    parser.add_paths("paths", "+")
    parser.add_replacing_options()


def rearrange(run: Run, do: Do) -> None:
    """Do it with each source. Raises `UsageError`, and what is about the target."""
    *words, last = run.chosen.paths
    if not words:
        raise UsageError("the target is missing: a path on the phone comes last")
    found: list[Entry] = []
    for word in words:
        with run.going_on():
            # What is moved is changed; a copy only reads.
            found += find(run.phone, word) if "recursive" in run.chosen else find_to_change(run.phone, word)
    target, there = place_for(run.phone, last)
    into = there is not None and there.is_dir
    if not into and (len(words) > 1 or len(found) > 1 or (parse(last).is_directory and not _is_dir(found))):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), target)
    taken: dict[str, str] = {}
    for entry in found:
        with run.going_on():
            path = f"{target.rstrip('/')}/{entry.name}" if into else target
            if path in taken:
                run.fail(f"{quoted(entry.path)}: {quoted(taken[path])} has the same name, and goes there")
                continue
            taken[path] = entry.path
            _one(run, entry, path, do)


def _is_dir(found: list[Entry]) -> bool:
    return len(found) == 1 and found[0].is_dir


def is_spared(run: Run, entry: Entry, path: str, there: Entry | None) -> bool:
    """Tell whether what is there isn't to be replaced, by asking if that is wanted; directories are merged."""
    if there is None or (entry.is_dir and there.is_dir):
        return False
    return run.chosen.no_clobber or (run.chosen.interactive and not agreed(f"replace {quoted(path)}?"))


def _one(run: Run, entry: Entry, path: str, do: Do) -> None:
    chosen = run.chosen
    there: Entry | None = None
    try:
        there = run.phone.stat(path)
    except FileNotFoundError:
        pass
    else:
        if entry.path == path:
            raise OSError(errno.EINVAL, "it is the same file", path)
    if is_spared(run, entry, path, there):
        return
    failures = len(run.failures)
    do(entry, path, there)
    if chosen.json and len(run.failures) == failures:  # something in it may have failed
        run.say_json({"source": entry.path, "target": path, "status": "done"})
