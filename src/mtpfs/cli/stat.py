"""`mtpfs stat`: what is known of single files and directories."""

from __future__ import annotations

from mtpfs.cli.files import FileParser, Run, as_facts, local_date, run_with_phone, short
from mtpfs.cli.paths import find


def run(words: list[str]) -> int:
    """Run `mtpfs stat`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "stat", "[--json] [--source SOURCE] PATH...", "Tell what is known of files on the phone."
    )
    parser.add_paths("paths", "+")
    return run_with_phone("stat", parser.parse(words), _tell)


def _tell(run: Run) -> None:
    for word in run.chosen.paths:
        with run.going_on():
            for found in find(run.phone, word):
                entry = run.phone.stat(found.path)  # a pattern's matches may lack the date
                if run.chosen.json:
                    run.say_json(as_facts(entry))
                    continue
                run.say(f"    Path: {entry.path}")
                run.say(f"    Type: {'directory' if entry.is_dir else 'file'}")
                if not entry.is_dir:
                    run.say(f"    Size: {entry.size} ({short(entry.size)})")
                run.say(f"Modified: {local_date(entry.modified, to_the_second=True)}")
