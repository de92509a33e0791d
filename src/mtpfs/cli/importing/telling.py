"""What has become of each file, and at the end how much it was, how long it took, what failed, and what to do about it.

With `--json` each file is one object, also those that weren't touched. Else nothing is said of a file that is well.
"""

from __future__ import annotations

import errno
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from mtpfs.cli.bar import time_of
from mtpfs.cli.files import Run, described, short
from mtpfs.errors import MtpfsError

if TYPE_CHECKING:
    from mtpfs.cli.importing.finding import Item
    from mtpfs.pictures.taken import Taken

_ADVICE = {
    errno.ENOSPC: "make room on the disk here",
    errno.EDQUOT: "make room on the disk here: your quota is used up",
    errno.EROFS: "what can only be read can't be imported to, and nothing can be deleted on it",
    errno.ENODEV: "plug the phone in, unlock it, and allow file transfer",
    errno.ENOTCONN: "plug the phone in, unlock it, and allow file transfer",
    errno.EACCES: "see that you may write to the directory here",
}


class Status(StrEnum):
    """What has become of a file."""

    PLANNED = "planned"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    DELETED = "deleted"
    """On the phone."""
    KEPT = "kept"
    """On the phone, though it was to be deleted there."""


class Teller:
    """Says it, and counts."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._started = time.monotonic()
        self._counts = Counter[Status]()
        self._bytes = Counter[Status]()
        self._reasons = Counter[tuple[Status, str]]()
        self._errors = Counter[int]()

    def count(self, status: Status) -> int:
        """Return how many files it was."""
        return self._counts[status]

    def tell(
        self,
        item: Item,
        status: Status,
        target: Path | None = None,
        *,
        taken: Taken | None = None,
        reason: str = "",
    ) -> None:
        """Say what has become of a file. `reason`: why it was left alone."""
        self._counts[status] += 1
        self._bytes[status] += item.size
        if reason:
            self._reasons[status, reason] += 1
        if self._run.chosen.json:
            facts: dict[str, object] = {"source": item.path, "size": item.size, "status": str(status)}
            if target is not None:
                facts["target"] = str(target)
            if taken is not None:
                facts["taken"] = taken.moment.isoformat(timespec="seconds")
            if reason:
                facts["reason"] = reason
            self._run.say_json(facts)
        elif status is Status.PLANNED:
            self._run.say(f"{item.path} -> {target}")

    def fail(self, item: Item, error: OSError | MtpfsError) -> None:
        """Say that something has failed with a file, and why."""
        self._errors[error.errno or errno.EIO] += 1
        self._run.fail(error)
        self.tell(item, Status.FAILED, reason=described(error))

    def fail_all(self, error: OSError | MtpfsError) -> None:
        """Say that something has failed that is about no single file."""
        self._errors[error.errno or errno.EIO] += 1
        self._run.fail(error)

    def break_off(self, left: int) -> None:
        """Say that nothing more is tried."""
        if left:
            self._run.fail(f"{left} more aren't tried")

    def conclude(self, *, hidden: int) -> None:
        """Say at the end how it was."""
        run = self._run
        lines = [self._summary(), *self._left_alone()]
        if hidden:
            lines.append(f"{_many(hidden, 'directory', 'directories')} with a .nomedia left out")
        if not run.chosen.json:
            for line in lines:
                run.say(line)
        run.tell_failures()
        if run.failures:
            run.advise(self._advice())

    def _summary(self) -> str:
        if self._run.chosen.dry_run:
            planned = self._counts[Status.PLANNED]
            text = f"{_many(planned, 'file')}, {short(self._bytes[Status.PLANNED])}, would be imported"
            if self._run.chosen.delete:
                text += "; what is proven to be here would then be deleted on the phone"
            return text
        text = f"{_many(self._counts[Status.DONE], 'file')} imported, {short(self._bytes[Status.DONE])}"
        if deleted := self._counts[Status.DELETED]:
            text += f", {deleted} deleted on the phone ({short(self._bytes[Status.DELETED])})"
        return f"{text}, in {time_of(time.monotonic() - self._started)}"

    def _left_alone(self) -> list[str]:
        return [
            f"{_many(count, 'file')} left on the phone: {reason}"
            if status is Status.KEPT
            else f"{_many(count, 'file')} {reason}"
            for (status, reason), count in self._reasons.items()
            if status is not Status.FAILED
        ]

    def _advice(self) -> str:
        advice = [_ADVICE[number] for number in self._errors if number in _ADVICE]
        again = "The same command goes on from here: what is imported isn't fetched again."
        return f"What to do: {'; '.join(dict.fromkeys(advice))}. {again}" if advice else again


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
