"""`mtpfs import`: photos and videos from the phone to a directory of this machine, each of them once.

The parts are in `mtpfs.cli.importing`. Here are the words, and the order of the steps.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from mtpfs.cli.files import FileParser, Run, run_with_phone
from mtpfs.cli.importing.bringing import Bringer, bringer
from mtpfs.cli.importing.clearing import Clearer
from mtpfs.cli.importing.finding import find
from mtpfs.cli.importing.memory import Memory, remembered
from mtpfs.cli.importing.plan import Planned, Planner, State
from mtpfs.cli.importing.rehearsing import rehearse
from mtpfs.cli.importing.shelf import DEFAULT, Pattern, Shelf
from mtpfs.cli.importing.telling import Status, Teller
from mtpfs.cli.phones import check_elsewhere
from mtpfs.errors import MtpfsError, UsageError

WAIT = 2.0  # seconds between two looks whether the phone is unlocked


def run(words: list[str]) -> int:
    """Run `mtpfs import`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "import",
        "[--into PATTERN] [--delete [--yes]] [--dry-run] [--again] [--wait] [--json] [--source SOURCE] DIRECTORY",
        "Fetch the photos and videos of the phone that weren't fetched before.",
    )
    parser.add_paths("directory", "?")
    parser.add_argument(
        "--into",
        metavar="PATTERN",
        type=str,
        default=DEFAULT,
        help="directories below DIRECTORY, such as {taken:%%Y/%%m}, {folder} (default) or {phone}",
    )
    parser.add_argument(
        "--delete", action="store_true", help="then delete on the phone what is proven to be here"
    )
    parser.add_argument("--yes", action="store_true", help="don't ask before that")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
    parser.add_argument(
        "--again", action="store_true", help="what was imported before, too, if it isn't here any more"
    )
    parser.add_argument("--wait", action="store_true", help="wait until the phone is unlocked")
    chosen = parser.parse(words)
    if not chosen.directory:
        raise UsageError("where to import to is missing: `mtpfs import DIRECTORY`")
    if chosen.yes and not chosen.delete:
        raise UsageError("--yes goes with --delete")
    pattern = Pattern(chosen.into)

    def work(run: Run) -> None:
        _import(run, pattern)

    return run_with_phone("import", chosen, work)


def _import(run: Run, pattern: Pattern) -> None:
    _until_unlocked(run)
    directory = Path(os.path.abspath(run.chosen.directory))  # noqa: PTH100 - links stay as they were typed
    check_elsewhere(run.phone, directory)
    if not run.chosen.dry_run:
        directory.mkdir(exist_ok=True)  # but not what is above: the disk may not be there
    with remembered(run.phone, to_write=not run.chosen.dry_run) as memory:
        teller = Teller(run)
        shelf = Shelf(directory, pattern, run.phone.name)
        hidden = 0
        try:
            found = find(run)
            hidden = found.hidden
            planner = Planner(run, memory, shelf, teller)
            groups = planner.plan(found.groups)
            _tell_known(teller, groups)
            if run.chosen.dry_run:
                rehearse(run, shelf, groups, teller)
            else:
                _do(run, shelf, memory, teller, groups)
        except (OSError, MtpfsError) as error:
            teller.fail_all(error)
        finally:
            if memory.trouble and not run.chosen.dry_run:
                run.fail(f"what is imported can't be remembered: {memory.trouble}")
            teller.conclude(hidden=hidden)


def _do(run: Run, shelf: Shelf, memory: Memory, teller: Teller, groups: list[list[Planned]]) -> None:
    with bringer(run, shelf, memory, teller) as bring:
        assert isinstance(bring, Bringer)
        is_there = bring.bring(groups)
    if is_there and run.chosen.delete:
        Clearer(run, memory, teller).clear(groups)


def _tell_known(teller: Teller, groups: list[list[Planned]]) -> None:
    for group in groups:
        for planned in group:
            if planned.state not in {State.NEW, State.FAILED}:
                teller.tell(planned.item, Status.SKIPPED, planned.target, reason=str(planned.state))


def _until_unlocked(run: Run) -> None:
    """Wait until the phone shows its storages, if that is wanted. Raises ENODEV if it shows none, or is pulled out."""
    while not run.phone.scandir("/", dates=False):
        if not run.chosen.wait:
            raise OSError(errno.ENODEV, "the phone shows no storages: unlock it, and allow file transfer")
        time.sleep(WAIT)
