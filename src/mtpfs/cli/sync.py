"""`mtpfs sync`: one directory is made like another one, on the phone or from it.

First both sides are compared (`differences`). Then, in this order: what is superfluous is removed, because a full
phone needs the room; directories are made; files are moved. Each file appears under its name when it is whole. So a
sync may be broken off anywhere, and nothing has to be remembered about it: the next one compares anew, and finds what
is done.

A phone that can't keep the date of a file has it remembered by the filesystem (`vfs/remembered.py`), as for a mount.
That is why a second sync finds nothing to do there, either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from mtpfs.cli.bar import time_of
from mtpfs.cli.differences import Copy, Plan, Planner
from mtpfs.cli.files import FileParser, Run, described, run_with_phone, short
from mtpfs.cli.paths import PREFIX, find_to_change, is_on_phone, parse, place_for
from mtpfs.cli.patterns import Excludes
from mtpfs.cli.phones import check_elsewhere
from mtpfs.cli.sides import LocalSide, PhoneSide, Side, copy
from mtpfs.cli.transfers import Moved, Mover, Transfer, files
from mtpfs.errors import MtpfsError, UsageError

if TYPE_CHECKING:
    from mtpfs.cli.phones import Phone
    from mtpfs.library import Entry

_AGAIN = "the same command goes on from here"
ADVICE = {
    errno.ENODEV: f"unlock the phone and plug it in; {_AGAIN}",
    errno.ENOTCONN: f"unlock the phone and plug it in; {_AGAIN}",
    errno.ENOSPC: f"make room, or leave something out with --exclude; {_AGAIN}",
    errno.EDQUOT: f"make room, or leave something out with --exclude; {_AGAIN}",
    errno.EINVAL: "a name that can't be had there has to be changed here, or left out with --exclude",
    errno.EEXIST: "names that differ only in case, or in how letters are composed, are one name there: change one",
    errno.EROFS: "it can only be read there",
    errno.EACCES: "look at the permissions, or leave it out with --exclude",
    errno.EPERM: "look at the permissions, or leave it out with --exclude",
}
"""What can be done about a failure, by errno."""


def run(words: list[str]) -> int:
    """Run `mtpfs sync`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "sync",
        "[--delete] [--exclude PATTERN]... [--checksum] [-n] [--json] [--source SOURCE] SRC DST",
        "Make the directory DST like SRC. One of them is phone:PATH, the other one is on this machine. With a slash at "
        "its end SRC means what is in it, else the directory itself.",
    )
    parser.add_paths("paths", "+")
    parser.add_argument("--delete", action="store_true", help="remove in DST what isn't in SRC")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="leave this out, as rsync does"
    )
    parser.add_argument(
        "-c", "--checksum", action="store_true", help="compare contents, not dates: reads both sides"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only print what would be done")
    chosen = parser.parse(words)
    if len(chosen.paths) != 2:
        raise UsageError("it takes two directories, SRC and DST; see `mtpfs sync --help`")
    if sum(map(is_on_phone, chosen.paths)) != 1:
        raise UsageError(
            f"one of SRC and DST is on the phone, and begins with {PREFIX}; the other one doesn't"
        )
    if chosen.delete and _means_contents(chosen.paths[0]):
        _check_modest(chosen.paths[1])
    excludes = Excludes(chosen.exclude)

    def work(run: Run) -> None:
        check_elsewhere(run.phone, next(path for path in chosen.paths if not is_on_phone(path)))
        _Sync(run, excludes).run()

    return run_with_phone("sync", chosen, work)


def _check_modest(target: str) -> None:
    """Raise `UsageError` for a directory of which hardly anybody wants to delete all that SRC hasn't."""
    if is_on_phone(target) and not parse(target).parts:
        raise UsageError(f"--delete would empty a whole storage; if that is meant, name it: {PREFIX}/STORAGE")
    home = os.path.expanduser("~")  # noqa: PTH111 - without an error where there is none
    if not is_on_phone(target) and Path(os.path.realpath(home)).is_relative_to(os.path.realpath(target)):
        raise UsageError(f"--delete would remove all else from {target}: name a directory in it")


def _means_contents(source: str) -> bool:
    """Tell whether SRC stands for what is in it: it ends in a slash, or has no name."""
    return source.endswith("/") or _name(source) in {"", ".", ".."}


def _name(source: str) -> str:
    return posixpath.basename(source.removeprefix(PREFIX) if is_on_phone(source) else source)


class _Sync:
    """One run."""

    def __init__(self, run: Run, excludes: Excludes) -> None:
        self._run = run
        self._excludes = excludes
        self._removed = self._made = 0
        self._moved = Moved(0, 0, 0, 0.0)
        self._plan = Plan()
        self._is_compared = self._is_finished = False
        self._started = time.monotonic()

    def run(self) -> None:
        """Compare, do, and report. Raises nothing but what concerns the standard output, and Ctrl-C."""
        try:
            source, target, is_new = self._sides()
            planner = Planner(
                self._run,
                source,
                target,
                self._excludes,
                delete=self._run.chosen.delete,
                checksum=self._run.chosen.checksum,
            )
            self._plan = planner.plan(is_new=is_new)
            self._is_compared = True
            if self._run.chosen.dry_run:
                self._show(source, target)
            else:
                self._remove(source, target)
                lost = self._make(target)
                self._copy(source, target, lost)
            self._is_finished = True
        except (OSError, MtpfsError) as error:
            self._run.fail(error)
        finally:
            self._report()

    def _sides(self) -> tuple[Side, Side, bool]:
        """Return source, target, and whether the target has to be made. Raises `OSError`, `AmbiguousError`."""
        phone, (first, second) = self._run.phone, self._run.chosen.paths
        name = "" if _means_contents(first) else _name(first)
        if is_on_phone(first):
            entry = _only(phone, first)
            name = name and entry.name  # it may have been a pattern
            local = LocalSide(os.path.join(second, name) if name else second)  # noqa: PTH118 - as it was typed
            if os.path.lexists(local.top) and not Path(local.top).is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), local.top)
            return PhoneSide(phone, entry.path), local, not os.path.lexists(local.top)
        if not Path(first).is_dir():
            os.stat(first)  # noqa: PTH116 - it says what is wrong
            raise NotADirectoryError(
                errno.ENOTDIR, f"{os.strerror(errno.ENOTDIR)}: `mtpfs put` sends it", first
            )
        word = f"{second.rstrip('/')}/{name}" if not second.endswith(":") else f"{second}{name}"
        path, there = place_for(phone, word if name else second)
        if there is not None and not there.is_dir:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return LocalSide(first), PhoneSide(phone, path), there is None

    # --- doing -----------------------------------------------------------------------

    def _remove(self, source: Side, target: Side) -> None:
        if self._plan.removals:
            source.check_present()
        for inside, item in self._plan.removals:
            with self._doing("remove", target.path(inside)):
                target.remove(inside, item)
                self._removed += 1

    def _make(self, target: Side) -> set[str]:
        """Make the directories; return those that can't be made."""
        lost: set[str] = set()
        for inside in self._plan.directories:
            if _is_below(inside, lost):
                continue
            lost.add(inside)
            with self._doing("mkdir", target.path(inside)):
                target.mkdir(inside)
                lost.remove(inside)
                self._made += 1
        return lost

    def _copy(self, source: Side, target: Side, lost: set[str]) -> None:
        copies = self._plan.copies
        if lost:
            copies = [each for each in copies if not _is_below(each.inside, lost)]
        left_out = len(self._plan.copies) - len(copies)
        if left_out:
            self._run.fail(f"{files(left_out)} can't be copied, because their directory can't be made")
        mover = Mover(self._run, _Transfers(source, target, copies))
        try:
            mover.move()
        finally:
            self._moved = mover.moved

    @contextlib.contextmanager
    def _doing(self, action: str, target: str) -> Iterator[None]:
        """Tell what becomes of an action. A failure doesn't end the sync, but for the phone's going."""
        facts = {"action": action, "target": target}
        with self._run.going_on():
            try:
                yield
            except (OSError, MtpfsError) as error:
                self._tell(facts | {"error": described(error)}, "failed")
                raise
            self._tell(facts, "done")

    def _tell(self, facts: dict[str, Any], status: str) -> None:
        if self._run.chosen.json:
            self._run.say_json(facts | {"status": status})

    # --- saying ----------------------------------------------------------------------

    def _show(self, source: Side, target: Side) -> None:
        """Print what would be done."""
        plan, is_json = self._plan, self._run.chosen.json
        for inside, item in plan.removals:
            path = target.path(inside)
            if is_json:
                self._tell({"action": "remove", "target": path}, "planned")
            else:
                self._run.say(f"remove   {path}{'/' if item.is_dir else ''}")
        for inside in plan.directories:
            path = target.path(inside)
            if is_json:
                self._tell({"action": "mkdir", "target": path}, "planned")
            else:
                self._run.say(f"mkdir    {path}/")
        for each in plan.copies:
            action, path = "replace" if each.replaces else "copy", target.path(each.inside)
            facts = {"source": source.path(each.inside), "target": path, "size": each.size}
            if is_json:
                self._tell({"action": action} | facts, "planned")
            else:
                self._run.say(f"{action:8} {path} ({short(each.size)})")
        self._removed, self._made = len(plan.removals), len(plan.directories)
        self._moved = Moved(len(plan.copies), 0, sum(each.size for each in plan.copies), 0.0)

    def _report(self) -> None:
        """Say how much it was, what has failed, and what can be done about it."""
        run, moved, plan = self._run, self._moved, self._plan
        seconds = time.monotonic() - self._started
        if run.chosen.json:
            run.say_json(
                {
                    "action": "summary",
                    "status": self._status(),
                    "copied": moved.done,
                    "size": moved.size,
                    "made": self._made,
                    "removed": self._removed,
                    "unchanged": plan.unchanged,
                    "seconds": round(seconds, 3),
                    "failures": run.failures,
                }
            )
        run.conclude(self._summary(seconds) if self._is_compared else "", advice=ADVICE)

    def _status(self) -> str:
        if self._run.failures or not self._is_finished:
            return "failed"
        return "planned" if self._run.chosen.dry_run else "done"

    def _summary(self, seconds: float) -> str:
        moved, is_plan = self._moved, self._run.chosen.dry_run
        found = [
            f"{files(moved.done)}, {short(moved.size)} {'to copy' if is_plan else f'in {time_of(seconds)}'}"
        ]
        if self._made:
            made = "1 directory" if self._made == 1 else f"{self._made} directories"
            found.append(f"{made} {'to make' if is_plan else 'made'}")
        if self._removed:
            found.append(f"{self._removed} {'to remove' if is_plan else 'removed'}")
        if self._plan.unchanged:
            found.append(f"{self._plan.unchanged} the same already")
        return ", ".join(found)


