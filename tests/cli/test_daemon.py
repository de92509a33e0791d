"""In the background and in the foreground: who is told what, and when; and what signals do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mount.conftest import MTPFS, PATIENCE, run, unmounted, wait_until
from mtpfs.cli.mounts import is_mounted

pytestmark = pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="no FUSE")

STORAGE = "Internal shared storage"


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    directory = tmp_path / "phone"
    directory.mkdir()
    return directory


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "mount"
    directory.mkdir()
    yield directory
    if is_mounted(str(directory)):
        run("fusermount3", "-uz", directory)


def test_returns_when_usable(phone: Path, mountpoint: Path) -> None:
    """The command ends with 0, its pipes closed, when the mount can be used at once."""
    result = run(*MTPFS, f"virtual:{phone}", mountpoint)
    assert (result.stdout, result.stderr) == ("", "")
    assert os.listdir(mountpoint) == [STORAGE]
    wait_until(lambda: unmounted(mountpoint), "the unmount")


def test_locked_phone(phone: Path, mountpoint: Path) -> None:
    """A phone that is locked is mounted, and why there is nothing to be seen is said on the caller's stderr."""
    result = run(*MTPFS, f"virtual:{phone}?locked", mountpoint)
    assert result.stderr == (
        "mtpfs: mtpfs Virtual phone shows no storages: the mount is empty until you unlock it, "
        'and tap "Allow" if it asks\n'
    )
    assert os.listdir(mountpoint) == []
    wait_until(lambda: unmounted(mountpoint), "the unmount")


