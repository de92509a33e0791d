"""What programs that watch a directory of the mount by inotify are told of what the phone itself does."""

from __future__ import annotations

import ctypes
import os
import random
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from equipment.conversation import conversation
from mount.conftest import PATIENCE, Mount, run, wait_until
from mtpfs.fuse.echo import GATHERED

ATTRIB, CREATE, DELETE = 0x4, 0x100, 0x200
WORDS = {ATTRIB: "attrib", CREATE: "create", DELETE: "delete"}
IS_FOLDER = 0x40000000
EVENT = struct.Struct("iIII")
LIBC = ctypes.CDLL(None, use_errno=True)


class Watch:
    """What inotify tells of one directory."""

    def __init__(self, directory: Path) -> None:
        self._queue = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._queue >= 0
        assert LIBC.inotify_add_watch(self._queue, os.fsencode(directory), sum(WORDS)) >= 0, (
            ctypes.get_errno()
        )
        self.heard: list[str] = []

    def close(self) -> None:
        os.close(self._queue)

    def read(self) -> None:
        """Take in what there is, or comes soon."""
        if not select.select([self._queue], [], [], 0.02)[0]:
            return
        data = os.read(self._queue, 1 << 16)
        while data:
            _, mask, _, length = EVENT.unpack_from(data)
            name = data[EVENT.size : EVENT.size + length].rstrip(b"\0").decode()
            word = WORDS.get(mask & sum(WORDS), hex(mask))
            self.heard.append(f"{word} {name}{'/' if mask & IS_FOLDER else ''}")
            data = data[EVENT.size + length :]

    def wait_for(self, *lines: str) -> None:
        """Wait until all of these have come."""
        deadline = time.monotonic() + PATIENCE
        while not set(lines) <= set(self.heard):
            assert time.monotonic() < deadline, self.heard
            self.read()

    def none_for(self, seconds: float) -> None:
        """Wait, and nothing may come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read()
        assert not self.heard


@contextmanager
def watched(directory: Path) -> Iterator[Watch]:
    """Watch a directory, as an open window does: it has been listed."""
    watch = Watch(directory)
    try:
        list(os.scandir(directory))
        yield watch
    finally:
        watch.close()


def test_watchers_are_told(android: Mount) -> None:
    """What appears, changes and vanishes on the phone is told within a second, by name; folders are folders."""
    (android.phone / "d").mkdir()
    with watched(android.root / "d") as window:
        (android.phone / "d/photo.jpg").write_bytes(b"photo")
        (android.phone / "d/folder").mkdir()
        window.wait_for("create photo.jpg", "create folder/")
        assert (android.root / "d/photo.jpg").read_bytes() == b"photo"
        assert os.listdir(android.root / "d/folder") == []
        (android.phone / "d/photo.jpg").write_bytes(b"another")
        window.wait_for("attrib photo.jpg")
        wait_until(lambda: (android.root / "d/photo.jpg").read_bytes() == b"another", "the change")
        (android.phone / "d/photo.jpg").unlink()
        (android.phone / "d/folder").rmdir()
        window.wait_for("delete photo.jpg", "delete folder/")
        assert os.listdir(android.root / "d") == []
        (android.phone / "d/photo.jpg").mkdir()
        window.wait_for("create photo.jpg/")
        assert (android.root / "d/photo.jpg").is_dir()
    assert sorted(path.name for path in android.phone.rglob("*")) == ["d", "photo.jpg"]


def test_storages_come(mount_phone: Callable[..., Mount], tmp_path: Path) -> None:
    """A phone that is unlocked shows its storages in the window of the mount itself."""
    mounted = mount_phone("", control="control")
    name = mounted.root.name
    with conversation(tmp_path / "control") as say, watched(mounted.mountpoint) as window:
        say("lock")
        window.wait_for(f"delete {name}/")
        say("unlock")
        window.wait_for(f"create {name}/")


def test_read_only(mount_phone: Callable[..., Mount]) -> None:
    """A mount that can only be read has no child, and works as before."""
    mounted = mount_phone("", "-o", "ro")
    with watched(mounted.root) as window:
        (mounted.phone / "new").write_bytes(b"x")
        wait_until(lambda: "new" in os.listdir(mounted.root), "the change")
        window.none_for(3 * GATHERED)
    assert not children(mounted.process.pid)


def children(process: int) -> list[int]:
    """Return the child processes of a mount, of whichever thread they are."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return [int(number) for thread in threads for number in (thread / "children").read_text().split()]


