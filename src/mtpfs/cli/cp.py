"""`mtpfs cp`: copies on the phone, made by the phone itself where it can."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from mtpfs.cli.files import FileParser, Run, run_with_phone
from mtpfs.cli.rearranging import add_words, is_spared, rearrange

if TYPE_CHECKING:
    from mtpfs.library import Entry


def run(words: list[str]) -> int:
    """Run `mtpfs cp`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "cp",
        "[-rni] [--json] [--source SOURCE] PATH... TARGET",
        "Copy files on the phone to another place there.",
    )
    add_words(parser)
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="directories with all that is in them"
    )
    return run_with_phone(
        "cp", parser.parse(words), lambda run: rearrange(run, lambda *what: _copy(run, *what))
    )


def _copy(run: Run, source: Entry, target: str, there: Entry | None) -> None:
    if source.is_dir and not run.chosen.recursive:
        raise IsADirectoryError(errno.EISDIR, f"{os.strerror(errno.EISDIR)}: -r copies it", source.path)
    if source.is_dir and there is not None and there.is_dir:
        if f"{target}/".startswith(f"{source.path}/"):
            raise OSError(errno.EINVAL, "it can't be copied onto or into itself", source.path, None, target)
        already = {entry.name: entry for entry in run.phone.scandir(target, dates=False)}
        for child in run.phone.scandir(source.path, dates=False):
            path, other = f"{target}/{child.name}", already.get(child.name)
            with run.going_on():
                if not is_spared(run, child, path, other):
                    _copy(run, child, path, other)
    else:
        run.phone.copy(source.path, target, replace=there is not None)
