"""Remembered dates: shown again at the next mount, and never for a file that has changed."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import math
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mtpfs.session import open_session
from mtpfs.vfs import Filesystem
from mtpfs.vfs import remembered as module
from mtpfs.vfs.remembered import RememberedDates
from mtpfs.virtual.transport import open_virtual
from vfs.world import filesystem, world

FILE = "Internal storage/DCIM/photo.jpg"
PHONE = "a phone:0123456789"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for state that is nobody's but the test's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "mtpfs"


def the_log(state: Path) -> Path:
    (path,) = state.iterdir()
    return path


async def remembered(*paths: str, identity: str = PHONE) -> list[float | None]:
    """Return what the next mount shows."""
    dates = await RememberedDates.open(identity)
    try:
        return [dates.get(path, 100, 5.0) for path in paths]
    finally:
        await dates.close()


async def test_shown_at_once_and_later() -> None:
    """A date is cut to whole seconds, and shown by this mount and the next."""
    dates = await RememberedDates.open(PHONE)
    assert dates.get(FILE, 100, 5.0) is None
    dates.set(FILE, 100, 5.0, 1_400_000_000.987)
    assert dates.get(FILE, 100, 5.0) == 1_400_000_000
    await dates.close()
    assert await remembered(FILE) == [1_400_000_000]


async def test_before_1970() -> None:
    """To cut is to go back in time, also before 1970, as file systems do."""
    dates = RememberedDates()
    dates.set(FILE, 1, None, -1.5)
    assert dates.get(FILE, 1, None) == -2


@pytest.mark.parametrize(("size", "device_date"), [(101, 5.0), (100, 6.0), (100, None)])
async def test_void(size: int, device_date: float | None) -> None:
    """A file of another size or date isn't the one that the date was set for; what is void stays so."""
    dates = await RememberedDates.open(PHONE)
    dates.set(FILE, 100, 5.0, 9)
    assert dates.get(FILE, size, device_date) is None
    assert dates.get(FILE, 100, 5.0) is None
    await dates.close()
    assert await remembered(FILE) == [None]


async def test_moves_and_removals() -> None:
    """A record follows its file and its directory, and goes with them."""
    dates = await RememberedDates.open(PHONE)
    for path in ("s/a/1", "s/a/b/2", "s/ab/3", "s/c/4", "s/d"):
        dates.set(path, 100, 5.0, 9)
    dates.move("s/a", "t/x")
    dates.move("s/c/4", "s/d")
    dates.remove("s/ab")
    dates.move("s/never", "s/there")
    dates.remove("s")  # only d is left
    dates.set("s/e", 100, 5.0, 9)
    dates.set("s/f", 100, 5.0, 9)
    dates.move("s/nothing is known of it", "s/f")  # and f is overwritten
    assert len(dates) == 3
    await dates.close()
    assert await remembered("t/x/1", "t/x/b/2", "s/e") == [9, 9, 9]
    assert await remembered("s/a/1", "s/ab/3", "s/c/4", "s/d", "s/f") == [None] * 5


async def test_bounded() -> None:
    """The oldest goes first, and one that is set anew is young again; the log has the same in it."""
    dates = await RememberedDates.open(PHONE, limit=3)
    for name in "abcad":
        dates.set(name, 100, 5.0, ord(name) + len(dates))
    assert len(dates) == 3
    await dates.close()
    dates = await RememberedDates.open(PHONE, limit=3)
    assert [dates.get(name, 100, 5.0) is not None for name in "abcd"] == [True, False, True, True]
    await dates.close()


async def test_devices_apart(state: Path) -> None:
    """Each device has a log of its own, whose name tells nothing about it."""
    first, second = await RememberedDates.open("one"), await RememberedDates.open("other")
    first.set(FILE, 100, 5.0, 1)
    second.set(FILE, 100, 5.0, 2)
    await first.close()
    await second.close()
    assert await remembered(FILE, identity="one") == [1]
    assert await remembered(FILE, identity="other") == [2]
    assert len(list(state.iterdir())) == 2
    assert all(len(path.name) == 24 and int(path.name, 16) for path in state.iterdir())