def test_no_child_without_need(android: Mount) -> None:
    """It is started by the first news."""
    assert not children(android.process.pid)
    (android.root / "f").write_bytes(b"x")
    os.listdir(android.root)
    assert not children(android.process.pid)


def test_killed_child(android: Mount) -> None:
    """The mount goes on without it, and ends in order."""
    with watched(android.root) as window:
        (android.phone / "a").write_bytes(b"x")
        window.wait_for("create a")
        (child,) = children(android.process.pid)
        os.kill(child, signal.SIGKILL)
        (android.phone / "b").write_bytes(b"x")
        wait_until(lambda: "b" in os.listdir(android.root), "the change")
        (android.root / "c").write_bytes(b"x")
        window.wait_for("create c")
    assert android.unmount() == ""


def test_killed_mount(android: Mount) -> None:
    """The child ends with it."""
    with watched(android.root) as window:
        (android.phone / "a").write_bytes(b"x")
        window.wait_for("create a")
    (child,) = children(android.process.pid)
    android.process.kill()
    android.process.wait(PATIENCE)
    run("fusermount3", "-uz", android.mountpoint)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child's end")


def test_a_window_follows(android: Mount) -> None:
    """Who lists once, and then goes by what inotify tells, shows what the phone has; programs at work don't matter."""
    (android.phone / "d").mkdir()
    (android.phone / "d/first").touch()
    chance = random.Random(1)
    with watched(android.root / "d") as window:
        for _ in range(300):
            path = android.phone / "d" / str(chance.randrange(30))
            if path.exists():
                path.unlink() if path.is_file() else path.rmdir()
            elif chance.randrange(4):
                path.write_bytes(b"x")
            else:
                path.mkdir()
            (android.root / "d" / f"mine{chance.randrange(3)}").write_bytes(b"y")
            os.listdir(android.root / "d")
            time.sleep(0.003)  # a hundred at once would be told as one
        shown = {"first"}

        def is_right() -> bool:
            window.read()
            for line in window.heard:
                word, name = line.split(" ")
                if word == "create":
                    shown.add(name.rstrip("/"))
                elif word == "delete":
                    shown.discard(name.rstrip("/"))
            window.heard.clear()
            return shown == set(os.listdir(android.phone / "d")) == set(os.listdir(android.root / "d"))

        wait_until(is_right, "the last news")


def test_a_program_is_faster(android: Mount) -> None:
    """Watchers are told also of what another program has found in the meantime, and what it has open stays open."""
    with watched(android.root) as window:
        (android.phone / "photo.jpg").write_bytes(b"photo")
        (android.phone / "folder").mkdir()
        wait_until((android.root / "folder").exists, "the event")
        with (android.root / "photo.jpg").open("rb") as file:
            before = os.fstat(file.fileno()).st_ino
            window.wait_for("create photo.jpg", "create folder/")
            assert file.read() == b"photo"
            assert (android.root / "photo.jpg").stat().st_ino == os.fstat(file.fileno()).st_ino == before


def test_a_window_on_a_storage_survives_the_lock(mount_phone: Callable[..., Mount], tmp_path: Path) -> None:
    """What is told as deleted comes back as the same directory; who has it open, or watches it, still can use it."""
    mounted = mount_phone("", control="control")
    (mounted.phone / "f").write_bytes(b"contents")
    wait_until((mounted.root / "f").exists, "the event")
    storage = os.open(mounted.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with (
            conversation(tmp_path / "control") as say,
            watched(mounted.mountpoint) as window,
            watched(mounted.root) as inner,
        ):
            for _ in range(3):
                say("lock")
                window.wait_for(f"delete {mounted.root.name}/")
                say("unlock")
                window.wait_for(f"create {mounted.root.name}/")
                window.heard.clear()
                wait_until(lambda: os.listdir(storage) == ["f"], "the listing")
                assert os.stat("f", dir_fd=storage).st_size == 8
                (mounted.phone / "new").write_bytes(b"x")
                inner.wait_for("create new")
                (mounted.phone / "new").unlink()
                inner.wait_for("delete new")
                inner.heard.clear()
    finally:
        os.close(storage)
