"""get and put: a list of files to be moved, what becomes of each, and what is said of it.

First all is looked at, so that the bar knows how much it is. Then the files are moved one by one. What is there already,
by size and date, is skipped. So a command that was broken off can be given again. Each failure is told when it happens,
and once more at the end, because thousands of lines may lie between. Without the phone nothing more is tried.

Invariant: two sources never become one target: the second is a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mtpfs.cli.bar import Bar, time_of
from mtpfs.cli.files import Run, agreed, described, quoted, short
from mtpfs.errors import MtpfsError

SAME_DATE = 2.0  # seconds that two dates of one file may differ: FAT has even seconds only

Progress = Callable[[int, int], None]


class Status(StrEnum):
    """What has become of a file."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A file to be moved, by the paths that are shown; `move` does it."""

    source: str
    target: str
    size: int
    state: Callable[[], tuple[int, float | None] | None]
    """Size and date of what is at the target; None: nothing."""
    date: Callable[[], float | None]
    move: Callable[[Progress], None]


def is_there(size: int, date: float | None, there: tuple[int, float | None]) -> bool:
    """Tell whether a target is what is to be moved."""
    return (
        there[0] == size and date is not None and there[1] is not None and abs(there[1] - date) <= SAME_DATE
    )


def without_doubles(run: Run, transfers: list[Transfer]) -> list[Transfer]:
    """Return the transfers, each target once. The others are failures."""
    targets: dict[str, Transfer] = {}
    for transfer in transfers:
        if transfer.target in targets:
            first = targets[transfer.target].source
            run.fail(f"{quoted(transfer.source)}: {quoted(first)} has the same name, and goes there")
        else:
            targets[transfer.target] = transfer
    return list(targets.values())


class Mover:
    """Moves files. The words `no_clobber`, `interactive` and `json` are the command's."""

    def __init__(self, run: Run, transfers: list[Transfer]) -> None:
        self._run = run
        self._transfers = without_doubles(run, transfers)
        total = sum(transfer.size for transfer in self._transfers)
        self._bar = Bar(len(self._transfers), total)
        self._done = self._skipped = self._bytes = 0

    def run(self) -> None:
        """Move all of them. Raises nothing that is about one file."""
        started = time.monotonic()
        self._run.before_line = self._bar.clear
        try:
            for number, transfer in enumerate(self._transfers):
                self._bar.start(transfer.source.rpartition("/")[2], transfer.size)
                try:
                    with self._run.going_on():
                        self._one(transfer)
                except (OSError, MtpfsError) as error:
                    self._run.fail(error)
                    left = len(self._transfers) - number - 1
                    if left:
                        self._run.fail(f"{left} more aren't tried: the same command goes on from here")
                    break
        finally:
            self._bar.clear()
            self._conclude(time.monotonic() - started)

    def _one(self, transfer: Transfer) -> None:
        chosen, status = self._run.chosen, Status.FAILED
        try:
            there = transfer.state()
            if there is not None and (
                chosen.no_clobber
                or is_there(transfer.size, transfer.date(), there)
                or (chosen.interactive and not self._agrees(transfer))
            ):
                status = Status.SKIPPED
            else:
                transfer.move(self._bar.advance)
                status = Status.DONE
        except (OSError, MtpfsError) as error:
            self._tell(transfer, Status.FAILED, described(error))
            raise
        finally:
            self._bar.end(moved=status is Status.DONE)
        self._tell(transfer, status)

    def _agrees(self, transfer: Transfer) -> bool:
        self._bar.clear()
        return agreed(f"replace {quoted(transfer.target)}?")

    def _tell(self, transfer: Transfer, status: Status, error: str | None = None) -> None:
        self._done += status is Status.DONE
        self._skipped += status is Status.SKIPPED
        self._bytes += transfer.size if status is Status.DONE else 0
        if self._run.chosen.json:
            facts = {"source": transfer.source, "target": transfer.target, "size": transfer.size}
            self._run.say_json(facts | {"status": str(status)} | ({"error": error} if error else {}))

    def _conclude(self, seconds: float) -> None:
        """Say at the end how much it was, on a terminal, and what has failed."""
        self._run.conclude(
            f"{_files(self._done)}, {short(self._bytes)} in {time_of(seconds)}"
            + (f", {self._skipped} there already or left alone" if self._skipped else "")
        )


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