async def test_two_mounts_of_one_device() -> None:
    """What one has written is left in peace by the other, also when the log is written anew."""
    one, other = await RememberedDates.open(PHONE, limit=10), await RememberedDates.open(PHONE, limit=10)
    other.set("theirs", 100, 5.0, 7)
    await other.flush()
    for number in range(2000):
        one.set("ours", 100, 5.0, number)
    await one.flush()
    other.set("theirs too", 100, 5.0, 8)
    await other.close()
    one.set("last", 100, 5.0, 9)
    await one.close()
    assert await remembered("theirs", "theirs too", "ours", "last") == [7, 8, 1999, 9]


async def test_at_the_same_time() -> None:
    """Two mounts that write at once don't mix their lines."""
    mounts = [await RememberedDates.open(PHONE, limit=200) for _ in range(2)]

    async def work(dates: RememberedDates, name: str) -> None:
        for number in range(1500):
            dates.set(f"{name}/{number % 20}", 100, 5.0, number)
            if number % 10 == 0:
                await dates.flush()
        await dates.close()

    async with trio.open_nursery() as nursery:
        for number, dates in enumerate(mounts):
            nursery.start_soon(work, dates, str(number))
    paths = [f"{name}/{number}" for name in "01" for number in range(20)]
    assert await remembered(*paths) == [1480.0 + number for _ in "01" for number in range(20)]


async def test_private(state: Path) -> None:
    """Nobody else can look into it, whatever it was before."""
    state.mkdir(parents=True, mode=0o755)
    dates = await RememberedDates.open(PHONE)
    dates.set(FILE, 100, 5.0, 9)
    await dates.flush()
    assert state.stat().st_mode & 0o777 == 0o700
    assert the_log(state).stat().st_mode & 0o777 == 0o600
    the_log(state).chmod(0o644)
    await dates.close()
    assert await remembered(FILE) == [9]
    assert the_log(state).stat().st_mode & 0o777 == 0o600


async def test_the_log_stays_small(state: Path) -> None:
    """Lines that are out of date go, in a mount and at the next."""
    dates = await RememberedDates.open(PHONE, limit=100)
    for number in range(5000):
        dates.set(str(number % 7), 100, 5.0, number)
        if number % 100 == 0:
            await dates.flush()
            assert len(the_log(state).read_bytes().splitlines()) <= 2 * 100 + 1024
    await dates.close()
    the_log(state).write_bytes(the_log(state).read_bytes() + b'["remove","8"]\n' * 1100)
    assert await remembered("0") == [4998]
    assert len(the_log(state).read_bytes().splitlines()) == 7
    assert await remembered(*"0123456") == [4998.0, 4999, 4993, 4994, 4995, 4996, 4997]


@pytest.mark.parametrize("cut", [1, 5, 20])
async def test_torn(state: Path, cut: int) -> None:
    """A last line that is cut off is lost, and nothing else; nor is what is added to it."""
    dates = await RememberedDates.open(PHONE)
    dates.set("a", 100, 5.0, 1)
    dates.set("b", 100, 5.0, 2)
    await dates.close()
    with the_log(state).open("r+b") as file:
        file.truncate(the_log(state).stat().st_size - cut)
    dates = await RememberedDates.open(PHONE)
    dates.set("c", 100, 5.0, 3)
    await dates.close()
    found = await remembered("a", "b", "c")
    # Without its line feed alone, the line is whole.
    assert found == [1, 2 if cut == 1 else None, 3]


DAMAGED = [
    b"\n",
    b"\0\0\0\0\n",
    b"\xff\xfe\n",
    b"[" * 200_000 + b"\n",
    b"9" * 10_000 + b"\n",
    b'{"set": 1}\n',
    b'["set"]\n',
    b'["set",5,100,5.0,9]\n',
    b'["set","z","100",5.0,9]\n',
    b'["set","z",100,5.0,9.5]\n',
    b'["set","z",100,5.0,1' + b"0" * 400 + b"]\n",
    b'["set","z",100,NaN,9]\n',
    b'["move","z"]\n',
    b'["remove",null]\n',
    b'["from","the","future"]\n',
    b"x" * (3 << 20) + b"\n",
]


