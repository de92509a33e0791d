"""Cameras over TCP, mounted: away and back, held by another program, asking their user."""

from __future__ import annotations

import errno
import signal
import subprocess
from pathlib import Path

import pytest

from equipment.network import CameraServer, camera_of
from equipment.programs import environment
from mount.conftest import MTPFS, PATIENCE, contents, network_mount, run, wait_until

PICTURE = bytes(range(256)) * 4000


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A camera's directory, with a picture, and a mountpoint."""
    for name in ("camera", "mnt"):
        (tmp_path / name).mkdir()
    (tmp_path / "camera/a.jpg").write_bytes(PICTURE)
    return tmp_path / "camera", tmp_path / "mnt"


def test_away_and_back(places: tuple[Path, Path]) -> None:
    """Out of the network programs get ENODEV; back in it, the same files are there, open ones too."""
    with network_mount(*places, "as=camera") as (mounted, say):
        picture = mounted.root / "a.jpg"
        number = picture.stat().st_ino
        with picture.open("rb", buffering=0) as file:
            assert file.read(1000) == PICTURE[:1000]
            assert say("unplug") == "done: unplug"
            wait_until(lambda: contents(picture) is None, "the camera's departure")
            with pytest.raises(OSError, match="No such device") as raised:
                picture.stat()
            assert raised.value.errno == errno.ENODEV
            assert say("plug") == "done: plug"
            wait_until(lambda: contents(picture) == PICTURE, "the camera's return")
            assert picture.stat().st_ino == number
            assert file.read() == PICTURE[1000:]
        log = mounted.unmount()
    assert "the device is gone" in log
    assert "the device is back" in log


def test_written_while_it_is_away(places: tuple[Path, Path]) -> None:
    """What `close` couldn't save arrives when the device is back."""
    with network_mount(*places, "as=android8") as (mounted, say):
        with pytest.raises(OSError), (mounted.root / "new").open("wb") as file:  # noqa: PT012
            file.write(b"new contents")
            say("unplug")
        say("plug")
        wait_until(lambda: contents(mounted.phone / "new") == b"new contents", "the file's arrival")
        mounted.unmount()


def test_one_at_a_time(places: tuple[Path, Path], tmp_path: Path) -> None:
    """The camera that is mounted can't be had a second time, and is named; commands go through the mount."""
    with network_mount(*places, "as=camera") as (mounted, _):
        source = mounted.process.args[-3] if isinstance(mounted.process.args, list) else ""
        (tmp_path / "other").mkdir()
        second = run(*MTPFS, source, tmp_path / "other", "-f", check=False)
        assert second.returncode == 1
        assert "takes only one program at a time" in second.stderr
        listed = run(*MTPFS, "ls", "--source", source, "/")
        assert listed.stdout.splitlines() == [mounted.root.name]
        found = run(*MTPFS, "doctor", source)
        assert f"it is mounted on {mounted.mountpoint}" in found.stdout
        assert "Camera" in run(*MTPFS, "info", source).stdout


def test_fstab_options(places: tuple[Path, Path]) -> None:
    """The words that a line for the network has are no mistake."""
    with network_mount(*places, "as=camera", "-o", "_netdev,nofail,x-systemd.automount") as (mounted, _):
        assert contents(mounted.root / "a.jpg") == PICTURE


def test_interrupted_while_the_camera_asks(places: tuple[Path, Path]) -> None:
    """Ctrl-C needn't wait for the camera's user."""
    camera = camera_of(f"{places[0]}?as=camera")
    camera.asks = True
    with CameraServer(camera) as server:
        process = subprocess.Popen(
            [*MTPFS, server.source, str(places[1]), "-f"],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert process.stderr is not None
        with process.stderr:
            assert "Look at the camera's screen" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE / 4) == 130
            assert "Traceback" not in process.stderr.read()
    assert camera.active is None


def test_in_a_directory(places: tuple[Path, Path], tmp_path: Path) -> None:
    """`--in` makes a directory that is named after the place."""
    with CameraServer(camera_of(f"{places[0]}?as=camera")) as server:
        process = subprocess.Popen(
            [*MTPFS, server.source, "--in", str(tmp_path), "-f"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert process.stdout is not None
        with process.stdout:
            mountpoint = Path(process.stdout.readline().rstrip("\n"))
            assert mountpoint.name == f"127.0.0.1-{server.port}"
            run(*MTPFS, "umount", mountpoint)
            assert process.wait(PATIENCE) == 0
    assert not mountpoint.exists()
