"""get and put: a list of files to be moved, what becomes of each, and what is said of it.

First all is looked at, so that the bar knows how much it is. Then the files are moved one by one. What is there
already, by size and date, is skipped. So a command that was broken off can be given again. Each failure is told when
it happens, and once more at the end, because thousands of lines may lie between. Without the phone nothing more is
tried.

Invariant: two sources never become one target: the second is a failure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mtpfs.cli.bar import Bar, time_of
from mtpfs.cli.files import Run, agreed, described, quoted, short
from mtpfs.errors import MtpfsError

SAME_DATE = 2.0  # seconds that two dates of one file differ by less than, where the target has even ones only

_TWICE = 2 * 3600  # seconds that a clock may be set back, and a little more

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
    action: str = ""
    """What JSON calls it, where a command does several things."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How much it was."""

    done: int
    skipped: int
    size: int
    seconds: float


def is_there(size: int, date: float | None, there: tuple[int, float | None]) -> bool:
    """Tell whether a target is what is to be moved."""
    return there[0] == size and date is not None and there[1] is not None and is_same_date(date, there[1])


def is_same_date(source: float, target: float) -> bool:
    """Tell whether two dates are one.

    Phones have whole seconds; FAT, on cards, players and sticks, even ones only. Many tell what a clock shows, and in
    autumn it shows one hour twice.
    """
    return _differ_little(math.floor(source), math.floor(target)) or (
        abs(source - target) < _TWICE and _differ_little(_shown(source), _shown(target))
    )


def _differ_little(source: int, target: int) -> bool:
    return source == target or (abs(source - target) < SAME_DATE and target % 2 == 0)


def _shown(date: float) -> int:
    """Return what this machine's clock has shown at a date, as seconds."""
    seconds = math.floor(date)
    try:
        return seconds + time.localtime(seconds).tm_gmtoff
    except (OverflowError, ValueError, OSError):
        return seconds  # no year that there can be


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

    def __init__(self, run: Run, transfers: Sequence[Transfer]) -> None:
        self._run = run
        self._transfers = transfers
        total = sum(transfer.size for transfer in self._transfers)
        self._bar = Bar(len(self._transfers), total)
        self._done = self._skipped = self._bytes = 0
        self._started = time.monotonic()

    def run(self) -> None:
        """Move all of them, and say at the end, on a terminal, how much it was, and what has failed."""
        try:
            self.move()
        finally:
            moved = self.moved
            self._run.conclude(
                f"{files(moved.done)}, {short(moved.size)} in {time_of(moved.seconds)}"
                + (f", {moved.skipped} there already or left alone" if moved.skipped else "")
            )

    @property
    def moved(self) -> Moved:
        """How much it is so far."""
        return Moved(self._done, self._skipped, self._bytes, time.monotonic() - self._started)

    def move(self) -> None:
        """Move all of them. Raises nothing that is about one file."""
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
            facts: dict[str, object] = {"action": transfer.action} if transfer.action else {}
            facts |= {"source": transfer.source, "target": transfer.target, "size": transfer.size}
            self._run.say_json(facts | {"status": str(status)} | ({"error": error} if error else {}))


def files(count: int) -> str:
    """Return how many files, in words."""
    return f"{count} file" if count == 1 else f"{count} files"