async def test_damaged(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Lines that say nothing are left out, and only a debug log tells of them."""
    dates = await RememberedDates.open(PHONE)
    dates.set("a", 100, 5.0, 1)
    await dates.close()
    the_log(state).write_bytes(b"".join([*DAMAGED, the_log(state).read_bytes(), *DAMAGED]))
    with caplog.at_level(logging.DEBUG, logger="mtpfs"):
        assert await remembered("a", "z") == [1, None]
    assert "is left out" in caplog.text
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


async def test_far_too_large(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log that can't be ours is begun anew, and not read for an hour."""
    dates = await RememberedDates.open(PHONE)
    dates.set("a", 100, 5.0, 1)
    await dates.close()
    os.truncate(the_log(state), 300 << 20)
    assert await remembered("a") == [None]
    assert the_log(state).stat().st_size == 0
    assert "too large" in caplog.text


async def test_what_a_kill_left(state: Path) -> None:
    """A half-written new log is no hindrance."""
    dates = await RememberedDates.open(PHONE)
    for number in range(3000):
        dates.set("a", 100, 5.0, number)
    await dates.close()
    (state / f"{the_log(state).name}.new").write_bytes(b'["set","b"')
    assert await remembered("a", "b") == [2999, None]
    assert len(the_log(state).read_bytes().splitlines()) == 1


def test_killed(tmp_path: Path) -> None:
    """What is flushed outlives a kill."""
    program = textwrap.dedent(f"""
        import os, signal, trio
        from mtpfs.vfs.remembered import RememberedDates
        async def main():
            dates = await RememberedDates.open({PHONE!r})
            dates.set("a", 100, 5.0, 1)
            await dates.flush()
            dates.set("b", 100, 5.0, 2)
            os.kill(os.getpid(), signal.SIGKILL)
        trio.run(main)
    """)
    killed = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert killed.returncode == -9
    assert trio.run(remembered, "a", "b") == [1, None]


async def in_memory_only(caplog: pytest.LogCaptureFixture) -> None:
    """Check that dates are remembered until the mount ends, without an error or a warning."""
    with caplog.at_level(logging.INFO, logger="mtpfs"):
        dates = await RememberedDates.open(PHONE)
    dates.set(FILE, 100, 5.0, 9)
    await dates.flush()
    assert dates.get(FILE, 100, 5.0) == 9
    await dates.close()
    assert await remembered(FILE) == [None]
    assert all(record.levelno == logging.INFO for record in caplog.records)
    assert "only until this mount ends" in caplog.text


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom the password database doesn't know."""

    def unknown(uid: int) -> object:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def lives_in(home: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=str(home)))


@pytest.mark.parametrize("chosen", ["", "relative/state"])
async def test_below_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    """Without a good XDG_STATE_HOME it is the password database's home, for mount(8) leaves no HOME."""
    monkeypatch.setenv("XDG_STATE_HOME", chosen)
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    home = tmp_path / "home"
    home.mkdir()
    lives_in(home, monkeypatch)
    dates = await RememberedDates.open(PHONE)
    dates.set(FILE, 100, 5.0, 9)
    await dates.close()
    assert len(list((home / ".local/state/mtpfs").iterdir())) == 1
    assert (home / ".local").stat().st_mode & 0o777 == 0o700
    assert await remembered(FILE) == [9]


