"""get, put and sync break off at every step, in every way: whole files, old or new, and the same command goes on from
there.

A command runs once without faults, to count its steps. Then it runs once for each of them, on a fresh phone and disk.
After each: every file has its old contents or its new ones, and nothing else is there but a part that can be gone on
with. Then the command is given again: it succeeds, moves nothing that was finished, and leaves exactly the tree that
was asked for. A sample of the steps is tried, always the same one; `--all-steps` tries all.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.breaking import KILLED, Break, Ended, server
from cli.files import STORAGE
from phones import ANDROID, WRITABLE_PERSONALITIES, name

Tree = dict[str, bytes | None]

BIG = (4 << 20) + 300_000  # bytes: more than a get fetches at once
OLD: Tree = {
    "D": None,
    "D/longer.mp3": b"old" * 100,
    "D/shorter.mp3": b"old contents" * 1000,
    "D/same.mp3": b"same" * 100,
    "D/gone": None,
    "D/gone/gone.mp3": b"gone",
}
NEW: Tree = {
    "D": None,
    "D/longer.mp3": b"new contents" * 1000,
    "D/shorter.mp3": b"new",
    "D/same.mp3": b"same" * 100,
    "D/made": None,
    "D/made/made.mp3": bytes(range(256)) * 100,
    "D/empty.mp3": b"",
}
LARGE: Tree = {**NEW, "D/large.mp3": random.Random(1).randbytes(BIG)}
OLD_DATE, NEW_DATE = 1_400_000_000, 1_500_000_000
PART = re.compile(r"(.*/)?\.([^/]+)\.mtpfs-[0-9a-f]{16}\.part")
SAMPLE, SAMPLE_ON_ANDROID = 1, 4  # steps


@dataclass(frozen=True)
class Case:
    words: tuple[str, ...]
    fetches: bool = False
    """The phone has the new files, and this machine the old ones."""
    deletes: bool = False

    @property
    def new(self) -> Tree:
        return LARGE if self.fetches else NEW

    @property
    def wanted(self) -> Tree:
        """What is there when all is done."""
        return self.new if self.deletes else OLD | self.new


CASES = {
    "get": Case(("get", "-r", f"{STORAGE}/D", "."), fetches=True),
    "put": Case(("put", "-r", "D", f"{STORAGE}/")),
    "sync-to": Case(("sync", "--delete", "D", f"phone:{STORAGE}"), deletes=True),
    "sync-from": Case(("sync", "--delete", "phone:D", "."), fetches=True, deletes=True),
}
FAULTS = (
    "refuse",
    "refuse code=StoreFull",
    "fail code=GeneralError",
    "stall",
    "silence",
    "silent-success",
    "gone",
    "gone-mid-data",
    "gone-mid-data amount=1024",
    "stall-mid-data amount=1024",
)


class Bench:
    """A phone and a directory, made anew for each run."""

    def __init__(self, top: Path, words: str, case: Case) -> None:
        self.case = case
        self.phone, self.here, self.scratch = top / "phone", top / "here", top / "scratch"
        self.target, self.source = (self.here, self.phone) if case.fetches else (self.phone, self.here)
        self._environment = {
            "MTPFS_SOURCE": f"virtual:{self.phone}?{words}&ghost=0",
            "XDG_STATE_HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "TZ": "UTC",
        }

    def renew(self) -> None:
        for directory in (self.phone, self.here, self.scratch):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
        _fill(self.target, OLD, OLD_DATE)
        _fill(self.source, self.case.new, NEW_DATE)
        same = self.target / "D/same.mp3"
        os.utime(same, (NEW_DATE, NEW_DATE))

    def run(self, plan: Break = Break()) -> Ended:  # noqa: B008 - it is frozen
        return server().run([*self.case.words], self.here, self._environment, self.scratch, plan)

    def settle(self) -> None:
        """Have what was broken off on the phone settled, as the next command does it."""
        ended = server().run(["tree", "/"], self.here, self._environment, self.scratch, Break())
        assert ended.status == 0, ended.error

    def check_broken(self, what: object) -> None:
        """See to it that each file is the old one or the new one, and that the source is as it was."""
        self.settle()
        assert _tree(self.source) == self.case.new, what
        found = _tree(self.target)
        for path, data in found.items():
            allowed = [tree[path] for tree in (OLD, self.case.new) if path in tree]
            if self.case.fetches and (part := PART.fullmatch(path)):
                whole = self.case.new[f"{part[1]}{part[2]}"]
                assert data is not None, what
                assert whole is not None, what
                assert whole.startswith(data), what
            else:
                assert data in allowed, (what, path, data and data[:20])
        missing = {path for path in OLD if path not in found}
        assert missing <= {"D/gone", "D/gone/gone.mp3"} if self.case.deletes else not missing, what

    def check_again(self, first: Ended, what: object) -> None:
        """Give the same command again."""
        second = self.run()
        assert second.status == 0, (what, second.error)
        assert not first.done() & second.done(), what
        assert _tree(self.target) == self.case.wanted, what
        assert _tree(self.source) == self.case.new, what


def _fill(directory: Path, tree: Tree, date: int) -> None:
    for path, data in tree.items():
        if data is None:
            (directory / path).mkdir()
        else:
            (directory / path).write_bytes(data)
            os.utime(directory / path, (date, date))


def _tree(top: Path) -> Tree:
    return {
        str(path.relative_to(top)): None if path.is_dir() else path.read_bytes() for path in top.rglob("*")
    }


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def bench(tmp_path: Path, words: str, case: Case) -> Bench:
    return Bench(tmp_path, words, case)


def whole(bench: Bench) -> Ended:
    """Run the command without faults."""
    bench.renew()
    ended = bench.run()
    assert ended.status == 0, ended.error
    assert len(ended.done()) == (5 if bench.case.fetches else 4)
    assert _tree(bench.target) == bench.case.wanted
    bench.check_again(ended, "without faults")  # which moves nothing
    return ended


def chosen(steps: list[Break], words: str, case: Case, config: pytest.Config) -> Iterator[Break]:
    """Yield all steps, or some that depend on the phone and the command only."""
    if not config.getoption("--all-steps"):
        count = SAMPLE_ON_ANDROID if words == ANDROID else SAMPLE
        steps = random.Random(f"{words} {case.words}").sample(steps, min(len(steps), count))
    yield from steps


each_phone = pytest.mark.parametrize("words", [*WRITABLE_PERSONALITIES, "samsung", "arrival-dates"], ids=name)


@each_phone
@pytest.mark.parametrize("way", ["killed", "unplugged"])
def test_severed(bench: Bench, words: str, case: Case, way: str, request: pytest.FixtureRequest) -> None:
    """The command is killed, or the cable is pulled, before and in the middle of each transfer."""
    ended = whole(bench)
    steps = [
        Break(
            killed=number if way == "killed" else -1,
            unplugged=number if way == "unplugged" else -1,
            part=part - part % 512,
        )
        for number, size in enumerate(ended.writes)
        for part in ({0, size // 2} if size > 1024 else {0})
    ]
    for plan in chosen(steps, words, case, request.config):
        bench.renew()
        first = bench.run(plan)
        if way == "unplugged":
            assert first.status in {0, 1}, (plan, first.error)
        elif first.status != KILLED:
            # How often the room is asked for depends on how long it takes, so the last steps may not come.
            assert 0 < len(first.writes) <= plan.killed, (plan, first.error)
        bench.check_broken(plan)
        bench.check_again(first, plan)


@each_phone
def test_failing(bench: Bench, words: str, case: Case, request: pytest.FixtureRequest) -> None:
    """The phone fails each command: the exit status tells, and what is said to be done is."""
    ended = whole(bench)
    steps = [
        Break(fault=f"{fault} skip={number}") for number in range(2, ended.commands) for fault in FAULTS
    ]  # the first two open the session
    for plan in chosen(steps, words, case, request.config):
        bench.renew()
        first = bench.run(plan)
        # How often the room is asked for depends on how long it takes.
        assert first.struck == 1 or first.commands <= int(plan.fault.rpartition("=")[2]), plan
        assert first.status in {0, 1}, (plan, first.error)
        if first.status == 0:
            assert _tree(bench.target) == case.wanted or "gone" in plan.fault, plan
        bench.check_broken(plan)
        bench.check_again(first, plan)


@pytest.mark.parametrize("words", [ANDROID, "as=android8"], ids=name)
def test_full_disk(bench: Bench, case: Case) -> None:
    """The disk here is full at each write: the files that are whole stay, and no other one appears."""
    ended = whole(bench)
    assert (ended.local > 0) == case.fetches  # what is sent is read where it lies
    for number in range(ended.local):
        plan = Break(full=number)
        bench.renew()
        first = bench.run(plan)
        assert (first.status, "No space left" in first.error) == (1, True), plan
        bench.check_broken(plan)
        bench.check_again(first, plan)


@pytest.mark.parametrize("words", [ANDROID, "as=android8", "as=umtp"], ids=name)
def test_full_phone(bench: Bench, case: Case, tmp_path: Path) -> None:
    """The phone is full in each upload, announced or not."""
    if case.fetches:
        pytest.skip("nothing is sent")
    ended = whole(bench)
    for number in range(len(ended.done())):
        for amount in (0, 512):
            plan = Break(fault=f"full SendObject skip={number} amount={amount}")
            bench.renew()
            first = bench.run(plan)
            assert first.status in {0, 1}
            bench.check_broken(plan)
            bench.check_again(first, plan)