class _Transfers(Sequence[Transfer]):
    """What is to be moved. Each is made when it is its turn: twenty thousand at a time would be memory for nothing."""

    def __init__(self, source: Side, target: Side, copies: list[Copy]) -> None:
        self._source = source
        self._target = target
        self._copies = copies

    def __len__(self) -> int:
        return len(self._copies)

    @overload
    def __getitem__(self, index: int) -> Transfer: ...

    @overload
    def __getitem__(self, index: slice) -> list[Transfer]: ...

    def __getitem__(self, index: int | slice) -> Transfer | list[Transfer]:
        if isinstance(index, slice):
            return [self._transfer(each) for each in self._copies[index]]
        return self._transfer(self._copies[index])

    def _transfer(self, each: Copy) -> Transfer:
        source, target = self._source, self._target
        return Transfer(
            source.path(each.inside),
            target.path(each.inside),
            each.size,
            _nothing,
            _nothing,
            partial(copy, source, target, each.inside, each.replaces),
            "replace" if each.replaces else "copy",
        )


def _only(phone: Phone, word: str) -> Entry:
    found = find_to_change(phone, word)
    if len(found) > 1:
        raise OSError(errno.EINVAL, "it means several: a sync has one source", word)
    if not found[0].is_dir:
        raise NotADirectoryError(
            errno.ENOTDIR, f"{os.strerror(errno.ENOTDIR)}: `mtpfs get` fetches it", found[0].path
        )
    return found[0]


def _nothing() -> None:
    return None


def _is_below(inside: str, directories: set[str]) -> bool:
    """Tell whether a path is one of some directories, or in one."""
    if not directories:
        return False
    while inside:
        if inside in directories:
            return True
        inside = inside.rpartition("/")[0]
    return "" in directories
