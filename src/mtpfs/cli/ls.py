"""`mtpfs ls`: what is in directories of the phone, in coreutils' manner.

Dates are asked for only where they are shown: some phones tell them file by file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtpfs.cli.files import FileParser, Run, as_facts, local_date, run_with_phone, short
from mtpfs.cli.paths import find

if TYPE_CHECKING:
    from mtpfs.library import Entry


def run(words: list[str]) -> int:
    """Run `mtpfs ls`; return its exit status. Raises `SetupError`."""
    parser = FileParser("ls", "[-alhdR] [--json] [--source SOURCE] [PATH...]", "List files on the phone.")
    parser.add_paths("paths", "*")
    parser.add_argument("-a", "--all", action="store_true", help="names that begin with a dot, too")
    parser.add_argument("-l", dest="long", action="store_true", help="sizes and dates")
    parser.add_argument("-h", "--human-readable", action="store_true", help="with -l: sizes such as 340K")
    parser.add_argument(
        "-d", "--directory", action="store_true", help="directories themselves, not what is in them"
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="directories in directories, too")
    return run_with_phone("ls", parser.parse(words), _list)


def _list(run: Run) -> None:
    chosen = run.chosen
    found: list[Entry] = []
    for word in chosen.paths or ["/"]:
        with run.going_on():
            found += find(run.phone, word)
    plain = [entry for entry in found if chosen.directory or not entry.is_dir]
    if (chosen.long or chosen.json) and any(entry.modified is None for entry in plain):
        plain = [run.phone.stat(entry.path) for entry in plain]
    _show(run, plain, lambda entry: entry.path)
    directories = [] if chosen.directory else [entry.path for entry in found if entry.is_dir]
    has_heading = len(found) > 1 or chosen.recursive
    is_first = not plain
    while directories:
        path = directories.pop(0)
        with run.going_on():
            inside = run.phone.scandir(path, dates=chosen.long or chosen.json)
            inside = [entry for entry in inside if chosen.all or not entry.name.startswith(".")]
            if has_heading and not chosen.json:
                run.say(f"{path}:" if is_first else f"\n{path}:")
            is_first = False
            _show(run, inside, lambda entry: entry.name)
            if chosen.recursive:
                directories[:0] = [entry.path for entry in inside if entry.is_dir]


def _show(run: Run, entries: list[Entry], name: object) -> None:
    assert callable(name)
    chosen = run.chosen
    if chosen.json:
        for entry in entries:
            run.say_json(as_facts(entry))
        return
    sizes = [short(entry.size) if chosen.human_readable else str(entry.size) for entry in entries]
    width = max(map(len, sizes), default=0)
    for entry, size in zip(entries, sizes, strict=True):
        if chosen.long:
            kind = "d" if entry.is_dir else "-"
            run.say(f"{kind} {size:>{width}} {local_date(entry.modified):>16} {name(entry)}")
        else:
            run.say(name(entry))
