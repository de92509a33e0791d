"""`mtpfs tree`: directories of the phone with all that is in them, drawn as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtpfs.cli.files import FileParser, Run, as_facts, run_with_phone
from mtpfs.cli.paths import find

if TYPE_CHECKING:
    from mtpfs.library import Entry

_DEEPEST = 1000  # directories in directories: a device can invent more


def run(words: list[str]) -> int:
    """Run `mtpfs tree`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "tree", "[-ad] [-L DEPTH] [--json] [--source SOURCE] [PATH...]", "Show directories as a tree."
    )
    parser.add_paths("paths", "*")
    parser.add_argument("-a", "--all", action="store_true", help="names that begin with a dot, too")
    parser.add_argument("-d", "--directories", action="store_true", help="directories only")
    parser.add_argument(
        "-L", dest="depth", type=int, default=_DEEPEST, metavar="DEPTH", help="no deeper than this"
    )
    return run_with_phone("tree", parser.parse(words), _show)


def _show(run: Run) -> None:
    counts = [0, 0]
    for word in run.chosen.paths or ["/"]:
        with run.going_on():
            for entry in find(run.phone, word):
                if run.chosen.json:
                    run.say_json(as_facts(entry))
                else:
                    run.say(entry.path)
                if entry.is_dir and run.chosen.depth > 0:
                    _descend(run, entry.path, counts)
    if not run.chosen.json:
        directories, files = counts
        more = "" if run.chosen.directories else f", {files} {'file' if files == 1 else 'files'}"
        run.say(f"\n{directories} {'directory' if directories == 1 else 'directories'}{more}")


def _descend(run: Run, top: str, counts: list[int]) -> None:
    """Show what is below a directory. Not recursive: a device's tree may be deeper than Python's stack."""
    levels, before = [iter(_inside(run, top))], [""]
    while levels:
        entry, is_last = next(levels[-1], (None, True))
        if entry is None:
            levels.pop()
            before.pop()
            continue
        counts[not entry.is_dir] += 1
        if run.chosen.json:
            run.say_json(as_facts(entry))
        else:
            run.say(f"{before[-1]}{'└── ' if is_last else '├── '}{entry.name}")
        if entry.is_dir and len(levels) < min(run.chosen.depth, _DEEPEST):
            levels.append(iter(_inside(run, entry.path)))
            before.append(before[-1] + ("    " if is_last else "│   "))


def _inside(run: Run, path: str) -> list[tuple[Entry, bool]]:
    """Return what is to be shown of a directory, each with whether it is the last."""
    chosen = run.chosen
    found: list[Entry] = []
    with run.going_on():
        found = [
            entry
            for entry in run.phone.scandir(path, dates=chosen.json)
            if (chosen.all or not entry.name.startswith(".")) and (entry.is_dir or not chosen.directories)
        ]
    return [(entry, entry is found[-1]) for entry in found]