def test_failure_is_the_callers(phone: Path, mountpoint: Path) -> None:
    """What fails before is said on the caller's stderr, in one line, with status 1."""
    result = run(*MTPFS, f"virtual:{phone}", mountpoint, "-o", "storage=none", check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("mtpfs: no storage 'none'")
    assert result.stderr.count("\n") == 1
    assert not os.path.ismount(mountpoint)


def test_log_of_the_background(phone: Path, mountpoint: Path, tmp_path: Path) -> None:
    """What goes wrong later is told to syslog."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(PATIENCE)
        code = (
            "import sys; from pathlib import Path; from mtpfs.cli import daemon, main\n"
            f"daemon.LOG_SOCKET = Path({str(tmp_path / 'log')!r})\n"
            "sys.exit(main.main(sys.argv[1:]))"
        )
        run(sys.executable, "-c", code, f"virtual:{phone}?capacity=1000000", mountpoint)
        with pytest.raises(OSError, match="No space left"):
            (mountpoint / STORAGE / "large").write_bytes(bytes(2_000_000))
        said = log.recv(1000).decode()
    assert "mtpfs[" in said
    assert "large: 2000000 bytes could not be saved" in said
    wait_until(lambda: unmounted(mountpoint), "the unmount")


@pytest.mark.parametrize("abstract", [False, True])
def test_service_manager(phone: Path, mountpoint: Path, tmp_path: Path, abstract: bool) -> None:
    """systemd is told READY when the mount is usable, not before, and STOPPING when it ends."""
    name = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.settimeout(PATIENCE)
        program = subprocess.Popen(
            [*MTPFS, "-f", f"virtual:{phone}", mountpoint],
            env={**os.environ, "NOTIFY_SOCKET": f"@{name}" if abstract else name},
            stdin=subprocess.DEVNULL,
        )
        try:
            assert manager.recv(100) == b"READY=1"
            assert os.listdir(mountpoint) == [STORAGE]
        finally:
            program.terminate()
        assert manager.recv(100) == b"STOPPING=1"
        assert program.wait(PATIENCE) == 0
    assert not os.path.ismount(mountpoint)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_unmount(phone: Path, mountpoint: Path, number: signal.Signals) -> None:
    """A signal unmounts; what was written and not yet closed is on the phone then."""
    program = subprocess.Popen([*MTPFS, "-f", f"virtual:{phone}", mountpoint], stdin=subprocess.DEVNULL)
    wait_until(lambda: os.path.ismount(mountpoint), "the mount")
    file = os.open(mountpoint / STORAGE / "f", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"pending")
    program.send_signal(number)
    assert program.wait(PATIENCE) == 0
    assert (phone / "f").read_bytes() == b"pending"
    assert not os.path.ismount(mountpoint)
    with pytest.raises(OSError, match="not connected"):  # there is no mount left to answer
        os.close(file)


@pytest.mark.parametrize("background", [False, True])
def test_interrupted_while_mounting(tmp_path: Path, background: bool) -> None:
    """Ctrl-C before the mount is usable ends the command and what it has started."""
    code = (
        "import os, sys, time; from mtpfs.cli import daemon; from mtpfs.errors import SetupError\n"
        "import signal\n"
        "def run(ready, stopping):\n"
        "    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT])\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}}\\n')\n"
        "    time.sleep(600)\n"
        f"try: sys.exit(daemon.{'in_background' if background else 'in_foreground'}(run))\n"
        "except SetupError as error: sys.exit(7)\n"
        "except KeyboardInterrupt: sys.exit(7)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL)
    started = tmp_path / "pid"
    wait_until(lambda: started.exists() and started.read_text().endswith("\n"), "the start")
    program.send_signal(signal.SIGINT)
    assert program.wait(PATIENCE) == 7
    assert not Path(f"/proc/{started.read_text().strip()}").exists()


def test_relative_tmpdir(phone: Path, mountpoint: Path, tmp_path: Path) -> None:
    """A relative TMPDIR means the same directory in the background, which has left the caller's."""
    (tmp_path / "spool").mkdir()
    environment = {**os.environ, "TMPDIR": "spool"}
    subprocess.run(
        [*MTPFS, f"virtual:{phone}", str(mountpoint)],
        check=True,
        timeout=PATIENCE,
        cwd=tmp_path,
        env=environment,
    )
    (mountpoint / STORAGE / "f").write_bytes(b"contents")
    assert (phone / "f").read_bytes() == b"contents"
    wait_until(lambda: unmounted(mountpoint), "the unmount")


@pytest.mark.parametrize(
    ("name", "place", "word"),
    [
        ("TMPDIR", "mount", "cover"),
        ("TMPDIR", "mount/below", "cover"),
        ("XDG_STATE_HOME", "mount/below", "cover"),
        ("TMPDIR", "missing", "no such directory"),
    ],
)
@pytest.mark.parametrize("how", ["background", "foreground"])
def test_places_that_cannot_be_used(
    phone: Path, mountpoint: Path, tmp_path: Path, name: str, place: str, word: str, how: str
) -> None:
    """What is kept here can't be kept on the mount itself: each would wait for the other, for ever."""
    result = subprocess.run(
        [*MTPFS, f"virtual:{phone}", str(mountpoint), *(["-f"] if how == "foreground" else [])],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, name: str(tmp_path / place)},
    )
    assert result.returncode == 1
    assert word in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not is_mounted(str(mountpoint))


@pytest.mark.parametrize("name", [b"nu\xff", "a\u2028b\x85c".encode(), b"a b\n\\#c"], ids=repr)
def test_odd_mountpoints(phone: Path, tmp_path: Path, name: bytes) -> None:
    """A mountpoint may have any name that a directory can have: each command finds it, and the others beside it."""
    odd = tmp_path / os.fsdecode(name)
    odd.mkdir()
    try:
        run(*MTPFS, f"virtual:{phone}", odd)
        assert is_mounted(str(odd))
        assert (
            b"is unmounted"
            in subprocess.run(
                [*MTPFS, "umount", odd], check=True, capture_output=True, timeout=PATIENCE
            ).stdout
        )
        assert not is_mounted(str(odd))
    finally:
        if is_mounted(str(odd)):
            run("fusermount3", "-uz", odd)
