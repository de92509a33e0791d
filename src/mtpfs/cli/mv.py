"""`mtpfs mv`: files and directories get another name or place on the phone, or another storage."""

from __future__ import annotations

from mtpfs.cli.files import FileParser, Run, run_with_phone
from mtpfs.cli.rearranging import add_words, rearrange


def run(words: list[str]) -> int:
    """Run `mtpfs mv`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "mv", "[-ni] [--json] [--source SOURCE] PATH... TARGET", "Move or rename files on the phone."
    )
    add_words(parser)
    return run_with_phone("mv", parser.parse(words), _move)


def _move(run: Run) -> None:
    rearrange(
        run,
        lambda source, target, _there: run.phone.move(source.path, target, replace=not run.chosen.no_clobber),
    )
