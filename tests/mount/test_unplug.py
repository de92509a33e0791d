"""Unplugging, locking, and changes on the phone, seen by programs on a real mount."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from equipment.conversation import Say, conversation
from equipment.programs import environment
from equipment.programs import held as held_command
from mount.conftest import MTPFS, PATIENCE, Mount, contents, run, unmounted, virtual_mount, wait_until

AT_ONCE = 1.0  # seconds in which everything is answered while the phone is away


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Return what mounts a phone that can be unplugged, together with the hand that holds it."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    (tmp_path / "spool").mkdir()
    monkeypatch.setenv("TMPDIR", f"{tmp_path}/spool")

    @contextmanager
    def mount(words: str = "", *options: str) -> Iterator[tuple[Mount, Say]]:
        control = tmp_path / "control"
        with (
            virtual_mount(phone, mountpoint, words, *options, control=control) as mounted,
            conversation(control) as say,
        ):
            yield mounted, say

    return mount


def failure(call: Callable[[], object]) -> str:
    """Return the errno of a call that has to fail at once."""
    started = time.monotonic()
    with pytest.raises(OSError) as caught:
        call()
    assert time.monotonic() - started < AT_ONCE
    return errno.errorcode[caught.value.errno or 0]


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError:
        return False
    return True


def test_unplugged_and_plugged_in(held: Callable[..., object], tmp_path: Path) -> None:
    """ENODEV at once for everything; then the same inode numbers, and descriptors that go on."""
    (tmp_path / "phone/d").mkdir()
    (tmp_path / "phone/d/f").write_bytes(bytes(range(256)) * 20_000)
    with held() as (mounted, say):  # type: ignore[attr-defined]
        root = mounted.root
        numbers = {path: path.stat().st_ino for path in (root, root / "d", root / "d/f")}
        reader = os.open(root / "d/f", os.O_RDONLY)
        assert os.pread(reader, 256, 0) == bytes(range(256))
        inside = os.open(root / "d", os.O_RDONLY | os.O_DIRECTORY)
        say("unplug")
        wait_until(lambda: not works(lambda: os.listdir(root)), "the news of the unplugging")
        for call in (
            lambda: os.listdir(mounted.mountpoint),
            lambda: os.listdir(root),
            lambda: os.listdir(inside),
            (root / "d/f").stat,
            (root / "d/f").read_bytes,
            lambda: (root / "new").write_bytes(b"x"),
            (root / "new").mkdir,
            (root / "d/f").unlink,
            lambda: (root / "d/f").rename(root / "g"),
            lambda: os.statvfs(mounted.mountpoint),
            lambda: os.pread(reader, 256, 4_000_000),
        ):
            assert failure(call) == "ENODEV"
        assert (mounted.mountpoint / ".mtpfs-statistics").read_text()
        assert mounted.mountpoint.stat().st_ino == 1
        say("plug")
        wait_until(lambda: works(lambda: os.listdir(root)), "the return")
        assert {path: path.stat().st_ino for path in numbers} == numbers
        assert os.pread(reader, 256, 4_096_000) == bytes(range(256))
        assert os.listdir(inside) == ["f"]
        os.close(reader)
        os.close(inside)


@pytest.mark.parametrize("words", ["", "no-edit"])
def test_unplugged_in_mid_copy(held: Callable[..., object], tmp_path: Path, words: str) -> None:
    """cp fails; what it had written arrives when the phone is back, or not at all, never in part."""
    data = os.urandom(3_000_000)
    (tmp_path / "source").write_bytes(data)
    (tmp_path / "phone/replaced").write_bytes(b"old contents")
    with held(words) as (mounted, say):  # type: ignore[attr-defined]
        for name in ("new", "replaced"):
            say("gone-mid-data SendObject amount=1000000")
            copied = run("cp", tmp_path / "source", mounted.root / name, check=False)
            assert copied.returncode == 1
            assert "No such device" in copied.stderr
            say("plug")
            wait_until(lambda name=name: contents(mounted.phone / name) == data, "the delivery")  # type: ignore[misc]
            wait_until(lambda name=name: contents(mounted.root / name) == data, "the view of it")  # type: ignore[misc]
        assert sorted(os.listdir(mounted.phone)) == ["new", "replaced"]
        assert sorted(os.listdir(mounted.root)) == ["new", "replaced"]
    assert not list((tmp_path / "spool").iterdir())


def test_never_plugged_in_again(held: Callable[..., object], tmp_path: Path) -> None:
    """Unmounting works without the phone; what it hasn't got is in a file that the log names."""
    with held() as (mounted, say):  # type: ignore[attr-defined]
        file = os.open(mounted.root / "f", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"contents")
        say("unplug")
        assert failure(lambda: os.fsync(file)) == "ENODEV"
        assert failure(lambda: os.close(file)) == "ENODEV"
        log = mounted.unmount()
    (saved,) = [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    assert saved.read_bytes() == b"contents"
    assert str(saved) in log


def test_exit_on_unplug(held: Callable[..., object], tmp_path: Path) -> None:
    """With the option, the mount ends instead, though a program works on it."""
    with held("", "-o", "exit_on_unplug") as (mounted, say):  # type: ignore[attr-defined]
        inside = os.open(mounted.root, os.O_RDONLY | os.O_DIRECTORY)
        say("unplug")
        mounted.ended()
        os.close(inside)
        assert not os.path.ismount(mounted.mountpoint)


def test_killed_while_unplugged(held: Callable[..., object]) -> None:
    """SIGTERM ends a mount whose phone is away."""
    with held() as (mounted, say):  # type: ignore[attr-defined]
        say("unplug")
        mounted.process.terminate()
        mounted.ended()
        assert not os.path.ismount(mounted.mountpoint)


def test_locked_at_the_start(tmp_path: Path) -> None:
    """A locked phone is an empty mount, until it is unlocked; also where one storage was asked for."""
    phone, mountpoint, control = tmp_path / "phone", tmp_path / "mount", tmp_path / "control"
    for directory in (phone, mountpoint):
        directory.mkdir()
    (phone / "f").write_text("contents")
    name = "Internal shared storage"
    for options, file in (((), f"{name}/f"), (("-o", f"storage={name}"), "f")):
        process = subprocess.Popen(
            [*held_command(control), f"virtual:{phone}?locked", mountpoint, "-f", *options],
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        try:
            wait_until(lambda: os.path.ismount(mountpoint), "the mount")
            assert contents(mountpoint / file) is None
            if options:
                assert failure(lambda: os.listdir(mountpoint)) == "ENODEV"
            else:
                assert os.listdir(mountpoint) == []
            with conversation(control) as say:
                say("unlock")
                wait_until(lambda file=file: contents(mountpoint / file) == b"contents", "the unlocking")  # type: ignore[misc]
                say("lock")
                wait_until(lambda file=file: contents(mountpoint / file) is None, "the locking")  # type: ignore[misc]
        finally:
            wait_until(lambda: unmounted(mountpoint), "the unmount")
            _, log = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, log


def transactions(mounted: Mount, operation: str) -> int:
    answer = run(*MTPFS, "stats", mounted.mountpoint, "--json").stdout
    import json

    return int(json.loads(answer)["session"]["operations"].get(operation, 0))


def test_photo_appears(held: Callable[..., object], tmp_path: Path) -> None:
    """What changes on the phone is seen within a second, and nothing else is listed again for it."""
    for directory in ("DCIM", "Music"):
        (tmp_path / "phone" / directory).mkdir()
        for number in range(20):
            (tmp_path / "phone" / directory / f"{number}").write_bytes(b"x" * number)
    with held() as (mounted, _):  # type: ignore[attr-defined]
        camera = mounted.root / "DCIM"
        for directory in ("DCIM", "Music"):
            assert len(os.listdir(mounted.root / directory)) == 20
        listings = transactions(mounted, "GetObjectHandles")

        def seen(condition: Callable[[], bool]) -> None:
            started = time.monotonic()
            wait_until(condition, "the change")
            assert time.monotonic() - started < 1.5  # the virtual phone itself looks four times a second

        (mounted.phone / "DCIM/photo.jpg").write_bytes(b"photo")
        seen(lambda: "photo.jpg" in os.listdir(camera))
        assert (camera / "photo.jpg").read_bytes() == b"photo"
        with (camera / "photo.jpg").open("rb", buffering=0) as reader:
            (mounted.phone / "DCIM/photo.jpg").write_bytes(b"another photo")
            seen(lambda: (camera / "photo.jpg").stat().st_size == 13)
            assert reader.read() == b"another photo"
        (mounted.phone / "DCIM/photo.jpg").unlink()
        seen(lambda: "photo.jpg" not in os.listdir(camera))
        seen(lambda: not (camera / "photo.jpg").exists())
        assert len(os.listdir(mounted.root / "Music")) == 20
        assert transactions(mounted, "GetObjectHandles") == listings


def test_busy_reader_is_told(held: Callable[..., object], tmp_path: Path) -> None:
    """A program in the middle of reading gets ENODEV at once, and leaves no thread behind in the mount."""
    (tmp_path / "phone/large").write_bytes(bytes(200 << 20))
    with held() as (mounted, say):  # type: ignore[attr-defined]
        told = []
        begun = threading.Event()

        def read() -> None:
            with (mounted.root / "large").open("rb", buffering=0) as file:
                try:
                    while file.read(1 << 16):
                        begun.set()
                except OSError as error:
                    told.append((error.errno, time.monotonic()))

        reader = threading.Thread(target=read)
        reader.start()
        begun.wait(PATIENCE)
        say("unplug")
        unplugged = time.monotonic()
        reader.join(PATIENCE)
        assert [code for code, _ in told] == [errno.ENODEV]
        assert told[0][1] - unplugged < AT_ONCE
        say("plug")
        wait_until(lambda: works(lambda: os.listdir(mounted.root)), "the return")
