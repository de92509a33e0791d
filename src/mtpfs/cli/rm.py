"""`mtpfs rm`: files and directories of the phone are removed. There is no trash."""

from __future__ import annotations

import errno
import os

from mtpfs.cli.files import FileParser, Run, agreed, quoted, run_with_phone
from mtpfs.cli.paths import find_to_change


def run(words: list[str]) -> int:
    """Run `mtpfs rm`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "rm", "[-rfi] [--json] [--source SOURCE] PATH...", "Remove files on the phone, for good."
    )
    parser.add_paths("paths", "+")
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="directories with all that is in them"
    )
    parser.add_argument("-f", "--force", action="store_true", help="what isn't there is no failure")
    parser.add_argument("-i", "--interactive", action="store_true", help="ask before each")
    return run_with_phone("rm", parser.parse(words), _remove)


def _remove(run: Run) -> None:
    chosen = run.chosen
    for word in chosen.paths:
        with run.going_on():
            try:
                found = find_to_change(run.phone, word)
            except FileNotFoundError:
                if chosen.force:
                    continue
                raise
            for entry in found:
                with run.going_on():
                    if entry.is_dir and not chosen.recursive:
                        raise IsADirectoryError(
                            errno.EISDIR, f"{os.strerror(errno.EISDIR)}: -r removes it", entry.path
                        )
                    if chosen.interactive and not agreed(f"remove {quoted(entry.path)}?"):
                        continue
                    run.phone.remove(entry.path, recursive=chosen.recursive)
                    if chosen.json:
                        run.say_json({"path": entry.path, "status": "done"})