@pytest.mark.parametrize("home", ["/", "", "/nonexistent", "relative"])
async def test_no_home(home: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No directory is made for somebody without a home."""
    monkeypatch.delenv("XDG_STATE_HOME")
    lives_in(home, monkeypatch)
    await in_memory_only(caplog)
    assert not Path("/nonexistent").exists()
    assert not Path("/.local/state/mtpfs").exists()


async def test_unknown_user(
    homeless: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A user of a container, without an entry in the password database, has memory only."""
    monkeypatch.delenv("XDG_STATE_HOME")
    await in_memory_only(caplog)


async def test_a_file_in_the_way(tmp_path: Path, homeless: None, caplog: pytest.LogCaptureFixture) -> None:
    """Where no directory can be made, there is memory."""
    (tmp_path / "state").write_text("")
    await in_memory_only(caplog)


async def test_never_through_a_link(
    tmp_path: Path, state: Path, homeless: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory that is a link is nobody's to write to."""
    (tmp_path / "elsewhere").mkdir()
    state.parent.mkdir()
    state.symlink_to(tmp_path / "elsewhere")
    await in_memory_only(caplog)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
async def test_a_log_that_is_none(
    kind: str, tmp_path: Path, state: Path, homeless: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A link or a pipe in the log's place is neither followed nor waited for."""
    dates = await RememberedDates.open(PHONE)
    dates.set(FILE, 100, 5.0, 9)
    await dates.close()
    path = the_log(state)
    path.unlink()
    target = tmp_path / "target"
    target.write_text("mine")
    if kind == "link":
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with trio.fail_after(20):
        await in_memory_only(caplog)
    assert target.read_text() == "mine"


async def test_somebody_elses(
    state: Path, homeless: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory of another user isn't used, and not changed."""
    state.mkdir(parents=True, mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    await in_memory_only(caplog)
    assert state.stat().st_mode & 0o777 == 0o755


async def test_full_disk(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What can't be saved is still shown; one warning tells, and later things are saved again."""
    dates = await RememberedDates.open(PHONE)

    def full(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:7])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", full)
        for name in "ab":
            dates.set(name, 100, 5.0, 9)
            await dates.flush()
    dates.set("c", 100, 5.0, 9)
    await dates.flush()
    assert dates.get("a", 100, 5.0) == 9
    assert await remembered(*"abc") == [None, None, 9]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    await dates.close()


async def test_a_log_that_somebody_keeps(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stopped process that has the lock doesn't stop this mount from ending."""
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    dates = await RememberedDates.open(PHONE)
    dates.set("a", 100, 5.0, 9)
    await dates.flush()
    with the_log(state).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        dates.set("b", 100, 5.0, 9)
        await dates.close()
    assert "can't be saved" in caplog.text
    assert await remembered(*"ab") == [9, None]


async def test_the_log_is_deleted(state: Path) -> None:
    """Somebody who cleans up during a mount does no harm."""
    dates = await RememberedDates.open(PHONE)
    dates.set("a", 100, 5.0, 1)
    await dates.flush()
    the_log(state).unlink()
    dates.set("b", 100, 5.0, 2)
    await dates.close()
    assert await remembered(*"ab") == [None, 2]


async def test_closed_when_cancelled() -> None:
    """A mount that is being torn down still saves, and closing twice is nothing."""
    dates = await RememberedDates.open(PHONE)
    dates.set("a", 100, 5.0, 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await dates.close()
    await dates.close()
    dates.set("a", 100, 5.0, 2)
    await dates.flush()
    assert dates.get("a", 100, 5.0) == 2
    assert await remembered("a") == [1]


async def test_nothing_to_save(state: Path) -> None:
    """What changes nothing writes nothing: not every file that is deleted has a date."""
    dates = await RememberedDates.open(PHONE)
    dates.remove("a/b")
    dates.move("a/b", "c")
    assert dates.get("a/b", 1, None) is None
    await dates.close()
    assert not list(state.iterdir())


def test_large_and_quick() -> None:
    """With all 65,536 records, `rm -r` of 10,000 files and the move of a directory are quick."""
    dates = RememberedDates()
    for number in range(module.LIMIT):
        dates.set(f"s/directory {number % 100}/file {number}", 100, 5.0, number)
    begun = time.process_time()
    for number in range(10_000):
        dates.remove(f"s/other/file {number}")
        dates.remove(f"s/directory {number % 100}/file {number}")
    assert time.process_time() - begun < 2  # seconds; it takes some 0.05
    begun = time.process_time()
    for number in range(1000):
        dates.move(f"s{number or ''}", f"s{number + 1}")
    assert time.process_time() - begun < 1
    assert len(dates) == module.LIMIT - 10_000
    assert dates.get("s1000/directory 99/file 65499", 100, 5.0) == 65499
    dates.remove("s1000")
    assert len(dates) == 0


PATHS = st.lists(st.sampled_from(["a", "b", "c", "é\udc80", ""]), min_size=1, max_size=4).map("/".join)


class Remembering(RuleBasedStateMachine):
    """Against a plain dictionary, with mounts that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = self.directory
        self.model: dict[str, tuple[int, float | None, int]] = {}
        self.dates = trio.run(RememberedDates.open, PHONE)

    def teardown(self) -> None:
        trio.run(self.dates.close)
        if self.before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = self.before
        shutil.rmtree(self.directory)

    def below(self, top: str) -> list[str]:
        return [path for path in self.model if path == top or path.startswith(f"{top}/")]

    @rule(
        path=PATHS,
        size=st.integers(0, 2),
        device_date=st.sampled_from([None, 0.1, 7]),
        date=st.floats(-1e9, 1e10),
    )
    def set(self, path: str, size: int, device_date: float | None, date: float) -> None:
        self.dates.set(path, size, device_date, date)
        self.model[path] = (size, device_date, math.floor(date))

    @rule(path=PATHS, size=st.integers(0, 2), device_date=st.sampled_from([None, 0.1, 7]))
    def get(self, path: str, size: int, device_date: float | None) -> None:
        expected = self.model.get(path)
        if expected is not None and expected[:2] != (size, device_date):
            del self.model[path]
            expected = None
        assert self.dates.get(path, size, device_date) == (expected and expected[2])

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        self.dates.remove(path)
        for gone in self.below(path):
            del self.model[gone]

    @rule(old=PATHS, new=PATHS)
    def move(self, old: str, new: str) -> None:
        assume(not f"{old}/".startswith(f"{new}/") and not f"{new}/".startswith(f"{old}/"))
        self.dates.move(old, new)
        for gone in self.below(new):
            del self.model[gone]
        for path in self.below(old):
            self.model[new + path.removeprefix(old)] = self.model.pop(path)

    @rule(path=PATHS)
    def move_nowhere(self, path: str) -> None:
        self.dates.move(path, path)

    @rule()
    def flush(self) -> None:
        trio.run(self.dates.flush)

    @rule()
    def mount_anew(self) -> None:
        trio.run(self.dates.close)
        self.dates = trio.run(RememberedDates.open, PHONE)
        for path, (size, device_date, date) in self.model.items():
            assert self.dates.get(path, size, device_date) == date

    @invariant()
    def as_many(self) -> None:
        assert len(self.dates) == len(self.model)


TestRemembering = Remembering.TestCase
TestRemembering.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


async def test_lines_are_plain(state: Path) -> None:
    """The log is text that a newer mtpfs can still read: its lines are part of the promise."""
    dates = await RememberedDates.open(PHONE)
    dates.set("s/é", 100, None, 9)
    dates.move("s/é", "s/b")
    dates.get("s/b", 1, None)
    dates.set("s/c", 100, 5.5, 9)
    dates.remove("s")
    await dates.close()
    assert [json.loads(line) for line in the_log(state).read_bytes().splitlines()] == [
        ["set", "s/é", 100, None, 9],
        ["move", "s/é", "s/b"],
        ["void", "s/b"],
        ["set", "s/c", 100, 5.5, 9],
        ["remove", "s"],
    ]


async def test_a_mount_does_not_wait_for_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read meanwhile; the first listing waits for it, and shows what it says."""
    phone = tmp_path / "phone"
    phone.mkdir()
    (phone / "f").write_bytes(b"x")
    os.utime(phone / "f", (1_300_000_000, 1_300_000_000))
    dates = await RememberedDates.open(PHONE)
    async with world(phone, dates=dates) as w:
        await w.fs.set_modified(await w.fs.lookup(w.root, b"f"), 1_400_000_000)
    await dates.close()

    may_go_on, open_log = threading.Event(), module._open_log

    def slow(name: str, limit: int) -> object:
        may_go_on.wait(60)
        return open_log(name, limit)

    monkeypatch.setattr(module, "_open_log", slow)
    dates = RememberedDates(PHONE)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dates.load)
            names = []

            async def look(fs: Filesystem) -> None:
                (root,) = await fs.entries(fs.tree.root)
                names.extend([node.name for node in await fs.entries(root)])

            async with (
                open_session(open_virtual(str(phone))) as session,
                filesystem(session, dates=dates) as fs,
            ):
                nursery.start_soon(look, fs)
                await trio.testing.wait_all_tasks_blocked(0.1)
                assert names == []
                may_go_on.set()
                with trio.fail_after(10):
                    while not names:
                        await trio.sleep(0.01)
                (root,) = await fs.entries(fs.tree.root)
                assert (await fs.lookup(root, b"f")).modified == 1_400_000_000
    finally:
        may_go_on.set()
        await dates.close()


async def test_a_log_that_cannot_be_read_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """A home on a server that doesn't answer costs the remembered dates, not the mount."""
    end = threading.Event()

    def never(_name: str, limit: int) -> object:
        end.wait(60)
        return None, module._Tree(limit)

    monkeypatch.setattr(module, "_open_log", never)
    dates = RememberedDates(PHONE)
    await dates.load()
    end.set()
    await dates.until_loaded()
    dates.set(FILE, 100, 5.0, 9.0)
    assert dates.get(FILE, 100, 5.0) == 9.0
    await dates.close()
    assert [record.levelname for record in caplog.records if record.name == module.__name__] == ["WARNING"]
